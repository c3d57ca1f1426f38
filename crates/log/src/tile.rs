//! Tiles and entry bundles (C2SP tlog-tiles): names, shapes, contents.

use std::fmt;

use crate::limits::{HASH_BYTES, LEAF_BYTES_MAX, TILE_HEIGHT, TILE_LEVEL_MAX, TILE_WIDTH, TREE_LEAVES_MAX};
use crate::merkle::Hash;

/// What a tile file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Leaves, each with a `u16` length before it.
    Entries,
    /// Hashes of this tile level (0: leaf hashes; each level up, roots of full
    /// tiles below).
    Hashes(u8),
}

/// The name of a tile file below `log/tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileName {
    /// What it holds.
    pub kind: TileKind,
    /// Index of the tile within its level.
    pub index: u64,
    /// Number of items: 256 for a full tile, 1 to 255 for a partial one.
    pub width: u16,
}

/// Width of a full tile, in the type that [`TileName`] has.
pub const FULL_WIDTH: u16 = 256;

const _: () = assert!(FULL_WIDTH as usize == TILE_WIDTH);

impl TileKind {
    /// log2 of the leaves below one item of the tile.
    #[must_use]
    pub fn item_level(self) -> u32 {
        match self {
            Self::Entries => 0,
            Self::Hashes(level) => u32::from(level) * TILE_HEIGHT,
        }
    }

    /// Complete items of this kind in a tree of `size` leaves.
    #[must_use]
    pub fn items(self, size: u64) -> u64 {
        size.checked_shr(self.item_level()).unwrap_or(0)
    }
}

impl TileName {
    /// Path relative to `log/`, with `/` between its parts.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{self}")
    }

    /// Parses a path relative to `log/tile/`; none for anything but the
    /// canonical spelling.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.split_once('/')?;
        let kind = if kind == "entries" {
            TileKind::Entries
        } else {
            TileKind::Hashes(kind.parse().ok().filter(|level| *level <= TILE_LEVEL_MAX)?)
        };
        let (digits, width) = match rest.split_once(".p/") {
            None => (rest, FULL_WIDTH),
            Some((digits, width)) => (digits, width.parse().ok()?),
        };
        let index = digits.split('/').try_fold(0_u64, |index, part| {
            let part = part.strip_prefix('x').unwrap_or(part);
            let value = part.parse::<u64>().ok().filter(|value| *value < 1000)?;
            index.checked_mul(1000)?.checked_add(value)
        })?;
        let name = Self { kind, index, width };
        let width_fits = (1..=FULL_WIDTH).contains(&width);
        (width_fits && name.to_string() == path).then_some(name)
    }

    /// The tree size at which the last item of this tile is complete; none if
    /// no tree that we read is so large.
    #[must_use]
    pub fn end_size(&self) -> Option<u64> {
        let items = self.index.checked_mul(TILE_WIDTH as u64)?.checked_add(self.width.into())?;
        let level = self.kind.item_level();
        let end = items.checked_mul(1_u64.checked_shl(level)?)?;
        (end <= TREE_LEAVES_MAX).then_some(end)
    }

    /// Whether a published tree of `size` leaves has exactly this file.
    #[must_use]
    pub fn belongs_to(&self, size: u64) -> bool {
        let items = self.kind.items(size);
        let full_tiles = items / TILE_WIDTH as u64;
        if self.width == FULL_WIDTH {
            self.index < full_tiles
        } else {
            self.index == full_tiles && u64::from(self.width) == items % TILE_WIDTH as u64
        }
    }
}

impl fmt::Display for TileName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => write!(out, "entries")?,
            TileKind::Hashes(level) => write!(out, "{level}")?,
        }
        let mut parts = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            parts.push(rest % 1000);
            rest /= 1000;
        }
        for (left, part) in parts.iter().enumerate().rev() {
            let mark = if left > 0 { "x" } else { "" };
            write!(out, "/{mark}{part:03}")?;
        }
        if self.width < FULL_WIDTH {
            write!(out, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// The kinds of tile that a tree of `size` leaves has: entries, and hashes of
/// each level with at least one item.
#[must_use]
pub fn kinds(size: u64) -> Vec<TileKind> {
    if size == 0 {
        return Vec::new();
    }
    let levels = (0..=TILE_LEVEL_MAX).map(TileKind::Hashes).take_while(|kind| kind.items(size) > 0);
    std::iter::once(TileKind::Entries).chain(levels).collect()
}

/// The partial tiles of a tree of `size` leaves.
#[must_use]
pub fn partial_tiles(size: u64) -> Vec<TileName> {
    kinds(size)
        .into_iter()
        .filter_map(|kind| {
            let items = kind.items(size);
            let width = u16::try_from(items % TILE_WIDTH as u64).ok().filter(|width| *width > 0)?;
            Some(TileName { kind, index: items / TILE_WIDTH as u64, width })
        })
        .collect()
}

/// The bytes of a hash tile.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads a hash tile of exactly `width` hashes.
#[must_use]
pub fn decode_hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && hashes.len() == usize::from(width)).then(|| hashes.iter().copied().map(Hash).collect())
}

/// Appends one leaf to an entry bundle; none when it is too long.
#[must_use]
pub fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> Option<()> {
    let length = u16::try_from(leaf.len()).ok()?;
    debug_assert!(leaf.len() <= LEAF_BYTES_MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Some(())
}

/// Takes one leaf off the front of an entry bundle.
#[must_use]
pub fn split_entry(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Reads an entry bundle of exactly `width` leaves.
#[must_use]
pub fn decode_bundle(bytes: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let mut leaves = Vec::with_capacity(usize::from(width));
    for _ in 0..width {
        let (leaf, after) = split_entry(rest)?;
        leaves.push(leaf);
        rest = after;
    }
    rest.is_empty().then_some(leaves)
}
