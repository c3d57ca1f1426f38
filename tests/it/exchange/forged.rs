//! A log that was written anew without something, by who has its key: the other side tells.

use super::*;
use perron::trust::keys::KeySet;
use perron_log::merkle::leaf_hash;
use perron_log::{Layout, Log, LogSettings, NewEntry, OsFiles, Signer};
use perron_model::Digest;
use perron_model::entry::{Body, ChainPosition, Entry};
use perron_model::participant::KeyUse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path, origin: &str) -> Log {
    let keys = KeySet::load(&dir.join("keys")).unwrap();
    let signer = Signer::from_seed(origin, &keys.signing_key(KeyUse::Log).unwrap().seed()).unwrap();
    let settings = LogSettings::new(origin, 1, Box::new(signer));
    Log::open(Arc::new(OsFiles), Layout::new(dir), settings, &[]).unwrap().0
}

/// Writes a stopped organisation's log anew, without the entries that are to be hidden; what would
/// give it away in its own directory goes too.
pub(super) fn without(dir: &Path, hide: impl Fn(&Entry) -> bool) {
    let note = std::fs::read_to_string(dir.join("log/checkpoint")).unwrap();
    let origin = note.lines().next().unwrap().to_owned();
    let log = open(dir, &origin);
    let size = log.reader().size();
    let stored: Vec<_> = (0..size).map(|at| log.reader().entry(at).unwrap()).collect();
    drop(log);
    for gone in ["log", "state", "trust/cosigned"] {
        std::fs::remove_dir_all(dir.join(gone)).unwrap();
    }
    let mut log = open(dir, &origin);
    let (mut renamed, mut last, mut chains) = (HashMap::new(), None, HashMap::<Digest, (u64, Digest)>::new());
    let mut hidden = 0;
    for old in stored {
        let before = Digest::from_bytes(leaf_hash(&old.leaf).0);
        let mut entry = Entry::from_bytes(&old.leaf).unwrap();
        if hide(&entry) {
            hidden += 1;
            continue;
        }
        (entry.index, entry.previous) = (log.reader().size(), last);
        let agreement = entry.chain.as_ref().map(|chain| chain.agreement);
        entry.chain = agreement.map(|agreement| match chains.get(&agreement) {
            Some((number, leaf)) => ChainPosition { agreement, number: number + 1, previous: Some(*leaf) },
            None => ChainPosition { agreement, number: 0, previous: None },
        });
        if let Body::Outcome(outcome) = &mut entry.body {
            outcome.decision = renamed.get(&outcome.decision).copied().unwrap_or(outcome.decision);
        }
        let leaf = entry.to_bytes().unwrap();
        let hash = Digest::from_bytes(leaf_hash(&leaf).0);
        renamed.insert(before, hash);
        if let (Some(agreement), Some(chain)) = (agreement, &entry.chain) {
            chains.insert(agreement, (chain.number, hash));
        }
        last = Some(hash);
        log.append(&[NewEntry { leaf, attachments: old.attachments }]).unwrap();
    }
    assert!(hidden > 0, "there is nothing to hide");
    log.publish().unwrap();
}

/// What the other side tells of a log that hides something. The checkpoints that it kept of it are
/// lost, and the authority, which keeps some too, is away: they would show at once that it is another
/// history.
fn told_of(hide: fn(&Entry) -> bool, of: &str) -> (World, String, Json) {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, ONE).unwrap();
    world.query(&agreement, ONE).unwrap();
    allow(&world, PROVIDER, CONSUMER);
    allow(&world, CONSUMER, PROVIDER);
    let by = if of == PROVIDER { CONSUMER } else { PROVIDER };
    for name in [AUTHORITY, of, by] {
        world.stop(name);
    }
    without(&world.dir(of), hide);
    forget(&world, by, of);
    world.start(of);
    world.start_with(by, EVERY_SECOND).unwrap();
    wait_until("the other side tells", || known(&world, by, &agreement)["newest"]["result"] == "differs");
    let known = known(&world, by, &agreement);
    (world, agreement, known)
}

fn is_read(entry: &Entry) -> bool {
    matches!(entry.body, Body::Decision(_) | Body::Outcome(_))
}

#[test]
fn a_hidden_read_is_told_by_the_consumer() {
    let (mut world, agreement, known) = told_of(is_read, PROVIDER);
    assert_eq!(known["newest"]["differences"], serde_json::json!({"decision-missing": 2}), "{known:#}");
    let kept = |name: &str| std::fs::read(world.dir(CONSUMER).join(format!("extracts/{agreement}{name}.extract")));
    assert!(kept("").is_ok() && kept(".differing").is_ok());
    // It is told by the list, by the doctor, and by the command's failure; each time it is written, and
    // told by the process once.
    let list = output(&["audit", "reconciliations", "--dir", &world.path(CONSUMER)], &[]);
    let said = String::from_utf8(list.stdout).unwrap();
    assert!(said.contains("DIFFERS") && said.contains("decision-missing 2"), "{said}");
    let doctor = output(&["--json", "doctor", "--dir", &world.path(CONSUMER)], &[]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("chains_differ") && said.contains(&agreement), "{said}");
    assert_eq!(now(&world, CONSUMER, PROVIDER, &agreement), Err("evidence_differs".to_owned()));
    wait_until("it was written again by the schedule", || entries(&world, CONSUMER, "reconciled").len() > 3);
    let warned = world.logged(CONSUMER).lines().filter(|line| line.contains("decision-missing")).count();
    assert_eq!(warned, 1, "{}", world.logged(CONSUMER));
    world.stop(CONSUMER);
    // Beside the checkpoint that was thrown away, nothing is wrong here.
    let report = perron_verify::verify(&world.dir(CONSUMER), &[]).unwrap();
    assert!(report.kinds().iter().all(|kind| ["older-state", "fork"].contains(kind)), "{:?}", report.findings);
}

#[test]
fn an_outcome_that_was_left_out_is_told_by_the_consumer() {
    // What a start writes in its place is another outcome; and from there on all leaves are others.
    let (_, _, known) = told_of(|entry| matches!(entry.body, Body::Outcome(_)), PROVIDER);
    let expected = serde_json::json!({"decision-missing": 1, "outcome-missing": 1});
    assert_eq!(known["newest"]["differences"], expected, "{known:#}");
}

#[test]
fn a_request_that_was_left_out_is_told_by_the_provider() {
    let hide = |entry: &Entry| matches!(entry.body, Body::Intent(_) | Body::Received(_));
    let (_, _, known) = told_of(hide, CONSUMER);
    assert_eq!(known["newest"]["differences"], serde_json::json!({"request-missing": 2}), "{known:#}");
}
