//! Steps of negotiations: each one that the state machine allows, each with its message.

use super::attached::Attached;
use super::{Reading, has_room};
use crate::jws;
use perron_log::FindingKind;
use perron_model::entry::{AttachmentKind, Negotiation};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::negotiation::{NegotiationMessage, Side, State, next};
use perron_model::{Digest, Result, canonical};

/// A negotiation so far.
pub(super) struct Negotiated {
    state: Option<State>,
    side: String,
    counterparty: String,
    // What both sides signed, or one: name of the agreement, digest of the JWS.
    agreement: Option<(Digest, Digest)>,
}

impl Reading<'_> {
    pub(super) fn negotiation(&mut self, step: &Negotiation, attached: &mut Attached<'_>) {
        let Some(bytes) = self.bound(attached, AttachmentKind::NegotiationMessage, &step.digest) else { return };
        let message =
            canonical::from_bytes::<NegotiationMessage>(bytes, MESSAGE_BYTES_MAX).and_then(NegotiationMessage::check);
        let message = match message {
            Ok(message) => message,
            Err(error) => return self.wrong(FindingKind::DocumentBytes, format!("the message: {}", error.detail)),
        };
        let (Some(side), Some(by)) = (side_of(&step.side), side_of(&step.by)) else {
            return self.wrong(FindingKind::EntryEncoding, "a side is neither provider nor consumer");
        };
        let fits = self.fits(step, side, &message);
        self.require(fits, FindingKind::DocumentBytes, "the entry says other than the attached message");
        if !has_room(&self.negotiations, &step.id) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let found = self.negotiations.entry(step.id.clone()).or_insert_with(|| Negotiated {
            state: None,
            side: step.side.clone(),
            counterparty: step.counterparty.clone(),
            agreement: None,
        });
        let same = found.side == step.side && found.counterparty == step.counterparty;
        let moved = next(found.state, by, message.message);
        if let Ok(state) = moved {
            found.state = Some(state);
        }
        let agreement = match &message.agreement {
            Some(signed) => match names(signed) {
                Ok(names) => {
                    // The consumer signs what the provider signed.
                    let changed =
                        found.agreement.is_some_and(|before| before.0 != names.0) && moved == Ok(State::Verified);
                    found.agreement = Some(names);
                    if changed { Err("the two sides signed different agreements".to_owned()) } else { Ok(()) }
                }
                Err(error) => Err(error.detail),
            },
            None => Ok(()),
        };
        let signed = found.agreement;
        self.require(same, FindingKind::Order, "the negotiation was between others, or from the other side");
        if let Err(detail) = agreement {
            self.wrong(FindingKind::DocumentBytes, format!("the message's agreement: {detail}"));
        }
        match moved {
            Ok(state) => {
                self.require(
                    state.to_string() == step.state,
                    FindingKind::Order,
                    "the state that it tells isn't the one that the message leads to",
                );
                self.moved(state, signed);
            }
            Err(error) => self.wrong(FindingKind::Order, error.detail),
        }
    }

    /// Does the entry say what its message says?
    fn fits(&self, step: &Negotiation, side: Side, message: &NegotiationMessage) -> bool {
        let (me, other, own_pid) = match side {
            Side::Provider => (&message.provider, &message.consumer, message.provider_pid.as_deref()),
            Side::Consumer => (&message.consumer, &message.provider, Some(message.consumer_pid.as_str())),
        };
        let name = serde_json::to_value(message.message).ok();
        use perron_model::negotiation::Message;
        // Who begins doesn't know the other side's number.
        let first = message.message == Message::Request
            || (message.message == Message::Offer && side == Side::Consumer && message.consumer_pid.is_empty());
        *me == self.owner.id
            && other.as_str() == step.counterparty
            && name.as_ref().and_then(serde_json::Value::as_str) == Some(step.message.as_str())
            && (first || own_pid.is_none_or(|pid| pid == step.id))
    }

    /// What follows from a new state.
    fn moved(&mut self, state: State, agreement: Option<(Digest, Digest)>) {
        let Some((name, signed)) = agreement else { return };
        match state {
            State::Verified => {
                self.verified.insert(name, signed);
            }
            State::Finalized if !self.agreements.contains_key(&name) => {
                self.wrong(FindingKind::Order, "the negotiation is finalized, and its agreement is not in the log");
            }
            State::Terminated => {
                self.verified.remove(&name);
            }
            _ => {}
        }
    }
}

fn side_of(text: &str) -> Option<Side> {
    match text {
        "provider" => Some(Side::Provider),
        "consumer" => Some(Side::Consumer),
        _ => None,
    }
}

/// The name of a signed agreement, and the digest of the JWS.
fn names(signed: &perron_model::agreement::JwsJson) -> Result<(Digest, Digest)> {
    Ok((Digest::of(&jws::decode(&signed.payload)?), Digest::of(&canonical::to_bytes(signed)?)))
}
