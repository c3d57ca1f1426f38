//! The one table of errors as gRPC statuses, and back.
//!
//! `google.rpc.ErrorInfo` carries the stable reason; an internal error carries an id and nothing
//! else, which the process's log explains.

use perron_model::{Error, ErrorCode};
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of our reasons.
const DOMAIN: &str = "perron";

/// The status of an error.
pub fn to_status(error: &Error) -> Status {
    let mut metadata = HashMap::new();
    let message = if error.code == ErrorCode::Internal {
        let id = uuid::Uuid::now_v7().to_string();
        tracing::error!(id, detail = %error.detail, "internal error");
        metadata.insert("id".to_owned(), id.clone());
        format!("something went wrong inside; the process's log explains {id}")
    } else {
        error.detail.clone()
    };
    let details = ErrorDetails::with_error_info(error.code.as_str(), DOMAIN, metadata);
    Status::with_error_details(Code::from_i32(error.code.grpc()), message, details)
}

/// The status of an error for other people's tools, which show a status' message and not always
/// its details: the code stands before the message too, in brackets.
pub fn to_tool_status(error: &Error) -> Status {
    let status = to_status(error);
    let message = format!("[{}] {}", error.code, status.message());
    Status::with_details_and_metadata(
        status.code(),
        message,
        status.details().to_vec().into(),
        status.metadata().clone(),
    )
}

/// The status of a refusal: with its clause and its place in the log.
pub fn denied_to_status(denied: &perron_gate::Denied) -> Status {
    if denied.clause.is_none() && denied.recorded.is_none() {
        return to_status(&denied.error);
    }
    let mut metadata = HashMap::new();
    if let Some(clause) = &denied.clause {
        metadata.insert("clause".to_owned(), clause.clone());
    }
    if let Some(recorded) = &denied.recorded {
        metadata.insert("decision".to_owned(), recorded.leaf.to_string());
    }
    let details = ErrorDetails::with_error_info(denied.error.code.as_str(), DOMAIN, metadata);
    Status::with_error_details(Code::from_i32(denied.error.code.grpc()), denied.error.detail.clone(), details)
}

/// The error that a peer's status tells of.
pub fn from_status(status: &Status) -> Error {
    let info = status.get_details_error_info().filter(|i| i.domain == DOMAIN);
    let told = info.as_ref().and_then(|i| ErrorCode::parse(&i.reason));
    let code = told.unwrap_or(match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown => ErrorCode::PeerUnavailable,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::ResourceExhausted => ErrorCode::Overloaded,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::NotFound => ErrorCode::NotFound,
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::Malformed,
        _ => ErrorCode::Internal,
    });
    let clause = info.as_ref().and_then(|i| i.metadata.get("clause"));
    let message = status.message();
    let message = message.strip_prefix(&format!("[{code}] ")).unwrap_or(message);
    let mut detail: String = message.chars().take(2000).collect();
    if let Some(clause) = clause {
        detail = format!("{detail} (clause `{}`)", clause.chars().take(100).collect::<String>());
    }
    Error::new(code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_travels_and_internal_details_stay() {
        for code in ErrorCode::ALL {
            let error = Error::new(*code, "a secret detail");
            let status = to_status(&error);
            assert_eq!(status.code() as i32, code.grpc());
            assert_eq!(from_status(&status).code, *code);
            assert_eq!(status.message().contains("secret"), *code != ErrorCode::Internal);
            let shown = to_tool_status(&error);
            assert!(shown.message().starts_with(&format!("[{code}] ")));
            assert_eq!(shown.code(), status.code());
            let read = from_status(&shown);
            assert_eq!(read.code, *code);
            assert!(!read.detail.starts_with('['));
        }
    }
}
