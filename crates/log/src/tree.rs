//! The tree as the process holds it: the roots of full tiles of every level,
//! and the newest leaf hashes. Ten million leaves take about 1.3 MB, and at
//! most [`TAIL_HASHES_MAX`] leaf hashes more.

use crate::limits::{TAIL_HASHES_MAX, TILE_HEIGHT, TILE_WIDTH};
use crate::merkle::{Hash, HashSource, MerkleError, perfect_root};

/// A growing tree by tile levels.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileTree {
    size: u64,
    // Index of the first hash in `tail`; a multiple of the tile width.
    tail_start: u64,
    // Leaf hashes from `tail_start` on.
    tail: Vec<Hash>,
    // Level 1 and up: level k holds the roots over 256^k leaves, all of them.
    uppers: Vec<Vec<Hash>>,
}

/// Where a node's hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodePlace {
    /// Here.
    Held(Hash),
    /// Below this full leaf tile, whose root is given to check it by.
    InLeafTile { index: u64, root: Hash },
    /// Not complete in this tree.
    Absent,
}

impl TileTree {
    /// A tree whose full leaf tiles have these roots (tile level 1), followed
    /// by the hashes of a partial leaf tile.
    pub(crate) fn from_tiles(leaf_tile_roots: Vec<Hash>, partial: Vec<Hash>) -> Self {
        let mut tree = Self::default();
        for root in leaf_tile_roots {
            tree.size += TILE_WIDTH as u64;
            tree.push_upper(0, root);
        }
        tree.tail_start = tree.size;
        for hash in partial {
            tree.append(hash);
        }
        tree
    }

    pub(crate) fn append(&mut self, leaf: Hash) {
        self.tail.push(leaf);
        self.size += 1;
        if self.size.is_multiple_of(TILE_WIDTH as u64) {
            let start = self.tail.len().saturating_sub(TILE_WIDTH);
            let root = self.tail.get(start..).and_then(perfect_root);
            if let Some(root) = root {
                self.push_upper(0, root);
            }
            if self.tail.len() >= TAIL_HASHES_MAX {
                self.forget_leaves(self.size - TILE_WIDTH as u64);
            }
        }
    }

    fn push_upper(&mut self, level: usize, hash: Hash) {
        let mut hash = hash;
        for level in level.. {
            if self.uppers.len() <= level {
                self.uppers.push(Vec::new());
            }
            let Some(row) = self.uppers.get_mut(level) else { return };
            row.push(hash);
            if !row.len().is_multiple_of(TILE_WIDTH) {
                return;
            }
            let start = row.len() - TILE_WIDTH;
            let Some(root) = row.get(start..).and_then(perfect_root) else { return };
            hash = root;
        }
    }

    /// Forgets leaf hashes of full tiles below `size`.
    pub(crate) fn forget_leaves(&mut self, size: u64) {
        let start = size.min(self.size) / TILE_WIDTH as u64 * TILE_WIDTH as u64;
        let count = usize::try_from(start.saturating_sub(self.tail_start)).unwrap_or(0);
        if count > 0 {
            self.tail.drain(..count.min(self.tail.len()));
            self.tail_start = start;
        }
    }

    /// Items of a tile row, where all of them are held.
    pub(crate) fn items(&self, level: u8, start: u64, count: usize) -> Option<Vec<Hash>> {
        let (row, start) = match usize::from(level).checked_sub(1) {
            None => (&self.tail, start.checked_sub(self.tail_start)?),
            Some(upper) => (self.uppers.get(upper)?, start),
        };
        let start = usize::try_from(start).ok()?;
        row.get(start..start.checked_add(count)?).map(<[Hash]>::to_vec)
    }

    /// The root of a full leaf tile.
    pub(crate) fn leaf_tile_root(&self, index: u64) -> Option<Hash> {
        self.uppers.first()?.get(usize::try_from(index).ok()?).copied()
    }

    pub(crate) fn node(&self, level: u32, index: u64) -> NodePlace {
        let complete = index
            .checked_add(1)
            .and_then(|end| end.checked_mul(1_u64.checked_shl(level)?))
            .is_some_and(|end| end <= self.size);
        if !complete {
            return NodePlace::Absent;
        }
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let Ok(tile_level) = u8::try_from(tile_level) else { return NodePlace::Absent };
        let start = index << height;
        let held = self.items(tile_level, start, 1 << height).as_deref().and_then(perfect_root);
        if let Some(hash) = held {
            return NodePlace::Held(hash);
        }
        let tile = start / TILE_WIDTH as u64;
        match self.leaf_tile_root(tile) {
            Some(root) if tile_level == 0 => NodePlace::InLeafTile { index: tile, root },
            _ => NodePlace::Absent,
        }
    }
}

impl HashSource for TileTree {
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError> {
        match self.node(level, index) {
            NodePlace::Held(hash) => Ok(hash),
            NodePlace::InLeafTile { .. } | NodePlace::Absent => {
                Err(MerkleError::Missing { level, index, reason: "it is not held".to_owned() })
            }
        }
    }
}
