//! Reading a log while it is written: entries, attachments, proofs. Nothing
//! here reads past the durable mark.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::files::{FileLayer, Window, read_file};
use crate::layout::Layout;
use crate::limits::{HASH_BYTES, INDEX_BYTES_STEP, INDEX_LEAVES_STEP, TILE_BYTES, TILE_WIDTH};
use crate::merkle::{Hash, HashSource, MerkleError, perfect_root, prove_consistency, prove_inclusion};
use crate::note::SignedNote;
use crate::proof::TlogProof;
use crate::segment::{
    Attachment, FILE_HEADER_BYTES_MAX, FileHeader, HEAD_BYTES, Leaf, PRUNED_MARK, Record, RecordHead, WHOLE_MARK,
};
use crate::tile::{FULL_WIDTH, TileKind, TileName, decode_hashes};
use crate::tree::{NodePlace, TileTree};

/// A cloneable handle for reading. It sees what is durable, and sees more as
/// the writer goes on.
#[derive(Clone)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

/// An entry as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Index in the log.
    pub index: u64,
    /// The leaf.
    pub leaf: Vec<u8>,
    /// What is kept beside it.
    pub attachments: Vec<Attachment>,
}

/// A leaf as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The entry.
    Entry(StoredEntry),
    /// It was pruned: its place and its hash are left.
    Pruned {
        /// Index in the log.
        index: u64,
        /// Its RFC 6962 hash.
        leaf_hash: Hash,
    },
}

/// A point from which records of a segment can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexPoint {
    pub(crate) first_leaf: u64,
    pub(crate) offset: u64,
}

/// A segment file up to its durable mark.
#[derive(Debug, Clone)]
pub(crate) struct SegmentMeta {
    pub(crate) first_leaf: u64,
    pub(crate) path: PathBuf,
    pub(crate) durable_bytes: u64,
    // Sparse; none until something is read from this segment.
    pub(crate) index: Option<Vec<IndexPoint>>,
}

/// What is durable.
pub(crate) struct Durable {
    pub(crate) tree: TileTree,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: String,
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) published: u64,
    // Counts the segment files that were put in another's place: what was learnt of a file before
    // doesn't hold after.
    pub(crate) edition: u64,
}

/// Shared between the writer, its readers and the publisher.
pub(crate) struct Shared {
    pub(crate) files: Arc<dyn FileLayer>,
    pub(crate) layout: Layout,
    pub(crate) durable: RwLock<Durable>,
    pub(crate) publishing: Mutex<()>,
}

/// The shared tree as a source of nodes; remembers leaf tiles while one proof
/// is made.
pub(crate) struct SharedSource<'a> {
    shared: &'a Shared,
    tiles: RefCell<HashMap<u64, Vec<Hash>>>,
}

/// What is done with each leaf, by its index.
type LeafVisit<'a> = dyn FnMut(u64, Leaf<'_>) -> Result<(), LogError> + 'a;

/// A record of a segment, of which the head was read.
struct RecordPlace<'a> {
    path: &'a Path,
    window: &'a mut Window,
    offset: u64,
    head: RecordHead,
}

impl RecordPlace<'_> {
    fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], LogError> {
        self.window.slice(offset, length).map_err(LogError::io(self.path))
    }

    /// What is at this place of the leaves: was it pruned, where its bytes or
    /// its hash begin, how many they are.
    fn leaf_at(&mut self, mut at: u64) -> Result<(bool, u64, usize), LogError> {
        if self.head.is_pruned {
            match self.slice(at, 1)?.first() {
                Some(&PRUNED_MARK) => return Ok((true, at + 1, HASH_BYTES)),
                Some(&WHOLE_MARK) => at += 1,
                _ => return Err(LogError::damaged(self.path, self.offset, "a leaf that is neither whole nor pruned")),
            }
        }
        let prefix = self.slice(at, 2)?;
        let length = prefix.first_chunk().map_or(usize::MAX, |prefix| u16::from_be_bytes(*prefix).into());
        Ok((false, at.saturating_add(2), length))
    }
}

// === impl SegmentMeta ===

impl SegmentMeta {
    /// Notes where a record is, if the last point is far enough behind.
    pub(crate) fn note_record(&mut self, first_leaf: u64, offset: u64) {
        let Some(index) = &mut self.index else { return };
        let is_far = index.last().is_none_or(|point| {
            first_leaf.saturating_sub(point.first_leaf) >= INDEX_LEAVES_STEP
                || offset.saturating_sub(point.offset) >= INDEX_BYTES_STEP
        });
        if is_far {
            index.push(IndexPoint { first_leaf, offset });
        }
    }

    fn point_before(&self, leaf: u64) -> Option<IndexPoint> {
        let index = self.index.as_ref()?;
        let after = index.partition_point(|point| point.first_leaf <= leaf);
        index.get(after.checked_sub(1)?).copied()
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Durable> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Durable> {
        self.durable.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn source(&self) -> SharedSource<'_> {
        SharedSource { shared: self, tiles: RefCell::default() }
    }

    /// Gives the records that hold the leaves `[start, end)`, in order, to a
    /// function that may stop early by answering `false`.
    pub(crate) fn for_records(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(&Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        self.for_places(start, end, &mut |place| {
            let (path, offset) = (place.path, place.offset);
            let bytes = place.slice(offset, place.head.record_bytes())?;
            let record = Record::parse(bytes).map_err(|error| LogError::damaged(path, offset, error.to_string()))?;
            Ok(visit(&record))
        })
    }

    /// Gives the leaves `[start, end)`, in order, to a function. Neither what
    /// is kept beside them is read, nor the digest of their record compared:
    /// the function compares their hashes with the tree.
    pub(crate) fn for_leaves(&self, start: u64, end: u64, visit: &mut LeafVisit<'_>) -> Result<(), LogError> {
        self.for_places(start, end, &mut |place| {
            let record_end = place.offset + u64::from(place.head.length);
            let digest = if place.head.is_pruned { HASH_BYTES } else { 0 };
            let mut at = place.offset + (HEAD_BYTES + digest) as u64;
            for index in place.head.first_leaf..place.head.end_leaf().min(end) {
                let (is_pruned, from, length) = place.leaf_at(at)?;
                at = from.saturating_add(length as u64);
                if at > record_end {
                    return Err(LogError::damaged(place.path, place.offset, "shorter than its leaves"));
                }
                if index < start {
                    continue;
                }
                let (path, offset) = (place.path, place.offset);
                let bytes = place.slice(from, length)?;
                let leaf = if is_pruned { Hash::from_slice(bytes).map(Leaf::Pruned) } else { Some(Leaf::Whole(bytes)) };
                visit(index, leaf.ok_or_else(|| LogError::damaged(path, offset, "shorter than its leaves"))?)?;
            }
            Ok(true)
        })
    }

    /// Gives the places of the records that hold the leaves `[start, end)`, in
    /// order, to a function that may stop early by answering `false`.
    fn for_places(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(&mut RecordPlace<'_>) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        let mut leaf = start;
        while leaf < end {
            let (segment, point, edition) = self.locate(leaf)?;
            let io = |error| LogError::io(&segment.path)(error);
            let mut window = Window::open(&*self.files, &segment.path, segment.durable_bytes).map_err(io)?;
            if self.read().edition != edition {
                continue;
            }
            let mut offset = point.offset;
            let first = leaf;
            while leaf < end && offset < segment.durable_bytes {
                let head = window.slice(offset, HEAD_BYTES).map_err(io)?;
                let head = RecordHead::parse(head)
                    .map_err(|error| LogError::damaged(&segment.path, offset, error.to_string()))?;
                if head.end_leaf() > leaf {
                    leaf = head.end_leaf();
                    let mut place = RecordPlace { path: &segment.path, window: &mut window, offset, head };
                    if !visit(&mut place)? {
                        return Ok(());
                    }
                }
                offset += u64::from(head.length);
            }
            if leaf == first {
                return Err(LogError::damaged(&segment.path, offset, "it ends before its leaves"));
            }
        }
        Ok(())
    }

    /// The segment that holds a leaf, where to begin reading in it, and the edition for which that
    /// holds.
    fn locate(&self, leaf: u64) -> Result<(SegmentMeta, IndexPoint, u64), LogError> {
        loop {
            let (position, segment, edition) = {
                let durable = self.read();
                let held = durable.checkpoint.size;
                let after = durable.segments.partition_point(|meta| meta.first_leaf <= leaf);
                let position =
                    after.checked_sub(1).filter(|_| leaf < held).ok_or(LogError::OutOfRange { asked: leaf, held })?;
                let meta = durable.segments.get(position).ok_or(LogError::OutOfRange { asked: leaf, held })?;
                let light = SegmentMeta { index: None, path: meta.path.clone(), ..*meta };
                if meta.index.is_some() {
                    let point = meta.point_before(leaf);
                    let detail = "its first record begins after its first leaf";
                    let point = point.ok_or_else(|| LogError::damaged(&meta.path, 0, detail))?;
                    return Ok((light, point, durable.edition));
                }
                (position, light, durable.edition)
            };
            // Read first outside the lock: one pass over the heads of a file.
            let index = self.build_index(&segment);
            let mut durable = self.write();
            if durable.edition != edition {
                continue;
            }
            if let Some(meta) = durable.segments.get_mut(position) {
                meta.index.get_or_insert(index?);
            }
        }
    }

    fn build_index(&self, segment: &SegmentMeta) -> Result<Vec<IndexPoint>, LogError> {
        let io = |error| LogError::io(&segment.path)(error);
        let mut window = Window::open(&*self.files, &segment.path, segment.durable_bytes).map_err(io)?;
        let mut built = SegmentMeta { index: Some(Vec::new()), ..segment.clone() };
        let front = window.slice(0, FILE_HEADER_BYTES_MAX).map_err(io)?;
        let header =
            FileHeader::peek_length(front).map_err(|error| LogError::damaged(&segment.path, 0, error.to_string()))?;
        let mut offset = header as u64;
        while offset < segment.durable_bytes {
            let head = window.slice(offset, HEAD_BYTES).map_err(io)?;
            let head =
                RecordHead::parse(head).map_err(|error| LogError::damaged(&segment.path, offset, error.to_string()))?;
            built.note_record(head.first_leaf, offset);
            offset += u64::from(head.length);
        }
        let index = built.index.unwrap_or_default();
        if index.is_empty() {
            return Err(LogError::damaged(&segment.path, offset, "it holds no record"));
        }
        Ok(index)
    }

    /// The hashes of a full leaf tile: from memory, from its file if that
    /// leads to the root that we know, else from the segments.
    pub(crate) fn leaf_tile(&self, index: u64, root: &Hash) -> Result<Vec<Hash>, LogError> {
        let start = index * TILE_WIDTH as u64;
        if let Some(hashes) = self.read().tree.items(0, start, TILE_WIDTH) {
            return Ok(hashes);
        }
        let name = TileName { kind: TileKind::Hashes(0), index, width: FULL_WIDTH };
        let from_file = read_file(&*self.files, &self.layout.tile(&name), TILE_BYTES)
            .ok()
            .and_then(|bytes| decode_hashes(&bytes, FULL_WIDTH))
            .filter(|hashes| perfect_root(hashes).as_ref() == Some(root));
        if let Some(hashes) = from_file {
            return Ok(hashes);
        }
        let hashes = self.leaf_hashes(start, start + TILE_WIDTH as u64)?;
        if perfect_root(&hashes).as_ref() == Some(root) {
            Ok(hashes)
        } else {
            let path = self.layout.segment_dir();
            Err(LogError::damaged(&path, 0, format!("leaves from {start} on have other hashes")))
        }
    }

    fn leaf_hashes(&self, start: u64, end: u64) -> Result<Vec<Hash>, LogError> {
        let mut hashes = Vec::new();
        self.for_records(start, end, &mut |record| {
            for (index, leaf) in (record.head.first_leaf..).zip(&record.leaves) {
                if (start..end).contains(&index) {
                    hashes.push(leaf.hash());
                }
            }
            true
        })?;
        Ok(hashes)
    }

    fn entry(&self, index: u64) -> Result<StoredEntry, LogError> {
        let mut found = None;
        self.for_records(index, index + 1, &mut |record| {
            found = stored(record, index);
            false
        })?;
        match found {
            Some(Stored::Entry(entry)) => Ok(entry),
            Some(Stored::Pruned { .. }) => Err(LogError::Pruned { index }),
            None => Err(LogError::OutOfRange { asked: index, held: self.read().checkpoint.size }),
        }
    }
}

fn stored(record: &Record<'_>, index: u64) -> Option<Stored> {
    let place = u32::try_from(index.checked_sub(record.head.first_leaf)?).ok()?;
    let leaf = match record.leaves.get(usize::try_from(place).ok()?)? {
        Leaf::Whole(leaf) => leaf.to_vec(),
        Leaf::Pruned(leaf_hash) => return Some(Stored::Pruned { index, leaf_hash: *leaf_hash }),
    };
    let kept = record.attachments.iter().filter(|kept| kept.leaf == place);
    let attachments = kept.map(|kept| Attachment { kind: kept.kind, bytes: kept.bytes.to_vec() }).collect();
    Some(Stored::Entry(StoredEntry { index, leaf, attachments }))
}

// === impl Stored ===

impl Stored {
    /// Its index in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.index,
            Self::Pruned { index, .. } => *index,
        }
    }

    /// The entry; none where it was pruned.
    #[must_use]
    pub fn entry(self) -> Option<StoredEntry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Pruned { .. } => None,
        }
    }
}

// === impl SharedSource ===

impl HashSource for SharedSource<'_> {
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError> {
        let missing = |reason: String| MerkleError::Missing { level, index, reason };
        let place = self.shared.read().tree.node(level, index);
        let (tile, root) = match place {
            NodePlace::Held(hash) => return Ok(hash),
            NodePlace::Absent => return Err(missing("it is not complete".to_owned())),
            NodePlace::InLeafTile { index, root } => (index, root),
        };
        let mut tiles = self.tiles.borrow_mut();
        let hashes = match tiles.entry(tile) {
            std::collections::hash_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let hashes = self.shared.leaf_tile(tile, &root);
                free.insert(hashes.map_err(|error| missing(error.to_string()))?)
            }
        };
        let start = usize::try_from((index << level) % TILE_WIDTH as u64).ok();
        start
            .and_then(|start| hashes.get(start..start + (1 << level)))
            .and_then(perfect_root)
            .ok_or_else(|| missing("its tile is too short".to_owned()))
    }
}

// === impl LogReader ===

impl LogReader {
    /// Durable leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.read().checkpoint.size
    }

    /// Root of the tree of all durable leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.shared.read().checkpoint.root
    }

    /// The newest durable checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.read().checkpoint.clone()
    }

    /// The newest durable checkpoint as signed.
    #[must_use]
    pub fn last_note(&self) -> String {
        self.shared.read().note.clone()
    }

    /// Leaves under the published checkpoint file.
    #[must_use]
    pub fn published_size(&self) -> u64 {
        self.shared.read().published
    }

    /// An entry: leaf and attachments.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] past the durable mark; [`LogError::Pruned`]
    /// where its hash alone is left; [`LogError::Damaged`] when the record
    /// isn't as it was written.
    pub fn entry(&self, index: u64) -> Result<StoredEntry, LogError> {
        self.check_range(index.saturating_add(1))?;
        self.shared.entry(index)
    }

    /// A leaf.
    ///
    /// # Errors
    /// As [`LogReader::entry`].
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, LogError> {
        Ok(self.entry(index)?.leaf)
    }

    /// What is kept beside a leaf.
    ///
    /// # Errors
    /// As [`LogReader::entry`].
    pub fn attachments(&self, index: u64) -> Result<Vec<Attachment>, LogError> {
        Ok(self.entry(index)?.attachments)
    }

    /// Gives the entries `[start, end)` in order, pruned ones as what is left
    /// of them, to a function, which stops early by answering `false`.
    ///
    /// # Errors
    /// As [`LogReader::entry`], but for pruned ones.
    pub fn for_entries(&self, start: u64, end: u64, visit: &mut dyn FnMut(Stored) -> bool) -> Result<(), LogError> {
        self.check_range(end)?;
        self.shared.for_records(start, end, &mut |record| {
            let first = record.head.first_leaf.max(start);
            let last = record.head.end_leaf().min(end);
            (first..last).filter_map(|index| stored(record, index)).all(&mut *visit)
        })
    }

    /// The hash of a leaf.
    ///
    /// # Errors
    /// As [`LogReader::entry`].
    pub fn leaf_hash(&self, index: u64) -> Result<Hash, LogError> {
        self.check_range(index.saturating_add(1))?;
        Ok(self.shared.source().node(0, index)?)
    }

    /// Inclusion proof of a leaf in the tree of `size` leaves.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] past the durable mark; [`LogError::Merkle`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.check_range(size)?;
        Ok(prove_inclusion(&self.shared.source(), index, size)?)
    }

    /// Consistency proof between the trees of `old` and `new` leaves.
    ///
    /// # Errors
    /// As [`LogReader::inclusion_proof`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        self.check_range(new)?;
        Ok(prove_consistency(&self.shared.source(), old, new)?)
    }

    /// Root of the tree of the first `size` leaves.
    ///
    /// # Errors
    /// As [`LogReader::inclusion_proof`].
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        self.check_range(size)?;
        Ok(crate::merkle::root(&self.shared.source(), size)?)
    }

    /// A receipt of a leaf under the newest durable checkpoint.
    ///
    /// # Errors
    /// As [`LogReader::inclusion_proof`].
    pub fn receipt(&self, index: u64, extra: Option<Vec<u8>>) -> Result<TlogProof, LogError> {
        let (size, note) = {
            let durable = self.shared.read();
            (durable.checkpoint.size, durable.note.clone())
        };
        let hashes = self.inclusion_proof(index, size)?;
        Ok(TlogProof { extra, index, hashes, checkpoint: SignedNote::parse(&note)? })
    }

    fn check_range(&self, asked: u64) -> Result<(), LogError> {
        let held = self.size();
        if asked > held { Err(LogError::OutOfRange { asked, held }) } else { Ok(()) }
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "LogReader({})", self.checkpoint().to_text().trim_end().replace('\n', " "))
    }
}
