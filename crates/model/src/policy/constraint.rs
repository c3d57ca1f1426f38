//! Constraints as a policy states them, a tree, and their way into the flat form of [`Rules`](super::rule).
//!
//! Whatever reads a policy (its JSON here, its Turtle elsewhere) makes these, and adds them to a
//! rule; so both readings are evaluated alike.

use super::rule::{Differs, Logic, Logical, NUMBER_MAX, Nodes, OneOf, Range, Rule};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::POLICY_LOGIC_LEVELS_MAX;
use crate::policy::terms::Operator;
use serde::{Deserialize, Serialize};

/// What a constraint looks at. Each has one meaning (`policies/README.md` has the table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// `odrl:dateTime`: the time of the decision, in milliseconds since 1970-01-01T00:00:00Z.
    DateTime,
    /// `odrl:purpose`: the purpose that the request states.
    Purpose,
    /// `perron:legalBasis`: the legal basis that both sides signed.
    LegalBasis,
    /// `odrl:count`: permitted executions, this one included.
    Count,
    /// `odrl:elapsedTime`: time since the agreement was made (its signed time), in milliseconds.
    ElapsedTime,
    /// `odrl:spatial`: the consumer's country of jurisdiction, as the register says (ISO 3166-1
    /// alpha-2).
    Spatial,
    /// `odrl:recipient`: who asks.
    Recipient,
    /// `perron:userRole`: roles that the consumer's connector states for the user.
    UserRole,
    /// `perron:volume`: bytes that left under the agreement, the next one included.
    Volume,
    /// `perron:rate`: permitted executions in the last hour, this one included.
    Rate,
    /// `perron:fact/<name>`, and `odrl:event`: a fact that the provider has declared.
    Fact(String),
}

impl Left {
    /// The key under which the Rego modules have its value.
    pub fn key(&self) -> String {
        match self {
            Left::DateTime => "dateTime".to_owned(),
            Left::Purpose => "purpose".to_owned(),
            Left::LegalBasis => "legalBasis".to_owned(),
            Left::Count => "count".to_owned(),
            Left::ElapsedTime => "elapsedTime".to_owned(),
            Left::Spatial => "spatial".to_owned(),
            Left::Recipient => "recipient".to_owned(),
            Left::UserRole => "userRole".to_owned(),
            Left::Volume => "volume".to_owned(),
            Left::Rate => "rate".to_owned(),
            Left::Fact(name) => format!("fact/{name}"),
        }
    }
    /// The left operand of a key.
    pub fn parse(key: &str) -> Option<Left> {
        Some(match key {
            "dateTime" => Left::DateTime,
            "purpose" => Left::Purpose,
            "legalBasis" => Left::LegalBasis,
            "count" => Left::Count,
            "elapsedTime" => Left::ElapsedTime,
            "spatial" => Left::Spatial,
            "recipient" => Left::Recipient,
            "userRole" => Left::UserRole,
            "volume" => Left::Volume,
            "rate" => Left::Rate,
            other => Left::Fact(other.strip_prefix("fact/")?.to_owned()),
        })
    }
    /// Is its value a whole number?
    pub const fn is_number(&self) -> bool {
        matches!(self, Left::DateTime | Left::Count | Left::ElapsedTime | Left::Volume | Left::Rate)
    }
}

/// A text or a truth value: what a set of a test holds, and what a fact is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

/// What a left operand is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// A number of this interval, both ends included.
    Range {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Another number.
    Differs(i64),
    /// One of these.
    Any(Vec<Scalar>),
    /// None of these.
    None(Vec<Scalar>),
    /// All of these.
    Every(Vec<Scalar>),
}

impl Test {
    /// A comparison with a whole number, or nothing if the operator doesn't compare numbers or the
    /// number is larger than [`NUMBER_MAX`].
    pub fn number(operator: Operator, number: i64) -> Option<Test> {
        if !(-NUMBER_MAX..=NUMBER_MAX).contains(&number) {
            return None;
        }
        match operator {
            Operator::Eq => Some(Test::Range { min: number, max: number }),
            Operator::Neq => Some(Test::Differs(number)),
            Operator::Lt => Some(Test::Range { min: -NUMBER_MAX, max: number.saturating_sub(1) }),
            Operator::Lteq => Some(Test::Range { min: -NUMBER_MAX, max: number }),
            Operator::Gt => Some(Test::Range { min: number.saturating_add(1), max: NUMBER_MAX }),
            Operator::Gteq => Some(Test::Range { min: number, max: NUMBER_MAX }),
            Operator::IsAnyOf | Operator::IsNoneOf => None,
        }
    }
    /// A comparison with texts or truth values, or nothing if the operator doesn't compare them.
    pub fn one_of(operator: Operator, values: Vec<Scalar>) -> Option<Test> {
        match operator {
            Operator::Eq | Operator::IsAnyOf => Some(Test::Any(values)),
            Operator::Neq | Operator::IsNoneOf => Some(Test::None(values)),
            _ => None,
        }
    }
}

/// A constraint or a refinement, with its place in the signed document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// An atomic one.
    Test {
        /// Place.
        at: String,
        /// What it looks at.
        left: Left,
        /// What it compares with.
        test: Test,
    },
    /// A logical one.
    Logical {
        /// Place.
        at: String,
        /// How it combines.
        operator: Logic,
        /// What it combines, at least one.
        of: Vec<Constraint>,
    },
}

/// Gives the nodes of one policy their numbers, in the order of evaluation.
#[derive(Clone, Debug, Default)]
pub struct Numbering(u32);

impl Numbering {
    /// Adds to `rule` what has to hold for it. Nested deeper than the limit is `too_large`.
    pub fn add(&mut self, rule: &mut Rule, constraint: Constraint) -> Result<()> {
        let (id, _) = self.flatten(&mut rule.nodes, constraint, POLICY_LOGIC_LEVELS_MAX)?;
        rule.all.push(id);
        Ok(())
    }

    /// The node's number and the number of logical levels that it stands on. `left` are the levels
    /// that it may still have: the recursion ends with them.
    fn flatten(&mut self, nodes: &mut Nodes, constraint: Constraint, levels: usize) -> Result<(u32, usize)> {
        let (at, operator, of) = match constraint {
            Constraint::Test { at, left, test } => return Ok((self.test(nodes, at, &left, test), 0)),
            Constraint::Logical { at, operator, of } => (at, operator, of),
        };
        let deeper = levels.checked_sub(1).ok_or_else(|| {
            let limit = format!("logical constraints are nested deeper than {POLICY_LOGIC_LEVELS_MAX} levels");
            Error::new(ErrorCode::TooLarge, format!("at `{at}`: {limit}"))
        })?;
        let (mut numbers, mut below) = (Vec::new(), 0);
        for inner in of {
            let (id, level) = self.flatten(nodes, inner, deeper)?;
            numbers.push(id);
            below = below.max(level);
        }
        let id = self.next();
        if nodes.logic.len() <= below {
            nodes.logic.resize(below + 1, Vec::new());
        }
        if let Some(level) = nodes.logic.get_mut(below) {
            level.push(Logical { id, at, operator, of: numbers });
        }
        Ok((id, below + 1))
    }

    fn test(&mut self, nodes: &mut Nodes, at: String, left: &Left, test: Test) -> u32 {
        let (id, left) = (self.next(), left.key());
        match test {
            Test::Range { min, max } => nodes.ranges.push(Range { id, at, left, min, max }),
            Test::Differs(value) => nodes.differs.push(Differs { id, at, left, value }),
            Test::Any(values) => nodes.any.push(OneOf { id, at, left, values }),
            Test::None(values) => nodes.none.push(OneOf { id, at, left, values }),
            Test::Every(values) => nodes.every.push(OneOf { id, at, left, values }),
        }
        id
    }

    fn next(&mut self) -> u32 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_operand_has_a_key_and_a_kind_of_value() {
        let cases = [
            (Left::DateTime, "dateTime", true),
            (Left::Purpose, "purpose", false),
            (Left::LegalBasis, "legalBasis", false),
            (Left::Count, "count", true),
            (Left::ElapsedTime, "elapsedTime", true),
            (Left::Spatial, "spatial", false),
            (Left::Recipient, "recipient", false),
            (Left::UserRole, "userRole", false),
            (Left::Volume, "volume", true),
            (Left::Rate, "rate", true),
            (Left::Fact("open".to_owned()), "fact/open", false),
        ];
        for (left, key, number) in cases {
            assert_eq!((left.key().as_str(), left.is_number()), (key, number));
            assert_eq!(Left::parse(key), Some(left));
        }
        assert_eq!(Left::parse("sunshine"), None);
    }

    #[test]
    fn a_number_is_compared_within_what_json_keeps_exactly() {
        let range = |min, max| Some(Test::Range { min, max });
        let cases = [
            (Operator::Eq, range(5, 5)),
            (Operator::Neq, Some(Test::Differs(5))),
            (Operator::Lt, range(-NUMBER_MAX, 4)),
            (Operator::Lteq, range(-NUMBER_MAX, 5)),
            (Operator::Gt, range(6, NUMBER_MAX)),
            (Operator::Gteq, range(5, NUMBER_MAX)),
            (Operator::IsAnyOf, None),
            (Operator::IsNoneOf, None),
        ];
        for (operator, expected) in cases {
            assert_eq!(Test::number(operator, 5), expected);
        }
        for (number, known) in
            [(NUMBER_MAX, true), (-NUMBER_MAX, true), (NUMBER_MAX + 1, false), (-NUMBER_MAX - 1, false)]
        {
            assert_eq!(Test::number(Operator::Eq, number).is_some(), known, "{number}");
        }
    }

    #[test]
    fn values_are_compared_by_belonging() {
        let values = vec![Scalar::Boolean(true)];
        for operator in [Operator::Eq, Operator::IsAnyOf] {
            assert_eq!(Test::one_of(operator, values.clone()), Some(Test::Any(values.clone())));
        }
        for operator in [Operator::Neq, Operator::IsNoneOf] {
            assert_eq!(Test::one_of(operator, values.clone()), Some(Test::None(values.clone())));
        }
        for operator in [Operator::Lt, Operator::Lteq, Operator::Gt, Operator::Gteq] {
            assert_eq!(Test::one_of(operator, values.clone()), None);
        }
    }
}
