//! The vault in backups: copied as it was at one moment, without its key-encryption key unless that is
//! wanted, for whoever has the key and a copy of the rest opens what is sealed.

use super::files::{Files, unusable};
use crate::files::{create_directory, write_secret};
use perron_model::limits::VAULT_COPIES_MAX;
use perron_model::{Error, ErrorCode, Result};
use std::path::Path;

/// Copies a vault, whose process may run. An erasure meanwhile destroys what was there before, so the
/// files are read until they are the same twice.
///
/// # Errors
/// `log_unavailable` where they never are.
pub fn copy(from: &Path, to: &Path, with_keys: bool) -> Result<()> {
    let files = Files::of(from);
    let mut found = files.all()?;
    for _ in 0..VAULT_COPIES_MAX {
        let again = files.all()?;
        if again == found {
            let wanted = |name: &str| with_keys || !Files::is_key(name);
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
