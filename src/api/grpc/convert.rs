//! Between the wire's messages and the model's.

use crate::api::pb;
use crate::connector::peers::{
    CatalogueItem, ExtractPart, ExtractPlace, ForWatcher, Head, ReceiptParts, RemoteState, Watched, WatchedMessage,
};
use perron_model::agreement::Offer;
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::negotiation::{Message, NegotiationMessage, State};
use perron_model::{Error, ErrorCode, ParticipantId, Result, canonical};

fn lacking(what: &str) -> Error {
    Error::malformed(format!("the message lacks its {what}"))
}

/// An offer from its canonical bytes.
pub fn offer(bytes: &[u8]) -> Result<Offer> {
    canonical::from_bytes(bytes, DOCUMENT_BYTES_MAX)
}

/// A message of a negotiation from its parts on the wire. The sender is the channel's
/// participant; which side it is shows in the kind of message.
pub fn message(
    kind: Message,
    envelope: Option<pb::Envelope>,
    me: &ParticipantId,
    peer: &ParticipantId,
    by_provider: bool,
    content: Content,
) -> Result<NegotiationMessage> {
    let envelope = envelope.ok_or_else(|| lacking("envelope"))?;
    let (provider, consumer) = if by_provider { (peer.clone(), me.clone()) } else { (me.clone(), peer.clone()) };
    let mut built = NegotiationMessage {
        message_id: envelope.message_id,
        message: kind,
        consumer_pid: envelope.consumer_pid,
        provider_pid: Some(envelope.provider_pid).filter(|p| !p.is_empty()),
        provider,
        consumer,
        offer: None,
        agreement: None,
        reason: None,
    };
    match content {
        Content::Nothing => {}
        Content::Offer(bytes) => built.offer = Some(offer(&bytes)?),
        Content::Agreement(bytes) => built.agreement = Some(canonical::from_bytes(&bytes, DOCUMENT_BYTES_MAX)?),
        Content::Reason(text) => built.reason = Some(text.chars().take(2000).collect()),
    }
    built.check()
}

/// What a message carries beside its envelope.
pub enum Content {
    /// Nothing.
    Nothing,
    /// An offer.
    Offer(Vec<u8>),
    /// A signed agreement.
    Agreement(Vec<u8>),
    /// Words.
    Reason(String),
}

/// A message's envelope on the wire.
pub fn envelope(message: &NegotiationMessage) -> Option<pb::Envelope> {
    Some(pb::Envelope {
        message_id: message.message_id.clone(),
        consumer_pid: message.consumer_pid.clone(),
        provider_pid: message.provider_pid.clone().unwrap_or_default(),
    })
}

/// State on the wire.
pub fn state_to_wire(state: &RemoteState) -> Option<pb::NegotiationState> {
    Some(pb::NegotiationState {
        consumer_pid: state.consumer_pid.clone(),
        provider_pid: state.provider_pid.clone(),
        state: state.state.to_string(),
    })
}

/// State from the wire.
pub fn state_from_wire(state: Option<pb::NegotiationState>) -> Result<RemoteState> {
    let state = state.ok_or_else(|| lacking("state"))?;
    let phase: State = serde_json::from_value(serde_json::Value::String(state.state))
        .map_err(|_| Error::malformed("an unknown state of a negotiation"))?;
    Ok(RemoteState { consumer_pid: state.consumer_pid, provider_pid: state.provider_pid, state: phase })
}

/// A set of the catalogue on the wire.
pub fn item_to_wire(item: &CatalogueItem) -> Result<pb::CatalogDataset> {
    Ok(pb::CatalogDataset {
        description: canonical::to_bytes(&item.dataset)?,
        offers: item.offers.iter().map(canonical::to_bytes).collect::<Result<_>>()?,
    })
}

/// A set of the catalogue from the wire.
pub fn item_from_wire(item: pb::CatalogDataset) -> Result<CatalogueItem> {
    Ok(CatalogueItem {
        dataset: canonical::from_bytes(&item.description, DOCUMENT_BYTES_MAX)?,
        offers: item.offers.iter().map(|o| offer(o)).collect::<Result<_>>()?,
    })
}

/// Hashes from the wire.
pub fn hashes(hashes: Vec<Vec<u8>>) -> Result<Vec<[u8; 32]>> {
    if hashes.len() > 64 {
        return Err(Error::new(ErrorCode::TooLarge, "a proof has at most 64 hashes"));
    }
    hashes.into_iter().map(|h| <[u8; 32]>::try_from(h).map_err(|_| Error::malformed("a hash is 32 bytes"))).collect()
}

/// A head on the wire.
pub fn consistency(head: &Head) -> Vec<Vec<u8>> {
    head.consistency.iter().map(|h| h.to_vec()).collect()
}

/// A place of an extract on the wire.
pub fn place_to_wire(place: ExtractPlace) -> pb::ExtractPlace {
    pb::ExtractPlace { end: place.end, size: place.size, from: place.from }
}

/// A place of an extract from the wire.
pub fn place_from_wire(place: pb::ExtractPlace) -> ExtractPlace {
    ExtractPlace { end: place.end, size: place.size, from: place.from }
}

/// Lines of an extract on the wire.
pub fn part_to_wire(part: ExtractPart) -> pb::GetExtractResponse {
    pb::GetExtractResponse {
        lines: part.lines,
        next: part.next.map(place_to_wire),
        consistency: part.consistency.into_iter().map(|hash| hash.to_vec()).collect(),
    }
}

/// Lines of an extract from the wire.
pub fn part_from_wire(part: pb::GetExtractResponse) -> Result<ExtractPart> {
    Ok(ExtractPart { lines: part.lines, next: part.next.map(place_from_wire), consistency: hashes(part.consistency)? })
}

/// A receipt on the wire.
pub fn receipt_to_wire(parts: ReceiptParts) -> pb::Receipt {
    pb::Receipt {
        decision: parts.decision,
        outcome: parts.outcome,
        decision_proof: parts.decision_proof,
        outcome_proof: parts.outcome_proof,
        stream_salt: parts.stream_salt,
    }
}

/// A receipt from the wire.
pub fn receipt_from_wire(receipt: pb::Receipt) -> ReceiptParts {
    ReceiptParts {
        decision: receipt.decision,
        outcome: receipt.outcome,
        decision_proof: receipt.decision_proof,
        outcome_proof: receipt.outcome_proof,
        stream_salt: receipt.stream_salt,
    }
}

/// A message for a watcher on the wire.
pub fn watched_to_wire(given: &ForWatcher) -> Result<pb::WatchResponse> {
    use pb::watch_response::Message as Wire;
    let message = match given {
        ForWatcher::Message(message) => message,
        ForWatcher::Notice(notice) => {
            let wire = Wire::Notice(pb::NotifyRequest { notice: notice.clone() });
            return Ok(pb::WatchResponse { message: Some(wire) });
        }
    };
    let envelope = envelope(message);
    let offer = message.offer.as_ref().map(canonical::to_bytes).transpose()?.unwrap_or_default();
    let agreement = message.agreement.as_ref().map(canonical::to_bytes).transpose()?.unwrap_or_default();
    let reason = message.reason.clone().unwrap_or_default();
    let wire = match message.message {
        Message::Request => Wire::Request(pb::RequestRequest { envelope, offer }),
        Message::Offer => Wire::Offer(pb::OfferRequest { envelope, offer }),
        Message::Accept => Wire::Accept(pb::AcceptRequest { envelope }),
        Message::Agree => Wire::Agree(pb::AgreeRequest { envelope, agreement }),
        Message::Verify => Wire::Verify(pb::VerifyRequest { envelope, agreement }),
        Message::Finalize => Wire::Finalize(pb::FinalizeRequest { envelope }),
        Message::Terminate => Wire::Terminate(pb::TerminateRequest { envelope, reason }),
    };
    Ok(pb::WatchResponse { message: Some(wire) })
}

/// A message that came over a watch.
pub fn watched_from_wire(response: pb::WatchResponse) -> Result<Watched> {
    use pb::watch_response::Message as Wire;
    let (kind, envelope, content) = match response.message.ok_or_else(|| lacking("content"))? {
        Wire::Request(m) => (Message::Request, m.envelope, Content::Offer(m.offer)),
        Wire::Offer(m) => (Message::Offer, m.envelope, Content::Offer(m.offer)),
        Wire::Accept(m) => (Message::Accept, m.envelope, Content::Nothing),
        Wire::Agree(m) => (Message::Agree, m.envelope, Content::Agreement(m.agreement)),
        Wire::Verify(m) => (Message::Verify, m.envelope, Content::Agreement(m.agreement)),
        Wire::Finalize(m) => (Message::Finalize, m.envelope, Content::Nothing),
        Wire::Terminate(m) => (Message::Terminate, m.envelope, Content::Reason(m.reason)),
        Wire::Notice(m) => return Ok(Watched::Notice(m.notice)),
    };
    let envelope = envelope.ok_or_else(|| lacking("envelope"))?;
    let mut watched = WatchedMessage {
        message: kind,
        message_id: envelope.message_id,
        consumer_pid: envelope.consumer_pid,
        provider_pid: envelope.provider_pid,
        offer: None,
        agreement: None,
        reason: None,
    };
    match content {
        Content::Nothing => {}
        Content::Offer(bytes) => watched.offer = Some(offer(&bytes)?),
        Content::Agreement(bytes) => watched.agreement = Some(canonical::from_bytes(&bytes, DOCUMENT_BYTES_MAX)?),
        Content::Reason(text) => watched.reason = Some(text.chars().take(2000).collect()),
    }
    Ok(Watched::Message(Box::new(watched)))
}
