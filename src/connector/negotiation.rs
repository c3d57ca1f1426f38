//! Negotiations: receiving messages, deciding, answering; event-driven, idempotent.
//!
//! Each step is an entry of the log before it is answered or sent. What is to be sent lies in
//! the negotiation itself (`outgoing`), so that a crash at any point resumes to the same end.

mod amending;
mod checks;

use crate::connector::node::Node;
use crate::connector::peers::RemoteState;
use crate::connector::state::{Approval, Negotiation, REFUSED, payload_of};
use crate::ledger::Draft;
use crate::trust::jws;
use perron_model::agreement::{AgreementKind, AgreementPayload, Envelope, JwsJson, Offer};
use perron_model::decision::StateFacts;
use perron_model::entry::{AttachmentKind, Body};
use perron_model::negotiation::{Message, NegotiationMessage, Side, State as Phase, next};
use perron_model::participant::KeyUse;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde_json::Value as Json;
use std::path::Path;

/// `typ` of an agreement's signatures.
pub const AGREEMENT_TYP: &str = "perron-agreement+jws";
/// Agreements as files, within an organisation's directory.
pub const DOCUMENTS: &str = "documents";
/// How far the provider's clock may be from ours when it signs, in milliseconds.
const SIGNING_SKEW_MS: i64 = 5 * 60_000;

impl Node {
    /// Begins a negotiation as consumer: asks for an offer, as published or changed.
    pub async fn request(&self, provider: &ParticipantId, offer: Offer) -> Result<String> {
        self.in_force(provider)?;
        let pid = uuid::Uuid::now_v7().to_string();
        let _guard = self.negotiating.lock().await;
        let _phase = crate::phases::open(crate::phases::Phase::Negotiation);
        let message = self.message(Message::Request, Side::Consumer, provider, &pid, None, Some(offer), None, None);
        self.step(&pid, provider, Side::Consumer, None, message, None).await?;
        Ok(pid)
    }

    /// Takes a message of another participant; the same message again gets the same answer.
    pub async fn receive(&self, peer: &ParticipantId, message: NegotiationMessage) -> Result<RemoteState> {
        let message = message.check()?;
        let side = self.side_of(peer, &message)?;
        self.in_force(peer)?;
        let _guard = self.negotiating.lock().await;
        let _phase = crate::phases::open(crate::phases::Phase::Negotiation);
        let existing = self.find(peer, side, &message)?;
        if let Some(found) = &existing
            && let Some(state) = found.taken.get(&message.message_id)
        {
            return Ok(remote(found, *state));
        }
        let before = existing.as_ref().map(|n| n.state);
        let state = next(before, side.other(), message.message)?;
        if !self.negotiation_rates.take(peer.as_str(), self.now()) {
            return Err(Error::new(ErrorCode::Overloaded, "too many messages of negotiations in a short time"));
        }
        let pid = match (&existing, message.message) {
            (Some(found), _) => found.pid.clone(),
            (None, Message::Request | Message::Offer) => uuid::Uuid::now_v7().to_string(),
            (None, _) => return Err(Error::new(ErrorCode::NotFound, "no negotiation of this number")),
        };
        self.check_content(peer, existing.as_ref(), &message)?;
        if message.message == Message::Finalize
            && let Some(found) = &existing
        {
            self.keep_agreement(found).await?;
        }
        self.write_step(&pid, peer, side, side.other(), state, &message, None).await?;
        let found =
            self.state.negotiation(&pid)?.ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation was lost"))?;
        Ok(remote(&found, state))
    }

    /// Does what follows by itself: called for each negotiation after each change.
    pub async fn react(&self, pid: &str) -> Result<()> {
        let _guard = self.negotiating.lock().await;
        let Some(found) = self.state.negotiation(pid)? else { return Ok(()) };
        if found.outgoing.is_some() || found.state.waits_for() != Some(found.side) {
            return Ok(());
        }
        let _phase = crate::phases::open(crate::phases::Phase::Negotiation);
        match (found.side, found.state) {
            (Side::Provider, Phase::Requested) if self.asks_for_what_is_offered(&found) => {
                self.agree(&found, None).await
            }
            (Side::Provider, Phase::Accepted) => self.agree(&found, None).await,
            (Side::Provider, Phase::Verified) => self.finalize(&found).await,
            (Side::Consumer, Phase::Agreed) => self.countersign(&found).await,
            _ => Ok(()),
        }
    }

    /// A person approves what waits: the provider agrees to a request, the consumer accepts an
    /// offer. `shown` is the digest of the policy that the person saw: another one, which came
    /// meanwhile, isn't approved by it.
    pub async fn approve(&self, pid: &str, shown: Digest, who: &str) -> Result<()> {
        let _guard = self.negotiating.lock().await;
        let found = self.waiting(pid)?;
        let policy = found.offer.as_ref().map(|offer| canonical::to_bytes(&offer.policy)).transpose()?;
        if policy.map(|bytes| Digest::of(&bytes)) != Some(shown) {
            return Err(Error::new(
                ErrorCode::TransitionIllegal,
                "another policy is on the table than the one that was shown",
            ));
        }
        match (found.side, found.state) {
            (Side::Provider, Phase::Requested) => self.agree(&found, Some(who)).await,
            (Side::Consumer, Phase::Offered) => {
                self.move_on(&found, Message::Accept, None, None, None, Some(who)).await
            }
            _ => Err(Error::new(
                ErrorCode::TransitionIllegal,
                format!("a negotiation in {} waits for no approval", found.state),
            )),
        }
    }

    /// A person refuses what waits, with a reason that the other side reads.
    pub async fn refuse(&self, pid: &str, reason: String, who: &str) -> Result<()> {
        let _guard = self.negotiating.lock().await;
        let found = self
            .state
            .negotiation(pid)?
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no negotiation of this number"))?;
        self.move_on(&found, Message::Terminate, None, None, Some(reason), Some(who)).await
    }

    /// Puts another policy on the table: the provider offers, the consumer requests.
    pub async fn counter(&self, pid: &str, policy: Json, who: &str) -> Result<()> {
        let _guard = self.negotiating.lock().await;
        let found = self.waiting(pid)?;
        let mut offer =
            found.offer.clone().ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without an offer"))?;
        offer.policy = policy;
        let message = match found.side {
            Side::Provider => {
                self.check_offer(&found.counterparty, &offer)?;
                Message::Offer
            }
            Side::Consumer => Message::Request,
        };
        self.move_on(&found, message, Some(offer), None, None, Some(who)).await
    }

    /// Is this side the consumer of the negotiation of this consumer's number?
    pub fn is_consumer_of(&self, peer: &ParticipantId, consumer_pid: &str) -> bool {
        let found = self.state.negotiation(consumer_pid).ok().flatten();
        found.is_some_and(|n| n.counterparty == *peer && n.side == Side::Consumer)
    }

    /// The state of a negotiation, for the other side of it.
    pub fn negotiation_for(&self, peer: &ParticipantId, pid: &str) -> Result<RemoteState> {
        let found = self.state.negotiation(pid)?.filter(|n| n.counterparty == *peer);
        found
            .map(|n| remote(&n, n.state))
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no negotiation of this number"))
    }

    /// Negotiations that wait for a person of this organisation.
    pub fn inbox(&self) -> Vec<Negotiation> {
        self.state.negotiations_to_move().into_iter().filter(|n| self.waits_for_a_person(n)).collect()
    }

    pub(crate) fn waits_for_a_person(&self, n: &Negotiation) -> bool {
        n.outgoing.is_none() && n.state.waits_for() == Some(n.side) && !self.goes_on_by_itself(n)
    }

    fn goes_on_by_itself(&self, n: &Negotiation) -> bool {
        match (n.side, n.state) {
            (Side::Provider, Phase::Requested) => self.asks_for_what_is_offered(n),
            (Side::Consumer, Phase::Offered) => false,
            _ => true,
        }
    }

    fn asks_for_what_is_offered(&self, n: &Negotiation) -> bool {
        let Some(offer) = &n.offer else { return false };
        self.state.offer(&offer.id).is_some_and(|p| {
            p.open
                && p.approval == Approval::Automatic
                && p.offer == *offer
                && p.consumer.as_ref().is_none_or(|c| *c == n.counterparty)
        })
    }

    fn waiting(&self, pid: &str) -> Result<Negotiation> {
        let found = self
            .state
            .negotiation(pid)?
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no negotiation of this number"))?;
        if found.state.waits_for() != Some(found.side) {
            return Err(Error::new(
                ErrorCode::TransitionIllegal,
                format!("a negotiation in {} doesn't wait for this side", found.state),
            ));
        }
        Ok(found)
    }

    fn side_of(&self, peer: &ParticipantId, message: &NegotiationMessage) -> Result<Side> {
        if message.provider == self.me && message.consumer == *peer {
            Ok(Side::Provider)
        } else if message.consumer == self.me && message.provider == *peer {
            Ok(Side::Consumer)
        } else {
            Err(Error::new(ErrorCode::IssuerMismatch, "the message isn't between its sender and this participant"))
        }
    }

    fn find(&self, peer: &ParticipantId, side: Side, message: &NegotiationMessage) -> Result<Option<Negotiation>> {
        let mine = match side {
            Side::Provider => message.provider_pid.as_deref(),
            // A provider that begins doesn't know our number.
            Side::Consumer => Some(message.consumer_pid.as_str()).filter(|pid| !pid.is_empty()),
        };
        let theirs = match side {
            Side::Provider => Some(message.consumer_pid.as_str()),
            Side::Consumer => message.provider_pid.as_deref(),
        };
        let found = match (mine, theirs) {
            (Some(pid), _) => self.state.negotiation(pid)?,
            (None, Some(pid)) => self.state.negotiation_of(side, peer, pid)?,
            (None, None) => None,
        };
        Ok(found.filter(|n| n.counterparty == *peer && n.side == side))
    }

    async fn agree(&self, found: &Negotiation, who: Option<&str>) -> Result<()> {
        let offer =
            found.offer.clone().ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without an offer"))?;
        self.check_offer(&found.counterparty, &offer)?;
        let payload = AgreementPayload {
            kind: AgreementKind::V1,
            space: self.space.clone(),
            negotiation: found.pid.clone(),
            provider: self.me.clone(),
            consumer: found.counterparty.clone(),
            offer,
            timestamp: self.now(),
        };
        let key = self.keys.signing_key(KeyUse::Agreement, payload.timestamp)?;
        let signed = jws::sign_first(&key, AGREEMENT_TYP, &payload.bytes()?)?;
        self.move_on(found, Message::Agree, None, Some(signed), None, who).await
    }

    async fn countersign(&self, found: &Negotiation) -> Result<()> {
        let signed = found
            .agreement
            .clone()
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without its agreement"))?;
        // Both sign by keys in force at the agreement's time.
        let key = self.keys.signing_key(KeyUse::Agreement, payload_of(&signed)?.timestamp)?;
        let signed = jws::add_signature(signed, &key, AGREEMENT_TYP)?;
        self.move_on(found, Message::Verify, None, Some(signed), None, None).await
    }

    /// The agreement is in force: its envelope goes into the log, unless it is there.
    async fn keep_agreement(&self, found: &Negotiation) -> Result<()> {
        let agreement = found
            .agreement
            .clone()
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without its agreement"))?;
        let payload = payload_of(&agreement)?;
        let id: AgreementId = payload.id()?;
        if self.state.agreement(&id).is_some() {
            return Ok(());
        }
        let register = self.register.load();
        let entry = |p: &ParticipantId| {
            register
                .entry_jws(p)
                .map(str::to_owned)
                .ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, format!("`{p}` is not in the register")))
        };
        let envelope = Envelope {
            agreement,
            provider_entry: entry(&payload.provider)?,
            consumer_entry: entry(&payload.consumer)?,
        };
        crate::trust::envelope::verify_envelope(&envelope, &self.authority)?;
        let bytes = canonical::to_bytes(&envelope)?;
        let mut entry = perron_model::entry::Agreement {
            agreement: id,
            envelope: Digest::of(&bytes),
            counterparty: found.counterparty.to_string(),
            side: side_text(found.side).to_owned(),
            dataset: payload.offer.dataset.to_string(),
            legal_basis: payload.offer.legal_basis.term.clone(),
            regime: canonical_text(&payload.offer.regime)?,
            amends: payload.offer.amends,
            uses: None,
            volume: None,
        };
        let attachments = vec![(AttachmentKind::Envelope, bytes.clone())];
        let draft = |charged: Option<&StateFacts>| {
            entry.uses = charged.map(|c| c.uses);
            entry.volume = charged.and_then(|c| c.volume_bytes);
            Draft { body: Body::Agreement(entry), chain: Some(id), trace: None, attachments }
        };
        match payload.offer.amends {
            Some(before) => self.keep_amended(found.side, &before, |charged| draft(Some(charged))).await?,
            None => self.ledger.append(draft(None)).await.map(drop)?,
        }
        // Nobody waits for what is derived, nor does a thread that serves; the next start makes up
        // for a document that a kill leaves out.
        let directory = self.data.join(DOCUMENTS);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = write_document(&directory, &id, &bytes) {
                tracing::error!(
                    code = error.code.as_str(),
                    "an agreement's document can't be written: {}",
                    error.detail
                );
            }
        });
        Ok(())
    }

    /// Writes documents that a crash left out.
    pub fn restore_documents(&self) -> Result<()> {
        let directory = self.data.join(DOCUMENTS);
        crate::files::remove_temporary(&directory);
        // One at a time: there may be very many, and nearly all of them are there.
        for id in self.state.agreement_names()? {
            if !directory.join(format!("{id}.json")).exists()
                && let Some(kept) = self.state.stored_agreement(&id)?
            {
                write_document(&directory, &id, &canonical::to_bytes(&kept.envelope)?)?;
            }
        }
        Ok(())
    }

    async fn move_on(
        &self,
        found: &Negotiation,
        kind: Message,
        offer: Option<Offer>,
        agreement: Option<JwsJson>,
        reason: Option<String>,
        who: Option<&str>,
    ) -> Result<()> {
        let message = self.message(
            kind,
            found.side,
            &found.counterparty,
            &found.pid,
            found.their_pid.clone(),
            offer,
            agreement,
            reason,
        );
        self.step(&found.pid, &found.counterparty, found.side, Some(found.state), message, who).await
    }

    #[allow(clippy::too_many_arguments, reason = "a message has these parts")]
    fn message(
        &self,
        kind: Message,
        side: Side,
        other: &ParticipantId,
        pid: &str,
        their_pid: Option<String>,
        offer: Option<Offer>,
        agreement: Option<JwsJson>,
        reason: Option<String>,
    ) -> NegotiationMessage {
        let message_id = uuid::Uuid::now_v7().to_string();
        let (provider, consumer) = match side {
            Side::Provider => (self.me.clone(), other.clone()),
            Side::Consumer => (other.clone(), self.me.clone()),
        };
        let (consumer_pid, provider_pid) = match side {
            Side::Provider => (their_pid.unwrap_or_default(), Some(pid.to_owned())),
            Side::Consumer => (pid.to_owned(), their_pid),
        };
        NegotiationMessage {
            message_id,
            message: kind,
            consumer_pid,
            provider_pid,
            provider,
            consumer,
            offer,
            agreement,
            reason,
        }
    }

    async fn step(
        &self,
        pid: &str,
        other: &ParticipantId,
        side: Side,
        before: Option<Phase>,
        message: NegotiationMessage,
        who: Option<&str>,
    ) -> Result<()> {
        let state = next(before, side, message.message)?;
        self.write_step(pid, other, side, side, state, &message, who).await
    }

    #[allow(clippy::too_many_arguments, reason = "an entry has these parts")]
    async fn write_step(
        &self,
        pid: &str,
        other: &ParticipantId,
        side: Side,
        by: Side,
        state: Phase,
        message: &NegotiationMessage,
        who: Option<&str>,
    ) -> Result<()> {
        let bytes = canonical::to_bytes(message)?;
        let body = Body::Negotiation(perron_model::entry::Negotiation {
            id: pid.to_owned(),
            counterparty: other.to_string(),
            side: side_text(side).to_owned(),
            by: side_text(by).to_owned(),
            message: canonical_text(&message.message)?,
            state: state.to_string(),
            digest: Digest::of(&bytes),
            decided_by: who.map(str::to_owned),
        });
        self.ledger
            .append(Draft {
                body,
                chain: None,
                trace: None,
                attachments: vec![(AttachmentKind::NegotiationMessage, bytes)],
            })
            .await
            .map(|_| ())
    }

    /// The other side refused our message for good: the negotiation ends here, and the other side
    /// is told so (the fold of the state makes that message).
    pub(crate) async fn rejected(&self, pid: &str, error: &Error) -> Result<()> {
        let _guard = self.negotiating.lock().await;
        let Some(found) = self.state.negotiation(pid)? else { return Ok(()) };
        let Ok(state) = next(Some(found.state), found.side.other(), Message::Terminate) else {
            // In an end state, or where the other side may not end it, there is nothing left to
            // send: the message is dropped, the state stays.
            if let Some(message) = &found.outgoing {
                self.state.delivered(pid, &message.message_id, "")?;
            }
            return Ok(());
        };
        let reason = Some(format!("{}: {}", error.code, error.detail));
        let mut message = self.message(
            Message::Terminate,
            found.side,
            &found.counterparty,
            pid,
            found.their_pid.clone(),
            None,
            None,
            reason,
        );
        message.message_id = format!("{REFUSED}{}", message.message_id).chars().take(64).collect();
        self.write_step(pid, &found.counterparty, found.side, found.side.other(), state, &message, None).await
    }
}

/// `documents/` is derived from the log: for people and for tools that read files.
fn write_document(directory: &Path, id: &AgreementId, bytes: &[u8]) -> Result<()> {
    std::fs::create_dir_all(directory)
        .map_err(|_| Error::new(ErrorCode::DiskFull, "the documents' directory can't be made"))?;
    crate::files::write_file(&directory.join(format!("{id}.json")), bytes)
}

pub(crate) const fn side_text(side: Side) -> &'static str {
    match side {
        Side::Provider => "provider",
        Side::Consumer => "consumer",
    }
}

fn canonical_text<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_value(value)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .ok_or_else(|| Error::new(ErrorCode::Internal, "a name can't be written"))
}

fn remote(found: &Negotiation, state: Phase) -> RemoteState {
    let theirs = found.their_pid.clone().unwrap_or_default();
    match found.side {
        Side::Provider => RemoteState { consumer_pid: theirs, provider_pid: found.pid.clone(), state },
        Side::Consumer => RemoteState { consumer_pid: found.pid.clone(), provider_pid: theirs, state },
    }
}
