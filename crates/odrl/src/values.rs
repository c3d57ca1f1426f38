//! Values of constraints and of states of the world: times, durations, whole numbers, texts.

use crate::index::full;
use crate::rules::invalid;
use crate::vocabulary::XSD;
use oxrdf::Term;
use perron_model::policy::Scalar;
use perron_model::{Result, Timestamp};
use serde_json::Value as Json;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The text of a literal, if it is of one of the types (or of none).
fn typed<'a>(json: &'a Json, types: &[&str]) -> Option<&'a str> {
    match json {
        Json::String(text) => Some(text),
        Json::Object(members) => {
            let stated = members.get("@type").and_then(Json::as_str);
            let local = stated.map(|t| t.strip_prefix("xsd:").or_else(|| t.strip_prefix(XSD)).unwrap_or(t));
            let fits = local.is_none_or(|local| types.contains(&local));
            members.get("@value").and_then(Json::as_str).filter(|_| fits)
        }
        _ => None,
    }
}

/// `xsd:dateTime` with an offset, in milliseconds since 1970; `xsd:date` is its first moment in UTC.
pub(crate) fn time_ms(at: &str, json: &Json) -> Result<i64> {
    let wrong = || invalid(at, "not a time like 2026-11-23T10:00:00Z (xsd:dateTime with an offset)");
    let text = typed(json, &["dateTime", "dateTimeStamp"]).ok_or_else(wrong)?;
    Timestamp::parse(text).map(Timestamp::millis).map_err(|_| wrong())
}

/// `xsd:duration` of days, hours, minutes and seconds, in milliseconds. Months and years have no
/// one length, so they are refused.
pub(crate) fn duration_ms(at: &str, json: &Json) -> Result<i64> {
    let wrong = || invalid(at, "not a duration like P30D or PT12H (xsd:duration without months and years)");
    let text = typed(json, &["duration", "dayTimeDuration"]).ok_or_else(wrong)?;
    parse_duration(text).ok_or_else(wrong)
}

fn parse_duration(text: &str) -> Option<i64> {
    let (days, times) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, times)) => (days, times),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut sum = 0_i64;
    let mut some = false;
    for (mut rest, units) in
        [(days, &[('D', DAY_MS)][..]), (times, &[('H', HOUR_MS), ('M', MINUTE_MS), ('S', SECOND_MS)])]
    {
        for (unit, ms) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                sum = number.parse::<i64>().ok()?.checked_mul(*ms).and_then(|ms| sum.checked_add(ms))?;
                some = true;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    some.then_some(sum)
}

/// `xsd:integer`, or a whole JSON number.
pub(crate) fn integer(at: &str, json: &Json) -> Result<i64> {
    let number = match json {
        Json::Number(number) => number.as_i64(),
        Json::String(_) => None,
        other => typed(other, &["integer", "nonNegativeInteger", "positiveInteger", "long", "int"])
            .and_then(|text| text.parse().ok()),
    };
    number.ok_or_else(|| invalid(at, "not a whole number (xsd:integer)"))
}

/// A name, a text or a truth value. A name is compared in full.
pub(crate) fn text(at: &str, json: &Json) -> Result<Scalar> {
    match json {
        Json::Bool(value) => Ok(Scalar::Boolean(*value)),
        Json::String(text) => Ok(Scalar::Text(name(text))),
        Json::Object(members) => match (members.get("@id"), members.get("@type"), members.get("@value")) {
            (Some(Json::String(id)), _, _) => Ok(Scalar::Text(full(id))),
            (None, Some(Json::String(kind)), Some(Json::String(value))) if kind.ends_with("boolean") => {
                match value.as_str() {
                    "true" | "1" => Ok(Scalar::Boolean(true)),
                    "false" | "0" => Ok(Scalar::Boolean(false)),
                    _ => Err(invalid(at, "not a truth value")),
                }
            }
            (None, _, Some(Json::String(value))) => Ok(Scalar::Text(value.clone())),
            (None, _, Some(Json::Bool(value))) => Ok(Scalar::Boolean(*value)),
            _ => Err(invalid(at, "not a name, a text or a truth value")),
        },
        _ => Err(invalid(at, "not a name, a text or a truth value")),
    }
}

/// Prefixed names in full; other texts as they are.
fn name(text: &str) -> String {
    if text.starts_with("odrl:") || text.starts_with("perron:") { full(text) } else { text.to_owned() }
}

/// A term of the state of the world as a text or a truth value.
pub(crate) fn scalar(term: &Term) -> Scalar {
    match term {
        Term::NamedNode(node) => Scalar::Text(node.as_str().to_owned()),
        Term::BlankNode(node) => Scalar::Text(node.to_string()),
        Term::Literal(literal) if literal.datatype().as_str() == format!("{XSD}boolean") => match literal.value() {
            "true" | "1" => Scalar::Boolean(true),
            "false" | "0" => Scalar::Boolean(false),
            other => Scalar::Text(other.to_owned()),
        },
        Term::Literal(literal) => Scalar::Text(literal.value().to_owned()),
    }
}

/// The text of a literal, for what a state of the world tells in numbers and durations.
pub(crate) fn lexical(at: &str, term: &Term) -> Result<Json> {
    match term {
        Term::Literal(literal) => {
            Ok(serde_json::json!({"@type": literal.datatype().as_str(), "@value": literal.value()}))
        }
        _ => Err(invalid(at, "not a literal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_length() {
        for (text, ms) in
            [("P30D", 30 * DAY_MS), ("PT12H", 12 * HOUR_MS), ("P1DT1H1M1S", DAY_MS + HOUR_MS + MINUTE_MS + SECOND_MS)]
        {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
        }
        for text in
            ["", "P", "PT", "P1M", "P1Y", "1D", "P-1D", "-P1D", "PT1D", "P1H", "P1DT", "PT1S1H", "P99999999999999999D"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
