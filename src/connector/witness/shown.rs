//! A checkpoint that came with something else: is it of the history that we know of its log?

use super::{WitnessedLog, log_verifiers};
use crate::connector::node::Node;
use crate::connector::peers::Head;
use perron_log::Checkpoint;
use perron_log::merkle::{Hash, verify_consistency};
use perron_model::limits::HEADS_TRIES_MAX;
use perron_model::{Error, ErrorCode, ParticipantId, Result};
use perron_verify::OpenedExtract;

impl Node {
    /// Entries of the checkpoint that is kept of a participant's log; 0 for none.
    pub(in crate::connector) fn held_of(&self, peer: &ParticipantId) -> Result<u64> {
        self.held_size(&WitnessedLog::of(&self.in_force(peer)?, self.now()))
    }

    /// Keeps an extract's checkpoint, once it is shown to extend the one that was held when it was asked
    /// for. Where another was kept meanwhile, the log's newest one has to extend both.
    ///
    /// # Errors
    /// `log_forked` where it contradicts what is kept.
    pub(in crate::connector) async fn require_known_history(
        &self,
        peer: &ParticipantId,
        extract: &OpenedExtract,
        held: u64,
        consistency: &[[u8; 32]],
    ) -> Result<()> {
        let log = WitnessedLog::of(&self.in_force(peer)?, self.now());
        let head = Head { note: extract.checkpoint.clone().into_bytes(), consistency: consistency.to_vec() };
        if self.keep_head(&log, held, &head).await?.is_ok() {
            return Ok(());
        }
        for _ in 0..HEADS_TRIES_MAX {
            let held = self.held_size(&log)?;
            let (beyond, newest) = (self.peers.head(peer, extract.size).await?, self.peers.head(peer, held).await?);
            if beyond.note != newest.note {
                continue;
            }
            let forked = || Error::new(ErrorCode::LogForked, format!("the log of `{peer}` doesn't extend its extract"));
            let tree = self.opened_head(peer, &beyond)?;
            let proof: Vec<Hash> = beyond.consistency.iter().map(|hash| Hash(*hash)).collect();
            let root = Hash(*extract.root.as_bytes());
            if tree.size == extract.size {
                if tree.root != root {
                    return Err(forked());
                }
            } else {
                verify_consistency(extract.size, tree.size, &root, &tree.root, &proof).map_err(|_| forked())?;
            }
            if self.keep_head(&log, held, &newest).await?.is_ok() {
                return Ok(());
            }
        }
        Err(Error::new(ErrorCode::MessageConflict, "the peer's newest checkpoint moves"))
    }

    fn opened_head(&self, peer: &ParticipantId, head: &Head) -> Result<Checkpoint> {
        let participant = self.in_force(peer)?;
        let text = std::str::from_utf8(&head.note).map_err(|_| Error::malformed("a checkpoint is UTF-8"))?;
        let opened = Checkpoint::open(text, &participant.log_origin, &log_verifiers(&participant), &[]);
        let opened =
            opened.map_err(|e| Error::new(ErrorCode::SignatureInvalid, format!("the checkpoint of `{peer}`: {e}")))?;
        Ok(opened.checkpoint)
    }
}
