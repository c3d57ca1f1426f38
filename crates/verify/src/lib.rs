//! The auditor's reader: an organisation's directory in, findings out. Nothing is written.
//!
//! It knows neither the connector nor its libraries for signatures: those of documents are
//! checked here with ed25519-dalek, strictly, so that the connector (josekit) and this crate
//! check each other.

#![forbid(unsafe_code)]

mod directory;
mod documents;
mod envelope;
mod jws;
mod kept;
pub mod limits;
mod reading;
mod receipt;
mod register;
mod report;
mod signatures;
mod verify;
pub mod words;

pub use receipt::{Cosigned, Ended, ReceiptReport, read_receipt, verify_receipt};
pub use report::{Authority, AuthoritySource, Finding, KeptHead, Report};
pub use verify::{Options, verify, verify_with};
