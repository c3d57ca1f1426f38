//! An agreement with what proves it: whoever has the authority's key needs nothing else.

use super::jws;
use super::keys::SigningKey;
use super::register::verify_entry;
use perron_model::agreement::{AGREEMENT_TYP, AgreementPayload, Envelope, JwsJson};
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::participant::{KeyUse, Participant, PublicKey};
use perron_model::register::ParticipantEntry;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};

/// An agreement whose two signatures were verified, with both parties as they stood in the
/// register. Only verification makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedAgreement {
    payload: AgreementPayload,
    id: AgreementId,
    provider: Participant,
    consumer: Participant,
    envelope: Envelope,
}

impl VerifiedAgreement {
    /// What was agreed.
    pub fn payload(&self) -> &AgreementPayload {
        &self.payload
    }
    /// Its name: the digest of the signed bytes.
    pub fn id(&self) -> AgreementId {
        self.id
    }
    /// The provider as the envelope's entry tells of it.
    pub fn provider(&self) -> &Participant {
        &self.provider
    }
    /// The consumer as the envelope's entry tells of it.
    pub fn consumer(&self) -> &Participant {
        &self.consumer
    }
    /// The envelope that was verified.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// The envelope's bytes, as it travels and is kept.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        to_bytes(&self.envelope)
    }
}

/// The provider's signature over an agreement: what `Agree` carries.
pub fn sign_as_provider(payload: &AgreementPayload, key: &SigningKey) -> Result<JwsJson> {
    jws::sign_first(key, AGREEMENT_TYP, &payload.bytes()?)
}

/// Verifies what `Agree` carries: the provider's signature alone, by an agreement key of its
/// that was in force at the agreement's timestamp.
pub fn verify_provider_signed(agreement: &JwsJson, provider: &Participant) -> Result<AgreementPayload> {
    let payload = AgreementPayload::parse(&jws::payload_of(agreement)?)?;
    let kids = jws::kids_of(agreement, AGREEMENT_TYP)?;
    let key = signer(provider, &payload.provider, kids.first(), payload.timestamp)?;
    jws::verify_one(agreement, AGREEMENT_TYP, &key)?;
    Ok(payload)
}

/// Adds the consumer's signature: what `Verify` carries. Who signs has verified the first.
pub fn sign_as_consumer(agreement: JwsJson, key: &SigningKey) -> Result<JwsJson> {
    jws::add_signature(agreement, key, AGREEMENT_TYP)
}

/// Puts agreement and register entries (compact JWS of the authority) together, and verifies them.
pub fn seal(
    agreement: JwsJson,
    provider_entry: &str,
    consumer_entry: &str,
    authority: &PublicKey,
) -> Result<VerifiedAgreement> {
    let envelope =
        Envelope { agreement, provider_entry: provider_entry.to_owned(), consumer_entry: consumer_entry.to_owned() };
    verify_envelope(&envelope, authority)
}

/// The envelope's canonical bytes (RFC 8785).
pub fn to_bytes(envelope: &Envelope) -> Result<Vec<u8>> {
    canonical::to_bytes(envelope)
}

/// Verifies an envelope as it travels: canonical bytes, bounded.
pub fn verify_envelope_bytes(bytes: &[u8], authority: &PublicKey) -> Result<VerifiedAgreement> {
    verify_envelope(&canonical::from_bytes(bytes, DOCUMENT_BYTES_MAX)?, authority)
}

/// Verifies an envelope with the authority's key and nothing else: both entries are the
/// authority's, of the agreement's data space and parties, in force at its timestamp; and both
/// parties signed the same canonical bytes with an agreement key in force then.
pub fn verify_envelope(envelope: &Envelope, authority: &PublicKey) -> Result<VerifiedAgreement> {
    let agreement = &envelope.agreement;
    let payload = AgreementPayload::parse(&jws::payload_of(agreement)?)?;
    let provider = verify_entry(&envelope.provider_entry, authority)?;
    let consumer = verify_entry(&envelope.consumer_entry, authority)?;
    let kids = jws::kids_of(agreement, AGREEMENT_TYP)?;
    let key_of = |entry: &ParticipantEntry, party: &ParticipantId, kid: Option<&Digest>| {
        if entry.space != payload.space {
            return Err(Error::new(ErrorCode::SignatureInvalid, "a party is registered in another data space"));
        }
        signer(&entry.participant, party, kid, payload.timestamp)
    };
    let keys =
        [key_of(&provider, &payload.provider, kids.first())?, key_of(&consumer, &payload.consumer, kids.get(1))?];
    let signed = jws::verify_exactly(agreement, AGREEMENT_TYP, &keys)?;
    Ok(VerifiedAgreement {
        id: Digest::of(&signed),
        payload,
        provider: provider.participant,
        consumer: consumer.participant,
        envelope: envelope.clone(),
    })
}

/// The agreement key of `participant`, who must be `party` and in force at `at`, for `kid`.
fn signer(participant: &Participant, party: &ParticipantId, kid: Option<&Digest>, at: Timestamp) -> Result<PublicKey> {
    if participant.id != *party {
        return Err(Error::new(
            ErrorCode::SignatureInvalid,
            format!("the register's entry is not that of the party `{party}`"),
        ));
    }
    participant.require_in_force(at)?;
    kid.and_then(|kid| participant.key_at(KeyUse::Agreement, kid, at)).map(|k| k.key).ok_or_else(|| {
        Error::new(
            ErrorCode::SignatureInvalid,
            format!("`{party}` did not sign with an agreement key that was in force"),
        )
    })
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
