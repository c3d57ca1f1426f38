//! Literals of a policy: plain JSON, or typed as in JSON-LD (`{"@type": "xsd:integer", "@value": "10"}`).
//!
//! The Dataspace Protocol's schema allows texts, objects and lists as right operands, so a number
//! travels as a typed literal; plain JSON numbers are read too.

use super::odrl_names::{XSD, invalid, unsupported};
use crate::dataset::ColumnType;
use crate::error::Result;
use crate::policy::terms::Value;
use crate::time::Timestamp;
use chrono::NaiveDate;
use serde_json::Value as Json;

/// A literal with the type that it states, if it states one.
struct Literal<'a> {
    stated: Option<&'a str>,
    value: &'a Json,
}

fn literal<'a>(path: &str, json: &'a Json) -> Result<Literal<'a>> {
    let Json::Object(members) = json else {
        return Ok(Literal { stated: None, value: json });
    };
    if let Some(other) = members.keys().find(|k| !["@type", "@value"].contains(&k.as_str())) {
        return Err(unsupported(&format!("{path}.{}", super::odrl_names::clip(other)), other));
    }
    let (Some(Json::String(stated)), Some(value)) = (members.get("@type"), members.get("@value")) else {
        return Err(invalid(path, "a typed literal has an `@type` and an `@value`"));
    };
    let local = stated.strip_prefix("xsd:").or_else(|| stated.strip_prefix(XSD));
    Ok(Literal { stated: Some(local.ok_or_else(|| unsupported(&format!("{path}.@type"), stated))?), value })
}

/// A value for a column of `column_type`.
pub(super) fn value(path: &str, json: &Json, column_type: ColumnType) -> Result<Value> {
    match column_type {
        ColumnType::Text => text(path, json).map(Value::Text),
        ColumnType::Integer => integer(path, json).map(Value::Integer),
        ColumnType::Number => number(path, json).map(Value::Number),
        ColumnType::Boolean => boolean(path, json).map(Value::Boolean),
        ColumnType::Date => date(path, json).map(Value::Date),
        ColumnType::Timestamp => time(path, json).map(Value::Timestamp),
    }
}

/// A whole number of at least `least`, for a count or a bound.
pub(super) fn count(path: &str, json: &Json, least: u64) -> Result<u64> {
    let number = integer(path, json)?;
    match u64::try_from(number) {
        Ok(number) if number >= least => Ok(number),
        _ => Err(invalid(path, &format!("`{number}` is less than {least}"))),
    }
}

/// A point in time, to the millisecond.
pub(super) fn time(path: &str, json: &Json) -> Result<Timestamp> {
    let wrong = || invalid(path, "not a time like 2026-11-23T10:00:00Z (xsd:dateTime with an offset)");
    let literal = literal(path, json)?;
    let (None | Some("dateTime"), Json::String(text)) = (literal.stated, literal.value) else {
        return Err(wrong());
    };
    // Finer than a millisecond would be dropped, so it is refused.
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    if fraction.bytes().take_while(u8::is_ascii_digit).count() > 3 {
        return Err(invalid(path, "a time is given to the millisecond"));
    }
    Timestamp::parse(text).map_err(|_| wrong())
}

/// A length of time in milliseconds: an `xsd:duration` of days, hours, minutes and seconds. Years and
/// months have no fixed length, so they are refused.
pub(super) fn duration_ms(path: &str, json: &Json) -> Result<i64> {
    let wrong = || invalid(path, "not a duration like P30D or PT12H (xsd:duration in days, hours, minutes, seconds)");
    let literal = literal(path, json)?;
    let (None | Some("duration" | "dayTimeDuration"), Json::String(text)) = (literal.stated, literal.value) else {
        return Err(wrong());
    };
    let (days, time) = match text.strip_prefix('P').ok_or_else(wrong)?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return Err(wrong()),
        None => (text.strip_prefix('P').unwrap_or_default(), ""),
    };
    let (mut total, mut stated) = (0_i64, false);
    let units: [(&str, &[(char, i64)]); 2] =
        [(days, &[('D', 86_400_000)]), (time, &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)])];
    for (mut rest, units) in units {
        for (letter, ms) in units {
            let Some((digits, after)) = rest.split_once(*letter) else { continue };
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            let number = digits.parse::<i64>().map_err(|_| wrong())?;
            total = number.checked_mul(*ms).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
            stated = true;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
    }
    if stated { Ok(total) } else { Err(wrong()) }
}

fn text(path: &str, json: &Json) -> Result<String> {
    let literal = literal(path, json)?;
    match (literal.stated, literal.value) {
        (None | Some("string"), Json::String(text)) => Ok(text.clone()),
        _ => Err(invalid(path, "not a text (xsd:string)")),
    }
}

fn integer(path: &str, json: &Json) -> Result<i64> {
    let literal = literal(path, json)?;
    let number = match (literal.stated, literal.value) {
        (None | Some("integer"), Json::Number(number)) => number.as_i64(),
        (Some("integer"), Json::String(text)) => text.parse::<i64>().ok().filter(|n| n.to_string() == *text),
        _ => None,
    };
    number.ok_or_else(|| invalid(path, "not a whole number of 64 bits (xsd:integer)"))
}

fn number(path: &str, json: &Json) -> Result<f64> {
    let literal = literal(path, json)?;
    let number = match (literal.stated, literal.value) {
        (None | Some("decimal" | "double"), Json::Number(number)) => number.as_f64(),
        (Some("decimal" | "double"), Json::String(text)) => text.parse::<f64>().ok(),
        _ => None,
    };
    number.filter(|n| n.is_finite()).ok_or_else(|| invalid(path, "not a finite number (xsd:decimal or xsd:double)"))
}

pub(super) fn boolean(path: &str, json: &Json) -> Result<bool> {
    let literal = literal(path, json)?;
    match (literal.stated, literal.value) {
        (None | Some("boolean"), Json::Bool(value)) => Ok(*value),
        (Some("boolean"), Json::String(text)) if text == "true" => Ok(true),
        (Some("boolean"), Json::String(text)) if text == "false" => Ok(false),
        _ => Err(invalid(path, "neither true nor false (xsd:boolean)")),
    }
}

fn date(path: &str, json: &Json) -> Result<i32> {
    let literal = literal(path, json)?;
    let days = match (literal.stated, literal.value) {
        (None | Some("date"), Json::String(text)) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .filter(|day| day.format("%Y-%m-%d").to_string() == *text)
            .and_then(|day| i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()),
        _ => None,
    };
    days.ok_or_else(|| invalid(path, "not a day like 2026-11-23 (xsd:date)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(column_type: ColumnType, json: Json) -> Option<Value> {
        value("$", &json, column_type).ok()
    }

    #[test]
    fn plain_and_typed_literals_are_the_same() {
        let cases = [
            (ColumnType::Text, json!("63049"), json!({"@type": "xsd:string", "@value": "63049"})),
            (ColumnType::Integer, json!(-7), json!({"@type": "xsd:integer", "@value": "-7"})),
            (ColumnType::Number, json!(1.5), json!({"@type": "xsd:decimal", "@value": "1.5"})),
            (ColumnType::Boolean, json!(true), json!({"@type": "xsd:boolean", "@value": "true"})),
            (ColumnType::Date, json!("1970-01-02"), json!({"@type": "xsd:date", "@value": "1970-01-02"})),
            (
                ColumnType::Timestamp,
                json!("2026-11-23T11:00:00+01:00"),
                json!({"@type": format!("{XSD}dateTime"), "@value": "2026-11-23T10:00:00.000Z"}),
            ),
        ];
        for (column_type, plain, typed) in cases {
            let read = of(column_type, plain.clone());
            assert!(read.is_some(), "{plain}");
            assert_eq!(read, of(column_type, typed));
        }
        assert_eq!(of(ColumnType::Date, json!("1970-01-02")), Some(Value::Date(1)));
        assert_eq!(of(ColumnType::Number, json!(2)), Some(Value::Number(2.0)));
    }

    #[test]
    fn durations_are_of_fixed_length() {
        let ms = |text: &str| duration_ms("$", &json!({"@type": "xsd:duration", "@value": text})).ok();
        assert_eq!(ms("P30D"), Some(30 * 86_400_000));
        assert_eq!(ms("PT12H"), Some(12 * 3_600_000));
        assert_eq!(ms("P1DT1H1M1S"), Some(86_400_000 + 3_600_000 + 61_000));
        assert_eq!(duration_ms("$", &json!("PT1S")).ok(), Some(1_000));
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "P1Y",
            "P2M",
            "P1W",
            "PT1.5S",
            "-P1D",
            "P1D1H",
            "1D",
            "PT1S1H",
            "P99999999999999999999D",
            "P9223372036854775D",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
        assert!(duration_ms("$", &json!(5)).is_err());
    }

    #[test]
    fn what_is_of_another_type_or_form_is_refused() {
        let cases = [
            (ColumnType::Text, json!(63049)),
            (ColumnType::Text, json!({"@value": "a"})),
            (ColumnType::Text, json!({"@type": "xsd:string", "@value": "a", "@language": "fr"})),
            (ColumnType::Text, json!({"@type": "rdf:HTML", "@value": "a"})),
            (ColumnType::Integer, json!("7")),
            (ColumnType::Integer, json!(7.0)),
            (ColumnType::Integer, json!(u64::MAX)),
            (ColumnType::Integer, json!({"@type": "xsd:integer", "@value": "+7"})),
            (ColumnType::Integer, json!({"@type": "xsd:integer", "@value": "07"})),
            (ColumnType::Integer, json!({"@type": "xsd:decimal", "@value": "7"})),
            (ColumnType::Number, json!({"@type": "xsd:double", "@value": "NaN"})),
            (ColumnType::Number, json!({"@type": "xsd:double", "@value": "inf"})),
            (ColumnType::Boolean, json!("true")),
            (ColumnType::Boolean, json!(1)),
            (ColumnType::Date, json!("1970-1-2")),
            (ColumnType::Date, json!("2025-02-29")),
            (ColumnType::Date, json!("2025-02-28T00:00:00Z")),
            (ColumnType::Timestamp, json!("2026-11-23")),
            (ColumnType::Timestamp, json!("2026-11-23T10:00:00")),
            (ColumnType::Timestamp, json!("2026-11-23T10:00:00.0001Z")),
            (ColumnType::Timestamp, json!(1_700_000_000)),
        ];
        for (column_type, json) in cases {
            assert_eq!(of(column_type, json.clone()), None, "{json}");
        }
    }

    #[test]
    fn a_literal_is_read_to_its_exact_bounds() {
        let typed = |kind: &str, value: Json| json!({"@type": format!("xsd:{kind}"), "@value": value});
        let cases = [
            (ColumnType::Boolean, typed("boolean", json!("false")), Some(Value::Boolean(false))),
            (ColumnType::Boolean, typed("boolean", json!(false)), Some(Value::Boolean(false))),
            (ColumnType::Boolean, typed("boolean", json!("yes")), None),
            (ColumnType::Boolean, typed("boolean", json!("1")), None),
            (ColumnType::Number, typed("double", json!(-0.5)), Some(Value::Number(-0.5))),
            (ColumnType::Number, typed("integer", json!(1)), None),
            (ColumnType::Integer, json!(i64::MIN), Some(Value::Integer(i64::MIN))),
            (ColumnType::Integer, typed("integer", json!(3)), Some(Value::Integer(3))),
            (ColumnType::Date, json!("1969-12-31"), Some(Value::Date(-1))),
            (ColumnType::Date, typed("dateTime", json!("1970-01-02")), None),
            (ColumnType::Text, typed("date", json!("1970-01-02")), None),
        ];
        for (column_type, json, expected) in cases {
            assert_eq!(of(column_type, json.clone()), expected, "{json}");
        }
        let ms = |text: &str| time("$", &json!(text)).ok().map(Timestamp::millis);
        assert_eq!(ms("1970-01-01T00:00:00.123Z"), Some(123));
        assert_eq!(ms("1970-01-01T00:00:00.1234Z"), None);
        for (number, least, expected) in
            [(2, 2, Some(2)), (1, 2, None), (3, 2, Some(3)), (-1, 0, None), (0, 0, Some(0))]
        {
            assert_eq!(count("$", &json!(number), least).ok(), expected, "{number} {least}");
        }
    }

    #[test]
    fn a_number_of_a_duration_has_digits_only() {
        let ms = |text: &str| duration_ms("$", &json!(text)).ok();
        for text in ["PD", "P-1D", "P+1D", "PT-1S", "P 1D", "P1DTH"] {
            assert_eq!(ms(text), None, "{text}");
        }
        assert_eq!((ms("P0D"), ms("PT2M3S"), ms("P1DT2H")), (Some(0), Some(123_000), Some(93_600_000)));
    }
}
