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
    let text =
        RenewalRequest::sign(&space(), &id("huy"), world.keys("huy"), agreement(&world, "huy"), at(1000)).unwrap();
    let renewal = RenewalRequest::open(&text, &register, at(2000)).unwrap();
    let issued = world.ca.issue(renewal.participant(), renewal.csr(), at(2000), 60).unwrap();
    assert_eq!(ca::participant_of(&issued.der, &space()).unwrap(), id("huy"));
    // Another's key, for huy.
    let text =
        RenewalRequest::sign(&space(), &id("huy"), world.keys("seraing"), agreement(&world, "seraing"), at(1000))
            .unwrap();
    assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::SignatureInvalid);
    let text =
        RenewalRequest::sign(&space(), &id("nobody"), world.keys("huy"), agreement(&world, "huy"), at(1000)).unwrap();
    assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::ParticipantUnknown);
    let elsewhere = SpaceId::parse("elsewhere").unwrap();
    let text =
        RenewalRequest::sign(&elsewhere, &id("huy"), world.keys("huy"), agreement(&world, "huy"), at(1000)).unwrap();
    assert_eq!(RenewalRequest::open(&text, &register, at(1)).unwrap_err().code, ErrorCode::Malformed);
}

#[test]
fn a_renewal_is_of_now_and_of_who_is_in_force() {
    let mut world = World::new(&["huy"]);
    let now = RENEWAL_AGE_MS_MAX * 2;
    let text =
        RenewalRequest::sign(&space(), &id("huy"), world.keys("huy"), agreement(&world, "huy"), at(now)).unwrap();
    let open = |world: &World, ms| RenewalRequest::open(&text, &world.verified(), at(ms)).map_err(|e| e.code);
    open(&world, now - RENEWAL_AGE_MS_MAX).unwrap();
    open(&world, now + RENEWAL_AGE_MS_MAX).unwrap();
    assert_eq!(open(&world, now + RENEWAL_AGE_MS_MAX + 1), Err(ErrorCode::SignatureInvalid));
    assert_eq!(open(&world, now - RENEWAL_AGE_MS_MAX - 1), Err(ErrorCode::SignatureInvalid));
    let key = SigningKey::from_seed(&world.authority_key().seed());
    world.signed = world.register.set_status(&id("huy"), Status::Suspended, at(1), &key).unwrap();
    assert_eq!(open(&world, now), Err(ErrorCode::ParticipantSuspended));
}

/// A change of a key of `huy`, by these keys.
fn signed(key_use: KeyUse, new: &SigningKey, old: &SigningKey, agreement: &SigningKey, ms: i64) -> String {
    let change = Change { key_use, new, old, agreement, overlap_s: 60 };
    KeyChangeRequest::sign(&space(), &id("huy"), change, at(ms)).unwrap()
}

#[test]
fn a_key_is_changed_with_the_old_ones_consent_and_the_new_ones_proof() {
    let mut world = World::new(&["huy", "seraing"]);
    let register = world.verified();
    let [new, other] = [66, 67].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let code = |text: &str| KeyChangeRequest::open(text, &register, at(10)).unwrap_err().code;
    let key = |name: &str, key_use| world.keys(name).signing_key(key_use).unwrap();
    let (ours, log) = (key("huy", KeyUse::Agreement), key("huy", KeyUse::Log));
    let (who, change) = KeyChangeRequest::open(&signed(KeyUse::Log, &new, log, ours, 10), &register, at(10)).unwrap();
    assert_eq!((who, change.key, change.overlap_ms), (id("huy"), new.public(), 60_000));
    assert!(change.consent.is_some());
    // Asked by another, or consented to by another, or by the right key for another use.
    for (old, agreement) in
        [(log, key("seraing", KeyUse::Agreement)), (log, &new), (&new, ours), (ours, ours), (log, log)]
    {
        let text = signed(KeyUse::Log, &new, old, agreement, 10);
        assert_eq!(code(&text), ErrorCode::SignatureInvalid);
    }
    assert_eq!(code(&signed(KeyUse::Register, &new, ours, ours, 10)), ErrorCode::KeyInvalid);
    // The proof is another's, or for another; the consent is to another key.
    let good = signed(KeyUse::Log, &new, log, ours, 10);
    let (payload, _) = jws::peek(&good, KEY_CHANGE_TYP, DOCUMENT_BYTES_MAX).unwrap();
    let request: KeyChangeRequest = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX).unwrap();
    let elsewhere = signed(KeyUse::Log, &other, log, ours, 10);
    let (payload, _) = jws::peek(&elsewhere, KEY_CHANGE_TYP, DOCUMENT_BYTES_MAX).unwrap();
    let elsewhere: KeyChangeRequest = canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX).unwrap();
    for wrong in [
        KeyChangeRequest { proof: jws::sign_compact(ours, KEY_PROOF_TYP, b"huy").unwrap(), ..request.clone() },
        KeyChangeRequest { proof: jws::sign_compact(&new, KEY_PROOF_TYP, b"seraing").unwrap(), ..request.clone() },
        KeyChangeRequest { consent: elsewhere.consent, ..request.clone() },
    ] {
        let text = jws::sign_compact(ours, KEY_CHANGE_TYP, &canonical::to_bytes(&wrong).unwrap()).unwrap();
        assert_eq!(code(&text), ErrorCode::SignatureInvalid);
    }
    for overlap_s in [-1, KEY_OVERLAP_S_MAX + 1] {
        let wrong = KeyChangeRequest { overlap_s, ..request.clone() };
        let text = jws::sign_compact(ours, KEY_CHANGE_TYP, &canonical::to_bytes(&wrong).unwrap()).unwrap();
        assert_eq!(code(&text), ErrorCode::Malformed);
    }
    // Once the overlap is over the new agreement key asks, and the old one no longer.
    let text = signed(KeyUse::Agreement, &new, ours, ours, 10);
    let (_, change) = KeyChangeRequest::open(&text, &register, at(10)).unwrap();
    let authority = SigningKey::from_seed(&world.authority_key().seed());
    world.signed = world.register.rotate_key(&id("huy"), &change, at(10), &authority).unwrap();
    let old = world.keys("huy").signing_key(KeyUse::Agreement).unwrap();
    let log = world.keys("huy").signing_key(KeyUse::Log).unwrap();
    let register = world.verified();
    let after = |by: &SigningKey, ms| {
        KeyChangeRequest::open(&signed(KeyUse::Log, &other, log, by, ms), &register, at(ms)).map_err(|e| e.code)
    };
    assert!(after(old, 60_009).is_ok());
    assert_eq!(after(old, 60_010), Err(ErrorCode::SignatureInvalid));
    assert!(after(&new, 60_010).is_ok());
}

#[test]
fn a_lost_key_is_asked_for_by_the_new_one_alone() {
    let new = SigningKey::from_seed(&[66; 32]);
    let text = KeyReplacement::sign(&space(), &id("huy"), KeyUse::Log, &new, at(1)).unwrap();
    let change = KeyReplacement::open(&text, &space(), &id("huy"), 0).unwrap();
    assert_eq!((change.key, change.key_use, change.consent), (new.public(), KeyUse::Log, None));
    let code = |text: &str, who: &str, s| KeyReplacement::open(text, &space(), &id(who), s).unwrap_err().code;
    assert_eq!(code(&text, "seraing", 0), ErrorCode::Malformed);
    assert_eq!(code(&text, "huy", -1), ErrorCode::Malformed);
    let (payload, _) = jws::peek(text.trim(), KEY_REPLACEMENT_TYP, DOCUMENT_BYTES_MAX).unwrap();
    let by_another = jws::sign_compact(&SigningKey::from_seed(&[9; 32]), KEY_REPLACEMENT_TYP, &payload).unwrap();
    assert_eq!(code(&by_another, "huy", 0), ErrorCode::SignatureInvalid);
}
