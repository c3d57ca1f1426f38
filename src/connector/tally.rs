//! What left of an answer, counted message by message.

use crate::connector::peers::rows_of;
use crate::ledger::stream_root;
use perron_model::Digest;

/// One Flight message, weighed before it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Weighed {
    digest: [u8; 32],
    rows: Option<u64>,
    bytes: u64,
}

impl Weighed {
    /// Weighs a message by its header and body.
    pub fn new(header: &[u8], body: &[u8]) -> Weighed {
        let bytes = header.len().saturating_add(body.len());
        Weighed {
            digest: stream_root::message_digest(header, body),
            rows: rows_of(header),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }
}

impl Weighed {
    /// Bytes of header and body.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What was sent of an answer.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    digests: Vec<[u8; 32]>,
    /// Record batches sent.
    pub batches: u64,
    /// Rows sent.
    pub rows: u64,
    /// Bytes sent: headers and bodies.
    pub bytes: u64,
}

impl Tally {
    /// Counts a message that leaves.
    pub fn count(&mut self, message: &Weighed) {
        self.digests.push(message.digest);
        self.bytes = self.bytes.saturating_add(message.bytes);
        if let Some(rows) = message.rows {
            self.batches = self.batches.saturating_add(1);
            self.rows = self.rows.saturating_add(rows);
        }
    }
    /// Root over the messages.
    pub fn root(&self, salt: &[u8; 16]) -> Digest {
        stream_root::stream_root(salt, &self.digests)
    }
    /// How many messages.
    pub fn messages(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX)
    }
}
