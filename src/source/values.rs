//! Reading one value of a text file.

use super::csv::CsvFormat;
use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeZone};
use perron_model::{Error, ErrorCode, Result};

/// What is needed to read the values of a file.
#[derive(Debug)]
pub(crate) struct ValueReader {
    decimal: char,
    thousands: Option<char>,
    date: Vec<Item<'static>>,
    timestamp: Vec<Item<'static>>,
    with_offset: bool,
    zone: chrono_tz::Tz,
}

impl ValueReader {
    /// Prepares to read values as `format` says.
    pub(crate) fn new(format: &CsvFormat) -> Result<ValueReader> {
        let zone = format.time_zone.parse::<chrono_tz::Tz>().map_err(|_| {
            Error::new(
                ErrorCode::SourceInvalid,
                format!("`{}` is not a time zone like Europe/Brussels", shown(&format.time_zone)),
            )
        })?;
        if format.thousands == Some(format.decimal) {
            return Err(Error::new(ErrorCode::SourceInvalid, "decimal and thousands separator are the same"));
        }
        if !matches!(format.decimal, '.' | ',') {
            return Err(Error::new(ErrorCode::SourceInvalid, "the decimal separator is `.` or `,`"));
        }
        if !matches!(format.thousands, None | Some('.' | ',' | ' ' | '\'' | '\u{a0}' | '\u{202f}')) {
            return Err(Error::new(ErrorCode::SourceInvalid, "the thousands separator is `.`, `,`, `'` or a space"));
        }
        let with_offset = format.timestamp.contains("%z") || format.timestamp.contains("%:z");
        Ok(ValueReader {
            decimal: format.decimal,
            thousands: format.thousands,
            date: items(&format.date, "date")?,
            timestamp: items(&format.timestamp, "timestamp")?,
            with_offset,
            zone,
        })
    }

    /// A finite number; minus zero is zero.
    pub(crate) fn number(&self, text: &str) -> Result<f64, String> {
        let wrong = || format!("`{}` is not a number with decimal `{}`", shown(text), self.decimal);
        let plain = self.plain(text).ok_or_else(wrong)?;
        let number: f64 = plain.parse().map_err(|_| wrong())?;
        if number.is_finite() { Ok(number + 0.0) } else { Err(wrong()) }
    }

    /// A whole number.
    pub(crate) fn integer(&self, text: &str) -> Result<i64, String> {
        let wrong = || format!("`{}` is not a whole number", shown(text));
        let plain = self.plain(text).ok_or_else(wrong)?;
        plain.parse().map_err(|_| wrong())
    }

    /// True or false, in the words of the languages of the country.
    pub(crate) fn boolean(text: &str) -> Result<bool, String> {
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "oui" | "vrai" | "ja" | "waar" | "wahr" => Ok(true),
            "false" | "0" | "no" | "non" | "faux" | "nee" | "onwaar" | "nein" | "falsch" => Ok(false),
            _ => Err(format!("`{}` is neither true nor false", shown(text))),
        }
    }

    /// Days since 1970-01-01.
    pub(crate) fn date(&self, text: &str) -> Result<i32, String> {
        let wrong = || format!("`{}` is not a date of the declared format", shown(text));
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.date.iter()).map_err(|_| wrong())?;
        let date = parsed.to_naive_date().map_err(|_| wrong())?;
        // A year of two digits read as one of four would be a year of antiquity.
        if !(1000..=9999).contains(&date.year()) {
            return Err(wrong());
        }
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        i32::try_from(days).map_err(|_| wrong())
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// A clock time that the zone skips (spring) is refused. Of a clock time that comes twice
    /// (autumn) the earlier is taken, unless `previous`, the value of the row before, is at or
    /// after the earlier and before the later: rows in the order of time tell the two apart. Rows
    /// of several meters interleaved hour by hour don't: such files should carry UTC.
    pub(crate) fn timestamp(&self, text: &str, previous: Option<i64>) -> Result<i64, String> {
        let wrong = || format!("`{}` is not a time of the declared format", shown(text));
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.timestamp.iter()).map_err(|_| wrong())?;
        if self.with_offset {
            return parsed.to_datetime().map(|t: DateTime<_>| t.timestamp_millis()).map_err(|_| wrong());
        }
        // A format without seconds or minutes is the start of its minute or hour.
        if parsed.minute().is_none() {
            parsed.set_minute(0).map_err(|_| wrong())?;
        }
        let local: NaiveDateTime = parsed.to_naive_datetime_with_offset(0).map_err(|_| wrong())?;
        if !(1000..=9999).contains(&local.year()) {
            return Err(wrong());
        }
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(t) => Ok(t.timestamp_millis()),
            LocalResult::Ambiguous(a, b) => {
                let (earlier, later) = (a.timestamp_millis(), b.timestamp_millis());
                Ok(if previous.is_some_and(|p| earlier <= p && p < later) { later } else { earlier })
            }
            LocalResult::None => Err(format!(
                "`{}` does not exist in {}: the clock was put forward over it",
                shown(text),
                self.zone.name()
            )),
        }
    }

    /// The number as Rust reads it: `-`, digits, a point, an exponent; groups must be of three.
    fn plain(&self, text: &str) -> Option<String> {
        let (sign, rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (if text.starts_with('-') { "-" } else { "" }, rest),
            None => ("", text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (rest, None),
        };
        let (whole, fraction) = match mantissa.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let whole = self.ungrouped(whole)?;
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !digits(&whole) || !fraction.is_none_or(digits) || (whole.is_empty() && fraction.is_none_or(str::is_empty)) {
            return None;
        }
        let mut plain = format!("{sign}{whole}");
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        if let Some(exponent) = exponent {
            let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if power.is_empty() || !digits(power) {
                return None;
            }
            plain.push('e');
            plain.push_str(exponent);
        }
        Some(plain)
    }

    fn ungrouped(&self, whole: &str) -> Option<String> {
        let Some(separator) = self.thousands else { return Some(whole.to_owned()) };
        let same = |c: char| c == separator || (separator == ' ' && matches!(c, '\u{a0}' | '\u{202f}'));
        let groups: Vec<&str> = whole.split(same).collect();
        let (first, others) = groups.split_first()?;
        let well_grouped = others.is_empty() || (1..=3).contains(&first.len()) && others.iter().all(|g| g.len() == 3);
        well_grouped.then(|| groups.concat())
    }
}

/// The first characters of a value, for a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn items(format: &str, what: &str) -> Result<Vec<Item<'static>>> {
    StrftimeItems::new(format).parse_to_owned().map_err(|_| {
        Error::new(ErrorCode::SourceInvalid, format!("`{}` is not a {what} format like %d/%m/%Y", shown(format)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(decimal: char, thousands: Option<char>) -> ValueReader {
        ValueReader::new(&CsvFormat { decimal, thousands, ..CsvFormat::default() }).unwrap()
    }

    #[test]
    fn numbers_are_read_as_declared_only() {
        let belgian = reader(',', Some('.'));
        assert_eq!(belgian.number("1.234,5"), Ok(1234.5));
        assert_eq!(belgian.number("-0,0").map(f64::to_bits), Ok(0));
        assert_eq!(belgian.number("12,5e3"), Ok(12500.0));
        assert_eq!(belgian.integer("12.345"), Ok(12345));
        for bad in ["1.5", "1,2,3", "12.34,5", "", "-", "NaN", "inf", "1e999", "0x10", "1 000", "é"] {
            assert!(belgian.number(bad).is_err(), "{bad}");
        }
        let spaced = reader(',', Some(' '));
        assert_eq!(spaced.number("12\u{202f}345,6"), Ok(12345.6));
        let comma = reader(',', None);
        for bad in ["1.5", "1,5e", "1,5e1,5", "1e+", ",", "--1", "+-1", "1,-5"] {
            assert!(comma.number(bad).is_err(), "{bad}");
        }
        assert_eq!(comma.number(",5"), Ok(0.5));
        assert_eq!(comma.number("+1,5E-1"), Ok(0.15));
        let plain = reader('.', None);
        assert_eq!(plain.number("1e3"), Ok(1000.0));
        assert!(plain.number("1,5").is_err());
        assert!(plain.integer("9223372036854775808").is_err());
    }

    #[test]
    fn dates_are_read_as_declared_only() {
        let r = reader(',', None);
        assert_eq!(r.date("01/01/1970"), Ok(0));
        assert_eq!(r.date("31/12/1969"), Ok(-1));
        for bad in ["2025-01-01", "31/02/2025", "1/1/25 00:00", ""] {
            assert!(r.date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_skipped_hour_is_refused_and_a_doubled_one_goes_by_order() {
        let r = reader(',', None);
        let hour = 3_600_000;
        assert!(r.timestamp("29/03/2015 02:00", None).unwrap_err().contains("does not exist"));
        let first = r.timestamp("25/10/2015 02:00", None).unwrap();
        assert_eq!(first, 1_445_731_200_000); // 00:00 UTC
        assert_eq!(r.timestamp("25/10/2015 02:00", Some(first)), Ok(first + hour));
        assert_eq!(r.timestamp("25/10/2015 02:15", Some(first + hour)), Ok(first + hour + hour / 4));
        assert_eq!(r.timestamp("25/10/2015 02:00", Some(first + 100 * hour)), Ok(first));
    }
}
