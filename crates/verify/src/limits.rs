//! Bounds of a verification, named with their units.

use perron_log::limits::KEPT_CHECKPOINTS_MAX;
use perron_model::limits::UNACKNOWLEDGED_MAX;

/// Agreements, negotiations or open reads that are followed at a time, each; entries about more
/// are counted as not shown.
pub const FOLLOWED_MAX: usize = 1_000_000;
/// Signatures of requests that are checked together, spread over the processors.
pub const SIGNATURES_PER_ROUND: usize = 512;
/// Most threads that check signatures.
pub const THREADS_MAX: usize = 16;
/// How far the clocks of a log's owner and of the authority may be apart where a key's validity is
/// looked up, in milliseconds.
pub const CLOCKS_APART_MS_MAX: i64 = 5 * 60_000;
/// Time that a clock may go back without an entry of its own, in milliseconds.
pub const CLOCK_TOLERANCE_MS: i64 = 1_000;
/// Newest entries of each agreement's chain by which what requests say of it is compared.
pub const CHAIN_WINDOW: usize = 512;
/// Runs of pruned entries that are told of one by one where no entry accounts for them.
pub const PRUNED_TOLD_MAX: usize = 100;
/// A trace id (W3C Trace Context), in bytes.
pub const TRACE_BYTES: usize = 16;
/// Largest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Files that a folder of checkpoints or documents may hold before the reader gives up.
pub const FILES_MAX: usize = 1_000_000;
/// Heads of one other organisation's log that are compared at most; the newest are taken.
pub const HEADS_PER_PARTNER_MAX: usize = 10_000;

const _: () = assert!(CHAIN_WINDOW as u64 > 4 * UNACKNOWLEDGED_MAX);
const _: () = assert!(HEADS_PER_PARTNER_MAX < KEPT_CHECKPOINTS_MAX);
