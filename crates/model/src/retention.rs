//! How long entries about single reads are kept: a rule that the owner of a log signs, and what was
//! pruned by it.
//!
//! A rule has a number of days for each processing activity (GDPR Art. 30), and one for entries
//! that name none. It is about single reads alone ([`read_kind`]): agreements, negotiations,
//! notices, releases, administration and all that tells of the log itself is kept.

use crate::canonical;
use crate::entry::Body;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{Digest, ParticipantId, SpaceId, name_of_text};
use crate::limits::{
    ACTIVITIES_MAX, ACTIVITY_BYTES_MAX, PRUNED_RANGES_MAX, PRUNING_BYTES_MAX, RETENTION_DAYS_MAX, RETENTION_DAYS_MIN,
    RETENTION_RULE_BYTES_MAX,
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `typ` of a signed retention rule.
pub const RETENTION_TYP: &str = "perron-retention+jws";
/// The act of administration by which a rule is put in force; the signed rule is its document.
pub const RETENTION_ACT: &str = "retention.set";
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// A processing activity (GDPR Art. 30), by the owner's own name for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Activity(String);

name_of_text!(Activity);

/// Type mark of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleKind {
    /// A rule of version 1.
    #[serde(rename = "perron-retention/v1")]
    V1,
}

/// A retention rule: what the owner's agreement key signs, in canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Always `perron-retention/v1`.
    #[serde(rename = "type")]
    pub kind: RuleKind,
    /// The data space.
    pub space: SpaceId,
    /// Whose rule it is.
    pub participant: ParticipantId,
    /// Number of the rule, from 1; each one takes the place of the one before.
    pub number: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// Days after which entries that name no activity may be pruned; without, they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_days: Option<u32>,
    /// Days after which entries of an activity may be pruned. An activity that isn't named has the
    /// days of those that name none.
    pub activities: BTreeMap<Activity, u32>,
}

/// Type mark of a pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PruningKind {
    /// A pruning of version 1.
    #[serde(rename = "perron-pruning/v1")]
    V1,
}

/// What an entry `pruned` says was pruned, in canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// Always `perron-pruning/v1`.
    #[serde(rename = "type")]
    pub kind: PruningKind,
    /// What was pruned, by activity; entries that name none come first.
    pub groups: Vec<PrunedGroup>,
}

/// Entries of one activity that were pruned together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrunedGroup {
    /// The activity that they named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// Days that the rule has for it.
    pub days: u32,
    /// How many of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Entries: index of the first, and of the one after the last; in order, and apart.
    pub ranges: Vec<(u64, u64)>,
}

impl Activity {
    /// Parses a name: 1 to 32 of `a-z`, `0-9`, `-`, beginning with a letter.
    ///
    /// # Errors
    /// `malformed`.
    pub fn parse(text: &str) -> Result<Activity> {
        let is_one = text.len() <= ACTIVITY_BYTES_MAX
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if is_one {
            return Ok(Activity(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        let detail = format!(
            "processing activity `{shown}` is not 1 to {ACTIVITY_BYTES_MAX} of a-z, 0-9 and -, beginning with a letter"
        );
        Err(Error::malformed(detail))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RetentionRule {
    /// Reads a rule's canonical bytes, within its bounds.
    ///
    /// # Errors
    /// `malformed` or `too_large`; `constraint` violations are `malformed` with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<RetentionRule> {
        let rule: RetentionRule = canonical::from_bytes(bytes, RETENTION_RULE_BYTES_MAX)?;
        rule.check()?;
        Ok(rule)
    }

    /// Refuses what no rule may say.
    ///
    /// # Errors
    /// `malformed` with what is wrong.
    pub fn check(&self) -> Result<()> {
        if self.number == 0 {
            return Err(Error::malformed("retention rules are numbered from 1"));
        }
        if self.activities.len() > ACTIVITIES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a rule of over {ACTIVITIES_MAX} activities")));
        }
        if self.default_days.is_none() && self.activities.is_empty() {
            return Err(Error::malformed("a retention rule that names no days"));
        }
        let mut days = self.activities.values().chain(&self.default_days);
        match days.find(|days| !(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(days)) {
            Some(days) => Err(Error::malformed(format!(
                "entries are kept from {RETENTION_DAYS_MIN} to {RETENTION_DAYS_MAX} days, not `{days}`"
            ))),
            None => Ok(()),
        }
    }

    /// Its canonical bytes: what is signed.
    ///
    /// # Errors
    /// As [`canonical::to_bytes`].
    pub fn bytes(&self) -> Result<Vec<u8>> {
        canonical::to_bytes(self)
    }

    /// Days after which entries of an activity may be pruned; none where they are kept.
    pub fn days_of(&self, activity: Option<&Activity>) -> Option<u32> {
        activity.and_then(|name| self.activities.get(name).copied()).or(self.default_days)
    }

    /// The fewest days that it has.
    pub fn days_min(&self) -> Option<u32> {
        self.activities.values().copied().chain(self.default_days).min()
    }
}

/// The newest time that entries may have which are pruned at `now` after so many days.
pub fn newest_prunable(now: Timestamp, days: u32) -> Timestamp {
    now.plus_millis(i64::from(days).saturating_mul(-DAY_MS))
}

impl Pruning {
    /// Reads its canonical bytes, within its bounds.
    ///
    /// # Errors
    /// `malformed` or `too_large`, with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Pruning> {
        let pruning: Pruning = canonical::from_bytes(bytes, PRUNING_BYTES_MAX)?;
        let in_order = pruning.groups.is_sorted_by(|one, next| one.activity < next.activity);
        let whole = pruning.groups.iter().all(|group| {
            let apart = group.ranges.is_sorted_by(|one, next| one.1 < next.0);
            apart && !group.ranges.is_empty() && group.ranges.iter().all(|(first, end)| first < end)
        });
        if !in_order || !whole || pruning.ranges().is_none() {
            return Err(Error::malformed("what was pruned is not in order"));
        }
        Ok(pruning)
    }

    /// How many entries it is about.
    pub fn leaves(&self) -> u64 {
        let ranges = self.groups.iter().flat_map(|group| &group.ranges);
        ranges.map(|(first, end)| end.saturating_sub(*first)).fold(0, u64::saturating_add)
    }

    /// All its ranges, in order, those that touch as one; none where two overlap or they are too
    /// many.
    pub fn ranges(&self) -> Option<Vec<(u64, u64)>> {
        let mut all: Vec<(u64, u64)> = self.groups.iter().flat_map(|group| group.ranges.iter().copied()).collect();
        if all.len() > PRUNED_RANGES_MAX {
            return None;
        }
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, end) in all {
            match merged.last_mut() {
                Some((_, before)) if *before > first => return None,
                Some((_, before)) if *before == first => *before = end,
                _ => merged.push((first, end)),
            }
        }
        Some(merged)
    }
}

/// What an entry about a single read is called, as exports call it; none of all other entries, which
/// no rule prunes.
pub const fn read_kind(body: &Body) -> Option<&'static str> {
    Some(match body {
        Body::Intent(_) => "intent",
        Body::Decision(decision) if decision.permitted => "permit",
        Body::Decision(_) => "refusal",
        Body::Outcome(_) => "outcome",
        Body::Received(_) => "received",
        Body::SchemaGrant(_) => "schema-grant",
        Body::PlanRefusal(_) => "plan-refusal",
        Body::RefusalSummary(_) => "refusal-summary",
        Body::StaffRefusal(_) => "staff-refusal",
        _ => return None,
    })
}

/// What the evaluation's input of a decision says was charged before it: uses and bytes. `input` is
/// the attachment, its salt first; none where nothing was evaluated.
pub fn charged_before(input: &[u8]) -> Option<(u64, u64)> {
    #[derive(Deserialize)]
    struct State {
        uses: u64,
        volume_bytes: u64,
    }
    #[derive(Deserialize)]
    struct Input {
        state: State,
    }
    let (_, json) = input.split_first_chunk::<16>()?;
    let Input { state } = serde_json::from_slice(json).ok()?;
    Some((state.uses, state.volume_bytes))
}

/// Name of a rule: the digest of its compact JWS.
pub fn rule_digest(signed: &str) -> Digest {
    Digest::of(signed.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(default_days: Option<u32>, activities: &[(&str, u32)]) -> RetentionRule {
        RetentionRule {
            kind: RuleKind::V1,
            space: SpaceId::parse("eau").unwrap(),
            participant: ParticipantId::parse("huy").unwrap(),
            number: 1,
            issued: Timestamp::EPOCH,
            default_days,
            activities: activities.iter().map(|(name, days)| (Activity::parse(name).unwrap(), *days)).collect(),
        }
    }

    #[test]
    fn a_rule_reads_back_and_has_days_for_each_activity() {
        let rule = rule(Some(1_095), &[("billing", 365)]);
        assert_eq!(RetentionRule::parse(&rule.bytes().unwrap()), Ok(rule.clone()));
        let days = |name: &str| rule.days_of(Some(&Activity::parse(name).unwrap()));
        assert_eq!((days("billing"), days("leaks"), rule.days_of(None)), (Some(365), Some(1_095), Some(1_095)));
        assert_eq!(rule.days_min(), Some(365));
        let kept = self::rule(None, &[("billing", 365)]);
        assert_eq!((kept.days_of(None), kept.days_of(Some(&Activity::parse("leaks").unwrap()))), (None, None));
    }

    #[test]
    fn a_rule_that_keeps_too_short_or_says_nothing_is_refused() {
        for wrong in [
            rule(Some(RETENTION_DAYS_MIN - 1), &[]),
            rule(Some(RETENTION_DAYS_MAX + 1), &[]),
            rule(Some(400), &[("a", 1)]),
            rule(None, &[]),
            RetentionRule { number: 0, ..rule(Some(400), &[]) },
        ] {
            assert!(RetentionRule::parse(&wrong.bytes().unwrap()).is_err(), "{wrong:?}");
        }
        assert!(rule(Some(RETENTION_DAYS_MIN), &[("a", RETENTION_DAYS_MAX)]).check().is_ok());
    }

    #[test]
    fn activities_have_short_names() {
        assert!(Activity::parse("eau-2").is_ok() && Activity::parse(&"a".repeat(32)).is_ok());
        for wrong in ["", "Eau", "2eau", "-a", "a_b", "é", &"a".repeat(33)] {
            assert!(Activity::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// An activity, and the ranges pruned of it.
    type Group<'a> = (Option<&'a str>, &'a [(u64, u64)]);

    fn pruning(groups: &[Group<'_>]) -> Pruning {
        let group = |(activity, ranges): &(Option<&str>, &[(u64, u64)])| PrunedGroup {
            activity: activity.map(|name| Activity::parse(name).unwrap()),
            days: 365,
            kinds: BTreeMap::new(),
            ranges: ranges.to_vec(),
        };
        Pruning { kind: PruningKind::V1, groups: groups.iter().map(group).collect() }
    }

    #[test]
    fn what_was_pruned_is_in_order_and_apart() {
        let read = |p: &Pruning| Pruning::parse(&canonical::to_bytes(p).unwrap());
        let good = pruning(&[(None, &[(3, 5), (9, 10)]), (Some("a"), &[(5, 7), (12, 20)])]);
        assert_eq!(read(&good), Ok(good.clone()));
        assert_eq!((good.leaves(), good.ranges()), (13, Some(vec![(3, 7), (9, 10), (12, 20)])));
        for wrong in [
            pruning(&[(Some("a"), &[(1, 2)]), (None, &[(3, 4)])]),
            pruning(&[(Some("a"), &[(1, 2)]), (Some("a"), &[(3, 4)])]),
            pruning(&[(None, &[(1, 4), (4, 5)])]),
            pruning(&[(None, &[(5, 6), (1, 2)])]),
            pruning(&[(None, &[(3, 3)])]),
            pruning(&[(None, &[])]),
            pruning(&[(None, &[(1, 5)]), (Some("a"), &[(4, 6)])]),
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
        let many: Vec<(u64, u64)> = (0..=PRUNED_RANGES_MAX as u64).map(|n| (n * 2, n * 2 + 1)).collect();
        assert!(read(&pruning(&[(None, &many)])).is_err());
        assert!(read(&pruning(&[(None, &many[1..])])).is_ok());
    }

    #[test]
    fn what_was_charged_is_told_by_the_input() {
        let input = |json: &str| [b"0123456789abcdef", json.as_bytes()].concat();
        assert_eq!(charged_before(&input(r#"{"state":{"uses":3,"volume_bytes":9,"x":1}}"#)), Some((3, 9)));
        for none in [&input("")[..], &input("{}"), b"short"] {
            assert_eq!(charged_before(none), None);
        }
    }
}
