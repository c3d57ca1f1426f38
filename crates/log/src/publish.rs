//! Publishing: tiles and the `checkpoint` file, which anyone's tools read.
//!
//! All of it is derived. Each file is written outside `log/` and renamed into
//! place; tiles are durable before the checkpoint that covers them, so that a
//! directory copied after a power cut still verifies.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::error::{LogError, is_no_space};
use crate::files::read_file_if_any;
use crate::limits::{BUNDLE_BYTES_MAX, NOTE_BYTES_MAX, TILE_WIDTH};
use crate::merkle::Hash;
use crate::reader::Shared;
use crate::tile::{FULL_WIDTH, TileKind, TileName, encode_hashes, kinds, partial_tiles, push_entry};

/// What the temporary files of the log are called.
pub(crate) const TEMPORARY_PREFIX: &str = "perron-log-";

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
        let mut written = 0;
        let mut dirs = BTreeSet::new();
        for kind in kinds(size) {
            let full = kind.items(before) / TILE_WIDTH as u64..kind.items(size) / TILE_WIDTH as u64;
            if kind == TileKind::Entries {
                written += self.write_bundles(full, &mut dirs)?;
                continue;
            }
            for index in full {
                let name = TileName { kind, index, width: FULL_WIDTH };
                written += u64::from(self.write_tile(&name, &mut dirs)?);
            }
        }
        for name in partial_tiles(size) {
            written += u64::from(self.write_tile(&name, &mut dirs)?);
        }
        for dir in &dirs {
            self.files.sync_dir(dir).map_err(LogError::io(dir))?;
        }
        let checkpoint = self.layout.checkpoint();
        if self.replace(&checkpoint, note.as_bytes(), NOTE_BYTES_MAX)? {
            written += 1;
            let dir = self.layout.log_dir();
            self.files.sync_dir(dir).map_err(LogError::io(dir))?;
        }
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

    fn write_tile(&self, name: &TileName, dirs: &mut BTreeSet<PathBuf>) -> Result<bool, LogError> {
        let bytes = self.tile_bytes(name)?;
        self.put_tile(name, &bytes, dirs)
    }

    /// Writes full entry bundles, in one pass over their records: a bundle
    /// alone would cost all of each record that it has leaves of.
    fn write_bundles(&self, bundles: Range<u64>, dirs: &mut BTreeSet<PathBuf>) -> Result<u64, LogError> {
        let width = TILE_WIDTH as u64;
        let leaves = bundles.start * width..bundles.end * width;
        let mut bundle = Vec::new();
        let (mut written, mut failed) = (0, None);
        self.for_records(leaves.start, leaves.end, &mut |record| {
            for (index, leaf) in (record.head.first_leaf..).zip(&record.leaves) {
                if !leaves.contains(&index) {
                    continue;
                }
                if push_entry(&mut bundle, leaf).is_none() {
                    failed = Some(LogError::BatchRefused("a leaf of more than 65,535 bytes"));
                    return false;
                }
                if (index + 1).is_multiple_of(width) {
                    let name = TileName { kind: TileKind::Entries, index: index / width, width: FULL_WIDTH };
                    match self.put_tile(&name, &bundle, dirs) {
                        Ok(is_written) => written += u64::from(is_written),
                        Err(error) => {
                            failed = Some(error);
                            return false;
                        }
                    }
                    bundle.clear();
                }
            }
            true
        })?;
        failed.map_or(Ok(written), Err)
    }

    /// Puts a tile in place, unless it is there with these bytes; `dirs` are to be synced after it.
    pub(crate) fn put_tile(
        &self,
        name: &TileName,
        bytes: &[u8],
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, LogError> {
        let path = self.layout.tile(name);
        let dir = path.parent().unwrap_or(&path).to_owned();
        self.files.create_dirs(&dir).map_err(io(&dir))?;
        let is_written = self.replace(&path, bytes, BUNDLE_BYTES_MAX)?;
        dirs.insert(dir);
        Ok(is_written)
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
        let mut fits = true;
        self.for_records(start, end, &mut |record| {
            for (index, leaf) in (record.head.first_leaf..).zip(&record.leaves) {
                if (start..end).contains(&index) {
                    fits &= push_entry(&mut bundle, leaf).is_some();
                }
            }
            true
        })?;
        if fits { Ok(bundle) } else { Err(LogError::BatchRefused("a leaf of more than 65,535 bytes")) }
    }

    /// Puts a file in place by renaming, unless it already has these bytes.
    fn replace(&self, path: &Path, bytes: &[u8], bytes_max: usize) -> Result<bool, LogError> {
        let is_there = read_file_if_any(&*self.files, path, bytes_max).is_ok_and(|held| held.as_deref() == Some(bytes));
        if is_there {
            // After a kill these bytes may be in the page cache only.
            let held = self.files.open_write(path);
            held.and_then(|mut file| file.sync_data()).map_err(io(path))?;
            return Ok(false);
        }
        let temporary = self.layout.temporary_dir().join(format!("{TEMPORARY_PREFIX}publish"));
        match self.files.remove(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(&temporary)(error)),
        }
        let mut file = self.files.create(&temporary).map_err(io(&temporary))?;
        file.write_at(0, bytes).map_err(io(&temporary))?;
        file.sync_data().map_err(io(&temporary))?;
        self.files.rename(&temporary, path).map_err(io(path))?;
        Ok(true)
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

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LogError + '_ {
    move |error| {
        if is_no_space(&error) { LogError::NoSpace } else { LogError::io(path)(error) }
    }
}
