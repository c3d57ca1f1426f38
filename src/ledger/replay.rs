//! The log read from its beginning at the start: its chains, and what the observer hasn't seen.

use crate::ledger::chains::Chains;
use crate::ledger::failure::log_error;
use crate::ledger::fold::kinds;
use crate::ledger::generations::Generations;
use crate::ledger::pruning::Gone;
use crate::ledger::writer::Observer;
use perron_log::merkle::leaf_hash;
use perron_log::{LogReader, Stored, StoredEntry};
use perron_model::entry::{AttachmentKind, Body, Entry, Succession};
use perron_model::limits::SUCCESSION_BYTES_MAX;
use perron_model::retention::Pruning;
use perron_model::succession::SuccessionDocument;
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp, canonical};

/// The newest entry: what the next one is written after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    /// Its leaf hash; none before the first of a log.
    pub(super) leaf: Option<Digest>,
    /// Its time.
    pub(super) time: Timestamp,
    /// The largest time of all entries: by it keys begin and end, wherever the clock goes back to.
    pub(super) latest: Timestamp,
}

impl Tip {
    /// Reads the closed logs and the one in force from their beginning: chains always, the observer
    /// from where it was. Gives what of the one in force is pruned, and is to be.
    pub(super) fn replay(
        closed: &Generations,
        reader: &LogReader,
        chains: &mut Chains,
        observer: &dyn Observer,
    ) -> Result<(Tip, Gone)> {
        let (seen, size) = (observer.seen(), closed.entries().saturating_add(reader.size()));
        if seen > size {
            // What is derived leads the truth: acknowledged entries are gone.
            return Err(Error::new(
                ErrorCode::LogTailLost,
                format!("the store has seen {seen} entries, but the log holds {size}"),
            ));
        }
        let (mut tip, mut left) = (Tip { leaf: None, time: Timestamp::EPOCH, latest: Timestamp::EPOCH }, seen);
        for generation in closed.iter() {
            // What was pruned there before it was closed stays so.
            tip.replay_log(&generation.reader, left, chains, observer, &|index| generation.place(index))?;
            left = left.saturating_sub(generation.reader.size());
        }
        let gone = tip.replay_log(reader, left, chains, observer, &|index| index)?;
        observer.batch_end(size);
        Ok((tip, gone))
    }

    /// Reads one log, of which the observer has seen so many entries.
    fn replay_log(
        &mut self,
        reader: &LogReader,
        seen: u64,
        chains: &mut Chains,
        observer: &dyn Observer,
        place: &dyn Fn(u64) -> u64,
    ) -> Result<Gone> {
        self.leaf = None;
        chains.begin_log();
        // Each record is read once: a leaf alone would cost the whole record that it is in.
        let (mut replayed, mut gone) = (Ok(()), Gone::default());
        let read = reader.for_entries(0, reader.size(), &mut |stored| {
            replayed = match stored {
                Stored::Entry(stored) => self.take_up(stored, seen, (chains, observer), place, &mut gone),
                Stored::Pruned { index, leaf_hash } => {
                    gone.push(index);
                    self.leaf = Some(Digest::from_bytes(leaf_hash.0));
                    Ok(())
                }
            };
            replayed.is_ok()
        });
        replayed?;
        read.map_err(|e| log_error(&e))?;
        Ok(gone)
    }

    /// Takes up an entry of an earlier life; the observer is told its place among those of all logs.
    fn take_up(
        &mut self,
        stored: StoredEntry,
        seen: u64,
        (chains, observer): (&mut Chains, &dyn Observer),
        place: &dyn Fn(u64) -> u64,
        gone: &mut Gone,
    ) -> Result<()> {
        let index = stored.index;
        let damaged = |detail: &str| Error::new(ErrorCode::LogDamaged, format!("entry {index} {detail}"));
        let mut entry =
            Entry::from_bytes(&stored.leaf).map_err(|e| damaged(&format!("can't be read: {}", e.detail)))?;
        let leaf = Digest::from_bytes(leaf_hash(&stored.leaf).0);
        let attached = |kind| stored.attachments.iter().find(|a| a.kind == kind as u16).map(|a| a.bytes.as_slice());
        match (&entry.body, &entry.chain) {
            (Body::Decision(_), Some(position)) => {
                chains.go_on(position, attached(AttachmentKind::EvaluationInput));
            }
            (Body::Pruned(_), _) => {
                let pruning = attached(AttachmentKind::Document).map(Pruning::parse).transpose();
                let ranges = pruning.ok().flatten().and_then(|pruning| pruning.ranges());
                gone.tell(index, &ranges.ok_or_else(|| damaged("doesn't say what was pruned"))?);
            }
            _ => {}
        }
        chains.follow(&entry, leaf, true);
        if matches!(entry.body, Body::Decision(_) | Body::Succession(_)) || index >= seen {
            let attachments =
                kinds(stored.attachments).ok_or_else(|| damaged("has an attachment of an unknown kind"))?;
            acknowledge(chains, &entry, &attachments);
            if let Body::Succession(body) = &entry.body {
                chains.succeed(&charged(body, &attachments)?, entry.time);
            }
            if index >= seen {
                entry.index = place(index);
                observer.applied(&entry, leaf, &attachments);
            }
        }
        self.leaf = Some(leaf);
        self.time = entry.time;
        self.latest = self.latest.max(entry.time);
        Ok(())
    }
}

/// What the agreements are charged by the entry with which a log took the place of another.
fn charged(body: &Succession, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<SuccessionDocument> {
    let attached = attachments.iter().find(|(kind, _)| *kind == AttachmentKind::Document);
    let bound = attached.filter(|(_, bytes)| Digest::of(bytes) == body.document);
    let document = bound.and_then(|(_, bytes)| canonical::from_bytes(bytes, SUCCESSION_BYTES_MAX).ok());
    document.ok_or_else(|| Error::new(ErrorCode::LogDamaged, "the entry `succession` lacks its document"))
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
