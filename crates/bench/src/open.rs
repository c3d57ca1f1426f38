//! A gate whose ports let one agreement's reads and releases through: what comes after the gate is
//! measured, not the gate.

use perron::ledger::SystemClock;
use perron_gate::{
    AgreementInForce, Agreements, Clock, DecisionRecord, Evaluated, Gate, Known, Ledger, LogQueryRecord, Policy,
    Recorded, Register, Standing, VerifiedRequest,
};
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::decision::{AccessInput, StaffInput, StateFacts, Verdict};
use perron_model::participant::Status;
use perron_model::policy::odrl;
use perron_model::request::{Acknowledgement, ReadRequest};
use perron_model::{AgreementId, Digest, ErrorCode, ParticipantId, Result, Timestamp};
use serde_json::Value as Json;
use std::sync::Arc;

/// The ports, with the agreement that they tell of.
pub struct Open(AgreementInForce);

/// A gate over them.
pub type OpenGate<'a> = Gate<&'a Open, &'a Open, &'a Open, &'a Open, &'a Open>;

impl Open {
    /// An agreement over a snapshot of a set, under a policy.
    pub fn agreement(dataset: Dataset, snapshot: &Snapshot, policy: &Json) -> Result<Open> {
        Ok(Open(AgreementInForce {
            id: Digest::of(b"agreement"),
            provider: ParticipantId::parse("provider")?,
            consumer: ParticipantId::parse("consumer")?,
            finalized: true,
            revoked: false,
            suspended: false,
            amended: false,
            agreed_at: Timestamp::EPOCH,
            known: Known::default(),
            legal_basis: String::new(),
            terms: Arc::new(odrl::parse(policy, &dataset, None)?),
            dataset: Arc::new(dataset),
            snapshot: Some(snapshot.clone()),
        }))
    }

    /// The agreement's name.
    pub fn id(&self) -> AgreementId {
        self.0.id
    }

    /// The gate.
    pub fn gate(&self) -> OpenGate<'_> {
        Gate::new(self.0.provider.clone(), self, self, self, self, self)
    }

    /// A request for a read under the agreement.
    pub fn request(&self) -> VerifiedRequest {
        let request = ReadRequest {
            id: String::new(),
            issuer: self.0.consumer.clone(),
            provider: self.0.provider.clone(),
            agreement: self.0.id,
            action: String::new(),
            purpose: crate::space::PURPOSE.to_owned(),
            statement: Digest::of(b""),
            user: String::new(),
            grant: String::new(),
            nonce: String::new(),
            time: SystemClock.now(),
            trace: None,
            roles: None,
            seen: None,
            acknowledged: Vec::new(),
        };
        VerifiedRequest { request, jws: String::new(), beside: None, sealed: None }
    }
}

impl Register for &Open {
    fn standing(&self, _: &ParticipantId, _: Timestamp) -> Standing {
        Standing { status: Status::Active, version: 1, fresh: true, clock_behind: false }
    }
    fn jurisdiction(&self, _: &ParticipantId) -> Option<String> {
        None
    }
}
impl Agreements for &Open {
    fn agreement(&self, _: &AgreementId) -> Option<AgreementInForce> {
        Some(self.0.clone())
    }
}
impl Policy for &Open {
    async fn access(&self, _: &AccessInput) -> Result<Evaluated> {
        Ok(Evaluated { verdict: Verdict::Permit, module: Digest::of(b"") })
    }
    async fn staff(&self, _: &StaffInput) -> Result<Evaluated> {
        Ok(Evaluated { verdict: Verdict::Permit, module: Digest::of(b"") })
    }
}
impl Ledger for &Open {
    type Turn = ();
    async fn turn(&self, _: &AgreementId) {}
    fn state(&self, _: &AgreementId, _: Timestamp, _: &[Acknowledgement]) -> StateFacts {
        StateFacts::default()
    }
    async fn record(&self, (): (), _: DecisionRecord) -> Result<Recorded> {
        Ok(Recorded { index: 0, leaf: Digest::of(b"leaf") })
    }
    fn durable(&self) -> u64 {
        0
    }
    async fn record_log_query(&self, _: LogQueryRecord) -> Result<Recorded> {
        Ok(Recorded { index: 0, leaf: Digest::of(b"leaf") })
    }
    fn refusal_rate_ok(&self, _: &ParticipantId, _: &str, _: Timestamp) -> bool {
        true
    }
    fn summarise(&self, _: &ParticipantId, _: ErrorCode, _: Digest, _: Timestamp) {}
}
impl Clock for &Open {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}
