//! Erasures in the fold: which entries' values are erased, on which ground, and whom it is yet to be
//! told.

use super::records::put;
use super::{ERASURES, State};
use crate::ledger::{base_of, base_of_closed};
use perron_model::entry::Erased;
use perron_model::life::{Act, Told};
use perron_model::{AgreementId, Digest, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;

/// An erasure, as its entry tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Place of its entry.
    pub index: u64,
    /// Leaf hash of that entry.
    pub leaf: Digest,
    /// When.
    pub time: Timestamp,
    /// Entries from one to another whose values are erased: their places.
    pub entries: Vec<(u64, u64)>,
    /// How many values these were.
    pub values: u64,
    /// Ground.
    pub ground: String,
    /// Until when a backup could undo it.
    pub until: Timestamp,
    /// Number of the vault's key-encryption key from then on.
    pub vault: u64,
    /// Agreements whose other parties have no notice of it yet.
    pub untold: Vec<AgreementId>,
    /// Pseudonym of the user whose name goes with it.
    pub user: Option<String>,
}

impl Erasure {
    /// Place of the first entry of the log that has them.
    pub fn base(&self) -> u64 {
        self.entries.first().map_or(0, |(first, _)| base_of(*first))
    }

    /// Is the value of the entry of this place among those that it erased?
    pub fn holds(&self, entry: u64) -> bool {
        let after = self.entries.partition_point(|(first, _)| *first <= entry);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).is_some_and(|(_, last)| *last >= entry)
    }
}

impl State {
    /// All erasures, in the order of the log.
    pub fn erasures(&self) -> Vec<Erasure> {
        self.read().erasures.values().cloned().collect()
    }

    /// The erasure that the value of an entry was erased by.
    pub fn erased_by(&self, entry: u64) -> Option<Erasure> {
        self.read().erasures.values().find(|erasure| erasure.holds(entry)).cloned()
    }

    /// Number of the vault's key-encryption key that the newest erasure names.
    pub fn erased_to(&self) -> Option<u64> {
        self.read().erasures.values().map(|erasure| erasure.vault).max()
    }

    pub(super) fn take_erased(&self, index: u64, time: Timestamp, leaf: Digest, body: &Erased) -> Result<()> {
        let base = body.log.map_or_else(|| base_of(index), base_of_closed);
        let place = |number: u64| base.saturating_add(number);
        let erasure = Erasure {
            index,
            leaf,
            time,
            entries: body.entries.iter().map(|span| (place(span.first), place(span.last))).collect(),
            values: body.values,
            ground: body.ground.clone(),
            until: body.until,
            vault: body.vault,
            untold: body.agreements.clone(),
            user: body.user.clone(),
        };
        self.keep_erasure(erasure)
    }

    /// A notice of ours tells of an erasure.
    pub(super) fn took_erasure_notice(&self, told: &Told) -> Result<()> {
        let Act::Erase { erasure, .. } = &told.act else { return Ok(()) };
        let found = self.read().erasures.values().find(|known| known.leaf == *erasure).cloned();
        let Some(mut found) = found else { return Ok(()) };
        found.untold.retain(|agreement| *agreement != told.agreement);
        self.keep_erasure(found)
    }

    fn keep_erasure(&self, erasure: Erasure) -> Result<()> {
        self.store.apply(vec![put(ERASURES, &erasure.index.to_be_bytes(), &erasure)?])?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.erasures.insert(erasure.index, erasure);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_holds_the_entries_of_its_spans_alone() {
        let erasure = Erasure {
            index: 20,
            leaf: Digest::of(b"leaf"),
            time: Timestamp::EPOCH,
            entries: vec![(2, 2), (5, 9)],
            values: 3,
            ground: "A17-1-a".to_owned(),
            until: Timestamp::EPOCH,
            vault: 2,
            untold: Vec::new(),
            user: None,
        };
        let held: Vec<u64> = (0..12).filter(|entry| erasure.holds(*entry)).collect();
        assert_eq!(held, [2, 5, 6, 7, 8, 9]);
    }
}
