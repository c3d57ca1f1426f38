//! Backups and erasures: a copy holds no key of the vault, values of a closed log are erased as those
//! of the one in force are, and a vault of before is brought level with both.

use super::killed::numbers;
use super::{FIRST, GROUND, SECOND, notices, opened, second_opinion, vault};
use crate::played::copy;
use crate::succession::{kept, level};
use crate::world::{CONSUMER, PROVIDER, World, wait_until};
use perron_model::entry::AttachmentKind;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Sealed values of all logs of a stopped directory.
fn values(directory: &Path) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let report = perron_verify::verify_visiting(directory, &perron_verify::Options::default(), &mut |view| {
        let sealed = view.attachments().filter(|(kind, _)| *kind == AttachmentKind::Sealed as u16);
        values.extend(sealed.map(|(_, bytes)| bytes.to_vec()));
    });
    assert!(report.unwrap().is_ok());
    values
}

#[test]
fn values_of_a_closed_log_are_erased_too_and_a_backup_holds_no_key() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    let made = world.of(PROVIDER, &["backup"], &[&world.path("copie")]).unwrap();
    let size = usize::try_from(made["entries"].as_u64().unwrap()).unwrap();
    world.query(&agreement, SECOND).unwrap();
    wait_until("the partner keeps a newer head", || kept(&world, 1) >= size + 2);
    world.stop(PROVIDER);
    fs::rename(world.dir(PROVIDER), world.dir("perdu")).unwrap();

    // Whoever has the copy opens nothing with it.
    let key = format!("{:020}.kek", 1);
    let of_copy = |name: &str| world.dir("copie/vault").join(name).exists();
    assert!(!of_copy(&key) && of_copy(&format!("{:020}.epochs", 1)));
    copy(&world.dir("perdu/keys"), &world.dir("cles"));
    let (copied, keys) = (world.path("copie"), world.path("cles"));
    let restore = [copied.as_str(), "--keys", &keys, "--next-generation"];
    let refused = world.of(PROVIDER, &["restore"], &restore).unwrap_err();
    assert!(refused.code == "key_invalid" && refused.detail.contains("key-encryption key"), "{refused:?}");
    fs::copy(world.dir("perdu/vault").join(&key), world.dir("cles").join(&key)).unwrap();
    world.of(PROVIDER, &["restore"], &restore).unwrap();
    assert!(!world.dir(PROVIDER).join("keys").join(&key).exists());
    let (directory, before) = (world.dir(PROVIDER).join("vault"), world.dir("vault-before"));
    copy(&directory, &before);
    world.start(PROVIDER);
    level(&world);
    world.query(&agreement, SECOND).unwrap();

    // An erasure is of one log: two are made, one for each.
    let done = world.of(PROVIDER, &["audit", "erase"], &["--agreement", &agreement, "--ground", GROUND]).unwrap();
    let done = done.as_array().unwrap();
    let said: Vec<_> = done.iter().map(|one| (one["values"].clone(), one["more"].clone())).collect();
    assert_eq!(said, [(json!(1), json!(true)), (json!(1), json!(false))]);
    let logs: Vec<_> = opened(&world, PROVIDER, "erased").iter().map(|e| e["facts"]["log"].clone()).collect();
    assert_eq!(logs, [json!(1), json!(null)]);
    assert_eq!(numbers(&directory), BTreeSet::from([3]));
    wait_until("both are told", || notices(&world, CONSUMER, &agreement).len() == 2);

    // A vault of before both, put back: a start does it again, in each log.
    world.stop(PROVIDER);
    fs::remove_dir_all(&directory).unwrap();
    copy(&before, &directory);
    world.start(PROVIDER);
    assert_eq!(numbers(&directory), BTreeSet::from([3]));
    world.stop(PROVIDER);
    world.stop(CONSUMER);
    for name in [PROVIDER, CONSUMER] {
        world.verify(name);
        second_opinion(&world, name);
    }
    let (all, left) = (values(&world.dir(PROVIDER)), vault(&world, &directory, 3));
    assert_eq!((all.len(), all.iter().filter(|value| left.read(value).unwrap().is_some()).count()), (2, 0));
}
