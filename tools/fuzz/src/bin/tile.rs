//! Tiles and entry bundles: names have one spelling, a bundle is what its entries give.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::tile::{TileName, decode_bundle, push_entry};

fuzz_target!(|bytes: &[u8]| {
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(TileName::parse) {
        assert_eq!(name.to_string().as_bytes(), bytes);
        assert_eq!(TileName::parse(&name.to_string()), Some(name));
        let _ = (name.end_size(), name.belongs_to(u64::MAX), name.belongs_to(0));
    }
    let Some((width, bundle)) = bytes.split_first() else { return };
    let width = u16::from(*width) + 1;
    if let Some(leaves) = decode_bundle(bundle, width) {
        let mut again = Vec::new();
        for leaf in &leaves {
            push_entry(&mut again, leaf).unwrap();
        }
        assert_eq!((leaves.len(), again.as_slice()), (usize::from(width), bundle));
    }
});
