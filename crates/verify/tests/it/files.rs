//! One byte in one file: nothing under `log/` and `documents/` can change unseen.

use crate::second::verify;
use crate::world::World;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One of so many edits is shown to the second program too: it takes half a second each.
fn second_each() -> usize {
    std::env::var("PERRON_SECOND_EACH").map_or(8, |each| each.parse().unwrap())
}

/// A small generator (SplitMix64), so that each run makes the same edits.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The kind of a file, and what an edit of it may be found as first.
fn expected(relative: &str) -> (&'static str, &'static [&'static str]) {
    if relative.starts_with("documents/") {
        ("document", &["document-bytes"])
    } else if relative.starts_with("log/segment/") {
        ("segment", &["segment-bytes", "truncated"])
    } else if relative == "log/checkpoint" {
        ("checkpoint", &["encoding", "signature", "rewrite"])
    } else if relative.starts_with("log/tile/entries/") {
        (if relative.contains(".p/") { "partial bundle" } else { "bundle" }, &["tile-bytes"])
    } else {
        (if relative.contains(".p/") { "partial tile" } else { "tile" }, &["tile-bytes"])
    }
}

#[test]
fn each_of_many_one_byte_edits_is_found_as_what_it_is() {
    let world = World::new(130);
    let dir = world.dir("ville");
    let mut files = files_under(&dir.join("log"));
    files.extend(files_under(&dir.join("documents")));
    let mut seeded = Seeded(20_261_123);
    let mut edits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let each = 360_usize.div_ceil(files.len());
    for file in &files {
        let relative = file.strip_prefix(&dir).unwrap().to_string_lossy().into_owned();
        let (kind, allowed) = expected(&relative);
        let bytes = std::fs::read(file).unwrap();
        for _ in 0..each {
            let at = seeded.below(bytes.len());
            let mut edited = bytes.clone();
            edited[at] ^= u8::try_from(1 + seeded.below(255)).unwrap();
            std::fs::write(file, &edited).unwrap();
            let report = perron_verify::verify(&dir, &[]).unwrap();
            if edits.values().sum::<usize>() % second_each() == 0 {
                crate::second::agrees(&dir, &report);
            }
            let first = report.findings.first().unwrap_or_else(|| panic!("{relative}, byte {at}: nothing was found"));
            assert!(!report.is_ok(), "{relative}, byte {at}: {:#?}", report.findings);
            assert!(allowed.contains(&first.kind), "{relative}, byte {at}: {:#?}", report.findings);
            assert!(first.path.starts_with(relative.split('.').next().unwrap()) || kind == "checkpoint", "{first:?}");
            assert_eq!(
                report.statements,
                ["Nothing may be said for this directory before its findings are explained."]
            );
            *edits.entry(kind).or_default() += 1;
            *found.entry(format!("{kind}: {}", first.kind)).or_default() += 1;
        }
        std::fs::write(file, &bytes).unwrap();
    }
    assert!(verify(&dir, &[]).unwrap().is_ok());
    println!("{found:#?}");
    assert!(edits.values().sum::<usize>() >= 300, "{edits:?}");
    let kinds: Vec<&&str> = edits.keys().collect();
    assert_eq!(kinds, [&"bundle", &"checkpoint", &"document", &"partial bundle", &"partial tile", &"segment", &"tile"]);
}

#[test]
fn files_more_and_fewer_are_found() {
    let world = World::new(130);
    let dir = world.dir("ville");
    let name = format!("documents/{}.json", world.deal.id);
    let only = |kind: &str, path: &str| {
        let report = verify(&dir, &[]).unwrap();
        assert!(!report.is_ok());
        assert!(report.findings.iter().any(|f| f.kind == kind && f.path == path), "{:#?}", report.findings);
    };
    for stray in [
        "documents/note.txt",
        "documents/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.json",
        "log/extra",
        "log/segment/7",
    ] {
        std::fs::write(dir.join(stray), b"x").unwrap();
        only("stray-file", stray);
        std::fs::remove_file(dir.join(stray)).unwrap();
    }
    for gone in [name.as_str(), "log/checkpoint", "log/tile/0/000", "log/tile/entries/000", "trust/register.json"] {
        let bytes = std::fs::read(dir.join(gone)).unwrap();
        std::fs::remove_file(dir.join(gone)).unwrap();
        only("missing-file", gone);
        std::fs::write(dir.join(gone), bytes).unwrap();
    }
    std::fs::rename(dir.join("log"), dir.join("elsewhere")).unwrap();
    only("missing-file", "log");
}

#[test]
fn a_folder_in_the_place_of_a_document_is_no_document() {
    let world = World::new(1);
    let file = world.dir("ville").join(format!("documents/{}.json", world.deal.id));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(verify(&world.dir("ville"), &[]).unwrap().kinds(), ["document-bytes"]);
}

#[test]
fn each_byte_of_the_register_is_protected() {
    let world = World::new(1);
    let (dir, mut seeded) = (world.dir("ville"), Seeded(7));
    let file = dir.join("trust/register.json");
    let bytes = std::fs::read(&file).unwrap();
    for _ in 0..60 {
        let at = seeded.below(bytes.len());
        let mut edited = bytes.clone();
        edited[at] ^= u8::try_from(1 + seeded.below(255)).unwrap();
        std::fs::write(&file, &edited).unwrap();
        let report = verify(&dir, &[]).unwrap();
        assert_eq!(report.kinds(), ["document-signature"], "byte {at}");
    }
}

#[test]
fn a_cut_of_the_segment_is_found() {
    let world = World::new(4);
    let dir = world.dir("ville");
    let file = files_under(&dir.join("log/segment")).pop().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let mut seeded = Seeded(3);
    for _ in 0..40 {
        std::fs::write(&file, &bytes[..seeded.below(bytes.len())]).unwrap();
        let report = verify(&dir, &[]).unwrap();
        assert!(!report.is_ok());
        let kinds = report.kinds();
        assert!(kinds.iter().any(|k| ["truncated", "segment-bytes", "missing-file"].contains(k)), "{kinds:?}");
    }
}
