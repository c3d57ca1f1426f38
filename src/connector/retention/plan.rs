//! Which entries a retention rule lets go: old enough, about single reads that are over, and not
//! needed for counters or for the newest places of chains.
//!
//! Of a read, decision and outcome (or intent and what was received) go together or not at all.
//! Behind each entry that goes stands one that no rule prunes and that is old enough too, so that a
//! verifier sees that it was.

use perron_log::{LogReader, Stored};
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::limits::{PRUNED_LEAVES_MAX, PRUNED_RANGES_MAX};
use perron_model::retention::{
    Activity, PrunedGroup, Pruning, PruningKind, RetentionRule, charged_before, newest_prunable, read_kind,
};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Reads that aren't over.
pub(super) struct Kept {
    /// Decisions without an outcome, or that their consumer hasn't acknowledged.
    pub decisions: HashSet<Digest>,
    /// Decisions of others that we haven't acknowledged.
    pub received: HashSet<Digest>,
    /// Requests of ours whose end has no entry.
    pub requests: HashSet<Digest>,
}

/// What goes.
#[derive(Debug)]
pub(super) struct Plan {
    /// As the entry says it.
    pub pruning: Pruning,
    /// More than one entry can name?
    pub has_more: bool,
}

/// Numbers of a chain from which on all is kept.
#[derive(Default)]
struct ChainEnd {
    head: u64,
    anchor: Option<u64>,
    has_permits: bool,
}

/// An entry that may go.
#[derive(Clone, Copy)]
struct Leaf {
    index: u64,
    // No later than this; none before an entry behind it tells.
    until: Option<Timestamp>,
    group: usize,
    kind: &'static str,
}

/// A read's entries so far, by the decision's hash or by the request.
#[derive(Default)]
struct Units {
    leaves: Vec<Leaf>,
    // The entries of each unit: the first, and the second where there is to be one.
    units: Vec<(usize, Option<usize>)>,
    half: HashMap<Digest, usize>,
}

impl Plan {
    /// Looks through the log twice: for the newest of each chain, then for what may go.
    pub fn of(log: &LogReader, rule: &RetentionRule, kept: &Kept, now: Timestamp) -> Result<Plan> {
        let size = log.size();
        let mut ends: HashMap<AgreementId, ChainEnd> = HashMap::new();
        each(log, size, &mut |entry, _, input| {
            note_end(&mut ends, entry, input);
            true
        })?;
        let mut groups = Groups::new(rule, now);
        let mut units = Units::default();
        let (mut open, mut has_more) = (0, false);
        let longest = groups.newest_of_all();
        each(log, size, &mut |entry, leaf, _| {
            match read_kind(&entry.body).and_then(|kind| Some((kind, groups.of(entry)?))) {
                Some((kind, group)) if entry.time <= groups.newest(group) && is_free(&ends, entry) => {
                    let found = Leaf { index: entry.index, until: None, group, kind };
                    units.take(found, entry, leaf, kept);
                }
                Some(_) => {}
                None if read_kind(&entry.body).is_some() => {}
                // What no rule prunes tells of the time of all before it.
                None => {
                    let time = match &entry.body {
                        Body::ClockJump(jump) => jump.from.max(entry.time),
                        _ => entry.time,
                    };
                    let since = units.leaves.get_mut(open..).unwrap_or_default();
                    since.iter_mut().for_each(|leaf| leaf.until = Some(time));
                    open = units.leaves.len();
                    has_more = open >= PRUNED_LEAVES_MAX;
                    return entry.time <= longest && !has_more;
                }
            }
            true
        })?;
        Ok(plan(&groups, &units, has_more))
    }
}

/// What is done with an entry, its leaf hash and what is asked of its attachments; `false` ends it.
type Visit<'a> = dyn FnMut(&Entry, Digest, Option<&[u8]>) -> bool + 'a;

/// Gives the entries that are whole, with their hash and a decision's input.
fn each(log: &LogReader, size: u64, visit: &mut Visit<'_>) -> Result<()> {
    let mut failed = None;
    let visited = log.for_entries(0, size, &mut |stored| {
        let Stored::Entry(stored) = stored else { return true };
        let input = stored.attachments.iter().find(|a| a.kind == AttachmentKind::EvaluationInput as u16);
        let leaf = Digest::from_bytes(perron_log::merkle::leaf_hash(&stored.leaf).0);
        match Entry::from_bytes(&stored.leaf) {
            Ok(entry) => visit(&entry, leaf, input.map(|a| a.bytes.as_slice())),
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    visited.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
    failed.map_or(Ok(()), Err)
}

/// The newest entry of a chain, and the newest by which its counters can be known.
fn note_end(ends: &mut HashMap<AgreementId, ChainEnd>, entry: &Entry, input: Option<&[u8]>) {
    let Some(position) = &entry.chain else { return };
    let end = ends.entry(position.agreement).or_default();
    end.head = position.number;
    match &entry.body {
        Body::Decision(decision) => {
            end.has_permits |= decision.permitted;
            if input.and_then(charged_before).is_some() {
                end.anchor = Some(position.number);
            }
        }
        Body::Received(received) if received.decision.is_some() => end.anchor = Some(position.number),
        _ => {}
    }
}

/// Is an entry before those of its chain that are kept for what follows from them?
fn is_free(ends: &HashMap<AgreementId, ChainEnd>, entry: &Entry) -> bool {
    let Some(position) = &entry.chain else { return true };
    let Some(end) = ends.get(&position.agreement) else { return false };
    let from = match end.anchor {
        Some(anchor) => anchor.min(end.head),
        // Permits whose evaluation told no counters.
        None if end.has_permits => 0,
        None => end.head,
    };
    position.number < from
}

impl Units {
    fn take(&mut self, leaf: Leaf, entry: &Entry, hash: Digest, kept: &Kept) {
        let place = self.leaves.len();
        let second_of = match &entry.body {
            Body::Decision(decision) if decision.permitted => {
                if !kept.decisions.contains(&hash) {
                    self.half.insert(hash, place);
                    self.leaves.push(leaf);
                }
                return;
            }
            Body::Intent(intent) => {
                if !kept.requests.contains(&intent.request) {
                    self.half.insert(intent.request, place);
                    self.leaves.push(leaf);
                }
                return;
            }
            Body::Outcome(outcome) => Some(outcome.decision),
            Body::Received(received) => {
                if received.decision.is_some_and(|decision| kept.received.contains(&decision)) {
                    return;
                }
                Some(received.request)
            }
            _ => None,
        };
        match second_of.map(|first| self.half.remove(&first)) {
            None => self.units.push((place, None)),
            Some(Some(first)) => self.units.push((first, Some(place))),
            // Its first half is kept.
            Some(None) => return,
        }
        self.leaves.push(leaf);
    }
}

/// The activities that entries name, with their days.
struct Groups<'a> {
    rule: &'a RetentionRule,
    now: Timestamp,
    known: Vec<(Option<Activity>, u32)>,
}

impl<'a> Groups<'a> {
    const fn new(rule: &'a RetentionRule, now: Timestamp) -> Groups<'a> {
        Groups { rule, now, known: Vec::new() }
    }

    /// The group of an entry; none where it is kept.
    fn of(&mut self, entry: &Entry) -> Option<usize> {
        let activity = entry.processing_activity.as_deref().map(Activity::parse).transpose().ok()?;
        if let Some(known) = self.known.iter().position(|(name, _)| *name == activity) {
            return Some(known);
        }
        let days = self.rule.days_of(activity.as_ref())?;
        self.known.push((activity, days));
        self.known.len().checked_sub(1)
    }

    fn newest(&self, group: usize) -> Timestamp {
        let days = self.known.get(group).map_or(u32::MAX, |(_, days)| *days);
        newest_prunable(self.now, days)
    }

    /// No entry that goes is newer than this.
    fn newest_of_all(&self) -> Timestamp {
        newest_prunable(self.now, self.rule.days_min().unwrap_or(u32::MAX))
    }
}

/// The units that may go as a whole, as far as one entry can name them.
fn plan(groups: &Groups<'_>, units: &Units, has_more: bool) -> Plan {
    let leaf = |place: usize| units.leaves.get(place);
    let is_old = |leaf: &Leaf| leaf.until.is_some_and(|until| until <= groups.newest(leaf.group));
    let mut going: Vec<(Leaf, Option<Leaf>)> = units
        .units
        .iter()
        .filter_map(|(first, second)| {
            let (first, second) = (*leaf(*first)?, second.map(|place| leaf(place).copied()));
            let second = match second {
                None => None,
                Some(second) => Some(second?),
            };
            (is_old(&first) && second.as_ref().is_none_or(is_old)).then_some((first, second))
        })
        .collect();
    let mut has_more = has_more;
    loop {
        let pruning = pruning(groups, &going);
        let ranges: usize = pruning.groups.iter().map(|group| group.ranges.len()).sum();
        if ranges <= PRUNED_RANGES_MAX {
            return Plan { pruning, has_more };
        }
        // The oldest go first: as many as there is room for, whole reads alone.
        has_more = true;
        let mut starts: Vec<u64> =
            pruning.groups.iter().flat_map(|g| g.ranges.iter().map(|(first, _)| *first)).collect();
        starts.sort_unstable();
        let most = starts.len().min(PRUNED_RANGES_MAX) / 8 * 7;
        let end = starts.get(most).copied().unwrap_or(0);
        going.retain(|(one, other)| one.index < end && other.is_none_or(|other| other.index < end));
    }
}

fn pruning(groups: &Groups<'_>, going: &[(Leaf, Option<Leaf>)]) -> Pruning {
    let mut leaves: Vec<Leaf> = going.iter().flat_map(|(one, other)| [Some(*one), *other]).flatten().collect();
    leaves.sort_unstable_by_key(|leaf| leaf.index);
    let mut by_group: BTreeMap<Option<Activity>, PrunedGroup> = BTreeMap::new();
    for leaf in leaves {
        let Some((activity, days)) = groups.known.get(leaf.group) else { continue };
        let group = by_group.entry(activity.clone()).or_insert_with(|| PrunedGroup {
            activity: activity.clone(),
            days: *days,
            kinds: BTreeMap::new(),
            ranges: Vec::new(),
        });
        let count = group.kinds.entry(leaf.kind.to_owned()).or_default();
        *count = count.saturating_add(1);
        match group.ranges.last_mut() {
            Some((_, end)) if *end == leaf.index => *end = leaf.index.saturating_add(1),
            _ => group.ranges.push((leaf.index, leaf.index.saturating_add(1))),
        }
    }
    Pruning { kind: PruningKind::V1, groups: by_group.into_values().collect() }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
