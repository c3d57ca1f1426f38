//! Merkle proofs of transparency-dev/merkle.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use perron_log::Hash;
use perron_log::merkle::{verify_consistency, verify_inclusion};
use serde::Deserialize;

use crate::support::conformance;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionCase {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsistencyCase {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(cases(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found
}

/// Some cases hold "don't care" bytes of other lengths, which our type can't:
/// they are hashed, which keeps equal what is equal. An empty one is a refusal.
fn hash(text: &str) -> Option<Hash> {
    let bytes = STANDARD.decode(text).unwrap();
    (!bytes.is_empty()).then(|| Hash::from_slice(&bytes).unwrap_or_else(|| Hash::of(&bytes)))
}

fn hashes(texts: Option<Vec<String>>) -> Option<Vec<Hash>> {
    texts.unwrap_or_default().iter().map(|text| hash(text)).collect()
}

#[test]
fn inclusion_cases_of_transparency_dev() {
    let Some(folder) = conformance("merkle/inclusion") else { return };
    let files = cases(&folder);
    assert!(files.len() >= 79, "only {} cases", files.len());
    for file in files {
        let case: InclusionCase = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let holds = (|| {
            let (root, leaf) = (hash(&case.root)?, hash(&case.leaf_hash)?);
            let proof = hashes(case.proof)?;
            verify_inclusion(case.leaf_idx, case.tree_size, &leaf, &proof, &root).ok()
        })();
        assert_eq!(holds.is_none(), case.want_err, "{}", file.display());
    }
}

#[test]
fn consistency_cases_of_transparency_dev() {
    let Some(folder) = conformance("merkle/consistency") else { return };
    let files = cases(&folder);
    assert!(files.len() >= 79, "only {} cases", files.len());
    for file in files {
        let case: ConsistencyCase = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let holds = (|| {
            let (old, new) = (hash(&case.root1)?, hash(&case.root2)?);
            let proof = hashes(case.proof)?;
            verify_consistency(case.size1, case.size2, &old, &new, &proof).ok()
        })();
        assert_eq!(holds.is_none(), case.want_err, "{}", file.display());
    }
}
