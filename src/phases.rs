//! What the process is in the middle of, for the trace: off unless `PERRON_TRACE` asks for the
//! target `perron::phase` at the level `trace`. A line is written before and after, so that what a
//! killed process was doing is what its trace left open.

/// Work that a crash may cut in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A step of a negotiation is handled, or a notice about an agreement.
    Negotiation,
    /// A batch of entries is written and synced.
    Flush,
    /// An answer's messages pass, up to its receipt.
    Stream,
    /// A file of the vault is written or destroyed.
    Vault,
}

impl Phase {
    /// The stable text of the trace.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Negotiation => "negotiation",
            Phase::Flush => "flush",
            Phase::Stream => "stream",
            Phase::Vault => "vault",
        }
    }
}

/// A phase that is open until this is dropped.
#[derive(Debug)]
#[must_use = "a phase ends where its guard is dropped"]
pub struct Open(Phase);

/// Begins a phase.
pub fn open(phase: Phase) -> Open {
    tracing::trace!(target: "perron::phase", phase = phase.as_str(), edge = "begin");
    Open(phase)
}

impl Drop for Open {
    fn drop(&mut self) {
        tracing::trace!(target: "perron::phase", phase = self.0.as_str(), edge = "end");
    }
}
