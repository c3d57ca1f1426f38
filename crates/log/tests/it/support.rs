//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perron_log::sim::SimFiles;
use perron_log::{Attachment, Checkpoint, Hash, Layout, Log, LogError, LogSettings, NewEntry};
use perron_log::{Recovered, Signer, Verifier};

pub const ORIGIN: &str = "liege.test/ville/1";
pub const LOG_KEY: &str = "liege.test/ville/1";

pub fn signer() -> Signer {
    Signer::from_seed(LOG_KEY, &[7; 32]).unwrap()
}

pub fn verifier() -> Verifier {
    use perron_log::NoteSigner as _;
    signer().verifier().clone()
}

pub fn settings(segment_bytes: u64) -> LogSettings {
    let mut settings = LogSettings::new(ORIGIN, 1, Box::new(signer()));
    settings.segment_bytes = segment_bytes;
    settings
}

pub fn layout() -> Layout {
    Layout::new(Path::new("data"))
}

pub fn open_sim(files: &SimFiles, segment_bytes: u64, heads: &[Checkpoint]) -> Result<(Log, Recovered), LogError> {
    Log::open(Arc::new(files.clone()), layout(), settings(segment_bytes), heads)
}

/// A deterministic entry.
pub fn entry(number: u64) -> NewEntry {
    let leaf = format!("entry {number} ").repeat(usize::try_from(number % 7).unwrap() + 1);
    let attachments = (0..number % 3)
        .map(|kind| Attachment {
            kind: u16::try_from(kind).unwrap(),
            bytes: vec![u8::try_from(number % 251).unwrap(); usize::try_from(number % 40).unwrap()],
        })
        .collect();
    NewEntry { leaf: leaf.into_bytes(), attachments }
}

pub fn entries(from: u64, count: u64) -> Vec<NewEntry> {
    (from..from + count).map(entry).collect()
}

/// A small generator for tests that are replayed by their seed.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// RFC 6962 root by its definition, for comparison.
pub fn naive_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => perron_log::merkle::empty_root(),
        [one] => *one,
        _ => {
            let mut split = 1;
            while split * 2 < hashes.len() {
                split *= 2;
            }
            perron_log::merkle::node_hash(&naive_root(&hashes[..split]), &naive_root(&hashes[split..]))
        }
    }
}

/// The folder of other people's cases; a missing one fails where CI is set,
/// and is said elsewhere.
pub fn conformance(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PERRON_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    let folder = root.join(part);
    if folder.try_exists().unwrap() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the conformance cases are not at {}", folder.display());
    println!("not run: no conformance cases at {}", folder.display());
    None
}
