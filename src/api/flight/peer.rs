//! Flight at the provider: `GetFlightInfo` plans under a schema grant, `DoGet` executes a signed
//! request. The last message of an answer has no data: it carries the receipt.

use crate::api::errors::{denied_to_status, from_status, to_status};
use crate::api::grpc::convert;
use crate::api::grpc::services::{Services, peer_of};
use crate::api::pb;
use crate::connector::Node;
use crate::connector::reads::{IncomingRead, Serving, Tally};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::entry::OutcomeStatus;
use perron_model::limits::REQUEST_BYTES_MAX;
use perron_model::{AgreementId, Error, ErrorCode, ParticipantId, Result};
use prost::Message;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

/// Messages of an answer that wait for the consumer's window.
const WAITING_MAX: usize = 4;
/// Bytes of one data message, before it is cut.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Flight between connectors.
#[derive(Clone)]
pub struct PeerFlight(pub Services);

fn unsupported<T>(what: &str) -> Result<T, Status> {
    Err(to_status(&Error::new(ErrorCode::StatementNotAllowed, format!("`{what}` is not served between connectors"))))
}

#[tonic::async_trait]
impl FlightService for PeerFlight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let peer = peer_of(&request)?;
        let malformed = || to_status(&Error::malformed("the descriptor's command is not a plan of a read"));
        let plan = pb::PlanRead::decode(request.into_inner().cmd).map_err(|_| malformed())?;
        let agreement = AgreementId::parse(&plan.agreement).map_err(|e| to_status(&e))?;
        let (schema, nonce) =
            self.0.node.plan(&peer, &agreement, &plan.statement).await.map_err(|d| denied_to_status(&d))?;
        let ticket = Ticket::new(pb::ReadNonce { nonce }.encode_to_vec());
        let info = FlightInfo::new()
            .try_with_schema(&schema)
            .map_err(|_| to_status(&Error::new(ErrorCode::Internal, "a schema can't be encoded")))?;
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let peer = peer_of(&request)?;
        let bytes = request.into_inner().ticket;
        if bytes.len() > 4 * REQUEST_BYTES_MAX {
            return Err(to_status(&Error::new(ErrorCode::TooLarge, "the ticket is too large")));
        }
        let read = pb::Read::decode(bytes)
            .map_err(|_| to_status(&Error::new(ErrorCode::TicketInvalid, "the ticket is not a read")))?;
        let incoming = IncomingRead {
            request: read.request,
            statement: read.statement,
            salt: read.salt,
            checkpoint: read.checkpoint,
        };
        // In a task of its own: a caller that goes away between decision and outcome must not leave
        // a permit without an outcome.
        let node = self.0.node.clone();
        let admitted = tokio::spawn(async move {
            let serving = node.serve(&peer, incoming).await?;
            Ok::<_, perron_gate::Denied>(answer(node, peer, serving))
        });
        let admitted =
            admitted.await.map_err(|_| to_status(&Error::new(ErrorCode::Internal, "a read ended unexpectedly")))?;
        Ok(Response::new(admitted.map_err(|d| denied_to_status(&d))?))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        unsupported("Handshake")
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        unsupported("ListFlights")
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        unsupported("PollFlightInfo")
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        unsupported("GetSchema")
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        unsupported("DoPut")
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        unsupported("DoAction")
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        unsupported("ListActions")
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        unsupported("DoExchange")
    }
}

/// Streams an answer from a task of its own, which outlives a consumer that goes away: the
/// outcome is always written.
fn answer(node: Arc<Node>, peer: ParticipantId, serving: Serving) -> BoxStream<'static, Result<FlightData, Status>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        pump(&node, serving, &sender).await;
        node.heads_wanted(&peer);
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver).boxed()
}

async fn pump(node: &Node, mut serving: Serving, sender: &mpsc::Sender<Result<FlightData, Status>>) {
    let mut tally = Tally::default();
    let Some(rows) = serving.rows.take() else { return };
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = counted.clone();
    let batches = rows.map(move |batch| match batch {
        Ok(batch) => {
            counter.fetch_add(u64::try_from(batch.num_rows()).unwrap_or(0), std::sync::atomic::Ordering::AcqRel);
            Ok(batch)
        }
        Err(error) => Err(FlightError::Tonic(Box::new(to_status(&error)))),
    });
    let mut messages = FlightDataEncoderBuilder::new()
        .with_schema(serving.schema.clone())
        .with_max_flight_data_size(MESSAGE_BYTES)
        .build(batches);
    let (status, error) = loop {
        match messages.next().await {
            Some(Ok(message)) => {
                tally.message(&message.data_header, &message.data_body);
                tally.batches = tally.messages().saturating_sub(1);
                if sender.send(Ok(message)).await.is_err() {
                    break (OutcomeStatus::CutByConsumer, None);
                }
                tally.rows = counted.load(std::sync::atomic::Ordering::Acquire);
            }
            Some(Err(error)) => break ended_by(error),
            None => break (OutcomeStatus::Complete, None),
        }
    };
    let finished = node.finish(&serving, &tally, status, error.as_ref().map(|e| e.code)).await;
    let last = match (finished, error) {
        (Err(failure), _) => Err(to_status(&failure)),
        (Ok(_), Some(error)) => Err(to_status(&error)),
        (Ok(receipt), None) => Ok(FlightData {
            app_metadata: convert::receipt_to_wire(receipt).encode_to_vec().into(),
            ..FlightData::default()
        }),
    };
    // Whoever went away can ask for the receipt by its request.
    let _ = sender.send(last).await;
}

fn ended_by(error: FlightError) -> (OutcomeStatus, Option<Error>) {
    let error = match error {
        FlightError::Tonic(status) => from_status(&status),
        _ => Error::new(ErrorCode::Internal, "an answer can't be encoded"),
    };
    let revoked = matches!(
        error.code,
        ErrorCode::ParticipantRevoked
            | ErrorCode::ParticipantSuspended
            | ErrorCode::RegisterStale
            | ErrorCode::AgreementExpired
            | ErrorCode::AgreementRevoked
    );
    (if revoked { OutcomeStatus::CutByRevocation } else { OutcomeStatus::CutByError }, Some(error))
}
