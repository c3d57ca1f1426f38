//! What is derived from the log, in sled. Everything here can be rebuilt: `perron store rebuild`.
//!
//! The room knows trees, keys and bytes, not what the records mean. sled is not the truth of
//! anything: it is opened, found behind or ahead of the log, and brought level or made anew.

mod places;

use perron_model::{Error, ErrorCode, Result};
pub use places::{Places, Trees};
use std::collections::BTreeMap;
use std::path::Path;

/// Cache of sled, in bytes: its default of 1 GiB is too much for a commune.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const META: &str = "meta";
const APPLIED: &str = "applied";

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Change {
    /// Sets a value.
    Put {
        /// Tree.
        tree: &'static str,
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// Removes a value.
    Remove {
        /// Tree.
        tree: &'static str,
        /// Key.
        key: Vec<u8>,
    },
}

/// The derived state of one organisation.
#[derive(Clone, Debug)]
pub struct Store {
    db: sled::Db,
}

fn failed(what: &str) -> impl Fn(sled::Error) -> Error + '_ {
    move |error| {
        tracing::error!(error = %error, "the store failed to {what}");
        if let sled::Error::Io(io) = &error
            && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        {
            return Error::new(ErrorCode::DiskFull, "no space is left on the disk for the store");
        }
        Error::new(ErrorCode::Internal, format!("the store failed to {what}; `perron store rebuild` makes it anew"))
    }
}

impl Store {
    /// Opens the store in `directory`, making it where there is none.
    pub fn open(directory: &Path) -> Result<Store> {
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(500))
            .open()
            .map_err(failed("open"))?;
        Ok(Store { db })
    }

    /// The value of a key.
    pub fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        Ok(tree.get(key).map_err(failed("read"))?.map(|v| v.to_vec()))
    }

    /// All values of a tree whose keys begin with `prefix`, in the order of keys.
    pub fn scan(&self, tree: &'static str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        tree.scan_prefix(prefix).map(|r| r.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(failed("read"))).collect()
    }

    /// All keys of a tree, in their order.
    pub fn keys(&self, tree: &'static str) -> Result<Vec<Vec<u8>>> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        tree.iter().keys().map(|key| key.map(|k| k.to_vec()).map_err(failed("read"))).collect()
    }

    /// Each key and value of a tree, in the order of keys.
    pub fn each(&self, tree: &'static str, mut told: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        for found in tree.iter() {
            let (key, value) = found.map_err(failed("read"))?;
            told(&key, &value)?;
        }
        Ok(())
    }

    /// What is first found in the values of a tree whose keys begin with `prefix`, the last of them
    /// first.
    pub fn newest<T>(
        &self,
        tree: &'static str,
        prefix: &[u8],
        find: impl Fn(&[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        for value in tree.scan_prefix(prefix).values().rev() {
            if let Some(found) = find(&value.map_err(failed("read"))?)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last key of a tree that begins with `prefix`.
    pub fn last_key(&self, tree: &'static str, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        tree.scan_prefix(prefix)
            .keys()
            .next_back()
            .transpose()
            .map(|key| key.map(|k| k.to_vec()))
            .map_err(failed("read"))
    }

    /// Is there a tree of this name?
    pub fn has_tree(&self, tree: &str) -> bool {
        self.db.tree_names().iter().any(|name| name == tree.as_bytes())
    }

    /// Removes a tree with all that it has.
    pub fn drop_tree(&self, tree: &'static str) -> Result<()> {
        self.db.drop_tree(tree).map(drop).map_err(failed("clear"))
    }

    /// Has a tree no keys?
    pub fn is_empty(&self, tree: &'static str) -> Result<bool> {
        let tree = self.db.open_tree(tree).map_err(failed("read"))?;
        tree.first().map(|first| first.is_none()).map_err(failed("read"))
    }

    /// Makes changes, those of one tree in their order and at once; together with `applied` they
    /// may be made again.
    pub fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let mut trees: BTreeMap<&'static str, sled::Batch> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put { tree, key, value } => trees.entry(tree).or_default().insert(key, value),
                Change::Remove { tree, key } => trees.entry(tree).or_default().remove(key),
            }
        }
        for (tree, batch) in trees {
            self.db.open_tree(tree).and_then(|t| t.apply_batch(batch)).map_err(failed("write"))?;
        }
        Ok(())
    }

    /// How many entries of the log are applied here.
    pub fn applied(&self) -> Result<u64> {
        let bytes = self.get(META, APPLIED.as_bytes())?.unwrap_or_default();
        Ok(<[u8; 8]>::try_from(bytes).map_or(0, u64::from_be_bytes))
    }

    /// Notes that the entries before `applied` are applied here.
    pub fn set_applied(&self, applied: u64) -> Result<()> {
        self.apply(vec![Change::Put { tree: META, key: APPLIED.into(), value: applied.to_be_bytes().into() }])
    }

    /// Waits until all is on disk.
    pub fn flush(&self) -> Result<()> {
        self.db.flush().map_err(failed("flush"))?;
        Ok(())
    }
}

#[cfg(test)]
impl Store {
    /// Opens a store that this process has just closed: sled gives its lock back once its own threads
    /// have ended.
    pub(crate) fn open_again(directory: &Path) -> Store {
        let begun = std::time::Instant::now();
        loop {
            match Store::open(directory) {
                Ok(store) => return store,
                Err(error) => assert!(begun.elapsed().as_secs() < 20, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read_scanned_and_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let put = |key: &str| Change::Put { tree: "t", key: key.into(), value: b"v".to_vec() };
        store.apply(vec![put("a1"), put("a2"), put("b")]).unwrap();
        store.set_applied(7).unwrap();
        assert_eq!(store.get("t", b"a1").unwrap().as_deref(), Some(b"v".as_slice()));
        assert_eq!(store.scan("t", b"a").unwrap().len(), 2);
        store.flush().unwrap();
        drop(store);
        let store = Store::open_again(directory.path());
        assert_eq!(store.applied().unwrap(), 7);
        store.drop_tree("t").unwrap();
        assert!(store.scan("t", b"").unwrap().is_empty());
    }
}
