//! The vault in backups: copied as it was at one moment, without its key-encryption key unless that is
//! wanted, for whoever has the key and a copy of the rest opens what is sealed. Of other key-encryption
//! keys, which an erasure has yet to destroy, nothing is copied.

use super::files::{All, Files, in_question, unusable};
use crate::files::{create_directory, write_secret};
use perron_model::limits::VAULT_COPIES_MAX;
use perron_model::{Error, ErrorCode, Result};
use std::path::Path;

/// Copies a vault, whose process may run. An erasure meanwhile destroys what was there before, so the
/// files are read until they are the same twice. `logged` is the number of the key-encryption key that
/// the newest entry `erased` of the log beside the copy names, where there is one.
///
/// # Errors
/// `log_unavailable` where they never are.
pub fn copy(from: &Path, to: &Path, with_keys: bool, logged: Option<u64>) -> Result<()> {
    let files = Files::of(from);
    let mut found = files.all()?;
    for _ in 0..VAULT_COPIES_MAX {
        let again = files.all()?;
        if again == found {
            let taken = taken(&found, logged.unwrap_or(1))?;
            let wanted = |name: &str| belongs(name, taken) && (with_keys || !Files::is_key(name));
            for (name, bytes) in found.iter().filter(|(name, _)| wanted(name)) {
                create_directory(to)?;
                write_secret(&to.join(name), bytes)?;
            }
            return Ok(());
        }
        found = again;
    }
    Err(Error::new(ErrorCode::LogUnavailable, "the vault changes all the time"))
}

/// The number of the key that these files are copied with: as a start would choose it.
fn taken(all: &All, due: u64) -> Result<Option<u64>> {
    let found = Files::found_in(all.keys().map(String::as_str));
    for number in in_question(&found, due) {
        if Files::opens(all, number)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Is this file one of that key's? Lists of keys that are left outlive the key with which they were
/// written. Where no key is there, what it would open is copied without one.
fn belongs(name: &str, taken: Option<u64>) -> bool {
    match (Files::number_of(name), taken) {
        (None, _) => false,
        (Some(_), None) => !Files::is_key(name),
        (Some(number), Some(taken)) if Files::is_list(name) => number <= taken,
        (Some(number), Some(taken)) => number == taken,
    }
}

/// Takes key-encryption keys that lie among other keys into a vault that was brought back. Gives the
/// names of all that lie there, taken or not.
pub fn take_keys(from: &Path, vault: &Path) -> Result<Vec<String>> {
    let (there, files) = (Files::of(from), Files::of(vault));
    let names: Vec<String> = there.names()?.into_iter().filter(|name| Files::is_key(name)).collect();
    for (number, found) in files.found()? {
        let name = Files::key_name(number);
        if found.epochs && !found.key && names.contains(&name) {
            write_secret(&vault.join(&name), &there.read(&name)?)?;
        }
    }
    Ok(names)
}

/// Refuses a vault that says what is sealed to nobody.
///
/// # Errors
/// `key_invalid` where it has secrets and no key for any of them.
pub fn require_key(vault: &Path) -> Result<()> {
    let found = Files::of(vault).found()?;
    if found.values().any(|f| f.epochs) && !found.values().any(|f| f.epochs && f.key) {
        return Err(unusable(super::WITHOUT_KEY));
    }
    Ok(())
}
