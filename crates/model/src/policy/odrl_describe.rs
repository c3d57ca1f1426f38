//! The clauses of a policy as data: what a screen or the command line explains.

use crate::policy::terms::{Dimension, Measure, Predicate, Protection, Terms, Value, View, ViewColumn};
use chrono::{Duration, NaiveDate};
use serde::Serialize;
use serde_json::{Value as Json, json};

/// What must be trusted for a clause to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The provider alone prevents what the clause forbids.
    PreventedByProvider,
    /// The consumer's connector carries it out, and its operator is trusted.
    CarriedOutByConsumer,
    /// A breach is seen afterwards.
    Detected,
    /// It is stated, checked against the agreement and recorded; what happens later isn't seen.
    Recorded,
}

/// One clause: where it stands in the terms, which term it is, and with what parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clause {
    /// Stable path in the terms (`purposes`, `view.filter[0]`…), as refusals name it.
    pub path: String,
    /// Term of ODRL or of Perron's profile.
    pub term: &'static str,
    /// Its parameters.
    pub parameters: Json,
    /// What must be trusted.
    pub trust: Trust,
}

/// The clauses of `terms`, in their order.
pub fn describe(terms: &Terms) -> Vec<Clause> {
    let mut clauses = vec![
        clause("actions", "odrl:action", json!({"actions": terms.actions}), Trust::PreventedByProvider),
        clause("purposes", "odrl:purpose", json!({"purposes": terms.purposes}), Trust::Recorded),
    ];
    if let Some(basis) = &terms.legal_basis {
        clauses.push(clause("legal_basis", "perron:legalBasis", json!({"basis": basis}), Trust::Recorded));
    }
    if let Some(time) = terms.not_before {
        clauses.push(clause("not_before", "odrl:dateTime", json!({"from": time}), Trust::PreventedByProvider));
    }
    if let Some(time) = terms.not_after {
        clauses.push(clause("not_after", "odrl:dateTime", json!({"before": time}), Trust::PreventedByProvider));
    }
    if let Some(uses) = terms.uses_max {
        clauses.push(clause("uses_max", "odrl:count", json!({"uses": uses}), Trust::PreventedByProvider));
    }
    match &terms.view {
        View::Rows(view) => {
            clauses.extend(view.filter.iter().enumerate().map(|(i, p)| filter(i, p)));
            clauses.extend(view.columns.iter().enumerate().map(|(i, c)| column(i, c)));
            if let Some(rows) = view.rows_max {
                clauses.push(clause("view.rows_max", "perron:maximumRows", json!({"rows": rows}), PREVENTED));
            }
        }
        View::Aggregates(spec) => {
            clauses.extend(spec.dimensions.iter().enumerate().map(|(i, d)| dimension(i, d)));
            clauses.extend(spec.measures.iter().enumerate().map(|(i, m)| measure(i, m)));
            clauses.push(clause("view.floor", "perron:floor", json!({"subjects": spec.floor}), PREVENTED));
            clauses.extend(protection(&spec.protection));
        }
    }
    clauses
}

const PREVENTED: Trust = Trust::PreventedByProvider;

fn clause(path: impl Into<String>, term: &'static str, parameters: Json, trust: Trust) -> Clause {
    Clause { path: path.into(), term, parameters, trust }
}

fn filter(index: usize, predicate: &Predicate) -> Clause {
    let values: Vec<Json> = predicate.values.iter().map(literal).collect();
    let parameters = json!({"column": predicate.column, "operator": predicate.operator, "values": values});
    clause(format!("view.filter[{index}]"), "perron:column", parameters, PREVENTED)
}

fn column(index: usize, column: &ViewColumn) -> Clause {
    let parameters = match column.mask {
        Some(mask) => json!({"column": column.name, "mask": mask}),
        None => json!({"column": column.name}),
    };
    clause(format!("view.columns[{index}]"), "perron:columns", parameters, PREVENTED)
}

fn dimension(index: usize, dimension: &Dimension) -> Clause {
    let parameters = json!({"column": dimension.column, "granularity": dimension.granularity});
    clause(format!("view.dimensions[{index}]"), "perron:dimensions", parameters, PREVENTED)
}

fn measure(index: usize, measure: &Measure) -> Clause {
    let parameters = json!({"function": measure.function, "column": measure.column, "name": measure.name});
    clause(format!("view.measures[{index}]"), "perron:measures", parameters, PREVENTED)
}

fn protection(protection: &Protection) -> Vec<Clause> {
    let mut clauses = Vec::new();
    if let Some(percent) = protection.dominance {
        clauses.push(clause("view.dominance", "perron:dominance", json!({"percent": percent}), PREVENTED));
    }
    if let Some(column) = &protection.totals {
        clauses.push(clause("view.totals", "perron:totals", json!({"column": column}), PREVENTED));
    }
    for (name, base) in &protection.rounding {
        let parameters = json!({"measure": name, "base": base});
        clauses.push(clause(format!("view.rounding.{name}"), "perron:rounding", parameters, PREVENTED));
    }
    for (name, noise) in &protection.noise {
        let parameters = json!({"measure": name, "epsilon_micro": noise.epsilon_micro, "bound": noise.bound});
        clauses.push(clause(format!("view.noise.{name}"), "perron:noise", parameters, PREVENTED));
    }
    if let Some(budget) = protection.budget_micro {
        clauses.push(clause("view.budget", "perron:budget", json!({"epsilon_micro": budget}), PREVENTED));
    }
    clauses
}

fn literal(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Number(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::Date(days) => NaiveDate::default()
            .checked_add_signed(Duration::days(i64::from(*days)))
            .map_or(json!(days), |day| json!(day.format("%Y-%m-%d").to_string())),
        Value::Timestamp(time) => json!(time),
    }
}
