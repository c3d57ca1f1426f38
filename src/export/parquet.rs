//! Entries as columns of Apache Parquet.

use super::Record;
use super::columns::{self, Column};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use perron_model::limits::BATCH_ROWS;
use perron_model::{Error, ErrorCode, Result};
use std::io::Write;

/// Writes entries; what it holds in memory is one row group.
pub struct Writer<W: Write + Send> {
    columns: Vec<Column<Record>>,
    waiting: Vec<Record>,
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({} waiting)", self.waiting.len())
    }
}

impl<W: Write + Send> Writer<W> {
    /// A writer into `output`.
    pub fn new(output: W) -> Result<Writer<W>> {
        let columns = columns::log();
        let schema = columns::schema(&columns);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(output, schema, Some(properties)).map_err(failed)?;
        Ok(Writer { columns, waiting: Vec::new(), writer })
    }

    /// Takes an entry.
    pub fn take(&mut self, record: Record) -> Result<()> {
        self.waiting.push(record);
        if self.waiting.len() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    /// Writes what waits and the file's end; gives the output back.
    pub fn finish(mut self) -> Result<W> {
        self.write()?;
        self.writer.into_inner().map_err(failed)
    }

    fn write(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let batch = columns::batch(self.columns.iter(), &std::mem::take(&mut self.waiting))?;
        self.writer.write(&batch).and_then(|()| self.writer.flush()).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    tracing::debug!(%error, "entries can't be written as Parquet");
    Error::new(ErrorCode::Internal, "the entries can't be written as Parquet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{decision, record};
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
    use datafusion::arrow::record_batch::RecordBatch;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn what_was_written_is_read_again_with_its_types() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let count = BATCH_ROWS as u64 + 3;
        for index in 0..count {
            writer.take(if index == 1 { decision(index, false) } else { record(index, "start") }).unwrap();
        }
        let bytes = bytes::Bytes::from(writer.finish().unwrap());
        let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .with_batch_size(count as usize)
            .build()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, count);
        let first = &batches[0];
        let column = |name: &str| first.column_by_name(name).unwrap();
        assert_eq!(column("index").as_primitive::<UInt64Type>().value(1), 1);
        assert_eq!(column("time").as_primitive::<TimestampMicrosecondType>().value(1), 1_795_428_000_123_000);
        assert_eq!(column("reasons").as_list::<i32>().value(1).as_string::<i32>().value(0), "purpose_not_permitted");
        assert!(!column("permitted").as_boolean().value(1) && column("permitted").is_null(0));
        assert_eq!(column("facts").as_string::<i32>().value(0), "{}");
    }

    #[test]
    fn a_log_without_an_answer_is_a_file_without_rows() {
        let bytes = bytes::Bytes::from(Writer::new(Vec::new()).unwrap().finish().unwrap());
        assert_eq!(ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().count(), 0);
    }
}
