//! A provider that is killed in the middle of erasing, at each change that it makes of its vault and
//! so at each side of the entry: after a start the log tells of the erasure and its keys are gone, or
//! it doesn't and nothing is.

use super::{GROUND, SECOND, notices, number, opened, said, sealed, second_opinion, vault};
use crate::kill::process::{Aim, Class, Process};
use crate::played::copy;
use crate::world::{CONSUMER, PROVIDER, World, wait_until};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Longest wait for a kill to be told.
const PATIENCE: Duration = Duration::from_secs(30);
/// Told of a kill that came after everything.
const MISSED: usize = usize::MAX;

/// Entries whose values the log says are erased.
fn told(world: &World) -> BTreeSet<u64> {
    let of = |entry: Json| entry["facts"]["entries"].as_array().unwrap().clone();
    let spans = opened(world, PROVIDER, "erased").into_iter().flat_map(of);
    spans.map(|span| span.as_str().unwrap().parse().unwrap()).collect()
}

/// The files of a vault, by the number of their key-encryption key.
pub fn numbers(directory: &Path) -> BTreeSet<u64> {
    let names = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    names.filter(|n| !n.ends_with(".keys")).map(|n| n.split('.').next().unwrap().parse().unwrap()).collect()
}

/// What a start came to: the entries that were erased by then, and a copy of the vault.
struct State {
    erased: BTreeSet<u64>,
    vault: PathBuf,
    number: u64,
}

/// Looks at a provider that was just started: every permit's value is erased or opened, as the log
/// says, and of the vault there is what goes with it alone.
fn look(world: &World, point: usize) -> State {
    let erased = told(world);
    for permit in opened(world, PROVIDER, "permit") {
        let is_erased = erased.contains(&permit["index"].as_u64().unwrap());
        let due = if is_erased { "erased" } else { "statement" };
        assert_eq!(permit["sealed"]["state"], due, "point {point}: {permit}");
    }
    let (directory, number) = (world.dir(PROVIDER).join("vault"), 1 + erased.len() as u64);
    assert_eq!(numbers(&directory), BTreeSet::from([number]), "point {point}");
    let kept = world.dir(&format!("vault-of-point-{point}"));
    copy(&directory, &kept);
    State { erased, vault: kept, number }
}

#[test]
fn killed_in_the_middle_of_erasing_all_of_it_happened_or_nothing() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, SECOND).unwrap();
    world.stop(PROVIDER);
    let started =
        |world: &World| Process::start(PROVIDER, &world.dir(PROVIDER), None).unwrap_or_else(|e| panic!("{e}"));
    let (mut states, mut undone, mut done) = (Vec::new(), 0, 0);
    for point in 0.. {
        let process = started(&world);
        let before = look(&world, states.len());
        wait_until("each erasure is told", || notices(&world, CONSUMER, &agreement).len() == before.erased.len());
        // One value goes, the other of its epoch stays.
        wait_until("a read passes", || world.query(&agreement, SECOND).is_ok());
        world.query(&agreement, SECOND).unwrap();
        let gone = number(opened(&world, PROVIDER, "permit").last().unwrap());
        let fired = Arc::new(AtomicBool::new(false));
        process.aim(Aim { class: Class::Vault, skip: point, in_flight: Arc::default(), in_flight_min: 0, fired });
        match world.of(PROVIDER, &["audit", "erase"], &["--entry", &gone, "--ground", GROUND]) {
            // It may have been hit at the very end.
            Ok(_) => process.kill(MISSED),
            Err(error) => assert!(process.wait_hit(Instant::now() + PATIENCE), "point {point}: {error:?}"),
        }
        let was_hit = process.buried().in_flight != MISSED;
        states.push(before);

        let process = started(&world);
        let after = look(&world, states.len());
        let is_done = after.erased.contains(&gone.parse().unwrap());
        let more = after.erased.len() - states.last().map_or(0, |before: &State| before.erased.len());
        assert_eq!(more, usize::from(is_done), "point {point}");
        *if is_done { &mut done } else { &mut undone } += 1;
        states.push(after);
        process.stop();
        if !was_hit {
            assert!(is_done, "it makes no change more than {point}");
            break;
        }
    }
    assert!(undone > 2 && done > 2, "killed {undone} times before the entry and {done} times after it");

    world.start(PROVIDER);
    let all = told(&world);
    wait_until("each erasure is told", || notices(&world, CONSUMER, &agreement).len() == all.len());
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
        second_opinion(&world, name);
    }
    // What was erased by then no vault of that time opens, whoever asks; what wasn't, the newest does.
    let values = sealed(&world.dir(PROVIDER));
    for State { erased, vault: kept, number } in &states {
        let kept = vault(&world, kept, *number);
        assert!(erased.iter().all(|entry| said(&kept, &values[entry]).is_none()), "key {number}");
    }
    let newest = vault(&world, &world.dir(PROVIDER).join("vault"), 1 + all.len() as u64);
    for (entry, value) in &values {
        assert_eq!(said(&newest, value).is_none(), all.contains(entry), "entry {entry}");
    }
}
