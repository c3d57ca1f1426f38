//! An organisation's directory: whose it is, by which keys its log is verified.

use crate::limits::CONFIG_BYTES_MAX;
use perron_model::limits::REGISTER_BYTES_MAX;
use perron_model::participant::PublicKey;
use perron_model::{Error, ErrorCode, ParticipantId, Result, SpaceId};
use serde::Deserialize;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What a directory's configuration says of it, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Whose {
    /// The organisation.
    pub participant: ParticipantId,
    /// The data space.
    pub space: SpaceId,
}

/// Reads whose directory it is (`perron.toml`).
pub(crate) fn whose(directory: &Path) -> Result<Whose> {
    let bytes = read(&directory.join("perron.toml"), CONFIG_BYTES_MAX)?.ok_or_else(|| nobodys(directory))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("`perron.toml` is not UTF-8"))?;
    toml::from_str(text).map_err(|e| invalid(format!("`perron.toml`: {}", e.message())))
}

fn nobodys(directory: &Path) -> Error {
    let shown = directory.display();
    if directory.join("evidence/perron.toml").is_file() {
        return invalid(format!("`{shown}` is an auditor's folder: verify `{shown}/evidence`, the copy in it"));
    }
    invalid(format!("`{shown}` is not an organisation's directory: it has no `perron.toml`"))
}

/// The authority's key as the directory keeps it.
pub(crate) fn authority_key(directory: &Path) -> Result<PublicKey> {
    let bytes = read(&directory.join("trust/authority.key"), CONFIG_BYTES_MAX)?
        .ok_or_else(|| invalid("`trust/authority.key` is not there; the authority's key must be given"))?;
    let text = String::from_utf8(bytes).map_err(|_| invalid("`trust/authority.key` is not UTF-8"))?;
    PublicKey::try_from(text.trim().to_owned())
}

/// The register's bytes, if there are any.
pub(crate) fn register_bytes(directory: &Path) -> Result<Option<Vec<u8>>> {
    let bytes_max = u64::try_from(REGISTER_BYTES_MAX).unwrap_or(u64::MAX);
    read(&directory.join("trust/register.json"), bytes_max)
}

/// Reads a file within a bound; none where there is no such file.
pub(crate) fn read(file: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let failed = |e: std::io::Error| invalid(format!("`{}` can't be read: {e}", file.display()));
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    opened.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(Error::new(ErrorCode::TooLarge, format!("`{}` is over {bytes_max} bytes", file.display())));
    }
    Ok(Some(bytes))
}

/// The names in a folder, in order, at most `max`; none where there is no such folder.
pub(crate) fn names(folder: &Path, max: usize) -> Result<Vec<String>> {
    let failed = |e: std::io::Error| invalid(format!("`{}` can't be read: {e}", folder.display()));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() >= max {
            return Err(Error::new(ErrorCode::TooLarge, format!("`{}` holds more than {max} files", folder.display())));
        }
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::ConfigInvalid, detail)
}
