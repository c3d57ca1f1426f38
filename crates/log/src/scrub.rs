//! The slow look at what is durable: bytes that rot on the disk are found before somebody asks for
//! them. Segments are the truth, so a difference there is damage; tiles are derived from them, so a
//! difference there is mended.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::files::{Window, read_file_if_any};
use crate::limits::{BUNDLE_BYTES_MAX, TILE_WIDTH};
use crate::merkle::{Frontier, Hash, perfect_root};
use crate::note::SignedNote;
use crate::placing::Placing;
use crate::reader::{LogReader, SegmentMeta, Shared};
use crate::scan::read_header;
use crate::segment::{HEAD_BYTES, Record, RecordHead};
use crate::tile::{FULL_WIDTH, TileKind, TileName, encode_hashes, kinds, push_entry};

/// A look through the log, a step at a time; after its end it begins again.
pub struct Scrub {
    shared: Arc<Shared>,
    origin: String,
    place: Place,
}

/// What a step did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of segments that were looked at.
    pub bytes: u64,
    /// Tiles that weren't what the segments say, or weren't there, and were made anew.
    pub mended: Vec<TileName>,
    /// Leaves of the whole log, when this step came to its end.
    pub whole: Option<u64>,
}

/// How far it came.
#[derive(Default)]
struct Place {
    segment: usize,
    offset: u64,
    // The edition of the segments that all this was read of.
    edition: u64,
    next_segment: u64,
    next_batch: u64,
    previous: Hash,
    frontier: Frontier,
    // Of the leaf tile that isn't full yet.
    hashes: Vec<Hash>,
    bundle: Vec<u8>,
    is_pruned: bool,
}

impl LogReader {
    /// Begins a slow look at everything that is durable.
    #[must_use]
    pub fn scrub(&self) -> Scrub {
        let origin = self.shared.read().checkpoint.origin.clone();
        Scrub { shared: self.shared.clone(), origin, place: Place::default() }
    }
}

impl Scrub {
    /// Looks at the next records, until these are about `bytes` bytes or the log's end is reached.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where durable bytes aren't what was written, or a segment file is gone;
    /// [`LogError::Io`] and [`LogError::NoSpace`], after which it can be tried again.
    pub fn step(&mut self, bytes: u64) -> Result<Step, LogError> {
        let mut step = Step::default();
        while step.bytes < bytes {
            let (segment, is_last) = {
                let durable = self.shared.read();
                if durable.edition != self.place.edition {
                    // Entries were pruned meanwhile: what was read before isn't there any more.
                    self.place = Place { edition: durable.edition, ..Place::default() };
                }
                let is_last = durable.segments.len() <= self.place.segment.saturating_add(1);
                (durable.segments.get(self.place.segment).cloned(), is_last)
            };
            let Some(segment) = segment else {
                self.end(&mut step)?;
                break;
            };
            if self.place.offset < segment.durable_bytes {
                self.records(&segment, bytes, &mut step)?;
            } else if is_last {
                self.end(&mut step)?;
                break;
            } else {
                self.place.segment += 1;
                self.place.offset = 0;
            }
        }
        Ok(step)
    }

    /// Records of a segment from where this is on.
    fn records(&mut self, segment: &SegmentMeta, bytes: u64, step: &mut Step) -> Result<(), LogError> {
        let mut window = match Window::open(&*self.shared.files, &segment.path, segment.durable_bytes) {
            Ok(window) => window,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(LogError::damaged(&segment.path, 0, "the file is not there"));
            }
            Err(error) => return Err(LogError::io(&segment.path)(error)),
        };
        if self.shared.read().edition != self.place.edition {
            return Ok(());
        }
        if self.place.offset == 0 {
            self.header(segment, &mut window)?;
        }
        while step.bytes < bytes && self.place.offset < segment.durable_bytes {
            let offset = self.place.offset;
            let damaged = |detail: String| LogError::damaged(&segment.path, offset, detail);
            let head = window.slice(offset, HEAD_BYTES).map_err(LogError::io(&segment.path))?;
            let head = RecordHead::parse(head).map_err(|error| damaged(error.to_string()))?;
            let whole = window.slice(offset, head.record_bytes()).map_err(LogError::io(&segment.path))?;
            let record = Record::parse(whole).map_err(|error| damaged(error.to_string()))?;
            let full = self.place.record(&record, &self.origin).map_err(damaged)?;
            for tile in full {
                self.leaf_tile(tile, &segment.path, offset, step)?;
            }
            self.place.offset = offset.saturating_add(u64::from(head.length));
            step.bytes = step.bytes.saturating_add(u64::from(head.length));
        }
        Ok(())
    }

    fn header(&mut self, segment: &SegmentMeta, window: &mut Window) -> Result<(), LogError> {
        let damaged = |detail: &str| LogError::damaged(&segment.path, 0, detail);
        let (header, length, digest) = read_header(window).ok_or_else(|| damaged("its header is not one"))?;
        let place = &mut self.place;
        let follows = header.segment == place.next_segment
            && header.first_leaf == place.frontier.size()
            && header.first_leaf == segment.first_leaf
            && header.previous == place.previous
            && header.origin == self.origin;
        if !follows {
            return Err(damaged("it does not follow the segment before"));
        }
        place.next_segment = place.next_segment.saturating_add(1);
        place.previous = digest;
        place.offset = length;
        Ok(())
    }

    /// A leaf tile that is full: its root is the one that proofs are made with, its files are its
    /// bytes.
    fn leaf_tile(&self, tile: LeafTile, path: &Path, offset: u64, step: &mut Step) -> Result<(), LogError> {
        let root = perfect_root(&tile.hashes);
        if self.shared.read().tree.leaf_tile_root(tile.index) != root {
            return Err(LogError::damaged(path, offset, "its leaves are not those of the tree"));
        }
        let hashes = encode_hashes(&tile.hashes);
        for (kind, bytes) in [(TileKind::Entries, tile.bundle.as_deref()), (TileKind::Hashes(0), Some(&*hashes))] {
            self.compare(TileName { kind, index: tile.index, width: FULL_WIDTH }, bytes, step)?;
        }
        Ok(())
    }

    /// The whole log was looked at: the tiles above the leaves' remain, and it begins again.
    fn end(&mut self, step: &mut Step) -> Result<(), LogError> {
        let published = self.shared.read().published;
        for kind in kinds(published).into_iter().filter(|kind| kind.item_level() > 0) {
            for index in 0..kind.items(published) / TILE_WIDTH as u64 {
                let name = TileName { kind, index, width: FULL_WIDTH };
                let bytes = self.shared.tile_bytes(&name)?;
                self.compare(name, Some(&bytes), step)?;
            }
        }
        step.whole = Some(self.place.frontier.size());
        self.place = Place { edition: self.place.edition, ..Place::default() };
        Ok(())
    }

    /// A published tile that isn't what the log says is made anew; a bundle of which entries were
    /// pruned isn't expected, and goes.
    fn compare(&self, name: TileName, expected: Option<&[u8]>, step: &mut Step) -> Result<(), LogError> {
        if !name.belongs_to(self.shared.read().published) {
            return Ok(());
        }
        let path = self.shared.layout.tile(&name);
        let held = match read_file_if_any(&*self.shared.files, &path, BUNDLE_BYTES_MAX) {
            Ok(held) => held,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => None,
            Err(error) => return Err(LogError::io(&path)(error)),
        };
        if held.as_deref() == expected {
            return Ok(());
        }
        let _one_at_a_time = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.read().edition != self.place.edition {
            // Entries were pruned since the segments were read: the next look knows.
            return Ok(());
        }
        match expected {
            Some(expected) => {
                let mut placing = Placing::new(&self.shared);
                placing.put(&path, expected, BUNDLE_BYTES_MAX)?;
                placing.finish()?;
            }
            None => {
                self.shared.remove_tile(&name)?;
                let dir = path.parent().unwrap_or(&path);
                self.shared.files.sync_dir(dir).map_err(LogError::io(dir))?;
            }
        }
        step.mended.push(name);
        Ok(())
    }
}

/// A full tile of leaves, as the segments have it.
struct LeafTile {
    index: u64,
    hashes: Vec<Hash>,
    // None where entries of it were pruned.
    bundle: Option<Vec<u8>>,
}

impl Place {
    /// Takes the next record; gives the leaf tiles that it fills.
    fn record(&mut self, record: &Record<'_>, origin: &str) -> Result<Vec<LeafTile>, String> {
        let head = &record.head;
        let follows =
            head.batch == self.next_batch && head.first_leaf == self.frontier.size() && head.previous == self.previous;
        if !follows {
            return Err("the record does not follow the one before".to_owned());
        }
        let mut full = Vec::new();
        for leaf in &record.leaves {
            let hash = leaf.hash();
            self.frontier.append(hash);
            self.hashes.push(hash);
            self.is_pruned |= leaf.is_pruned();
            // A leaf of a parsed record is never too long.
            let _fits = leaf.bytes().and_then(|leaf| push_entry(&mut self.bundle, leaf));
            if self.hashes.len() == TILE_WIDTH {
                let index = self.frontier.size() / TILE_WIDTH as u64 - 1;
                let (hashes, bundle) = (std::mem::take(&mut self.hashes), std::mem::take(&mut self.bundle));
                let is_pruned = std::mem::take(&mut self.is_pruned);
                full.push(LeafTile { index, hashes, bundle: (!is_pruned).then_some(bundle) });
            }
        }
        let note = SignedNote::parse(record.note).map_err(|error| error.to_string())?;
        if note.text != Checkpoint::new(origin, self.frontier.size(), self.frontier.root()).to_text() {
            return Err("its checkpoint is not that of its tree".to_owned());
        }
        self.next_batch = self.next_batch.saturating_add(1);
        self.previous = record.digest;
        Ok(full)
    }
}
