//! How much of the log is measured.

/// How much is measured of each figure of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Rounds of each figure.
    pub rounds: usize,
    /// Entries of the small log, and of the large one.
    pub few: u64,
    pub many: u64,
    /// Entries of each writer in a round.
    pub each: usize,
    /// The same where two logs are compared: the small one has to stay small.
    pub each_compared: usize,
    /// The same beside Tessera: long enough that what is published each second counts.
    pub each_beside: usize,
    /// Proofs of a round.
    pub proofs: u64,
    /// Verifications of the large log.
    pub verifications: usize,
    /// Batches of one entry whose signatures are verified.
    pub signatures: u64,
}

/// Writers that append beside each other.
pub(super) const WRITERS: usize = 1024;
/// Entries of a batch that fills a log: as many as the ledger takes at the most.
pub(super) const BATCH: u64 = perron_model::limits::LEDGER_BATCH_MAX as u64;

impl Size {
    /// What `make bench-log` measures.
    pub(super) fn full(many: u64, rounds: usize) -> Size {
        Size {
            rounds,
            few: many.min(10_000),
            many,
            each: 100,
            each_compared: 10,
            each_beside: 500,
            proofs: 2_000,
            verifications: 3,
            signatures: 4_000,
        }
    }

    /// What shows that each figure is produced, in seconds and without optimisation.
    pub(super) fn quick() -> Size {
        Size {
            rounds: 2,
            few: 2_000,
            many: 10_000,
            each: 2,
            each_compared: 1,
            each_beside: 2,
            proofs: 50,
            verifications: 1,
            signatures: 50,
        }
    }
}
