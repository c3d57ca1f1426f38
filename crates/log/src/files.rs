//! The port to the file system, and the real one.
//!
//! A kill does not test a power cut: what is written is durable only after
//! [`WriteAt::sync_data`], and a name only after [`FileLayer::sync_dir`] of
//! its folder. [`crate::sim::SimFiles`] drops or tears everything else.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What a folder's entry is; links are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// Anything else: a link, a socket, a device.
    Other,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the folder.
    pub name: OsString,
    /// What it is.
    pub kind: EntryKind,
}

/// A file open for reading at offsets.
pub trait ReadAt: Send + Sync {
    /// Fills as much of the buffer as the file has from the offset; gives the
    /// number of bytes, less than asked only at the end of the file.
    ///
    /// # Errors
    /// As the file system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn length(&self) -> io::Result<u64>;
}

/// A file open for writing at offsets.
pub trait WriteAt: Send + Sync {
    /// Writes all the bytes at the offset.
    ///
    /// # Errors
    /// As the file system says; some of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes contents and length durable (`fdatasync`).
    ///
    /// # Errors
    /// As the file system says; nothing is then known of what is durable.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Cuts the file to a length in bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The file system, as the log needs it.
pub trait FileLayer: Send + Sync {
    /// Makes a folder and those above it, where they aren't there; the names of
    /// those that it makes are durable afterwards. One that is there may be of a
    /// life that ended before it synced the name.
    ///
    /// # Errors
    /// As the file system says.
    fn create_dirs(&self, path: &Path) -> io::Result<()>;

    /// Entries of a folder, in no order.
    ///
    /// # Errors
    /// As the file system says; `NotFound` for a folder that isn't there.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As the file system says.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn ReadAt>>;

    /// Opens an existing file for writing, keeping its contents.
    ///
    /// # Errors
    /// As the file system says.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteAt>>;

    /// Makes a new file for writing; fails where the name is taken.
    ///
    /// # Errors
    /// As the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteAt>>;

    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// As the file system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes contents and lengths of many files durable, in any order.
    ///
    /// # Errors
    /// As the file system says of one of them; nothing is then known of what
    /// is durable.
    fn sync_files(&self, files: &mut [Box<dyn WriteAt>]) -> io::Result<()> {
        files.iter_mut().try_for_each(|file| file.sync_data())
    }
}

/// Files that are synced at a time; few enough that others' syncs get their turn.
const SYNCS_AT_ONCE: usize = 8;

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

struct OsFile(File);

// === impl OsFiles ===

impl FileLayer for OsFiles {
    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => path.parent().map_or(Ok(()), |parent| self.sync_dir(parent)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = path.parent().ok_or(error)?;
                self.create_dirs(parent)?;
                fs::create_dir(path)?;
                self.sync_dir(parent)
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                let kind = entry.file_type()?;
                let kind = if kind.is_file() {
                    EntryKind::File
                } else if kind.is_dir() {
                    EntryKind::Dir
                } else {
                    EntryKind::Other
                };
                Ok(DirEntry { name: entry.file_name(), kind })
            })
            .collect()
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(OsFile(File::open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        Ok(Box::new(OsFile(OpenOptions::new().write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        Ok(Box::new(OsFile(OpenOptions::new().write(true).create_new(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // A relative path of one part has the empty path as its parent.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    /// Several at a time: syncs that are asked for together share the journal's
    /// commit, where each alone waits for one of its own.
    fn sync_files(&self, files: &mut [Box<dyn WriteAt>]) -> io::Result<()> {
        let each = files.len().div_ceil(SYNCS_AT_ONCE);
        if each <= 1 {
            return files.iter_mut().try_for_each(|file| file.sync_data());
        }
        std::thread::scope(|scope| {
            let sync = |part: &mut [Box<dyn WriteAt>]| part.iter_mut().try_for_each(|file| file.sync_data());
            let mut parts = files.chunks_mut(each);
            let own = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(move || sync(part))).collect();
            let own = own.map_or(Ok(()), sync);
            let stopped = || io::Error::other("a thread that syncs files stopped");
            others.into_iter().fold(own, |synced, other| synced.and(other.join().unwrap_or_else(|_| Err(stopped()))))
        })
    }
}

// === impl OsFile ===

impl ReadAt for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.metadata().map(|meta| meta.len())
    }
}

impl WriteAt for OsFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

// === helpers over the port ===

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// As the file system says; `FileTooLarge` past the bound.
pub fn read_file(files: &dyn FileLayer, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = files.open_read(path)?;
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "a file longer than it may be"));
    }
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// As [`read_file`], with none for a file that isn't there.
///
/// # Errors
/// As [`read_file`] but for `NotFound`.
pub fn read_file_if_any(files: &dyn FileLayer, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    match read_file(files, path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes of one refill of a [`Window`].
const WINDOW_BYTES: usize = 256 * 1024;

/// A moving window over a file, so that small records don't cost a system call
/// each. Never reads at or past `end`.
pub(crate) struct Window {
    file: Box<dyn ReadAt>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Opens a file up to its length, or up to `end_max` where that is less.
    pub(crate) fn open(files: &dyn FileLayer, path: &Path, end_max: u64) -> io::Result<Self> {
        let file = files.open_read(path)?;
        let end = file.length()?.min(end_max);
        Ok(Self { file, end, start: 0, bytes: Vec::new() })
    }

    /// Where reading stops, in bytes from the file's beginning.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// The bytes at an offset: as many as asked, or fewer at the end.
    pub(crate) fn slice(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let held = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.checked_add(length).is_some_and(|end| end <= self.bytes.len()));
        let skip = if let Some(skip) = held {
            skip
        } else {
            self.bytes.resize(length.max(WINDOW_BYTES.min(left)), 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
            0
        };
        // A file that shrank under us gives fewer bytes, which callers take
        // for its end.
        let end = (skip + length).min(self.bytes.len());
        Ok(self.bytes.get(skip..end).unwrap_or_default())
    }
}
