//! Pruned leaves: the tree, the proofs and the notes stay as they were, whatever is pruned and
//! wherever a power cut falls.

use perron_log::merkle::{verify_consistency, verify_inclusion};
use perron_log::sim::{Fault, SimFiles};
use perron_log::tile::{FULL_WIDTH, TileKind, TileName};
use perron_log::{
    FindingKind, Hash, Log, LogError, Outcome, Report, Stored, VerifyOptions, verify_log_dir, verify_log_files,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{ORIGIN, Rng, entries, entry, layout, open_sim, settings, verifier};

/// A published log of several segments, the last one closed.
fn written(batches: u64, batch: u64, segment_bytes: u64) -> (SimFiles, Log) {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, segment_bytes, &[]).unwrap();
    for number in 0..batches {
        log.append(&entries(number * batch, batch)).unwrap();
    }
    log.publish().unwrap();
    log.roll().unwrap();
    (files, log)
}

fn ranges_of(indices: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some(last) if last.end == *index => last.end += 1,
            _ => ranges.push(*index..index + 1),
        }
    }
    ranges
}

fn options(kept: Vec<String>) -> VerifyOptions {
    VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept }
}

fn verified(files: &SimFiles, kept: Vec<String>) -> Report {
    verify_log_files(files, layout().log_dir(), &options(kept), &mut |_| Vec::new()).unwrap()
}

/// Everything but what was pruned is as it was written, in any way of reading it.
fn require_left(log: &Log, pruned: &BTreeSet<u64>) {
    let reader = log.reader();
    let (size, root) = (log.size(), log.root());
    for index in 0..size {
        match reader.entry(index) {
            Ok(stored) => {
                assert!(!pruned.contains(&index), "entry {index} is still there");
                assert_eq!((stored.leaf, stored.attachments), (entry(index).leaf, entry(index).attachments));
            }
            Err(LogError::Pruned { index: named }) => assert!(named == index && pruned.contains(&index)),
            Err(error) => panic!("entry {index}: {error}"),
        }
        let hash = perron_log::merkle::leaf_hash(&entry(index).leaf);
        assert_eq!(reader.leaf_hash(index).unwrap(), hash);
        if index % 17 == 0 || pruned.contains(&index) {
            verify_inclusion(index, size, &hash, &reader.inclusion_proof(index, size).unwrap(), &root).unwrap();
        }
    }
    for old in (1..=size).step_by(53) {
        let proof = reader.consistency_proof(old, size).unwrap();
        verify_consistency(old, size, &reader.root_at(old).unwrap(), &root, &proof).unwrap();
    }
    let mut next = 0;
    reader
        .for_entries(0, size, &mut |stored| {
            assert_eq!(stored.index(), next);
            assert_eq!(matches!(stored, Stored::Pruned { .. }), pruned.contains(&next));
            next += 1;
            true
        })
        .unwrap();
    assert_eq!(next, size);
}

fn bundles(files: &SimFiles, size: u64) -> Vec<u64> {
    let name = |index| TileName { kind: TileKind::Entries, index, width: FULL_WIDTH };
    (0..size / 256).filter(|index| files.contents(&layout().tile(&name(*index))).is_some()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_pruned_the_tree_and_its_proofs_stay(seed in any::<u64>(), one_in in 1_u64..6, batch in 1_u64..40) {
        let mut rng = Rng(seed);
        let (files, log) = written(700 / batch, batch, 4_000);
        let (size, root, note) = (log.size(), log.root(), log.last_note());
        let pruned: BTreeSet<u64> = (0..size).filter(|_| rng.below(one_in) == 0).collect();
        let done = log.pruner().prune(&ranges_of(&pruned)).unwrap();
        prop_assert_eq!(done.leaves, pruned.len() as u64);
        require_left(&log, &pruned);
        // Again changes nothing; more is added to what there was.
        prop_assert_eq!(log.pruner().prune(&ranges_of(&pruned)).unwrap(), Default::default());
        let more: BTreeSet<u64> = pruned.iter().copied().chain((0..size).filter(|_| rng.below(4) == 0)).collect();
        prop_assert_eq!(log.pruner().prune(&ranges_of(&more)).unwrap().leaves, (more.len() - pruned.len()) as u64);
        require_left(&log, &more);
        let whole: Vec<u64> = (0..size / 256).filter(|bundle| more.range(bundle * 256..bundle * 256 + 256).next().is_none()).collect();
        prop_assert_eq!(bundles(&files, size), whole.clone());
        // The log goes on, and is opened again, from its tiles and without them.
        drop(log);
        let (mut log, recovered) = open_sim(&files, 4_000, &[]).unwrap();
        prop_assert_eq!((log.size(), log.root(), log.last_note()), (size, root, note));
        prop_assert_eq!((recovered.torn, recovered.scanned_from), (None, size));
        prop_assert_eq!(bundles(&files, size), whole);
        require_left(&log, &more);
        log.append(&entries(size, 9)).unwrap();
        log.publish().unwrap();
        drop(log);
        files.take(&layout().checkpoint());
        let (log, recovered) = open_sim(&files, 4_000, &[]).unwrap();
        prop_assert_eq!(recovered.scanned_from, 0);
        require_left(&log, &more);
        let report = verified(&files, vec![log.last_note()]);
        prop_assert_eq!((report.outcome, &report.findings), (Outcome::Ok, &Vec::new()));
        prop_assert_eq!((report.pruned, report.size, report.root), (more.len() as u64, size + 9, log.root()));
        let mut scrub = log.reader().scrub();
        let step = scrub.step(u64::MAX).unwrap();
        prop_assert_eq!((step.whole, step.mended), (Some(size + 9), Vec::new()));
    }
}

#[test]
fn a_power_cut_at_any_point_of_a_pruning_loses_nothing_and_accuses_nobody() {
    let pruned: BTreeSet<u64> = (0..560).filter(|index| index % 3 != 0 || *index < 300).collect();
    let ranges = ranges_of(&pruned);
    let operations = {
        let (files, log) = written(60, 10, 4_000);
        let before = files.operations();
        log.pruner().prune(&ranges).unwrap();
        files.operations() - before
    };
    assert!(operations > 30, "{operations} operations");
    let (mut unfinished, mut between) = (0, 0);
    for at in 1..=operations + 1 {
        for seed in 0..2 {
            let (files, log) = written(60, 10, 4_000);
            let (head, note) = (log.reader().checkpoint(), log.last_note());
            files.fail_in(at, Fault::PowerCut);
            let result = log.pruner().prune(&ranges);
            assert_eq!(result.is_ok(), at > operations, "{at}: {result:?}");
            drop(log);
            files.crash(seed * 1_000 + at);
            let report = verified(&files, vec![note.clone()]);
            let honest = |found: &perron_log::Finding| found.kind == FindingKind::Unfinished;
            assert!(report.findings.iter().all(honest), "{at}, {seed}: {:?}", report.findings);
            unfinished += u64::from(report.outcome == Outcome::Unfinished);
            between += u64::from(report.pruned > 0 && report.pruned < pruned.len() as u64);
            let (log, recovered) = open_sim(&files, 4_000, std::slice::from_ref(&head)).unwrap();
            assert_eq!(recovered.torn, None);
            let reader = log.reader();
            for index in 0..log.size() {
                match reader.leaf(index) {
                    Ok(leaf) => assert_eq!(leaf, entry(index).leaf),
                    Err(LogError::Pruned { .. }) => assert!(pruned.contains(&index), "entry {index}"),
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!((log.root(), log.last_note()), (head.root, note.clone()));
            // The same call again does what is left.
            log.pruner().prune(&ranges).unwrap();
            require_left(&log, &pruned);
            let report = verified(&files, vec![note]);
            assert_eq!((report.outcome, report.pruned), (Outcome::Ok, pruned.len() as u64), "{:?}", report.findings);
        }
    }
    assert!(unfinished > 0 && between > 8, "{unfinished} unfinished, {between} half done");
}

#[test]
fn errors_of_the_disk_leave_the_log_as_it_was_and_it_can_be_tried_again() {
    let pruned: BTreeSet<u64> = (0..200).collect();
    for fault in [Fault::WriteError, Fault::SyncError] {
        let (files, mut log) = written(60, 10, 4_000);
        files.fail_in(2, fault);
        let failed = log.pruner().prune(&ranges_of(&pruned));
        assert!(matches!(failed, Err(LogError::Io { .. })), "{failed:?}");
        require_left(&log, &BTreeSet::new());
        log.append(&entries(log.size(), 1)).unwrap();
        log.pruner().prune(&ranges_of(&pruned)).unwrap();
        require_left(&log, &pruned);
    }
    let (files, log) = written(60, 10, 4_000);
    files.set_capacity(Some(10));
    assert!(matches!(log.pruner().prune(&ranges_of(&pruned)), Err(LogError::NoSpace)));
    require_left(&log, &BTreeSet::new());
    files.set_capacity(None);
    log.pruner().prune(&ranges_of(&pruned)).unwrap();
    require_left(&log, &pruned);
}

#[test]
fn what_is_still_written_isnt_pruned_and_ranges_are_in_order() {
    let (_, mut log) = written(10, 10, 1 << 20);
    log.append(&entries(100, 10)).unwrap();
    let refused = |log: &Log, ranges: &[Range<u64>]| match log.pruner().prune(ranges) {
        Err(LogError::PruneRefused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&log, &[3..4, 99..101]), "the segment that holds them is still written");
    for wrong in [&[5..7, 2..3][..], &[1..4, 3..5], &[4..4, 6..7]] {
        assert_eq!(refused(&log, wrong), "its ranges are not in order");
    }
    let many: Vec<Range<u64>> = (0..70_000).map(|n| n * 2..n * 2 + 1).collect();
    assert_eq!(refused(&log, &many), "more than 65,536 ranges");
    require_left(&log, &BTreeSet::new());
    // Closing it twice begins one segment, and then all can be pruned.
    log.roll().unwrap();
    log.roll().unwrap();
    log.pruner().prune(std::slice::from_ref(&(99..101))).unwrap();
    require_left(&log, &[99, 100].into());
    assert_eq!(log.append(&entries(110, 1)).unwrap().first_index, 110);
}

#[test]
fn a_bundle_that_holds_a_pruned_entry_isnt_published_nor_given() {
    let (files, mut log) = written(30, 10, 4_000);
    let bundle = |index, width| TileName { kind: TileKind::Entries, index, width };
    log.pruner().prune(std::slice::from_ref(&(290..291))).unwrap();
    assert!(files.contents(&layout().tile(&bundle(1, 44))).is_none(), "the partial one went");
    assert!(matches!(log.reader().tile_bytes(&bundle(1, 44)), Err(LogError::Pruned { index: 290 })));
    assert!(log.reader().tile_bytes(&bundle(0, FULL_WIDTH)).is_ok());
    log.append(&entries(300, 300)).unwrap();
    log.publish().unwrap();
    assert_eq!(bundles(&files, 600), [0]);
    let hashes = TileName { kind: TileKind::Hashes(0), index: 1, width: FULL_WIDTH };
    assert!(files.contents(&layout().tile(&hashes)).is_some());
    // A bundle that somebody puts back is said, and goes.
    let path = layout().tile(&bundle(1, FULL_WIDTH));
    files.put(&path, b"back");
    assert!(verified(&files, Vec::new()).has(FindingKind::Unfinished));
    let step = log.reader().scrub().step(u64::MAX).unwrap();
    assert_eq!((step.mended, files.contents(&path)), (vec![bundle(1, FULL_WIDTH)], None));
    // One that is whole and missing is made again at the next opening.
    drop(log);
    files.take(&layout().tile(&bundle(0, FULL_WIDTH)));
    let (_, recovered) = open_sim(&files, 4_000, &[]).unwrap();
    assert_eq!((recovered.files_rebuilt, bundles(&files, 600)), (1, vec![0]));
}

#[test]
fn who_reads_or_scrubs_while_segments_are_rewritten_sees_one_log() {
    let data = tempfile::tempdir().unwrap();
    let layout = perron_log::Layout::new(data.path());
    let (mut log, _) = Log::open(Arc::new(perron_log::OsFiles), layout.clone(), settings(6_000), &[]).unwrap();
    for number in 0..200 {
        log.append(&entries(number * 10, 10)).unwrap();
    }
    log.publish().unwrap();
    log.roll().unwrap();
    let (reader, is_over) = (log.reader(), AtomicBool::new(false));
    let hashes: Vec<Hash> = (0..2_000).map(|index| reader.leaf_hash(index).unwrap()).collect();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) || rounds < 2 {
                let mut next = 0;
                let visit = &mut |stored: Stored| {
                    assert_eq!(stored.index(), next);
                    let hash = match stored {
                        Stored::Entry(entry) => perron_log::merkle::leaf_hash(&entry.leaf),
                        Stored::Pruned { leaf_hash, .. } => leaf_hash,
                    };
                    assert_eq!(hash, hashes[usize::try_from(next).unwrap()]);
                    next += 1;
                    true
                };
                reader.for_entries(0, 2_000, visit).unwrap();
                rounds += 1;
            }
            rounds
        });
        let scrubbing = scope.spawn(|| {
            let mut scrub = reader.scrub();
            while !is_over.load(Ordering::Relaxed) {
                scrub.step(2_000).unwrap();
            }
        });
        for third in 0..3 {
            let ranges: Vec<Range<u64>> = (0..600).map(|n| n * 3 + third).map(|n| n..n + 1).collect();
            log.pruner().prune(&ranges).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap() >= 2);
        scrubbing.join().unwrap();
    });
    let report = verify_log_dir(layout.log_dir(), &options(Vec::new()), &mut |_| Vec::new()).unwrap();
    assert_eq!((report.outcome, report.pruned), (Outcome::Ok, 1_800), "{:?}", report.findings);
}
