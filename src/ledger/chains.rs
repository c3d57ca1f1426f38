//! Counters and chain positions of agreements: totals that the log's entries carry.

use crate::ledger::pruning::Activities;
use crate::ledger::recent::Recent;
use crate::ledger::stream_root::stream_root;
use perron_log::TornTail;
use perron_model::decision::StateFacts;
use perron_model::entry::{Body, ChainPosition, Entry, Outcome, OutcomeStatus};
use perron_model::limits::CLOCK_JUMPS_FOLLOWED_MAX;
use perron_model::request::Acknowledgement;
use perron_model::retention::{Activity, charged_before};
use perron_model::succession::SuccessionDocument;
use perron_model::{AgreementId, DatasetId, Digest, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is known of one agreement's chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Number of the next entry.
    pub next: u64,
    /// Leaf hash of the newest entry.
    pub last: Option<Digest>,
    /// Uses charged.
    pub uses: u64,
    /// Bytes that left, and those that running reads have reserved.
    pub volume: u64,
    recent: Recent,
    /// Permitted reads that the consumer hasn't acknowledged, by decision, with their time.
    pub unacknowledged: HashMap<Digest, Timestamp>,
    /// Permitted reads without an outcome, with what they have reserved.
    pub running: HashMap<Digest, Option<u64>>,
    /// Entries of it that were pruned.
    pruned: u64,
    // Were entries pruned since the counters were known? Only while the log is read at start.
    is_torn: bool,
    // The set that the agreement is about.
    dataset: Option<DatasetId>,
}

impl Chain {
    /// Entries between the newest and this one were pruned.
    fn note_gap(&mut self, position: &ChainPosition) {
        let gap = position.number.saturating_sub(self.next);
        if gap > 0 {
            self.pruned = self.pruned.saturating_add(gap);
            (self.next, self.is_torn) = (position.number, true);
        }
    }

    /// Charges a permitted read, and gives the bytes charged and reserved after it.
    pub fn charge(&mut self, uses: u64, reserved: Option<u64>, at: Timestamp) -> u64 {
        self.uses = uses;
        self.volume = self.volume.saturating_add(reserved.unwrap_or(0));
        self.recent.charge(at);
        self.volume
    }

    /// Settles a read by its outcome, and tells the totals there: a read of which nothing left
    /// gives its use back, and each what it reserved and didn't need. After a crash nobody knows
    /// what left, so all of it stays charged.
    pub fn settle(&mut self, outcome: &mut Outcome) {
        let reserved = self.running.get(&outcome.decision).copied().flatten();
        if outcome.status == OutcomeStatus::NothingLeft {
            self.uses = self.uses.saturating_sub(1);
            self.recent.give_back();
        }
        if outcome.status != OutcomeStatus::UnknownAfterCrash {
            self.volume = self.volume.saturating_sub(reserved.unwrap_or(0)).saturating_add(outcome.bytes);
        }
        outcome.uses = self.uses;
        outcome.volume = reserved.map(|_| self.volume);
    }
}

/// The chains of all agreements, and what runs outside of them.
#[derive(Debug, Default)]
pub struct Chains {
    chains: HashMap<AgreementId, Chain>,
    activities: Activities,
    // Permitted statements over the log without an outcome, by decision.
    log_queries: BTreeSet<Digest>,
    clock_jumps: Vec<u64>,
    // Torn ends in quarantine of which no entry was read that tells of them.
    untold: Vec<TornTail>,
}

impl Chains {
    /// No chain yet; entries about reads of these sets name these processing activities.
    pub fn new(activities: Activities) -> Chains {
        Chains { activities, ..Chains::default() }
    }

    /// The processing activity that entries about reads under an agreement name.
    pub fn activity_of(&self, agreement: &AgreementId) -> Option<&Activity> {
        self.activities.get(self.chains.get(agreement)?.dataset.as_ref()?)
    }

    /// Decisions about reads that aren't over.
    pub fn open_decisions(&self) -> HashSet<Digest> {
        self.chains.values().flat_map(|c| c.running.keys().chain(c.unacknowledged.keys())).copied().collect()
    }

    /// Entries of a chain that were pruned.
    pub fn pruned_of(&self, agreement: &AgreementId) -> u64 {
        self.chains.get(agreement).map_or(0, |chain| chain.pruned)
    }

    /// So many entries of these chains are pruned.
    pub fn prune(&mut self, counts: &BTreeMap<AgreementId, u64>) {
        for (agreement, count) in counts {
            let chain = self.chain(*agreement);
            chain.pruned = chain.pruned.saturating_add(*count);
        }
    }

    /// At start, before a decision is followed: where entries before it were pruned, the counters go
    /// on from what its evaluation was told.
    pub fn go_on(&mut self, position: &ChainPosition, input: Option<&[u8]>) {
        let chain = self.chain(position.agreement);
        chain.note_gap(position);
        if chain.is_torn
            && let Some((uses, volume)) = input.and_then(charged_before)
        {
            (chain.uses, chain.volume, chain.is_torn) = (uses, volume, false);
        }
    }

    /// The chain of an agreement, from its beginning where there is none.
    pub fn chain(&mut self, agreement: AgreementId) -> &mut Chain {
        self.chains.entry(agreement).or_default()
    }

    /// Counters as a policy sees them, for a request that brings these acknowledgements.
    pub fn state(&self, agreement: &AgreementId, now: Timestamp, brought: &[Acknowledgement]) -> StateFacts {
        let Some(chain) = self.chains.get(agreement) else {
            return StateFacts { uses_last_hour: Some(0), volume_bytes: Some(0), ..StateFacts::default() };
        };
        let brought: HashSet<&Digest> = brought.iter().map(|a| &a.decision).collect();
        let open = || chain.unacknowledged.iter().filter(|(decision, _)| !brought.contains(decision));
        let oldest = open().map(|(_, time)| time).min();
        StateFacts {
            uses: chain.uses,
            uses_last_hour: Some(chain.recent.count(now)),
            volume_bytes: Some(chain.volume),
            unacknowledged: u64::try_from(open().count()).unwrap_or(u64::MAX),
            unacknowledged_ms: oldest.map_or(0, |t| now.millis().saturating_sub(t.millis()).max(0)),
            ..StateFacts::default()
        }
    }

    /// The next position of a chain, for an entry that is about to be written. It is taken once
    /// the entry is durable (`follow`).
    pub fn position(&self, agreement: AgreementId) -> ChainPosition {
        let (number, previous) = self.chains.get(&agreement).map_or((0, None), |c| (c.next, c.last));
        ChainPosition { agreement, number, previous }
    }

    /// Follows an entry of the log: its place in its chain. While the log is read at start the
    /// totals that entries carry are taken too; later they were set when the entry was enqueued,
    /// and an older entry that becomes durable must not set them back.
    pub fn follow(&mut self, entry: &Entry, leaf: Digest, at_start: bool) {
        let Some(position) = &entry.chain else { return self.follow_unchained(entry, leaf) };
        // What an amended agreement was charged counts on.
        if let Body::Agreement(agreement) = &entry.body {
            let before = agreement.amends.and_then(|amends| self.chains.get(&amends));
            let recent = before.map(|before| before.recent.clone()).unwrap_or_default();
            let chain = self.chain(position.agreement);
            (chain.uses, chain.volume) = (agreement.uses.unwrap_or(0), agreement.volume.unwrap_or(0));
            chain.recent = recent;
            chain.dataset = DatasetId::parse(&agreement.dataset).ok();
        }
        let chain = self.chain(position.agreement);
        chain.note_gap(position);
        chain.next = position.number.saturating_add(1);
        chain.last = Some(leaf);
        match &entry.body {
            Body::Decision(decision) => {
                if at_start && decision.permitted {
                    chain.charge(decision.uses, decision.reserved, entry.time);
                }
                if decision.permitted {
                    chain.running.insert(leaf, decision.reserved);
                    chain.unacknowledged.insert(leaf, entry.time);
                }
            }
            Body::Outcome(outcome) => {
                if at_start {
                    chain.settle(&mut outcome.clone());
                }
                chain.running.remove(&outcome.decision);
                if matches!(outcome.status, OutcomeStatus::NothingLeft | OutcomeStatus::UnknownAfterCrash) {
                    chain.unacknowledged.remove(&outcome.decision);
                }
            }
            _ => {}
        }
    }

    fn follow_unchained(&mut self, entry: &Entry, leaf: Digest) {
        match &entry.body {
            // One more than is followed says that there are more.
            Body::ClockJump(_) if self.clock_jumps.len() <= CLOCK_JUMPS_FOLLOWED_MAX => {
                self.clock_jumps.push(entry.index);
            }
            Body::Recovery(told) => {
                let is_it = |torn: &TornTail| torn.offset == told.offset && torn.digest.0 == *told.digest.as_bytes();
                self.untold.retain(|torn| !is_it(torn));
            }
            Body::LogQuery(query) if query.permitted => {
                self.log_queries.insert(leaf);
            }
            Body::Outcome(outcome) => {
                self.log_queries.remove(&outcome.decision);
            }
            _ => {}
        }
    }

    /// Entries at which the clock went back, in their order; none where they are too many to follow.
    pub fn clock_jumps(&self) -> Option<Vec<u64>> {
        (self.clock_jumps.len() <= CLOCK_JUMPS_FOLLOWED_MAX).then(|| self.clock_jumps.clone())
    }

    /// Before the log is read at start: these torn ends lie in quarantine.
    pub fn look_for(&mut self, quarantined: Vec<TornTail>) {
        self.untold = quarantined;
    }

    /// Torn ends of which no entry tells that was read so far; they are given once.
    pub fn untold(&mut self) -> Vec<TornTail> {
        std::mem::take(&mut self.untold)
    }

    /// The next log is read from its beginning: its entries are counted anew.
    pub fn begin_log(&mut self) {
        self.clock_jumps.clear();
    }

    /// A log took the place of one that lost entries: what they used is charged, and what was to be
    /// acknowledged of before can't be any more, for acknowledgements may be among what was lost.
    pub fn succeed(&mut self, document: &SuccessionDocument, at: Timestamp) {
        self.chains.values_mut().for_each(|chain| chain.unacknowledged.clear());
        for charged in &document.charged {
            let chain = self.chain(charged.agreement);
            chain.recent.charge_many(at, charged.uses.saturating_sub(chain.uses));
            (chain.uses, chain.volume) = (chain.uses.max(charged.uses), chain.volume.max(charged.volume));
        }
    }

    /// Uses and volume charged to an agreement; nothing to one that has no chain.
    pub fn totals(&self, agreement: &AgreementId) -> (u64, u64) {
        self.chains.get(agreement).map_or((0, 0), |chain| (chain.uses, chain.volume))
    }

    /// Takes the consumer's acknowledgement of reads.
    pub fn acknowledge(&mut self, agreement: AgreementId, decisions: impl Iterator<Item = Digest>) {
        let chain = self.chain(agreement);
        for decision in decisions {
            chain.unacknowledged.remove(&decision);
        }
    }

    /// Reads that a crash left without an outcome, with the agreement that they are under; a
    /// statement over the log is under none.
    pub fn unfinished(&self) -> Vec<(Option<AgreementId>, Digest)> {
        let reads = |(agreement, chain): (&AgreementId, &Chain)| {
            chain.running.keys().map(|decision| (Some(*agreement), *decision)).collect::<Vec<_>>()
        };
        let log_queries = self.log_queries.iter().map(|decision| (None, *decision));
        let mut unfinished: Vec<_> = self.chains.iter().flat_map(reads).chain(log_queries).collect();
        unfinished.sort();
        unfinished
    }

    /// The outcome of a read that a crash left without one.
    pub fn unknown_outcome(&mut self, agreement: Option<AgreementId>, decision: Digest) -> Outcome {
        let mut outcome = Outcome {
            decision,
            status: OutcomeStatus::UnknownAfterCrash,
            reason: None,
            batches: 0,
            rows: 0,
            bytes: 0,
            messages: 0,
            stream_root: stream_root(&[0; 16], &[]),
            uses: 0,
            volume: None,
        };
        if let Some(agreement) = agreement {
            self.chain(agreement).settle(&mut outcome);
        }
        outcome
    }
}
