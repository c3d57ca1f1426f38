//! Keys in their time: who consented to a change, what an ended key signed, and when.

use crate::second::verify;
use crate::support::*;
use crate::world::{World, checkpoint_of};
use perron_model::canonical;
use perron_model::participant::{KeyAuthorisation, KeyUse, RegisteredKey};
use perron_model::register::{KEY_CONSENT_TYP, KeyConsent};
use perron_verify::Report;
use perron_verify::words::Lang;

/// The parties' entries once a party's key ended at `until` and another came at `from` (milliseconds).
fn changed(world: &World, of: &str, key_use: KeyUse, from: i64, until: i64, consent: Option<String>) {
    let authorised_by =
        if consent.is_some() { KeyAuthorisation::PreviousKey } else { KeyAuthorisation::AuthorityAlone };
    changed_by(world, of, (key_use, authorised_by), from, until, consent);
}

fn changed_by(
    world: &World,
    of: &str,
    (key_use, authorised_by): (KeyUse, KeyAuthorisation),
    from: i64,
    until: i64,
    consent: Option<String>,
) {
    let mut parties = [(&world.ville, 1), (&world.inter, 2), (&world.tiers, 3)].map(|(p, number)| {
        let mut party = Party::new(number, p.id().as_str());
        party.participant.clone_from(&p.participant);
        party
    });
    let party = parties.iter_mut().find(|p| p.id().as_str() == of).unwrap();
    let keys = &mut party.participant.keys;
    keys.iter_mut().find(|k| k.key_use == key_use).unwrap().until = Some(time(until));
    keys.push(RegisteredKey {
        key_use,
        key: public(&new_key()),
        from: time(from),
        until: None,
        authorised_by,
        consent,
    });
    let space = Space::new(&parties.each_ref(), 2);
    let file = world.dir("ville").join("trust/register.json");
    std::fs::write(file, canonical::to_bytes(&space.signed).unwrap()).unwrap();
}

fn new_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[99; 32])
}

/// A consent to the new key.
fn consent(by: &ed25519_dalek::SigningKey, of: &Party, key_use: KeyUse) -> String {
    let told = KeyConsent { space: space(), participant: of.id(), key_use, key: public(&new_key()) };
    compact(by, KEY_CONSENT_TYP, &canonical::to_bytes(&told).unwrap())
}

fn report(world: &World) -> Report {
    verify(&world.dir("ville"), &[]).unwrap()
}

fn says(report: &Report, words: [&str; 2]) -> bool {
    [Lang::En, Lang::Fr].into_iter().zip(words).all(|(lang, words)| {
        let said = [report.statements_in(lang), report.not_shown_in(lang)].concat();
        said.iter().any(|text| text.contains(words))
    })
}

const UNDATED: [&str; 2] = ["signed by this key, time not proven", "signé par cette clé, date non prouvée"];
const ALONE: [&str; 2] = ["by the authority alone", "par l'autorité seule"];
/// Later than all entries, in milliseconds.
const LATER: i64 = 1_000_000;

#[test]
fn a_change_with_consent_is_not_told_and_one_without_it_is() {
    let world = World::new(2);
    let by = world.ville.key(KeyUse::Log);
    changed(&world, "ville", KeyUse::Log, LATER, 2 * LATER, Some(consent(&by, &world.ville, KeyUse::Log)));
    let consented = report(&world);
    assert!(consented.is_ok() && !says(&consented, ALONE), "{:#?}", consented.findings);
    assert_eq!(consented.signatures["consent"], 1);
    changed(&world, "ville", KeyUse::Log, LATER, 2 * LATER, None);
    let alone = report(&world);
    assert!(alone.is_ok() && says(&alone, ALONE), "{:#?}", alone.findings);
}

#[test]
fn a_later_key_that_is_said_to_be_of_the_enrolment_is_told_as_by_the_authority_alone() {
    let world = World::new(1);
    for key_use in [KeyUse::Log, KeyUse::Request] {
        changed_by(&world, "ville", (key_use, KeyAuthorisation::Enrolment), LATER, 2 * LATER, None);
        let told = report(&world);
        assert!(told.is_ok() && says(&told, ALONE), "{:#?}", told.findings);
    }
    // Nor does that word give it a time before its own.
    let seconds = u64::try_from(time(0).millis() / 1000).unwrap();
    changed_by(&world, "tiers", (KeyUse::Witness, KeyAuthorisation::Enrolment), LATER, 2 * LATER, None);
    let name = format!("liege/{}/witness", world.tiers.id());
    let early = perron_log::Cosigner::from_seed(&name, &new_key().to_bytes()).unwrap();
    let note = world.notes.last().unwrap();
    let line = early.cosign(&checkpoint_of(note), seconds + 100).unwrap();
    std::fs::write(world.dir("ville").join("trust/cosigned/tiers.checkpoint"), format!("{note}{line}\n")).unwrap();
    assert!(report(&world).kinds().contains(&"key-not-in-force"), "{:?}", report(&world).kinds());
}

#[test]
fn a_false_consent_is_found() {
    let world = World::new(2);
    let log = world.ville.key(KeyUse::Log);
    for wrong in [
        consent(&new_key(), &world.ville, KeyUse::Log),
        consent(&world.ville.key(KeyUse::Agreement), &world.ville, KeyUse::Log),
        consent(&log, &world.inter, KeyUse::Log),
        consent(&log, &world.ville, KeyUse::Witness),
        "no.consent.atall".to_owned(),
    ] {
        changed(&world, "ville", KeyUse::Log, LATER, 2 * LATER, Some(wrong));
        assert_eq!(report(&world).kinds(), ["document-signature"]);
    }
    // The key that consents had ended before.
    changed(&world, "ville", KeyUse::Log, 2 * LATER, LATER, Some(consent(&log, &world.ville, KeyUse::Log)));
    assert_eq!(report(&world).kinds(), ["document-signature"]);
}

#[test]
fn a_log_signed_by_a_key_that_was_not_in_force_is_found() {
    let world = World::new(2);
    changed(&world, "ville", KeyUse::Log, -LATER, -LATER, None);
    assert_eq!(report(&world).kinds(), ["key-not-in-force"]);
    // Clocks may be apart by five minutes.
    changed(&world, "ville", KeyUse::Log, -200_000, -200_000, None);
    assert!(report(&world).is_ok());
}

#[test]
fn what_an_ended_key_signed_is_dated_by_a_third_alone() {
    let world = World::new(2);
    // The consumer's request key ends after all entries.
    changed(&world, "inter", KeyUse::Request, LATER, LATER, None);
    let undated = report(&world);
    assert!(undated.is_ok() && says(&undated, UNDATED), "{:#?}", undated.not_shown);
    // Neither the log's owner nor who signed is a third; nor is one who saw it too late, or only some of it.
    let all = world.notes.last().unwrap();
    let at = |ms: i64| u64::try_from(time(ms).millis() / 1000).unwrap();
    world.cosign(&world.inter, all, at(LATER - 2000));
    world.cosign(&world.tiers, all, at(LATER + 2000));
    assert!(says(&report(&world), UNDATED));
    world.cosign(&world.tiers, &world.notes[3], at(LATER - 2000));
    let part = report(&world);
    assert!(part.is_ok() && says(&part, UNDATED));
    world.cosign(&world.tiers, all, at(LATER - 2000));
    let dated = report(&world);
    assert!(dated.is_ok() && !says(&dated, UNDATED), "{:#?}", dated.not_shown);
    // A newer head takes its place; the one before is kept beside it.
    let file = world.dir("ville").join("trust/cosigned/tiers.checkpoint");
    let beside = world.dir("ville").join("trust/dated");
    std::fs::create_dir(&beside).unwrap();
    std::fs::copy(file, beside.join(format!("tiers+{}.checkpoint", at(LATER - 2000)))).unwrap();
    world.cosign(&world.tiers, all, at(LATER + 2000));
    assert!(!says(&report(&world), UNDATED));
    std::fs::write(beside.join("tiers+7.checkpoint"), &world.notes[1]).unwrap();
    assert_eq!(report(&world).kinds(), ["signature"]);
}

#[test]
fn an_agreement_by_an_ended_key_is_undated_too() {
    let world = World::new(1);
    changed(&world, "ville", KeyUse::Agreement, LATER, LATER, None);
    assert!(says(&report(&world), UNDATED));
    let all = world.notes.last().unwrap();
    world.cosign(&world.tiers, all, u64::try_from(time(0).millis() / 1000 + 100).unwrap());
    assert!(!says(&report(&world), UNDATED));
}

#[test]
fn a_cosignature_by_a_witness_key_that_was_not_in_force_is_found() {
    let world = World::new(1);
    let note = world.notes.last().unwrap();
    let seconds = u64::try_from(time(0).millis() / 1000).unwrap();
    world.cosign(&world.tiers, note, seconds + 100);
    changed(&world, "tiers", KeyUse::Witness, 150_000, 150_000, None);
    assert!(report(&world).is_ok());
    world.cosign(&world.tiers, note, seconds + 1000);
    assert!(report(&world).kinds().contains(&"key-not-in-force"), "{:?}", report(&world).kinds());
    assert!(report(&world).kept.is_empty(), "it isn't said that it saw anything: {}", checkpoint_of(note).size);
}
