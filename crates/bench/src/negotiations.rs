//! A whole negotiation: from the command to ask for an offer until both have signed.

use crate::figure::{Figure, Round, Rounds};
use crate::flush::Probe;
use crate::reads::bounded;
use crate::size::Size;
use crate::space::{self, Space};
use crate::{conditions, failed, link, micros};
use perron::api::grpc::admin::Command;
use perron_model::{DatasetId, ParticipantId, Result};
use serde_json::Value as Json;
use std::time::Instant;
use tonic::transport::Channel;

/// What a negotiation may take beside flushes, in microseconds.
const BESIDE_FLUSHES: f64 = 20_000.0;
/// Longest wait for one, in seconds.
const WAIT_S: u64 = 30;

/// The figure of negotiations.
pub async fn measure(space: &Space, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let socket = link::socket(&space.consumer).await?;
    let mut probe = Probe::new(&space.provider)?;
    let mut rounds = Rounds::default();
    negotiate(&socket).await?;
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for _ in 0..size.negotiations {
            round.work.push(negotiate(&socket).await?);
            round.flush.push(probe.flush()?);
        }
        rounds.0.push(round);
    }
    let mut lines = rounds.latencies();
    lines.push(bounded("p50 against its goal", &rounds, 10.0, BESIDE_FLUSHES));
    let what = "a whole negotiation, agreed automatically";
    Ok(Figure { name: "negotiation", what, lines, samples: rounds.samples(), load: [load, conditions::load()] })
}

async fn negotiate(socket: &Channel) -> Result<f64> {
    let ask = Command::NegotiationRequest {
        provider: ParticipantId::parse(space::PROVIDER)?,
        offer: DatasetId::parse("plain")?,
        policy: None,
    };
    let begun = Instant::now();
    let asked = link::command(socket, &ask).await?;
    let pid = asked.get("negotiation").and_then(Json::as_str).ok_or_else(|| failed("no negotiation"))?.to_owned();
    let done = link::command(socket, &Command::NegotiationWait { pid, seconds: WAIT_S }).await?;
    let taken = micros(begun);
    match done.get("state").and_then(Json::as_str) {
        Some("FINALIZED") => Ok(taken),
        _ => Err(failed(format!("a negotiation ended as {done}"))),
    }
}
