//! `perron policy check` and `coverage` on files and on the demonstration's directory, with no process
//! that runs.

use crate::played::played;
use crate::source::root;
use serde_json::Value as Json;
use std::process::{Command, Output};

fn perron(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perron")).current_dir(root()).env_remove("PERRON_DIR").args(args).output().unwrap()
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn the_demonstrations_policies_can_be_published() {
    for (policy, set) in [
        ("totals_floor_5", "household_water"),
        ("totals_floor_10", "household_water"),
        ("own_buildings", "building_water"),
    ] {
        let (policy, described) = (format!("demo/policies/{policy}.json"), format!("demo/sets/{set}.toml"));
        let output = perron(&["--json", "policy", "check", &policy, "--dataset", &described]);
        assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(json(&output)["valid"], true);
        // The set as the demonstration published it, in a directory where nothing runs.
        let owner = ["commune", "intercommunale"].map(|name| played().join(name));
        let owner = owner.iter().find(|dir| dir.join("sets").join(set).exists()).unwrap();
        let directory = owner.display().to_string();
        let output = perron(&["policy", "check", &policy, "--dataset", set, "--dir", &directory]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(set), "{policy}: {said}");
    }
}

#[test]
fn what_can_not_be_published_is_told_by_its_place() {
    let refused = |policy: &str, dataset: &str, code: &str, names: &str| {
        let output = perron(&["--json", "policy", "check", policy, "--dataset", dataset]);
        assert!(!output.status.success(), "{policy}");
        let said = json(&output);
        assert_eq!(said["valid"], false);
        let problems = said["problems"].as_array().unwrap();
        assert!(
            problems.iter().any(|p| p["code"] == code && p["detail"].as_str().unwrap().contains(names)),
            "{policy}: {said}"
        );
        let error: Json = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], problems[0]["code"]);
    };
    let classes = "policies/examples/classes";
    let set = format!("{classes}/set.toml");
    refused(&format!("{classes}/03-application.json"), &set, "term_unsupported", "permission[0].constraint[2]");
    refused("demo/policies/totals_floor_5.json", "demo/sets/building_water.toml", "term_invalid", "permission[0]");
    let output = perron(&["--json", "policy", "check", "demo/policies/totals_floor_5.json", "--dataset", "absent"]);
    let error: Json = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
    for file in ["absent.json", "demo/sets/building_water.toml"] {
        assert!(!perron(&["policy", "coverage", file]).status.success(), "{file}");
    }
}

#[test]
fn coverage_says_who_must_be_trusted_in_both_languages() {
    let file = "demo/policies/totals_floor_5.json";
    let table = json(&perron(&["--json", "policy", "coverage", file]));
    let terms = table["terms"].as_array().unwrap();
    let floor = terms.iter().find(|t| t["term"] == "perron:floor").unwrap();
    assert_eq!(
        (floor["by"].as_str(), floor["trust"].as_str()),
        (Some("released-table"), Some("prevented-by-provider"))
    );
    assert_eq!(table["label"], "recorded");
    for (lang, words) in [("en", ["the released table", "recorded"]), ("fr", ["la table publiée", "consigné"])] {
        let output = perron(&["--lang", lang, "policy", "coverage", file]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
        assert!(!said.contains("policy."), "a text is missing: {said}");
    }
}
