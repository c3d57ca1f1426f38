//! The usage-control classes: an example of each with its label, and other people's examples.

use perron_model::ErrorCode;
use perron_model::dataset::Dataset;
use perron_model::policy::{Clause, describe, odrl};
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
                wrong.extend(two_kinds_of_trust(&describe(&terms), &lines).map(|at| format!("{file}: {at}")));
            }
            Err(e) if refused && e.code == ErrorCode::TermUnsupported && e.detail.contains(&class.at) => {}
            Err(e) => wrong.push(format!("{file}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let held = classes.values().filter(|c| c.label == "enforced" || c.label == "executed").count();
    assert!(held >= 18, "{held} of 25 are enforced or executed");
}

/// Places of which the clauses of the published policy and the table say different things.
fn two_kinds_of_trust<'a>(clauses: &'a [Clause], lines: &'a [Line]) -> impl Iterator<Item = &'a str> {
    let differs = |clause: &&Clause| {
        let action = format!("{}.action", clause.path);
        let mut about = lines.iter().filter(|line| {
            let of_the_view = clause.path.starts_with("view.") && line.term.starts_with(clause.term);
            line.at == clause.path || line.at == action || of_the_view
        });
        // Each clause has a line, and what is told of them agrees.
        about.clone().next().is_none() || about.any(|line| line.trust != Some(clause.trust))
    };
    clauses.iter().filter(differs).map(|clause| clause.path.as_str())
}

/// The policy with one slip, for each place where one can be made: a member too many, a name that
/// isn't one, a member without its end.
fn slips(policy: &Json) -> Vec<(String, Json)> {
    let mut pointers = Vec::new();
    places(policy, "", &mut pointers);
    let mut all = Vec::new();
    for pointer in pointers {
        let mut with = |what: &str, change: &dyn Fn(&mut Json)| {
            let mut slipped = policy.clone();
            change(slipped.pointer_mut(&pointer).unwrap());
            all.push((format!("{pointer}: {what}"), slipped));
        };
        if policy.pointer(&pointer).is_some_and(Json::is_string) {
            with("misspelt", &|json| *json = Json::String(format!("{}x", json.as_str().unwrap())));
            continue;
        }
        for member in ["uid", "@type", "assigner", "unit", "remedy", "duty", "target", "refinement", "odrl:action"] {
            if policy.pointer(&pointer).is_some_and(|json| json.get(member).is_none()) {
                with(member, &|json| json[member] = serde_json::json!([]));
            }
        }
        for left in ["count", "dateTime", "perron:columns", "perron:floor", "payAmount"] {
            if policy.pointer(&pointer).is_some_and(|json| json.get("leftOperand").is_some()) {
                with(left, &|json| json["leftOperand"] = left.into());
            }
        }
    }
    all
}

/// Pointers to the objects of a policy, and to its names of terms. Not within what is compared with,
/// whose form each term has by itself.
fn places(json: &Json, pointer: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            found.push(pointer.to_owned());
            for (key, value) in members {
                let inner = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                let named = ["action", "leftOperand", "operator", "rdf:value", "profile", "conflict", "@type"];
                match value {
                    _ if key == "@context" || key == "rightOperand" => {}
                    Json::String(_) if named.contains(&key.as_str()) => found.push(inner),
                    other => places(other, &inner, found),
                }
            }
        }
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, &format!("{pointer}/{at}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn what_the_table_refuses_and_only_that_is_refused_by_name() {
    let dataset = described();
    let (mut by_name, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(root().join(EXAMPLES)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let policy = odrl::read(&std::fs::read(&path).unwrap()).unwrap();
        for (slip, policy) in slips(&policy) {
            let refused = coverage(&policy).unwrap().iter().any(|line| line.label() == Label::Refused);
            let parsed = odrl::parse(&policy, &dataset, None);
            let named = parsed.as_ref().is_err_and(|e| e.code == ErrorCode::TermUnsupported);
            by_name += usize::from(named);
            // A term that is refused by name has its line; one that has its line isn't published.
            if (named && !refused) || (refused && parsed.is_ok()) {
                wrong.push(format!("{} {slip}: {refused}, {:?}", path.display(), parsed.err()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(by_name > 500, "{by_name}");
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

/// Their rules, without what they say about themselves: profile, creator, provider, and who assigns
/// each rule, which a signed agreement names once.
fn rules(policy: &Json) -> Json {
    let mut kept = policy.as_object().unwrap().clone();
    kept.retain(|member, _| ["permission", "prohibition", "obligation"].contains(&member.as_str()));
    for rule in kept.values_mut().filter_map(Json::as_array_mut).flatten().filter_map(Json::as_object_mut) {
        rule.remove("assigner");
    }
    Json::Object(kept)
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
