//! Counters and chain positions of agreements: totals that the log's entries carry.

use perron_model::decision::StateFacts;
use perron_model::entry::{Body, ChainPosition, Entry, OutcomeStatus};
use perron_model::request::Acknowledgement;
use perron_model::{AgreementId, Digest, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is known of one agreement's chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Number of the next entry.
    pub next: u64,
    /// Leaf hash of the newest entry.
    pub last: Option<Digest>,
    /// Uses charged.
    pub uses: u64,
    /// Permitted reads that the consumer hasn't acknowledged, by decision, with their time.
    pub unacknowledged: BTreeMap<Digest, Timestamp>,
    /// Permitted reads without an outcome.
    pub running: BTreeMap<Digest, Timestamp>,
}

/// The chains of all agreements.
#[derive(Debug, Default)]
pub struct Chains(HashMap<AgreementId, Chain>);

impl Chains {
    /// The chain of an agreement, from its beginning where there is none.
    pub fn chain(&mut self, agreement: AgreementId) -> &mut Chain {
        self.0.entry(agreement).or_default()
    }

    /// Counters as a policy sees them, for a request that brings these acknowledgements.
    pub fn state(&self, agreement: &AgreementId, now: Timestamp, brought: &[Acknowledgement]) -> StateFacts {
        let Some(chain) = self.0.get(agreement) else {
            return StateFacts::default();
        };
        let brought: HashSet<&Digest> = brought.iter().map(|a| &a.decision).collect();
        let open = || chain.unacknowledged.iter().filter(|(decision, _)| !brought.contains(decision));
        let oldest = open().map(|(_, time)| time).min();
        StateFacts {
            uses: chain.uses,
            unacknowledged: u64::try_from(open().count()).unwrap_or(u64::MAX),
            unacknowledged_ms: oldest.map_or(0, |t| now.millis().saturating_sub(t.millis()).max(0)),
            ..StateFacts::default()
        }
    }

    /// The next position of a chain, for an entry that is about to be written. It is taken once
    /// the entry is durable (`follow`).
    pub fn position(&self, agreement: AgreementId) -> ChainPosition {
        let (number, previous) = self.0.get(&agreement).map_or((0, None), |c| (c.next, c.last));
        ChainPosition { agreement, number, previous }
    }

    /// Follows an entry of the log: its place in its chain. While the log is read at start the
    /// totals that entries carry are taken too; later they were set when the entry was enqueued,
    /// and an older entry that becomes durable must not set them back.
    pub fn follow(&mut self, entry: &Entry, leaf: Digest, at_start: bool) {
        let Some(position) = &entry.chain else { return };
        let chain = self.chain(position.agreement);
        chain.next = position.number.saturating_add(1);
        chain.last = Some(leaf);
        match &entry.body {
            // What an amended agreement was charged counts on.
            Body::Agreement(agreement) => chain.uses = agreement.uses.unwrap_or(0),
            Body::Decision(decision) => {
                if at_start {
                    chain.uses = decision.uses;
                }
                if decision.permitted {
                    chain.running.insert(leaf, entry.time);
                    chain.unacknowledged.insert(leaf, entry.time);
                }
            }
            Body::Outcome(outcome) => {
                if at_start {
                    chain.uses = outcome.uses;
                }
                chain.running.remove(&outcome.decision);
                if matches!(outcome.status, OutcomeStatus::NothingLeft | OutcomeStatus::UnknownAfterCrash) {
                    chain.unacknowledged.remove(&outcome.decision);
                }
            }
            _ => {}
        }
    }

    /// Takes the consumer's acknowledgement of reads.
    pub fn acknowledge(&mut self, agreement: AgreementId, decisions: impl Iterator<Item = Digest>) {
        let chain = self.chain(agreement);
        for decision in decisions {
            chain.unacknowledged.remove(&decision);
        }
    }

    /// Reads that a crash left without an outcome.
    pub fn unfinished(&self) -> Vec<(AgreementId, Digest)> {
        self.0.iter().flat_map(|(agreement, chain)| chain.running.keys().map(|d| (*agreement, *d))).collect()
    }
}
