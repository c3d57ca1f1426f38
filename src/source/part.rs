//! Parts: immutable Parquet files named by their SHA-256.

use crate::files::{io_error, sync_directory, temporary_name};
use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use perron_model::limits::PARTS_OPEN_MAX;
use perron_model::{Digest, Error, ErrorCode, Result};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Rows of one row group of a part.
const ROW_GROUP_ROWS: usize = 64 * 1024;

/// Writer that all parts name, whatever the version of the library: the same rows make the same
/// bytes.
const CREATED_BY: &str = "perron";

/// A part whose bytes were verified, with what is needed to read it.
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) path: PathBuf,
    pub(crate) metadata: ArrowReaderMetadata,
}

impl Part {
    /// Opens the part `digest` in `directory` and verifies its bytes.
    pub(crate) fn open(directory: &Path, digest: &Digest) -> Result<Part> {
        let path = directory.join(part_name(digest));
        let mut file = File::open(&path).map_err(|e| io_error(&e))?;
        if digest_of(&mut file).map_err(|e| io_error(&e))? != *digest {
            return Err(Error::new(ErrorCode::Internal, "a part of a snapshot isn't the one that was published"));
        }
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
            .map_err(|_| Error::new(ErrorCode::Internal, "a part of a snapshot can't be read"))?;
        Ok(Part { path, metadata })
    }

    /// Rows in the part.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Rows of each row group.
    pub(crate) fn row_groups(&self) -> impl Iterator<Item = u64> + '_ {
        self.metadata.metadata().row_groups().iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0))
    }
}

/// Parts that were verified, so that a part is verified when it is opened for the first time only.
#[derive(Debug, Default)]
pub(crate) struct PartCache {
    opened: Mutex<BTreeMap<PathBuf, Part>>,
}

impl PartCache {
    /// The parts `digests` of `directory`, in order. May block.
    pub(crate) fn parts(&self, directory: &Path, digests: &[Digest]) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(digests.len());
        for digest in digests {
            let path = directory.join(part_name(digest));
            let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
            if let Some(part) = known {
                parts.push(part);
                continue;
            }
            let part = Part::open(directory, digest)?;
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if opened.len() >= PARTS_OPEN_MAX {
                opened.clear();
            }
            opened.insert(path, part.clone());
            parts.push(part);
        }
        Ok(parts)
    }
}

/// Writes batches into a part. What isn't finished is removed.
pub(crate) struct PartWriter {
    directory: PathBuf,
    temporary: PathBuf,
    writer: Option<ArrowWriter<Digesting>>,
    rows: u64,
}

impl PartWriter {
    /// Begins a part of `schema` in `directory`.
    pub(crate) fn create(directory: &Path, schema: SchemaRef) -> Result<PartWriter> {
        let temporary = directory.join(temporary_name());
        let file = File::create_new(&temporary).map_err(|e| io_error(&e))?;
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let output = Digesting { file, digest: Sha256::new() };
        let writer = ArrowWriter::try_new(output, schema, Some(properties)).map_err(|e| parquet_error(&e))?;
        Ok(PartWriter { directory: directory.to_owned(), temporary, writer: Some(writer), rows: 0 })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(|| Error::new(ErrorCode::Internal, "the part is finished"))?;
        writer.write(batch).map_err(|e| parquet_error(&e))?;
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        Ok(())
    }

    /// Makes the part durable under its digest; returns the digest and the number of rows.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64)> {
        let writer = self.writer.take().ok_or_else(|| Error::new(ErrorCode::Internal, "the part is finished"))?;
        let output = writer.into_inner().map_err(|e| parquet_error(&e))?;
        let digest = Digest::from_bytes(output.digest.finalize().into());
        let publish = || -> io::Result<()> {
            output.file.sync_all()?;
            std::fs::rename(&self.temporary, self.directory.join(part_name(&digest)))?;
            sync_directory(&self.directory)
        };
        publish().map_err(|e| io_error(&e))?;
        Ok((digest, self.rows))
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

struct Digesting {
    file: File,
    digest: Sha256,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn part_name(digest: &Digest) -> String {
    format!("{digest}.parquet")
}

fn digest_of(file: &mut File) -> io::Result<Digest> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        match buffer.get(..n) {
            Some(read) if n > 0 => digest.update(read),
            _ => return Ok(Digest::from_bytes(digest.finalize().into())),
        }
    }
}

fn parquet_error(e: &::parquet::errors::ParquetError) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return io_error(io);
        }
        source = cause.source();
    }
    Error::new(ErrorCode::Internal, "a part can't be written")
}
