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
