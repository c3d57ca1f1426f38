//! What happens to an agreement in force: suspended, resumed, revoked, by signed notices.
//!
//! A notice is an entry of the agreement's chain before it is sent or answered. What is to be sent
//! lies in the life of the agreement (`state::KeptLife`), so that a crash at any point resumes to
//! the same end. The state of an agreement is a function of the set of its notices
//! (`perron_model::life`), so that both sides come to the same one.

use crate::connector::negotiation::side_text;
use crate::connector::node::Node;
use crate::connector::state::{KeptLife, ToTell};
use crate::ledger::Draft;
use crate::trust::jws;
use perron_gate::Ledger as _;
use perron_model::entry::{AttachmentKind, Body};
use perron_model::life::{Act, NOTICE_TYP, Notice, NoticeKind, Standing, Told};
use perron_model::limits::{LIFTED_MAX, NOTICE_JWS_BYTES_MAX};
use perron_model::negotiation::Side;
use perron_model::participant::KeyUse;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};

/// What `resume` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resumed {
    /// The other side's proposal was confirmed.
    Confirmed,
    /// It was proposed; the other side has to confirm.
    Proposed,
}

impl Node {
    /// Suspends an agreement: from now on nothing is read under it, until both sides resume.
    pub async fn suspend(&self, agreement: &AgreementId, reason: String, who: &str) -> Result<Standing> {
        let _guard = self.noticing.lock().await;
        let kept = self.living(agreement)?;
        require_not_revoked(&kept)?;
        self.tell(agreement, &kept, Act::Suspend { reason }, who).await
    }

    /// Revokes an agreement, for ever.
    pub async fn revoke(&self, agreement: &AgreementId, reason: String, who: &str) -> Result<Standing> {
        let _guard = self.noticing.lock().await;
        let kept = self.living(agreement)?;
        require_not_revoked(&kept)?;
        self.tell(agreement, &kept, Act::Revoke { reason }, who).await
    }

    /// Resumes a suspended agreement: confirms what the other side proposed, or proposes it.
    pub async fn resume(&self, agreement: &AgreementId, who: &str) -> Result<(Resumed, Standing)> {
        let _guard = self.noticing.lock().await;
        let mut kept = self.living(agreement)?;
        require_not_revoked(&kept)?;
        let mut done = None;
        if let Some(proposal) = kept.life.proposal_of(kept.side.other()).map(|t| t.name) {
            let standing = self.tell(agreement, &kept, Act::Confirm { proposal }, who).await?;
            if standing != Standing::Suspended {
                return Ok((Resumed::Confirmed, standing));
            }
            // It was suspended more often than the other side knew when it proposed.
            done = Some((Resumed::Confirmed, standing));
            kept = self.living(agreement)?;
        }
        let open: Vec<Digest> = kept.life.suspensions().into_iter().map(|t| t.name).take(LIFTED_MAX).collect();
        let proposed = kept.life.proposal_of(kept.side).is_some_and(|own| match &own.act {
            Act::Resume { lifts } => open.iter().all(|name| lifts.contains(name)),
            _ => false,
        });
        match done {
            _ if open.is_empty() => {
                Err(Error::new(ErrorCode::TransitionIllegal, "the agreement isn't suspended, so it can't be resumed"))
            }
            Some(done) if proposed => Ok(done),
            None if proposed => Err(Error::new(
                ErrorCode::TransitionIllegal,
                "it was proposed to resume; the other side has to confirm or to refuse",
            )),
            _ => {
                let standing = self.tell(agreement, &kept, Act::Resume { lifts: open }, who).await?;
                Ok((Resumed::Proposed, standing))
            }
        }
    }

    /// Refuses the other side's proposal to resume.
    pub async fn refuse_to_resume(&self, agreement: &AgreementId, reason: String, who: &str) -> Result<Standing> {
        let _guard = self.noticing.lock().await;
        let kept = self.living(agreement)?;
        let proposal = kept.life.proposal_of(kept.side.other()).map(|t| t.name).ok_or_else(|| {
            Error::new(ErrorCode::NotFound, "the other side has proposed nothing about this agreement")
        })?;
        self.tell(agreement, &kept, Act::Refuse { proposal, reason }, who).await
    }

    /// Takes a notice of another participant; the same notice again gets the same answer.
    pub async fn receive_notice(&self, peer: &ParticipantId, text: &str) -> Result<Standing> {
        let participant = self.in_force(peer)?;
        // The register's own time is a lower bound of now: a clock that lags makes no key unknown.
        let now = self.now().max(self.register.load().payload().issued);
        let verified = jws::verify_compact_within(text, NOTICE_TYP, NOTICE_JWS_BYTES_MAX, |kid| {
            participant.key_at(KeyUse::Agreement, kid, now).map(|k| k.key)
        })?;
        let notice = Notice::parse(&verified.payload)?;
        if notice.from != *peer || notice.to != self.me || notice.space != self.space {
            return Err(Error::new(ErrorCode::IssuerMismatch, "the notice isn't from its sender to this participant"));
        }
        let _guard = self.noticing.lock().await;
        let kept = self
            .state
            .life(&notice.agreement)
            .filter(|kept| kept.counterparty == *peer)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name with this participant"))?;
        let by = kept.side.other();
        let (name, agreement) = (notice.name()?, notice.agreement);
        let told = Told { name, agreement, by, time: notice.time, act: notice.act.clone() };
        if !kept.life.is_news(&told) {
            return Ok(kept.life.standing_of(&notice.agreement));
        }
        if let Act::Fulfil { duty, .. } = &notice.act {
            self.require_owed(&notice.agreement, duty, by)?;
        }
        if !self.negotiation_rates.take(peer.as_str(), self.now()) {
            return Err(Error::new(ErrorCode::Overloaded, "too many notices in a short time"));
        }
        self.note(&kept, by, notice, text.to_owned(), None).await
    }

    /// The other side took our notice, or refused it for good: it isn't sent again.
    pub(crate) fn told(&self, told: &ToTell, taken: Result<Standing>) -> Result<()> {
        let refused = taken.err();
        if let Some(error) = &refused {
            tracing::warn!(peer = %told.to, code = error.code.as_str(), "a notice was refused by its recipient");
        }
        self.state.told(&told.first, &told.notice.name, refused.map(|e| e.code))
    }

    /// State of an agreement, for the other side of it.
    pub fn standing_for(&self, peer: &ParticipantId, agreement: &AgreementId) -> Result<Standing> {
        self.state
            .life(agreement)
            .filter(|kept| kept.counterparty == *peer)
            .map(|kept| kept.life.standing_of(agreement))
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name with this participant"))
    }

    /// Refuses unless an agreement is in force, with what is there instead.
    pub(crate) fn require_standing(&self, agreement: &AgreementId) -> Result<()> {
        match self.state.standing_of(agreement).and_then(Standing::refusal) {
            None => Ok(()),
            Some(code) => Err(Error::new(code, self.refusal_detail(agreement, code))),
        }
    }

    fn refusal_detail(&self, agreement: &AgreementId, code: ErrorCode) -> String {
        match (code, self.state.current_version(agreement)) {
            (ErrorCode::AgreementAmended, Some(current)) => {
                format!("agreement {} was amended; {current} is in its place", agreement.short())
            }
            _ => format!("agreement {} can't be used: {code}", agreement.short()),
        }
    }

    /// The life of the newest version of an agreement.
    pub(super) fn living(&self, agreement: &AgreementId) -> Result<KeptLife> {
        let kept =
            self.state.life(agreement).ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        match kept.life.standing_of(agreement) {
            Standing::Amended => Err(Error::new(
                ErrorCode::AgreementAmended,
                self.refusal_detail(agreement, ErrorCode::AgreementAmended),
            )),
            _ => Ok(kept),
        }
    }

    /// Signs a notice, and notes it.
    pub(super) async fn tell(&self, agreement: &AgreementId, kept: &KeptLife, act: Act, who: &str) -> Result<Standing> {
        self.tell_at(self.now(), agreement, kept, act, Some(who)).await
    }

    /// As `tell`, at a time; `who` is nobody where it follows by itself.
    pub(super) async fn tell_at(
        &self,
        time: Timestamp,
        agreement: &AgreementId,
        kept: &KeptLife,
        act: Act,
        who: Option<&str>,
    ) -> Result<Standing> {
        let notice = Notice {
            kind: NoticeKind::V1,
            space: self.space.clone(),
            id: uuid::Uuid::now_v7().to_string(),
            agreement: *agreement,
            from: self.me.clone(),
            to: kept.counterparty.clone(),
            time,
            act,
        }
        .check()?;
        let key = self.keys.signing_key(KeyUse::Agreement, self.now())?;
        let signed = jws::sign_compact(&key, NOTICE_TYP, &notice.bytes()?)?;
        self.note(kept, kept.side, notice, signed, who).await
    }

    /// Writes the entry of a notice, within the turn of the agreement: a decision comes before it
    /// in the log, or sees it. Then what runs under the agreement ends, if it has to.
    async fn note(
        &self,
        kept: &KeptLife,
        by: Side,
        notice: Notice,
        signed: String,
        who: Option<&str>,
    ) -> Result<Standing> {
        let name = notice.name()?;
        let mut after = kept.life.clone();
        let (agreement, act) = (notice.agreement, notice.act.name());
        after.take(Told { name, agreement, by, time: notice.time, act: notice.act })?;
        let body = Body::Notice(perron_model::entry::Notice {
            notice: name,
            signed: Digest::of(signed.as_bytes()),
            counterparty: kept.counterparty.to_string(),
            side: side_text(kept.side).to_owned(),
            by: side_text(by).to_owned(),
            act: act.to_owned(),
            standing: after.standing().name().to_owned(),
            decided_by: who.map(str::to_owned),
        });
        let attachments = vec![(AttachmentKind::Notice, signed.into_bytes())];
        let _phase = crate::phases::open(crate::phases::Phase::Negotiation);
        let turn = self.ledger.turn(&after.current().unwrap_or(agreement)).await;
        self.ledger.append(Draft { body, chain: Some(agreement), trace: None, attachments }).await?;
        drop(turn);
        self.end_what_is_over();
        Ok(after.standing_of(&agreement))
    }
}

fn require_not_revoked(kept: &KeptLife) -> Result<()> {
    match kept.life.standing() {
        Standing::Revoked => Err(Error::new(ErrorCode::AgreementRevoked, "the agreement was revoked before")),
        _ => Ok(()),
    }
}
