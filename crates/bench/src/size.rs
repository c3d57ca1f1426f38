//! How much is measured. A round is a run of samples; figures are told with their spread over
//! rounds, for one round on a shared machine says little.

/// How much is measured of each figure.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rounds of each figure.
    pub rounds: usize,
    /// Entries of one round, one at a time.
    pub appends: usize,
    /// Entries that each of many writers appends in one round.
    pub appends_each: usize,
    /// Decisions of one round.
    pub decisions: usize,
    /// Reads of one round.
    pub reads: usize,
    /// Negotiations of one round.
    pub negotiations: usize,
    /// Answers of one round, of each kind.
    pub answers: usize,
    /// Rows of the set that is streamed.
    pub rows: usize,
    /// Starts of a process.
    pub starts: usize,
    /// Agreements that a provider has beside those of the space.
    pub agreements: usize,
}

/// What `make bench` measures.
pub const FULL: Size = Size {
    rounds: 5,
    appends: 200,
    appends_each: 40,
    decisions: 4_000,
    reads: 100,
    negotiations: 20,
    answers: 3,
    rows: 1_000_000,
    starts: 3,
    agreements: 100_000,
};

/// What shows that each figure is produced, in seconds and without optimisation.
pub const QUICK: Size = Size {
    rounds: 2,
    appends: 10,
    appends_each: 2,
    decisions: 40,
    reads: 4,
    negotiations: 2,
    answers: 1,
    rows: 20_000,
    starts: 1,
    agreements: 40,
};
