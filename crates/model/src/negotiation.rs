//! The contract negotiation of the Dataspace Protocol 2025-1 as a pure state machine.
//!
//! Source: Dataspace Protocol 2025-1, "Contract Negotiation Protocol", state machine; the
//! diagram is stricter than the prose, and it is the diagram that is kept here.

use crate::agreement::{JwsJson, Offer};
use crate::error::{Error, ErrorCode, Result};
use crate::id::ParticipantId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The consumer asked, last.
    Requested,
    /// The provider offered, last.
    Offered,
    /// The consumer accepted the provider's offer.
    Accepted,
    /// The provider signed.
    Agreed,
    /// The consumer signed.
    Verified,
    /// In force.
    Finalized,
    /// Ended without an agreement.
    Terminated,
}

/// Side of a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Gives data.
    Provider,
    /// Receives data.
    Consumer,
}

impl Side {
    /// The other side.
    pub const fn other(self) -> Side {
        match self {
            Side::Provider => Side::Consumer,
            Side::Consumer => Side::Provider,
        }
    }
}

/// A message of the protocol, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// `ContractRequestMessage`.
    Request,
    /// `ContractOfferMessage`.
    Offer,
    /// `ContractNegotiationEventMessage` ACCEPTED.
    Accept,
    /// `ContractAgreementMessage`, with the provider's signature.
    Agree,
    /// `ContractAgreementVerificationMessage`, with the consumer's signature.
    Verify,
    /// `ContractNegotiationEventMessage` FINALIZED.
    Finalize,
    /// `ContractNegotiationTerminationMessage`.
    Terminate,
}

impl Message {
    /// All messages.
    pub const ALL: [Message; 7] = [
        Message::Request,
        Message::Offer,
        Message::Accept,
        Message::Agree,
        Message::Verify,
        Message::Finalize,
        Message::Terminate,
    ];
}

impl State {
    /// All states.
    pub const ALL: [State; 7] = [
        State::Requested,
        State::Offered,
        State::Accepted,
        State::Agreed,
        State::Verified,
        State::Finalized,
        State::Terminated,
    ];

    /// Is this state final?
    pub const fn is_terminal(self) -> bool {
        matches!(self, State::Finalized | State::Terminated)
    }

    /// The side that has to act next; none in a final state.
    pub const fn waits_for(self) -> Option<Side> {
        match self {
            State::Requested | State::Accepted | State::Verified => Some(Side::Provider),
            State::Offered | State::Agreed => Some(Side::Consumer),
            State::Finalized | State::Terminated => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Requested => "REQUESTED",
            State::Offered => "OFFERED",
            State::Accepted => "ACCEPTED",
            State::Agreed => "AGREED",
            State::Verified => "VERIFIED",
            State::Finalized => "FINALIZED",
            State::Terminated => "TERMINATED",
        })
    }
}

/// The state after `message` by `by` in `state` (none: no negotiation yet), or a refusal with
/// `transition_illegal`. An illegal message never changes the state.
pub fn next(state: Option<State>, by: Side, message: Message) -> Result<State> {
    use Message as M;
    use Side::{Consumer, Provider};
    use State as S;
    let to = match (state, by, message) {
        (None | Some(S::Offered), Consumer, M::Request) => S::Requested,
        (None | Some(S::Requested), Provider, M::Offer) => S::Offered,
        (Some(S::Offered), Consumer, M::Accept) => S::Accepted,
        (Some(S::Requested | S::Accepted), Provider, M::Agree) => S::Agreed,
        (Some(S::Agreed), Consumer, M::Verify) => S::Verified,
        (Some(S::Verified), Provider, M::Finalize) => S::Finalized,
        (Some(S::Requested | S::Offered), _, M::Terminate)
        | (Some(S::Accepted | S::Verified), Provider, M::Terminate)
        | (Some(S::Agreed), Consumer, M::Terminate) => S::Terminated,
        _ => {
            let from = state.map_or_else(|| "the beginning".to_owned(), |s| s.to_string());
            return Err(Error::new(
                ErrorCode::TransitionIllegal,
                format!("a {by:?} may not send {message:?} in {from}").to_lowercase(),
            ));
        }
    };
    Ok(to)
}

/// A message of the protocol as it is recorded and compared: canonical JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegotiationMessage {
    /// UUIDv7 of the sender; the same id is the same message.
    pub message_id: String,
    /// What it does.
    pub message: Message,
    /// The consumer's number of the negotiation.
    pub consumer_pid: String,
    /// The provider's number; none in a first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_pid: Option<String>,
    /// Who gives.
    pub provider: ParticipantId,
    /// Who receives.
    pub consumer: ParticipantId,
    /// The offer, in `request` and `offer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// The signed agreement, in `agree` (one signature) and `verify` (two).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<JwsJson>,
    /// Why, in `terminate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl NegotiationMessage {
    /// Refuses a message without the parts that its kind has, or with others.
    pub fn check(self) -> Result<NegotiationMessage> {
        use Message as M;
        let offer = matches!(self.message, M::Request | M::Offer);
        let agreement = matches!(self.message, M::Agree | M::Verify);
        let fits = self.offer.is_some() == offer
            && self.agreement.is_some() == agreement
            && (self.reason.is_none() || self.message == M::Terminate);
        if !fits
            || self.message_id.is_empty()
            || self.message_id.len() > 64
            || self.consumer_pid.len() > 64
            || self.provider_pid.as_ref().is_some_and(|p| p.len() > 64)
        {
            return Err(Error::malformed(format!("a {:?} message with the wrong parts", self.message).to_lowercase()));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_transitions_of_the_diagram() {
        let mut legal = Vec::new();
        let states = std::iter::once(None).chain(State::ALL.into_iter().map(Some));
        for state in states {
            for by in [Side::Provider, Side::Consumer] {
                for message in Message::ALL {
                    if let Ok(to) = next(state, by, message) {
                        legal.push((state, by, to));
                    }
                }
            }
        }
        // 2 starts, 6 steps between, 8 ways to terminate, 1 finalisation.
        assert_eq!(legal.len(), 2 + 6 + 7 + 1);
        assert!(legal.iter().all(|(from, _, _)| from.is_none_or(|s| !s.is_terminal())));
    }

    #[test]
    fn the_side_that_is_waited_for_can_move() {
        for state in State::ALL {
            let movers: Vec<Side> = [Side::Provider, Side::Consumer]
                .into_iter()
                .filter(|side| {
                    Message::ALL.into_iter().any(|m| m != Message::Terminate && next(Some(state), *side, m).is_ok())
                })
                .collect();
            assert_eq!(movers, state.waits_for().into_iter().collect::<Vec<_>>(), "{state}");
        }
    }

    #[test]
    fn a_message_leads_where_the_diagram_says() {
        use Side::{Consumer, Provider};
        let steps = [
            (None, Consumer, Message::Request, State::Requested),
            (Some(State::Offered), Consumer, Message::Request, State::Requested),
            (None, Provider, Message::Offer, State::Offered),
            (Some(State::Requested), Provider, Message::Offer, State::Offered),
            (Some(State::Offered), Consumer, Message::Accept, State::Accepted),
            (Some(State::Requested), Provider, Message::Agree, State::Agreed),
            (Some(State::Accepted), Provider, Message::Agree, State::Agreed),
            (Some(State::Agreed), Consumer, Message::Verify, State::Verified),
            (Some(State::Verified), Provider, Message::Finalize, State::Finalized),
        ];
        for (from, by, message, to) in steps {
            assert_eq!(next(from, by, message), Ok(to));
            assert_eq!(next(from, by.other(), message).unwrap_err().code, ErrorCode::TransitionIllegal);
        }
        let ends = [
            (State::Requested, true, true),
            (State::Offered, true, true),
            (State::Accepted, true, false),
            (State::Agreed, false, true),
            (State::Verified, true, false),
            (State::Finalized, false, false),
            (State::Terminated, false, false),
        ];
        for (state, provider, consumer) in ends {
            for (by, may) in [(Provider, provider), (Consumer, consumer)] {
                let to = next(Some(state), by, Message::Terminate).ok();
                assert_eq!(to, may.then_some(State::Terminated), "{state} {by:?}");
            }
            assert_eq!(state.is_terminal(), !provider && !consumer);
            assert_eq!(state.to_string(), serde_json::to_value(state).unwrap());
        }
        let error = next(None, Provider, Message::Verify).unwrap_err();
        assert_eq!(error.detail, "a provider may not send verify in the beginning");
        let error = next(Some(State::Agreed), Provider, Message::Terminate).unwrap_err();
        assert_eq!(error.detail, "a provider may not send terminate in agreed");
    }

    fn message(kind: Message, offer: bool, agreement: bool, reason: bool) -> NegotiationMessage {
        let offered = serde_json::json!({
            "id": "offer", "dataset": "water", "description": crate::Digest::of(b"d"), "policy": {},
            "legal_basis": {"term": "t", "text": ""}, "regime": "open",
        });
        NegotiationMessage {
            message_id: "m".to_owned(),
            message: kind,
            consumer_pid: "c".to_owned(),
            provider_pid: None,
            provider: ParticipantId::parse("commune").unwrap(),
            consumer: ParticipantId::parse("intercommunale").unwrap(),
            offer: offer.then(|| serde_json::from_value(offered).unwrap()),
            agreement: agreement.then(|| JwsJson { payload: String::new(), signatures: Vec::new() }),
            reason: reason.then(|| "because".to_owned()),
        }
    }

    #[test]
    fn a_message_has_exactly_the_parts_of_its_kind() {
        for kind in Message::ALL {
            for parts in 0..8 {
                let (offer, agreement, reason) = (parts & 1 != 0, parts & 2 != 0, parts & 4 != 0);
                let offers = matches!(kind, Message::Request | Message::Offer);
                let agrees = matches!(kind, Message::Agree | Message::Verify);
                let fits = offer == offers && agreement == agrees && (!reason || kind == Message::Terminate);
                let checked = message(kind, offer, agreement, reason).check();
                assert_eq!(checked.is_ok(), fits, "{kind:?} {parts}");
            }
        }
    }

    #[test]
    fn numbers_of_a_message_are_bounded() {
        let of = |id: usize, consumer: usize, provider: Option<usize>| NegotiationMessage {
            message_id: "x".repeat(id),
            consumer_pid: "x".repeat(consumer),
            provider_pid: provider.map(|n| "x".repeat(n)),
            ..message(Message::Finalize, false, false, false)
        };
        for good in [of(1, 0, None), of(64, 64, Some(64)), of(1, 1, Some(0))] {
            assert_eq!(good.clone().check(), Ok(good));
        }
        for bad in [of(0, 1, None), of(65, 1, None), of(1, 65, None), of(1, 1, Some(65))] {
            assert_eq!(bad.check().unwrap_err().code, ErrorCode::Malformed);
        }
    }
}
