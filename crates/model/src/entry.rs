//! Entries of the log: deterministic CBOR (RFC 8949, 4.2.1) with integer keys.
//!
//! Number, time, previous hash and chain position are set by the writer. Each entry carries 16
//! random bytes, for proofs hand out neighbours' hashes and a plain entry would be guessable.

use crate::error::{Error, Result};
use crate::id::Digest;
use crate::time::Timestamp;
use minicbor::{Decode, Encode};

/// Format version of entries.
pub const ENTRY_VERSION: u8 = 1;

/// Sixteen bytes that make a leaf unguessable.
pub type Blind = minicbor::bytes::ByteArray<16>;

/// What every entry has, around its body.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Format version.
    #[n(0)]
    pub version: u8,
    /// Position in the log, from 0.
    #[n(1)]
    pub index: u64,
    /// When it was written; never decreases but after a `clock jump`.
    #[n(2)]
    pub time: Timestamp,
    /// Leaf hash of the entry before; none for the first of a generation.
    #[n(3)]
    pub previous: Option<Digest>,
    /// Sixteen random bytes.
    #[n(4)]
    pub blind: Blind,
    /// Position in an agreement's chain, for entries that belong to one.
    #[n(5)]
    pub chain: Option<ChainPosition>,
    /// W3C trace id (16 bytes), where the act had one.
    #[n(6)]
    pub trace: Option<minicbor::bytes::ByteVec>,
    /// Participant on whose behalf another acted (delegation chain); room for mandates.
    #[n(7)]
    pub on_behalf_of: Option<Vec<String>>,
    /// Processing activity (GDPR Art. 30), where the owner named one.
    #[n(8)]
    pub processing_activity: Option<String>,
    /// What happened.
    #[n(9)]
    pub body: Body,
}

/// Position in the chain of an agreement's entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChainPosition {
    /// The agreement.
    #[n(0)]
    pub agreement: Digest,
    /// Number in the chain, from 0.
    #[n(1)]
    pub number: u64,
    /// Leaf hash of the chain's previous entry; none for number 0.
    #[n(2)]
    pub previous: Option<Digest>,
}

/// What happened. The number of each kind is for ever.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Body {
    /// The process began to serve.
    #[n(1)]
    Start(#[n(0)] Start),
    /// The process ended in order.
    #[n(2)]
    Stop(#[n(0)] Stop),
    /// Bytes of an unfinished record were moved aside.
    #[n(3)]
    Recovery(#[n(0)] Recovery),
    /// The clock went back.
    #[n(4)]
    ClockJump(#[n(0)] ClockJump),
    /// A step of a negotiation.
    #[n(10)]
    Negotiation(#[n(0)] Negotiation),
    /// An agreement is in force; its envelope is attached.
    #[n(11)]
    Agreement(#[n(0)] Agreement),
    /// The consumer's intent to read, before the request leaves.
    #[n(20)]
    Intent(#[n(0)] Intent),
    /// The provider's decision about a read.
    #[n(21)]
    Decision(#[n(0)] Decision),
    /// How a permitted read ended.
    #[n(22)]
    Outcome(#[n(0)] Outcome),
    /// The consumer's record of what it received.
    #[n(23)]
    Received(#[n(0)] Received),
    /// A table was released.
    #[n(24)]
    Release(#[n(0)] Release),
    /// A peer may see a view's schema for an hour.
    #[n(25)]
    SchemaGrant(#[n(0)] SchemaGrant),
    /// A statement was refused before its execution: nothing of it ran.
    #[n(26)]
    PlanRefusal(#[n(0)] PlanRefusal),
    /// Refusals too many or too broken for an entry each.
    #[n(30)]
    RefusalSummary(#[n(0)] RefusalSummary),
    /// A partner's checkpoint was checked, kept and cosigned.
    #[n(31)]
    CheckpointKept(#[n(0)] CheckpointKept),
    /// A user of the organisation was refused by its own rules.
    #[n(32)]
    StaffRefusal(#[n(0)] StaffRefusal),
    /// An act of administration.
    #[n(40)]
    Administration(#[n(0)] Administration),
    /// A register version was taken into use.
    #[n(41)]
    RegisterSeen(#[n(0)] RegisterSeen),
}

/// See [`Body::Start`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Start {
    /// Program version.
    #[n(0)]
    pub program: String,
    /// Origin of this log.
    #[n(1)]
    pub origin: String,
    /// Digests of the policy modules, by name.
    #[n(2)]
    pub modules: std::collections::BTreeMap<String, Digest>,
}

/// See [`Body::Stop`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stop {
    /// Why: `signal`, `command`.
    #[n(0)]
    pub reason: String,
}

/// See [`Body::Recovery`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recovery {
    /// Offset of the torn bytes in the segment.
    #[n(0)]
    pub offset: u64,
    /// How many.
    #[n(1)]
    pub length: u64,
    /// Their digest.
    #[n(2)]
    pub digest: Digest,
    /// Who was asked for a larger head, and answered.
    #[n(3)]
    pub asked: Vec<String>,
}

/// See [`Body::ClockJump`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClockJump {
    /// Time of the newest entry before.
    #[n(0)]
    pub from: Timestamp,
    /// What the clock showed.
    #[n(1)]
    pub to: Timestamp,
}

/// See [`Body::Negotiation`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Negotiation {
    /// The provider's number of the negotiation, or the consumer's before it has one.
    #[n(0)]
    pub id: String,
    /// The other side.
    #[n(1)]
    pub counterparty: String,
    /// Which side this log's owner is: `provider` or `consumer`.
    #[n(2)]
    pub side: String,
    /// Who sent the message: `provider` or `consumer`.
    #[n(3)]
    pub by: String,
    /// The message: `request`, `offer`…
    #[n(4)]
    pub message: String,
    /// State after it.
    #[n(5)]
    pub state: String,
    /// Digest of the message as received or sent.
    #[n(6)]
    pub digest: Digest,
    /// Who decided, where a person did: a random pseudonym.
    #[n(7)]
    pub decided_by: Option<String>,
}

/// See [`Body::Agreement`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Agreement {
    /// Its name.
    #[n(0)]
    pub agreement: Digest,
    /// Digest of the attached envelope.
    #[n(1)]
    pub envelope: Digest,
    /// The other side.
    #[n(2)]
    pub counterparty: String,
    /// `provider` or `consumer`.
    #[n(3)]
    pub side: String,
    /// The set.
    #[n(4)]
    pub dataset: String,
    /// Legal basis (DPV IRI).
    #[n(5)]
    pub legal_basis: String,
    /// Regime.
    #[n(6)]
    pub regime: String,
}

/// See [`Body::Intent`].
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
}

/// See [`Body::Decision`].
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
    /// Salted commitment to the evaluation's input, which is attached with its salt.
    #[n(5)]
    pub input: Digest,
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

/// See [`Body::Outcome`].
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
}

/// See [`Body::Received`].
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

/// See [`Body::Release`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// The set.
    #[n(0)]
    pub dataset: String,
    /// The snapshot that it was computed from.
    #[n(1)]
    pub snapshot: Digest,
    /// Digest of the released table's Parquet bytes.
    #[n(2)]
    pub table: Digest,
    /// Groups released.
    #[n(3)]
    pub groups: u64,
    /// Groups suppressed.
    #[n(4)]
    pub suppressed: u64,
}

/// See [`Body::SchemaGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SchemaGrant {
    /// Who asked.
    #[n(0)]
    pub peer: String,
    /// Hour, counted from the epoch.
    #[n(1)]
    pub hour: u64,
}

/// See [`Body::PlanRefusal`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PlanRefusal {
    /// Who asked.
    #[n(0)]
    pub peer: String,
    /// Stable code.
    #[n(1)]
    pub reason: String,
    /// Clause of the agreement's terms that refused, where one did.
    #[n(2)]
    pub clause: Option<String>,
    /// Salted digest of the statement: what it named can't be guessed from it.
    #[n(3)]
    pub statement: Digest,
}

/// See [`Body::RefusalSummary`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RefusalSummary {
    /// Who asked, by the channel.
    #[n(0)]
    pub peer: String,
    /// Stable code.
    #[n(1)]
    pub reason: String,
    /// Minute, counted from the epoch.
    #[n(2)]
    pub minute: u64,
    /// How many.
    #[n(3)]
    pub count: u64,
    /// RFC 6962 root over the digests of what was refused.
    #[n(4)]
    pub root: Digest,
}

/// See [`Body::CheckpointKept`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CheckpointKept {
    /// Origin of the other log.
    #[n(0)]
    pub origin: String,
    /// Its size.
    #[n(1)]
    pub size: u64,
    /// Its root.
    #[n(2)]
    pub root: Digest,
}

/// See [`Body::StaffRefusal`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StaffRefusal {
    /// Pseudonym of the user.
    #[n(0)]
    pub user: String,
    /// What they wanted.
    #[n(1)]
    pub action: String,
    /// Stable code.
    #[n(2)]
    pub reason: String,
    /// Purpose stated, for a query.
    #[n(3)]
    pub purpose: Option<String>,
}

/// See [`Body::Administration`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Administration {
    /// What: `dataset.add`, `user.add`…
    #[n(0)]
    pub action: String,
    /// Pseudonym of who did it, or `operator` for the owner of the socket.
    #[n(1)]
    pub actor: String,
    /// Digest of the canonical document that describes the change.
    #[n(2)]
    pub document: Digest,
}

/// See [`Body::RegisterSeen`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RegisterSeen {
    /// Version.
    #[n(0)]
    pub version: u64,
    /// Digest of its compact JWS.
    #[n(1)]
    pub digest: Digest,
}

/// What an attachment of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum AttachmentKind {
    /// A signed read request, as received.
    Request = 1,
    /// An agreement's envelope.
    Envelope = 2,
    /// 16 bytes of salt, then the canonical JSON of an evaluation's input.
    EvaluationInput = 3,
    /// A checkpoint note that was kept.
    Checkpoint = 4,
    /// A message of a negotiation.
    NegotiationMessage = 5,
    /// The canonical document of an administrative change.
    Document = 6,
    /// A register version: its compact JWS.
    Register = 7,
    /// A read's receipt, as its provider gave it (`request::Receipt`, JSON).
    Receipt = 8,
}

impl AttachmentKind {
    /// The kind of a number on disk.
    pub const fn from_u16(kind: u16) -> Option<AttachmentKind> {
        Some(match kind {
            1 => AttachmentKind::Request,
            2 => AttachmentKind::Envelope,
            3 => AttachmentKind::EvaluationInput,
            4 => AttachmentKind::Checkpoint,
            5 => AttachmentKind::NegotiationMessage,
            6 => AttachmentKind::Document,
            7 => AttachmentKind::Register,
            8 => AttachmentKind::Receipt,
            _ => return None,
        })
    }
}

impl Entry {
    /// The entry's bytes: a leaf of the log.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        minicbor::to_vec(self).map_err(|e| Error::malformed(format!("an entry can't be encoded: {e}")))
    }

    /// Reads a leaf; any bytes but the canonical ones are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry> {
        let entry: Entry = minicbor::decode(bytes).map_err(|e| Error::malformed(format!("not an entry: {e}")))?;
        if entry.version != ENTRY_VERSION {
            return Err(Error::malformed(format!("an entry of version {} is not known", entry.version)));
        }
        if entry.to_bytes()? == bytes {
            Ok(entry)
        } else {
            Err(Error::malformed("an entry is not in its canonical encoding"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_and_every_other_spelling_is_refused() {
        let entry = Entry {
            version: ENTRY_VERSION,
            index: 7,
            time: Timestamp::from_millis(1_790_000_000_000).unwrap(),
            previous: Some(Digest::of(b"p")),
            blind: [9; 16].into(),
            chain: None,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body: Body::Stop(Stop { reason: "signal".into() }),
        };
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::from_bytes(&bytes).unwrap(), entry);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            if let Ok(read) = Entry::from_bytes(&other) {
                assert_ne!(read, entry);
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Entry::from_bytes(&longer).is_err());
    }
}
