//! A copy of the organisation's directory that `perron-verify` accepts: what is durable of the
//! log, the register, the agreements, the checkpoints that were kept. Never a key, a user or data.

use crate::connector::audit::folder::FOLDER_ACT;
use crate::connector::node::Node;
use crate::files::io_error;
use crate::ledger::{GENERATIONS, order_of};
use crate::settings;
use perron_log::tile::{FULL_WIDTH, TileKind, TileName};
use perron_log::{Extent, LogError};
use perron_model::limits::{AUDIT_EVIDENCE_FILES_MAX, AUDIT_EVIDENCE_PIECE_BYTES_MAX, AUDIT_EVIDENCE_SMALL_BYTES_MAX};
use perron_model::{AgreementId, Error, ErrorCode, Result, canonical};
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file of the copy that is asked for piece by piece. Its bytes don't change once it is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    /// Path below the copy.
    pub path: String,
    /// How many bytes it has, where its source goes on growing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a copy has of the folder of a closed log. Nothing of it changes any more.
const OF_CLOSED: [&str; 3] = ["log", "cosigned", "dated"];
/// What is under way there.
const UNFINISHED: &str = "tmp";

/// Entries of a full bundle.
const TILE_WIDTH: u64 = FULL_WIDTH as u64;

/// A file that may be asked for; nothing else of the directory can be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Segment(u64),
    Tile(TileName),
    Document(AgreementId),
    /// A file of the closed log of this generation, by its path below the directory.
    OfClosed(u64, PathBuf),
}

impl Asked {
    fn parse(path: &str) -> Option<Asked> {
        if let Some(name) = path.strip_prefix("log/segment/") {
            let first_leaf = name.parse::<u64>().ok()?;
            return (segment_path(first_leaf) == path).then_some(Asked::Segment(first_leaf));
        }
        if let Some(name) = path.strip_prefix("log/tile/") {
            return TileName::parse(name).map(Asked::Tile);
        }
        if let Some(below) = path.strip_prefix("generations/") {
            let (number, rest) = below.split_once('/')?;
            let generation = number.parse::<u64>().ok().filter(|parsed| parsed.to_string() == number)?;
            let mut parts = rest.split('/');
            let is_of_it = parts.next().is_some_and(|part| OF_CLOSED.contains(&part));
            let is_name = |part: &str| !part.is_empty() && !part.starts_with('.') && part != UNFINISHED;
            let is_file = is_of_it && rest.contains('/') && parts.all(is_name);
            return is_file.then(|| Asked::OfClosed(generation, PathBuf::from(path)));
        }
        let name = path.strip_prefix("documents/")?.strip_suffix(".json")?;
        AgreementId::parse(name).ok().map(Asked::Document)
    }
}

fn segment_path(first_leaf: u64) -> String {
    format!("log/segment/{first_leaf:020}")
}

impl Node {
    /// The files of the copy that are asked for piece by piece.
    pub(super) fn evidence_files(&self, extent: &Extent) -> Result<Vec<EvidenceFile>> {
        let segments = extent.segments.iter();
        let mut files: Vec<EvidenceFile> =
            segments.map(|s| EvidenceFile { path: segment_path(s.first_leaf), bytes: Some(s.bytes) }).collect();
        let agreements = self.state.agreements()?;
        let within = agreements.iter().filter(|a| order_of(a.index) < order_of(extent.size));
        files.extend(within.map(|a| EvidenceFile { path: format!("documents/{}.json", a.id), bytes: None }));
        for tile in extent.tiles().filter(|tile| !self.is_pruned_bundle(tile)) {
            if files.len() >= AUDIT_EVIDENCE_FILES_MAX {
                let detail = format!("a copy of the log has more than {AUDIT_EVIDENCE_FILES_MAX} files");
                return Err(Error::new(ErrorCode::TooLarge, detail));
            }
            files.push(EvidenceFile { path: format!("log/{}", tile.path()), bytes: None });
        }
        for closed in self.ledger.earlier_logs() {
            for part in OF_CLOSED {
                self.list_closed(&format!("{GENERATIONS}/{}/{part}", closed.generation), &mut files)?;
            }
        }
        Ok(files)
    }

    /// The files below a folder of a closed log.
    fn list_closed(&self, folder: &str, files: &mut Vec<EvidenceFile>) -> Result<()> {
        let unreadable = |_| Error::new(ErrorCode::LogDamaged, format!("`{folder}` can't be read"));
        let listed = match std::fs::read_dir(self.data.join(folder)) {
            // Nobody cosigned it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(unreadable)?,
        };
        for entry in listed {
            let entry = entry.map_err(unreadable)?;
            let (path, kind) =
                (format!("{folder}/{}", entry.file_name().to_string_lossy()), entry.file_type().map_err(unreadable)?);
            if kind.is_dir() && entry.file_name() != UNFINISHED {
                self.list_closed(&path, files)?;
            } else if kind.is_file() && matches!(Asked::parse(&path), Some(Asked::OfClosed(..))) {
                if files.len() >= AUDIT_EVIDENCE_FILES_MAX {
                    let detail = format!("a copy of the logs has more than {AUDIT_EVIDENCE_FILES_MAX} files");
                    return Err(Error::new(ErrorCode::TooLarge, detail));
                }
                files.push(EvidenceFile { path, bytes: None });
            }
        }
        Ok(())
    }

    /// A piece of a file of a closed log.
    fn piece_of_closed(&self, generation: u64, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = self.data.join(path);
        let is_closed = self.ledger.earlier_logs().iter().any(|log| log.generation == generation);
        if !is_closed || !std::fs::symlink_metadata(&path).is_ok_and(|told| told.is_file()) {
            return Err(Error::new(ErrorCode::NotFound, "no file of a closed log is there"));
        }
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut piece = Vec::new();
            file.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut piece).map(|_| piece)
        };
        read().map_err(|e| io_error(&e))
    }

    /// Is it a bundle of which entries were pruned? No log has such a file.
    fn is_pruned_bundle(&self, tile: &TileName) -> bool {
        let first = tile.index.saturating_mul(TILE_WIDTH);
        let leaves = first..first.saturating_add(u64::from(tile.width));
        tile.kind == TileKind::Entries && self.ledger.is_pruned(&leaves)
    }

    /// A piece of one of these files: as many bytes as asked, within a bound, or fewer at its end;
    /// for a folder that this actor began by the entry `given`.
    ///
    /// # Errors
    /// `not_found` for any other path, or without such an entry; `entry_pruned` where entries were
    /// pruned since: its files aren't what they were.
    pub fn audit_evidence(&self, actor: &str, given: u64, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.given_by(FOLDER_ACT, actor, given)?;
        if self.ledger.pruned_at().is_some_and(|at| at > given) {
            let detail = "entries were pruned while the folder was made: make it anew";
            return Err(Error::new(ErrorCode::EntryPruned, detail));
        }
        let unknown = || Error::new(ErrorCode::NotFound, format!("`{path}` is no file of an auditor's copy"));
        let length = length.min(AUDIT_EVIDENCE_PIECE_BYTES_MAX);
        let reader = self.ledger.reader();
        let failed = |e: LogError| match e {
            LogError::OutOfRange { .. } => unknown(),
            other => Error::new(ErrorCode::LogUnavailable, other.to_string()),
        };
        let whole = match Asked::parse(path).ok_or_else(unknown)? {
            Asked::Segment(first_leaf) => return reader.segment_bytes(first_leaf, offset, length).map_err(failed),
            Asked::Tile(name) => reader.tile_bytes(&name).map_err(failed)?,
            Asked::OfClosed(generation, path) => return self.piece_of_closed(generation, &path, offset, length),
            Asked::Document(id) => canonical::to_bytes(&self.state.agreement(&id).ok_or_else(unknown)?.envelope)?,
        };
        let rest = usize::try_from(offset).ok().and_then(|at| whole.get(at..)).unwrap_or_default();
        Ok(rest.get(..length.min(rest.len())).unwrap_or_default().to_vec())
    }
}

/// Heads of the log as others cosigned them, as files. Read before the log's extent is taken: none of
/// them has seen more than the copy has.
pub(super) fn cosigned_files(node: &Node) -> Result<Vec<(String, String)>> {
    let mut files = checkpoints(&node.data.join("trust/cosigned"), "trust/cosigned")?;
    files.extend(checkpoints(&node.data.join("trust/dated"), "trust/dated")?);
    Ok(files)
}

/// The other small files of the copy, with their texts. Read after the log's extent was taken: what
/// they tell of is no older than the log's own entries.
pub(super) fn small_files(
    node: &Node,
    extent: &Extent,
    cosigned: Vec<(String, String)>,
) -> Result<Vec<(String, String)>> {
    let register = String::from_utf8(node.register.load().bytes()?)
        .map_err(|_| Error::new(ErrorCode::Internal, "the register is not UTF-8"))?;
    let whose = format!("participant = \"{}\"\nspace = \"{}\"\n", node.me, node.space);
    let authority: String = node.authority.into();
    let mut files = vec![
        (settings::FILE.to_owned(), whose),
        ("trust/authority.key".to_owned(), format!("{authority}\n")),
        ("trust/register.json".to_owned(), register),
        ("log/checkpoint".to_owned(), extent.note.clone()),
    ];
    files.extend(checkpoints(&node.data.join("trust/kept"), "trust/kept")?);
    files.extend(cosigned);
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    if bytes > AUDIT_EVIDENCE_SMALL_BYTES_MAX {
        let detail = format!("register and kept checkpoints have {bytes} bytes, over {AUDIT_EVIDENCE_SMALL_BYTES_MAX}");
        return Err(Error::new(ErrorCode::TooLarge, detail));
    }
    Ok(files)
}

fn checkpoints(folder: &Path, name: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let unreadable = |_| Error::new(ErrorCode::LogDamaged, "a kept checkpoint can't be read");
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.ends_with(".checkpoint") {
            files.push((format!("{name}/{file}"), std::fs::read_to_string(entry.path()).map_err(unreadable)?));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_model::Digest;

    #[test]
    fn nothing_but_the_copys_files_can_be_asked_for() {
        let agreement = Digest::of(b"an agreement");
        assert_eq!(Asked::parse("log/segment/00000000000000000007"), Some(Asked::Segment(7)));
        assert_eq!(Asked::parse(&format!("documents/{agreement}.json")), Some(Asked::Document(agreement)));
        assert!(matches!(Asked::parse("log/tile/0/000.p/3"), Some(Asked::Tile(_))));
        let closed = "generations/1/log/tile/entries/000";
        assert_eq!(Asked::parse(closed), Some(Asked::OfClosed(1, PathBuf::from(closed))));
        for other in [
            "",
            "generations/1/log",
            "generations/1/log/tmp/x",
            "generations/01/log/checkpoint",
            "generations/1/log/../../../keys/log.pem",
            "generations/1/keys/log.pem",
            "generations/1/log//checkpoint",
            "keys/log.pem",
            "users.json",
            "log/segment/7",
            "log/segment/../../keys/log.pem",
            "log/tile/../segment/7",
            "documents/../keys/log.json",
            "sets/x.parquet",
            "/etc/passwd",
            "log/segment/+0000000000000000007",
        ] {
            assert_eq!(Asked::parse(other), None, "{other}");
        }
    }
}
