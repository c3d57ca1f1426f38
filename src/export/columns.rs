//! Entries as columns: what is exported as Parquet, and what statements over the log see. One list
//! of columns for both, with types that DuckDB, pyarrow and spreadsheets take as they are.

use super::Record;
use super::reads::Read;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::Value as Json;
use std::sync::Arc;

/// A column of rows `T`.
#[derive(Debug)]
pub struct Column<T> {
    /// Name.
    pub name: &'static str,
    is_optional: bool,
    values: Values<T>,
}

/// How the values of a column are had; the type follows from it.
#[derive(Debug)]
enum Values<T> {
    Text(fn(&T) -> Option<String>),
    Number(fn(&T) -> Option<u64>),
    Time(fn(&T) -> Option<Timestamp>),
    Truth(fn(&T) -> Option<bool>),
    Texts(fn(&T) -> &[String]),
}

impl<T> Column<T> {
    const fn new(name: &'static str, is_optional: bool, values: Values<T>) -> Column<T> {
        Column { name, is_optional, values }
    }

    /// The type, as it is told.
    pub fn kind(&self) -> &'static str {
        match self.values {
            Values::Text(_) => "text",
            Values::Number(_) => "number",
            Values::Time(_) => "time",
            Values::Truth(_) => "boolean",
            Values::Texts(_) => "texts",
        }
    }

    fn field(&self) -> Field {
        let kind = match self.values {
            Values::Text(_) => DataType::Utf8,
            Values::Number(_) => DataType::UInt64,
            Values::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Values::Truth(_) => DataType::Boolean,
            Values::Texts(_) => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
        };
        Field::new(self.name, kind, self.is_optional)
    }

    fn array(&self, rows: &[T]) -> ArrayRef {
        match self.values {
            Values::Text(of) => Arc::new(rows.iter().map(of).collect::<StringArray>()),
            Values::Number(of) => Arc::new(rows.iter().map(of).collect::<UInt64Array>()),
            Values::Truth(of) => Arc::new(rows.iter().map(of).collect::<BooleanArray>()),
            Values::Time(of) => {
                let micros = |row| of(row).map(|time| time.millis().saturating_mul(1_000));
                Arc::new(rows.iter().map(micros).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            Values::Texts(of) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in rows {
                    of(row).iter().for_each(|text| lists.values().append_value(text));
                    lists.append(true);
                }
                Arc::new(lists.finish())
            }
        }
    }
}

/// The schema of these columns.
pub fn schema<T>(columns: &[Column<T>]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

/// Rows as a batch of these columns.
pub fn batch<'a, T: 'a>(columns: impl Iterator<Item = &'a Column<T>>, rows: &[T]) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.map(|c| (c.field(), c.array(rows))).unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|error| {
        tracing::debug!(%error, "entries can't be written as columns");
        Error::new(ErrorCode::Internal, "the entries can't be written as columns")
    })
}

/// Columns of `log`, and of an export as Parquet: an entry a row.
pub fn log() -> Vec<Column<Record>> {
    use Values::{Number, Text, Texts, Time, Truth};
    vec![
        Column::new("index", false, Number(|r| Some(r.index))),
        Column::new("time", false, Time(|r| Some(r.time))),
        Column::new("leaf", false, Text(|r| Some(r.leaf.to_string()))),
        Column::new("kind", false, Text(|r| Some(r.kind.clone()))),
        Column::new("agreement", true, Text(|r| r.agreement.map(|a| a.to_string()))),
        Column::new("chain_number", true, Number(|r| r.chain.as_ref().map(|c| c.number))),
        Column::new("side", true, Text(|r| r.side.clone())),
        Column::new("organisation", true, Text(|r| r.organisation.clone())),
        Column::new("user", true, Text(|r| r.user.clone())),
        Column::new("purpose", true, Text(|r| r.purpose.clone())),
        Column::new("legal_basis", true, Text(|r| r.legal_basis.clone())),
        Column::new("dataset", true, Text(|r| r.dataset.clone())),
        Column::new("permitted", true, Truth(|r| r.permitted)),
        Column::new("reasons", false, Texts(|r| &r.reasons)),
        Column::new("status", true, Text(|r| r.status.clone())),
        Column::new("rows", true, Number(|r| r.rows)),
        Column::new("bytes", true, Number(|r| r.bytes)),
        Column::new("decision", true, Text(|r| r.decision.map(|d| d.to_string()))),
        Column::new("trace", true, Text(|r| r.trace.clone())),
        Column::new("processing_activity", true, Text(|r| r.processing_activity.clone())),
        Column::new("facts", false, Text(|r| Some(r.facts.to_string()))),
    ]
}

/// Columns of `refusals`: an entry of a refusal a row.
pub fn refusals() -> Vec<Column<Record>> {
    use Values::{Number, Text, Time};
    vec![
        Column::new("index", false, Number(|r| Some(r.index))),
        Column::new("time", false, Time(|r| Some(r.time))),
        Column::new("kind", false, Text(|r| Some(r.kind.clone()))),
        Column::new("agreement", true, Text(|r| r.agreement.map(|a| a.to_string()))),
        Column::new("side", true, Text(|r| r.side.clone())),
        Column::new("organisation", true, Text(|r| r.organisation.clone())),
        Column::new("user", true, Text(|r| r.user.clone())),
        Column::new("purpose", true, Text(|r| r.purpose.clone())),
        Column::new("legal_basis", true, Text(|r| r.legal_basis.clone())),
        Column::new("dataset", true, Text(|r| r.dataset.clone())),
        Column::new("reason", true, Text(|r| r.reasons.first().cloned())),
        Column::new("clause", true, Text(clause)),
        Column::new("count", false, Number(|r| Some(number_of_refusals(r)))),
    ]
}

/// Columns of `reads`: a permitted read a row, with its end.
pub fn reads() -> Vec<Column<Read>> {
    use Values::{Number, Text, Time};
    vec![
        Column::new("index", false, Number(|r| Some(r.index))),
        Column::new("time", false, Time(|r| Some(r.time))),
        Column::new("agreement", true, Text(|r| r.agreement.map(|a| a.to_string()))),
        Column::new("side", true, Text(|r| r.side.clone())),
        Column::new("organisation", true, Text(|r| r.organisation.clone())),
        Column::new("user", true, Text(|r| r.user.clone())),
        Column::new("purpose", true, Text(|r| r.purpose.clone())),
        Column::new("legal_basis", true, Text(|r| r.legal_basis.clone())),
        Column::new("dataset", true, Text(|r| r.dataset.clone())),
        Column::new("status", true, Text(|r| r.status.clone())),
        Column::new("rows", true, Number(|r| r.rows)),
        Column::new("bytes", true, Number(|r| r.bytes)),
        Column::new("ended", true, Number(|r| r.ended.map(|(index, _)| index))),
        Column::new("ended_at", true, Time(|r| r.ended.map(|(_, time)| time))),
    ]
}

/// What refused first: a place in the signed policy, or what the reference of the log names.
fn clause(record: &Record) -> Option<String> {
    let said = |name: &str| record.facts.get(name);
    let one = said("clauses").and_then(|clauses| clauses.get(0)).or_else(|| said("clause"));
    one.and_then(Json::as_str).map(str::to_owned)
}

/// One; a summary counts many.
pub fn number_of_refusals(record: &Record) -> u64 {
    let counted = record.facts.get("count").and_then(Json::as_u64);
    counted.filter(|_| record.kind == "refusal-summary").unwrap_or(1)
}
