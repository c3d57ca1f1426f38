//! The terms of a usage policy, each with what it compares, what enforces it, and who must be
//! trusted for it. The published profile (`policies/profile`), the reference page and `perron policy
//! coverage` are made from this table; what isn't here is refused when a policy is published.

use crate::vocabulary::ODRL;
use perron_model::policy::odrl::PROFILE;
use perron_model::policy::{Trust, known_action};
use serde::Serialize;

/// What carries a term out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The gate, before each read and while it runs.
    Gate,
    /// The row view, a barrier that no statement crosses.
    View,
    /// The released table that statements run over.
    ReleasedTable,
    /// The stream of an answer.
    Stream,
    /// A signed notice of who owes a duty, on which the gate waits.
    Notice,
    /// The log of both sides.
    Log,
    /// Nothing: a policy with it isn't published.
    Nothing,
}

/// Where a term stands in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Left operand of a constraint.
    LeftOperand,
    /// Action of a permission.
    PermittedAction,
    /// Action of a prohibition.
    ProhibitedAction,
    /// Action of a duty or an obligation.
    DutyAction,
    /// Left operand of a duty's constraint.
    Deadline,
    /// Whom or what a policy or a rule names.
    Member,
    /// Whom a duty names.
    DutyMember,
    /// Operand of a logical constraint.
    Logical,
}

/// What a left operand is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Not a left operand.
    None,
    /// `xsd:dateTime` with an offset.
    Time,
    /// `xsd:duration` of days, hours, minutes and seconds.
    Duration,
    /// `xsd:integer`.
    Integer,
    /// A term of the DPV, or a list of them.
    Dpv,
    /// A text or a name, or a list of them.
    Text,
    /// A text or a truth value.
    Fact,
    /// A literal of the column's type, or a list of them.
    Column,
    /// A list of columns.
    Columns,
    /// A list of dimensions.
    Dimensions,
    /// A list of measures.
    Measures,
    /// `xsd:integer` from 1 to 100.
    Percent,
    /// A name for a column of the released table.
    Name,
    /// A list of measures, each with the base that it is rounded to.
    Roundings,
    /// A list of measures, each with its ε and a bound.
    Noises,
    /// `xsd:decimal`, an ε.
    Epsilon,
}

/// One term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its compact name: `odrl:count`, `perron:floor`; `perron:column/<name>` for a family,
    /// `odrl:<action>` for the other actions of ODRL's vocabulary.
    pub name: &'static str,
    /// Where it stands.
    pub kind: Kind,
    /// Operators, by their local names in ODRL.
    pub operators: &'static [&'static str],
    /// What it is compared with.
    pub value: Value,
    /// What carries it out.
    pub by: By,
    /// Who must be trusted.
    pub trust: Trust,
}

const ORDER: &[&str] = &["eq", "neq", "lt", "lteq", "gt", "gteq"];
const SETS: &[&str] = &["eq", "neq", "isAnyOf", "isNoneOf"];
const ANY: &[&str] = &["eq", "isAnyOf"];
const ALL: &[&str] = &["isAllOf"];
const IS_ANY: &[&str] = &["isAnyOf"];
const EVENT: &[&str] = &["eq", "neq"];
const EQ: &[&str] = &["eq"];
const UNTIL: &[&str] = &["lt", "lteq"];
const BOUND: &[&str] = &["lt", "lteq", "gt", "gteq"];
const ROLES: &[&str] = &["eq", "neq", "isAnyOf", "isNoneOf", "isAllOf"];
const COLUMN: &[&str] = &["eq", "neq", "lt", "lteq", "gt", "gteq", "isAnyOf", "isNoneOf"];
const AT_MOST: &[&str] = &["lteq"];
const AT_LEAST: &[&str] = &["gteq"];

const PREVENTED: Trust = Trust::PreventedByProvider;
const CARRIED_OUT: Trust = Trust::CarriedOutByConsumer;
const RECORDED: Trust = Trust::Recorded;

const fn left(name: &'static str, operators: &'static [&'static str], value: Value, by: By, trust: Trust) -> Term {
    Term { name, kind: Kind::LeftOperand, operators, value, by, trust }
}

const fn action(name: &'static str, kind: Kind, by: By, trust: Trust) -> Term {
    Term { name, kind, operators: &[], value: Value::None, by, trust }
}

const fn deadline(name: &'static str, value: Value) -> Term {
    Term { name, kind: Kind::Deadline, operators: UNTIL, value, by: By::Gate, trust: PREVENTED }
}

/// Functions of a measure (`perron:function`).
pub const FUNCTIONS: &[&str] = &["sum", "mean", "subjects"];
/// Granularities of a dimension (`perron:granularity`).
pub const GRANULARITIES: &[&str] = &["value", "day", "month", "year"];

/// All terms, in the order in which they are shown.
pub const TERMS: &[Term] = &[
    action("odrl:use", Kind::PermittedAction, By::Gate, PREVENTED),
    action("odrl:read", Kind::PermittedAction, By::Gate, PREVENTED),
    action("odrl:aggregate", Kind::PermittedAction, By::Gate, PREVENTED),
    action("odrl:use", Kind::ProhibitedAction, By::Gate, PREVENTED),
    action("odrl:read", Kind::ProhibitedAction, By::Gate, PREVENTED),
    action("odrl:aggregate", Kind::ProhibitedAction, By::Gate, PREVENTED),
    action("odrl:<action>", Kind::ProhibitedAction, By::Log, RECORDED),
    action("odrl:assignee", Kind::Member, By::Gate, PREVENTED),
    action("odrl:target", Kind::Member, By::Gate, PREVENTED),
    action("odrl:and", Kind::Logical, By::Gate, PREVENTED),
    action("odrl:or", Kind::Logical, By::Gate, PREVENTED),
    action("odrl:xone", Kind::Logical, By::Gate, PREVENTED),
    action("odrl:andSequence", Kind::Logical, By::Gate, PREVENTED),
    left("odrl:purpose", SETS, Value::Dpv, By::Gate, RECORDED),
    left("perron:legalBasis", ANY, Value::Dpv, By::Gate, RECORDED),
    left("odrl:dateTime", ORDER, Value::Time, By::Gate, PREVENTED),
    left("odrl:elapsedTime", BOUND, Value::Duration, By::Gate, PREVENTED),
    left("odrl:count", BOUND, Value::Integer, By::Gate, PREVENTED),
    left("perron:rate", BOUND, Value::Integer, By::Gate, PREVENTED),
    left("perron:volume", BOUND, Value::Integer, By::Gate, PREVENTED),
    left("odrl:spatial", SETS, Value::Text, By::Gate, PREVENTED),
    left("odrl:recipient", SETS, Value::Text, By::Gate, PREVENTED),
    left("perron:userRole", ROLES, Value::Text, By::Gate, CARRIED_OUT),
    left("odrl:event", EVENT, Value::Text, By::Gate, PREVENTED),
    left("perron:fact/<name>", SETS, Value::Fact, By::Gate, PREVENTED),
    left("perron:column/<name>", COLUMN, Value::Column, By::View, PREVENTED),
    left("perron:columns", IS_ANY, Value::Columns, By::View, PREVENTED),
    left("perron:keyedHash", ALL, Value::Columns, By::View, PREVENTED),
    left("perron:null", ALL, Value::Columns, By::View, PREVENTED),
    left("perron:maximumRows", AT_MOST, Value::Integer, By::Stream, PREVENTED),
    left("perron:dimensions", ALL, Value::Dimensions, By::ReleasedTable, PREVENTED),
    left("perron:measures", IS_ANY, Value::Measures, By::ReleasedTable, PREVENTED),
    left("perron:floor", AT_LEAST, Value::Integer, By::ReleasedTable, PREVENTED),
    left("perron:dominance", AT_LEAST, Value::Percent, By::ReleasedTable, PREVENTED),
    left("perron:totals", EQ, Value::Name, By::ReleasedTable, PREVENTED),
    left("perron:rounding", ALL, Value::Roundings, By::ReleasedTable, PREVENTED),
    left("perron:noise", ALL, Value::Noises, By::ReleasedTable, PREVENTED),
    left("perron:budget", AT_MOST, Value::Epsilon, By::ReleasedTable, PREVENTED),
    action("odrl:delete", Kind::DutyAction, By::Notice, Trust::Detected),
    action("odrl:inform", Kind::DutyAction, By::Notice, Trust::Detected),
    action("odrl:compensate", Kind::DutyAction, By::Notice, Trust::Detected),
    action("odrl:acceptTracking", Kind::DutyAction, By::Log, Trust::Detected),
    action("odrl:<action>", Kind::DutyAction, By::Notice, Trust::Detected),
    action("odrl:assignee", Kind::DutyMember, By::Notice, Trust::Detected),
    deadline("odrl:dateTime", Value::Time),
    deadline("odrl:elapsedTime", Value::Duration),
];

impl Term {
    /// The term of this name (in full or compact; a bare name is ODRL's) at this place, if Perron
    /// carries it out.
    pub fn find(kind: Kind, name: &str) -> Option<&'static Term> {
        let name = compact(name);
        TERMS.iter().filter(|term| term.kind == kind).find(|term| match term.name.split_once('<') {
            Some((_, "action>")) => known_action(&name).is_some(),
            Some((family, _)) => name.strip_prefix(family).is_some_and(|own| !own.is_empty()),
            None => term.name == name,
        })
    }

    /// Its key among the user texts: the name without `odrl:`, `perron:` and the placeholder of a
    /// family, and for the other actions of a kind that kind.
    pub fn key(&self) -> String {
        let local = self.name.split_once(':').map_or(self.name, |(_, local)| local);
        match (self.kind, local) {
            (Kind::ProhibitedAction, "<action>") => "otherProhibited".to_owned(),
            (Kind::DutyAction, "<action>") => "otherDuty".to_owned(),
            (Kind::Deadline, local) => format!("{local}Deadline"),
            (Kind::DutyMember, local) => format!("{local}Duty"),
            _ => local.replace("/<name>", ""),
        }
    }
}

/// A name with its prefix.
pub(crate) fn compact(name: &str) -> String {
    if let Some(local) = name.strip_prefix(ODRL) {
        format!("odrl:{local}")
    } else if let Some(local) = name.strip_prefix(PROFILE) {
        format!("perron:{local}")
    } else if name.contains(':') {
        name.to_owned()
    } else {
        format!("odrl:{name}")
    }
}
