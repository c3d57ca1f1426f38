//! Signatures that wait to be checked together, spread over the processors: each alone, strictly.

use crate::jws::Signed;
use crate::limits::{SIGNATURES_PER_ROUND, THREADS_MAX};
use crate::report::of_entry;
use perron_log::{Finding, FindingKind};
use perron_model::participant::PublicKey;
use std::num::NonZero;
use std::thread;

/// A signature of a read request that waits.
struct Waiting {
    index: u64,
    key: PublicKey,
    signed: Signed,
}

/// The signatures that wait.
pub(crate) struct Signatures {
    waiting: Vec<Waiting>,
    threads: usize,
    /// How many were checked.
    pub checked: u64,
}

impl Signatures {
    pub fn new() -> Signatures {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Signatures { waiting: Vec::new(), threads: threads.clamp(1, THREADS_MAX), checked: 0 }
    }

    /// Takes a signature; once enough wait, gives what was wrong with any.
    pub fn push(&mut self, index: u64, key: PublicKey, signed: Signed) -> Vec<Finding> {
        self.waiting.push(Waiting { index, key, signed });
        if self.waiting.len() >= SIGNATURES_PER_ROUND { self.flush() } else { Vec::new() }
    }

    /// Checks what waits.
    pub fn flush(&mut self) -> Vec<Finding> {
        let waiting = std::mem::take(&mut self.waiting);
        self.checked = self.checked.saturating_add(u64::try_from(waiting.len()).unwrap_or(u64::MAX));
        let share = waiting.len().div_ceil(self.threads).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = waiting.chunks(share).map(|part| (part, scope.spawn(move || check(part)))).collect();
            // A thread that died has checked nothing: its share is done here.
            parts.into_iter().flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| check(part))).collect()
        })
    }
}

fn check(part: &[Waiting]) -> Vec<Finding> {
    let wrong = |w: &Waiting| {
        let error = w.signed.verify(&w.key).err()?;
        Some(of_entry(FindingKind::DocumentSignature, w.index, format!("the read request: {}", error.detail)))
    };
    part.iter().filter_map(wrong).collect()
}
