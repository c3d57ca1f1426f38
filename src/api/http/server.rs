//! The listener: one request at a time on a connection, each within its bounds.
//!
//! Submissions to the witness need no certificate: what counts is the checkpoint's signature. Hash
//! tiles hold blinded hashes alone, and go to participants in force, as does the rule by which
//! entries are pruned; entries go to the organisation's own auditors.

use crate::api::grpc::channels::{self, Channel};
use crate::api::grpc::services::unbroken;
use crate::api::http::answers::{self, Answer};
use crate::connector::Node;
use crate::connector::catalogue::blocking;
use crate::connector::users::{Credential, User};
use crate::trust::tls::ReloadableTls;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use perron_log::Submission;
use perron_log::tile::{TileKind, TileName};
use perron_model::limits::{
    HTTP_CONNECTION_MS_MAX, HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, REQUEST_ARRIVAL_MS_MAX, SUBMISSION_BYTES_MAX,
};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Which participant's certificate was shown, if any was.
#[derive(Clone, Debug)]
pub struct Shown(pub Option<ParticipantId>);

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ReloadableTls>,
    node: Arc<Node>,
    stop: CancellationToken,
) -> Result<()> {
    let mut incoming = channels::accept(listener, stop.clone(), move |stream| {
        let tls = tls.clone();
        async move { tls.accept_http(stream).await.map(|(stream, who)| (stream, Shown(who))) }
    });
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Some(accepted) = incoming.next().await {
        while connections.try_join_next().is_some() {}
        let Ok(channel) = accepted else { continue };
        // Whoever comes past the bound is let go at once: nobody waits behind those who stay.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (node, stop) = (node.clone(), stop.clone());
        connections.spawn(async move {
            let limit = Duration::from_millis(HTTP_CONNECTION_MS_MAX);
            let _ = tokio::time::timeout(limit, connection(channel, node, stop)).await;
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connection(channel: Channel<Shown>, node: Arc<Node>, stop: CancellationToken) {
    let who = channel.connect_info().0;
    let service = service_fn(move |request| {
        let (node, who) = (node.clone(), who.clone());
        async move { Ok::<_, Infallible>(answered(node, who, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(REQUEST_ARRIVAL_MS_MAX))
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(channel), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection of the HTTPS listener ended: {error}");
    }
}

async fn answered(node: Arc<Node>, who: Option<ParticipantId>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let answer = match path {
        "/add-checkpoint" if head.method == Method::POST => add_checkpoint(node, body).await,
        "/add-checkpoint" => return answers::other_method("POST"),
        _ if !matches!(path, "/checkpoint" | "/retention") && !path.starts_with("/tile/") => {
            Err(Error::new(ErrorCode::NotFound, "there is nothing at this path"))
        }
        _ if head.method != Method::GET => return answers::other_method("GET"),
        "/checkpoint" => checkpoint(&node, who.as_ref(), &head.headers).await,
        "/retention" => retention(&node, who.as_ref(), &head.headers).await,
        _ => tile(node, who.as_ref(), path, &head.headers).await,
    };
    answer.unwrap_or_else(|error| answers::error(&error))
}

/// C2SP tlog-witness, `add-checkpoint`.
async fn add_checkpoint(node: Arc<Node>, body: Incoming) -> Result<Answer> {
    let submission = Submission::parse(&whole(body).await?).map_err(|e| Error::malformed(e.to_string()))?;
    // In a task of its own: who goes away must not leave a checkpoint kept and not logged.
    let witnessed = unbroken(async move { node.witness_submission(&submission).await }).await?;
    Ok(match witnessed {
        Ok(line) => answers::cosigned(&line),
        Err(size) => answers::holds(size),
    })
}

async fn whole(body: Incoming) -> Result<bytes::Bytes> {
    let body = Limited::new(body, SUBMISSION_BYTES_MAX).collect();
    let limit = Duration::from_millis(REQUEST_ARRIVAL_MS_MAX);
    let late = |_| Error::new(ErrorCode::DeadlineExceeded, "the request didn't arrive whole in time");
    match tokio::time::timeout(limit, body).await.map_err(late)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::new(ErrorCode::TooLarge, format!("a submission is over {SUBMISSION_BYTES_MAX} bytes")))
        }
        Err(_) => Err(Error::malformed("the request broke off")),
    }
}

/// C2SP tlog-tiles, `checkpoint`.
async fn checkpoint(node: &Node, who: Option<&ParticipantId>, headers: &HeaderMap) -> Result<Answer> {
    require_reader(node, who, headers).await?;
    Ok(answers::checkpoint(node.ledger().reader().last_note()))
}

/// The retention rule in force, as its owner signed it: why hashes stand where entries stood.
async fn retention(node: &Node, who: Option<&ParticipantId>, headers: &HeaderMap) -> Result<Answer> {
    require_reader(node, who, headers).await?;
    let none = || Error::new(ErrorCode::NotFound, "no retention rule is in force: nothing of the log is pruned");
    Ok(answers::rule(node.retention_rule()?.ok_or_else(none)?))
}

/// C2SP tlog-tiles, `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`.
async fn tile(node: Arc<Node>, who: Option<&ParticipantId>, path: &str, headers: &HeaderMap) -> Result<Answer> {
    let unknown = || Error::new(ErrorCode::NotFound, "the log has no such tile");
    let reader = require_reader(&node, who, headers).await?;
    let name = path.strip_prefix("/tile/").and_then(TileName::parse).ok_or_else(unknown)?;
    if name.kind == TileKind::Entries {
        match reader {
            Reader::Auditor(user) => node.note_tile_look(&user).await?,
            Reader::Participant(who) => return Err(node.refuse_entries(&who, path)),
        }
    }
    // Nothing beyond the durable mark: the reader refuses.
    let bytes = blocking(move || {
        node.ledger().reader().tile_bytes(&name).map_err(|e| match e {
            perron_log::LogError::OutOfRange { .. } | perron_log::LogError::Pruned { .. } => unknown(),
            other => Error::new(ErrorCode::LogUnavailable, other.to_string()),
        })
    });
    Ok(answers::tile(bytes.await?))
}

/// Who may read of the log.
enum Reader {
    /// A participant in force, by its certificate.
    Participant(ParticipantId),
    /// An auditor of this organisation, by their token.
    Auditor(Box<User>),
}

async fn require_reader(node: &Node, who: Option<&ParticipantId>, headers: &HeaderMap) -> Result<Reader> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Error::new(ErrorCode::Unauthenticated, "a bearer token is needed"))?;
        let user = node.user(&Credential::Token(Digest::of(token.as_bytes())))?;
        node.require_auditor(&user).await?;
        return Ok(Reader::Auditor(Box::new(user)));
    }
    let who = who.ok_or_else(|| {
        let detail = "who asks shows a participant's certificate, or the token of an auditor";
        Error::new(ErrorCode::Unauthenticated, detail)
    })?;
    node.require_member(who)?;
    Ok(Reader::Participant(who.clone()))
}
