//! Keys in their time: those by which the log was signed, and signatures by keys that have ended.

use super::Reading;
use crate::kept::{Head, Seen};
use crate::limits::CLOCKS_APART_MS_MAX;
use perron_log::{FindingKind, Hash, KeyKind, LeafView, Verifier};
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant, PublicKey, RegisteredKey};
use perron_model::{ParticipantId, Timestamp};
use std::collections::HashMap;

/// The log keys of the log's owner, and what was found of them last.
pub(super) struct LogKeys {
    known: HashMap<Hash, RegisteredKey>,
    // Keys that are there from the first on.
    first: Vec<Hash>,
    found: Vec<Hash>,
}

impl LogKeys {
    /// For its log of this origin.
    pub fn of(owner: &Participant, origin: &str) -> LogKeys {
        let (mut known, mut first) = (HashMap::new(), Vec::new());
        for key in owner.keys.iter().filter(|k| k.key_use == KeyUse::Log) {
            let Ok(verifier) = Verifier::new(origin, KeyKind::Ed25519, key.key.as_bytes()) else { continue };
            if owner.answers_for(key) == KeyAuthorisation::Enrolment {
                first.push(verifier.fingerprint());
            }
            known.insert(verifier.fingerprint(), key.clone());
        }
        LogKeys { known, first, found: Vec::new() }
    }
}

/// Signatures by keys that have ended, of which nobody else signed in time that they were there.
#[derive(Debug, Default)]
pub(crate) struct Undated {
    /// How many.
    pub count: u64,
    /// Entry of the first.
    pub first: Option<u64>,
}

/// How far others signed the log before a time, by who they are.
#[derive(Default)]
pub(super) struct Dated {
    // Entries of each head, and who has seen it.
    heads: Vec<(u64, Vec<Seen>)>,
    // By who signed and when the key ended.
    covered: HashMap<(ParticipantId, Timestamp), u64>,
}

impl Dated {
    pub fn by(heads: &[Head]) -> Dated {
        let heads = heads.iter().map(|head| (head.size, head.seen.clone())).collect();
        Dated { heads, covered: HashMap::new() }
    }

    /// Entries that a third, neither the owner nor who signed, had seen before `until`.
    fn covered(&mut self, owner: &ParticipantId, signer: &ParticipantId, until: Timestamp) -> u64 {
        let heads = &self.heads;
        *self.covered.entry((signer.clone(), until)).or_insert_with(|| {
            let is_third = |by: &str| by != owner.as_str() && by != signer.as_str();
            let in_time =
                |seen: &[Seen]| seen.iter().any(|s| s.cosigned && is_third(&s.by) && s.at.is_some_and(|at| at < until));
            heads.iter().filter(|(_, seen)| in_time(seen)).map(|(size, _)| *size).max().unwrap_or(0)
        })
    }
}

impl Reading<'_> {
    /// The keys that signed the batch of an entry were in force at its time; clocks may be apart. A clock
    /// that goes back brings no key back, nor does it take one away that had begun.
    pub(super) fn log_keys(&mut self, view: &LeafView<'_>, at: Timestamp) {
        self.latest = self.latest.max(at);
        let (early, late) = (at.plus_millis(-CLOCKS_APART_MS_MAX), self.latest.plus_millis(CLOCKS_APART_MS_MAX));
        for fingerprint in view.keys {
            let Some(key) = self.log_keys.known.get(fingerprint) else { continue };
            // Before the first key there was none that could have signed in its place.
            let has_begun = self.log_keys.first.contains(fingerprint) || key.from <= late;
            let lives = key.until.is_none_or(|until| early < until);
            if (has_begun && lives) || self.log_keys.found.contains(fingerprint) {
                continue;
            }
            let kid = key.key.thumbprint();
            self.log_keys.found.push(*fingerprint);
            self.wrong(FindingKind::KeyNotInForce, format!("its checkpoint is signed by the log key {kid} at {at}"));
        }
    }

    /// A document was signed by this key of a participant. If the key has ended, its signature says when
    /// only where somebody else had seen it before.
    pub(super) fn signed_by(&mut self, signer: &ParticipantId, key_use: KeyUse, key: &PublicKey) {
        let held = self.register.participant(signer.as_str());
        let ended = held.and_then(|p| p.keys.iter().find(|k| k.key_use == key_use && k.key == *key));
        let Some(until) = ended.and_then(|k| k.until) else { return };
        if self.dated.covered(&self.owner.id, signer, until) > self.index {
            return;
        }
        self.undated.count = self.undated.count.saturating_add(1);
        self.undated.first.get_or_insert(self.index);
    }
}
