//! What can go wrong with a log that is written or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::merkle::MerkleError;
use crate::note::NoteError;

/// Why the log couldn't be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system failed.
    #[error("`{path}`: {source}")]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A write or a sync failed before: nothing is known of what is durable,
    /// so nothing more is written. The process ends and opens the log again.
    #[error("an earlier write to the log failed, it takes no more entries until it is reopened")]
    Poisoned,
    /// The disk is full. The log is as it was before the call and can go on
    /// once there is room.
    #[error("no space left for the log")]
    NoSpace,
    /// Something here has seen more entries than the segment holds:
    /// acknowledged entries are gone. Nothing is ever written to such a log.
    #[error("{seen_by} has seen {seen} entries, the log holds {held}: acknowledged entries are gone")]
    TailLost {
        /// What has seen more (a file, or the kept head).
        seen_by: String,
        /// Entries that it has seen.
        seen: u64,
        /// Entries that the segments hold.
        held: u64,
    },
    /// A kept head of our origin has another root than our tree at its size.
    #[error("a kept checkpoint of {size} entries has another root than this log")]
    Forked {
        /// Tree size of the kept head.
        size: u64,
    },
    /// Bytes that were durable aren't what was written.
    #[error("`{path}` is damaged at byte {offset}: {detail}")]
    Damaged {
        /// File concerned.
        path: PathBuf,
        /// Byte offset within it.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// The settings don't fit the log or each other.
    #[error("the log can't be opened so: {0}")]
    Settings(String),
    /// The entries are past the bounds of one batch; nothing was written.
    #[error("the batch is refused: {0}")]
    BatchRefused(&'static str),
    /// No entry or tree so large is durable yet.
    #[error("entry or tree size {asked} is past the {held} durable entries")]
    OutOfRange {
        /// Index or size asked for.
        asked: u64,
        /// Durable entries.
        held: u64,
    },
    /// The entry was pruned by a retention rule: its hash is left.
    #[error("entry {index} was pruned")]
    Pruned {
        /// Its index.
        index: u64,
    },
    /// What is to be pruned isn't in closed segments, or past a bound; nothing was changed.
    #[error("the pruning is refused: {0}")]
    PruneRefused(&'static str),
    /// A note couldn't be made or verified.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A proof couldn't be made.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

impl LogError {
    /// Names the path that an I/O error is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), offset, detail: detail.into() }
    }
}

/// Whether the system says that the disk, or our share of it, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
