//! Reading the segments when the log is opened: what is durable, and whether
//! the last record is torn. Nothing is written here.

use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::files::{FileLayer, Window, read_file};
use crate::keys::{DroppedKeys, Verifier};
use crate::layout::Layout;
use crate::limits::{RECORD_BYTES_MAX, TILE_BYTES, TILE_WIDTH};
use crate::merkle::{Frontier, Hash};
use crate::note::SignedNote;
use crate::reader::SegmentMeta;
use crate::segment::{BATCH_MAGIC, FILE_HEADER_BYTES_MAX, FileHeader, HEAD_BYTES, PRUNED_MAGIC, Record, RecordHead};
use crate::tile::{FULL_WIDTH, TileKind, TileName, decode_hashes};
use crate::tree::TileTree;

/// The published checkpoint, its signature verified.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) note: String,
}

/// What a scan needs to know.
pub(crate) struct ScanContext<'a> {
    pub(crate) files: &'a dyn FileLayer,
    pub(crate) layout: &'a Layout,
    pub(crate) origin: &'a str,
    pub(crate) generation: u64,
    pub(crate) keys: &'a [Verifier],
    pub(crate) published: Option<&'a Published>,
}

/// Bytes at the end of the last segment that are no whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// What the segments hold.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) frontier: Frontier,
    pub(crate) tree: TileTree,
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) next_segment: u64,
    pub(crate) next_batch: u64,
    pub(crate) previous: Hash,
    /// `previous` as it was before the last file's header.
    pub(crate) previous_before_header: Hash,
    pub(crate) last_note: Option<String>,
    pub(crate) last_keys: Vec<Hash>,
    pub(crate) torn: Option<Torn>,
    /// Segment and offset up to which bytes are known to have been synced:
    /// those under the published checkpoint.
    pub(crate) synced_to: Option<(u64, u64)>,
    /// Leaf from which records were read.
    pub(crate) scanned_from: u64,
}

enum Verdict {
    Whole(usize),
    End,
    Torn,
}

/// Reads the segments, from the published checkpoint on where its tiles lead
/// to it, else from the beginning.
pub(crate) fn scan(context: &ScanContext<'_>, first_leaves: &[u64]) -> Result<Scan, LogError> {
    refuse_dropped_keys(context, first_leaves)?;
    let from_published = context
        .published
        .filter(|published| published.size > 0)
        .and_then(|published| start_at_published(context, published, first_leaves));
    let mut scan = match from_published {
        Some((mut scan, offset)) => {
            let meta = scan.segments.pop();
            let is_last = scan.segments.len() + 1 == first_leaves.len();
            if let Some(meta) = meta {
                scan.records(context, meta, offset, is_last)?;
            }
            scan
        }
        None => Scan::default(),
    };
    for (at, first_leaf) in first_leaves.iter().enumerate().skip(scan.segments.len()) {
        scan.segment(context, *first_leaf, at + 1 == first_leaves.len())?;
    }
    scan.check_published(context)?;
    Ok(scan)
}

/// Whoever has a key that the log no longer uses must not go on with it where nobody looks.
fn refuse_dropped_keys(context: &ScanContext<'_>, first_leaves: &[u64]) -> Result<(), LogError> {
    let mut dropped = DroppedKeys::default();
    for path in first_leaves.iter().map(|first_leaf| context.layout.segment(*first_leaf)) {
        let mut window = Window::open(context.files, &path, u64::MAX).map_err(LogError::io(&path))?;
        // A header that can't be read is judged where its records are.
        let Some((header, ..)) = read_header(&mut window) else { continue };
        if context.owns(&header) && !dropped.take(&header.keys) {
            return Err(LogError::damaged(&path, 0, "its header names a log key that an earlier one had dropped"));
        }
    }
    Ok(())
}

/// Takes the state at the published checkpoint from its tiles and its record.
/// None where anything doesn't fit: the whole scan then says what.
fn start_at_published(context: &ScanContext<'_>, published: &Published, first_leaves: &[u64]) -> Option<(Scan, u64)> {
    let tree = tree_from_tiles(context, published.size)?;
    let frontier = Frontier::from_source(&tree, published.size).ok()?;
    if frontier.root() != published.root {
        return None;
    }
    let at = first_leaves.partition_point(|first| *first < published.size).checked_sub(1)?;
    let mut segments = Vec::new();
    for first_leaf in first_leaves.iter().take(at + 1) {
        let path = context.layout.segment(*first_leaf);
        let durable_bytes = context.files.open_read(&path).ok()?.length().ok()?;
        segments.push(SegmentMeta { first_leaf: *first_leaf, path, durable_bytes, index: None });
    }
    let last = segments.last_mut()?;
    let mut window = Window::open(context.files, &last.path, u64::MAX).ok()?;
    let (header, header_bytes, _) = read_header(&mut window)?;
    if !context.owns(&header) || header.first_leaf != last.first_leaf {
        return None;
    }
    last.index = Some(Vec::new());
    let mut offset = header_bytes;
    loop {
        let head = RecordHead::parse(window.slice(offset, HEAD_BYTES).ok()?).ok()?;
        last.note_record(head.first_leaf, offset);
        if head.end_leaf() < published.size {
            offset += u64::from(head.length);
            continue;
        }
        let record = Record::parse(window.slice(offset, head.record_bytes()).ok()?).ok()?;
        if head.end_leaf() != published.size || record.note != published.note {
            return None;
        }
        offset += u64::from(head.length);
        let scan = Scan {
            frontier,
            tree,
            next_segment: header.segment.checked_add(1)?,
            next_batch: head.batch.checked_add(1)?,
            previous: record.digest,
            last_note: Some(published.note.clone()),
            last_keys: header.keys,
            synced_to: Some((last.first_leaf, offset)),
            scanned_from: published.size,
            segments,
            ..Scan::default()
        };
        return Some((scan, offset));
    }
}

fn tree_from_tiles(context: &ScanContext<'_>, size: u64) -> Option<TileTree> {
    let width = TILE_WIDTH as u64;
    let read = |level: u8, index: u64, items: u64| {
        let width = u16::try_from(items).ok()?.min(FULL_WIDTH);
        let name = TileName { kind: TileKind::Hashes(level), index, width };
        let bytes = read_file(context.files, &context.layout.tile(&name), TILE_BYTES).ok()?;
        decode_hashes(&bytes, width)
    };
    let full_leaf_tiles = size / width;
    let mut roots = Vec::new();
    for index in 0..full_leaf_tiles.div_ceil(width) {
        roots.extend(read(1, index, (full_leaf_tiles - index * width).min(width))?);
    }
    let partial = match size % width {
        0 => Vec::new(),
        items => read(0, full_leaf_tiles, items)?,
    };
    Some(TileTree::from_tiles(roots, partial))
}

/// Reads a file's header record: header, length in bytes, digest.
pub(crate) fn read_header(window: &mut Window) -> Option<(FileHeader, u64, Hash)> {
    let front = window.slice(0, FILE_HEADER_BYTES_MAX).ok()?;
    let length = FileHeader::peek_length(front).ok()?;
    let (header, digest) = FileHeader::parse(front.get(..length)?).ok()?;
    Some((header, length as u64, digest))
}

impl ScanContext<'_> {
    fn owns(&self, header: &FileHeader) -> bool {
        header.origin == self.origin && header.generation == self.generation
    }
}

impl Scan {
    fn segment(&mut self, context: &ScanContext<'_>, first_leaf: u64, is_last: bool) -> Result<(), LogError> {
        let path = context.layout.segment(first_leaf);
        let io = |error| LogError::io(&path)(error);
        let mut window = Window::open(context.files, &path, u64::MAX).map_err(io)?;
        let Some((header, header_bytes, digest)) = read_header(&mut window) else {
            // Records are written only after the header is durable, so a file
            // with a torn header is no longer than one.
            if is_last && window.end() <= FileHeader::bytes_max(context.origin) {
                self.torn = Some(Torn { path, offset: 0, length: window.end() });
                return Ok(());
            }
            return Err(LogError::damaged(&path, 0, "its header is not one"));
        };
        if !context.owns(&header) {
            return Err(LogError::damaged(&path, 0, "it is of another log or generation"));
        }
        let follows = header.segment == self.next_segment
            && header.first_leaf == first_leaf
            && header.first_leaf == self.frontier.size()
            && header.previous == self.previous;
        if !follows {
            return Err(LogError::damaged(&path, 0, "it does not follow the segment before"));
        }
        self.next_segment += 1;
        self.previous_before_header = self.previous;
        self.previous = digest;
        self.last_keys = header.keys;
        let meta = SegmentMeta { first_leaf, path, durable_bytes: header_bytes, index: Some(Vec::new()) };
        self.records(context, meta, header_bytes, is_last)
    }

    /// Reads the records of a segment from an offset on.
    fn records(
        &mut self,
        context: &ScanContext<'_>,
        mut meta: SegmentMeta,
        from: u64,
        is_last: bool,
    ) -> Result<(), LogError> {
        let path = meta.path.clone();
        let mut window = Window::open(context.files, &path, u64::MAX).map_err(LogError::io(&path))?;
        let mut offset = from;
        loop {
            match self.judge(context, &mut window, &path, offset, is_last)? {
                Verdict::End => break,
                Verdict::Torn => {
                    let length = window.end().saturating_sub(offset);
                    self.torn = Some(Torn { path, offset, length });
                    break;
                }
                Verdict::Whole(length) => {
                    let bytes = window.slice(offset, length).map_err(LogError::io(&path))?;
                    let record =
                        Record::parse(bytes).map_err(|error| LogError::damaged(&path, offset, error.to_string()))?;
                    meta.note_record(record.head.first_leaf, offset);
                    self.record(context, &record, &path, offset)?;
                    offset += length as u64;
                    let at_published = context.published.is_some_and(|head| head.size == self.frontier.size());
                    if at_published {
                        self.synced_to = Some((meta.first_leaf, offset));
                    }
                }
            }
        }
        meta.durable_bytes = offset;
        self.segments.push(meta);
        Ok(())
    }

    /// Whether a whole record is at the offset, the end, or a tear.
    fn judge(
        &self,
        context: &ScanContext<'_>,
        window: &mut Window,
        path: &Path,
        offset: u64,
        is_last: bool,
    ) -> Result<Verdict, LogError> {
        let left = window.end().saturating_sub(offset);
        if left == 0 {
            return Ok(Verdict::End);
        }
        let io = |error| LogError::io(path)(error);
        let head = RecordHead::parse(window.slice(offset, HEAD_BYTES).map_err(io)?);
        let error = match head {
            Ok(head) => {
                let bytes = window.slice(offset, head.record_bytes()).map_err(io)?;
                match Record::parse(bytes) {
                    Ok(_) => return Ok(Verdict::Whole(head.record_bytes())),
                    // Something was written after it, so it was durable once.
                    Err(error) if u64::from(head.length) < left => error,
                    Err(_) if is_last => return Ok(Verdict::Torn),
                    Err(error) => error,
                }
            }
            Err(error) => {
                let rest = usize::try_from(left).unwrap_or(usize::MAX);
                if is_last && rest <= RECORD_BYTES_MAX {
                    let rest = window.slice(offset, rest).map_err(io)?;
                    if !holds_later_record(rest, self.next_batch, context.origin, context.keys) {
                        return Ok(Verdict::Torn);
                    }
                }
                error
            }
        };
        Err(LogError::damaged(path, offset, error.to_string()))
    }

    fn record(
        &mut self,
        context: &ScanContext<'_>,
        record: &Record<'_>,
        path: &Path,
        offset: u64,
    ) -> Result<(), LogError> {
        let damaged = |detail: &str| LogError::damaged(path, offset, detail);
        let head = &record.head;
        let follows =
            head.batch == self.next_batch && head.first_leaf == self.frontier.size() && head.previous == self.previous;
        if !follows {
            return Err(damaged("the record does not follow the one before"));
        }
        for leaf in &record.leaves {
            let hash = leaf.hash();
            self.frontier.append(hash);
            self.tree.append(hash);
        }
        let note =
            SignedNote::parse(record.note).map_err(|error| LogError::damaged(path, offset, error.to_string()))?;
        let expected = Checkpoint::new(context.origin, self.frontier.size(), self.frontier.root());
        if note.text != expected.to_text() {
            return Err(damaged("its checkpoint is not that of its tree"));
        }
        // What is under the published checkpoint is vouched for by that one.
        let covered = context.published.map_or(0, |published| published.size);
        if expected.size > covered {
            note.verify(context.keys).map_err(|error| LogError::damaged(path, offset, error.to_string()))?;
        }
        let published = context.published.filter(|head| head.size == expected.size);
        if published.is_some_and(|head| head.note != record.note) {
            let path = context.layout.checkpoint();
            return Err(LogError::damaged(&path, 0, "it is not the note of the segment"));
        }
        self.next_batch += 1;
        self.previous = record.digest;
        self.last_note = Some(record.note.to_owned());
        Ok(())
    }

    /// A published size within the log must be the end of some batch.
    fn check_published(&self, context: &ScanContext<'_>) -> Result<(), LogError> {
        match context.published {
            Some(head) if head.size <= self.frontier.size() && self.synced_to.is_none() => {
                let path = context.layout.checkpoint();
                Err(LogError::damaged(&path, 0, "it is the note of no batch"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a record of ours, later than the one expected, is somewhere in
/// these bytes: then what is before it was durable, and isn't a tear. The
/// signature counts because an attachment may hold any bytes.
pub(crate) fn holds_later_record(bytes: &[u8], next_batch: u64, origin: &str, keys: &[Verifier]) -> bool {
    let is_start = |window: &[u8]| window == BATCH_MAGIC || window == PRUNED_MAGIC;
    let starts = bytes.windows(BATCH_MAGIC.len()).enumerate().filter(|(_, window)| is_start(window)).map(|(at, _)| at);
    starts.filter_map(|start| bytes.get(start..)).any(|rest| {
        let Ok(head) = RecordHead::parse(rest) else { return false };
        let record = rest.get(..head.record_bytes()).and_then(|whole| Record::parse(whole).ok());
        head.batch > next_batch && record.is_some_and(|record| Checkpoint::open(record.note, origin, keys, &[]).is_ok())
    })
}

impl Default for Hash {
    fn default() -> Self {
        Self::ZERO
    }
}
