//! The signing keys that an organisation holds, beside what the register says of each.
//!
//! A new key lies in `<use>.next.pem` and signs nothing until the register in use holds it; the old
//! one stays in `<use>.pem` until its time there is over, and then the new one takes its name. So
//! whatever a crash leaves, the register says which of them signs.

use super::keys::{KeySet, SigningKey, file_of, next_file_of, read_signing};
use crate::files::write_secret;
use perron_model::limits::KEY_SETTLING_MS_MAX;
use perron_model::participant::{KeyUse, Participant, RegisteredKey};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The uses whose keys a participant changes.
pub const CHANGEABLE: [KeyUse; 4] = [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness];

/// A key that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it is for.
    pub key_use: KeyUse,
    /// The key.
    pub key: Arc<SigningKey>,
    /// What the register says of it; none where it doesn't know it.
    pub registered: Option<RegisteredKey>,
    is_next: bool,
}

/// The keys in a directory.
pub struct Keyring {
    directory: PathBuf,
    set: Arc<KeySet>,
    held: RwLock<Vec<Held>>,
}

impl Held {
    fn lives(&self, at: Timestamp) -> bool {
        self.registered.as_ref().is_some_and(|r| r.until.is_none_or(|until| at < until))
    }

    fn since(&self) -> Option<Timestamp> {
        self.registered.as_ref().map(|r| r.from)
    }
}

impl Keyring {
    /// The keys of `set`, which were read from `directory`, and the new ones beside them.
    ///
    /// # Errors
    /// `key_unsafe` and `key_invalid` as `KeySet::load` has them.
    pub fn open(directory: &Path, set: Arc<KeySet>) -> Result<Keyring> {
        let mut held = Vec::new();
        for key_use in CHANGEABLE {
            let next = read_signing(directory, next_file_of(key_use))?.map(Arc::new);
            // Of a key that was lost only the new one is there.
            let is_lost = next.is_some() && read_signing(directory, file_of(key_use))?.is_none();
            if !is_lost {
                held.push(Held { key_use, key: set.shared(key_use)?, registered: None, is_next: false });
            }
            held.extend(next.map(|key| Held { key_use, key, registered: None, is_next: true }));
        }
        Ok(Keyring { directory: directory.to_owned(), set, held: RwLock::new(held) })
    }

    /// The keys that were read when it was opened: of the channel, and of an authority.
    pub fn set(&self) -> &Arc<KeySet> {
        &self.set
    }

    fn read(&self) -> Vec<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the register says of this participant's keys.
    pub fn follow(&self, own: &Participant) {
        for held in self.held.write().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let public = held.key.public();
            held.registered = own.keys.iter().find(|k| k.key_use == held.key_use && k.key == public).cloned();
        }
    }

    /// All keys that are held for a use: the one that was first, then the new one.
    pub fn held(&self, key_use: KeyUse) -> Vec<Held> {
        self.read().into_iter().filter(|held| held.key_use == key_use).collect()
    }

    /// The keys that are in force at `at`, the oldest first. Before the first of them is, which a
    /// clock that lags may show, that first one.
    ///
    /// # Errors
    /// `key_invalid` where the register knows none of them, or only such as have ended.
    pub fn in_force(&self, key_use: KeyUse, at: Timestamp) -> Result<Vec<Held>> {
        let mut living = self.held(key_use);
        living.retain(|held| held.lives(at));
        living.sort_by_key(Held::since);
        let begun = living.iter().filter(|held| held.since().is_some_and(|from| from <= at)).count();
        living.truncate(begun.max(1));
        if living.is_empty() {
            let detail = format!(
                "of the keys in `{}` and `{}` the register has none in force",
                file_of(key_use),
                next_file_of(key_use)
            );
            return Err(Error::new(ErrorCode::KeyInvalid, detail));
        }
        Ok(living)
    }

    /// The key that signs a document of `at`. While two are in force, the new one begins once others
    /// had time to learn of it: half of the overlap, five minutes at the most.
    ///
    /// # Errors
    /// As `in_force`.
    pub fn signing_key(&self, key_use: KeyUse, at: Timestamp) -> Result<Arc<SigningKey>> {
        let keys = self.in_force(key_use, at)?;
        let settled = |held: &&Held| {
            let older = keys.iter().filter(|other| other.since() < held.since());
            let ends = older.filter_map(|other| other.registered.as_ref().and_then(|r| r.until)).max();
            let from = held.since().unwrap_or(at);
            let overlap_ms = ends.map_or(0, |end| end.millis().saturating_sub(from.millis()));
            from.plus_millis((overlap_ms / 2).clamp(0, KEY_SETTLING_MS_MAX)) <= at
        };
        let chosen = keys.iter().rev().find(settled).or_else(|| keys.first());
        chosen.map(|held| held.key.clone()).ok_or_else(|| Error::new(ErrorCode::KeyInvalid, "no key is held"))
    }

    /// The new key for a use that the register doesn't know yet: the one of an earlier try, else one
    /// that is made now and durable before this returns.
    ///
    /// # Errors
    /// `transition_illegal` while the change before is in its overlap; what keeps a file from being written.
    pub fn next(&self, key_use: KeyUse) -> Result<Arc<SigningKey>> {
        if !CHANGEABLE.contains(&key_use) {
            return Err(Error::new(ErrorCode::KeyInvalid, "the register's key isn't changed by a participant"));
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = held.iter().find(|h| h.key_use == key_use && h.is_next) {
            return match &next.registered {
                None => Ok(next.key.clone()),
                Some(_) => Err(Error::new(
                    ErrorCode::TransitionIllegal,
                    "the key before is still in force beside the newest one; until that is over there is no third",
                )),
            };
        }
        let key = Arc::new(SigningKey::generate()?);
        write_secret(&self.directory.join(next_file_of(key_use)), key.to_pem()?.as_bytes())?;
        held.push(Held { key_use, key: key.clone(), registered: None, is_next: true });
        Ok(key)
    }

    /// Gives each new key in force the name of an old one whose time is over at `at`: the file of the
    /// old one is replaced, and nothing holds it any more. Gives the uses.
    ///
    /// # Errors
    /// What keeps a file from being renamed.
    pub fn retire(&self, at: Timestamp) -> Result<Vec<KeyUse>> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let mut retired = Vec::new();
        for key_use in CHANGEABLE {
            let of = |is_next: bool| held.iter().position(|h| h.key_use == key_use && h.is_next == is_next);
            let (old, Some(new)) = (of(false), of(true)) else { continue };
            let is_over = old.is_none_or(|old| held.get(old).is_some_and(|h| h.registered.is_some() && !h.lives(at)));
            let has_begun = held.get(new).is_some_and(|h| h.lives(at) && h.since().is_some_and(|from| from <= at));
            if !is_over || !has_begun {
                continue;
            }
            let written =
                std::fs::rename(self.directory.join(next_file_of(key_use)), self.directory.join(file_of(key_use)))
                    .and_then(|()| std::fs::File::open(&self.directory)?.sync_all());
            written
                .map_err(|e| Error::new(ErrorCode::KeyInvalid, format!("a key file can't be renamed: {}", e.kind())))?;
            if let Some(new) = held.get_mut(new) {
                new.is_next = false;
            }
            if let Some(old) = old {
                held.remove(old);
            }
            retired.push(key_use);
        }
        Ok(retired)
    }
}

/// Makes a key for a use whose key is lost, in a stopped directory; the one of an earlier try is that one.
/// It lies where a new key lies, and signs nothing until the register has it; `known` are the keys that
/// the register has.
///
/// # Errors
/// `transition_illegal` where the register has the key that lies there: it isn't one for a lost key, and
/// may itself be the one that is lost. As `KeySet::load` for a key that is there, and what keeps a file
/// from being written.
pub fn make_for_lost(directory: &Path, key_use: KeyUse, known: &[RegisteredKey]) -> Result<SigningKey> {
    if let Some(made) = read_signing(directory, next_file_of(key_use))? {
        let public = made.public();
        if known.iter().any(|key| key.key == public) {
            let detail = format!(
                "the register has the key in `keys/{}` already: move that file away, and a new key is made",
                next_file_of(key_use)
            );
            return Err(Error::new(ErrorCode::TransitionIllegal, detail));
        }
        return Ok(made);
    }
    let key = SigningKey::generate()?;
    write_secret(&directory.join(next_file_of(key_use)), key.to_pem()?.as_bytes())?;
    Ok(key)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?})", self.read())
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
