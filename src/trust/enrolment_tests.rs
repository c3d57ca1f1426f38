use super::*;
use crate::trust::testing::{World, at, id, space, today};

fn facts(name: &str) -> Facts {
    Facts {
        id: id(name),
        name: "Ville de Huy".to_owned(),
        enterprise: EnterpriseNumber::parse("0202.239.951").unwrap(),
        nis: Some(NisCode::parse("61031").unwrap()),
        jurisdiction: "BE".to_owned(),
        roles: vec![Role::Provider],
        endpoint: Some("huy.example:8443".to_owned()),
    }
}

fn agreement_key(keys: &KeySet) -> &SigningKey {
    keys.signing_key(KeyUse::Agreement).unwrap()
}

/// What an authority does with a request, unless `change` does otherwise.
fn answer(world: &mut World, request: &str, change: impl FnOnce(&mut EnrolmentAnswer)) -> String {
    let verified = EnrolmentRequest::open(request).unwrap();
    let csr = verified.request().csr.clone();
    let member = verified.into_participant(at(5), at(1_000_000_000));
    let (name, origin) = (member.id.clone(), member.log_origin.clone());
    let key = SigningKey::from_seed(&world.authority_key().seed());
    let register = world.register.enrol(member, at(5), &key).unwrap();
    let mut answer = EnrolmentAnswer {
        space: space(),
        certificate: world.ca.issue(&name, &csr, today(), 3600).unwrap().pem,
        participant: name,
        authority: key.public(),
        ca: world.ca.pem().to_owned(),
        register,
        log_origin: origin,
    };
    change(&mut answer);
    answer.sign(&key).unwrap()
}

#[test]
fn one_joins_by_a_request_and_an_answer() {
    let mut world = World::new(&["seraing"]);
    let keys = KeySet::generate(false).unwrap();
    let request = EnrolmentRequest::new(&space(), facts("huy"), &keys, at(0)).unwrap();
    let file = request.sign(agreement_key(&keys)).unwrap();
    let seen = EnrolmentRequest::open(&file).unwrap();
    assert_eq!(seen.request(), &request);
    assert_eq!(seen.fingerprint(), agreement_key(&keys).kid());
    let back = answer(&mut world, &file, |_| ());
    let enrolled = EnrolmentAnswer::open(&back, &world.authority_public().thumbprint(), &keys).unwrap();
    assert_eq!(enrolled.identity.participant(), &id("huy"));
    assert_eq!(enrolled.answer.log_origin, "liege/huy/1");
    let own = enrolled.register.member(&id("huy"), at(5)).unwrap();
    assert_eq!((own.name.as_str(), own.endpoint.as_deref()), ("Ville de Huy", Some("huy.example:8443")));
    assert!(own.keys.iter().all(|k| k.authorised_by == KeyAuthorisation::Enrolment && k.from == at(5)));
}

#[test]
fn a_request_is_signed_by_its_own_agreement_key() {
    let (keys, other) = (KeySet::generate(false).unwrap(), KeySet::generate(false).unwrap());
    let request = EnrolmentRequest::new(&space(), facts("huy"), &keys, at(0)).unwrap();
    for wrong in [agreement_key(&other), keys.signing_key(KeyUse::Request).unwrap()] {
        let error = EnrolmentRequest::open(&request.sign(wrong).unwrap()).unwrap_err();
        assert_eq!(error.code, ErrorCode::SignatureInvalid);
    }
    let good = request.sign(agreement_key(&keys)).unwrap();
    EnrolmentRequest::open(good.trim_end()).unwrap();
    for bad in [format!("{good}\n"), format!(" {good}"), good.replace('.', ".."), String::new()] {
        assert!(EnrolmentRequest::open(&bad).is_err());
    }
}

#[test]
fn facts_must_be_sound() {
    let keys = KeySet::generate(false).unwrap();
    let good = EnrolmentRequest::new(&space(), facts("huy"), &keys, at(0)).unwrap();
    let mut identity = [0u8; 32];
    identity[0] = 1;
    type Spoil = Box<dyn Fn(&mut EnrolmentRequest)>;
    let spoils: Vec<Spoil> = vec![
        Box::new(|r| r.participant.name.clear()),
        Box::new(|r| r.participant.name.push('\n')),
        Box::new(|r| r.participant.jurisdiction = "be".to_owned()),
        Box::new(|r| r.participant.roles.clear()),
        Box::new(|r| r.participant.roles = vec![Role::Provider, Role::Consumer, Role::Provider]),
        Box::new(|r| r.participant.endpoint = Some("https://huy".to_owned())),
        Box::new(|r| r.participant.id = id("huy-")),
        Box::new(|r| r.keys.log = r.keys.witness),
        Box::new(move |r| r.keys.log = PublicKey::from_bytes(identity)),
        Box::new(|r| r.csr = "x".to_owned()),
    ];
    for (i, spoil) in spoils.iter().enumerate() {
        let mut spoiled = good.clone();
        spoil(&mut spoiled);
        assert!(EnrolmentRequest::open(&spoiled.sign(agreement_key(&keys)).unwrap()).is_err(), "{i}");
    }
    // A member that the format doesn't know.
    let mut json = serde_json::to_value(&good).unwrap();
    json["extra"] = serde_json::json!(1);
    let text = jws::sign_compact(agreement_key(&keys), ENROLMENT_TYP, &canonical::to_bytes(&json).unwrap()).unwrap();
    assert_eq!(EnrolmentRequest::open(&text).unwrap_err().code, ErrorCode::Malformed);
}

#[test]
fn an_answer_is_by_the_authority_expected_and_for_us() {
    let keys = KeySet::generate(false).unwrap();
    let file = EnrolmentRequest::new(&space(), facts("huy"), &keys, at(0)).unwrap().sign(agreement_key(&keys)).unwrap();
    let open = |world: &World, text: &str| {
        EnrolmentAnswer::open(text, &world.authority_public().thumbprint(), &keys).map(|_| ()).map_err(|e| e.code)
    };
    let mut world = World::new(&["seraing"]);
    let good = answer(&mut world, &file, |_| ());
    open(&world, &good).unwrap();
    let stranger = World::new(&["seraing"]);
    assert_eq!(open(&stranger, &good), Err(ErrorCode::SignatureInvalid));
    // Answers that contradict themselves, each signed by the right authority.
    let other_ca = stranger.ca.pem().to_owned();
    let (_, other_register) = (0, stranger.signed.clone());
    type Change = Box<dyn FnOnce(&mut EnrolmentAnswer)>;
    let changes: Vec<(Change, ErrorCode)> = vec![
        (Box::new(|a| a.ca = other_ca), ErrorCode::CertificateInvalid),
        (Box::new(|a| a.register = other_register), ErrorCode::RegisterInvalid),
        (Box::new(|a| a.participant = id("seraing")), ErrorCode::RegisterInvalid),
        (Box::new(|a| a.log_origin = "liege/huy/2".to_owned()), ErrorCode::RegisterInvalid),
        (Box::new(|a| a.space = SpaceId::parse("elsewhere").unwrap()), ErrorCode::RegisterInvalid),
        (Box::new(|a| a.certificate.clear()), ErrorCode::CertificateInvalid),
    ];
    for (change, code) in changes {
        let mut world = World::new(&["seraing"]);
        let text = answer(&mut world, &file, change);
        assert_eq!(open(&world, &text), Err(code));
    }
    // Another member's keys.
    let others = KeySet::generate(false).unwrap();
    let error = EnrolmentAnswer::open(&good, &world.authority_public().thumbprint(), &others).unwrap_err();
    assert_eq!(error.code, ErrorCode::RegisterInvalid);
}

#[test]
fn an_answer_names_the_key_that_signs_it() {
    let mut world = World::new(&["seraing"]);
    let keys = KeySet::generate(false).unwrap();
    let file = EnrolmentRequest::new(&space(), facts("huy"), &keys, at(0)).unwrap().sign(agreement_key(&keys)).unwrap();
    let good = answer(&mut world, &file, |_| ());
    let (payload, _) = jws::peek(without_line_end(&good), ANSWER_TYP, ANSWER_BYTES_MAX).unwrap();
    let mut unsigned: EnrolmentAnswer = canonical::from_bytes(&payload, ANSWER_BYTES_MAX).unwrap();
    assert_eq!(unsigned.sign(&SigningKey::from_seed(&[1; 32])).unwrap_err().code, ErrorCode::KeyInvalid);
    // Whoever swaps the authority can't pass for the one expected.
    let thief = SigningKey::from_seed(&[1; 32]);
    unsigned.authority = thief.public();
    let swapped = unsigned.sign(&thief).unwrap();
    let error = EnrolmentAnswer::open(&swapped, &world.authority_public().thumbprint(), &keys).unwrap_err();
    assert_eq!(error.code, ErrorCode::SignatureInvalid);
    // Nor one that keeps the name and signs with another key.
    let forged = jws::sign_compact(&thief, ANSWER_TYP, &payload).unwrap();
    let error = EnrolmentAnswer::open(&forged, &world.authority_public().thumbprint(), &keys).unwrap_err();
    assert_eq!(error.code, ErrorCode::SignatureInvalid);
}
