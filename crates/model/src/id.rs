//! Names of things: parsed once, correct from then on.

use crate::error::{Error, Result};
use crate::limits::ID_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Is `text` a name: 1 to 63 of `a-z`, `0-9`, `-`, `_`, beginning with a letter or digit.
fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Conversions of a name that is a text and has a `parse`.
macro_rules! name_of_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}
pub(crate) use name_of_text;

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);
        impl $name {
            /// Parses the name: 1 to 63 of `a-z`, `0-9`, `-`, `_`.
            pub fn parse(text: &str) -> Result<Self> {
                if is_slug(text) { Ok(Self(text.to_owned())) }
                else { Err(Error::malformed(format!(concat!($what, " `{}` is not 1 to 63 of a-z, 0-9, - and _"), text.chars().take(80).collect::<String>()))) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        name_of_text!($name);
    };
}

slug!(
    /// A data space, named by its authority.
    SpaceId, "space");
slug!(
    /// An organisation within a data space.
    ParticipantId, "participant");
slug!(
    /// A published set, unique within its provider; also its table name in SQL.
    DatasetId, "data set");
slug!(
    /// A user of an organisation, by the name that its operator gave.
    UserName, "user");

slug!(
    /// A fact that a provider declares, and that policies may ask for.
    FactName, "fact");

/// SHA-256 of something; written in base64url without padding (43 characters).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// An agreement's name: the SHA-256 of its canonical payload.
pub type AgreementId = Digest;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
    /// The digest of `salt` followed by `bytes`: a salted commitment.
    pub fn salted(salt: &[u8; 16], bytes: &[u8]) -> Digest {
        Digest(Sha256::new().chain_update(salt).chain_update(bytes).finalize().into())
    }
    /// A digest already computed.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Parses 43 characters of base64url; another spelling of the same bytes is refused.
    pub fn parse(text: &str) -> Result<Digest> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|b| <[u8; 32]>::try_from(b).ok())
            .ok_or_else(|| Error::malformed("a digest is 43 characters of base64url"))?;
        let digest = Digest(bytes);
        if digest.to_string() == text {
            Ok(digest)
        } else {
            Err(Error::malformed("a digest is not in its canonical spelling"))
        }
    }
    /// The first ten characters, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}
impl From<Digest> for String {
    fn from(value: Digest) -> String {
        value.to_string()
    }
}
impl std::str::FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
impl<C> minicbor::Encode<C> for Digest {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}
impl<'b, C> minicbor::Decode<'b, C> for Digest {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> std::result::Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        <[u8; 32]>::try_from(bytes).map(Digest).map_err(|_| minicbor::decode::Error::message("a digest is 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        assert!(ParticipantId::parse("commune-de-huy").is_ok());
        for bad in ["", "A", "é", "a b", "-a", &"a".repeat(64), "a/b", "a.b"] {
            assert!(ParticipantId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let text = Digest::of(b"x").to_string();
        assert_eq!(Digest::parse(&text).unwrap(), Digest::of(b"x"));
        let mut other = text[..42].to_owned();
        let last = text.as_bytes()[42];
        other.push((last + 1) as char);
        assert!(Digest::parse(&other).is_err());
    }

    #[test]
    fn names_have_all_their_letters_and_at_most_63_of_them() {
        let longest = "a".repeat(ID_BYTES_MAX);
        for good in ["a", "7", "a-b", "a_b", "0-_9", longest.as_str()] {
            assert_eq!(DatasetId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["_a", "a:b", "aB", "a,b"] {
            assert!(DatasetId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_its_32_bytes_in_whatever_form() {
        // FIPS 180-2, appendix B.1.
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(digest.short(), "ungWv48Bz-");
        assert_eq!(format!("{digest:?}"), "Digest(ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0)");
        assert_eq!(String::from(digest), digest.to_string());
        assert_eq!(serde_json::to_value(digest).unwrap(), digest.to_string());
        assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
        assert_eq!(digest.as_bytes()[..2], [0xba, 0x78]);
        assert_eq!(Digest::salted(b"0123456789abcdef", b"abc"), Digest::of(b"0123456789abcdefabc"));
    }

    #[test]
    fn a_digest_in_cbor_is_a_string_of_32_bytes() {
        let digest = Digest::of(b"abc");
        let bytes = minicbor::to_vec(digest).unwrap();
        assert_eq!(bytes, [[0x58, 32].as_slice(), digest.as_bytes()].concat());
        assert_eq!(minicbor::decode::<Digest>(&bytes).unwrap(), digest);
        assert!(minicbor::decode::<Digest>(&[[0x58, 31].as_slice(), &[0; 31]].concat()).is_err());
    }
}
