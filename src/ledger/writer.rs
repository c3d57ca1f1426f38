//! The one writer: a thread that turns drafts into entries, a batch at a time, and hands what is
//! durable to the one that tells of it. So the next batch is made and flushed while the state
//! takes up the one before.

use crate::ledger::failure::log_error;
use crate::ledger::fold::{Durable, Fold, Reply};
use crate::ledger::handle::Inner;
use crate::ledger::keys::boxed;
use crate::ledger::replay::Tip;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_log::merkle::leaf_hash;
use perron_log::{Attachment, Log, NewEntry, NoteSigner};
use perron_model::entry::{AttachmentKind, Body, ChainPosition, ClockJump, ENTRY_VERSION, Entry};
use perron_model::limits::{LEDGER_BATCH_BYTES_MAX, LEDGER_BATCH_MAX, LEDGER_GATHER_US_MAX};
use perron_model::retention::read_kind;
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, TraceId};
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

/// What is to be written; number, time, blind and chain position are set by the writer.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What happened.
    pub body: Body,
    /// The agreement to whose chain it belongs.
    pub chain: Option<AgreementId>,
    /// The trace that the act belongs to.
    pub trace: Option<TraceId>,
    /// Bytes that the entry binds.
    pub attachments: Vec<(AttachmentKind, Vec<u8>)>,
}

impl Draft {
    /// An entry outside of any chain, with nothing attached.
    pub fn plain(body: Body) -> Draft {
        Draft { body, chain: None, trace: None, attachments: Vec::new() }
    }

    /// Bytes that it binds.
    fn bytes(&self) -> usize {
        self.attachments.iter().map(|(_, bytes)| bytes.len()).fold(0, usize::saturating_add)
    }
}

/// Who is told of each durable entry, in order, on a thread of its own, before those who wait for
/// the entry.
pub trait Observer: Send + Sync {
    /// An entry is durable. Of one in a closed log the index is its place among the entries of all
    /// logs (`Ledger::locate`).
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
    /// Closes the segment that is written.
    Roll {
        reply: oneshot::Sender<Result<()>>,
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

/// A draft, and who waits for it.
pub(super) type Waiting = (Draft, Option<Reply>);

pub(super) struct Writer {
    log: Log,
    // Entries of the closed logs before it.
    before: u64,
    tip: Tip,
    // The keys by which the newest batch was signed; none before the first.
    signing: Option<Vec<perron_log::Hash>>,
    pace: Pace,
}

/// How the newest batch went: where many wait for entries, they come again together.
#[derive(Default)]
struct Pace {
    entries: usize,
    took: Duration,
}

impl Pace {
    /// Is it worth looking again for as many as came last time? A writer alone never waits, and
    /// nobody waits longer than for half of what a batch takes.
    fn gathers(&self, entries: usize, since: Instant) -> bool {
        entries < self.entries && since.elapsed() < (self.took / 2).min(GATHER_MAX)
    }
}

/// A batch that is being made.
#[derive(Default)]
struct Batch {
    entries: Vec<(Entry, Digest)>,
    leaves: Vec<NewEntry>,
    /// Newest places of chains that the batch takes: they are followed once it is durable.
    heads: HashMap<AgreementId, (u64, Digest)>,
}

impl Writer {
    pub(super) fn new(log: Log, before: u64, tip: Tip) -> Writer {
        Writer { log, before, tip, signing: None, pace: Pace::default() }
    }

    pub(super) fn run(
        mut self,
        inner: &std::sync::Weak<Inner>,
        mut jobs: mpsc::Receiver<Job>,
        folding: &SyncSender<Fold>,
    ) {
        while let Some(first) = jobs.blocking_recv() {
            let Some(inner) = inner.upgrade() else { return };
            let mut batch: Vec<Waiting> = Vec::new();
            let mut next = Some(first);
            let begun = Instant::now();
            let (mut bytes, mut tick) = (0_usize, false);
            let mut close = None;
            let (mut level, mut rolls) = (Vec::new(), Vec::new());
            while let Some(job) = next {
                match job {
                    Job::Write { draft, reply } => {
                        bytes = bytes.saturating_add(draft.bytes());
                        batch.push((*draft, Some(reply)));
                    }
                    Job::Level { reply } => level.push(reply),
                    Job::Roll { reply } => rolls.push(reply),
                    Job::Tick => tick = true,
                    Job::Close { reply } => {
                        close = Some(reply);
                        break;
                    }
                }
                let has_room = batch.len() < LEDGER_BATCH_MAX && bytes < LEDGER_BATCH_BYTES_MAX;
                next = if has_room { self.next(&mut jobs, batch.len(), begun) } else { None };
            }
            if tick || close.is_some() {
                let due = inner.refusals.due(inner.clock.now(), close.is_some());
                batch.extend(due.into_iter().map(|body| (Draft::plain(body), None)));
            }
            if let Ok(Some(durable)) = self.write(&inner, batch) {
                let _ = folding.send(Fold::Batch(durable));
            }
            for reply in rolls {
                let _ = reply.send(self.roll(&inner));
            }
            // After a failed write nobody knows what is durable: who waits is told that the log is gone.
            if !level.is_empty() && inner.failed.borrow().is_none() {
                let _ = folding.send(Fold::Level(level));
            }
            if let Some(reply) = close {
                let _ = folding.send(Fold::Level(vec![reply]));
                return;
            }
        }
    }

    /// Closes the segment; one that can't be followed by another ends the log as a failed write does.
    fn roll(&mut self, inner: &Inner) -> Result<()> {
        let rolled = self.log.roll().map_err(|e| log_error(&e));
        if let Err(error) = &rolled
            && self.log.is_poisoned()
        {
            inner.give_up(error.clone());
        }
        rolled
    }

    /// The next job, if it is there or soon to come.
    fn next(&self, jobs: &mut mpsc::Receiver<Job>, entries: usize, begun: Instant) -> Option<Job> {
        loop {
            match jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Empty) if self.pace.gathers(entries, begun) => std::thread::yield_now(),
                Err(_) => return None,
            }
        }
    }

    /// One batch: one record, one sync. Who waits is answered by whom this is handed to; who
    /// can't be served is answered here.
    pub(super) fn write(&mut self, inner: &Inner, drafts: Vec<Waiting>) -> Result<Option<Durable>> {
        if drafts.is_empty() {
            return Ok(None);
        }
        let failed = inner.failed.borrow().clone();
        if let Some(why) = failed {
            for reply in drafts.into_iter().filter_map(|(_, reply)| reply) {
                let _ = reply.send(Err(why.clone()));
            }
            return Err(why);
        }
        let mut replies = Vec::with_capacity(drafts.len());
        let mut batch = Batch::default();
        // A batch that doesn't become durable leaves no trace in what the next one builds on.
        let before = self.tip;
        for (draft, reply) in drafts {
            match self.prepare(inner, draft, &mut batch) {
                Ok(()) => {
                    // An entry of the clock may have come before it, for which nobody waits.
                    replies.resize_with(batch.entries.len().saturating_sub(1), || None);
                    replies.push(reply);
                }
                Err(error) => {
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(error));
                    }
                }
            }
        }
        if batch.leaves.is_empty() {
            return Ok(None);
        }
        let phase = crate::phases::open(crate::phases::Phase::Flush);
        let begun = Instant::now();
        let result = self.follow_keys(inner);
        let result = result.and_then(|()| self.log.append(&batch.leaves).map_err(|e| log_error(&e)));
        drop(phase);
        self.pace = Pace { entries: batch.entries.len(), took: begun.elapsed() };
        match result {
            Ok(_) => {
                let mut chains = inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
                for (entry, leaf) in &batch.entries {
                    chains.follow(entry, *leaf, false);
                }
                drop(chains);
                let Batch { entries, leaves, .. } = batch;
                let size = self.before.saturating_add(self.log.size());
                Ok(Some(Durable { entries, leaves, replies, size }))
            }
            Err(error) => {
                self.tip = before;
                inner.give_up(error.clone());
                for reply in replies.into_iter().flatten() {
                    let _ = reply.send(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Each batch is signed by the keys in force at the largest time so far: a clock that goes back doesn't
    /// bring a key back that has ended.
    fn follow_keys(&mut self, inner: &Inner) -> Result<()> {
        let signing = inner.keys.load().signing(self.tip.latest)?;
        let fingerprints = signing.iter().map(|signer| signer.verifier().fingerprint()).collect();
        if self.signing.as_ref() != Some(&fingerprints) {
            self.log.change_keys(boxed(signing)).map_err(|e| log_error(&e))?;
            self.signing = Some(fingerprints);
        }
        Ok(())
    }

    /// Turns a draft into an entry in its place; a clock that went back gets an entry before it.
    fn prepare(&mut self, inner: &Inner, draft: Draft, batch: &mut Batch) -> Result<()> {
        let bytes = draft.bytes();
        if bytes > LEDGER_BATCH_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("an entry binds {bytes} bytes")));
        }
        let now = inner.clock.now();
        if now.plus_millis(CLOCK_TOLERANCE_MS) < self.tip.time {
            let jump = Body::ClockJump(ClockJump { from: self.tip.time, to: now });
            self.tip.time = now;
            self.place(inner, Draft::plain(jump), batch)?;
        }
        self.tip.time = self.tip.time.max(now);
        self.tip.latest = self.tip.latest.max(self.tip.time);
        self.place(inner, draft, batch)
    }

    fn place(&mut self, inner: &Inner, draft: Draft, batch: &mut Batch) -> Result<()> {
        let blind = random_16()?;
        let index = self.log.size().saturating_add(u64::try_from(batch.leaves.len()).unwrap_or(u64::MAX));
        let (mut chain, mut activity) = (None, None);
        if let Some(agreement) = draft.chain {
            let chains = inner.chains.lock().unwrap_or_else(PoisonError::into_inner);
            chain = Some(match batch.heads.get(&agreement) {
                Some((number, leaf)) => {
                    ChainPosition { agreement, number: number.saturating_add(1), previous: Some(*leaf) }
                }
                None => chains.position(agreement),
            });
            activity = chains.activity_of(&agreement).filter(|_| read_kind(&draft.body).is_some()).cloned();
        }
        let entry = Entry {
            version: ENTRY_VERSION,
            index,
            time: self.tip.time,
            previous: self.tip.leaf,
            blind: blind.into(),
            chain,
            trace: draft.trace.map(|trace| trace.as_bytes().to_vec().into()),
            on_behalf_of: None,
            processing_activity: activity.map(String::from),
            body: draft.body,
        };
        let bytes = entry.to_bytes()?;
        let leaf = Digest::from_bytes(leaf_hash(&bytes).0);
        self.tip.leaf = Some(leaf);
        if let Some(position) = &entry.chain {
            batch.heads.insert(position.agreement, (position.number, leaf));
        }
        let attached = |(kind, bytes)| Attachment { kind: kind as u16, bytes };
        let attachments = draft.attachments.into_iter().map(attached).collect();
        batch.leaves.push(NewEntry { leaf: bytes, attachments });
        batch.entries.push((entry, leaf));
        Ok(())
    }
}

/// Longest that a batch waits for those who are about to come.
const GATHER_MAX: Duration = Duration::from_micros(LEDGER_GATHER_US_MAX);

/// Time that a clock may go back without an entry of its own, in milliseconds: entries then get
/// the time of the newest.
const CLOCK_TOLERANCE_MS: i64 = 1_000;
