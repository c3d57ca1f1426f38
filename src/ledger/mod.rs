//! Appending to the log: one writer, group commit, counters that are entries.
//!
//! Invariant: nothing is acknowledged before it is durable. Invariant: counters move in the
//! order of the log, for the order is made under the agreement's turn.

mod chains;
mod clock;
mod closing;
mod failure;
mod fold;
mod gate_port;
mod generations;
mod handle;
mod keys;
mod nonces;
mod pruning;
mod rates;
mod recent;
mod refusals;
mod replay;
pub mod stream_root;
mod writer;

pub use clock::SystemClock;
pub use closing::{Begun, Closing};
pub use failure::{free_bytes, leaf_of, log_error};
pub use generations::{
    EarlierLog, GENERATIONS, Generations, OneLog, base_of, base_of_closed, closed_at, generation_dir, order_of,
};
pub use handle::{KnownHeads, Ledger, LogIdentity, Opened};
pub use keys::{LogKey, LogKeys};
pub use nonces::{IssuedNonce, Nonces};
pub use pruning::{Activities, unreadable};
pub use rates::Rates;
pub use writer::{Draft, Observer};
pub(crate) use writer::{random_16, random_text};

#[cfg(test)]
mod tests;
