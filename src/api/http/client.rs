//! The wire to the witnesses that the configuration names (C2SP tlog-witness).

use crate::connector::peers::{Witnesses, Witnessing};
use crate::trust::dialer::Dialer;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use perron_log::Submission;
use perron_log::submission::{SIZE_CONTENT_TYPE, parse_size};
use perron_model::limits::{WITNESS_ANSWER_BYTES_MAX, WITNESS_ANSWER_MS_MAX};
use perron_model::{Error, ErrorCode, Result};
use std::sync::Arc;
use std::time::Duration;

/// Witnesses over the one dialer.
#[derive(Debug)]
pub struct HttpWitnesses {
    dialer: Arc<Dialer>,
}

impl HttpWitnesses {
    /// Those that the dialer may dial.
    pub fn new(dialer: Arc<Dialer>) -> HttpWitnesses {
        HttpWitnesses { dialer }
    }

    async fn exchange(&self, place: usize, submission: &Submission) -> Result<Witnessing> {
        let witness = self.dialer.witnesses().get(place);
        let none = || Error::new(ErrorCode::DestinationDenied, "the configuration names no such witness");
        let witness = witness.ok_or_else(none)?;
        let name = witness.verifier().name();
        let request = Request::post(witness.path())
            .header(HOST, witness.host())
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(USER_AGENT, concat!("perron/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(submission.to_string())))
            .map_err(|_| {
                Error::new(ErrorCode::ConfigInvalid, format!("`url` of the witness `{name}` names no path"))
            })?;
        let broken = |_| Error::new(ErrorCode::PeerUnavailable, format!("the witness `{name}` ended the connection"));
        let stream = self.dialer.dial_witness(place).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The sender ends with the answer, and the connection with the sender.
        let answer = async move {
            let response = sender.send_request(request).await.map_err(broken)?;
            read(name, response).await
        };
        let (answer, ended) = tokio::join!(answer, connection);
        if let Err(error) = ended {
            tracing::debug!(witness = name, "the connection ended: {error}");
        }
        answer
    }
}

#[async_trait]
impl Witnesses for HttpWitnesses {
    async fn submit(&self, place: usize, submission: &Submission) -> Result<Witnessing> {
        let limit = Duration::from_millis(WITNESS_ANSWER_MS_MAX);
        let late = |_| Error::new(ErrorCode::DeadlineExceeded, "the witness gave no answer in time");
        tokio::time::timeout(limit, self.exchange(place, submission)).await.map_err(late)?
    }
}

async fn read(name: &str, response: Response<Incoming>) -> Result<Witnessing> {
    let status = response.status();
    let is_size = response.headers().get(CONTENT_TYPE).is_some_and(|v| v.as_bytes() == SIZE_CONTENT_TYPE.as_bytes());
    let too_large = |_| Error::malformed(format!("the answer of the witness `{name}` is too long, or broke off"));
    let body = Limited::new(response.into_body(), WITNESS_ANSWER_BYTES_MAX).collect().await.map_err(too_large)?;
    let body = body.to_bytes();
    let unreadable = |what: &str| Error::malformed(format!("the answer of the witness `{name}` is no {what}"));
    match status {
        StatusCode::OK => {
            let lines = String::from_utf8(body.to_vec()).map_err(|_| unreadable("cosignature"))?;
            Ok(Witnessing::Cosigned(lines))
        }
        StatusCode::CONFLICT if is_size => parse_size(&body).map(Witnessing::Holds).ok_or_else(|| unreadable("size")),
        StatusCode::UNPROCESSABLE_ENTITY => Ok(Witnessing::Contradicts),
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Err(Error::new(
            ErrorCode::PeerUnavailable,
            format!("the witness `{name}` doesn't know this log, or not by this key ({})", status.as_u16()),
        )),
        other => {
            Err(Error::new(ErrorCode::PeerUnavailable, format!("the witness `{name}` refuses with {}", other.as_u16())))
        }
    }
}
