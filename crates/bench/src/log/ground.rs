//! The logs that are measured: their key, how they are opened, who is told of their entries.

use crate::failed;
use perron::connector::state::State;
use perron::ledger::{KnownHeads, Ledger, LogIdentity, LogKeys, Observer, Opened, SystemClock};
use perron::store::Store;
use perron_log::{Layout, Log, LogSettings, NoteSigner, OsFiles, Signer, Verifier};
use perron_model::entry::{AttachmentKind, Entry};
use perron_model::{Digest, Result};
use std::path::Path;
use std::sync::Arc;

/// Name of each log here, and of its key.
pub(super) const ORIGIN: &str = "authority.bench.perron/bench/1";
const GENERATION: u64 = 1;
/// The key of these logs is no secret: the process that verifies them makes it again.
const SEED: [u8; 32] = [7; 32];

pub(super) fn signer() -> Result<Signer> {
    Signer::from_seed(ORIGIN, &SEED).map_err(failed)
}

/// The key by which the logs here are verified.
pub(super) fn verifier() -> Result<Verifier> {
    Ok(signer()?.verifier().clone())
}

/// The log of a directory alone, without a ledger in front of it.
pub(super) fn log(directory: &Path) -> Result<Log> {
    std::fs::create_dir_all(directory).map_err(failed)?;
    let settings = LogSettings::new(ORIGIN, GENERATION, Box::new(signer()?));
    let opened = Log::open(Arc::new(OsFiles), Layout::new(directory), settings, &[]);
    opened.map(|(log, _)| log).map_err(failed)
}

/// The state of a directory, kept on the disk as a process keeps it.
pub(super) fn state(directory: &Path) -> Result<Arc<State>> {
    std::fs::create_dir_all(directory).map_err(failed)?;
    Ok(Arc::new(State::open(Store::open(&directory.join("state"))?)?))
}

/// The ledger of a directory.
pub(super) fn ledger(directory: &Path, observer: Arc<dyn Observer>) -> Result<(Ledger, Opened)> {
    let identity = LogIdentity { origin: ORIGIN.to_owned(), generation: GENERATION, keys: LogKeys::alone(signer()?) };
    Ledger::open(directory, identity, KnownHeads::default(), Arc::new(SystemClock), observer)
}

/// A state that counts a log's entries as taken up in an earlier life, as after an ordinary start.
pub(super) struct Level {
    pub(super) state: Arc<State>,
    pub(super) seen: u64,
}

impl Observer for Level {
    fn applied(&self, entry: &Entry, leaf: Digest, attachments: &[(AttachmentKind, Vec<u8>)]) {
        self.state.applied(entry, leaf, attachments);
    }
    fn batch_end(&self, size: u64) {
        self.state.batch_end(size);
    }
    fn seen(&self) -> u64 {
        self.seen
    }
}

/// Numbers from a seed (xorshift64*): the same places of a log for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64) -> Dice {
        Dice(seed | 1)
    }
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound.max(1)
    }
}
