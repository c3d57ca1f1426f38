//! Records of which leaves were pruned: their hashes are left, and the digest of the record as it was.

use super::{
    EncodedRecord, HEAD_BYTES, Leaf, Record, RecordHead, SegmentError, TRAILER_BYTES, close_record, count,
    push_attachment,
};
use crate::limits::HASH_BYTES;
use crate::tile;

/// Mark before a leaf that is whole.
pub(crate) const WHOLE_MARK: u8 = 0;
/// Mark before the hash of a pruned leaf.
pub(crate) const PRUNED_MARK: u8 = 1;

/// Makes the pruned record of a parsed record: leaves that were pruned before stay so, and those
/// whose index `prunes` names are pruned too, with what is attached to them.
///
/// # Errors
/// [`SegmentError`] where no leaf is pruned: the record stays as it is.
pub fn encode_pruned(record: &Record<'_>, prunes: impl Fn(u64) -> bool) -> Result<EncodedRecord, SegmentError> {
    let numbered = (record.head.first_leaf..).zip(&record.leaves);
    let leaves: Vec<Leaf<'_>> =
        numbered.map(|(index, leaf)| if prunes(index) { Leaf::Pruned(leaf.hash()) } else { *leaf }).collect();
    if !leaves.iter().any(Leaf::is_pruned) {
        return Err(SegmentError("a pruned record of which nothing was pruned"));
    }
    let is_kept = |leaf: u32| usize::try_from(leaf).ok().and_then(|at| leaves.get(at)).is_some_and(|l| !l.is_pruned());
    let attachments: Vec<_> = record.attachments.iter().filter(|kept| is_kept(kept.leaf)).collect();
    let leaf_bytes = |leaf: &Leaf<'_>| 1 + leaf.bytes().map_or(HASH_BYTES, |bytes| 2 + bytes.len());
    let mut length = HEAD_BYTES + HASH_BYTES + record.note.len() + TRAILER_BYTES;
    length += leaves.iter().map(leaf_bytes).sum::<usize>();
    length += attachments.iter().map(|kept| 10 + kept.bytes.len()).sum::<usize>();
    let head =
        RecordHead { is_pruned: true, length: count(length)?, attachments: count(attachments.len())?, ..record.head };
    head.check_bounds()?;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&head.encode());
    bytes.extend_from_slice(record.digest.as_bytes());
    for leaf in &leaves {
        match leaf {
            Leaf::Whole(whole) => {
                bytes.push(WHOLE_MARK);
                tile::push_entry(&mut bytes, whole).ok_or(SegmentError("a leaf too long"))?;
            }
            Leaf::Pruned(hash) => {
                bytes.push(PRUNED_MARK);
                bytes.extend_from_slice(hash.as_bytes());
            }
        }
    }
    for attachment in attachments {
        push_attachment(&mut bytes, attachment)?;
    }
    bytes.extend_from_slice(record.note.as_bytes());
    let EncodedRecord { bytes, .. } = close_record(bytes, head.length);
    Ok(EncodedRecord { bytes, digest: record.digest })
}
