//! Usage policies: the ODRL document as signed, and the small typed form that is enforced.

pub mod constraint;
pub mod odrl;
mod odrl_actions;
mod odrl_constraint;
mod odrl_describe;
mod odrl_literal;
mod odrl_names;
mod odrl_read;
mod odrl_release;
mod odrl_rule;
mod odrl_scope;
mod odrl_set;
mod odrl_view;
pub mod rule;
pub mod terms;

#[cfg(test)]
mod odrl_bounds_tests;
#[cfg(test)]
mod odrl_describe_tests;
#[cfg(test)]
mod odrl_properties;
#[cfg(test)]
mod odrl_release_tests;
#[cfg(test)]
mod odrl_tests;
#[cfg(test)]
mod rules_tests;

pub use constraint::{Constraint, Left, Numbering, Scalar, Test};
pub use odrl_actions::{actions, known_action};
pub use odrl_constraint::is_fact_name;
pub use odrl_describe::{Clause, Trust, describe};
pub use odrl_scope::{Scope, scope};
pub use rule::{Duty, Logic, Logical, Nodes, Rule, Rules};
pub use terms::{
    Dimension, Granularity, Mask, Measure, MeasureFunction, Noise, Operator, Predicate, Protection, ReleaseSpec,
    RowView, Terms, Value, View, ViewColumn,
};
