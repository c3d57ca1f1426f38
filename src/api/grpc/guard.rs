//! Around every service: what the wire's own library refuses is told by the table of errors, and a
//! request that doesn't arrive whole in time is ended. And around every read: an answer that
//! doesn't come is no longer waited for.

use crate::api::errors::{explain, to_status, to_tool_status};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use perron_model::limits::{ANSWER_SILENCE_MS_MAX, REQUEST_ARRIVAL_MS_MAX};
use perron_model::{Error, ErrorCode, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

/// For other connectors: the answers of the wire's library as the table of errors has them.
pub fn for_peers(response: Response<Body>) -> Response<Body> {
    told(response, to_status)
}

/// For our own tools, which show the message: with the code before it.
pub fn for_tools(response: Response<Body>) -> Response<Body> {
    told(response, to_tool_status)
}

/// A status that comes before any message stands in the response's headers.
fn told(response: Response<Body>, status_of: fn(&Error) -> Status) -> Response<Body> {
    if !response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match explain(&status) {
        Some(error) => status_of(&error).into_http(),
        None => response,
    }
}

/// A request whose messages have to arrive in time, counted from when they are waited for.
pub fn in_time(request: Request<Body>) -> Request<Body> {
    request.map(|body| Body::new(Timed { body, deadline: None }))
}

struct Timed {
    body: Body,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let limit = Duration::from_millis(REQUEST_ARRIVAL_MS_MAX);
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        let late = format!("the request didn't arrive whole within {REQUEST_ARRIVAL_MS_MAX} ms");
        Poll::Ready(Some(Err(to_status(&Error::new(ErrorCode::DeadlineExceeded, late)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Longest silence of a provider that is listened to.
const SILENCE: Duration = Duration::from_millis(ANSWER_SILENCE_MS_MAX);

/// Waits for a provider, but not for ever.
pub async fn unless_silent<T>(answer: impl Future<Output = T>) -> Result<T> {
    within(SILENCE, answer).await
}

/// The messages of an answer, each waited for but not for ever. Time during which nobody asks for
/// the next doesn't count: a slow reader is not a silent provider.
pub fn while_not_silent<S>(messages: S) -> impl Stream<Item = Result<S::Item>>
where
    S: Stream + Unpin,
{
    each_within(SILENCE, messages)
}

async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T> {
    let silent = |_| Error::new(ErrorCode::DeadlineExceeded, "the provider sends nothing more");
    tokio::time::timeout(limit, answer).await.map_err(silent)
}

fn each_within<S>(limit: Duration, messages: S) -> impl Stream<Item = Result<S::Item>>
where
    S: Stream + Unpin,
{
    futures::stream::unfold(Some(messages), move |messages| async move {
        let mut messages = messages?;
        match within(limit, messages.next()).await {
            Ok(message) => message.map(|m| (Ok(m), Some(messages))),
            Err(silent) => Some((Err(silent), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_provider_that_stalls_is_not_waited_for_and_a_slow_reader_is_no_silence() {
        // What is there is given however long nobody asked for it: no time at all is enough.
        let stalled = futures::stream::iter([1, 2]).chain(futures::stream::pending());
        let mut read = Box::pin(each_within(Duration::ZERO, stalled));
        assert_eq!(read.next().await, Some(Ok(1)));
        assert_eq!(read.next().await, Some(Ok(2)));
        assert_eq!(read.next().await.unwrap().unwrap_err().code, ErrorCode::DeadlineExceeded);
        assert!(read.next().await.is_none());
        let whole: Vec<_> = each_within(Duration::ZERO, futures::stream::iter([1, 2])).collect().await;
        assert_eq!(whole, [Ok(1), Ok(2)]);
    }
}
