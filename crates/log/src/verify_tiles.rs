//! Verifying tiles: those of our log against its leaves, and a foreign log
//! against itself.

use std::io::ErrorKind;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::files::{FileLayer, read_file, read_file_if_any};
use crate::findings::FindingKind;
use crate::limits::{BUNDLE_BYTES_MAX, NOTE_BYTES_MAX, TILE_WIDTH};
use crate::merkle::{Frontier, Hash, leaf_hash, perfect_root};
use crate::note::NoteError;
use crate::tile::{FULL_WIDTH, TileKind, TileName, decode_bundle, encode_hashes, push_entry};
use crate::verify::{Kept, LeafView, Report, VerifyError, VerifyOptions, Visitor, io_error};

/// Follows the growing tree up to the published size, and compares each tile
/// file when it is complete.
pub(crate) struct TileChecker<'a> {
    files: &'a dyn FileLayer,
    log_dir: &'a Path,
    published: u64,
    checks_bundles: bool,
    size: u64,
    bundle: Vec<u8>,
    // Were leaves of the bundle pruned?
    is_pruned: bool,
    // One row a tile level: index of the tile, hashes in it so far.
    rows: Vec<(u64, Vec<Hash>)>,
}

impl<'a> TileChecker<'a> {
    pub(crate) const fn new(files: &'a dyn FileLayer, log_dir: &'a Path, published: u64, checks_bundles: bool) -> Self {
        Self {
            files,
            log_dir,
            published,
            checks_bundles,
            size: 0,
            bundle: Vec::new(),
            is_pruned: false,
            rows: Vec::new(),
        }
    }

    /// Takes the next leaf; none of a pruned one.
    pub(crate) fn leaf(&mut self, leaf: Option<&[u8]>, hash: Hash, report: &mut Report) -> Result<(), VerifyError> {
        if self.size >= self.published {
            return Ok(());
        }
        self.size += 1;
        if self.checks_bundles {
            // A leaf of a parsed record or bundle is never too long.
            let _fits = leaf.and_then(|leaf| push_entry(&mut self.bundle, leaf));
            self.is_pruned |= leaf.is_none();
            if self.size.is_multiple_of(TILE_WIDTH as u64) {
                self.bundle_done(FULL_WIDTH, report)?;
            }
        }
        self.push(hash, report)?;
        if self.size == self.published { self.partials(report) } else { Ok(()) }
    }

    fn push(&mut self, leaf: Hash, report: &mut Report) -> Result<(), VerifyError> {
        let mut hash = leaf;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.rows.len() <= at {
                self.rows.push((0, Vec::with_capacity(TILE_WIDTH)));
            }
            let Some((index, row)) = self.rows.get_mut(at) else { break };
            row.push(hash);
            if row.len() < TILE_WIDTH {
                break;
            }
            let (full, name) =
                (std::mem::take(row), TileName { kind: TileKind::Hashes(level), index: *index, width: FULL_WIDTH });
            *index += 1;
            self.compare(&name, &encode_hashes(&full), report)?;
            let Some(root) = perfect_root(&full) else { break };
            hash = root;
        }
        Ok(())
    }

    fn partials(&mut self, report: &mut Report) -> Result<(), VerifyError> {
        let rows = std::mem::take(&mut self.rows);
        for (level, (index, row)) in (0_u8..).zip(&rows) {
            let Ok(width @ 1..) = u16::try_from(row.len()) else { continue };
            let name = TileName { kind: TileKind::Hashes(level), index: *index, width };
            self.compare(&name, &encode_hashes(row), report)?;
        }
        match u16::try_from(self.size % TILE_WIDTH as u64) {
            Ok(width @ 1..) if self.checks_bundles => self.bundle_done(width, report),
            _ => Ok(()),
        }
    }

    fn bundle_done(&mut self, width: u16, report: &mut Report) -> Result<(), VerifyError> {
        let index = (self.size - 1) / TILE_WIDTH as u64;
        let name = TileName { kind: TileKind::Entries, index, width };
        let bundle = std::mem::take(&mut self.bundle);
        if std::mem::take(&mut self.is_pruned) {
            return self.must_be_gone(&name, report);
        }
        self.compare(&name, &bundle, report)
    }

    /// A bundle of which entries were pruned: a process that ended between the two left it.
    fn must_be_gone(&self, name: &TileName, report: &mut Report) -> Result<(), VerifyError> {
        let path = self.log_dir.join(name.path());
        match self.files.open_read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(&path)(error)),
            Ok(_) => {
                let detail = "the bundle is still there, and entries of it were pruned";
                report.find(FindingKind::Unfinished, &name.path(), None, detail);
                Ok(())
            }
        }
    }

    fn compare(&self, name: &TileName, expected: &[u8], report: &mut Report) -> Result<(), VerifyError> {
        let path = self.log_dir.join(name.path());
        let held = match read_file(self.files, &path, BUNDLE_BYTES_MAX) {
            Ok(held) => held,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                report.find(FindingKind::MissingFile, &name.path(), None, "the tile is not there");
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                let detail = "it is longer than a tile can be";
                report.find(FindingKind::TileBytes, &name.path(), None, detail);
                return Ok(());
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        if held != expected {
            let same = held.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let detail = "its bytes are not those of the log's leaves";
            report.find(FindingKind::TileBytes, &name.path(), Some(same as u64), detail);
        }
        Ok(())
    }
}

/// Reads the `checkpoint` file; none with a finding where it isn't good. Where
/// each byte must be protected, lines of unknown keys are a finding too.
pub(crate) fn read_checkpoint(
    files: &dyn FileLayer,
    log_dir: &Path,
    options: &VerifyOptions,
    own_lines_only: bool,
    report: &mut Report,
) -> Result<Option<(Checkpoint, String)>, VerifyError> {
    const NAME: &str = "checkpoint";
    let path = log_dir.join(NAME);
    let bytes = match read_file_if_any(files, &path, NOTE_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            report.find(FindingKind::Encoding, NAME, None, "longer than a note may be");
            return Ok(None);
        }
        Err(error) => return Err(io_error(&path)(error)),
    };
    let opened = String::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8")).and_then(|text| {
        let opened = Checkpoint::open(&text, &options.origin, &options.keys, &[])?;
        if own_lines_only {
            opened.note.verify_only(&options.keys)?;
        }
        Ok((opened.checkpoint, text))
    });
    match opened {
        Ok(opened) => {
            report.signatures_checked += 1;
            report.published = Some(opened.0.size);
            Ok(Some(opened))
        }
        Err(error) => {
            let kind = match error {
                NoteError::Malformed(_) | NoteError::BadName(_) | NoteError::NotACheckpoint(_) => FindingKind::Encoding,
                _ => FindingKind::Signature,
            };
            report.find(kind, NAME, None, error.to_string());
            Ok(None)
        }
    }
}

pub(crate) fn verify_foreign(
    files: &dyn FileLayer,
    log_dir: &Path,
    options: &VerifyOptions,
    visitor: &mut Visitor<'_>,
) -> Result<Report, VerifyError> {
    let mut report = Report::new();
    let mut kept = Kept::open(options, &mut report)?;
    let head = read_checkpoint(files, log_dir, options, false, &mut report)?;
    let Some((head, _)) = head else {
        if report.findings.is_empty() {
            report.find(FindingKind::MissingFile, "checkpoint", None, "there is no checkpoint");
        }
        report.is_complete = false;
        return Ok(report);
    };
    let mut frontier = Frontier::new();
    let mut checker = TileChecker::new(files, log_dir, head.size, false);
    kept.compare(&frontier, &mut report);
    while frontier.size() < head.size && report.is_complete {
        let index = frontier.size() / TILE_WIDTH as u64;
        let left = (head.size - frontier.size()).min(TILE_WIDTH as u64);
        let width = u16::try_from(left).unwrap_or(FULL_WIDTH);
        let name = TileName { kind: TileKind::Entries, index, width };
        let Some(bundle) = foreign_bundle(files, log_dir, &name, &mut report)? else { break };
        let Some(leaves) = decode_bundle(&bundle, width) else {
            let detail = "it does not hold as many entries as its name says";
            report.find(FindingKind::TileBytes, &name.path(), None, detail);
            report.is_complete = false;
            break;
        };
        for leaf in leaves {
            let hash = leaf_hash(leaf);
            let view = LeafView {
                index: frontier.size(),
                leaf: Some(leaf),
                batch_attachments: &[],
                place: 0,
                leaf_hash: hash,
                batch: 0,
                keys: &[],
            };
            for finding in visitor(&view) {
                report.add(finding);
            }
            frontier.append(hash);
            checker.leaf(Some(leaf), hash, &mut report)?;
            kept.compare(&frontier, &mut report);
        }
    }
    (report.size, report.root) = (frontier.size(), frontier.root());
    if report.is_complete && frontier.root() != head.root {
        let detail = "its root is not that of the entries";
        report.find(FindingKind::TreeRoot, "checkpoint", None, detail);
    }
    if report.is_complete {
        kept.finish(frontier.size(), &mut report);
    }
    Ok(report)
}

/// A bundle of the expected width.
fn foreign_bundle(
    files: &dyn FileLayer,
    log_dir: &Path,
    name: &TileName,
    report: &mut Report,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let path = log_dir.join(name.path());
    match read_file_if_any(files, &path, BUNDLE_BYTES_MAX) {
        Ok(Some(bundle)) => return Ok(Some(bundle)),
        Ok(None) => {
            report.find(FindingKind::MissingFile, &name.path(), None, "the bundle is not there");
        }
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            let detail = "it is longer than a bundle can be";
            report.find(FindingKind::TileBytes, &name.path(), None, detail);
        }
        Err(error) => return Err(io_error(&path)(error)),
    }
    report.is_complete = false;
    Ok(None)
}
