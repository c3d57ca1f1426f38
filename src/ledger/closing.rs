//! A log that is closed, and the one that takes its place: what the first says at its end, and the
//! first entry of the other. Nobody serves the directory meanwhile.

use crate::ledger::chains::Chains;
use crate::ledger::failure::log_error;
use crate::ledger::fold::kinds;
use crate::ledger::generations::Generations;
use crate::ledger::handle::LogIdentity;
use crate::ledger::pruning::Activities;
use crate::ledger::replay::Tip;
use crate::ledger::writer::{Observer, random_16};
use perron_log::merkle::leaf_hash;
use perron_log::{Attachment, Layout, Log, LogReader, NewEntry, OsFiles};
use perron_model::entry::{AttachmentKind, Body, ENTRY_VERSION, Entry, Succession};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A log at its end, as it is closed.
pub struct Closing {
    reader: LogReader,
    chains: Chains,
    tip: Tip,
    gives: BTreeMap<AgreementId, ParticipantId>,
}

/// The first entry of a log that took the place of another.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What it says.
    pub body: Succession,
    /// Its leaf hash.
    pub leaf: Digest,
}

/// Agreements under which this organisation gives, with their other side; the newest version of each.
#[derive(Default)]
struct Gives(Mutex<BTreeMap<AgreementId, ParticipantId>>);

impl Observer for Gives {
    fn applied(&self, entry: &Entry, _leaf: Digest, _attachments: &[(AttachmentKind, Vec<u8>)]) {
        let Body::Agreement(agreement) = &entry.body else { return };
        let mut gives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &agreement.amends {
            gives.remove(before);
        }
        if let Ok(partner) = ParticipantId::parse(&agreement.counterparty)
            && agreement.side == "provider"
        {
            gives.insert(agreement.agreement, partner);
        }
    }
    fn batch_end(&self, _size: u64) {}
    fn seen(&self) -> u64 {
        0
    }
}

impl Closing {
    /// Opens the log under `data` as a start does, whoever holds more of it: a torn last record is
    /// moved aside, and what is derived is brought level.
    pub fn open(data: &Path, closed: &Generations, identity: LogIdentity) -> Result<Closing> {
        let opened = Log::open(Arc::new(OsFiles), Layout::new(data), identity.reading()?, &[]);
        Closing::of(opened.map_err(|e| log_error(&e))?.0, closed)
    }

    /// As [`Self::open`], of a log whose end is gone: its own checkpoint, which whoever calls this has kept,
    /// covers more than is left of it.
    pub fn open_without_end(data: &Path, closed: &Generations, identity: LogIdentity) -> Result<Closing> {
        let opened = Log::open_without_end(Arc::new(OsFiles), Layout::new(data), identity.reading()?);
        Closing::of(opened.map_err(|e| log_error(&e))?.0, closed)
    }

    fn of(log: Log, closed: &Generations) -> Result<Closing> {
        log.publisher().publish().map_err(|e| log_error(&e))?;
        let (reader, gives, mut chains) = (log.reader(), Gives::default(), Chains::new(Activities::new()));
        let (tip, _) = Tip::replay(closed, &reader, &mut chains, &gives)?;
        let gives = gives.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Closing { reader, chains, tip, gives })
    }

    /// What is durable of it.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Agreements under which this organisation gives, with their other side.
    pub fn gives(&self) -> &BTreeMap<AgreementId, ParticipantId> {
        &self.gives
    }

    /// Uses and bytes charged to an agreement at the end of the log.
    pub fn totals(&self, agreement: &AgreementId) -> (u64, u64) {
        self.chains.totals(agreement)
    }

    /// Begins the log that takes its place, under `next`: its first entry is durable and published
    /// when this returns.
    pub fn begin(
        &self,
        next: &Path,
        identity: LogIdentity,
        body: Succession,
        attachments: Vec<(AttachmentKind, Vec<u8>)>,
        now: Timestamp,
    ) -> Result<()> {
        let entry = Entry {
            version: ENTRY_VERSION,
            index: 0,
            time: self.tip.time.max(now),
            previous: None,
            blind: random_16()?.into(),
            chain: None,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body: Body::Succession(body),
        };
        let attached = |(kind, bytes)| Attachment { kind: kind as u16, bytes };
        let first = NewEntry { leaf: entry.to_bytes()?, attachments: attachments.into_iter().map(attached).collect() };
        let settings = identity.settings(self.tip.latest.max(entry.time))?;
        let (mut log, _) = Log::open(Arc::new(OsFiles), Layout::new(next), settings, &[]).map_err(|e| log_error(&e))?;
        log.append(&[first]).map_err(|e| log_error(&e))?;
        log.publisher().publish().map_err(|e| log_error(&e))
    }
}

impl Begun {
    /// The first entry of the log under `next`; none where it was never written whole.
    ///
    /// # Errors
    /// `log_damaged` where another entry stands there.
    pub fn read(next: &Path, identity: LogIdentity) -> Result<Option<Begun>> {
        let reader = Log::read(Arc::new(OsFiles), Layout::new(next), &identity.reading()?, &[]);
        let reader = reader.map_err(|e| log_error(&e))?;
        if reader.size() == 0 {
            return Ok(None);
        }
        let stored = reader.entry(0).map_err(|e| log_error(&e))?;
        let leaf = Digest::from_bytes(leaf_hash(&stored.leaf).0);
        let entry = Entry::from_bytes(&stored.leaf)?;
        match (entry.body, kinds(stored.attachments)) {
            (Body::Succession(body), Some(_)) => Ok(Some(Begun { body, leaf })),
            _ => Err(Error::new(ErrorCode::LogDamaged, "the next log doesn't begin with a succession")),
        }
    }
}
