//! Reading a CSV file as its owner describes it.

use super::SourceFile;
use super::schema::dataset_schema;
use super::values::{ValueReader, shown};
use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use perron_model::dataset::{Column, ColumnType, Dataset};
use perron_model::limits::{BATCH_ROWS, COLUMNS_MAX, CSV_LINE_BYTES_MAX};
use perron_model::{Error, ErrorCode, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a CSV file is written. The first line holds the headers; an empty field is a missing value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvFormat {
    /// Between fields.
    pub separator: char,
    /// Of the text.
    pub encoding: Encoding,
    /// Decimal separator of numbers: `.` or `,`.
    pub decimal: char,
    /// Between groups of three digits, if numbers have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thousands: Option<char>,
    /// Of dates, in the notation of strftime: `%d/%m/%Y`.
    pub date: String,
    /// Of times, in the notation of strftime: `%d/%m/%Y %H:%M`. With `%z` the time zone below
    /// isn't used.
    pub timestamp: String,
    /// Time zone of clock times (IANA name).
    pub time_zone: String,
}

impl Default for CsvFormat {
    /// What Belgian suppliers export: `;`, Windows-1252, decimal comma, days first, local time.
    fn default() -> Self {
        CsvFormat {
            separator: ';',
            encoding: Encoding::Windows1252,
            decimal: ',',
            thousands: None,
            date: "%d/%m/%Y".to_owned(),
            timestamp: "%d/%m/%Y %H:%M".to_owned(),
            time_zone: "Europe/Brussels".to_owned(),
        }
    }
}

/// Encoding of a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Windows-1252.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// ISO 8859-1.
    #[serde(rename = "iso-8859-1")]
    Iso88591,
}

impl Encoding {
    fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, String> {
        match self {
            Encoding::Utf8 => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| "not UTF-8 text".to_owned()),
            Encoding::Windows1252 => Ok(encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0),
            Encoding::Iso88591 => Ok(encoding_rs::mem::decode_latin1(bytes)),
        }
    }
}

/// The rows of a CSV file as batches of the set's columns.
pub(crate) struct CsvRows<R> {
    reader: Reader<Bounded<R>>,
    readable_until: Arc<AtomicU64>,
    encoding: Encoding,
    values: ValueReader,
    schema: SchemaRef,
    columns: Vec<ColumnReader>,
    done: bool,
}

impl<R: Read> CsvRows<R> {
    /// Reads the headers and finds each column of the set among them.
    pub(crate) fn open(input: R, dataset: &Dataset, source: &SourceFile, format: &CsvFormat) -> Result<CsvRows<R>> {
        let separator = u8::try_from(format.separator)
            .ok()
            .filter(|b| b.is_ascii() && !matches!(b, b'"' | b'\r' | b'\n'))
            .ok_or_else(|| Error::new(ErrorCode::SourceInvalid, "the separator is not a single ASCII character"))?;
        let values = ValueReader::new(format)?;
        let readable_until = Arc::new(AtomicU64::new(bound(0)));
        let bounded = Bounded { inner: input, read: 0, until: Arc::clone(&readable_until) };
        let mut reader = ReaderBuilder::new().delimiter(separator).has_headers(false).from_reader(bounded);
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|e| csv_error(&e))? {
            return Err(Error::new(ErrorCode::SourceInvalid, "the file has no line of headers"));
        }
        let headers = headers(&record, format.encoding)?;
        let columns = dataset
            .columns
            .iter()
            .map(|column| ColumnReader::find(column, source.header_of(&column.name), &headers))
            .collect::<Result<Vec<_>>>()?;
        let schema = dataset_schema(dataset);
        Ok(CsvRows { reader, readable_until, encoding: format.encoding, values, schema, columns, done: false })
    }

    /// The next batch, or none at the end.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut record = ByteRecord::new();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            self.readable_until.store(bound(self.reader.position().byte()), Ordering::Relaxed);
            if !self.reader.read_byte_record(&mut record).map_err(|e| csv_error(&e))? {
                break;
            }
            let line = record.position().map_or(0, ::csv::Position::line);
            for column in &mut self.columns {
                column.push(record.get(column.field).unwrap_or_default(), self.encoding, &self.values).map_err(
                    |e| Error::new(ErrorCode::SourceInvalid, format!("line {line}, column `{}`: {e}", column.header)),
                )?;
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| c.builder.finish()).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|_| Error::new(ErrorCode::Internal, "the rows read don't make a batch"))?;
        Ok(Some(batch))
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_batch().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads one column.
struct ColumnReader {
    header: String,
    field: usize,
    builder: Builder,
    previous: Option<i64>,
}

impl ColumnReader {
    fn find(column: &Column, header: &str, headers: &[String]) -> Result<ColumnReader> {
        let mut found = headers.iter().enumerate().filter(|(_, h)| h.as_str() == header);
        let field = match (found.next(), found.next()) {
            (Some((field, _)), None) => field,
            (None, _) => {
                let there = headers.iter().map(|h| format!("`{}`", shown(h))).collect::<Vec<_>>().join(", ");
                return Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!("line 1 has no header `{}` for column `{}`; it has {there}", shown(header), column.name),
                ));
            }
            _ => {
                return Err(Error::new(
                    ErrorCode::SourceInvalid,
                    format!("line 1 has the header `{}` more than once", shown(header)),
                ));
            }
        };
        let builder = Builder::new(column.column_type);
        Ok(ColumnReader { header: header.to_owned(), field, builder, previous: None })
    }

    fn push(&mut self, bytes: &[u8], encoding: Encoding, values: &ValueReader) -> Result<(), String> {
        let text = encoding.decode(bytes)?;
        if let Builder::Text(builder) = &mut self.builder {
            builder.append_option((!text.is_empty()).then_some(text));
            return Ok(());
        }
        let text = text.trim();
        let given = (!text.is_empty()).then_some(text);
        match &mut self.builder {
            Builder::Text(_) => {}
            Builder::Integer(b) => b.append_option(given.map(|t| values.integer(t)).transpose()?),
            Builder::Number(b) => b.append_option(given.map(|t| values.number(t)).transpose()?),
            Builder::Boolean(b) => b.append_option(given.map(ValueReader::boolean).transpose()?),
            Builder::Date(b) => b.append_option(given.map(|t| values.date(t)).transpose()?),
            Builder::Timestamp(b) => {
                let value = given.map(|t| values.timestamp(t, self.previous)).transpose()?;
                self.previous = value.or(self.previous);
                b.append_option(value);
            }
        }
        Ok(())
    }
}

enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMillisecondBuilder),
}

impl Builder {
    fn new(column_type: ColumnType) -> Builder {
        match column_type {
            ColumnType::Text => Builder::Text(StringBuilder::new()),
            ColumnType::Integer => Builder::Integer(Int64Builder::new()),
            ColumnType::Number => Builder::Number(Float64Builder::new()),
            ColumnType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            ColumnType::Date => Builder::Date(Date32Builder::new()),
            ColumnType::Timestamp => Builder::Timestamp(TimestampMillisecondBuilder::new().with_timezone("UTC")),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Integer(b) => Arc::new(b.finish()),
            Builder::Number(b) => Arc::new(b.finish()),
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

/// Refuses to read on past the bound of the record that is being read: a quote that nobody closes
/// would otherwise take the whole file into memory.
struct Bounded<R> {
    inner: R,
    read: u64,
    until: Arc<AtomicU64>,
}

/// Bytes that the reader takes ahead of what it parses.
const AHEAD_BYTES: u64 = 64 * 1024;

fn bound(position: u64) -> u64 {
    position.saturating_add(CSV_LINE_BYTES_MAX as u64).saturating_add(AHEAD_BYTES)
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read > self.until.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let n = self.inner.read(buffer)?;
        self.read = self.read.saturating_add(n as u64);
        Ok(n)
    }
}

fn headers(record: &ByteRecord, encoding: Encoding) -> Result<Vec<String>> {
    if record.len() > COLUMNS_MAX * 4 {
        return Err(Error::new(ErrorCode::SourceInvalid, "line 1 has too many headers"));
    }
    let mut headers = Vec::with_capacity(record.len());
    for (i, bytes) in record.iter().enumerate() {
        let bytes = if i == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let header = encoding
            .decode(bytes)
            .map_err(|e| Error::new(ErrorCode::SourceInvalid, format!("line 1, field {}: {e}", i + 1)))?;
        headers.push(header.trim().to_owned());
    }
    Ok(headers)
}

fn csv_error(e: &::csv::Error) -> Error {
    let line = e.position().map_or(0, ::csv::Position::line);
    let detail = match e.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line} has {len} fields where line 1 has {expected_len}")
        }
        ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            format!("a line is longer than {CSV_LINE_BYTES_MAX} bytes, or a quote is never closed")
        }
        ErrorKind::Io(e) => return crate::files::io_error(e),
        _ => format!("line {line} can't be read"),
    };
    Error::new(ErrorCode::SourceInvalid, detail)
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
