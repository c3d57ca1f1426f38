//! The barrier: a table that gives the rows and columns of a view, and through which nothing of a
//! user's statement goes down but which of the view's columns it names.
//!
//! Each scan is an opaque stream that reads the snapshot's parts, filters, masks and projects on
//! its own; the engine sees a source without statistics that takes neither filters nor limits. So
//! no expression of a user is evaluated on a row that the view hides (invariant 11).

use super::decoded::{Decoded, GroupName};
use super::passing::{Passing, Step};
use crate::source::{Part, arrow_type, dataset_schema};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, new_null_array};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMillisecondType,
};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, Operator as SqlOperator, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, col, in_list, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::scalar::ScalarValue;
use hmac::{Hmac, KeyInit, Mac};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use perron_model::dataset::Dataset;
use perron_model::limits::BATCH_ROWS;
use perron_model::policy::{Mask, Operator, Predicate, RowView, Value, ViewColumn};
use perron_model::{Error, ErrorCode, Result};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// Snapshots of fewer rows are read in one stream, in their order.
const SPLIT_ROWS_MIN: u64 = 256 * 1024;

/// A view of a snapshot as a table.
#[derive(Debug)]
pub(crate) struct ViewTable {
    /// What the statement sees.
    schema: SchemaRef,
    inner: Arc<Inner>,
    partitions: usize,
}

/// What lies behind the barrier.
struct Inner {
    rows: SchemaRef,
    parts: Vec<Part>,
    filter: Vec<Predicate>,
    columns: Vec<Given>,
    /// Row groups that reads before have decoded.
    decoded: Arc<Decoded>,
}

/// A column of the view.
struct Given {
    /// Its place in the set.
    at: usize,
    mask: Masking,
}

enum Masking {
    Plain,
    Null,
    Hash(Box<Hmac<Sha256>>),
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl ViewTable {
    /// The table of `view` over `parts`; without parts, a table to plan over. `mask_key` gives the
    /// key of a column that the view hashes.
    pub(crate) fn new(
        dataset: &Dataset,
        view: &RowView,
        parts: Vec<Part>,
        mask_key: &dyn Fn(&str) -> [u8; 32],
        decoded: &Arc<Decoded>,
    ) -> Result<ViewTable> {
        let rows = dataset_schema(dataset);
        check_parts(&rows, &parts)?;
        let mut fields = Vec::with_capacity(view.columns.len());
        let mut columns = Vec::with_capacity(view.columns.len());
        for ViewColumn { name, mask } in &view.columns {
            let (at, column) = dataset
                .columns
                .iter()
                .enumerate()
                .find(|(_, c)| c.name == *name)
                .ok_or_else(|| Error::new(ErrorCode::TermInvalid, format!("the set has no column `{name}`")))?;
            let mask = match mask {
                None => Masking::Plain,
                Some(Mask::Null) => Masking::Null,
                Some(Mask::KeyedHash) => Masking::Hash(Box::new(hasher(&mask_key(name))?)),
            };
            let given = match mask {
                Masking::Hash(_) => DataType::Utf8,
                _ => arrow_type(column.column_type),
            };
            fields.push(Field::new(name, given, true));
            columns.push(Given { at, mask });
        }
        for predicate in &view.filter {
            check_predicate(dataset, predicate)?;
        }
        let total: u64 = parts.iter().map(Part::rows).sum();
        let partitions = if total < SPLIT_ROWS_MIN { 1 } else { 2 };
        let inner = Arc::new(Inner { rows, parts, filter: view.filter.clone(), columns, decoded: Arc::clone(decoded) });
        Ok(ViewTable { schema: Arc::new(Schema::new(fields)), inner, partitions })
    }

    /// All rows and columns of `parts`, which are of the schema `rows`.
    pub(crate) fn whole(rows: SchemaRef, parts: Vec<Part>) -> Result<ViewTable> {
        check_parts(&rows, &parts)?;
        let columns = (0..rows.fields().len()).map(|at| Given { at, mask: Masking::Plain }).collect();
        // Read once and as a whole: nothing of it is kept.
        let decoded = Arc::new(Decoded::none());
        let inner = Arc::new(Inner { rows: Arc::clone(&rows), parts, filter: Vec::new(), columns, decoded });
        Ok(ViewTable { schema: rows, inner, partitions: 1 })
    }

    /// Partitions worth planning for.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Row groups in order, cut into as many runs of about as many rows as there are partitions.
    fn runs(&self) -> Vec<VecDeque<(Part, usize)>> {
        let total: u64 = self.inner.parts.iter().map(Part::rows).sum();
        let each = (total / self.partitions as u64).saturating_add(1);
        let mut runs: Vec<VecDeque<(Part, usize)>> = vec![VecDeque::new(); self.partitions];
        let mut before: u64 = 0;
        for part in &self.inner.parts {
            for (group, rows) in part.row_groups().enumerate() {
                let run = usize::try_from(before / each).unwrap_or(0).min(self.partitions.saturating_sub(1));
                before = before.saturating_add(rows);
                if let Some(run) = runs.get_mut(run) {
                    run.push_back((part.clone(), group));
                }
            }
        }
        runs
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let given: Vec<usize> = match projection {
            Some(given) => given.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&given)?);
        let reading = Arc::new(Reading::new(&self.inner, schema, given)?);
        let partitions = self
            .runs()
            .into_iter()
            .map(|run| Arc::new(Opaque { reading: Arc::clone(&reading), run }) as Arc<dyn PartitionStream>)
            .collect();
        let schema = Arc::clone(&reading.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, None, false, None)?))
    }
}

/// What one scan reads, filters and gives.
struct Reading {
    inner: Arc<Inner>,
    /// What it gives.
    schema: SchemaRef,
    /// Columns of the view that it gives, in order.
    given: Vec<usize>,
    /// Columns of the set that it reads, in the set's order.
    read: Vec<usize>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Reading {
    fn new(inner: &Arc<Inner>, schema: SchemaRef, given: Vec<usize>) -> PlanResult<Reading> {
        let mut read = BTreeSet::new();
        for predicate in &inner.filter {
            read.insert(inner.rows.index_of(&predicate.column)?);
        }
        for column in given.iter().filter_map(|g| inner.columns.get(*g)) {
            if !matches!(column.mask, Masking::Null) {
                read.insert(column.at);
            }
        }
        let read: Vec<usize> = read.into_iter().collect();
        let rows = inner.rows.project(&read)?;
        let mut filter: Option<Arc<dyn PhysicalExpr>> = None;
        for predicate in &inner.filter {
            let next = physical(predicate, &rows)?;
            filter = Some(match filter {
                None => next,
                Some(before) => Arc::new(BinaryExpr::new(before, SqlOperator::And, next)),
            });
        }
        Ok(Reading { inner: Arc::clone(inner), schema, given, read, filter })
    }

    /// The rows of a batch as read that the view gives, as the view gives them.
    fn pass(&self, batch: &RecordBatch) -> PlanResult<RecordBatch> {
        let kept = match &self.filter {
            None => batch.clone(),
            Some(filter) => {
                let satisfied = filter.evaluate(batch)?.into_array(batch.num_rows())?;
                // A row whose predicate is null isn't kept.
                filter_record_batch(batch, satisfied.as_boolean())?
            }
        };
        let mut arrays = Vec::with_capacity(self.given.len());
        for (place, field) in self.given.iter().zip(self.schema.fields()) {
            let column = self.inner.columns.get(*place).ok_or_else(broken)?;
            if matches!(column.mask, Masking::Null) {
                arrays.push(new_null_array(field.data_type(), kept.num_rows()));
                continue;
            }
            let at = self.read.binary_search(&column.at).map_err(|_| broken())?;
            let array = kept.columns().get(at).ok_or_else(broken)?;
            arrays.push(match &column.mask {
                Masking::Hash(mac) => hashed(array, mac)?,
                _ => Arc::clone(array),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

struct Opaque {
    reading: Arc<Reading>,
    run: VecDeque<(Part, usize)>,
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl PartitionStream for Opaque {
    fn schema(&self) -> &SchemaRef {
        &self.reading.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = Rows { reading: Arc::clone(&self.reading), run: self.run.clone(), open: None };
        let passing = Passing::new(rows, Arc::clone(&self.reading.schema));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.reading.schema), passing))
    }
}

/// The steps of one partition, taken when they are asked for: each takes bounded time.
struct Rows {
    reading: Arc<Reading>,
    run: VecDeque<(Part, usize)>,
    /// The row group being read, and its part.
    open: Option<(Part, Source)>,
}

/// A row group on its way.
enum Source {
    /// As a read before decoded it.
    Kept { batches: Arc<Vec<RecordBatch>>, next: usize },
    /// Decoded now.
    File { reader: ParquetRecordBatchReader, name: GroupName, read: Vec<RecordBatch> },
}

impl Rows {
    fn open(&self, part: &Part, group: usize) -> PlanResult<Source> {
        let (inner, columns) = (&self.reading.inner, &self.reading.read);
        let name = GroupName::new(part, group, columns);
        match inner.decoded.get(&name) {
            Some(batches) => Ok(Source::Kept { batches, next: 0 }),
            None => Ok(Source::File { reader: open(part, group, columns)?, name, read: Vec::new() }),
        }
    }
}

impl Source {
    /// The next batch; at the end of what was decoded now, it is kept.
    fn next(&mut self, decoded: &Decoded) -> Option<PlanResult<RecordBatch>> {
        match self {
            Source::Kept { batches, next } => {
                let batch = batches.get(*next)?.clone();
                *next = next.saturating_add(1);
                Some(Ok(batch))
            }
            Source::File { reader, name, read } => match reader.next() {
                Some(Ok(batch)) => {
                    read.push(batch.clone());
                    Some(Ok(batch))
                }
                Some(Err(_)) => Some(Err(unreadable())),
                None => {
                    decoded.put(name.clone(), std::mem::take(read));
                    None
                }
            },
        }
    }
}

impl Iterator for Rows {
    type Item = PlanResult<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((part, source)) = &mut self.open {
                if let Some(batch) = source.next(&self.reading.inner.decoded) {
                    return Some(batch.and_then(|batch| self.reading.pass(&batch)).map(Step::Rows));
                }
                let goes_on = self.run.front().is_some_and(|(next, _)| next.path == part.path);
                self.open = None;
                if !goes_on {
                    return Some(Ok(Step::PartEnd));
                }
            }
            let (part, group) = self.run.pop_front()?;
            match self.open(&part, group) {
                Ok(source) => self.open = Some((part, source)),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

fn open(part: &Part, group: usize, read: &[usize]) -> PlanResult<ParquetRecordBatchReader> {
    let file = File::open(&part.path).map_err(|_| unreadable())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, part.metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), read.iter().copied());
    builder
        .with_projection(mask)
        .with_row_groups(vec![group])
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|_| unreadable())
}

fn check_parts(rows: &SchemaRef, parts: &[Part]) -> Result<()> {
    let same = |part: &Part| {
        let theirs = part.metadata.schema().fields();
        theirs.len() == rows.fields().len()
            && theirs.iter().zip(rows.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
    };
    if parts.iter().all(same) {
        Ok(())
    } else {
        Err(Error::new(ErrorCode::Internal, "the snapshot hasn't the columns of the set's description"))
    }
}

fn check_predicate(dataset: &Dataset, predicate: &Predicate) -> Result<()> {
    let invalid = |what: &str| Error::new(ErrorCode::TermInvalid, format!("column `{}`: {what}", predicate.column));
    let column = dataset.column(&predicate.column).ok_or_else(|| invalid("not one of the set"))?;
    let expected = arrow_type(column.column_type);
    if predicate.values.iter().any(|v| literal(v).data_type() != expected) {
        return Err(invalid("a literal is of another type"));
    }
    match (predicate.operator, predicate.values.len()) {
        (_, 0) => Err(invalid("no literal")),
        (Operator::IsAnyOf | Operator::IsNoneOf, _) | (_, 1) => Ok(()),
        _ => Err(invalid("more than one literal")),
    }
}

/// A predicate of a policy: comparisons of a column with literals of its type, which can't raise.
fn physical(predicate: &Predicate, rows: &Schema) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let column = col(&predicate.column, rows)?;
    let mut literals = predicate.values.iter().map(|v| lit(literal(v)));
    let operator = match predicate.operator {
        Operator::Eq => SqlOperator::Eq,
        Operator::Neq => SqlOperator::NotEq,
        Operator::Lt => SqlOperator::Lt,
        Operator::Lteq => SqlOperator::LtEq,
        Operator::Gt => SqlOperator::Gt,
        Operator::Gteq => SqlOperator::GtEq,
        Operator::IsAnyOf => return in_list(column, literals.collect(), &false, rows),
        Operator::IsNoneOf => return in_list(column, literals.collect(), &true, rows),
    };
    let literal = literals.next().ok_or_else(broken)?;
    Ok(Arc::new(BinaryExpr::new(column, operator, literal)))
}

fn literal(value: &Value) -> ScalarValue {
    match value {
        Value::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::Integer(number) => ScalarValue::Int64(Some(*number)),
        // Minus zero is zero, as in the snapshots.
        Value::Number(number) => ScalarValue::Float64(Some(*number + 0.0)),
        Value::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Timestamp(time) => ScalarValue::TimestampMillisecond(Some(time.millis()), Some("UTC".into())),
    }
}

fn hasher(key: &[u8; 32]) -> Result<Hmac<Sha256>> {
    Hmac::new_from_slice(key).map_err(|_| Error::new(ErrorCode::Internal, "a mask's key can't be used"))
}

/// HMAC-SHA-256 of each value in base64url: of a text's bytes; of a whole number, a day or a
/// time's milliseconds as decimal digits; of a number's 64 bits, big-endian; of `true` or `false`.
fn hashed(array: &ArrayRef, mac: &Hmac<Sha256>) -> PlanResult<ArrayRef> {
    match array.data_type() {
        DataType::Utf8 => Ok(hash_texts(array.as_string::<i32>(), mac)),
        DataType::Int64 => Ok(hash_all(array.as_primitive::<Int64Type>().iter(), |v| v.to_string().into_bytes(), mac)),
        DataType::Date32 => {
            Ok(hash_all(array.as_primitive::<Date32Type>().iter(), |v| v.to_string().into_bytes(), mac))
        }
        DataType::Float64 => {
            Ok(hash_all(array.as_primitive::<Float64Type>().iter(), |v| v.to_bits().to_be_bytes().to_vec(), mac))
        }
        DataType::Boolean => Ok(hash_all(array.as_boolean().iter(), |v| v.to_string().into_bytes(), mac)),
        DataType::Timestamp(_, _) => {
            let times = array.as_primitive::<TimestampMillisecondType>();
            Ok(hash_all(times.iter(), |v| v.to_string().into_bytes(), mac))
        }
        _ => Err(broken()),
    }
}

fn hash_all<T>(values: impl Iterator<Item = Option<T>>, bytes: fn(T) -> Vec<u8>, mac: &Hmac<Sha256>) -> ArrayRef {
    Arc::new(values.map(|v| v.map(|v| hash_one(&bytes(v), mac))).collect::<StringArray>())
}

/// Rows of one meter or household often follow each other: the hash before is kept.
fn hash_texts(texts: &StringArray, mac: &Hmac<Sha256>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.len().saturating_mul(43));
    let mut last: Option<(&str, String)> = None;
    for text in texts {
        let Some(text) = text else {
            builder.append_null();
            continue;
        };
        match &last {
            Some((same, hash)) if *same == text => builder.append_value(hash),
            _ => {
                let hash = hash_one(text.as_bytes(), mac);
                builder.append_value(&hash);
                last = Some((text, hash));
            }
        }
    }
    Arc::new(builder.finish())
}

fn hash_one(bytes: &[u8], mac: &Hmac<Sha256>) -> String {
    let mut mac = mac.clone();
    mac.update(bytes);
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn unreadable() -> DataFusionError {
    DataFusionError::External(Box::new(super::errors::internal("part")))
}

fn broken() -> DataFusionError {
    DataFusionError::External(Box::new(super::errors::internal("view")))
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
