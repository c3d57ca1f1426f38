//! Writing a file so that a crash leaves either the old one or the new one.

use perron_model::{Error, ErrorCode, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Ending of files that are being written; what a crash leaves of them is removed at the start.
pub const TEMPORARY_ENDING: &str = ".tmp";

/// Writes `bytes` to `name` within `directory`: temporary file, fsync, rename, fsync of the
/// directory.
pub fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    write_with_mode(directory, name, bytes, 0o666)
}

/// As `write_file`, readable by its owner alone.
pub fn write_secret(file: &Path, bytes: &[u8]) -> Result<()> {
    let (directory, name) = parts_of(file)?;
    write_with_mode(directory, name, bytes, 0o600)
}

fn write_with_mode(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let temporary = directory.join(temporary_name());
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, directory.join(name))?;
        sync_directory(directory)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        io_error(&e)
    })
}

/// As `write_atomically`, for a file by its path.
pub fn write_file(file: &Path, bytes: &[u8]) -> Result<()> {
    let (directory, name) = parts_of(file)?;
    write_atomically(directory, name, bytes)
}

fn parts_of(file: &Path) -> Result<(&Path, &str)> {
    let name = file.file_name().and_then(|n| n.to_str()).ok_or_else(|| Error::malformed("the path names no file"))?;
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((directory, name))
}

/// A name for a file being written, unlike any other of this process.
pub fn temporary_name() -> String {
    format!("{}-{}{TEMPORARY_ENDING}", std::process::id(), TEMPORARY.fetch_add(1, Ordering::Relaxed))
}

/// Makes the names in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates `directory` and those above it that aren't there, and makes their names durable: its own
/// even where it was there, for who made it may have ended before.
pub fn create_directory(directory: &Path) -> Result<()> {
    let create = || -> io::Result<()> {
        let above = directory.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let missing: Vec<&Path> = above.take_while(|above| !above.exists()).collect();
        let was_there = directory.is_dir();
        std::fs::create_dir_all(directory)?;
        for parent in std::iter::once(directory).chain(missing).filter_map(Path::parent) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match sync_directory(parent) {
                // It was made by whom what it lies in belongs to.
                Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(())
    };
    create().map_err(|e| io_error(&e))
}

/// Removes what a crash left of files being written.
pub fn remove_temporary(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().ends_with(TEMPORARY_ENDING) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Bytes that are overwritten at a time.
const OVERWRITTEN_BYTES: usize = 4_096;

/// Overwrites a file, then removes it, also where it can't be overwritten, which is an error all the
/// same; one that isn't there is destroyed already.
pub fn destroy_file(file: &Path) -> Result<()> {
    let overwrite = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(file)?;
        let mut left = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        while left > 0 {
            let now = left.min(OVERWRITTEN_BYTES);
            file.write_all(&vec![0; now])?;
            left = left.saturating_sub(now);
        }
        file.sync_all()
    };
    let overwritten = match overwrite() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        overwritten => overwritten,
    };
    let (directory, _) = parts_of(file)?;
    let removed = std::fs::remove_file(file).and_then(|()| sync_directory(directory));
    overwritten.and(removed).map_err(|e| io_error(&e))
}

/// A failure of the file layer, without names of the machine.
pub fn io_error(e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorCode::DiskFull, "no space is left on the disk")
        }
        kind => Error::new(ErrorCode::Internal, format!("a file can't be read or written: {kind}")),
    }
}
