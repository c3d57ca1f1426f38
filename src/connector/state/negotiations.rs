//! Negotiations in the fold: all in the store, those that still move in memory too.

use super::records::{load, put, unreadable};
use super::{MOVING, Memory, NEGOTIATIONS, State, THEIRS};
use crate::store::{Change, Store};
use perron_model::agreement::{JwsJson, Offer};
use perron_model::negotiation::{Message, NegotiationMessage, Side, State as Phase};
use perron_model::{Error, ErrorCode, ParticipantId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

/// Begins the id of a step that stands for the other side's refusal of our message.
pub const REFUSED: &str = "refused-";
/// Begins the id of the message that tells the other side of the end that followed.
const ENDED: &str = "ended-";

/// A negotiation, from this side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negotiation {
    /// This side's number.
    pub pid: String,
    /// The other side's number, once known.
    pub their_pid: Option<String>,
    /// Which side this is.
    pub side: Side,
    /// The other side.
    pub counterparty: ParticipantId,
    /// State.
    pub state: Phase,
    /// The offer on the table.
    pub offer: Option<Offer>,
    /// Who put it there.
    pub offered_by: Option<Side>,
    /// The agreement, once one side signed.
    pub agreement: Option<JwsJson>,
    /// Messages taken, by id, with the state after: the same message gets the same answer.
    pub taken: BTreeMap<String, Phase>,
    /// Our own message that the other side has not taken yet.
    pub outgoing: Option<NegotiationMessage>,
    /// Why it ended, if it was terminated.
    pub reason: Option<String>,
    /// When it last moved.
    pub changed: Timestamp,
}

impl Negotiation {
    /// Has it not ended, or is its last message on its way?
    fn moves(&self) -> bool {
        !self.state.is_terminal() || self.outgoing.is_some()
    }
}

/// Where a negotiation is found by the other side's number of it.
fn theirs_key(side: Side, counterparty: &ParticipantId, their_pid: &str) -> Vec<u8> {
    let side = match side {
        Side::Provider => "provider",
        Side::Consumer => "consumer",
    };
    [side, counterparty.as_str(), their_pid].join("\0").into_bytes()
}

fn stored(store: &Store, pid: &str) -> Result<Option<Negotiation>> {
    let Some(bytes) = store.get(NEGOTIATIONS, pid.as_bytes())? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| unreadable())
}

/// The negotiations that move. A store of before they were marked is given the marks.
pub(super) fn moving(store: &Store) -> Result<BTreeMap<String, Negotiation>> {
    if store.is_empty(THEIRS)? && !store.is_empty(NEGOTIATIONS)? {
        for negotiation in load::<Negotiation>(store, NEGOTIATIONS)? {
            index(store, &negotiation)?;
        }
    }
    let mut moving = BTreeMap::new();
    for key in store.keys(MOVING)? {
        let pid = String::from_utf8(key).map_err(|_| unreadable())?;
        // A mark may outlive what it marks by a crash.
        if let Some(negotiation) = stored(store, &pid)?.filter(Negotiation::moves) {
            moving.insert(pid, negotiation);
        }
    }
    Ok(moving)
}

/// Marks a negotiation that moves, and notes the other side's number of it, the first time.
fn index(store: &Store, negotiation: &Negotiation) -> Result<()> {
    let pid = negotiation.pid.as_bytes().to_vec();
    let mut changes = vec![match negotiation.moves() {
        true => Change::Put { tree: MOVING, key: pid.clone(), value: Vec::new() },
        false => Change::Remove { tree: MOVING, key: pid.clone() },
    }];
    if let Some(theirs) = &negotiation.their_pid {
        let key = theirs_key(negotiation.side, &negotiation.counterparty, theirs);
        if store.get(THEIRS, &key)?.is_none() {
            changes.push(Change::Put { tree: THEIRS, key, value: pid });
        }
    }
    store.apply(changes)
}

impl State {
    /// All negotiations, out of the store.
    pub fn negotiations(&self) -> Result<Vec<Negotiation>> {
        load(&self.store, NEGOTIATIONS)
    }

    /// Negotiations in which this side has something to send, or is the one to move.
    pub fn negotiations_to_move(&self) -> Vec<Negotiation> {
        let moves = |n: &&Negotiation| n.outgoing.is_some() || n.state.waits_for() == Some(n.side);
        self.read().moving.values().filter(moves).cloned().collect()
    }

    /// Participants with whom a negotiation is open.
    pub fn in_negotiation(&self) -> HashSet<ParticipantId> {
        let open = |n: &&Negotiation| !n.state.is_terminal();
        self.read().moving.values().filter(open).map(|n| n.counterparty.clone()).collect()
    }

    /// A negotiation by this side's number.
    pub fn negotiation(&self, pid: &str) -> Result<Option<Negotiation>> {
        if let Some(moving) = self.read().moving.get(pid) {
            return Ok(Some(moving.clone()));
        }
        stored(&self.store, pid)
    }

    /// A negotiation by the other side's number.
    pub fn negotiation_of(
        &self,
        side: Side,
        counterparty: &ParticipantId,
        their_pid: &str,
    ) -> Result<Option<Negotiation>> {
        let Some(pid) = self.store.get(THEIRS, &theirs_key(side, counterparty, their_pid))? else { return Ok(None) };
        self.negotiation(&String::from_utf8(pid).map_err(|_| unreadable())?)
    }

    /// Notes that the other side took our message, and its number of the negotiation.
    pub fn delivered(&self, pid: &str, message_id: &str, their_pid: &str) -> Result<()> {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut negotiation) = memory.moving.get(pid).cloned() {
            if negotiation.outgoing.as_ref().is_some_and(|m| m.message_id == message_id) {
                negotiation.outgoing = None;
            }
            if negotiation.their_pid.is_none() && !their_pid.is_empty() {
                negotiation.their_pid = Some(their_pid.to_owned());
            }
            self.keep_negotiation(&mut memory, negotiation)?;
        }
        drop(memory);
        self.touch();
        Ok(())
    }

    /// Puts a negotiation into the store, then its marks: what is marked is there.
    pub(super) fn keep_negotiation(&self, memory: &mut Memory, negotiation: Negotiation) -> Result<()> {
        self.store.apply(vec![put(NEGOTIATIONS, negotiation.pid.as_bytes(), &negotiation)?])?;
        index(&self.store, &negotiation)?;
        if negotiation.moves() {
            memory.moving.insert(negotiation.pid.clone(), negotiation);
        } else {
            memory.moving.remove(&negotiation.pid);
        }
        Ok(())
    }

    pub(super) fn take_step(
        &self,
        step: &perron_model::entry::Negotiation,
        message: NegotiationMessage,
        time: Timestamp,
    ) -> Result<()> {
        let side = if step.side == "provider" { Side::Provider } else { Side::Consumer };
        let by = if step.by == "provider" { Side::Provider } else { Side::Consumer };
        let state: Phase = serde_json::from_value(serde_json::Value::String(step.state.clone()))
            .map_err(|_| Error::new(ErrorCode::LogDamaged, "a step of a negotiation has an unknown state"))?;
        let counterparty = ParticipantId::parse(&step.counterparty)?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let known = match memory.moving.get(&step.id) {
            Some(moving) => Some(moving.clone()),
            None => stored(&self.store, &step.id)?,
        };
        let mut negotiation = known.unwrap_or_else(|| Negotiation {
            pid: step.id.clone(),
            their_pid: None,
            side,
            counterparty,
            state,
            offer: None,
            offered_by: None,
            agreement: None,
            taken: BTreeMap::new(),
            outgoing: None,
            reason: None,
            changed: time,
        });
        negotiation.state = state;
        negotiation.changed = time;
        if let Some(offer) = &message.offer {
            negotiation.offer = Some(offer.clone());
            negotiation.offered_by = Some(by);
        }
        if let Some(agreement) = &message.agreement {
            negotiation.agreement = Some(agreement.clone());
        }
        if message.message == Message::Terminate {
            negotiation.reason.clone_from(&message.reason);
        }
        let theirs = match side {
            // In a provider's first offer the consumer has no number yet.
            Side::Provider => Some(message.consumer_pid.clone()).filter(|pid| !pid.is_empty()),
            Side::Consumer => message.provider_pid.clone(),
        };
        if theirs.is_some() {
            negotiation.their_pid = theirs;
        }
        if by == side {
            negotiation.outgoing = Some(message);
        } else {
            let refused = message.message_id.strip_prefix(REFUSED).filter(|_| negotiation.outgoing.is_some());
            // A message of the other side shows that it took ours; one that stands for its refusal
            // is answered, or it would go on waiting. A first request left nothing there.
            negotiation.outgoing = refused
                .filter(|_| negotiation.their_pid.is_some())
                .map(|id| NegotiationMessage { message_id: format!("{ENDED}{id}"), ..message.clone() });
            negotiation.taken.insert(message.message_id, state);
        }
        self.keep_negotiation(&mut memory, negotiation)
    }
}
