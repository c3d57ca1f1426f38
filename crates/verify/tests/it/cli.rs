//! The program: its exit codes and its two languages.

use crate::world::World;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perron-verify")).args(arguments).env_remove("PERRON_LANG").output().unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn exit_codes_and_words() {
    let world = World::new(2);
    let (ville, inter) = (text(&world.dir("ville")), text(&world.dir("inter")));
    let good = run(&[&ville, "--against", &inter]);
    let words = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{words}");
    assert!(words.contains("Unchanged up to entry") && words.contains("what these files can't show:"), "{words}");
    let french = run(&[&ville, "--lang", "fr"]);
    let words = String::from_utf8(french.stdout).unwrap();
    assert!(words.contains("rien à constater") && words.contains("signatures vérifiées"), "{words}");
    let json = run(&[&ville, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((report["outcome"].as_str(), report["findings"].as_array().map(Vec::len)), (Some("ok"), Some(0)));
    let documents = world.dir("ville").join("documents");
    std::fs::write(documents.join("stray"), b"x").unwrap();
    let bad = run(&[&ville, "--lang", "fr"]);
    let words = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1));
    assert!(words.contains("stray-file documents/stray: Un fichier se trouve"), "{words}");
}

#[test]
fn what_it_cant_use_is_a_usage_error() {
    let world = World::new(1);
    let ville = text(&world.dir("ville"));
    let key = String::from(crate::support::public(&crate::support::authority()));
    assert_eq!(run(&[&ville, "--authority", &key]).status.code(), Some(0));
    for arguments in [
        vec![],
        vec!["/nowhere/at/all"],
        vec![ville.as_str(), "--authority", "short"],
        vec![ville.as_str(), "--against", "/nowhere/at/all"],
        vec![ville.as_str(), "--lang", "nl"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}
