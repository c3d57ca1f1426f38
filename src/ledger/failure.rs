//! What keeps the log from being written, told without the machine's paths; and the reserve on the
//! disk, from which outcomes, receipts and the stop can still be written.

use crate::ledger::pruning::unreadable;
use perron_log::{LogError, LogReader};
use perron_model::entry::Body;
use perron_model::limits::DISK_RESERVE_BYTES;
use perron_model::{Error, ErrorCode, Result};
use std::path::{Path, PathBuf};

/// The disk that holds an organisation's directory.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn of(directory: &Path) -> Room {
        Room(directory.to_owned())
    }

    /// Refuses what would begin something while less than the reserve is free.
    pub(super) fn require(&self) -> Result<()> {
        match free_bytes(&self.0) {
            Some(free) if free < DISK_RESERVE_BYTES => Err(Error::new(
                ErrorCode::DiskFull,
                format!(
                    "less than {} MiB are free on the disk, and these are kept for what is under way",
                    DISK_RESERVE_BYTES / (1024 * 1024)
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// A leaf that is durable.
pub fn leaf_of(log: &LogReader, index: u64) -> Result<Vec<u8>> {
    log.leaf(index).map_err(|e| match e {
        LogError::Pruned { .. } => unreadable(&e),
        other => log_error(&other),
    })
}

/// Bytes that are free for us on the disk of a directory; none where the system doesn't tell.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    fs2::available_space(directory).ok()
}

/// May an entry use the reserve? Only what ends or explains something: that somebody could not be
/// told of a read that happened would be worse than that none begins.
pub(super) fn ends_something(body: &Body) -> bool {
    match body {
        Body::Notice(notice) => matches!(notice.act.as_str(), "suspend" | "revoke"),
        Body::Start(_)
        | Body::Stop(_)
        | Body::Recovery(_)
        | Body::ClockJump(_)
        | Body::Outcome(_)
        | Body::Received(_)
        | Body::RefusalSummary(_)
        | Body::Administration(_)
        | Body::RegisterSeen(_)
        | Body::Succession(_)
        | Body::Pruned(_)
        | Body::Erased(_) => true,
        Body::Negotiation(_)
        | Body::Agreement(_)
        | Body::Intent(_)
        | Body::Decision(_)
        | Body::Release(_)
        | Body::SchemaGrant(_)
        | Body::PlanRefusal(_)
        | Body::CheckpointKept(_)
        | Body::Extract(_)
        | Body::Reconciled(_)
        | Body::LogQuery(_)
        | Body::StaffRefusal(_) => false,
    }
}

/// The process's log has the whole of it; callers get what they can do something about.
pub fn log_error(error: &LogError) -> Error {
    tracing::error!(error = %error, "the log failed");
    match error {
        LogError::NoSpace => {
            Error::new(ErrorCode::DiskFull, "the disk is full, so nothing can be logged and nothing leaves")
        }
        LogError::TailLost { .. } => Error::new(ErrorCode::LogTailLost, error.to_string()),
        LogError::Forked { .. } => Error::new(ErrorCode::LogForked, error.to_string()),
        LogError::Damaged { path, offset, detail } => {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            Error::new(ErrorCode::LogDamaged, format!("`{file}` is damaged at byte {offset}: {detail}"))
        }
        LogError::Poisoned => Error::new(ErrorCode::LogUnavailable, "the log can't be written, so nothing leaves"),
        LogError::Io { source, .. } => Error::new(
            ErrorCode::LogUnavailable,
            format!("a file of the log can't be read or written: {}", source.kind()),
        ),
        _ => Error::new(ErrorCode::LogUnavailable, format!("the log can't be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_model::entry::{Outcome, OutcomeStatus, Stop};

    #[test]
    fn the_reserve_is_for_what_ends_something() {
        assert!(ends_something(&Body::Stop(Stop { reason: "signal".to_owned() })));
        let outcome = Outcome {
            decision: perron_model::Digest::of(b"x"),
            status: OutcomeStatus::Complete,
            reason: None,
            batches: 0,
            rows: 0,
            bytes: 0,
            messages: 0,
            stream_root: perron_model::Digest::of(b"x"),
            uses: 0,
            volume: None,
        };
        assert!(ends_something(&Body::Outcome(outcome)));
        let grant = perron_model::entry::SchemaGrant { peer: "huy".to_owned(), hour: 0 };
        assert!(!ends_something(&Body::SchemaGrant(grant)));
    }

    #[test]
    fn no_path_of_the_machine_is_told() {
        let path = PathBuf::from("/secret/place/log/segment/00000000000000000000");
        let damaged = LogError::Damaged { path: path.clone(), offset: 7, detail: "not a record".to_owned() };
        let io = LogError::Io { path, source: std::io::Error::other("x") };
        for error in [damaged, io] {
            assert!(!log_error(&error).detail.contains("secret"), "{error}");
        }
    }
}
