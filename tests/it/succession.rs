//! A backup, what is lost after it, and the next generation of the log: through real processes.

use crate::world::{AUTHORITY, CONSUMER, PROVIDER, Refused, World, output, spawn, wait_until};
use serde_json::Value as Json;
use std::fs;
use std::path::{Path, PathBuf};

const FEW: &str = "SELECT count(*) AS n FROM releves";

/// Entries of the newest checkpoint that the consumer keeps of a log of the provider.
pub fn kept(world: &World, generation: u32) -> usize {
    let file = world.dir(CONSUMER).join(format!("trust/kept/essai_commune_{generation}.checkpoint"));
    let note = fs::read_to_string(file).unwrap_or_default();
    note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// A provider whose reads after its backup are lost, but for what its consumer holds of them. Gives the
/// agreement, and the directory that was lost.
fn lost(world: &mut World) -> (String, PathBuf) {
    let agreement = world.agree("2035-01-01T00:00:00Z");
    world.query(&agreement, FEW).unwrap();
    let made = world.of(PROVIDER, &["backup"], &[&world.path("copie")]).unwrap();
    let size = usize::try_from(made["entries"].as_u64().unwrap()).unwrap();
    for _ in 0..2 {
        world.query(&agreement, FEW).unwrap();
    }
    // A decision and an outcome each; what is logged of the exchange itself may be beyond.
    wait_until("the partner keeps a newer head", || kept(world, 1) >= size + 4);
    world.stop(PROVIDER);
    // What it passed on at its end is kept, and no more comes.
    world.stop(CONSUMER);
    world.start(CONSUMER);
    let lost = world.dir("perdu");
    fs::rename(world.dir(PROVIDER), &lost).unwrap();
    (agreement, lost)
}

/// A provider whose lost log was closed, with a read in the next one. Gives the agreement.
fn succeeded(world: &mut World) -> String {
    let (agreement, _) = lost(world);
    restore(world, &["--next-generation"]).unwrap();
    world.start(PROVIDER);
    level(world);
    world.query(&agreement, FEW).unwrap();
    agreement
}

fn restore(world: &World, args: &[&str]) -> Result<Json, Refused> {
    let keys = world.path("perdu/keys");
    let copy = world.path("copie");
    world.of(PROVIDER, &["restore"], &[&[copy.as_str(), "--keys", &keys], args].concat())
}

/// Both verifiers find nothing, with what others kept; the second one where it can be run.
fn verify(world: &World, name: &str, against: &[&str]) -> Json {
    let dir = world.path(name);
    let against: Vec<String> = against.iter().map(|other| world.path(other)).collect();
    let with: Vec<&str> = against.iter().flat_map(|other| ["--against", other]).collect();
    let paths: Vec<PathBuf> = against.iter().map(PathBuf::from).collect();
    let report = serde_json::to_value(perron_verify::verify(Path::new(&dir), &paths).unwrap()).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]), "{report}");
    if let Ok(python) = std::env::var("PERRON_PYTHON") {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/verify.py");
        let second = std::process::Command::new(python).arg(program).arg(&dir).args(&with).output().unwrap();
        assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
    }
    report
}

/// Waits until provider and consumer go by the same register.
pub fn level(world: &World) {
    let version = |name: &str| world.of(name, &["status"], &[]).unwrap()["register"]["version"].clone();
    wait_until("the partner knows the next log", || version(CONSUMER) == version(PROVIDER));
}

fn newest_permit(world: &World) -> Json {
    world.entries(PROVIDER).into_iter().rev().find(|e| e["kind"] == "permit").unwrap()
}

#[test]
fn what_was_lost_after_a_backup_is_told_by_the_next_generation_and_counts() {
    let mut world = World::new();
    let (agreement, lost) = lost(&mut world);

    // The copy verifies, isn't served as it is, and holds no keys.
    verify(&world, "copie", &[]);
    assert!(!world.dir("copie/keys").exists());
    let no_keys = world.of(PROVIDER, &["restore"], &[&world.path("copie")]).unwrap_err();
    assert_eq!(no_keys.code, "key_invalid", "{no_keys:?}");

    // Somebody holds more: it doesn't go on, neither by a restore nor by a start, and says what to do.
    let refused = restore(&world, &[]).unwrap_err();
    assert_eq!(refused.code, "own_log_forked", "{refused:?}");
    assert!(refused.detail.contains("`inter` holds") && refused.advice.contains("--next-generation"), "{refused:?}");
    let unfinished = world.start_with(PROVIDER, &[]).unwrap_err();
    assert_eq!(unfinished.code, "restore_unfinished", "{unfinished:?}");
    fs::rename(world.dir("commune/backup.json"), world.dir("backup.json")).unwrap();
    let before = fs::read(world.dir("commune/log/checkpoint")).unwrap();
    let stale = world.start_with(PROVIDER, &[]).unwrap_err();
    assert_eq!(stale.code, "own_log_forked", "{stale:?}");
    assert_eq!(fs::read(world.dir("commune/log/checkpoint")).unwrap(), before, "an older log was written to");
    fs::rename(world.dir("backup.json"), world.dir("commune/backup.json")).unwrap();

    // What was shown once counts when those who showed it are away.
    world.stop(CONSUMER);
    let away = restore(&world, &[]).unwrap_err();
    assert!(away.code == "own_log_forked" && away.detail.contains("`inter` holds"), "{away:?}");
    world.start(CONSUMER);

    let told = restore(&world, &["--next-generation"]).unwrap();
    assert_eq!(told["origin"], "essai/commune/2", "{told}");
    assert!(told["lost"].as_u64().unwrap() >= 4, "{told}");
    assert!(world.dir("commune/generations/1/superseded.json").exists());
    world.start(PROVIDER);
    let entries = world.entries(PROVIDER);
    assert_eq!(entries[0]["kind"], "succession", "{}", entries[0]);
    assert_eq!(entries[0]["facts"]["lost"], told["lost"]);

    // The same agreement, and its counter goes on from the partner's receipt: three reads were made.
    level(&world);
    world.query(&agreement, FEW).unwrap();
    let permit = newest_permit(&world);
    assert_eq!(permit["facts"]["uses"], 4, "{permit}");
    wait_until("the partner keeps and cosigns the next log", || {
        let cosigned = fs::read_to_string(world.dir("commune/trust/cosigned/inter.checkpoint")).unwrap_or_default();
        kept(&world, 2) > 0 && cosigned.starts_with("essai/commune/2\n")
    });
    world.stop(PROVIDER);

    // The log that is closed goes nowhere: who starts it learns so from the register.
    fs::rename(world.dir(PROVIDER), world.dir("suivant")).unwrap();
    fs::rename(&lost, world.dir(PROVIDER)).unwrap();
    match world.start_with(PROVIDER, &[]) {
        Ok(()) => assert_eq!(world.ended(PROVIDER).code, "own_log_forked"),
        Err(refused) => assert_eq!(refused.code, "own_log_forked", "{refused:?}"),
    }
    assert_eq!(world.start_with(PROVIDER, &[]).unwrap_err().code, "own_log_forked");
    fs::rename(world.dir(PROVIDER), &lost).unwrap();
    fs::rename(world.dir("suivant"), world.dir(PROVIDER)).unwrap();

    world.stop(CONSUMER);
    let report = verify(&world, PROVIDER, &[CONSUMER]);
    let says = |text: &str| report["statements"].to_string().contains(text);
    assert!(says("took the place of `essai/commune/1`") && says("inter held them"), "{report}");
    verify(&world, CONSUMER, &[PROVIDER]);

    // It goes on after a start like any other, and can be backed up with its past.
    world.start(CONSUMER);
    world.start(PROVIDER);
    world.query(&agreement, FEW).unwrap();
    assert_eq!(newest_permit(&world)["facts"]["uses"], 5);
    world.of(PROVIDER, &["backup"], &[&world.path("copie-2"), "--with-keys"]).unwrap();
    verify(&world, "copie-2", &[]);
    assert!(world.dir("copie-2/generations/1/log/checkpoint").exists() && world.dir("copie-2/keys/log.pem").exists());
}

#[test]
fn nobody_holds_more_so_the_log_goes_on() {
    let mut world = World::new();
    let agreement = world.agree("2035-01-01T00:00:00Z");
    world.query(&agreement, FEW).unwrap();
    let refused = world.of(PROVIDER, &["backup"], &[&world.path("commune/dedans")]).unwrap_err();
    assert_eq!(refused.code, "malformed", "{refused:?}");
    world.stop(PROVIDER);
    // Of a stopped directory, with its keys.
    world.of(PROVIDER, &["backup"], &[&world.path("copie"), "--with-keys"]).unwrap();
    let again = world.of(PROVIDER, &["backup"], &[&world.path("copie")]).unwrap_err();
    assert_eq!(again.code, "already_exists", "{again:?}");
    assert_eq!(world.start_with("copie", &[]).unwrap_err().code, "restore_unfinished");
    fs::rename(world.dir(PROVIDER), world.dir("perdu")).unwrap();
    let told = world.of(PROVIDER, &["restore"], &[&world.path("copie")]).unwrap();
    assert_eq!((&told["next_generation"], &told["origin"]), (&false.into(), &"essai/commune/1".into()), "{told}");
    world.start(PROVIDER);
    world.query(&agreement, FEW).unwrap();
    assert_eq!(newest_permit(&world)["facts"]["uses"], 2);
    world.stop(PROVIDER);
    verify(&world, PROVIDER, &[]);
}

/// A backup of the closed log, while the authority is away: the register in it knows of no next one.
#[test]
fn a_copy_of_a_closed_log_does_not_go_on_while_the_authority_is_away() {
    let mut world = World::new();
    succeeded(&mut world);
    wait_until("the partner keeps the next log", || kept(&world, 2) > 0);
    for name in [PROVIDER, AUTHORITY] {
        world.stop(name);
    }
    fs::rename(world.dir(PROVIDER), world.dir("suivant")).unwrap();
    let refused = restore(&world, &[]).unwrap_err();
    assert!(refused.code == "own_log_forked" && refused.detail.contains("essai/commune/2"), "{refused:?}");
    fs::remove_file(world.dir("commune/trust/superseded.json")).unwrap();
    // Nobody can be asked at all.
    world.stop(CONSUMER);
    let refused = restore(&world, &[]).unwrap_err();
    assert_eq!(refused.code, "peer_unavailable", "{refused:?}");
    assert!(world.dir("commune/backup.json").exists());
    // A start asks as well.
    world.start(CONSUMER);
    fs::remove_file(world.dir("commune/backup.json")).unwrap();
    let refused = world.start_with(PROVIDER, &[]).unwrap_err();
    assert!(refused.code == "own_log_forked" && refused.detail.contains("essai/commune/2"), "{refused:?}");
}

/// An authority's backup has an older register than its members: it goes on from theirs.
#[test]
fn an_authority_goes_on_from_the_newest_register_that_a_member_holds() {
    let mut world = World::new();
    let version =
        |world: &World, name: &str| world.of(name, &["status"], &[]).unwrap()["register"]["version"].as_u64().unwrap();
    let copy = world.path("copie");
    world.of(AUTHORITY, &["backup"], &[&copy, "--with-keys"]).unwrap();
    world.of(AUTHORITY, &["authority", "suspend"], &[CONSUMER]).unwrap();
    let newest = version(&world, AUTHORITY);
    wait_until("a member has the newest register", || version(&world, PROVIDER) >= newest);
    world.stop(AUTHORITY);
    fs::rename(world.dir(AUTHORITY), world.dir("perdu")).unwrap();

    for args in [&[copy.as_str()][..], &[&copy, "--next-generation"]] {
        let refused = world.of(AUTHORITY, &["restore"], args).unwrap_err();
        assert!(refused.code == "restore_unfinished" && refused.detail.contains("--register"), "{refused:?}");
    }
    let held = world.path("commune/trust/register.json");
    world.of(AUTHORITY, &["restore"], &[&copy, "--register", &held, "--next-generation"]).unwrap();
    world.start(AUTHORITY);
    assert!(version(&world, AUTHORITY) >= newest);
    let members = world.of(AUTHORITY, &["authority", "list"], &[]).unwrap();
    let suspended = members["members"].as_array().unwrap().iter().find(|m| m["participant"] == CONSUMER).unwrap();
    assert_eq!(suspended["status"], "suspended", "{members}");
    // What it signs from here on follows what members have.
    world.of(AUTHORITY, &["authority", "reinstate"], &[CONSUMER]).unwrap();
    wait_until("the member goes on by it", || version(&world, PROVIDER) == version(&world, AUTHORITY));
}

/// Without the partner nobody can say what was read: all counts as used.
#[test]
fn a_partner_that_cannot_be_asked_is_charged_what_was_lost() {
    let mut world = World::new();
    let (agreement, _) = lost(&mut world);
    world.stop(CONSUMER);
    let told = restore(&world, &["--next-generation"]).unwrap();
    assert!(told["silent"].to_string().contains(CONSUMER), "{told}");
    world.start(PROVIDER);
    world.start(CONSUMER);
    level(&world);
    assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "uses_exhausted");
    world.stop(PROVIDER);
    world.stop(CONSUMER);
    verify(&world, PROVIDER, &[]);
}

/// Killed wherever it is, and with the authority away: nothing is lost, and it is run again to the end.
#[test]
fn a_restore_that_is_killed_is_run_again() {
    let mut world = World::new();
    let (agreement, _) = lost(&mut world);
    world.stop(AUTHORITY);
    let refused = restore(&world, &["--next-generation"]).unwrap_err();
    assert_eq!(refused.code, "peer_unavailable", "{refused:?}");
    assert!(world.dir("commune/next/log/checkpoint").exists());
    assert_eq!(world.start_with(PROVIDER, &[]).unwrap_err().code, "restore_unfinished");
    world.start(AUTHORITY);

    let (dir, copy, keys) = (world.path(PROVIDER), world.path("copie"), world.path("perdu/keys"));
    let args = ["--json", "restore", "--dir", &dir, &copy, "--keys", &keys, "--next-generation"];
    for place in ["lock", "generations/1/log", "generations/1/cosigned"] {
        let mut child = spawn(&args);
        let there = world.dir(PROVIDER).join(place);
        wait_until("it is under way, or done", || there.exists() || child.try_wait().unwrap().is_some());
        let _ = child.kill();
        child.wait().unwrap();
    }
    // Without the backup named: what is there is gone on from. Done already, it says that it goes on.
    let done = output(&["--json", "restore", "--dir", &dir, "--next-generation"], &[]);
    let told: Json = serde_json::from_slice(&done.stdout).unwrap_or_default();
    if world.dir("commune/generations/2").exists() {
        panic!("a log was closed that nobody held more of: {told}");
    }
    assert!(!world.dir("commune/next").exists(), "{told} {}", String::from_utf8_lossy(&done.stderr));
    let genesis = fs::read_to_string(world.dir("commune/log/checkpoint")).unwrap();
    assert!(genesis.starts_with("essai/commune/2\n1\n"), "{genesis}");
    world.start(PROVIDER);
    level(&world);
    world.query(&agreement, FEW).unwrap();
    assert_eq!(newest_permit(&world)["facts"]["uses"], 4);
    world.stop(PROVIDER);
    world.stop(CONSUMER);
    verify(&world, PROVIDER, &[CONSUMER]);
}

/// An auditor asks a closed log as any other, and is told of it where it isn't asked.
#[test]
fn a_closed_log_answers_an_auditor() {
    let mut world = World::new();
    let agreement = succeeded(&mut world);
    let audit = |verb: &str, args: &[&str]| world.of(PROVIDER, &["audit", verb], args);

    // One read is in the copy that was restored, one came after.
    let closed = audit("list", &["--generation", "1", "--kind", "permit"]).unwrap();
    assert_eq!((&closed["kind"], &closed["facts"]["uses"]), (&"permit".into(), &1.into()), "{closed}");
    let now = audit("list", &["--kind", "permit"]).unwrap();
    assert_eq!(now["facts"]["uses"], 4, "{now}");
    let number = closed["index"].to_string();
    assert_eq!(audit("show", &[&number, "--generation", "1"]).unwrap()["leaf"], closed["leaf"]);
    assert_eq!(audit("list", &["--generation", "7"]).unwrap_err().code, "not_found");
    let told = output(&["audit", "list", "--dir", &world.path(PROVIDER), "--count", "1"], &[]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("--generation 1"), "{told:?}");

    // Who read: all logs are asked, each answers for itself.
    let who = audit("who", &[]).unwrap();
    let who = who.as_array().unwrap_or_else(|| panic!("{who}"));
    let reads: Vec<_> = who.iter().map(|log| (&log["about"]["origin"], &log["told"][0]["reads"])).collect();
    assert_eq!(reads, [(&"essai/commune/2".into(), &1.into()), (&"essai/commune/1".into(), &1.into())]);

    // What is exported of it, and the record of processing: the agreement is in force, wherever it was made.
    let line = audit("export", &["--format", "jsonl", "--generation", "1", "--kind", "permit"]).unwrap();
    assert_eq!(line["leaf"], closed["leaf"], "{line}");
    let record = audit("export", &["--format", "art30"]).unwrap();
    assert!(record.to_string().contains(&agreement) && record.to_string().contains("essai/commune/1"), "{record}");

    // A read of it as one file, provable by the closed log's last checkpoint.
    let receipt = output(&["audit", "receipt", "--dir", &world.path(PROVIDER), &number, "--generation", "1"], &[]);
    let key = fs::read_to_string(world.dir("commune/trust/authority.key")).unwrap();
    let authority = perron_model::participant::PublicKey::try_from(key.trim().to_owned()).unwrap();
    let read = perron_verify::verify_receipt(receipt.stdout.trim_ascii_end(), &authority).unwrap();
    assert_eq!((read.decision.to_string(), read.permitted), (number, true));

    // No page holds a chain that began in a closed log; one that didn't has its folder, with all logs.
    let out = world.path("dossier");
    let refused = audit("folder", &["--agreement", &agreement, &out]).unwrap_err();
    assert_eq!(refused.code, "not_found", "{refused:?}");
    let second = world.agree_again();
    world.query(&second, FEW).unwrap();
    audit("folder", &["--agreement", &second, &out]).unwrap();
    assert!(world.dir("dossier/evidence/generations/1/log/checkpoint").exists());
    verify(&world, "dossier/evidence", &[]);
}

/// Bytes of the log's last segment file, as far as they go now.
fn segment(world: &World) -> (PathBuf, u64) {
    let files = fs::read_dir(world.dir("commune/log/segment")).unwrap().map(|file| file.unwrap().path());
    let last = files.max().unwrap();
    let bytes = last.metadata().unwrap().len();
    (last, bytes)
}

/// A disk that lost the end of the log, and no backup: what is left of it is closed where it lies, and the
/// log's own checkpoint says what was lost.
#[test]
fn a_log_whose_end_is_gone_is_closed_at_what_is_left() {
    let mut world = World::new();
    let agreement = world.agree("2035-01-01T00:00:00Z");
    world.query(&agreement, FEW).unwrap();
    world.stop(PROVIDER);
    let (file, bytes) = segment(&world);
    world.start(PROVIDER);
    world.query(&agreement, FEW).unwrap();
    world.stop(PROVIDER);
    world.stop(CONSUMER);
    let own = fs::read_to_string(world.dir("commune/log/checkpoint")).unwrap();
    let had: u64 = own.lines().nth(1).unwrap().parse().unwrap();
    let segment = fs::File::options().write(true).open(&file).unwrap();
    segment.set_len(bytes).unwrap();
    assert_eq!(world.start_with(PROVIDER, &[]).unwrap_err().code, "log_tail_lost");
    assert_eq!(world.of(PROVIDER, &["restore"], &[]).unwrap_err().code, "log_tail_lost");

    let told = world.of(PROVIDER, &["restore"], &["--next-generation"]).unwrap();
    let (left, lost) = (told["entries"].as_u64().unwrap(), told["lost"].as_u64().unwrap());
    assert_eq!((&told["origin"], left + lost), (&"essai/commune/2".into(), had), "{told}");
    assert!(lost >= 3, "a start, a decision and its outcome: {told}");
    world.start(PROVIDER);
    let first = world.entries(PROVIDER).remove(0);
    assert_eq!((&first["kind"], &first["facts"]["lost"]), (&"succession".into(), &lost.into()), "{first}");
    world.start(CONSUMER);
    level(&world);
    // Nobody else was there to say what was read: all counts as used.
    assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "uses_exhausted");
    world.stop(PROVIDER);
    world.stop(CONSUMER);
    let report = verify(&world, PROVIDER, &[CONSUMER]);
    assert!(report["statements"].to_string().contains("commune held them"), "{report}");
}
