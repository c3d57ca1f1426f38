//! Figures of the program: what takes how long, as ratios to the disk's flush in the same run.
//!
//! The load program measures real `perron serve` processes, which it sets up through the program's
//! command line, and the rooms that a process is made of where a process hides what is asked for.
//! `docs/PERFORMANCE.md` says what each figure means, what was seen, and what bounds it.

#![forbid(unsafe_code)]

pub mod appends;
pub mod asking;
pub mod attacks;
pub mod conditions;
pub mod decisions;
pub mod differential;
pub mod evaluators;
pub mod figure;
pub mod flush;
pub mod ground;
pub mod link;
pub mod log;
pub mod many;
pub mod negotiations;
pub mod neighbours;
pub mod open;
pub mod oracle;
pub mod plain;
pub mod processes;
pub mod reads;
pub mod release;
pub mod rows;
pub mod size;
pub mod space;
pub mod views;

use perron_model::{Error, ErrorCode};
use std::fmt::Display;

/// An error of the measuring itself: what can't be measured is no figure.
pub fn failed(what: impl Display) -> Error {
    Error::new(ErrorCode::Internal, what.to_string())
}

/// Microseconds since `begun`.
pub fn micros(begun: std::time::Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}
