//! The header record of a segment file.

use super::{
    EncodedRecord, FILE_FIXED_BYTES, FILE_HEADER_BYTES_MAX, FILE_MAGIC, FORMAT_VERSION, Fields, FileHeader,
    SegmentError, TRAILER_BYTES, close_record, file_name, open_trailer,
};
use crate::limits::{HASH_BYTES, LOG_KEYS_MAX, TREE_LEAVES_MAX};
use crate::merkle::Hash;

impl FileHeader {
    /// The file's name: its first leaf in 20 digits.
    #[must_use]
    pub fn file_name(&self) -> String {
        file_name(self.first_leaf)
    }

    /// The bytes of the header record.
    ///
    /// # Errors
    /// [`SegmentError`] when the origin or the list of keys is too long.
    pub fn encode(&self) -> Result<EncodedRecord, SegmentError> {
        let too_long = SegmentError("origin or keys too long for a header");
        let origin_bytes = u8::try_from(self.origin.len()).map_err(|_| too_long)?;
        if self.keys.is_empty() || self.keys.len() > LOG_KEYS_MAX {
            return Err(SegmentError("a header names one to four log keys"));
        }
        let keys = u8::try_from(self.keys.len()).map_err(|_| too_long)?;
        let mut length = FILE_FIXED_BYTES + 1 + self.origin.len() + 1;
        length += self.keys.len() * HASH_BYTES + TRAILER_BYTES;
        let length = u32::try_from(length).map_err(|_| too_long)?;
        let mut bytes = FILE_MAGIC.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.segment.to_be_bytes());
        bytes.extend_from_slice(&self.first_leaf.to_be_bytes());
        bytes.extend_from_slice(&self.first_leaf.to_be_bytes());
        bytes.extend_from_slice(self.previous.as_bytes());
        bytes.push(origin_bytes);
        bytes.extend_from_slice(self.origin.as_bytes());
        bytes.push(keys);
        bytes.extend(self.keys.iter().flat_map(|key| key.0));
        Ok(close_record(bytes, length))
    }

    /// Longest header record, in bytes, that a log of this origin begins a
    /// file with. Shorter than any header with a batch behind it, so that a
    /// torn header can be told from a damaged one.
    #[must_use]
    pub const fn bytes_max(origin: &str) -> u64 {
        let keys = LOG_KEYS_MAX * HASH_BYTES;
        (FILE_FIXED_BYTES + 1 + origin.len() + 1 + keys + TRAILER_BYTES) as u64
    }

    /// How long the header record at the front of these bytes says it is.
    ///
    /// # Errors
    /// [`SegmentError`] when they don't begin a header record.
    pub fn peek_length(bytes: &[u8]) -> Result<usize, SegmentError> {
        let mut fields = Fields(bytes);
        if fields.array()? != FILE_MAGIC {
            return Err(SegmentError("not the beginning of a segment file"));
        }
        let length = usize::try_from(fields.u32()?).map_err(|_| SegmentError("too long"))?;
        let fits = (FILE_FIXED_BYTES + TRAILER_BYTES..=FILE_HEADER_BYTES_MAX).contains(&length);
        fits.then_some(length).ok_or(SegmentError("a file header of an impossible length"))
    }

    /// Parses a header record; gives it and its digest.
    ///
    /// # Errors
    /// [`SegmentError`] for anything but the canonical bytes.
    pub fn parse(record: &[u8]) -> Result<(Self, Hash), SegmentError> {
        if Self::peek_length(record)? != record.len() {
            return Err(SegmentError("a file header of another length"));
        }
        let (body, digest) = open_trailer(record)?;
        let mut fields = Fields(body);
        let _magic_and_length: [u8; 12] = fields.array()?;
        if fields.u16()? != FORMAT_VERSION {
            return Err(SegmentError("a format version that is not known"));
        }
        let (generation, segment) = (fields.u64()?, fields.u64()?);
        let (first_leaf, tree_size) = (fields.u64()?, fields.u64()?);
        let previous = Hash(fields.array()?);
        let origin_bytes = usize::from(fields.u8()?);
        let origin = std::str::from_utf8(fields.bytes(origin_bytes)?)
            .map_err(|_| SegmentError("an origin that is not UTF-8"))?
            .to_owned();
        let keys = (0..fields.u8()?).map(|_| fields.array().map(Hash)).collect::<Result<Vec<_>, _>>()?;
        let keys_fit = (1..=LOG_KEYS_MAX).contains(&keys.len());
        if !keys_fit || !fields.0.is_empty() || tree_size != first_leaf {
            return Err(SegmentError("a file header whose fields disagree"));
        }
        if first_leaf > TREE_LEAVES_MAX {
            return Err(SegmentError("a tree larger than any"));
        }
        Ok((Self { origin, generation, segment, first_leaf, previous, keys }, digest))
    }
}
