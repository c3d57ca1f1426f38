//! Putting derived files in place, many at a time: each is written outside of
//! `log/`, synced, and only then renamed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{LogError, is_no_space};
use crate::files::{WriteAt, read_file_if_any};
use crate::limits::FILES_PLACED_AT_ONCE;
use crate::reader::Shared;

/// What the temporary files of the log are called.
pub(crate) const TEMPORARY_PREFIX: &str = "perron-log-";

/// Files on their way to their places. They are there, durably, after
/// [`Placing::finish`]; one that isn't finished takes its temporary files away.
pub(crate) struct Placing<'a> {
    shared: &'a Shared,
    files: Vec<Box<dyn WriteAt>>,
    moves: Vec<Move>,
    dirs: BTreeSet<PathBuf>,
    written: u64,
}

struct Move {
    from: PathBuf,
    to: PathBuf,
}

impl<'a> Placing<'a> {
    pub(crate) const fn new(shared: &'a Shared) -> Self {
        Self { shared, files: Vec::new(), moves: Vec::new(), dirs: BTreeSet::new(), written: 0 }
    }

    /// Puts a file in place, unless it already has these bytes.
    pub(crate) fn put(&mut self, path: &Path, bytes: &[u8], bytes_max: usize) -> Result<(), LogError> {
        let files = &self.shared.files;
        let dir = path.parent().unwrap_or(path);
        if !self.dirs.contains(dir) {
            files.create_dirs(dir).map_err(io(dir))?;
            self.dirs.insert(dir.to_owned());
        }
        let is_there = read_file_if_any(&**files, path, bytes_max).is_ok_and(|held| held.as_deref() == Some(bytes));
        if is_there {
            // After a kill these bytes may be in the page cache only.
            self.files.push(files.open_write(path).map_err(io(path))?);
        } else {
            let from = self.temporary();
            let created = match files.create(&from) {
                // Of a publication that failed, and could not take it away.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    files.remove(&from).and_then(|()| files.create(&from))
                }
                created => created,
            };
            let mut file = created.map_err(io(&from))?;
            self.moves.push(Move { from: from.clone(), to: path.to_owned() });
            file.write_at(0, bytes).map_err(io(&from))?;
            self.files.push(file);
        }
        if self.files.len() >= FILES_PLACED_AT_ONCE { self.settle() } else { Ok(()) }
    }

    fn temporary(&self) -> PathBuf {
        self.shared.layout.temporary_dir().join(format!("{TEMPORARY_PREFIX}publish-{}", self.moves.len()))
    }

    /// Syncs what was written, then gives it its names.
    fn settle(&mut self) -> Result<(), LogError> {
        let mut files = std::mem::take(&mut self.files);
        self.shared.files.sync_files(&mut files).map_err(io(self.shared.layout.log_dir()))?;
        drop(files);
        for Move { from, to } in self.moves.drain(..) {
            self.shared.files.rename(&from, &to).map_err(io(&to))?;
            self.written += 1;
        }
        Ok(())
    }

    /// Everything put is in its place, durably; gives how many files were written.
    pub(crate) fn finish(mut self) -> Result<u64, LogError> {
        self.settle()?;
        for dir in &self.dirs {
            self.shared.files.sync_dir(dir).map_err(io(dir))?;
        }
        Ok(self.written)
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        // What is left belongs to nothing; where it can't be removed, the next start does.
        for Move { from, .. } in self.moves.drain(..) {
            let _ = self.shared.files.remove(&from);
        }
    }
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LogError + '_ {
    move |error| {
        if is_no_space(&error) { LogError::NoSpace } else { LogError::io(path)(error) }
    }
}
