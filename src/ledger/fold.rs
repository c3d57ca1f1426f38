//! What is durable, told in its order: first to the state, then to those who wait for it.

use crate::ledger::writer::Observer;
use perron_gate::Recorded;
use perron_log::{Attachment, NewEntry};
use perron_model::entry::{AttachmentKind, Entry};
use perron_model::{Digest, Result};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// Who waits for an entry.
pub(super) type Reply = oneshot::Sender<Result<Recorded>>;

/// A batch that is durable and followed by nobody yet.
pub(super) struct Durable {
    pub(super) entries: Vec<(Entry, Digest)>,
    pub(super) leaves: Vec<NewEntry>,
    /// One for each entry; none where nobody waits.
    pub(super) replies: Vec<Option<Reply>>,
    /// Entries of the log with this batch.
    pub(super) size: u64,
}

/// What the writer hands on.
pub(super) enum Fold {
    Batch(Durable),
    /// Answered once all that came before is told.
    Level(Vec<oneshot::Sender<()>>),
}

/// The one that tells.
pub(super) struct Folder(pub(super) Arc<dyn Observer>);

impl Folder {
    /// Tells until the writer ends.
    pub(super) fn run(self, handed: &Receiver<Fold>) {
        while let Ok(fold) = handed.recv() {
            match fold {
                Fold::Batch(durable) => self.take(durable),
                Fold::Level(replies) => {
                    for reply in replies {
                        let _ = reply.send(());
                    }
                }
            }
        }
    }

    /// One batch.
    pub(super) fn take(&self, durable: Durable) {
        let Durable { entries, leaves, replies, size } = durable;
        for ((entry, leaf), new) in entries.iter().zip(leaves) {
            // The writer attaches known kinds alone.
            self.0.applied(entry, *leaf, &kinds(new.attachments).unwrap_or_default());
        }
        self.0.batch_end(size);
        for ((entry, leaf), reply) in entries.into_iter().zip(replies) {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(Recorded { index: entry.index, leaf }));
            }
        }
    }
}

/// Attachments by kind; none where a kind is unknown.
pub(super) fn kinds(attachments: Vec<Attachment>) -> Option<Vec<(AttachmentKind, Vec<u8>)>> {
    attachments.into_iter().map(|a| AttachmentKind::from_u16(a.kind).map(|kind| (kind, a.bytes))).collect()
}
