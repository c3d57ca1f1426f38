//! The one writer: a thread that turns drafts into entries, a batch at a time.

use crate::ledger::chains::Chains;
use crate::ledger::failure::log_error;
use crate::ledger::handle::Inner;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_log::merkle::leaf_hash;
use perron_log::{Attachment, Log, LogReader, NewEntry};
use perron_model::entry::{AttachmentKind, Body, ClockJump, ENTRY_VERSION, Entry};
use perron_model::limits::LEDGER_BATCH_MAX;
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, Timestamp};
use std::sync::{Arc, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What is to be written; number, time, blind and chain position are set by the writer.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What happened.
    pub body: Body,
    /// The agreement to whose chain it belongs.
    pub chain: Option<AgreementId>,
    /// Bytes that the entry binds.
    pub attachments: Vec<(AttachmentKind, Vec<u8>)>,
}

impl Draft {
    /// An entry outside of any chain, with nothing attached.
    pub fn plain(body: Body) -> Draft {
        Draft { body, chain: None, attachments: Vec::new() }
    }
}

/// Who is told of each durable entry, in order, on the writer's thread.
pub trait Observer: Send + Sync {
    /// An entry is durable.
    fn applied(&self, entry: &Entry, leaf: Digest, attachments: &[(AttachmentKind, Vec<u8>)]);
    /// All entries told of are durable: a good moment to note how far one is.
    fn batch_end(&self, size: u64);
    /// How many entries the observer has seen in an earlier life; the rest is told at start.
    fn seen(&self) -> u64;
}

pub(super) enum Job {
    Write {
        // Boxed: the queue has a place of this size for each that may wait.
        draft: Box<Draft>,
        reply: oneshot::Sender<Result<perron_gate::Recorded>>,
    },
    /// Answered once all that was enqueued before is durable.
    Level {
        reply: oneshot::Sender<()>,
    },
    Tick,
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// 16 random bytes of the system.
pub(crate) fn random_16() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(ErrorCode::Internal, "the system gave no random bytes"))?;
    Ok(bytes)
}

/// 128 random bits as text.
pub(crate) fn random_text() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_16()?))
}

pub(super) type Waiting = (Draft, Option<oneshot::Sender<Result<perron_gate::Recorded>>>);
type Prepared = (Entry, Digest, Vec<(AttachmentKind, Vec<u8>)>);

pub(super) struct Writer {
    log: Log,
    observer: Arc<dyn Observer>,
    last_leaf: Option<Digest>,
    last_time: Timestamp,
}

impl Writer {
    pub(super) fn new(log: Log, observer: Arc<dyn Observer>) -> Writer {
        Writer { log, observer, last_leaf: None, last_time: Timestamp::EPOCH }
    }

    /// Reads the log from its beginning: chains always, the observer from where it was.
    pub(super) fn replay(&mut self, reader: &LogReader, chains: &mut Chains) -> Result<()> {
        let seen = self.observer.seen();
        if seen > reader.size() {
            // What is derived leads the truth: acknowledged entries are gone.
            return Err(Error::new(
                ErrorCode::LogTailLost,
                format!("the store has seen {seen} entries, but the log holds {}", reader.size()),
            ));
        }
        for index in 0..reader.size() {
            let bytes = reader.leaf(index).map_err(|e| log_error(&e))?;
            let entry = Entry::from_bytes(&bytes)
                .map_err(|e| Error::new(ErrorCode::LogDamaged, format!("entry {index}: {}", e.detail)))?;
            let leaf = Digest::from_bytes(leaf_hash(&bytes).0);
            chains.follow(&entry, leaf, true);
            if matches!(entry.body, Body::Decision(_)) || index >= seen {
                let attachments = attachments_of(reader, index)?;
                acknowledge(chains, &entry, &attachments);
                if index >= seen {
                    self.observer.applied(&entry, leaf, &attachments);
                }
            }
            self.last_leaf = Some(leaf);
            self.last_time = entry.time;
        }
        self.observer.batch_end(reader.size());
        Ok(())
    }

    pub(super) fn run(mut self, inner: &std::sync::Weak<Inner>, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let Some(inner) = inner.upgrade() else { return };
            let mut batch: Vec<Waiting> = Vec::new();
            let mut next = Some(first);
            let mut tick = false;
            let mut close = None;
            let mut level = Vec::new();
            while let Some(job) = next {
                match job {
                    Job::Write { draft, reply } => batch.push((*draft, Some(reply))),
                    Job::Level { reply } => level.push(reply),
                    Job::Tick => tick = true,
                    Job::Close { reply } => {
                        close = Some(reply);
                        break;
                    }
                }
                next = if batch.len() < LEDGER_BATCH_MAX { jobs.try_recv().ok() } else { None };
            }
            if tick || close.is_some() {
                let due = inner.refusals.due(inner.clock.now(), close.is_some());
                batch.extend(due.into_iter().map(|body| (Draft::plain(body), None)));
            }
            if !batch.is_empty() {
                let _ = self.write(&inner, batch);
            }
            // After a failed write nobody knows what is durable: who waits is told that the log is gone.
            for reply in level.into_iter().filter(|_| !*inner.failed.borrow()) {
                let _ = reply.send(());
            }
            if let Some(reply) = close {
                let _ = reply.send(());
                return;
            }
        }
    }

    /// One batch: one record, one sync; then all who wait are answered.
    pub(super) fn write(&mut self, inner: &Inner, batch: Vec<Waiting>) -> Result<()> {
        let mut replies = Vec::with_capacity(batch.len());
        let mut prepared: Vec<Prepared> = Vec::with_capacity(batch.len());
        let mut leaves = Vec::with_capacity(batch.len());
        // A batch that doesn't become durable leaves no trace in what the next one builds on.
        let before = (self.last_leaf, self.last_time);
        for (draft, reply) in batch {
            match self.prepare(inner, draft, &mut prepared, &mut leaves) {
                Ok(()) => replies.push(reply),
                Err(error) => {
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(error));
                    }
                }
            }
        }
        let phase = crate::phases::open(crate::phases::Phase::Flush);
        let result = self.log.append(&leaves).map_err(|e| log_error(&e));
        drop(phase);
        match result {
            Ok(_) => {
                {
                    let mut chains = inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
                    for (entry, leaf, _) in &prepared {
                        chains.follow(entry, *leaf, false);
                    }
                }
                for (entry, leaf, attachments) in &prepared {
                    self.observer.applied(entry, *leaf, attachments);
                }
                self.observer.batch_end(self.log.size());
                for ((entry, leaf, _), reply) in prepared.into_iter().zip(replies) {
                    if let Some(reply) = reply {
                        let _ = reply.send(Ok(perron_gate::Recorded { index: entry.index, leaf }));
                    }
                }
                Ok(())
            }
            Err(error) => {
                (self.last_leaf, self.last_time) = before;
                inner.failed.send_replace(true);
                for reply in replies.into_iter().flatten() {
                    let _ = reply.send(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Turns a draft into an entry in its place; a clock that went back gets an entry before it.
    fn prepare(
        &mut self,
        inner: &Inner,
        draft: Draft,
        prepared: &mut Vec<Prepared>,
        leaves: &mut Vec<NewEntry>,
    ) -> Result<()> {
        let now = inner.clock.now();
        if now.plus_millis(CLOCK_TOLERANCE_MS) < self.last_time {
            let jump = Body::ClockJump(ClockJump { from: self.last_time, to: now });
            self.last_time = now;
            self.place(inner, Draft::plain(jump), prepared, leaves)?;
        }
        self.last_time = self.last_time.max(now);
        self.place(inner, draft, prepared, leaves)
    }

    fn place(
        &mut self,
        inner: &Inner,
        draft: Draft,
        prepared: &mut Vec<Prepared>,
        leaves: &mut Vec<NewEntry>,
    ) -> Result<()> {
        let blind = random_16()?;
        let index = self.log.size().saturating_add(u64::try_from(leaves.len()).unwrap_or(u64::MAX));
        let chain = draft.chain.map(|agreement| {
            let chains = inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
            // Entries of this batch are not followed yet: their places are taken here.
            let newest = prepared.iter().rev().find_map(|(e, leaf, _)| {
                e.chain.as_ref().filter(|c| c.agreement == agreement).map(|c| (c.number, *leaf))
            });
            match newest {
                Some((number, leaf)) => perron_model::entry::ChainPosition {
                    agreement,
                    number: number.saturating_add(1),
                    previous: Some(leaf),
                },
                None => chains.position(agreement),
            }
        });
        let entry = Entry {
            version: ENTRY_VERSION,
            index,
            time: self.last_time,
            previous: self.last_leaf,
            blind: blind.into(),
            chain,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body: draft.body,
        };
        let bytes = entry.to_bytes()?;
        let leaf = Digest::from_bytes(leaf_hash(&bytes).0);
        self.last_leaf = Some(leaf);
        let attachments = draft
            .attachments
            .iter()
            .map(|(kind, bytes)| Attachment { kind: *kind as u16, bytes: bytes.clone() })
            .collect();
        leaves.push(NewEntry { leaf: bytes, attachments });
        prepared.push((entry, leaf, draft.attachments));
        Ok(())
    }
}

/// Time that a clock may go back without an entry of its own, in milliseconds: entries then get
/// the time of the newest.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

fn attachments_of(reader: &LogReader, index: u64) -> Result<Vec<(AttachmentKind, Vec<u8>)>> {
    let attachments = reader.attachments(index).map_err(|e| log_error(&e))?;
    attachments
        .into_iter()
        .map(|a| {
            AttachmentKind::from_u16(a.kind).map(|kind| (kind, a.bytes)).ok_or_else(|| {
                Error::new(ErrorCode::LogDamaged, format!("entry {index} has an attachment of an unknown kind"))
            })
        })
        .collect()
}

/// Takes the acknowledgements that a recorded request carried.
fn acknowledge(chains: &mut Chains, entry: &Entry, attachments: &[(AttachmentKind, Vec<u8>)]) {
    let Some(position) = &entry.chain else { return };
    for (kind, bytes) in attachments {
        if *kind == AttachmentKind::Request
            && let Ok(text) = std::str::from_utf8(bytes)
            && let Ok(request) = perron_model::request::claims_of(text)
        {
            chains.acknowledge(position.agreement, request.acknowledged.iter().map(|a| a.decision));
        }
    }
}
