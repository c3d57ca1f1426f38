//! The cases of SolidLab's ODRL test suite, as files.

use oxrdf::{Term, Triple};
use perron_odrl::Rdf;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const EX: &str = "http://example.org/";

/// The folder of other people's cases; a missing one fails where CI is set, and is said elsewhere.
pub fn conformance(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PERRON_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let folder = root.join(part);
    if folder.try_exists().unwrap() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the conformance cases are not at {}", folder.display());
    println!("not run: no conformance cases at {}", folder.display());
    None
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

pub fn triples(text: &str) -> Vec<Triple> {
    Rdf::read(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}")).triples().to_vec()
}

/// One case, with the files that its nodes stand for.
pub struct Case {
    pub number: String,
    pub policy: PathBuf,
    pub request: PathBuf,
    pub sotw: PathBuf,
    pub expected: Vec<Triple>,
}

pub fn cases(folder: &Path) -> Vec<Case> {
    let mut by_node: HashMap<Term, PathBuf> = HashMap::new();
    for part in ["policies", "requests", "sotw"] {
        for path in files(&folder.join(part)) {
            let first = triples(&std::fs::read_to_string(&path).unwrap())[0].subject.clone();
            assert!(by_node.insert(first.into(), path).is_none());
        }
    }
    let read = |path: PathBuf| {
        let all = triples(&std::fs::read_to_string(&path).unwrap());
        let test = all.iter().find(|t| t.object.to_string() == format!("<{EX}TestCase>")).unwrap().subject.clone();
        let of = |name: &str| {
            let node = all.iter().find(|t| t.subject == test && t.predicate.as_str() == format!("{EX}{name}"));
            by_node[&node.unwrap().object].clone()
        };
        let number = path.file_name().unwrap().to_string_lossy().split('-').nth(1).unwrap().to_owned();
        let (policy, request, sotw) = (of("policy"), of("request"), of("sotw"));
        Case { number, policy, request, sotw, expected: all.into_iter().filter(|t| t.subject != test).collect() }
    };
    files(&folder.join("test_cases")).into_iter().map(read).collect()
}

pub fn rdf(path: &Path) -> Rdf {
    Rdf::read(&std::fs::read(path).unwrap()).unwrap()
}
