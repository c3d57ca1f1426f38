//! One's own log as tables: entries as rows, read as they are asked for.
//!
//! Whoever has a grant of the log may see all of its entries, so nothing is hidden from a statement
//! here, and what it asks of numbers and times may narrow what is read. It never filters: the engine
//! does, above.

use super::passing::{Passing, Step};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::scalar::ScalarValue;
use perron_model::Result;
use std::fmt;
use std::sync::Arc;

/// Column of an entry's number, by which a scan may be narrowed.
const INDEX: &str = "index";
/// Column of an entry's time, by which a scan may be narrowed.
const TIME: &str = "time";

/// The log as tables, as the one who reads it makes rows of its entries.
pub trait LogTables: Send + Sync {
    /// The tables: name and columns.
    fn tables(&self) -> Vec<(&'static str, SchemaRef)>;
    /// Rows of a table, a bounded piece of the log at a time; each batch has the scan's columns.
    fn rows(&self, scan: LogScan) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
}

/// What of a table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogScan {
    /// The table.
    pub table: &'static str,
    /// Its columns, by place, in the order in which they are given.
    pub columns: Vec<usize>,
    /// First entry that is asked for.
    pub from: u64,
    /// The entry before which it ends.
    pub to: u64,
    /// Rows before this time aren't asked for, in microseconds since 1970; they may be given.
    pub since: Option<i64>,
    /// Nor are rows after this one.
    pub until: Option<i64>,
    /// Entries that may be seen: those before this number.
    pub entries: u64,
}

/// A table of the log as a grant shows it.
pub(super) struct LogTable {
    name: &'static str,
    schema: SchemaRef,
    tables: Arc<dyn LogTables>,
    entries: u64,
}

impl fmt::Debug for LogTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogTable({})", self.name)
    }
}

impl LogTable {
    /// All tables, over the first `entries` entries.
    pub(super) fn all(tables: &Arc<dyn LogTables>, entries: u64) -> Vec<(&'static str, LogTable)> {
        let table = |(name, schema)| (name, LogTable { name, schema, tables: Arc::clone(tables), entries });
        tables.tables().into_iter().map(table).collect()
    }

    fn scan_of(&self, columns: Vec<usize>, filters: &[Expr]) -> LogScan {
        let (since, until, entries) = (None, None, self.entries);
        let whole = LogScan { table: self.name, columns, from: 0, to: entries, since, until, entries };
        filters.iter().filter_map(Bound::of).fold(whole, |scan, bound| bound.narrow(scan))
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        // The engine evaluates them all the same.
        let support = |filter: &&Expr| match Bound::of(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let scan = self.scan_of(columns, filters);
        let partition = Partition { schema: Arc::clone(&schema), tables: Arc::clone(&self.tables), scan };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, None, false, None)?))
    }
}

struct Partition {
    schema: SchemaRef,
    tables: Arc<dyn LogTables>,
    scan: LogScan,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.scan)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let steps = self.tables.rows(self.scan.clone()).map(|rows| match rows {
            Ok(rows) => Ok(Step::Rows(rows)),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        });
        // The rest of what was joined is given at the end.
        let steps = steps.chain(std::iter::once_with(|| Ok(Step::PartEnd)));
        let passing = Passing::new(steps, Arc::clone(&self.schema));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), passing))
    }
}

/// A comparison of a number or a time with a literal.
enum Bound {
    Index(Operator, u64),
    Time(Operator, i64),
}

impl Bound {
    fn of(filter: &Expr) -> Option<Bound> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (column, op, literal) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(literal, _)) => (column, *op, literal),
            (Expr::Literal(literal, _), Expr::Column(column)) => (column, op.swap()?, literal),
            _ => return None,
        };
        let compares = matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
        match column.name.as_str() {
            INDEX if compares => number(literal).map(|number| Bound::Index(op, number)),
            TIME if compares => micros(literal).map(|micros| Bound::Time(op, micros)),
            _ => None,
        }
    }

    fn narrow(self, mut scan: LogScan) -> LogScan {
        match self {
            Bound::Index(op, number) => {
                if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) {
                    let first = if op == Operator::Gt { number.saturating_add(1) } else { number };
                    scan.from = scan.from.max(first);
                }
                if matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq) {
                    let end = if op == Operator::Lt { number } else { number.saturating_add(1) };
                    scan.to = scan.to.min(end);
                }
            }
            Bound::Time(op, micros) => {
                if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) {
                    scan.since = Some(scan.since.map_or(micros, |since| since.max(micros)));
                }
                if matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq) {
                    scan.until = Some(scan.until.map_or(micros, |until| until.min(micros)));
                }
            }
        }
        scan
    }
}

fn number(literal: &ScalarValue) -> Option<u64> {
    match literal {
        ScalarValue::UInt64(number) => *number,
        ScalarValue::Int64(Some(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn micros(literal: &ScalarValue) -> Option<i64> {
    match literal {
        ScalarValue::TimestampMicrosecond(micros, _) => *micros,
        ScalarValue::TimestampMillisecond(Some(millis), _) => millis.checked_mul(1_000),
        ScalarValue::TimestampSecond(Some(seconds), _) => seconds.checked_mul(1_000_000),
        _ => None,
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
