//! Exports of the log: first an entry that says what is asked, then the entries before it, page by
//! page. A page is given against the entry alone, so nobody exports what the log doesn't say.

use super::question::Agreed;
use super::{Question, facts, question};
use crate::connector::audit::sealed::with_sealed;
use crate::connector::catalogue::blocking;
use crate::connector::negotiation::side_text;
use crate::connector::node::Node;
use crate::connector::state::KeptAgreement;
use crate::export::agreements::{AgreementFacts, ColumnFacts, Party};
use crate::export::{About, Chain, Format, Record};
use crate::ledger::{Draft, EarlierLog, base_of, closed_at, order_of};
use perron_log::merkle::leaf_hash;
use perron_model::entry::{Administration, AttachmentKind, Body, Entry};
use perron_model::life::Standing;
use perron_model::limits::{
    AUDIT_ENTRIES_LOOKED_AT_MAX, AUDIT_ENTRIES_MAX, EXPORT_AGREEMENTS_MAX, EXPORT_PAGE_BYTES_MAX,
};
use perron_model::negotiation::Side;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Action of the entry of an export.
pub const EXPORT: &str = "audit.export";
/// Action of the entry of a stream of the log's entries.
pub const STREAM: &str = "audit.stream";

/// What was asked for, as the entry of an export has it attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// In which form.
    pub format: Format,
    /// First entry.
    pub from: u64,
    /// The entry before which it ends.
    pub to: u64,
    /// Which entries.
    pub question: Question,
}

/// An export that began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Entry that says so; pages are asked for by it.
    pub entry: u64,
    /// First entry.
    pub from: u64,
    /// The entry before which it ends.
    pub to: u64,
    /// Whose log.
    pub about: About,
    /// Closed logs that it isn't about.
    pub earlier: Vec<EarlierLog>,
}

/// Entries of an export, and where it goes on; nowhere at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Entries, in the order of the log.
    pub records: Vec<Record>,
    /// Entries that were passed over, because their hashes alone are left.
    #[serde(default)]
    pub pruned: u64,
    /// First entry of the next page.
    pub next: Option<u64>,
}

/// Agreements of an export, and after which it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementPage {
    /// What their envelopes say.
    pub agreements: Vec<AgreementFacts>,
    /// Position of the last one, if there are more.
    pub next: Option<usize>,
}

impl Node {
    /// Whose log it is, of this origin.
    pub fn about(&self, origin: String) -> About {
        About { participant: self.me.to_string(), origin, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Begins an export of what is durable now: the entry that says so is durable before it.
    pub async fn export_begin(&self, actor: &str, format: Format, question: Question, from: u64) -> Result<Begun> {
        let log = self.ledger.log_of(question.generation)?;
        let (to, earlier) = (log.reader.size(), self.earlier(&question));
        let from = from.min(to);
        let document = canonical::to_bytes(&Asked { format, from, to, question })?;
        let body = Body::Administration(Administration {
            action: EXPORT.to_owned(),
            actor: actor.to_owned(),
            document: Digest::of(&document),
            sealed: None,
        });
        let draft = Draft { body, chain: None, trace: None, attachments: vec![(AttachmentKind::Document, document)] };
        let recorded = self.ledger.append(draft).await?;
        Ok(Begun { entry: recorded.index, from, to, about: self.about(log.origin), earlier })
    }

    /// A page of an export that this actor began.
    pub async fn export_page(self: &Arc<Self>, actor: &str, entry: u64, from: u64) -> Result<Page> {
        let (node, actor) = (Arc::clone(self), actor.to_owned());
        blocking(move || node.page_of(&node.export_asked(&actor, entry)?, from)).await
    }

    /// Agreements that an export by this actor is about, `after` so many of them.
    pub async fn export_agreements(self: &Arc<Self>, actor: &str, entry: u64, after: usize) -> Result<AgreementPage> {
        let (node, actor) = (Arc::clone(self), actor.to_owned());
        blocking(move || {
            let asked = node.export_asked(&actor, entry)?;
            let base = node.ledger.log_of(asked.question.generation)?.base;
            node.agreements_of(&asked.question, base.saturating_add(asked.to), after)
        })
        .await
    }

    fn page_of(&self, asked: &Asked, from: u64) -> Result<Page> {
        let base = self.ledger.log_of(asked.question.generation)?.base;
        let from = from.max(asked.from);
        let last = asked.to.min(from.saturating_add(AUDIT_ENTRIES_LOOKED_AT_MAX));
        let (mut records, mut bytes, mut next) = (Vec::new(), 0_usize, from);
        let mut pruned = 0_u64;
        while next < last && records.len() < AUDIT_ENTRIES_MAX && bytes < EXPORT_PAGE_BYTES_MAX {
            let place = base.saturating_add(next);
            let leaf = match self.leaf(place) {
                Ok(leaf) => leaf,
                Err(error) if error.code == ErrorCode::EntryPruned => {
                    (pruned, next) = (pruned.saturating_add(1), next.saturating_add(1));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let entry = Entry::from_bytes(&leaf)?;
            let agreement = question::agreement_of(&entry).and_then(|id| self.state.agreement(&id));
            if self.answers(&asked.question, &entry, agreement.as_deref()) {
                let record = with_sealed(&self.state, record(&leaf, &entry, agreement.as_deref()), &entry, place);
                bytes = bytes.saturating_add(record.facts.to_string().len());
                records.push(record);
            }
            next = next.saturating_add(1);
        }
        Ok(Page { records, pruned, next: (next < asked.to).then_some(next) })
    }

    /// A durable entry as it is exported.
    pub(crate) fn exported(&self, index: u64) -> Result<Record> {
        let leaf = self.leaf(index)?;
        let entry = Entry::from_bytes(&leaf)?;
        let agreement = question::agreement_of(&entry).and_then(|id| self.state.agreement(&id));
        Ok(with_sealed(&self.state, record(&leaf, &entry, agreement.as_deref()), &entry, index))
    }

    /// What the entry of an export says.
    fn export_asked(&self, actor: &str, entry: u64) -> Result<Asked> {
        serde_json::from_slice(&self.given_by(EXPORT, actor, entry)?)
            .map_err(|_| Error::new(ErrorCode::Internal, "the document of an export can't be read"))
    }

    /// Agreements that were made before the entry of this place, in whichever log.
    fn agreements_of(&self, question: &Question, before: u64, after: usize) -> Result<AgreementPage> {
        let mut kept: Vec<KeptAgreement> = self.state.agreements()?;
        let commune = |id: &ParticipantId| self.commune(id);
        kept.retain(|a| {
            let about = Agreed { payload: &a.payload, commune: &commune };
            order_of(a.index) < order_of(before) && is_asked(question, a) && question.scope_fits(Some(&about))
        });
        kept.sort_by_key(|a| order_of(a.index));
        let (mut agreements, mut bytes) = (Vec::new(), 0_usize);
        for kept in kept.iter().skip(after) {
            if agreements.len() >= EXPORT_AGREEMENTS_MAX || bytes >= EXPORT_PAGE_BYTES_MAX {
                break;
            }
            let facts = self.agreement_facts(kept);
            bytes =
                bytes.saturating_add(serde_json::to_string(&facts).map_or(EXPORT_PAGE_BYTES_MAX, |text| text.len()));
            agreements.push(facts);
        }
        let end = after.saturating_add(agreements.len());
        Ok(AgreementPage { agreements, next: (end < kept.len()).then_some(end) })
    }

    fn agreement_facts(&self, kept: &KeptAgreement) -> AgreementFacts {
        let register = self.register.load();
        let party = |id: &ParticipantId| {
            let entry = register.participant(id);
            Party {
                participant: id.to_string(),
                name: entry.map(|p| p.name.clone()),
                enterprise: entry.map(|p| p.enterprise.to_string()),
                jurisdiction: entry.map(|p| p.jurisdiction.clone()),
            }
        };
        let offer = &kept.payload.offer;
        let generation = closed_at(base_of(kept.index));
        // A set of another's is described in its provider's catalogue, not here.
        let set = if kept.side == Side::Provider { self.sets.current(&offer.dataset) } else { None };
        let set = set.map(|(described, _)| described);
        let is_as_agreed = set
            .as_ref()
            .map(|set| canonical::to_bytes(set.as_ref()).is_ok_and(|bytes| Digest::of(&bytes) == offer.description));
        let standing = self.state.standing_of(&kept.id);
        let activity = self.activities.get(&offer.dataset);
        let rule = self.state.retention().ok().flatten();
        AgreementFacts {
            agreement: kept.id,
            entry: order_of(kept.index).1,
            log: generation.and_then(|closed| self.ledger.log_of(Some(closed)).ok()).map(|log| log.origin),
            side: side_text(kept.side).to_owned(),
            signed: kept.payload.timestamp,
            provider: party(&kept.payload.provider),
            consumer: party(&kept.payload.consumer),
            dataset: offer.dataset.to_string(),
            title: set.as_ref().map(|s| s.title.clone()),
            is_described_as_agreed: is_as_agreed,
            subject_key: set.as_ref().map(|s| s.subject_key.clone()),
            columns: set.iter().flat_map(|s| &s.columns).map(ColumnFacts::of).collect(),
            legal_basis: offer.legal_basis.clone(),
            regime: offer.regime,
            policy: offer.policy.clone(),
            standing: standing.map(|s: Standing| serde_json::to_value(s).unwrap_or_default()),
            amends: offer.amends,
            activity: activity.map(|name| name.to_string()),
            retention_days: rule.and_then(|(_, rule)| rule.days_of(activity)),
        }
    }
}

fn is_asked(question: &Question, kept: &KeptAgreement) -> bool {
    let (payload, offer) = (&kept.payload, &kept.payload.offer);
    question.agreement.is_none_or(|asked| asked == kept.id)
        && question.organisation.as_ref().is_none_or(|o| *o == payload.provider || *o == payload.consumer)
        && question.dataset.as_ref().is_none_or(|d| *d == offer.dataset)
        && question.legal_basis.as_ref().is_none_or(|l| *l == offer.legal_basis.term)
}

pub(super) fn record(leaf: &[u8], entry: &Entry, agreement: Option<&KeptAgreement>) -> Record {
    let body = &entry.body;
    let (kind, facts) = facts(body);
    let payload = agreement.map(|a| &a.payload);
    let read = Read::of(body);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let organisation = question::named_in(body).map(str::to_owned);
    Record {
        index: entry.index,
        time: entry.time,
        leaf: Digest::from_bytes(leaf_hash(leaf).0),
        kind: kind.to_owned(),
        chain: entry.chain.as_ref().map(|c| Chain { agreement: c.agreement, number: c.number }),
        agreement: question::agreement_of(entry),
        side: side_of(entry).map(str::to_owned).or_else(|| agreement.map(|a| side_text(a.side).to_owned())),
        organisation: organisation.or_else(|| agreement.map(|a| a.counterparty().to_string())),
        user: owned(question::user_of(body)),
        purpose: owned(question::purpose_of(body)),
        legal_basis: owned(question::legal_basis_of(body, payload)),
        dataset: owned(question::dataset_of(body, payload)),
        permitted: read.permitted,
        reasons: read.reasons,
        status: read.status,
        rows: read.rows,
        bytes: read.bytes,
        decision: read.decision,
        trace: entry.trace.as_ref().map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect()),
        processing_activity: entry.processing_activity.clone(),
        facts,
    }
}

fn side_of(entry: &Entry) -> Option<&str> {
    match &entry.body {
        // It ends a statement over this log.
        Body::Outcome(_) if entry.chain.is_none() => None,
        Body::Negotiation(step) => Some(&step.side),
        Body::Agreement(agreement) => Some(&agreement.side),
        Body::Notice(notice) => Some(&notice.side),
        Body::Intent(_) | Body::Received(_) => Some("consumer"),
        Body::Decision(_)
        | Body::Outcome(_)
        | Body::SchemaGrant(_)
        | Body::PlanRefusal(_)
        | Body::RefusalSummary(_)
        | Body::Release(_) => Some("provider"),
        _ => None,
    }
}

/// What an entry says about a read.
#[derive(Default)]
struct Read {
    permitted: Option<bool>,
    reasons: Vec<String>,
    status: Option<String>,
    rows: Option<u64>,
    bytes: Option<u64>,
    decision: Option<Digest>,
}

impl Read {
    fn of(body: &Body) -> Read {
        let refused =
            |reason: &str| Read { permitted: Some(false), reasons: vec![reason.to_owned()], ..Read::default() };
        match body {
            Body::Decision(b) => Read { permitted: Some(b.permitted), reasons: b.reasons.clone(), ..Read::default() },
            Body::Outcome(b) => Read {
                reasons: b.reason.iter().cloned().collect(),
                status: Some(b.status.as_str().to_owned()),
                rows: Some(b.rows),
                bytes: Some(b.bytes),
                decision: Some(b.decision),
                ..Read::default()
            },
            Body::Received(b) => Read {
                permitted: Some(b.refused.is_none()),
                reasons: b.refused.iter().cloned().collect(),
                rows: Some(b.rows),
                decision: b.decision,
                ..Read::default()
            },
            Body::LogQuery(b) => Read { permitted: Some(b.permitted), reasons: b.reasons.clone(), ..Read::default() },
            Body::PlanRefusal(b) => refused(&b.reason),
            Body::RefusalSummary(b) => refused(&b.reason),
            Body::StaffRefusal(b) => refused(&b.reason),
            _ => Read::default(),
        }
    }
}
