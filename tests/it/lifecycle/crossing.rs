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

/// The victim is killed at the `nth` line of its trace since the command was given; the trace tells
/// where notices and the log's batches begin and end. Gives whether the command was answered.
fn killed_at(world: &World, by: &str, victim: &str, agreement: &str, nth: usize) -> bool {
    let lines = |world: &World| world.logged(victim).matches("perron::phase").count();
    let before = lines(world);
    std::thread::scope(|scope| {
        let command = scope.spawn(|| world.of(by, &["agreement", "suspend"], &[agreement, "--reason", "x"]));
        // With its command over and nothing left to do, the victim may never come to this line.
        let waited = std::time::Instant::now();
        while lines(world) < before + nth && waited.elapsed() < std::time::Duration::from_millis(700) {
            std::thread::yield_now();
        }
        world.signal(victim, "-KILL");
        command.join().unwrap().is_ok()
    })
}

#[test]
fn killed_at_any_point_of_a_notice_both_sides_come_to_one_state() {
    const TRACE: (&str, &str) = ("PERRON_TRACE", "info,perron::phase=trace");
    let mut world = World::new();
    let agreement = world.agree(END);
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.start_with(name, &[TRACE]).unwrap();
    }
    let mut suspended = false;
    for (number, nth) in [1, 2, 3, 4, 5].into_iter().enumerate() {
        let by = if number % 2 == 0 { PROVIDER } else { CONSUMER };
        for victim in [by, other(by)] {
            suspended |= killed_at(&world, by, victim, &agreement, nth);
            world.kill(victim);
            world.start_with(victim, &[TRACE]).unwrap();
            let state = converged(&world, &agreement);
            assert!(!suspended || state == "suspended", "what was answered is lost: {state}");
            suspended = state == "suspended";
        }
    }
    assert!(suspended);
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
