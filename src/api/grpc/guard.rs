//! Around every service: what the wire's own library refuses is told by the table of errors, and a
//! request that doesn't arrive whole in time is ended.

use crate::api::errors::{explain, to_status, to_tool_status};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use perron_model::limits::REQUEST_ARRIVAL_MS_MAX;
use perron_model::{Error, ErrorCode};
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
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
