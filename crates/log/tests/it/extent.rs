//! A copy of a log that goes on being written is the log as of one checkpoint.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use perron_log::{Extent, Layout, Log, LogReader, Outcome, VerifyOptions, verify_log_dir};

use crate::support::{ORIGIN, Rng, entries, open_sim, settings, verifier};
use perron_log::sim::SimFiles;

/// Writes the copy, in pieces of an odd length.
fn copy(reader: &LogReader, extent: &Extent, to: &Path) {
    let layout = Layout::new(to);
    fs::create_dir_all(layout.segment_dir()).unwrap();
    for segment in &extent.segments {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < segment.bytes {
            let left = usize::try_from(segment.bytes).unwrap() - bytes.len();
            let piece = reader.segment_bytes(segment.first_leaf, bytes.len() as u64, left.min(997)).unwrap();
            assert!(!piece.is_empty(), "a segment ends before its durable mark");
            bytes.extend(piece);
        }
        fs::write(layout.segment(segment.first_leaf), bytes).unwrap();
    }
    for name in extent.tiles() {
        let path = layout.tile(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, reader.tile_bytes(&name).unwrap()).unwrap();
    }
    fs::write(layout.checkpoint(), &extent.note).unwrap();
}

#[test]
fn a_copy_of_a_log_that_goes_on_verifies() {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 16 * 1024, &[]).unwrap();
    let reader = log.reader();
    let (mut next, mut rng) = (0, Rng(5));
    let mut append = |log: &mut Log, count: u64| {
        log.append(&entries(next, count)).unwrap();
        next += count;
    };
    for wanted in [1, 256, 511, 768, 1_025] {
        while reader.size() < wanted {
            let count = (rng.below(30) + 1).min(wanted - reader.size());
            append(&mut log, count);
            if rng.below(3) == 0 {
                log.publish().unwrap();
            }
        }
        let extent = reader.extent();
        assert_eq!(extent.size, wanted);
        // What comes while it is copied isn't in it.
        append(&mut log, 40);
        log.publish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        copy(&reader, &extent, folder.path());
        let options = VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept: vec![extent.note] };
        let report = verify_log_dir(Layout::new(folder.path()).log_dir(), &options, &mut |_| Vec::new()).unwrap();
        assert_eq!((report.outcome, report.findings.as_slice()), (Outcome::Ok, [].as_slice()), "{wanted}");
        assert_eq!((report.size, report.published), (wanted, Some(wanted)));
    }
    // After it was opened again, the same.
    let (again, _) = Log::open(Arc::new(files.clone()), crate::support::layout(), settings(16 * 1024), &[])
        .map(|(log, recovered)| (log.reader(), recovered))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy(&again, &again.extent(), folder.path());
    let options = VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![verifier()], kept: Vec::new() };
    let report = verify_log_dir(Layout::new(folder.path()).log_dir(), &options, &mut |_| Vec::new()).unwrap();
    assert_eq!((report.outcome, report.size), (Outcome::Ok, again.size()));
    assert!(again.segment_bytes(1, 0, 10).is_err(), "no segment begins there");
}
