//! Answers as files.

use datafusion::arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use perron_model::{Error, ErrorCode, Result};
use std::fs::File;

/// Writes the batches of an answer, at least one, as Parquet.
pub fn write_parquet(out: File, batches: &[RecordBatch]) -> Result<()> {
    let empty = || Error::new(ErrorCode::QueryFailed, "the answer has no row to write");
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(empty)?;
    let written = ArrowWriter::try_new(out, schema, None).and_then(|mut writer| {
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.close()
    });
    written.map(|_| ()).map_err(|_| Error::new(ErrorCode::Internal, "the answer can't be written"))
}
