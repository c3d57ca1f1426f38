//! Agreements in the fold: in the store, those that were asked for lately at hand.

use super::records::{load, payload_of, put, unreadable};
use super::{AGREEMENTS, State};
use perron_model::agreement::{AgreementPayload, Envelope};
use perron_model::entry::{Body, Entry};
use perron_model::limits::AGREEMENTS_AT_HAND_MAX;
use perron_model::negotiation::Side;
use perron_model::{AgreementId, ParticipantId, Result};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError};

/// An agreement in force here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptAgreement {
    /// Its name.
    pub id: AgreementId,
    /// The envelope as signed.
    pub envelope: Envelope,
    /// What was agreed.
    pub payload: AgreementPayload,
    /// Which side this is.
    pub side: Side,
    /// Position of its entry in the log.
    pub index: u64,
}

impl KeptAgreement {
    /// The other side.
    pub fn counterparty(&self) -> ParticipantId {
        match self.side {
            Side::Provider => self.payload.consumer.clone(),
            Side::Consumer => self.payload.provider.clone(),
        }
    }
}

impl State {
    /// All agreements, out of the store.
    pub fn agreements(&self) -> Result<Vec<KeptAgreement>> {
        load(&self.store, AGREEMENTS)
    }

    /// An agreement. One that can't be read is in no force: it is as if there were none.
    pub fn agreement(&self, id: &AgreementId) -> Option<Arc<KeptAgreement>> {
        if let Some(found) = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Some(found.clone());
        }
        match self.stored_agreement(id) {
            Ok(found) => found.map(|kept| self.lay_at_hand(Arc::new(kept))),
            Err(error) => {
                tracing::error!(agreement = %id, error = %error, "an agreement can't be read");
                None
            }
        }
    }

    /// An agreement out of the store, which isn't laid at hand.
    pub fn stored_agreement(&self, id: &AgreementId) -> Result<Option<KeptAgreement>> {
        let Some(bytes) = self.store.get(AGREEMENTS, id.as_bytes())? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| unreadable())
    }

    fn lay_at_hand(&self, kept: Arc<KeptAgreement>) -> Arc<KeptAgreement> {
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if at_hand.len() >= AGREEMENTS_AT_HAND_MAX {
            at_hand.clear();
        }
        at_hand.insert(kept.id, kept.clone());
        kept
    }

    /// Names of all agreements.
    pub fn agreement_names(&self) -> Result<Vec<AgreementId>> {
        let name = |key: Vec<u8>| <[u8; 32]>::try_from(key).map(AgreementId::from_bytes).map_err(|_| unreadable());
        self.store.keys(AGREEMENTS)?.into_iter().map(name).collect()
    }

    pub(super) fn take_agreement(&self, entry: &Entry, envelope: Envelope) -> Result<()> {
        let Body::Agreement(body) = &entry.body else { return Ok(()) };
        let payload = payload_of(&envelope.agreement)?;
        let side = if body.side == "provider" { Side::Provider } else { Side::Consumer };
        let kept = KeptAgreement { id: body.agreement, envelope, payload, side, index: entry.index };
        self.store.apply(vec![put(AGREEMENTS, kept.id.as_bytes(), &kept)?])?;
        self.begin_life(kept.id, body.amends, side, kept.counterparty())
    }
}
