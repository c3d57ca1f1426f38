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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CLOSED_LOGS_MAX, DOCUMENT_BYTES_MAX, ID_BYTES_MAX, KEYS_PER_USE_MAX, TEXT_BYTES_MAX};
    use crate::participant::{EnterpriseNumber, KeyAuthorisation, NisCode, RegisteredKey, Role, Status};
    use crate::succession::ClosedLog;
    use crate::{canonical, time::Timestamp};

    /// Length of the compact JWS of a document: header, payload and signature in base64url, and two dots.
    fn jws_len(typ: &str, payload: &impl Serialize) -> usize {
        let kid = "x".repeat(43);
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{typ}"}}"#);
        let base64 = |bytes: usize| (bytes * 4).div_ceil(3);
        base64(header.len()) + base64(canonical::to_bytes(payload).unwrap().len()) + 86 + 2
    }

    /// What a member may add to its own entry leaves room for the authority to change its standing.
    #[test]
    fn an_entry_with_all_keys_and_closed_logs_that_it_may_have_is_a_document() {
        let name = "x".repeat(ID_BYTES_MAX);
        let (space, id) = (SpaceId::parse(&name).unwrap(), ParticipantId::parse(&name).unwrap());
        let time = Timestamp::parse("2026-11-23T10:00:00.123Z").unwrap();
        let key = PublicKey::from_bytes([255; 32]);
        let uses = [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness];
        let keys: Vec<RegisteredKey> = uses
            .into_iter()
            .flat_map(|key_use| {
                let consent = KeyConsent { space: space.clone(), participant: id.clone(), key_use, key };
                let registered = RegisteredKey {
                    key_use,
                    key,
                    from: time,
                    until: Some(time),
                    authorised_by: KeyAuthorisation::AuthorityAlone,
                    consent: Some("x".repeat(jws_len(KEY_CONSENT_TYP, &consent))),
                };
                vec![registered; KEYS_PER_USE_MAX]
            })
            .collect();
        let origin = format!("{name}/{name}/{}", u32::MAX);
        // RFC 8785 writes integers up to 2^53 − 1.
        let most = (1 << 53) - 1;
        let digest = Digest::of(b"root");
        let closed =
            ClosedLog { origin: origin.clone(), size: most, root: digest, held: most, genesis: digest, closed: time };
        let participant = Participant {
            id,
            // Each of these is written as two.
            name: "\"".repeat(TEXT_BYTES_MAX),
            enterprise: EnterpriseNumber::parse("0202.239.951").unwrap(),
            nis: Some(NisCode::parse("85000").unwrap()),
            jurisdiction: "BE".to_owned(),
            roles: vec![Role::Provider, Role::Consumer, Role::Authority],
            endpoint: Some("x".repeat(300)),
            keys,
            log_origin: origin,
            closed_logs: vec![closed; CLOSED_LOGS_MAX],
            status: Status::Suspended,
            valid_from: time,
            valid_until: time,
        };
        let bytes = jws_len(PARTICIPANT_TYP, &ParticipantEntry { space, version: most, participant });
        assert!(bytes <= DOCUMENT_BYTES_MAX, "{bytes}");
    }
}
