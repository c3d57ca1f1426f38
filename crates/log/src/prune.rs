//! Pruning: leaves of closed segments are replaced by their hashes, and what is attached to them goes.
//!
//! The tree, each proof and each signed checkpoint stay valid. A segment file is written anew beside
//! the old one, synced, and renamed into its place; so after a crash it is the one or the other, and
//! the same call again does what is left. Entry bundles that hold a pruned entry are removed after
//! it. That it may be done, and that an entry of the log says so first, is the caller's to see to.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::error::LogError;
use crate::files::{FileLayer, Window, WriteAt};
use crate::limits::{COPY_BYTES_STEP, PRUNE_RANGES_MAX, TILE_WIDTH};
use crate::placing::{TEMPORARY_PREFIX, io};
use crate::reader::{SegmentMeta, Shared};
use crate::scan::read_header;
use crate::segment::{HEAD_BYTES, Record, RecordHead, encode_pruned};
use crate::tile::{FULL_WIDTH, TileKind, TileName};

/// A cloneable handle that prunes; two calls never rewrite one file at once.
#[derive(Clone)]
pub struct Pruner {
    shared: Arc<Shared>,
}

/// What a pruning did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Leaves that were pruned, and weren't before.
    pub leaves: u64,
    /// Segment files that were put in another's place.
    pub segments: u64,
    /// Bytes by which they became shorter.
    pub bytes: u64,
    /// Entry bundles that were removed.
    pub bundles: u64,
}

impl Pruner {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Prunes the leaves of these ranges, which are in order and apart. Leaves that were pruned
    /// before stay as they are, so that a call that was interrupted can be made again.
    ///
    /// # Errors
    /// [`LogError::PruneRefused`] where the ranges aren't in order, are too many, or reach into the
    /// segment that is being written: nothing was changed. [`LogError::NoSpace`], [`LogError::Io`]
    /// and [`LogError::Damaged`]: some segments may be done; it can be tried again.
    pub fn prune(&self, ranges: &[Range<u64>]) -> Result<Pruned, LogError> {
        let segments = self.closed_segments(ranges)?;
        let mut done = Pruned::default();
        for (segment, end) in segments {
            let within: Vec<Range<u64>> = ranges
                .iter()
                .map(|range| range.start.max(segment.first_leaf)..range.end.min(end))
                .filter(|range| !range.is_empty())
                .collect();
            if within.is_empty() {
                continue;
            }
            // Neither a publication nor a scrub writes a bundle from what was there before.
            let _one_at_a_time = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            let rewritten = self.shared.rewrite(&segment.path, segment.first_leaf, &within)?;
            done.leaves += rewritten.leaves;
            done.segments += rewritten.segments;
            done.bytes += rewritten.bytes;
            done.bundles += self.shared.remove_bundles(&within)?;
        }
        Ok(done)
    }

    /// Removes the entry bundles that hold leaves of these ranges, which were pruned; gives how many
    /// there were. A process that ended right after the last segment left them.
    ///
    /// # Errors
    /// [`LogError::Io`]; it can be tried again.
    pub fn remove_bundles(&self, ranges: &[Range<u64>]) -> Result<u64, LogError> {
        let _one_at_a_time = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.remove_bundles(ranges)
    }

    /// Closed segments, each with the leaf after its last.
    fn closed_segments(&self, ranges: &[Range<u64>]) -> Result<Vec<(SegmentMeta, u64)>, LogError> {
        let durable = self.shared.read();
        if ranges.len() > PRUNE_RANGES_MAX {
            return Err(LogError::PruneRefused("more than 65,536 ranges"));
        }
        let in_order = ranges.windows(2).all(|pair| matches!(pair, [one, next] if one.end <= next.start));
        if !in_order || ranges.iter().any(Range::is_empty) {
            return Err(LogError::PruneRefused("its ranges are not in order"));
        }
        let open = durable.segments.last().map_or(0, |last| last.first_leaf);
        if ranges.last().is_some_and(|last| last.end > open) {
            return Err(LogError::PruneRefused("the segment that holds them is still written"));
        }
        let ends = durable.segments.iter().skip(1).map(|next| next.first_leaf);
        let light = |meta: &SegmentMeta| SegmentMeta { index: None, path: meta.path.clone(), ..*meta };
        Ok(durable.segments.iter().zip(ends).map(|(meta, end)| (light(meta), end)).collect())
    }
}

impl Shared {
    /// Rewrites one closed segment without the leaves of these ranges.
    fn rewrite(&self, path: &Path, first_leaf: u64, within: &[Range<u64>]) -> Result<Pruned, LogError> {
        let found = {
            let durable = self.read();
            durable.segments.iter().position(|meta| meta.first_leaf == first_leaf).and_then(|position| {
                let before = durable.segments.get(position)?.durable_bytes;
                Some((position, before))
            })
        };
        let (position, before) = found.ok_or_else(|| LogError::damaged(path, 0, "the segment is not known"))?;
        let temporary = self.layout.temporary_dir().join(format!("{TEMPORARY_PREFIX}prune"));
        let mut next = SegmentMeta { first_leaf, path: path.to_owned(), durable_bytes: 0, index: Some(Vec::new()) };
        let leaves = self.copy_without(path, before, &temporary, within, &mut next)?;
        if leaves == 0 {
            self.files.remove(&temporary).map_err(io(&temporary))?;
            return Ok(Pruned::default());
        }
        let after = next.durable_bytes;
        {
            // Who reads sees the new file with its own places, or the old one with those: the
            // edition tells which.
            let mut durable = self.write();
            self.files.rename(&temporary, path).map_err(io(path))?;
            durable.edition += 1;
            if let Some(meta) = durable.segments.get_mut(position) {
                *meta = next;
            }
        }
        let dir = self.layout.segment_dir();
        self.files.sync_dir(&dir).map_err(io(&dir))?;
        Ok(Pruned { leaves, segments: 1, bytes: before.saturating_sub(after), bundles: 0 })
    }

    /// Writes the segment's next file and syncs it; gives how many leaves it prunes.
    fn copy_without(
        &self,
        path: &Path,
        end: u64,
        temporary: &Path,
        within: &[Range<u64>],
        next: &mut SegmentMeta,
    ) -> Result<u64, LogError> {
        let read = |error| LogError::io(path)(error);
        let damaged = |offset, detail: &str| LogError::damaged(path, offset, detail);
        let mut window = Window::open(&*self.files, path, end).map_err(read)?;
        let mut copy = NewFile::create(&*self.files, temporary)?;
        let header = read_header(&mut window).ok_or_else(|| damaged(0, "its header is not one"))?.1;
        let bytes = usize::try_from(header).map_err(|_| damaged(0, "its header is not one"))?;
        copy.push(window.slice(0, bytes).map_err(read)?)?;
        let (mut offset, mut leaves) = (header, 0_u64);
        while offset < end {
            let head = RecordHead::parse(window.slice(offset, HEAD_BYTES).map_err(read)?);
            let head = head.map_err(|error| damaged(offset, error.0))?;
            let bytes = window.slice(offset, head.record_bytes()).map_err(read)?;
            let record = Record::parse(bytes).map_err(|error| damaged(offset, error.0))?;
            next.note_record(head.first_leaf, copy.length());
            let numbered = (head.first_leaf..).zip(&record.leaves);
            let due = numbered.filter(|(index, leaf)| !leaf.is_pruned() && is_within(within, *index)).count();
            if due == 0 {
                copy.push(bytes)?;
            } else {
                let pruned = encode_pruned(&record, |index| is_within(within, index));
                copy.push(&pruned.map_err(|error| damaged(offset, error.0))?.bytes)?;
                leaves += due as u64;
            }
            offset += u64::from(head.length);
        }
        next.durable_bytes = copy.finish()?;
        Ok(leaves)
    }

    /// Removes the entry bundles that hold leaves of these ranges; gives how many there were.
    fn remove_bundles(&self, within: &[Range<u64>]) -> Result<u64, LogError> {
        let width = TILE_WIDTH as u64;
        let published = self.read().published;
        let mut bundles: Vec<u64> = Vec::new();
        for range in within {
            let from = (range.start / width).max(bundles.last().map_or(0, |last| last + 1));
            bundles.extend(from..(range.end - 1) / width + 1);
        }
        let (mut removed, mut dirs) = (0, BTreeSet::<PathBuf>::new());
        for index in bundles {
            let full = TileName { kind: TileKind::Entries, index, width: FULL_WIDTH };
            let part = u16::try_from(published % width).ok().filter(|_| index == published / width);
            let part = part.filter(|width| *width > 0).map(|width| TileName { width, ..full });
            for name in std::iter::once(full).chain(part) {
                let path = self.layout.tile(&name);
                if self.files.open_read(&path).is_ok() {
                    self.remove_tile(&name)?;
                    removed += 1;
                    // The folder of a partial bundle went with it.
                    let dir =
                        if name.width < FULL_WIDTH { path.parent().and_then(Path::parent) } else { path.parent() };
                    dirs.extend(dir.map(Path::to_owned));
                }
            }
        }
        for dir in &dirs {
            self.files.sync_dir(dir).map_err(io(dir))?;
        }
        Ok(removed)
    }
}

/// Is the index in one of these ranges, which are in order?
fn is_within(ranges: &[Range<u64>], index: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= index);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|range| range.contains(&index))
}

/// A new file, written in steps.
struct NewFile<'a> {
    path: &'a Path,
    file: Box<dyn WriteAt>,
    written: u64,
    buffer: Vec<u8>,
}

impl<'a> NewFile<'a> {
    fn create(files: &dyn FileLayer, path: &'a Path) -> Result<Self, LogError> {
        match files.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(path)(error)),
            _ => {}
        }
        let file = files.create(path).map_err(io(path))?;
        Ok(Self { path, file, written: 0, buffer: Vec::new() })
    }

    const fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < COPY_BYTES_STEP { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.file.write_at(self.written, &self.buffer).map_err(io(self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable, and gives its length; its name is the caller's.
    fn finish(mut self) -> Result<u64, LogError> {
        self.flush()?;
        self.file.sync_data().map_err(io(self.path))?;
        Ok(self.written)
    }
}

impl std::fmt::Debug for Pruner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Pruner({:?})", self.shared.layout.log_dir())
    }
}
