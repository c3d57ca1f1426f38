//! The rules of a policy in the form that is evaluated: what the Rego modules get as `input.agreement.rules`.
//!
//! A rule's constraints and refinements are a flat list of nodes. A test compares what its left
//! operand is now with an interval of whole numbers or with a set of texts; a logical node combines
//! nodes that stand before it, so that nothing has to be evaluated twice or recursively. Each
//! node, rule and duty says where it stands in the signed document (`at`).
//!
//! What holds is told in three values: a test whose left operand isn't known neither holds nor
//! fails (Kleene's logic). A permission needs what holds; a prohibition is set aside only by what
//! fails: so what isn't known refuses (invariant 4).

use crate::policy::constraint::Scalar;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// In the place of an action, a party or a target: whatever is asked, whoever asks.
pub const ANY: &str = "*";
/// Largest number that a test compares with, and minus it the smallest: what JSON's readers keep
/// exactly (RFC 7493, section 2.2).
pub const NUMBER_MAX: i64 = 9_007_199_254_740_991;

/// The rules of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What is permitted: a read needs one that is active.
    pub permissions: Vec<Rule>,
    /// What is prohibited: an active one refuses, whatever is permitted (conflict `prohibit`).
    pub prohibitions: Vec<Rule>,
    /// What is owed independently of a permission: one that is violated refuses.
    pub obligations: Vec<Duty>,
}

/// A permission or a prohibition (ODRL 2.2 Information Model, sections 2.6.1 and 2.6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Place in the signed document: `permission[0]`.
    pub at: String,
    /// Action IRI, or [`ANY`]. An action holds those that are `includedIn` it.
    pub action: String,
    /// Who is permitted or prohibited: a participant, a collection of parties, or [`ANY`].
    pub assignee: String,
    /// What it is about: a set, a collection of assets, or [`ANY`].
    pub target: String,
    /// Numbers of the nodes that all have to hold: the constraints and the refinements, logical
    /// ones by their uppermost node.
    pub all: Vec<u32>,
    /// The nodes.
    pub nodes: Nodes,
    /// Duties that have to be fulfilled first (permissions only).
    pub duties: Vec<Duty>,
}

/// The nodes of a rule, by kind. Numbers are unique in a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// The left operand is a number of an interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// The left operand is another number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Differs>,
    /// One of the left operand's values is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<OneOf>,
    /// None of the left operand's values is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<OneOf>,
    /// All of these are values of the left operand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub every: Vec<OneOf>,
    /// Logical nodes by level: those of the first combine tests, those of a further one what
    /// stands in the levels before it. At most
    /// [`POLICY_LOGIC_LEVELS_MAX`](crate::limits::POLICY_LOGIC_LEVELS_MAX) levels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logic: Vec<Vec<Logical>>,
}

/// `min ≤ left ≤ max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Number of the node.
    pub id: u32,
    /// Place in the signed document: `permission[0].constraint[2]`.
    pub at: String,
    /// Left operand, by the key of its value ([`Left::key`](crate::policy::Left::key)).
    pub left: String,
    /// Smallest number that holds.
    pub min: i64,
    /// Largest number that holds.
    pub max: i64,
}

/// `left ≠ value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// Number of the node.
    pub id: u32,
    /// Place in the signed document.
    pub at: String,
    /// Left operand.
    pub left: String,
    /// The one number that doesn't hold.
    pub value: i64,
}

/// A comparison of the left operand's values with a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    /// Number of the node.
    pub id: u32,
    /// Place in the signed document.
    pub at: String,
    /// Left operand.
    pub left: String,
    /// The set, at least one.
    pub values: Vec<Scalar>,
}

/// A logical constraint (ODRL 2.2 Information Model, section 2.5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logical {
    /// Number of the node.
    pub id: u32,
    /// Place in the signed document.
    pub at: String,
    /// How the nodes are combined.
    pub operator: Logic,
    /// Numbers of the nodes combined, in their order.
    pub of: Vec<u32>,
}

/// How a logical constraint combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Logic {
    /// All hold.
    And,
    /// At least one holds.
    Or,
    /// Exactly one holds.
    Xone,
    /// All hold, looked at in their order. At the one moment of a decision that is `And`.
    AndSequence,
}

/// A duty of a permission or an obligation of the policy (ODRL 2.2 Information Model, section 2.6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Place in the signed document, by which its state is kept: `permission[0].duty[1]`,
    /// `obligation[0]`.
    pub at: String,
    /// Action IRI: `…/odrl/2/delete`, `…/odrl/2/inform`…
    pub action: String,
    /// Who owes it, where the policy says so: a participant. Else the consumer owes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// It is to be fulfilled before this time, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<i64>,
    /// It is to be fulfilled within this time after the agreement was made, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<i64>,
}

impl Rule {
    /// A rule about `action`, for anybody and whatever is asked, without constraints yet.
    pub fn new(at: &str, action: &str) -> Rule {
        Rule {
            at: at.to_owned(),
            action: action.to_owned(),
            assignee: ANY.to_owned(),
            target: ANY.to_owned(),
            all: Vec::new(),
            nodes: Nodes::default(),
            duties: Vec::new(),
        }
    }
}

impl Nodes {
    /// The tests, each with its number, its place and the key of its left operand.
    pub fn tests(&self) -> impl Iterator<Item = (u32, &str, &str)> {
        let ranges = self.ranges.iter().map(|n| (n.id, n.at.as_str(), n.left.as_str()));
        let differs = self.differs.iter().map(|n| (n.id, n.at.as_str(), n.left.as_str()));
        let sets = [&self.any, &self.none, &self.every].into_iter().flatten();
        ranges.chain(differs).chain(sets.map(|n| (n.id, n.at.as_str(), n.left.as_str())))
    }
}

impl Rules {
    /// Can the answer to one request change while it runs, other than by the end that
    /// [`Terms::until`](crate::policy::Terms::until) tells? Then a running read is looked at again.
    pub fn may_change(&self) -> bool {
        let [only] = self.permissions.as_slice() else { return true };
        let changes = |left: &str| left.starts_with("fact/") || matches!(left, "elapsedTime" | "spatial");
        let (mut tests, owed) = (only.nodes.tests(), !only.duties.is_empty() || !self.obligations.is_empty());
        owed || !self.prohibitions.is_empty() || !only.nodes.logic.is_empty() || tests.any(|(_, _, left)| changes(left))
    }
    /// Names of the facts that the rules ask for.
    pub fn facts(&self) -> BTreeSet<&str> {
        let rules = self.permissions.iter().chain(&self.prohibitions);
        rules.flat_map(|r| r.nodes.tests()).filter_map(|(_, _, left)| left.strip_prefix("fact/")).collect()
    }
    /// The duties of all permissions and the obligations, in the order of the document.
    pub fn duties(&self) -> impl Iterator<Item = &Duty> {
        self.permissions.iter().flat_map(|p| &p.duties).chain(&self.obligations)
    }
}

/// Rules in JSON where they are shared in memory.
pub mod shared {
    use super::Rules;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    /// Writes them.
    pub fn serialize<S: Serializer>(rules: &Arc<Rules>, to: S) -> Result<S::Ok, S::Error> {
        rules.as_ref().serialize(to)
    }
    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Rules>, D::Error> {
        Rules::deserialize(from).map(Arc::new)
    }
}
