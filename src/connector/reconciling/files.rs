//! Extracts of partners in files: the newest of each agreement, and the newest that didn't fit.

use crate::files::{create_directory, io_error, remove_temporary, write_file};
use perron_model::limits::EXTRACTS_KEPT_MAX;
use perron_model::{AgreementId, Result};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folder of an organisation's directory that has them.
pub const EXTRACTS: &str = "extracts";

/// The folder.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Of an organisation's directory; what a crash left unfinished in it is removed.
    pub fn of(data: &Path) -> Files {
        let folder = data.join(EXTRACTS);
        remove_temporary(&folder);
        Files(folder)
    }

    /// Keeps an extract, durable, in place of the one before; one that doesn't fit a second time, where
    /// no later one takes its place but one that doesn't fit either.
    pub fn keep(&self, agreement: &AgreementId, extract: &[u8], fits: bool) -> Result<()> {
        create_directory(&self.0)?;
        write_file(&self.0.join(format!("{agreement}.extract")), extract)?;
        if !fits {
            write_file(&self.0.join(format!("{agreement}.differing.extract")), extract)?;
        }
        self.forget_oldest()
    }

    fn forget_oldest(&self) -> Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(|e| io_error(&e))?.flatten() {
            if let Ok(written) = entry.metadata().and_then(|m| m.modified()) {
                files.push((written, entry.path()));
            }
        }
        files.sort();
        let beyond = files.len().saturating_sub(EXTRACTS_KEPT_MAX);
        files.into_iter().take(beyond).try_for_each(|(_, file)| std::fs::remove_file(file).map_err(|e| io_error(&e)))
    }
}
