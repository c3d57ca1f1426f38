//! Logs of this organisation that are closed: read, never written. What they say counts on in the
//! log that took their place.

use crate::ledger::failure::log_error;
use crate::ledger::handle::LogIdentity;
use perron_log::{Layout, Log, LogReader, OsFiles};
use perron_model::succession::ClosedLog;
use perron_model::{Digest, Error, ErrorCode, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder of the closed logs, one folder a generation, each with its `log/`.
pub const GENERATIONS: &str = "generations";

/// The mark of a place in a closed log; the generation and the entry's number stand below it.
const CLOSED: u64 = 1 << 63;
/// Bits of the entry's number in such a place.
const NUMBER_BITS: u32 = 44;

/// The place of the first entry of the log in which the entry of this place lies: of the log in force
/// it is 0. Those of the others follow it.
pub const fn base_of(place: u64) -> u64 {
    if place < CLOSED { 0 } else { place & !((1 << NUMBER_BITS) - 1) }
}

/// The same of a closed generation.
pub const fn base_of_closed(generation: u64) -> u64 {
    CLOSED | (generation << NUMBER_BITS)
}

/// The closed generation whose places begin there; none for the log in force.
pub const fn closed_at(base: u64) -> Option<u64> {
    if base < CLOSED { None } else { Some((base & !CLOSED) >> NUMBER_BITS) }
}

/// Where the log of a closed generation lies.
pub fn generation_dir(data: &Path, generation: u64) -> PathBuf {
    data.join(GENERATIONS).join(generation.to_string())
}

/// A closed log.
#[derive(Clone)]
pub(super) struct Generation {
    number: u64,
    pub(super) reader: LogReader,
}

/// The closed logs, the oldest first.
#[derive(Clone, Default)]
pub struct Generations(Vec<Generation>);

impl Generations {
    /// Opens the closed logs under `data` for reading; each must be what the register says that it
    /// was when it was closed.
    ///
    /// # Errors
    /// `log_damaged` where one isn't there whole or isn't the one that was closed.
    pub fn open(data: &Path, closed: Vec<(LogIdentity, ClosedLog)>) -> Result<Generations> {
        let open = |(identity, told): (LogIdentity, ClosedLog)| {
            let number = identity.generation;
            let layout = Layout::new(&generation_dir(data, number));
            let reader = Log::read(Arc::new(OsFiles), layout, &identity.reading()?, &[]).map_err(|e| log_error(&e))?;
            let is_same = reader.size() == told.size && Digest::from_bytes(reader.root().0) == told.root;
            if is_same {
                return Ok(Generation { number, reader });
            }
            let detail = format!("`{GENERATIONS}/{number}/log` isn't the log `{}` as it was closed", told.origin);
            Err(Error::new(ErrorCode::LogDamaged, detail))
        };
        closed.into_iter().map(open).collect::<Result<_>>().map(Generations)
    }

    /// Entries of all of them.
    pub fn entries(&self) -> u64 {
        self.0.iter().fold(0, |sum, closed| sum.saturating_add(closed.reader.size()))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.0.iter()
    }

    /// The closed log of a place, and the entry's number there.
    pub(super) fn locate(&self, place: u64) -> Option<(&LogReader, u64)> {
        let number = place & ((1 << NUMBER_BITS) - 1);
        let generation = (place & !CLOSED) >> NUMBER_BITS;
        let found = self.0.iter().find(|closed| place >= CLOSED && closed.number == generation)?;
        Some((&found.reader, number))
    }
}

impl Generation {
    /// The place of one of its entries among those of all logs. Entries of the log in force have
    /// their number as their place.
    pub(super) fn place(&self, index: u64) -> u64 {
        base_of_closed(self.number) | index
    }
}
