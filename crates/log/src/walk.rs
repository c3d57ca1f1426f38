//! What lies under `log/`, by name.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::files::{EntryKind, FileLayer};
use crate::limits::WALK_ENTRIES_MAX;
use crate::segment;
use crate::tile::TileName;

/// A file found under `log/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The `checkpoint` file.
    Checkpoint,
    /// A segment file, by its first leaf.
    Segment(u64),
    /// A tile file in its canonical place.
    Tile(TileName),
    /// Anything else; its path relative to `log/`.
    Stray(PathBuf),
}

/// Visits everything under `log/` but folders, in no order. A log directory
/// that isn't there is empty.
pub(crate) fn walk(files: &dyn FileLayer, log_dir: &Path, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
    let mut pending = vec![PathBuf::new()];
    let mut visited = 0_usize;
    while let Some(relative) = pending.pop() {
        let dir = if relative.as_os_str().is_empty() { log_dir.to_owned() } else { log_dir.join(&relative) };
        let entries = match files.list(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            visited += 1;
            if visited > WALK_ENTRIES_MAX {
                return Err(io::Error::other("more files than a log has"));
            }
            let path = relative.join(&entry.name);
            match entry.kind {
                EntryKind::Dir => pending.push(path),
                EntryKind::File => visit(classify(path)),
                EntryKind::Other => visit(Found::Stray(path)),
            }
        }
    }
    Ok(())
}

fn classify(path: PathBuf) -> Found {
    let name = path.to_str().and_then(|text| {
        if text == "checkpoint" {
            return Some(Found::Checkpoint);
        }
        if let Some(rest) = text.strip_prefix("segment/") {
            return segment::parse_file_name(rest).map(Found::Segment);
        }
        text.strip_prefix("tile/").and_then(TileName::parse).map(Found::Tile)
    });
    name.unwrap_or(Found::Stray(path))
}
