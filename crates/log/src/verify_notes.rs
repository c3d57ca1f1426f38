//! Checking many notes' signatures, in rounds spread over the processors.

use std::num::NonZero;
use std::thread;

use crate::findings::FindingKind;
use crate::keys::Verifier;
use crate::limits::{SIGNATURES_PER_ROUND, VERIFY_THREADS_MAX};
use crate::note::{NoteError, SignedNote};
use crate::verify::Report;

/// A note of a segment whose signatures are to be checked.
pub(crate) struct QueuedNote {
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) note: SignedNote,
}

/// Notes queue up and are checked together, never by batch verification: each
/// signature alone, strictly.
pub(crate) struct NoteQueue<'a> {
    keys: &'a [Verifier],
    queue: Vec<QueuedNote>,
    threads: usize,
}

impl<'a> NoteQueue<'a> {
    pub(crate) fn new(keys: &'a [Verifier]) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { keys, queue: Vec::new(), threads: threads.clamp(1, VERIFY_THREADS_MAX) }
    }

    pub(crate) fn push(&mut self, note: QueuedNote, report: &mut Report) {
        self.queue.push(note);
        if self.queue.len() >= SIGNATURES_PER_ROUND {
            self.flush(report);
        }
    }

    pub(crate) fn flush(&mut self, report: &mut Report) {
        let queue = std::mem::take(&mut self.queue);
        report.signatures_checked += queue.len() as u64;
        for (note, error) in self.failures(&queue) {
            let detail = error.to_string();
            report.find(FindingKind::Signature, &note.path, Some(note.offset), detail);
        }
    }

    fn failures<'q>(&self, queue: &'q [QueuedNote]) -> Vec<(&'q QueuedNote, NoteError)> {
        let keys = self.keys;
        let check = move |part: &'q [QueuedNote]| -> Vec<(&'q QueuedNote, NoteError)> {
            part.iter().filter_map(|queued| Some((queued, queued.note.verify_only(keys).err()?))).collect()
        };
        let share = queue.len().div_ceil(self.threads).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = queue.chunks(share).map(|part| (part, scope.spawn(move || check(part)))).collect();
            // A thread that died has checked nothing: do its share here.
            parts.into_iter().flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| check(part))).collect()
        })
    }
}
