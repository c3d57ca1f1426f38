//! The compliance report of a policy: what each rule's premises and duties were, and which rules
//! are active. The module that the gate decides with gives it, at its entrypoint
//! `perron/odrl/report`.

use crate::decision::StateFacts;
use crate::policy::{Rules, Scalar};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a report is made from. Its members stand where those of
/// [`AccessInput`](crate::decision::AccessInput) stand, which is an input of reports too; here
/// parties and sets may be named by any IRI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportInput {
    /// Time of the evaluation; in JSON milliseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "now_ms", with = "crate::time::as_millis")]
    pub now: Timestamp,
    /// The request.
    pub request: ReportRequest,
    /// The policy.
    pub agreement: ReportAgreement,
    /// The parties.
    pub parties: ReportParties,
    /// The state of the world.
    pub state: StateFacts,
    /// Suite mode, off at the gate: a duty that is not set doesn't make its permission inactive,
    /// as the ODRL test suite of SolidLab expects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suite: bool,
}

/// A request to be reported on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// Who asks.
    pub issuer: String,
    /// Collections of parties that the issuer belongs to (`odrl:partOf`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuer_of: Vec<String>,
    /// Action IRI.
    pub action: String,
    /// What is asked for.
    pub target: String,
    /// Collections of assets that it belongs to (`odrl:partOf`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_of: Vec<String>,
    /// Purpose IRI, if one is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Roles of the user, if they are stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
}

/// What of an agreement a report needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportAgreement {
    /// The rules.
    #[serde(with = "crate::policy::rule::shared")]
    pub rules: Arc<Rules>,
    /// Legal basis, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
    /// When it was made, if that is known.
    #[serde(
        rename = "agreed_ms",
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::time::as_millis_option"
    )]
    pub agreed_at: Option<Timestamp>,
}

/// What of the parties a report needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportParties {
    /// The consumer's country of jurisdiction, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_jurisdiction: Option<String>,
}

/// The report: each rule, permissions first, then prohibitions, then obligations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Permissions in the order of the policy.
    pub permissions: Vec<RuleReport>,
    /// Prohibitions.
    pub prohibitions: Vec<RuleReport>,
    /// Obligations.
    pub obligations: Vec<DutyReport>,
    /// What follows: an active permission, no active prohibition, no violated obligation. The
    /// agreement's own grounds (standing, signatures…) aren't looked at.
    pub permit: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleReport {
    /// Its place.
    pub at: String,
    /// Is the request's action one of the rule's? (True for a rule of any action.)
    pub action: bool,
    /// Is who asks the rule's assignee, or part of it?
    pub party: bool,
    /// Is what is asked for the rule's target, or part of it?
    pub target: bool,
    /// Each node, in the order of its number.
    pub nodes: Vec<NodeReport>,
    /// Each duty.
    pub duties: Vec<DutyReport>,
    /// Is it active? A permission: action, party, target and all nodes hold and all duties are
    /// fulfilled. A prohibition: none of them fails.
    pub active: bool,
}

/// One node of a rule: a constraint or a refinement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeReport {
    /// Its number.
    pub id: u32,
    /// Its place.
    pub at: String,
    /// Does it hold?
    pub state: Satisfaction,
    /// Value of a test's left operand, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftValue>,
    /// Numbers of the nodes that a logical one combines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Vec<u32>>,
}

/// The value of a left operand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LeftValue {
    /// A whole number.
    Number(i64),
    /// Texts or truth values.
    Set(Vec<Scalar>),
}

/// Whether a constraint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Satisfaction {
    /// It holds.
    Satisfied,
    /// It doesn't.
    Unsatisfied,
    /// What it looks at isn't known.
    Unknown,
}

/// One duty or obligation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyReport {
    /// Its place.
    pub at: String,
    /// Its state.
    pub state: crate::decision::DutyState,
}
