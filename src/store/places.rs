//! Where in the log the entry of a digest lies: an index for what comes by the ten thousand a second
//! and is asked for seldom.
//!
//! A tree takes digests one by one, each in a page of its own somewhere, which was a quarter of all
//! that an entry costs. So what is new is held in memory, kept as
//! one value a batch, and once there is enough of it written in runs: by the digest's first byte, one
//! value each. A look reads the runs of one byte, the newest first.

use crate::store::{Change, Store};
use perron_model::limits::{LEDGER_BATCH_MAX, PLACES_FRESH_MAX};
use perron_model::{Digest, Error, ErrorCode, Result};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// First bytes of a digest that are kept: two that agree in 128 bits aren't found by chance.
const KEY_BYTES: usize = 16;
/// A key, and its place, big-endian.
const RECORD_BYTES: usize = KEY_BYTES + 8;
/// Records of one value at the most: what sled's page of sixteen such values takes has to stay in its
/// log, for larger ones become files that it doesn't sync.
const VALUE_RECORDS_MAX: usize = 160;
/// Tree with a key for each index that is being taken over.
const TAKING_OVER: &str = "taking-over";

type Key = [u8; KEY_BYTES];

/// Places of entries by digest.
#[derive(Debug)]
pub struct Places {
    store: Store,
    trees: Trees,
    fresh: Mutex<Fresh>,
}

/// The trees of one index.
#[derive(Clone, Copy, Debug)]
pub struct Trees {
    /// Runs: the first byte of their digests and a number as key, records in their order as value.
    pub runs: &'static str,
    /// What is in no run yet: a number as key, the records of a batch as value.
    pub fresh: &'static str,
    /// A tree of an earlier version: a digest as key, its place as value.
    pub earlier: &'static str,
}

#[derive(Debug, Default)]
struct Fresh {
    places: HashMap<Key, u64>,
    // Records that the store doesn't have yet.
    unsaved: Vec<u8>,
    // Number of the newest batch.
    saved: u64,
}

fn key_of(digest: &Digest) -> Key {
    let mut key = [0; KEY_BYTES];
    key.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    key
}

fn push(records: &mut Vec<u8>, key: &Key, place: u64) {
    records.extend_from_slice(key);
    records.extend_from_slice(&place.to_be_bytes());
}

fn read(record: &[u8; RECORD_BYTES]) -> (&[u8], u64) {
    let (key, place) = record.split_at(KEY_BYTES);
    (key, place.iter().fold(0, |place, byte| place << 8 | u64::from(*byte)))
}

/// The records of a value.
fn records(value: &[u8]) -> Result<&[[u8; RECORD_BYTES]]> {
    let (records, rest) = value.as_chunks();
    if rest.is_empty() { Ok(records) } else { Err(unreadable()) }
}

fn number(key: &[u8]) -> Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::new(ErrorCode::Internal, "an index of the store can't be read; `perron store rebuild` makes it anew")
}

impl Places {
    /// Opens the index, and takes over what an earlier version kept.
    pub fn open(store: Store, trees: Trees) -> Result<Places> {
        let mut fresh = Fresh::default();
        for (key, value) in store.scan(trees.fresh, b"")? {
            fresh.saved = number(&key)?;
            for (key, place) in records(&value)?.iter().map(read) {
                fresh.places.insert(key.try_into().map_err(|_| unreadable())?, place);
            }
        }
        let places = Places { store, trees, fresh: Mutex::new(fresh) };
        places.take_over()?;
        Ok(places)
    }

    /// Each place of the tree of an earlier version. A start that follows a crash amid it begins again,
    /// without what that one wrote.
    fn take_over(&self) -> Result<()> {
        let (tree, key) = (TAKING_OVER, self.trees.earlier.as_bytes().to_vec());
        if !self.store.has_tree(self.trees.earlier) {
            let is_over = self.store.has_tree(tree);
            return if is_over { self.store.apply(vec![Change::Remove { tree, key }]) } else { Ok(()) };
        }
        if self.store.get(tree, &key)?.is_some() {
            self.store.drop_tree(self.trees.runs)?;
            self.store.drop_tree(self.trees.fresh)?;
            *self.fresh() = Fresh::default();
        }
        self.store.apply(vec![Change::Put { tree, key: key.clone(), value: Vec::new() }])?;
        self.store.each(self.trees.earlier, |key, value| {
            let digest = <[u8; 32]>::try_from(key).map_err(|_| unreadable())?;
            let place = <[u8; 8]>::try_from(value).map(u64::from_be_bytes).map_err(|_| unreadable())?;
            self.note(&Digest::from_bytes(digest), place)
        })?;
        self.write_runs(&mut self.fresh())?;
        self.store.flush()?;
        self.store.drop_tree(self.trees.earlier)?;
        self.store.apply(vec![Change::Remove { tree, key }])
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where the entry of a digest lies. The store has it at the end of the batch.
    pub fn note(&self, digest: &Digest, place: u64) -> Result<()> {
        let mut fresh = self.fresh();
        let key = key_of(digest);
        fresh.places.insert(key, place);
        push(&mut fresh.unsaved, &key, place);
        if fresh.places.len() >= PLACES_FRESH_MAX {
            return self.write_runs(&mut fresh);
        }
        // A long replay has no end of a batch.
        if fresh.unsaved.len() >= LEDGER_BATCH_MAX * RECORD_BYTES {
            let saved = self.save(&mut fresh);
            return self.store.apply(saved);
        }
        Ok(())
    }

    /// What the store has to get at the end of a batch.
    pub fn end_batch(&self) -> Vec<Change> {
        self.save(&mut self.fresh())
    }

    fn save(&self, fresh: &mut Fresh) -> Vec<Change> {
        let Fresh { unsaved, saved, .. } = fresh;
        let values = unsaved.chunks(VALUE_RECORDS_MAX * RECORD_BYTES).map(|value| {
            *saved = saved.saturating_add(1);
            Change::Put { tree: self.trees.fresh, key: saved.to_be_bytes().to_vec(), value: value.to_vec() }
        });
        let changes = values.collect();
        unsaved.clear();
        changes
    }

    /// Writes all that is fresh in runs, then forgets it: a crash in between leaves it in both.
    fn write_runs(&self, fresh: &mut Fresh) -> Result<()> {
        let mut sorted: Vec<(&Key, &u64)> = fresh.places.iter().collect();
        sorted.sort_unstable();
        let mut runs = Vec::new();
        for part in sorted.chunk_by(|(a, _), (b, _)| a.first() == b.first()) {
            let first = part.first().and_then(|(key, _)| key.first()).copied().unwrap_or_default();
            let last = self.store.last_key(self.trees.runs, &[first])?;
            let mut last = last.map_or(Ok(0), |key| number(key.get(1..).unwrap_or_default()))?;
            for run in part.chunks(VALUE_RECORDS_MAX) {
                let mut value = Vec::with_capacity(run.len() * RECORD_BYTES);
                run.iter().for_each(|(key, place)| push(&mut value, key, **place));
                last = last.saturating_add(1);
                let key = std::iter::once(first).chain(last.to_be_bytes()).collect();
                runs.push(Change::Put { tree: self.trees.runs, key, value });
            }
        }
        self.store.apply(runs)?;
        let kept = self.store.keys(self.trees.fresh)?.into_iter();
        self.store.apply(kept.map(|key| Change::Remove { tree: self.trees.fresh, key }).collect())?;
        (fresh.places, fresh.unsaved) = (HashMap::new(), Vec::new());
        Ok(())
    }

    /// Where the entry of a digest lies, if it was noted; where it was noted twice, the newer.
    pub fn get(&self, digest: &Digest) -> Result<Option<u64>> {
        let key = key_of(digest);
        if let Some(place) = self.fresh().places.get(&key) {
            return Ok(Some(*place));
        }
        let Some(part) = key.get(..1) else { return Ok(None) };
        self.store.newest(self.trees.runs, part, |run| {
            let run = records(run)?;
            let at = run.binary_search_by(|record| read(record).0.cmp(&key));
            Ok(at.ok().and_then(|at| run.get(at)).map(|record| read(record).1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_model::limits::PLACES_FRESH_MAX;
    use std::path::Path;

    const TREES: Trees = Trees { runs: "runs", fresh: "fresh", earlier: "earlier" };

    fn digest(number: u64) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    fn open(directory: &Path) -> Places {
        Places::open(Store::open_again(directory), TREES).unwrap()
    }

    fn are_small(places: &Places, tree: &'static str) -> bool {
        let values = places.store.scan(tree, b"").unwrap();
        !values.is_empty() && values.iter().all(|(_, value)| value.len() <= VALUE_RECORDS_MAX * RECORD_BYTES)
    }

    /// Notes these as a log does that has so many entries a batch.
    fn fill(places: &Places, numbers: std::ops::Range<u64>, batch: u64) {
        for number in numbers.clone() {
            places.note(&digest(number), number).unwrap();
            if (number + 1) % batch == 0 || number + 1 == numbers.end {
                places.store.apply(places.end_batch()).unwrap();
            }
        }
    }

    #[test]
    fn what_was_noted_is_found_in_memory_in_batches_and_in_runs_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let all = PLACES_FRESH_MAX as u64 * 2 + 1500;
        let places = open(directory.path());
        fill(&places, 0..all, 700);
        assert!(places.fresh().places.len() < PLACES_FRESH_MAX, "most are in runs");
        let kept = places.store.keys("fresh").unwrap().len();
        assert!(kept <= 1500_usize.div_ceil(VALUE_RECORDS_MAX) + 3, "what is in runs is in no batch any more");
        let found = |places: &Places| {
            for number in (0..all).step_by(61).chain(all - 2000..all) {
                assert_eq!(places.get(&digest(number)).unwrap(), Some(number), "{number}");
            }
            assert_eq!(places.get(&digest(all)).unwrap(), None);
        };
        found(&places);
        places.store.flush().unwrap();
        drop(places);
        found(&open(directory.path()));
    }

    /// The store as a crash leaves it between two steps: what is fresh is in runs already.
    #[test]
    fn what_a_crash_lets_be_told_again_is_found_at_its_newest_place() {
        let directory = tempfile::tempdir().unwrap();
        let places = open(directory.path());
        let all = PLACES_FRESH_MAX as u64;
        fill(&places, 0..all - 1, 1000);
        let fresh = places.store.scan("fresh", b"").unwrap();
        fill(&places, all - 1..all, 1);
        assert!(!fresh.is_empty() && places.store.is_empty("fresh").unwrap());
        let put = |(key, value)| Change::Put { tree: "fresh", key, value };
        places.store.apply(fresh.into_iter().map(put).collect()).unwrap();
        places.store.flush().unwrap();
        drop(places);
        let places = open(directory.path());
        // The newest are told again, and one of them from elsewhere; all of it ends in more runs.
        fill(&places, all - 500..all, 1);
        places.note(&digest(3), all).unwrap();
        fill(&places, all + 1..2 * all + 10, 900);
        for (number, place) in [(3, all), (4, 4), (all - 1, all - 1), (2 * all + 9, 2 * all + 9)] {
            assert_eq!(places.get(&digest(number)).unwrap(), Some(place), "{number}");
        }
    }

    /// Digests may be chosen: whoever asks for them makes requests until they begin as it likes.
    #[test]
    fn digests_of_one_first_byte_make_no_larger_values() {
        let directory = tempfile::tempdir().unwrap();
        let places = open(directory.path());
        let digest = |number: u64| {
            let mut bytes = [7; 32];
            bytes[1..9].copy_from_slice(&number.to_be_bytes());
            Digest::from_bytes(bytes)
        };
        (0..PLACES_FRESH_MAX as u64).for_each(|number| places.note(&digest(number), number).unwrap());
        assert!(are_small(&places, "runs"));
        for number in (0..PLACES_FRESH_MAX as u64).step_by(1000) {
            assert_eq!(places.get(&digest(number)).unwrap(), Some(number));
        }
    }

    #[test]
    fn a_long_replay_without_ends_of_batches_is_kept_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let places = open(directory.path());
        for number in 0..LEDGER_BATCH_MAX as u64 * 3 {
            places.note(&digest(number), number).unwrap();
        }
        assert!(places.end_batch().is_empty(), "all of it is kept");
        assert!(are_small(&places, "fresh"));
        assert_eq!(places.store.keys("fresh").unwrap().len(), 3 * LEDGER_BATCH_MAX.div_ceil(VALUE_RECORDS_MAX));
    }

    /// Also by the start that follows one that a crash ended amid it.
    #[test]
    fn what_an_earlier_version_kept_is_taken_over_once() {
        let all = PLACES_FRESH_MAX as u64 + 77;
        for crashed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            let put = |tree, n: u64, value: Vec<u8>| Change::Put { tree, key: digest(n).as_bytes().to_vec(), value };
            store.apply((0..all).map(|n| put("earlier", n, n.to_be_bytes().to_vec())).collect()).unwrap();
            if crashed {
                let mark = Change::Put { tree: TAKING_OVER, key: b"earlier".to_vec(), value: Vec::new() };
                store.apply(vec![put("runs", 1, vec![9; RECORD_BYTES]), mark]).unwrap();
                let mut half = Vec::new();
                push(&mut half, &key_of(&digest(2)), 2);
                store.apply(vec![Change::Put { tree: "fresh", key: vec![0; 8], value: half }]).unwrap();
            }
            store.flush().unwrap();
            drop(store);
            let places = open(directory.path());
            assert!(!places.store.has_tree("earlier") && places.store.is_empty(TAKING_OVER).unwrap());
            let values = places.store.keys("runs").unwrap().len();
            assert!(!places.store.keys("runs").unwrap().contains(&digest(1).as_bytes().to_vec()));
            let found = |places: &Places| (0..all).all(|n| places.get(&digest(n)).unwrap() == Some(n));
            assert!(found(&places));
            drop(places);
            let places = open(directory.path());
            assert!(found(&places) && places.store.keys("runs").unwrap().len() == values);
        }
    }

    #[test]
    fn a_run_that_was_cut_is_told_and_nothing_is_said_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let places = open(directory.path());
        let all = PLACES_FRESH_MAX as u64;
        fill(&places, 0..all, 1000);
        let key = places.store.keys("runs").unwrap().remove(0);
        let number = (0..all).find(|n| digest(*n).as_bytes().first() == key.first()).unwrap();
        places.store.apply(vec![Change::Put { tree: "runs", key, value: vec![1; RECORD_BYTES - 1] }]).unwrap();
        assert_eq!(places.get(&digest(number)).unwrap_err().code, ErrorCode::Internal);
    }
}
