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
}
