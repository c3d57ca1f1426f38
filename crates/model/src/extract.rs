//! What one partner may have of a log: the chain of its agreement, entry by entry, with proofs.
//!
//! As a file an extract is lines of canonical JSON: an [`ExtractHead`], then an [`ExtractLeaf`] for
//! each entry of the chain, in its order. The last one says that the extract was given, so that what
//! was left out at its end would be a lie of the log itself.

use crate::agreement::Envelope;
use crate::id::{AgreementId, ParticipantId};
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractHead {
    /// Always `perron-extract/v1`.
    #[serde(rename = "type")]
    pub kind: ExtractKind,
    /// Whose log it is from.
    pub owner: ParticipantId,
    /// The other party of the agreement.
    pub to: ParticipantId,
    /// The agreement.
    pub agreement: AgreementId,
    /// The agreement as both signed it.
    pub envelope: Envelope,
    /// Entries of the register about both parties at the time when it was given (compact JWS of the
    /// authority).
    pub entries: Vec<String>,
    /// Signed checkpoint of the owner's log; all proofs end in it.
    pub checkpoint: String,
}

/// An entry of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractLeaf {
    /// The leaf, base64url.
    pub leaf: String,
    /// Its inclusion proof (RFC 6962, 2.1.1): hashes in base64, from the leaf's side.
    pub proof: Vec<String>,
}

/// Type mark of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtractKind {
    /// An extract of version 1.
    #[serde(rename = "perron-extract/v1")]
    V1,
}
