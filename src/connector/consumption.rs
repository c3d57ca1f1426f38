//! Reads at the consumer: who of ours asks, the signed request, the intent, the receipt.

use crate::connector::node::Node;
use crate::connector::peers::{OutgoingRead, ReadEvent, ReceiptParts, WireMessage};
use crate::connector::state::KeptAgreement;
use crate::connector::users::User;
use crate::connector::witness::log_verifiers;
use crate::ledger::{Draft, random_16, stream_root};
use crate::trust::jws;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_log::TlogProof;
use perron_log::merkle::leaf_hash;
use perron_model::decision::{StaffInput, Verdict};
use perron_model::entry::{AttachmentKind, Body, Entry, Intent, Received, StaffRefusal};
use perron_model::limits::STATEMENT_BYTES_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::{KeyUse, Participant};
use perron_model::request::{REQUEST_TYP, ReadRequest, Receipt};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, canonical};
use std::sync::Arc;

/// A statement that a user wants to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For which purpose: a DPV IRI.
    pub purpose: String,
    /// SQL.
    pub statement: String,
}

/// A statement that was planned at the provider.
#[derive(Clone, Debug)]
pub struct PlannedRead {
    /// What is wanted.
    pub wanted: Wanted,
    /// The provider's nonce.
    pub nonce: String,
    /// Arrow schema of the answer, as an IPC message.
    pub schema: Bytes,
}

/// The action that a query is.
const READ_ACTION: &str = "http://www.w3.org/ns/odrl/2/read";

struct Sent {
    request: String,
    digest: Digest,
    agreement: AgreementId,
    provider: Participant,
}

impl Node {
    /// May this user of ours do this? A refusal is logged.
    pub async fn require_staff(&self, user: &User, action: &str, wanted: Option<&Wanted>) -> Result<()> {
        let input = StaffInput {
            roles: user.roles.iter().map(|r| r.as_str().to_owned()).collect(),
            action: action.to_owned(),
            agreement: wanted.map(|w| w.agreement),
            purpose: wanted.map(|w| w.purpose.clone()),
            granted_agreements: user.agreements.clone(),
            granted_purposes: user.purposes.clone(),
        };
        let reasons = match self.policies.staff(&input).await {
            Ok(Verdict::Permit) => return Ok(()),
            Ok(Verdict::Refuse(reasons)) => reasons,
            Err(_) => Vec::new(),
        };
        let code = reasons.first().map_or(ErrorCode::EvaluationFailed, perron_model::decision::Refused::error_code);
        let pseudonym = self.users.pseudonym(&user.name, None)?;
        let body = Body::StaffRefusal(StaffRefusal {
            user: pseudonym,
            action: action.to_owned(),
            reason: code.as_str().to_owned(),
            purpose: wanted.map(|w| w.purpose.clone()),
        });
        self.ledger.append(Draft::plain(body)).await?;
        Err(Error::new(code, staff_detail(code, action, wanted)))
    }

    /// Plans a user's statement at the provider.
    pub async fn plan_for(&self, user: &User, wanted: Wanted) -> Result<PlannedRead> {
        if wanted.statement.len() > STATEMENT_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a statement is over {STATEMENT_BYTES_MAX} bytes")));
        }
        self.require_staff(user, "query", Some(&wanted)).await?;
        let kept = self.consumed(&wanted.agreement)?;
        let planned = self.peers.plan(&kept.payload.provider, &wanted.agreement, &wanted.statement).await?;
        Ok(PlannedRead { wanted, nonce: planned.nonce, schema: planned.schema })
    }

    /// Executes a planned statement: intent in our log, signed request, answer, receipt.
    pub async fn execute_for(
        self: &Arc<Self>,
        user: &User,
        planned: PlannedRead,
    ) -> Result<BoxStream<'static, Result<WireMessage>>> {
        self.require_staff(user, "query", Some(&planned.wanted)).await?;
        let kept = self.consumed(&planned.wanted.agreement)?;
        let provider = self.in_force(&kept.payload.provider)?;
        let (request, salt) = self.sign_request(user, &planned, &kept)?;
        let digest = Digest::of(request.as_bytes());
        let body = Body::Intent(Intent {
            request: digest,
            user: self.users.pseudonym(&user.name, Some(&provider.id))?,
            purpose: planned.wanted.purpose.clone(),
            provider: provider.id.to_string(),
        });
        let attachments = vec![(AttachmentKind::Request, request.clone().into_bytes())];
        let intent = self.ledger.append(Draft { body, chain: Some(kept.id), attachments }).await?;
        let outgoing = OutgoingRead {
            request: request.clone(),
            statement: planned.wanted.statement.clone(),
            salt,
            checkpoint: self.ledger.reader().last_note().into_bytes(),
            intent: self.leaf(intent.index)?,
            intent_proof: self.prove(intent.index)?.into_bytes(),
            held_size: self.kept.held(&provider.log_origin)?.map_or(0, |(c, _)| c.size),
        };
        let sent = Sent { request, digest, agreement: kept.id, provider };
        match self.peers.read(&sent.provider.id, outgoing).await {
            Ok(events) => Ok(relay(self.clone(), sent, events)),
            Err(error) => {
                self.received(&sent, &[], None, Some(error.code)).await?;
                Err(error)
            }
        }
    }

    fn consumed(&self, agreement: &AgreementId) -> Result<KeptAgreement> {
        self.state
            .agreement(agreement)
            .filter(|a| a.side == Side::Consumer)
            .ok_or_else(|| Error::new(ErrorCode::AgreementNotInForce, "no agreement of this name is in force"))
    }

    fn sign_request(&self, user: &User, planned: &PlannedRead, kept: &KeptAgreement) -> Result<(String, [u8; 16])> {
        let salt = random_16()?;
        let held = self.state.held(&kept.id);
        let request = ReadRequest {
            id: uuid::Uuid::now_v7().to_string(),
            issuer: self.me.clone(),
            provider: kept.payload.provider.clone(),
            agreement: kept.id,
            action: READ_ACTION.to_owned(),
            purpose: planned.wanted.purpose.clone(),
            statement: Digest::salted(&salt, planned.wanted.statement.as_bytes()),
            user: self.users.pseudonym(&user.name, Some(&kept.payload.provider))?,
            grant: Digest::salted(&salt, user.name.as_str().as_bytes()).short(),
            nonce: planned.nonce.clone(),
            time: self.now(),
            seen: held.seen,
            acknowledged: held.unacknowledged,
        };
        let signed =
            jws::sign_compact(self.keys.signing_key(KeyUse::Request)?, REQUEST_TYP, &canonical::to_bytes(&request)?)?;
        Ok((signed, salt))
    }

    /// Writes our own entry of what came, with the provider's receipt once it verified.
    async fn received(
        &self,
        sent: &Sent,
        messages: &[[u8; 32]],
        receipt: Option<ReceiptParts>,
        refused: Option<ErrorCode>,
    ) -> Result<()> {
        let mut attachments = vec![(AttachmentKind::Request, sent.request.clone().into_bytes())];
        let mut entry = Received {
            request: sent.digest,
            decision: None,
            outcome: None,
            rows: 0,
            messages: u64::try_from(messages.len()).unwrap_or(u64::MAX),
            stream_root: stream_root::stream_root(&[0; 16], messages),
            refused: refused.map(|r| r.as_str().to_owned()),
            receipt: None,
        };
        let mut contradiction = None;
        if let Some(parts) = receipt {
            // What the provider gave is kept even where it doesn't hold: that is when it is needed.
            attachments.push((AttachmentKind::Receipt, canonical::to_bytes(&kept_receipt(&parts))?));
            entry.receipt = attachments.last().map(|(_, bytes)| Digest::of(bytes));
            match self.judge(sent, messages, &parts, &mut entry) {
                Ok(()) => {}
                Err(error) => {
                    entry.refused = Some(error.code.as_str().to_owned());
                    contradiction = Some(error);
                }
            }
        }
        self.ledger.append(Draft { body: Body::Received(entry), chain: Some(sent.agreement), attachments }).await?;
        contradiction.map_or(Ok(()), Err)
    }

    /// Does the receipt hold, and is its outcome what was received?
    fn judge(&self, sent: &Sent, messages: &[[u8; 32]], parts: &ReceiptParts, entry: &mut Received) -> Result<()> {
        let salt = <[u8; 16]>::try_from(parts.stream_salt.as_slice())
            .map_err(|_| Error::malformed("the salt of a receipt is 16 bytes"))?;
        entry.stream_root = stream_root::stream_root(&salt, messages);
        let opened = open_receipt(&sent.provider, sent.digest, parts)?;
        entry.decision = Some(opened.decision_leaf);
        entry.outcome = opened.outcome_leaf;
        let Some(outcome) = opened.outcome else { return Ok(()) };
        entry.rows = outcome.rows;
        if outcome.stream_root != entry.stream_root || outcome.messages != entry.messages {
            return Err(Error::new(ErrorCode::LogDamaged, "the provider's outcome isn't what was received"));
        }
        Ok(())
    }
}

fn kept_receipt(parts: &ReceiptParts) -> Receipt {
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
    let keys = log_verifiers(provider);
    let prove = |leaf: &[u8], proof: &[u8]| -> Result<(Entry, Digest)> {
        let bad =
            |what: String| Error::new(ErrorCode::SignatureInvalid, format!("the receipt of `{}`: {what}", provider.id));
        let text = std::str::from_utf8(proof).map_err(|_| bad("a proof is not UTF-8".to_owned()))?;
        let hash = leaf_hash(leaf);
        TlogProof::parse(text)
            .and_then(|p| p.verify(&hash, &provider.log_origin, &keys, &[]))
            .map_err(|e| bad(e.to_string()))?;
        Ok((Entry::from_bytes(leaf)?, Digest::from_bytes(hash.0)))
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

/// Passes messages on as they come, without decoding them; our entry is written before the
/// user sees the end.
fn relay(
    node: Arc<Node>,
    sent: Sent,
    events: BoxStream<'static, Result<ReadEvent>>,
) -> BoxStream<'static, Result<WireMessage>> {
    struct Relay {
        node: Arc<Node>,
        sent: Sent,
        events: BoxStream<'static, Result<ReadEvent>>,
        digests: Vec<[u8; 32]>,
        ended: bool,
    }
    let begun = Relay { node, sent, events, digests: Vec::new(), ended: false };
    futures::stream::unfold(begun, |mut relay| async move {
        if relay.ended {
            return None;
        }
        let end = match relay.events.next().await {
            Some(Ok(ReadEvent::Message(message))) => {
                relay.digests.push(stream_root::message_digest(&message.header, &message.body));
                return Some((Ok(message), relay));
            }
            Some(Ok(ReadEvent::Receipt(receipt))) => {
                relay.node.received(&relay.sent, &relay.digests, Some(receipt), None).await
            }
            Some(Err(error)) => {
                let noted = relay.node.received(&relay.sent, &relay.digests, None, Some(error.code)).await;
                noted.and(Err(error))
            }
            None => {
                let error = Error::new(ErrorCode::PeerUnavailable, "the answer ended without a receipt");
                let noted = relay.node.received(&relay.sent, &relay.digests, None, Some(error.code)).await;
                noted.and(Err(error))
            }
        };
        relay.ended = true;
        relay.node.heads_wanted(&relay.sent.provider.id);
        match end {
            Ok(()) => None,
            Err(error) => Some((Err(error), relay)),
        }
    })
    .boxed()
}

fn staff_detail(code: ErrorCode, action: &str, wanted: Option<&Wanted>) -> String {
    match (code, wanted) {
        (ErrorCode::PurposeNotGranted, Some(w)) => format!(
            "the purpose `{}` isn't one that this user was granted",
            w.purpose.chars().take(200).collect::<String>()
        ),
        (ErrorCode::AgreementNotGranted, Some(w)) => {
            format!("the agreement {} isn't one that this user was granted", w.agreement.short())
        }
        _ => format!("this user's roles don't allow `{action}`"),
    }
}
