//! The normalised policy: what the gate, the views and the released tables go by.
//!
//! An ODRL policy (`policy::odrl`) is parsed into `Terms` once, when it is published; a term
//! that has no place here is refused then, by name.

use super::constraint::Scalar;
use super::rule::{NUMBER_MAX, Rule, Rules};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Comparison of a column with a literal (ODRL 2.2 operators that a row filter may use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lteq,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gteq,
    /// One of.
    IsAnyOf,
    /// None of.
    IsNoneOf,
}

/// A typed literal of a row filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", content = "value")]
pub enum Value {
    /// UTF-8 text.
    Text(String),
    /// 64-bit integer.
    Integer(i64),
    /// Finite 64-bit float.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// A point in time.
    Timestamp(Timestamp),
}

/// `column operator literal…`: one literal, or several for `isAnyOf` and `isNoneOf`. A row
/// whose column is null doesn't satisfy any predicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// Column of the set, whether or not the view gives it.
    pub column: String,
    /// Comparison.
    pub operator: Operator,
    /// Literals of the column's type, at least one.
    pub values: Vec<Value>,
}

/// How a given column is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// HMAC-SHA-256 under a key of this agreement and column, base64url text: equal values stay
    /// equal within the agreement, and can't be linked across agreements.
    KeyedHash,
    /// Always null.
    Null,
}

/// A column that the view gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewColumn {
    /// Name.
    pub name: String,
    /// Mask, if the value is not given as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
}

/// Rows of a snapshot, filtered, with columns dropped or masked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowView {
    /// All must hold.
    pub filter: Vec<Predicate>,
    /// Columns given, in this order; at least one.
    pub columns: Vec<ViewColumn>,
    /// Most rows of one answer; past it the stream stops with `rows_exceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u64>,
}

/// How a date or time dimension is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// The value as it is.
    Value,
    /// The day.
    Day,
    /// The month, written as its first day.
    Month,
    /// The year, written as its first day.
    Year,
}

/// A column to group by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Column of the set.
    pub column: String,
    /// Cut.
    pub granularity: Granularity,
}

/// What is computed in each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeasureFunction {
    /// Sum of a number.
    Sum,
    /// Mean of a number.
    Mean,
    /// Distinct data subjects.
    Subjects,
}

/// A measure of a released table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Function.
    pub function: MeasureFunction,
    /// Column it reads; the subject key for `subjects`.
    pub column: String,
    /// Name in the released table.
    pub name: String,
}

/// Noise of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// ε that one period of it costs, in millionths.
    pub epsilon_micro: u64,
    /// Most that one data subject brings into the measure within a period, in its unit; 1 for
    /// numbers of subjects.
    pub bound: u64,
}

/// What protects a released table beside its floor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// p of the p % rule, in percent: a group is suppressed where the second largest data subject
    /// could tell the largest one's part of a sum to within p %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dominance: Option<u32>,
    /// Totals are given as well; the column of this name says how many dimensions are summed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<String>,
    /// Bases to which measures are rounded, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rounding: BTreeMap<String, u64>,
    /// Noise of measures, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<String, Noise>,
    /// Most ε that all tables of the set together may cost, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro: Option<u64>,
}

impl Protection {
    /// Is the floor all that protects the table?
    pub fn is_floor_alone(&self) -> bool {
        *self == Protection::default()
    }
    /// ε that one period of the table costs, in millionths.
    pub fn epsilon_micro(&self) -> u64 {
        self.noise.values().fold(0, |sum, noise| sum.saturating_add(noise.epsilon_micro))
    }
}

/// A table that is computed once a snapshot and given instead of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSpec {
    /// Columns to group by: the full crossing.
    pub dimensions: Vec<Dimension>,
    /// Measures, at least one.
    pub measures: Vec<Measure>,
    /// A group of fewer distinct data subjects is suppressed; at least 2.
    pub floor: u32,
    /// What protects it beside the floor.
    #[serde(default, skip_serializing_if = "Protection::is_floor_alone")]
    pub protection: Protection,
}

impl ReleaseSpec {
    /// Why this table and `other`, of the same set, must not both be given: a measure that one
    /// gives with noise is given without it by the other.
    pub fn conflict(&self, other: &ReleaseSpec) -> Option<String> {
        let noisy = |spec: &ReleaseSpec, m: &Measure| spec.protection.noise.contains_key(&m.name);
        let counts = |m: &Measure| m.function == MeasureFunction::Subjects;
        let clash = |mine: &&Measure| {
            let same = |m: &&Measure| counts(m) == counts(mine) && m.column == mine.column;
            other.measures.iter().filter(same).any(|m| noisy(other, m) != noisy(self, mine))
        };
        let found = self.measures.iter().find(clash)?;
        Some(format!("`{}` is given with noise by one table and without by another", found.column))
    }
}

/// What may be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "view")]
pub enum View {
    /// Rows behind a barrier.
    Rows(RowView),
    /// A released table.
    Aggregates(ReleaseSpec),
}

/// The normalised policy: the rules that the gate evaluates, and the one view that it gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Rules, shared with each decision's input.
    pub rules: Arc<Rules>,
    /// What may be seen, whichever permission is active.
    pub view: View,
}

impl Terms {
    /// Does every permission ask for exactly this legal basis, or for none? `Err` is the place and
    /// the values of the first that asks for another.
    pub fn legal_basis_fits(&self, named: &str) -> std::result::Result<(), (&str, &[Scalar])> {
        let asked = self.rules.permissions.iter().flat_map(|rule| {
            rule.nodes.any.iter().filter(|node| node.left == "legalBasis" && rule.all.contains(&node.id))
        });
        for node in asked {
            if !node.values.iter().any(|v| matches!(v, Scalar::Text(text) if text == named)) {
                return Err((&node.at, &node.values));
            }
        }
        Ok(())
    }

    /// The first moment at which no permission can be active any more, if every permission has an
    /// end: from then on nothing more leaves, whatever runs.
    pub fn until(&self) -> Option<Timestamp> {
        let end = |rule: &Rule| {
            let bounds = rule.nodes.ranges.iter().filter(|n| n.left == "dateTime" && rule.all.contains(&n.id));
            bounds.map(|n| n.max).min().filter(|max| *max < NUMBER_MAX)
        };
        let ends = self.rules.permissions.iter().map(end).collect::<Option<Vec<i64>>>()?;
        ends.into_iter().max().and_then(|last| Timestamp::from_millis(last.saturating_add(1)).ok())
    }
}
