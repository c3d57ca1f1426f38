//! The clauses of a policy as data: what a screen or the command line explains.

use crate::policy::odrl::{ACTION_AGGREGATE, ACTION_READ, ACTION_USE};
use crate::policy::rule::{ANY, Duty, NUMBER_MAX, Rule};
use crate::policy::terms::{Dimension, Measure, Predicate, Protection, Terms, Value, View, ViewColumn};
use crate::time::Timestamp;
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
    /// Place in the signed policy (`permission[0].constraint[2]`), or in the view
    /// (`view.filter[0]`), as refusals name it.
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
    let mut clauses = Vec::new();
    for permission in &terms.rules.permissions {
        clauses.push(rule("odrl:permission", permission));
        clauses.extend(nodes(permission));
        clauses.extend(permission.duties.iter().map(|d| duty("odrl:duty", d)));
    }
    for prohibition in &terms.rules.prohibitions {
        let begun = clauses.len();
        clauses.push(rule("odrl:prohibition", prohibition));
        clauses.extend(nodes(prohibition));
        // An action that the connector never sees binds by contract, and what limits it with it.
        if ![ACTION_USE, ACTION_READ, ACTION_AGGREGATE].contains(&prohibition.action.as_str()) {
            clauses.iter_mut().skip(begun).for_each(|clause| clause.trust = Trust::Recorded);
        }
    }
    clauses.extend(terms.rules.obligations.iter().map(|d| duty("odrl:obligation", d)));
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

fn rule(term: &'static str, rule: &Rule) -> Clause {
    let mut parameters = json!({"action": rule.action});
    for (name, value) in [("assignee", &rule.assignee), ("target", &rule.target)] {
        if value != ANY {
            set(&mut parameters, name, json!(value));
        }
    }
    clause(&rule.at, term, parameters, PREVENTED)
}

/// The nodes of a rule, in the order of their numbers: what is combined stands before it.
fn nodes(rule: &Rule) -> Vec<Clause> {
    let nodes = &rule.nodes;
    let mut found: Vec<(u32, Clause)> = Vec::new();
    for node in &nodes.ranges {
        let mut parameters = json!({});
        let time = node.left == "dateTime";
        if node.min > -NUMBER_MAX {
            set(&mut parameters, "from", number(time, node.min));
        }
        if node.max < NUMBER_MAX {
            let (name, bound) = if time { ("before", node.max.saturating_add(1)) } else { ("max", node.max) };
            set(&mut parameters, name, number(time, bound));
        }
        found.push((node.id, test(&node.at, &node.left, parameters)));
    }
    for node in &nodes.differs {
        let value = number(node.left == "dateTime", node.value);
        found.push((node.id, test(&node.at, &node.left, json!({"other than": value}))));
    }
    for (name, list) in [("any of", &nodes.any), ("none of", &nodes.none), ("all of", &nodes.every)] {
        found.extend(list.iter().map(|n| (n.id, test(&n.at, &n.left, json!({name: n.values})))));
    }
    for node in nodes.logic.iter().flatten() {
        let of: Vec<u32> = node.of.clone();
        let parameters = json!({"operator": node.operator, "of": of.len()});
        found.push((node.id, clause(&node.at, "odrl:LogicalConstraint", parameters, PREVENTED)));
    }
    found.sort_by_key(|(id, _)| *id);
    found.into_iter().map(|(_, clause)| clause).collect()
}

fn set(parameters: &mut Json, name: &str, value: Json) {
    if let Some(members) = parameters.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn number(time: bool, value: i64) -> Json {
    match Timestamp::from_millis(value) {
        Ok(value) if time => json!(value),
        _ => json!(value),
    }
}

/// A test by its left operand, with what must be trusted for it.
fn test(at: &str, left: &str, mut parameters: Json) -> Clause {
    let (term, trust) = match left {
        "dateTime" => ("odrl:dateTime", PREVENTED),
        "purpose" => ("odrl:purpose", Trust::Recorded),
        "legalBasis" => ("perron:legalBasis", Trust::Recorded),
        "count" => ("odrl:count", PREVENTED),
        "elapsedTime" => ("odrl:elapsedTime", PREVENTED),
        "spatial" => ("odrl:spatial", PREVENTED),
        "recipient" => ("odrl:recipient", PREVENTED),
        "userRole" => ("perron:userRole", Trust::CarriedOutByConsumer),
        "volume" => ("perron:volume", PREVENTED),
        "rate" => ("perron:rate", PREVENTED),
        fact => {
            set(&mut parameters, "fact", json!(fact.strip_prefix("fact/").unwrap_or(fact)));
            ("perron:fact", PREVENTED)
        }
    };
    clause(at, term, parameters, trust)
}

fn duty(term: &'static str, duty: &Duty) -> Clause {
    let mut parameters = json!({"action": duty.action});
    if let Some(assignee) = &duty.assignee {
        set(&mut parameters, "assignee", json!(assignee));
    }
    if let Some(before) = duty.before_ms {
        set(&mut parameters, "before", number(true, before));
    }
    if let Some(within) = duty.within_ms {
        set(&mut parameters, "within_ms", json!(within));
    }
    clause(&duty.at, term, parameters, Trust::Detected)
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
