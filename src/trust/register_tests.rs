use super::*;
use crate::trust::authority::KeyChange;
use crate::trust::keys::SigningKey;
use crate::trust::testing::{World, at, id, space};
use perron_model::limits::REGISTER_LIFE_S;
use perron_model::participant::{KeyAuthorisation, KeyUse};

fn refused(result: Result<VerifiedRegister>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::RegisterInvalid);
    error.detail
}

/// A register version of any content, signed by `key`.
fn signed(key: &SigningKey, version: &RegisterVersion, entries: Vec<String>) -> SignedRegister {
    let payload = canonical::to_bytes(version).unwrap();
    SignedRegister { register: jws::sign_compact(key, REGISTER_TYP, &payload).unwrap(), entries }
}

#[test]
fn a_register_tells_who_is_in_force() {
    let world = World::new(&["huy", "seraing"]);
    let register = world.verified();
    assert_eq!(register.version(), 3);
    assert_eq!(register.space(), &space());
    assert_eq!(register.digest(), Digest::of(world.signed.register.as_bytes()));
    assert_eq!(register.participants().count(), 2);
    assert_eq!(register.member(&id("huy"), at(0)).unwrap().id, id("huy"));
    assert_eq!(register.member(&id("liege"), at(0)).unwrap_err().code, ErrorCode::ParticipantUnknown);
    assert_eq!(register.member(&id("huy"), at(-1)).unwrap_err().code, ErrorCode::ParticipantUnknown);
    let entry = verify_entry(register.entry_jws(&id("huy")).unwrap(), &world.authority_public()).unwrap();
    assert_eq!(&entry.participant, register.participant(&id("huy")).unwrap());
    assert_eq!(entry.version, 2);
    assert!(register.entry_jws(&id("liege")).is_none());
    assert_eq!(register.signed(), world.signed);
    let mut bytes = register.bytes().unwrap();
    let read = VerifiedRegister::verify_bytes(&bytes, &world.authority_public(), Some(&register)).unwrap();
    assert_eq!(read.digest(), register.digest());
    bytes.push(b'\n');
    refused(VerifiedRegister::verify_bytes(&bytes, &world.authority_public(), None));
    assert_eq!(format!("{register:?}"), "VerifiedRegister(liege version 3, 2 entries)");
}

#[test]
fn a_register_is_fresh_for_its_time() {
    let register = World::new(&["huy"]).verified();
    let life = REGISTER_LIFE_S * 1000;
    assert!(register.is_fresh(at(life - 1)) && !register.is_fresh(at(life)));
    assert!(!register.half_used(at(life / 2 - 1)) && register.half_used(at(life / 2)));
    register.require_fresh(at(0)).unwrap();
    assert_eq!(register.require_fresh(at(life)).unwrap_err().code, ErrorCode::RegisterStale);
}

#[test]
fn only_the_authority_signs() {
    let world = World::new(&["huy"]);
    let other = SigningKey::from_seed(&[3; 32]);
    refused(VerifiedRegister::verify(&world.signed, &other.public(), None));
    // The register by another, the entries by the authority; and the other way round.
    let version = world.verified().payload().clone();
    refused(VerifiedRegister::verify(
        &signed(&other, &version, world.signed.entries.clone()),
        &world.authority_public(),
        None,
    ));
    let entry = verify_entry(&world.signed.entries[0], &world.authority_public()).unwrap();
    let forged = jws::sign_compact(&other, PARTICIPANT_TYP, &canonical::to_bytes(&entry).unwrap()).unwrap();
    let mut naming = version.clone();
    naming.entries[0].digest = Digest::of(forged.as_bytes());
    refused(VerifiedRegister::verify(
        &signed(world.authority_key(), &naming, vec![forged]),
        &world.authority_public(),
        None,
    ));
    // A document of another type, by the authority.
    let payload = canonical::to_bytes(&version).unwrap();
    let register = jws::sign_compact(world.authority_key(), PARTICIPANT_TYP, &payload).unwrap();
    let other_type = SignedRegister { register, entries: world.signed.entries.clone() };
    refused(VerifiedRegister::verify(&other_type, &world.authority_public(), None));
}

#[test]
fn an_older_register_is_refused() {
    let mut world = World::new(&["huy"]);
    let key = SigningKey::from_seed(&world.authority_key().seed());
    let old = world.signed.clone();
    let new = world.register.resign(at(10), &key).unwrap();
    let held = VerifiedRegister::verify(&new, &key.public(), None).unwrap();
    assert!(refused(VerifiedRegister::verify(&old, &key.public(), Some(&held))).contains("older"));
    VerifiedRegister::verify(&new, &key.public(), Some(&held)).unwrap();
}

#[test]
fn two_registers_of_one_number_are_refused() {
    let world = World::new(&["huy"]);
    let (mut one, mut two) = (world.register.clone(), world.register.clone());
    let key = world.authority_key();
    let held = VerifiedRegister::verify(&one.resign(at(10), key).unwrap(), &key.public(), None).unwrap();
    let other = two.resign(at(11), key).unwrap();
    assert!(refused(VerifiedRegister::verify(&other, &key.public(), Some(&held))).contains("two registers"));
    // And what follows the other one.
    let next = two.resign(at(12), key).unwrap();
    assert!(refused(VerifiedRegister::verify(&next, &key.public(), Some(&held))).contains("follow"));
    // A gap can't be checked.
    let far = two.resign(at(13), key).unwrap();
    VerifiedRegister::verify(&far, &key.public(), Some(&held)).unwrap();
}

#[test]
fn another_space_or_authority_is_refused() {
    let world = World::new(&["huy"]);
    let held = world.verified();
    let mut version = held.payload().clone();
    version.space = SpaceId::parse("elsewhere").unwrap();
    version.version += 1;
    let elsewhere = signed(world.authority_key(), &version, world.signed.entries.clone());
    // Its entries are of another space than it says.
    refused(VerifiedRegister::verify(&elsewhere, &world.authority_public(), None));
    version.entries.clear();
    let empty = signed(world.authority_key(), &version, Vec::new());
    VerifiedRegister::verify(&empty, &world.authority_public(), None).unwrap();
    refused(VerifiedRegister::verify(&empty, &world.authority_public(), Some(&held)));
    let other = World::new(&["huy"]);
    refused(VerifiedRegister::verify(&other.signed, &other.authority_public(), Some(&held)));
}

#[test]
fn entries_are_those_that_the_version_names() {
    let world = World::new(&["huy", "seraing"]);
    let verify = |signed: &SignedRegister| VerifiedRegister::verify(signed, &world.authority_public(), None);
    let good = world.signed.clone();
    let mut swapped = good.clone();
    swapped.entries.swap(0, 1);
    refused(verify(&swapped));
    let mut fewer = good.clone();
    fewer.entries.pop();
    refused(verify(&fewer));
    let mut more = good.clone();
    more.entries.push(good.entries[0].clone());
    refused(verify(&more));
    let mut changed = good.clone();
    changed.entries[0].push('A');
    refused(verify(&changed));
    // The version itself names the same entry twice, or under another's name, or out of order.
    let key = world.authority_key();
    let version = world.verified().payload().clone();
    let mut twice = version.clone();
    twice.entries[1] = twice.entries[0].clone();
    refused(verify(&signed(key, &twice, vec![good.entries[0].clone(), good.entries[0].clone()])));
    let mut renamed = version.clone();
    renamed.entries[0].participant = id("amay");
    refused(verify(&signed(key, &renamed, good.entries.clone())));
    let mut order = version.clone();
    order.entries.swap(0, 1);
    refused(verify(&signed(key, &order, vec![good.entries[1].clone(), good.entries[0].clone()])));
    let mut early = version.clone();
    early.version = 1;
    early.previous = None;
    refused(verify(&signed(key, &early, good.entries.clone())));
}

#[test]
fn a_version_holds_together() {
    let world = World::new(&["huy"]);
    let key = world.authority_key();
    let version = world.verified().payload().clone();
    let verify = |v: &RegisterVersion| {
        VerifiedRegister::verify(&signed(key, v, world.signed.entries.clone()), &key.public(), None)
    };
    verify(&version).unwrap();
    for spoil in [
        |v: &mut RegisterVersion| v.version = 0,
        |v: &mut RegisterVersion| v.previous = None,
        |v: &mut RegisterVersion| v.use_before = v.issued,
    ] {
        let mut spoiled = version.clone();
        spoil(&mut spoiled);
        refused(verify(&spoiled));
    }
}

#[test]
fn who_was_revoked_never_comes_back() {
    let mut world = World::new(&["huy"]);
    let key = SigningKey::from_seed(&world.authority_key().seed());
    let active = world.verified();
    let mut copy = world.register.clone();
    let revoked = world.register.set_status(&id("huy"), Status::Revoked, at(1), &key).unwrap();
    let held = VerifiedRegister::verify(&revoked, &key.public(), Some(&active)).unwrap();
    assert_eq!(held.member(&id("huy"), at(2)).unwrap_err().code, ErrorCode::ParticipantRevoked);
    // An authority that forgot.
    copy.resign(at(2), &key).unwrap();
    copy.resign(at(3), &key).unwrap();
    let forgot = copy.resign(at(4), &key).unwrap();
    assert!(refused(VerifiedRegister::verify(&forgot, &key.public(), Some(&held))).contains("for ever"));
}

#[test]
fn bounds_hold_before_anything_is_verified() {
    let world = World::new(&["huy"]);
    let many = SignedRegister { register: String::new(), entries: vec![String::new(); PARTICIPANTS_MAX + 1] };
    let error = VerifiedRegister::verify(&many, &world.authority_public(), None).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    let large = SignedRegister { register: "x".repeat(REGISTER_BYTES_MAX + 1), entries: Vec::new() };
    let error = VerifiedRegister::verify(&large, &world.authority_public(), None).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
}

#[tokio::test]
async fn who_waits_learns_of_a_revocation() {
    let mut world = World::new(&["huy"]);
    let key = SigningKey::from_seed(&world.authority_key().seed());
    let handle = Arc::new(RegisterHandle::new(world.verified()));
    let mut stream = handle.subscribe();
    let waiting = Arc::clone(&handle);
    let task = tokio::spawn(async move {
        stream.changed().await.unwrap();
        waiting.load().member(&id("huy"), at(2)).unwrap_err().code
    });
    let old = world.signed.clone();
    let revoked = world.register.set_status(&id("huy"), Status::Revoked, at(1), &key).unwrap();
    handle.update(&revoked).unwrap();
    assert_eq!(task.await.unwrap(), ErrorCode::ParticipantRevoked);
    // The same again changes nothing and tells nobody; an older one is refused.
    let quiet = handle.subscribe();
    handle.update(&revoked).unwrap();
    assert!(!quiet.has_changed().unwrap());
    assert_eq!(handle.update(&old).unwrap_err().code, ErrorCode::RegisterInvalid);
    assert_eq!(handle.replace(world.verified()).unwrap_err().code, ErrorCode::RegisterInvalid);
    assert_eq!(handle.load().version(), 3);
}

/// The next register, in which the authority tells of huy's keys as `change` makes them.
fn of_other_keys(world: &World, change: impl FnOnce(&mut Vec<RegisteredKey>)) -> Result<VerifiedRegister> {
    let before = world.verified();
    let mut participant = before.participant(&id("huy")).unwrap().clone();
    change(&mut participant.keys);
    let number = before.version() + 1;
    let entry = ParticipantEntry { space: space(), version: number, participant };
    let text =
        jws::sign_compact(world.authority_key(), PARTICIPANT_TYP, &canonical::to_bytes(&entry).unwrap()).unwrap();
    let mut version = RegisterVersion { version: number, previous: Some(before.digest()), ..before.payload().clone() };
    version.entries[0].digest = Digest::of(text.as_bytes());
    let next = signed(world.authority_key(), &version, vec![text]);
    VerifiedRegister::verify(&next, &world.authority_public(), Some(&before))
}

#[test]
fn a_register_tells_no_other_history_of_keys_than_the_one_before() {
    let mut world = World::new(&["huy"]);
    let authority = SigningKey::from_seed(&world.authority_key().seed());
    let new = SigningKey::from_seed(&[66; 32]).public();
    let change = KeyChange { key_use: KeyUse::Log, key: new, consent: None, overlap_ms: 1000 };
    world.signed = world.register.rotate_key(&id("huy"), &change, at(10), &authority).unwrap();
    let log = |keys: &mut Vec<RegisteredKey>| keys.iter().position(|k| k.key_use == KeyUse::Log).unwrap();
    let other = |keys: &[RegisteredKey]| RegisteredKey {
        key: SigningKey::from_seed(&[67; 32]).public(),
        from: at(20),
        ..keys.last().unwrap().clone()
    };
    // A key ends, or ends earlier; another one comes.
    for until in [1010, 20] {
        of_other_keys(&world, |keys| {
            let old = log(keys);
            keys[old].until = Some(at(until));
        })
        .unwrap();
    }
    of_other_keys(&world, |keys| keys.last_mut().unwrap().until = Some(at(30))).unwrap();
    of_other_keys(&world, |keys| keys.push(other(keys))).unwrap();
    // One that was there is gone, lives longer, began at another time or by another's word, or is another.
    let changes: [&dyn Fn(&mut RegisteredKey); 6] = [
        &|key| key.until = Some(at(1011)),
        &|key| key.until = None,
        &|key| key.from = at(1),
        &|key| key.authorised_by = KeyAuthorisation::PreviousKey,
        &|key| key.consent = Some("a.b.c".to_owned()),
        &|key| key.key = SigningKey::from_seed(&[67; 32]).public(),
    ];
    for change in changes {
        refused(of_other_keys(&world, |keys| {
            let old = log(keys);
            change(&mut keys[old]);
        }));
    }
    refused(of_other_keys(&world, |keys| drop(keys.pop())));
}
