//! Answers to a tool that may stop taking them: its own connector doesn't wait for it for ever, so
//! that the read gets its end in the log.

use crate::api::errors::to_tool_status;
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::limits::TOOL_STALL_MS_MAX;
use perron_model::{Error, ErrorCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tonic::Status;

/// Messages that wait for the tool: what its own window holds comes on top.
const WAITING_MAX: usize = 1;

/// Passes messages on as long as they are taken; a tool that takes nothing for too long finds the
/// reason where it left off.
pub(super) fn while_taken<T: Send + 'static>(
    messages: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    while_taken_within(Duration::from_millis(TOOL_STALL_MS_MAX), messages)
}

fn while_taken_within<T: Send + 'static>(
    patience: Duration,
    mut messages: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    let stalled = Arc::new(AtomicBool::new(false));
    let told = stalled.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                // Who goes away ends the read at once, also one that gives nothing just now.
                () = sender.closed() => return,
            };
            let Some(message) = message else { return };
            match sender.send_timeout(message, patience).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => return stalled.store(true, Ordering::Release),
            }
        }
    });
    let end = futures::stream::once(async move { told.load(Ordering::Acquire) }).filter_map(move |stalled| {
        let detail = format!("nothing of the answer was taken for {} seconds", patience.as_secs());
        let error = stalled.then(|| to_tool_status(&Error::new(ErrorCode::DeadlineExceeded, detail)));
        futures::future::ready(error.map(Err))
    });
    tokio_stream::wrappers::ReceiverStream::new(waiting).chain(end).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, and word of when they are dropped.
    fn numbers(count: u32) -> (BoxStream<'static, Result<u32, Status>>, tokio::sync::oneshot::Receiver<()>) {
        struct Told(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (sender, dropped) = tokio::sync::oneshot::channel();
        let told = Told(Some(sender));
        let numbers = futures::stream::iter(0..count).map(Ok).inspect(move |_| {
            let _ = &told;
        });
        (numbers.boxed(), dropped)
    }

    #[tokio::test]
    async fn all_comes_to_who_takes_and_who_does_not_is_told() {
        let taken = while_taken_within(Duration::from_secs(60), numbers(100).0);
        assert_eq!(taken.map(Result::unwrap).collect::<Vec<_>>().await, (0..100).collect::<Vec<_>>());

        let (messages, dropped) = numbers(100);
        let mut left = while_taken_within(Duration::from_millis(1), messages);
        dropped.await.unwrap();
        assert_eq!(left.next().await.unwrap().unwrap(), 0);
        let told = left.next().await.unwrap().unwrap_err();
        assert_eq!(crate::api::errors::from_status(&told).code, ErrorCode::DeadlineExceeded);
        assert!(left.next().await.is_none());
    }

    #[tokio::test]
    async fn a_read_is_dropped_with_who_took_it() {
        let (messages, dropped) = numbers(1);
        drop(while_taken(messages.chain(futures::stream::pending()).boxed()));
        tokio::time::timeout(Duration::from_secs(10), dropped).await.unwrap().unwrap();
    }
}
