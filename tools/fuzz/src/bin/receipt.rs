//! Receipts: a proof has one spelling; and a receipt as a file, after the authority's key in a line,
//! holds under the key of the one that the corpus begins with only where it tells of the same read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::TlogProof;
use perron_model::participant::PublicKey;
use perron_verify::{ReceiptReport, verify_receipt};
use std::sync::LazyLock;

static GENUINE: LazyLock<(PublicKey, ReceiptReport)> = LazyLock::new(|| {
    let (key, report) = open(include_bytes!("../../corpus/receipt/genuine")).expect("the corpus begins with a key");
    (key, report.expect("the corpus begins with a receipt that holds"))
});

fn open(bytes: &[u8]) -> Option<(PublicKey, perron_model::Result<ReceiptReport>)> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    let key = PublicKey::try_from(std::str::from_utf8(bytes.get(..at)?).ok()?.to_owned()).ok()?;
    Some((key, verify_receipt(bytes.get(at + 1..)?, &key)))
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(proof) = std::str::from_utf8(bytes).ok().and_then(|text| TlogProof::parse(text).ok()) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    let (genuine, known) = &*GENUINE;
    if let Some((key, Ok(report))) = open(bytes) {
        assert!(key == *genuine && report.decision == known.decision);
    }
});
