//! Extracts: the input is the authority's key in a line, then an extract. Under the key of the one
//! that the corpus begins with, nothing holds but its own chain: nobody else could have signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_model::Digest;
use perron_model::participant::PublicKey;
use perron_verify::{OpenedExtract, open_extract};
use std::sync::LazyLock;

static GENUINE: LazyLock<(PublicKey, Vec<Digest>)> = LazyLock::new(|| {
    let (key, opened) = open(include_bytes!("../../corpus/extract/genuine")).expect("the corpus begins with a key");
    (key, chain(&opened.expect("the corpus begins with an extract that holds")))
});

fn open(bytes: &[u8]) -> Option<(PublicKey, perron_model::Result<OpenedExtract>)> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    let key = std::str::from_utf8(bytes.get(..at)?).ok()?;
    let key = PublicKey::try_from(key.to_owned()).ok()?;
    let mut lines = bytes.get(at + 1..)?;
    Some((key, open_extract(&mut lines, &key)))
}

fn chain(opened: &OpenedExtract) -> Vec<Digest> {
    opened.entries.iter().map(|(leaf, _)| *leaf).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let (genuine, leaves) = &*GENUINE;
    if let Some((key, Ok(opened))) = open(bytes) {
        assert!(key == *genuine && chain(&opened) == *leaves);
    }
});
