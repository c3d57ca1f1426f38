//! Processes that are killed in the middle, and notices that cross: both sides come to one state.

use super::*;

fn told(world: &World, at: &str, agreement: &str) -> Vec<String> {
    let history = history(world, at, agreement);
    let told = history["told"].as_array().unwrap();
    let mut names: Vec<String> = told.iter().map(|t| t["notice"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Waits until both sides know the same notices; gives the state, which is the same too.
fn converged(world: &World, agreement: &str) -> String {
    wait_until("both sides know the same", || {
        told(world, PROVIDER, agreement) == told(world, CONSUMER, agreement)
            && [PROVIDER, CONSUMER].iter().all(|side| {
                let history = history(world, side, agreement);
                history["told"].as_array().unwrap().iter().all(|t| t["undelivered"] == false)
            })
    });
    let at = |side: &str| standing(world, side, agreement);
    assert_eq!(at(PROVIDER), at(CONSUMER));
    at(PROVIDER)
}

#[test]
fn a_notice_survives_the_kill_of_either_process() {
    let mut world = World::new();
    let agreement = world.agree(END);
    // The recipient is away, and comes back; the sender is killed meanwhile.
    for (by, kill_sender) in [(PROVIDER, false), (CONSUMER, true), (PROVIDER, true)] {
        world.kill(other(by));
        assert_eq!(change(&world, by, "suspend", &agreement)["standing"], "suspended");
        if kill_sender {
            world.kill(by);
            world.start(by);
            assert_eq!(standing(&world, by, &agreement), "suspended", "what was told is kept");
        }
        world.start(other(by));
        assert_eq!(converged(&world, &agreement), "suspended");
    }
    // Killed as soon as the command was answered, whatever was under way.
    for (by, victim) in [(PROVIDER, PROVIDER), (PROVIDER, CONSUMER), (CONSUMER, CONSUMER), (CONSUMER, PROVIDER)] {
        change(&world, by, "suspend", &agreement);
        world.kill(victim);
        world.start(victim);
        assert_eq!(converged(&world, &agreement), "suspended");
    }
    // What is derived can be made anew from the log.
    world.stop(PROVIDER);
    world.of(PROVIDER, &["store", "rebuild"], &[]).unwrap();
    world.start(PROVIDER);
    assert_eq!(converged(&world, &agreement), "suspended");
    change(&world, CONSUMER, "resume", &agreement);
    assert_eq!(converged(&world, &agreement), "suspended");
    change(&world, PROVIDER, "resume", &agreement);
    world.kill(PROVIDER);
    world.start(PROVIDER);
    assert_eq!(converged(&world, &agreement), "in-force");
    assert_eq!(world.query(&agreement, FEW).unwrap()["n"], ROWS);
    verify_all(world);
}

#[test]
fn notices_that_cross_come_to_one_state() {
    let world = World::new();
    let agreement = world.agree(END);
    for verb in ["suspend", "revoke"] {
        // Both are stopped in their tracks between the two commands, so that neither knows.
        world.signal(CONSUMER, "-STOP");
        change(&world, PROVIDER, verb, &agreement);
        world.signal(PROVIDER, "-STOP");
        world.signal(CONSUMER, "-CONT");
        let late = world.of(CONSUMER, &["agreement", verb], &[&agreement, "--reason", "x"]);
        world.signal(PROVIDER, "-CONT");
        // The provider's may have been there already, in what the system held for the consumer.
        assert!(late.is_ok() || late.unwrap_err().code == "agreement_revoked");
        assert_eq!(converged(&world, &agreement), if verb == "suspend" { "suspended" } else { "revoked" });
    }
    verify_all(world);
}
