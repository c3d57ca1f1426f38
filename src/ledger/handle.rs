//! The handle to the one writer: opening, appending, reading what is durable.

use crate::ledger::chains::Chains;
use crate::ledger::failure::{Room, ends_something, log_error};
use crate::ledger::fold::Folder;
use crate::ledger::generations::Generations;
use crate::ledger::keys::LogKeys;
use crate::ledger::nonces::Nonces;
use crate::ledger::pruning::{Activities, Gone, prune_the_rest};
use crate::ledger::refusals::Refusals;
use crate::ledger::replay::Tip;
use crate::ledger::writer::{Draft, Job, Observer, Writer};
use arc_swap::ArcSwap;
use perron_gate::Clock;
use perron_log::{Checkpoint, Layout, Log, LogReader, LogSettings, OsFiles, Pruner, Publisher, TornTail};
use perron_model::decision::StateFacts;
use perron_model::entry::{Body, Outcome, Recovery};
use perron_model::limits::{LEDGER_BATCHES_TELLING_MAX, LEDGER_QUEUE_MAX};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Names and keys of the log.
pub struct LogIdentity {
    /// Origin: `<authority>/<participant>/<generation>`.
    pub origin: String,
    /// Generation.
    pub generation: u64,
    /// The log keys.
    pub keys: LogKeys,
}

impl LogIdentity {
    /// How the log of this identity is opened by who writes to it at `at`.
    ///
    /// # Errors
    /// `key_invalid` where none of its keys is in force then.
    pub fn settings(&self, at: Timestamp) -> Result<LogSettings> {
        self.keys.settings(&self.origin, self.generation, at)
    }

    /// How it is opened by who only reads: by any of its keys, whenever it was in force.
    ///
    /// # Errors
    /// `key_invalid` where no key of it is held.
    pub fn reading(&self) -> Result<LogSettings> {
        self.keys.reading(&self.origin, self.generation)
    }
}

/// Heads of the log that lie elsewhere.
#[derive(Debug, Default)]
pub struct KnownHeads {
    /// Checkpoints of ours that others signed or keep.
    pub heads: Vec<Checkpoint>,
    /// Who was asked for them, because the end is torn.
    pub asked: Vec<String>,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// Entries in the log before this start.
    pub size: u64,
    /// Did an unfinished record have to be moved aside?
    pub recovered: bool,
    /// Reads that the last crash left without an outcome.
    pub unfinished: usize,
}

pub(super) struct Inner {
    pub(super) queue: mpsc::Sender<Job>,
    pub(super) chains: Mutex<Chains>,
    pub(super) turns: Mutex<HashMap<AgreementId, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) refusals: Refusals,
    pub(super) nonces: Nonces,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reader: LogReader,
    pub(super) closed: Generations,
    pub(super) publisher: Publisher,
    pub(super) pruner: Pruner,
    pub(super) gone: Mutex<Gone>,
    // Why nothing more is written.
    pub(super) failed: tokio::sync::watch::Sender<Option<Error>>,
    pub(super) keys: ArcSwap<LogKeys>,
    room: Room,
    pub(super) origin: String,
    pub(super) generation: u64,
}

/// A handle to the one writer; cheap to clone.
#[derive(Clone)]
pub struct Ledger(pub(super) Arc<Inner>);

impl Inner {
    /// The first reason is the one that is told.
    pub(super) fn give_up(&self, why: Error) {
        self.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                *failed = Some(why);
            }
            is_first
        });
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.0.origin)
    }
}

impl Ledger {
    /// Opens the log under `data`, brings the observer level, writes what the last life left
    /// open, and starts the writer.
    pub fn open(
        data: &Path,
        identity: LogIdentity,
        known: KnownHeads,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<(Ledger, Opened)> {
        Ledger::open_naming(data, identity, known, clock, observer, Activities::new())
    }

    /// As [`Self::open`]; entries about reads of these sets name these processing activities. What a
    /// durable entry says was pruned, and isn't yet, is pruned.
    pub fn open_naming(
        data: &Path,
        identity: LogIdentity,
        known: KnownHeads,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        activities: Activities,
    ) -> Result<(Ledger, Opened)> {
        Ledger::open_after(data, Generations::default(), identity, known, clock, observer, activities)
    }

    /// As [`Self::open_naming`], of a log that took the place of others: what they say counts on.
    pub fn open_after(
        data: &Path,
        closed: Generations,
        identity: LogIdentity,
        known: KnownHeads,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        activities: Activities,
    ) -> Result<(Ledger, Opened)> {
        let (origin, generation) = (identity.origin.clone(), identity.generation);
        let mut settings = identity.settings(clock.now())?;
        // A log that holds less than the store has seen is refused before anything of it is moved.
        settings.seen = observer.seen().saturating_sub(closed.entries());
        let (log, recovered) =
            Log::open(Arc::new(OsFiles), Layout::new(data), settings, &known.heads).map_err(|e| log_error(&e))?;
        let (publisher, pruner) = (log.publisher(), log.pruner());
        let reader = log.reader();
        let mut chains = Chains::new(activities);
        chains.look_for(log.quarantined().map_err(|e| log_error(&e))?);
        let (tip, gone) = Tip::replay(&closed, &reader, &mut chains, observer.as_ref())?;
        let mut writer = Writer::new(log, closed.entries(), tip);
        let gone = prune_the_rest(&pruner, &reader, &mut chains, gone);
        let unfinished = chains.unfinished();
        let size = reader.size();
        // Of those of an earlier start, which ended before it told of them, nobody knows who was asked.
        let earlier = chains.untold().into_iter().filter(|torn| Some(torn) != recovered.torn.as_ref());
        let mut drafts: Vec<Draft> = earlier.map(|torn| recovery(&torn, Vec::new())).collect();
        drafts.extend(recovered.torn.as_ref().map(|torn| recovery(torn, known.asked)));
        for (agreement, decision) in &unfinished {
            drafts.push(Draft {
                body: Body::Outcome(chains.unknown_outcome(*agreement, *decision)),
                chain: *agreement,
                trace: None,
                attachments: Vec::new(),
            });
        }
        let (queue, jobs) = mpsc::channel(LEDGER_QUEUE_MAX);
        let inner = Arc::new(Inner {
            queue,
            chains: Mutex::new(chains),
            turns: Mutex::default(),
            refusals: Refusals::default(),
            nonces: Nonces::default(),
            clock,
            reader,
            closed,
            publisher,
            pruner,
            gone: Mutex::new(gone),
            failed: tokio::sync::watch::Sender::new(None),
            keys: ArcSwap::from_pointee(identity.keys),
            room: Room::of(data),
            origin,
            generation,
        });
        let folder = Folder(observer);
        for draft in drafts {
            if let Some(durable) = writer.write(&inner, vec![(draft, None)])? {
                folder.take(durable);
            }
        }
        let thread_inner = Arc::downgrade(&inner);
        let (folding, handed) = std::sync::mpsc::sync_channel(LEDGER_BATCHES_TELLING_MAX);
        thread("perron-told", move || folder.run(&handed))?;
        thread("perron-ledger", move || writer.run(&thread_inner, jobs, &folding))?;
        Ok((Ledger(inner), Opened { size, recovered: recovered.torn.is_some(), unfinished: unfinished.len() }))
    }

    /// Appends; returns once it is durable. What begins something needs room beyond the reserve.
    pub async fn append(&self, draft: Draft) -> Result<perron_gate::Recorded> {
        if !ends_something(&draft.body) {
            self.require_room()?;
        }
        self.enqueue(draft).await?.await.map_err(|_| gone())?
    }

    /// Is there room on the disk beyond the reserve? `disk_full` if not: nothing new begins.
    pub fn require_room(&self) -> Result<()> {
        self.0.room.require()
    }

    pub(super) async fn enqueue(&self, draft: Draft) -> Result<oneshot::Receiver<Result<perron_gate::Recorded>>> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.send(Job::Write { draft: Box::new(draft), reply }).await.map_err(|_| gone())?;
        Ok(answer)
    }

    /// Writes the outcome of a permitted read; a read of which nothing left gives its use back.
    pub async fn outcome(&self, agreement: AgreementId, mut outcome: Outcome) -> Result<perron_gate::Recorded> {
        let turn = self.turn_of(&agreement).lock_owned().await;
        // The place in the queue comes first: between the counter and the queue nothing waits, so
        // a caller that goes away can't move one without the other.
        let place = self.0.queue.reserve().await.map_err(|_| gone())?;
        {
            let mut chains = self.0.chains.lock().unwrap_or_else(PoisonError::into_inner);
            chains.chain(agreement).settle(&mut outcome);
        }
        let (reply, answer) = oneshot::channel();
        place.send(Job::Write {
            draft: Box::new(Draft {
                body: Body::Outcome(outcome),
                chain: Some(agreement),
                trace: None,
                attachments: Vec::new(),
            }),
            reply,
        });
        drop(turn);
        answer.await.map_err(|_| gone())?
    }

    /// Writes how a statement over the log itself ended.
    pub async fn outcome_of_log_query(&self, outcome: Outcome) -> Result<perron_gate::Recorded> {
        self.append(Draft::plain(Body::Outcome(outcome))).await
    }

    /// Takes a nonce of this peer out of use without a read, then waits until every decision that
    /// was ordered before is durable. From here on the request that names the nonce has its
    /// decision in the log, or will never have one.
    pub async fn void(&self, peer: &ParticipantId, agreement: &AgreementId, nonce: &str) -> Result<()> {
        // Within the turn no decision under this agreement is between its nonce and its place.
        let turn = self.turn_of(agreement).lock_owned().await;
        self.0.nonces.void(nonce, peer);
        let answer = self.enqueue_level().await?;
        drop(turn);
        answer.await.map_err(|_| gone())
    }

    /// Returns once everything that was enqueued before is durable.
    pub async fn level(&self) -> Result<()> {
        self.enqueue_level().await?.await.map_err(|_| gone())
    }

    async fn enqueue_level(&self) -> Result<oneshot::Receiver<()>> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.send(Job::Level { reply }).await.map_err(|_| gone())?;
        Ok(answer)
    }

    /// Writes the summaries that are due, and publishes checkpoint and tiles of what is durable.
    /// Called once a second; the writer doesn't wait for it.
    pub async fn publish(&self) -> Result<()> {
        let _ = self.0.queue.try_send(Job::Tick);
        let publisher = self.0.publisher.clone();
        let published = tokio::task::spawn_blocking(move || publisher.publish()).await.map_err(|_| gone())?;
        published.map_err(|e| log_error(&e))
    }

    /// Writes what is due, publishes, and ends the writer.
    pub async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.send(Job::Close { reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?;
        self.publish().await
    }

    /// Reads what is durable.
    pub fn reader(&self) -> &LogReader {
        &self.0.reader
    }

    /// The log in which an entry of this place lies, and its number there: the one in force, or one
    /// that is closed.
    pub fn locate(&self, place: u64) -> (&LogReader, u64) {
        self.0.closed.locate(place).unwrap_or((&self.0.reader, place))
    }

    /// Does an entry of this place lie in a closed log?
    pub fn is_closed(&self, place: u64) -> bool {
        self.0.closed.locate(place).is_some()
    }

    /// Entries of the closed logs, which come before those of the one in force.
    pub fn entries_before(&self) -> u64 {
        self.0.closed.entries()
    }

    /// All logs, the oldest first and the one in force last, each with the place of its first entry.
    pub fn logs(&self) -> impl Iterator<Item = (u64, &LogReader)> {
        let closed = self.0.closed.iter().map(|closed| (closed.place(0), &closed.reader));
        closed.chain(std::iter::once((0, &self.0.reader)))
    }

    /// The log in force, then those that are closed, the newest first.
    pub fn readers(&self) -> impl Iterator<Item = &LogReader> {
        std::iter::once(&self.0.reader).chain(self.0.closed.iter().rev().map(|closed| &closed.reader))
    }

    /// Origin of the log.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Nonces of tickets.
    pub fn nonces(&self) -> &Nonces {
        &self.0.nonces
    }

    /// Returns once nothing more is written, so that the process must end, with the reason.
    pub async fn failed(&self) -> Error {
        let mut failed = self.0.failed.subscribe();
        failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()).unwrap_or_else(gone)
    }

    /// Puts the log's keys in the place of those before: from the next batch on, those in force sign.
    pub fn set_keys(&self, keys: LogKeys) {
        self.0.keys.store(Arc::new(keys));
    }

    /// Writes nothing more: what was found says that this log isn't the one to go on with.
    pub fn give_up(&self, why: Error) {
        self.0.give_up(why);
    }

    /// Entries at which the clock went back, in their order: between two of them time never decreases.
    /// None where there are too many to follow.
    pub fn clock_jumps(&self) -> Option<Vec<u64>> {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).clock_jumps()
    }

    /// Counters of an agreement.
    pub fn state_of(&self, agreement: &AgreementId) -> StateFacts {
        let now = self.0.clock.now();
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).state(agreement, now, &[])
    }

    /// Newest position of an agreement's chain: its number and leaf hash.
    pub fn chain_head(&self, agreement: &AgreementId) -> Option<(u64, Digest)> {
        let mut chains = self.0.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = chains.chain(*agreement);
        chain.last.map(|leaf| (chain.next.saturating_sub(1), leaf))
    }

    pub(super) fn turn_of(&self, agreement: &AgreementId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Turns that nobody holds or waits for are forgotten, so that the map stays small.
        if turns.len() > LEDGER_QUEUE_MAX {
            turns.retain(|_, t| Arc::strong_count(t) > 1);
        }
        turns.entry(*agreement).or_default().clone()
    }
}

/// Tells of torn bytes that were moved aside.
fn recovery(torn: &TornTail, asked: Vec<String>) -> Draft {
    let digest = Digest::from_bytes(torn.digest.0);
    Draft::plain(Body::Recovery(Recovery { offset: torn.offset, length: torn.length, digest, asked }))
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|_| Error::new(ErrorCode::Internal, "the log's writer can't be started"))
}

fn gone() -> Error {
    Error::new(ErrorCode::LogUnavailable, "the log can't be written, so nothing leaves")
}
