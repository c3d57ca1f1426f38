//! Running a plan on threads of its own, and the stream of what comes out.

use super::errors;
use super::guard::{Guard, late};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{FutureExt, Stream, StreamExt};
use perron_gate::Stop;
use perron_model::limits::QUERY_STOP_CHECK_MS;
use perron_model::{Error, ErrorCode, Result};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Batches that wait for the reader at the most.
pub(super) const BATCHES_AHEAD: usize = 2;

/// What a running query tells its stream.
pub(super) enum Message {
    /// Rows.
    Batch(RecordBatch),
    /// All rows were given.
    End,
    /// The query ended with an error.
    Failed(Error),
}

/// The rows of one execution, batch by batch.
///
/// Each batch is given only while the grant isn't stopped and the answer stays within its most
/// rows; the batch that would pass the bound isn't given. Dropping the stream cancels the query.
/// An end without all rows is always an error.
#[derive(Debug)]
pub struct RowStream {
    schema: SchemaRef,
    messages: mpsc::Receiver<Message>,
    stop: Stop,
    rows_max: Option<u64>,
    rows: u64,
    task: Cut,
    ended: bool,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

impl RowStream {
    pub(super) fn new(
        schema: SchemaRef,
        messages: mpsc::Receiver<Message>,
        stop: Stop,
        rows_max: Option<u64>,
        task: Cut,
    ) -> RowStream {
        RowStream { schema, messages, stop, rows_max, rows: 0, task, ended: false }
    }

    /// Schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Rows given so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<RecordBatch>>> {
        self.ended = true;
        self.task.now();
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(reason) = self.stop.reason() {
            return self.fail(stopped(reason));
        }
        let message = match self.messages.poll_recv(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        // The signal may have come while the batch was waited for.
        if let Some(reason) = self.stop.reason() {
            return self.fail(stopped(reason));
        }
        match message {
            Some(Message::Batch(batch)) => {
                let rows = self.rows.saturating_add(batch.num_rows() as u64);
                if let Some(max) = self.rows_max.filter(|max| rows > *max) {
                    return self.fail(Error::new(
                        ErrorCode::RowsExceeded,
                        format!("the answer holds more than the {max} rows that the agreement allows"),
                    ));
                }
                self.rows = rows;
                Poll::Ready(Some(Ok(batch)))
            }
            Some(Message::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Some(Message::Failed(error)) => self.fail(error),
            None => self.fail(errors::internal("ended")),
        }
    }
}

/// Cuts a task when nobody waits for it any more: where it yields, and where it looks.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) task: AbortHandle,
    pub(super) gone: Arc<AtomicBool>,
}

impl Cut {
    fn now(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}

/// Hands the plan's batches on until it ends, fails or is stopped. Empty batches are left out.
pub(super) async fn feed(
    mut batches: SendableRecordBatchStream,
    messages: &mpsc::Sender<Message>,
    guard: &Guard,
) -> Result<()> {
    let mut look = tokio::time::interval(Duration::from_millis(QUERY_STOP_CHECK_MS));
    loop {
        tokio::select! {
            biased;
            _ = look.tick() => guard.check()?,
            next = batches.next() => match next {
                None => return Ok(()),
                Some(Err(e)) => return Err(errors::execution(&e)),
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                // The reader went away: nobody is left to tell.
                Some(Ok(batch)) => if messages.send(Message::Batch(batch)).await.is_err() {
                    return Ok(());
                },
            },
        }
    }
}

/// Runs `work` so that a panic in it is an error of it alone.
pub(super) async fn contained<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(errors::internal("panic")),
    }
}

/// Bounds the time of `work`.
pub(super) async fn until<T>(deadline: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(late()),
    }
}

/// The error of a read whose grant was ended.
pub(super) fn stopped(reason: ErrorCode) -> Error {
    Error::new(reason, "the read was stopped")
}
