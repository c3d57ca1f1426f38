//! In the fold: to whom extracts are given, and what came of matching chains with partners.

use super::records::{document, load, put};
use super::{EXTRACTS, Memory, RECONCILED, State};
use crate::store::{Change, Store};
use perron_model::entry::{AttachmentKind, Entry, Reconciled};
use perron_model::partner::PartnerExtracts;
use perron_model::{AgreementId, Digest, ParticipantId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// What one entry tells of matching an agreement's chain with its other party's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// Entry of our log.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// `same`, `differs`, `invalid`, `refused`, `unanswered`.
    pub result: String,
    /// Stable code, where nothing was compared.
    pub reason: Option<String>,
    /// Entries of the partner's log under the extract's signature.
    pub size: Option<u64>,
    /// SHA-256 of the extract.
    pub extract: Option<Digest>,
    /// Reads and notices that both tell alike.
    pub matched: Option<u64>,
    /// What isn't compared yet.
    pub open: Option<u64>,
    /// Differences by kind.
    pub differences: BTreeMap<String, u64>,
    /// Did something come into our chain while it was matched?
    pub is_behind: bool,
}

impl Matching {
    /// Does it say that the two sides don't tell the same, or that what came doesn't hold?
    pub fn is_trouble(&self) -> bool {
        matches!(self.result.as_str(), "differs" | "invalid")
    }

    fn had_the_extract(&self) -> bool {
        self.result == "same" || self.is_trouble()
    }
}

/// What is known of one agreement's reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconciliations {
    /// The agreement.
    pub agreement: AgreementId,
    /// Its other party.
    pub partner: ParticipantId,
    /// The newest entry.
    pub newest: Matching,
    /// The newest one by which the partner's chain was had.
    pub compared: Option<Matching>,
}

impl Reconciliations {
    /// Does what is known last of the partner's chain differ from ours?
    pub fn is_trouble(&self) -> bool {
        self.compared.as_ref().is_some_and(Matching::is_trouble)
    }
}

impl Memory {
    pub(super) fn load_reconciled(&mut self, store: &Store) -> Result<()> {
        let allowed = load::<PartnerExtracts>(store, EXTRACTS)?;
        self.extracts = allowed.into_iter().filter(|one| one.allowed).map(|one| one.partner).collect();
        for kept in load::<Reconciliations>(store, RECONCILED)? {
            self.reconciled.insert(kept.agreement, kept);
        }
        Ok(())
    }
}

impl State {
    /// May this partner have the extracts of its agreements, whatever they oblige to?
    pub fn gives_extracts_to(&self, partner: &ParticipantId) -> bool {
        self.read().extracts.contains(partner)
    }

    /// Partners that may.
    pub fn extracts_allowed(&self) -> Vec<ParticipantId> {
        self.read().extracts.iter().cloned().collect()
    }

    /// What came of matching an agreement's chain with its other party's; none where that wasn't tried.
    pub fn reconciliation(&self, agreement: &AgreementId) -> Option<Reconciliations> {
        self.read().reconciled.get(agreement).cloned()
    }

    /// The same of all agreements for which it was tried.
    pub fn reconciliations(&self) -> Vec<Reconciliations> {
        self.read().reconciled.values().cloned().collect()
    }

    pub(super) fn take_extracts(&self, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<()> {
        let said: PartnerExtracts = document(attachments, AttachmentKind::Document)?;
        let key = said.partner.as_str().as_bytes();
        let change = match said.allowed {
            true => put(EXTRACTS, key, &said)?,
            false => Change::Remove { tree: EXTRACTS, key: key.to_vec() },
        };
        self.store.apply(vec![change])?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if said.allowed {
            memory.extracts.insert(said.partner);
        } else {
            memory.extracts.remove(&said.partner);
        }
        Ok(())
    }

    pub(super) fn take_reconciled(&self, entry: &Entry, body: &Reconciled) -> Result<()> {
        let Some(position) = &entry.chain else { return Ok(()) };
        let agreement = position.agreement;
        let newest = Matching {
            entry: entry.index,
            at: entry.time,
            result: body.result.clone(),
            reason: body.reason.clone(),
            size: body.size,
            extract: body.extract,
            matched: body.matched,
            open: body.open,
            differences: body.differences.clone(),
            is_behind: position.number != body.number.saturating_add(1),
        };
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let before = memory.reconciled.get(&agreement).and_then(|kept| kept.compared.clone());
        let compared = if newest.had_the_extract() { Some(newest.clone()) } else { before };
        let kept = Reconciliations { agreement, partner: ParticipantId::parse(&body.partner)?, newest, compared };
        self.store.apply(vec![put(RECONCILED, agreement.as_bytes(), &kept)?])?;
        memory.reconciled.insert(agreement, kept);
        Ok(())
    }
}
