//! Released tables: what an agreement on aggregates gives instead of rows.
//!
//! A table is computed once a snapshot: a group for each combination of the dimensions that
//! occurs (no totals), measures over the rows that name a data subject, and no group in which
//! fewer distinct data subjects than the floor stand behind any of its measures.
//!
//! The *period* of a group is its value of the first dimension of dates or times. A period that
//! was looked at in a release stays as it was then, also where all of its groups were suppressed:
//! a later snapshot releases other periods only, since two versions of one period would show by
//! their difference what the floor hides. A table without such a dimension is one period.
//!
//! ```text
//! released/<agreement>/<digest>.parquet   a release's groups, sorted by the dimensions
//! released/<agreement>/index.json         the releases with their snapshots and periods
//! ```
//!
//! Days, months and years of timestamps are those of UTC.

use super::errors;
use super::view::ViewTable;
use crate::files::{create_directory, remove_temporary, write_atomically};
use crate::source::{Part, PartCache, PartWriter, Sets, arrow_type, dataset_schema};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::context::SessionContext;
use datafusion::functions::datetime::expr_fn::date_trunc;
use datafusion::functions_aggregate::expr_fn::{avg, count_distinct, sum};
use datafusion::logical_expr::{Expr, cast, ident, lit, when};
use futures::StreamExt;
use perron_model::dataset::{ColumnType, Dataset, Snapshot, SubjectKey};
use perron_model::limits::{RELEASE_GROUPS_MAX, RELEASE_INDEX_BYTES_MAX};
use perron_model::policy::{Dimension, Granularity, Measure, MeasureFunction, ReleaseSpec};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, canonical};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const INDEX: &str = "index.json";
/// The period of a table without a dimension of dates or times.
const ALL: &str = "all";
/// The period of groups whose date is missing.
const MISSING: &str = "none";

/// One release of an agreement's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// The snapshot that it was computed from.
    pub snapshot: Digest,
    /// Digest of the Parquet file of its groups.
    pub table: Digest,
    /// Groups released.
    pub groups: u64,
    /// Groups suppressed.
    pub suppressed: u64,
    /// Periods that it covers, in order.
    pub periods: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    releases: Vec<Released>,
}

/// The released tables of one organisation, in a directory.
#[derive(Debug)]
pub struct Releases {
    directory: PathBuf,
    parts: PartCache,
    /// Held while a table is computed: one at a time.
    computing: tokio::sync::Mutex<()>,
}

impl Releases {
    /// Opens the directory of released tables, and creates it if need be.
    pub fn open(directory: &Path) -> Result<Releases> {
        create_directory(directory)?;
        if let Ok(entries) = std::fs::read_dir(directory) {
            for entry in entries.flatten() {
                remove_temporary(&entry.path());
            }
        }
        Ok(Releases {
            directory: directory.to_owned(),
            parts: PartCache::default(),
            computing: tokio::sync::Mutex::new(()),
        })
    }

    /// The releases of an agreement so far, oldest first.
    pub fn list(&self, agreement: &AgreementId) -> Result<Vec<Released>> {
        read_index(&self.directory.join(agreement.to_string())).map(|i| i.releases)
    }

    /// The released table of an agreement, if there is one. May block.
    pub(crate) fn table(&self, agreement: &AgreementId) -> Result<Option<Vec<Part>>> {
        let directory = self.directory.join(agreement.to_string());
        let digests: Vec<Digest> = read_index(&directory)?.releases.iter().map(|r| r.table).collect();
        if digests.is_empty() { Ok(None) } else { self.parts.parts(&directory, &digests).map(Some) }
    }

    /// Computes what `snapshot` adds to the agreement's released table, and keeps it.
    pub(super) async fn compute(
        &self,
        session: &SessionContext,
        sets: &Sets,
        dataset: &Dataset,
        spec: &ReleaseSpec,
        snapshot: &Snapshot,
        agreement: AgreementId,
    ) -> Result<Released> {
        let _computing = self.computing.lock().await;
        let directory = self.directory.join(agreement.to_string());
        create_directory(&directory)?;
        let mut index = read_index(&directory)?;
        if let Some(before) = index.releases.iter().find(|r| r.snapshot == snapshot.digest) {
            return Ok(before.clone());
        }
        let table = ViewTable::whole(dataset_schema(dataset), sets.parts(snapshot)?)?;
        let groups = groups(session, table, dataset, spec).await?;
        let known: BTreeSet<&str> = index.releases.iter().flat_map(|r| &r.periods).map(String::as_str).collect();
        let mut choice = Choice::new(dataset, spec, &known)?;
        let mut kept = Vec::with_capacity(groups.len());
        for batch in &groups {
            kept.push(choice.pass(batch)?);
        }
        if choice.periods.is_empty() {
            return Err(Error::new(ErrorCode::ReleaseExists, "every period of the snapshot was released before"));
        }
        let mut writer = PartWriter::create(&directory, released_schema(dataset, spec)?)?;
        for batch in &kept {
            writer.write(batch)?;
        }
        let (table, rows) = writer.finish()?;
        let released = Released {
            snapshot: snapshot.digest,
            table,
            groups: rows,
            suppressed: choice.suppressed,
            periods: choice.periods.into_iter().collect(),
        };
        index.releases.push(released.clone());
        let bytes = canonical::to_bytes(&index)?;
        if bytes.len() > RELEASE_INDEX_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, "the agreement's releases have too many periods"));
        }
        write_atomically(&directory, INDEX, &bytes)?;
        Ok(released)
    }
}

/// Schema of the released table of `spec`: the dimensions by their columns' names, then the
/// measures by theirs. A dimension cut to days, months or years is a date.
pub(super) fn released_schema(dataset: &Dataset, spec: &ReleaseSpec) -> Result<SchemaRef> {
    let mut fields = Vec::new();
    for dimension in &spec.dimensions {
        let column_type = column_type(dataset, &dimension.column)?;
        let data_type = match (dimension.granularity, column_type) {
            (Granularity::Value, other) => arrow_type(other),
            (_, ColumnType::Date | ColumnType::Timestamp) => DataType::Date32,
            _ => return Err(invalid(&dimension.column, "only a date or a time can be cut")),
        };
        fields.push(Field::new(&dimension.column, data_type, true));
    }
    for measure in &spec.measures {
        let column_type = column_type(dataset, &measure.column)?;
        let data_type = match (measure.function, column_type) {
            (MeasureFunction::Subjects, _) => DataType::Int64,
            (MeasureFunction::Sum, ColumnType::Integer) => DataType::Int64,
            (MeasureFunction::Sum | MeasureFunction::Mean, ColumnType::Integer | ColumnType::Number) => {
                DataType::Float64
            }
            _ => return Err(invalid(&measure.column, "only a number has a sum or a mean")),
        };
        fields.push(Field::new(&measure.name, data_type, true));
    }
    let names: BTreeSet<&String> = fields.iter().map(Field::name).collect();
    if names.len() != fields.len() || spec.measures.is_empty() {
        return Err(Error::new(ErrorCode::TermInvalid, "the released table needs measures, each with its own name"));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// All groups: the columns of the released table, then for each measure the number of distinct
/// data subjects behind it, and last that of the group.
async fn groups(
    session: &SessionContext,
    table: ViewTable,
    dataset: &Dataset,
    spec: &ReleaseSpec,
) -> Result<Vec<RecordBatch>> {
    let SubjectKey::Column(subject) = &dataset.subject_key else {
        return Err(Error::new(ErrorCode::TermInvalid, "the set names no data subject, so no floor can be kept"));
    };
    let planning = |e| errors::planning(&e);
    let schema = released_schema(dataset, spec)?;
    let mut by = Vec::new();
    for dimension in &spec.dimensions {
        by.push(cut(dataset, dimension)?.alias(&dimension.column));
    }
    let mut measures = Vec::new();
    let mut behind = Vec::new();
    for (i, measure) in spec.measures.iter().enumerate() {
        measures.push(value(measure, subject).alias(&measure.name));
        let there = when(ident(&measure.column).is_not_null(), ident(subject)).end().map_err(planning)?;
        behind.push(count_distinct(there).alias(format!("behind {i}")));
    }
    behind.push(count_distinct(ident(subject)).alias("behind"));
    let mut columns: Vec<Expr> = Vec::new();
    for field in schema.fields() {
        columns.push(cast(ident(field.name()), field.data_type().clone()).alias(field.name()));
    }
    columns.extend((0..spec.measures.len()).map(|i| ident(format!("behind {i}"))));
    columns.push(ident("behind"));
    let order: Vec<_> = spec.dimensions.iter().map(|d| ident(&d.column).sort(true, false)).collect();
    let frame = session
        .read_table(Arc::new(table))
        .and_then(|f| f.filter(ident(subject).is_not_null()))
        .and_then(|f| f.aggregate(by, [measures, behind].concat()))
        .and_then(|f| if order.is_empty() { Ok(f) } else { f.sort(order) })
        .and_then(|f| f.select(columns))
        .map_err(planning)?;
    let mut stream = frame.execute_stream().await.map_err(|e| errors::execution(&e))?;
    let (mut batches, mut rows) = (Vec::new(), 0usize);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| errors::execution(&e))?;
        rows = rows.saturating_add(batch.num_rows());
        if rows > RELEASE_GROUPS_MAX {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("the table has more than {RELEASE_GROUPS_MAX} groups"),
            ));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn cut(dataset: &Dataset, dimension: &Dimension) -> Result<Expr> {
    let column = ident(&dimension.column);
    let unit = match (dimension.granularity, column_type(dataset, &dimension.column)?) {
        (Granularity::Value, _) | (Granularity::Day, ColumnType::Date) => return Ok(column),
        (Granularity::Day, _) => "day",
        (Granularity::Month, _) => "month",
        (Granularity::Year, _) => "year",
    };
    Ok(cast(date_trunc(lit(unit), column), DataType::Date32))
}

fn value(measure: &Measure, subject: &str) -> Expr {
    match measure.function {
        MeasureFunction::Sum => sum(ident(&measure.column)),
        MeasureFunction::Mean => avg(ident(&measure.column)),
        MeasureFunction::Subjects => count_distinct(ident(subject)),
    }
}

/// Which groups are released.
struct Choice<'a> {
    schema: SchemaRef,
    floor: i64,
    /// Place of the dimension that gives the period.
    period: Option<usize>,
    known: &'a BTreeSet<&'a str>,
    periods: BTreeSet<String>,
    suppressed: u64,
}

impl<'a> Choice<'a> {
    fn new(dataset: &Dataset, spec: &ReleaseSpec, known: &'a BTreeSet<&'a str>) -> Result<Choice<'a>> {
        let schema = released_schema(dataset, spec)?;
        let dated =
            |d: &Dimension| matches!(column_type(dataset, &d.column), Ok(ColumnType::Date | ColumnType::Timestamp));
        let period = spec.dimensions.iter().position(dated);
        // A floor below 2 protects nobody, whatever the terms say.
        let floor = i64::from(spec.floor.max(2));
        Ok(Choice { schema, floor, period, known, periods: BTreeSet::new(), suppressed: 0 })
    }

    fn pass(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (columns, behind) = batch.columns().split_at_checked(self.schema.fields().len()).ok_or_else(broken)?;
        let behind: Vec<_> =
            behind.iter().map(|a| a.as_primitive_opt::<Int64Type>().ok_or_else(broken)).collect::<Result<_>>()?;
        let options = FormatOptions::default();
        let period = match self.period {
            Some(at) => {
                let array: &ArrayRef = columns.get(at).ok_or_else(broken)?;
                Some((array, ArrayFormatter::try_new(array.as_ref(), &options).map_err(|_| broken())?))
            }
            None => None,
        };
        let mut chosen = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let name = match &period {
                None => ALL.to_owned(),
                Some((array, _)) if array.is_null(row) => MISSING.to_owned(),
                Some((_, text)) => text.value(row).to_string(),
            };
            if self.known.contains(name.as_str()) {
                chosen.push(false);
                continue;
            }
            let enough = behind.iter().all(|subjects| subjects.value(row) >= self.floor);
            self.suppressed = self.suppressed.saturating_add(u64::from(!enough));
            self.periods.insert(name);
            chosen.push(enough);
        }
        let all = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec()).map_err(|_| broken())?;
        filter_record_batch(&all, &BooleanArray::from(chosen)).map_err(|_| broken())
    }
}

fn column_type(dataset: &Dataset, name: &str) -> Result<ColumnType> {
    dataset.column(name).map(|c| c.column_type).ok_or_else(|| invalid(name, "not one of the set"))
}

fn invalid(column: &str, what: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, format!("column `{column}`: {what}"))
}

fn broken() -> Error {
    errors::internal("release")
}

fn read_index(directory: &Path) -> Result<Index> {
    match std::fs::read(directory.join(INDEX)) {
        Ok(bytes) => canonical::from_bytes(&bytes, RELEASE_INDEX_BYTES_MAX),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Index::default()),
        Err(_) => Err(errors::internal("index")),
    }
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
