//! Appending, reading back, publishing, opening again.

use std::path::Path;
use std::sync::Arc;

use perron_log::merkle::{verify_consistency, verify_inclusion};
use perron_log::sim::{Fault, SimFiles};
use perron_log::{
    Checkpoint, Hash, Layout, Log, LogError, NewEntry, NoteSigner as _, OsFiles, Signer, VerifyOptions,
    verify_log_files,
};

use crate::support::{ORIGIN, Rng, entries, entry, layout, naive_root, open_sim, settings, signer, verifier};

#[test]
fn what_is_appended_is_read_back_and_proven() {
    let files = SimFiles::new();
    let (mut log, recovered) = open_sim(&files, 4096, &[]).unwrap();
    assert_eq!((recovered.size, recovered.torn), (0, None));
    let reader = log.reader();
    let (mut next, mut hashes, mut rng) = (0, Vec::new(), Rng(1));
    let mut heads = Vec::new();
    while next < 1200 {
        let count = rng.below(40) + 1;
        let done = log.append(&entries(next, count)).unwrap();
        assert_eq!(done.first_index, next);
        hashes.extend(done.leaf_hashes);
        assert_eq!(done.checkpoint.root, naive_root(&hashes));
        let opened = Checkpoint::open(&done.note, ORIGIN, &[verifier()], &[]).unwrap();
        assert_eq!(opened.checkpoint, done.checkpoint);
        heads.push(done.checkpoint);
        next += count;
        if rng.below(5) == 0 {
            log.publish().unwrap();
        }
        let (index, size) = (rng.below(next), reader.size());
        let proof = reader.inclusion_proof(index, size).unwrap();
        let leaf = hashes[usize::try_from(index).unwrap()];
        assert_eq!(reader.leaf_hash(index).unwrap(), leaf);
        verify_inclusion(index, size, &leaf, &proof, &reader.root()).unwrap();
        let old = &heads[usize::try_from(rng.below(heads.len() as u64)).unwrap()];
        let proof = reader.consistency_proof(old.size, size).unwrap();
        verify_consistency(old.size, size, &old.root, &reader.root(), &proof).unwrap();
        let stored = reader.entry(index).unwrap();
        assert_eq!(stored.leaf, entry(index).leaf);
        assert_eq!(stored.attachments, entry(index).attachments);
    }
    let receipt = reader.receipt(17, None).unwrap().to_string();
    let receipt = perron_log::TlogProof::parse(&receipt).unwrap();
    receipt.verify(&hashes[17], ORIGIN, &[verifier()], &[]).unwrap();
    assert!(matches!(reader.leaf(next), Err(LogError::OutOfRange { .. })));
    assert!(matches!(reader.inclusion_proof(0, next + 1), Err(LogError::OutOfRange { .. })));

    for is_published in [false, true] {
        if is_published {
            log.publish().unwrap();
        }
        let (again, recovered) = open_sim(&files, 4096, &heads).unwrap();
        assert_eq!((again.size(), again.root()), (log.size(), log.root()));
        assert_eq!(again.last_note(), log.last_note());
        assert_eq!(recovered.torn, None);
        let reader = again.reader();
        for index in 0..next {
            assert_eq!(reader.leaf(index).unwrap(), entry(index).leaf);
        }
        let mut seen = 0;
        reader
            .for_entries(5, next - 5, &mut |stored| {
                assert_eq!(stored.index(), 5 + seen);
                seen += 1;
                true
            })
            .unwrap();
        assert_eq!(seen, next - 10);
    }
}

#[test]
fn the_real_file_system() {
    let data = tempfile::tempdir().unwrap();
    let open = || {
        let layout = Layout::new(data.path());
        Log::open(Arc::new(OsFiles), layout, settings(8192), &[]).unwrap()
    };
    let (mut log, _) = open();
    for batch in 0..30 {
        log.append(&entries(batch * 20, 20)).unwrap();
    }
    log.publish().unwrap();
    log.append(&entries(600, 7)).unwrap();
    let root = log.root();
    drop(log);
    let (log, recovered) = open();
    assert_eq!((log.size(), log.root()), (607, root));
    assert_eq!(recovered.scanned_from, 600);
    assert!(recovered.rewritten_bytes > 0);
    assert_eq!(std::fs::read_dir(data.path().join("tmp")).unwrap().count(), 0);
    let names: Vec<_> = std::fs::read_dir(data.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| ["segment", "checkpoint", "tile"].contains(&name.as_str())));
}

#[test]
fn batches_past_their_bounds_are_refused_and_harm_nothing() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 4096, &[]).unwrap();
    let long = NewEntry { leaf: vec![0; 65_536], attachments: Vec::new() };
    let heavy = NewEntry { leaf: vec![0; 65_535], attachments: Vec::new() };
    assert!(matches!(log.append(&[]), Err(LogError::BatchRefused(_))));
    assert!(matches!(log.append(&[long]), Err(LogError::BatchRefused(_))));
    assert!(matches!(log.append(&vec![heavy.clone(); 257]), Err(LogError::BatchRefused(_))));
    log.append(&vec![heavy; 200]).unwrap();
    assert_eq!(log.size(), 200);
    log.publish().unwrap();
    assert_eq!(open_sim(&files, 4096, &[]).unwrap().0.size(), 200);
}

#[test]
fn a_failed_write_or_sync_poisons_the_writer() {
    for (fault, operations) in [(Fault::WriteError, 1), (Fault::SyncError, 1)] {
        let files = SimFiles::new();
        let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
        log.append(&entries(0, 3)).unwrap();
        let head = log.reader().checkpoint();
        files.fail_in(operations, fault);
        assert!(matches!(log.append(&entries(3, 3)), Err(LogError::Io { .. })));
        assert!(matches!(log.append(&entries(3, 3)), Err(LogError::Poisoned)));
        assert!(log.is_poisoned());
        assert_eq!(log.reader().checkpoint(), head);
        files.crash(3);
        let (log, _) = open_sim(&files, 1 << 20, &[head]).unwrap();
        assert!(log.size() == 3 || log.size() == 6);
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 2048, &[]).unwrap();
    let mut acknowledged = 0;
    files.set_capacity(Some(9_000));
    let mut refusals = 0;
    for _ in 0..60 {
        match log.append(&entries(acknowledged, 5)) {
            Ok(_) => acknowledged += 5,
            Err(LogError::NoSpace) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refusals > 0 && acknowledged > 0);
    assert!(matches!(log.publish(), Err(LogError::NoSpace)));
    drop(log);
    files.set_capacity(Some(0));
    let (mut log, _) = open_sim(&files, 2048, &[]).unwrap();
    assert!(matches!(log.append(&entries(acknowledged, 5)), Err(LogError::NoSpace)));
    files.set_capacity(None);
    log.append(&entries(acknowledged, 5)).unwrap();
    log.publish().unwrap();
    files.crash(11);
    let (log, recovered) = open_sim(&files, 2048, &[]).unwrap();
    assert_eq!((log.size(), recovered.torn), (acknowledged + 5, None));
}

/// As many files as are put in place together, and more: at whatever operation a publication fails,
/// it leaves nothing behind, can be tried again, and gives the same.
#[test]
fn a_publication_that_fails_leaves_nothing_behind() {
    let publish = |fault: Option<(u64, Fault)>| {
        let files = SimFiles::new();
        let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
        log.append(&vec![entry(1); 40 * 256 + 3]).unwrap();
        let before = files.operations();
        if let Some((at, fault)) = fault {
            files.fail_in(at, fault);
            log.publish().expect_err("the fault strikes");
            let left = files.paths().into_iter().filter(|path| path.starts_with(layout().temporary_dir()));
            assert_eq!(left.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new(), "{at}");
        }
        log.publish().unwrap();
        let derived = files.paths().into_iter().map(|path| (files.contents(&path), path)).collect::<Vec<_>>();
        (derived, files.operations() - before)
    };
    let (whole, operations) = publish(None);
    for at in (1..operations / 2).step_by(29) {
        for fault in [Fault::WriteError, Fault::SyncError] {
            assert_eq!(publish(Some((at, fault))).0, whole, "{at}");
        }
    }
}

/// What is published is what the tree says, whatever the disk gives.
#[test]
fn leaves_that_rotted_before_they_were_published_are_not_published() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    log.append(&entries(0, 300)).unwrap();
    let path = layout().segment(0);
    let mut bytes = files.contents(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"entry 17 ").unwrap();
    bytes[at] ^= 1;
    files.put(&path, &bytes);
    assert!(matches!(log.publish(), Err(LogError::Damaged { .. })));
    assert!(files.contents(&layout().checkpoint()).is_none());
}

#[test]
fn a_head_that_leads_or_contradicts_refuses_the_log() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 4096, &[]).unwrap();
    let head = log.append(&entries(0, 10)).unwrap().checkpoint;
    drop(log);
    let before = files.paths();
    let ahead = Checkpoint::new(ORIGIN, 11, head.root);
    assert!(matches!(open_sim(&files, 4096, &[ahead]), Err(LogError::TailLost { seen: 11, .. })));
    let other = Checkpoint::new(ORIGIN, 5, head.root);
    assert!(matches!(open_sim(&files, 4096, &[other]), Err(LogError::Forked { size: 5 })));
    let foreign = Checkpoint::new("else.test/1", 99, Hash::ZERO);
    assert_eq!(files.paths(), before, "a refusal changes nothing");
    open_sim(&files, 4096, &[head, foreign]).unwrap();
}

#[test]
fn derived_files_that_lead_refuse_and_those_that_lag_are_rebuilt() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    log.append(&entries(0, 300)).unwrap();
    log.publish().unwrap();
    let segment = layout().segment(0);
    let durable = files.contents(&segment).unwrap();
    log.append(&entries(300, 300)).unwrap();
    log.publish().unwrap();
    let whole = files.contents(&segment).unwrap();
    drop(log);

    files.put(&segment, &durable);
    assert!(matches!(open_sim(&files, 1 << 20, &[]), Err(LogError::TailLost { seen: 600, .. })));
    files.take(&layout().checkpoint());
    let leads = open_sim(&files, 1 << 20, &[]);
    assert!(matches!(leads, Err(LogError::TailLost { held: 300, .. })), "{leads:?}");

    files.put(&segment, &whole);
    for path in files.paths() {
        if path.starts_with("data/log/tile") {
            files.take(&path);
        }
    }
    files.put(Path::new("data/log/tile/0/000.p/7"), b"left over");
    let (log, recovered) = open_sim(&files, 1 << 20, &[]).unwrap();
    assert_eq!((log.size(), recovered.tiles_removed), (600, 1));
    assert!(recovered.files_rebuilt >= 7);
    assert!(files.contents(&layout().checkpoint()).is_some());
    drop(log);

    // A full tile that is gone although the checkpoint covers it.
    files.take(Path::new("data/log/tile/0/000"));
    let (_, recovered) = open_sim(&files, 1 << 20, &[]).unwrap();
    assert_eq!((recovered.files_rebuilt, recovered.scanned_from), (1, 600));
}

#[test]
fn damage_before_the_end_refuses_the_log() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    for batch in 0..5 {
        log.append(&entries(batch * 3, 3)).unwrap();
    }
    drop(log);
    files.take(&layout().checkpoint());
    let segment = layout().segment(0);
    let whole = files.contents(&segment).unwrap();
    for at in (0..whole.len() - 700).step_by(13) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        files.put(&segment, &changed);
        let opened = open_sim(&files, 1 << 20, &[]);
        assert!(matches!(opened, Err(LogError::Damaged { .. })), "byte {at}: {opened:?}");
    }
}

#[test]
fn a_survey_changes_nothing() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    let head = log.append(&entries(0, 3)).unwrap().checkpoint;
    log.append(&entries(3, 3)).unwrap();
    drop(log);
    let segment = layout().segment(0);
    let mut bytes = files.contents(&segment).unwrap();
    bytes.truncate(bytes.len() - 5);
    files.put(&segment, &bytes);
    let operations = files.operations();
    let look = |heads: &[Checkpoint]| Log::survey(Arc::new(files.clone()), layout(), &settings(1 << 20), heads);
    let survey = look(std::slice::from_ref(&head)).unwrap();
    assert_eq!(survey.checkpoint, head);
    assert_eq!(survey.newest, entries(0, 3).pop().map(|e| e.leaf));
    let (path, offset, length) = survey.torn.unwrap();
    assert_eq!((path, offset + length), (segment, bytes.len() as u64));
    assert_eq!(files.operations(), operations);
    // A partner that saw more: refused, and the torn bytes stay where they are.
    let ahead = Checkpoint::new(ORIGIN, 6, Hash::ZERO);
    assert!(matches!(look(std::slice::from_ref(&ahead)), Err(LogError::TailLost { .. })));
    assert!(matches!(open_sim(&files, 1 << 20, &[ahead]), Err(LogError::TailLost { .. })));
    assert_eq!(files.operations(), operations);
    let (log, recovered) = open_sim(&files, 1 << 20, &[head]).unwrap();
    assert_eq!((log.size(), recovered.torn.unwrap().length), (3, length));
}

#[test]
fn keys_rotate_with_an_overlap() {
    let files = SimFiles::new();
    let open = |signers: Vec<Box<dyn perron_log::NoteSigner>>, former| {
        let mut settings = settings(1 << 20);
        settings.signers = signers;
        settings.former_keys = former;
        Log::open(Arc::new(files.clone()), layout(), settings, &[])
    };
    let second = || Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let (mut log, _) = open(vec![Box::new(signer())], Vec::new()).unwrap();
    log.append(&entries(0, 3)).unwrap();
    drop(log);
    let (mut log, _) = open(vec![Box::new(signer()), Box::new(second())], Vec::new()).unwrap();
    log.append(&entries(3, 3)).unwrap();
    let note = log.last_note();
    Checkpoint::open(&note, ORIGIN, &[signer().verifier().clone()], &[]).unwrap();
    Checkpoint::open(&note, ORIGIN, &[second().verifier().clone()], &[]).unwrap();
    log.publish().unwrap();
    drop(log);
    let (mut log, _) = open(vec![Box::new(second())], Vec::new()).unwrap();
    log.append(&entries(6, 3)).unwrap();
    drop(log);
    assert!(files.contents(&layout().segment(6)).is_some(), "new keys begin a new segment");
    let former = vec![verifier()];
    let (log, _) = open(vec![Box::new(second())], former).unwrap();
    assert_eq!(log.size(), 9);
    // A key that is nobody's here.
    drop(log);
    let stranger = Signer::from_seed(ORIGIN, &[9; 32]).unwrap();
    assert!(open(vec![Box::new(stranger)], Vec::new()).is_err());
}

#[test]
fn readers_prove_while_the_writer_appends() {
    let data = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(Arc::new(OsFiles), Layout::new(data.path()), settings(1 << 16), &[]).unwrap();
    log.append(&entries(0, 1)).unwrap();
    let (reader, publisher) = (log.reader(), log.publisher());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng(5);
            while reader.size() < 1500 {
                let head = reader.checkpoint();
                let index = rng.below(head.size);
                let leaf = perron_log::merkle::leaf_hash(&reader.leaf(index).unwrap());
                let proof = reader.inclusion_proof(index, head.size).unwrap();
                verify_inclusion(index, head.size, &leaf, &proof, &head.root).unwrap();
            }
        });
        scope.spawn(|| {
            while reader.published_size() < 1500 {
                publisher.publish().unwrap();
            }
        });
        for batch in 0..100 {
            log.append(&entries(1 + batch * 15, 15)).unwrap();
        }
    });
    assert_eq!(log.size(), 1501);
}

#[test]
fn more_leaves_than_are_held_in_memory() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 1 << 20, &[]).unwrap();
    let batch = vec![entry(3); 7_000];
    let mut hashes = Vec::new();
    for _ in 0..20 {
        hashes.extend(log.append(&batch).unwrap().leaf_hashes);
    }
    let reader = log.reader();
    let check = || {
        for index in [0, 255, 256, 70_000, 139_999] {
            for size in [index + 1, 139_000, 140_000] {
                if index < size {
                    let proof = reader.inclusion_proof(index, size).unwrap();
                    let root = reader.root_at(size).unwrap();
                    let leaf = hashes[usize::try_from(index).unwrap()];
                    verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
                }
            }
        }
    };
    check();
    assert_eq!(reader.root(), naive_root(&hashes));
    log.publish().unwrap();
    check();
    let options = VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept: vec![log.last_note()] };
    let report = verify_log_files(&files, layout().log_dir(), &options, &mut |_| Vec::new()).unwrap();
    assert_eq!((report.findings, report.size), (Vec::new(), 140_000));
    // A tile that was changed behind our back is not believed.
    files.put(Path::new("data/log/tile/0/000"), &[0; 8192]);
    check();
    let (again, recovered) = open_sim(&files, 1 << 20, &[]).unwrap();
    assert_eq!((again.root(), recovered.scanned_from), (log.root(), 140_000));
}
