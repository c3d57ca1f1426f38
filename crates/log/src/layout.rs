//! Where the log's files lie below the data directory.

use std::path::{Path, PathBuf};

use crate::segment;
use crate::tile::TileName;

/// The paths of one log. Under `log/` lie segments, `checkpoint` and tiles,
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    log: PathBuf,
    quarantine: PathBuf,
    temporary: PathBuf,
}

impl Layout {
    /// The layout below a data directory: `log/`, `quarantine/`, `tmp/`.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { log: data.join("log"), quarantine: data.join("quarantine"), temporary: data.join("tmp") }
    }

    /// `log/`.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.log
    }

    /// `log/segment/`.
    #[must_use]
    pub fn segment_dir(&self) -> PathBuf {
        self.log.join("segment")
    }

    /// The segment file that begins with this leaf.
    #[must_use]
    pub fn segment(&self, first_leaf: u64) -> PathBuf {
        self.segment_dir().join(segment::file_name(first_leaf))
    }

    /// `log/checkpoint`.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.log.join("checkpoint")
    }

    /// `log/tile/`.
    #[must_use]
    pub fn tile_dir(&self) -> PathBuf {
        self.log.join("tile")
    }

    /// A tile file.
    #[must_use]
    pub fn tile(&self, name: &TileName) -> PathBuf {
        self.log.join(name.path())
    }

    /// `quarantine/`, where torn bytes go.
    #[must_use]
    pub fn quarantine_dir(&self) -> &Path {
        &self.quarantine
    }

    /// `tmp/`, on the same file system, so that renaming is atomic.
    #[must_use]
    pub fn temporary_dir(&self) -> &Path {
        &self.temporary
    }
}
