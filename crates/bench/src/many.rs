//! A provider with very many agreements: what one costs in its process's memory, and whether they
//! slow a decision.
//!
//! They come to be as in a negotiation: four steps, the envelope with both signatures, an entry in
//! the log for each. Only the other side's process is missing; its key signs here.

use crate::decisions::Rooms;
use crate::figure::{Figure, Goal, Line, Seen};
use crate::link::Member;
use crate::size::Size;
use crate::space::Space;
use crate::{conditions, failed};
use perron::ledger::Draft;
use perron::trust::envelope::{sign_as_consumer, sign_as_provider};
use perron_model::agreement::{AgreementPayload, Envelope, JwsJson, Offer};
use perron_model::entry::{Agreement, AttachmentKind, Body, Negotiation};
use perron_model::negotiation::{Message, NegotiationMessage, State};
use perron_model::participant::KeyUse;
use perron_model::{AgreementId, Digest, ParticipantId, Result, Timestamp, canonical};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Negotiations at a time.
const AT_ONCE: usize = 256;

/// The figure. The provider's process must have ended.
pub async fn measure(space: &mut Space, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let provider = space.provider.clone();
    let (before, _) = resident(space, &provider).await?;
    let consumer = Arc::new(Member::open(&space.consumer)?);
    let rooms = Arc::new(Rooms::open(&provider)?);
    rooms.policies.warm().await?;
    let of = (&*space, &*consumer, space.terms.twenty);
    let few = rooms.alone("few", "", of, size).await?;
    let template = rooms.state.agreement(&space.terms.rows).ok_or_else(|| failed("no agreement"))?.payload.clone();
    conclude(&rooms, &consumer, &template, size.agreements).await?;
    let of = (&*space, &*consumer, space.terms.twenty);
    let many = rooms.alone("many", "", of, size).await?;
    rooms.ledger.close().await?;
    drop(rooms);
    let (after, start) = resident(space, &provider).await?;
    let each = (after - before) / size.agreements as f64;
    let slower = ratio(&few, &many)?;
    let lines = vec![
        Line::new("memory of one", "B", Seen::median(&[each.max(1.0)]), Some(Goal::AtMost(5_000.0))),
        Line::new("decision, many / few, p50", "ratio", Seen::median(&[slower]), Some(Goal::AtMost(1.1))),
        Line::new("resident before", "MB", Seen::median(&[before / 1e6]), None),
        Line::new("resident with all", "MB", Seen::median(&[after / 1e6]), None),
        Line::new("start with all", "µs", Seen::median(&[start]), None),
    ];
    let what = "a provider with many agreements: after a start, and beside one with few";
    Ok(Figure { name: "agreements", what, lines, samples: size.agreements, load: [load, conditions::load()] })
}

fn ratio(few: &Figure, many: &Figure) -> Result<f64> {
    let p50 = |figure: &Figure| figure.lines.iter().find(|l| l.name == "p50").map(|l| l.seen.value);
    p50(many).zip(p50(few)).map(|(many, few)| many / few).ok_or_else(|| failed("a decision without p50"))
}

/// Memory of the provider's process once it has started, in bytes, and what its start took.
async fn resident(space: &mut Space, directory: &Path) -> Result<(f64, f64)> {
    let start = space.processes.start(directory)?;
    // Whatever it does after a start is done by then.
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..4 {
        ticks.tick().await;
    }
    let bytes = space.processes.resident_bytes(directory)?;
    space.processes.stop(directory)?;
    Ok((bytes, start))
}

async fn conclude(rooms: &Arc<Rooms>, consumer: &Arc<Member>, of: &AgreementPayload, count: usize) -> Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        if running.len() >= AT_ONCE
            && let Some(done) = running.join_next().await
        {
            done.map_err(failed)??;
        }
        let (rooms, consumer, payload) = (rooms.clone(), consumer.clone(), of.clone());
        running.spawn(async move { one(&rooms, &consumer, payload, number).await });
    }
    while let Some(done) = running.join_next().await {
        done.map_err(failed)??;
    }
    Ok(())
}

/// One negotiation, as the provider's connector writes it down.
async fn one(rooms: &Rooms, consumer: &Member, mut payload: AgreementPayload, number: usize) -> Result<()> {
    let pid = format!("bench-{number:032x}");
    payload.negotiation.clone_from(&pid);
    payload.timestamp = Timestamp::from_millis(payload.timestamp.millis() + i64::try_from(number).unwrap_or(0))?;
    let half = sign_as_provider(&payload, rooms.member.keys.signing_key(KeyUse::Agreement)?)?;
    let both = sign_as_consumer(half.clone(), consumer.keys.signing_key(KeyUse::Agreement)?)?;
    let parties = (&payload.provider, &payload.consumer);
    let steps = [
        (Message::Request, "consumer", State::Requested, Some(payload.offer.clone()), None),
        (Message::Agree, "provider", State::Agreed, None, Some(half)),
        (Message::Verify, "consumer", State::Verified, None, Some(both.clone())),
    ];
    for (kind, by, state, offer, agreement) in steps {
        step(rooms, &pid, parties, (kind, by, state), (offer, agreement)).await?;
    }
    rooms.ledger.append(kept(rooms, &payload, payload.id()?, both)?).await?;
    step(rooms, &pid, parties, (Message::Finalize, "provider", State::Finalized), (None, None)).await
}

async fn step(
    rooms: &Rooms,
    pid: &str,
    (provider, consumer): (&ParticipantId, &ParticipantId),
    (kind, by, state): (Message, &str, State),
    (offer, agreement): (Option<Offer>, Option<JwsJson>),
) -> Result<()> {
    let message = NegotiationMessage {
        message_id: format!("{pid}{state}").chars().rev().take(64).collect(),
        message: kind,
        consumer_pid: format!("{pid}-there"),
        provider_pid: Some(pid.to_owned()),
        provider: provider.clone(),
        consumer: consumer.clone(),
        offer,
        agreement,
        reason: None,
    };
    let bytes = canonical::to_bytes(&message)?;
    let body = Body::Negotiation(Negotiation {
        id: pid.to_owned(),
        counterparty: consumer.to_string(),
        side: "provider".to_owned(),
        by: by.to_owned(),
        message: word(&kind)?,
        state: state.to_string(),
        digest: Digest::of(&bytes),
        decided_by: None,
    });
    let attachments = vec![(AttachmentKind::NegotiationMessage, bytes)];
    rooms.ledger.append(Draft { body, chain: None, trace: None, attachments }).await?;
    if by == "provider" {
        // The other side has it.
        rooms.state.delivered(pid, &message.message_id, "")?;
    }
    Ok(())
}

fn kept(rooms: &Rooms, payload: &AgreementPayload, id: AgreementId, agreement: JwsJson) -> Result<Draft> {
    let register = rooms.member.register.load();
    let entry = |p: &ParticipantId| {
        register.entry_jws(p).map(str::to_owned).ok_or_else(|| failed("a party is not in the register"))
    };
    let envelope =
        Envelope { agreement, provider_entry: entry(&payload.provider)?, consumer_entry: entry(&payload.consumer)? };
    let bytes = canonical::to_bytes(&envelope)?;
    let body = Body::Agreement(Agreement {
        agreement: id,
        envelope: Digest::of(&bytes),
        counterparty: payload.consumer.to_string(),
        side: "provider".to_owned(),
        dataset: payload.offer.dataset.to_string(),
        legal_basis: payload.offer.legal_basis.term.clone(),
        regime: word(&payload.offer.regime)?,
        amends: None,
        uses: None,
        volume: None,
    });
    Ok(Draft { body, chain: Some(id), trace: None, attachments: vec![(AttachmentKind::Envelope, bytes)] })
}

/// A word of the model as it stands in JSON.
fn word(of: &impl serde::Serialize) -> Result<String> {
    match serde_json::to_value(of).map_err(failed)? {
        serde_json::Value::String(text) => Ok(text),
        other => Err(failed(format!("not a word: {other}"))),
    }
}
