//! Usage policies: the ODRL document as signed, and the small typed form that is enforced.

pub mod odrl;
mod odrl_constraint;
mod odrl_describe;
mod odrl_literal;
mod odrl_names;
mod odrl_read;
mod odrl_release;
mod odrl_set;
pub mod terms;

#[cfg(test)]
mod odrl_properties;
#[cfg(test)]
mod odrl_release_tests;
#[cfg(test)]
mod odrl_tests;

pub use odrl_describe::{Clause, Trust, describe};
pub use terms::{
    Dimension, Granularity, Mask, Measure, MeasureFunction, Noise, Operator, Predicate, Protection, ReleaseSpec,
    RowView, Terms, Value, View, ViewColumn,
};
