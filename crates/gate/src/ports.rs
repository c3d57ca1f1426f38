//! What the gate needs of the world.

use perron_model::dataset::{Dataset, Snapshot};
use perron_model::decision::{AccessInput, DutyState, StaffInput, Verdict};
use perron_model::participant::Status;
use perron_model::policy::{Scalar, Terms};
use perron_model::request::{Acknowledgement, ReadRequest};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, TraceId};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// The only clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// A read request whose signature was verified with its issuer's registered request key, and
/// whose issuer is the channel's participant.
#[derive(Clone, Debug)]
pub struct VerifiedRequest {
    /// The claims.
    pub request: ReadRequest,
    /// The compact JWS as received.
    pub jws: String,
    /// What came beside it and was verified with it (`request::Beside`, canonical JSON).
    pub beside: Option<Vec<u8>>,
    /// Its statement, sealed: kept with the decision and never looked at.
    pub sealed: Option<Vec<u8>>,
}

impl VerifiedRequest {
    /// SHA-256 of the JWS: the request's name in the log.
    pub fn digest(&self) -> Digest {
        Digest::of(self.jws.as_bytes())
    }
}

/// What a user of one's own organisation, who has shown who they are, asks of its log.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Pseudonym of the user for one's own log.
    pub user: String,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// SQL.
    pub statement: String,
    /// The trace that the user's tool began.
    pub trace: Option<TraceId>,
}

/// How a participant stands in the register in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its status; `Revoked` for one that the register doesn't hold.
    pub status: Status,
    /// Register version that says so.
    pub version: u64,
    /// Is that version within its time of use?
    pub fresh: bool,
    /// Was that version signed well after what this clock shows? Then the clock is wrong, and
    /// nothing that depends on it can be decided.
    pub clock_behind: bool,
}

/// The signed register in use.
pub trait Register: Send + Sync {
    /// The participant's standing at `now`.
    fn standing(&self, id: &ParticipantId, now: Timestamp) -> Standing;
    /// The participant's country of jurisdiction (ISO 3166-1 alpha-2), if the register holds it.
    fn jurisdiction(&self, id: &ParticipantId) -> Option<String>;
}

/// An agreement as the gate goes by it.
#[derive(Clone, Debug)]
pub struct AgreementInForce {
    /// Its name.
    pub id: AgreementId,
    /// Provider.
    pub provider: ParticipantId,
    /// Consumer.
    pub consumer: ParticipantId,
    /// Both signatures verified and FINALIZED.
    pub finalized: bool,
    /// Revoked or terminated since.
    pub revoked: bool,
    /// Suspended, for a time.
    pub suspended: bool,
    /// An amended version is in force in its place.
    pub amended: bool,
    /// When it was made: the time that both sides signed.
    pub agreed_at: Timestamp,
    /// What is known of the world that its policy may ask for.
    pub known: Known,
    /// Legal basis (DPV IRI).
    pub legal_basis: String,
    /// Normalised policy.
    pub terms: Arc<Terms>,
    /// The set.
    pub dataset: Arc<Dataset>,
    /// Its newest snapshot, if it has one.
    pub snapshot: Option<Snapshot>,
}

impl AgreementInForce {
    /// Why nothing is read under it, whatever its terms say.
    pub fn require_in_force(&self) -> Result<()> {
        let refuse = |code, detail: &str| Err(Error::new(code, detail));
        match self {
            a if !a.finalized => refuse(ErrorCode::AgreementNotInForce, "no agreement of this name is in force"),
            a if a.revoked => refuse(ErrorCode::AgreementRevoked, "the agreement was revoked"),
            a if a.suspended => refuse(ErrorCode::AgreementSuspended, "the agreement is suspended"),
            a if a.amended => refuse(ErrorCode::AgreementAmended, "the agreement was amended: another is in force"),
            _ => Ok(()),
        }
    }
}

/// What is known of the world that a policy may ask for. What isn't there isn't known, and
/// refuses a read whose policy asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// State of the policy's duties and obligations, by their places.
    pub duties: BTreeMap<String, DutyState>,
    /// Facts that the provider has declared, by name: at least those that the policy names.
    pub facts: BTreeMap<String, Scalar>,
    /// Collections that the provider has declared: at least those that the policy names.
    pub collections: Vec<String>,
    /// Collections of parties that the consumer belongs to.
    pub consumer_of: Vec<String>,
    /// Collections of assets that the set belongs to.
    pub dataset_of: Vec<String>,
}

/// Agreements by name.
pub trait Agreements: Send + Sync {
    /// The agreement, as provider.
    fn agreement(&self, id: &AgreementId) -> Option<AgreementInForce>;
}

/// A policy's answer and the module that gave it.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Permit or refusal.
    pub verdict: Verdict,
    /// Digest of the wasm module.
    pub module: Digest,
}

/// The policy evaluation.
pub trait Policy: Send + Sync {
    /// Evaluates the module `access`. An error is a refusal (invariant 4).
    fn access(&self, input: &AccessInput) -> impl Future<Output = Result<Evaluated>> + Send;
    /// Evaluates the module `staff`. An error is a refusal (invariant 4).
    fn staff(&self, input: &StaffInput) -> impl Future<Output = Result<Evaluated>> + Send;
}

/// What is to be made durable of a decision.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    /// The request as received.
    pub request: VerifiedRequest,
    /// Canonical JSON of the evaluation's input.
    pub input: Vec<u8>,
    /// The verdict.
    pub verdict: Verdict,
    /// Digest of the module that gave it.
    pub module: Digest,
    /// Snapshot that a permitted read sees.
    pub snapshot: Option<Digest>,
    /// Register version in force.
    pub register: u64,
    /// Legal basis of the agreement.
    pub legal_basis: Option<String>,
    /// Uses charged after it, where it is a permit.
    pub uses: u64,
    /// Bytes reserved for the read, where its policy counts volume.
    pub reserved: Option<u64>,
    /// Time of the decision.
    pub at: Timestamp,
    /// Is the agreement known here, so that the entry belongs to its chain?
    pub chained: bool,
}

/// What is to be made durable of a decision about a statement over one's own log.
#[derive(Clone, Debug)]
pub struct LogQueryRecord {
    /// What was asked, and by whom.
    pub request: LogRequest,
    /// Canonical JSON of the evaluation's input.
    pub input: Vec<u8>,
    /// The verdict.
    pub verdict: Verdict,
    /// Digest of the module that gave it.
    pub module: Digest,
    /// Entries that the statement may see.
    pub entries: u64,
}

/// Proof that a decision is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Position in the log.
    pub index: u64,
    /// Leaf hash.
    pub leaf: Digest,
}

/// The log, and the counters that are entries of it.
pub trait Ledger: Send + Sync {
    /// What holds an agreement's counters still from evaluation to enqueue.
    type Turn: Send;
    /// Waits for the agreement's turn; within it the counters don't move.
    fn turn(&self, agreement: &AgreementId) -> impl Future<Output = Self::Turn> + Send;
    /// Counters of the agreement as a request finds them that brings these acknowledgements: they
    /// count for itself, or a consumer that had to catch up could never ask again.
    fn state(
        &self,
        agreement: &AgreementId,
        now: Timestamp,
        acknowledged: &[Acknowledgement],
    ) -> perron_model::decision::StateFacts;
    /// Enqueues the decision in the order of turns, then waits until it is durable. The turn ends
    /// when the decision has its place in the order. A repeated request digest or nonce is refused
    /// here, where order is made.
    fn record(&self, turn: Self::Turn, record: DecisionRecord) -> impl Future<Output = Result<Recorded>> + Send;
    /// Entries of the log that are durable now.
    fn durable(&self) -> u64;
    /// Enqueues a decision about a statement over the log, then waits until it is durable.
    fn record_log_query(&self, record: LogQueryRecord) -> impl Future<Output = Result<Recorded>> + Send;
    /// May a single refusal entry be written for this peer and user now, or is it over the rate?
    fn refusal_rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool;
    /// Counts a refusal into the summary of its peer, reason and minute.
    fn summarise(&self, peer: &ParticipantId, reason: perron_model::ErrorCode, refused: Digest, now: Timestamp);
}
