//! Reading a Parquet file of the owner.

use super::SourceFile;
use super::schema::dataset_schema;
use super::values::shown;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Float64Type, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use perron_model::dataset::{ColumnType, Dataset};
use perron_model::limits::BATCH_ROWS;
use perron_model::{Error, ErrorCode, Result};
use std::fs::File;
use std::sync::Arc;

/// The rows of a Parquet file as batches of the set's columns.
pub(crate) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    headers: Vec<String>,
    row: u64,
}

impl ParquetRows {
    /// Finds each column of the set in the file and checks that its type can be converted.
    pub(crate) fn open(file: File, dataset: &Dataset, source: &SourceFile) -> Result<ParquetRows> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|_| Error::new(ErrorCode::SourceInvalid, "the file is not Parquet"))?;
        let mut roots = Vec::new();
        let mut headers = Vec::new();
        for column in &dataset.columns {
            let header = source.header_of(&column.name);
            let (root, field) = builder.schema().column_with_name(header).ok_or_else(|| {
                let there = builder.schema().fields().iter().map(|f| format!("`{}`", shown(f.name())));
                Error::new(
                    ErrorCode::SourceInvalid,
                    format!(
                        "the file has no column `{}` for column `{}`; it has {}",
                        shown(header),
                        column.name,
                        there.collect::<Vec<_>>().join(", ")
                    ),
                )
            })?;
            if !convertible(field.data_type(), column.column_type) {
                return Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!(
                        "column `{}` is of type {} in the file, which doesn't convert to {}",
                        shown(header),
                        field.data_type().to_string().to_lowercase(),
                        format!("{:?}", column.column_type).to_lowercase()
                    ),
                ));
            }
            roots.push(root);
            headers.push(header.to_owned());
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|_| Error::new(ErrorCode::SourceInvalid, "the file is not Parquet"))?;
        Ok(ParquetRows { reader, schema: dataset_schema(dataset), headers, row: 0 })
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.headers.len());
        for (header, field) in self.headers.iter().zip(self.schema.fields()) {
            let wrong = |what: &str| {
                let rows = format!("rows {} to {}", self.row + 1, self.row + batch.num_rows() as u64);
                Error::new(ErrorCode::SourceInvalid, format!("{rows}, column `{}`: {what}", shown(header)))
            };
            let array = batch.column_by_name(header).ok_or_else(|| wrong("missing"))?;
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let cast = cast_with_options(array, field.data_type(), &options)
                .map_err(|_| wrong("a value doesn't convert to the declared type"))?;
            arrays.push(if *field.data_type() == DataType::Float64 {
                finite(&cast).ok_or_else(|| wrong("an infinite number"))?
            } else {
                cast
            });
        }
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|_| Error::new(ErrorCode::Internal, "the rows read don't make a batch"))
    }
}

impl Iterator for ParquetRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(_) => return Some(Err(Error::new(ErrorCode::SourceInvalid, "the file's rows can't be read"))),
        };
        let converted = self.convert(&batch);
        self.row = self.row.saturating_add(batch.num_rows() as u64);
        Some(converted)
    }
}

/// Does a file's type convert without loss of meaning? A timestamp without a zone is taken as UTC.
fn convertible(from: &DataType, to: ColumnType) -> bool {
    use DataType::{
        Boolean, Date32, Date64, Dictionary, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, UInt8,
        UInt16, UInt32, Utf8, Utf8View,
    };
    let from = match from {
        Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let whole = matches!(from, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32);
    match to {
        ColumnType::Text => matches!(from, Utf8 | LargeUtf8 | Utf8View),
        ColumnType::Integer => whole,
        ColumnType::Number => whole || matches!(from, Float32 | Float64),
        ColumnType::Boolean => matches!(from, Boolean),
        ColumnType::Date => matches!(from, Date32 | Date64),
        ColumnType::Timestamp => matches!(from, Timestamp(_, _)),
    }
}

/// Not-a-number is a missing value, minus zero is zero; an infinite number is refused.
fn finite(array: &ArrayRef) -> Option<ArrayRef> {
    let numbers = array.as_primitive_opt::<Float64Type>()?;
    if numbers.iter().flatten().any(f64::is_infinite) {
        return None;
    }
    let clean: Float64Array = numbers.iter().map(|v| v.filter(|v| !v.is_nan()).map(|v| v + 0.0)).collect();
    Some(Arc::new(clean) as ArrayRef)
}
