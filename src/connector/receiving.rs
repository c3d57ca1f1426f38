//! Answers at the consumer: what came is passed on, and its end gets our own entry.
//!
//! An answer ends with a receipt, with a refusal, or it breaks off. Then its provider knows more
//! than this side: it is asked until it tells (`settling`).

use crate::connector::node::Node;
use crate::connector::peers::{ReadEvent, ReceiptParts, WireMessage};
use crate::connector::rotation::require_signed_in_time;
use crate::connector::settling::BrokenRead;
use crate::connector::witness::verify_in_logs;
use crate::ledger::{Draft, stream_root};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_log::TlogProof;
use perron_log::merkle::leaf_hash;
use perron_model::entry::{AttachmentKind, Body, Entry, OutcomeStatus, Received};
use perron_model::limits::END_KNOWN_MS_MAX;
use perron_model::participant::Participant;
use perron_model::request::{Receipt, claims_of};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, canonical};
use std::sync::Arc;
use std::time::Duration;

/// A request of ours that is on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Compact JWS.
    pub request: String,
    /// Its digest: the name of the read.
    pub digest: Digest,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// The provider's nonce.
    pub nonce: String,
    /// The provider.
    pub provider: Participant,
}

/// What came of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Got {
    messages: Vec<[u8; 32]>,
    rows: u64,
}

/// An answer that is awaited or comes in. Dropped before its end, it is settled later: a user who
/// goes away, a panic, a provider that was killed.
pub(super) struct Receiving {
    node: Arc<Node>,
    sent: Option<Sent>,
    got: Got,
    code: ErrorCode,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            let got = std::mem::take(&mut self.got);
            self.node.settling.add(BrokenRead { sent, got, code: self.code });
        }
    }
}

impl Receiving {
    /// The intent is durable, the request may leave.
    pub(super) fn begin(node: Arc<Node>, sent: Sent) -> Receiving {
        Receiving { node, sent: Some(sent), got: Got::default(), code: ErrorCode::AnswerIncomplete }
    }

    /// No answer came. A refusal is noted at once; where the provider may yet have decided, it is
    /// asked.
    pub(super) async fn refused(mut self, error: Error) -> Error {
        if is_undecided(error.code) {
            self.code = error.code;
            return error;
        }
        match self.end(None, Some(error.code)).await {
            Ok(()) => error,
            Err(failure) => failure,
        }
    }

    /// Passes messages on as they come, without decoding them; our entry is written before the
    /// user sees the end.
    pub(super) fn relay(
        self,
        events: BoxStream<'static, Result<ReadEvent>>,
    ) -> BoxStream<'static, Result<WireMessage>> {
        futures::stream::unfold(Some((self, events)), |state| async move {
            let (mut receiving, mut events) = state?;
            let error = match events.next().await {
                Some(Ok(ReadEvent::Message(message))) => {
                    if let Err(over) = receiving.require_standing() {
                        receiving.code = over.code;
                        end_of(events).await;
                        return Some((Err(over), None));
                    }
                    receiving.got.messages.push(stream_root::message_digest(&message.header, &message.body));
                    receiving.got.rows = receiving.got.rows.saturating_add(message.rows());
                    return Some((Ok(message), Some((receiving, events))));
                }
                Some(Ok(ReadEvent::Receipt(receipt))) => {
                    return receiving.end(Some(receipt), None).await.err().map(|error| (Err(error), None));
                }
                Some(Err(error)) => error,
                None => Error::new(ErrorCode::AnswerIncomplete, "the answer ended without a receipt"),
            };
            receiving.code = error.code;
            Some((Err(error), None))
        })
        .boxed()
    }

    fn require_standing(&self) -> Result<()> {
        self.sent.as_ref().map_or(Ok(()), |sent| self.node.require_standing(&sent.agreement))
    }

    /// Writes the entry of the end, in a task of its own: a user who goes away now must not leave
    /// it to chance whether it is written.
    async fn end(&mut self, receipt: Option<ReceiptParts>, refused: Option<ErrorCode>) -> Result<()> {
        let Some(sent) = self.sent.take() else { return Ok(()) };
        let (node, got) = (self.node.clone(), std::mem::take(&mut self.got));
        let written = tokio::spawn(async move {
            let written = node.received(&sent, &got, receipt, refused).await;
            node.heads_wanted(&sent.provider.id);
            written
        });
        written.await.map_err(|_| Error::new(ErrorCode::Internal, "a read ended unexpectedly"))?
    }
}

/// What ended the agreement ends what runs under it: nothing more is passed on. The provider ends
/// the answer too, as soon as it knows; it is given the time to say so itself.
async fn end_of(mut events: BoxStream<'static, Result<ReadEvent>>) {
    let ended = async { while let Some(Ok(ReadEvent::Message(_))) = events.next().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(END_KNOWN_MS_MAX), ended).await;
}

/// Errors that don't tell whether the provider decided about the request.
const fn is_undecided(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::PeerUnavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::LogUnavailable
            | ErrorCode::DiskFull
            | ErrorCode::Internal
    )
}

impl Node {
    /// Writes our own entry of what came, with the provider's receipt once it verified.
    pub(super) async fn received(
        &self,
        sent: &Sent,
        got: &Got,
        receipt: Option<ReceiptParts>,
        refused: Option<ErrorCode>,
    ) -> Result<()> {
        let mut attachments = vec![(AttachmentKind::Request, sent.request.clone().into_bytes())];
        let mut entry = Received {
            request: sent.digest,
            decision: None,
            outcome: None,
            rows: got.rows,
            messages: u64::try_from(got.messages.len()).unwrap_or(u64::MAX),
            stream_root: stream_root::stream_root(&[0; 16], &got.messages),
            refused: refused.map(|r| r.as_str().to_owned()),
            receipt: None,
        };
        let mut contradiction = None;
        if let Some(parts) = receipt {
            // What the provider gave is kept even where it doesn't hold: that is when it is needed.
            attachments.push((AttachmentKind::Receipt, canonical::to_bytes(&kept_receipt(&parts))?));
            entry.receipt = attachments.last().map(|(_, bytes)| Digest::of(bytes));
            if let Err(error) = judge(sent, got, &parts, &mut entry) {
                entry.refused = Some(error.code.as_str().to_owned());
                contradiction = Some(error);
            }
        }
        let (chain, trace) = (Some(sent.agreement), claims_of(&sent.request).ok().and_then(|claims| claims.trace));
        self.ledger.append(Draft { body: Body::Received(entry), chain, trace, attachments }).await?;
        contradiction.map_or(Ok(()), Err)
    }
}

/// Does the receipt hold, and is its outcome what was received? Of an answer that broke off, no
/// more may have come than the provider says that it sent; what a crash of its own made it forget
/// it can't say.
fn judge(sent: &Sent, got: &Got, parts: &ReceiptParts, entry: &mut Received) -> Result<()> {
    let salt = <[u8; 16]>::try_from(parts.stream_salt.as_slice())
        .map_err(|_| Error::malformed("the salt of a receipt is 16 bytes"))?;
    entry.stream_root = stream_root::stream_root(&salt, &got.messages);
    let opened = open_receipt(&sent.provider, sent.digest, parts)?;
    entry.decision = Some(opened.decision_leaf);
    entry.outcome = opened.outcome_leaf;
    let fits = match (&opened.outcome, &entry.refused) {
        (Some(outcome), None) => {
            outcome.stream_root == entry.stream_root && outcome.messages == entry.messages && outcome.rows == entry.rows
        }
        (Some(outcome), Some(_)) => {
            outcome.status == OutcomeStatus::UnknownAfterCrash
                || (entry.messages <= outcome.messages && entry.rows <= outcome.rows)
        }
        (None, Some(_)) => true,
        (None, None) => false,
    };
    if fits { Ok(()) } else { Err(Error::new(ErrorCode::LogDamaged, "the provider's outcome isn't what was received")) }
}

/// A receipt as it is kept.
pub(crate) fn kept_receipt(parts: &ReceiptParts) -> Receipt {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Receipt {
        decision: URL_SAFE_NO_PAD.encode(&parts.decision),
        outcome: URL_SAFE_NO_PAD.encode(&parts.outcome),
        decision_proof: text(&parts.decision_proof),
        outcome_proof: text(&parts.outcome_proof),
        stream_salt: URL_SAFE_NO_PAD.encode(&parts.stream_salt),
    }
}

struct Opened {
    decision_leaf: Digest,
    outcome_leaf: Option<Digest>,
    outcome: Option<perron_model::entry::Outcome>,
}

/// Checks a receipt: both leaves lie in trees that the provider signed, and are about this read.
fn open_receipt(provider: &Participant, request: Digest, parts: &ReceiptParts) -> Result<Opened> {
    let prove = |leaf: &[u8], proof: &[u8]| -> Result<(Entry, Digest)> {
        let bad =
            |what: String| Error::new(ErrorCode::SignatureInvalid, format!("the receipt of `{}`: {what}", provider.id));
        let text = std::str::from_utf8(proof).map_err(|_| bad("a proof is not UTF-8".to_owned()))?;
        let hash = leaf_hash(leaf);
        let proof = TlogProof::parse(text).map_err(|e| bad(e.to_string()))?;
        verify_in_logs(&proof, &hash, provider).map_err(|e| bad(e.to_string()))?;
        let entry = Entry::from_bytes(leaf)?;
        require_signed_in_time(provider, &proof.checkpoint, entry.time).map_err(|e| bad(e.detail))?;
        Ok((entry, Digest::from_bytes(hash.0)))
    };
    let foreign = || Error::new(ErrorCode::SignatureInvalid, "the receipt is about another read");
    let (decision, decision_leaf) = prove(&parts.decision, &parts.decision_proof)?;
    if !matches!(&decision.body, Body::Decision(d) if d.request == request) {
        return Err(foreign());
    }
    if parts.outcome.is_empty() {
        return Ok(Opened { decision_leaf, outcome_leaf: None, outcome: None });
    }
    let (outcome, outcome_leaf) = prove(&parts.outcome, &parts.outcome_proof)?;
    match outcome.body {
        Body::Outcome(o) if o.decision == decision_leaf => {
            Ok(Opened { decision_leaf, outcome_leaf: Some(outcome_leaf), outcome: Some(o) })
        }
        _ => Err(foreign()),
    }
}
