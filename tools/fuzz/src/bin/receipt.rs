//! Receipts: a proof has one spelling, and a receipt as a file never holds by accident.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::TlogProof;
use perron_model::participant::PublicKey;
use perron_verify::verify_receipt;

fuzz_target!(|bytes: &[u8]| {
    if let Some(proof) = std::str::from_utf8(bytes).ok().and_then(|text| TlogProof::parse(text).ok()) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    // Nobody has the key of this authority.
    assert!(verify_receipt(bytes, &PublicKey::from_bytes([7; 32])).is_err());
});
