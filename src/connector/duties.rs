//! Duties that an agreement's policy carries: which, who owes them, and what was told of them.
//!
//! They are read from the signed policy itself, for the consumer has no description of the set by
//! which a policy is normalised. A place is that of the normal form: `permission[0].duty[1]`,
//! `obligation[0]`.

use crate::connector::node::Node;
use crate::connector::state::KeptAgreement;
use perron_model::life::{Act, Told};
use perron_model::negotiation::Side;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result};
use serde_json::{Value as Json, json};

/// A duty as the signed policy has it.
#[derive(Clone, Debug, PartialEq)]
struct Duty<'a> {
    at: String,
    stated: &'a Json,
}

/// The action by which whoever owes it gives extracts of its log.
const ACCEPT_TRACKING: &str = "acceptTracking";
/// Namespace of ODRL's vocabulary.
const ODRL: &str = "http://www.w3.org/ns/odrl/2/";

impl Duty<'_> {
    /// Is it a duty to do this, by an action of ODRL's vocabulary?
    fn is_to(&self, action: &str) -> bool {
        let named = self.stated.get("action").and_then(text_of);
        let local = named.map(|name| name.strip_prefix("odrl:").or_else(|| name.strip_prefix(ODRL)).unwrap_or(name));
        local == Some(action)
    }

    /// Who owes it: whom the policy names, else the consumer.
    fn owed_by(&self, agreement: &KeptAgreement) -> Side {
        let named = self.stated.get("assignee").and_then(text_of).and_then(|name| ParticipantId::parse(name).ok());
        match named {
            Some(name) if name == agreement.payload.provider => Side::Provider,
            _ => Side::Consumer,
        }
    }
}

impl Node {
    /// The duties of an agreement, each with its state and with what shows that it was fulfilled.
    pub fn duty_list(&self, id: &AgreementId) -> Result<Json> {
        let unknown = || Error::new(ErrorCode::NotFound, "no agreement of this name");
        let agreement = self.state.agreement(id).ok_or_else(unknown)?;
        let kept = self.state.life(id).ok_or_else(unknown)?;
        let shown = |duty: Duty<'_>| {
            let told = kept.life.fulfilled(id, &duty.at);
            let state = if told.is_some() { "fulfilled" } else { "not-set" };
            json!({"duty": duty.at, "owed_by": duty.owed_by(&agreement), "state": state, "stated": duty.stated, "told": told.map(evidence)})
        };
        Ok(Json::Array(duties(&agreement.payload.offer.policy).into_iter().map(shown).collect()))
    }

    /// Does an agreement oblige us to give its other party the extracts of our chain? It does by a duty
    /// of ours to `acceptTracking` (ODRL Vocabulary 2.2: that the use of the asset may be tracked).
    pub(super) fn owes_extracts(&self, agreement: &KeptAgreement) -> bool {
        duties(&agreement.payload.offer.policy)
            .iter()
            .any(|duty| duty.owed_by(agreement) == agreement.side && duty.is_to(ACCEPT_TRACKING))
    }

    /// Tells the other side, signed, that a duty which this side owes was fulfilled.
    pub async fn fulfil(
        &self,
        id: &AgreementId,
        duty: String,
        evidence: String,
        file: Option<Digest>,
        who: &str,
    ) -> Result<()> {
        let _guard = self.noticing.lock().await;
        let kept = self.living(id)?;
        self.require_owed(id, &duty, kept.side)?;
        self.tell(id, &kept, Act::Fulfil { duty, evidence, file }, who).await.map(|_| ())
    }

    /// Refuses unless this side owes this duty of the agreement.
    pub(super) fn require_owed(&self, id: &AgreementId, at: &str, by: Side) -> Result<()> {
        let agreement = self.state.agreement(id);
        let agreement = agreement.ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        let found = duties(&agreement.payload.offer.policy).into_iter().find(|d| d.at == at);
        match found.map(|duty| duty.owed_by(&agreement)) {
            Some(owed_by) if owed_by == by => Ok(()),
            Some(_) => Err(Error::new(ErrorCode::TransitionIllegal, "the other side owes this duty")),
            None => {
                let shown: String = at.chars().take(80).collect();
                Err(Error::new(ErrorCode::NotFound, format!("the agreement's policy has no duty at `{shown}`")))
            }
        }
    }
}

fn evidence(told: &Told) -> Json {
    json!({"notice": told.name, "time": told.time, "says": told.act})
}

/// The duties of a policy's permissions, then its obligations, in the order of the document.
fn duties(policy: &Json) -> Vec<Duty<'_>> {
    let mut found = Vec::new();
    for (number, permission) in list_of(policy, "permission").iter().enumerate() {
        for (index, stated) in list_of(permission, "duty").iter().enumerate() {
            found.push(Duty { at: format!("permission[{number}].duty[{index}]"), stated });
        }
    }
    for (index, stated) in list_of(policy, "obligation").iter().enumerate() {
        found.push(Duty { at: format!("obligation[{index}]"), stated });
    }
    found
}

fn list_of<'a>(parent: &'a Json, member: &str) -> &'a [Json] {
    parent.get(member).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text as JSON-LD spells it: alone, or as a reference.
fn text_of(value: &Json) -> Option<&str> {
    value.get("@id").unwrap_or(value).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duties_of_a_policy_are_found_by_their_places() {
        let policy = json!({
            "permission": [
                {"action": "read"},
                {"action": "read", "duty": [{"action": "inform"}, {"action": "delete", "assignee": "commune"}]},
            ],
            "obligation": [{"action": "compensate"}],
            "prohibition": [{"duty": [{"action": "no duty"}]}],
        });
        let places: Vec<String> = duties(&policy).into_iter().map(|d| d.at).collect();
        assert_eq!(places, ["permission[1].duty[0]", "permission[1].duty[1]", "obligation[0]"]);
        assert!(duties(&json!({"permission": {"duty": {}}})).is_empty());
        assert!(duties(&json!([])).is_empty());
    }
}
