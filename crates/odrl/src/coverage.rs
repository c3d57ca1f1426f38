//! What carries out each term of a policy, and who must be trusted for it. Works on the document as
//! it is written, without the set that it is about; nothing of it is left out.

use crate::limits::{RDF_DEPTH_MAX, RDF_NODES_MAX};
use crate::rdf::too_large;
use crate::terms::{By, Kind, Term, compact};
use perron_model::Result;
use perron_model::policy::Trust;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Place in the document, as refusals name it (`permission[0].constraint[2]`).
    pub at: String,
    /// The term, compact; one that Perron doesn't know as it is written.
    pub term: String,
    /// What is said with it, as written: operator and right operand.
    pub stated: String,
    /// What carries it out.
    pub by: By,
    /// Who must be trusted; nothing where the term is refused.
    pub trust: Option<Trust>,
    /// Key of the term's meaning in the catalogue of texts; none where the term is refused.
    #[serde(skip)]
    pub key: Option<String>,
}

/// A policy's label as a whole: its weakest term, refused being the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The provider alone prevents what the terms forbid.
    Enforced,
    /// A term is carried out by the consumer's connector.
    Executed,
    /// A breach of a term is seen afterwards.
    Detected,
    /// A term is stated and recorded.
    Recorded,
    /// Perron doesn't publish it: a term has no meaning there.
    Refused,
}

impl Line {
    /// The line's own label.
    pub fn label(&self) -> Label {
        match self.trust {
            None => Label::Refused,
            Some(Trust::PreventedByProvider) => Label::Enforced,
            Some(Trust::CarriedOutByConsumer) => Label::Executed,
            Some(Trust::Detected) => Label::Detected,
            Some(Trust::Recorded) => Label::Recorded,
        }
    }
}

/// The lines of a policy, in the order of the document.
pub fn coverage(policy: &Json) -> Result<Vec<Line>> {
    let mut covering = Covering { lines: Vec::new() };
    let Json::Object(members) = policy else {
        covering.refused("$", "policy", policy)?;
        return Ok(covering.lines);
    };
    for (key, value) in members {
        match local(key) {
            "@context" | "@id" | "uid" | "@type" | "profile" | "assigner" | "assignee" | "target" => {}
            "permission" => covering.rules(key, value, Kind::PermittedAction)?,
            "prohibition" => covering.rules(key, value, Kind::ProhibitedAction)?,
            "obligation" => covering.rules(key, value, Kind::DutyAction)?,
            _ => covering.refused(key, key, value)?,
        }
    }
    Ok(covering.lines)
}

struct Covering {
    lines: Vec<Line>,
}

impl Covering {
    fn add(&mut self, at: &str, name: &str, stated: String, term: Option<&Term>) -> Result<()> {
        if self.lines.len() >= RDF_NODES_MAX {
            return Err(too_large(format!("a policy of more than {RDF_NODES_MAX} terms")));
        }
        self.lines.push(Line {
            at: at.to_owned(),
            term: compact(name),
            stated,
            by: term.map_or(By::Nothing, |t| t.by),
            trust: term.map(|t| t.trust),
            key: term.map(Term::key),
        });
        Ok(())
    }

    fn refused(&mut self, at: &str, name: &str, value: &Json) -> Result<()> {
        self.add(at, name, shown(value), None)
    }

    fn rules(&mut self, at: &str, value: &Json, kind: Kind) -> Result<()> {
        for (at, rule) in items(at, value) {
            self.rule(&at, rule, kind, 1)?;
        }
        Ok(())
    }

    fn rule(&mut self, at: &str, rule: &Json, kind: Kind, depth: usize) -> Result<()> {
        let Json::Object(members) = rule else { return self.refused(at, "rule", rule) };
        if depth > RDF_DEPTH_MAX {
            return Err(too_large(format!("a policy of more than {RDF_DEPTH_MAX} levels")));
        }
        for (key, value) in members {
            let inner = format!("{at}.{key}");
            match local(key) {
                "@id" | "uid" | "@type" | "assigner" => {}
                "action" => self.action(&inner, value, kind, depth)?,
                "assignee" | "target" => self.named(&inner, value, depth)?,
                "constraint" => self.constraints(&inner, value, depth)?,
                "duty" if kind == Kind::PermittedAction => {
                    for (at, duty) in items(&inner, value) {
                        self.rule(&at, duty, Kind::DutyAction, depth + 1)?;
                    }
                }
                _ => self.refused(&inner, key, value)?,
            }
        }
        Ok(())
    }

    fn action(&mut self, at: &str, value: &Json, kind: Kind, depth: usize) -> Result<()> {
        for (at, item) in items(at, value) {
            let name = match item {
                Json::Object(members) => match members.get("rdf:value").or_else(|| members.get("@id")) {
                    Some(Json::Object(id)) => id.get("@id").and_then(Json::as_str),
                    Some(Json::String(name)) => Some(name.as_str()),
                    _ => None,
                },
                Json::String(name) => Some(name.as_str()),
                _ => None,
            };
            match name {
                Some(name) => self.add(&at, name, String::new(), Term::find(kind, name))?,
                None => self.refused(&at, "action", item)?,
            }
            self.named(&at, item, depth)?;
        }
        Ok(())
    }

    /// Refinements of what names an action, a party or an asset.
    fn named(&mut self, at: &str, value: &Json, depth: usize) -> Result<()> {
        for (at, item) in items(at, value) {
            let Json::Object(members) = item else { continue };
            for (key, value) in members {
                match local(key) {
                    "@id" | "uid" | "@type" | "rdf:value" | "source" => {}
                    "refinement" => self.constraints(&format!("{at}.{key}"), value, depth)?,
                    _ => self.refused(&format!("{at}.{key}"), key, value)?,
                }
            }
        }
        Ok(())
    }

    fn constraints(&mut self, at: &str, value: &Json, depth: usize) -> Result<()> {
        if depth > RDF_DEPTH_MAX {
            return Err(too_large(format!("a policy of more than {RDF_DEPTH_MAX} levels")));
        }
        for (at, item) in items(at, value) {
            let Json::Object(members) = item else {
                self.refused(&at, "constraint", item)?;
                continue;
            };
            match members.get("leftOperand").or_else(|| members.get("odrl:leftOperand")) {
                Some(Json::String(name)) => self.atom(&at, members, name)?,
                Some(other) => self.refused(&at, "leftOperand", other)?,
                None => self.logical(&at, members, depth)?,
            }
        }
        Ok(())
    }

    fn atom(&mut self, at: &str, members: &Map<String, Json>, name: &str) -> Result<()> {
        let member = |name: &str| members.get(name).or_else(|| members.get(&format!("odrl:{name}")));
        let operator = member("operator").and_then(Json::as_str).unwrap_or_default();
        let operator = compact(operator);
        let operator = operator.strip_prefix("odrl:").unwrap_or(&operator);
        let term = Term::find(Kind::LeftOperand, name).filter(|term| term.operators.contains(&operator));
        let value = member("rightOperand").map(shown).unwrap_or_default();
        self.add(at, name, format!("{operator} {value}"), term)?;
        for (key, value) in members {
            if !["leftOperand", "operator", "rightOperand", "@id", "uid", "@type"].contains(&local(key)) {
                self.refused(&format!("{at}.{key}"), key, value)?;
            }
        }
        Ok(())
    }

    fn logical(&mut self, at: &str, members: &Map<String, Json>, depth: usize) -> Result<()> {
        for (key, value) in members {
            if ["@id", "uid", "@type"].contains(&local(key)) {
                continue;
            }
            let inner = format!("{at}.{key}");
            match Term::find(Kind::Logical, key) {
                Some(term) => {
                    self.add(at, key, String::new(), Some(term))?;
                    self.constraints(&inner, value, depth + 1)?;
                }
                None => self.refused(&inner, key, value)?,
            }
        }
        Ok(())
    }
}

fn local(key: &str) -> &str {
    key.strip_prefix("odrl:").unwrap_or(key)
}

/// The items of a list, or the one that stands without a list, with their places.
fn items<'a>(at: &str, value: &'a Json) -> Vec<(String, &'a Json)> {
    match value {
        Json::Array(items) => items.iter().enumerate().map(|(i, item)| (format!("{at}[{i}]"), item)).collect(),
        Json::Object(members) => match members.get("@list") {
            Some(list @ Json::Array(_)) => items(at, list),
            _ => vec![(at.to_owned(), value)],
        },
        one => vec![(at.to_owned(), one)],
    }
}

/// A value as people read it.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Object(members) => match (members.get("@value"), members.get("@id")) {
            (Some(Json::String(text)), _) | (None, Some(Json::String(text))) => text.clone(),
            _ => value.to_string(),
        },
        Json::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(policy: Json) -> Vec<(String, String, Label)> {
        coverage(&policy).unwrap().into_iter().map(|line| (line.at.clone(), line.term.clone(), line.label())).collect()
    }

    #[test]
    fn every_term_has_its_line() {
        let policy = json!({"@type": "Offer", "permission": [{
            "action": "read",
            "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
                {"or": [
                    {"leftOperand": "count", "operator": "lteq", "rightOperand": 3},
                    {"leftOperand": "perron:fact/crisis-open", "operator": "eq", "rightOperand": true},
                ]},
                {"leftOperand": "perron:column/nis", "operator": "eq", "rightOperand": "63049"},
            ],
            "duty": [{"action": "compensate"}],
        }], "prohibition": [{"action": "distribute"}]});
        let expected = [
            ("permission[0].action", "odrl:read", Label::Enforced),
            ("permission[0].constraint[0]", "odrl:purpose", Label::Recorded),
            ("permission[0].constraint[1]", "odrl:or", Label::Enforced),
            ("permission[0].constraint[1].or[0]", "odrl:count", Label::Enforced),
            ("permission[0].constraint[1].or[1]", "perron:fact/crisis-open", Label::Enforced),
            ("permission[0].constraint[2]", "perron:column/nis", Label::Enforced),
            ("permission[0].duty[0].action", "odrl:compensate", Label::Executed),
            ("prohibition[0].action", "odrl:distribute", Label::Recorded),
        ];
        assert_eq!(of(policy), expected.map(|(at, term, label)| (at.to_owned(), term.to_owned(), label)));
    }

    #[test]
    fn what_has_no_meaning_is_refused_and_not_left_out() {
        let atom = |left: &str, operator: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": 1});
        let permission = |constraint: Json| json!({"permission": [{"action": "read", "constraint": [constraint]}]});
        for (policy, at) in [
            (json!({"inheritFrom": "urn:x:y"}), "inheritFrom"),
            (json!({"permission": [{"action": "sell"}]}), "permission[0].action"),
            (json!({"permission": [{"remedy": []}]}), "permission[0].remedy"),
            (json!({"prohibition": [{"duty": []}]}), "prohibition[0].duty"),
            (json!({"obligation": [{"action": "fly"}]}), "obligation[0].action"),
            (permission(atom("payAmount", "eq")), "permission[0].constraint[0]"),
            (permission(atom("count", "isAnyOf")), "permission[0].constraint[0]"),
            (permission(atom("perron:fact/", "eq")), "permission[0].constraint[0]"),
            (permission(json!({"not": []})), "permission[0].constraint[0].not"),
            (permission(json!("count")), "permission[0].constraint[0]"),
            (
                permission(json!({"leftOperand": "count", "operator": "lteq", "rightOperand": 1, "unit": "x"})),
                "permission[0].constraint[0].unit",
            ),
        ] {
            let lines = of(policy.clone());
            assert!(lines.iter().any(|(a, _, label)| a == at && *label == Label::Refused), "{policy}: {lines:?}");
        }
        let mut deep = atom("count", "lteq");
        for _ in 0..=RDF_DEPTH_MAX {
            deep = json!({"and": [deep]});
        }
        assert!(coverage(&permission(deep)).is_err());
    }
}
