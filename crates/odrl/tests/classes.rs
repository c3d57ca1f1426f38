//! The usage-control classes: an example of each with its label, and other people's examples.

use perron_model::ErrorCode;
use perron_model::dataset::Dataset;
use perron_model::policy::{describe, odrl};
use perron_odrl::{Label, Line, coverage};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "policies/examples/classes";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    #[allow(dead_code, reason = "read by people")]
    title: String,
    at: String,
    label: String,
    #[serde(default)]
    note: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of other people's cases; a missing one fails where CI is set, and is said elsewhere.
fn conformance(part: &str) -> Option<PathBuf> {
    let base =
        std::env::var_os("PERRON_CONFORMANCE").map_or_else(|| root().join("../shared/conformance"), PathBuf::from);
    let folder = base.join(part);
    if folder.try_exists().unwrap() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the conformance cases are not at {}", folder.display());
    println!("not run: no conformance cases at {}", folder.display());
    None
}

fn name(label: Label) -> String {
    serde_json::to_value(label).unwrap().as_str().unwrap().to_owned()
}

fn weakest(lines: &[Line]) -> String {
    name(lines.iter().map(Line::label).max().unwrap())
}

fn described() -> Dataset {
    #[derive(Deserialize)]
    struct Description {
        dataset: Dataset,
    }
    let text = std::fs::read_to_string(root().join(EXAMPLES).join("set.toml")).unwrap();
    toml::from_str::<Description>(&text).unwrap().dataset.check().unwrap()
}

#[test]
fn each_class_has_an_example_with_its_honest_label() {
    let folder = root().join(EXAMPLES);
    let text = std::fs::read_to_string(folder.join("labels.toml")).unwrap();
    let classes: BTreeMap<String, Class> = toml::from_str(&text).unwrap();
    let numbers: Vec<String> = classes.keys().map(|name| name[..2].to_owned()).collect();
    assert_eq!(numbers, (1..=25).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    let dataset = described();
    let mut wrong = Vec::new();
    for (file, class) in &classes {
        let text = std::fs::read(folder.join(format!("{file}.json"))).unwrap();
        let policy = odrl::read(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        let lines = coverage(&policy).unwrap();
        let Some(own) = lines.iter().find(|line| line.at == class.at) else {
            wrong.push(format!("{file}: no term at {}", class.at));
            continue;
        };
        if name(own.label()) != class.label {
            wrong.push(format!("{file}: {} is {}, not {}", own.term, name(own.label()), class.label));
        }
        let refused = class.label == "refused";
        assert!(!refused || !class.note.is_empty(), "{file}: why is it refused?");
        // What the table says, publication says: the same term is refused, at the same place.
        match odrl::parse(&policy, &dataset, None) {
            Ok(_) if refused => wrong.push(format!("{file} is published")),
            Ok(terms) => {
                // What the clauses of the published policy say of trust, the table says.
                for clause in describe(&terms) {
                    let line = lines.iter().find(|line| line.at == clause.path);
                    if line.is_some_and(|line| line.trust != Some(clause.trust)) {
                        wrong.push(format!("{file}: {} has two kinds of trust", clause.path));
                    }
                }
            }
            Err(e) if refused && e.code == ErrorCode::TermUnsupported && e.detail.contains(&class.at) => {}
            Err(e) => wrong.push(format!("{file}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let held = classes.values().filter(|c| c.label == "enforced" || c.label == "executed").count();
    assert!(held >= 18, "{held} of 25 are enforced or executed");
}

/// The documents of one file of IDS-G: several in one, with commas before a closing bracket. For
/// these files alone: whatever is published is read by `odrl::read`, which takes neither.
fn tolerantly(text: &str) -> Vec<Json> {
    let mut clean = String::new();
    let (mut in_text, mut escaped) = (false, false);
    for c in text.chars() {
        if !in_text && (c == '}' || c == ']') {
            let kept = clean.trim_end().trim_end_matches(',').len();
            clean.truncate(kept);
        }
        if c == '"' && !escaped {
            in_text = !in_text;
        }
        escaped = in_text && c == '\\' && !escaped;
        clean.push(c);
    }
    serde_json::Deserializer::from_str(&clean).into_iter::<Json>().collect::<Result<_, _>>().unwrap_or_else(|e| {
        panic!("{e}: {clean}");
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Foreign {
    /// The label of each document of the file, its weakest term's.
    labels: Vec<String>,
    /// The terms that have no meaning here, of all of them.
    refused: Vec<String>,
}

/// Their rules, without what they say about themselves (profile, creator, provider).
fn rules(policy: &Json) -> Json {
    let kept = ["permission", "prohibition", "obligation"];
    policy
        .as_object()
        .unwrap()
        .iter()
        .filter(|(k, _)| kept.contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[test]
fn the_examples_of_ids_g_are_read_and_labelled() {
    let Some(folder) = conformance("ids-classes") else { return };
    let expected: BTreeMap<String, Foreign> = toml::from_str(include_str!("ids_classes.toml")).unwrap();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let mut documents = tolerantly(&std::fs::read_to_string(&path).unwrap());
        // Some describe the parties and the assets beside the policies.
        documents.retain(|d| rules(d).as_object().is_some_and(|rules| !rules.is_empty()));
        assert!(!documents.is_empty(), "{}", path.display());
        let lines: Vec<Vec<Line>> = documents.iter().map(|d| coverage(&rules(d)).unwrap()).collect();
        let mut refused: Vec<String> =
            lines.iter().flatten().filter(|l| l.label() == Label::Refused).map(|l| l.term.clone()).collect();
        refused.sort();
        refused.dedup();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.insert(name, (lines.iter().map(|l| weakest(l)).collect::<Vec<_>>(), refused));
    }
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, f)| (name, (f.labels, f.refused))).collect();
    if std::env::var("PERRON_WRITE").is_ok() {
        for (name, (labels, refused)) in &found {
            println!("[\"{name}\"]\nlabels = {labels:?}\nrefused = {refused:?}\n");
        }
    }
    assert_eq!(found, expected);
}
