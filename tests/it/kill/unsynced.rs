//! The file layer that drops what was not synced, below a whole process.
//!
//! A killed process loses nothing of what the kernel holds. `unsynced.c`, preloaded, writes down
//! how to undo each change before it is made; after the kill this takes back what no sync covers:
//! contents that the file's own `fsync` or `fdatasync` didn't reach, names whose folder wasn't
//! synced. A seeded part of it may survive, in the order of each file: a disk may have written
//! it, and may have torn the write after it.

use crate::kill::random::Random;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiled library.
pub struct Layer {
    library: PathBuf,
}

/// One life of a process above the layer.
pub struct Life {
    directory: PathBuf,
    journal: PathBuf,
    graves: PathBuf,
}

/// What a life's end took back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped {
    /// Changes of contents and names that no sync covered.
    pub unsynced: usize,
    /// Of those, how many were taken back.
    pub undone: usize,
    /// Bytes of contents that were taken back.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Write,
    Truncate,
    Rename,
    Unlink,
    MakeDir,
    RemoveDir,
    Link,
    Sync,
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    seq: u64,
    inode: u64,
    parents: [u64; 2],
    offset: u64,
    length: u64,
    size: u64,
    grave: u64,
    path: PathBuf,
    second: PathBuf,
    bytes: Vec<u8>,
}

/// Bytes of a record before its parts: `struct record` of the library.
const HEAD: usize = 16 + 8 * 8;

impl Layer {
    /// Compiles the library; a C compiler is what the build needs anyway.
    pub fn compile(into: &Path) -> Layer {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kill/unsynced.c");
        let library = into.join("unsynced.so");
        let out = Command::new("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler, `cc`");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Layer { library }
    }

    /// Prepares a life over `directory`; journal and graves lie in `work`, on the same file system.
    pub fn life(&self, directory: &Path, work: &Path, number: usize) -> Life {
        let directory = directory.canonicalize().unwrap();
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        let graves = work.join(format!("graves-{name}-{number}"));
        std::fs::create_dir_all(&graves).unwrap();
        Life { journal: work.join(format!("journal-{name}-{number}")), directory, graves }
    }

    /// Puts the layer below a command.
    pub fn below(&self, life: &Life, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("UNSYNCED_DIR", &life.directory)
            .env("UNSYNCED_JOURNAL", &life.journal)
            .env("UNSYNCED_GRAVES", &life.graves);
    }
}

impl Life {
    /// After the process was killed: takes back what no sync covers, but for what `survives`.
    pub fn end(self, survives: &mut Random) -> Dropped {
        let records = read(&std::fs::read(&self.journal).expect("the layer's journal"));
        assert!(!records.is_empty(), "the layer saw nothing: was it loaded?");
        let mut synced: HashMap<u64, u64> = HashMap::new();
        for record in records.iter().filter(|r| r.kind == Kind::Sync) {
            let upto = synced.entry(record.inode).or_default();
            *upto = (*upto).max(record.seq);
        }
        let covers = |inode: &u64, seq: u64| synced.get(inode).is_some_and(|upto| *upto >= seq);
        // By file for contents, by folder for names: order holds within each, not between them.
        let mut groups: BTreeMap<(bool, u64), Vec<&Record>> = BTreeMap::new();
        for record in records.iter().filter(|r| r.kind != Kind::Sync) {
            let durable = match record.kind {
                Kind::Write | Kind::Truncate => covers(&record.inode, record.seq),
                _ => record.parents.iter().any(|p| covers(p, record.seq)),
            };
            if !durable {
                let content = matches!(record.kind, Kind::Write | Kind::Truncate);
                let of = if content { record.inode } else { record.parents[0] };
                groups.entry((content, of)).or_default().push(record);
            }
        }
        let mut dropped = Dropped { unsynced: groups.values().map(Vec::len).sum(), ..Dropped::default() };
        let mut undo: Vec<(&Record, u64)> = Vec::new();
        let some_survive = survives.below(2) == 1;
        for group in groups.values() {
            let kept = if some_survive { survives.below(group.len() + 1) } else { 0 };
            for (at, record) in group.iter().enumerate().skip(kept) {
                // The first that is lost may have been half written.
                let torn = some_survive && at == kept && record.kind == Kind::Write && record.length > 0;
                let left = if torn { survives.below(usize::try_from(record.length).unwrap()) } else { 0 };
                undo.push((record, u64::try_from(left).unwrap()));
            }
        }
        undo.sort_by_key(|(r, _)| std::cmp::Reverse(r.seq));
        let places = self.places();
        for (record, left) in &undo {
            dropped.undone += 1;
            dropped.bytes += self.undo_content(record, *left, &places);
        }
        for (record, _) in &undo {
            self.undo_name(record);
        }
        std::fs::remove_file(&self.journal).unwrap();
        std::fs::remove_dir_all(&self.graves).unwrap();
        dropped
    }

    /// Where each file is now, by its number.
    fn places(&self) -> HashMap<u64, PathBuf> {
        let mut found = HashMap::new();
        let mut pending = vec![self.directory.clone(), self.graves.clone()];
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    pending.push(entry.path());
                } else if kind.is_file() {
                    found.insert(entry.metadata().unwrap().ino(), entry.path());
                }
            }
        }
        found
    }

    fn undo_content(&self, record: &Record, left: u64, places: &HashMap<u64, PathBuf>) -> u64 {
        if !matches!(record.kind, Kind::Write | Kind::Truncate) {
            return 0;
        }
        let path = places.get(&record.inode).unwrap_or_else(|| panic!("no file of {record:?}"));
        let file = writable(path);
        let before = file.metadata().unwrap().len();
        match record.kind {
            Kind::Truncate => {
                file.set_len(record.size).unwrap();
                file.write_all_at(&record.bytes, record.offset).unwrap();
            }
            _ => {
                let skip = usize::try_from(left).unwrap().min(record.bytes.len());
                file.write_all_at(&record.bytes[skip..], record.offset + u64::try_from(skip).unwrap()).unwrap();
                let length = record.size.max(if left > 0 { record.offset + left } else { 0 });
                if before > length {
                    file.set_len(length).unwrap();
                }
            }
        }
        record.length.saturating_sub(left)
    }

    fn undo_name(&self, record: &Record) {
        let grave = self.graves.join(record.grave.to_string());
        // What another loss took with it is gone already.
        let done = match record.kind {
            Kind::Create | Kind::Link => std::fs::remove_file(&record.path),
            Kind::MakeDir => std::fs::remove_dir_all(&record.path),
            Kind::RemoveDir => std::fs::create_dir(&record.path),
            Kind::Unlink => std::fs::rename(&grave, &record.path),
            Kind::Rename => {
                let back = std::fs::rename(&record.second, &record.path);
                if record.grave > 0 { back.and_then(|()| std::fs::rename(&grave, &record.second)) } else { back }
            }
            Kind::Write | Kind::Truncate | Kind::Sync => Ok(()),
        };
        if let Err(error) = done {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{record:?}");
        }
    }
}

/// A file of ours, which may be one that its owner can't write.
fn writable(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(mut bytes: &[u8]) -> Vec<Record> {
    use std::os::unix::ffi::OsStrExt;
    let mut records = Vec::new();
    while bytes.len() >= HEAD {
        let small = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let large = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let lengths = [4, 8, 12].map(|at| usize::try_from(small(at)).unwrap());
        let all = HEAD + lengths.iter().sum::<usize>();
        if bytes.len() < all {
            // The kill came into the journal's own write: the change after it was not made.
            break;
        }
        let path_end = HEAD + lengths[0];
        let second_end = path_end + lengths[1];
        let path = |from: usize, to: usize| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[from..to]));
        records.push(Record {
            kind: match small(0) {
                1 => Kind::Create,
                2 => Kind::Write,
                3 => Kind::Truncate,
                4 => Kind::Rename,
                5 => Kind::Unlink,
                6 => Kind::MakeDir,
                7 => Kind::RemoveDir,
                8 => Kind::Link,
                9 => Kind::Sync,
                other => panic!("a record of kind {other}"),
            },
            seq: large(16),
            inode: large(24),
            parents: [large(32), large(40)],
            offset: large(48),
            length: large(56),
            size: large(64),
            grave: large(72),
            path: path(HEAD, path_end),
            second: path(path_end, second_end),
            bytes: bytes[second_end..all].to_vec(),
        });
        bytes = &bytes[all..];
    }
    records
}
