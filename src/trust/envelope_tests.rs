use super::*;
use crate::trust::authority::KeyChange;
use crate::trust::keys::SigningKey;
use crate::trust::testing::{World, at, id, space};
use perron_model::agreement::{AgreementKind, LegalBasis, Offer};
use perron_model::dataset::Regime;
use perron_model::participant::Status;
use perron_model::{DatasetId, SpaceId};
use serde_json::json;

fn payload() -> AgreementPayload {
    AgreementPayload {
        kind: AgreementKind::V1,
        space: space(),
        negotiation: "0193".to_owned(),
        provider: id("huy"),
        consumer: id("intradel"),
        offer: Offer {
            id: DatasetId::parse("water").unwrap(),
            dataset: DatasetId::parse("water").unwrap(),
            description: Digest::of(b"description"),
            policy: json!({"permission": []}),
            legal_basis: LegalBasis { term: "https://w3id.org/dpv#PublicTask".to_owned(), text: "decree".to_owned() },
            amends: None,
            regime: Regime::PublicTask,
        },
        timestamp: at(1000),
    }
}

struct Case {
    world: World,
    payload: AgreementPayload,
}

impl Case {
    fn new() -> Case {
        Case { world: World::new(&["huy", "intradel", "amay"]), payload: payload() }
    }
    fn key(&self, name: &str) -> &SigningKey {
        self.world.keys(name).signing_key(KeyUse::Agreement).unwrap()
    }
    fn sign(&self, first: &SigningKey, second: &SigningKey) -> JwsJson {
        sign_as_consumer(sign_as_provider(&self.payload, first).unwrap(), second).unwrap()
    }
    fn both(&self) -> JwsJson {
        self.sign(self.key("huy"), self.key("intradel"))
    }
    fn entry(&self, name: &str) -> String {
        self.world.verified().entry_jws(&id(name)).unwrap().to_owned()
    }
    fn seal(&self, agreement: JwsJson) -> Result<VerifiedAgreement> {
        seal(agreement, &self.entry("huy"), &self.entry("intradel"), &self.world.authority_public())
    }
}

#[test]
fn an_envelope_needs_the_authoritys_key_and_nothing_else() {
    let case = Case::new();
    let sealed = case.seal(case.both()).unwrap();
    let bytes = sealed.bytes().unwrap();
    let authority = case.world.authority_public();
    let read = verify_envelope_bytes(&bytes, &authority).unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.id(), case.payload.id().unwrap());
    assert_eq!(read.payload(), &case.payload);
    assert_eq!((&read.provider().id, &read.consumer().id), (&id("huy"), &id("intradel")));
    let other = SigningKey::from_seed(&[5; 32]).public();
    assert_eq!(verify_envelope_bytes(&bytes, &other).unwrap_err().code, ErrorCode::SignatureInvalid);
    // Another spelling of the file.
    let mut spaced = bytes.clone();
    spaced.push(b'\n');
    assert_eq!(verify_envelope_bytes(&spaced, &authority).unwrap_err().code, ErrorCode::Malformed);
    assert_eq!(
        verify_envelope_bytes(&vec![b' '; DOCUMENT_BYTES_MAX + 1], &authority).unwrap_err().code,
        ErrorCode::TooLarge
    );
}

#[test]
fn every_changed_byte_is_seen() {
    let case = Case::new();
    let bytes = case.seal(case.both()).unwrap().bytes().unwrap();
    let authority = case.world.authority_public();
    for at in (0..bytes.len()).step_by(23) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(verify_envelope_bytes(&changed, &authority).is_err(), "{at}");
    }
}

#[test]
fn both_parties_sign_each_with_its_agreement_key() {
    let case = Case::new();
    let refused = |agreement| assert_eq!(case.seal(agreement).unwrap_err().code, ErrorCode::SignatureInvalid);
    refused(case.sign(case.key("intradel"), case.key("huy")));
    refused(case.sign(case.key("huy"), case.key("amay")));
    refused(case.sign(case.key("amay"), case.key("intradel")));
    let request = case.world.keys("huy").signing_key(KeyUse::Request).unwrap();
    refused(case.sign(request, case.key("intradel")));
    refused(sign_as_provider(&case.payload, case.key("huy")).unwrap());
}

#[test]
fn the_parties_are_those_of_the_entries() {
    let case = Case::new();
    let authority = case.world.authority_public();
    let (huy, intradel, amay) = (case.entry("huy"), case.entry("intradel"), case.entry("amay"));
    for (one, two) in [(&intradel, &huy), (&huy, &amay), (&amay, &intradel), (&huy, &huy)] {
        assert_eq!(seal(case.both(), one, two, &authority).unwrap_err().code, ErrorCode::SignatureInvalid);
    }
    // A register version is no entry.
    assert!(seal(case.both(), &case.world.signed.register, &intradel, &authority).is_err());
}

#[test]
fn the_space_is_that_of_the_entries() {
    let mut case = Case::new();
    case.payload.space = SpaceId::parse("elsewhere").unwrap();
    assert_eq!(case.seal(case.both()).unwrap_err().code, ErrorCode::SignatureInvalid);
}

#[test]
fn who_was_not_in_force_signed_nothing() {
    for (status, code) in
        [(Status::Suspended, ErrorCode::ParticipantSuspended), (Status::Revoked, ErrorCode::ParticipantRevoked)]
    {
        for party in ["huy", "intradel"] {
            let mut case = Case::new();
            let key = SigningKey::from_seed(&case.world.authority_key().seed());
            case.world.signed = case.world.register.set_status(&id(party), status, at(1), &key).unwrap();
            assert_eq!(case.seal(case.both()).unwrap_err().code, code);
        }
    }
    let mut case = Case::new();
    case.payload.timestamp = at(-1);
    assert_eq!(case.seal(case.both()).unwrap_err().code, ErrorCode::ParticipantUnknown);
}

#[test]
fn the_key_is_the_one_in_force_at_signing() {
    let mut case = Case::new();
    let key = SigningKey::from_seed(&case.world.authority_key().seed());
    let new = SigningKey::from_seed(&[88; 32]);
    let change = KeyChange { key_use: KeyUse::Agreement, key: new.public(), consent: None, overlap_ms: 0 };
    case.world.signed = case.world.register.rotate_key(&id("huy"), &change, at(2000), &key).unwrap();
    // Signed before the change: the old key holds, also by a later entry; the new one doesn't.
    case.seal(case.both()).unwrap();
    assert!(case.seal(case.sign(&new, case.key("intradel"))).is_err());
    case.payload.timestamp = at(2000);
    assert_eq!(case.seal(case.both()).unwrap_err().code, ErrorCode::SignatureInvalid);
    case.seal(case.sign(&new, case.key("intradel"))).unwrap();
}

#[test]
fn the_provider_alone_is_verified_before_the_consumer_signs() {
    let case = Case::new();
    let register = case.world.verified();
    let huy = register.participant(&id("huy")).unwrap();
    let half = sign_as_provider(&case.payload, case.key("huy")).unwrap();
    assert_eq!(verify_provider_signed(&half, huy).unwrap(), case.payload);
    let amay = register.participant(&id("amay")).unwrap();
    assert!(verify_provider_signed(&half, amay).is_err());
    assert!(verify_provider_signed(&case.both(), huy).is_err());
    let forged = sign_as_provider(&case.payload, case.key("amay")).unwrap();
    assert!(verify_provider_signed(&forged, huy).is_err());
}

#[test]
fn what_was_signed_is_canonical() {
    let case = Case::new();
    let mut bytes = case.payload.bytes().unwrap();
    bytes.push(b' ');
    let first = jws::sign_first(case.key("huy"), AGREEMENT_TYP, &bytes).unwrap();
    let both = sign_as_consumer(first, case.key("intradel")).unwrap();
    assert_eq!(case.seal(both).unwrap_err().code, ErrorCode::Malformed);
}
