//! The ODRL test suite of SolidLab (ghent): each case through the module that the gate loads, its
//! report compared as a graph.
//!
//! Equal means: the same triples (RDF isomorphism), once the nodes of the report itself are blank
//! nodes, which the suite gives random names, and `dct:created` is left out. Nothing else is
//! forgiven. Where the suite contradicts itself, `odrl_suite/deviations.toml` says which triples
//! should stand in the expected report instead, and why; where it contradicts *deny by default*, the
//! case is listed as one of the suite mode. A listed case that no longer deviates fails.

mod cases;

pub use cases::conformance;
use cases::{Case, cases, rdf, triples};
use oxrdf::graph::CanonicalizationAlgorithm;
use oxrdf::{BlankNode, Graph, NamedOrBlankNode, Term, Triple};
use perron::policy::Policies;
use perron_odrl::{Evaluation, Mode, Policy, REPORT, Rdf, Request, World};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;

const CREATED: &str = "http://purl.org/dc/terms/created";
const TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviations {
    /// Cases that expect a permission to be active though its duty isn't fulfilled, with why.
    suite_mode: BTreeMap<String, String>,
    /// What should stand in an expected report.
    deviation: Vec<Deviation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    case: String,
    reason: String,
    /// Turtle, in the prefixes of the suite: triples that shouldn't be there.
    remove: String,
    /// Triples that should.
    add: String,
}

/// The graph of a report: its own nodes blank, without the time at which it was made. Nodes that
/// `known` describes, the reports on duties in the state of the world, keep their names.
fn graph(triples: &[Triple], known: &Rdf) -> Graph {
    let mut own: HashMap<NamedOrBlankNode, BlankNode> = HashMap::new();
    let mut blank = |node: NamedOrBlankNode| {
        if !known.describes(&node) {
            own.entry(node).or_default();
        }
    };
    for triple in triples {
        if triple.predicate.as_str() == TYPE && triple.object.to_string().starts_with(&format!("<{REPORT}")) {
            blank(triple.subject.clone());
        }
        let links = ["ruleReport", "premiseReport", "conditionReport"].map(|l| format!("{REPORT}{l}"));
        if let (true, Term::NamedNode(node)) = (links.contains(&triple.predicate.as_str().to_owned()), &triple.object) {
            blank(node.clone().into());
        }
    }
    let mut graph = Graph::new();
    for triple in triples.iter().filter(|t| t.predicate.as_str() != CREATED) {
        let subject = own.get(&triple.subject).map_or(triple.subject.clone(), |b| b.clone().into());
        let object = match &triple.object {
            Term::NamedNode(node) => own.get(&node.clone().into()).map_or(triple.object.clone(), |b| b.clone().into()),
            Term::BlankNode(node) => own.get(&node.clone().into()).map_or(triple.object.clone(), |b| b.clone().into()),
            Term::Literal(_) => triple.object.clone(),
        };
        graph.insert(&Triple::new(subject, triple.predicate.clone(), object));
    }
    graph.canonicalize(CanonicalizationAlgorithm::Unstable);
    graph
}

async fn report(policies: &Policies, case: &Case, mode: Mode) -> Vec<Triple> {
    let policy = Policy::turtle(&std::fs::read(&case.policy).unwrap()).unwrap();
    let request = Request::read(&rdf(&case.request)).unwrap();
    let world = World::read(&rdf(&case.sotw)).unwrap();
    let evaluation = Evaluation::new(&policy, &request, &world, mode);
    let mut answers = Vec::new();
    for input in evaluation.inputs().unwrap() {
        answers.push(policies.report(&input).await.unwrap_or_else(|e| panic!("{}: {e}", case.number)));
    }
    let report = evaluation.report(&answers, perron_model::Timestamp::EPOCH).unwrap();
    // What is compared is what is printed.
    triples(&report.turtle().unwrap())
}

fn deviations() -> Deviations {
    toml::from_str(include_str!("odrl_suite/deviations.toml")).unwrap()
}

/// The expected triples with what the list says of the case.
fn corrected(case: &Case, list: &Deviations) -> Option<Vec<Triple>> {
    let own: Vec<&Deviation> = list.deviation.iter().filter(|d| d.case == case.number).collect();
    if own.is_empty() {
        return None;
    }
    let prefixes = "@prefix odrl: <http://www.w3.org/ns/odrl/2/> . @prefix report: <https://w3id.org/force/compliance-report#> . \
                    @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix u: <urn:uuid:> .\n";
    let mut all = case.expected.clone();
    for deviation in own {
        assert!(deviation.reason.len() > 20, "case {}: why?", case.number);
        for gone in triples(&format!("{prefixes}{}", deviation.remove)) {
            let before = all.len();
            all.retain(|t| *t != gone);
            assert_eq!(all.len() + 1, before, "case {} doesn't expect {gone}", case.number);
        }
        all.extend(triples(&format!("{prefixes}{}", deviation.add)));
    }
    Some(all)
}

fn differences(ours: &Graph, expected: &Graph) -> String {
    let lines = |graph: &Graph, other: &Graph| {
        graph.iter().filter(|t| !other.contains(*t)).map(|t| t.to_string()).take(12).collect::<Vec<_>>().join("\n    ")
    };
    format!("  only ours:\n    {}\n  only expected:\n    {}", lines(ours, expected), lines(expected, ours))
}

#[tokio::test]
async fn every_case_of_the_odrl_test_suite() {
    let Some(folder) = conformance("odrl") else { return };
    let policies = Policies::load_uncached().unwrap();
    let list = deviations();
    let cases = cases(&folder);
    assert_eq!(cases.len(), 48);
    let numbers: BTreeSet<&str> = cases.iter().map(|c| c.number.as_str()).collect();
    for named in list.suite_mode.keys().map(String::as_str).chain(list.deviation.iter().map(|d| d.case.as_str())) {
        assert!(numbers.contains(named), "no case {named}");
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let world = rdf(&case.sotw);
        let as_written = graph(&case.expected, &world);
        let expected = corrected(case, &list).map_or_else(|| as_written.clone(), |t| graph(&t, &world));
        let gate = graph(&report(&policies, case, Mode::Gate).await, &world);
        let suite = graph(&report(&policies, case, Mode::Suite).await, &world);
        if suite != expected {
            wrong.push(format!("case {}:\n{}", case.number, differences(&suite, &expected)));
        }
        if list.suite_mode.contains_key(&case.number) == (gate == expected) {
            wrong.push(format!("case {}: in the gate's mode it is {}", case.number, gate == expected));
        }
        let listed = list.deviation.iter().any(|d| d.case == case.number);
        if listed && suite == as_written {
            wrong.push(format!("case {} no longer deviates: take it off the list", case.number));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!(
        "{} cases, {} of the suite mode, {} with a slip",
        cases.len(),
        list.suite_mode.len(),
        list.deviation.len()
    );
}

/// The command prints the report that is compared above, and the same in JSON.
#[test]
fn the_command_prints_the_report() {
    let Some(folder) = conformance("odrl") else { return };
    let case = cases(&folder).into_iter().find(|c| c.number == "059").unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
        command.args(["policy", "evaluate"]);
        for (name, path) in [("--policy", &case.policy), ("--request", &case.request), ("--sotw", &case.sotw)] {
            command.arg(name).arg(path);
        }
        let output = command.args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let world = rdf(&case.sotw);
    let expected = graph(&case.expected, &world);
    assert_eq!(graph(&triples(&run(&["--report", "turtle", "--mode", "suite"])), &world), expected);
    assert_ne!(graph(&triples(&run(&["--report", "turtle"])), &world), expected);
    let json: serde_json::Value = serde_json::from_str(&run(&["--json", "--report", "json"])).unwrap();
    assert_eq!(json["permit"], serde_json::json!([false]));
    assert_eq!(json["rules"][0]["duties"][0]["state"], "not-set");
    assert_eq!(json["rules"][0]["activation"], "inactive");
}
