//! A decision: a function of recorded inputs and recorded policy digests.

use crate::error::ErrorCode;
use crate::id::{AgreementId, Digest, ParticipantId};
use crate::participant::Status;
use crate::policy::Terms;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// All that a decision about a read depends on; `input` of the Rego module `access`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessInput {
    /// Time of the decision.
    pub now: Timestamp,
    /// The request, as far as a policy may look at it.
    pub request: RequestFacts,
    /// The agreement.
    pub agreement: AgreementFacts,
    /// Both participants.
    pub parties: PartyFacts,
    /// State that counts.
    pub state: StateFacts,
}

/// The request's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFacts {
    /// Who asks: the verified issuer.
    pub issuer: ParticipantId,
    /// Who is asked.
    pub provider: ParticipantId,
    /// Action IRI.
    pub action: String,
    /// Purpose IRI.
    pub purpose: String,
}

/// The agreement's facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementFacts {
    /// Its name.
    pub id: AgreementId,
    /// Provider.
    pub provider: ParticipantId,
    /// Consumer.
    pub consumer: ParticipantId,
    /// Is it finalized by both signatures?
    pub finalized: bool,
    /// Was it revoked or terminated?
    pub revoked: bool,
    /// Is it suspended?
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Is an amended version in force in its place?
    #[serde(default, skip_serializing_if = "is_false")]
    pub amended: bool,
    /// Legal basis of the offer (DPV IRI).
    pub legal_basis: String,
    /// Normalised terms.
    pub terms: Terms,
}

/// What an input leaves out: the inputs of decisions before it could be told stay as they were.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Standing of both parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyFacts {
    /// The provider's.
    pub provider: Status,
    /// The consumer's.
    pub consumer: Status,
    /// Is the register within its time of use?
    pub register_fresh: bool,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFacts {
    /// Uses charged before this one.
    pub uses: u64,
    /// Reads not acknowledged by the consumer.
    pub unacknowledged: u64,
    /// Age of the oldest of them, in milliseconds.
    pub unacknowledged_ms: i64,
}

/// What the policy answers. A permit has no reasons; a refusal has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Permitted.
    Permit,
    /// Refused, with the reasons in the order of the codes.
    Refuse(Vec<Refused>),
}

/// One reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Stable code.
    pub code: String,
    /// Clause of the agreement that refuses, as a path in its terms (`purposes`, `not_after`…).
    pub clause: String,
}

impl Refused {
    /// The code, if it is one of the table.
    pub fn error_code(&self) -> ErrorCode {
        ErrorCode::parse(&self.code).unwrap_or(ErrorCode::EvaluationFailed)
    }
}

/// Input of the Rego module `staff`: may a user of one's own organisation do this?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaffInput {
    /// Roles of the user.
    pub roles: Vec<String>,
    /// What they want: `query`, `dataset.add`, `audit.list`…
    pub action: String,
    /// For `query`: the agreement asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<AgreementId>,
    /// For `query`: the purpose stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Agreements granted to the user.
    pub granted_agreements: Vec<AgreementId>,
    /// Purposes granted to the user.
    pub granted_purposes: Vec<String>,
}

/// Digest of each policy module that a decision was made with, by name.
pub type ModuleDigests = std::collections::BTreeMap<String, Digest>;
