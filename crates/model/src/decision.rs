//! A decision: a function of recorded inputs and recorded policy digests.

use crate::error::ErrorCode;
use crate::id::{AgreementId, Digest, ParticipantId};
use crate::participant::Status;
use crate::policy::{Rules, Scalar};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that a decision about a read depends on; `input` of the Rego module `access`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessInput {
    /// Time of the decision; in JSON milliseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "now_ms", with = "crate::time::as_millis")]
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
    /// Collections of parties that the issuer belongs to (`odrl:partOf`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuer_of: Vec<String>,
    /// Who is asked.
    pub provider: ParticipantId,
    /// Action IRI.
    pub action: String,
    /// Purpose IRI.
    pub purpose: String,
    /// The set asked for.
    pub target: String,
    /// Collections of assets that the set belongs to (`odrl:partOf`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_of: Vec<String>,
    /// Roles of the user, if the consumer's connector states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
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
    /// When it was made: the time that both sides signed; in JSON milliseconds since
    /// 1970-01-01T00:00:00Z.
    #[serde(rename = "agreed_ms", with = "crate::time::as_millis")]
    pub agreed_at: Timestamp,
    /// Was it revoked or terminated?
    pub revoked: bool,
    /// Is it suspended?
    pub suspended: bool,
    /// Is an amended version in force in its place?
    pub amended: bool,
    /// Legal basis of the offer (DPV IRI).
    pub legal_basis: String,
    /// The policy's rules, normalised.
    #[serde(with = "crate::policy::rule::shared")]
    pub rules: Arc<Rules>,
}

/// Standing of both parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyFacts {
    /// The provider's.
    pub provider: Status,
    /// The consumer's.
    pub consumer: Status,
    /// The consumer's country of jurisdiction (ISO 3166-1 alpha-2), if the register holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_jurisdiction: Option<String>,
    /// Is the register within its time of use?
    pub register_fresh: bool,
}

/// What was counted, and what is known of the world. What isn't known is absent, and refuses a
/// read whose policy asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFacts {
    /// Uses charged before this one.
    pub uses: u64,
    /// Uses charged in the hour before this one, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_last_hour: Option<u64>,
    /// Bytes that left under the agreement or are reserved by running reads, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bytes: Option<u64>,
    /// Reads not acknowledged by the consumer.
    pub unacknowledged: u64,
    /// Age of the oldest of them, in milliseconds.
    pub unacknowledged_ms: i64,
    /// Names of the collections that the rules are about and that the provider has declared: who
    /// or what belongs to another isn't known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<String>,
    /// State of duties and obligations by their place in the signed document; one that is absent
    /// is not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub duties: BTreeMap<String, DutyState>,
    /// Facts that the provider has declared, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Scalar>,
}

/// Deontic state of a duty (W3C ODRL Formal Semantics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DutyState {
    /// Owed, neither fulfilled nor violated.
    NotSet,
    /// Fulfilled.
    Fulfilled,
    /// Its time passed, or it was broken.
    Violated,
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
    /// Clause that refuses: a place in the signed policy (`permission[0].constraint[2]`), or what of
    /// the agreement, the parties or the request does (`parties.consumer`, `assignee`…).
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
pub type ModuleDigests = BTreeMap<String, Digest>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_no_table_has_is_an_evaluation_that_failed() {
        let refused = |code: &str| Refused { code: code.to_owned(), clause: String::new() }.error_code();
        assert_eq!(refused("prohibited"), ErrorCode::Prohibited);
        assert_eq!(refused("sunshine"), ErrorCode::EvaluationFailed);
    }
}
