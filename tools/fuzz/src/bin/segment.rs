//! A segment's records: what parses is encoded again to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::segment::{BATCH_MAGIC, FileHeader, Leaf, PRUNED_MAGIC, Record, encode_pruned, encode_record};
use perron_log::{Attachment, NewEntry};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, _)) = FileHeader::parse(bytes) {
        assert_eq!(header.encode().map(|record| record.bytes).as_deref(), Ok(bytes));
    }
    // A digest over all bytes stands in the trailer: it is put right, or nothing would come past it.
    let sealed = [BATCH_MAGIC, PRUNED_MAGIC].map(|magic| sealed(bytes, magic));
    for bytes in [bytes, &sealed[0], &sealed[1]] {
        let Ok(record) = Record::parse(bytes) else { continue };
        // What is pruned of it reads back, with the digest by which the next record names it.
        if let Ok(pruned) = encode_pruned(&record, |index| index % 3 == 0) {
            let left = Record::parse(&pruned.bytes).unwrap();
            assert_eq!((left.digest, left.note), (record.digest, record.note));
            assert!(left.leaves.iter().map(Leaf::hash).eq(record.leaves.iter().map(Leaf::hash)));
        }
        if record.head.is_pruned {
            assert_eq!(encode_pruned(&record, |_| false).map(|record| record.bytes).as_deref(), Ok(bytes));
            continue;
        }
        let leaf = |leaf: &Leaf<'_>| leaf.bytes().unwrap().to_vec();
        let mut entries: Vec<NewEntry> =
            record.leaves.iter().map(|l| NewEntry { leaf: leaf(l), attachments: Vec::new() }).collect();
        for attached in &record.attachments {
            let kept = Attachment { kind: attached.kind, bytes: attached.bytes.to_vec() };
            entries[attached.leaf as usize].attachments.push(kept);
        }
        let head = &record.head;
        let again = encode_record(Vec::new(), head.batch, head.first_leaf, head.previous, &entries, record.note);
        assert_eq!(again.map(|record| record.bytes).as_deref(), Ok(bytes));
    }
});

/// The bytes with the length, the checksum and the trailer that they should have.
fn sealed(bytes: &[u8], magic: [u8; 8]) -> Vec<u8> {
    let Ok(length) = u32::try_from(bytes.len()) else { return Vec::new() };
    let Some(body) = bytes.len().checked_sub(36).filter(|body| *body >= 72) else { return Vec::new() };
    let mut sealed = bytes.to_vec();
    sealed[..8].copy_from_slice(&magic);
    sealed[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&sealed[..68]);
    sealed[68..72].copy_from_slice(&crc.to_be_bytes());
    let digest = perron_log::Hash::of(&sealed[..body]);
    sealed[body..body + 32].copy_from_slice(digest.as_bytes());
    sealed[body + 32..].copy_from_slice(&length.to_be_bytes());
    sealed
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
