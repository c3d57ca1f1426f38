//! Constraints and refinements: atomic ones, each left operand with its operators and its type,
//! and logical ones, as trees that a rule takes up.

use super::odrl::{check_id, object, only};
use super::odrl_literal::{boolean, count, duration_ms, time};
use super::odrl_names::{Name, clip, dpv, invalid, name, unsupported};
use super::odrl_set::{each, text};
use crate::error::Result;
use crate::id::ParticipantId;
use crate::limits::{ID_BYTES_MAX, POLICY_LOGIC_LEVELS_MAX};
use crate::policy::constraint::{Constraint, Left, Scalar, Test};
use crate::policy::rule::Logic;
use crate::policy::terms::Operator;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// An atomic constraint as it stands, its operator by its local name.
pub(super) struct Atomic<'a> {
    pub(super) left: &'a str,
    pub(super) operator: &'a str,
    pub(super) op: &'a str,
    pub(super) right: &'a Json,
}

/// Reads an atomic constraint's members (ODRL 2.2 Information Model, section 2.5.1). `unit`,
/// `dataType`, `rightOperandReference` and `status` are refused by name.
pub(super) fn atomic<'a>(path: &str, members: &'a Map<String, Json>) -> Result<Atomic<'a>> {
    only(path, members, &["@id", "leftOperand", "operator", "rightOperand"])?;
    check_id(path, members)?;
    let (left, operator) = (text(path, members, "leftOperand")?, text(path, members, "operator")?);
    let right = members.get("rightOperand").ok_or_else(|| invalid(&format!("{path}.rightOperand"), "missing"))?;
    let Name::Odrl(op) = name(operator) else {
        return Err(unsupported(&format!("{path}.operator"), operator));
    };
    Ok(Atomic { left, operator, op, right })
}

/// The logical operand of a constraint, if it has one: its name, and how it combines.
pub(super) fn logical(members: &Map<String, Json>) -> Option<(&str, Logic)> {
    members.keys().find_map(|member| {
        let logic = match name(member) {
            Name::Odrl("and") => Logic::And,
            Name::Odrl("or") => Logic::Or,
            Name::Odrl("xone") => Logic::Xone,
            Name::Odrl("andSequence") => Logic::AndSequence,
            _ => return None,
        };
        Some((member.as_str(), logic))
    })
}

/// A constraint or refinement that the gate evaluates, atomic or logical, and how many it counts.
pub(super) fn constraint(path: &str, json: &Json) -> Result<(Constraint, usize)> {
    within(path, json, POLICY_LOGIC_LEVELS_MAX)
}

fn within(path: &str, json: &Json, levels: usize) -> Result<(Constraint, usize)> {
    let members = object(path, json)?;
    let Some((member, operator)) = logical(members) else {
        return Ok((test(path, &atomic(path, members)?)?, 1));
    };
    only(path, members, &["@id", member])?;
    check_id(path, members)?;
    let list_path = format!("{path}.{}", clip(member));
    let Some(deeper) = levels.checked_sub(1) else {
        let limit = format!("logical constraints are nested deeper than {POLICY_LOGIC_LEVELS_MAX} levels");
        return Err(invalid(&list_path, &limit));
    };
    let (mut of, mut counted) = (Vec::new(), 1);
    for (at, item) in each(&list_path, list(&list_path, members.get(member))?)? {
        let (inner, count) = within(&at, item, deeper)?;
        counted += count;
        of.push(inner);
    }
    Ok((Constraint::Logical { at: place(path), operator, of }, counted))
}

/// A list, plain or as JSON-LD's `{"@list": […]}`.
fn list<'a>(path: &str, json: Option<&'a Json>) -> Result<&'a Json> {
    match json {
        Some(Json::Object(members)) => {
            only(path, members, &["@list"])?;
            members.get("@list").ok_or_else(|| invalid(path, "not a list of at least one"))
        }
        Some(json) => Ok(json),
        None => Err(invalid(path, "missing")),
    }
}

/// The place in the signed document, as refusals name it.
pub(super) fn place(path: &str) -> String {
    path.strip_prefix("$.").unwrap_or(path).to_owned()
}

/// The test of an atomic constraint: each left operand with the operators that have a meaning.
pub(super) fn test(path: &str, atomic: &Atomic<'_>) -> Result<Constraint> {
    let at = format!("{path}.rightOperand");
    let (op, right) = (atomic.op, atomic.right);
    let wrong = || unsupported(&format!("{path}.operator"), atomic.operator);
    let operator = comparison(op);
    let numbers = |allowed: &[&str]| operator.filter(|_| allowed.contains(&op)).ok_or_else(wrong);
    let number = |operator, number: i64| {
        Test::number(operator, number).ok_or_else(|| invalid(&at, "the number is over 2^53 - 1"))
    };
    let bound = ["lt", "lteq", "gt", "gteq"].as_slice();
    let whole = |least| count(&at, right, least).map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let (left, test) = match name(atomic.left) {
        Name::Odrl("dateTime") => {
            let operator = numbers(&["eq", "neq", "lt", "lteq", "gt", "gteq"])?;
            (Left::DateTime, number(operator, time(&at, right)?.millis())?)
        }
        Name::Odrl("count") => (Left::Count, number(numbers(bound)?, whole(1)?)?),
        Name::Perron("rate") => (Left::Rate, number(numbers(bound)?, whole(1)?)?),
        Name::Perron("volume") => (Left::Volume, number(numbers(bound)?, whole(1)?)?),
        Name::Odrl("elapsedTime") => (Left::ElapsedTime, number(numbers(bound)?, duration_ms(&at, right)?)?),
        Name::Odrl("purpose") => (Left::Purpose, texts(&at, op, right, iri)?.ok_or_else(wrong)?),
        Name::Perron("legalBasis") if matches!(op, "eq" | "isAnyOf") => {
            (Left::LegalBasis, texts(&at, op, right, iri)?.ok_or_else(wrong)?)
        }
        Name::Odrl("spatial") => (Left::Spatial, texts(&at, op, right, country)?.ok_or_else(wrong)?),
        Name::Odrl("recipient") => (Left::Recipient, texts(&at, op, right, participant)?.ok_or_else(wrong)?),
        Name::Perron("userRole") if op == "isAllOf" => (Left::UserRole, Test::Every(set(&at, right, role)?)),
        Name::Perron("userRole") => (Left::UserRole, texts(&at, op, right, role)?.ok_or_else(wrong)?),
        Name::Odrl("event") if matches!(op, "eq" | "neq") => {
            let event = fact_name(&at, right.as_str().unwrap_or_default())?;
            let going_on = Scalar::Boolean(true);
            (Left::Fact(event), Test::one_of(numbers(&["eq", "neq"])?, vec![going_on]).ok_or_else(wrong)?)
        }
        Name::Perron(local) if local.starts_with("fact/") => {
            let fact = fact_name(&format!("{path}.leftOperand"), local.strip_prefix("fact/").unwrap_or_default())?;
            (Left::Fact(fact), scalars(&at, op, right)?.ok_or_else(wrong)?)
        }
        Name::Perron("legalBasis") | Name::Odrl("event") => return Err(wrong()),
        _ => return Err(unsupported(&format!("{path}.leftOperand"), atomic.left)),
    };
    Ok(Constraint::Test { at: place(path), left, test })
}

fn comparison(op: &str) -> Option<Operator> {
    Some(match op {
        "eq" => Operator::Eq,
        "neq" => Operator::Neq,
        "lt" => Operator::Lt,
        "lteq" => Operator::Lteq,
        "gt" => Operator::Gt,
        "gteq" => Operator::Gteq,
        "isAnyOf" => Operator::IsAnyOf,
        "isNoneOf" => Operator::IsNoneOf,
        _ => return None,
    })
}

/// A comparison with one value or, for `isAnyOf` and `isNoneOf`, with a list; nothing for other
/// operators.
fn texts(path: &str, op: &str, right: &Json, read: fn(&str, &Json) -> Result<String>) -> Result<Option<Test>> {
    let values = match op {
        "eq" | "neq" => vec![Scalar::Text(read(path, right)?)],
        "isAnyOf" | "isNoneOf" => set(path, right, read)?,
        _ => return Ok(None),
    };
    Ok(comparison(op).and_then(|operator| Test::one_of(operator, values)))
}

/// A list of values, each once, in their order as texts.
fn set(path: &str, right: &Json, read: fn(&str, &Json) -> Result<String>) -> Result<Vec<Scalar>> {
    let mut seen = BTreeSet::new();
    for (at, item) in each(path, right)? {
        if !seen.insert(Scalar::Text(read(&at, item)?)) {
            return Err(invalid(&at, "a value is named twice"));
        }
    }
    Ok(seen.into_iter().collect())
}

/// A comparison of a fact with truth values or texts.
fn scalars(path: &str, op: &str, right: &Json) -> Result<Option<Test>> {
    let scalar = |path: &str, json: &Json| match json {
        Json::String(text) if text.len() <= ID_BYTES_MAX => Ok(Scalar::Text(text.clone())),
        other => boolean(path, other)
            .map(Scalar::Boolean)
            .map_err(|_| invalid(path, "a fact is true, false or a text of at most 63 bytes")),
    };
    let values = match op {
        "eq" | "neq" => vec![scalar(path, right)?],
        "isAnyOf" | "isNoneOf" => each(path, right)?.map(|(at, item)| scalar(&at, item)).collect::<Result<_>>()?,
        _ => return Ok(None),
    };
    Ok(comparison(op).and_then(|operator| Test::one_of(operator, values)))
}

/// The name of a fact: 1 to 63 of a-z, 0-9, `-` and `_`, a letter first.
pub fn is_fact_name(text: &str) -> bool {
    text.len() <= ID_BYTES_MAX
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn fact_name(path: &str, text: &str) -> Result<String> {
    if is_fact_name(text) {
        return Ok(text.to_owned());
    }
    Err(invalid(path, "the name of a fact is 1 to 63 of a-z, 0-9, - and _, a letter first"))
}

fn country(path: &str, json: &Json) -> Result<String> {
    match json {
        Json::String(text) if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) => Ok(text.clone()),
        _ => Err(invalid(path, "not a country code of two letters, like BE (ISO 3166-1 alpha-2)")),
    }
}

fn participant(path: &str, json: &Json) -> Result<String> {
    let text = json.as_str().ok_or_else(|| invalid(path, "not the name of a participant"))?;
    ParticipantId::parse(text).map(|id| id.to_string()).map_err(|e| invalid(path, &e.detail))
}

fn role(path: &str, json: &Json) -> Result<String> {
    match json {
        Json::String(text) if is_fact_name(text) => Ok(text.clone()),
        _ => Err(invalid(path, "a role is 1 to 63 of a-z, 0-9, - and _, a letter first")),
    }
}

/// A DPV term: its IRI as a text, or as `{"@id": …}`.
fn iri(path: &str, json: &Json) -> Result<String> {
    let text = match json {
        Json::String(text) => text.as_str(),
        _ => {
            let members = object(path, json)?;
            only(path, members, &["@id"])?;
            text(path, members, "@id")?
        }
    };
    dpv(text).ok_or_else(|| invalid(path, &format!("`{}` is not a term of the DPV", clip(text))))
}
