//! Keys that came in the place of others: who consented, by the consent itself.

use crate::jws;
use crate::register::Register;
use crate::report::{Report, of_file};
use crate::words::{Part, Phrase};
use perron_log::FindingKind;
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant, RegisteredKey};
use perron_model::register::{KEY_CONSENT_TYP, KeyConsent};
use perron_model::{Error, ErrorCode, Result, SpaceId, canonical};

/// Keys that are told of one by one; others are counted.
const TOLD_MAX: u64 = 100;

/// Finds consents that don't hold, and tells of each key for which the authority alone answers.
pub(crate) fn check(register: &Register, report: &mut Report) {
    let mut alone = 0_u64;
    for participant in register.participants() {
        for key in &participant.keys {
            let consent = match (&key.consent, participant.answers_for(key)) {
                (_, KeyAuthorisation::Enrolment) => continue,
                (Some(consent), KeyAuthorisation::PreviousKey) => consent,
                _ => {
                    alone = alone.saturating_add(1);
                    if alone <= TOLD_MAX {
                        report.say(by_the_authority_alone(participant, key));
                    }
                    continue;
                }
            };
            report.count_signatures("consent", 1);
            if let Err(error) = consented(&register.space, participant, key, consent) {
                let kid = key.key.thumbprint();
                let detail = format!("the consent to the key {kid} of `{}`: {}", participant.id, error.detail);
                report.add(of_file(FindingKind::DocumentSignature, "trust/register.json", detail));
            }
        }
    }
    if alone > TOLD_MAX {
        report.say(Phrase::new("said.keys_alone", vec![alone.into()]));
    }
}

/// The key before signed that this one comes in its place.
fn consented(space: &SpaceId, of: &Participant, key: &RegisteredKey, consent: &str) -> Result<()> {
    let refuse = |what: &str| Error::new(ErrorCode::SignatureInvalid, what);
    let (signed, payload) = jws::parse_compact(consent, KEY_CONSENT_TYP, DOCUMENT_BYTES_MAX)?;
    let before = of.keys.iter().filter(|k| k.key_use == key.key_use && k.from < key.from);
    let going = before.max_by_key(|k| k.from).filter(|k| k.key.thumbprint() == signed.kid);
    let going = going.ok_or_else(|| refuse("it is not by the key before"))?;
    if going.until.is_some_and(|until| until < key.from) {
        return Err(refuse("the key before had ended"));
    }
    signed.verify(&going.key)?;
    let told: KeyConsent = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX)?;
    let is_to_this =
        told.space == *space && told.participant == of.id && told.key_use == key.key_use && told.key == key.key;
    if is_to_this { Ok(()) } else { Err(refuse("it is to another change")) }
}

fn by_the_authority_alone(of: &Participant, key: &RegisteredKey) -> Phrase {
    let word = Part::Word(match key.key_use {
        KeyUse::Agreement => "use.agreement",
        KeyUse::Request => "use.request",
        KeyUse::Log => "use.log",
        KeyUse::Witness => "use.witness",
        KeyUse::Register => "use.register",
    });
    let (id, kid) = (of.id.to_string(), key.key.thumbprint().to_string());
    Phrase::new("said.key_alone", vec![id.into(), word, key.from.to_string().into(), kid.into()])
}
