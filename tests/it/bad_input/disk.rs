//! A disk that fills up, by a shim under the provider's process.

use super::{COUNT, END, is_refused, shim};
use crate::standing::{MANY, begin};
use crate::world::{CONSUMER, PROVIDER, ROWS, World, wire};
use perron_model::limits::DISK_RESERVE_BYTES;
use std::path::Path;

const PLENTY: u64 = 10 * DISK_RESERVE_BYTES;

/// Makes the disk have this much room; replaced in one step.
fn set(file: &Path, bytes: u64) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, bytes.to_string()).unwrap();
    std::fs::rename(&fresh, file).unwrap();
}

fn count(world: &World, kind: &str) -> usize {
    world.entries(PROVIDER).iter().filter(|e| e["kind"] == kind).count()
}

#[test]
fn a_full_disk_refuses_reads_and_loses_nothing() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let library = shim(&world, "disk", include_str!("disk.c"));
    let room = world.dir("disk.bytes");
    let room_text = room.to_str().unwrap().to_owned();
    let with = [("LD_PRELOAD", library.as_str()), ("PERRON_TEST_ROOM", room_text.as_str())];
    let reads = |world: &World| assert_eq!(world.query(&agreement, COUNT).unwrap()["n"], ROWS);
    world.stop(PROVIDER);
    // It starts below the reserve too; what couldn't be logged then is logged later.
    set(&room, DISK_RESERVE_BYTES - 2);
    world.start_with(PROVIDER, &with).unwrap();
    is_refused(&world, world.query(&agreement, COUNT).unwrap_err(), "disk_full");
    assert_eq!(count(&world, "schema-grant"), 0);
    set(&room, PLENTY);
    reads(&world);
    assert_eq!(count(&world, "schema-grant"), 1);

    // Below the reserve no read begins, and nothing new is taken in; what ends something is logged.
    set(&room, DISK_RESERVE_BYTES - 1);
    let (permits, outcomes) = (count(&world, "permit"), count(&world, "outcome"));
    is_refused(&world, world.query(&agreement, COUNT).unwrap_err(), "disk_full");
    is_refused(&world, world.publish("encore").unwrap_err(), "disk_full");
    assert_eq!((count(&world, "permit"), count(&world, "outcome")), (permits, outcomes));
    assert!(world.runs(PROVIDER));
    set(&room, PLENTY + 1);
    reads(&world);

    // No room at all, while an answer is under way: its outcome can't be logged, so the process
    // ends by itself, and says why.
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let mut stream = runtime.block_on(begin(wire::local_channel(&world, CONSUMER), &agreement, MANY));
    runtime.block_on(stream.message()).unwrap().unwrap();
    let before = world.entries(PROVIDER);
    set(&room, 0);
    drop(stream);
    let ended = world.ended(PROVIDER);
    assert_eq!((ended.code.as_str(), ended.exit), ("disk_full", Some(1)), "{ended:?}");
    let refused = world.start_with(PROVIDER, &with).unwrap_err();
    is_refused(&world, refused, "disk_full");

    // With room again it goes on; nothing that it had told is missing.
    set(&room, PLENTY + 2);
    world.start_with(PROVIDER, &with).unwrap();
    let after = world.entries(PROVIDER);
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(count(&world, "permit"), count(&world, "outcome"), "each read has its outcome");
    assert!(after.iter().any(|e| e["facts"]["status"] == "UnknownAfterCrash"), "{after:?}");
    reads(&world);
    for name in [CONSUMER, PROVIDER] {
        assert!(!world.logged(name).contains("panicked"), "{}", world.logged(name));
        world.stop(name);
        world.verify(name);
    }
}
