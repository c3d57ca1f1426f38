//! Bytes that rot while the log is written are found, in the segments; or mended, in the tiles.

use perron_log::sim::SimFiles;
use perron_log::tile::{FULL_WIDTH, TileKind, TileName};
use perron_log::{Log, LogError, Scrub, Step};
use std::path::PathBuf;

use crate::support::{Rng, entries, layout, open_sim};

/// Enough for two full leaf tiles, and a third that isn't.
const BATCHES: u64 = 70;
const BATCH: u64 = 10;

fn written() -> (SimFiles, Log) {
    let files = SimFiles::new();
    let (mut log, _) = open_sim(&files, 20_000, &[]).unwrap();
    for batch in 0..BATCHES {
        log.append(&entries(batch * BATCH, BATCH)).unwrap();
    }
    log.publish().unwrap();
    (files, log)
}

/// All steps to the log's end.
fn to_the_end(scrub: &mut Scrub, bytes: u64) -> Result<Vec<Step>, LogError> {
    let mut steps = Vec::new();
    loop {
        let step = scrub.step(bytes)?;
        let is_over = step.whole.is_some();
        steps.push(step);
        if is_over {
            return Ok(steps);
        }
    }
}

fn segments(files: &SimFiles) -> Vec<PathBuf> {
    let dir = layout().segment_dir();
    files.paths().into_iter().filter(|path| path.starts_with(&dir)).collect()
}

#[test]
fn a_log_as_written_is_looked_at_step_by_step_again_and_again() {
    let (files, mut log) = written();
    let bytes = |files: &SimFiles| segments(files).iter().map(|p| files.contents(p).unwrap().len() as u64).sum::<u64>();
    assert!(segments(&files).len() > 3);
    let mut scrub = log.reader().scrub();
    for step_bytes in [1, 1_000, u64::MAX] {
        let steps = to_the_end(&mut scrub, step_bytes).unwrap();
        assert_eq!(steps.last().unwrap().whole, Some(log.size()));
        assert!(steps.iter().all(|step| step.mended.is_empty()));
        // All but the headers of the files.
        let seen: u64 = steps.iter().map(|step| step.bytes).sum();
        assert!(seen < bytes(&files) && seen > bytes(&files) * 9 / 10, "{seen} of {}", bytes(&files));
    }
    // What is appended between two steps is looked at too.
    assert!(scrub.step(1_000).unwrap().whole.is_none());
    log.append(&entries(log.size(), 30)).unwrap();
    assert_eq!(to_the_end(&mut scrub, 1_000).unwrap().last().unwrap().whole, Some(log.size()));
}

#[test]
fn an_empty_log_is_whole() {
    let files = SimFiles::new();
    let (log, _) = open_sim(&files, 20_000, &[]).unwrap();
    assert_eq!(log.reader().scrub().step(1).unwrap().whole, Some(0));
}

#[test]
fn any_byte_of_a_segment_that_changed_is_damage() {
    let (files, log) = written();
    let mut rng = Rng(20_261_130);
    for path in segments(&files) {
        let good = files.contents(&path).unwrap();
        for _ in 0..20 {
            let mut bad = good.clone();
            let at = usize::try_from(rng.below(bad.len() as u64)).unwrap();
            bad[at] ^= 1 << rng.below(8);
            files.put(&path, &bad);
            let found = to_the_end(&mut log.reader().scrub(), 5_000).unwrap_err();
            assert!(matches!(&found, LogError::Damaged { path: p, .. } if *p == path), "{at} of {path:?}: {found}");
        }
        files.put(&path, &good[..good.len() - 1]);
        assert!(matches!(to_the_end(&mut log.reader().scrub(), 5_000), Err(LogError::Damaged { .. })));
        files.put(&path, &good);
        assert!(to_the_end(&mut log.reader().scrub(), 5_000).is_ok());
    }
    files.take(&segments(&files)[1]);
    assert!(matches!(to_the_end(&mut log.reader().scrub(), 5_000), Err(LogError::Damaged { .. })));
}

#[test]
fn a_tile_that_changed_or_is_gone_is_made_anew() {
    let (files, log) = written();
    let tile = |kind, index| TileName { kind, index, width: FULL_WIDTH };
    let names = [tile(TileKind::Entries, 1), tile(TileKind::Hashes(0), 0), tile(TileKind::Hashes(0), 1)];
    let good = names.map(|name| files.contents(&layout().tile(&name)).unwrap());
    let mut flipped = good[0].clone();
    flipped[77] ^= 1;
    files.put(&layout().tile(&names[0]), &flipped);
    files.put(&layout().tile(&names[1]), &good[1][..31]);
    files.take(&layout().tile(&names[2]));
    let mut scrub = log.reader().scrub();
    let steps = to_the_end(&mut scrub, 3_000).unwrap();
    let mut mended: Vec<TileName> = steps.into_iter().flat_map(|step| step.mended).collect();
    mended.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(mended, expected);
    for (name, bytes) in names.iter().zip(&good) {
        assert_eq!(files.contents(&layout().tile(name)).as_ref(), Some(bytes), "{name}");
    }
    assert!(to_the_end(&mut scrub, 3_000).unwrap().iter().all(|step| step.mended.is_empty()));
}
