//! Verifying a log of ours: segments first, everything else against them.

use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::files::{FileLayer, Window};
use crate::findings::FindingKind;
use crate::keys::DroppedKeys;
use crate::limits::RECORD_BYTES_MAX;
use crate::merkle::{Frontier, Hash};
use crate::note::SignedNote;
use crate::scan::{holds_later_record, read_header};
use crate::segment::{FileHeader, HEAD_BYTES, Record, RecordHead, SegmentError, file_name};
use crate::tile::TileName;
use crate::verify::{Kept, LeafView, Report, VerifyError, VerifyOptions, Visitor, io_error};
use crate::verify_notes::{NoteQueue, QueuedNote};
use crate::verify_tiles::{TileChecker, read_checkpoint};
use crate::walk::{Found, walk};

/// The verification of one directory, as it goes along.
struct Run<'a, 'v> {
    files: &'a dyn FileLayer,
    log_dir: &'a Path,
    options: &'a VerifyOptions,
    visitor: &'a mut Visitor<'v>,
    published: Option<(Checkpoint, String)>,
    kept: Kept,
    queue: NoteQueue,
    tiles: TileChecker<'a>,
    report: Report,
    frontier: Frontier,
    generation: Option<u64>,
    previous: Hash,
    next_batch: u64,
    next_segment: u64,
    keys_in_force: Vec<Hash>,
    dropped: DroppedKeys,
    root_differs: bool,
    published_seen: bool,
}

struct Place<'p> {
    path: &'p str,
    file: PathBuf,
    is_last: bool,
}

pub(crate) fn verify_segments(
    files: &dyn FileLayer,
    log_dir: &Path,
    options: &VerifyOptions,
    visitor: &mut Visitor<'_>,
) -> Result<Report, VerifyError> {
    let mut report = Report::new();
    let kept = Kept::open(options, &mut report)?;
    files.list(log_dir).map_err(io_error(log_dir))?;
    let published = read_checkpoint(files, log_dir, options, true, &mut report)?;
    let has_bad_checkpoint = published.is_none() && !report.findings.is_empty();
    let size = published.as_ref().map_or(0, |(head, _)| head.size);
    let mut found = inventory(files, log_dir, size, &mut report)?;
    found.checkpoint_is_bad = has_bad_checkpoint;
    let mut run = Run {
        files,
        log_dir,
        options,
        visitor,
        published,
        kept,
        queue: NoteQueue::new(&options.keys),
        tiles: TileChecker::new(files, log_dir, size, true),
        report,
        frontier: Frontier::new(),
        generation: None,
        previous: Hash::ZERO,
        next_batch: 0,
        next_segment: 0,
        keys_in_force: Vec::new(),
        dropped: DroppedKeys::default(),
        root_differs: false,
        published_seen: false,
    };
    run.kept.compare(&run.frontier, &mut run.report);
    run.segments(&found.first_leaves)?;
    run.queue.finish(&mut run.report);
    Ok(run.finish(&found))
}

/// What the names under `log/` say.
#[derive(Default)]
struct Inventory {
    first_leaves: Vec<u64>,
    has_checkpoint: bool,
    checkpoint_is_bad: bool,
    has_tiles: bool,
    /// Tiles that don't belong to the published tree.
    others: Vec<TileName>,
}

fn inventory(
    files: &dyn FileLayer,
    log_dir: &Path,
    published: u64,
    report: &mut Report,
) -> Result<Inventory, VerifyError> {
    let mut found = Inventory::default();
    let mut strays = Vec::new();
    walk(files, log_dir, &mut |file| match file {
        Found::Checkpoint => found.has_checkpoint = true,
        Found::Segment(first_leaf) => found.first_leaves.push(first_leaf),
        Found::Tile(name) => {
            found.has_tiles = true;
            if !name.belongs_to(published) {
                found.others.push(name);
            }
        }
        Found::Stray(path) => strays.push(path),
    })
    .map_err(io_error(log_dir))?;
    strays.sort_unstable();
    for path in strays {
        let path = path.to_string_lossy();
        report.find(FindingKind::StrayFile, &path, None, "no file of a log has this name");
    }
    found.first_leaves.sort_unstable();
    found.others.sort_unstable();
    Ok(found)
}

impl Run<'_, '_> {
    fn segments(&mut self, first_leaves: &[u64]) -> Result<(), VerifyError> {
        for (at, first_leaf) in first_leaves.iter().enumerate() {
            if !self.report.is_complete {
                return Ok(());
            }
            let path = format!("segment/{}", file_name(*first_leaf));
            if *first_leaf > self.frontier.size() {
                let missing = format!("segment/{}", file_name(self.frontier.size()));
                let detail = "the segment that holds this entry is not there, or ends early";
                self.stop(FindingKind::MissingFile, &missing, 0, detail);
                return Ok(());
            }
            let file = self.log_dir.join(&path);
            let is_last = at + 1 == first_leaves.len();
            self.segment(*first_leaf, &Place { path: &path, file, is_last })?;
        }
        Ok(())
    }

    /// Ends reading: what follows can't be placed.
    fn stop(&mut self, kind: FindingKind, path: &str, offset: u64, detail: &str) {
        self.report.find(kind, path, Some(offset), detail);
        self.report.is_complete = false;
    }

    fn segment(&mut self, first_leaf: u64, place: &Place<'_>) -> Result<(), VerifyError> {
        let mut window = Window::open(self.files, &place.file, u64::MAX).map_err(io_error(&place.file))?;
        let Some((header, header_bytes, digest)) = read_header(&mut window) else {
            let could_be_torn = place.is_last && window.end() <= FileHeader::bytes_max(&self.options.origin);
            let kind = self.tail_kind(could_be_torn);
            self.stop(kind, place.path, 0, "its header is not one");
            return Ok(());
        };
        if let Some(detail) = self.header_fault(&header, first_leaf) {
            self.stop(FindingKind::SegmentBytes, place.path, 0, detail);
            return Ok(());
        }
        let known = |key: &Hash| self.options.keys.iter().any(|own| own.fingerprint() == *key);
        if !header.keys.iter().all(known) {
            let detail = "it names a log key that is not among those given";
            self.report.find(FindingKind::Signature, place.path, Some(0), detail);
        }
        if !self.dropped.take(&header.keys) {
            let detail = "its header names a log key that an earlier one had dropped";
            self.report.find(FindingKind::KeyNotInForce, place.path, Some(0), detail);
        }
        self.generation = Some(header.generation);
        self.next_segment += 1;
        self.previous = digest;
        self.keys_in_force = header.keys;
        self.records(&mut window, header_bytes, place)
    }

    fn header_fault(&self, header: &FileHeader, first_leaf: u64) -> Option<&'static str> {
        if header.origin != self.options.origin {
            return Some("it is of another origin");
        }
        if self.generation.is_some_and(|generation| generation != header.generation)
            || !header.origin.ends_with(&format!("/{}", header.generation))
        {
            return Some("it is of another generation");
        }
        let follows = header.segment == self.next_segment
            && header.first_leaf == first_leaf
            && header.first_leaf == self.frontier.size()
            && header.previous == self.previous;
        (!follows).then_some("it does not follow the segment before")
    }

    /// The kind of a fault at the end of the last segment: a tear if nothing
    /// has seen more, else damage.
    fn tail_kind(&self, could_be_torn: bool) -> FindingKind {
        if could_be_torn && self.seen_max() <= self.frontier.size() {
            FindingKind::TornTail
        } else {
            FindingKind::SegmentBytes
        }
    }

    fn seen_max(&self) -> u64 {
        let published = self.published.as_ref().map_or(0, |(head, _)| head.size);
        published.max(self.kept.size_max())
    }

    fn records(&mut self, window: &mut Window, from: u64, place: &Place<'_>) -> Result<(), VerifyError> {
        let mut offset = from;
        while offset < window.end() {
            let left = window.end() - offset;
            let head = RecordHead::parse(window.slice(offset, HEAD_BYTES).map_err(io_error(&place.file))?);
            let fault = match head {
                Err(error) => error,
                Ok(head) => {
                    let bytes = window.slice(offset, head.record_bytes()).map_err(io_error(&place.file))?;
                    match Record::parse(bytes) {
                        Err(error) => error,
                        Ok(record) => {
                            self.record(&record, place, offset)?;
                            if !self.report.is_complete {
                                return Ok(());
                            }
                            offset += u64::from(head.length);
                            continue;
                        }
                    }
                }
            };
            let length = head.ok().map(|head| u64::from(head.length));
            let (kind, detail) = self.fault_kind(window, offset, left, length, &fault, place)?;
            self.stop(kind, place.path, offset, &detail);
            return Ok(());
        }
        Ok(())
    }

    /// Tells a tear from a cut file and from damage.
    fn fault_kind(
        &self,
        window: &mut Window,
        offset: u64,
        left: u64,
        length: Option<u64>,
        fault: &SegmentError,
        place: &Place<'_>,
    ) -> Result<(FindingKind, String), VerifyError> {
        let is_cut = left < length.unwrap_or(HEAD_BYTES as u64);
        if place.is_last && is_cut && self.seen_max() > self.frontier.size() {
            let detail = "the last record is cut off, and was seen whole";
            return Ok((FindingKind::Truncated, detail.to_owned()));
        }
        let could_be_torn = if let Some(length) = length {
            left <= length
        } else {
            let rest = usize::try_from(left).unwrap_or(usize::MAX);
            rest <= RECORD_BYTES_MAX
                && !holds_later_record(
                    window.slice(offset, rest).map_err(io_error(&place.file))?,
                    self.next_batch,
                    &self.options.origin,
                    &self.options.keys,
                )
        };
        Ok((self.tail_kind(place.is_last && could_be_torn), fault.to_string()))
    }

    fn record(&mut self, record: &Record<'_>, place: &Place<'_>, offset: u64) -> Result<(), VerifyError> {
        let head = &record.head;
        let follows =
            head.batch == self.next_batch && head.first_leaf == self.frontier.size() && head.previous == self.previous;
        if !follows {
            let detail = "the record does not follow the one before";
            self.stop(FindingKind::SegmentBytes, place.path, offset, detail);
            return Ok(());
        }
        self.next_batch += 1;
        self.previous = record.digest;
        self.report.batches += 1;
        for (number, leaf) in (0_u32..).zip(&record.leaves) {
            let hash = leaf.hash();
            self.report.pruned += u64::from(leaf.is_pruned());
            let view = LeafView {
                index: self.frontier.size(),
                leaf: leaf.bytes(),
                batch_attachments: &record.attachments,
                place: number,
                leaf_hash: hash,
                batch: head.batch,
                keys: &self.keys_in_force,
            };
            for finding in (self.visitor)(&view) {
                self.report.add(finding);
            }
            self.frontier.append(hash);
            self.tiles.leaf(leaf.bytes(), hash, &mut self.report)?;
            self.kept.compare(&self.frontier, &mut self.report);
        }
        self.note(record.note, place, offset);
        Ok(())
    }

    fn note(&mut self, text: &str, place: &Place<'_>, at: u64) {
        let offset = Some(at);
        let size = self.frontier.size();
        let published = self.published.as_ref().filter(|(head, _)| head.size == size);
        if let Some((_, checkpoint)) = published {
            self.published_seen = true;
            if checkpoint != text {
                let detail = "it is not byte for byte the note that the segment holds";
                self.report.find(FindingKind::Encoding, "checkpoint", None, detail);
            }
        }
        let note = match SignedNote::parse(text) {
            Ok(note) => note,
            Err(error) => {
                self.report.find(FindingKind::Encoding, place.path, offset, error.to_string());
                return;
            }
        };
        let expected = Checkpoint::new(&self.options.origin, size, self.frontier.root());
        if note.text != expected.to_text() && !self.root_differs {
            // From here on all roots differ; once is enough to say so.
            self.root_differs = true;
            let detail = "the signed checkpoint is not that of the entries so far";
            self.report.find(FindingKind::TreeRoot, place.path, offset, detail);
        }
        let in_force =
            self.keys_in_force.iter().filter_map(|key| self.options.keys.iter().find(|own| own.fingerprint() == *key));
        let expected_lines = in_force.map(|key| (key.name(), key.key_id()));
        let lines = note.signatures.iter().map(|line| (line.name.as_str(), line.key_id));
        if !lines.eq(expected_lines) {
            let detail = "its signature lines are not those of the keys in force";
            self.report.find(FindingKind::Signature, place.path, offset, detail);
            return;
        }
        let queued = QueuedNote { path: place.path.to_owned(), offset: at, note };
        self.queue.push(queued);
    }

    fn finish(mut self, found: &Inventory) -> Report {
        let size = self.frontier.size();
        (self.report.size, self.report.root) = (size, self.frontier.root());
        if self.report.is_complete {
            self.kept.finish(size, &mut self.report);
        }
        match &self.published {
            // What can't be read to its end is damaged, not known to be short.
            Some((head, _)) if head.size > size && !self.report.is_complete => {}
            Some((head, _)) if head.size > size => {
                let detail = format!("it has seen {} entries, the segments hold {size}", head.size);
                self.report.find(FindingKind::Truncated, "checkpoint", None, detail);
            }
            Some((head, _)) => {
                if !self.published_seen {
                    let detail = "it is the note of no batch in the segments";
                    self.report.find(FindingKind::Rewrite, "checkpoint", None, detail);
                }
                if head.size < size {
                    let detail = format!("it covers {} of {size} entries", head.size);
                    self.report.find(FindingKind::Behind, "checkpoint", None, detail);
                }
            }
            None if found.checkpoint_is_bad => {}
            None if found.has_tiles => {
                let detail = "tiles are published and the checkpoint is not there";
                self.report.find(FindingKind::MissingFile, "checkpoint", None, detail);
            }
            None if size > 0 => {
                let detail = format!("none of {size} entries is published yet");
                self.report.find(FindingKind::Behind, "checkpoint", None, detail);
            }
            None => {}
        }
        self.other_tiles(found, size);
        self.report
    }

    /// Tiles of other trees than the published one.
    fn other_tiles(&mut self, found: &Inventory, size: u64) {
        if found.checkpoint_is_bad || !self.report.is_complete {
            return;
        }
        for name in &found.others {
            let leads = name.end_size().is_none_or(|end| end > size);
            let (kind, detail) = if leads {
                (FindingKind::Truncated, "the tile covers more entries than the segments hold")
            } else {
                (FindingKind::Unfinished, "the tile is not of the published tree")
            };
            self.report.find(kind, &name.path(), None, detail);
        }
    }
}
