//! The published sets of one organisation, in a directory.
//!
//! ```text
//! sets/<id>/dataset.json               the description
//! sets/<id>/<digest>.parquet           parts, never changed
//! sets/<id>/snapshots/<digest>.json    lists of parts, never changed
//! sets/<id>/current                    digest of the newest snapshot; absent: not published
//! ```
//!
//! A step becomes visible by the rename of `current` alone, after all that it names is durable. A
//! crash before it leaves files that nothing names.

use super::csv::CsvRows;
use super::parquet::ParquetRows;
use super::part::{Part, PartCache, PartWriter};
use super::schema::dataset_schema;
use super::{SourceFile, SourceFormat};
use crate::files::{create_directory, io_error, remove_temporary, sync_directory, write_atomically};
use datafusion::arrow::record_batch::RecordBatch;
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::limits::{DOCUMENT_BYTES_MAX, PARTS_MAX};
use perron_model::{DatasetId, Digest, Error, ErrorCode, Result, Timestamp, canonical};
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

const CURRENT: &str = "current";
const DATASET: &str = "dataset.json";
const SNAPSHOTS: &str = "snapshots";

type Current = BTreeMap<DatasetId, (Arc<Dataset>, Snapshot)>;

/// The published sets of one organisation.
#[derive(Debug)]
pub struct Sets {
    directory: PathBuf,
    /// Held while `current` of a set moves, not while a source is read.
    moving: Mutex<()>,
    current: RwLock<Current>,
    opened: PartCache,
}

impl Sets {
    /// Opens the directory of sets, and creates it if need be. A set that can't be read isn't
    /// served, and is reported; the others are.
    pub fn open(directory: &Path) -> Result<Sets> {
        create_directory(directory)?;
        let mut current = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(|e| io_error(&e))? {
            let entry = entry.map_err(|e| io_error(&e))?;
            let Some(id) = entry.file_name().to_str().and_then(|n| DatasetId::parse(n).ok()) else { continue };
            remove_temporary(&entry.path());
            remove_temporary(&entry.path().join(SNAPSHOTS));
            match read_current(&entry.path(), &id) {
                Ok(Some(found)) => {
                    current.insert(id, found);
                }
                Ok(None) => {}
                Err(e) => tracing::error!(dataset = %id, error = %e, "a set can't be read and isn't served"),
            }
        }
        Ok(Sets {
            directory: directory.to_owned(),
            moving: Mutex::new(()),
            current: RwLock::new(current),
            opened: PartCache::default(),
        })
    }

    /// Publishes a set with its first rows. `dataset` is one that passed [`Dataset::check`].
    /// Reads the whole source; call it where blocking is allowed.
    pub fn add(&self, dataset: Dataset, source: &SourceFile, now: Timestamp) -> Result<Snapshot> {
        let dataset = dataset.check()?;
        let taken = || Error::new(ErrorCode::AlreadyExists, format!("a set `{}` is published", dataset.id));
        if self.current(&dataset.id).is_some() {
            return Err(taken());
        }
        let directory = self.directory.join(dataset.id.as_str());
        create_directory(&directory)?;
        create_directory(&directory.join(SNAPSHOTS))?;
        let (part, rows) = import(&directory, &dataset, source)?;
        let snapshot = Snapshot::of(dataset.id.clone(), vec![part], rows, now);
        let _moving = self.moving();
        if self.current(&dataset.id).is_some() {
            return Err(taken());
        }
        let bytes = canonical::to_bytes(&dataset)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, "the description is too large"));
        }
        write_atomically(&directory, DATASET, &bytes)?;
        self.point(Arc::new(dataset), snapshot)
    }

    /// Adds the rows of `source` behind those of the newest snapshot. A source whose rows are
    /// already one of its parts is refused: it would count them twice.
    pub fn append(&self, id: &DatasetId, source: &SourceFile, now: Timestamp) -> Result<Snapshot> {
        let (dataset, _) = self.require(id)?;
        let (part, rows) = import(&self.directory.join(id.as_str()), &dataset, source)?;
        let _moving = self.moving();
        let (dataset, newest) = self.require(id)?;
        if newest.parts.contains(&part) {
            return Err(Error::new(ErrorCode::AlreadyExists, format!("the rows are in the set `{id}` already")));
        }
        if newest.parts.len() >= PARTS_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("the set `{id}` has {PARTS_MAX} parts; replace it")));
        }
        let mut parts = newest.parts;
        parts.push(part);
        self.point(dataset, Snapshot::of(id.clone(), parts, newest.rows.saturating_add(rows), now))
    }

    /// Puts the rows of `source` in place of those of the newest snapshot, which stays readable
    /// by its digest.
    pub fn replace(&self, id: &DatasetId, source: &SourceFile, now: Timestamp) -> Result<Snapshot> {
        let (dataset, _) = self.require(id)?;
        let (part, rows) = import(&self.directory.join(id.as_str()), &dataset, source)?;
        let _moving = self.moving();
        let (dataset, _) = self.require(id)?;
        self.point(dataset, Snapshot::of(id.clone(), vec![part], rows, now))
    }

    /// Ends the publication of a set. Its snapshots stay on the disk.
    pub fn withdraw(&self, id: &DatasetId) -> Result<()> {
        let _moving = self.moving();
        self.require(id)?;
        let directory = self.directory.join(id.as_str());
        std::fs::remove_file(directory.join(CURRENT)).map_err(|e| io_error(&e))?;
        sync_directory(&directory).map_err(|e| io_error(&e))?;
        self.current.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// The set and its newest snapshot, if it is published.
    pub fn current(&self, id: &DatasetId) -> Option<(Arc<Dataset>, Snapshot)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All published sets with their newest snapshots, by name.
    pub fn list(&self) -> Vec<(Arc<Dataset>, Snapshot)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A snapshot by its digest, the newest or an older one.
    pub fn snapshot(&self, id: &DatasetId, digest: &Digest) -> Result<Snapshot> {
        read_snapshot(&self.directory.join(id.as_str()), id, digest)
    }

    /// The parts of a snapshot, each verified by its digest when it is opened for the first time.
    /// May block.
    pub fn parts(&self, snapshot: &Snapshot) -> Result<Vec<Part>> {
        self.opened.parts(&self.directory.join(snapshot.dataset.as_str()), &snapshot.parts)
    }

    fn require(&self, id: &DatasetId) -> Result<(Arc<Dataset>, Snapshot)> {
        self.current(id).ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no set `{id}` is published")))
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `snapshot` durable, then the newest. A snapshot that exists keeps its manifest.
    fn point(&self, dataset: Arc<Dataset>, snapshot: Snapshot) -> Result<Snapshot> {
        let directory = self.directory.join(snapshot.dataset.as_str());
        let snapshot = match read_snapshot(&directory, &snapshot.dataset, &snapshot.digest) {
            Ok(known) => known,
            Err(_) => {
                let name = format!("{}.json", snapshot.digest);
                write_atomically(&directory.join(SNAPSHOTS), &name, &canonical::to_bytes(&snapshot)?)?;
                snapshot
            }
        };
        write_atomically(&directory, CURRENT, snapshot.digest.to_string().as_bytes())?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.insert(snapshot.dataset.clone(), (dataset, snapshot.clone()));
        Ok(snapshot)
    }
}

/// Reads a source into a part; nothing names the part yet.
fn import(directory: &Path, dataset: &Dataset, source: &SourceFile) -> Result<(Digest, u64)> {
    let file = File::open(&source.path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(ErrorCode::SourceInvalid, "the source file does not exist"),
        std::io::ErrorKind::PermissionDenied => {
            Error::new(ErrorCode::SourceInvalid, "the source file may not be read by this process")
        }
        _ => io_error(&e),
    })?;
    if let Some(stray) = source.columns.iter().find(|c| dataset.column(&c.name).is_none()) {
        return Err(Error::new(ErrorCode::SourceInvalid, format!("the set has no column `{}`", stray.name)));
    }
    let read = || match &source.format {
        SourceFormat::Csv(format) => write_part(directory, dataset, CsvRows::open(file, dataset, source, format)?),
        SourceFormat::Parquet => write_part(directory, dataset, ParquetRows::open(file, dataset, source)?),
    };
    // A damaged file must not take the process with it, whatever a reader makes of it.
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Error::new(ErrorCode::SourceInvalid, "the source file can't be read")))
}

fn write_part(
    directory: &Path,
    dataset: &Dataset,
    rows: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<(Digest, u64)> {
    let mut writer = PartWriter::create(directory, dataset_schema(dataset))?;
    for batch in rows {
        writer.write(&batch?)?;
    }
    writer.finish()
}

fn read_current(directory: &Path, id: &DatasetId) -> Result<Option<(Arc<Dataset>, Snapshot)>> {
    let pointer = match std::fs::read_to_string(directory.join(CURRENT)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(&e)),
    };
    let snapshot = read_snapshot(directory, id, &Digest::parse(&pointer)?)?;
    let bytes = std::fs::read(directory.join(DATASET)).map_err(|e| io_error(&e))?;
    let dataset: Dataset = canonical::from_bytes(&bytes, DOCUMENT_BYTES_MAX)?;
    if dataset.id != *id {
        return Err(Error::new(ErrorCode::Internal, format!("the set `{id}` holds the description of another")));
    }
    Ok(Some((Arc::new(dataset.check()?), snapshot)))
}

fn read_snapshot(directory: &Path, id: &DatasetId, digest: &Digest) -> Result<Snapshot> {
    let path = directory.join(SNAPSHOTS).join(format!("{digest}.json"));
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorCode::NotFound, format!("the set `{id}` has no snapshot {}", digest.short()))
        }
        _ => io_error(&e),
    })?;
    let read: Snapshot = canonical::from_bytes(&bytes, DOCUMENT_BYTES_MAX)?;
    let named = Snapshot::of(id.clone(), read.parts.clone(), read.rows, read.created);
    if named != read || read.digest != *digest {
        return Err(Error::new(ErrorCode::Internal, format!("a snapshot of the set `{id}` isn't what its name says")));
    }
    Ok(read)
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;
