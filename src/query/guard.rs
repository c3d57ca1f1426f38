//! Keeping a plan answerable: so that it sees its deadline and its stop signal while it works.
//!
//! A query is cut where it yields. A join can make rows out of few batches for a long time, or try
//! pairs for a long time without making any; so each join yields as it gives batches, and its
//! filter looks at the deadline, and lets others pass, as it tries pairs.

use super::lanes::pace;
use super::run::stopped;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use perron_gate::Stop;
use perron_model::{Error, ErrorCode};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// When a query must end.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) stop: Stop,
    pub(super) deadline: Instant,
    pub(super) gone: Arc<AtomicBool>,
}

impl Guard {
    /// An error once the query must end.
    pub(super) fn check(&self) -> perron_model::Result<()> {
        if let Some(reason) = self.stop.reason() {
            return Err(stopped(reason));
        }
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::DeadlineExceeded, "nobody waits for the query any more"));
        }
        if Instant::now() >= self.deadline {
            return Err(late());
        }
        Ok(())
    }

    /// The plan with its joins kept answerable.
    pub(super) fn keep(&self, plan: Arc<dyn ExecutionPlan>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let kept = plan.transform_up(|node| {
            let join: Arc<dyn ExecutionPlan> = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                HashJoinExecBuilder::from(join).with_filter(self.filter(join.filter())).build_exec()?
            } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
                let filter = self.filter(join.filter());
                Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)
            } else if node.downcast_ref::<CrossJoinExec>().is_some() {
                node
            } else {
                return Ok(Transformed::no(node));
            };
            Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(kept.data)
    }

    fn filter(&self, filter: Option<&JoinFilter>) -> Option<JoinFilter> {
        let filter = filter?;
        let expression = Arc::new(Guarded { inner: Arc::clone(filter.expression()), guard: self.clone() });
        Some(JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema())))
    }
}

/// The error of a query past its deadline.
pub(super) fn late() -> Error {
    Error::new(ErrorCode::DeadlineExceeded, "the query took longer than it may")
}

/// An expression that fails once the query must end.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn PhysicalExpr>,
    guard: Guard,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}
impl Eq for Guarded {}
impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, schema: &Schema) -> PlanResult<DataType> {
        self.inner.data_type(schema)
    }
    fn nullable(&self, schema: &Schema) -> PlanResult<bool> {
        self.inner.nullable(schema)
    }
    fn return_field(&self, schema: &Schema) -> PlanResult<FieldRef> {
        self.inner.return_field(schema)
    }
    fn evaluate(&self, batch: &RecordBatch) -> PlanResult<ColumnarValue> {
        pace();
        self.guard.check().map_err(|e| DataFusionError::External(Box::new(e)))?;
        self.inner.evaluate(batch)
    }
    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        match children.into_iter().next() {
            Some(inner) => Ok(Arc::new(Guarded { inner, guard: self.guard.clone() })),
            None => Ok(self),
        }
    }
    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
