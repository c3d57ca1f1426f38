//! Parsers take any bytes without a panic, and what parses prints back.

use perron_log::merkle::leaf_hash;
use perron_log::segment::{FileHeader, Leaf, Record, RecordHead, encode_pruned, encode_record};
use perron_log::tile::{TileKind, TileName, decode_bundle, kinds, partial_tiles};
use perron_log::{Checkpoint, Hash, SignedNote, TlogProof, Verifier};
use proptest::prelude::*;

use crate::support::entries;

#[test]
fn tile_names_of_c2sp() {
    let name = |path| TileName::parse(path).unwrap();
    let tile = name("0/x001/x234/067");
    assert_eq!((tile.kind, tile.index, tile.width), (TileKind::Hashes(0), 1_234_067, 256));
    let partial = name("entries/000.p/255");
    assert_eq!((partial.kind, partial.width), (TileKind::Entries, 255));
    for bad in [
        "0/1",
        "0/0001",
        "0/x001",
        "00/000",
        "64/000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/x000/001",
        "0/000/",
        "data/000",
        "entries",
        "0/000.p",
        "0/000.q/1",
        "-1/000",
        "0/+01",
        "",
    ] {
        assert_eq!(TileName::parse(bad), None, "{bad}");
    }
    // The example of tlog-tiles: 273 full leaf tiles, partial ones of 112, 17 and 1.
    let widths: Vec<(TileKind, u64, u16)> =
        partial_tiles(70_000).iter().map(|tile| (tile.kind, tile.index, tile.width)).collect();
    let expected = [
        (TileKind::Entries, 273, 112),
        (TileKind::Hashes(0), 273, 112),
        (TileKind::Hashes(1), 1, 17),
        (TileKind::Hashes(2), 0, 1),
    ];
    assert_eq!(widths, expected);
    assert_eq!(kinds(256).len(), 3);
    assert_eq!(partial_tiles(256), [TileName { kind: TileKind::Hashes(1), index: 0, width: 1 }]);
    assert_eq!(partial_tiles(0), []);
}

proptest! {
    #[test]
    fn tile_names_print_back(level in 0_u8..64, index in any::<u64>(), width in 1_u16..=256) {
        for kind in [TileKind::Entries, TileKind::Hashes(level)] {
            let name = TileName { kind, index, width };
            prop_assert_eq!(TileName::parse(&name.to_string()), Some(name));
            let _ = name.end_size();
        }
    }

    #[test]
    fn each_tile_belongs_to_the_trees_between_its_ends(size in 1_u64..200_000) {
        for tile in partial_tiles(size) {
            prop_assert!(tile.belongs_to(size));
            prop_assert!(tile.end_size().unwrap() <= size);
            prop_assert!(!tile.belongs_to(tile.end_size().unwrap() - 1));
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Record::parse(&bytes);
        let _ = RecordHead::parse(&bytes);
        let _ = FileHeader::parse(&bytes);
        let _ = decode_bundle(&bytes, 3);
        let _ = SignedNote::parse_bytes(&bytes);
    }

    #[test]
    fn any_text(text in "\\PC*", lines in "(([a-z0-9+/=\u{2014} ]{0,20})\n){0,8}") {
        for text in [text, lines] {
            if let Ok(note) = SignedNote::parse(&text) {
                prop_assert_eq!(note.to_string(), text.clone());
            }
            if let Ok(checkpoint) = Checkpoint::parse_text(&text) {
                prop_assert_eq!(checkpoint.to_text(), text.clone());
            }
            if let Ok(proof) = TlogProof::parse(&text) {
                prop_assert_eq!(proof.to_string(), text.clone());
            }
            if let Ok(key) = Verifier::parse_vkey(&text) {
                prop_assert_eq!(key.to_vkey(), text.clone());
            }
            let _ = TileName::parse(&text);
        }
    }

    #[test]
    fn records_read_back_and_each_flipped_bit_is_refused(
        from in 0_u64..1000,
        count in 1_u64..30,
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let batch = entries(from, count);
        let encoded = encode_record(Vec::new(), 7, from, Hash::of(b"before"), &batch, "a note\n").unwrap();
        let record = Record::parse(&encoded.bytes).unwrap();
        prop_assert_eq!((record.head.batch, record.head.first_leaf), (7, from));
        prop_assert_eq!((record.digest, record.note), (encoded.digest, "a note\n"));
        for (leaf, entry) in record.leaves.iter().zip(&batch) {
            prop_assert_eq!(leaf.bytes(), Some(entry.leaf.as_slice()));
        }
        let mut changed = encoded.bytes.clone();
        let place = at.index(changed.len());
        changed[place] ^= 1_u8 << bit;
        prop_assert!(Record::parse(&changed).is_err());
        prop_assert!(Record::parse(&encoded.bytes[..place]).is_err());
    }

    #[test]
    fn pruned_records_read_back_and_each_flipped_bit_is_refused(
        from in 0_u64..1000,
        count in 1_u64..30,
        pruned in any::<u32>(),
        more in any::<u32>(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let batch = entries(from, count);
        let encoded = encode_record(Vec::new(), 7, from, Hash::of(b"before"), &batch, "a note\n").unwrap();
        let record = Record::parse(&encoded.bytes).unwrap();
        let is_due = |set: u32| move |index: u64| set >> (index % 32) & 1 == 1;
        prop_assert!(encode_pruned(&record, |_| false).is_err(), "nothing was pruned");
        let Ok(once) = encode_pruned(&record, is_due(pruned)) else { return Ok(()) };
        // Pruning what is left of it is pruning all at once.
        let again = encode_pruned(&Record::parse(&once.bytes).unwrap(), is_due(more)).unwrap();
        prop_assert_eq!(&again, &encode_pruned(&record, is_due(pruned | more)).unwrap());
        let left = Record::parse(&again.bytes).unwrap();
        prop_assert_eq!((left.digest, left.note, left.head.end_leaf()), (record.digest, "a note\n", from + count));
        for (index, (leaf, entry)) in (from..).zip(left.leaves.iter().zip(&batch)) {
            let goes = is_due(pruned | more)(index);
            prop_assert_eq!(leaf.hash(), leaf_hash(&entry.leaf));
            prop_assert_eq!(leaf.bytes(), (!goes).then_some(entry.leaf.as_slice()));
            let attached = left.attachments.iter().filter(|kept| from + u64::from(kept.leaf) == index);
            prop_assert_eq!(attached.count(), if goes { 0 } else { entry.attachments.len() });
        }
        prop_assert!(left.leaves.iter().any(Leaf::is_pruned));
        let mut changed = again.bytes.clone();
        let place = at.index(changed.len());
        changed[place] ^= 1_u8 << bit;
        prop_assert!(Record::parse(&changed).is_err());
        prop_assert!(Record::parse(&again.bytes[..place]).is_err());
    }
}
