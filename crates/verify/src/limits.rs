//! Bounds of a verification, named with their units.

use perron_log::limits::KEPT_CHECKPOINTS_MAX;

/// Agreements, negotiations or open reads that are followed at a time, each; entries about more
/// are counted as not shown.
pub const FOLLOWED_MAX: usize = 1_000_000;
/// Signatures of requests that are checked together, spread over the processors.
pub const SIGNATURES_PER_ROUND: usize = 512;
/// Most threads that check signatures.
pub const THREADS_MAX: usize = 16;
/// How long after its end a request key may still stand under an entry: a request is verified,
/// then waits its turn. In milliseconds.
pub const KEY_GRACE_MS: i64 = 60_000;
/// Largest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Files that a folder of checkpoints or documents may hold before the reader gives up.
pub const FILES_MAX: usize = 1_000_000;
/// Heads of one other organisation's log that are compared at most; the newest are taken.
pub const HEADS_PER_PARTNER_MAX: usize = 10_000;

const _: () = assert!(HEADS_PER_PARTNER_MAX < KEPT_CHECKPOINTS_MAX);
