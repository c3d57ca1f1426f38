//! A file system in memory that forgets what was not synced.
//!
//! [`SimFiles::crash`] keeps what was synced; of everything else it keeps,
//! drops or tears a part chosen by a seed: each 512-byte sector of unsynced
//! contents, each unsynced length, each unsynced name; a folder whose name is
//! dropped takes all with it that is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{DirEntry, EntryKind, FileLayer, ReadAt, WriteAt};

const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops at this operation: it and all later ones fail until
    /// [`SimFiles::crash`].
    PowerCut,
    /// This write fails, half done.
    WriteError,
    /// The first sync from this operation on fails; its data is not durable.
    SyncError,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NameChange {
    Put { path: PathBuf, file: u64 },
    Move { from: PathBuf, to: PathBuf, file: u64 },
    Drop { path: PathBuf },
    Folder { path: PathBuf },
}

#[derive(Debug, Default)]
struct State {
    next_file: u64,
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    capacity_bytes: Option<usize>,
}

/// The simulated file system; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimFiles(Arc<Mutex<State>>);

struct SimFile {
    files: SimFiles,
    file: u64,
}

// A splitmix64 step: enough randomness for choosing what a crash forgets.
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn coin(seed: &mut u64) -> bool {
    next_random(seed) & 1 == 1
}

fn stopped() -> io::Error {
    io::Error::other("simulated power cut")
}

fn not_found() -> io::Error {
    io::Error::from(ErrorKind::NotFound)
}

impl SimFiles {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations (writes, syncs, renames, removals, creations) so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets something go wrong at the n-th operation counted from now.
    pub fn fail_in(&self, operations: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + operations, fault));
    }

    /// Bounds the sum of all file lengths; none lifts the bound.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity_bytes = bytes;
    }

    /// Cuts the power and starts again: unsynced contents and names are kept,
    /// dropped or torn as the seed chooses, and faults are cleared.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state();
        let state = &mut *state;
        let mut seed = seed;
        let changes = std::mem::take(&mut state.changes);
        for change in &changes {
            if coin(&mut seed) {
                apply(change, state);
            }
        }
        let named = std::mem::take(&mut state.durable_dirs);
        let is_there = |path: &Path| path.ancestors().all(|above| is_root(above) || named.contains(above));
        state.durable_dirs = named.iter().filter(|dir| is_there(dir)).cloned().collect();
        state.dirs = state.durable_dirs.clone();
        let dirs = &state.dirs;
        state.durable_names.retain(|path, _| path.parent().is_none_or(|dir| is_root(dir) || dirs.contains(dir)));
        for content in state.contents.values_mut() {
            content.now = torn(content, &mut seed);
            content.durable = content.now.clone();
        }
        state.names = state.durable_names.clone();
        state.fault = None;
        state.stopped = false;
    }

    /// Contents of a file now, synced or not.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(path)?;
        state.contents.get(file).map(|content| content.now.clone())
    }

    /// Puts a durable file in place, for tests that tamper.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.next_file;
        state.next_file += 1;
        let content = Content { now: bytes.to_vec(), durable: bytes.to_vec() };
        state.contents.insert(file, content);
        state.names.insert(path.to_owned(), file);
        state.durable_names.insert(path.to_owned(), file);
        for dir in path.ancestors().skip(1) {
            state.dirs.insert(dir.to_owned());
            state.durable_dirs.insert(dir.to_owned());
        }
    }

    /// Removes a file durably, for tests that tamper.
    pub fn take(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// Paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Counts an operation; gives the fault that strikes it.
    fn operate(&self, is_write: bool, is_sync: bool) -> io::Result<Option<Fault>> {
        let mut state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        state.operations += 1;
        let due = state.fault.filter(|(at, _)| state.operations >= *at).map(|(_, fault)| fault);
        let strikes = match due {
            Some(Fault::PowerCut) => {
                state.stopped = true;
                true
            }
            Some(Fault::WriteError) => is_write,
            Some(Fault::SyncError) => is_sync,
            None => false,
        };
        if strikes {
            state.fault = None;
        }
        Ok(due.filter(|_| strikes))
    }

    fn operate_plainly(&self) -> io::Result<()> {
        match self.operate(false, false)? {
            None => Ok(()),
            Some(_) => Err(stopped()),
        }
    }
}

fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

fn apply(change: &NameChange, state: &mut State) {
    let names = &mut state.durable_names;
    match change {
        NameChange::Put { path, file } => {
            names.insert(path.clone(), *file);
        }
        NameChange::Move { from, to, file } => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        NameChange::Drop { path } => {
            names.remove(path);
        }
        NameChange::Folder { path } => {
            state.durable_dirs.insert(path.clone());
        }
    }
}

/// What a crash leaves of a file: each sector old or new, the length old, new
/// or between.
fn torn(content: &Content, seed: &mut u64) -> Vec<u8> {
    if content.now == content.durable {
        return content.now.clone();
    }
    let (old, new) = (content.durable.len(), content.now.len());
    let span = old.abs_diff(new) as u64;
    let length = match next_random(seed) % 3 {
        0 => old,
        1 => new,
        _ => old.min(new) + usize::try_from(next_random(seed) % (span + 1)).unwrap_or(0),
    };
    let mut left = Vec::with_capacity(length);
    while left.len() < length {
        let at = left.len();
        let end = (at + SECTOR_BYTES).min(length);
        let source = if coin(seed) { &content.now } else { &content.durable };
        let sector = source.get(at..end.min(source.len())).unwrap_or_default();
        left.extend_from_slice(sector);
        left.resize(end, 0);
    }
    left
}

impl FileLayer for SimFiles {
    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        self.operate_plainly()?;
        if self.state().dirs.contains(path) {
            return Ok(());
        }
        // What the folder of all others lies in is not the log's to make.
        let Some(parent) = path.parent().filter(|parent| !is_root(parent)) else {
            let mut state = self.state();
            state.dirs.insert(path.to_owned());
            state.durable_dirs.insert(path.to_owned());
            return Ok(());
        };
        self.create_dirs(parent)?;
        {
            let mut state = self.state();
            state.dirs.insert(path.to_owned());
            state.changes.push(NameChange::Folder { path: path.to_owned() });
        }
        self.sync_dir(parent)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        if !state.dirs.contains(path) {
            return Err(not_found());
        }
        let entry = |child: &PathBuf, kind| {
            let name = child.file_name()?.to_owned();
            (child.parent() == Some(path)).then_some(DirEntry { name, kind })
        };
        let dirs = state.dirs.iter().filter_map(|dir| entry(dir, EntryKind::Dir));
        let files = state.names.keys().filter_map(|file| entry(file, EntryKind::File));
        Ok(dirs.chain(files).collect())
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn ReadAt>> {
        let file = self.find(path)?;
        Ok(Box::new(SimFile { files: self.clone(), file }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        let file = self.find(path)?;
        Ok(Box::new(SimFile { files: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        self.operate_plainly()?;
        let mut state = self.state();
        if state.names.contains_key(path) {
            return Err(io::Error::from(ErrorKind::AlreadyExists));
        }
        if path.parent().is_none_or(|parent| !state.dirs.contains(parent)) {
            return Err(not_found());
        }
        let file = state.next_file;
        state.next_file += 1;
        state.contents.insert(file, Content::default());
        state.names.insert(path.to_owned(), file);
        state.changes.push(NameChange::Put { path: path.to_owned(), file });
        Ok(Box::new(SimFile { files: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate_plainly()?;
        let mut state = self.state();
        let file = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_owned(), file);
        state.changes.push(NameChange::Move { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate_plainly()?;
        let mut state = self.state();
        state.names.remove(path).ok_or_else(not_found)?;
        state.changes.push(NameChange::Drop { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operate_plainly()?;
        let mut state = self.state();
        let children = state.names.keys().chain(&state.dirs);
        if children.filter_map(|child| child.parent()).any(|parent| parent == path) {
            return Err(io::Error::from(ErrorKind::DirectoryNotEmpty));
        }
        state.durable_dirs.remove(path);
        state.changes.retain(|change| !matches!(change, NameChange::Folder { path: made } if made == path));
        if state.dirs.remove(path) { Ok(()) } else { Err(not_found()) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.operate(false, true)?.is_some() {
            return Err(stopped());
        }
        let mut state = self.state();
        let concerns = |change: &NameChange| match change {
            NameChange::Put { path: name, .. }
            | NameChange::Drop { path: name }
            | NameChange::Folder { path: name } => name.parent() == Some(path),
            NameChange::Move { from, to, .. } => from.parent() == Some(path) || to.parent() == Some(path),
        };
        let (synced, kept) = std::mem::take(&mut state.changes).into_iter().partition(concerns);
        state.changes = kept;
        let synced: Vec<NameChange> = synced;
        for change in &synced {
            apply(change, &mut state);
        }
        Ok(())
    }
}

impl SimFiles {
    fn find(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        state.names.get(path).copied().ok_or_else(not_found)
    }
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.files.state();
        if state.stopped {
            return Err(stopped());
        }
        let content = state.contents.get(&self.file).ok_or_else(not_found)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.now.get(offset..).unwrap_or_default();
        let read = buffer.iter_mut().zip(rest).map(|(to, from)| *to = *from).count();
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.files.state();
        let content = state.contents.get(&self.file).ok_or_else(not_found)?;
        Ok(content.now.len() as u64)
    }
}

impl WriteAt for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.files.operate(true, false)?;
        let mut state = self.files.state();
        let named = state.names.values().filter_map(|file| state.contents.get(file));
        let used: usize = named.map(|content| content.now.len()).sum();
        let capacity_bytes = state.capacity_bytes;
        let content = state.contents.get_mut(&self.file).ok_or_else(not_found)?;
        let offset = usize::try_from(offset).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let end = offset + bytes.len();
        let growth = end.saturating_sub(content.now.len());
        let is_full = growth > 0 && capacity_bytes.is_some_and(|capacity| used + growth > capacity);
        let written = if fault.is_some() || is_full { bytes.len() / 2 } else { bytes.len() };
        if content.now.len() < offset + written {
            content.now.resize(offset + written, 0);
        }
        let place = content.now.iter_mut().skip(offset);
        place.zip(bytes.iter().take(written)).for_each(|(to, from)| *to = *from);
        match fault {
            Some(Fault::PowerCut) => Err(stopped()),
            Some(_) => Err(io::Error::other("simulated write error")),
            None if is_full => Err(io::Error::from(ErrorKind::StorageFull)),
            None => Ok(()),
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let fault = self.files.operate(false, true)?;
        if fault.is_some() {
            return Err(io::Error::other("simulated sync error"));
        }
        let mut state = self.files.state();
        let content = state.contents.get_mut(&self.file).ok_or_else(not_found)?;
        content.durable = content.now.clone();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.files.operate_plainly()?;
        let mut state = self.files.state();
        let content = state.contents.get_mut(&self.file).ok_or_else(not_found)?;
        let length = usize::try_from(length).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        content.now.resize(length, 0);
        Ok(())
    }
}
