//! Pruned entries: accepted where the owner's signed rule allows it and an entry says so, and nowhere
//! else.

use crate::second::verify;
use crate::support::{Book, Party, compact, space, time};
use crate::world::{Parties, World, administer, ask, decide, end, negotiate, start, stop};
use perron_log::{Layout, Log, LogSettings, OsFiles};
use perron_model::entry::{self, AttachmentKind, Body, OutcomeStatus};
use perron_model::participant::KeyUse;
use perron_model::retention::{
    Activity, PrunedGroup, Pruning, PruningKind, RETENTION_ACT, RETENTION_TYP, RetentionRule, RuleKind,
};
use perron_model::{Digest, canonical};
use perron_verify::Report;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const DAY: i64 = 86_400_000;
/// Days that lie between the old entries and the new ones.
const AGE: i64 = 400;
/// Bytes that each read counts (`world::end`).
const READ: u64 = 300;

/// The provider's log: agreement, eight old reads, two new ones; then what a test adds.
struct Case {
    world: World,
    book: Book,
    /// Indices of the first old read's decision and of what follows the last one's outcome.
    old: (u64, u64),
}

impl Case {
    fn new() -> Case {
        let mut case = Case::of_old_ones();
        (8..10).for_each(|number| case.read(number, AGE));
        case
    }

    /// Without the new reads.
    fn of_old_ones() -> Case {
        let world = World::new(0);
        let mut case = Case { book: Book::default(), old: (0, 0), world };
        start(&mut case.book, &case.world.ville, &case.world.space);
        administer(&mut case.book);
        let parties = Parties { provider: &case.world.ville, consumer: &case.world.inter, deal: &case.world.deal };
        negotiate(&mut case.book, &parties, "provider");
        let first = case.book.lines.len() as u64;
        (0..8).for_each(|number| case.read(number, 0));
        case.old = (first, case.book.lines.len() as u64);
        // What no rule prunes tells how old it is.
        stop(&mut case.book);
        start(&mut case.book, &case.world.ville, &case.world.space);
        case.at(AGE, 2);
        case
    }

    /// The newest lines are of so many days later.
    fn at(&mut self, days: i64, lines: usize) {
        let from = self.book.lines.len() - lines;
        for at in from..self.book.lines.len() {
            self.book.lines[at].entry.time = time(days * DAY + 100 + at as i64 * 10);
            // Whoever follows names it as it is now.
            if at > 0 {
                let before = self.book.lines[at - 1].leaf();
                self.book.lines[at].entry.previous = Some(before);
            }
        }
    }

    /// A read that was permitted, whose evaluation was told what was charged before it.
    fn read(&mut self, number: u64, days: i64) {
        self.read_at(number, days, number, 0);
    }

    /// As [`Self::read`], with other uses before it, or with places of its chain left out.
    fn read_at(&mut self, number: u64, days: i64, uses: u64, left_out: u64) {
        let (ville, inter, deal) = (&self.world.ville, &self.world.inter, &self.world.deal);
        decide(&mut self.book, &ask(inter, ville, deal.id, number), uses, true);
        let line = self.book.lines.last_mut().unwrap();
        line.entry.chain.as_mut().unwrap().number += left_out;
        let input = &mut line.attachments[1].1;
        let mut told: serde_json::Value = serde_json::from_slice(&input[16..]).unwrap();
        told["state"]["volume_bytes"] = (number * READ).into();
        input.truncate(16);
        input.extend_from_slice(&canonical::to_bytes(&told).unwrap());
        let bound = Digest::of(input);
        let Body::Decision(body) = &mut line.entry.body else { unreachable!() };
        body.input = Some(bound);
        self.at(days, 1);
        let leaf = self.book.lines.last().unwrap().leaf();
        end(&mut self.book, self.world.deal.id, leaf, OutcomeStatus::Complete, uses + 1);
        self.at(days, 1);
    }

    fn rule(&self, days: u32) -> RetentionRule {
        RetentionRule {
            kind: RuleKind::V1,
            space: space(),
            participant: self.world.ville.id(),
            number: 1,
            issued: time(0),
            default_days: Some(days),
            activities: BTreeMap::from([(Activity::parse("billing").unwrap(), 1_000)]),
        }
    }

    /// Puts a rule in force; gives its digest.
    fn rules(&mut self, rule: &RetentionRule, by: &Party) -> Digest {
        let signed = compact(&by.key(KeyUse::Agreement), RETENTION_TYP, &canonical::to_bytes(rule).unwrap());
        let document = Digest::of(signed.as_bytes());
        let body = entry::Administration {
            action: RETENTION_ACT.to_owned(),
            actor: "operator".to_owned(),
            document,
            sealed: None,
        };
        self.book.push(Body::Administration(body), None, vec![(AttachmentKind::Document, signed.into_bytes())]);
        self.at(AGE, 1);
        document
    }

    /// The entry that says that these were pruned.
    fn says(&mut self, rule: Digest, groups: Vec<PrunedGroup>) {
        let pruning = Pruning { kind: PruningKind::V1, groups };
        let bytes = canonical::to_bytes(&pruning).unwrap();
        let body = entry::Pruned {
            rule,
            document: Digest::of(&bytes),
            leaves: pruning.leaves(),
            actor: "operator".to_owned(),
        };
        self.book.push(Body::Pruned(body), None, vec![(AttachmentKind::Document, bytes)]);
        self.at(AGE, 1);
    }

    /// What both programs find once these entries were pruned.
    fn found(&self, pruned: &[(u64, u64)]) -> Report {
        let dir = self.world.provider_with(&self.book.lines);
        prune(&dir, &self.world.ville, pruned);
        verify(&dir, &[]).unwrap()
    }
}

fn prune(dir: &Path, party: &Party, ranges: &[(u64, u64)]) {
    let settings = LogSettings::new(party.origin(), 1, Box::new(party.log_signer()));
    let (mut log, _) = Log::open(Arc::new(OsFiles), Layout::new(dir), settings, &[]).unwrap();
    log.roll().unwrap();
    let ranges: Vec<_> = ranges.iter().map(|(first, end)| *first..*end).collect();
    log.pruner().prune(&ranges).unwrap();
}

fn group(days: u32, ranges: &[(u64, u64)]) -> PrunedGroup {
    PrunedGroup { activity: None, days, kinds: BTreeMap::new(), ranges: ranges.to_vec() }
}

fn ruled() -> (Case, Digest, (u64, u64)) {
    let mut case = Case::new();
    let ville = case.world.ville.clone();
    let rule = case.rules(&case.rule(365), &ville);
    let old = case.old;
    (case, rule, old)
}

#[test]
fn entries_pruned_by_a_signed_rule_are_accepted_and_told_of() {
    let (mut case, rule, old) = ruled();
    case.says(rule, vec![group(365, &[old])]);
    let report = case.found(&[old]);
    assert_eq!((report.kinds(), report.pruned.len()), (vec![], 1), "{:?}", report.findings);
    assert_eq!((report.pruned[0].rule, report.pruned[0].entries), (1, 16));
    assert!(report.statements.iter().any(|text| text.contains("16 entries about single reads")));
    assert!(report.not_shown.iter().any(|text| text.starts_with("What pruned entries said")));
    // In two steps, the first of them in pieces.
    let (mut case, rule, (first, end)) = ruled();
    let pieces = [(first, first + 2), (first + 6, first + 8)];
    case.says(rule, vec![group(365, &pieces)]);
    case.says(rule, vec![group(365, &[(first + 2, first + 6), (first + 8, end)])]);
    let report = case.found(&[(first, end)]);
    assert_eq!((report.kinds(), report.pruned[0].entries), (vec![], 16), "{:?}", report.findings);
    // Reads that are left between pruned ones have the counters that their evaluation was told.
    let (mut case, rule, (first, end)) = ruled();
    case.says(rule, vec![group(365, &[(first, first + 6), (first + 8, end)])]);
    let report = case.found(&[(first, first + 6), (first + 8, end)]);
    assert_eq!(report.kinds(), Vec::<&str>::new(), "{:?}", report.findings);
}

#[test]
fn what_no_entry_says_is_found() {
    let (mut case, rule, old) = ruled();
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    // More than the entry says; and what it says isn't done.
    case.says(rule, vec![group(365, &[(old.0, old.1 - 2)])]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    let report = case.found(&[(old.0, old.1 - 4)]);
    assert_eq!((report.kinds(), report.outcome), (vec!["unfinished"], "unfinished"), "{:?}", report.findings);
    let Body::Pruned(body) = &mut case.book.lines.last_mut().unwrap().entry.body else { unreachable!() };
    body.leaves += 2;
    assert_eq!(case.found(&[(old.0, old.1 - 2)]).kinds(), ["document-bytes"]);
}

#[test]
fn a_rule_that_another_signed_or_that_doesnt_allow_it_is_none() {
    // Another key, and no rule at all.
    let mut case = Case::new();
    let (inter, old) = (case.world.inter.clone(), case.old);
    let rule = case.rules(&case.rule(365), &inter);
    case.says(rule, vec![group(365, &[old])]);
    assert_eq!(case.found(&[old]).kinds(), ["document-signature", "pruned-without-rule"]);
    let mut case = Case::new();
    case.says(Digest::of(b"no rule"), vec![group(365, &[old])]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    // Other days than the rule has, for this activity.
    let (mut case, rule, old) = ruled();
    case.says(rule, vec![group(200, &[old])]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    let (mut case, rule, old) = ruled();
    let billing = PrunedGroup { activity: Some(Activity::parse("billing").unwrap()), ..group(365, &[old]) };
    case.says(rule, vec![billing]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    // Too new.
    let mut case = Case::new();
    let ville = case.world.ville.clone();
    let rule = case.rules(&case.rule(500), &ville);
    case.says(rule, vec![group(500, &[old])]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    let (mut case, rule, old) = ruled();
    let newer = (old.1 + 3, old.1 + 5);
    case.says(rule, vec![group(365, &[newer])]);
    assert_eq!(case.found(&[newer]).kinds(), ["pruned-without-rule"]);
    // A rule that a newer one took the place of.
    let (mut case, rule, old) = ruled();
    let ville = case.world.ville.clone();
    case.rules(&RetentionRule { number: 2, ..case.rule(390) }, &ville);
    case.says(rule, vec![group(365, &[old])]);
    assert_eq!(case.found(&[old]).kinds(), ["pruned-without-rule"]);
    // One that isn't newer, or is another participant's.
    for wrong in [case.rule(365), RetentionRule { number: 9, participant: case.world.inter.id(), ..case.rule(365) }] {
        let (mut case, _, _) = ruled();
        case.rules(&wrong, &ville);
        assert_eq!(case.found(&[]).kinds(), ["document-bytes"]);
    }
}

#[test]
fn what_is_left_of_a_chain_fits_what_was_pruned() {
    let change = |mut case: Case, change: &dyn Fn(&mut Case)| {
        change(&mut case);
        let (old, ville) = (case.old, case.world.ville.clone());
        let rule = case.rules(&case.rule(365), &ville);
        case.says(rule, vec![group(365, &[old])]);
        case.found(&[old]).kinds()
    };
    assert_eq!(change(Case::new(), &|case| case.read(10, AGE)), Vec::<&str>::new());
    // More entries of the chain are missing than were pruned, or others.
    assert_eq!(change(Case::new(), &|case| case.read_at(10, AGE, 10, 1)), ["chain-gap"]);
    assert!(change(Case::of_old_ones(), &|case| case.read_at(8, AGE, 8, 1)).contains(&"chain-gap"));
    // Counters that go on otherwise, at once or behind what was pruned; the least and the most that
    // sixteen entries can leave can't be told from the truth.
    let told_otherwise = change(Case::new(), &|case| case.read_at(10, AGE, 11, 0));
    assert_eq!(told_otherwise, ["document-bytes", "order"], "neither its own total nor its input's is the chain's");
    assert_eq!(change(Case::of_old_ones(), &|case| case.read_at(8, AGE, 8, 0)), Vec::<&str>::new());
    assert_eq!(change(Case::of_old_ones(), &|case| case.read_at(8, AGE, 17, 0)), ["order"]);
}

/// A pruned entry may have had one value, so one erasure of it is believed.
#[test]
fn what_a_pruned_entry_may_have_sealed_is_erased_once() {
    let erasures = |count: u64| {
        let (mut case, rule, old) = ruled();
        case.says(rule, vec![group(365, &[old])]);
        for number in 0..count {
            let until = time((AGE + 1) * DAY);
            case.book.push(crate::erasures::erased((old.0, old.0), number + 2, vec![], until), None, vec![]);
            case.at(AGE, 1);
        }
        case.found(&[old]).kinds()
    };
    assert_eq!((erasures(1), erasures(2)), (vec![], vec!["order"]));
}
