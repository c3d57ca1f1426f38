//! What a signed policy gives, told without the set's description: for who asks afterwards what an
//! agreement was about, at either party.

use super::odrl_names::{Name, name};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// What a policy gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Columns that it gives, masked or not: of rows; or those that a released table is grouped by or
    /// measures, with the names of its measures.
    pub columns: BTreeSet<String>,
    /// Values to which it restricts rows: a column equals one of them.
    pub values: BTreeSet<String>,
}

/// The scope of a policy that was read and signed (`odrl::parse`); what isn't one has none.
pub fn scope(policy: &Json) -> Scope {
    let mut found = Scope::default();
    // A policy is bounded in depth and size before it is signed.
    let mut left = vec![policy];
    while let Some(json) = left.pop() {
        match json {
            Json::Array(items) => left.extend(items),
            Json::Object(members) => {
                let said = |member: &str| members.get(member).and_then(named);
                if let (Some(operand), Some(right)) = (said("leftOperand"), members.get("rightOperand")) {
                    found.take(operand, said("operator").unwrap_or_default(), right);
                }
                left.extend(members.values());
            }
            _ => {}
        }
    }
    found
}

impl Scope {
    fn take(&mut self, operand: &str, operator: &str, right: &Json) {
        let Name::Perron(term) = name(operand) else { return };
        let equals = matches!(name(operator), Name::Odrl("eq" | "isAnyOf"));
        match term {
            "columns" => self.columns.extend(each(right).filter_map(named).map(str::to_owned)),
            "dimensions" | "measures" => {
                for item in each(right) {
                    let members = [item.get("perron:column"), item.get("perron:name"), Some(item)];
                    self.columns.extend(members.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned));
                }
            }
            column if column.starts_with("column/") && equals => self.values.extend(each(right).filter_map(value)),
            _ => {}
        }
    }
}

/// The items of a list, or the one value.
fn each(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().map_or_else(|| std::slice::from_ref(json), Vec::as_slice).iter()
}

/// A name, as a text or as a reference.
fn named(json: &Json) -> Option<&str> {
    json.as_str().or_else(|| json.get("@id").and_then(Json::as_str))
}

/// A literal as text.
fn value(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Object(members) => members.get("@value").and_then(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn rows_have_columns_and_values() {
        let typed = json!({"@type": "http://www.w3.org/2001/XMLSchema#integer", "@value": "4000"});
        let policy = json!({"permission": [{"action": "read", "constraint": [
            {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
            {"leftOperand": "perron:column/nis", "operator": "eq", "rightOperand": "63049"},
            {"leftOperand": "https://w3id.org/perron/odrl/v1/column/post", "operator": "odrl:isAnyOf", "rightOperand": [typed, 4020]},
            {"leftOperand": "perron:column/other", "operator": "neq", "rightOperand": "61072"},
            {"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["meter", "litres"]},
        ]}]});
        let expected = Scope { columns: texts(&["litres", "meter"]), values: texts(&["4000", "4020", "63049"]) };
        assert_eq!(scope(&policy), expected);
    }

    #[test]
    fn a_table_has_what_it_is_grouped_by_and_what_it_measures() {
        let policy = json!({"permission": [{"constraint": [
            {"leftOperand": "perron:dimensions", "operator": "isAllOf", "rightOperand": ["sector", {"perron:column": "date", "perron:granularity": "month"}]},
            {"leftOperand": "perron:measures", "operator": "isAnyOf", "rightOperand": [
                {"perron:function": "sum", "perron:column": "litres", "perron:name": "total"},
                {"perron:function": "subjects", "perron:name": "households"},
            ]},
        ]}]});
        assert_eq!(scope(&policy).columns, texts(&["date", "households", "litres", "sector", "total"]));
    }

    #[test]
    fn what_is_no_policy_has_no_scope() {
        for json in [json!(null), json!(7), json!({"leftOperand": "perron:columns"}), json!([[[]]])] {
            assert_eq!(scope(&json), Scope::default());
        }
    }
}
