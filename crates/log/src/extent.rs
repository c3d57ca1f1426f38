//! The log as of one durable checkpoint, as the files that a copy of it has:
//! nothing past that checkpoint, whatever is written meanwhile.

use crate::error::LogError;
use crate::files::Window;
use crate::limits::TILE_WIDTH;
use crate::reader::LogReader;
use crate::tile::{FULL_WIDTH, TileName, kinds, partial_tiles};

/// What a copy of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Leaves of its tree.
    pub size: u64,
    /// The signed checkpoint of that tree: the copy's `checkpoint`.
    pub note: String,
    /// Segment files, in order.
    pub segments: Vec<SegmentExtent>,
}

/// A segment file up to the record of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentExtent {
    /// Its first leaf, which names it.
    pub first_leaf: u64,
    /// Its bytes up to the end of that record.
    pub bytes: u64,
}

impl Extent {
    /// The tiles that a published tree of this size has.
    pub fn tiles(&self) -> impl Iterator<Item = TileName> + use<> {
        let size = self.size;
        let full = kinds(size).into_iter().flat_map(move |kind| {
            let count = kind.items(size) / TILE_WIDTH as u64;
            (0..count).map(move |index| TileName { kind, index, width: FULL_WIDTH })
        });
        full.chain(partial_tiles(size))
    }
}

impl LogReader {
    /// What is durable now, as the files of a copy. None of its bytes changes afterwards, unless
    /// entries are pruned meanwhile.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let durable = self.shared.read();
        let size = durable.checkpoint.size;
        let segments = durable.segments.iter().filter(|meta| meta.first_leaf < size);
        let segments = segments.map(|meta| SegmentExtent { first_leaf: meta.first_leaf, bytes: meta.durable_bytes });
        Extent { size, note: durable.note.clone(), segments: segments.collect() }
    }

    /// Durable bytes of a segment file: `length` from `offset` on, or fewer at its durable end.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] where no segment begins with this leaf; [`LogError::Io`].
    pub fn segment_bytes(&self, first_leaf: u64, offset: u64, length: usize) -> Result<Vec<u8>, LogError> {
        let meta = {
            let durable = self.shared.read();
            let held = durable.checkpoint.size;
            let found = durable.segments.iter().find(|meta| meta.first_leaf == first_leaf);
            found.cloned().ok_or(LogError::OutOfRange { asked: first_leaf, held })?
        };
        let io = |error| LogError::io(&meta.path)(error);
        let mut window = Window::open(&*self.shared.files, &meta.path, meta.durable_bytes).map_err(io)?;
        Ok(window.slice(offset, length).map_err(io)?.to_vec())
    }

    /// The bytes of a tile or entry bundle of a tree that is durable.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] past the durable mark; [`LogError::Pruned`] of a bundle of which
    /// entries were pruned; [`LogError::Damaged`].
    pub fn tile_bytes(&self, name: &TileName) -> Result<Vec<u8>, LogError> {
        let held = self.size();
        let end = name.end_size().unwrap_or(u64::MAX);
        if end > held {
            return Err(LogError::OutOfRange { asked: end, held });
        }
        self.shared.tile_bytes(name)
    }
}
