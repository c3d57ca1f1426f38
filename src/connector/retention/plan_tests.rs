//! What a rule lets go, over a real log: age, activities, whole reads, and what is kept.

use super::{Kept, Plan};
use perron_log::sim::SimFiles;
use perron_log::{Attachment, Layout, Log, LogSettings, NewEntry, Signer};
use perron_model::entry::{
    AttachmentKind, Body, ChainPosition, ClockJump, Decision, ENTRY_VERSION, Entry, Outcome, OutcomeStatus,
    RefusalSummary, Stop,
};
use perron_model::retention::{Activity, RetentionRule, RuleKind};
use perron_model::{Digest, ParticipantId, SpaceId, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

const DAY: i64 = 86_400_000;

/// A log as it is written, day by day; now is day 1,000.
struct Book {
    log: Log,
    chains: HashMap<Digest, u64>,
    activity: Option<&'static str>,
    day: i64,
}

fn day(day: i64) -> Timestamp {
    Timestamp::EPOCH.plus_millis(day * DAY)
}

fn agreement(number: u8) -> Digest {
    Digest::of(&[number])
}

impl Book {
    fn new() -> Book {
        let signer = Signer::from_seed("s/huy/1", &[7; 32]).unwrap();
        let settings = LogSettings::new("s/huy/1", 1, Box::new(signer));
        let layout = Layout::new(Path::new("data"));
        let (log, _) = Log::open(Arc::new(SimFiles::new()), layout, settings, &[]).unwrap();
        Book { log, chains: HashMap::new(), activity: None, day: 0 }
    }

    fn push(&mut self, body: Body, chain: Option<Digest>, input: Option<&str>) -> Digest {
        let chain = chain.map(|agreement| {
            let number = self.chains.entry(agreement).or_default();
            *number += 1;
            ChainPosition { agreement, number: *number - 1, previous: None }
        });
        let entry = Entry {
            version: ENTRY_VERSION,
            index: self.log.size(),
            time: day(self.day),
            previous: None,
            blind: u128::from(self.log.size()).to_be_bytes().into(),
            chain,
            trace: None,
            on_behalf_of: None,
            processing_activity: self.activity.map(str::to_owned),
            body,
        };
        let leaf = entry.to_bytes().unwrap();
        let hash = Digest::from_bytes(perron_log::merkle::leaf_hash(&leaf).0);
        let input = input.map(|json| [&[0; 16], json.as_bytes()].concat());
        let kind = AttachmentKind::EvaluationInput as u16;
        let attachments = input.map(|bytes| Attachment { kind, bytes }).into_iter().collect();
        self.log.append(&[NewEntry { leaf, attachments }]).unwrap();
        hash
    }

    fn permit(&mut self, chain: Digest) -> Digest {
        let decision = Decision {
            request: Digest::of(&self.log.size().to_be_bytes()),
            permitted: true,
            reasons: vec![],
            clauses: vec![],
            module: Digest::of(b"m"),
            input: Some(Digest::of(b"i")),
            snapshot: None,
            uses: 1,
            register: 1,
            consumer: "intradel".into(),
            purpose: "p".into(),
            legal_basis: None,
            user: "u".into(),
            beside: None,
            reserved: None,
            volume: None,
            attached: None,
            sealed: None,
        };
        self.push(Body::Decision(decision), Some(chain), Some(r#"{"state":{"uses":0,"volume_bytes":0}}"#))
    }

    fn end(&mut self, chain: Digest, decision: Digest) {
        let outcome = Outcome {
            decision,
            status: OutcomeStatus::Complete,
            reason: None,
            batches: 1,
            rows: 1,
            bytes: 1,
            messages: 1,
            stream_root: Digest::of(b"s"),
            uses: 1,
            volume: None,
        };
        self.push(Body::Outcome(outcome), Some(chain), None);
    }

    fn read(&mut self, chain: Digest) {
        let decision = self.permit(chain);
        self.end(chain, decision);
    }

    /// What no rule prunes.
    fn landmark(&mut self) {
        self.push(Body::Stop(Stop { reason: "signal".into() }), None, None);
    }

    fn plan(&self, rule: &RetentionRule, decisions: &[Digest]) -> Plan {
        let kept =
            Kept { decisions: decisions.iter().copied().collect(), received: HashSet::new(), requests: HashSet::new() };
        Plan::of(&self.log.reader(), rule, &kept, day(1_000)).unwrap()
    }

    fn ranges(&self, rule: &RetentionRule, decisions: &[Digest]) -> Vec<(u64, u64)> {
        self.plan(rule, decisions).pruning.ranges().unwrap()
    }
}

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
fn old_reads_go_but_the_newest_of_each_chain_stay() {
    let mut book = Book::new();
    (0..3).for_each(|_| book.read(agreement(1)));
    book.read(agreement(2));
    book.landmark();
    let plan = book.plan(&rule(Some(400), &[]), &[]);
    // The third read of one chain and the only one of the other tell the counters.
    assert_eq!(plan.pruning.ranges().unwrap(), [(0, 4)]);
    assert_eq!(plan.pruning.groups[0].kinds, BTreeMap::from([("outcome".into(), 2), ("permit".into(), 2)]));
    assert!(!plan.has_more);
}

#[test]
fn what_is_young_or_without_days_or_with_nothing_old_behind_it_stays() {
    let mut book = Book::new();
    (0..2).for_each(|_| book.read(agreement(1)));
    book.day = 650;
    (0..2).for_each(|_| book.read(agreement(1)));
    assert!(book.ranges(&rule(Some(400), &[]), &[]).is_empty(), "nothing behind them tells how old they are");
    book.landmark();
    assert!(book.ranges(&rule(Some(400), &[]), &[]).is_empty(), "nor does what is younger");
    assert_eq!(book.ranges(&rule(Some(300), &[]), &[]), [(0, 6)]);
    assert!(book.ranges(&rule(None, &[("billing", 300)]), &[]).is_empty());
}

#[test]
fn a_landmark_among_the_old_ones_bounds_what_goes() {
    let mut book = Book::new();
    (0..2).for_each(|_| book.read(agreement(1)));
    book.landmark();
    book.day = 900;
    book.read(agreement(1));
    book.landmark();
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(0, 4)]);
    // After a clock that went back, what was before it may be as new as that clock was.
    let mut book = Book::new();
    book.read(agreement(1));
    book.day = 10;
    book.push(Body::ClockJump(ClockJump { from: day(900), to: day(10) }), None, None);
    book.read(agreement(1));
    book.landmark();
    book.read(agreement(1));
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(3, 5)]);
}

#[test]
fn a_read_goes_whole_or_not_at_all() {
    let mut book = Book::new();
    let open = book.permit(agreement(1));
    book.read(agreement(1));
    book.landmark();
    book.day = 900;
    book.end(agreement(1), open);
    book.read(agreement(1));
    book.landmark();
    // The first one's outcome is too young.
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(1, 3)]);
    // One that isn't acknowledged stays.
    let mut book = Book::new();
    let held = book.permit(agreement(1));
    book.end(agreement(1), held);
    (0..2).for_each(|_| book.read(agreement(1)));
    book.landmark();
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[held]), [(2, 4)]);
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(0, 4)]);
    // One without an outcome.
    let mut book = Book::new();
    book.permit(agreement(1));
    (0..2).for_each(|_| book.read(agreement(1)));
    book.landmark();
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(1, 3)]);
}

#[test]
fn a_read_that_ran_beside_the_newest_decision_stays() {
    let mut book = Book::new();
    book.read(agreement(1));
    let beside = book.permit(agreement(1));
    let newest = book.permit(agreement(1));
    book.end(agreement(1), beside);
    book.end(agreement(1), newest);
    book.landmark();
    assert_eq!(book.ranges(&rule(Some(400), &[]), &[]), [(0, 2)]);
}

/// An activity, and the ranges that are pruned of it.
type Group = (Option<String>, Vec<(u64, u64)>);

#[test]
fn each_activity_has_its_days() {
    let mut book = Book::new();
    for (at, name) in [(1, Some("billing")), (550, None), (560, Some("billing")), (565, Some("leaks"))] {
        (book.day, book.activity) = (at, name);
        let summary =
            RefusalSummary { peer: "x".into(), reason: "r".into(), minute: 1, count: 1, root: Digest::of(b"r") };
        book.push(Body::RefusalSummary(summary), None, None);
        book.activity = None;
        book.landmark();
    }
    let groups = |rule: &RetentionRule| -> Vec<Group> {
        let groups = book.plan(rule, &[]).pruning.groups;
        groups.into_iter().map(|g| (g.activity.map(String::from), g.ranges)).collect()
    };
    let billing = Some("billing".to_owned());
    assert_eq!(groups(&rule(None, &[("billing", 500)])), [(billing.clone(), vec![(0, 1)])]);
    assert_eq!(groups(&rule(None, &[("billing", 430)])), [(billing.clone(), vec![(0, 1), (4, 5)])]);
    let both = groups(&rule(Some(440), &[("billing", 800)]));
    assert_eq!(both, [(None, vec![(2, 3)]), (billing, vec![(0, 1)])]);
    assert_eq!(groups(&rule(Some(430), &[("billing", 2_000)])).len(), 2, "leaks has the days of those without a name");
}
