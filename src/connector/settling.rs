//! Reads whose answer broke off, or whose end a crash left open: their provider is asked for the
//! receipt until it tells, so that both logs end up saying the same.

use crate::connector::node::Node;
use crate::connector::receiving::{Got, Sent};
use crate::connector::tasks::is_for_now;
use crate::ledger::unreadable;
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::limits::{OUTBOX_BACKOFF_MS_MIN, SETTLE_BACKOFF_MS_MAX, SETTLING_AT_ONCE_MAX, SETTLING_MAX};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// A read of ours whose end isn't known.
#[derive(Debug)]
pub(super) struct BrokenRead {
    /// The request.
    pub sent: Sent,
    /// What came of the answer.
    pub got: Got,
    /// What the user was told.
    pub code: ErrorCode,
}

/// The reads to settle. The log remembers them too: an intent without an end.
pub(crate) struct Settling {
    queue: mpsc::Sender<BrokenRead>,
    waiting: Mutex<Option<mpsc::Receiver<BrokenRead>>>,
}

impl Default for Settling {
    fn default() -> Settling {
        let (queue, waiting) = mpsc::channel(SETTLING_MAX);
        Settling { queue, waiting: Mutex::new(Some(waiting)) }
    }
}

impl Settling {
    /// Hands a read over. What finds no place here, the next start finds in the log.
    pub(super) fn add(&self, read: BrokenRead) {
        if self.queue.try_send(read).is_err() {
            tracing::warn!("a broken read is settled after the next start");
        }
    }
}

/// Settles what an earlier process left open, then what this one hands over.
pub(crate) async fn settle(node: Arc<Node>) {
    let taken = node.settling.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = taken else { return };
    let at_once = Arc::new(Semaphore::new(SETTLING_AT_ONCE_MAX));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            read = waiting.recv(), if running.len() < SETTLING_MAX => {
                let Some(read) = read else { return };
                running.spawn(settle_one(node.clone(), at_once.clone(), read));
            }
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
}

async fn settle_one(node: Arc<Node>, at_once: Arc<Semaphore>, read: BrokenRead) {
    let mut wait_ms = OUTBOX_BACKOFF_MS_MIN;
    loop {
        let tried = {
            let Ok(_place) = at_once.acquire().await else { return };
            node.try_to_settle(&read).await
        };
        match tried {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(code = error.code.as_str(), "a broken read is settled with an error: {}", error.detail);
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = wait_ms.saturating_mul(2).min(SETTLE_BACKOFF_MS_MAX);
    }
}

impl Node {
    /// Reads that an earlier process sent and whose end has no entry. Called before the first
    /// read of this process.
    pub(crate) fn take_up_open_reads(&self) -> Result<()> {
        for (request, index) in self.state.open_reads()? {
            match self.sent_before(request, index) {
                Ok(sent) => {
                    self.settling.add(BrokenRead { sent, got: Got::default(), code: ErrorCode::AnswerIncomplete })
                }
                Err(error) => {
                    tracing::warn!(
                        index,
                        code = error.code.as_str(),
                        "an open read can't be settled: {}",
                        error.detail
                    );
                }
            }
        }
        Ok(())
    }

    fn sent_before(&self, digest: Digest, index: u64) -> Result<Sent> {
        let (reader, index) = self.ledger.locate(index);
        let attachments = reader.attachments(index).map_err(|e| unreadable(&e))?;
        let request = attachments
            .into_iter()
            .find(|a| a.kind == AttachmentKind::Request as u16)
            .and_then(|a| String::from_utf8(a.bytes).ok())
            .ok_or_else(|| Error::new(ErrorCode::LogDamaged, "an intent lacks its request"))?;
        let claims = perron_model::request::claims_of(&request)?;
        let provider = self.register.load().participant(&claims.provider).cloned().ok_or_else(|| {
            Error::new(ErrorCode::ParticipantUnknown, format!("`{}` is not in the register", claims.provider))
        })?;
        Ok(Sent { request, digest, agreement: claims.agreement, nonce: claims.nonce, provider })
    }

    /// Asks once. `false`: the provider can't be reached now, or the read still runs there.
    async fn try_to_settle(&self, read: &BrokenRead) -> Result<bool> {
        let sent = &read.sent;
        let answer = self.peers.receipt(&sent.provider.id, &sent.digest, &sent.agreement, &sent.nonce).await;
        let receipt = match answer {
            Ok(parts) if parts.outcome.is_empty() && is_permit(&parts.decision) => return Ok(false),
            Ok(parts) => Some(parts),
            Err(error) if is_for_now(error.code) => return Ok(false),
            // There is no decision and there will be none, or this provider tells us nothing any
            // more: what this side knows is all there is.
            Err(_) => None,
        };
        if self.state.is_open_read(&sent.digest)? {
            self.received(sent, &read.got, receipt, Some(read.code)).await?;
            self.heads_wanted(&sent.provider.id);
        }
        Ok(true)
    }

    /// The receipt of a request by its digest, for who asked. Where no decision is known yet, the
    /// nonce is taken out of use first: *not found* is then final.
    pub async fn settled_receipt(
        &self,
        peer: &ParticipantId,
        request: &Digest,
        ticket: Option<(perron_model::AgreementId, String)>,
    ) -> Result<crate::connector::peers::ReceiptParts> {
        match (self.receipt_of(peer, request), ticket) {
            (Err(Error { code: ErrorCode::NotFound, .. }), Some((agreement, nonce)))
                if self.state.agreement(&agreement).is_some_and(|a| a.payload.consumer == *peer) =>
            {
                self.ledger.void(peer, &agreement, &nonce).await?;
                self.receipt_of(peer, request)
            }
            (found, _) => found,
        }
    }
}

fn is_permit(leaf: &[u8]) -> bool {
    matches!(Entry::from_bytes(leaf).map(|e| e.body), Ok(Body::Decision(d)) if d.permitted)
}
