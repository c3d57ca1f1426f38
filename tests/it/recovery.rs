//! Starts after something went wrong: a torn end of the log, and a set without its entry.

use crate::world::{AUTHORITY, CONSUMER, PROVIDER, World, wait_until};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const FEW: &str = "SELECT count(*) AS n FROM releves";

fn last_segment(directory: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory.join("log/segment")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.pop().unwrap()
}

/// Bytes at the end that are no whole record, as a power cut leaves them.
pub fn tear(directory: &Path) {
    let mut segment = File::options().append(true).open(last_segment(directory)).unwrap();
    segment.write_all(b"PRNR\x01 half a record").unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the partner keeps of the provider's log.
/// Entries of the provider's log in the largest checkpoint that the consumer keeps of it.
fn kept(world: &World) -> usize {
    let directory = world.dir(CONSUMER).join("trust/kept");
    let notes = std::fs::read_dir(directory).unwrap().map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap());
    let ours = notes.filter(|n| n.lines().next().unwrap().contains(&format!("/{PROVIDER}/")));
    ours.map(|n| n.lines().nth(1).unwrap().parse().unwrap()).max().unwrap_or(0)
}

#[test]
fn partners_are_asked_before_a_torn_end_is_moved_aside() {
    let mut world = World::new();
    let agreement = world.agree("2035-01-01T00:00:00Z");
    world.query(&agreement, FEW).unwrap();
    world.stop(PROVIDER);
    let directory = world.dir(PROVIDER);
    tear(&directory);
    world.start(PROVIDER);
    let recovery = world.entries(PROVIDER).into_iter().find(|e| e["kind"] == "recovery").unwrap();
    let mut asked: Vec<String> = serde_json::from_value(recovery["facts"]["asked"].clone()).unwrap();
    asked.sort();
    assert_eq!(asked, [AUTHORITY, CONSUMER], "{recovery}");
    assert!(std::fs::read_dir(directory.join("quarantine")).unwrap().next().is_some());
    world.query(&agreement, FEW).unwrap();

    // An older state with a torn end: the directory alone shows nothing amiss.
    world.stop(PROVIDER);
    let older = world.dir("older");
    copy(&directory, &older);
    world.start(PROVIDER);
    let older_size = world.entries(PROVIDER).len();
    world.query(&agreement, FEW).unwrap();
    // Its newest entry may be cut off with the tear: two more are kept by the partner.
    let newer = older_size + 2;
    wait_until("the partner keeps a newer head", || kept(&world) >= newer);
    world.stop(PROVIDER);
    std::fs::remove_dir_all(&directory).unwrap();
    copy(&older, &directory);
    tear(&directory);
    let torn = std::fs::read(last_segment(&directory)).unwrap();
    let refused = world.start_with(PROVIDER, &[]).unwrap_err();
    assert_eq!(refused.code, "log_tail_lost", "{refused:?}");
    assert_eq!(std::fs::read(last_segment(&directory)).unwrap(), torn, "a log that lost entries was written to");
}

/// Found while the process runs, long before anybody asks for these bytes; and again at each start.
#[test]
fn bytes_that_rot_end_the_process_and_keep_it_from_starting() {
    let mut world = World::new();
    let agreement = world.agree("2035-01-01T00:00:00Z");
    world.query(&agreement, FEW).unwrap();
    let segment = last_segment(&world.dir(PROVIDER));
    let bytes = std::fs::read(&segment).unwrap();
    let at = bytes.len() / 3;
    let file = File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at.try_into().unwrap()).unwrap();
    let ended = world.ended(PROVIDER);
    assert_eq!(ended.code, "log_damaged", "{ended:?}");
    let left = std::fs::read(&segment).unwrap();
    let refused = world.start_with(PROVIDER, &[]).unwrap_err();
    assert_eq!(refused.code, "log_damaged", "{refused:?}");
    assert_eq!(std::fs::read(&segment).unwrap(), left, "a damaged log was written to");
}

/// A crash between a set's files and its entry: here the log of before beside the sets of after.
#[test]
fn a_set_without_its_entry_gets_it_at_the_start() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    world.stop(PROVIDER);
    let (directory, before) = (world.dir(PROVIDER), world.dir("before"));
    copy(&directory, &before);
    world.start(PROVIDER);
    world.publish("autres").unwrap();
    world.of(PROVIDER, &["dataset", "withdraw"], &["releves"]).unwrap();
    world.stop(PROVIDER);
    std::fs::remove_dir_all(before.join("sets")).unwrap();
    copy(&directory.join("sets"), &before.join("sets"));
    std::fs::remove_dir_all(&directory).unwrap();
    copy(&before, &directory);
    let acts = |world: &World| -> Vec<(String, String)> {
        let entries = world.entries(PROVIDER).into_iter().filter(|e| e["kind"] == "administration");
        let text = |entry: &serde_json::Value, what: &str| entry["facts"][what].as_str().unwrap().to_owned();
        let of_sets = entries.map(|e| (text(&e, "action"), text(&e, "actor")));
        of_sets.filter(|(action, actor)| action.starts_with("dataset.") && actor == "start").collect()
    };
    let found: Vec<(String, String)> =
        ["dataset.found", "dataset.withdraw"].map(|a| (a.to_owned(), "start".to_owned())).to_vec();
    for _ in 0..2 {
        world.start(PROVIDER);
        assert_eq!(acts(&world), found);
        world.stop(PROVIDER);
    }
    world.verify(PROVIDER);
}
