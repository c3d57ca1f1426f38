//! Checking many notes' signatures on all processors, while the one who reads goes on.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::findings::FindingKind;
use crate::keys::Verifier;
use crate::limits::{FINDINGS_MAX, SIGNATURES_A_PART, VERIFY_PARTS_WAITING_MAX, VERIFY_THREADS_MAX};
use crate::note::{NoteError, SignedNote};
use crate::verify::Report;

/// A note of a segment whose signatures are to be checked.
pub(crate) struct QueuedNote {
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) note: SignedNote,
}

/// Notes are handed to threads a part at a time, and never checked by batch
/// verification: each signature alone, strictly.
pub(crate) struct NoteQueue {
    keys: Arc<[Verifier]>,
    part: Vec<QueuedNote>,
    // None until the first part is full: a short log needs no thread.
    pool: Option<Pool>,
    queued: u64,
    checked: Checked,
}

/// What came of the notes that were checked.
#[derive(Default)]
struct Checked {
    notes: u64,
    // The first ones by where they are, which is the order of the log; of the notes nothing is kept.
    failures: BTreeMap<(String, u64), NoteError>,
    // Failures beyond those.
    left_out: u64,
}

struct Pool {
    parts: SyncSender<Vec<QueuedNote>>,
    threads: Vec<JoinHandle<Checked>>,
}

// === impl Checked ===

impl Checked {
    fn check(&mut self, part: Vec<QueuedNote>, keys: &[Verifier]) {
        for queued in part {
            self.notes += 1;
            if let Err(error) = queued.note.verify_only(keys) {
                self.fail((queued.path, queued.offset), error);
            }
        }
    }

    fn fail(&mut self, at: (String, u64), error: NoteError) {
        self.failures.insert(at, error);
        if self.failures.len() > FINDINGS_MAX {
            self.failures.pop_last();
            self.left_out += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.notes += other.notes;
        self.left_out += other.left_out;
        other.failures.into_iter().for_each(|(at, error)| self.fail(at, error));
    }
}

// === impl Pool ===

impl Pool {
    fn start(keys: &Arc<[Verifier]>) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get).clamp(1, VERIFY_THREADS_MAX);
        let (parts, waiting) = sync_channel(VERIFY_PARTS_WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let started = (0..threads).filter_map(|_| {
            let (keys, waiting) = (keys.clone(), waiting.clone());
            thread::Builder::new().name("perron-notes".to_owned()).spawn(move || work(&keys, &waiting)).ok()
        });
        Self { parts, threads: started.collect() }
    }
}

/// Checks parts until no more can come.
fn work(keys: &[Verifier], waiting: &Mutex<Receiver<Vec<QueuedNote>>>) -> Checked {
    let mut checked = Checked::default();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(part) => checked.check(part, keys),
            Err(_) => return checked,
        }
    }
}

// === impl NoteQueue ===

impl NoteQueue {
    pub(crate) fn new(keys: &[Verifier]) -> Self {
        Self { keys: keys.into(), part: Vec::new(), pool: None, queued: 0, checked: Checked::default() }
    }

    /// Takes a note; waits where many wait already.
    pub(crate) fn push(&mut self, note: QueuedNote) {
        self.queued += 1;
        self.part.push(note);
        if self.part.len() < SIGNATURES_A_PART {
            return;
        }
        let part = std::mem::take(&mut self.part);
        let pool = self.pool.get_or_insert_with(|| Pool::start(&self.keys));
        // Where no thread could be started, or none is left, parts come back and are checked here.
        if let Err(back) = pool.parts.send(part) {
            self.checked.check(back.0, &self.keys);
        }
    }

    /// Waits for all that was queued, and reports it in the order of the log.
    pub(crate) fn finish(&mut self, report: &mut Report) {
        let mut checked = std::mem::take(&mut self.checked);
        checked.check(std::mem::take(&mut self.part), &self.keys);
        if let Some(Pool { parts, threads }) = self.pool.take() {
            drop(parts);
            // A thread that died doesn't say what it had checked.
            threads.into_iter().filter_map(|thread| thread.join().ok()).for_each(|more| checked.add(more));
        }
        report.signatures_checked += checked.notes;
        for ((path, offset), error) in checked.failures {
            report.find(FindingKind::Signature, &path, Some(offset), error.to_string());
        }
        report.findings_left_out += checked.left_out;
        let unchecked = std::mem::take(&mut self.queued).saturating_sub(checked.notes);
        if unchecked > 0 {
            let detail = format!("{unchecked} signed checkpoints couldn't be checked: a thread of this program ended");
            report.find(FindingKind::Signature, "log/segments", None, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::keys::Signer;
    use crate::merkle::Hash;
    use crate::note::NoteSigner;

    const ORIGIN: &str = "authority.example/commune/1";

    fn notes(signer: &Signer, count: u64) -> Vec<QueuedNote> {
        let note = |size| Checkpoint::new(ORIGIN, size, Hash::ZERO).sign(&[signer]).unwrap();
        (0..count).map(|at| QueuedNote { path: "log/segments/0".to_owned(), offset: at, note: note(at + 1) }).collect()
    }

    /// Each bad one of many is told, in the order of the log, however the threads took them.
    #[test]
    fn all_are_checked_and_told_in_order() {
        let signer = Signer::from_seed(ORIGIN, &[7; 32]).unwrap();
        let other = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
        let count = SIGNATURES_A_PART as u64 * 7 + 3;
        let bad: Vec<u64> = vec![1, SIGNATURES_A_PART as u64 * 3, count - 1];
        let mut forged = notes(&other, count).into_iter();
        let mut queue = NoteQueue::new(&[signer.verifier().clone()]);
        for (at, good) in notes(&signer, count).into_iter().enumerate() {
            let forged = forged.next().unwrap();
            queue.push(if bad.contains(&(at as u64)) { forged } else { good });
        }
        let mut report = Report::new();
        queue.finish(&mut report);
        assert_eq!(report.signatures_checked, count);
        let told: Vec<u64> = report.findings.iter().filter_map(|found| found.offset).collect();
        assert_eq!(told, bad);
    }

    /// However many fail, so many are kept as are told, the first ones; the others are counted.
    #[test]
    fn failures_are_kept_up_to_a_bound() {
        let signer = Signer::from_seed(ORIGIN, &[7; 32]).unwrap();
        let other = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
        let count = FINDINGS_MAX as u64 + 90;
        let keys = [signer.verifier().clone()];
        let (mut first, mut second) = (Checked::default(), Checked::default());
        // Threads take them in any order.
        let mut forged = notes(&other, count);
        second.check(forged.split_off(FINDINGS_MAX / 2), &keys);
        first.check(forged, &keys);
        second.add(first);
        assert_eq!((second.failures.len(), second.left_out), (FINDINGS_MAX, 90));
        let mut queue = NoteQueue::new(&keys);
        queue.checked = second;
        queue.queued = count;
        let mut report = Report::new();
        queue.finish(&mut report);
        let told: Vec<u64> = report.findings.iter().filter_map(|found| found.offset).collect();
        assert_eq!(told, (0..FINDINGS_MAX as u64).collect::<Vec<_>>());
        assert_eq!((report.findings_left_out, report.signatures_checked), (90, count));
    }

    /// What no thread gave back is told: it doesn't pass as checked.
    #[test]
    fn what_was_not_checked_is_told() {
        let signer = Signer::from_seed(ORIGIN, &[7; 32]).unwrap();
        let mut queue = NoteQueue::new(&[signer.verifier().clone()]);
        for note in notes(&signer, SIGNATURES_A_PART as u64 + 1) {
            queue.push(note);
        }
        let lost = thread::spawn(Checked::default);
        let pool = queue.pool.as_mut().unwrap();
        // The thread that had the part is gone with what it found.
        pool.threads = vec![lost];
        let mut report = Report::new();
        queue.finish(&mut report);
        assert_eq!(report.signatures_checked, 1);
        assert!(report.has(FindingKind::Signature));
    }
}
