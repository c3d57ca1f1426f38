//! The field's nouns as types, their parsing and their canonical form.
//!
//! This room does no I/O, reads no clock and draws no random number: whatever it needs of the
//! world is handed in. What must be trusted most is here and in `perron-gate` and `perron-log`.

#![forbid(unsafe_code)]

pub mod agreement;
pub mod canonical;
pub mod collection;
pub mod dataset;
pub mod decision;
pub mod entry;
pub mod error;
pub mod extract;
pub mod id;
pub mod life;
pub mod limits;
pub mod negotiation;
pub mod participant;
pub mod partner;
pub mod policy;
pub mod register;
pub mod report;
pub mod request;
pub mod retention;
pub mod sealed;
pub mod succession;
pub mod time;
pub mod trace;

pub use error::{Error, ErrorCode, Result};
pub use id::{AgreementId, DatasetId, Digest, ParticipantId, SpaceId};
pub use time::Timestamp;
pub use trace::TraceId;
