//! Usage policies in ODRL 2.2 (W3C), in the compact JSON-LD shape of the Dataspace Protocol 2025-1.
//!
//! A policy is read once, when it is offered or agreed, into [`Terms`]. Every member, operand,
//! operator and value has one place there or is refused by its place and name: nothing is
//! dropped (invariant 4). `policies/README.md` has the table of terms and two full examples.

use super::odrl_constraint::Draft;
use super::odrl_names::{IRI_BYTES_MAX, Name, clip, invalid, name, unsupported};
use super::{odrl_names, odrl_read};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::id::ParticipantId;
use crate::limits::POLICY_TERMS_MAX;
use crate::policy::terms::{Terms, View};
use serde_json::{Map, Value as Json};

/// Perron's ODRL profile and its namespace (`perron:`).
pub const PROFILE: &str = "https://w3id.org/perron/odrl/v1/";
/// ODRL's action `use`: any that Perron knows.
pub const ACTION_USE: &str = "http://www.w3.org/ns/odrl/2/use";
/// ODRL's action `read`: to obtain the data.
pub const ACTION_READ: &str = "http://www.w3.org/ns/odrl/2/read";
/// ODRL's action `aggregate`: to bring the data together with others'.
pub const ACTION_AGGREGATE: &str = "http://www.w3.org/ns/odrl/2/aggregate";

/// JSON-LD contexts that a policy may name: what they say is built in, and never fetched.
const CONTEXTS: [&str; 3] = [
    "https://w3id.org/dspace/2025/1/context.jsonld",
    "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
    "http://www.w3.org/ns/odrl.jsonld",
];

/// Reads a policy's text: bounded JSON in which no member is stated twice.
pub fn read(text: &[u8]) -> Result<Json> {
    odrl_read::read(text)
}

/// Parses a policy for a set, and checks it against the set's description. With a `consumer`, a
/// policy that names another assignee is refused.
pub fn parse(policy: &Json, dataset: &Dataset, consumer: Option<&ParticipantId>) -> Result<Terms> {
    odrl_read::bounded(policy)?;
    let members = object("$", policy)?;
    only("$", members, &["@context", "@type", "@id", "profile", "assignee", "permission"])?;
    if let Some(context) = members.get("@context") {
        check_context(context)?;
    }
    match members.get("@type") {
        Some(Json::String(kind)) if name(kind) == Name::Odrl("Offer") => {}
        Some(Json::String(kind)) => return Err(unsupported("$.@type", kind)),
        _ => return Err(invalid("$.@type", "a policy that is offered has the type `Offer`")),
    }
    if let Some(id) = members.get("@id") {
        check_id(id)?;
    }
    check_profile(members.get("profile"))?;
    if let (Some(named), Some(consumer)) = (assignee(policy)?, consumer)
        && named != *consumer
    {
        return Err(invalid("$.assignee", &format!("the policy is for `{named}`, not for `{consumer}`")));
    }
    let Some(Json::Array(permissions)) = members.get("permission") else {
        return Err(invalid("$.permission", "a policy has a list of one permission"));
    };
    let [permission] = permissions.as_slice() else {
        return Err(invalid("$.permission", "a policy has exactly one permission"));
    };
    parse_permission("$.permission[0]", permission, dataset)
}

/// The participant that the policy is for, if it names one.
pub fn assignee(policy: &Json) -> Result<Option<ParticipantId>> {
    match policy.get("assignee") {
        None => Ok(None),
        Some(Json::String(text)) => ParticipantId::parse(text).map(Some).map_err(|e| invalid("$.assignee", &e.detail)),
        Some(_) => Err(invalid("$.assignee", "not the name of a participant")),
    }
}

/// Refuses a legal basis of an offer that isn't a DPV term written in full, or isn't the one that
/// the policy states: reads under such an agreement would all be refused.
pub fn check_legal_basis(terms: &Terms, named: &str) -> Result<()> {
    let path = "legal_basis.term";
    if odrl_names::dpv(named).as_deref() != Some(named) {
        return Err(invalid(path, &format!("`{}` is not a term of the DPV in full", clip(named))));
    }
    match &terms.legal_basis {
        Some(stated) if stated != named => Err(invalid(path, &format!("the policy states `{stated}`"))),
        _ => Ok(()),
    }
}

fn parse_permission(path: &str, json: &Json, dataset: &Dataset) -> Result<Terms> {
    let members = object(path, json)?;
    only(path, members, &["action", "constraint"])?;
    let Some(Json::Array(constraints)) = members.get("constraint") else {
        return Err(invalid(&format!("{path}.constraint"), "a permission has a list of constraints"));
    };
    if constraints.len() > POLICY_TERMS_MAX {
        return Err(invalid(&format!("{path}.constraint"), &format!("more than {POLICY_TERMS_MAX} constraints")));
    }
    let mut draft = Draft::new(dataset);
    for (index, constraint) in constraints.iter().enumerate() {
        draft.constraint(&format!("{path}.constraint[{index}]"), constraint)?;
    }
    let action_path = format!("{path}.action");
    let actions = parse_action(&action_path, members.get("action"))?;
    let terms = draft.finish(&format!("{path}.constraint"), actions)?;
    let aggregate_only = !terms.actions.iter().any(|a| a != ACTION_AGGREGATE);
    if aggregate_only && matches!(terms.view, View::Rows(_)) {
        return Err(invalid(&action_path, "rows are given to be read: the action is `use` or `read`"));
    }
    Ok(terms)
}

/// The actions that an action allows: `use` holds the others (ODRL 2.2, `includedIn`).
fn parse_action(path: &str, json: Option<&Json>) -> Result<Vec<String>> {
    let Some(Json::String(action)) = json else {
        return Err(invalid(path, "a permission has one action, a text"));
    };
    let allowed: &[&str] = match name(action) {
        Name::Odrl("use") => &[ACTION_USE, ACTION_READ, ACTION_AGGREGATE],
        Name::Odrl("read") => &[ACTION_READ],
        Name::Odrl("aggregate") => &[ACTION_AGGREGATE],
        _ => return Err(unsupported(path, action)),
    };
    Ok(allowed.iter().map(|a| (*a).to_owned()).collect())
}

fn check_context(context: &Json) -> Result<()> {
    let path = "$.@context";
    let items = match context {
        Json::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for item in items {
        match item {
            Json::String(iri) if CONTEXTS.contains(&iri.as_str()) => {}
            Json::String(iri) => return Err(unsupported(path, iri)),
            Json::Object(prefixes) => check_prefixes(path, prefixes)?,
            _ => return Err(invalid(path, "a context is an IRI or an object of prefixes")),
        }
    }
    Ok(())
}

/// Prefixes mean what they mean everywhere, or the policy is refused.
fn check_prefixes(path: &str, prefixes: &Map<String, Json>) -> Result<()> {
    for (prefix, meaning) in prefixes {
        let known = match prefix.as_str() {
            "perron" => PROFILE,
            "odrl" => odrl_names::ODRL,
            "dpv" => odrl_names::DPV,
            "xsd" => odrl_names::XSD,
            _ => return Err(unsupported(path, prefix)),
        };
        if meaning != known {
            return Err(invalid(&format!("{path}.{prefix}"), &format!("the prefix means `{known}`")));
        }
    }
    Ok(())
}

fn check_id(id: &Json) -> Result<()> {
    match id {
        Json::String(id) if !id.is_empty() && id.len() <= IRI_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(())
        }
        _ => Err(invalid("$.@id", "not an IRI of at most 255 bytes")),
    }
}

fn check_profile(profile: Option<&Json>) -> Result<()> {
    let stated = match profile {
        Some(Json::Array(items)) if items.len() == 1 => items.first(),
        other => other,
    };
    match stated {
        Some(Json::String(iri)) if iri == PROFILE => Ok(()),
        Some(Json::String(iri)) => Err(unsupported("$.profile", iri)),
        _ => Err(invalid("$.profile", &format!("the policy states its profile, `{PROFILE}`"))),
    }
}

/// The members of an object.
pub(super) fn object<'a>(path: &str, json: &'a Json) -> Result<&'a Map<String, Json>> {
    json.as_object().ok_or_else(|| invalid(path, "not an object"))
}

/// Refuses members other than those of `known`, by name.
pub(super) fn only(path: &str, members: &Map<String, Json>, known: &[&str]) -> Result<()> {
    match members.keys().find(|k| !known.contains(&k.as_str())) {
        Some(other) => Err(unsupported(&format!("{path}.{}", clip(other)), other)),
        None => Ok(()),
    }
}
