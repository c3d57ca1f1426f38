//! `perron doctor` over healthy and broken installations, stopped and running.

use crate::bad_input::shim;
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, World, output};
use perron_model::limits::DISK_RESERVE_BYTES;
use serde_json::Value as Json;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const HOUR_S: i64 = 3_600;

/// The lines of a report, and whether it found no problem.
fn report(dir: &Path, variables: &[(&str, &str)]) -> (Vec<Json>, bool) {
    let out = output(&["--json", "doctor", "--dir", dir.to_str().unwrap()], variables);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    let lines: Vec<Json> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let problems = lines.iter().filter(|l| l["state"] == "problem").count();
    assert_eq!(out.status.code(), Some(i32::from(problems > 0)), "{lines:?}");
    for line in &lines {
        let fine = line["state"] == "ok";
        assert_eq!(line["code"] == "ok", fine, "{line}");
        assert_eq!(line["action"].is_null(), fine, "{line}");
        assert!(!line["detail"].as_str().unwrap().is_empty(), "{line}");
        // A text that is missing is shown as its key.
        assert!(!line.to_string().contains("\"doctor."), "{line}");
    }
    (lines, problems == 0)
}

fn is_well(dir: &Path) {
    let (lines, well) = report(dir, &[]);
    assert!(well && lines.iter().all(|l| l["state"] == "ok"), "{lines:?}");
    for check in
        ["process", "configuration", "keys", "certificate", "register", "log", "clock", "disk", "ports", "socket"]
    {
        assert!(lines.iter().any(|l| l["check"] == check), "{check} isn't looked at: {lines:?}");
    }
}

fn finds_with(dir: &Path, variables: &[(&str, &str)], check: &str, state: &str, code: &str) {
    let (lines, _) = report(dir, variables);
    let found = lines.iter().any(|l| l["check"] == check && l["state"] == state && l["code"] == code);
    assert!(found, "no {state} `{code}` of {check}: {lines:?}");
}

fn finds(dir: &Path, check: &str, state: &str, code: &str) {
    finds_with(dir, &[], check, state, code);
}

/// Changes a file, looks, and puts it back as it was.
fn with_file(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>, look: impl FnOnce()) {
    let good = std::fs::read(path).unwrap();
    std::fs::write(path, change(good.clone())).unwrap();
    look();
    std::fs::write(path, good).unwrap();
}

fn with_mode(path: &Path, mode: u32, look: impl FnOnce()) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    look();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn segment(dir: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(dir.join("log/segment")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    segments.pop().unwrap()
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let mut world = World::new();
    for name in [AUTHORITY, PROVIDER, CONSUMER] {
        is_well(&world.dir(name));
    }
    let dir = world.dir(PROVIDER);
    let config = dir.join("perron.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let peers = text.split("peers = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();

    // Running: the configuration moved on, the register is old, the authority suspended us.
    let elsewhere = text.replace(&peers, "127.0.0.1:9");
    with_file(&config, |_| elsewhere.into_bytes(), || finds(&dir, "ports", "warning", "restart_needed"));
    let clock = world.dir("clock.seconds");
    let library = shim(&world, "clock", include_str!("bad_input/clock.c"));
    type Look<'a> = &'a dyn Fn(&[(&str, &str)]);
    let at = |seconds: i64, look: Look<'_>| {
        std::fs::write(&clock, seconds.to_string()).unwrap();
        look(&[("LD_PRELOAD", &library), ("PERRON_TEST_CLOCK", clock.to_str().unwrap())]);
    };
    at(13 * HOUR_S, &|with| finds_with(&dir, with, "register", "warning", "register_half_used"));
    at(25 * HOUR_S, &|with| finds_with(&dir, with, "register", "problem", "register_stale"));
    at(-HOUR_S, &|with| finds_with(&dir, with, "clock", "problem", "clock_jump"));
    at(-HOUR_S, &|with| finds_with(&dir, with, "register", "problem", "clock_jump"));
    world.of(AUTHORITY, &["authority", "suspend"], &[PROVIDER]).unwrap();
    crate::world::wait_until("the suspension is seen", || {
        report(&dir, &[]).0.iter().any(|l| l["check"] == "register" && l["code"] == "participant_suspended")
    });
    world.of(AUTHORITY, &["authority", "reinstate"], &[PROVIDER]).unwrap();
    crate::world::wait_until("the reinstatement is seen", || report(&dir, &[]).1);

    world.stop(PROVIDER);
    is_well(&dir);
    stopped(&dir, &peers);
    at(25 * HOUR_S, &|with| finds_with(&dir, with, "register", "warning", "register_stale"));
    at(25 * 24 * HOUR_S, &|with| finds_with(&dir, with, "certificate", "warning", "certificate_due"));
    at(31 * 24 * HOUR_S, &|with| finds_with(&dir, with, "certificate", "problem", "certificate_expired"));
    at(-HOUR_S, &|with| finds_with(&dir, with, "clock", "problem", "clock_jump"));

    let room = world.dir("disk.bytes");
    let library = shim(&world, "disk", include_str!("bad_input/disk.c"));
    for (free, state, code) in
        [(DISK_RESERVE_BYTES - 1, "problem", "disk_full"), (DISK_RESERVE_BYTES * 2, "warning", "disk_low")]
    {
        std::fs::write(&room, free.to_string()).unwrap();
        let with = [("LD_PRELOAD", library.as_str()), ("PERRON_TEST_ROOM", room.to_str().unwrap())];
        finds_with(&dir, &with, "disk", state, code);
    }

    // Nothing of all this was changed by looking: it starts, and verifies.
    is_well(&dir);
    world.start(PROVIDER);
    is_well(&dir);
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

/// What can be wrong with a stopped directory.
fn stopped(dir: &Path, peers: &str) {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    with_file(&dir.join("perron.toml"), half, || {
        finds(dir, "configuration", "problem", "config_invalid");
        finds(dir, "certificate", "warning", "not_checked");
    });
    with_file(&dir.join("keys/log.pem"), half, || finds(dir, "keys", "problem", "key_invalid"));
    for key in ["keys/agreement.pem", "keys/mask.secret"] {
        with_mode(&dir.join(key), 0o644, || finds(dir, "keys", "problem", "key_unsafe"));
    }
    with_file(&dir.join("trust/certificate.pem"), half, || finds(dir, "certificate", "problem", "certificate_invalid"));
    with_file(&dir.join("trust/register.json"), half, || finds(dir, "register", "problem", "register_invalid"));

    let segment = segment(dir);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 5].to_vec();
    with_file(&segment, cut, || finds(dir, "log", "problem", "log_tail_lost"));
    with_file(
        &segment,
        |bytes| [&bytes[..], b"half a record"].concat(),
        || finds(dir, "log", "warning", "log_unfinished"),
    );
    with_file(
        &dir.join("log/checkpoint"),
        |b| b.into_iter().rev().collect(),
        || finds(dir, "log", "problem", "log_damaged"),
    );

    let taken = TcpListener::bind(peers).unwrap();
    finds(dir, "ports", "problem", "port_taken");
    drop(taken);
    // Somebody has the directory and doesn't answer.
    let lock = std::fs::File::options().write(true).open(dir.join("lock")).unwrap();
    lock.try_lock().unwrap();
    finds(dir, "process", "problem", "not_answering");
    drop(lock);
    let nothing = tempfile::tempdir().unwrap();
    finds(nothing.path(), "process", "problem", "config_invalid");
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "the doctor left something");
}

#[test]
fn the_report_has_words_in_both_languages() {
    let nothing = tempfile::tempdir().unwrap();
    let dir = nothing.path().to_str().unwrap();
    for (lang, words) in [("en", "The configuration can't be used"), ("fr", "La configuration")] {
        let out = output(&["--lang", lang, "doctor", "--dir", dir], &[]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains("✗") && text.contains("[config_invalid]") && text.contains(words), "{text}");
        assert!(!text.contains("doctor."), "{text}");
        assert_eq!(out.status.code(), Some(1));
    }
}
