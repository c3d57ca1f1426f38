//! Rows on their way: the provider's stream under a view against a plain `DoGet` of the same
//! batches, the keyed hash, and the consumer's relay. Each stream is drained without decoding, by
//! one client, in turns.

use crate::asking::{Asking, Client, client};
use crate::figure::{Figure, Goal, Line, Seen, quantile};
use crate::flush::Probe;
use crate::link::Member;
use crate::reads::user;
use crate::size::Size;
use crate::space::Space;
use crate::{conditions, failed, plain};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, Ticket};
use futures::{StreamExt, TryStreamExt};
use perron::connector::peers::rows_of;
use perron_model::Result;
use std::path::Path;
use std::time::Instant;
use tonic::Streaming;

const STATEMENT: &str = "SELECT * FROM readings";

/// What was measured of one answer.
#[derive(Clone, Copy, Debug)]
struct Drained {
    rows: u64,
    bytes: f64,
    /// From the execution's request to the end of the answer, in seconds.
    whole_s: f64,
    /// From the first data message to the last, in seconds.
    stream_s: f64,
}

/// The kinds of answers, in the order of a turn.
const KINDS: usize = 5;
const PLAIN: usize = 0;
const PROVIDER: usize = 1;
const PLAIN_HASHED: usize = 2;
const HASHED: usize = 3;
const RELAY: usize = 4;

struct Streams<'a> {
    space: &'a Space,
    asking: Asking,
    plain: Client,
}

/// The figure of streams.
pub async fn measure(space: &mut Space, directory: &Path, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let consumer = Member::open(&space.consumer)?;
    let plain = |address| consumer.dial_provider(Some(address)).map(client);
    let mut asking = Asking::of(Member::open(&space.consumer)?, &directory.join("intents"))?;
    let files = ["plain.arrow", "hashed.arrow"].map(|name| directory.join(name));
    for (file, agreement) in files.iter().zip([space.terms.rows, space.terms.hashed]) {
        let ticket = asking.ticket(agreement, STATEMENT).await?;
        let answer = asking.provider.do_get(ticket).await.map_err(failed)?.into_inner();
        // The last message has no header: it carries the receipt.
        let data = answer.try_filter(|m| futures::future::ready(!m.data_header.is_empty()));
        let decoded = FlightRecordBatchStream::new_from_flight_data(data.map_err(|e| FlightError::Tonic(Box::new(e))));
        plain::write(file, &decoded.try_collect::<Vec<_>>().await.map_err(failed)?)?;
    }
    let (child, address) = plain::start(&space.provider, &files)?;
    space.processes.adopt(&directory.join("plain"), child);
    let mut streams = Streams { space, asking, plain: plain(address)? };
    let mut probe = Probe::new(&space.provider)?;
    let (mut rounds, mut flushes) = (Vec::new(), Vec::new());
    for number in 0..=size.rounds {
        let mut round: [Vec<Drained>; KINDS] = Default::default();
        for _ in 0..size.answers {
            for (kind, drained) in round.iter_mut().enumerate() {
                drained.push(streams.answer(kind).await?);
                flushes.push(probe.flush()?);
            }
        }
        require_same(&round)?;
        // The first round warms up.
        if number > 0 {
            rounds.push(round);
        }
    }
    let samples = rounds.len() * size.answers * KINDS;
    let lines = lines(&rounds, &flushes);
    let what = "all rows of a view with a filter and a dropped column";
    Ok(Figure { name: "rows", what, lines, samples, load: [load, conditions::load()] })
}

impl Streams<'_> {
    /// Asks and drains; the time begins once all is ready to execute.
    async fn answer(&mut self, kind: usize) -> Result<Drained> {
        if kind == RELAY {
            return self.relayed().await;
        }
        let terms = self.space.terms;
        let (client, ticket) = match kind {
            PROVIDER => {
                let ticket = self.asking.ticket(terms.rows, STATEMENT).await?;
                (&mut self.asking.provider, ticket)
            }
            HASHED => {
                let ticket = self.asking.ticket(terms.hashed, STATEMENT).await?;
                (&mut self.asking.provider, ticket)
            }
            _ => (&mut self.plain, Ticket::new(if kind == PLAIN_HASHED { "1" } else { "0" })),
        };
        let begun = Instant::now();
        let answer = client.do_get(ticket).await.map_err(failed)?.into_inner();
        drain(answer, begun).await
    }

    async fn relayed(&self) -> Result<Drained> {
        let mut user = user(self.space, self.space.terms.relayed).await?;
        let info = user.execute(STATEMENT.to_owned(), None).await.map_err(failed)?;
        let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).ok_or_else(|| failed("no ticket"))?;
        let mut request = tonic::Request::new(ticket);
        let token = format!("Bearer {}", self.space.token).parse().map_err(failed)?;
        request.metadata_mut().insert("authorization", token);
        let begun = Instant::now();
        let answer = user.inner_mut().do_get(request).await.map_err(failed)?.into_inner();
        drain(answer, begun).await
    }
}

async fn drain(mut answer: Streaming<FlightData>, begun: Instant) -> Result<Drained> {
    let (mut rows, mut bytes, mut ends) = (0, 0, None);
    while let Some(message) = answer.next().await {
        let message = message.map_err(failed)?;
        if !message.data_header.is_empty() {
            rows += rows_of(&message.data_header).unwrap_or(0);
            bytes += message.data_header.len() + message.data_body.len();
            let now = Instant::now();
            ends = Some((ends.map_or(now, |(first, _)| first), now));
        }
    }
    let (first, last) = ends.ok_or_else(|| failed("an empty answer"))?;
    Ok(Drained {
        rows,
        bytes: bytes as f64,
        whole_s: begun.elapsed().as_secs_f64(),
        stream_s: last.duration_since(first).as_secs_f64(),
    })
}

/// All streams of a round have the same rows, or they don't compare.
fn require_same(round: &[Vec<Drained>; KINDS]) -> Result<()> {
    let mut rows = round.iter().flatten().map(|d| d.rows);
    let first = rows.next().unwrap_or(0);
    if first > 0 && rows.all(|r| r == first) { Ok(()) } else { Err(failed("streams of different rows")) }
}

fn lines(rounds: &[[Vec<Drained>; KINDS]], flushes: &[f64]) -> Vec<Line> {
    let of = |kind: usize, number: fn(&Drained) -> f64| -> Vec<f64> {
        let median = |round: &[Vec<Drained>; KINDS]| {
            quantile(&round.get(kind).map_or_else(Vec::new, |d| d.iter().map(number).collect()), 0.5)
        };
        rounds.iter().map(median).collect()
    };
    let ratio = |over: Vec<f64>, under: Vec<f64>| -> Seen {
        Seen::median(&over.iter().zip(under).map(|(o, u)| o / u).collect::<Vec<_>>())
    };
    let whole = |d: &Drained| d.rows as f64 / d.whole_s;
    let streamed = |d: &Drained| d.rows as f64 / d.stream_s;
    let megabytes = |d: &Drained| d.bytes / d.whole_s / 1e6;
    vec![
        Line::new("provider / plain", "ratio", ratio(of(PROVIDER, whole), of(PLAIN, whole)), Some(Goal::AtLeast(0.9))),
        Line::new("the same, streaming alone", "ratio", ratio(of(PROVIDER, streamed), of(PLAIN, streamed)), None),
        Line::new("keyed hash / plain", "ratio", ratio(of(HASHED, whole), of(PLAIN_HASHED, whole)), None),
        Line::new("relay / provider", "ratio", ratio(of(RELAY, whole), of(PROVIDER, whole)), None),
        Line::new("plain", "MB/s", Seen::median(&of(PLAIN, megabytes)), None),
        Line::new("provider", "MB/s", Seen::median(&of(PROVIDER, megabytes)), None),
        Line::new("provider, rows", "1/s", Seen::median(&of(PROVIDER, whole)), None),
        Line::new("keyed hash, rows", "1/s", Seen::median(&of(HASHED, whole)), None),
        Line::new("relay, rows", "1/s", Seen::median(&of(RELAY, whole)), None),
        Line::new("flush p50", "µs", Seen::median(flushes), None),
    ]
}
