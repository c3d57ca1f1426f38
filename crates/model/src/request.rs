//! The signed read request, and what travels with it.

use crate::id::{AgreementId, Digest, ParticipantId};
use crate::time::Timestamp;
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
