//! Two ways of computing a tree agree; proofs verify, and only as made.

use perron_log::Hash;
use perron_log::merkle::{
    Frontier, HashSource, MerkleError, empty_root, leaf_hash, prove_consistency, prove_inclusion, root,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

use crate::support::naive_root;

struct Leaves(Vec<Hash>);

impl HashSource for Leaves {
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError> {
        let start = usize::try_from(index << level).unwrap();
        let leaves = self.0.get(start..start + (1 << level));
        leaves.map(naive_root).ok_or(MerkleError::Missing { level, index, reason: "not complete".to_owned() })
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

#[test]
fn roots_of_rfc_6962_definition() {
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    let all = leaves(600);
    for (count, leaf) in (1..).zip(&all) {
        frontier.append(*leaf);
        assert_eq!(frontier.root(), naive_root(&all[..count]));
        assert_eq!(frontier.size(), count as u64);
    }
    let source = Leaves(all.clone());
    for size in [0, 1, 2, 3, 255, 256, 257, 512, 599, 600] {
        assert_eq!(root(&source, size).unwrap(), naive_root(&all[..usize::try_from(size).unwrap()]));
        let again = Frontier::from_source(&source, size).unwrap();
        assert_eq!(again.root(), naive_root(&all[..usize::try_from(size).unwrap()]));
    }
}

#[test]
fn all_proofs_of_small_trees() {
    let all = leaves(40);
    let source = Leaves(all.clone());
    for new in 1..=40_u64 {
        let new_root = naive_root(&all[..usize::try_from(new).unwrap()]);
        for index in 0..new {
            let proof = prove_inclusion(&source, index, new).unwrap();
            let leaf = &all[usize::try_from(index).unwrap()];
            verify_inclusion(index, new, leaf, &proof, &new_root).unwrap();
        }
        for old in 1..=new {
            let old_root = naive_root(&all[..usize::try_from(old).unwrap()]);
            let proof = prove_consistency(&source, old, new).unwrap();
            verify_consistency(old, new, &old_root, &new_root, &proof).unwrap();
        }
    }
}

#[test]
fn rules_of_the_empty_tree() {
    let (empty, other) = (empty_root(), Hash::of(b"other"));
    verify_consistency(0, 0, &empty, &empty, &[]).unwrap();
    assert!(verify_consistency(0, 0, &other, &other, &[]).is_err());
    assert!(verify_consistency(0, 0, &empty, &other, &[]).is_err());
    assert!(verify_consistency(0, 1, &empty, &other, &[]).is_err());
    assert!(verify_consistency(0, 0, &empty, &empty, &[other]).is_err());
    assert!(verify_inclusion(0, 0, &empty, &[], &empty).is_err());
    assert_eq!(prove_consistency(&Leaves(Vec::new()), 0, 0).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_proof_is_refused(
        size in 2_usize..700,
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        bit in 0_usize..256,
    ) {
        let all = leaves(size);
        let source = Leaves(all.clone());
        let new = size as u64;
        let new_root = naive_root(&all);
        let index = a.index(size) as u64;
        let leaf = all[a.index(size)];
        let proof = prove_inclusion(&source, index, new).unwrap();
        verify_inclusion(index, new, &leaf, &proof, &new_root).unwrap();
        let flip = |proof: &[Hash]| {
            let mut changed = proof.to_vec();
            let at = b.index(changed.len());
            changed[at].0[bit / 8] ^= 1 << (bit % 8);
            changed
        };
        prop_assert!(verify_inclusion(index, new, &leaf, &flip(&proof), &new_root).is_err());
        prop_assert!(verify_inclusion(index, new, &leaf, &proof[1..], &new_root).is_err());
        let other = (index + 1) % new;
        prop_assert!(verify_inclusion(other, new, &leaf, &proof, &new_root).is_err());

        let old = a.index(size - 1) + 1;
        let old_root = naive_root(&all[..old]);
        let proof = prove_consistency(&source, old as u64, new).unwrap();
        verify_consistency(old as u64, new, &old_root, &new_root, &proof).unwrap();
        prop_assert!(verify_consistency(old as u64, new, &old_root, &new_root, &flip(&proof)).is_err());
        prop_assert!(verify_consistency(old as u64, new, &old_root, &new_root, &proof[1..]).is_err());
        prop_assert!(verify_consistency(old as u64, new, &new_root, &old_root, &proof).is_err());
    }
}
