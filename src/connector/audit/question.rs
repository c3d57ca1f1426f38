//! What an auditor asks of the log: by whom, about whom, for what, when, refused or not.

use perron_model::agreement::AgreementPayload;
use perron_model::entry::{Body, Entry};
use perron_model::policy::scope;
use perron_model::{AgreementId, DatasetId, ParticipantId, Timestamp};
use serde::{Deserialize, Serialize};

/// A question: an entry that answers it fits everything that is asked. One that asks for nothing
/// is answered by every entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Another organisation: who asked or was asked, the other side of a negotiation, of an
    /// agreement, or of what happened under one.
    #[serde(default)]
    pub organisation: Option<ParticipantId>,
    /// A user, by pseudonym; or who acted, for acts of administration.
    #[serde(default)]
    pub user: Option<String>,
    /// An agreement: what happened in its chain, and its refusals.
    #[serde(default)]
    pub agreement: Option<AgreementId>,
    /// Purpose stated (DPV IRI).
    #[serde(default)]
    pub purpose: Option<String>,
    /// Legal basis (DPV IRI): of a decision, or of the agreement.
    #[serde(default)]
    pub legal_basis: Option<String>,
    /// A set: the agreement's, or the one that was released.
    #[serde(default)]
    pub dataset: Option<DatasetId>,
    /// A column: of what the agreement gives.
    #[serde(default)]
    pub column: Option<String>,
    /// A place, by its NIS code or another code that rows have: the agreement gives rows of it alone,
    /// or of several such, or its provider is the commune of this NIS code.
    #[serde(default)]
    pub place: Option<String>,
    /// Kinds of entries, as the log's reference names them.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Not before.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Before.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Refusals alone, or all else.
    #[serde(default)]
    pub refused: Option<bool>,
    /// Of which log: the generation of one that is closed; the one in force where none is named.
    #[serde(default)]
    pub generation: Option<u64>,
}

impl Question {
    /// Does the entry answer it? `kind` is what the entry is called, `about` the agreement in whose
    /// chain it stands, where it stands in one that is known.
    pub fn fits(&self, entry: &Entry, kind: &str, about: Option<&Agreed<'_>>) -> bool {
        let agreement = about.map(|about| about.payload);
        let is = |asked: &Option<String>, said: Option<&str>| asked.as_deref().is_none_or(|a| said == Some(a));
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|asked| asked == kind))
            && self.refused.is_none_or(|asked| asked == is_refusal(&entry.body))
            && self.agreement.is_none_or(|asked| agreement_of(entry) == Some(asked))
            && self.organisation.as_ref().is_none_or(|asked| is_about(asked, &entry.body, agreement))
            && is(&self.user, user_of(&entry.body))
            && is(&self.purpose, purpose_of(&entry.body))
            && is(&self.legal_basis, legal_basis_of(&entry.body, agreement))
            && self.dataset.as_ref().is_none_or(|asked| dataset_of(&entry.body, agreement) == Some(asked.as_str()))
            && self.scope_fits(about)
    }

    /// Is the agreement about the column and the place that are asked for?
    pub(super) fn scope_fits(&self, about: Option<&Agreed<'_>>) -> bool {
        if self.column.is_none() && self.place.is_none() {
            return true;
        }
        let Some(about) = about else { return false };
        let scope = scope(&about.payload.offer.policy);
        let commune = || (about.commune)(&about.payload.provider);
        self.column.as_ref().is_none_or(|column| scope.columns.contains(column))
            && self.place.as_ref().is_none_or(|place| scope.values.contains(place) || commune().as_ref() == Some(place))
    }
}

/// An agreement, and what is known of its parties.
pub struct Agreed<'a> {
    /// What was agreed.
    pub payload: &'a AgreementPayload,
    /// NIS code of a participant that is a commune.
    pub commune: &'a dyn Fn(&ParticipantId) -> Option<String>,
}

fn is_refusal(body: &Body) -> bool {
    match body {
        Body::Decision(decision) => !decision.permitted,
        Body::LogQuery(query) => !query.permitted,
        Body::Received(received) => received.refused.is_some(),
        Body::PlanRefusal(_) | Body::RefusalSummary(_) | Body::StaffRefusal(_) => true,
        _ => false,
    }
}

/// The agreement whose entry it is: by its chain, or by what it says.
pub(in crate::connector) fn agreement_of(entry: &Entry) -> Option<AgreementId> {
    entry.chain.as_ref().map(|chain| chain.agreement).or(match &entry.body {
        Body::Agreement(agreement) => Some(agreement.agreement),
        _ => None,
    })
}

/// The other organisation that an entry names.
pub(super) fn named_in(body: &Body) -> Option<&str> {
    match body {
        Body::Negotiation(step) => Some(step.counterparty.as_str()),
        Body::Agreement(agreement) => Some(agreement.counterparty.as_str()),
        Body::Notice(notice) => Some(notice.counterparty.as_str()),
        Body::Intent(intent) => Some(intent.provider.as_str()),
        Body::Decision(decision) => Some(decision.consumer.as_str()),
        Body::SchemaGrant(grant) => Some(grant.peer.as_str()),
        Body::PlanRefusal(refusal) => Some(refusal.peer.as_str()),
        Body::RefusalSummary(summary) => Some(summary.peer.as_str()),
        Body::Extract(extract) => Some(extract.to.as_str()),
        Body::Reconciled(reconciled) => Some(reconciled.partner.as_str()),
        // `<authority>/<participant>/<generation>`; a log outside of the data space is nobody's here.
        Body::CheckpointKept(kept) if kept.key.is_none() => kept.origin.split('/').nth(1),
        _ => None,
    }
}

fn is_about(asked: &ParticipantId, body: &Body, agreement: Option<&AgreementPayload>) -> bool {
    named_in(body) == Some(asked.as_str()) || agreement.is_some_and(|a| a.provider == *asked || a.consumer == *asked)
}

pub(in crate::connector) fn user_of(body: &Body) -> Option<&str> {
    match body {
        Body::Negotiation(step) => step.decided_by.as_deref(),
        Body::Notice(notice) => notice.decided_by.as_deref(),
        Body::Intent(intent) => Some(&intent.user),
        Body::Decision(decision) => Some(&decision.user),
        Body::StaffRefusal(refusal) => Some(&refusal.user),
        Body::Extract(extract) => Some(&extract.by),
        Body::LogQuery(query) => Some(&query.user),
        Body::Administration(act) => Some(&act.actor),
        Body::Pruned(pruned) => Some(&pruned.actor),
        Body::Erased(erased) => Some(&erased.by),
        _ => None,
    }
}

pub(super) fn purpose_of(body: &Body) -> Option<&str> {
    match body {
        Body::Intent(intent) => Some(&intent.purpose),
        Body::Decision(decision) => Some(&decision.purpose),
        Body::StaffRefusal(refusal) => refusal.purpose.as_deref(),
        _ => None,
    }
}

pub(super) fn legal_basis_of<'a>(body: &'a Body, agreement: Option<&'a AgreementPayload>) -> Option<&'a str> {
    match body {
        Body::Decision(decision) if decision.legal_basis.is_some() => decision.legal_basis.as_deref(),
        Body::Agreement(agreement) => Some(&agreement.legal_basis),
        _ => agreement.map(|a| a.offer.legal_basis.term.as_str()),
    }
}

pub(super) fn dataset_of<'a>(body: &'a Body, agreement: Option<&'a AgreementPayload>) -> Option<&'a str> {
    match body {
        Body::Agreement(agreement) => Some(&agreement.dataset),
        Body::Release(release) => Some(&release.dataset),
        _ => agreement.map(|a| a.offer.dataset.as_str()),
    }
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
