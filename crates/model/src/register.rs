//! The register: signed, numbered, chained versions of who is in the data space.
//!
//! A participant's entry is a JWS of its own (`typ` `perron-participant+jws`), so that an
//! agreement's envelope can carry the two that it needs; the register (`typ`
//! `perron-register+jws`) binds the entries by digest.

use crate::id::{Digest, ParticipantId, SpaceId};
use crate::participant::{KeyUse, Participant, PublicKey};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// `typ` of a participant's entry.
pub const PARTICIPANT_TYP: &str = "perron-participant+jws";
/// `typ` of a register version.
pub const REGISTER_TYP: &str = "perron-register+jws";

/// `typ` of an old key's consent to a new one.
pub const KEY_CONSENT_TYP: &str = "perron-key-consent+jws";

/// Payload of the consent of a key to the one that comes in its place, signed by the key that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConsent {
    /// The data space.
    pub space: SpaceId,
    /// Whose key.
    pub participant: ParticipantId,
    /// What both are for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The new key.
    pub key: PublicKey,
}

/// Payload of a participant's signed entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantEntry {
    /// The data space.
    pub space: SpaceId,
    /// Number of the register version in which this entry was last changed.
    pub version: u64,
    /// The participant.
    pub participant: Participant,
}

/// Payload of a register version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterVersion {
    /// The data space.
    pub space: SpaceId,
    /// Number, from 1; signing the same members anew makes a new version too.
    pub version: u64,
    /// Digest of the previous version's compact JWS; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When it was signed.
    pub issued: Timestamp,
    /// Past this, reads are refused.
    pub use_before: Timestamp,
    /// Entries in force, by participant: digest of the entry's compact JWS.
    pub entries: Vec<EntryDigest>,
}

/// One participant's entry, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryDigest {
    /// The participant.
    pub participant: ParticipantId,
    /// Digest of its compact JWS.
    pub digest: Digest,
}

/// What travels: the register's JWS and its entries' JWS, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRegister {
    /// Compact JWS of a `RegisterVersion`.
    pub register: String,
    /// Compact JWS of each `ParticipantEntry`.
    pub entries: Vec<String>,
}
