//! Time as the evidence writes it. Nothing here reads a clock.

use crate::error::{Error, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z; in JSON an RFC 3339 text in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// A time from milliseconds since the epoch, between the years 1970 and 9999.
    pub fn from_millis(ms: i64) -> Result<Timestamp> {
        if (0..253_402_300_800_000).contains(&ms) {
            Ok(Timestamp(ms))
        } else {
            Err(Error::malformed("a time is between the years 1970 and 9999"))
        }
    }
    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// This time moved by `ms`, held within the years 1970 to 9999.
    pub fn plus_millis(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms).clamp(0, 253_402_300_799_999))
    }
    /// Parses RFC 3339 with any offset; kept to the millisecond, in UTC.
    pub fn parse(text: &str) -> Result<Timestamp> {
        let t = DateTime::parse_from_rfc3339(text).map_err(|_| {
            Error::malformed(format!(
                "`{}` is not a time like 2026-11-23T10:00:00Z",
                text.chars().take(40).collect::<String>()
            ))
        })?;
        Timestamp::from_millis(t.timestamp_millis())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH);
        f.write_str(&t.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
impl TryFrom<String> for Timestamp {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Timestamp::parse(&text)
    }
}
impl From<Timestamp> for String {
    fn from(value: Timestamp) -> String {
        value.to_string()
    }
}
impl std::str::FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
/// A time in JSON as a whole number of milliseconds since 1970-01-01T00:00:00Z: for inputs of
/// policies, where numbers have one form and one order.
pub mod as_millis {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes it.
    pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.millis())
    }
    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_millis(i64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// [`as_millis`] for a time that may be absent.
pub mod as_millis_option {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes it.
    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.serialize_some(&time.millis()),
            None => to.serialize_none(),
        }
    }
    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let millis = Option::<i64>::deserialize(from)?;
        millis.map(Timestamp::from_millis).transpose().map_err(D::Error::custom)
    }
}

impl<C> minicbor::Encode<C> for Timestamp {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.i64(self.0)?.ok()
    }
}
impl<'b, C> minicbor::Decode<'b, C> for Timestamp {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> std::result::Result<Self, minicbor::decode::Error> {
        Timestamp::from_millis(d.i64()?).map_err(|_| minicbor::decode::Error::message("time out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: i64 = 253_402_300_799_999;

    #[test]
    fn times_lie_between_the_years_1970_and_9999() {
        for (ms, text) in [(0, "1970-01-01T00:00:00.000Z"), (LAST, "9999-12-31T23:59:59.999Z")] {
            let time = Timestamp::from_millis(ms).unwrap();
            assert_eq!((time.millis(), time.to_string().as_str()), (ms, text));
            assert_eq!(Timestamp::parse(text), Ok(time));
            assert_eq!(String::from(time), text);
            assert_eq!(serde_json::from_value::<Timestamp>(text.into()).unwrap(), time);
        }
        for ms in [-1, LAST + 1, i64::MIN, i64::MAX] {
            assert!(Timestamp::from_millis(ms).is_err(), "{ms}");
        }
        for text in ["1969-12-31T23:59:59.999Z", "2026-11-23", "2026-11-23T10:00:00"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_moved_stays_within_them() {
        let time = Timestamp::from_millis(1_000).unwrap();
        for (ms, moved) in
            [(-1, 999), (1, 1_001), (-1_000, 0), (-1_001, 0), (LAST, LAST), (i64::MAX, LAST), (i64::MIN, 0)]
        {
            assert_eq!(time.plus_millis(ms).millis(), moved, "{ms}");
        }
    }

    #[test]
    fn an_offset_is_taken_off_and_what_is_finer_than_a_millisecond() {
        let time: Timestamp = "2026-11-23T11:00:00.0019+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-23T10:00:00.001Z");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct InMillis {
        #[serde(with = "as_millis")]
        at: Timestamp,
        #[serde(with = "as_millis_option", default)]
        perhaps: Option<Timestamp>,
    }

    #[test]
    fn inputs_of_policies_have_milliseconds() {
        let at = Timestamp::from_millis(7).unwrap();
        for (value, text) in [
            (InMillis { at, perhaps: Some(at) }, r#"{"at":7,"perhaps":7}"#),
            (InMillis { at, perhaps: None }, r#"{"at":7,"perhaps":null}"#),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(serde_json::from_str::<InMillis>(text).unwrap(), value);
        }
        for text in [r#"{"at":-1}"#, r#"{"at":7,"perhaps":-1}"#, r#"{"at":"7"}"#] {
            assert!(serde_json::from_str::<InMillis>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn entries_have_milliseconds_in_cbor() {
        let time = Timestamp::from_millis(1_000).unwrap();
        let bytes = minicbor::to_vec(time).unwrap();
        assert_eq!(bytes, [0x19, 0x03, 0xe8]);
        assert_eq!(minicbor::decode::<Timestamp>(&bytes).unwrap(), time);
        assert!(minicbor::decode::<Timestamp>(&[0x20]).is_err(), "-1");
    }
}
