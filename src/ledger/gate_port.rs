//! The ledger as the gate's port: turns, counters, decisions in their order.

use crate::ledger::handle::Ledger;
use crate::ledger::writer::{Draft, Job, random_16};
use perron_gate::{DecisionRecord, LogQueryRecord, Recorded};
use perron_model::decision::{StateFacts, Verdict};
use perron_model::entry::{AttachmentKind, Body, Decision, LogQuery, digest_of_parts};
use perron_model::request::Acknowledgement;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::sync::PoisonError;
use tokio::sync::OwnedMutexGuard;

impl perron_gate::Ledger for Ledger {
    type Turn = OwnedMutexGuard<()>;

    async fn turn(&self, agreement: &AgreementId) -> Self::Turn {
        self.turn_of(agreement).lock_owned().await
    }

    fn state(&self, agreement: &AgreementId, now: Timestamp, acknowledged: &[Acknowledgement]) -> StateFacts {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).state(agreement, now, acknowledged)
    }

    async fn record(&self, turn: Self::Turn, record: DecisionRecord) -> Result<Recorded> {
        let agreement = record.request.request.agreement;
        let (permitted, chained) = (record.verdict == Verdict::Permit, record.chained);
        let (uses, reserved, at) = (record.uses, record.reserved, record.at);
        let nonce = record.request.request.nonce.clone();
        let acknowledged: Vec<Digest> = record.request.request.acknowledged.iter().map(|a| a.decision).collect();
        let mut draft = draft(record)?;
        // Before anything is charged: a decision needs room for itself and for its outcome.
        self.require_room()?;
        let unavailable = || Error::new(ErrorCode::LogUnavailable, "the log can't be written, so nothing leaves");
        // The place in the queue comes first: from here on nothing waits until the decision has
        // its place in the order, so a caller that goes away can't charge a use without an entry.
        let place = self.0.queue.reserve().await.map_err(|_| unavailable())?;
        self.0.nonces.spend(&nonce)?;
        if chained {
            let mut chains = self.0.chains.lock().unwrap_or_else(PoisonError::into_inner);
            if permitted {
                let volume = chains.chain(agreement).charge(uses, reserved, at);
                if let (Body::Decision(decision), Some(_)) = (&mut draft.body, reserved) {
                    decision.volume = Some(volume);
                }
            }
            chains.acknowledge(agreement, acknowledged.into_iter());
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        place.send(Job::Write { draft: Box::new(draft), reply });
        drop(turn);
        answer.await.map_err(|_| unavailable())?
    }

    fn durable(&self) -> u64 {
        self.reader().size()
    }

    async fn record_log_query(&self, record: LogQueryRecord) -> Result<Recorded> {
        self.append(log_query(record)?).await
    }

    fn refusal_rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool {
        self.0.refusals.rate_ok(peer, user, now)
    }

    fn summarise(&self, peer: &ParticipantId, reason: ErrorCode, refused: Digest, now: Timestamp) {
        self.0.refusals.summarise(peer.as_str(), reason, refused, now);
    }
}

/// As an entry has it: was it permitted, the reasons if not, and what refused.
fn told(verdict: Verdict) -> (bool, Vec<String>, Vec<String>) {
    match verdict {
        Verdict::Permit => (true, Vec::new(), Vec::new()),
        Verdict::Refuse(refused) => {
            let (reasons, clauses) = refused.into_iter().map(|r| (r.code, r.clause)).unzip();
            (false, reasons, clauses)
        }
    }
}

/// The statement is committed to by the salt of the input, which is attached: whoever holds both can
/// check it, and who holds the leaf alone can't guess it.
fn log_query(record: LogQueryRecord) -> Result<Draft> {
    let salt = random_16()?;
    let (permitted, reasons, clauses) = told(record.verdict);
    let body = Body::LogQuery(LogQuery {
        user: record.request.user,
        permitted,
        reasons,
        clauses,
        module: record.module,
        input: Digest::salted(&salt, &record.input),
        statement: Digest::salted(&salt, record.request.statement.as_bytes()),
        entries: record.entries,
    });
    let attachments = vec![(AttachmentKind::EvaluationInput, [salt.as_slice(), &record.input].concat())];
    Ok(Draft { body, chain: None, trace: record.request.trace, attachments })
}

fn draft(record: DecisionRecord) -> Result<Draft> {
    let salt = random_16()?;
    let request = record.request.digest();
    let sealed = record.request.sealed.as_ref().map(|_| true);
    let mut parts = vec![(AttachmentKind::EvaluationInput, [salt.as_slice(), &record.input].concat())];
    parts.extend(record.request.beside.map(|beside| (AttachmentKind::Beside, beside)));
    parts.extend(record.request.sealed.map(|sealed| (AttachmentKind::Sealed, sealed)));
    let claims = record.request.request;
    let (permitted, reasons, clauses) = told(record.verdict);
    let body = Body::Decision(Decision {
        request,
        permitted,
        reasons,
        clauses,
        module: record.module,
        input: None,
        snapshot: record.snapshot,
        uses: record.uses,
        register: record.register,
        consumer: claims.issuer.to_string(),
        purpose: claims.purpose.clone(),
        legal_basis: record.legal_basis,
        user: claims.user.clone(),
        beside: None,
        reserved: record.reserved,
        // Known where the order is made.
        volume: None,
        attached: Some(digest_of_parts(parts.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())))),
        sealed,
    });
    let request = (AttachmentKind::Request, record.request.jws.into_bytes());
    let attachments = std::iter::once(request).chain(parts).collect();
    let chain = record.chained.then_some(claims.agreement);
    Ok(Draft { body, chain, trace: claims.trace, attachments })
}
