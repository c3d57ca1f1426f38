//! What happens to an agreement in force: suspended, resumed, amended, revoked, from either side,
//! through running processes.

mod amending;
mod crossing;
mod facts;
mod wire;

use crate::standing::{MANY, begin, read_on};
use crate::world::wire::{self as channel, code_of};
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, ROWS, World, wait_until};
use serde_json::Value as Json;

const END: &str = "2035-01-01T00:00:00Z";
const FEW: &str = "SELECT count(*) AS n FROM releves";
/// How soon the other side has to know, in milliseconds.
const KNOWN_MS_MAX: i64 = 1_000;

fn other(side: &str) -> &'static str {
    if side == PROVIDER { CONSUMER } else { PROVIDER }
}

/// State of an agreement as one side's command line tells it.
fn standing(world: &World, of: &str, agreement: &str) -> String {
    history(world, of, agreement)["standing"].as_str().unwrap().to_owned()
}

fn history(world: &World, of: &str, agreement: &str) -> Json {
    world.of(of, &["agreement", "show"], &["--history", agreement]).unwrap()
}

fn change(world: &World, by: &str, verb: &str, agreement: &str) -> Json {
    let reason = ["--reason", "contrôle des compteurs"];
    let reason = if verb == "resume" { &[][..] } else { &reason[..] };
    world.of(by, &["agreement", verb], &[&[agreement], reason].concat()).unwrap()
}

/// Waits until the side that was told knows, and measures by both logs how long it took.
fn known(world: &World, by: &str, agreement: &str, expected: &str) {
    let to = other(by);
    wait_until("the other side knows", || standing(world, to, agreement) == expected);
    let newest = |name: &str| {
        let entries = world.entries(name);
        let entry = entries.into_iter().rfind(|e| e["kind"] == "notice").unwrap();
        (entry["facts"]["notice"].clone(), entry["time"].as_str().unwrap().to_owned())
    };
    let ((told, at), (heard, after)) = (newest(by), newest(to));
    assert_eq!(told, heard, "both tell of the same notice");
    let ms = |text: &str| perron_model::Timestamp::parse(text).unwrap().millis();
    let took = ms(&after) - ms(&at);
    assert!((0..=KNOWN_MS_MAX).contains(&took), "{to} knew {took} ms after {by}");
}

fn last(world: &World, of: &str, kind: &str) -> Json {
    world.entries(of).into_iter().rfind(|e| e["kind"] == kind).unwrap_or_default()["facts"].clone()
}

fn count(world: &World, of: &str, kind: &str) -> usize {
    world.entries(of).iter().filter(|e| e["kind"] == kind).count()
}

fn verify_all(mut world: World) {
    for name in [CONSUMER, PROVIDER, AUTHORITY] {
        world.stop(name);
        world.verify(name);
    }
}

/// A read runs, `by` does `verb`: the read ends at its next batch, and so does each new one.
fn stops(world: &World, by: &str, verb: &str, agreement: &str, expected: &str) {
    let code = format!("agreement_{expected}");
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let before = (count(world, PROVIDER, "outcome"), count(world, CONSUMER, "received"));
    let mut stream = runtime.block_on(begin(channel::local_channel(world, CONSUMER), agreement, MANY));
    for _ in 0..3 {
        runtime.block_on(stream.message()).unwrap().unwrap();
    }
    assert_eq!(change(world, by, verb, agreement)["standing"], expected);
    let (messages, ended) = runtime.block_on(read_on(stream));
    assert_eq!(code_of(&ended.unwrap()), code, "{verb} by {by}");
    let all = (ROWS * ROWS).div_ceil(8_192);
    assert!(messages < all / 2, "{messages} of {all} messages came after all");
    known(world, by, agreement, expected);
    wait_until("both sides note the end", || {
        count(world, PROVIDER, "outcome") > before.0 && count(world, CONSUMER, "received") > before.1
    });
    let (outcome, received) = (last(world, PROVIDER, "outcome"), last(world, CONSUMER, "received"));
    assert_eq!(outcome["status"], "CutByRevocation", "{verb} by {by}: {outcome}");
    assert_eq!(outcome["reason"], code, "{outcome}");
    assert_eq!(received["refused"], code, "{received}");
    assert_eq!(received["decision"], outcome["decision"]);
    assert_eq!(world.query(agreement, FEW).unwrap_err().code, code);
    // The provider refuses by itself: not only because the consumer's process knows.
    let (peer, _) = channel::peer_channel(world, CONSUMER, PROVIDER);
    assert_eq!(code_of(&runtime.block_on(crate::standing::plan(&peer, agreement)).unwrap_err()), code);
}

#[test]
fn suspension_and_revocation_by_either_side_stop_reads_and_are_known_within_a_second() {
    let world = World::new();
    let mut agreement = world.agree(END);
    for by in [PROVIDER, CONSUMER] {
        assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
        stops(&world, by, "suspend", &agreement, "suspended");
        // One side alone doesn't resume.
        let proposed = change(&world, by, "resume", &agreement);
        assert_eq!((proposed["resume"].as_str(), proposed["standing"].as_str()), (Some("proposed"), Some("suspended")));
        let again = world.of(by, &["agreement", "resume"], &[&agreement]).unwrap_err();
        assert_eq!(again.code, "transition_illegal", "{again:?}");
        wait_until("the proposal waits for a person", || {
            let listed = world.of(other(by), &["agreement", "list"], &["--waiting"]).unwrap();
            listed.to_string().contains(&agreement)
        });
        assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "agreement_suspended");
        let confirmed = change(&world, other(by), "resume", &agreement);
        assert_eq!(
            (confirmed["resume"].as_str(), confirmed["standing"].as_str()),
            (Some("confirmed"), Some("in-force"))
        );
        known(&world, other(by), &agreement, "in-force");
        assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
    }
    for by in [PROVIDER, CONSUMER] {
        stops(&world, by, "revoke", &agreement, "revoked");
        for (verb, args) in
            [("resume", &[][..]), ("suspend", &["--reason", "x"][..]), ("revoke", &["--reason", "x"][..])]
        {
            let refused =
                world.of(other(by), &["agreement", verb], &[&[agreement.as_str()], args].concat()).unwrap_err();
            assert_eq!(refused.code, "agreement_revoked", "{verb}: {refused:?}");
        }
        let told = &history(&world, other(by), &agreement)["told"];
        let reason = told.as_array().unwrap().last().unwrap()["says"]["reason"].clone();
        assert_eq!(reason, "contrôle des compteurs");
        agreement = world.agree_again();
    }
    verify_all(world);
}

#[test]
fn a_proposal_to_resume_can_be_refused_and_made_anew() {
    let world = World::new();
    let agreement = world.agree(END);
    for (verb, args) in [("resume", &[][..]), ("refuse", &["--reason", "x"][..])] {
        let refused = world.of(PROVIDER, &["agreement", verb], &[&[agreement.as_str()], args].concat()).unwrap_err();
        assert!(["transition_illegal", "not_found"].contains(&refused.code.as_str()), "{refused:?}");
    }
    change(&world, PROVIDER, "suspend", &agreement);
    known(&world, PROVIDER, &agreement, "suspended");
    change(&world, CONSUMER, "suspend", &agreement);
    known(&world, CONSUMER, &agreement, "suspended");
    let proposed = |at: &str| history(&world, at, &agreement)["proposed_there"].clone();
    change(&world, CONSUMER, "resume", &agreement);
    wait_until("the proposal arrives", || !proposed(PROVIDER).is_null());
    change(&world, PROVIDER, "refuse", &agreement);
    known(&world, PROVIDER, &agreement, "suspended");
    assert!(history(&world, CONSUMER, &agreement)["proposed_here"].is_null());
    // A suspension that came after the proposal stays.
    change(&world, PROVIDER, "resume", &agreement);
    wait_until("the proposal arrives", || !proposed(CONSUMER).is_null());
    change(&world, PROVIDER, "suspend", &agreement);
    known(&world, PROVIDER, &agreement, "suspended");
    let confirmed = change(&world, CONSUMER, "resume", &agreement);
    assert_eq!(confirmed["standing"], "suspended", "{confirmed}");
    wait_until("the consumer's proposal arrives", || !proposed(PROVIDER).is_null());
    change(&world, PROVIDER, "resume", &agreement);
    known(&world, PROVIDER, &agreement, "in-force");
    assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
    verify_all(world);
}

#[test]
fn a_participant_that_cannot_be_dialled_is_told_over_its_watch() {
    let world = World::one_sided();
    let agreement = world.agree(END);
    stops(&world, PROVIDER, "suspend", &agreement, "suspended");
    change(&world, CONSUMER, "resume", &agreement);
    wait_until("the proposal arrives", || !history(&world, PROVIDER, &agreement)["proposed_there"].is_null());
    change(&world, PROVIDER, "resume", &agreement);
    known(&world, PROVIDER, &agreement, "in-force");
    assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
    stops(&world, PROVIDER, "revoke", &agreement, "revoked");
    verify_all(world);
}
