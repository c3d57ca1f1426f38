//! The entries of a log, read in their order: each against those before it and against what is
//! attached to it.
//!
//! Memory grows with agreements, negotiations and open reads, not with the log.

mod agreements;
mod attached;
mod keys;
mod log_queries;
mod negotiations;
mod notices;
mod pruning;
mod reads;
mod receipts;
mod sealed;
mod succession;
mod witness;

use crate::limits::{CHAIN_WINDOW, FOLLOWED_MAX, TRACE_BYTES};
use crate::register::Register;
use crate::report::{PrunedBy, of_entry};
use crate::signatures::Signatures;
use agreements::Known;
use attached::Attached;
use negotiations::Negotiated;
use perron_log::{Finding, FindingKind, LeafView};
use perron_model::entry::{AttachmentKind, Body, ChainPosition, Entry};
use perron_model::life::Life;
use perron_model::limits::LEDGER_QUEUE_MAX;
use perron_model::participant::Participant;
use perron_model::retention::RETENTION_ACT;
use perron_model::{Digest, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

pub(crate) use keys::Undated;
pub(crate) use succession::{Before, Larger, Succeeded};
pub(crate) use witness::check_kept_files;

/// What was read so far.
pub(crate) struct Reading<'a> {
    register: &'a Register,
    owner: &'a Participant,
    // The log that is read, where it lies, and the one that it took the place of.
    origin: String,
    place: String,
    before: Option<Before>,
    succeeded: Vec<Succeeded>,
    index: u64,
    found: Vec<Finding>,
    last: Option<Digest>,
    last_time: Timestamp,
    // The largest time so far.
    latest: Timestamp,
    chains: HashMap<Digest, Chain>,
    agreements: HashMap<Digest, Known>,
    negotiations: HashMap<String, Negotiated>,
    // Lives of agreements by the one with which they began; that one for each version.
    lives: HashMap<Digest, Life>,
    firsts: HashMap<Digest, Digest>,
    // Agreements that both sides signed and that are not in force yet: digest of the signed JWS.
    verified: HashMap<Digest, Digest>,
    // Permitted decisions without an outcome, by leaf hash.
    open_reads: HashMap<Digest, OpenRead>,
    intents: HashSet<Digest>,
    kept: HashMap<String, witness::KeptHere>,
    register_seen: Option<(u64, Digest)>,
    signatures: Signatures,
    counts: BTreeMap<&'static str, u64>,
    checked: BTreeMap<&'static str, u64>,
    beyond: u64,
    // Requests that contradict the chain that they are in: how many, and the first one's entry.
    disputed: Option<(u64, u64)>,
    jumped_at: Option<u64>,
    stubs: pruning::Stubs,
    log_keys: keys::LogKeys,
    dated: keys::Dated,
    undated: Undated,
    sealed: sealed::Sealed,
}

/// A permitted read whose outcome is yet to come; a statement over the log is under no agreement.
#[derive(Clone, Copy, Debug)]
struct OpenRead {
    agreement: Option<Digest>,
    reserved: Option<u64>,
}

/// The chain of an agreement's entries so far.
#[derive(Clone, Debug, Default)]
struct Chain {
    next: u64,
    last: Option<Digest>,
    uses: u64,
    // Bytes that left, and those reserved by reads without an outcome.
    volume: u64,
    // Entries that were pruned since the counters were known.
    torn: u64,
    // The newest leaf hashes, the last one that of number `next - 1`.
    recent: VecDeque<Digest>,
}

impl Chain {
    /// Takes the entry of this number.
    fn take(&mut self, number: u64, leaf: Digest) {
        if number != self.next {
            self.recent.clear();
        }
        if self.recent.len() >= CHAIN_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(leaf);
        (self.next, self.last) = (number.saturating_add(1), Some(leaf));
    }

    /// Is this leaf number `number`? None where that is too long ago.
    fn holds(&self, number: u64, leaf: &Digest) -> Option<bool> {
        let Some(back) = self.next.checked_sub(number).filter(|back| *back > 0) else { return Some(false) };
        let place = self.recent.len().checked_sub(usize::try_from(back).ok()?)?;
        self.recent.get(place).map(|held| held == leaf)
    }

    /// Is this leaf in the chain, or may it be one from long ago?
    fn may_hold(&self, leaf: &Digest) -> bool {
        let is_whole = u64::try_from(self.recent.len()).is_ok_and(|held| held == self.next);
        !is_whole || self.recent.contains(leaf)
    }
}

/// What remains once all entries were read.
pub(crate) struct Read {
    /// What was found last.
    pub findings: Vec<Finding>,
    /// Entries by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Signatures checked, by kind.
    pub checked: BTreeMap<&'static str, u64>,
    /// Permitted decisions without an outcome.
    pub open_reads: u64,
    /// Digest of each agreement's envelope.
    pub envelopes: HashMap<Digest, Digest>,
    /// The newest checkpoint of each other log that the entries tell of.
    pub kept: HashMap<String, witness::KeptHere>,
    /// The newest register version that the entries tell of.
    pub register_seen: Option<(u64, Digest)>,
    /// Entries whose chains were not followed, past the bound.
    pub beyond: u64,
    /// Requests that contradict the chain that they are in: how many, and the first one's entry.
    pub disputed: Option<(u64, u64)>,
    /// Entries that were pruned, by the rule that allows it.
    pub pruned: Vec<PrunedBy>,
    /// What the first entries of logs tell of those that they took the place of, the oldest first.
    pub succeeded: Vec<Succeeded>,
    /// Signatures by keys that have ended, whose time isn't proven.
    pub undated: Undated,
    /// Sealed values, and how many of them were erased.
    pub sealed: (u64, u64),
}

impl<'a> Reading<'a> {
    /// Before the first entry.
    pub fn new(register: &'a Register, owner: &'a Participant) -> Reading<'a> {
        Reading {
            register,
            owner,
            origin: owner.log_origin.clone(),
            place: "log".to_owned(),
            before: None,
            succeeded: Vec::new(),
            index: 0,
            found: Vec::new(),
            last: None,
            last_time: Timestamp::EPOCH,
            latest: Timestamp::EPOCH,
            chains: HashMap::new(),
            agreements: HashMap::new(),
            negotiations: HashMap::new(),
            lives: HashMap::new(),
            firsts: HashMap::new(),
            verified: HashMap::new(),
            open_reads: HashMap::new(),
            intents: HashSet::new(),
            kept: HashMap::new(),
            register_seen: None,
            signatures: Signatures::new(),
            counts: BTreeMap::new(),
            checked: BTreeMap::new(),
            beyond: 0,
            disputed: None,
            jumped_at: None,
            stubs: pruning::Stubs::default(),
            log_keys: keys::LogKeys::of(owner, &owner.log_origin),
            dated: keys::Dated::default(),
            undated: Undated::default(),
            sealed: sealed::Sealed::default(),
        }
    }

    /// Reads the next entry; gives what is wrong with it, or with signatures of earlier ones.
    pub fn entry(&mut self, view: &LeafView<'_>) -> Vec<Finding> {
        self.index = view.index;
        let leaf = Digest::from_bytes(view.leaf_hash.0);
        let Some(bytes) = view.leaf else {
            self.pruned_leaf(leaf);
            self.last = Some(leaf);
            self.begins_with_succession(false);
            return std::mem::take(&mut self.found);
        };
        match Entry::from_bytes(bytes) {
            Ok(entry) => {
                self.whole_leaf(&entry);
                self.place(&entry);
                self.succeeds(&entry);
                self.time(&entry);
                self.log_keys(view, entry.time);
                self.chain(&entry, leaf);
                let mut attached = Attached::new(view);
                self.body(&entry, leaf, &mut attached);
                for kind in attached.left() {
                    self.wrong(
                        FindingKind::DocumentBytes,
                        format!("an attachment of kind {kind} is bound by nothing in it"),
                    );
                }
            }
            Err(error) => self.wrong(FindingKind::EntryEncoding, error.detail),
        }
        self.last = Some(leaf);
        std::mem::take(&mut self.found)
    }

    /// After the last entry.
    pub fn finish(mut self) -> Read {
        let mut findings = std::mem::take(&mut self.found);
        findings.extend(self.signatures.flush());
        let (untold, pruned) = self.finish_pruned();
        findings.extend(untold);
        findings.extend(self.succession_untold());
        if self.signatures.checked > 0 {
            self.checked.insert("request", self.signatures.checked);
        }
        Read {
            findings,
            counts: self.counts,
            checked: self.checked,
            open_reads: u64::try_from(self.open_reads.len()).unwrap_or(u64::MAX),
            envelopes: self.agreements.into_iter().map(|(id, known)| (id, known.envelope)).collect(),
            kept: self.kept,
            register_seen: self.register_seen,
            beyond: self.beyond,
            disputed: self.disputed,
            pruned,
            succeeded: self.succeeded,
            undated: self.undated,
            sealed: (self.sealed.values, self.sealed.erased),
        }
    }

    fn wrong(&mut self, kind: FindingKind, detail: impl Into<String>) {
        let finding = of_entry(kind, self.index, detail);
        self.found.push(Finding { path: self.place.clone(), ..finding });
    }

    fn require(&mut self, holds: bool, kind: FindingKind, detail: &str) {
        if !holds {
            self.wrong(kind, detail);
        }
    }

    fn count_signature(&mut self, kind: &'static str) {
        let sum = self.checked.entry(kind).or_default();
        *sum = sum.saturating_add(1);
    }

    /// Its number, and the entry before it.
    fn place(&mut self, entry: &Entry) {
        if entry.index != self.index {
            self.wrong(FindingKind::Order, format!("it says that it is entry {}", entry.index));
        }
        self.require(entry.previous == self.last, FindingKind::Order, "the entry that it names before it isn't there");
        let is_trace = entry.trace.as_ref().is_none_or(|trace| trace.len() == TRACE_BYTES);
        self.require(is_trace, FindingKind::EntryEncoding, "its trace isn't one: a trace id has 16 bytes");
    }

    /// Time never decreases, but with a clock jump.
    fn time(&mut self, entry: &Entry) {
        let before = std::mem::replace(&mut self.last_time, entry.time);
        if let Body::ClockJump(jump) = &entry.body {
            self.jumped_at = Some(self.index);
            let fits = jump.from == before && jump.to == entry.time && jump.to < jump.from;
            self.require(fits, FindingKind::TimeBackwards, "the clock jump isn't from the entry before to this one");
        } else if entry.time < before {
            self.wrong(FindingKind::TimeBackwards, format!("its time {} is before {before}", entry.time));
        }
    }

    /// Did the clock go back while this entry may have waited to be written?
    fn jumped_lately(&self) -> bool {
        let since = self.jumped_at.and_then(|at| self.index.checked_sub(at));
        since.and_then(|entries| usize::try_from(entries).ok()).is_some_and(|entries| entries <= LEDGER_QUEUE_MAX)
    }

    /// Its place in the chain of its agreement.
    fn chain(&mut self, entry: &Entry, leaf: Digest) {
        let belongs = match &entry.body {
            Body::Agreement(_)
            | Body::Notice(_)
            | Body::Intent(_)
            | Body::Received(_)
            | Body::SchemaGrant(_)
            | Body::PlanRefusal(_)
            | Body::Release(_)
            | Body::Extract(_)
            | Body::Reconciled(_) => true,
            Body::Decision(decision) => decision.permitted,
            // Where its decision is in none, neither is it.
            Body::Outcome(outcome) => {
                self.open_reads.get(&outcome.decision).is_none_or(|read| read.agreement.is_some())
            }
            _ => false,
        };
        let Some(position) = &entry.chain else {
            self.require(!belongs, FindingKind::ChainGap, "it belongs to an agreement's chain, and is in none");
            return;
        };
        let ChainPosition { agreement, number, previous } = position;
        if !has_room(&self.chains, agreement) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let chain = self.chains.entry(*agreement).or_default();
        let before = (chain.next, chain.last);
        chain.take(*number, leaf);
        let gap = number.checked_sub(before.0).filter(|gap| *gap > 0 && before.0 > 0);
        if gap.is_some_and(|gap| self.stubs.fill(gap, previous.as_ref())) {
            if let Some(chain) = self.chains.get_mut(agreement) {
                chain.torn = chain.torn.saturating_add(gap.unwrap_or(0));
            }
        } else if *number != before.0 {
            self.wrong(
                FindingKind::ChainGap,
                format!("it is number {number} of the chain of {agreement}, {} was to come", before.0),
            );
        } else if *previous != before.1 {
            self.wrong(FindingKind::ChainGap, format!("it doesn't follow the chain of {agreement} so far"));
        }
        if before.0 == 0 && !matches!(entry.body, Body::Agreement(_)) {
            self.wrong(FindingKind::Order, format!("the chain of {agreement} doesn't begin with the agreement"));
        }
    }

    fn body(&mut self, entry: &Entry, leaf: Digest, attached: &mut Attached<'_>) {
        self.attached_parts(&entry.body, attached);
        let kind = match &entry.body {
            Body::Start(start) => {
                self.require(start.origin == self.origin, FindingKind::Order, "it starts a log of another origin");
                self.started();
                "start"
            }
            Body::Stop(_) => "stop",
            Body::Recovery(_) => "recovery",
            Body::ClockJump(_) => "clock-jump",
            Body::Negotiation(step) => {
                self.negotiation(step, attached);
                "negotiation"
            }
            Body::Agreement(agreement) => {
                self.agreement(entry, agreement, attached);
                "agreement"
            }
            Body::Notice(notice) => {
                self.notice(entry, notice, attached);
                "notice"
            }
            Body::Intent(intent) => {
                self.intent(entry, intent, attached);
                "intent"
            }
            Body::Decision(decision) => {
                self.decision(entry, leaf, decision, attached);
                "decision"
            }
            Body::Outcome(outcome) => {
                self.outcome(entry, outcome);
                "outcome"
            }
            Body::Received(received) => {
                self.received(entry, received, attached);
                "received"
            }
            Body::Release(_) => "release",
            Body::SchemaGrant(_) => "schema-grant",
            Body::PlanRefusal(_) => "plan-refusal",
            Body::RefusalSummary(_) => "refusal-summary",
            Body::CheckpointKept(kept) => {
                self.checkpoint_kept(kept, attached);
                "checkpoint-kept"
            }
            Body::StaffRefusal(_) => "staff-refusal",
            Body::Extract(extract) => {
                self.extract(entry, extract);
                "extract"
            }
            Body::Reconciled(reconciled) => {
                self.reconciled(entry, reconciled);
                "reconciled"
            }
            Body::LogQuery(query) => {
                self.log_query(leaf, query, attached);
                "log-query"
            }
            Body::Administration(admin) => {
                if admin.action == RETENTION_ACT {
                    self.retention(entry, admin, attached);
                } else {
                    self.bound(attached, AttachmentKind::Document, &admin.document);
                }
                "administration"
            }
            Body::RegisterSeen(seen) => {
                self.register_version(seen, attached);
                "register-seen"
            }
            Body::Pruned(pruned) => {
                self.pruned(entry, pruned, attached);
                "pruned"
            }
            Body::Succession(succession) => {
                self.succession(succession, leaf, attached);
                "succession"
            }
            Body::Erased(erased) => {
                self.erasure(entry, leaf, erased);
                "erased"
            }
        };
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// A process began to serve: what the last one left open was closed before.
    fn started(&mut self) {
        if !self.open_reads.is_empty() {
            let count = self.open_reads.len();
            self.wrong(FindingKind::Order, format!("{count} permitted reads of the process before have no outcome"));
            self.open_reads.clear();
        }
    }

    /// The attachment of this kind, which must be there and be what the entry binds by digest.
    fn bound<'v>(&mut self, attached: &mut Attached<'v>, kind: AttachmentKind, digest: &Digest) -> Option<&'v [u8]> {
        let Some(bytes) = attached.take(kind) else {
            self.wrong(FindingKind::DocumentBytes, format!("its {} is not attached", attached::name(kind)));
            return None;
        };
        if Digest::of(bytes) == *digest {
            return Some(bytes);
        }
        self.wrong(
            FindingKind::DocumentBytes,
            format!("the attached {} is not the one that it binds", attached::name(kind)),
        );
        None
    }
}

/// May one more be followed?
fn has_room<K: Hash + Eq, V>(map: &HashMap<K, V>, key: &K) -> bool {
    map.len() < FOLLOWED_MAX || map.contains_key(key)
}
