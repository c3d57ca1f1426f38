//! What passes the barrier: batches that are made of permitted rows alone.
//!
//! Where batches begin and end shows in answers: an expression of constants that raises does so
//! once a batch, even an empty one, and a `LIMIT` may be reached before a later batch raises. So
//! the rows of a part that a view gives are joined into full batches as if no other row lay between
//! them, and a batch of which every row is hidden is none. Each step reads one batch and then
//! yields, so that a view that hides nearly everything stays answerable.

use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result as PlanResult;
use futures::Stream;
use perron_model::limits::BATCH_ROWS;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A step of reading a partition.
pub(super) enum Step {
    /// Rows that the view gives, of one batch as read; there may be none.
    Rows(RecordBatch),
    /// The end of a part.
    PartEnd,
}

/// The batches that a partition gives.
pub(super) struct Passing<S> {
    steps: S,
    joined: BatchCoalescer,
    ended: bool,
}

impl<S: Iterator<Item = PlanResult<Step>>> Passing<S> {
    /// Joins the steps' rows, which are of this schema.
    pub(super) fn new(steps: S, schema: SchemaRef) -> Passing<S> {
        Passing { steps, joined: BatchCoalescer::new(schema, BATCH_ROWS), ended: false }
    }

    /// One step; the batch that it completes, if it does.
    fn step(&mut self) -> Option<PlanResult<RecordBatch>> {
        let done = match self.steps.next() {
            None => {
                self.ended = true;
                return None;
            }
            Some(Err(error)) => {
                self.ended = true;
                return Some(Err(error));
            }
            // A full batch goes on as it is.
            Some(Ok(Step::Rows(batch))) if self.joined.is_empty() && batch.num_rows() == BATCH_ROWS => {
                return Some(Ok(batch));
            }
            Some(Ok(Step::Rows(batch))) => self.joined.push_batch(batch),
            Some(Ok(Step::PartEnd)) => self.joined.finish_buffered_batch(),
        };
        match done {
            Ok(()) => self.joined.next_completed_batch().map(Ok),
            Err(error) => {
                self.ended = true;
                Some(Err(error.into()))
            }
        }
    }
}

impl<S: Iterator<Item = PlanResult<Step>> + Unpin> Stream for Passing<S> {
    type Item = PlanResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = self.joined.next_completed_batch() {
            return Poll::Ready(Some(Ok(batch)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match self.step() {
            Some(given) => Poll::Ready(Some(given)),
            None if self.ended => Poll::Ready(None),
            None => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
