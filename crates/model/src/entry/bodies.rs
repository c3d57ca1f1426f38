//! What each kind of entry says. A field's number is for ever.

use crate::id::Digest;
use crate::time::Timestamp;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// See [`super::Body::Start`].
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
    #[cbor(n(2), with = "super::by_name")]
    pub modules: BTreeMap<String, Digest>,
    /// Evaluator of the policies, with its version.
    #[n(3)]
    pub engine: Option<String>,
}

/// See [`super::Body::Stop`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stop {
    /// Why: `signal`, `command`.
    #[n(0)]
    pub reason: String,
}

/// See [`super::Body::Recovery`].
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

/// See [`super::Body::ClockJump`].
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

/// See [`super::Body::Negotiation`].
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

/// See [`super::Body::Agreement`].
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
    /// The agreement whose place it takes, for an amendment.
    #[n(7)]
    pub amends: Option<Digest>,
    /// Uses charged to the agreement before, which count on, for an amendment.
    #[n(8)]
    pub uses: Option<u64>,
    /// Bytes charged to the agreement before, which count on, for an amendment.
    #[n(9)]
    pub volume: Option<u64>,
}

/// See [`super::Body::Notice`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// Its name: SHA-256 of what was signed.
    #[n(0)]
    pub notice: Digest,
    /// Digest of the attached JWS.
    #[n(1)]
    pub signed: Digest,
    /// The other side.
    #[n(2)]
    pub counterparty: String,
    /// Which side this log's owner is: `provider` or `consumer`.
    #[n(3)]
    pub side: String,
    /// Who told: `provider` or `consumer`.
    #[n(4)]
    pub by: String,
    /// What it tells: `suspend`, `revoke`…
    #[n(5)]
    pub act: String,
    /// State of the agreement's newest version after it: `in-force`, `suspended` or `revoked`.
    #[n(6)]
    pub standing: String,
    /// Who decided, where a person of this side did: a random pseudonym.
    #[n(7)]
    pub decided_by: Option<String>,
}

/// See [`super::Body::Release`].
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
    /// Those of them that are safe alone and would give away others.
    #[n(5)]
    pub further: Option<u64>,
    /// ε that its noise cost, in millionths.
    #[n(6)]
    pub epsilon_micro: Option<u64>,
    /// ε that all tables of the set had cost after it, in millionths.
    #[n(7)]
    pub spent_micro: Option<u64>,
}

/// See [`super::Body::SchemaGrant`].
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

/// See [`super::Body::PlanRefusal`].
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

/// See [`super::Body::RefusalSummary`].
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

/// See [`super::Body::CheckpointKept`].
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
    /// Verifier key by which it was checked (C2SP signed-note), for a log that the register doesn't
    /// know and the configuration names.
    #[n(3)]
    pub key: Option<String>,
}

/// See [`super::Body::StaffRefusal`].
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

/// See [`super::Body::Extract`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Extract {
    /// For whom: the other party of the agreement.
    #[n(0)]
    pub to: String,
    /// Who made it out: a pseudonym, or `operator`; `partner` where the other party asked for it
    /// over the wire.
    #[n(1)]
    pub by: String,
}

/// See [`super::Body::Reconciled`]. The agreement is that of its chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reconciled {
    /// The other party.
    #[n(0)]
    pub partner: String,
    /// `same`; `differs`; `invalid`: what came doesn't hold; `refused`; `unanswered`.
    #[n(1)]
    pub result: String,
    /// Stable code, where nothing was compared.
    #[n(2)]
    pub reason: Option<String>,
    /// Number of the newest entry of our own chain that was compared, or that there was.
    #[n(3)]
    pub number: u64,
    /// Its leaf hash.
    #[n(4)]
    pub leaf: Digest,
    /// Entries of the partner's log under the signature that its extract ends in.
    #[n(5)]
    pub size: Option<u64>,
    /// The root that it signed.
    #[n(6)]
    pub root: Option<Digest>,
    /// Number of the newest entry of the partner's chain: that it gave the extract.
    #[n(7)]
    pub their_number: Option<u64>,
    /// Its leaf hash.
    #[n(8)]
    pub their_leaf: Option<Digest>,
    /// SHA-256 of the extract's bytes.
    #[n(9)]
    pub extract: Option<Digest>,
    /// Reads and notices that both chains tell alike.
    #[n(10)]
    pub matched: Option<u64>,
    /// Reads without an end at the consumer yet, and what is too new to be compared.
    #[n(11)]
    pub open: Option<u64>,
    /// How many differences there are, by the stable name of their kind.
    #[cbor(n(12), with = "super::by_name")]
    pub differences: BTreeMap<String, u64>,
}

/// See [`super::Body::LogQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogQuery {
    /// Pseudonym of the user.
    #[n(0)]
    pub user: String,
    /// Was it permitted?
    #[n(1)]
    pub permitted: bool,
    /// Reasons of a refusal: stable codes.
    #[n(2)]
    pub reasons: Vec<String>,
    /// What refused, in the order of the reasons: a part of the input, or `statement`.
    #[n(3)]
    pub clauses: Vec<String>,
    /// Digest of the policy module.
    #[n(4)]
    pub module: Digest,
    /// Salted commitment to the evaluation's input, which is attached with its salt.
    #[n(5)]
    pub input: Digest,
    /// Commitment to the statement, by the same salt.
    #[n(6)]
    pub statement: Digest,
    /// Entries that the statement sees: those before this number, all of which were durable.
    #[n(7)]
    pub entries: u64,
}

/// See [`super::Body::Administration`].
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
    /// Digest of the sealed name of the user that it is about, which is attached.
    #[n(3)]
    pub sealed: Option<Digest>,
}

/// See [`super::Body::RegisterSeen`].
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

/// Entries from one to another, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// The first.
    #[n(0)]
    pub first: u64,
    /// The last.
    #[n(1)]
    pub last: u64,
}

/// See [`super::Body::Erased`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Erased {
    /// Entries whose sealed values are erased, in their order: of each span all that have one.
    #[n(0)]
    pub entries: Vec<Span>,
    /// How many values these are.
    #[n(1)]
    pub values: u64,
    /// Ground: a letter of Regulation (EU) 2016/679, Article 17(1), as `A17-1-a`.
    #[n(2)]
    pub ground: String,
    /// Who did it: a random pseudonym, or `operator`.
    #[n(3)]
    pub by: String,
    /// Number of the key-encryption key that the vault goes by from here on.
    #[n(4)]
    pub vault: u64,
    /// Until when a backup of the key before could undo it.
    #[n(5)]
    pub until: Timestamp,
    /// Agreements in whose chains entries of these stand: their other parties get a notice.
    #[n(6)]
    pub agreements: Vec<Digest>,
    /// Pseudonym of a user whose name is erased from the list of users too.
    #[n(7)]
    pub user: Option<String>,
    /// Generation of the closed log that has these entries; absent where it is the log of this one.
    #[n(8)]
    pub log: Option<u64>,
}

/// See [`super::Body::Pruned`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pruned {
    /// Digest of the signed retention rule by which it is done.
    #[n(0)]
    pub rule: Digest,
    /// Digest of the attached document (`retention::Pruning`) that says which entries.
    #[n(1)]
    pub document: Digest,
    /// How many they are.
    #[n(2)]
    pub leaves: u64,
    /// Pseudonym of who asked for it, or `operator` for the owner of the socket.
    #[n(3)]
    pub actor: String,
}

/// See [`super::Body::Succession`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Succession {
    /// Origin of the log that was closed.
    #[n(0)]
    pub origin: String,
    /// Entries of it that were got back: it is closed after them.
    #[n(1)]
    pub size: u64,
    /// Root of the tree of these entries.
    #[n(2)]
    pub root: Digest,
    /// Entries of the largest head that others are known to hold of it.
    #[n(3)]
    pub held: u64,
    /// Entries lost, as far as it is known: `held` without `size`.
    #[n(4)]
    pub lost: u64,
    /// Digest of the description of the backup that it came back from, where there was one.
    #[n(5)]
    pub backup: Option<Digest>,
    /// Digest of the attached canonical document (`succession::SuccessionDocument`).
    #[n(6)]
    pub document: Digest,
}
