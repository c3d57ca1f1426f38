//! The auditor's reader: an organisation's directory in, findings out. Nothing is written.
//!
//! It knows neither the connector nor its libraries for signatures: those of documents are
//! checked here with ed25519-dalek, strictly, so that the connector (josekit) and this crate
//! check each other.

#![forbid(unsafe_code)]

mod changes;
mod directory;
mod documents;
mod envelope;
mod extract;
mod jws;
mod kept;
pub mod limits;
mod parties;
mod policy;
mod reading;
mod receipt;
mod reconcile;
mod register;
mod report;
mod signatures;
mod verify;
pub mod words;

pub use extract::{ExtractReport, OpenedExtract, open_extract, read_extract};
pub use parties::Cosigned;
pub use policy::read_policy;
pub use receipt::{Ended, ReceiptReport, read_receipt, verify_receipt};
pub use reconcile::{Difference, DifferenceKind, Reconciled, reconcile, reconcile_asked};
pub use report::{Authority, AuthoritySource, Closed, Finding, Holder, Judged, JudgedWitness, KeptHead, Report};
pub use verify::{Options, Visit, verify, verify_visiting, verify_with};
