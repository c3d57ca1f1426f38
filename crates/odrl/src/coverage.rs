//! What carries out each term of a policy, and who must be trusted for it. Works on the document as
//! it is written, without the set that it is about; nothing of it is left out.

use crate::index::full;
use crate::limits::{RDF_DEPTH_MAX, RDF_NODES_MAX};
use crate::rdf::too_large;
use crate::terms::{By, FUNCTIONS, GRANULARITIES, Kind, Term, Value, compact};
use crate::vocabulary::ODRL;
use perron_model::Result;
use perron_model::policy::Trust;
use perron_model::policy::odrl::PROFILE;
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

/// The lines of a policy; items of a list in their order. What its publication would refuse by name
/// has a line that says so; whether values fit the set is for `perron_model::policy::odrl::parse`.
pub fn coverage(policy: &Json) -> Result<Vec<Line>> {
    let mut covering = Covering { lines: Vec::new() };
    let Json::Object(members) = policy else {
        covering.refused("$", "policy", policy)?;
        return Ok(covering.lines);
    };
    for (key, value) in members {
        let one = |expected: &str| value.as_str().is_some_and(|name| full(name) == expected);
        match key.as_str() {
            "@context" | "@id" => {}
            "@type" if one(&format!("{ODRL}Offer")) => {}
            "conflict" if one(&format!("{ODRL}prohibit")) => {}
            "profile" if profiles(value) => {}
            "assignee" => covering.named(key, key, value, Place::Gate)?,
            "target" => covering.named(key, key, value, Place::View)?,
            "permission" => covering.rules(key, value, Kind::PermittedAction)?,
            "prohibition" => covering.rules(key, value, Kind::ProhibitedAction)?,
            "obligation" => covering.rules(key, value, Kind::DutyAction)?,
            _ => covering.refused(key, key, value)?,
        }
    }
    Ok(covering.lines)
}

/// What may stand among constraints or refinements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Constraints of a permission: what decides, and what states the view.
    Permission,
    /// What decides.
    Gate,
    /// What states the view: refinements of a target.
    View,
    /// Until when a duty is to be fulfilled.
    Duty,
    /// Nothing.
    Nothing,
}

impl Place {
    /// The left operand of this name, if it has a meaning here.
    fn find(self, name: &str) -> Option<&'static Term> {
        let kind = if self == Place::Duty { Kind::Deadline } else { Kind::LeftOperand };
        Term::find(kind, name).filter(|term| match self {
            Place::Permission | Place::Duty => true,
            Place::Gate => term.by == By::Gate,
            Place::View => term.by != By::Gate,
            Place::Nothing => false,
        })
    }
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
            self.rule(&at, rule, kind)?;
        }
        Ok(())
    }

    fn rule(&mut self, at: &str, rule: &Json, kind: Kind) -> Result<()> {
        let Json::Object(members) = rule else { return self.refused(at, "rule", rule) };
        let is_duty = kind == Kind::DutyAction;
        let before = self.lines.len();
        for (key, value) in members {
            let inner = format!("{at}.{key}");
            match key.as_str() {
                "@id" => {}
                "action" => self.action(&inner, value, kind)?,
                "assignee" => self.named(&inner, key, value, if is_duty { Place::Duty } else { Place::Gate })?,
                "target" if kind == Kind::PermittedAction => self.named(&inner, key, value, Place::View)?,
                "target" if kind == Kind::ProhibitedAction => self.named(&inner, key, value, Place::Nothing)?,
                "constraint" => {
                    let place = match kind {
                        Kind::PermittedAction => Place::Permission,
                        Kind::DutyAction => Place::Duty,
                        _ => Place::Gate,
                    };
                    self.constraints(&inner, value, place, 1)?;
                }
                "duty" if kind == Kind::PermittedAction => self.rules(&inner, value, Kind::DutyAction)?,
                _ => self.refused(&inner, key, value)?,
            }
        }
        // What limits a prohibition that is recorded is recorded with it.
        let own = self.lines.get_mut(before..).unwrap_or_default();
        if kind == Kind::ProhibitedAction && own.iter().any(|line| line.by == By::Log) {
            for line in own.iter_mut().filter(|line| line.trust.is_some()) {
                (line.by, line.trust) = (By::Log, Some(Trust::Recorded));
            }
        }
        Ok(())
    }

    fn action(&mut self, at: &str, value: &Json, kind: Kind) -> Result<()> {
        for (at, item) in items(at, value) {
            let name = match item {
                Json::Object(members) => members.get("rdf:value").and_then(reference),
                other => other.as_str(),
            };
            match name {
                Some(name) => self.add(&at, name, String::new(), Term::find(kind, name))?,
                None => self.refused(&at, "action", item)?,
            }
            let Json::Object(members) = item else { continue };
            let place = if kind == Kind::DutyAction { Place::Nothing } else { Place::Gate };
            for (key, value) in members {
                match key.as_str() {
                    "rdf:value" => {}
                    "refinement" => self.constraints(&format!("{at}.{key}"), value, place, 1)?,
                    _ => self.refused(&format!("{at}.{key}"), key, value)?,
                }
            }
        }
        Ok(())
    }

    /// What names a party or an asset, and its refinements.
    fn named(&mut self, at: &str, name: &str, value: &Json, place: Place) -> Result<()> {
        let (kind, inner) = match place {
            Place::Duty => (Kind::DutyMember, Place::Nothing),
            other => (Kind::Member, other),
        };
        for (at, item) in items(at, value) {
            let stated = item.get("source").or_else(|| item.get("@id")).unwrap_or(item);
            self.add(&at, name, shown(stated), Term::find(kind, name))?;
            let Json::Object(members) = item else { continue };
            for (key, value) in members {
                match key.as_str() {
                    "@type" | "source" => {}
                    "refinement" => self.constraints(&format!("{at}.{key}"), value, inner, 1)?,
                    _ => self.refused(&format!("{at}.{key}"), key, value)?,
                }
            }
        }
        Ok(())
    }

    fn constraints(&mut self, at: &str, value: &Json, place: Place, depth: usize) -> Result<()> {
        if depth > RDF_DEPTH_MAX {
            return Err(too_large(format!("a policy of more than {RDF_DEPTH_MAX} levels")));
        }
        for (at, item) in items(at, value) {
            let Json::Object(members) = item else {
                self.refused(&at, "constraint", item)?;
                continue;
            };
            match members.get("leftOperand") {
                Some(Json::String(name)) => self.atom(&at, members, name, place)?,
                Some(other) => self.refused(&at, "leftOperand", other)?,
                None => self.logical(&at, members, place, depth)?,
            }
        }
        Ok(())
    }

    fn atom(&mut self, at: &str, members: &Map<String, Json>, name: &str, place: Place) -> Result<()> {
        let operator = compact(members.get("operator").and_then(Json::as_str).unwrap_or_default());
        let operator = operator.strip_prefix("odrl:").unwrap_or(&operator);
        let right = members.get("rightOperand");
        let term = place.find(name).filter(|term| term.operators.contains(&operator));
        self.add(at, name, format!("{operator} {}", right.map(shown).unwrap_or_default()), term)?;
        for (key, value) in members {
            if !["leftOperand", "operator", "rightOperand", "@id"].contains(&key.as_str()) {
                self.refused(&format!("{at}.{key}"), key, value)?;
            }
        }
        match (term, right) {
            (Some(term), Some(right)) => self.parts(&format!("{at}.rightOperand"), right, term.value),
            _ => Ok(()),
        }
    }

    /// What a right operand is put together of.
    fn parts(&mut self, at: &str, right: &Json, value: Value) -> Result<()> {
        let known: &[&str] = match value {
            Value::Dimensions => &["perron:column", "perron:granularity"],
            Value::Measures => &["perron:function", "perron:column", "perron:name"],
            Value::Roundings => &["perron:name", "perron:base"],
            Value::Noises => &["perron:name", "perron:epsilon", "perron:bound"],
            _ => return Ok(()),
        };
        for (at, item) in items(at, right) {
            let Json::Object(members) = item else { continue };
            for (key, value) in members {
                let has_meaning = match (key.as_str(), value.as_str()) {
                    ("perron:function", Some(name)) => FUNCTIONS.contains(&name),
                    ("perron:granularity", Some(name)) => GRANULARITIES.contains(&name),
                    (other, _) => known.contains(&other),
                };
                if !has_meaning {
                    self.refused(&format!("{at}.{key}"), key, value)?;
                }
            }
        }
        Ok(())
    }

    fn logical(&mut self, at: &str, members: &Map<String, Json>, place: Place, depth: usize) -> Result<()> {
        // What is combined decides; the view is stated by itself.
        let place = match place {
            Place::Permission | Place::Gate => Place::Gate,
            Place::View | Place::Duty | Place::Nothing => Place::Nothing,
        };
        for (key, value) in members.iter().filter(|(key, _)| *key != "@id") {
            let inner = format!("{at}.{key}");
            match Term::find(Kind::Logical, key).filter(|_| place == Place::Gate) {
                Some(term) => {
                    self.add(at, key, String::new(), Some(term))?;
                    self.constraints(&inner, value, place, depth + 1)?;
                }
                None => self.refused(&inner, key, value)?,
            }
        }
        Ok(())
    }
}

/// The one profile, alone or in a list.
fn profiles(value: &Json) -> bool {
    let named = value.as_array().filter(|all| all.len() == 1).and_then(|all| all.first());
    named.unwrap_or(value).as_str() == Some(PROFILE)
}

/// A name, alone or as a reference.
fn reference(value: &Json) -> Option<&str> {
    value.get("@id").unwrap_or(value).as_str()
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
            _ => {
                let part = |(key, value): (&String, &Json)| {
                    format!("{} {}", key.strip_prefix("perron:").unwrap_or(key), shown(value))
                };
                format!("({})", members.iter().map(part).collect::<Vec<_>>().join(", "))
            }
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
        let lines = coverage(&policy).unwrap();
        let mut all: Vec<_> = lines.iter().map(|line| (line.at.clone(), line.term.clone(), line.label())).collect();
        // Whether the order of members is kept is the JSON reader's.
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    #[test]
    fn every_term_has_its_line() {
        let policy = json!({"@type": "Offer", "target": "water", "permission": [{
            "assignee": {"@type": "PartyCollection", "source": "urn:x:planners"},
            "action": "read",
            "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
                {"or": [
                    {"leftOperand": "count", "operator": "lteq", "rightOperand": 3},
                    {"leftOperand": "perron:fact/crisis-open", "operator": "eq", "rightOperand": true},
                ]},
                {"leftOperand": "perron:column/nis", "operator": "eq", "rightOperand": "63049"},
            ],
            "duty": [{"action": "compensate", "assignee": "malmedy"}],
        }], "prohibition": [{
            "action": "distribute",
            "constraint": [{"leftOperand": "spatial", "operator": "neq", "rightOperand": "BE"}],
        }]});
        let expected = [
            ("permission[0].action", "odrl:read", Label::Enforced),
            ("permission[0].assignee", "odrl:assignee", Label::Enforced),
            ("permission[0].constraint[0]", "odrl:purpose", Label::Recorded),
            ("permission[0].constraint[1]", "odrl:or", Label::Enforced),
            ("permission[0].constraint[1].or[0]", "odrl:count", Label::Enforced),
            ("permission[0].constraint[1].or[1]", "perron:fact/crisis-open", Label::Enforced),
            ("permission[0].constraint[2]", "perron:column/nis", Label::Enforced),
            ("permission[0].duty[0].action", "odrl:compensate", Label::Detected),
            ("permission[0].duty[0].assignee", "odrl:assignee", Label::Detected),
            ("prohibition[0].action", "odrl:distribute", Label::Recorded),
            ("prohibition[0].constraint[0]", "odrl:spatial", Label::Recorded),
            ("target", "odrl:target", Label::Enforced),
        ];
        assert_eq!(of(policy), expected.map(|(at, term, label)| (at.to_owned(), term.to_owned(), label)));
    }

    #[test]
    fn what_has_no_meaning_is_refused_and_not_left_out() {
        let atom = |left: &str, operator: &str| json!({"leftOperand": left, "operator": operator, "rightOperand": 1});
        let permission = |constraint: Json| json!({"permission": [{"action": "read", "constraint": [constraint]}]});
        for (policy, at) in [
            (json!({"inheritFrom": "urn:x:y"}), "inheritFrom"),
            (json!({"assigner": "urn:x:y"}), "assigner"),
            (json!({"conflict": "perm"}), "conflict"),
            (json!({"@type": "Set"}), "@type"),
            (json!({"profile": "urn:x:y"}), "profile"),
            (json!({"target": {"refinement": [atom("count", "lteq")]}}), "target.refinement[0]"),
            (json!({"prohibition": [{"constraint": [atom("perron:floor", "gteq")]}]}), "prohibition[0].constraint[0]"),
            (
                json!({"obligation": [{"action": "delete", "constraint": [atom("count", "lteq")]}]}),
                "obligation[0].constraint[0]",
            ),
            (permission(json!({"or": [atom("perron:floor", "gteq")]})), "permission[0].constraint[0].or[0]"),
            (
                permission(json!({"leftOperand": "perron:measures", "operator": "isAnyOf", "rightOperand": [
                    {"perron:function": "median", "perron:name": "x"},
                ]})),
                "permission[0].constraint[0].rightOperand[0].perron:function",
            ),
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
