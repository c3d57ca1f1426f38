//! Entries: what is read is written again to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_model::entry::Entry;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::from_bytes(bytes) {
        assert_eq!(entry.to_bytes().as_deref(), Ok(bytes));
    }
});
