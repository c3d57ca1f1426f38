//! Another policy for an agreement in force, by both signatures.

use super::*;
use crate::world::policy;

/// Waits for what waits for a person; gives the negotiation's number there.
fn waiting(world: &World, at: &str) -> String {
    let mut found = None;
    wait_until("a negotiation waits for a person", || {
        let listed = world.of(at, &["negotiation", "list"], &["--waiting"]).unwrap();
        found = listed[0]["negotiation"].as_str().map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

fn amend(world: &World, by: &str, agreement: &str, end: &str) -> String {
    let file = world.write("amended.json", policy(end));
    let asked = world.of(by, &["agreement", "amend"], &[agreement, "--policy", &file]).unwrap();
    asked["negotiation"].as_str().unwrap().to_owned()
}

/// Waits for the end of a negotiation; gives it.
fn ended(world: &World, at: &str, number: &str) -> Json {
    world.of(at, &["negotiation", "wait"], &[number, "--seconds", "30"]).unwrap()
}

#[test]
fn an_agreement_is_amended_by_both_sides_and_what_was_used_counts_on() {
    let world = World::new();
    let first = world.agree(END);
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    assert_eq!(world.query(&first, FEW).unwrap()["n"], ROWS);
    let mut before = first.clone();
    for (version, by) in [PROVIDER, CONSUMER].into_iter().enumerate() {
        let mut stream = runtime.block_on(begin(channel::local_channel(&world, CONSUMER), &before, MANY));
        runtime.block_on(stream.message()).unwrap().unwrap();
        let asked = amend(&world, by, &before, "2034-01-01T00:00:00Z");
        let there = waiting(&world, other(by));
        assert_eq!(standing(&world, PROVIDER, &before), "in-force", "one side alone amends nothing");
        world.of(other(by), &["negotiation", "approve"], &[&there]).unwrap();
        let done = ended(&world, by, &asked);
        let amended = done["agreement"].as_str().unwrap_or_else(|| panic!("{done}")).to_owned();
        assert_ne!(amended, before);
        // What ran under the one before has ended, and nothing begins under it.
        let (_, end) = runtime.block_on(read_on(stream));
        assert_eq!(code_of(&end.unwrap()), "agreement_amended");
        for side in [PROVIDER, CONSUMER] {
            wait_until("both sides know", || standing(&world, side, &before) == "amended");
            assert_eq!(standing(&world, side, &amended), "in-force");
            assert_eq!(history(&world, side, &first)["versions"].as_array().unwrap().len(), version + 2);
        }
        let refused = world.query(&before, FEW).unwrap_err();
        assert_eq!(refused.code, "agreement_amended");
        assert!(refused.detail.contains(&amended), "{refused:?}");
        // The user was granted the one before; what was charged to it counts on.
        let charged = last(&world, PROVIDER, "permit")["uses"].as_u64().unwrap();
        assert_eq!(world.query(&amended, FEW).unwrap()["n"], ROWS);
        assert_eq!(last(&world, PROVIDER, "permit")["uses"].as_u64().unwrap(), charged + 1);
        let refused = world.of(by, &["agreement", "suspend"], &[&before, "--reason", "x"]).unwrap_err();
        assert_eq!(refused.code, "agreement_amended");
        before = amended;
    }
    // What is told of the newest version holds for all.
    change(&world, CONSUMER, "revoke", &before);
    known(&world, CONSUMER, &before, "revoked");
    assert_eq!(standing(&world, PROVIDER, &first), "revoked");
    verify_all(world);
}

#[test]
fn an_amendment_can_be_refused_and_the_agreement_goes_on() {
    let world = World::one_sided();
    let agreement = world.agree(END);
    for by in [CONSUMER, PROVIDER] {
        let asked = amend(&world, by, &agreement, "2034-01-01T00:00:00Z");
        let there = waiting(&world, other(by));
        world.of(other(by), &["negotiation", "refuse"], &[&there, "--reason", "non"]).unwrap();
        assert_eq!(ended(&world, by, &asked)["state"], "TERMINATED");
        assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
    }
    // Of two amendments of one version the first that is signed is in force; the other ends.
    let (one, two) = (
        amend(&world, CONSUMER, &agreement, "2034-01-01T00:00:00Z"),
        amend(&world, CONSUMER, &agreement, "2033-01-01T00:00:00Z"),
    );
    let mut both = Vec::new();
    wait_until("both wait for a person", || {
        let listed = world.of(PROVIDER, &["negotiation", "list"], &["--waiting"]).unwrap();
        both = listed.as_array().cloned().unwrap_or_default();
        both.len() == 2
    });
    world.of(PROVIDER, &["negotiation", "approve"], &[both[0]["negotiation"].as_str().unwrap()]).unwrap();
    wait_until("the first is in force", || standing(&world, CONSUMER, &agreement) == "amended");
    let late =
        world.of(PROVIDER, &["negotiation", "approve"], &[both[1]["negotiation"].as_str().unwrap()]).unwrap_err();
    assert_eq!(late.code, "agreement_amended", "{late:?}");
    world
        .of(PROVIDER, &["negotiation", "refuse"], &[both[1]["negotiation"].as_str().unwrap(), "--reason", "x"])
        .unwrap();
    let states: Vec<Json> = [one, two].iter().map(|n| ended(&world, CONSUMER, n)["state"].clone()).collect();
    assert!(states.contains(&"FINALIZED".into()) && states.contains(&"TERMINATED".into()), "{states:?}");
    verify_all(world);
}
