//! Signed notes, checkpoints and verifier keys: each has one spelling.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::{Checkpoint, SignedNote, Verifier};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(note.to_string(), text);
        if let Ok(checkpoint) = Checkpoint::parse_text(&note.text) {
            assert_eq!(checkpoint.to_text(), note.text);
        }
    }
    if let Ok(checkpoint) = Checkpoint::parse_text(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    if let Ok(key) = Verifier::parse_vkey(text) {
        assert_eq!(key.to_vkey(), text);
    }
});
