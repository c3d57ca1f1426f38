//! How one stays: a new certificate, or a new key, authorised by the agreement key in force.

use super::authority::KeyChange;
use super::ca;
use super::enrolment::without_line_end;
use super::jws;
use super::keys::{KeySet, SigningKey};
use super::register::VerifiedRegister;
use perron_model::limits::{DOCUMENT_BYTES_MAX, RENEWAL_AGE_MS_MAX};
use perron_model::participant::{KeyAuthorisation, KeyUse, PublicKey};
use perron_model::{Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// `typ` of a renewal request.
pub const RENEWAL_TYP: &str = "perron-renewal+jws";
/// `typ` of a key change.
pub const KEY_CHANGE_TYP: &str = "perron-key-change+jws";
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
    /// A signed request for a certificate of the TLS key of `keys`.
    pub fn sign(space: &SpaceId, participant: &ParticipantId, keys: &KeySet, now: Timestamp) -> Result<String> {
        let request = RenewalRequest {
            space: space.clone(),
            participant: participant.clone(),
            csr: ca::csr(keys.tls(), participant, space)?,
            time: now,
        };
        let key = keys.signing_key(KeyUse::Agreement)?;
        jws::sign_compact(key, RENEWAL_TYP, &canonical::to_bytes(&request)?)
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
}

impl KeyChangeRequest {
    /// A signed change of the key for `key_use` to `new`.
    pub fn sign(
        space: &SpaceId,
        participant: &ParticipantId,
        key_use: KeyUse,
        new: &SigningKey,
        agreement: &SigningKey,
        now: Timestamp,
    ) -> Result<String> {
        let request = KeyChangeRequest {
            space: space.clone(),
            participant: participant.clone(),
            key_use,
            key: new.public(),
            proof: jws::sign_compact(new, KEY_PROOF_TYP, participant.as_str().as_bytes())?,
            time: now,
        };
        jws::sign_compact(agreement, KEY_CHANGE_TYP, &canonical::to_bytes(&request)?)
    }

    /// Reads a change that came in at `now`; what it gives is for `AuthorityRegister::rotate_key`.
    pub fn open(
        text: &str,
        register: &VerifiedRegister,
        now: Timestamp,
        overlap_ms: i64,
    ) -> Result<(ParticipantId, KeyChange)> {
        let request: KeyChangeRequest = open_signed(text, KEY_CHANGE_TYP, register, now, |r: &KeyChangeRequest| {
            Claims { space: r.space.clone(), participant: r.participant.clone(), time: r.time }
        })?;
        if request.key_use == KeyUse::Register {
            return Err(Error::new(ErrorCode::KeyInvalid, "the register's key isn't changed by a participant"));
        }
        let proof = jws::verify_compact(&request.proof, KEY_PROOF_TYP, |_| Some(request.key))?;
        if proof.payload != request.participant.as_str().as_bytes() {
            return Err(Error::new(ErrorCode::SignatureInvalid, "the new key was not proven for this participant"));
        }
        let change = KeyChange {
            key_use: request.key_use,
            key: request.key,
            authorised_by: KeyAuthorisation::PreviousKey,
            overlap_ms,
        };
        Ok((request.participant, change))
    }
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
mod tests {
    use super::*;
    use crate::trust::testing::{World, at, id, space};
    use perron_model::participant::Status;

    fn agreement<'a>(world: &'a World, name: &str) -> &'a SigningKey {
        world.keys(name).signing_key(KeyUse::Agreement).unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_by_the_agreement_key() {
        let world = World::new(&["huy", "seraing"]);
        let register = world.verified();
        let text = RenewalRequest::sign(&space(), &id("huy"), world.keys("huy"), at(1000)).unwrap();
        let renewal = RenewalRequest::open(&text, &register, at(2000)).unwrap();
        let issued = world.ca.issue(renewal.participant(), renewal.csr(), at(2000), 60).unwrap();
        assert_eq!(ca::participant_of(&issued.der, &space()).unwrap(), id("huy"));
        // Another's key, for huy.
        let text = RenewalRequest::sign(&space(), &id("huy"), world.keys("seraing"), at(1000)).unwrap();
        assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::SignatureInvalid);
        let text = RenewalRequest::sign(&space(), &id("nobody"), world.keys("huy"), at(1000)).unwrap();
        assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::ParticipantUnknown);
        let elsewhere = SpaceId::parse("elsewhere").unwrap();
        let text = RenewalRequest::sign(&elsewhere, &id("huy"), world.keys("huy"), at(1000)).unwrap();
        assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::Malformed);
    }

    #[test]
    fn a_renewal_is_of_now_and_of_who_is_in_force() {
        let mut world = World::new(&["huy"]);
        let now = RENEWAL_AGE_MS_MAX * 2;
        let text = RenewalRequest::sign(&space(), &id("huy"), world.keys("huy"), at(now)).unwrap();
        let open = |world: &World, ms| RenewalRequest::open(&text, &world.verified(), at(ms)).map_err(|e| e.code);
        open(&world, now - RENEWAL_AGE_MS_MAX).unwrap();
        open(&world, now + RENEWAL_AGE_MS_MAX).unwrap();
        assert_eq!(open(&world, now + RENEWAL_AGE_MS_MAX + 1), Err(ErrorCode::SignatureInvalid));
        assert_eq!(open(&world, now - RENEWAL_AGE_MS_MAX - 1), Err(ErrorCode::SignatureInvalid));
        let key = SigningKey::from_seed(&world.authority_key().seed());
        world.signed = world.register.set_status(&id("huy"), Status::Suspended, at(1), &key).unwrap();
        assert_eq!(open(&world, now), Err(ErrorCode::ParticipantSuspended));
    }

    #[test]
    fn a_key_is_changed_with_the_old_ones_consent_and_the_new_ones_proof() {
        let mut world = World::new(&["huy", "seraing"]);
        let register = world.verified();
        let new = SigningKey::from_seed(&[66; 32]);
        let (huy, space) = (id("huy"), space());
        let sign = |by: &SigningKey| KeyChangeRequest::sign(&space, &huy, KeyUse::Agreement, &new, by, at(10)).unwrap();
        let text = sign(agreement(&world, "huy"));
        let (who, change) = KeyChangeRequest::open(&text, &register, at(10), 0).unwrap();
        assert_eq!((who, change.authorised_by), (id("huy"), KeyAuthorisation::PreviousKey));
        for wrong in [agreement(&world, "seraing"), &new] {
            let error = KeyChangeRequest::open(&sign(wrong), &register, at(10), 0).unwrap_err();
            assert_eq!(error.code, ErrorCode::SignatureInvalid);
        }
        // The proof is another's, or for another.
        for proof in [
            jws::sign_compact(agreement(&world, "huy"), KEY_PROOF_TYP, b"huy").unwrap(),
            jws::sign_compact(&new, KEY_PROOF_TYP, b"seraing").unwrap(),
        ] {
            let request = KeyChangeRequest {
                space: space.clone(),
                participant: huy.clone(),
                key_use: KeyUse::Log,
                key: new.public(),
                proof,
                time: at(10),
            };
            let bytes = canonical::to_bytes(&request).unwrap();
            let text = jws::sign_compact(agreement(&world, "huy"), KEY_CHANGE_TYP, &bytes).unwrap();
            assert!(KeyChangeRequest::open(&text, &register, at(10), 0).is_err());
        }
        // Once changed, the new key consents, and the old one no longer.
        let authority = SigningKey::from_seed(&world.authority_key().seed());
        world.signed = world.register.rotate_key(&id("huy"), &change, at(10), &authority).unwrap();
        let old = agreement(&world, "huy");
        let third = SigningKey::from_seed(&[67; 32]);
        let by = |key| KeyChangeRequest::sign(&space, &huy, KeyUse::Request, &third, key, at(20)).unwrap();
        let register = world.verified();
        assert!(KeyChangeRequest::open(&by(old), &register, at(20), 0).is_err());
        KeyChangeRequest::open(&by(&new), &register, at(20), 0).unwrap();
    }
}
