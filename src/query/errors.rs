//! What of the engine's errors a caller may see: a stable code and a safe text.
//!
//! A planning error speaks of the statement and of the view's columns, so its text may pass. An
//! execution error may hold values, so only its kind passes. Whatever else goes wrong is
//! `internal` with a number; the process's log has the kind of it under that number, no values.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use perron_model::{Error, ErrorCode};

/// An error of planning.
pub(crate) fn planning(error: &DataFusionError) -> Error {
    match root(error) {
        DataFusionError::SchemaError(schema, _) => schema_error(schema),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => {
            Error::new(ErrorCode::StatementInvalid, format!("the statement can't be planned: {}", one_line(text)))
        }
        DataFusionError::SQL(parser, _) => Error::new(
            ErrorCode::StatementInvalid,
            format!("the statement can't be read: {}", one_line(&parser.to_string())),
        ),
        other => execution(other),
    }
}

/// An error of execution.
pub(crate) fn execution(error: &DataFusionError) -> Error {
    let failed = |what: &str| Error::new(ErrorCode::QueryFailed, what);
    match root(error) {
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => internal("external"),
        },
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::DivideByZero => failed("a division by zero"),
            ArrowError::ArithmeticOverflow(_) => failed("an arithmetic overflow"),
            ArrowError::CastError(_) | ArrowError::ParseError(_) => {
                failed("a value can't be converted as the statement asks")
            }
            ArrowError::ComputeError(_) | ArrowError::InvalidArgumentError(_) => failed("the query failed on the data"),
            _ => internal("arrow"),
        },
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(ErrorCode::Overloaded, "the query needs more memory than it may have")
        }
        DataFusionError::Execution(_) => failed("the query failed on the data"),
        DataFusionError::SchemaError(_, _) | DataFusionError::Plan(_) | DataFusionError::NotImplemented(_) => {
            Error::new(ErrorCode::StatementInvalid, "the statement can't be planned")
        }
        DataFusionError::Internal(_) => internal("engine"),
        DataFusionError::ExecutionJoin(_) => internal("task"),
        _ => internal("other"),
    }
}

/// An internal error: a number for the caller, the kind for the process's log.
pub(crate) fn internal(kind: &'static str) -> Error {
    let id = uuid::Uuid::now_v7();
    tracing::error!(%id, kind, "a query failed inside");
    Error::new(ErrorCode::Internal, format!("something went wrong inside; its number is {id}"))
}

/// The text of an unknown or withheld column: one and the same.
pub(crate) fn column_not_granted(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    Error::new(ErrorCode::ColumnNotGranted, format!("column `{name}` isn't one that the agreement gives"))
}

/// The same error about a statement over one's own log, for which no agreement stands.
pub(crate) fn of_log(error: Error) -> Error {
    match error.code {
        ErrorCode::TableNotGranted | ErrorCode::ColumnNotGranted => {
            Error::new(error.code, error.detail.replace("that the agreement gives", "of the log"))
        }
        _ => error,
    }
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => column_not_granted(&field.name),
        SchemaError::AmbiguousReference { field } => {
            Error::new(ErrorCode::StatementInvalid, format!("column `{}` could be one of several", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(ErrorCode::StatementInvalid, format!("the name `{name}` comes twice"))
        }
    }
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root),
        other => other,
    }
}

fn one_line(text: &str) -> String {
    let mut words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(240).collect();
    if let Some(first) = words.get(..1) {
        let lower = first.to_ascii_lowercase();
        words.replace_range(..1, &lower);
    }
    words
}
