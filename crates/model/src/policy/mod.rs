//! Usage policies: the ODRL document as signed, and the small typed form that is enforced.

pub mod terms;

pub use terms::{
    Dimension, Granularity, Mask, Measure, MeasureFunction, Operator, Predicate, ReleaseSpec, RowView, Terms, Value,
    View, ViewColumn,
};
