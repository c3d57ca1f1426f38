//! Amendments: a negotiation of another policy for an agreement in force.
//!
//! Its offer names the agreement that it amends, so what both sides sign names the one before.
//! Once it is in force, the one before has ended, and what was charged to it counts on. The
//! provider is the one who puts it in force, so of two amendments of one version the second ends.

use crate::connector::node::Node;
use crate::connector::state::{KeptAgreement, Negotiation};
use crate::ledger::Draft;
use perron_gate::Ledger as _;
use perron_model::agreement::Offer;
use perron_model::decision::StateFacts;
use perron_model::negotiation::{Message, Side};
use perron_model::policy::odrl;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde_json::Value as Json;
use std::sync::Arc;

impl Node {
    /// Puts another policy of an agreement in force on the table; the other side consents or
    /// refuses. Gives the negotiation's number.
    pub async fn amend(&self, agreement: &AgreementId, policy: Json, who: &str) -> Result<String> {
        let kept = self
            .state
            .agreement(agreement)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        let other = kept.counterparty();
        self.in_force(&other)?;
        self.require_amendable(agreement)?;
        let mut offer = Offer { policy, amends: Some(*agreement), ..kept.payload.offer.clone() };
        let message = match kept.side {
            Side::Provider => {
                if let Some((dataset, _)) = self.sets.current(&offer.dataset) {
                    offer.description = Digest::of(&canonical::to_bytes(dataset.as_ref())?);
                }
                self.check_amendment(&other, &offer)?;
                Message::Offer
            }
            Side::Consumer => Message::Request,
        };
        let pid = uuid::Uuid::now_v7().to_string();
        let _guard = self.negotiating.lock().await;
        let _phase = crate::phases::open(crate::phases::Phase::Negotiation);
        let message = self.message(message, kept.side, &other, &pid, None, Some(offer), None, None);
        self.step(&pid, &other, kept.side, None, message, Some(who)).await?;
        Ok(pid)
    }

    /// As provider: may this offer take the place of the agreement that it names?
    pub(super) fn check_amendment(&self, consumer: &ParticipantId, offer: &Offer) -> Result<()> {
        let before = self.amended(offer, consumer, Side::Provider)?;
        let (dataset, _) = self
            .sets
            .current(&offer.dataset)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "the agreement's set is no longer published"))?;
        let current = Digest::of(&canonical::to_bytes(dataset.as_ref())?);
        if offer.description != before.payload.offer.description && offer.description != current {
            return Err(not_negotiable());
        }
        let terms = odrl::parse(&offer.policy, &dataset, Some(consumer))?;
        odrl::check_legal_basis(&terms, &offer.legal_basis.term)
    }

    /// As consumer: is this offer of the provider's about an agreement with it that is in force?
    pub(super) fn check_offered_amendment(&self, provider: &ParticipantId, offer: &Offer) -> Result<()> {
        self.amended(offer, provider, Side::Consumer).map(|_| ())
    }

    /// The agreement that an offer amends: of these two, and may be amended, with the same set, legal
    /// basis and regime.
    fn amended(&self, offer: &Offer, other: &ParticipantId, side: Side) -> Result<Arc<KeptAgreement>> {
        let unknown = || Error::new(ErrorCode::NotFound, "no agreement of this name with this participant");
        let amends = offer.amends.ok_or_else(unknown)?;
        let kept = self
            .state
            .agreement(&amends)
            .filter(|kept| kept.side == side && kept.counterparty() == *other)
            .ok_or_else(unknown)?;
        self.require_amendable(&amends)?;
        let before = &kept.payload.offer;
        let same = before.id == offer.id
            && before.dataset == offer.dataset
            && before.regime == offer.regime
            && before.legal_basis == offer.legal_basis;
        if same { Ok(kept) } else { Err(not_negotiable()) }
    }

    fn require_amendable(&self, agreement: &AgreementId) -> Result<()> {
        let kept = self.state.life(agreement);
        kept.ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?
            .life
            .require_amendable(agreement)
    }

    /// As provider: what both sides signed is put in force, unless the agreement that it amends has
    /// ended meanwhile; then the negotiation ends.
    pub(super) async fn finalize(&self, found: &Negotiation) -> Result<()> {
        match self.keep_agreement(found).await {
            Ok(()) => self.move_on(found, Message::Finalize, None, None, None, None).await,
            Err(error) if matches!(error.code, ErrorCode::AgreementAmended | ErrorCode::AgreementRevoked) => {
                let reason = Some(format!("{}: {}", error.code, error.detail));
                self.move_on(found, Message::Terminate, None, None, reason, None).await
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the entry of an amended agreement within the turn of the one before, so that what was
    /// charged to that is what counts on, and nothing more is charged to it. The consumer takes what
    /// its provider put in force also where it has revoked it: the revocation holds for both.
    pub(super) async fn keep_amended(
        &self,
        side: Side,
        before: &AgreementId,
        draft: impl FnOnce(&StateFacts) -> Draft,
    ) -> Result<()> {
        let _guard = self.noticing.lock().await;
        if side == Side::Provider {
            self.require_amendable(before)?;
        }
        let turn = self.ledger.turn(before).await;
        self.ledger.append(draft(&self.ledger.state_of(before))).await?;
        drop(turn);
        self.end_what_is_over();
        Ok(())
    }
}

fn not_negotiable() -> Error {
    Error::new(
        ErrorCode::TermInvalid,
        "an amendment changes the policy alone; set, description, regime and legal basis stay",
    )
}
