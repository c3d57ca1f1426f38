//! What an agreement's envelope, the register and the description of a set say, for the records
//! that are made from them.

use perron_model::agreement::LegalBasis;
use perron_model::dataset::{Column, ProtectionClass, Regime, SubjectKey};
use perron_model::{AgreementId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A party, as the register in use tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Its name in the data space.
    pub participant: String,
    /// Its name for people; none where the register doesn't know it any more.
    pub name: Option<String>,
    /// Enterprise number.
    pub enterprise: Option<String>,
    /// Country of jurisdiction (ISO 3166-1 alpha-2).
    pub jurisdiction: Option<String>,
}

/// A column of a set, as its owner describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// What it means.
    pub meaning: String,
    /// Why it is protected.
    pub protection: ProtectionClass,
}

impl ColumnFacts {
    /// What the description says of a column.
    pub fn of(column: &Column) -> ColumnFacts {
        ColumnFacts { name: column.name.clone(), meaning: column.meaning.clone(), protection: column.protection }
    }
}

/// An agreement, and what is known here of what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementFacts {
    /// Its name.
    pub agreement: AgreementId,
    /// Number of its entry in the log.
    pub entry: u64,
    /// Origin of that log, where it is one that was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Which side this organisation is: `provider` or `consumer`.
    pub side: String,
    /// When the provider signed.
    pub signed: Timestamp,
    /// Who gives.
    pub provider: Party,
    /// Who receives.
    pub consumer: Party,
    /// The set.
    pub dataset: String,
    /// Its title; known at its provider.
    pub title: Option<String>,
    /// Is the set's description still the one that was agreed?
    pub is_described_as_agreed: Option<bool>,
    /// By which column a row belongs to a person; known at its provider.
    pub subject_key: Option<SubjectKey>,
    /// Columns of the set; known at its provider.
    pub columns: Vec<ColumnFacts>,
    /// Legal basis.
    pub legal_basis: LegalBasis,
    /// Regime of exchange.
    pub regime: Regime,
    /// The usage policy as signed (ODRL 2.2).
    pub policy: Json,
    /// State of the agreement.
    pub standing: Option<Json>,
    /// The agreement whose place it takes.
    pub amends: Option<AgreementId>,
    /// Processing activity that entries about its reads name.
    pub activity: Option<String>,
    /// Days after which the retention rule in force lets entries about its reads go.
    pub retention_days: Option<u32>,
}

/// A constraint of a policy, as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Constraint {
    /// What is compared, as the policy names it.
    pub operand: String,
    /// How.
    pub operator: String,
    /// With what; several values as a list.
    pub values: Vec<String>,
}

impl AgreementFacts {
    /// All constraints of the policy's permissions, in their order, whatever they are nested in.
    pub fn constraints(&self) -> Vec<Constraint> {
        let mut found = Vec::new();
        if let Some(permission) = self.policy.get("permission") {
            gather(permission, &mut found);
        }
        found
    }

    /// Purposes that the policy's permissions name (DPV IRIs).
    pub fn purposes(&self) -> Vec<String> {
        let mut purposes: Vec<String> = self
            .constraints()
            .into_iter()
            .filter(|c| c.operand == "purpose" && !matches!(c.operator.as_str(), "neq" | "isNoneOf"))
            .flat_map(|c| c.values)
            .collect();
        purposes.dedup();
        purposes
    }

    /// Columns that the policy gives; none where it names none.
    pub fn granted_columns(&self) -> Vec<String> {
        self.constraints().into_iter().filter(|c| c.operand == "columns").flat_map(|c| c.values).collect()
    }

    /// Actions of its duties and obligations, in their order.
    pub fn duties(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(obligation) = self.policy.get("obligation") {
            actions(obligation, &mut found);
        }
        if let Some(permission) = self.policy.get("permission") {
            duties(permission, &mut found);
        }
        found
    }

    /// Does the description say that it is about people? None where it isn't known here.
    pub fn is_personal(&self) -> Option<bool> {
        let key = self.subject_key.as_ref()?;
        let personal = self.columns.iter().any(|c| c.protection == ProtectionClass::Personal);
        Some(personal || matches!(key, SubjectKey::Column(_)))
    }
}

fn gather(value: &Json, found: &mut Vec<Constraint>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Json::Object(fields) => {
            if let Some(operand) = fields.get("leftOperand") {
                let text = |of: Option<&Json>| short(&words(of.unwrap_or(&Json::Null)).concat());
                let values = fields.get("rightOperand").or_else(|| fields.get("rightOperandReference"));
                found.push(Constraint {
                    operand: text(Some(operand)),
                    operator: text(fields.get("operator")),
                    values: words(values.unwrap_or(&Json::Null)),
                });
            }
            fields.iter().filter(|(name, _)| name.as_str() != "@context").for_each(|(_, v)| gather(v, found));
        }
        _ => {}
    }
}

/// What is beneath members named `duty`.
fn duties(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| duties(item, found)),
        Json::Object(fields) => fields.iter().for_each(|(name, inner)| match name.as_str() {
            "duty" => actions(inner, found),
            _ => duties(inner, found),
        }),
        _ => {}
    }
}

fn actions(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| actions(item, found)),
        Json::Object(fields) => {
            if let Some(action) = fields.get("action") {
                let named = match action {
                    Json::Object(fields) => fields.get("rdf:value").or_else(|| fields.get("@id")).unwrap_or(action),
                    plain => plain,
                };
                found.push(words(named).join(", "));
            }
        }
        _ => {}
    }
}

/// The last part of a name: `odrl:purpose` and `http://www.w3.org/ns/odrl/2/purpose` are `purpose`.
fn short(name: &str) -> String {
    name.rsplit(['/', '#', ':']).next().unwrap_or(name).to_owned()
}

fn words(value: &Json) -> Vec<String> {
    match value {
        Json::Null => Vec::new(),
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => items.iter().flat_map(words).collect(),
        Json::Object(fields) => {
            match fields.get("@value").or_else(|| fields.get("@id")).or_else(|| fields.get("@list")) {
                Some(inner) => words(inner),
                None => vec![value.to_string()],
            }
        }
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use perron_model::Digest;
    use serde_json::json;

    /// An agreement about household readings, from its provider's side.
    pub fn facts() -> AgreementFacts {
        let party = |name: &str, number: &str| Party {
            participant: name.to_owned(),
            name: Some(format!("{name} SA")),
            enterprise: Some(number.to_owned()),
            jurisdiction: Some("BE".to_owned()),
        };
        let column = |name: &str, protection| ColumnFacts {
            name: name.to_owned(),
            meaning: format!("the {name} | of it"),
            protection,
        };
        AgreementFacts {
            agreement: Digest::of(b"agreement"),
            entry: 7,
            log: None,
            side: "provider".to_owned(),
            signed: Timestamp::parse("2026-11-23T10:00:00Z").unwrap(),
            provider: party("commune", "0207.400.022"),
            consumer: party("inter", "0202.239.951"),
            dataset: "water".to_owned(),
            title: Some("Household water".to_owned()),
            is_described_as_agreed: Some(true),
            subject_key: Some(SubjectKey::Column("household".to_owned())),
            columns: vec![column("household", ProtectionClass::Personal), column("litres", ProtectionClass::None)],
            legal_basis: LegalBasis {
                term: "https://w3id.org/dpv#PublicInterest".to_owned(),
                text: "Decree".to_owned(),
            },
            regime: Regime::PublicTask,
            policy: json!({"permission": [{"action": "read", "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
                {"or": [{"leftOperand": "odrl:dateTime", "operator": "lt", "rightOperand": {"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00Z"}}]},
                {"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["household", "litres"]},
            ]}]}),
            standing: Some(json!("in-force")),
            amends: None,
            activity: Some("facturation".to_owned()),
            retention_days: Some(365),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::facts;
    use super::*;

    #[test]
    fn what_a_policy_says_is_found_whatever_it_is_nested_in() {
        let facts = facts();
        assert_eq!(facts.purposes(), ["https://w3id.org/dpv#PublicBenefit"]);
        assert_eq!(facts.granted_columns(), ["household", "litres"]);
        let until = facts.constraints().into_iter().find(|c| c.operand == "dateTime").unwrap();
        assert_eq!(
            (until.operator.as_str(), until.values.as_slice()),
            ("lt", ["2027-01-01T00:00:00Z".to_owned()].as_slice())
        );
        assert_eq!(facts.is_personal(), Some(true));
        let elsewhere = AgreementFacts { subject_key: None, columns: Vec::new(), ..facts };
        assert_eq!(elsewhere.is_personal(), None);
    }
}
