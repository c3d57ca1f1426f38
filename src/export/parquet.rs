//! Entries as columns of Apache Parquet: types that DuckDB, pyarrow and spreadsheets take as they
//! are.

use super::Record;
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use perron_model::limits::BATCH_ROWS;
use perron_model::{Error, ErrorCode, Result};
use std::io::Write;
use std::sync::Arc;

/// Writes entries; what it holds in memory is one row group.
pub struct Writer<W: Write + Send> {
    schema: SchemaRef,
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
        let schema = schema();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(output, Arc::clone(&schema), Some(properties)).map_err(failed)?;
        Ok(Writer { schema, waiting: Vec::new(), writer })
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
        let batch = batch(&self.schema, &std::mem::take(&mut self.waiting))?;
        self.writer.write(&batch).and_then(|()| self.writer.flush()).map_err(failed)
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, kind: DataType, optional: bool| Field::new(name, kind, optional);
    let text = |name: &str| field(name, DataType::Utf8, true);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    Arc::new(Schema::new(vec![
        field("index", DataType::UInt64, false),
        field("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        field("leaf", DataType::Utf8, false),
        field("kind", DataType::Utf8, false),
        text("agreement"),
        field("chain_number", DataType::UInt64, true),
        text("side"),
        text("organisation"),
        text("user"),
        text("purpose"),
        text("legal_basis"),
        text("dataset"),
        field("permitted", DataType::Boolean, true),
        field("reasons", DataType::List(item), false),
        text("status"),
        field("rows", DataType::UInt64, true),
        field("bytes", DataType::UInt64, true),
        text("decision"),
        text("trace"),
        text("processing_activity"),
        field("facts", DataType::Utf8, false),
    ]))
}

fn batch(schema: &SchemaRef, records: &[Record]) -> Result<RecordBatch> {
    let text =
        |of: &dyn Fn(&Record) -> Option<String>| Arc::new(records.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let number =
        |of: &dyn Fn(&Record) -> Option<u64>| Arc::new(records.iter().map(of).collect::<UInt64Array>()) as ArrayRef;
    let times: TimestampMicrosecondArray =
        records.iter().map(|r| Some(r.time.millis().saturating_mul(1_000))).collect();
    let mut permitted = BooleanBuilder::new();
    let mut reasons = ListBuilder::new(StringBuilder::new());
    for record in records {
        permitted.append_option(record.permitted);
        for reason in &record.reasons {
            reasons.values().append_value(reason);
        }
        reasons.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        number(&|r| Some(r.index)),
        Arc::new(times.with_timezone("UTC")),
        text(&|r| Some(r.leaf.to_string())),
        text(&|r| Some(r.kind.clone())),
        text(&|r| r.agreement.map(|a| a.to_string())),
        number(&|r| r.chain.as_ref().map(|c| c.number)),
        text(&|r| r.side.clone()),
        text(&|r| r.organisation.clone()),
        text(&|r| r.user.clone()),
        text(&|r| r.purpose.clone()),
        text(&|r| r.legal_basis.clone()),
        text(&|r| r.dataset.clone()),
        Arc::new(permitted.finish()),
        Arc::new(reasons.finish()),
        text(&|r| r.status.clone()),
        number(&|r| r.rows),
        number(&|r| r.bytes),
        text(&|r| r.decision.map(|d| d.to_string())),
        text(&|r| r.trace.clone()),
        text(&|r| r.processing_activity.clone()),
        text(&|r| Some(r.facts.to_string())),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(failed)
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
