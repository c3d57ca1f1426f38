//! Pruned entries: of each, an entry has to say that it was pruned, by a rule that the log's owner
//! signed and that allows it.
//!
//! What a pruned entry said is gone. Its hash is left, so its place in the tree and in its chain; its
//! time is at most that of the next entry that is whole.

use super::attached::Attached;
use super::{Chain, Reading};
use crate::jws;
use crate::limits::{CLOCKS_APART_MS_MAX, FOLLOWED_MAX, PRUNED_TOLD_MAX};
use crate::report::{PrunedBy, of_entry};
use perron_log::{Finding, FindingKind};
use perron_model::entry::{Administration, AttachmentKind, Body, Entry, Pruned};
use perron_model::limits::RETENTION_RULE_BYTES_MAX;
use perron_model::participant::KeyUse;
use perron_model::retention::{Pruning, RETENTION_TYP, RetentionRule, charged_before, newest_prunable};
use perron_model::{Digest, Error, Result, Timestamp};
use std::collections::{BTreeMap, HashSet};

/// Pruned entries so far.
#[derive(Default)]
pub(super) struct Stubs {
    // Runs of them that no entry has told of yet, by their first.
    runs: BTreeMap<u64, Run>,
    // Where the entry after the newest run hasn't come yet.
    open: Option<u64>,
    // Hashes of those that no chain has named yet.
    hashes: HashSet<Digest>,
    leaves: u64,
    // How many of them the gaps of chains took.
    claimed: u64,
    rule: Option<(Digest, RetentionRule)>,
    told: BTreeMap<u64, (u64, Timestamp)>,
    // Past the bound they aren't followed.
    is_over: bool,
}

/// Pruned entries that follow each other.
#[derive(Clone, Copy)]
struct Run {
    end: u64,
    /// None of them is newer; none before an entry says it.
    until: Option<Timestamp>,
}

/// What of a range is pruned.
struct Taken {
    leaves: u64,
    until: Timestamp,
    is_undated: bool,
}

impl Stubs {
    fn push(&mut self, index: u64, leaf: Digest) {
        self.leaves = self.leaves.saturating_add(1);
        if self.hashes.len() < FOLLOWED_MAX {
            self.hashes.insert(leaf);
        } else {
            self.is_over = true;
        }
        let end = index.saturating_add(1);
        if let Some(run) = self.open.and_then(|first| self.runs.get_mut(&first)) {
            run.end = end;
        } else if self.runs.len() < FOLLOWED_MAX {
            self.runs.insert(index, Run { end, until: None });
            self.open = Some(index);
        } else {
            self.is_over = true;
        }
    }

    /// An entry that is whole: those before it aren't newer.
    fn close(&mut self, entry: &Entry) {
        let Some(run) = self.open.take().and_then(|first| self.runs.get_mut(&first)) else { return };
        run.until = Some(match &entry.body {
            Body::ClockJump(jump) => jump.from.max(entry.time),
            _ => entry.time,
        });
    }

    /// Takes what is pruned of a range.
    fn take(&mut self, first: u64, end: u64) -> Taken {
        let (mut at, mut taken) = (first, Taken { leaves: 0, until: Timestamp::EPOCH, is_undated: false });
        while at < end {
            let around = self.runs.range(..=at).next_back().filter(|(_, run)| run.end > at);
            let Some((begin, run)) = around.or_else(|| self.runs.range(at..end).next()).map(|(b, r)| (*b, *r)) else {
                break;
            };
            self.runs.remove(&begin);
            let (from, to) = (at.max(begin), run.end.min(end));
            if begin < from {
                self.runs.insert(begin, Run { end: from, ..run });
            }
            if to < run.end {
                self.runs.insert(to, run);
            }
            taken.leaves = taken.leaves.saturating_add(to.saturating_sub(from));
            taken.is_undated |= run.until.is_none();
            taken.until = taken.until.max(run.until.unwrap_or(Timestamp::EPOCH));
            at = to;
        }
        taken
    }

    /// May so many entries before one be pruned ones, the last of them this one?
    pub(super) fn fill(&mut self, gap: u64, previous: Option<&Digest>) -> bool {
        let is_one = previous.is_some_and(|leaf| self.hashes.remove(leaf) || self.is_over);
        let claimed = self.claimed.saturating_add(gap);
        if is_one && claimed <= self.leaves {
            self.claimed = claimed;
            return true;
        }
        false
    }
}

impl Reading<'_> {
    /// A leaf of which the hash alone is left.
    pub(super) fn pruned_leaf(&mut self, leaf: Digest) {
        self.stubs.push(self.index, leaf);
        self.sealed.prune(self.index);
    }

    /// An entry that is whole.
    pub(super) fn whole_leaf(&mut self, entry: &Entry) {
        self.stubs.close(entry);
    }

    /// A retention rule is put in force.
    pub(super) fn retention(&mut self, entry: &Entry, body: &Administration, attached: &mut Attached<'_>) {
        let Some(bytes) = self.bound(attached, AttachmentKind::Document, &body.document) else { return };
        self.count_signature("retention");
        match self.rule(bytes, entry.time) {
            Ok(rule) => self.stubs.rule = Some((body.document, rule)),
            Err((kind, error)) => self.wrong(kind, format!("the retention rule: {}", error.detail)),
        }
    }

    fn rule(&self, bytes: &[u8], at: Timestamp) -> Result<RetentionRule, (FindingKind, Error)> {
        let of_signature = |error| (FindingKind::DocumentSignature, error);
        let text = std::str::from_utf8(bytes).map_err(|_| of_signature(Error::malformed("not UTF-8")))?;
        let (signed, payload) =
            jws::parse_compact(text, RETENTION_TYP, RETENTION_RULE_BYTES_MAX).map_err(of_signature)?;
        let mut times = [0, -CLOCKS_APART_MS_MAX, CLOCKS_APART_MS_MAX].into_iter().map(|ms| at.plus_millis(ms));
        let key = times.find_map(|time| self.owner.key_at(KeyUse::Agreement, &signed.kid, time));
        let key = key.ok_or_else(|| of_signature(Error::malformed("not by the owner's agreement key in force")))?;
        signed.verify(&key.key).map_err(of_signature)?;
        let rule = RetentionRule::parse(&payload).map_err(|error| (FindingKind::DocumentBytes, error))?;
        let follows = self.stubs.rule.as_ref().is_none_or(|(_, before)| before.number < rule.number);
        if rule.participant != self.owner.id || rule.space != self.register.space || !follows {
            let error = Error::malformed("it is another's, or no newer than the one before");
            return Err((FindingKind::DocumentBytes, error));
        }
        Ok(rule)
    }

    /// An entry that tells what was pruned.
    pub(super) fn pruned(&mut self, entry: &Entry, body: &Pruned, attached: &mut Attached<'_>) {
        let Some(bytes) = self.bound(attached, AttachmentKind::Document, &body.document) else { return };
        let pruning = match Pruning::parse(bytes) {
            Ok(pruning) => pruning,
            Err(error) => return self.wrong(FindingKind::DocumentBytes, format!("what was pruned: {}", error.detail)),
        };
        let same = pruning.leaves() == body.leaves;
        self.require(same, FindingKind::DocumentBytes, "it says another number of entries than its document");
        let rule = self.stubs.rule.clone().filter(|(digest, _)| *digest == body.rule).map(|(_, rule)| rule);
        let has_rule = rule.is_some();
        self.require(has_rule, FindingKind::PrunedWithoutRule, "the rule that it names is not the signed one in force");
        let (mut left, mut too_new, mut other_days, mut until) = (0_u64, 0_u64, false, Timestamp::EPOCH);
        for group in &pruning.groups {
            let newest = newest_prunable(entry.time, group.days);
            other_days |= rule.as_ref().is_some_and(|rule| rule.days_of(group.activity.as_ref()) != Some(group.days));
            for (first, end) in &group.ranges {
                let taken = self.stubs.take(*first, *end);
                left = left.saturating_add(end.saturating_sub(*first).saturating_sub(taken.leaves));
                if taken.is_undated || taken.until > newest {
                    too_new = too_new.saturating_add(taken.leaves);
                }
                until = until.max(taken.until);
            }
        }
        self.require(!other_days, FindingKind::PrunedWithoutRule, "it goes by other days than the rule has");
        if too_new > 0 {
            let detail = format!("{too_new} of the entries that it pruned may have been too new for the rule");
            self.wrong(FindingKind::PrunedWithoutRule, detail);
        }
        if left > 0 && !self.stubs.is_over {
            let detail = format!("{left} of the entries that it pruned are still there, in part or whole");
            self.wrong(FindingKind::Unfinished, detail);
        }
        if let Some(rule) = rule {
            let told = self.stubs.told.entry(rule.number).or_insert((0, Timestamp::EPOCH));
            *told = (told.0.saturating_add(body.leaves), told.1.max(until));
        }
    }

    /// Where entries of a chain were pruned, its counters go on from what the next evaluation was
    /// told; that may differ from what was known by one use for each of them.
    pub(super) fn take_counters(&mut self, agreement: &Digest, attached: &Attached<'_>) {
        let Some(chain) = self.chains.get_mut(agreement).filter(|chain| chain.torn > 0) else { return };
        let told = attached.look(AttachmentKind::EvaluationInput).and_then(charged_before);
        let Some((uses, volume)) = told else { return };
        let fits = uses.abs_diff(chain.uses) <= chain.torn;
        (chain.uses, chain.volume, chain.torn) = (uses, volume, 0);
        self.require(fits, FindingKind::Order, "the uses before it can't come from the entries that were pruned");
    }

    /// After the last entry of a log: what no entry of it told of.
    pub(super) fn untold(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let untold = |first: u64, end: u64| {
            let detail = format!("entries {first} to {} are pruned, and no entry says so", end.saturating_sub(1));
            of_entry(FindingKind::PrunedWithoutRule, first, detail)
        };
        self.stubs.open = None;
        for (first, run) in std::mem::take(&mut self.stubs.runs).into_iter().take(PRUNED_TOLD_MAX) {
            findings.push(untold(first, run.end));
        }
        findings
    }

    /// After the last entry of all: what no entry told of, and what may be said of the rest.
    pub(super) fn finish_pruned(&mut self) -> (Vec<Finding>, Vec<PrunedBy>) {
        let findings = self.untold();
        if self.stubs.is_over {
            self.beyond = self.beyond.saturating_add(1);
        }
        let told = self.stubs.told.iter();
        let told = told.map(|(rule, (entries, until))| PrunedBy { rule: *rule, entries: *entries, until: *until });
        (findings, told.collect())
    }
}

impl Chain {
    /// Is a number of uses what was to come, as far as pruned entries let it be known?
    pub(super) fn is_due(&self, told: u64, due: u64) -> bool {
        told.abs_diff(due) <= self.torn
    }
}
