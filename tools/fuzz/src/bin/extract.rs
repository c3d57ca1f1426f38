//! Extracts: one never holds by accident.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_model::participant::PublicKey;
use perron_verify::open_extract;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes;
    // Nobody has the key of this authority.
    assert!(open_extract(&mut lines, &PublicKey::from_bytes([7; 32])).is_err());
});
