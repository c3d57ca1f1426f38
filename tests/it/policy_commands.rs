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
        let owner = ["commune", "inter"].map(|name| played().join(name));
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

#[test]
fn the_examples_can_be_published() {
    for (policy, set) in [
        ("building-water-rows", "building_water"),
        ("household-water-aggregates", "household_water"),
        ("household-water-totals", "household_water"),
        ("household-water-noise", "household_water"),
    ] {
        let (policy, described) = (format!("policies/examples/{policy}.json"), format!("demo/sets/{set}.toml"));
        let output = perron(&["--json", "policy", "check", &policy, "--dataset", &described]);
        assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stdout));
        let table = json(&perron(&["--json", "policy", "coverage", &policy]));
        assert!(table["terms"].as_array().unwrap().iter().all(|t| t["label"] != "refused"), "{table}");
    }
}

const PREFIXES: &str = "@base <https://w3id.org/perron/name/> . @prefix odrl: <http://www.w3.org/ns/odrl/2/> . @prefix perron: <https://w3id.org/perron/odrl/v1/> . \
                        @prefix dpv: <https://w3id.org/dpv#> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . \
                        @prefix dct: <http://purl.org/dc/terms/> . @prefix ex: <http://example.org/> .\n";

/// Evaluates a policy for a reader of the intercommunale, with what else the state of the world says.
fn evaluated(policy: &str, purpose: &str, known: &str) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let (request, world) = (folder.path().join("request.ttl"), folder.path().join("world.ttl"));
    let asked = format!(
        "{PREFIXES}ex:r a odrl:Request ; odrl:permission [ odrl:assignee <intercommunale> ; odrl:action odrl:read ; \
         odrl:target <household_water> ; odrl:constraint [ odrl:leftOperand odrl:purpose ; odrl:operator odrl:eq ; \
         odrl:rightOperand {purpose} ] ] ."
    );
    let told = format!(
        "{PREFIXES}ex:w a ex:Sotw {known} . <http://example.com/request/currentTime> \
         dct:issued \"2026-11-25T10:00:00Z\"^^xsd:dateTime ."
    );
    std::fs::write(&request, asked).unwrap();
    std::fs::write(&world, told).unwrap();
    let (request, world) = (request.display().to_string(), world.display().to_string());
    let files = ["--policy", policy, "--request", &request, "--sotw", &world];
    let output = perron(&[&["--json", "policy", "evaluate", "--report", "json"], &files[..]].concat());
    assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stderr));
    json(&output)
}

/// Files that the demonstration leaves: an agreement's envelope stands for the policy in it.
#[test]
fn what_was_signed_is_checked_shown_and_evaluated() {
    let directory = played();
    let envelope = directory.join("agreement.json").display().to_string();
    let commune = directory.join("commune").display().to_string();
    let output = perron(&["--json", "policy", "check", &envelope, "--dataset", "household_water", "--dir", &commune]);
    assert_eq!(json(&output)["valid"], true);
    let table = json(&perron(&["--json", "policy", "coverage", &envelope]));
    let floor = table["terms"].as_array().unwrap().iter().find(|t| t["term"] == "perron:floor").unwrap();
    assert_eq!(floor["stated"], "gteq 10", "the policy that was signed, after the counter-offer");
    let basis = "; perron:legalBasis dpv:PublicInterest ; odrl:count 3";
    let report = evaluated(&envelope, "dpv:PublicBenefit", basis);
    assert_eq!(report["permit"], serde_json::json!([true]), "{report}");
    let view: Vec<&str> = report["notEvaluated"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    assert_eq!(view.len(), 3, "dimensions, measures and floor: {view:?}");
    assert_eq!(evaluated(&envelope, "dpv:Marketing", basis)["permit"], serde_json::json!([false]));
    assert_eq!(evaluated(&envelope, "dpv:PublicBenefit", "")["permit"], serde_json::json!([false]), "no legal basis");
    // What is neither a policy nor an agreement.
    let described = directory.join("commune/sets/household_water/dataset.json").display().to_string();
    for command in [&["policy", "coverage"][..], &["policy", "check"]] {
        let output = perron(&[&["--json"], command, &[&described]].concat());
        let error: Json = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], "term_invalid", "{error}");
    }
}

/// The example of the guide, on the demonstration's policies; the report in Turtle is read back.
#[test]
fn the_guides_example_is_evaluated() {
    for (policy, permit) in [("totals_floor_10", true), ("totals_floor_5", true), ("own_buildings", false)] {
        let policy = format!("demo/policies/{policy}.json");
        let folder = "policies/examples/evaluate";
        let (request, world) = (format!("{folder}/request.ttl"), format!("{folder}/world.ttl"));
        let files = ["--policy", &policy, "--request", &request, "--sotw", &world];
        let output = perron(&[&["--json", "policy", "evaluate", "--report", "json"], &files[..]].concat());
        let report = json(&output);
        assert_eq!(report["permit"], serde_json::json!([permit]), "{policy}: {report}");
        let output = perron(&[&["policy", "evaluate", "--report", "turtle"], &files[..]].concat());
        let read = perron_odrl::Rdf::read(&output.stdout).unwrap();
        let state = if permit { "Active" } else { "Inactive" };
        let expected = format!("<{}{state}>", perron_odrl::REPORT);
        assert!(read.triples().iter().any(|t| t.object.to_string() == expected), "{policy}");
    }
}

/// A policy's assignee and target are those of its rules, and names in JSON are IRIs in Turtle.
#[test]
fn assignee_target_and_times_are_evaluated_as_at_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |assignee: &str, target: &str, rest: Json| {
        let mut policy = serde_json::json!({
            "@type": "Offer", "profile": "https://w3id.org/perron/odrl/v1/", "assignee": assignee, "target": target,
            "permission": [{"action": "read", "constraint": [
                {"leftOperand": "purpose", "operator": "eq", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
                {"leftOperand": "recipient", "operator": "eq", "rightOperand": "intercommunale"},
            ]}],
        });
        policy.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let file = folder.path().join("policy.json");
        std::fs::write(&file, policy.to_string()).unwrap();
        file.display().to_string()
    };
    let permit = |policy: String, known: &str| evaluated(&policy, "dpv:PublicBenefit", known)["permit"][0].clone();
    let none = serde_json::json!({});
    assert_eq!(permit(policy("intercommunale", "household_water", none.clone()), ""), true);
    assert_eq!(permit(policy("malmedy", "household_water", none.clone()), ""), false);
    assert_eq!(permit(policy("intercommunale", "building_water", none), ""), false);
    // A state of the world tells all memberships: who isn't told to belong doesn't.
    let rivals = serde_json::json!({"prohibition": [
        {"action": "use", "assignee": {"@type": "PartyCollection", "source": "urn:x:rivals"}},
    ]});
    let rivals = || policy("intercommunale", "household_water", rivals.clone());
    assert_eq!(permit(rivals(), ""), true);
    assert_eq!(permit(rivals(), ". <intercommunale> odrl:partOf <urn:x:rivals>"), false);
    let duty = |until: &str| {
        let constraint = serde_json::json!({"leftOperand": "dateTime", "operator": "lt", "rightOperand": until});
        serde_json::json!({"obligation": [{"action": "delete", "constraint": [constraint]}]})
    };
    let with = |until: &str| policy("intercommunale", "household_water", duty(until));
    assert_eq!(permit(with("2026-12-01T00:00:00Z"), ""), true, "there is time");
    assert_eq!(permit(with("2026-11-25T10:00:00Z"), ""), false, "late, so violated");
}
