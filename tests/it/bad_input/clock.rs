//! A clock that jumps forth and back, by a shim under the processes.

use super::{COUNT, is_refused, shim};
use crate::world::{CONSUMER, PROVIDER, ROWS, World, wait_until};
use perron_model::Timestamp;
use std::path::Path;

const HOUR_S: i64 = 3_600;

/// Replaced in one step, so that no process reads half of it.
fn set(file: &Path, seconds: i64) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, seconds.to_string()).unwrap();
    std::fs::rename(&fresh, file).unwrap();
}

fn jumps(world: &World, name: &str) -> usize {
    world.entries(name).iter().filter(|e| e["kind"] == "clock-jump").count()
}

/// Times never decrease, but where an entry says that the clock went back.
fn times_are_in_order(world: &World, name: &str) {
    let entries = world.entries(name);
    let times: Vec<Timestamp> =
        entries.iter().map(|e| Timestamp::parse(e["time"].as_str().unwrap()).unwrap()).collect();
    for (pair, entry) in times.windows(2).zip(entries.iter().skip(1)) {
        assert!(pair[0] <= pair[1] || entry["kind"] == "clock-jump", "{name}: time went back at {entry}");
    }
}

#[test]
fn a_clock_that_jumps_is_told_and_logged() {
    let mut world = World::new();
    let end = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let end = Timestamp::from_millis(i64::try_from(end).unwrap() + 2 * HOUR_S * 1000).unwrap();
    let agreement = world.agree(&end.to_string());
    let library = shim(&world, "clock", include_str!("clock.c"));
    let clock = world.dir("clock.seconds");
    set(&clock, 0);
    world.stop(PROVIDER);
    world.start_with(PROVIDER, &[("LD_PRELOAD", &library), ("PERRON_TEST_CLOCK", clock.to_str().unwrap())]).unwrap();
    let reads = |world: &World| assert_eq!(world.query(&agreement, COUNT).unwrap()["n"], ROWS);
    reads(&world);

    // Forth: past the agreement's end, then past the register's time too.
    set(&clock, 3 * HOUR_S);
    is_refused(&world, world.query(&agreement, COUNT).unwrap_err(), "agreement_expired");
    assert_eq!(jumps(&world, PROVIDER), 0, "forward is no jump back");
    set(&clock, 25 * HOUR_S);
    is_refused(&world, world.query(&agreement, COUNT).unwrap_err(), "register_stale");

    // And back: an entry says so, and what was refused is served again.
    set(&clock, 0);
    reads(&world);
    wait_until("the log tells of the clock", || jumps(&world, PROVIDER) == 1);
    reads(&world);
    assert_eq!(jumps(&world, PROVIDER), 1, "one jump, one entry");
    times_are_in_order(&world, PROVIDER);

    // Before the register that it holds was signed: such a clock decides nothing.
    set(&clock, -HOUR_S);
    let refused = is_refused(&world, world.query(&agreement, COUNT).unwrap_err(), "clock_jump");
    assert!(refused.advice.contains("clock"), "{refused:?}");
    set(&clock, 0);
    reads(&world);

    // A start under a wrong clock: the same, and the log goes on.
    world.stop(PROVIDER);
    set(&clock, -60);
    world.start_with(PROVIDER, &[("LD_PRELOAD", &library), ("PERRON_TEST_CLOCK", clock.to_str().unwrap())]).unwrap();
    set(&clock, 0);
    reads(&world);
    times_are_in_order(&world, PROVIDER);
    for name in [CONSUMER, PROVIDER] {
        assert!(!world.logged(name).contains("panicked"));
        world.stop(name);
        world.verify(name);
    }
}
