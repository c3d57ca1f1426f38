//! Power cuts at random points: nothing acknowledged is lost.
//!
//! `PERRON_POWER_LOGS` logs (600; `make soak` takes 12,000), each cut off four times, from the seed
//! `PERRON_POWER_SEED`.

use perron_log::sim::{Fault, SimFiles};
use perron_log::{
    Checkpoint, Finding, FindingKind, Hash, Log, LogError, LogSettings, Outcome, VerifyOptions, verify_log_files,
};
use std::sync::Arc;

use crate::support::{ORIGIN, Rng, entries, entry, layout, open_sim, settings, verifier};

struct Acknowledged {
    hashes: Vec<Hash>,
    head: Option<Checkpoint>,
    note: Option<String>,
}

/// An honest owner is never accused by a power cut: not before the log is
/// opened again, still less after.
fn outcome(files: &SimFiles, known: &Acknowledged) -> Outcome {
    let options =
        VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept: known.note.iter().cloned().collect() };
    let log_dir = layout().log_dir().to_owned();
    match verify_log_files(files, &log_dir, &options, &mut |_| Vec::new()) {
        Ok(report) => {
            // A power cut in the very first publication looks like a checkpoint
            // that someone removed.
            let accuses = |found: &&Finding| {
                found.kind.outcome() > Outcome::Unfinished
                    && !(found.kind == FindingKind::MissingFile && found.path == "checkpoint")
            };
            assert_eq!(report.findings.iter().find(accuses), None);
            report.outcome
        }
        // The folder isn't there yet.
        Err(error) if known.note.is_none() => {
            println!("{error}");
            Outcome::Ok
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens, appends and publishes until the power goes.
fn work(files: &SimFiles, rng: &mut Rng, segment_bytes: u64, known: &mut Acknowledged) -> bool {
    let heads: Vec<Checkpoint> = known.head.iter().cloned().collect();
    let (mut log, recovered) = match open_sim(files, segment_bytes, &heads) {
        Ok(opened) => opened,
        // The power went while it was opened.
        Err(LogError::Io { .. }) => return false,
        Err(error) => panic!("{error}"),
    };
    let acknowledged = known.hashes.len() as u64;
    assert!(log.size() >= acknowledged, "acknowledged entries are gone");
    if let Some(torn) = &recovered.torn {
        let moved = files.contents(&torn.quarantined).unwrap();
        assert_eq!((Hash::of(&moved), moved.len() as u64), (torn.digest, torn.length));
    }
    for index in 0..log.size() {
        assert_eq!(log.leaf(index).unwrap(), entry(index).leaf, "entry {index}");
    }
    let reader = log.reader();
    for (index, hash) in (0..).zip(&known.hashes) {
        assert_eq!(reader.leaf_hash(index).unwrap(), *hash);
    }
    known.hashes = (0..log.size()).map(|index| reader.leaf_hash(index).unwrap()).collect();
    known.head = Some(reader.checkpoint());
    for _ in 0..12 {
        let count = rng.below(60) + 1;
        match log.append(&entries(log.size(), count)) {
            Ok(done) => {
                known.hashes.extend(done.leaf_hashes);
                known.head = Some(done.checkpoint);
                known.note = Some(done.note);
            }
            Err(LogError::Io { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
        if rng.below(3) == 0 && log.publish().is_err() {
            return false;
        }
    }
    true
}

fn of_environment(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => otherwise,
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let (mut torn, mut cuts, mut unfinished) = (0, 0, 0);
    let logs = of_environment("PERRON_POWER_LOGS", 600);
    let first = of_environment("PERRON_POWER_SEED", 0);
    for seed in first..first + logs {
        let mut rng = Rng(seed);
        let files = SimFiles::new();
        let mut known = Acknowledged { hashes: Vec::new(), head: None, note: None };
        let segment_bytes = 2048 + rng.below(1 << 15);
        for _ in 0..4 {
            files.fail_in(rng.below(90) + 1, Fault::PowerCut);
            if !work(&files, &mut rng, segment_bytes, &mut known) {
                cuts += 1;
            }
            files.crash(rng.next());
            unfinished += u64::from(outcome(&files, &known) == Outcome::Unfinished);
        }
        let heads: Vec<Checkpoint> = known.head.iter().cloned().collect();
        let (log, recovered) = open_sim(&files, segment_bytes, &heads).unwrap();
        assert!(log.size() >= known.hashes.len() as u64, "seed {seed}");
        let outcome = outcome(&files, &known);
        assert!(outcome == Outcome::Ok, "seed {seed}: {outcome}");
        let quarantine = layout().quarantine_dir().to_owned();
        torn += files.paths().iter().filter(|path| path.starts_with(&quarantine)).count();
        drop((log, recovered));
    }
    println!(
        "{logs} logs from the seed {first}: {cuts} power cuts, {unfinished} unfinished states, {torn} torn records"
    );
    assert!(cuts * 3 > logs * 5, "only {cuts} power cuts");
    assert!(unfinished * 6 > logs, "only {unfinished} unfinished states");
    assert!(torn as u64 * 6 > logs, "only {torn} torn records");
}

/// A life that ends between making a folder and syncing its name leaves the folder there: the next one
/// makes the name durable before it acknowledges anything in it.
#[test]
fn a_folder_that_is_there_may_not_be_durable() {
    let mut failed = 0;
    for at in 1..40 {
        for seed in 0..8 {
            let files = SimFiles::new();
            files.fail_in(at, Fault::SyncError);
            let ended = open_sim(&files, 1 << 20, &[]).and_then(|(mut log, _)| {
                log.append(&entries(0, 3))?;
                log.publish()
            });
            failed += u64::from(ended.is_err());
            let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
            let size = log.append(&entries(log.size(), 3)).unwrap().checkpoint.size;
            // A publication syncs folders too; what is acknowledged needs none.
            if seed % 2 == 0 {
                log.publish().unwrap();
            }
            drop(log);
            files.crash(seed);
            let (log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
            assert_eq!(log.size(), size, "a sync that failed at {at}, seed {seed}");
            log.publish().unwrap();
            let known = Acknowledged { hashes: Vec::new(), head: None, note: Some(log.last_note()) };
            assert_eq!(outcome(&files, &known), Outcome::Ok);
        }
    }
    assert!(failed > 100, "only {failed} lives ended early");
}

/// What lies beside the log has seen an entry that only the torn end may hold: nothing is moved then. Bytes
/// that were moved stay to be told of.
#[test]
fn a_torn_end_is_moved_only_where_nobody_has_seen_more() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    log.append(&entries(0, 3)).unwrap();
    log.append(&entries(3, 1)).unwrap();
    drop(log);
    let segment = layout().segment(0);
    let mut torn = files.contents(&segment).unwrap();
    torn.truncate(torn.len() - 5);
    files.put(&segment, &torn);
    let start = |seen| {
        let settings = LogSettings { seen, ..settings(1 << 20) };
        Log::open(Arc::new(files.clone()), layout(), settings, &[])
    };
    let names = files.paths();
    assert!(matches!(start(4), Err(LogError::TailLost { seen: 4, held: 3, .. })));
    assert_eq!((files.paths(), files.contents(&segment)), (names, Some(torn)));
    let (log, recovered) = start(3).unwrap();
    let moved = recovered.torn.unwrap();
    assert_eq!(log.quarantined().unwrap(), std::slice::from_ref(&moved));
    drop(log);
    // A later start finds it too, but not a copy that isn't whole, nor what was never the log's.
    let (log, recovered) = start(3).unwrap();
    assert_eq!((recovered.torn, log.quarantined().unwrap()), (None, vec![moved.clone()]));
    files.put(&layout().quarantine_dir().join("segment-of-another"), b"?");
    files.put(&moved.quarantined, b"a part");
    assert_eq!(log.quarantined().unwrap(), []);
}
