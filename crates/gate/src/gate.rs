//! The gate itself.

mod log;

use crate::grant::{AccessGrant, Ground, ReleaseGrant, SchemaGrant, Stop};
use crate::ports::{
    AgreementInForce, Agreements, Clock, DecisionRecord, Ledger, Policy, Recorded, Register, Standing, VerifiedRequest,
};
use perron_model::dataset::Snapshot;
use perron_model::decision::{AccessInput, AgreementFacts, PartyFacts, Refused, RequestFacts, StateFacts, Verdict};
use perron_model::policy::View;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};

pub use log::ASK_LOG;

/// A refusal: its reasons, and its entry where it has one of its own.
#[derive(Clone, Debug)]
pub struct Denied {
    /// The first reason, for the caller.
    pub error: Error,
    /// Clause of the agreement that refused, where one did.
    pub clause: Option<String>,
    /// The entry, unless it went into a summary.
    pub recorded: Option<Recorded>,
}

impl From<Error> for Denied {
    fn from(error: Error) -> Denied {
        Denied { error, clause: None, recorded: None }
    }
}

/// The one gate of one organisation.
pub struct Gate<R, A, P, L, C> {
    me: ParticipantId,
    register: R,
    agreements: A,
    policy: P,
    ledger: L,
    clock: C,
}

impl<R: Register, A: Agreements, P: Policy, L: Ledger, C: Clock> Gate<R, A, P, L, C> {
    /// A gate of the organisation `me` over its ports.
    pub fn new(me: ParticipantId, register: R, agreements: A, policy: P, ledger: L, clock: C) -> Self {
        Gate { me, register, agreements, policy, ledger, clock }
    }

    /// Decides about one execution. A permit is durable before this returns (invariant 2), and so
    /// is a refusal, or it is counted in a summary.
    pub async fn admit(&self, request: VerifiedRequest) -> Result<AccessGrant, Denied> {
        let turn = self.ledger.turn(&request.request.agreement).await;
        // The agreement is looked up and the clock read within the turn: a revocation that came
        // meanwhile is seen, and the order of decisions is that of their times.
        let agreement = self.agreements.agreement(&request.request.agreement);
        let now = self.clock.now();
        let consumer = self.register.standing(&request.request.issuer, now);
        let Some(agreement) = agreement else {
            let refused = refusal(ErrorCode::AgreementNotInForce, "agreement");
            return Err(self
                .refuse(turn, request, None, Vec::new(), Digest::of(b""), consumer, vec![refused], now)
                .await);
        };
        if consumer.clock_behind {
            let refused = vec![refusal(ErrorCode::ClockJump, "clock")];
            let nothing = Digest::of(b"");
            return Err(self
                .refuse(turn, request, Some(&agreement), Vec::new(), nothing, consumer, refused, now)
                .await);
        }
        let state = self.ledger.state(&agreement.id, now, &request.request.acknowledged);
        let input = self.input(self.request_facts(&request, &agreement), &agreement, consumer, state, now);
        let bytes = canonical::to_bytes(&input)?;
        // An evaluation that fails is a refusal that is logged like any other (invariant 4).
        let (verdict, module) = match self.policy.access(&input).await {
            Ok(evaluated) => (evaluated.verdict, evaluated.module),
            Err(_) => (Verdict::Refuse(vec![refusal(ErrorCode::EvaluationFailed, "evaluation")]), Digest::of(b"")),
        };
        let verdict = match (verdict, agreement.snapshot.is_some()) {
            (Verdict::Permit, false) => Verdict::Refuse(vec![refusal(ErrorCode::NotFound, "dataset")]),
            (Verdict::Refuse(reasons), _) if reasons.is_empty() => {
                Verdict::Refuse(vec![refusal(ErrorCode::EvaluationFailed, "evaluation")])
            }
            (verdict, _) => verdict,
        };
        match (verdict, &agreement.snapshot) {
            (Verdict::Permit, Some(snapshot)) => {
                let reserved = agreement.terms.rules.volume_to_reserve(input.state.volume_bytes.unwrap_or(0));
                let record = DecisionRecord {
                    request,
                    input: bytes,
                    verdict: Verdict::Permit,
                    module,
                    snapshot: Some(snapshot.digest),
                    register: consumer.version,
                    legal_basis: Some(agreement.legal_basis.clone()),
                    uses: input.state.uses.saturating_add(1),
                    reserved,
                    at: now,
                    chained: true,
                };
                let recorded = self.ledger.record(turn, record).await?;
                Ok(grant(&agreement, snapshot.clone(), recorded, reserved, input))
            }
            (Verdict::Refuse(reasons), _) => {
                Err(self.refuse(turn, request, Some(&agreement), bytes, module, consumer, reasons, now).await)
            }
            (Verdict::Permit, None) => Err(Error::new(ErrorCode::Internal, "a permit without a snapshot").into()),
        }
    }

    /// Would a running read still be permitted now? The reason if not, and then it has to stop. It
    /// charges no use and is no grant: what was counted is taken as it was when the read was
    /// permitted; the time, the parties, the agreement, duties and facts as they are now.
    pub async fn recheck(&self, ground: &Ground) -> Option<ErrorCode> {
        let Some(agreement) = self.agreements.agreement(&ground.agreement) else {
            return Some(ErrorCode::AgreementNotInForce);
        };
        let now = self.clock.now();
        let consumer = self.register.standing(&ground.request.issuer, now);
        if consumer.clock_behind {
            return Some(ErrorCode::ClockJump);
        }
        let mut request = ground.request.clone();
        request.issuer_of.clone_from(&agreement.known.consumer_of);
        request.target_of.clone_from(&agreement.known.dataset_of);
        let input = self.input(request, &agreement, consumer, ground.counters.clone(), now);
        match self.policy.access(&input).await {
            Ok(evaluated) => match evaluated.verdict {
                Verdict::Permit => None,
                Verdict::Refuse(reasons) => {
                    Some(reasons.first().map_or(ErrorCode::EvaluationFailed, Refused::error_code))
                }
            },
            Err(_) => Some(ErrorCode::EvaluationFailed),
        }
    }

    /// May this peer see the agreement's view and plan over it? The caller logs it once an hour.
    pub fn admit_schema(&self, peer: &ParticipantId, agreement: &AgreementId) -> Result<SchemaGrant, Denied> {
        let now = self.clock.now();
        let standing = self.register.standing(peer, now);
        self.require_standing(standing)?;
        let unknown = || Error::new(ErrorCode::AgreementNotInForce, "no agreement of this name is in force");
        let found = self.agreements.agreement(agreement).ok_or_else(unknown)?;
        if found.consumer != *peer || !found.finalized {
            return Err(unknown().into());
        }
        found.require_in_force()?;
        Ok(SchemaGrant {
            agreement: found.id,
            dataset: found.dataset,
            view: std::sync::Arc::new(found.terms.view.clone()),
        })
    }

    /// Leave to compute the released table of an agreement in force from its newest snapshot.
    pub fn admit_release(&self, agreement: &AgreementId) -> Result<ReleaseGrant, Denied> {
        let found = self
            .agreements
            .agreement(agreement)
            .ok_or_else(|| Error::new(ErrorCode::AgreementNotInForce, "no agreement of this name is in force"))?;
        found.require_in_force()?;
        let View::Aggregates(spec) = found.terms.view.clone() else {
            return Err(Error::new(ErrorCode::TermInvalid, "the agreement gives rows, not a released table").into());
        };
        let snapshot = found.snapshot.ok_or_else(|| Error::new(ErrorCode::NotFound, "the set has no snapshot"))?;
        Ok(ReleaseGrant { dataset: found.dataset, snapshot, spec })
    }

    fn require_standing(&self, standing: Standing) -> Result<()> {
        use perron_model::participant::Status;
        if standing.clock_behind {
            return Err(Error::new(ErrorCode::ClockJump, "the provider's clock is behind its register"));
        }
        if !standing.fresh {
            return Err(Error::new(ErrorCode::RegisterStale, "the register is past its time of use"));
        }
        match standing.status {
            Status::Active => Ok(()),
            Status::Suspended => Err(Error::new(ErrorCode::ParticipantSuspended, "the participant is suspended")),
            Status::Revoked => Err(Error::new(ErrorCode::ParticipantRevoked, "the participant is revoked")),
        }
    }

    fn request_facts(&self, request: &VerifiedRequest, agreement: &AgreementInForce) -> RequestFacts {
        let claims = &request.request;
        RequestFacts {
            issuer: claims.issuer.clone(),
            issuer_of: agreement.known.consumer_of.clone(),
            provider: claims.provider.clone(),
            action: claims.action.clone(),
            purpose: claims.purpose.clone(),
            target: agreement.dataset.id.to_string(),
            target_of: agreement.known.dataset_of.clone(),
            roles: claims.roles.clone(),
        }
    }

    fn input(
        &self,
        request: RequestFacts,
        agreement: &AgreementInForce,
        consumer: Standing,
        counters: StateFacts,
        now: Timestamp,
    ) -> AccessInput {
        let provider = self.register.standing(&self.me, now);
        let parties = PartyFacts {
            provider: provider.status,
            consumer: consumer.status,
            consumer_jurisdiction: self.register.jurisdiction(&request.issuer),
            register_fresh: consumer.fresh && provider.fresh,
        };
        AccessInput {
            now,
            request,
            agreement: AgreementFacts {
                id: agreement.id,
                provider: agreement.provider.clone(),
                consumer: agreement.consumer.clone(),
                finalized: agreement.finalized,
                agreed_at: agreement.agreed_at,
                revoked: agreement.revoked,
                suspended: agreement.suspended,
                amended: agreement.amended,
                legal_basis: agreement.legal_basis.clone(),
                rules: agreement.terms.rules.clone(),
            },
            parties,
            state: StateFacts {
                collections: agreement.known.collections.clone(),
                duties: agreement.known.duties.clone(),
                facts: agreement.known.facts.clone(),
                ..counters
            },
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a refusal is recorded with all that it was made from")]
    async fn refuse(
        &self,
        turn: L::Turn,
        request: VerifiedRequest,
        agreement: Option<&AgreementInForce>,
        input: Vec<u8>,
        module: Digest,
        standing: Standing,
        reasons: Vec<Refused>,
        now: Timestamp,
    ) -> Denied {
        let (code, clause) =
            reasons.first().map_or((ErrorCode::EvaluationFailed, None), |r| (r.error_code(), Some(r.clause.clone())));
        let error = Error::new(code, refusal_detail(code, clause.as_deref(), agreement));
        if !self.ledger.refusal_rate_ok(&request.request.issuer, &request.request.user, now) {
            self.ledger.summarise(&request.request.issuer, code, request.digest(), now);
            return Denied { error, clause, recorded: None };
        }
        let uses = agreement.map_or(0, |a| self.ledger.state(&a.id, now, &[]).uses);
        let record = DecisionRecord {
            request,
            input,
            verdict: Verdict::Refuse(reasons),
            module,
            snapshot: None,
            register: standing.version,
            legal_basis: agreement.map(|a| a.legal_basis.clone()),
            uses,
            reserved: None,
            at: now,
            chained: agreement.is_some(),
        };
        match self.ledger.record(turn, record).await {
            Ok(recorded) => Denied { error, clause, recorded: Some(recorded) },
            Err(failure) => Denied { error: failure, clause: None, recorded: None },
        }
    }
}

fn refusal(code: ErrorCode, clause: &str) -> Refused {
    Refused { code: code.as_str().to_owned(), clause: clause.to_owned() }
}

fn grant(
    agreement: &AgreementInForce,
    snapshot: Snapshot,
    recorded: Recorded,
    reserved: Option<u64>,
    input: AccessInput,
) -> AccessGrant {
    let again = agreement.terms.rules.may_change();
    let ground = again.then_some(Ground { agreement: agreement.id, request: input.request, counters: input.state });
    AccessGrant {
        agreement: agreement.id,
        consumer: agreement.consumer.clone(),
        dataset: agreement.dataset.clone(),
        snapshot,
        view: std::sync::Arc::new(agreement.terms.view.clone()),
        decision: recorded.leaf,
        reserved,
        until: agreement.terms.until(),
        stop: Stop::new(),
        ground,
    }
}

fn refusal_detail(code: ErrorCode, clause: Option<&str>, agreement: Option<&AgreementInForce>) -> String {
    match agreement {
        Some(agreement) => {
            let at = clause.map(|clause| format!(" at `{clause}`")).unwrap_or_default();
            format!("refused under agreement {}{at}: {code}", agreement.id.short())
        }
        None => "no agreement of this name is in force".to_owned(),
    }
}
