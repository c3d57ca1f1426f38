//! Where the logs lie while one takes the place of another. Each step is a rename, and is taken only
//! where the one before was and this one wasn't: whatever a crash leaves is gone on from.

use crate::connector::witness::SUPERSEDED;
use crate::files::{create_directory, sync_directory};
use crate::ledger::generation_dir;
use perron_model::succession::generation_of;
use perron_model::{Error, ErrorCode, Result};
use std::path::{Path, PathBuf};

/// Folder of the log that is about to take its place. While it is there, nothing serves.
pub const NEXT: &str = "next";

/// File that describes a backup; in a directory that was brought back from one it stays until what
/// others hold of its log was asked.
pub const BACKUP_FILE: &str = "backup.json";

/// The places of one directory.
#[derive(Clone, Debug)]
pub struct Places(PathBuf);

impl Places {
    /// Of an organisation's directory.
    pub fn of(data: &Path) -> Places {
        Places(data.to_owned())
    }

    /// Where the next log is begun.
    pub fn next(&self) -> PathBuf {
        self.0.join(NEXT)
    }

    /// Is a change of places begun and not ended?
    pub fn is_unfinished(&self) -> bool {
        self.next().exists()
    }

    /// Refuses while a change of places is begun and not ended.
    pub fn require_finished(&self) -> Result<()> {
        if !self.is_unfinished() {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::RestoreUnfinished,
            format!("the next log is begun (`{NEXT}/`) and not yet in its place"),
        ))
    }

    /// Does the next log still lie where it was begun?
    pub fn has_next(&self) -> bool {
        self.next().join("log").exists()
    }

    /// Forgets a next log that was never begun whole.
    pub fn forget_next(&self) -> Result<()> {
        remove(&self.next())
    }

    /// Puts the log of `origin` among the closed ones, with what was said of it, and the next one in
    /// its place; what was derived of the directory is made anew by the next start.
    pub fn change(&self, origin: &str) -> Result<()> {
        let closed = generation_dir(&self.0, generation_of(origin)?);
        // Each of both has its name before anything is moved into it.
        for folder in closed.parent().into_iter().chain([closed.as_path()]) {
            create_directory(folder)?;
        }
        let trust = self.0.join("trust");
        for (from, to) in [
            (self.0.join("log"), closed.join("log")),
            (trust.join("cosigned"), closed.join("cosigned")),
            (trust.join("dated"), closed.join("dated")),
            (trust.join(SUPERSEDED), closed.join(SUPERSEDED)),
            (self.next().join("log"), self.0.join("log")),
        ] {
            // What lies at its new place already isn't moved again.
            if from.exists() && !to.exists() {
                std::fs::rename(&from, &to).map_err(|_| failed("a part of the directory can't be moved"))?;
            }
            for changed in [from.parent(), to.parent()].into_iter().flatten() {
                sync_directory(changed).map_err(|_| failed("a directory can't be synced"))?;
            }
        }
        self.finish()
    }

    /// The logs are in their places: what is derived goes, and at last the mark of the change.
    pub fn finish(&self) -> Result<()> {
        remove(&self.0.join("state"))?;
        remove(&self.next())?;
        sync_directory(&self.0).map_err(|_| failed("a directory can't be synced"))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("a directory can't be removed")),
        _ => Ok(()),
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorCode::LogUnavailable, what)
}
