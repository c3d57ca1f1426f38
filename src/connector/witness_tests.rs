use super::{Compared, compare};
use perron_log::Checkpoint;
use perron_log::merkle::{Hash, HashSource, MerkleError, leaf_hash, node_hash, prove_consistency, root};
use perron_model::ErrorCode;

/// A log's leaves; another name is another history.
struct Leaves<'a>(&'a str);

impl HashSource for Leaves<'_> {
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError> {
        match level.checked_sub(1) {
            None => Ok(leaf_hash(format!("{} {index}", self.0).as_bytes())),
            Some(below) => Ok(node_hash(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?)),
        }
    }
}

fn checkpoint(log: &str, size: u64) -> Checkpoint {
    let root = root(&Leaves(log), size).unwrap();
    Checkpoint { origin: "water.example/saint-leger/1".to_owned(), size, root, extensions: Vec::new() }
}

fn proof(log: &str, old: u64, new: u64) -> Vec<[u8; 32]> {
    prove_consistency(&Leaves(log), old, new).unwrap().into_iter().map(|h| h.0).collect()
}

#[test]
fn a_head_that_another_one_overtook_is_no_fork() {
    // Two heads were asked for while 5 was held; the larger came first.
    assert_eq!(compare(&checkpoint("a", 5), 5, &checkpoint("a", 12), &proof("a", 5, 12)).unwrap(), Compared::Extends);
    let held = checkpoint("a", 12);
    assert_eq!(compare(&held, 5, &checkpoint("a", 8), &proof("a", 5, 8)).unwrap(), Compared::ProofElsewhere);
    assert_eq!(compare(&held, 5, &checkpoint("a", 15), &proof("a", 5, 15)).unwrap(), Compared::ProofElsewhere);
    assert_eq!(compare(&held, 5, &checkpoint("a", 12), &proof("a", 5, 12)).unwrap(), Compared::Same);
    assert_eq!(compare(&held, 12, &checkpoint("a", 15), &proof("a", 12, 15)).unwrap(), Compared::Extends);
}

#[test]
fn a_contradiction_is_a_fork() {
    let held = checkpoint("a", 12);
    for (what, from, new, proof) in [
        ("an older state", 12, checkpoint("a", 8), Vec::new()),
        ("another history of the same size, whatever it was asked from", 5, checkpoint("b", 12), proof("b", 5, 12)),
        ("another history that is longer", 12, checkpoint("b", 15), proof("b", 12, 15)),
        ("a proof of another size", 12, checkpoint("a", 15), proof("a", 8, 15)),
    ] {
        assert_eq!(compare(&held, from, &new, &proof).unwrap_err().code, ErrorCode::LogForked, "{what}");
    }
}
