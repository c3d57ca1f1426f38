//! An answer on its way to the consumer, counted where it leaves.
//!
//! The outcome must say neither less nor more than what left: so a message counts when the
//! transport takes it, not when it is made, and the answer is complete once the last was taken.

use crate::api::errors::{from_status, to_status};
use crate::api::grpc::convert;
use crate::connector::partners::Place;
use crate::connector::reads::Serving;
use crate::connector::tally::{Tally, Weighed};
use crate::connector::{Looking, Node};
use crate::query::RowStream;
use crate::query::arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use perron_gate::Stop;
use perron_model::entry::OutcomeStatus;
use perron_model::limits::{ANSWER_STALL_MS_MAX, QUERY_STOP_CHECK_MS};
use perron_model::{Error, ErrorCode, ParticipantId};
use prost::Message;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// Messages of an answer that wait for the consumer's window.
const WAITING_MAX: usize = 4;
/// Bytes of one data message, before it is cut.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// How long a consumer may take nothing.
const STALL: Duration = Duration::from_millis(ANSWER_STALL_MS_MAX);

/// A message with its weight; what ends an answer has none.
type Waiting = (Result<FlightData, Status>, Option<Weighed>);
/// How an answer ended before its end.
type Ended = (OutcomeStatus, Option<Error>);

/// What has left, until the books are closed.
#[derive(Default)]
struct Left {
    tally: Tally,
    closed: bool,
}

/// The side of the transport.
struct Leaving {
    waiting: mpsc::Receiver<Waiting>,
    left: Arc<Mutex<Left>>,
}

impl Stream for Leaving {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Held from taking to counting: who sees the place free sees the message counted.
        let mut left = this.left.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((message, weight)) = ready!(this.waiting.poll_recv(context)) else { return Poll::Ready(None) };
            match &weight {
                // It waited while the read was ended: the outcome doesn't count it, so it stays.
                Some(_) if left.closed => continue,
                Some(weight) => left.tally.count(weight),
                None => {}
            }
            return Poll::Ready(Some(message));
        }
    }
}

/// What is answered: a partner's read, or a statement over one's own log.
pub(super) enum Answering {
    /// A read, and who reads.
    Read(Box<Serving>, ParticipantId),
    /// A statement over the log.
    Look(Looking),
}

impl Answering {
    fn stop(&self) -> &Stop {
        match self {
            Answering::Read(serving, _) => serving.stop(),
            Answering::Look(looking) => looking.stop(),
        }
    }
    fn reserved(&self) -> Option<u64> {
        match self {
            Answering::Read(serving, _) => serving.reserved(),
            Answering::Look(_) => None,
        }
    }
    fn place(&self) -> Option<&Place> {
        match self {
            Answering::Read(serving, _) => Some(&serving.place),
            Answering::Look(_) => None,
        }
    }
    /// The rows, once, with their schema.
    fn take(&mut self) -> Option<(SchemaRef, RowStream)> {
        let (schema, rows) = match self {
            Answering::Read(serving, _) => {
                let serving = serving.as_mut();
                (&serving.schema, &mut serving.rows)
            }
            Answering::Look(looking) => (&looking.schema, &mut looking.rows),
        };
        rows.take().map(|rows| (SchemaRef::clone(schema), rows))
    }
    /// Writes the outcome; gives the message that follows a whole answer, where one does.
    async fn finish(
        &self,
        node: &Node,
        tally: &Tally,
        status: OutcomeStatus,
        reason: Option<ErrorCode>,
    ) -> Result<Option<FlightData>, Error> {
        match self {
            Answering::Read(serving, _) => {
                let receipt = node.finish(serving, tally, status, reason).await?;
                let receipt = convert::receipt_to_wire(receipt).encode_to_vec();
                Ok(Some(FlightData { app_metadata: receipt.into(), ..FlightData::default() }))
            }
            Answering::Look(looking) => node.looked(looking, tally, status, reason).await.map(|()| None),
        }
    }
}

/// Streams an answer from a task of its own, which outlives who goes away: the outcome is always
/// written.
pub(super) fn answer(node: Arc<Node>, mut answering: Answering) -> BoxStream<'static, Result<FlightData, Status>> {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    let left = Arc::new(Mutex::new(Left::default()));
    let leaving = Leaving { waiting, left: left.clone() };
    tokio::spawn(async move {
        let _phase = crate::phases::open(crate::phases::Phase::Stream);
        let Some((schema, rows)) = answering.take() else { return };
        let pump = Pump { sender, stop: answering.stop().clone(), reserved: answering.reserved(), node: node.clone() };
        let place = answering.place();
        let (status, error) = match pump.all(encoded(schema, rows, place), place).await {
            Ok(()) => (OutcomeStatus::Complete, None),
            Err(ended) => ended,
        };
        let tally = {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            left.closed = true;
            std::mem::take(&mut left.tally)
        };
        let finished = answering.finish(&node, &tally, status, error.as_ref().map(|e| e.code)).await;
        let last = match (finished, error) {
            (Err(failure), _) => Some(Err(to_status(&failure))),
            (Ok(_), Some(error)) => Some(Err(to_status(&error))),
            (Ok(last), None) => last.map(Ok),
        };
        if let Some(last) = last {
            // Whoever went away can ask for the receipt by its request.
            let _ = pump.sender.send_timeout((last, None), STALL).await;
        }
        if let Answering::Read(_, peer) = &answering {
            node.heads_wanted(peer);
        }
    });
    leaving.boxed()
}

fn encoded(schema: SchemaRef, rows: RowStream, place: Option<&Place>) -> FlightDataEncoder {
    let batches = rows.map(|batch| batch.map_err(|error| FlightError::Tonic(Box::new(to_status(&error)))));
    // A narrow line gets messages that take it for a quarter of a second.
    let narrow = place.and_then(Place::bandwidth).and_then(|rate| usize::try_from(rate / 4).ok());
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(narrow.map_or(MESSAGE_BYTES, |bytes| bytes.min(MESSAGE_BYTES)))
        .build(batches)
}

/// The side of the query.
struct Pump {
    sender: mpsc::Sender<Waiting>,
    stop: Stop,
    /// Bytes that may leave, where the policy counts volume.
    reserved: Option<u64>,
    node: Arc<Node>,
}

impl Pump {
    /// Offers all messages; returns once the transport has taken the last.
    async fn all(&self, mut messages: FlightDataEncoder, place: Option<&Place>) -> Result<(), Ended> {
        let mut offered: u64 = 0;
        while let Some(message) = self.next(&mut messages).await? {
            let weight = Weighed::new(&message.data_header, &message.data_body);
            offered = offered.saturating_add(weight.bytes());
            if let Some(reserved) = self.reserved.filter(|reserved| offered > *reserved) {
                let detail = format!("the rest is past the {reserved} bytes that were reserved for this read");
                return Err(ended_with(Error::new(ErrorCode::VolumeExhausted, detail)));
            }
            if let Some(place) = place {
                let wait = place.take(weight.bytes(), self.node.now()).map_err(ended_with)?;
                self.line_free(wait).await?;
            }
            if let Some(place) = self.places(1).await?.next() {
                place.send((Ok(message), Some(weight)));
            }
        }
        self.places(WAITING_MAX).await.map(drop)
    }

    /// The next message. A query that gives none for long is ended by its signal, and by a consumer
    /// that goes away.
    async fn next(&self, messages: &mut FlightDataEncoder) -> Result<Option<FlightData>, Ended> {
        tokio::select! {
            biased;
            message = messages.next() => message.transpose().map_err(ended_by),
            ended = self.ended() => Err(ended),
            () = self.sender.closed() => Err((OutcomeStatus::CutByConsumer, None)),
        }
    }

    /// Waits until the partner's line is free; the signal and a consumer that goes away end it.
    async fn line_free(&self, wait: Duration) -> Result<(), Ended> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            ended = self.ended() => Err(ended),
            () = self.sender.closed() => Err((OutcomeStatus::CutByConsumer, None)),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Returns once the read's signal ends it.
    async fn ended(&self) -> Ended {
        let mut ticks = tokio::time::interval(Duration::from_millis(QUERY_STOP_CHECK_MS));
        loop {
            ticks.tick().await;
            if let Some(reason) = self.stop.reason() {
                return ended_with(Error::new(reason, "the read was ended while it ran"));
            }
        }
    }

    /// Waits for free places; a consumer that takes nothing ends the read, and so does its signal.
    async fn places(&self, count: usize) -> Result<mpsc::PermitIterator<'_, Waiting>, Ended> {
        if let Ok(places) = self.sender.try_reserve_many(count) {
            return Ok(places);
        }
        let free = async {
            tokio::select! {
                biased;
                places = self.sender.reserve_many(count) => places.map_err(|_| (OutcomeStatus::CutByConsumer, None)),
                ended = self.ended() => Err(ended),
            }
        };
        tokio::time::timeout(STALL, free).await.unwrap_or_else(|_| {
            let detail = format!("nothing of the answer was taken for {} seconds", STALL.as_secs());
            Err((OutcomeStatus::CutByConsumer, Some(Error::new(ErrorCode::DeadlineExceeded, detail))))
        })
    }
}

fn ended_by(error: FlightError) -> Ended {
    ended_with(match error {
        FlightError::Tonic(status) => from_status(&status),
        _ => Error::new(ErrorCode::Internal, "an answer can't be encoded"),
    })
}

fn ended_with(error: Error) -> Ended {
    let revoked = matches!(
        error.code,
        ErrorCode::ParticipantRevoked
            | ErrorCode::ParticipantSuspended
            | ErrorCode::RegisterStale
            | ErrorCode::AgreementExpired
            | ErrorCode::AgreementRevoked
            | ErrorCode::AgreementSuspended
            | ErrorCode::AgreementAmended
    );
    (if revoked { OutcomeStatus::CutByRevocation } else { OutcomeStatus::CutByError }, Some(error))
}
