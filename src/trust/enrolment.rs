//! How one joins: a request and an answer, each a file that holds one signed document.
//!
//! The request carries its own keys and is signed by the agreement key among them, so it proves
//! possession and nothing more: who it is, people verify by the fingerprint that both sides see.
//! The answer is signed by the authority's register key, whose fingerprint the member compares.

use super::ca;
use super::dialer::Endpoint;
use super::jws;
use super::keys::{KeySet, SigningKey};
use super::register::VerifiedRegister;
use super::tls::TlsIdentity;
use perron_model::limits::{DOCUMENT_BYTES_MAX, KEY_FILE_BYTES_MAX, REGISTER_BYTES_MAX, TEXT_BYTES_MAX};
use perron_model::participant::{
    EnterpriseNumber, KeyAuthorisation, KeyUse, NisCode, Participant, PublicKey, RegisteredKey, Role, Status,
};
use perron_model::register::SignedRegister;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use serde::{Deserialize, Serialize};

/// `typ` of an enrolment request.
pub const ENROLMENT_TYP: &str = "perron-enrolment+jws";
/// `typ` of the authority's answer.
pub const ANSWER_TYP: &str = "perron-enrolment-answer+jws";
/// Largest answer: a register, and what it says twice in base64url.
const ANSWER_BYTES_MAX: usize = REGISTER_BYTES_MAX * 2;

/// What an organisation says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The name it wants in the data space.
    pub id: ParticipantId,
    /// Its name for people.
    pub name: String,
    /// Enterprise number.
    pub enterprise: EnterpriseNumber,
    /// NIS code, for a commune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nis: Option<NisCode>,
    /// Country of jurisdiction (ISO 3166-1 alpha-2).
    pub jurisdiction: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where its connector can be dialled, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Public keys by use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeys {
    /// Signs offers and agreements.
    pub agreement: PublicKey,
    /// Signs read requests.
    pub request: PublicKey,
    /// Signs checkpoints.
    pub log: PublicKey,
    /// Cosigns checkpoints.
    pub witness: PublicKey,
}

/// Payload of an enrolment request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// The data space.
    pub space: SpaceId,
    /// Who asks.
    pub participant: Facts,
    /// Its keys.
    pub keys: PublicKeys,
    /// Certificate signing request for its channel, PEM.
    pub csr: String,
    /// When it was made, by the asker's clock.
    pub time: Timestamp,
}

/// An enrolment request that is signed by its own agreement key and sound in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEnrolment {
    request: EnrolmentRequest,
}

impl EnrolmentRequest {
    /// A request for the keys of `keys`.
    pub fn new(space: &SpaceId, participant: Facts, keys: &KeySet, now: Timestamp) -> Result<EnrolmentRequest> {
        let request = EnrolmentRequest {
            space: space.clone(),
            csr: ca::csr(keys.tls(), &participant.id, space)?,
            participant,
            keys: PublicKeys {
                agreement: keys.public(KeyUse::Agreement)?,
                request: keys.public(KeyUse::Request)?,
                log: keys.public(KeyUse::Log)?,
                witness: keys.public(KeyUse::Witness)?,
            },
            time: now,
        };
        request.check()?;
        Ok(request)
    }

    /// The file to send: a compact JWS and a line end.
    pub fn sign(&self, key: &SigningKey) -> Result<String> {
        jws::sign_compact(key, ENROLMENT_TYP, &canonical::to_bytes(self)?).map(|text| text + "\n")
    }

    /// Reads a file that was sent.
    pub fn open(text: &str) -> Result<VerifiedEnrolment> {
        let text = without_line_end(text);
        let (payload, _) = jws::peek(text, ENROLMENT_TYP, DOCUMENT_BYTES_MAX)?;
        let request: EnrolmentRequest = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX)?;
        jws::verify_compact(text, ENROLMENT_TYP, |kid| {
            (*kid == request.keys.agreement.thumbprint()).then_some(request.keys.agreement)
        })?;
        request.check()?;
        Ok(VerifiedEnrolment { request })
    }

    fn check(&self) -> Result<()> {
        let facts = &self.participant;
        if facts.name.is_empty() || facts.name.len() > TEXT_BYTES_MAX || facts.name.chars().any(char::is_control) {
            return Err(Error::malformed("a participant has a name on one line"));
        }
        if facts.jurisdiction.len() != 2 || !facts.jurisdiction.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Error::malformed("a jurisdiction is a country code of two letters, like BE"));
        }
        let repeated = facts.roles.iter().enumerate().any(|(i, r)| facts.roles.iter().skip(i + 1).any(|o| o == r));
        if facts.roles.is_empty() || repeated {
            return Err(Error::malformed("a participant has one or more roles, each once"));
        }
        if let Some(endpoint) = &facts.endpoint {
            Endpoint::parse(endpoint)?;
        }
        let keys = [self.keys.agreement, self.keys.request, self.keys.log, self.keys.witness];
        for (i, key) in keys.iter().enumerate() {
            jws::require_strong(key)?;
            if keys.iter().skip(i + 1).any(|other| other == key) {
                return Err(Error::new(ErrorCode::KeyInvalid, "each use has a key of its own"));
            }
        }
        ca::server_name(&facts.id, &self.space)?;
        ca::require_possession(&self.csr)
    }
}

impl VerifiedEnrolment {
    /// What was asked.
    pub fn request(&self) -> &EnrolmentRequest {
        &self.request
    }

    /// Thumbprint of the agreement key: what both sides compare by another way than the file's.
    pub fn fingerprint(&self) -> Digest {
        self.request.keys.agreement.thumbprint()
    }

    /// The register's entry that the request leads to, in force from `now` until `until`.
    pub fn into_participant(self, now: Timestamp, until: Timestamp) -> Participant {
        let EnrolmentRequest { space, participant: facts, keys, .. } = self.request;
        let key = |key_use, key| RegisteredKey {
            key_use,
            key,
            from: now,
            until: None,
            authorised_by: KeyAuthorisation::Enrolment,
            consent: None,
        };
        Participant {
            log_origin: log_origin(&space, &facts.id, 1),
            closed_logs: Vec::new(),
            id: facts.id,
            name: facts.name,
            enterprise: facts.enterprise,
            nis: facts.nis,
            jurisdiction: facts.jurisdiction,
            roles: facts.roles,
            endpoint: facts.endpoint,
            keys: vec![
                key(KeyUse::Agreement, keys.agreement),
                key(KeyUse::Request, keys.request),
                key(KeyUse::Log, keys.log),
                key(KeyUse::Witness, keys.witness),
            ],
            status: Status::Active,
            valid_from: now,
            valid_until: until,
        }
    }
}

/// The origin of a participant's log, `<authority>/<participant>/<generation>`: a name, never a
/// URL. The authority stands there by the data space that it named.
pub fn log_origin(space: &SpaceId, participant: &ParticipantId, generation: u32) -> String {
    format!("{space}/{participant}/{generation}")
}

/// Payload of the authority's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentAnswer {
    /// The data space.
    pub space: SpaceId,
    /// Whom it is for.
    pub participant: ParticipantId,
    /// The authority's register key, which signs this too.
    pub authority: PublicKey,
    /// Certificate of the data space's CA, PEM.
    pub ca: String,
    /// The participant's certificate chain, leaf first, PEM.
    pub certificate: String,
    /// The register with the participant in it.
    pub register: SignedRegister,
    /// Origin of the participant's log.
    pub log_origin: String,
}

/// What a member takes from an answer that it verified.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The answer.
    pub answer: EnrolmentAnswer,
    /// The register in it.
    pub register: VerifiedRegister,
    /// The identity on the channel.
    pub identity: TlsIdentity,
}

impl EnrolmentAnswer {
    /// The file to send back: a compact JWS and a line end.
    pub fn sign(&self, key: &SigningKey) -> Result<String> {
        if self.authority != key.public() {
            return Err(Error::new(ErrorCode::KeyInvalid, "the answer is signed by another key than it names"));
        }
        jws::sign_compact(key, ANSWER_TYP, &canonical::to_bytes(self)?).map(|text| text + "\n")
    }

    /// Reads the file that came back. `authority` is the thumbprint of the authority's register
    /// key as it was learnt by another way; `keys` are the member's own, which the register and
    /// the certificate must name.
    pub fn open(text: &str, authority: &Digest, keys: &KeySet) -> Result<Enrolled> {
        let text = without_line_end(text);
        let (payload, _) = jws::peek(text, ANSWER_TYP, ANSWER_BYTES_MAX)?;
        let answer: EnrolmentAnswer = canonical::from_bytes(&payload, ANSWER_BYTES_MAX)?;
        if answer.authority.thumbprint() != *authority {
            return Err(Error::new(
                ErrorCode::SignatureInvalid,
                format!("the answer is by the authority `{}`, not the one expected", answer.authority.thumbprint()),
            ));
        }
        jws::verify_compact_within(text, ANSWER_TYP, ANSWER_BYTES_MAX, |kid| {
            (kid == authority).then_some(answer.authority)
        })?;
        let register = VerifiedRegister::verify(&answer.register, &answer.authority, None)?;
        let own = register.participant(&answer.participant);
        let own = own.filter(|_| *register.space() == answer.space).ok_or_else(|| not_ours("has no entry of us"))?;
        if own.log_origin != answer.log_origin {
            return Err(not_ours("names another origin of the log"));
        }
        for key_use in [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness] {
            let public = keys.public(key_use)?;
            if !own.keys.iter().any(|k| k.key_use == key_use && k.key == public && k.until.is_none()) {
                return Err(not_ours("doesn't hold our keys"));
            }
        }
        if answer.certificate.len() > KEY_FILE_BYTES_MAX {
            return Err(not_ours("has too many certificates"));
        }
        let identity = TlsIdentity::new(&answer.space, &answer.certificate, keys.tls(), &answer.ca)?;
        if *identity.participant() != answer.participant {
            return Err(not_ours("has another participant's certificate"));
        }
        Ok(Enrolled { answer, register, identity })
    }
}

pub(super) fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn not_ours(what: &str) -> Error {
    Error::new(ErrorCode::RegisterInvalid, format!("the answer {what}"))
}

#[cfg(test)]
#[path = "enrolment_tests.rs"]
mod tests;
