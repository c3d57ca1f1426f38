//! Torn ends of the log, which starts moved aside. They may hold sealed values of which no entry tells,
//! so that no erasure can name them: each erasure destroys all of them.

use crate::connector::node::Node;
use crate::files::{destroy_file, io_error};
use crate::ledger::{closed_at, generation_dir};
use perron_log::limits::RECORD_BYTES_MAX;
use perron_log::{Layout, LogReader};
use perron_model::entry::{Body, Entry};
use perron_model::{Digest, Error, ErrorCode, Result};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

impl Node {
    /// Destroys those that a durable entry `recovery` tells of; what else lies there is nobody's here.
    /// A crash in the middle leaves the rest to the next erasure.
    pub(super) fn destroy_torn(&self) -> Result<()> {
        let mut torn = Vec::new();
        for (base, _) in self.ledger.logs() {
            let data = closed_at(base).map_or_else(|| self.data.clone(), |of| generation_dir(&self.data, of));
            torn.extend(torn_in(Layout::new(&data).quarantine_dir())?);
        }
        if torn.is_empty() {
            return Ok(());
        }
        let mut told = BTreeSet::new();
        for (_, reader) in self.ledger.logs() {
            told.extend(told_in(reader)?);
        }
        let told = torn.iter().filter(|(_, digest)| told.contains(digest));
        told.map(|(file, _)| destroy_file(file)).fold(Ok(()), Result::and)
    }
}

/// Files of a folder that may be a torn end, with their digests.
fn torn_in(folder: &Path) -> Result<Vec<(PathBuf, Digest)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(&e)),
    };
    let (mut torn, most) = (Vec::new(), u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX));
    for entry in entries {
        let entry = entry.map_err(|e| io_error(&e))?;
        let metadata = entry.metadata().map_err(|e| io_error(&e))?;
        if !metadata.is_file() || metadata.len() > most {
            continue;
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(entry.path()).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.map_err(|e| io_error(&e))?;
        torn.push((entry.path(), Digest::of(&bytes)));
    }
    Ok(torn)
}

/// Digests of the torn ends that a log tells of.
fn told_in(reader: &LogReader) -> Result<Vec<Digest>> {
    let mut told = Vec::new();
    let read = reader.for_entries(0, reader.size(), &mut |stored| {
        let entry = stored.entry().and_then(|stored| Entry::from_bytes(&stored.leaf).ok());
        if let Some(Body::Recovery(recovery)) = entry.map(|entry| entry.body) {
            told.push(recovery.digest);
        }
        true
    });
    read.map(|()| told).map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_alone_are_torn_ends_and_none_that_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(torn_in(&at("none")).unwrap().is_empty());
        std::fs::write(at("segment-0-72-0011"), b"half a record").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
        std::fs::File::create(at("large")).unwrap().set_len(RECORD_BYTES_MAX as u64 + 1).unwrap();
        assert_eq!(torn_in(directory.path()).unwrap(), [(at("segment-0-72-0011"), Digest::of(b"half a record"))]);
        destroy_file(&at("segment-0-72-0011")).unwrap();
        assert!(torn_in(directory.path()).unwrap().is_empty());
    }
}
