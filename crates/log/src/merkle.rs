//! The Merkle tree of RFC 6962, section 2.1: hashes, roots, proofs.
//!
//! Pure functions: no I/O, no clock. A proof is a list of hashes from the
//! leaf's side to the root's, as in RFC 6962 and C2SP tlog-proof.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::limits::{HASH_BYTES, PROOF_HASHES_MAX, TREE_LEAVES_MAX};

/// A SHA-256 digest: a leaf hash, a node hash or a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

/// Why a proof or a request for one was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// The index is not below the tree size.
    #[error("index {index} is not in a tree of {size} leaves")]
    IndexOutOfTree {
        /// Index asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The older size is larger than the newer one, or a tree is too large.
    #[error("no tree of {old} leaves lies below one of {new} leaves")]
    SizesOutOfOrder {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// The proof has too few or too many hashes.
    #[error("the proof has a wrong number of hashes")]
    WrongLength,
    /// The hashes don't lead to the root.
    #[error("the proof does not lead to the root")]
    WrongRoot,
    /// A hash that the proof needs could not be had.
    #[error("node {index} of level {level} is not available: {reason}")]
    Missing {
        /// Level, 0 being the leaves.
        level: u32,
        /// Index within the level.
        index: u64,
        /// What went wrong.
        reason: String,
    },
}

/// Where node hashes are read from to make proofs.
pub trait HashSource {
    /// The hash of the complete subtree over leaves
    /// `[index << level, (index + 1) << level)`.
    ///
    /// # Errors
    /// [`MerkleError::Missing`] where the subtree isn't complete or can't be
    /// read.
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError>;
}

/// The rightmost path of a growing tree (a compact range from 0): all that is
/// needed to append and to know the root, at most 62 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    // Roots of the perfect subtrees, largest (leftmost) first; their sizes are
    // the one bits of `size`.
    peaks: Vec<Hash>,
}

// === impl Hash ===

impl Hash {
    /// Thirty-two zero bytes, which stand for "none before".
    pub const ZERO: Self = Self([0; HASH_BYTES]);

    /// SHA-256 of some bytes, without a domain prefix.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a hash from a slice of 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Standard base64 (RFC 4648, section 4) with padding, 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads base64 in its one canonical spelling.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        decode_base64(text).as_deref().and_then(Self::from_slice)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Decodes standard base64 and refuses every spelling but the one that
/// encoding gives (a 68-byte signature has four spellings).
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (STANDARD.encode(&bytes) == text).then_some(bytes)
}

/// Reads an ASCII decimal in its one canonical spelling (no sign, no leading
/// zero but `0` itself).
pub(crate) fn decode_decimal(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}

// === hashes ===

/// RFC 6962 leaf hash: SHA-256(0x00 || leaf).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(leaf);
    Hash(hasher.finalize().into())
}

/// RFC 6962 node hash: SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// The root over a power-of-two number of sibling hashes; none for any other
/// number.
#[must_use]
pub fn perfect_root(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(node_hash(left, right)),
                _ => None,
            })
            .collect();
    }
    row.first().copied()
}

// === impl Frontier ===

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of the first `size` leaves, read from a source of nodes.
    ///
    /// # Errors
    /// [`MerkleError`] when a node can't be had.
    pub fn from_source(source: &dyn HashSource, size: u64) -> Result<Self, MerkleError> {
        let peaks = peak_nodes(0, size)
            .into_iter()
            .map(|(level, index)| source.node(level, index))
            .collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// Leaves appended so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            // One peak a one bit of `size`, so that a pop never fails here.
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The RFC 6962 root of the leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_peaks(&self.peaks).unwrap_or_else(empty_root)
    }
}

fn fold_peaks(peaks: &[Hash]) -> Option<Hash> {
    peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// The perfect subtrees (level, index) that tile `[start, end)`, left to
/// right, where `start` begins a subtree at least as large as the range.
fn peak_nodes(start: u64, end: u64) -> Vec<(u32, u64)> {
    let mut nodes = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        nodes.push((level, at >> level));
        at += 1 << level;
    }
    nodes
}

fn range_root(source: &dyn HashSource, start: u64, end: u64) -> Result<Hash, MerkleError> {
    let peaks = peak_nodes(start, end)
        .into_iter()
        .map(|(level, index)| source.node(level, index))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(fold_peaks(&peaks).unwrap_or_else(empty_root))
}

/// The largest power of two below `count`, for `count` of two or more.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

// === making proofs ===

/// The root of the first `size` leaves.
///
/// # Errors
/// [`MerkleError::Missing`] when a node can't be had.
pub fn root(source: &dyn HashSource, size: u64) -> Result<Hash, MerkleError> {
    range_root(source, 0, size)
}

/// The inclusion proof (audit path) of leaf `index` in the tree of the first
/// `size` leaves; RFC 6962, section 2.1.1.
///
/// # Errors
/// [`MerkleError`] when the index isn't in the tree or a node can't be had.
pub fn prove_inclusion(source: &dyn HashSource, index: u64, size: u64) -> Result<Vec<Hash>, MerkleError> {
    if index >= size || size > TREE_LEAVES_MAX {
        return Err(MerkleError::IndexOutOfTree { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The consistency proof from the tree of `old` leaves to that of `new`;
/// RFC 6962, section 2.1.2. Empty when `old` is 0 or equals `new`.
///
/// # Errors
/// [`MerkleError`] when the sizes are out of order or a node can't be had.
pub fn prove_consistency(source: &dyn HashSource, old: u64, new: u64) -> Result<Vec<Hash>, MerkleError> {
    if old > new || new > TREE_LEAVES_MAX {
        return Err(MerkleError::SizesOutOfOrder { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    while end > old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    // The verifier knows the root of the old tree only when that is a whole
    // left subtree; else the proof begins with the last piece of it.
    if start > 0 {
        proof.push(range_root(source, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

// === verifying proofs ===

/// Checks that the leaf of this hash is at `index` in the tree of `size`
/// leaves with this root; RFC 9162, section 2.1.3.2.
///
/// # Errors
/// [`MerkleError`] saying what doesn't hold.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), MerkleError> {
    if index >= size || size > TREE_LEAVES_MAX {
        return Err(MerkleError::IndexOutOfTree { index, size });
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(MerkleError::WrongLength);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(MerkleError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            skip_lone_levels(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(MerkleError::WrongLength);
    }
    if hash == *root { Ok(()) } else { Err(MerkleError::WrongRoot) }
}

/// On the right edge a node without a sibling is carried up unhashed.
fn skip_lone_levels(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

/// Checks that the tree of `new` leaves extends that of `old` leaves;
/// RFC 9162, section 2.1.4.2.
///
/// The rule for empty trees: sizes 0 and 0 hold only with an empty proof and
/// both roots equal to [`empty_root`]; from 0 to a larger size nothing can be
/// proven and the answer is an error (a witness that has seen nothing accepts
/// by its own rule, without calling this).
///
/// # Errors
/// [`MerkleError`] saying what doesn't hold.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), MerkleError> {
    if old > new || new > TREE_LEAVES_MAX || (old == 0 && new > 0) {
        return Err(MerkleError::SizesOutOfOrder { old, new });
    }
    if old == new {
        return verify_same_size(old, old_root, new_root, proof);
    }
    if proof.is_empty() || proof.len() > PROOF_HASHES_MAX {
        return Err(MerkleError::WrongLength);
    }
    let seed = old.is_power_of_two().then_some(old_root);
    let mut hashes = seed.into_iter().chain(proof);
    let first = hashes.next().ok_or(MerkleError::WrongLength)?;
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(MerkleError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            skip_lone_levels(&mut node, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(MerkleError::WrongLength);
    }
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(MerkleError::WrongRoot) }
}

fn verify_same_size(size: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> Result<(), MerkleError> {
    if !proof.is_empty() {
        return Err(MerkleError::WrongLength);
    }
    let right_when_empty = size > 0 || *old_root == empty_root();
    if old_root == new_root && right_when_empty { Ok(()) } else { Err(MerkleError::WrongRoot) }
}
