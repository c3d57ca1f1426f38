//! What a message of a negotiation must say, beyond its place in the sequence.

use super::{AGREEMENT_TYP, SIGNING_SKEW_MS};
use crate::connector::node::Node;
use crate::connector::state::{Negotiation, payload_of};
use crate::trust::jws;
use perron_model::agreement::{AgreementPayload, JwsJson, Offer};
use perron_model::negotiation::{Message, NegotiationMessage};
use perron_model::participant::{KeyUse, Participant, PublicKey};
use perron_model::policy::odrl;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};

impl Node {
    pub(super) fn check_offer(&self, consumer: &ParticipantId, offer: &Offer) -> Result<()> {
        if offer.amends.is_some() {
            return self.check_amendment(consumer, offer);
        }
        let not_found = || Error::new(ErrorCode::NotFound, "no such offer is made to this participant");
        let published = self
            .state
            .offer(&offer.id)
            .filter(|p| p.open && p.consumer.as_ref().is_none_or(|c| c == consumer))
            .ok_or_else(not_found)?;
        let (dataset, _) =
            self.sets.current(&offer.dataset).filter(|(d, _)| d.visibility.allows(consumer)).ok_or_else(not_found)?;
        let same = published.offer.dataset == offer.dataset
            && published.offer.description == offer.description
            && published.offer.regime == offer.regime
            && published.offer.legal_basis == offer.legal_basis;
        if !same {
            return Err(Error::new(
                ErrorCode::TermInvalid,
                "set, description, regime and legal basis of an offer aren't negotiable",
            ));
        }
        let terms = odrl::parse(&offer.policy, &dataset, Some(consumer))?;
        odrl::check_legal_basis(&terms, &offer.legal_basis.term)?;
        self.check_release(&offer.dataset, &terms)
    }

    pub(super) fn check_content(
        &self,
        peer: &ParticipantId,
        existing: Option<&Negotiation>,
        message: &NegotiationMessage,
    ) -> Result<()> {
        match (message.message, &message.offer, &message.agreement, existing) {
            (Message::Request, Some(offer), _, _) => self.check_offer(peer, offer),
            (Message::Offer, Some(offer), _, Some(found)) => {
                let asked = found
                    .offer
                    .as_ref()
                    .ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without an offer"))?;
                if asked.id != offer.id || asked.dataset != offer.dataset || asked.amends != offer.amends {
                    return Err(Error::new(ErrorCode::TermInvalid, "a counter-offer is about the same offer and set"));
                }
                if offer.amends.is_some() { self.check_offered_amendment(peer, offer) } else { Ok(()) }
            }
            // A provider begins only where both have an agreement.
            (Message::Offer, Some(offer), _, None) if offer.amends.is_some() => {
                self.check_offered_amendment(peer, offer)
            }
            (Message::Agree, _, Some(agreement), Some(found)) => {
                self.check_agreement(found, message.provider_pid.as_deref(), agreement)
            }
            (Message::Verify, _, Some(agreement), Some(found)) => self.check_countersigned(found, agreement),
            (Message::Offer, _, _, None) => Err(Error::new(ErrorCode::NotFound, "no negotiation of this number")),
            _ => Ok(()),
        }
    }

    /// As consumer: is this what was last asked for or accepted, signed by the provider alone?
    fn check_agreement(&self, found: &Negotiation, pid: Option<&str>, agreement: &JwsJson) -> Result<()> {
        let now = self.now();
        let provider = self.in_force(&found.counterparty)?;
        let signed_at = payload_of(agreement)?.timestamp;
        let kids = jws::kids_of(agreement, AGREEMENT_TYP)?;
        let key = agreement_key(&provider, kids.first(), signed_at)?;
        let payload = AgreementPayload::parse(&jws::verify_one(agreement, AGREEMENT_TYP, &key)?)?;
        let fits = payload.space == self.space
            && payload.provider == found.counterparty
            && payload.consumer == self.me
            && Some(&payload.offer) == found.offer.as_ref()
            // The provider's number may be news: its agreement can overtake its answer.
            && Some(payload.negotiation.as_str()) == pid
            && found.their_pid.as_ref().is_none_or(|known| *known == payload.negotiation);
        if !fits {
            return Err(Error::new(ErrorCode::MessageConflict, "the agreement isn't what was negotiated"));
        }
        // It was signed after this side last moved, and may have waited long to be delivered.
        let earliest = found.changed.plus_millis(-SIGNING_SKEW_MS);
        if payload.timestamp < earliest || payload.timestamp > now.plus_millis(SIGNING_SKEW_MS) {
            return Err(Error::new(
                ErrorCode::ClockJump,
                "the agreement's time is more than five minutes off: before what it answers, or in the future",
            ));
        }
        Ok(())
    }

    /// As provider: are both signatures there, over what this side signed?
    fn check_countersigned(&self, found: &Negotiation, agreement: &JwsJson) -> Result<()> {
        let ours = found
            .agreement
            .as_ref()
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a negotiation without its agreement"))?;
        if ours.payload != agreement.payload {
            return Err(Error::new(ErrorCode::MessageConflict, "the agreement isn't the one that was signed"));
        }
        let at = payload_of(agreement)?.timestamp;
        let kids = jws::kids_of(agreement, AGREEMENT_TYP)?;
        let keys = [
            agreement_key(&self.in_force(&self.me)?, kids.first(), at)?,
            agreement_key(&self.in_force(&found.counterparty)?, kids.get(1), at)?,
        ];
        jws::verify_exactly(agreement, AGREEMENT_TYP, &keys).map(|_| ())
    }
}

/// The agreement key of this thumbprint, which a participant had in force at the time of signing.
fn agreement_key(of: &Participant, kid: Option<&Digest>, at: Timestamp) -> Result<PublicKey> {
    let key = kid.and_then(|kid| of.key_at(KeyUse::Agreement, kid, at)).map(|k| k.key);
    key.ok_or_else(|| {
        let detail = format!("`{}` did not sign with an agreement key that was in force", of.id);
        Error::new(ErrorCode::SignatureInvalid, detail)
    })
}
