//! Pruning as the ledger does it: what entries say was pruned, what is left of it, and what is still
//! to be done. Which entries may go is decided elsewhere.

use crate::ledger::chains::Chains;
use crate::ledger::failure::log_error;
use crate::ledger::handle::Ledger;
use crate::ledger::writer::Job;
use perron_log::{LogError, LogReader, Pruned, Pruner, Stored};
use perron_model::entry::Entry;
use perron_model::retention::Activity;
use perron_model::{AgreementId, DatasetId, Digest, Error, ErrorCode, Result};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::PoisonError;

/// Processing activities by the set that is read.
pub type Activities = BTreeMap<DatasetId, Activity>;

/// What is pruned of the log, and what is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Entries of which the hash alone is left: ranges in order, and apart.
    ranges: Vec<Range<u64>>,
    /// What the newest entry that tells of a pruning names, and that entry.
    told: Vec<Range<u64>>,
    at: Option<u64>,
}

impl Gone {
    /// One more, behind all others.
    pub(super) fn push(&mut self, index: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.end == index => last.end = index.saturating_add(1),
            _ => self.ranges.push(index..index.saturating_add(1)),
        }
    }

    /// The entry `at` says that these are pruned.
    pub(super) fn tell(&mut self, at: u64, ranges: &[(u64, u64)]) {
        self.at = Some(at);
        self.told = ranges.iter().map(|(first, end)| *first..*end).collect();
    }

    pub(super) fn told(&self) -> &[Range<u64>] {
        &self.told
    }

    /// Is all done that an entry says?
    pub(super) fn is_done(&self) -> bool {
        self.told.iter().all(|told| {
            let after = self.ranges.partition_point(|range| range.start <= told.start);
            let around = after.checked_sub(1).and_then(|at| self.ranges.get(at));
            around.is_some_and(|range| range.end >= told.end)
        })
    }

    /// What was told of is pruned now.
    pub(super) fn done(&mut self) {
        let mut all: Vec<Range<u64>> = self.ranges.drain(..).chain(self.told.iter().cloned()).collect();
        all.sort_by_key(|range| range.start);
        for range in all {
            match self.ranges.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => self.ranges.push(range),
            }
        }
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        let after = self.ranges.partition_point(|gone| gone.start < range.end);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|gone| gone.end > range.start)
    }
}

impl Ledger {
    /// Decisions about reads that aren't over: without an outcome, or not acknowledged yet.
    pub fn open_decisions(&self) -> HashSet<Digest> {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).open_decisions()
    }

    /// Entries of an agreement's chain that were pruned.
    pub fn pruned_of(&self, agreement: &AgreementId) -> u64 {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).pruned_of(agreement)
    }

    /// Was any entry of this range pruned?
    pub fn is_pruned(&self, range: &Range<u64>) -> bool {
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).touches(range)
    }

    /// Closes the segment that is written, so that all that is durable now can be pruned.
    pub async fn roll(&self) -> Result<()> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let gone = || Error::new(ErrorCode::LogUnavailable, "the log can't be written, so nothing leaves");
        self.0.queue.send(Job::Roll { reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Prunes what the newest entry that tells of a pruning names, and isn't yet.
    ///
    /// # Errors
    /// `disk_full` or `log_unavailable`: the next start, or the next call, does what is left.
    pub fn prune_told(&self) -> Result<Pruned> {
        let told = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).told().to_vec();
        let counts = chains_within(&self.0.reader, &told)?;
        let pruned = self.0.pruner.prune(&told).map_err(|e| log_error(&e))?;
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).done();
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).prune(&counts);
        Ok(pruned)
    }

    /// Has all been done that an entry says was pruned?
    pub fn is_pruning_done(&self) -> bool {
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).is_done()
    }

    /// The entry `at` says that these are pruned; it is durable.
    pub fn told_pruned(&self, at: u64, ranges: &[(u64, u64)]) {
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).tell(at, ranges);
    }

    /// The newest entry that says that others were pruned.
    pub fn pruned_at(&self) -> Option<u64> {
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).at
    }
}

/// Does what a durable entry says was pruned and an earlier process didn't come to: entries, and the
/// bundles that hold them. Where it can't be done now, the log goes on as it is.
pub(super) fn prune_the_rest(pruner: &Pruner, reader: &LogReader, chains: &mut Chains, mut gone: Gone) -> Gone {
    let done = if gone.is_done() {
        pruner.remove_bundles(gone.told()).map(drop).map_err(|e| log_error(&e))
    } else {
        chains_within(reader, gone.told()).and_then(|counts| {
            pruner.prune(gone.told()).map_err(|e| log_error(&e))?;
            chains.prune(&counts);
            gone.done();
            Ok(())
        })
    };
    if let Err(error) = done {
        tracing::error!(%error, "what a durable entry says was pruned isn't, and can't be now");
    }
    gone
}

/// How many entries of each agreement's chain are in these ranges, pruned ones not counted.
fn chains_within(reader: &LogReader, ranges: &[Range<u64>]) -> Result<BTreeMap<AgreementId, u64>> {
    let mut counts: BTreeMap<AgreementId, u64> = BTreeMap::new();
    for range in ranges {
        let mut failed = None;
        let visited = reader.for_entries(range.start, range.end, &mut |stored| {
            let Stored::Entry(stored) = stored else { return true };
            match Entry::from_bytes(&stored.leaf) {
                Ok(entry) => {
                    if let Some(chain) = entry.chain {
                        let count = counts.entry(chain.agreement).or_default();
                        *count = count.saturating_add(1);
                    }
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        visited.map_err(|e| log_error(&e))?;
        failed.map_or(Ok(()), Err)?;
    }
    Ok(counts)
}

/// Why an entry can't be read, for callers.
pub fn unreadable(error: &LogError) -> Error {
    match error {
        LogError::Pruned { index } => {
            Error::new(ErrorCode::EntryPruned, format!("entry {index} was pruned by a retention rule"))
        }
        other => Error::new(ErrorCode::LogUnavailable, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::Gone;

    #[test]
    fn what_is_gone_is_known_by_ranges() {
        let mut gone = Gone::default();
        assert!(gone.is_done() && !gone.touches(&(0..100)));
        for index in [3, 4, 5, 9] {
            gone.push(index);
        }
        assert_eq!(gone.ranges, [3..6, 9..10]);
        for (range, touched) in [(0..3, false), (0..4, true), (5..6, true), (6..9, false), (7..20, true)] {
            assert_eq!(gone.touches(&range), touched, "{range:?}");
        }
        gone.tell(30, &[(4, 6), (9, 10)]);
        assert!(gone.is_done());
        gone.tell(31, &[(1, 3), (4, 7), (20, 22)]);
        assert!(!gone.is_done());
        gone.done();
        assert_eq!(gone.ranges, [1..7, 9..10, 20..22]);
        assert!(gone.is_done());
    }
}
