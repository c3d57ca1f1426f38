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

/// How the wire's libraries begin to tell that they can't decode a message (prost, tonic's codec,
/// Arrow Flight's commands).
const UNDECODABLE: [&str; 6] = [
    "failed to decode Protobuf message",
    "protocol error:",
    "Unexpected EOF decoding stream",
    "Missing request message",
    "Missing response message",
    "ParseError(",
];

/// What a status without our reason says of a message that the wire's library refused by itself.
fn of_the_wire(status: &Status) -> Option<Error> {
    let message = status.message();
    match status.code() {
        Code::OutOfRange => Some(Error::new(ErrorCode::TooLarge, "the message is over the bound of its service")),
        Code::ResourceExhausted if message.starts_with("Error decompressing") => {
            Some(Error::new(ErrorCode::TooLarge, "the message is over the bound of its service"))
        }
        Code::Internal if UNDECODABLE.iter().any(|begin| message.starts_with(begin)) => {
            Some(Error::malformed("the message can't be decoded as what its service takes"))
        }
        Code::InvalidArgument => Some(Error::malformed("the message isn't one that its service takes")),
        _ => None,
    }
}

/// The status for what the wire's own library answers, if it says nothing of ours: too large and
/// undecodable messages have their codes for clients of every make, and nothing of the library's
/// inside leaves.
pub fn explain(status: &Status) -> Option<Error> {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return None;
    }
    let inside = || Error::new(ErrorCode::Internal, status.message().to_owned());
    of_the_wire(status).or_else(|| matches!(status.code(), Code::Internal | Code::Unknown).then(inside))
}

/// The error that a peer's status tells of.
pub fn from_status(status: &Status) -> Error {
    let info = status.get_details_error_info().filter(|i| i.domain == DOMAIN);
    let told = info.as_ref().and_then(|i| ErrorCode::parse(&i.reason));
    let code = told.or_else(|| of_the_wire(status).map(|e| e.code)).unwrap_or(match status.code() {
        // A stream or connection that broke, not something inside of either side.
        Code::Internal if status.message().starts_with("h2 protocol error") => ErrorCode::PeerUnavailable,
        Code::Unavailable | Code::Cancelled | Code::Unknown => ErrorCode::PeerUnavailable,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::ResourceExhausted => ErrorCode::Overloaded,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::NotFound => ErrorCode::NotFound,
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

    #[test]
    fn what_the_wire_refuses_by_itself_has_its_code() {
        let undecodable = <crate::api::pb::GetRequest as prost::Message>::decode(&b"\xff\xff"[..]).unwrap_err();
        let cases = [
            (Status::internal(undecodable.to_string()), ErrorCode::Malformed),
            (Status::internal("Missing request message."), ErrorCode::Malformed),
            (Status::out_of_range("Error, decoded message length too large"), ErrorCode::TooLarge),
            (Status::invalid_argument("Unable to decode ticket"), ErrorCode::Malformed),
            (Status::internal("h2 protocol error: stream reset"), ErrorCode::PeerUnavailable),
            (Status::internal("a secret detail"), ErrorCode::Internal),
        ];
        for (status, code) in cases {
            assert_eq!(from_status(&status).code, code, "{status}");
            // To clients of another make it is told by the table.
            let explained = explain(&status).unwrap();
            let sent = to_status(&explained);
            assert!(code == ErrorCode::PeerUnavailable || explained.code == code, "{status}");
            assert!(!sent.message().contains("secret") && !sent.message().contains("rotobuf"), "{sent}");
            assert!(explain(&sent).is_none(), "what is ours stays as it is");
        }
        assert!(explain(&Status::unimplemented("")).is_none(), "an unknown method is gRPC's own word");
    }
}
