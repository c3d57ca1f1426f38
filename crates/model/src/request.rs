//! The signed read request, and what travels with it.

use crate::agreement::Envelope;
use crate::error::{Error, Result};
use crate::id::{AgreementId, Digest, ParticipantId};
use crate::time::Timestamp;
use crate::trace::TraceId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// `typ` of a read request's JWS.
pub const REQUEST_TYP: &str = "perron-read-request+jws";

/// Claims of a read request (compact JWS, `typ` `perron-read-request+jws`, signed with the
/// request key of the asking organisation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRequest {
    /// The consumer's number of this request: a UUIDv7.
    pub id: String,
    /// The asking organisation; must be the channel's participant.
    pub issuer: ParticipantId,
    /// The provider asked.
    pub provider: ParticipantId,
    /// The agreement.
    pub agreement: AgreementId,
    /// Action: an ODRL IRI.
    pub action: String,
    /// Purpose stated by the user: a DPV IRI.
    pub purpose: String,
    /// Salted commitment to the statement; the salt travels beside the request.
    pub statement: Digest,
    /// Pseudonym of the user, random for this counterparty.
    pub user: String,
    /// Name of the user's grant at the consumer.
    pub grant: String,
    /// The provider's nonce from the ticket, single use.
    pub nonce: String,
    /// When it was made, by the consumer's clock.
    pub time: Timestamp,
    /// Roles of the user, as the consumer's connector states them (`perron:userRole`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The trace that the user's tool began (W3C Trace Context).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// Newest entry of the agreement's chain for which the consumer holds a receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Outcomes acknowledged with this request.
    #[serde(default)]
    pub acknowledged: Vec<Acknowledgement>,
}

/// A position in an agreement's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Number in the chain, from 0.
    pub number: u64,
    /// The entry's leaf hash.
    pub leaf: Digest,
}

/// The consumer's word on an earlier read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Leaf hash of the decision.
    pub decision: Digest,
    /// Rows received.
    pub rows: u64,
    /// Messages received.
    pub messages: u64,
    /// Stream root over the messages received.
    pub stream_root: Digest,
}

/// A read's receipt: openings of decision and outcome with their proofs. It needs no further
/// signature, for the proofs end in signed checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The decision's leaf, base64url.
    pub decision: String,
    /// The outcome's leaf, base64url; empty while the read runs.
    pub outcome: String,
    /// c2sp.org/tlog-proof of the decision.
    pub decision_proof: String,
    /// c2sp.org/tlog-proof of the outcome.
    pub outcome_proof: String,
    /// Salt of the stream root, base64url.
    pub stream_salt: String,
}

/// One read as one file: what was agreed, what was asked, what its provider decided and says that
/// it sent, with proofs in the log that it signed. To verify it nothing is needed but the
/// authority's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFile {
    /// Always `perron-receipt/v1`.
    #[serde(rename = "type")]
    pub kind: ReceiptKind,
    /// The agreement under which it was read.
    pub envelope: Envelope,
    /// The request as signed (compact JWS).
    pub request: String,
    /// Decision and outcome, with their proofs.
    pub receipt: Receipt,
    /// Entries of the register about both parties at the time when the file was made (compact JWS
    /// of the authority): for keys that the agreement's envelope doesn't know yet.
    pub entries: Vec<String>,
}

/// Type mark of a receipt as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceiptKind {
    /// A receipt of version 1.
    #[serde(rename = "perron-receipt/v1")]
    V1,
}

/// What travels beside a request, and its provider keeps: the consumer's log held the intent
/// before it asked, and held this much of the provider's log. So the two logs entangle without
/// another write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The intent's leaf, base64url.
    pub intent: String,
    /// c2sp.org/tlog-proof of the intent, in the consumer's newest durable checkpoint.
    pub intent_proof: String,
    /// Size of the provider's log of which the consumer holds a checkpoint; 0 for none.
    pub held_size: u64,
}

/// The claims of a compact JWS that was verified before, as it lies in the log.
pub fn claims_of(jws: &str) -> Result<ReadRequest> {
    let payload = jws.split('.').nth(1).ok_or_else(|| Error::malformed("not a compact JWS"))?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Error::malformed("a JWS payload is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::malformed(format!("not a read request: {e}")))
}
