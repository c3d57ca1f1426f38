//! Usage policies in ODRL 2.2 (W3C), in the compact JSON-LD shape of the Dataspace Protocol 2025-1.
//!
//! A policy is read once, when it is offered or agreed, into [`Terms`]. Every member, operand,
//! operator and value has one place there or is refused by its place and name: nothing is
//! dropped (invariant 4). `policies/README.md` has the table of terms and two full examples.

use super::odrl_names::{IRI_BYTES_MAX, Name, clip, invalid, name, unsupported};
use super::odrl_rule::Reader;
use super::{odrl_names, odrl_read};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::id::ParticipantId;
use crate::limits::POLICY_RULES_MAX;
use crate::policy::constraint::{Numbering, Scalar};
use crate::policy::rule::Rules;
use crate::policy::terms::{Terms, View};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

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
/// policy that permits another assignee is refused.
pub fn parse(policy: &Json, dataset: &Dataset, consumer: Option<&ParticipantId>) -> Result<Terms> {
    odrl_read::bounded(policy)?;
    let members = object("$", policy)?;
    only("$", members, &MEMBERS)?;
    if let Some(context) = members.get("@context") {
        check_context(context)?;
    }
    match members.get("@type") {
        Some(Json::String(kind)) if name(kind) == Name::Odrl("Offer") => {}
        Some(Json::String(kind)) => return Err(unsupported("$.@type", kind)),
        _ => return Err(invalid("$.@type", "a policy that is offered has the type `Offer`")),
    }
    check_id("$", members)?;
    check_profile(members.get("profile"))?;
    check_conflict(members.get("conflict"))?;
    if let (Some(named), Some(consumer)) = (assignee(policy)?, consumer)
        && named != *consumer
    {
        return Err(invalid("$.assignee", &format!("the policy is for `{named}`, not for `{consumer}`")));
    }
    let mut reader = Reader {
        dataset,
        consumer,
        assignee: members.get("assignee"),
        target: members.get("target"),
        numbering: Numbering::default(),
        terms: 0,
    };
    parse_rules(members, &mut reader)
}

/// Members of a policy that have a meaning here. `inheritFrom`, `assigner` (the agreement names
/// it) and all others are refused by name.
const MEMBERS: [&str; 10] = [
    "@context",
    "@type",
    "@id",
    "profile",
    "assignee",
    "target",
    "conflict",
    "permission",
    "prohibition",
    "obligation",
];

fn parse_rules(members: &Map<String, Json>, reader: &mut Reader<'_>) -> Result<Terms> {
    let Some(Json::Array(permissions)) = members.get("permission") else {
        return Err(invalid("$.permission", "a policy has a list of permissions"));
    };
    let listed = |member: &str| match members.get(member) {
        None => Ok([].as_slice()),
        Some(Json::Array(rules)) if !rules.is_empty() => Ok(rules.as_slice()),
        Some(_) => Err(invalid(&format!("$.{member}"), "not a list of at least one")),
    };
    let (prohibitions, obligations) = (listed("prohibition")?, listed("obligation")?);
    let count = permissions.len() + prohibitions.len() + obligations.len();
    if count > POLICY_RULES_MAX {
        return Err(invalid("$", &format!("more than {POLICY_RULES_MAX} rules")));
    }
    let (mut rules, mut given): (Rules, Option<View>) = (Rules::default(), None);
    for (index, json) in permissions.iter().enumerate() {
        let path = format!("$.permission[{index}]");
        let (rule, view) = reader.permission(&path, json)?;
        match &given {
            Some(first) if *first != view => {
                return Err(invalid(&path, "it states another view than the permission before: one view a policy"));
            }
            _ => given = Some(view),
        }
        rules.permissions.push(rule);
    }
    for (index, json) in prohibitions.iter().enumerate() {
        rules.prohibitions.push(reader.prohibition(&format!("$.prohibition[{index}]"), json)?);
    }
    for (index, json) in obligations.iter().enumerate() {
        rules.obligations.push(reader.duty(&format!("$.obligation[{index}]"), json)?);
    }
    let view = given.ok_or_else(|| invalid("$.permission", "a policy has at least one permission"))?;
    Ok(Terms { rules: Arc::new(rules), view })
}

/// Whether any of the policy's constraints asks for the roles of the user: only then does the
/// consumer's connector state them.
pub fn asks_for_roles(policy: &Json) -> bool {
    match policy {
        Json::Array(items) => items.iter().any(asks_for_roles),
        Json::Object(members) => members.iter().any(|(member, value)| match value {
            Json::String(text) => member == "leftOperand" && name(text) == Name::Perron("userRole"),
            other => asks_for_roles(other),
        }),
        _ => false,
    }
}

fn check_conflict(conflict: Option<&Json>) -> Result<()> {
    match conflict {
        None => Ok(()),
        Some(Json::String(strategy)) if name(strategy) == Name::Odrl("prohibit") => Ok(()),
        Some(Json::String(strategy)) => Err(unsupported("$.conflict", strategy)),
        Some(_) => Err(invalid("$.conflict", "the strategy is `prohibit`")),
    }
}

/// The participant that the whole policy is for, if it names one.
pub fn assignee(policy: &Json) -> Result<Option<ParticipantId>> {
    match policy.get("assignee") {
        None | Some(Json::Object(_)) => Ok(None),
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
    terms.legal_basis_fits(named).map_err(|(at, values)| {
        let stated = values.iter().map(|v| match v {
            Scalar::Text(text) => format!("`{text}`"),
            Scalar::Boolean(value) => format!("`{value}`"),
        });
        invalid(path, &format!("the policy states {} at `{at}`", stated.collect::<Vec<_>>().join(", ")))
    })
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

/// A node may have a name, which means nothing here: an IRI as `@id`.
pub(super) fn check_id(path: &str, members: &Map<String, Json>) -> Result<()> {
    match members.get("@id") {
        None => Ok(()),
        Some(Json::String(id))
            if !id.is_empty() && id.len() <= IRI_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(())
        }
        _ => Err(invalid(&format!("{path}.@id"), "not an IRI of at most 255 bytes")),
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
