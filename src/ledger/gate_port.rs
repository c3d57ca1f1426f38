//! The ledger as the gate's port: turns, counters, decisions in their order.

use crate::ledger::writer::{Draft, Ledger, random_16};
use perron_gate::{DecisionRecord, Recorded};
use perron_model::decision::{StateFacts, Verdict};
use perron_model::entry::{AttachmentKind, Body, Decision};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::sync::PoisonError;
use tokio::sync::OwnedMutexGuard;

impl perron_gate::Ledger for Ledger {
    type Turn = OwnedMutexGuard<()>;

    async fn turn(&self, agreement: &AgreementId) -> Self::Turn {
        self.turn_of(agreement).lock_owned().await
    }

    fn state(&self, agreement: &AgreementId, now: Timestamp) -> StateFacts {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner).state(agreement, now)
    }

    async fn record(&self, turn: Self::Turn, record: DecisionRecord) -> Result<Recorded> {
        self.0.nonces.spend(&record.request.request.nonce)?;
        let agreement = record.request.request.agreement;
        let permitted = record.verdict == Verdict::Permit;
        if permitted || record.chained {
            let mut chains = self.0.chains.lock().unwrap_or_else(PoisonError::into_inner);
            if permitted {
                chains.chain(agreement).uses = record.uses;
            }
            chains.acknowledge(agreement, record.request.request.acknowledged.iter().map(|a| a.decision));
        }
        let answer = self.enqueue(draft(record)?).await?;
        drop(turn);
        answer.await.map_err(|_| Error::new(ErrorCode::LogUnavailable, "the log can't be written, so nothing leaves"))?
    }

    fn refusal_rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool {
        self.0.refusals.rate_ok(peer, user, now)
    }

    fn summarise(&self, peer: &ParticipantId, reason: ErrorCode, refused: Digest, now: Timestamp) {
        self.0.refusals.summarise(peer.as_str(), reason, refused, now);
    }
}

fn draft(record: DecisionRecord) -> Result<Draft> {
    let salt = random_16()?;
    let commitment = Digest::salted(&salt, &record.input);
    let mut input = salt.to_vec();
    input.extend_from_slice(&record.input);
    let request = record.request.digest();
    let claims = record.request.request;
    let (permitted, reasons, clauses) = match record.verdict {
        Verdict::Permit => (true, Vec::new(), Vec::new()),
        Verdict::Refuse(refused) => (false, refused.iter().map(|r| r.code.clone()).collect(), refused.iter().map(|r| r.clause.clone()).collect()),
    };
    let body = Body::Decision(Decision {
        request,
        permitted,
        reasons,
        clauses,
        module: record.module,
        input: commitment,
        snapshot: record.snapshot,
        uses: record.uses,
        register: record.register,
        consumer: claims.issuer.to_string(),
        purpose: claims.purpose.clone(),
        legal_basis: record.legal_basis,
        user: claims.user.clone(),
    });
    let attachments = vec![(AttachmentKind::Request, record.request.jws.into_bytes()), (AttachmentKind::EvaluationInput, input)];
    Ok(Draft { body, chain: record.chained.then_some(claims.agreement), attachments })
}
