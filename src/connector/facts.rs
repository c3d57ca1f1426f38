//! Facts: what a provider declares of the world, for policies that ask for it.
//!
//! A change is an entry of the log. Partners whose agreement asks for the fact are told by a signed
//! notice; what was not told because a crash came between is told at the next start.

use crate::connector::node::Node;
use crate::connector::state::{Declared, KeptAgreement};
use perron_model::agreement::Offer;
use perron_model::id::FactName;
use perron_model::life::{Act, FactValue, Standing};
use perron_model::limits::FACTS_MAX;
use perron_model::negotiation::Side;
use perron_model::{Error, ErrorCode, Result, canonical};
use serde_json::{Value as Json, json};

impl Node {
    /// Declares what holds. Reads whose agreement no longer permits them end; partners are told.
    pub async fn set_fact(&self, name: FactName, value: FactValue, who: &str) -> Result<()> {
        {
            let _guard = self.noticing.lock().await;
            let declared = self.state.facts();
            if declared.len() >= FACTS_MAX && !declared.contains_key(&name) {
                return Err(Error::new(ErrorCode::Overloaded, format!("at most {FACTS_MAX} facts are declared")));
            }
            let since = self.now();
            let document = canonical::to_bytes(&Declared { name, value, since })?;
            self.administer("fact.set", who, document).await?;
        }
        self.recheck_running().await;
        self.tell_facts(Some(who)).await
    }

    /// Facts declared here, and those that partners told.
    pub fn fact_list(&self) -> Json {
        let ours = self.state.facts().into_values();
        let ours = ours.map(|d| json!({"fact": d.name, "value": d.value, "since": d.since, "by": self.me}));
        let told = self.state.lives().into_iter().filter(|kept| kept.side == Side::Consumer).flat_map(|kept| {
            let (agreement, by) = (kept.life.current(), kept.counterparty);
            let facts = kept.life.facts().clone();
            facts.into_iter().filter_map(move |(name, told)| match told.act {
                Act::Fact { value, .. } => {
                    Some(json!({"fact": name, "value": value, "since": told.time, "by": by, "agreement": agreement}))
                }
                _ => None,
            })
        });
        Json::Array(ours.chain(told).collect())
    }

    /// Tells partners what they don't know yet of the facts that their agreements ask for.
    pub(crate) async fn tell_facts(&self, who: Option<&str>) -> Result<()> {
        let facts = self.state.facts();
        if facts.is_empty() {
            return Ok(());
        }
        for kept in self.state.lives() {
            let current = kept.life.current().and_then(|id| self.state.agreement(&id));
            let (Some(agreement), Side::Provider) = (current, kept.side) else { continue };
            if kept.life.standing() == Standing::Revoked {
                continue;
            }
            for declared in facts.values().filter(|d| asks_for(&agreement.payload.offer, &d.name)) {
                self.tell_fact(&agreement, declared, who).await?;
            }
        }
        Ok(())
    }

    async fn tell_fact(&self, agreement: &KeptAgreement, declared: &Declared, who: Option<&str>) -> Result<()> {
        let _guard = self.noticing.lock().await;
        let Some(kept) = self.state.life(&agreement.id) else { return Ok(()) };
        let known = kept.life.facts().get(&declared.name);
        if known.is_some_and(|t| matches!(&t.act, Act::Fact { value, .. } if *value == declared.value)) {
            return Ok(());
        }
        // Of two notices of a fact the later one holds: so it is later, whatever the clock shows.
        let after = known.map(|t| t.time.plus_millis(1));
        let time = after.map_or(self.now(), |after| self.now().max(after));
        let act = Act::Fact { name: declared.name.clone(), value: declared.value.clone() };
        self.tell_at(time, &agreement.id, &kept, act, who).await.map(|_| ())
    }
}

/// Does the agreement's policy ask for this fact: by the operand `perron:fact/<name>`, or as an
/// `odrl:event` of this name?
fn asks_for(offer: &Offer, name: &FactName) -> bool {
    fn asks(value: &Json, operand: &str, name: &str) -> bool {
        match value {
            Json::Array(items) => items.iter().any(|v| asks(v, operand, name)),
            Json::Object(members) => {
                let left = members.get("leftOperand").and_then(text_of).unwrap_or_default();
                let right = members.get("rightOperand").and_then(text_of).unwrap_or_default();
                left.ends_with(operand)
                    || (left.ends_with("event") && right.rsplit(['/', ':']).next() == Some(name))
                    || members.values().any(|v| asks(v, operand, name))
            }
            _ => false,
        }
    }
    asks(&offer.policy, &format!("fact/{name}"), name.as_str())
}

/// A text as JSON-LD spells it: alone, as a value, or as a reference.
fn text_of(value: &Json) -> Option<&str> {
    let value = value.get("@value").or_else(|| value.get("@id")).unwrap_or(value);
    value.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_asks_for_is_found_in_both_spellings_and_nothing_else() {
        let name = FactName::parse("crisis-open").unwrap();
        let policy = |left: Json, right: Json| json!({"permission": [{"constraint": [{"or": [{"leftOperand": left, "operator": "eq", "rightOperand": right}]}]}]});
        let asked = |policy: Json| {
            let offer = perron_model::agreement::Offer {
                id: perron_model::DatasetId::parse("o").unwrap(),
                dataset: perron_model::DatasetId::parse("d").unwrap(),
                description: perron_model::Digest::of(b"d"),
                policy,
                legal_basis: perron_model::agreement::LegalBasis { term: String::new(), text: String::new() },
                regime: perron_model::dataset::Regime::PublicTask,
                amends: None,
            };
            asks_for(&offer, &name)
        };
        assert!(asked(policy("perron:fact/crisis-open".into(), true.into())));
        assert!(asked(policy(json!({"@id": "https://w3id.org/perron/odrl/v1/fact/crisis-open"}), true.into())));
        assert!(asked(policy("event".into(), json!({"@id": "perron:crisis-open"}))));
        for other in [
            policy("perron:fact/crisis".into(), true.into()),
            policy("purpose".into(), "crisis-open".into()),
            policy("event".into(), "other".into()),
        ] {
            assert!(!asked(other.clone()), "{other}");
        }
    }
}
