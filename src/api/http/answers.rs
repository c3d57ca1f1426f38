//! What a request gets: a status, a content type, how long it may be kept.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use perron_log::submission::SIZE_CONTENT_TYPE;
use perron_model::{Error, ErrorCode};

/// An answer, whole.
pub type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JOSE: &str = "application/jose";
const BYTES: &str = "application/octet-stream";
/// A tile never changes; it is for who asked.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
const NOT_AT_ALL: &str = "no-store";
const ASK_AGAIN: &str = "no-cache";

/// Text that is another one soon: a checkpoint.
pub fn checkpoint(note: String) -> Answer {
    answer(StatusCode::OK, TEXT, ASK_AGAIN, note.into())
}

/// A signed rule, which another one may replace (RFC 7515, section 9.2.1).
pub fn rule(signed: String) -> Answer {
    answer(StatusCode::OK, JOSE, ASK_AGAIN, signed.into())
}

/// A tile or an entry bundle.
pub fn tile(bytes: Vec<u8>) -> Answer {
    answer(StatusCode::OK, BYTES, FOR_EVER, bytes.into())
}

/// Cosignature lines.
pub fn cosigned(line: &str) -> Answer {
    answer(StatusCode::OK, TEXT, NOT_AT_ALL, format!("{line}\n").into())
}

/// The size that the witness holds (C2SP tlog-witness).
pub fn holds(size: u64) -> Answer {
    answer(StatusCode::CONFLICT, SIZE_CONTENT_TYPE, NOT_AT_ALL, format!("{size}\n").into())
}

/// Another method than the one that the path takes.
pub fn other_method(allowed: &'static str) -> Answer {
    let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "the path doesn't take this method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// An error, by the table of errors. An internal one carries an id alone.
pub fn error(error: &Error) -> Answer {
    let status = status_of(error.code);
    let detail = if error.code == ErrorCode::Internal {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(id, detail = %error.detail, "internal error");
        format!("something went wrong inside; the process's log explains {id}")
    } else {
        error.detail.clone()
    };
    let mut answer = refused(status, &format!("{}: {detail}", error.code));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// Where 409 means a size and 422 a proof, nothing else is told by them.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::LogForked | ErrorCode::ProofInvalid => StatusCode::UNPROCESSABLE_ENTITY,
        other => match other.http() {
            409 | 422 => StatusCode::SERVICE_UNAVAILABLE,
            status => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        },
    }
}

fn refused(status: StatusCode, what: &str) -> Answer {
    answer(status, TEXT, NOT_AT_ALL, format!("{what}\n").into())
}

fn answer(status: StatusCode, content_type: &'static str, kept: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_the_protocol() {
        for (code, status) in [
            (ErrorCode::Malformed, 400),
            (ErrorCode::Unauthenticated, 401),
            (ErrorCode::SignatureInvalid, 403),
            (ErrorCode::ParticipantRevoked, 403),
            (ErrorCode::NotFound, 404),
            (ErrorCode::TooLarge, 413),
            (ErrorCode::ProofInvalid, 422),
            (ErrorCode::LogForked, 422),
            (ErrorCode::Overloaded, 429),
        ] {
            assert_eq!(error(&Error::new(code, "x")).status().as_u16(), status, "{code}");
        }
        assert_eq!(holds(7).status(), 409);
        for code in ErrorCode::ALL {
            let answer = error(&Error::new(*code, "a secret detail"));
            let is_proof = matches!(code, ErrorCode::LogForked | ErrorCode::ProofInvalid);
            assert!(answer.status() != 409 && (answer.status() == 422) == is_proof, "{code}");
        }
    }
}
