//! How one stays: a new certificate, or a new key, authorised by the agreement key in force.

use super::authority::KeyChange;
use super::ca;
use super::enrolment::without_line_end;
use super::jws;
use super::keys::{KeySet, SigningKey};
use super::register::VerifiedRegister;
use perron_model::limits::{DOCUMENT_BYTES_MAX, KEY_OVERLAP_S_MAX, RENEWAL_AGE_MS_MAX};
use perron_model::participant::{KeyUse, PublicKey};
use perron_model::register::{KEY_CONSENT_TYP, KeyConsent};
use perron_model::{Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// `typ` of a renewal request.
pub const RENEWAL_TYP: &str = "perron-renewal+jws";
/// `typ` of a key change.
pub const KEY_CHANGE_TYP: &str = "perron-key-change+jws";
/// `typ` of a request, by file, for a key in the place of one that is lost.
pub const KEY_REPLACEMENT_TYP: &str = "perron-key-replacement+jws";
/// `typ` of the new key's own word in a key change.
pub const KEY_PROOF_TYP: &str = "perron-key-proof+jws";

/// Asks for a new certificate (compact JWS by the agreement key).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// The data space.
    pub space: SpaceId,
    /// Whose certificate.
    pub participant: ParticipantId,
    /// Certificate signing request, PEM.
    pub csr: String,
    /// When it was made.
    pub time: Timestamp,
}

/// A renewal request that the agreement key in force signed, of a participant in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRenewal {
    request: RenewalRequest,
}

impl RenewalRequest {
    /// A request for a certificate of the TLS key of `keys`, signed by the agreement key in force.
    pub fn sign(
        space: &SpaceId,
        participant: &ParticipantId,
        keys: &KeySet,
        agreement: &SigningKey,
        now: Timestamp,
    ) -> Result<String> {
        let request = RenewalRequest {
            space: space.clone(),
            participant: participant.clone(),
            csr: ca::csr(keys.tls(), participant, space)?,
            time: now,
        };
        jws::sign_compact(agreement, RENEWAL_TYP, &canonical::to_bytes(&request)?)
    }

    /// Reads a request that came in at `now`.
    pub fn open(text: &str, register: &VerifiedRegister, now: Timestamp) -> Result<VerifiedRenewal> {
        let request: RenewalRequest = open_signed(text, RENEWAL_TYP, register, now, |r: &RenewalRequest| Claims {
            space: r.space.clone(),
            participant: r.participant.clone(),
            time: r.time,
        })?;
        ca::require_possession(&request.csr)?;
        Ok(VerifiedRenewal { request })
    }
}

impl VerifiedRenewal {
    /// Who asks.
    pub fn participant(&self) -> &ParticipantId {
        &self.request.participant
    }
    /// For which key, as `SpaceCa::issue` takes it.
    pub fn csr(&self) -> &str {
        &self.request.csr
    }
}

/// Puts a new key in the place of an old one (compact JWS by the agreement key in force, which
/// consents; the new key proves that it is possessed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChangeRequest {
    /// The data space.
    pub space: SpaceId,
    /// Whose key.
    pub participant: ParticipantId,
    /// What the key is for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The new key.
    pub key: PublicKey,
    /// Compact JWS (`typ` `perron-key-proof+jws`) by the new key over the participant's name.
    pub proof: String,
    /// When it was made.
    pub time: Timestamp,
    /// Compact JWS of a `KeyConsent` by the key that goes.
    pub consent: String,
    /// How long the old key stays in force beside the new one, in seconds.
    pub overlap_s: i64,
}

/// What a participant asks for whose key is to change.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What the key is for.
    pub key_use: KeyUse,
    /// The new key.
    pub new: &'a SigningKey,
    /// The key that goes, and consents.
    pub old: &'a SigningKey,
    /// The agreement key in force, which asks.
    pub agreement: &'a SigningKey,
    /// How long the old key stays in force beside the new one, in seconds.
    pub overlap_s: i64,
}

impl KeyChangeRequest {
    /// A signed change of a key.
    pub fn sign(space: &SpaceId, participant: &ParticipantId, change: Change<'_>, now: Timestamp) -> Result<String> {
        let consent = KeyConsent {
            space: space.clone(),
            participant: participant.clone(),
            key_use: change.key_use,
            key: change.new.public(),
        };
        let request = KeyChangeRequest {
            space: space.clone(),
            participant: participant.clone(),
            key_use: change.key_use,
            key: change.new.public(),
            proof: jws::sign_compact(change.new, KEY_PROOF_TYP, participant.as_str().as_bytes())?,
            time: now,
            consent: jws::sign_compact(change.old, KEY_CONSENT_TYP, &canonical::to_bytes(&consent)?)?,
            overlap_s: change.overlap_s,
        };
        jws::sign_compact(change.agreement, KEY_CHANGE_TYP, &canonical::to_bytes(&request)?)
    }

    /// Reads a change that came in at `now`; what it gives is for `AuthorityRegister::rotate_key`.
    ///
    /// # Errors
    /// `signature_invalid` where it isn't signed by the agreement key in force, by the key that goes
    /// and by the new one.
    pub fn open(text: &str, register: &VerifiedRegister, now: Timestamp) -> Result<(ParticipantId, KeyChange)> {
        let request: KeyChangeRequest = open_signed(text, KEY_CHANGE_TYP, register, now, |r: &KeyChangeRequest| {
            Claims { space: r.space.clone(), participant: r.participant.clone(), time: r.time }
        })?;
        require_changeable(request.key_use)?;
        let proof = jws::verify_compact(&request.proof, KEY_PROOF_TYP, |_| Some(request.key))?;
        if proof.payload != request.participant.as_str().as_bytes() {
            return Err(Error::new(ErrorCode::SignatureInvalid, "the new key was not proven for this participant"));
        }
        let own = register.member(&request.participant, now)?;
        let going = own.current_key(request.key_use, now).map(|k| k.key);
        let consent = jws::verify_compact(&request.consent, KEY_CONSENT_TYP, |kid| {
            going.filter(|going| going.thumbprint() == *kid)
        })?;
        let consented: KeyConsent = canonical::from_bytes(&consent.payload, DOCUMENT_BYTES_MAX)?;
        let asked = KeyConsent {
            space: request.space.clone(),
            participant: request.participant.clone(),
            key_use: request.key_use,
            key: request.key,
        };
        if consented != asked {
            return Err(Error::new(
                ErrorCode::SignatureInvalid,
                "the old key consents to another change than this one",
            ));
        }
        let change = KeyChange {
            key_use: request.key_use,
            key: request.key,
            consent: Some(request.consent),
            overlap_ms: overlap_ms(request.overlap_s)?,
        };
        Ok((request.participant, change))
    }
}

/// Asks by file for a key in the place of one that is lost (compact JWS by the new key itself, which
/// proves that it is possessed and nothing more: who asks, people verify by its thumbprint).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyReplacement {
    /// The data space.
    pub space: SpaceId,
    /// Whose key.
    pub participant: ParticipantId,
    /// What the key is for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The new key.
    pub key: PublicKey,
    /// When it was made.
    pub time: Timestamp,
}

impl KeyReplacement {
    /// The file to bring to the authority: a compact JWS and a line end.
    pub fn sign(
        space: &SpaceId,
        participant: &ParticipantId,
        key_use: KeyUse,
        new: &SigningKey,
        now: Timestamp,
    ) -> Result<String> {
        let (space, participant) = (space.clone(), participant.clone());
        let request = KeyReplacement { space, participant, key_use, key: new.public(), time: now };
        jws::sign_compact(new, KEY_REPLACEMENT_TYP, &canonical::to_bytes(&request)?).map(|text| text + "\n")
    }

    /// Reads a file that was brought; what it gives is for `AuthorityRegister::rotate_key`.
    ///
    /// # Errors
    /// `signature_invalid` where the new key didn't sign it, `malformed` for another data space or participant.
    pub fn open(text: &str, space: &SpaceId, participant: &ParticipantId, overlap_s: i64) -> Result<KeyChange> {
        let text = without_line_end(text);
        let (payload, _) = jws::peek(text, KEY_REPLACEMENT_TYP, DOCUMENT_BYTES_MAX)?;
        let request: KeyReplacement = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX)?;
        jws::verify_compact(text, KEY_REPLACEMENT_TYP, |kid| {
            (request.key.thumbprint() == *kid).then_some(request.key)
        })?;
        require_changeable(request.key_use)?;
        if request.space != *space || request.participant != *participant {
            let detail = format!("the request is by `{}` of the data space `{}`", request.participant, request.space);
            return Err(Error::malformed(detail));
        }
        let overlap_ms = overlap_ms(overlap_s)?;
        Ok(KeyChange { key_use: request.key_use, key: request.key, consent: None, overlap_ms })
    }
}

fn require_changeable(key_use: KeyUse) -> Result<()> {
    if key_use == KeyUse::Register {
        return Err(Error::new(ErrorCode::KeyInvalid, "the register's key isn't changed by a participant"));
    }
    Ok(())
}

fn overlap_ms(seconds: i64) -> Result<i64> {
    if (0..=KEY_OVERLAP_S_MAX).contains(&seconds) {
        return Ok(seconds.saturating_mul(1000));
    }
    Err(Error::malformed(format!("an overlap has 0 to {KEY_OVERLAP_S_MAX} seconds")))
}

/// What a document that is signed just now says of itself.
pub(super) struct Claims {
    pub(super) space: SpaceId,
    pub(super) participant: ParticipantId,
    pub(super) time: Timestamp,
}

/// Reads a document that a participant in force signed just now with its agreement key.
pub(super) fn open_signed<T: Serialize + DeserializeOwned>(
    text: &str,
    typ: &str,
    register: &VerifiedRegister,
    now: Timestamp,
    claims: impl FnOnce(&T) -> Claims,
) -> Result<T> {
    let text = without_line_end(text);
    let (payload, _) = jws::peek(text, typ, DOCUMENT_BYTES_MAX)?;
    let document: T = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX)?;
    let Claims { space, participant, time } = claims(&document);
    if space != *register.space() {
        return Err(Error::malformed("the request is for another data space"));
    }
    let entry = register.member(&participant, now)?;
    jws::verify_compact(text, typ, |kid| entry.key_at(KeyUse::Agreement, kid, now).map(|k| k.key))?;
    if now.millis().abs_diff(time.millis()) > RENEWAL_AGE_MS_MAX.unsigned_abs() {
        return Err(Error::new(ErrorCode::SignatureInvalid, "the request was not made just now"));
    }
    Ok(document)
}

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod tests;
