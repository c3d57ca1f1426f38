//! Both sides' chains of one agreement, matched: what one has and the other lacks, what differs.

use crate::extract::OpenedExtract;
use crate::limits::CLOCKS_APART_MS_MAX;
use crate::words::{Lang, Part, Phrase};
use perron_model::entry::{Body, Decision, Entry, Outcome, OutcomeStatus, Received};
use perron_model::limits::DIFFERENCES_TOLD_MAX;
use perron_model::negotiation::Side;
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconciled {
    /// Reads that both chains tell alike.
    pub reads: u64,
    /// Notices that both chains have.
    pub notices: u64,
    /// Requests that the provider's chain has no decision of, and of which the consumer has no
    /// answer: they never arrived, or were refused before a policy was asked.
    pub unanswered: u64,
    /// Decisions of which the consumer's chain has the request and tells no end yet.
    pub unsettled: u64,
    /// What one chain lacks, and is so close to when it was given that it may have come after.
    pub too_new: u64,
    /// Differences, the first of them.
    pub differences: Vec<Difference>,
    /// Differences beyond those.
    pub differences_left_out: u64,
    /// How many differences there are of each kind, by its stable name.
    pub kinds: BTreeMap<String, u64>,
}

/// Something that the two chains don't tell alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// What it is.
    pub kind: DifferenceKind,
    /// Entry of the provider's log, where it has one.
    pub provider: Option<u64>,
    /// Entry of the consumer's log, where it has one.
    pub consumer: Option<u64>,
}

/// Kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// The provider decided about a request that the consumer's chain doesn't tell of.
    RequestMissing,
    /// The consumer holds a decision that the provider's chain doesn't have.
    DecisionMissing,
    /// The consumer holds an outcome that the provider's chain doesn't have.
    OutcomeMissing,
    /// One tells of rows, the other of a refusal.
    RefusalDiffers,
    /// Rows, messages or stream root are not the same.
    AnswerDiffers,
    /// One chain has a notice that the other lacks.
    NoticeMissing,
    /// What the partner's log signed contradicts a checkpoint of it that is kept.
    HistoryDiffers,
    /// The partner was asked for an extract, and gave one that it had made out before.
    ExtractOlder,
}

impl DifferenceKind {
    /// The catalogue's key of what it means; after the dot its stable name.
    const fn words(self) -> &'static str {
        match self {
            DifferenceKind::RequestMissing => "difference.request-missing",
            DifferenceKind::DecisionMissing => "difference.decision-missing",
            DifferenceKind::OutcomeMissing => "difference.outcome-missing",
            DifferenceKind::RefusalDiffers => "difference.refusal-differs",
            DifferenceKind::AnswerDiffers => "difference.answer-differs",
            DifferenceKind::NoticeMissing => "difference.notice-missing",
            DifferenceKind::HistoryDiffers => "difference.history-differs",
            DifferenceKind::ExtractOlder => "difference.extract-older",
        }
    }

    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.words().strip_prefix("difference.").unwrap_or_default()
    }
}

/// What shows that something of one side came after the chain of the other side was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Times of two clocks alone.
    Clocks,
    /// This chain was asked for when the other side's log had so many entries: what those say was
    /// before it.
    Asked(u64),
    /// This chain was read once the other one was there: nothing of that one came after it.
    Last,
}

/// What a chain tells of one side's reads, by request, and of notices, by name.
struct Told<'a> {
    decisions: HashMap<Digest, (&'a Entry, &'a Decision, Digest)>,
    outcomes: HashMap<Digest, (Digest, &'a Outcome)>,
    intents: HashMap<Digest, &'a Entry>,
    received: HashMap<Digest, (&'a Entry, &'a Received)>,
    notices: HashMap<Digest, &'a Entry>,
    leaves: HashSet<Digest>,
    given: Timestamp,
    side: Side,
    cut: Cut,
}

impl<'a> Told<'a> {
    fn of(extract: &'a OpenedExtract, cut: Cut) -> Told<'a> {
        let mut told = Told {
            decisions: HashMap::new(),
            outcomes: HashMap::new(),
            intents: HashMap::new(),
            received: HashMap::new(),
            notices: HashMap::new(),
            leaves: extract.entries.iter().map(|(leaf, _)| *leaf).collect(),
            given: extract.given,
            side: extract.side,
            cut,
        };
        for (leaf, entry) in &extract.entries {
            match &entry.body {
                Body::Decision(body) => drop(told.decisions.insert(body.request, (entry, body, *leaf))),
                Body::Outcome(body) => drop(told.outcomes.insert(body.decision, (*leaf, body))),
                Body::Intent(body) => drop(told.intents.insert(body.request, entry)),
                Body::Received(body) => drop(told.received.insert(body.request, (entry, body))),
                Body::Notice(body) => drop(told.notices.insert(body.notice, entry)),
                _ => {}
            }
        }
        told
    }

    /// May what an entry of the other's chain tells of have come after this one was given?
    fn may_precede(&self, entry: &Entry) -> bool {
        match self.cut {
            Cut::Clocks => self.may_precede_by_clocks(entry),
            Cut::Asked(size) => entry.index >= size,
            Cut::Last => false,
        }
    }

    fn may_precede_by_clocks(&self, entry: &Entry) -> bool {
        entry.time.plus_millis(CLOCKS_APART_MS_MAX) >= self.given
    }

    /// The same of a notice: one that its own side wrote may still be on its way here.
    fn may_lack_notice(&self, entry: &Entry) -> bool {
        let by = match &entry.body {
            Body::Notice(notice) if notice.by == "provider" => Side::Provider,
            _ => Side::Consumer,
        };
        self.may_precede(entry) || (by != self.side && self.may_precede_by_clocks(entry))
    }
}

/// Matches the extracts of both sides of one agreement, in either order. What is within five minutes
/// of when the other one was given may have come after it.
///
/// # Errors
/// `evidence_differs` where they aren't of the two sides of one agreement.
pub fn reconcile(one: &OpenedExtract, other: &OpenedExtract) -> Result<Reconciled> {
    matched(one, Cut::Clocks, other, Cut::Clocks)
}

/// Matches the extract that a partner gave when it was asked with our own chain, read after that. What
/// our log said when it had `asked` entries, before the partner was asked, is in both or a difference:
/// no clock decides.
///
/// # Errors
/// As [`reconcile`].
pub fn reconcile_asked(theirs: &OpenedExtract, ours: &OpenedExtract, asked: u64) -> Result<Reconciled> {
    matched(theirs, Cut::Asked(asked), ours, Cut::Last)
}

fn matched(one: &OpenedExtract, cut: Cut, other: &OpenedExtract, other_cut: Cut) -> Result<Reconciled> {
    let (provider, consumer) = match (one.side, other.side) {
        (Side::Provider, Side::Consumer) => (Told::of(one, cut), Told::of(other, other_cut)),
        (Side::Consumer, Side::Provider) => (Told::of(other, other_cut), Told::of(one, cut)),
        _ => return Err(Error::new(ErrorCode::EvidenceDiffers, "both extracts are of the same side")),
    };
    if one.agreement != other.agreement {
        return Err(Error::new(ErrorCode::EvidenceDiffers, "the extracts are of two agreements"));
    }
    let mut result = Reconciled::default();
    let mut decided: Vec<_> = provider.decisions.values().collect();
    decided.sort_by_key(|(entry, _, _)| entry.index);
    for (entry, decision, leaf) in decided {
        result.decision(entry, decision, leaf, &provider, &consumer);
    }
    let mut asked: Vec<_> = consumer.intents.iter().collect();
    asked.sort_by_key(|(_, entry)| entry.index);
    for (request, intent) in asked {
        result.intent(request, intent, &provider, &consumer);
    }
    result.notices(&provider, &consumer);
    Ok(result)
}

impl Reconciled {
    /// A difference of this kind alone.
    pub fn only(kind: DifferenceKind) -> Reconciled {
        let mut result = Reconciled::default();
        result.add((kind, None, None));
        result
    }

    /// What may be said, in a language, line by line.
    pub fn words(&self, lang: Lang) -> Vec<String> {
        let say = |key, parts: Vec<Part>| Phrase::new(key, parts).text(lang);
        let mut lines = vec![
            say("reconciled.same", vec![self.reads.into(), self.notices.into()]),
            say("reconciled.apart", vec![self.unanswered.into(), self.unsettled.into(), self.too_new.into()]),
        ];
        let entry = |entry: Option<u64>| entry.map_or_else(|| "–".to_owned(), |index| index.to_string());
        for Difference { kind, provider, consumer } in &self.differences {
            let parts = vec![Part::Word(kind.words()), entry(*provider).into(), entry(*consumer).into()];
            lines.push(say("reconciled.differs", parts));
        }
        if self.differences_left_out > 0 {
            lines.push(say("reconciled.left_out", vec![self.differences_left_out.into()]));
        }
        lines
    }

    /// Do both chains tell the same, as far as they can be compared?
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// A decision of the provider, against what the consumer tells of that request.
    fn decision(
        &mut self,
        entry: &Entry,
        decision: &Decision,
        leaf: &Digest,
        provider: &Told<'_>,
        consumer: &Told<'_>,
    ) {
        if !consumer.intents.contains_key(&decision.request) {
            return self.lacking(DifferenceKind::RequestMissing, Some(entry), None, consumer);
        }
        let Some((theirs, received)) = consumer.received.get(&decision.request) else {
            self.unsettled = self.unsettled.saturating_add(1);
            return;
        };
        let both = |kind| (kind, Some(entry.index), Some(theirs.index));
        if received.decision.is_some_and(|held| held != *leaf) {
            return self.add(both(DifferenceKind::DecisionMissing));
        }
        if !decision.permitted && received.refused.is_none() {
            return self.add(both(DifferenceKind::RefusalDiffers));
        }
        if let Some(kind) = received.outcome.and_then(|held| answer(leaf, &held, received, provider)) {
            // Its chain may have been given while the read still ran.
            if kind == DifferenceKind::OutcomeMissing
                && !provider.outcomes.contains_key(leaf)
                && provider.may_precede(theirs)
            {
                self.too_new = self.too_new.saturating_add(1);
                return;
            }
            return self.add(both(kind));
        }
        self.reads = self.reads.saturating_add(1);
    }

    /// A request of the consumer that the provider's chain tells nothing of.
    fn intent(&mut self, request: &Digest, intent: &Entry, provider: &Told<'_>, consumer: &Told<'_>) {
        if provider.decisions.contains_key(request) {
            return;
        }
        match consumer.received.get(request) {
            Some((entry, received)) if received.decision.is_some() || received.refused.is_none() => {
                self.lacking(DifferenceKind::DecisionMissing, None, Some(entry), provider);
            }
            _ if provider.may_precede(intent) => self.too_new = self.too_new.saturating_add(1),
            _ => self.unanswered = self.unanswered.saturating_add(1),
        }
    }

    fn notices(&mut self, provider: &Told<'_>, consumer: &Told<'_>) {
        let mut sorted: Vec<_> = provider.notices.iter().collect();
        sorted.sort_by_key(|(_, entry)| entry.index);
        for (name, entry) in sorted {
            match consumer.notices.contains_key(name) {
                true => self.notices = self.notices.saturating_add(1),
                false => self.lacking_notice(entry, Side::Provider, consumer),
            }
        }
        let mut alone: Vec<_> = consumer.notices.iter().filter(|(n, _)| !provider.notices.contains_key(*n)).collect();
        alone.sort_by_key(|(_, entry)| entry.index);
        for (_, entry) in alone {
            self.lacking_notice(entry, Side::Consumer, provider);
        }
    }

    fn lacking_notice(&mut self, entry: &Entry, of: Side, lacks: &Told<'_>) {
        if lacks.may_lack_notice(entry) {
            self.too_new = self.too_new.saturating_add(1);
            return;
        }
        let place = |side| (side == of).then_some(entry.index);
        self.add((DifferenceKind::NoticeMissing, place(Side::Provider), place(Side::Consumer)));
    }

    /// Something that one chain has and the other lacks; unless that one may have been given before.
    fn lacking(&mut self, kind: DifferenceKind, provider: Option<&Entry>, consumer: Option<&Entry>, lacks: &Told<'_>) {
        if provider.or(consumer).is_some_and(|entry| lacks.may_precede(entry)) {
            self.too_new = self.too_new.saturating_add(1);
        } else {
            self.add((kind, provider.map(|e| e.index), consumer.map(|e| e.index)));
        }
    }

    fn add(&mut self, (kind, provider, consumer): (DifferenceKind, Option<u64>, Option<u64>)) {
        let count = self.kinds.entry(kind.name().to_owned()).or_default();
        *count = count.saturating_add(1);
        if self.differences.len() >= DIFFERENCES_TOLD_MAX {
            self.differences_left_out = self.differences_left_out.saturating_add(1);
        } else {
            self.differences.push(Difference { kind, provider, consumer });
        }
    }
}

/// How the outcome that the consumer holds differs from the provider's.
fn answer(decision: &Digest, held: &Digest, received: &Received, provider: &Told<'_>) -> Option<DifferenceKind> {
    if !provider.leaves.contains(held) {
        return Some(DifferenceKind::OutcomeMissing);
    }
    let (leaf, outcome) = provider.outcomes.get(decision)?;
    if leaf != held {
        return Some(DifferenceKind::OutcomeMissing);
    }
    // Of an answer that broke off no more may have come than left.
    let fits = match &received.refused {
        None => {
            (outcome.rows, outcome.messages, outcome.stream_root)
                == (received.rows, received.messages, received.stream_root)
        }
        Some(_) => {
            outcome.status == OutcomeStatus::UnknownAfterCrash
                || (received.rows <= outcome.rows && received.messages <= outcome.messages)
        }
    };
    (!fits).then_some(DifferenceKind::AnswerDiffers)
}
