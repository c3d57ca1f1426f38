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
fn a_policy_that_is_not_met_is_no_success() {
    let world = World::new(2);
    let ville = text(&world.dir("ville"));
    let file = world.root.path().join("policy");
    let of = |policy: &str, arguments: &[&str]| {
        std::fs::write(&file, policy).unwrap();
        let output = run(&[&[ville.as_str(), "--policy", &text(&file)], arguments].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let inter = world.inter.cosigner().verifier().to_vkey();
    let policy = format!("witness inter {inter}\nquorum inter\n");
    let (code, words) = of(&policy, &[]);
    assert!(code == Some(1) && words.contains("the quorum of the policy has cosigned nothing"), "{words}");
    world.cosign(&world.inter, &world.notes[3], 1_790_000_100);
    let (code, words) = of(&policy, &["--lang", "fr"]);
    assert!(code == Some(0) && words.contains("Définitif jusqu'à l'entrée"), "{words}");
    let (code, json) = of(&policy, &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["policy"]["final"], &report["policy"]["quorum"]), (Some(0), &true.into(), &"met".into()));
    assert_eq!(of("quorum somebody\n", &[]).0, Some(64), "a policy that can't be read is no policy");
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

/// The extract that the fuzzing begins with, after the key of its data space's authority.
#[test]
fn extracts_by_their_exit_codes_and_words() {
    let folder = tempfile::tempdir().unwrap();
    let genuine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/corpus/extract/genuine");
    let genuine = std::fs::read_to_string(genuine).unwrap();
    let (key, extract) = genuine.split_once('\n').unwrap();
    std::fs::write(folder.path().join("genuine"), extract).unwrap();
    let file = text(&folder.path().join("genuine"));
    let of = |arguments: &[&str]| {
        let output = run(&[&["--authority", key, "--extract"], arguments].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words, _) = of(&[&file]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("7 entries, 17 to 51") && words.contains("It permitted 1 reads and refused 0"), "{words}");
    let (_, words, _) = of(&[&file, "--lang", "fr"]);
    assert!(words.contains("a établi pour") && words.contains("ce que ces fichiers ne montrent pas"), "{words}");
    let (_, json, _) = of(&[&file, "--json", "--lang", "fr"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["extracts"][0]["permitted"], &report["reconciled"]), (&1.into(), &serde_json::Value::Null));
    assert!(report["extracts"][0]["statements"][0].as_str().unwrap().contains("made out"), "{report}");

    // Both of one side: nothing can be matched.
    let (code, _, said) = of(&[&file, "--with", &file]);
    assert!(code == Some(1) && said.contains("evidence_differs"), "{said}");
    let (code, _, said) = of(&["/nowhere/at/all"]);
    assert!(code == Some(64) && said.contains("can't verify"), "{said}");
    let edited = folder.path().join("edited");
    let whole = std::fs::read_to_string(&file).unwrap();
    let (head, _) = whole.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&edited, format!("{head}\n")).unwrap();
    let (code, _, said) = of(&[&text(&edited), "--lang", "fr"]);
    assert!(code == Some(1) && said.contains("L'extrait ne tient pas"), "{said}");
}
