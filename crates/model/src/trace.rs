//! The trace that an act belongs to (W3C Trace Context), so that whoever runs the tools that asked
//! finds the same act in both logs.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of the header, and of the metadata of a gRPC call.
pub const TRACEPARENT: &str = "traceparent";

/// A trace id: 16 bytes, not all of them zero (W3C Trace Context, section 3.2.2.3); in JSON 32
/// lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Reads 32 lowercase hexadecimal digits.
    ///
    /// # Errors
    /// `malformed` for anything else, and for zero.
    pub fn parse(text: &str) -> Result<TraceId> {
        let malformed = || Error::malformed("a trace id has 32 lowercase hexadecimal digits, not all of them zero");
        let (digits, rest) = text.as_bytes().as_chunks::<2>();
        let bytes = digits.iter().map(|pair| byte(*pair)).collect::<Option<Vec<u8>>>().ok_or_else(malformed)?;
        let id = <[u8; 16]>::try_from(bytes).map_err(|_| malformed())?;
        if rest.is_empty() && id != [0; 16] { Ok(TraceId(id)) } else { Err(malformed()) }
    }

    /// The trace id of a `traceparent` (W3C Trace Context, section 3.2). None for one that isn't
    /// valid: it is left out of account, as section 4.3 has it, and never an error of the caller's.
    #[must_use]
    pub fn of_traceparent(header: &str) -> Option<TraceId> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.as_bytes().as_chunks::<2>().0.iter().all(|pair| byte(*pair).is_some())
        };
        // What a later version appends isn't known; version 00 has nothing after the flags.
        let ends = version != "00" || parts.next().is_none();
        let is_valid = is_hex(version, 2)
            && version != "ff"
            && is_hex(parent, 16)
            && parent.bytes().any(|digit| digit != b'0')
            && is_hex(flags, 2);
        if is_valid && ends { TraceId::parse(trace).ok() } else { None }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Two lowercase hexadecimal digits.
fn byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some((digit(high)? << 4) | digit(low)?)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl TryFrom<String> for TraceId {
    type Error = Error;
    fn try_from(text: String) -> Result<TraceId> {
        TraceId::parse(&text)
    }
}
impl From<TraceId> for String {
    fn from(id: TraceId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_names_its_trace_or_is_left_out_of_account() {
        let of = |header: &str| TraceId::of_traceparent(header).map(|id| id.to_string());
        for header in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-ff"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-will-be-like"),
        ] {
            assert_eq!(of(&header).as_deref(), Some(TRACE), "{header}");
        }
        for header in [
            String::new(),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("0-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}0-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!(" 00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}é-00f067aa0ba902b7-01", &TRACE[..30]),
        ] {
            assert_eq!(of(&header), None, "{header}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = TraceId::parse(TRACE).unwrap();
        assert_eq!(id.as_bytes()[..2], [0x4b, 0xf9]);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TRACE}\""));
        assert_eq!(serde_json::from_str::<TraceId>(&format!("\"{TRACE}\"")).unwrap(), id);
        for other in ["", "4b", &TRACE[1..], &TRACE.replace('b', "B"), &"0".repeat(32)] {
            assert!(TraceId::parse(other).is_err(), "{other}");
        }
    }
}
