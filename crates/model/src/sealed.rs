//! Values that can be erased. Each lies encrypted beside the tree (attachment `Sealed`), bound by the
//! SHA-256 of its bytes in the leaf of its entry; its key lies in the vault and nowhere else. What is
//! erased is the key: the bytes stay, and with them every proof.

use crate::error::{Error, Result};
use crate::id::UserName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Name of an epoch of keys: random, so that two lives of a vault never share one.
pub type EpochId = [u8; 8];
/// Name of a sealed value within its epoch: random.
pub type ValueId = [u8; 16];

/// Format version of sealed values.
pub const SEALED_VERSION: u8 = 1;
/// Bytes before the ciphertext: version, epoch, value.
pub const SEALED_HEADER_BYTES: usize = 1 + 8 + 16;
/// Bytes after it: the tag of AES-256-GCM.
pub const SEALED_TAG_BYTES: usize = 16;

/// What stands in the clear before a ciphertext, and is authenticated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealedHeader {
    /// The epoch whose secret its key comes from.
    pub epoch: EpochId,
    /// The value's own name.
    pub value: ValueId,
}

impl SealedHeader {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; SEALED_HEADER_BYTES] {
        let mut bytes = [SEALED_VERSION; SEALED_HEADER_BYTES];
        let rest = self.epoch.iter().chain(&self.value);
        bytes.iter_mut().skip(1).zip(rest).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The header of a sealed value, and the ciphertext with its tag.
    ///
    /// # Errors
    /// `malformed` for another version, or for bytes that are too few.
    pub fn parse(sealed: &[u8]) -> Result<(SealedHeader, &[u8])> {
        let bad = || Error::malformed("not a sealed value of version 1");
        let (version, rest) = sealed.split_first().ok_or_else(bad)?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (value, rest) = rest.split_first_chunk::<16>().ok_or_else(bad)?;
        if *version != SEALED_VERSION || rest.len() < SEALED_TAG_BYTES {
            return Err(bad());
        }
        Ok((SealedHeader { epoch: *epoch, value: *value }, rest))
    }
}

/// What is sealed. No policy knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SealedValue {
    /// The statement of a read. With its salt it gives the digest that the request signs.
    Statement {
        /// 16 bytes, base64url.
        salt: String,
        /// SQL.
        text: String,
    },
    /// Who somebody is.
    User {
        /// Name that the operator gave.
        name: UserName,
        /// Random pseudonym for each counterparty, as far as there were any; "" is one's own log.
        pseudonyms: BTreeMap<String, String>,
    },
}

/// Why something is erased: the grounds of Regulation (EU) 2016/679, Article 17(1). There is no free
/// text beside it, for a text could itself be personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ground {
    /// No longer necessary for what it was collected for.
    #[serde(rename = "A17-1-a")]
    NoLongerNecessary,
    /// Consent was withdrawn, and there is no other ground for keeping it.
    #[serde(rename = "A17-1-b")]
    ConsentWithdrawn,
    /// The person objected, and nothing overrides it.
    #[serde(rename = "A17-1-c")]
    Objection,
    /// It was processed unlawfully.
    #[serde(rename = "A17-1-d")]
    Unlawful,
    /// The law of the Union or of a Member State requires it.
    #[serde(rename = "A17-1-e")]
    LegalObligation,
    /// It was collected about a child for a service of the information society.
    #[serde(rename = "A17-1-f")]
    Child,
}

impl Ground {
    /// All of them, in the order of the law.
    pub const ALL: [Ground; 6] = [
        Ground::NoLongerNecessary,
        Ground::ConsentWithdrawn,
        Ground::Objection,
        Ground::Unlawful,
        Ground::LegalObligation,
        Ground::Child,
    ];

    /// As in the log: article, paragraph and letter, in the manner in which the DPV names them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ground::NoLongerNecessary => "A17-1-a",
            Ground::ConsentWithdrawn => "A17-1-b",
            Ground::Objection => "A17-1-c",
            Ground::Unlawful => "A17-1-d",
            Ground::LegalObligation => "A17-1-e",
            Ground::Child => "A17-1-f",
        }
    }
}

impl FromStr for Ground {
    type Err = Error;
    fn from_str(text: &str) -> Result<Ground> {
        Ground::ALL
            .into_iter()
            .find(|ground| ground.as_str() == text)
            .ok_or_else(|| Error::malformed("a ground is one of A17-1-a to A17-1-f (GDPR, Art. 17(1))"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_nothing_else_is_one() {
        let header = SealedHeader { epoch: [7; 8], value: [9; 16] };
        let mut sealed = header.to_bytes().to_vec();
        assert!(SealedHeader::parse(&sealed).is_err(), "no tag");
        sealed.extend([0; SEALED_TAG_BYTES + 3]);
        assert_eq!(SealedHeader::parse(&sealed).unwrap(), (header, &[0; SEALED_TAG_BYTES + 3][..]));
        for short in 0..SEALED_HEADER_BYTES + SEALED_TAG_BYTES {
            assert!(SealedHeader::parse(&sealed[..short]).is_err(), "{short} bytes");
        }
        sealed[0] = SEALED_VERSION + 1;
        assert!(SealedHeader::parse(&sealed).is_err());
    }

    #[test]
    fn a_ground_has_one_name() {
        for ground in Ground::ALL {
            assert_eq!(ground.as_str().parse::<Ground>().unwrap(), ground);
            assert_eq!(serde_json::to_value(ground).unwrap(), ground.as_str());
        }
        assert!("A17-1-g".parse::<Ground>().is_err() && "because".parse::<Ground>().is_err());
    }
}
