//! Files of the vault. `<n>.kek` is a key-encryption key, alone so that it can be backed up apart;
//! `<n>.epochs` has the secrets of all epochs, encrypted by it; `<n>-<epoch>.keys` has the keys that
//! are left of an epoch, encrypted by that epoch's secret. `n` counts the key-encryption keys.

use super::crypt::{Key, open, random, seal};
use crate::files::{TEMPORARY_ENDING, create_directory, destroy_file, io_error, write_secret};
use crate::phases::{Open, Phase};
use minicbor::{Decode, Encode};
use perron_model::limits::VAULT_FILE_BYTES_MAX;
use perron_model::sealed::{EpochId, ValueId};
use perron_model::{Error, ErrorCode, Result};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Ending of the name of a key-encryption key.
const KEY_ENDING: &str = ".kek";
/// Ending of the name of a list of keys that are left of an epoch.
const LIST_ENDING: &str = ".keys";
/// Digits of a number in a name.
const NUMBER_DIGITS: usize = 20;

/// An epoch as it lies in the file of epochs.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Epoch {
    /// Entries that the log had when it began: its values lie from there on.
    #[n(0)]
    pub from: u64,
    /// What keys are derived from; or what the list of the keys that are left is encrypted by.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// Number of the key-encryption key with which that list was written, where there is one.
    #[n(2)]
    pub list: Option<u64>,
}

impl Drop for Epoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// All epochs.
pub(super) type Epochs = BTreeMap<EpochId, Epoch>;
/// Keys that are left of one epoch.
pub(super) type Keys = BTreeMap<ValueId, Key>;

/// What there is of one key-encryption key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub key: bool,
    pub epochs: bool,
}

impl Found {
    /// Is it there with all that it encrypts?
    pub fn is_whole(self) -> bool {
        self.key && self.epochs
    }
}

/// Files by their names.
pub(super) type All = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Numbers that may be the one to go by where the log names this one, the likeliest first. An older one
/// is of before an erasure, which is done again. A newer one is there where the log is the older, of a
/// backup that was made during an erasure: then what it has is all that was left.
pub(super) fn in_question(found: &BTreeMap<u64, Found>, due: u64) -> impl Iterator<Item = u64> {
    let older = found.keys().rev().filter(move |n| **n < due);
    let newer = found.keys().filter(move |n| **n > due);
    found.get_key_value(&due).map(|(n, _)| n).into_iter().chain(older).chain(newer).copied()
}

/// The directory.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    // How many more changes succeed: a crash, as far as the files can tell.
    #[cfg(test)]
    pub left: std::sync::atomic::AtomicUsize,
}

impl Files {
    pub fn of(directory: &Path) -> Files {
        Files {
            directory: directory.to_owned(),
            #[cfg(test)]
            left: std::sync::atomic::AtomicUsize::new(usize::MAX),
        }
    }

    /// The numbers of which there is a key-encryption key or a file of epochs.
    pub fn found(&self) -> Result<BTreeMap<u64, Found>> {
        let names = self.names()?;
        Ok(Files::found_in(names.iter().map(String::as_str)))
    }

    /// The same of these names.
    pub fn found_in<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<u64, Found> {
        let mut found: BTreeMap<u64, Found> = BTreeMap::new();
        for (name, number) in names.filter_map(|name| Some((name, Files::number_of(name)?))) {
            if name == Files::key_name(number) {
                found.entry(number).or_default().key = true;
            } else if name == epochs_name(number) {
                found.entry(number).or_default().epochs = true;
            }
        }
        found
    }

    /// The key-encryption key that a file belongs to, or, of a list of keys, with which it was written.
    pub fn number_of(name: &str) -> Option<u64> {
        let digits = name.get(..NUMBER_DIGITS)?;
        digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()))
    }

    /// Does the key of this number, among these files, open the epochs of that number?
    pub fn opens(all: &All, number: u64) -> Result<bool> {
        let name = epochs_name(number);
        let key = all.get(&Files::key_name(number)).and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
        let (Some(key), Some(epochs)) = (key, all.get(&name)) else { return Ok(false) };
        opened_by(&Key::new(key), &name, epochs).map(|plain| plain.is_some())
    }

    /// Names of all files.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io_error(&e)),
        };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.map(|e| e.file_name().to_string_lossy().into_owned()).map_err(|e| io_error(&e))
        };
        entries.map(name).collect()
    }

    /// The key-encryption key of a number.
    pub fn key(&self, number: u64) -> Result<Key> {
        crate::trust::keys::require_private(&self.directory, &Files::key_name(number))?;
        let bytes = self.read(&Files::key_name(number))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| unusable("its key-encryption key isn't one"))?;
        Ok(Key::new(key))
    }

    pub fn write_key(&self, number: u64, key: &Key) -> Result<()> {
        self.write(&Files::key_name(number), key.as_slice())
    }

    /// The epochs of a number.
    pub fn epochs(&self, number: u64, key: &Key) -> Result<Epochs> {
        let plain = self.opened(&epochs_name(number), key)?;
        minicbor::decode(&plain).map_err(|_| unusable("its epochs can't be read"))
    }

    pub fn write_epochs(&self, number: u64, key: &Key, epochs: &Epochs) -> Result<()> {
        let plain = minicbor::to_vec(epochs).map_err(|_| unusable("its epochs can't be written"))?;
        self.write_sealed(&epochs_name(number), key, plain)
    }

    /// The keys that are left of an epoch.
    pub fn keys(&self, number: u64, epoch: &EpochId, secret: &Key) -> Result<Keys> {
        let plain = self.opened(&keys_name(number, epoch), secret)?;
        let (entries, rest) = plain.as_chunks::<48>();
        if !rest.is_empty() {
            return Err(unusable("the keys of an epoch can't be read"));
        }
        let entry = |bytes: &[u8; 48]| {
            let (value, key) = bytes.split_first_chunk::<16>()?;
            Some((*value, Key::new(*key.first_chunk::<32>()?)))
        };
        entries.iter().map(entry).collect::<Option<Keys>>().ok_or_else(|| unusable("the keys of an epoch"))
    }

    pub fn write_keys(&self, number: u64, epoch: &EpochId, secret: &Key, keys: &Keys) -> Result<()> {
        let plain = keys.iter().flat_map(|(value, key)| value.iter().chain(key.iter()).copied()).collect();
        self.write_sealed(&keys_name(number, epoch), secret, plain)
    }

    /// Destroys what there is of this number: the key first, for without it the rest says nothing.
    fn destroy(&self, number: u64) -> Result<()> {
        let key = self.overwrite(&Files::key_name(number));
        key.and(self.overwrite(&epochs_name(number)))
    }

    /// Destroys what there is of all numbers but this one, also what earlier tries left; one that can't
    /// be destroyed keeps none of the others.
    pub fn destroy_beside(&self, number: u64) -> Result<()> {
        let found = self.found()?;
        let others = found.keys().filter(|other| **other != number);
        others.map(|other| self.destroy(*other)).fold(Ok(()), Result::and)
    }

    /// Destroys lists of keys of all numbers that `epochs` don't name.
    pub fn destroy_lists_beside(&self, epochs: &Epochs) -> Result<()> {
        let needed: Vec<String> =
            epochs.iter().filter_map(|(id, e)| e.list.map(|number| keys_name(number, id))).collect();
        let stale = |name: &String| Files::is_list(name) && !needed.contains(name);
        let names = self.names()?;
        names.iter().filter(|name| stale(name)).map(|name| self.overwrite(name)).fold(Ok(()), Result::and)
    }

    /// Overwrites a file, then removes it; one that isn't there is destroyed already.
    fn overwrite(&self, name: &str) -> Result<()> {
        let _phase = self.step()?;
        destroy_file(&self.directory.join(name))
    }

    /// All files as they are; one that is gone before it is read was destroyed.
    pub fn all(&self) -> Result<All> {
        let mut files = All::new();
        for name in self.names()?.into_iter().filter(|name| !name.ends_with(TEMPORARY_ENDING)) {
            match self.read(&name) {
                Ok(bytes) => drop(files.insert(name, bytes)),
                Err(_) if !self.directory.join(&name).exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// Is this the name of a key-encryption key?
    pub fn is_key(name: &str) -> bool {
        name.ends_with(KEY_ENDING)
    }

    /// Is this the name of a list of keys that are left of an epoch?
    pub fn is_list(name: &str) -> bool {
        name.ends_with(LIST_ENDING)
    }

    /// Name of the key-encryption key of a number.
    pub fn key_name(number: u64) -> String {
        format!("{number:020}{KEY_ENDING}")
    }

    /// What a file says.
    pub fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        let file = std::fs::File::open(self.directory.join(name)).map_err(|e| match e.kind() {
            ErrorKind::NotFound => unusable("a file of it is missing"),
            _ => io_error(&e),
        })?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(VAULT_FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| io_error(&e))?;
        if u64::try_from(bytes.len()).is_ok_and(|n| n <= VAULT_FILE_BYTES_MAX) {
            Ok(bytes)
        } else {
            Err(unusable("a file of it is too large"))
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let _phase = self.step()?;
        create_directory(&self.directory)?;
        write_secret(&self.directory.join(name), bytes)
    }

    /// A nonce, then the ciphertext with its tag; the file's name is bound to it.
    fn write_sealed(&self, name: &str, key: &Key, plain: Vec<u8>) -> Result<()> {
        let nonce = random::<12>()?;
        let sealed = seal(key, nonce, name.as_bytes(), plain)?;
        self.write(name, &[nonce.as_slice(), &sealed].concat())
    }

    fn opened(&self, name: &str, key: &Key) -> Result<Zeroizing<Vec<u8>>> {
        let opened = opened_by(key, name, &self.read(name)?)?;
        opened.ok_or_else(|| unusable("a file of it was not written by its key"))
    }

    /// Begins a change; tests let one fail here.
    #[cfg_attr(not(test), allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests let a change fail"))]
    fn step(&self) -> Result<Open> {
        #[cfg(test)]
        {
            use std::sync::atomic::Ordering;
            let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            left.map_err(|_| Error::new(ErrorCode::Internal, "a crash"))?;
        }
        Ok(crate::phases::open(Phase::Vault))
    }
}

/// What the file of this name says; none where this isn't its key.
fn opened_by(key: &Key, name: &str, bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let opened = bytes.split_first_chunk::<12>().map(|(nonce, sealed)| open(key, *nonce, name.as_bytes(), sealed));
    Ok(opened.transpose()?.flatten())
}

fn epochs_name(number: u64) -> String {
    format!("{number:020}.epochs")
}

fn keys_name(number: u64, epoch: &EpochId) -> String {
    format!("{number:020}-{:016x}{LIST_ENDING}", u64::from_be_bytes(*epoch))
}

/// Why sealed values can't be opened, and nothing is sealed either.
pub(super) fn unusable(why: &str) -> Error {
    Error::new(ErrorCode::KeyInvalid, format!("the vault can't be used: {why}"))
}
