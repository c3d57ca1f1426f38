//! An agreement's envelope, verified with the authority's key and nothing else.

use crate::jws;
use crate::register::open_entry;
use perron_model::agreement::{AGREEMENT_TYP, AgreementPayload, Envelope};
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::participant::{KeyUse, Participant, PublicKey};
use perron_model::register::ParticipantEntry;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, canonical};

/// What a verified envelope says.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    /// What was agreed.
    pub payload: AgreementPayload,
    /// Its name.
    pub id: Digest,
    /// The provider as the envelope's entry tells of it.
    pub provider: Participant,
    /// The consumer as the envelope's entry tells of it.
    pub consumer: Participant,
    /// The agreement keys by which provider and consumer signed.
    pub keys: [PublicKey; 2],
    /// Digest of the two-signature JWS's canonical bytes.
    pub signed: Digest,
}

/// Reads an envelope's canonical bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Envelope> {
    canonical::from_bytes(bytes, DOCUMENT_BYTES_MAX)
}

/// Verifies an envelope: both entries are the authority's, of the agreement's space and parties,
/// in force at its timestamp; and both parties signed the same canonical bytes, first the
/// provider, then the consumer, with an agreement key in force then.
pub(crate) fn verify(envelope: &Envelope, authority: &PublicKey) -> Result<Agreed> {
    let provider = open_entry(&envelope.provider_entry, authority)?;
    let consumer = open_entry(&envelope.consumer_entry, authority)?;
    let (signatures, bytes) = jws::parse_json(&envelope.agreement, AGREEMENT_TYP)?;
    let payload = AgreementPayload::parse(&bytes)?;
    let [first, second] = signatures.as_slice() else {
        return Err(refuse(format!("{} signatures where exactly 2 must stand", signatures.len())));
    };
    let keys = [
        signer(&provider, &payload.provider, &first.kid, &payload)?,
        signer(&consumer, &payload.consumer, &second.kid, &payload)?,
    ];
    let [provider_key, consumer_key] = keys;
    if provider_key == consumer_key {
        return Err(refuse("the two signatures must be of two organisations"));
    }
    first.verify(&provider_key)?;
    second.verify(&consumer_key)?;
    Ok(Agreed {
        id: Digest::of(&bytes),
        payload,
        provider: provider.participant,
        consumer: consumer.participant,
        keys,
        signed: Digest::of(&canonical::to_bytes(&envelope.agreement)?),
    })
}

fn signer(
    entry: &ParticipantEntry,
    party: &ParticipantId,
    kid: &Digest,
    payload: &AgreementPayload,
) -> Result<PublicKey> {
    let participant = &entry.participant;
    if entry.space != payload.space || participant.id != *party {
        return Err(refuse(format!("the register's entry is not that of the party `{party}` in this space")));
    }
    participant.require_in_force(payload.timestamp)?;
    let key = participant.key_at(KeyUse::Agreement, kid, payload.timestamp);
    key.map(|k| k.key).ok_or_else(|| refuse(format!("`{party}` did not sign with an agreement key that was in force")))
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::SignatureInvalid, detail)
}
