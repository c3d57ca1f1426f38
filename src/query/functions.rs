//! The functions that a statement may use: deterministic, and with results of bounded size.
//!
//! Left out on purpose: what reads a clock or draws random numbers (`now`, `current_date`,
//! `random`, `uuid`), what makes texts without bound (`repeat`, `lpad`, `rpad`, `replace`,
//! `overlay`, `string_agg`, `array_agg`), what tells of the machine (`version`,
//! `input_file_name`), and what interprets patterns of the user (`regexp_…`, `to_char`).

use super::choices::Choices;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionStateBuilder;
use std::sync::Arc;

const SCALAR: &[&str] = &[
    // Numbers.
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "ceil",
    "cos",
    "degrees",
    "exp",
    "floor",
    "gcd",
    "isnan",
    "iszero",
    "lcm",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "pow",
    "power",
    "radians",
    "round",
    "signum",
    "sin",
    "sqrt",
    "tan",
    "trunc",
    // Choice.
    "coalesce",
    "greatest",
    "ifnull",
    "least",
    "nullif",
    "nvl",
    "nvl2",
    // Time.
    "date_bin",
    "date_part",
    "date_trunc",
    "datepart",
    "datetrunc",
    "from_unixtime",
    "make_date",
    "to_date",
    "to_local_time",
    "to_timestamp",
    "to_timestamp_millis",
    "to_timestamp_seconds",
    "to_unixtime",
    // Text.
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "initcap",
    "left",
    "length",
    "lower",
    "ltrim",
    "octet_length",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "trim",
    "upper",
];

const AGGREGATE: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "mean",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "var_sample",
];

const WINDOW: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Aggregates that may run over a window: those whose cost for each row doesn't grow with it.
const AGGREGATE_OVER_WINDOW: &[&str] = &["avg", "count", "max", "mean", "min", "sum"];

/// May the function `name` run over a window?
pub(crate) fn allowed_over_window(name: &str) -> bool {
    WINDOW.contains(&name) || AGGREGATE_OVER_WINDOW.contains(&name)
}

/// May a statement use the function `name` (lower-case)?
pub(crate) fn allowed(name: &str) -> bool {
    SCALAR.contains(&name) || AGGREGATE.contains(&name) || WINDOW.contains(&name)
}

/// Does the function join texts?
pub(crate) fn joins_texts(name: &str) -> bool {
    matches!(name, "concat" | "concat_ws")
}

/// All names, for the reference page.
pub fn function_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = [SCALAR, AGGREGATE, WINDOW].concat();
    names.sort_unstable();
    names.dedup();
    names
}

/// Gives a session these functions and no other: what the list leaves out doesn't exist in it.
pub(crate) fn register(builder: SessionStateBuilder) -> SessionStateBuilder {
    let known = |name: &str, aliases: &[String], list: &[&str]| {
        list.contains(&name) || aliases.iter().any(|a| list.contains(&a.as_str()))
    };
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    builder
        .with_analyzer_rule(Arc::new(Choices))
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar.into_iter().filter(|f| known(f.name(), f.aliases(), SCALAR)).collect())
        .with_aggregate_functions(aggregate.into_iter().filter(|f| known(f.name(), f.aliases(), AGGREGATE)).collect())
        .with_window_functions(window.into_iter().filter(|f| known(f.name(), f.aliases(), WINDOW)).collect())
}
