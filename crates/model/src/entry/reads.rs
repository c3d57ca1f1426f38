//! What entries about single reads say. A field's number is for ever.

use super::AttachmentKind;
use crate::id::Digest;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// See [`super::Body::Intent`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Intent {
    /// Digest of the signed request, which is attached.
    #[n(0)]
    pub request: Digest,
    /// Pseudonym of the user for this counterparty.
    #[n(1)]
    pub user: String,
    /// Purpose stated.
    #[n(2)]
    pub purpose: String,
    /// Who is asked.
    #[n(3)]
    pub provider: String,
    /// Digest of the sealed statement, which is attached.
    #[n(4)]
    pub sealed: Option<Digest>,
}

/// See [`super::Body::Decision`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decision {
    /// Digest of the signed request, which is attached.
    #[n(0)]
    pub request: Digest,
    /// Was it permitted?
    #[n(1)]
    pub permitted: bool,
    /// Reasons of a refusal: stable codes.
    #[n(2)]
    pub reasons: Vec<String>,
    /// Clauses that refused, in the order of the reasons.
    #[n(3)]
    pub clauses: Vec<String>,
    /// Digest of the policy module.
    #[n(4)]
    pub module: Digest,
    /// Salted commitment to the evaluation's input, which is attached with its salt; in entries
    /// without `attached`.
    #[n(5)]
    pub input: Option<Digest>,
    /// Snapshot that a permitted read sees.
    #[n(6)]
    pub snapshot: Option<Digest>,
    /// Uses charged to the agreement after this decision.
    #[n(7)]
    pub uses: u64,
    /// Register version in force.
    #[n(8)]
    pub register: u64,
    /// The asking organisation.
    #[n(9)]
    pub consumer: String,
    /// Purpose stated.
    #[n(10)]
    pub purpose: String,
    /// Legal basis (DPV IRI).
    #[n(11)]
    pub legal_basis: Option<String>,
    /// Pseudonym of the user.
    #[n(12)]
    pub user: String,
    /// Digest of what travelled beside the request, which is attached; in entries without `attached`.
    #[n(13)]
    pub beside: Option<Digest>,
    /// Bytes reserved for a permitted read, where its policy counts volume: no more of it leaves.
    #[n(14)]
    pub reserved: Option<u64>,
    /// Bytes charged to the agreement and reserved after this decision, where it reserves some.
    #[n(15)]
    pub volume: Option<u64>,
    /// One digest of all that is attached but the request ([`digest_of_parts`]): the evaluation's
    /// input with its salt, what travelled beside the request, the sealed statement.
    #[n(16)]
    pub attached: Option<Digest>,
    /// `true` where the sealed statement is among it, else absent.
    #[n(17)]
    pub sealed: Option<bool>,
}

/// SHA-256 over several attachments of one entry: of each, in the order of their kinds, the number of
/// its kind in two bytes, most significant first, and the SHA-256 of its bytes. One digest in the
/// tree binds them all, and each can be shown by itself with the digests of the others.
pub fn digest_of_parts<'p>(parts: impl IntoIterator<Item = (AttachmentKind, &'p [u8])>) -> Digest {
    let by_kind: BTreeMap<u16, Digest> =
        parts.into_iter().map(|(kind, bytes)| (kind as u16, Digest::of(bytes))).collect();
    let listed: Vec<u8> =
        by_kind.iter().flat_map(|(kind, digest)| kind.to_be_bytes().into_iter().chain(*digest.as_bytes())).collect();
    Digest::of(&listed)
}

/// How a permitted read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OutcomeStatus {
    /// All rows left.
    #[n(0)]
    Complete,
    /// The consumer went away.
    #[n(1)]
    CutByConsumer,
    /// The participant, the agreement or its window ended.
    #[n(2)]
    CutByRevocation,
    /// An error; the rows counted may have left.
    #[n(3)]
    CutByError,
    /// No row left, and none can: the use is returned.
    #[n(4)]
    NothingLeft,
    /// The process ended in between.
    #[n(5)]
    UnknownAfterCrash,
}

impl OutcomeStatus {
    /// The status where so many rows left: without any, only one that is complete stays.
    #[must_use]
    pub const fn with(self, rows: u64) -> OutcomeStatus {
        match self {
            OutcomeStatus::Complete => self,
            _ if rows == 0 => OutcomeStatus::NothingLeft,
            _ => self,
        }
    }

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            OutcomeStatus::Complete => "complete",
            OutcomeStatus::CutByConsumer => "cut-by-consumer",
            OutcomeStatus::CutByRevocation => "cut-by-revocation",
            OutcomeStatus::CutByError => "cut-by-error",
            OutcomeStatus::NothingLeft => "nothing-left",
            OutcomeStatus::UnknownAfterCrash => "unknown-after-crash",
        }
    }
}

/// See [`super::Body::Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Outcome {
    /// Leaf hash of the decision.
    #[n(0)]
    pub decision: Digest,
    /// How it ended.
    #[n(1)]
    pub status: OutcomeStatus,
    /// Stable code, where an error cut it.
    #[n(2)]
    pub reason: Option<String>,
    /// Batches sent.
    #[n(3)]
    pub batches: u64,
    /// Rows sent.
    #[n(4)]
    pub rows: u64,
    /// Bytes sent.
    #[n(5)]
    pub bytes: u64,
    /// Flight messages sent.
    #[n(6)]
    pub messages: u64,
    /// RFC 6962 root over the salted hashes of the messages sent.
    #[n(7)]
    pub stream_root: Digest,
    /// Uses charged to the agreement after this outcome.
    #[n(8)]
    pub uses: u64,
    /// Bytes charged to the agreement and reserved after this outcome, where its decision reserved
    /// some: what didn't leave is given back, unless a crash hides what left.
    #[n(9)]
    pub volume: Option<u64>,
}

/// See [`super::Body::Received`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Received {
    /// Digest of the signed request.
    #[n(0)]
    pub request: Digest,
    /// The provider's decision, by leaf hash.
    #[n(1)]
    pub decision: Option<Digest>,
    /// The provider's outcome, by leaf hash.
    #[n(2)]
    pub outcome: Option<Digest>,
    /// Rows received.
    #[n(3)]
    pub rows: u64,
    /// Messages received.
    #[n(4)]
    pub messages: u64,
    /// Stream root over the messages received.
    #[n(5)]
    pub stream_root: Digest,
    /// Stable code of the refusal or error, if it was one.
    #[n(6)]
    pub refused: Option<String>,
    /// Digest of the attached receipt, where the provider gave one.
    #[n(7)]
    pub receipt: Option<Digest>,
}
