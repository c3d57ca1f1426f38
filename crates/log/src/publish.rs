//! Publishing: tiles and the `checkpoint` file, which anyone's tools read.
//!
//! All of it is derived. Tiles are durable before the checkpoint that covers them, so that a
//! directory copied after a power cut still verifies.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use crate::error::LogError;
use crate::limits::{BUNDLE_BYTES_MAX, NOTE_BYTES_MAX, TILE_WIDTH};
use crate::merkle::{Hash, perfect_root};
use crate::placing::{Placing, io};
use crate::reader::Shared;
use crate::segment::Leaf;
use crate::tile::{FULL_WIDTH, TileKind, TileName, encode_hashes, kinds, partial_tiles, push_entry};

/// A cloneable handle that publishes; two calls never run at once.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Publishes the newest durable checkpoint: full tiles, partial tiles,
    /// `checkpoint`, in this order; then removes the partial tiles of the
    /// checkpoint before. An empty log has nothing to publish.
    ///
    /// # Errors
    /// [`LogError::NoSpace`] or [`LogError::Io`]; it can be tried again.
    pub fn publish(&self) -> Result<(), LogError> {
        let _one_at_a_time = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, size) = {
            let durable = self.shared.read();
            (durable.published, durable.checkpoint.size)
        };
        // Nothing came since: an idle log writes and syncs nothing.
        if before == size { Ok(()) } else { self.shared.publish_from(before).map(|_| ()) }
    }
}

impl Shared {
    /// Publishes the tiles from the tree size `before` on, leaving alone files
    /// that are already as they should be; gives how many were written.
    pub(crate) fn publish_from(&self, before: u64) -> Result<u64, LogError> {
        let (size, note) = {
            let durable = self.read();
            (durable.checkpoint.size, durable.note.clone())
        };
        if size == 0 {
            return Ok(0);
        }
        let mut placing = Placing::new(self);
        for kind in kinds(size) {
            let full = kind.items(before) / TILE_WIDTH as u64..kind.items(size) / TILE_WIDTH as u64;
            match kind {
                TileKind::Entries => self.put_leaf_tiles(full, true, &mut placing)?,
                // Put beside their entries.
                TileKind::Hashes(0) => {}
                TileKind::Hashes(_) => {
                    for index in full {
                        self.put_tile(&TileName { kind, index, width: FULL_WIDTH }, &mut placing)?;
                    }
                }
            }
        }
        for name in partial_tiles(size) {
            match self.put_tile(&name, &mut placing) {
                // A bundle of which entries were pruned isn't published.
                Err(LogError::Pruned { .. }) => self.remove_tile(&name)?,
                put => put?,
            }
        }
        let mut written = placing.finish()?;
        let mut placing = Placing::new(self);
        placing.put(&self.layout.checkpoint(), note.as_bytes(), NOTE_BYTES_MAX)?;
        written += placing.finish()?;
        if before != size {
            for name in partial_tiles(before).iter().filter(|name| !name.belongs_to(size)) {
                self.remove_tile(name)?;
            }
        }
        let mut durable = self.write();
        durable.published = size;
        durable.tree.forget_leaves(size);
        Ok(written)
    }

    fn put_tile(&self, name: &TileName, placing: &mut Placing<'_>) -> Result<(), LogError> {
        placing.put(&self.layout.tile(name), &self.tile_bytes(name)?, BUNDLE_BYTES_MAX)
    }

    /// Makes entry bundles again that aren't there; those of which entries
    /// were pruned stay away.
    pub(crate) fn write_missing_bundles(&self, missing: Vec<Range<u64>>) -> Result<u64, LogError> {
        let mut placing = Placing::new(self);
        for bundles in missing {
            self.put_leaf_tiles(bundles, false, &mut placing)?;
        }
        placing.finish()
    }

    /// Puts full entry bundles and, where they are asked for, the tiles of
    /// their leaves' hashes, in one pass over the leaves; each tile must be the
    /// tree's. A bundle of which entries were pruned isn't put.
    fn put_leaf_tiles(&self, tiles: Range<u64>, hashes_too: bool, placing: &mut Placing<'_>) -> Result<(), LogError> {
        let width = TILE_WIDTH as u64;
        let (mut bundle, mut is_pruned, mut hashes) = (Vec::new(), false, Vec::with_capacity(TILE_WIDTH));
        self.for_leaves(tiles.start * width, tiles.end * width, &mut |index, leaf| {
            match leaf {
                Leaf::Whole(bytes) => push_entry(&mut bundle, bytes).ok_or_else(too_long)?,
                Leaf::Pruned(_) => is_pruned = true,
            }
            hashes.push(leaf.hash());
            if !(index + 1).is_multiple_of(width) {
                return Ok(());
            }
            let tile = index / width;
            let of = |kind| self.layout.tile(&TileName { kind, index: tile, width: FULL_WIDTH });
            let entries = of(TileKind::Entries);
            if !self.is_leaf_tile(tile, &hashes) {
                return Err(LogError::damaged(&entries, 0, "its leaves have other hashes than the tree"));
            }
            if !std::mem::take(&mut is_pruned) {
                placing.put(&entries, &bundle, BUNDLE_BYTES_MAX)?;
            }
            if hashes_too {
                placing.put(&of(TileKind::Hashes(0)), &encode_hashes(&hashes), BUNDLE_BYTES_MAX)?;
            }
            bundle.clear();
            hashes.clear();
            Ok(())
        })
    }

    /// Are these the hashes of a full tile of leaves?
    fn is_leaf_tile(&self, index: u64, hashes: &[Hash]) -> bool {
        let durable = self.read();
        match durable.tree.items(0, index * TILE_WIDTH as u64, TILE_WIDTH) {
            Some(held) => held == hashes,
            None => perfect_root(hashes).is_some_and(|root| durable.tree.leaf_tile_root(index) == Some(root)),
        }
    }

    /// The bytes of a tile or entry bundle, computed anew.
    pub(crate) fn tile_bytes(&self, name: &TileName) -> Result<Vec<u8>, LogError> {
        match name.kind {
            TileKind::Entries => self.bundle(name),
            TileKind::Hashes(level) => Ok(encode_hashes(&self.tile_hashes(level, name)?)),
        }
    }

    fn tile_hashes(&self, level: u8, name: &TileName) -> Result<Vec<Hash>, LogError> {
        let start = name.index * TILE_WIDTH as u64;
        let held = self.read().tree.items(level, start, name.width.into());
        if let Some(hashes) = held {
            return Ok(hashes);
        }
        let root = self.read().tree.leaf_tile_root(name.index).filter(|_| level == 0);
        let root =
            root.ok_or_else(|| LogError::damaged(&self.layout.tile(name), 0, "its hashes are not in the tree"))?;
        // The tree may have grown past this tile since: take what was asked.
        let mut hashes = self.leaf_tile(name.index, &root)?;
        hashes.truncate(name.width.into());
        Ok(hashes)
    }

    fn bundle(&self, name: &TileName) -> Result<Vec<u8>, LogError> {
        let start = name.index * TILE_WIDTH as u64;
        let end = start + u64::from(name.width);
        let mut bundle = Vec::new();
        let (mut fits, mut pruned) = (true, None);
        self.for_records(start, end, &mut |record| {
            for (index, leaf) in (record.head.first_leaf..).zip(&record.leaves) {
                match leaf.bytes().filter(|_| (start..end).contains(&index)) {
                    Some(leaf) => fits &= push_entry(&mut bundle, leaf).is_some(),
                    None if leaf.is_pruned() && (start..end).contains(&index) => pruned = Some(index),
                    None => {}
                }
            }
            pruned.is_none()
        })?;
        if let Some(index) = pruned {
            return Err(LogError::Pruned { index });
        }
        if fits { Ok(bundle) } else { Err(too_long()) }
    }

    /// Removes a tile that doesn't belong to the published tree, and the
    /// folder of partial tiles if it is then empty.
    pub(crate) fn remove_tile(&self, name: &TileName) -> Result<(), LogError> {
        let path = self.layout.tile(name);
        match self.files.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(&path)(error)),
        }
        match path.parent().filter(|_| name.width < FULL_WIDTH) {
            None => Ok(()),
            Some(dir) => match self.files.remove_dir(dir) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    Err(io(dir)(error))
                }
                _ => Ok(()),
            },
        }
    }
}

fn too_long() -> LogError {
    LogError::BatchRefused("a leaf of more than 65,535 bytes")
}
