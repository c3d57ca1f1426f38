//! Edits of a real directory, as the demonstration left it, are found and named.

use crate::played::{files, played};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Edits of one byte, over every kind of file under `log/` and `documents/`.
const EDITS: u64 = 1_000;

/// What a one-byte edit of a file may be named: the reference's findings for its kind.
fn expected(kind: &str) -> &'static [&'static str] {
    match kind {
        "segment" => &["segment-bytes", "torn-tail"],
        "checkpoint" => &["signature", "encoding", "truncated", "rewrite"],
        "tile" => &["tile-bytes"],
        "document" => &["document-bytes"],
        _ => &[],
    }
}

fn kind_of(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    if text.contains("log/segment/") {
        "segment"
    } else if text.contains("log/tile/") {
        "tile"
    } else if text.ends_with("log/checkpoint") {
        "checkpoint"
    } else {
        "document"
    }
}

/// xorshift64*: the seed is in the name of a failure.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[test]
fn a_thousand_one_byte_edits_are_each_found_and_named() {
    let work = tempfile::tempdir().unwrap();
    let copy = work.path().join("commune");
    for part in ["log", "documents", "trust"] {
        crate::played::copy(&played().join("commune").join(part), &copy.join(part));
    }
    std::fs::copy(played().join("commune/perron.toml"), copy.join("perron.toml")).unwrap();
    assert!(perron_verify::verify(&copy, &[]).unwrap().is_ok());
    let mut by_kind: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for path in files(&copy.join("log")).into_iter().chain(files(&copy.join("documents"))) {
        by_kind.entry(kind_of(&path)).or_default().push(path);
    }
    assert_eq!(by_kind.len(), 4, "{by_kind:?}");
    let kinds: Vec<_> = by_kind.into_iter().collect();
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for edit in 0..EDITS {
        let (kind, paths) = &kinds[usize::try_from(edit).unwrap() % kinds.len()];
        let mut pick = |n: usize| usize::try_from(next(&mut state) % u64::try_from(n).unwrap()).unwrap();
        let path = &paths[pick(paths.len())];
        let good = std::fs::read(path).unwrap();
        let (at, bit) = (pick(good.len()), pick(8));
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        std::fs::write(path, &bad).unwrap();
        let report = perron_verify::verify(&copy, &[]).unwrap();
        let named = report.kinds();
        assert!(!report.is_ok(), "edit {edit} of {} at {at} bit {bit} passed", path.display());
        assert!(
            named.iter().any(|k| expected(kind).contains(k)),
            "edit {edit} of {} at {at} bit {bit}: {named:?}",
            path.display()
        );
        std::fs::write(path, &good).unwrap();
    }
    assert!(perron_verify::verify(&copy, &[]).unwrap().is_ok());
}
