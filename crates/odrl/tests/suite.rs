//! The ODRL test suite's documents are read whole: what is said in them arrives in the JSON.

use perron_odrl::{Index, Rdf, Request, World, policy_json};
use std::path::{Path, PathBuf};

/// The folder of other people's cases; a missing one fails where CI is set, and is said elsewhere.
fn conformance(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PERRON_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    let folder = root.join(part);
    if folder.try_exists().unwrap() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the conformance cases are not at {}", folder.display());
    println!("not run: no conformance cases at {}", folder.display());
    None
}

fn documents(folder: &Path) -> Vec<(String, Rdf)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let rdf = Rdf::read(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.file_name().unwrap().to_string_lossy().into_owned(), rdf)
        })
        .collect()
}

#[test]
fn every_document_of_the_suite_is_read() {
    let Some(folder) = conformance("odrl") else { return };
    let policies = documents(&folder.join("policies"));
    assert_eq!(policies.len(), 21);
    for (name, rdf) in &policies {
        let json = policy_json(rdf).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Every constraint of the document has a place of its own.
        let atoms = rdf.triples().iter().filter(|t| t.predicate.as_str().ends_with("/leftOperand")).count();
        let index = Index::of(&json).unwrap();
        assert_eq!(json.to_string().matches("\"leftOperand\"").count(), atoms, "{name}");
        assert_eq!(index.places().filter(|(_, node)| node.operator.is_some()).count(), atoms, "{name}");
        if name == "policy-15.ttl" {
            let shown = serde_json::to_string(&json["permission"][0]["constraint"][0]["and"][0]).unwrap();
            let expected = r#"{"@id":"urn:uuid:c1a4d116-2777-4598-847d-8fbebf8eb535","leftOperand":"dateTime","operator":"gt","rightOperand":{"@type":"xsd:dateTime","@value":"2024-01-01T00:00:00Z"}}"#;
            assert_eq!(shown, expected);
        }
    }
    for (name, rdf) in documents(&folder.join("requests")) {
        let request = Request::read(&rdf).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            request.rules.iter().all(|r| r.assignee.is_some() && r.action.is_some() && r.target.is_some()),
            "{name}"
        );
    }
    for (name, rdf) in documents(&folder.join("sotw")) {
        let world = World::read(&rdf).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(world.now.is_some(), "{name}");
    }
}
