//! Statements over one's own log: the ground is a role in one's own organisation.

use super::{Denied, Gate, refusal};
use crate::grant::{LogGrant, LogSchemaGrant, Stop};
use crate::ports::{Agreements, Clock, Ledger, LogQueryRecord, LogRequest, Policy, Register};
use perron_model::decision::{Refused, StaffInput, Verdict};
use perron_model::{Digest, Error, ErrorCode, Result, canonical};

/// What the policy `staff` is asked about a statement over the log.
pub const ASK_LOG: &str = "audit.sql";

/// Clause of a refusal for what the statement itself asks for.
const STATEMENT: &str = "statement";

/// What the policy made of a request.
struct Judged {
    verdict: Verdict,
    input: Vec<u8>,
    module: Digest,
}

impl<R: Register, A: Agreements, P: Policy, L: Ledger, C: Clock> Gate<R, A, P, L, C> {
    /// May this user plan a statement over the log? A permit has no entry, for nothing of the log is
    /// seen by it; a refusal has one, or is counted in a summary.
    pub async fn admit_log_schema(&self, request: LogRequest) -> Result<LogSchemaGrant, Denied> {
        let Judged { verdict, input, module } = self.judge(&request).await?;
        match verdict {
            Verdict::Permit => Ok(LogSchemaGrant { request, input, module }),
            Verdict::Refuse(reasons) => Err(self.refuse_log(request, input, module, reasons).await),
        }
    }

    /// Decides about one execution of a statement over the log. A permit is durable before this
    /// returns (invariant 2), and so is a refusal, or it is counted in a summary. What was durable
    /// before the decision may be seen, and nothing after.
    pub async fn admit_log(&self, request: LogRequest) -> Result<LogGrant, Denied> {
        let entries = self.ledger.durable();
        let Judged { verdict, input, module } = self.judge(&request).await?;
        match verdict {
            Verdict::Permit => {
                let record = LogQueryRecord { request, input, verdict: Verdict::Permit, module, entries };
                let recorded = self.ledger.record_log_query(record).await?;
                Ok(LogGrant { decision: recorded.leaf, entries, stop: Stop::new() })
            }
            Verdict::Refuse(reasons) => Err(self.refuse_log(request, input, module, reasons).await),
        }
    }

    /// Notes that a statement asked for what isn't given, and so was refused before its execution.
    pub async fn refuse_log_statement(&self, grant: LogSchemaGrant, error: Error) -> Denied {
        let LogSchemaGrant { request, input, module } = grant;
        let denied = self.refuse_log(request, input, module, vec![refusal(error.code, STATEMENT)]).await;
        match denied.clause {
            // The detail tells what of the statement it was.
            Some(_) => Denied { error, ..denied },
            None => denied,
        }
    }

    async fn judge(&self, request: &LogRequest) -> Result<Judged> {
        // Neither agreements nor purposes are its ground, so none is recorded.
        let input = StaffInput {
            roles: request.roles.clone(),
            action: ASK_LOG.to_owned(),
            agreement: None,
            purpose: None,
            granted_agreements: Vec::new(),
            granted_purposes: Vec::new(),
        };
        let bytes = canonical::to_bytes(&input)?;
        // An evaluation that fails is a refusal that is logged like any other (invariant 4).
        let failed = || Verdict::Refuse(vec![refusal(ErrorCode::EvaluationFailed, "evaluation")]);
        let (verdict, module) = match self.policy.staff(&input).await {
            Ok(evaluated) => (evaluated.verdict, evaluated.module),
            Err(_) => (failed(), Digest::of(b"")),
        };
        let verdict = match verdict {
            Verdict::Refuse(reasons) if reasons.is_empty() => failed(),
            verdict => verdict,
        };
        Ok(Judged { verdict, input: bytes, module })
    }

    async fn refuse_log(&self, request: LogRequest, input: Vec<u8>, module: Digest, reasons: Vec<Refused>) -> Denied {
        let (code, clause) =
            reasons.first().map_or((ErrorCode::EvaluationFailed, None), |r| (r.error_code(), Some(r.clause.clone())));
        let error = Error::new(code, format!("the log isn't shown to this user: {code}"));
        let now = self.clock.now();
        if !self.ledger.refusal_rate_ok(&self.me, &request.user, now) {
            // The input names the roles alone; what is counted has to differ between users.
            let refused = Digest::of(&[input.as_slice(), request.user.as_bytes()].concat());
            self.ledger.summarise(&self.me, code, refused, now);
            return Denied { error, clause, recorded: None };
        }
        let verdict = Verdict::Refuse(reasons);
        let record = LogQueryRecord { request, input, verdict, module, entries: self.ledger.durable() };
        match self.ledger.record_log_query(record).await {
            Ok(recorded) => Denied { error, clause, recorded: Some(recorded) },
            Err(failure) => Denied { error: failure, clause: None, recorded: None },
        }
    }
}
