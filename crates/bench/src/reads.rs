//! A permitted read, from the statement to the first batch at the user: over the local socket,
//! the consumer's connector, mutual TLS and the provider's, with an entry in each log.

use crate::figure::{Figure, Goal, Line, Round, Rounds, Seen};
use crate::flush::Probe;
use crate::link::{self, Member};
use crate::size::Size;
use crate::space::{self, PURPOSE, Space};
use crate::{conditions, failed, micros};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::StreamExt;
use perron::api::flight::local::{AGREEMENT_HEADER, PURPOSE_HEADER};
use perron::ledger::SystemClock;
use perron::trust::jws;
use perron_gate::Clock;
use perron_model::participant::KeyUse;
use perron_model::request::{Acknowledgement, REQUEST_TYP, ReadRequest};
use perron_model::{AgreementId, Digest, ParticipantId, Result, canonical};
use std::time::Instant;
use tonic::transport::Channel;

/// What a user waits for beside flushes, in microseconds: the goal's part that isn't a ratio.
const BESIDE_FLUSHES: f64 = 15_000.0;

/// A read request of a member, signed.
pub struct Signed {
    pub claims: ReadRequest,
    pub request: String,
    pub salt: [u8; 16],
}

/// Signs a request as the consumer's connector does.
pub fn sign(
    consumer: &Member,
    agreement: AgreementId,
    statement: &str,
    nonce: &str,
    acknowledged: Vec<Acknowledgement>,
) -> Result<Signed> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(failed)?;
    let claims = ReadRequest {
        id: Digest::of(nonce.as_bytes()).short(),
        issuer: consumer.config.participant.clone(),
        provider: ParticipantId::parse(space::PROVIDER)?,
        agreement,
        action: "http://www.w3.org/ns/odrl/2/read".to_owned(),
        purpose: PURPOSE.to_owned(),
        statement: Digest::salted(&salt, statement.as_bytes()),
        user: "bench".to_owned(),
        grant: "bench".to_owned(),
        nonce: nonce.to_owned(),
        time: SystemClock.now(),
        trace: None,
        roles: None,
        seen: None,
        acknowledged,
    };
    let key = consumer.keys.signing_key(KeyUse::Request)?;
    let request = jws::sign_compact(key, REQUEST_TYP, &canonical::to_bytes(&claims)?)?;
    Ok(Signed { claims, request, salt })
}

/// The user's tool, as it connects to their connector.
pub async fn user(space: &Space, agreement: AgreementId) -> Result<FlightSqlServiceClient<Channel>> {
    let mut flight = FlightSqlServiceClient::new(link::socket(&space.consumer).await?);
    flight.set_header(AGREEMENT_HEADER, agreement.to_string());
    flight.set_header(PURPOSE_HEADER, PURPOSE);
    flight.set_token(space.token.clone());
    Ok(flight)
}

/// The figure of permitted reads.
pub async fn measure(space: &Space, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let mut user = user(space, space.terms.relayed).await?;
    let mut probe = Probe::new(&space.provider)?;
    let mut rounds = Rounds::default();
    // The first reads connect, and note the schema grant.
    for _ in 0..3 {
        read(&mut user).await?;
    }
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for _ in 0..size.reads {
            round.work.push(read(&mut user).await?);
            round.flush.push(probe.flush()?);
        }
        rounds.0.push(round);
    }
    let mut lines = rounds.latencies();
    lines.push(bounded("p50 against its goal", &rounds, 4.0, BESIDE_FLUSHES));
    let what = "a permitted read, statement to first batch at the user";
    Ok(Figure { name: "read", what, lines, samples: rounds.samples(), load: [load, conditions::load()] })
}

/// p50 as a share of `flushes` flushes and a time: at most 1 is the goal.
pub fn bounded(name: &'static str, rounds: &Rounds, flushes: f64, time: f64) -> Line {
    let seen: Seen = rounds.seen(|r| r.p50() / (flushes * r.flush_p50() + time));
    Line::new(name, "ratio", seen, Some(Goal::AtMost(1.0)))
}

/// What it took until the first batch was there, in microseconds; the rest is taken too.
pub async fn read(user: &mut FlightSqlServiceClient<Channel>) -> Result<f64> {
    let statement = "SELECT meter, start, litres FROM readings LIMIT 100".to_owned();
    let begun = Instant::now();
    let info = user.execute(statement, None).await.map_err(failed)?;
    let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).ok_or_else(|| failed("no ticket"))?;
    let mut batches = user.do_get(ticket).await.map_err(failed)?;
    let first = batches.next().await.ok_or_else(|| failed("no batch"))?.map_err(failed)?;
    let taken = micros(begun);
    let mut rows = first.num_rows();
    while let Some(batch) = batches.next().await {
        rows += batch.map_err(failed)?.num_rows();
    }
    if rows == 100 { Ok(taken) } else { Err(failed(format!("{rows} rows instead of 100"))) }
}
