//! Segment files: the one truth. Encoding and strict parsing of their records.
//!
//! A file is one header record, then batch records, nothing else. Integers are
//! big-endian, as in an entry bundle.
//!
//! Header record of a file:
//!
//! ```text
//! magic            8   "PERRONsg"
//! length           4   of the whole record
//! format version   2   1
//! generation       8
//! segment number   8   from 0
//! first leaf       8   also the file's name
//! tree size        8   equal to the first leaf: the leaves before this file
//! previous        32   SHA-256 in the trailer of the last record before; zeros in segment 0
//! origin           1 + n
//! log keys         1 + n × 32   fingerprints, in the order of the signature lines
//! trailer         32 + 4   SHA-256 of all above, length again
//! ```
//!
//! Batch record:
//!
//! ```text
//! magic            8   "PERRONba"
//! length           4   of the whole record, at most 16 MiB
//! batch number     8   from 0, over all segments
//! first leaf       8
//! leaves           4   at least 1
//! attachments      4
//! previous        32   SHA-256 in the trailer of the record before, a file's header included
//! CRC-32C          4   of the 68 bytes above
//! leaves               u16 length and bytes each
//! attachments          kind u16, leaf u32 (from the first of this batch, not decreasing), length u32, bytes
//! note                 signed checkpoint of the tree after this batch, up to the trailer
//! trailer         32 + 4   SHA-256 of all above, length again
//! ```
//!
//! A batch of which leaves were pruned has a pruned record in its place ([`encode_pruned`]). It tells
//! the digest of the batch record, so that the records' chain goes on:
//!
//! ```text
//! magic            8   "PERRONpr"
//! length … CRC-32C     as a batch record's; attachments are those that are left
//! original        32   SHA-256 in the trailer of the batch record, which the next record names
//! leaves               a byte each: 0, then u16 length and bytes; or 1, then the pruned leaf's hash;
//!                      at least one is pruned
//! attachments, note    as a batch record's; nothing is attached to a pruned leaf
//! trailer         32 + 4   SHA-256 of all above, length again
//! ```

mod header;
mod pruned;

pub use pruned::encode_pruned;
pub(crate) use pruned::{PRUNED_MARK, WHOLE_MARK};

use crate::limits::{
    BATCH_ATTACHMENTS_MAX, BATCH_LEAVES_MAX, HASH_BYTES, LEAF_BYTES_MAX, LOG_KEYS_MAX, NAME_BYTES_MAX,
    PRUNED_RECORD_BYTES_MAX, RECORD_BYTES_MAX, TREE_LEAVES_MAX,
};
use crate::merkle::{Hash, leaf_hash};
use crate::tile;

/// First bytes of a file's header record.
pub const FILE_MAGIC: [u8; 8] = *b"PERRONsg";
/// First bytes of a batch record.
pub const BATCH_MAGIC: [u8; 8] = *b"PERRONba";
/// First bytes of a pruned record.
pub const PRUNED_MAGIC: [u8; 8] = *b"PERRONpr";
/// The format written and read.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of a batch record's fixed head, its CRC included.
pub const HEAD_BYTES: usize = 72;
/// Bytes of a record's trailer.
pub const TRAILER_BYTES: usize = HASH_BYTES + 4;
/// Bytes of a file header's fixed part, up to the origin.
const FILE_FIXED_BYTES: usize = 8 + 4 + 2 + 8 + 8 + 8 + 8 + 32;
/// Longest header record of a file, in bytes.
pub const FILE_HEADER_BYTES_MAX: usize =
    FILE_FIXED_BYTES + 1 + NAME_BYTES_MAX + 1 + LOG_KEYS_MAX * HASH_BYTES + TRAILER_BYTES;

const _: () = assert!(HEAD_BYTES + TRAILER_BYTES < RECORD_BYTES_MAX);
// See `FileHeader::bytes_max`: a batch is longer than the keys that a header
// may have more than another.
const _: () = assert!(HEAD_BYTES + TRAILER_BYTES > (LOG_KEYS_MAX - 1) * HASH_BYTES);

/// Why bytes aren't a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SegmentError(pub &'static str);

/// The header record of a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// Origin of the log.
    pub origin: String,
    /// Generation of the log.
    pub generation: u64,
    /// Number of this segment, from 0.
    pub segment: u64,
    /// Leaves before this file, and index of its first leaf.
    pub first_leaf: u64,
    /// Digest of the last record before; zeros in segment 0.
    pub previous: Hash,
    /// Fingerprints of the log keys in force.
    pub keys: Vec<Hash>,
}

/// The fixed head of a batch record, or of the pruned record in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Were leaves of it pruned?
    pub is_pruned: bool,
    /// Bytes of the whole record.
    pub length: u32,
    /// Batch number, from 0 over all segments.
    pub batch: u64,
    /// Index of the batch's first leaf.
    pub first_leaf: u64,
    /// Leaves in the batch.
    pub leaves: u32,
    /// Attachments in the batch.
    pub attachments: u32,
    /// Digest of the record before.
    pub previous: Hash,
}

/// Bytes beside the tree, bound by a commitment in their leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What the bytes are: the caller's numbers.
    pub kind: u16,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// An attachment inside a parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachmentRef<'a> {
    /// What the bytes are: the caller's numbers.
    pub kind: u16,
    /// Leaf it belongs to, counted from the batch's first.
    pub leaf: u32,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A leaf inside a parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// Its bytes.
    Whole(&'a [u8]),
    /// It was pruned: its hash is left, by which the tree stays as it was.
    Pruned(Hash),
}

/// One entry to append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEntry {
    /// The leaf, at most 65,535 bytes.
    pub leaf: Vec<u8>,
    /// What is kept beside it.
    pub attachments: Vec<Attachment>,
}

/// A batch record or a pruned one, parsed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its head.
    pub head: RecordHead,
    /// Its leaves.
    pub leaves: Vec<Leaf<'a>>,
    /// Its attachments, by leaf.
    pub attachments: Vec<AttachmentRef<'a>>,
    /// The signed checkpoint of the tree after it.
    pub note: &'a str,
    /// What the next record names: SHA-256 of all before the trailer, of the batch record as it was
    /// written.
    pub digest: Hash,
}

/// A record ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRecord {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The digest that the next record names.
    pub digest: Hash,
}

// === reading pieces ===

/// Takes fixed-width fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SegmentError> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or(SegmentError("shorter than its fields"))?;
        self.0 = rest;
        Ok(*front)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], SegmentError> {
        let (front, rest) = self.0.split_at_checked(length).ok_or(SegmentError("shorter than its fields"))?;
        self.0 = rest;
        Ok(front)
    }

    fn u8(&mut self) -> Result<u8, SegmentError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, SegmentError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, SegmentError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, SegmentError> {
        self.array().map(u64::from_be_bytes)
    }

    fn leaf(&mut self) -> Result<Leaf<'a>, SegmentError> {
        let (leaf, rest) = tile::split_entry(self.0).ok_or(SegmentError("shorter than its leaves"))?;
        self.0 = rest;
        Ok(Leaf::Whole(leaf))
    }

    /// A leaf of a pruned record.
    fn marked_leaf(&mut self) -> Result<Leaf<'a>, SegmentError> {
        match self.u8()? {
            WHOLE_MARK => self.leaf(),
            PRUNED_MARK => Ok(Leaf::Pruned(Hash(self.array()?))),
            _ => Err(SegmentError("a leaf that is neither whole nor pruned")),
        }
    }
}

// === impl Leaf ===

impl<'a> Leaf<'a> {
    /// Its bytes; none of a pruned one.
    #[must_use]
    pub const fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Whole(bytes) => Some(*bytes),
            Self::Pruned(_) => None,
        }
    }

    /// Was it pruned?
    #[must_use]
    pub const fn is_pruned(&self) -> bool {
        matches!(self, Self::Pruned(_))
    }

    /// Its RFC 6962 hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        match self {
            Self::Whole(bytes) => leaf_hash(bytes),
            Self::Pruned(hash) => *hash,
        }
    }
}

/// Checks trailer and length; gives what is before the trailer, and the digest.
fn open_trailer(record: &[u8]) -> Result<(&[u8], Hash), SegmentError> {
    let (body, trailer) = record.split_last_chunk::<TRAILER_BYTES>().ok_or(SegmentError("shorter than a trailer"))?;
    let mut fields = Fields(trailer);
    let digest = Hash(fields.array()?);
    if u32::try_from(record.len()) != Ok(fields.u32()?) {
        return Err(SegmentError("its length in the trailer is not its length"));
    }
    if Hash::of(body) != digest {
        return Err(SegmentError("its digest is not that of its bytes"));
    }
    Ok((body, digest))
}

fn close_record(mut bytes: Vec<u8>, length: u32) -> EncodedRecord {
    let digest = Hash::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    EncodedRecord { bytes, digest }
}

/// The digest in a record's trailer, unverified; none if it is too short.
#[must_use]
pub fn trailer_digest(record: &[u8]) -> Option<Hash> {
    let trailer = record.last_chunk::<TRAILER_BYTES>()?;
    trailer.first_chunk::<HASH_BYTES>().copied().map(Hash)
}

/// The name of the segment file that begins with this leaf.
#[must_use]
pub fn file_name(first_leaf: u64) -> String {
    format!("{first_leaf:020}")
}

/// The first leaf in a segment file's name; none for any other name.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<u64> {
    let first_leaf = name.parse().ok()?;
    (file_name(first_leaf) == name).then_some(first_leaf)
}

// === impl RecordHead ===

impl RecordHead {
    /// Parses a head and checks its CRC and bounds.
    ///
    /// # Errors
    /// [`SegmentError`] saying what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(SegmentError("a cut head"))?;
        let (checked, crc) = head.split_last_chunk::<4>().ok_or(SegmentError("shorter than its fields"))?;
        let mut fields = Fields(checked);
        let is_pruned = match fields.array()? {
            BATCH_MAGIC => false,
            PRUNED_MAGIC => true,
            _ => return Err(SegmentError("not the beginning of a batch record")),
        };
        if crc32c::crc32c(checked) != u32::from_be_bytes(*crc) {
            return Err(SegmentError("a head whose checksum is not that of its bytes"));
        }
        let head = Self {
            is_pruned,
            length: fields.u32()?,
            batch: fields.u64()?,
            first_leaf: fields.u64()?,
            leaves: fields.u32()?,
            attachments: fields.u32()?,
            previous: Hash(fields.array()?),
        };
        head.check_bounds()?;
        Ok(head)
    }

    fn check_bounds(&self) -> Result<(), SegmentError> {
        let bytes_max = if self.is_pruned { PRUNED_RECORD_BYTES_MAX } else { RECORD_BYTES_MAX };
        let length_fits = (HEAD_BYTES + TRAILER_BYTES..=bytes_max).contains(&self.record_bytes());
        let leaves_fit = (1..=BATCH_LEAVES_MAX as u64).contains(&u64::from(self.leaves));
        let attachments_fit = u64::from(self.attachments) <= BATCH_ATTACHMENTS_MAX as u64;
        let tree_fits = self.first_leaf <= TREE_LEAVES_MAX - BATCH_LEAVES_MAX as u64;
        (length_fits && leaves_fit && attachments_fit && tree_fits)
            .then_some(())
            .ok_or(SegmentError("a head past the bounds of a record"))
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    /// Leaves of the tree after this batch.
    #[must_use]
    pub fn end_leaf(&self) -> u64 {
        self.first_leaf.saturating_add(u64::from(self.leaves))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = if self.is_pruned { PRUNED_MAGIC } else { BATCH_MAGIC }.to_vec();
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.batch.to_be_bytes());
        bytes.extend_from_slice(&self.first_leaf.to_be_bytes());
        bytes.extend_from_slice(&self.leaves.to_be_bytes());
        bytes.extend_from_slice(&self.attachments.to_be_bytes());
        bytes.extend_from_slice(self.previous.as_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    /// Parses a whole record and verifies each byte of it: head, digest,
    /// lengths, order of attachments. The note's signature and the tree are
    /// the caller's to check.
    ///
    /// # Errors
    /// [`SegmentError`] saying what is wrong.
    pub fn parse(record: &'a [u8]) -> Result<Self, SegmentError> {
        let head = RecordHead::parse(record)?;
        if head.record_bytes() != record.len() {
            return Err(SegmentError("a record of another length than its head says"));
        }
        let (body, own_digest) = open_trailer(record)?;
        let mut fields = Fields(body);
        fields.bytes(HEAD_BYTES)?;
        let digest = if head.is_pruned { Hash(fields.array()?) } else { own_digest };
        let mut leaves = Vec::new();
        for _ in 0..head.leaves {
            leaves.push(if head.is_pruned { fields.marked_leaf()? } else { fields.leaf()? });
        }
        if head.is_pruned && !leaves.iter().any(Leaf::is_pruned) {
            return Err(SegmentError("a pruned record of which nothing was pruned"));
        }
        let mut attachments = Vec::new();
        let mut leaf_before = 0;
        for _ in 0..head.attachments {
            let (kind, leaf, length) = (fields.u16()?, fields.u32()?, fields.u32()?);
            if leaf < leaf_before || leaf >= head.leaves {
                return Err(SegmentError("attachments out of order"));
            }
            if usize::try_from(leaf).ok().and_then(|at| leaves.get(at)).is_none_or(Leaf::is_pruned) {
                return Err(SegmentError("an attachment of a pruned leaf"));
            }
            leaf_before = leaf;
            let length = usize::try_from(length).map_err(|_| SegmentError("too long"))?;
            attachments.push(AttachmentRef { kind, leaf, bytes: fields.bytes(length)? });
        }
        let note = std::str::from_utf8(fields.0).map_err(|_| SegmentError("a note that is not UTF-8"))?;
        Ok(Self { head, leaves, attachments, note, digest })
    }
}

/// Makes the batch record of some entries, in memory that is taken again.
///
/// # Errors
/// [`SegmentError`] when they are past the bounds of a record.
pub fn encode_record(
    mut bytes: Vec<u8>,
    batch: u64,
    first_leaf: u64,
    previous: Hash,
    entries: &[NewEntry],
    note: &str,
) -> Result<EncodedRecord, SegmentError> {
    let attachments = entries.iter().map(|entry| entry.attachments.len()).sum::<usize>();
    let length = record_bytes(entries, note.len());
    let head = RecordHead {
        is_pruned: false,
        length: count(length)?,
        batch,
        first_leaf,
        leaves: count(entries.len())?,
        attachments: count(attachments)?,
        previous,
    };
    head.check_bounds()?;
    bytes.clear();
    bytes.reserve_exact(length);
    bytes.extend_from_slice(&head.encode());
    for entry in entries {
        debug_assert!(entry.leaf.len() <= LEAF_BYTES_MAX);
        tile::push_entry(&mut bytes, &entry.leaf).ok_or(SegmentError("a leaf too long"))?;
    }
    for (leaf, entry) in (0_u32..).zip(entries) {
        for attachment in &entry.attachments {
            push_attachment(&mut bytes, &AttachmentRef { kind: attachment.kind, leaf, bytes: &attachment.bytes })?;
        }
    }
    bytes.extend_from_slice(note.as_bytes());
    Ok(close_record(bytes, head.length))
}

fn count(number: usize) -> Result<u32, SegmentError> {
    u32::try_from(number).map_err(|_| SegmentError("a batch past the bounds of a record"))
}

fn push_attachment(bytes: &mut Vec<u8>, attachment: &AttachmentRef<'_>) -> Result<(), SegmentError> {
    bytes.extend_from_slice(&attachment.kind.to_be_bytes());
    bytes.extend_from_slice(&attachment.leaf.to_be_bytes());
    bytes.extend_from_slice(&count(attachment.bytes.len())?.to_be_bytes());
    bytes.extend_from_slice(attachment.bytes);
    Ok(())
}

/// Bytes of the record that would hold these entries and a note so long.
#[must_use]
pub fn record_bytes(entries: &[NewEntry], note_bytes: usize) -> usize {
    let entry_bytes = |entry: &NewEntry| {
        let attached = entry.attachments.iter().map(|kept| 10_usize.saturating_add(kept.bytes.len()));
        attached.fold(2 + entry.leaf.len(), usize::saturating_add)
    };
    entries.iter().map(entry_bytes).fold(HEAD_BYTES + note_bytes + TRAILER_BYTES, usize::saturating_add)
}
