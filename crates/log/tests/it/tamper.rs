//! Whoever changes the log, with or without its key, is found.

use std::path::{Path, PathBuf};

use perron_log::segment::{FileHeader, NewEntry, Record, encode_record};
use perron_log::sim::SimFiles;
use perron_log::{
    Attachment, Checkpoint, Finding, FindingKind, Hash, NoteSigner as _, Outcome, Report, VerifyError, VerifyOptions,
    verify_log_files,
};

use crate::support::{ORIGIN, Rng, entries, layout, open_sim, signer, verifier};

fn options(kept: &[String]) -> VerifyOptions {
    VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept: kept.to_vec() }
}

fn verify(files: &SimFiles, kept: &[String]) -> Report {
    verify_log_files(files, Path::new("data/log"), &options(kept), &mut |_| Vec::new()).unwrap()
}

/// A log of several segments, published at its end but for `behind` batches.
fn log(behind: u64) -> (SimFiles, Vec<String>) {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 40_000, &[]).unwrap();
    let mut notes = Vec::new();
    for batch in 0..60 {
        notes.push(log.append(&entries(batch * 10, 10)).unwrap().note);
        if batch + 1 == 60 - behind {
            log.publish().unwrap();
        }
    }
    (files, notes)
}

fn segments(files: &SimFiles) -> Vec<PathBuf> {
    let dir = layout().segment_dir();
    files.paths().into_iter().filter(|path| path.starts_with(&dir)).collect()
}

/// Offsets and ends of a segment's header and records.
fn records(bytes: &[u8]) -> (usize, Vec<(usize, usize)>) {
    let header = FileHeader::peek_length(bytes).unwrap();
    let (mut at, mut found) = (header, Vec::new());
    while at < bytes.len() {
        let length = perron_log::segment::RecordHead::parse(&bytes[at..]).unwrap().record_bytes();
        found.push((at, at + length));
        at += length;
    }
    (header, found)
}

#[test]
fn a_log_as_written_has_no_findings() {
    let (files, notes) = log(0);
    let mut seen = 0;
    let report = verify_log_files(&files, Path::new("data/log"), &options(&notes), &mut |view| {
        let expected = crate::support::entry(view.index);
        assert_eq!((view.index, view.leaf), (seen, Some(expected.leaf.as_slice())));
        let kept: Vec<Attachment> =
            view.attachments().map(|(kind, bytes)| Attachment { kind, bytes: bytes.to_vec() }).collect();
        assert_eq!(kept, expected.attachments);
        seen += 1;
        Vec::new()
    })
    .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.outcome, report.size, report.batches), (Outcome::Ok, 600, 60));
    assert_eq!(report.kept_size_max, Some(600));
    assert!(report.signatures_checked >= 120);
    assert!(segments(&files).len() > 1);

    let (files, _) = log(5);
    let report = verify(&files, &[]);
    assert_eq!(report.outcome, Outcome::Behind);
    assert!(report.has(FindingKind::Behind));
}

#[test]
fn a_log_without_entries_or_publication() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 40_000, &[]).unwrap();
    let genesis = log.last_note();
    assert_eq!(verify(&files, std::slice::from_ref(&genesis)).outcome, Outcome::Ok);
    log.append(&entries(0, 1)).unwrap();
    assert_eq!(verify(&files, &[genesis]).outcome, Outcome::Behind);
}

#[test]
fn each_one_byte_edit_is_found_with_its_kind() {
    let (files, _) = log(0);
    let mut rng = Rng(42);
    let mut counted = 0;
    for path in files.paths() {
        let whole = files.contents(&path).unwrap();
        let relative = path.strip_prefix("data/log").unwrap().to_str().unwrap().to_owned();
        let edits = if relative.starts_with("segment") { 250 } else { 70 };
        for _ in 0..edits {
            let at = usize::try_from(rng.below(whole.len() as u64)).unwrap();
            let mut changed = whole.clone();
            changed[at] ^= 1 << rng.below(8);
            files.put(&path, &changed);
            let report = verify(&files, &[]);
            let kinds: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
            let expected: &[FindingKind] = if relative.starts_with("segment") {
                &[FindingKind::SegmentBytes]
            } else if relative.starts_with("tile") {
                &[FindingKind::TileBytes]
            } else {
                &[FindingKind::Signature, FindingKind::Encoding]
            };
            assert!(kinds.iter().any(|kind| expected.contains(kind)), "byte {at} of {relative}: {:?}", report.findings);
            assert!(!report.outcome.is_pass());
            counted += 1;
        }
        files.put(&path, &whole);
    }
    assert!(counted >= 300, "{counted}");
    assert_eq!(verify(&files, &[]).outcome, Outcome::Ok);
}

#[test]
fn each_byte_of_the_last_record_and_of_a_header() {
    let (files, _) = log(0);
    let path = segments(&files).pop().unwrap();
    let whole = files.contents(&path).unwrap();
    let (header, records) = records(&whole);
    let (start, end) = *records.last().unwrap();
    for at in (0..header).chain(start..end) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        files.put(&path, &changed);
        let report = verify(&files, &[]);
        assert!(
            report.has(FindingKind::SegmentBytes) || report.has(FindingKind::Truncated),
            "byte {at}: {:?}",
            report.findings
        );
        assert!(open_sim(&files, 40_000, &[]).is_err(), "byte {at}");
    }
}

#[test]
fn stray_missing_and_grown_files() {
    let (files, _) = log(0);
    for stray in ["notes.txt", "segment/5", "segment/00000000000000000000.bak", "tile/0/0", "tile/x", "checkpoint~"] {
        let path = Path::new("data/log").join(stray);
        files.put(&path, b"");
        assert!(verify(&files, &[]).has(FindingKind::StrayFile), "{stray}");
        files.take(&path);
    }
    for (other, kind) in [
        ("tile/0/002.p/3", FindingKind::Unfinished),
        ("tile/0/009", FindingKind::Truncated),
        ("tile/7/000", FindingKind::Truncated),
        ("segment/00000000000000000007", FindingKind::SegmentBytes),
    ] {
        let path = Path::new("data/log").join(other);
        files.put(&path, b"left over");
        assert!(verify(&files, &[]).has(kind), "{other}: {:?}", verify(&files, &[]).findings);
        files.take(&path);
    }
    for path in files.paths() {
        let whole = files.contents(&path).unwrap();
        files.take(&path);
        let report = verify(&files, &[]);
        let is_last_segment = segments(&files).iter().all(|other| *other < path);
        let expected = if path.starts_with(layout().segment_dir()) && is_last_segment {
            FindingKind::Truncated
        } else {
            FindingKind::MissingFile
        };
        assert!(report.has(expected), "{}: {:?}", path.display(), report.findings);
        let mut grown = whole.clone();
        grown.push(b'\n');
        files.put(&path, &grown);
        assert!(!verify(&files, &[]).outcome.is_pass(), "{} grown", path.display());
        files.put(&path, &whole);
    }
    assert_eq!(verify(&files, &[]).outcome, Outcome::Ok);
}

#[test]
fn records_dropped_swapped_or_cut() {
    let (files, _) = log(0);
    let path = segments(&files)[0].clone();
    let whole = files.contents(&path).unwrap();
    let (header, found) = records(&whole);
    let piece = |(start, end): (usize, usize)| &whole[start..end];
    let dropped = [&whole[..header], &whole[found[1].0..]].concat();
    let swapped = [&whole[..header], piece(found[1]), piece(found[0]), &whole[found[2].0..]].concat();
    for changed in [dropped, swapped] {
        files.put(&path, &changed);
        assert!(verify(&files, &[]).has(FindingKind::SegmentBytes));
        assert!(open_sim(&files, 40_000, &[]).is_ok(), "the start trusts what is published");
        files.put(&path, &whole);
    }
    // A middle segment that ends early.
    files.put(&path, &whole[..found.last().unwrap().0]);
    assert!(verify(&files, &[]).has(FindingKind::MissingFile));
    files.put(&path, &whole);

    let last = segments(&files).pop().unwrap();
    let whole = files.contents(&last).unwrap();
    let (_, found) = records(&whole);
    let (start, end) = *found.last().unwrap();
    for cut in [start, start + 1, start + 71, start + 72, start + 200, end - 1] {
        files.put(&last, &whole[..cut]);
        let report = verify(&files, &[]);
        assert!(report.has(FindingKind::Truncated), "cut at {cut}: {:?}", report.findings);
        assert_eq!(report.outcome, Outcome::TailLost);
        assert!(open_sim(&files, 40_000, &[]).is_err());
    }
}

#[test]
fn a_torn_record_that_nothing_saw_is_unfinished() {
    let (files, notes) = log(3);
    let last = segments(&files).pop().unwrap();
    let whole = files.contents(&last).unwrap();
    let (_, found) = records(&whole);
    let (start, end) = *found.last().unwrap();
    for cut in [start + 1, start + 72, end - 1] {
        files.put(&last, &whole[..cut]);
        let report = verify(&files, &[]);
        assert!(report.has(FindingKind::TornTail), "{:?}", report.findings);
        assert_eq!(report.outcome, Outcome::Unfinished);
        // Whoever kept its checkpoint knows better.
        let kept = verify(&files, &notes[59..]);
        assert!(kept.has(FindingKind::Truncated), "{:?}", kept.findings);
    }
    let mut half = whole.clone();
    half[start + 300..].fill(0);
    files.put(&last, &half);
    assert!(verify(&files, &[]).has(FindingKind::TornTail));
    // Cut between records: only a kept checkpoint tells.
    files.put(&last, &whole[..start]);
    assert_eq!(verify(&files, &[]).outcome, Outcome::Behind);
    assert!(verify(&files, &notes[59..]).has(FindingKind::OlderState));
}

/// Writes the segments again with one leaf changed, as someone would who has
/// all but the log's key: digests and chain are made to fit.
fn rewrite_without_key(files: &SimFiles, index: u64) {
    let mut previous = Hash::ZERO;
    for path in segments(files) {
        let bytes = files.contents(&path).unwrap();
        let (header, found) = records(&bytes);
        let (mut file, _) = FileHeader::parse(&bytes[..header]).unwrap();
        file.previous = previous;
        let encoded = file.encode().unwrap();
        let mut out = encoded.bytes;
        previous = encoded.digest;
        for (start, end) in found {
            let record = Record::parse(&bytes[start..end]).unwrap();
            let mut entries: Vec<NewEntry> = (0_u32..)
                .zip(&record.leaves)
                .map(|(place, leaf)| NewEntry {
                    leaf: leaf.bytes().unwrap().to_vec(),
                    attachments: record
                        .attachments
                        .iter()
                        .filter(|kept| kept.leaf == place)
                        .map(|kept| Attachment { kind: kept.kind, bytes: kept.bytes.to_vec() })
                        .collect(),
                })
                .collect();
            let place = index.checked_sub(record.head.first_leaf);
            let place = place.map(|place| usize::try_from(place).unwrap());
            if let Some(entry) = place.and_then(|place| entries.get_mut(place)) {
                entry.leaf[0] ^= 1;
            }
            let head = record.head;
            let encoded =
                encode_record(Vec::new(), head.batch, head.first_leaf, previous, &entries, record.note).unwrap();
            out.extend_from_slice(&encoded.bytes);
            previous = encoded.digest;
        }
        files.put(&path, &out);
    }
}

#[test]
fn a_rewrite_without_the_key_breaks_the_signed_root() {
    let (files, _) = log(0);
    rewrite_without_key(&files, 9_999);
    assert_eq!(verify(&files, &[]).outcome, Outcome::Ok, "the rewriting itself is faithful");
    rewrite_without_key(&files, 123);
    let report = verify(&files, &[]);
    let roots = report.findings.iter().filter(|found| found.kind == FindingKind::TreeRoot);
    assert_eq!(roots.count(), 1);
    assert!(report.has(FindingKind::TileBytes));
    assert_eq!(report.outcome, Outcome::Tampered);
}

#[test]
fn a_note_by_another_key_is_found() {
    let (files, _) = log(0);
    let stranger = perron_log::Signer::from_seed(ORIGIN, &[66; 32]).unwrap();
    let options = VerifyOptions { keys: vec![stranger.verifier().clone()], ..options(&[]) };
    let report = verify_log_files(&files, Path::new("data/log"), &options, &mut |_| Vec::new()).unwrap();
    assert!(report.has(FindingKind::Signature));
    assert_eq!(report.outcome, Outcome::Tampered);
}

#[test]
fn an_owner_who_rewrites_and_signs_again_is_convicted_by_a_kept_checkpoint() {
    let (_, notes) = log(0);
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 40_000, &[]).unwrap();
    for batch in 0..60 {
        let mut batch_entries = entries(batch * 10, 10);
        if batch == 20 {
            batch_entries[4].leaf = b"as it should have been".to_vec();
        }
        log.append(&batch_entries).unwrap();
    }
    log.publish().unwrap();
    assert_eq!(verify(&files, &[]).outcome, Outcome::Ok, "a directory alone can't convict");
    // Kept before the change: still the same history.
    assert_eq!(verify(&files, &notes[..20]).outcome, Outcome::Ok);
    assert_eq!(verify(&files, &notes[..20]).kept_size_max, Some(200));
    let report = verify(&files, &notes[20..21]);
    assert!(report.has(FindingKind::Rewrite));
    assert_eq!(report.outcome, Outcome::Tampered);
    // Two kept ones that contradict each other convict without the directory.
    let report = verify(&files, &[notes[30].clone(), notes[59].clone(), log.last_note()]);
    assert!(report.has(FindingKind::Fork));
}

#[test]
fn an_older_state_is_convicted_by_a_kept_checkpoint() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 40_000, &[]).unwrap();
    log.append(&entries(0, 100)).unwrap();
    log.publish().unwrap();
    let backup: Vec<(PathBuf, Vec<u8>)> =
        files.paths().into_iter().map(|path| (path.clone(), files.contents(&path).unwrap())).collect();
    let kept = log.append(&entries(100, 10)).unwrap().note;
    log.publish().unwrap();
    let restored = SimFiles::new();
    backup.iter().for_each(|(path, bytes)| restored.put(path, bytes));
    assert_eq!(verify(&restored, &[]).outcome, Outcome::Ok);
    let report = verify(&restored, &[kept]);
    assert!(report.has(FindingKind::OlderState));
    assert_eq!(report.outcome, Outcome::TailLost);
}

#[test]
fn a_checkpoint_that_is_not_the_segments_is_found() {
    let (files, notes) = log(0);
    let path = layout().checkpoint();
    let put = |note: &str| files.put(&path, note.as_bytes());
    // A true note of ours with a line more: nothing protects that line.
    let cosigner = perron_log::Cosigner::from_seed("w.test", &[3; 32]).unwrap();
    let opened = Checkpoint::open(&notes[59], ORIGIN, &[verifier()], &[]).unwrap();
    let mut note = opened.note.clone();
    note.signatures.push(cosigner.cosign(&opened.checkpoint, 5).unwrap());
    put(&note.to_string());
    assert!(verify(&files, &[]).has(FindingKind::Signature));
    // Signed for a size at which no batch ends.
    let reader = open_sim_reader(&files, &notes);
    let between = Checkpoint::new(ORIGIN, 595, reader);
    put(&between.sign(&[&signer()]).unwrap().to_string());
    assert!(verify(&files, &[]).has(FindingKind::Rewrite));
    // Another root, signed.
    let other = Checkpoint::new(ORIGIN, 600, Hash::of(b"other"));
    put(&other.sign(&[&signer()]).unwrap().to_string());
    assert!(verify(&files, &[]).has(FindingKind::Encoding));
    put(&notes[59]);
    assert_eq!(verify(&files, &[]).outcome, Outcome::Ok);
}

fn open_sim_reader(files: &SimFiles, notes: &[String]) -> Hash {
    let copy = SimFiles::new();
    files.paths().iter().for_each(|path| copy.put(path, &files.contents(path).unwrap()));
    copy.put(&layout().checkpoint(), notes[59].as_bytes());
    let (log, _) = open_sim(&copy, 40_000, &[]).unwrap();
    log.reader().root_at(595).unwrap()
}

#[test]
fn kept_checkpoints_that_say_nothing() {
    let (files, notes) = log(0);
    let foreign = Checkpoint::new("other.test/x/1", 9, Hash::ZERO).sign(&[&signer()]).unwrap();
    let report = verify(&files, &[foreign.to_string()]);
    assert_eq!((report.outcome, report.kept_of_others), (Outcome::Ok, 1));
    let stranger = perron_log::Signer::from_seed(ORIGIN, &[66; 32]).unwrap();
    let forged = Checkpoint::new(ORIGIN, 9, Hash::ZERO).sign(&[&stranger]).unwrap();
    let kept = [notes[0].clone(), forged.to_string()];
    let answer = verify_log_files(&files, Path::new("data/log"), &options(&kept), &mut |_| Vec::new());
    assert!(matches!(answer, Err(VerifyError::Kept { position: 1, .. })));
}

#[test]
fn findings_of_the_caller_count_and_are_bounded() {
    let (files, _) = log(0);
    let report = verify_log_files(&files, Path::new("data/log"), &options(&[]), &mut |view| {
        let finding = |number| Finding {
            kind: FindingKind::ChainGap,
            path: "segment".to_owned(),
            offset: None,
            index: Some(view.index),
            detail: format!("number {number} is missing"),
        };
        (0..3).map(finding).collect()
    })
    .unwrap();
    assert_eq!((report.findings.len(), report.findings_left_out), (1000, 800));
    assert_eq!(report.outcome, Outcome::Tampered);
    let mut names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FindingKind::ALL.len());
}
