//! Logs of this organisation that are closed: read, never written. What they say counts on in the
//! log that took their place.

use crate::ledger::failure::log_error;
use crate::ledger::handle::{Ledger, LogIdentity};
use perron_log::{Layout, Log, LogReader, OsFiles};
use perron_model::succession::ClosedLog;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde::{Deserialize, Serialize};
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

/// Where the entry of a place stands among those of all logs: what was written before comes first.
pub const fn order_of(place: u64) -> (u64, u64) {
    match closed_at(base_of(place)) {
        Some(generation) => (generation, place & ((1 << NUMBER_BITS) - 1)),
        None => (u64::MAX, place),
    }
}

/// A closed log.
#[derive(Clone)]
pub(super) struct Generation {
    number: u64,
    origin: String,
    pub(super) reader: LogReader,
}

/// A log of this organisation that is asked about: the one in force, or one that is closed.
#[derive(Clone)]
pub struct OneLog {
    /// Place of its first entry.
    pub base: u64,
    /// Origin: `<authority>/<participant>/<generation>`.
    pub origin: String,
    /// Reads it.
    pub reader: LogReader,
}

/// A closed log, for those who ask about the one that took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierLog {
    /// The number that its origin ends in, by which it is asked about.
    pub generation: u64,
    /// Its origin.
    pub origin: String,
    /// How many entries it has.
    pub entries: u64,
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
                return Ok(Generation { number, origin: told.origin, reader });
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

impl Ledger {
    /// The log of a generation; the one in force where none is named.
    ///
    /// # Errors
    /// `not_found` where there is no such log here.
    pub fn log_of(&self, generation: Option<u64>) -> Result<OneLog> {
        let own = &self.0;
        let Some(asked) = generation.filter(|number| *number != own.generation) else {
            return Ok(OneLog { base: 0, origin: own.origin.clone(), reader: own.reader.clone() });
        };
        let found = own.closed.iter().find(|closed| closed.number == asked);
        let none = || Error::new(ErrorCode::NotFound, format!("there is no log of generation {asked} here"));
        let closed = found.ok_or_else(none)?;
        Ok(OneLog { base: closed.place(0), origin: closed.origin.clone(), reader: closed.reader.clone() })
    }

    /// The logs that came before the one in force, the oldest first.
    pub fn earlier_logs(&self) -> Vec<EarlierLog> {
        let told = |closed: &Generation| EarlierLog {
            generation: closed.number,
            origin: closed.origin.clone(),
            entries: closed.reader.size(),
        };
        self.0.closed.iter().map(told).collect()
    }
}

impl Generation {
    /// The place of one of its entries among those of all logs. Entries of the log in force have
    /// their number as their place.
    pub(super) fn place(&self, index: u64) -> u64 {
        base_of_closed(self.number) | index
    }
}
