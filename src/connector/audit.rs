//! What users of the organisation ask about what is here: lists, and entries of the log.

mod backup;
mod evidence;
mod export;
mod extract;
mod folder;
mod giving;
pub(super) mod question;
mod receipt;
mod scan;
mod sealed;
mod sql;
mod tables;
mod tiles;
mod who;

pub use backup::{BackupExtent, BackupSegment};
pub use evidence::EvidenceFile;
pub use export::{AgreementPage, Begun, Page, STREAM};
pub use extract::{ExtractBegun, ExtractPage};
pub use folder::{Folder, FolderAnswer, FolderDocument, FolderScope, ProvenLeaf, Witnessed};
pub use giving::Extracts;
pub use question::Question;
pub use sql::{LogStatement, Looking};
pub use who::WhoAnswer;

use crate::connector::node::Node;
use crate::connector::state::{KeptAgreement, Negotiation, PublishedOffer};
use crate::connector::users::User;
use crate::ledger::{EarlierLog, OneLog, unreadable};
use perron_log::LogError;
use perron_model::agreement::Envelope;
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::entry::{AttachmentKind, Body, Entry, Span};
use perron_model::life::{Standing, Told};
use perron_model::limits::{AUDIT_ENTRIES_LOOKED_AT_MAX, AUDIT_GIVEN_LIFE_MS};
use perron_model::sealed::SealedValue;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use question::Agreed;
use serde_json::{Value as Json, json};

impl Node {
    /// Adds a user, or replaces the grants of one; the log gets a salted digest of it, and the name
    /// sealed.
    pub async fn add_user(&self, actor: &str, user: User) -> Result<()> {
        let sealing = self.begin_sealing().await?;
        let (digest, user) = self.users.put(user)?;
        let sealed = sealing.seal(&SealedValue::User { name: user.name, pseudonyms: user.pseudonyms })?;
        self.administer_about("user.add", actor, canonical::to_bytes(&digest)?, Some(sealed)).await
    }

    /// All users, without their credentials.
    pub fn user_list(&self) -> Json {
        let shown =
            |u: User| json!({"name": u.name, "roles": u.roles, "purposes": u.purposes, "agreements": u.agreements});
        Json::Array(self.users.list().into_iter().map(shown).collect())
    }

    /// The user's pseudonym in our own log.
    pub fn pseudonym_of(&self, user: &User) -> Result<String> {
        self.users.pseudonym(&user.name, None)
    }

    /// All sets published here.
    pub fn dataset_list(&self) -> Vec<(Dataset, Snapshot)> {
        self.sets.list().into_iter().map(|(d, s)| (d.as_ref().clone(), s)).collect()
    }

    /// All offers published here.
    pub fn offer_list(&self) -> Vec<PublishedOffer> {
        self.state.offers()
    }

    /// How the slow look at the log stands, as plain data.
    pub fn scrubbed(&self) -> Json {
        self.scrubbing.status()
    }

    /// Negotiations; or those that wait for a person here.
    pub fn negotiation_list(&self, waiting: bool) -> Result<Vec<Negotiation>> {
        if waiting { Ok(self.inbox()) } else { self.state.negotiations() }
    }

    /// A negotiation, and whether it waits for a person here.
    pub fn negotiation_found(&self, pid: &str) -> Result<Option<(Negotiation, bool)>> {
        Ok(self.state.negotiation(pid)?.map(|n| {
            let waits = self.waits_for_a_person(&n);
            (n, waits)
        }))
    }

    /// Told at each change of what is known here.
    pub fn state_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.state.changes()
    }

    /// Agreements with their state, in short.
    pub fn agreement_list(&self) -> Result<Json> {
        let shown = |a: KeptAgreement| {
            let state = self.ledger.state_of(&a.id);
            let life = self.state.life(&a.id);
            let standing = life.as_ref().map(|kept| kept.life.standing_of(&a.id));
            let is_current = standing != Some(Standing::Amended);
            let waiting = is_current && life.as_ref().is_some_and(|k| k.life.proposal_of(k.side.other()).is_some());
            json!({"agreement": a.id, "side": a.side, "provider": a.payload.provider, "consumer": a.payload.consumer, "dataset": a.payload.offer.dataset, "since": a.payload.timestamp, "uses": state.uses, "volume": state.volume_bytes, "standing": standing, "amends": a.payload.offer.amends, "waiting": waiting})
        };
        Ok(Json::Array(self.state.agreements()?.into_iter().map(shown).collect()))
    }

    /// What became of an agreement: its state, its versions, and what was told of it.
    pub fn agreement_history(&self, id: &AgreementId) -> Result<Json> {
        let kept = self.state.life(id).ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        let told = |t: &Told| {
            let undelivered = kept.outgoing.iter().any(|o| o.name == t.name);
            let refused = kept.refused.iter().find(|(name, _)| *name == t.name).map(|(_, code)| code);
            let mut act = serde_json::to_value(&t.act).unwrap_or_default();
            let kind = act.as_object_mut().and_then(|a| a.remove("kind"));
            json!({"notice": t.name, "by": t.by, "act": kind, "says": act, "time": t.time, "undelivered": undelivered, "refused": refused})
        };
        let proposed = |side| kept.life.proposal_of(side).map(|t| t.name);
        Ok(json!({
            "agreement": id,
            "standing": kept.life.standing_of(id),
            "side": kept.side,
            "with": kept.counterparty,
            "versions": kept.life.versions(),
            "told": kept.life.told().iter().map(told).collect::<Vec<_>>(),
            "facts": kept.life.facts().values().map(told).collect::<Vec<_>>(),
            "fulfilled": kept.life.fulfilments().map(told).collect::<Vec<_>>(),
            "erased": kept.life.erasures().iter().map(told).collect::<Vec<_>>(),
            "proposed_here": proposed(kept.side),
            "proposed_there": proposed(kept.side.other()),
        }))
    }

    /// An agreement's envelope, as signed.
    pub fn envelope(&self, id: &AgreementId) -> Result<Envelope> {
        self.state
            .agreement(id)
            .map(|a| a.envelope.clone())
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))
    }

    /// Members of the register in use.
    pub fn register_list(&self) -> Json {
        let register = self.register.load();
        let shown = |p: &perron_model::participant::Participant| json!({"participant": p.id, "name": p.name, "enterprise": p.enterprise, "status": p.status, "endpoint": p.endpoint});
        json!({"version": register.version(), "members": register.participants().map(shown).collect::<Vec<_>>()})
    }

    /// When the newest entry was written; none in an empty log.
    pub fn newest_entry(&self) -> Result<Option<Timestamp>> {
        let Some(last) = self.ledger.reader().size().checked_sub(1) else { return Ok(None) };
        Ok(Some(Entry::from_bytes(&self.leaf(last)?)?.time))
    }

    /// Entries of the log from `from` on that answer a question, `count` at the most; and where to
    /// go on, unless the log's end was reached. That they were looked at is an entry of its own,
    /// durable before they are told.
    /// Sealed values among them are opened where that is asked for, which the entry says too.
    pub async fn audit_list(
        &self,
        actor: &str,
        question: &Question,
        from: u64,
        count: usize,
        is_opened: bool,
    ) -> Result<Json> {
        let found = self.entries_that_fit(question, from, count, is_opened)?;
        let told = &found.entries;
        let mut look = json!({"question": question, "from": from, "to": found.next, "told": told.len()});
        if let (Some(look), true) = (look.as_object_mut(), is_opened) {
            let opened = told.iter().filter(|e| e.pointer("/sealed/state").is_some_and(|s| s != "erased")).count();
            look.insert("opened".to_owned(), json!(opened));
        }
        self.administer("audit.list", actor, canonical::to_bytes(&look)?).await?;
        let next = (found.next < found.end).then_some(found.next);
        Ok(json!({"entries": found.entries, "pruned": found.pruned, "next": next, "earlier": self.earlier(question)}))
    }

    /// The document of the act by which this actor began to be given something of the log, piece by
    /// piece: nobody is given what no entry says, nor for ever.
    fn given_by(&self, action: &str, actor: &str, entry: u64) -> Result<Vec<u8>> {
        let none = || Error::new(ErrorCode::NotFound, format!("no `{action}` of yours began by this entry"));
        let stored = self.ledger.reader().entry(entry).map_err(|e| match e {
            LogError::OutOfRange { .. } => none(),
            other => unreadable(&other),
        })?;
        let found = Entry::from_bytes(&stored.leaf)?;
        let Body::Administration(act) = &found.body else { return Err(none()) };
        let is_over = self.now().millis().saturating_sub(found.time.millis()) > AUDIT_GIVEN_LIFE_MS;
        if act.action != action || act.actor != actor || is_over {
            return Err(none());
        }
        let document = stored.attachments.into_iter().find(|a| a.kind == AttachmentKind::Document as u16);
        document.map(|attachment| attachment.bytes).ok_or_else(none)
    }

    /// The closed logs that a question leaves out, because it names none.
    fn earlier(&self, question: &Question) -> Vec<EarlierLog> {
        if question.generation.is_none() { self.ledger.earlier_logs() } else { Vec::new() }
    }

    /// Does an entry answer a question?
    fn answers(&self, question: &Question, entry: &Entry, agreement: Option<&KeptAgreement>) -> bool {
        let commune = |id: &ParticipantId| self.commune(id);
        let about = agreement.map(|kept| Agreed { payload: &kept.payload, commune: &commune });
        question.fits(entry, facts(&entry.body).0, about.as_ref())
    }

    /// NIS code of a participant, if it is a commune.
    fn commune(&self, id: &ParticipantId) -> Option<String> {
        self.register.load().participant(id)?.nis.as_ref().map(|nis| nis.as_str().to_owned())
    }

    /// As [`Self::audit_list`].
    fn entries_that_fit(&self, question: &Question, from: u64, count: usize, is_opened: bool) -> Result<Fitting> {
        let OneLog { base, reader, .. } = self.ledger.log_of(question.generation)?;
        let end = reader.size();
        let last = end.min(from.saturating_add(AUDIT_ENTRIES_LOOKED_AT_MAX));
        let mut found = Fitting { entries: Vec::new(), pruned: 0, next: from, end };
        while found.next < last && found.entries.len() < count {
            let place = base.saturating_add(found.next);
            match self.leaf(place) {
                Ok(leaf) => {
                    let entry = Entry::from_bytes(&leaf)?;
                    let agreement = question::agreement_of(&entry).and_then(|id| self.state.agreement(&id));
                    if self.answers(question, &entry, agreement.as_deref()) {
                        let mut told = describe(&leaf)?;
                        if let (Some(told), Some(sealed)) =
                            (told.as_object_mut(), self.sealed_value(&entry, place, is_opened)?)
                        {
                            told.insert("sealed".to_owned(), sealed);
                        }
                        found.entries.push(told);
                    }
                }
                Err(error) if error.code == ErrorCode::EntryPruned => found.pruned = found.pruned.saturating_add(1),
                Err(error) => return Err(error),
            }
            found.next = found.next.saturating_add(1);
        }
        Ok(found)
    }
}

/// Entries that answer a question.
struct Fitting {
    entries: Vec<Json>,
    /// Entries that were looked at and of which the hash alone is left: whether they would, nobody
    /// can say.
    pruned: u64,
    next: u64,
    end: u64,
}

/// What entries are called when they are told of.
pub const KINDS: [&str; 26] = [
    "start",
    "stop",
    "recovery",
    "clock-jump",
    "negotiation",
    "agreement",
    "notice",
    "intent",
    "permit",
    "refusal",
    "outcome",
    "received",
    "release",
    "schema-grant",
    "plan-refusal",
    "refusal-summary",
    "checkpoint-kept",
    "staff-refusal",
    "extract",
    "reconciled",
    "log-query",
    "administration",
    "register-seen",
    "pruned",
    "succession",
    "erased",
];

/// An entry as plain data; the command line puts it into words.
pub fn describe(leaf: &[u8]) -> Result<Json> {
    let entry = Entry::from_bytes(leaf)?;
    let hash = Digest::from_bytes(perron_log::merkle::leaf_hash(leaf).0);
    let (kind, facts) = facts(&entry.body);
    let chain = entry.chain.as_ref().map(|c| json!({"agreement": c.agreement, "number": c.number}));
    Ok(json!({"index": entry.index, "time": entry.time, "leaf": hash, "kind": kind, "chain": chain, "facts": facts}))
}

fn span(span: &Span) -> String {
    if span.first == span.last { span.first.to_string() } else { format!("{}–{}", span.first, span.last) }
}

fn facts(body: &Body) -> (&'static str, Json) {
    match body {
        Body::Start(b) => {
            ("start", json!({"program": b.program, "origin": b.origin, "modules": b.modules, "engine": b.engine}))
        }
        Body::Stop(b) => ("stop", json!({"reason": b.reason})),
        Body::Recovery(b) => {
            ("recovery", json!({"offset": b.offset, "length": b.length, "digest": b.digest, "asked": b.asked}))
        }
        Body::ClockJump(b) => ("clock-jump", json!({"from": b.from, "to": b.to})),
        Body::Negotiation(b) => (
            "negotiation",
            json!({"negotiation": b.id, "with": b.counterparty, "side": b.side, "by": b.by, "message": b.message, "state": b.state, "decided_by": b.decided_by}),
        ),
        Body::Agreement(b) => (
            "agreement",
            json!({"agreement": b.agreement, "with": b.counterparty, "side": b.side, "dataset": b.dataset, "legal_basis": b.legal_basis, "regime": b.regime, "amends": b.amends, "uses": b.uses, "volume": b.volume}),
        ),
        Body::Notice(b) => (
            "notice",
            json!({"notice": b.notice, "with": b.counterparty, "side": b.side, "by": b.by, "act": b.act, "standing": b.standing, "decided_by": b.decided_by}),
        ),
        Body::Intent(b) => {
            ("intent", json!({"request": b.request, "user": b.user, "purpose": b.purpose, "provider": b.provider}))
        }
        Body::Decision(b) => (
            if b.permitted { "permit" } else { "refusal" },
            json!({"request": b.request, "consumer": b.consumer, "user": b.user, "purpose": b.purpose, "legal_basis": b.legal_basis, "reasons": b.reasons, "clauses": b.clauses, "snapshot": b.snapshot, "uses": b.uses, "reserved": b.reserved, "volume": b.volume, "register": b.register, "module": b.module}),
        ),
        Body::Outcome(b) => (
            "outcome",
            json!({"decision": b.decision, "status": format!("{:?}", b.status), "reason": b.reason, "rows": b.rows, "bytes": b.bytes, "messages": b.messages, "stream_root": b.stream_root}),
        ),
        Body::Received(b) => (
            "received",
            json!({"request": b.request, "decision": b.decision, "outcome": b.outcome, "rows": b.rows, "messages": b.messages, "refused": b.refused}),
        ),
        Body::Release(b) => (
            "release",
            json!({"dataset": b.dataset, "snapshot": b.snapshot, "table": b.table, "groups": b.groups, "suppressed": b.suppressed, "further": b.further, "epsilon_micro": b.epsilon_micro, "spent_micro": b.spent_micro}),
        ),
        Body::SchemaGrant(b) => ("schema-grant", json!({"peer": b.peer, "hour": b.hour})),
        Body::PlanRefusal(b) => ("plan-refusal", json!({"peer": b.peer, "reason": b.reason, "clause": b.clause})),
        Body::RefusalSummary(b) => {
            ("refusal-summary", json!({"peer": b.peer, "reason": b.reason, "minute": b.minute, "count": b.count}))
        }
        Body::CheckpointKept(b) => {
            ("checkpoint-kept", json!({"origin": b.origin, "size": b.size, "root": b.root, "key": b.key}))
        }
        Body::StaffRefusal(b) => {
            ("staff-refusal", json!({"user": b.user, "action": b.action, "reason": b.reason, "purpose": b.purpose}))
        }
        Body::Extract(b) => ("extract", json!({"to": b.to, "by": b.by})),
        Body::Reconciled(b) => (
            "reconciled",
            json!({"with": b.partner, "result": b.result, "reason": b.reason, "number": b.number, "leaf": b.leaf, "size": b.size, "root": b.root, "their_number": b.their_number, "their_leaf": b.their_leaf, "extract": b.extract, "matched": b.matched, "open": b.open, "differences": b.differences}),
        ),
        Body::LogQuery(b) => (
            "log-query",
            json!({"user": b.user, "permitted": b.permitted, "reasons": b.reasons, "clauses": b.clauses, "entries": b.entries, "statement": b.statement, "module": b.module}),
        ),
        Body::Administration(b) => {
            ("administration", json!({"action": b.action, "actor": b.actor, "document": b.document}))
        }
        Body::RegisterSeen(b) => ("register-seen", json!({"version": b.version, "digest": b.digest})),
        Body::Pruned(b) => {
            ("pruned", json!({"rule": b.rule, "document": b.document, "leaves": b.leaves, "actor": b.actor}))
        }
        Body::Succession(b) => (
            "succession",
            json!({"origin": b.origin, "size": b.size, "root": b.root, "held": b.held, "lost": b.lost, "backup": b.backup, "document": b.document}),
        ),
        Body::Erased(b) => {
            let entries: Vec<String> = b.entries.iter().map(span).collect();
            (
                "erased",
                json!({"entries": entries, "values": b.values, "ground": b.ground, "by": b.by, "undone_until": b.until, "agreements": b.agreements, "user": b.user, "vault": b.vault, "log": b.log}),
            )
        }
    }
}
