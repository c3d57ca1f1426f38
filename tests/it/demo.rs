//! The demonstration is the program: every step holds, and what it leaves can be verified.

use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Steps that the demonstration has to show, in this order.
const STEPS: &[&str] = &[
    "authority",
    "enrol",
    "publish-household",
    "publish-buildings",
    "catalogue",
    "negotiate-rows",
    "negotiate-totals",
    "counter-offer",
    "signed",
    "verify-agreement",
    "users",
    "night-flows",
    "totals",
    "refused-household",
    "refused-purpose",
    "refused-expired",
    "query-log",
    "stopped",
    "verify-provider",
    "verify-consumer",
    "edit-found",
    "forger",
];

fn perron() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("PERRON_DIR")
        .env_remove("PERRON_LANG")
        .env_remove("PERRON_DEMO_DATA")
        .stdin(Stdio::null());
    command
}

/// The auditor's program, which `cargo build --workspace` puts beside the connector's.
fn perron_verify() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-verify");
    assert!(path.is_file(), "perron-verify isn't built: cargo build --workspace --bins");
    path
}

fn lines(bytes: &[u8]) -> Vec<Json> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

fn field<'a>(line: &'a Json, name: &str) -> &'a str {
    line.get(name).and_then(Json::as_str).unwrap_or_else(|| panic!("no `{name}`: {line}"))
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn verified(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_step_holds_and_both_directories_verify() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let output = perron().args(["--json", "demo", "--dir"]).arg(&dir).output().unwrap();
    let told = lines(&output.stdout);
    for line in &told {
        assert_eq!(line.get("ok"), Some(&Json::Bool(true)), "{}", shown(&output));
        assert!(!field(line, "detail").is_empty(), "{line}");
    }
    assert!(output.status.success(), "{}", shown(&output));
    let (summary, steps) = told.split_last().unwrap();
    assert_eq!(field(summary, "step"), "summary");
    let names: Vec<&str> = steps.iter().map(|s| field(s, "step")).collect();
    let mut rest = names.iter();
    for step in STEPS {
        assert!(rest.any(|n| n == step), "`{step}` is missing or out of order: {names:?}");
    }
    assert!(!names.contains(&"summary"), "the summary comes once, last");

    let (provider, consumer) =
        (PathBuf::from(field(summary, "provider_dir")), PathBuf::from(field(summary, "consumer_dir")));
    for (own, other) in [(&provider, &consumer), (&consumer, &provider)] {
        let report = verified(Command::new(perron_verify()).arg("--json").arg(own).arg("--against").arg(other));
        let report: Json = serde_json::from_str(&report).unwrap();
        assert!(report.get("findings").and_then(Json::as_array).is_some_and(Vec::is_empty), "{report}");
        verified(perron().args(["--json", "audit", "verify"]).arg(own).arg("--against").arg(other));
    }

    let again = perron().args(["--json", "demo", "--dir"]).arg(&dir).output().unwrap();
    assert!(!again.status.success(), "{}", shown(&again));
    assert!(String::from_utf8_lossy(&again.stderr).contains("\"already_exists\""), "{}", shown(&again));
    assert!(again.stdout.is_empty(), "{}", shown(&again));
}

#[test]
fn without_one_of_its_processes_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let mut demo = perron()
        .args(["--json", "demo", "--dir"])
        .arg(&dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let mut killed = false;
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line: Json = serde_json::from_str(&line.unwrap()).unwrap();
        if field(&line, "step") == "publish-buildings" {
            killed = kill(&dir.join("inter"));
            assert!(killed, "no process serves the intercommunale's directory");
        }
        told.push(line);
    }
    let status = demo.wait().unwrap();
    assert!(killed && !status.success(), "{told:?}");
    let (summary, steps) = told.split_last().unwrap();
    assert_eq!((field(summary, "step"), summary.get("ok")), ("summary", Some(&Json::Bool(false))), "{told:?}");
    assert_eq!(steps.last().unwrap().get("ok"), Some(&Json::Bool(false)), "{told:?}");
    assert!(!serves(&dir.join("commune")), "a process was left behind");
}

/// Processes that serve a directory.
fn serving(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if words.contains(&b"serve".as_slice()) && words.contains(&dir.as_bytes()) {
            found.push(entry.file_name().to_str().unwrap().to_owned());
        }
    }
    found
}

fn serves(dir: &Path) -> bool {
    !serving(dir).is_empty()
}

fn kill(dir: &Path) -> bool {
    let found = serving(dir);
    found.iter().for_each(|pid| assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success()));
    found.len() == 1
}
