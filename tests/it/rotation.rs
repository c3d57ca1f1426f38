//! Signing keys that change while the connectors run: each of the four, with reads going on; killed in
//! the middle; refused; and lost keys that the authority alone replaces.

use crate::world::{AUTHORITY, CONSUMER, PROVIDER, Refused, World, output, perron, wait_until};
use perron_log::SignedNote;
use serde_json::Value as Json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const END: &str = "2035-01-01T00:00:00Z";
const FEW: &str = "SELECT count(*) AS n FROM releves";

/// Keys of an organisation for a use, as it lists them.
fn keys(world: &World, name: &str, key_use: &str) -> Vec<Json> {
    let listed = world.of(name, &["key", "list"], &[]).unwrap();
    listed.as_array().unwrap_or_else(|| panic!("{listed}")).iter().filter(|k| k["use"] == key_use).cloned().collect()
}

fn standings(world: &World, name: &str, key_use: &str) -> Vec<String> {
    keys(world, name, key_use).iter().map(|k| k["standing"].as_str().unwrap().to_owned()).collect()
}

fn rotate(world: &World, name: &str, key_use: &str, overlap_s: &str) -> Result<Json, Refused> {
    world.of(name, &["key", "rotate"], &[key_use, "--overlap", overlap_s])
}

/// Waits until the old key's time is over and its file is gone.
fn settled(world: &World, name: &str, key_use: &str) {
    let next = world.dir(name).join(format!("keys/{key_use}.next.pem"));
    wait_until("the old key is removed", || !next.exists());
    assert_eq!(standings(world, name, key_use).last().map(String::as_str), Some("in-force"));
}

/// What the log of an organisation tells of its keys: administrative acts, oldest first.
fn acts(world: &World, name: &str) -> Vec<(String, String)> {
    let acts = world.entries(name).into_iter().filter(|e| e["kind"] == "administration");
    let of = |e: &Json, field: &str| e["facts"][field].as_str().unwrap_or_default().to_owned();
    acts.map(|e| (of(&e, "action"), of(&e, "actor"))).filter(|(action, _)| action.starts_with("key.")).collect()
}

/// Both verifiers find nothing in a stopped directory; gives what the first says.
fn verified(world: &World, name: &str, against: &[&str]) -> String {
    let against: Vec<String> = against.iter().flat_map(|other| ["--against".to_owned(), world.path(other)]).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-verify");
    let said = Command::new(program).arg(world.dir(name)).args(&against).output().unwrap();
    let said_text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{name}: {said_text}");
    match std::env::var_os("PERRON_PYTHON") {
        None => assert!(std::env::var_os("CI").is_none(), "PERRON_PYTHON has to be given in CI"),
        Some(python) => {
            let second = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/verify.py");
            let second = Command::new(python).arg(second).arg(world.dir(name)).args(&against).output().unwrap();
            let text = String::from_utf8_lossy(&second.stdout).into_owned();
            assert!(second.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&second.stderr));
        }
    }
    said_text
}

fn in_french(world: &World, name: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-verify");
    let said = Command::new(program).args(["--lang", "fr"]).arg(world.dir(name)).output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

fn segments(world: &World, name: &str) -> usize {
    std::fs::read_dir(world.dir(name).join("log/segment")).unwrap().count()
}

/// Reads under an agreement until told to stop; gives how many there were.
fn read_on(world: &World, agreement: &str, over: &AtomicBool) -> usize {
    let mut reads = 0;
    while !over.load(Ordering::Acquire) {
        world.query(agreement, FEW).unwrap();
        reads += 1;
    }
    reads
}

#[test]
fn each_of_the_four_keys_changes_while_reads_go_on() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, FEW).unwrap();
    let over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_on(&world, &agreement, &over));
        for key_use in ["request", "agreement", "log", "witness"] {
            for name in [CONSUMER, PROVIDER] {
                let before = keys(&world, name, key_use);
                let changed = rotate(&world, name, key_use, "3").unwrap();
                assert_eq!((&changed["old"], before.len()), (&before[0]["key"], 1), "{changed}");
                assert_eq!(standings(&world, name, key_use), ["in-force", "in-force"]);
                let newest = keys(&world, name, key_use).pop().unwrap();
                assert_eq!(
                    (&newest["key"], &newest["authorised_by"], &newest["consent"]),
                    (&changed["new"], &"previous-key".into(), &true.into())
                );
                // There is no third beside the two.
                assert_eq!(rotate(&world, name, key_use, "3").unwrap_err().code, "transition_illegal");
            }
            for name in [CONSUMER, PROVIDER] {
                settled(&world, name, key_use);
            }
        }
        over.store(true, Ordering::Release);
        reading.join().unwrap()
    });
    assert!(reads >= 10, "only {reads} reads went on");
    // Each change was asked for by someone, and taken into use by the register.
    for name in [CONSUMER, PROVIDER] {
        let acts = acts(&world, name);
        let asked = acts.iter().filter(|(action, actor)| action == "key.rotate" && actor == "operator").count();
        let changed = acts.iter().filter(|(action, actor)| action == "key.changed" && actor == "register").count();
        // Of what was refused at once nothing was asked.
        assert_eq!((asked, changed), (4, 4), "{name}: {acts:?}");
    }
    // What needs each key goes on: agreements, notices, reads, heads.
    let again = world.agree_again();
    world.allow(&[&agreement, &again]);
    world.query(&again, FEW).unwrap();
    world.query(&agreement, FEW).unwrap();
    world.of(PROVIDER, &["agreement", "suspend"], &[&agreement, "--reason", "essai"]).unwrap();
    wait_until("the consumer learns of it", || {
        let told = world.of(CONSUMER, &["agreement", "show"], &[&agreement, "--history"]);
        told.is_ok_and(|t| t.to_string().contains("suspend"))
    });
    for (one, other) in [(PROVIDER, CONSUMER), (CONSUMER, PROVIDER), (PROVIDER, AUTHORITY), (CONSUMER, AUTHORITY)] {
        world.of(one, &["audit", "exchange"], &[other]).unwrap();
    }
    let signed = std::fs::read_to_string(world.dir(PROVIDER).join("trust/cosigned/inter.checkpoint")).unwrap();
    let lines = SignedNote::parse(&signed).unwrap().signatures;
    assert_eq!(lines.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["essai/commune/1", "essai/inter/witness"]);
    for name in [PROVIDER, CONSUMER] {
        assert!(segments(&world, name) >= 3, "the old key, both, the new one");
        world.stop(name);
        world.start(name);
    }
    world.query(&again, FEW).unwrap();
    for name in [PROVIDER, CONSUMER, AUTHORITY] {
        world.stop(name);
    }
    let said = verified(&world, PROVIDER, &[CONSUMER, AUTHORITY]);
    assert!(!said.contains("by the authority alone"), "{said}");
    verified(&world, CONSUMER, &[PROVIDER]);
    verified(&world, AUTHORITY, &[]);
}

#[test]
fn the_authority_changes_its_own_signing_keys_too() {
    let mut world = World::new();
    for key_use in ["agreement", "request", "log", "witness"] {
        rotate(&world, AUTHORITY, key_use, "0").unwrap();
        assert_eq!(standings(&world, AUTHORITY, key_use), ["ended", "in-force"]);
        settled(&world, AUTHORITY, key_use);
    }
    wait_until("the members take up the register", || world.of(PROVIDER, &["audit", "exchange"], &[AUTHORITY]).is_ok());
    for name in [AUTHORITY, PROVIDER] {
        world.stop(name);
        verified(&world, name, &[]);
    }
    world.start(AUTHORITY);
}

#[test]
fn a_change_that_the_authority_refuses_or_never_saw_leaves_the_old_key_in_use() {
    let mut world = World::new();
    let agreement = world.agree(END);
    for (wrong, overlap) in [("log", "-1"), ("log", "99999999")] {
        let args = [wrong, &format!("--overlap={overlap}")];
        assert_eq!(world.of(CONSUMER, &["key", "rotate"], &args).unwrap_err().code, "malformed");
    }
    let old = keys(&world, CONSUMER, "request")[0]["key"].clone();
    // Away: the new key is made, and signs nothing.
    world.stop(AUTHORITY);
    let refused = rotate(&world, CONSUMER, "request", "0").unwrap_err();
    assert!(["peer_unavailable", "deadline_exceeded"].contains(&refused.code.as_str()), "{refused:?}");
    let pending = keys(&world, CONSUMER, "request").pop().unwrap();
    assert_eq!(standings(&world, CONSUMER, "request"), ["in-force", "pending"]);
    world.query(&agreement, FEW).unwrap();
    // The process ends here as a crash does: the next start goes on with the old key.
    world.kill(CONSUMER);
    world.start(CONSUMER);
    assert_eq!(standings(&world, CONSUMER, "request"), ["in-force", "pending"]);
    world.query(&agreement, FEW).unwrap();
    // Refused: the same.
    world.start(AUTHORITY);
    world.of(AUTHORITY, &["authority", "suspend"], &[CONSUMER]).unwrap();
    let refused = rotate(&world, CONSUMER, "request", "0").unwrap_err();
    assert_eq!(refused.code, "participant_suspended");
    assert_eq!(standings(&world, CONSUMER, "request"), ["in-force", "pending"]);
    world.of(AUTHORITY, &["authority", "reinstate"], &[CONSUMER]).unwrap();
    // Taken: it goes on with the key that was made first.
    let changed = rotate(&world, CONSUMER, "request", "0").unwrap();
    assert_eq!((&changed["new"], &changed["old"]), (&pending["key"], &old));
    wait_until("the provider knows the new key", || world.query(&agreement, FEW).is_ok());
    for name in [CONSUMER, PROVIDER] {
        world.stop(name);
    }
    verified(&world, CONSUMER, &[PROVIDER]);
    verified(&world, PROVIDER, &[CONSUMER]);
}

/// Begins a change from another process, which isn't waited for.
fn begin(world: &World, name: &str, key_use: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
    command.args(["--json", "key", "rotate", key_use, "--overlap", "0", "--dir"]).arg(world.dir(name));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_of_a_change_the_next_start_goes_on_with_what_the_register_says() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let (mut pending, mut changed) = (0, 0);
    // At once, once the new key is made, and once the register has it.
    for (turn, key_use) in ["log", "request", "agreement", "witness", "log", "request", "log", "log"].iter().enumerate()
    {
        let before = keys(&world, CONSUMER, key_use).into_iter().filter(|k| k["standing"] != "ended").count();
        let mut asking = begin(&world, CONSUMER, key_use);
        let next = world.dir(CONSUMER).join(format!("keys/{key_use}.next.pem"));
        match turn % 3 {
            0 => {}
            1 => wait_until("the new key is made", || next.exists() || asking.try_wait().unwrap().is_some()),
            _ => wait_until("the change is answered", || asking.try_wait().unwrap().is_some()),
        }
        world.kill(CONSUMER);
        asking.wait().unwrap();
        world.start(CONSUMER);
        // The register may have taken it although the answer didn't come; then the start learns of it.
        wait_until("reads go on", || world.query(&agreement, FEW).is_ok());
        let now = standings(&world, CONSUMER, key_use);
        match now.last().map(String::as_str) {
            Some("pending") => {
                pending += 1;
                rotate(&world, CONSUMER, key_use, "0").unwrap();
            }
            _ if now.iter().filter(|s| *s != "ended").count() > before || now.len() > 1 => changed += 1,
            _ => {}
        }
        wait_until("one key is in force", || {
            let now = standings(&world, CONSUMER, key_use);
            now.last().is_some_and(|s| s == "in-force") && now.iter().filter(|s| *s == "in-force").count() == 1
        });
        settled(&world, CONSUMER, key_use);
        wait_until("reads go on", || world.query(&agreement, FEW).is_ok());
    }
    assert!(changed >= 2, "{pending} were killed before the register had the key, {changed} after");
    // Each key that was taken into use has its entry, and only one.
    let noted = acts(&world, CONSUMER).into_iter().filter(|(action, _)| action == "key.changed").count();
    let uses = ["agreement", "request", "log", "witness"];
    let had: usize = uses.iter().map(|key_use| keys(&world, CONSUMER, key_use).len() - 1).sum();
    assert_eq!(noted, had);
    for name in [CONSUMER, PROVIDER] {
        world.stop(name);
    }
    verified(&world, CONSUMER, &[PROVIDER]);
    verified(&world, PROVIDER, &[CONSUMER]);
}

#[test]
fn a_lost_key_is_replaced_by_the_authority_alone_and_shown_as_such() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, FEW).unwrap();
    for (name, key_use) in [(PROVIDER, "log"), (CONSUMER, "request"), (PROVIDER, "agreement")] {
        world.stop(name);
        std::fs::remove_file(world.dir(name).join(format!("keys/{key_use}.pem"))).unwrap();
        let refused = world.start_with(name, &[]).unwrap_err();
        assert_eq!(refused.code, "key_invalid", "{refused:?}");
        assert!(refused.detail.contains("perron key make"), "{refused:?}");
        let file = world.path(&format!("{name}.{key_use}.jws"));
        let made = world.of(name, &["key", "make"], &[key_use, "--out", &file]).unwrap();
        // It signs nothing before the register has it.
        assert_eq!(world.start_with(name, &[]).unwrap_err().code, "key_invalid");
        let replace = |who: &str| world.of(AUTHORITY, &["authority", "replace-key"], &[who, "--request", &file]);
        assert_eq!(replace(if name == PROVIDER { CONSUMER } else { PROVIDER }).unwrap_err().code, "malformed");
        let replaced = replace(name).unwrap();
        assert_eq!(replaced["parts"]["thumbprint"], made["parts"]["thumbprint"]);
        assert_eq!(replace(name).unwrap_err().code, "key_invalid", "a key is registered once");
        world.start(name);
        let newest = keys(&world, name, key_use).pop().unwrap();
        assert_eq!((&newest["standing"], &newest["authorised_by"]), (&"in-force".into(), &"authority-alone".into()));
        settled(&world, name, key_use);
        wait_until("reads go on", || world.query(&agreement, FEW).is_ok());
    }
    let words = output(&["key", "list", "--dir", &world.path(PROVIDER)], &[]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert_eq!(words.matches("By the authority alone").count(), 2, "{words}");
    let words = output(&["--lang", "fr", "key", "list", "--dir", &world.path(PROVIDER)], &[]);
    assert!(String::from_utf8(words.stdout).unwrap().contains("Par l'autorité seule"));
    world.of(PROVIDER, &["audit", "exchange"], &[CONSUMER]).unwrap();
    for name in [PROVIDER, CONSUMER, AUTHORITY] {
        world.stop(name);
    }
    for name in [PROVIDER, CONSUMER, AUTHORITY] {
        let said = verified(&world, name, &[]);
        assert_eq!(said.matches("by the authority alone").count(), 3, "{said}");
    }
    assert_eq!(in_french(&world, PROVIDER).matches("par l'autorité seule").count(), 3);
    let audit = perron(&["audit", "verify", &world.path(PROVIDER)]).unwrap().to_string();
    assert!(audit.contains("by the authority alone"), "{audit}");
}

/// The closed log was signed by keys of then, its successor by the one in force: the copy that was brought
/// back doesn't even know that one.
#[test]
fn the_next_log_goes_on_by_the_key_in_force_and_the_closed_one_keeps_those_of_then() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, FEW).unwrap();
    rotate(&world, PROVIDER, "log", "0").unwrap();
    settled(&world, PROVIDER, "log");
    world.query(&agreement, FEW).unwrap();
    let copy = world.path("copie");
    world.of(PROVIDER, &["backup"], &[&copy]).unwrap();
    for key_use in ["log", "agreement"] {
        rotate(&world, PROVIDER, key_use, "0").unwrap();
        settled(&world, PROVIDER, key_use);
    }
    wait_until("reads go on", || world.query(&agreement, FEW).is_ok());
    wait_until("the consumer keeps a newer head", || world.of(CONSUMER, &["audit", "exchange"], &[PROVIDER]).is_ok());
    world.stop(PROVIDER);
    std::fs::rename(world.dir(PROVIDER), world.dir("perdu")).unwrap();
    let keys_dir = world.path("perdu/keys");
    let told = world.of(PROVIDER, &["restore"], &[&copy, "--keys", &keys_dir, "--next-generation"]).unwrap();
    assert_eq!(told["origin"], "essai/commune/2", "{told}");
    world.start(PROVIDER);
    wait_until("reads go on in the next log", || world.query(&agreement, FEW).is_ok());
    assert_eq!(standings(&world, PROVIDER, "log"), ["ended", "ended", "in-force"]);
    rotate(&world, PROVIDER, "log", "0").unwrap();
    settled(&world, PROVIDER, "log");
    wait_until("reads go on after another change", || world.query(&agreement, FEW).is_ok());
    for name in [PROVIDER, CONSUMER, AUTHORITY] {
        world.stop(name);
    }
    verified(&world, PROVIDER, &[CONSUMER]);
    verified(&world, CONSUMER, &[PROVIDER]);
}
