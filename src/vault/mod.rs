//! Keys of the values that can be erased. The values lie encrypted in the log; here lie their keys
//! and nothing else.
//!
//! Each value has a key of its own, derived from the secret of its epoch and its random name, so
//! that no key is written for a read; the secret is durable before its first use. Erasing writes the
//! keys that are left of the epochs concerned under a new key-encryption key, and destroys the one
//! before with all that it encrypted. Which of both holds is decided by the log: its newest entry
//! `erased` names the number of the key-encryption key, so a crash at any point leaves the state
//! before or the one after.
//!
//! The room never reads the log, and doesn't know whose value it seals.

mod copying;
mod crypt;
mod files;

pub use copying::{copy, require_key, take_keys};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypt::{Key, ONLY, derive, open, random, seal};
use files::{Epoch, Epochs, Files, Found, Keys, in_question, unusable};
use perron_model::limits::VAULT_EPOCH_VALUES_MAX;
use perron_model::sealed::{EpochId, SealedHeader, SealedValue, ValueId};
use perron_model::{Digest, Error, ErrorCode, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};

/// What is told of a vault without its key.
const WITHOUT_KEY: &str =
    "its key-encryption key is missing; put it back, or move the folder `vault` away and what it opens is lost";

/// Folder of the vault in an organisation's directory.
pub const FOLDER: &str = "vault";

/// The vault of one organisation.
pub struct Vault {
    files: Files,
    held: RwLock<Held>,
    used: AtomicU64,
    // The keys of one epoch of which some were erased: a listing asks for many of them in a row.
    at_hand: Mutex<Option<(u64, EpochId, Keys)>>,
    // Held shared from the choice of an epoch until its value is enqueued, and alone to change it.
    sealing: Arc<tokio::sync::RwLock<()>>,
    // Held by who makes an epoch, and by an erasure from what it prepares to its end.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// What the files say.
struct Held {
    number: u64,
    key: Option<Key>,
    epochs: Epochs,
    current: Option<EpochId>,
}

/// A sealed value, and its name in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The bytes that are attached.
    pub bytes: Vec<u8>,
    /// Their SHA-256.
    pub digest: Digest,
}

/// Leave to seal one value. It is held until the value is enqueued in the log, or given up.
pub struct Sealing {
    epoch: EpochId,
    secret: Key,
    _shared: OwnedRwLockReadGuard<()>,
}

/// Which values of which epochs are erased, and which others these epochs have.
#[derive(Clone, Debug, Default)]
pub struct Erasing {
    /// Values whose keys are destroyed.
    pub erased: BTreeMap<EpochId, BTreeSet<ValueId>>,
    /// Values of the same epochs whose keys are kept.
    pub left: BTreeMap<EpochId, BTreeSet<ValueId>>,
}

/// An erasure for which everything is durable and nothing is destroyed.
pub struct Prepared {
    number: u64,
    key: Key,
    epochs: Epochs,
    // Nobody makes an epoch that it doesn't know.
    _making: OwnedMutexGuard<()>,
}

impl Prepared {
    /// Number of the key-encryption key from this erasure on.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Epochs by which nothing is sealed any more: what an erasure may look for. Values are sealed by later
/// ones meanwhile.
#[derive(Clone, Debug)]
pub struct Resting {
    epochs: BTreeSet<EpochId>,
}

impl Resting {
    /// Is this one of them?
    pub fn holds(&self, epoch: &EpochId) -> bool {
        self.epochs.contains(epoch)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault(key {})", self.held().number)
    }
}

impl Vault {
    /// Opens the vault in `directory`, which need not exist. `logged` is the number of the
    /// key-encryption key that the newest entry `erased` names, where there is one: what an erasure
    /// began and its entry doesn't tell of is undone, what it tells of is finished.
    ///
    /// # Errors
    /// `key_invalid` where the key-encryption key is missing, or the files aren't its.
    pub fn open(directory: &Path, logged: Option<u64>) -> Result<Vault> {
        crate::files::remove_temporary(directory);
        let files = Files::of(directory);
        let found = files.found()?;
        let due = logged.unwrap_or(1).max(1);
        let whole = in_question(&found, due).filter(|n| found.get(n).is_some_and(|f| f.is_whole()));
        let mut whole = whole.peekable();
        if whole.peek().is_none() {
            return Vault::begin_anew(files, &found, due);
        }
        let mut opened = whole.map(|number| {
            let key = files.key(number)?;
            files.epochs(number, &key).map(|epochs| (number, key, epochs))
        });
        // What was overwritten already isn't whole, whatever its name says.
        let first = opened.next().unwrap_or_else(|| Err(unusable("nothing of it is whole")));
        let (number, key, epochs) = first.or_else(|error| opened.find_map(Result::ok).ok_or(error))?;
        drop(opened);
        files.destroy_beside(number)?;
        files.destroy_lists_beside(&epochs)?;
        Ok(Vault::with(files, Held { number, key: Some(key), epochs, current: None }))
    }

    /// There is none yet: a key without epochs has encrypted nothing.
    fn begin_anew(files: Files, found: &BTreeMap<u64, Found>, number: u64) -> Result<Vault> {
        if found.values().any(|f| f.epochs) {
            return Err(unusable(WITHOUT_KEY));
        }
        // Numbers begin at 1: nothing is kept.
        files.destroy_beside(0)?;
        files.destroy_lists_beside(&Epochs::new())?;
        Ok(Vault::with(files, Held { number, key: None, epochs: Epochs::new(), current: None }))
    }

    fn with(files: Files, held: Held) -> Vault {
        Vault {
            files,
            held: RwLock::new(held),
            used: AtomicU64::new(0),
            at_hand: Mutex::default(),
            sealing: Arc::default(),
            making: Arc::default(),
        }
    }

    /// Number of the key-encryption key in use.
    pub fn number(&self) -> u64 {
        self.held().number
    }

    /// Does it hold no key at all?
    pub fn is_empty(&self) -> bool {
        self.held().epochs.is_empty()
    }

    /// Leave to seal one value of a log that has `size` entries now. Once in so many values a new
    /// epoch is made and synced; else nothing is written.
    pub async fn begin(self: &Arc<Vault>, size: u64) -> Result<Sealing> {
        loop {
            let shared = self.sealing.clone().read_owned().await;
            if let Some((epoch, secret)) = self.place() {
                return Ok(Sealing { epoch, secret, _shared: shared });
            }
            drop(shared);
            let making = self.making.clone().lock_owned().await;
            // Another may have made it meanwhile.
            if self.used.load(Ordering::Relaxed) >= VAULT_EPOCH_VALUES_MAX || self.held().current.is_none() {
                self.new_epoch(size).await?;
            }
            drop(making);
        }
    }

    /// A place in the epoch in use.
    fn place(&self) -> Option<(EpochId, Key)> {
        let held = self.held();
        let id = held.current?;
        let epoch = held.epochs.get(&id)?;
        let is_free = self.used.fetch_add(1, Ordering::Relaxed) < VAULT_EPOCH_VALUES_MAX;
        is_free.then(|| (id, Key::new(epoch.secret)))
    }

    /// Waits until every value that was begun is enqueued or given up, and goes on with a new epoch:
    /// from here on no value of an earlier epoch comes.
    pub async fn rest(self: &Arc<Vault>, size: u64) -> Result<Resting> {
        let _making = self.making.clone().lock_owned().await;
        let vault = self.clone();
        let destroyed = tokio::task::spawn_blocking(move || vault.destroy_leftovers());
        destroyed.await.map_err(|_| Error::new(ErrorCode::Internal, "what is left can't be destroyed"))??;
        let epochs = self.held().epochs.keys().copied().collect();
        self.new_epoch(size).await?;
        Ok(Resting { epochs })
    }

    /// Destroys what isn't of the key in use: of an erasure that came to nothing, or of the key before
    /// one that couldn't destroy it.
    fn destroy_leftovers(&self) -> Result<()> {
        let (number, epochs) = {
            let held = self.held();
            (held.number, held.epochs.clone())
        };
        self.files.destroy_beside(number).and(self.files.destroy_lists_beside(&epochs))
    }

    /// Makes an epoch, durable before it is used; by who holds `making`.
    async fn new_epoch(self: &Arc<Vault>, from: u64) -> Result<()> {
        let vault = self.clone();
        let made = tokio::task::spawn_blocking(move || vault.write_epoch(from));
        let (id, key, epochs) = made.await.map_err(|_| Error::new(ErrorCode::Internal, "an epoch can't be made"))??;
        // Alone: whoever has leave of the epoch before has enqueued what they sealed.
        let _alone = self.sealing.write().await;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        (held.key, held.epochs, held.current) = (Some(key), epochs, Some(id));
        self.used.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn write_epoch(&self, from: u64) -> Result<(EpochId, Key, Epochs)> {
        let (number, key, mut epochs) = {
            let held = self.held();
            (held.number, held.key.clone(), held.epochs.clone())
        };
        let key = match key {
            Some(key) => key,
            None => {
                let key = Key::new(random()?);
                self.files.write_key(number, &key)?;
                key
            }
        };
        let id = random()?;
        epochs.insert(id, Epoch { from, secret: random()?, list: None });
        self.files.write_epochs(number, &key, &epochs)?;
        Ok((id, key, epochs))
    }

    /// What a sealed value says; none where its key isn't here.
    ///
    /// # Errors
    /// `malformed` for what is no sealed value; `log_damaged` for one that its key doesn't open.
    pub fn read(&self, sealed: &[u8]) -> Result<Option<SealedValue>> {
        let (header, ciphertext) = SealedHeader::parse(sealed)?;
        let Some(key) = self.key_of(&header)? else { return Ok(None) };
        let damaged = |what| Error::new(ErrorCode::LogDamaged, format!("a sealed value {what}"));
        let plain =
            open(&key, ONLY, &header.to_bytes(), ciphertext)?.ok_or_else(|| damaged("isn't as its key left it"))?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| damaged("can't be read"))
    }

    /// Could this value be opened?
    pub fn can_read(&self, header: &SealedHeader) -> Result<bool> {
        self.key_of(header).map(|key| key.is_some())
    }

    fn key_of(&self, header: &SealedHeader) -> Result<Option<Key>> {
        let (number, epoch) = {
            let held = self.held();
            let Some(epoch) = held.epochs.get(&header.epoch) else { return Ok(None) };
            (held.number, epoch.clone())
        };
        let secret = Key::new(epoch.secret);
        let Some(list) = epoch.list else { return derive(&secret, &header.value).map(Some) };
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if at_hand.as_ref().is_none_or(|(n, id, _)| (*n, *id) != (number, header.epoch)) {
            *at_hand = Some((number, header.epoch, self.files.keys(list, &header.epoch, &secret)?));
        }
        Ok(at_hand.as_ref().and_then(|(_, _, keys)| keys.get(&header.value).cloned()))
    }

    /// Where the log has the values of these epochs: from the first entry of the oldest on.
    pub fn begin_of(&self, epochs: &BTreeSet<EpochId>) -> u64 {
        self.held().epochs.iter().filter(|(id, _)| epochs.contains(*id)).map(|(_, e)| e.from).min().unwrap_or(0)
    }

    /// Writes what is left of the epochs concerned under a new key-encryption key. Nothing is
    /// destroyed, and the vault goes on by the one before, until [`Vault::finish`]. No epoch is made
    /// until then, or until what was prepared is given up.
    pub async fn prepare(self: &Arc<Vault>, erasing: Erasing, number: u64) -> Result<Prepared> {
        let making = self.making.clone().lock_owned().await;
        let vault = self.clone();
        let prepared = tokio::task::spawn_blocking(move || vault.write_left(&erasing, number, making));
        prepared.await.map_err(|_| Error::new(ErrorCode::Internal, "an erasure can't be prepared"))?
    }

    fn write_left(&self, erasing: &Erasing, number: u64, making: OwnedMutexGuard<()>) -> Result<Prepared> {
        let (before, mut epochs) = {
            let held = self.held();
            (held.number, held.epochs.clone())
        };
        if number <= before {
            return Err(Error::new(ErrorCode::Internal, "an erasure goes on from the key before it"));
        }
        self.destroy_leftovers()?;
        for (id, erased) in &erasing.erased {
            let Some(epoch) = epochs.get(id).cloned() else { continue };
            let mut keys = match epoch.list {
                Some(list) => self.files.keys(list, id, &Key::new(epoch.secret))?,
                None => {
                    let secret = Key::new(epoch.secret);
                    let left = erasing.left.get(id).into_iter().flatten();
                    left.map(|value| Ok((*value, derive(&secret, value)?))).collect::<Result<Keys>>()?
                }
            };
            keys.retain(|value, _| !erased.contains(value));
            if keys.is_empty() {
                epochs.remove(id);
                continue;
            }
            let secret = Key::new(random()?);
            self.files.write_keys(number, id, &secret, &keys)?;
            epochs.insert(*id, Epoch { from: epoch.from, secret: *secret, list: Some(number) });
        }
        let key = Key::new(random()?);
        self.files.write_key(number, &key)?;
        self.files.write_epochs(number, &key, &epochs)?;
        Ok(Prepared { number, key, epochs, _making: making })
    }

    /// Goes by what was prepared, and destroys what was before. What it told of is durable in the
    /// log by now, so that a start finishes what this doesn't, and so does the next erasure.
    ///
    /// # Errors
    /// Where it can't be destroyed; what was prepared holds all the same.
    pub fn finish(&self, prepared: Prepared) -> Result<()> {
        let Prepared { number, key, epochs, _making } = prepared;
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            let current = held.current.filter(|id| epochs.get(id).is_some_and(|e| e.list.is_none()));
            *held = Held { number, key: Some(key), epochs, current };
        }
        *self.at_hand.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.destroy_leftovers()
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sealing {
    /// Seals a value. Its key is used for nothing else.
    pub fn seal(&self, value: &SealedValue) -> Result<Sealed> {
        let header = SealedHeader { epoch: self.epoch, value: random()? };
        let plain = serde_json::to_vec(value)
            .map_err(|_| Error::new(ErrorCode::Internal, "a value to be sealed can't be written"))?;
        let head = header.to_bytes();
        let ciphertext = seal(&derive(&self.secret, &header.value)?, ONLY, &head, plain)?;
        let bytes = [head.as_slice(), &ciphertext].concat();
        Ok(Sealed { digest: Digest::of(&bytes), bytes })
    }

    /// Seals the statement of a read, with the salt of its digest.
    pub fn statement(&self, salt: &[u8], text: &str) -> Result<Sealed> {
        self.seal(&SealedValue::Statement { salt: URL_SAFE_NO_PAD.encode(salt), text: text.to_owned() })
    }
}

/// Is this the statement that a request signs by its salted digest?
pub fn is_signed(statement: &Digest, salt: &str, text: &str) -> bool {
    let salt = URL_SAFE_NO_PAD.decode(salt).ok().and_then(|salt| <[u8; 16]>::try_from(salt).ok());
    salt.is_some_and(|salt| Digest::salted(&salt, text.as_bytes()) == *statement)
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
