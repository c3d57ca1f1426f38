//! Refusals within a rate, and summaries of the rest: nobody makes the log grow at will.

use crate::ledger::rates::Rates;
use perron_log::merkle::{Frontier, Hash, leaf_hash};
use perron_model::entry::{Body, RefusalSummary};
use perron_model::limits::{REFUSALS_BURST, REFUSALS_PER_SECOND};
use perron_model::{Digest, ErrorCode, ParticipantId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const MINUTE_MS: i64 = 60_000;

struct Summary {
    count: u64,
    frontier: Frontier,
}

/// Rates and summaries of refusals.
pub struct Refusals {
    rates: Rates,
    summaries: Mutex<BTreeMap<(i64, String, &'static str), Summary>>,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { rates: Rates::new(REFUSALS_BURST, REFUSALS_PER_SECOND), summaries: Mutex::default() }
    }
}

impl Refusals {
    /// May one more refusal of this peer and user be an entry of its own? (token bucket)
    pub fn rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool {
        self.rates.take(&format!("{peer}\n{user}"), now)
    }

    /// Counts a refusal into the summary of its peer, reason and minute.
    pub fn summarise(&self, peer: &str, reason: ErrorCode, refused: Digest, now: Timestamp) {
        let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (now.millis() / MINUTE_MS, peer.to_owned(), reason.as_str());
        let summary = summaries.entry(key).or_insert_with(|| Summary { count: 0, frontier: Frontier::new() });
        summary.count = summary.count.saturating_add(1);
        summary.frontier.append(leaf_hash(refused.as_bytes()));
    }

    /// The summaries of minutes that are over (or of all, at stop), as entries to write.
    pub fn due(&self, now: Timestamp, all: bool) -> Vec<Body> {
        let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.millis() / MINUTE_MS;
        let keys: Vec<_> = summaries.keys().filter(|(m, _, _)| all || *m < minute).cloned().collect();
        keys.into_iter()
            .filter_map(|key| {
                let summary = summaries.remove(&key)?;
                let (minute, peer, reason) = key;
                let Hash(root) = summary.frontier.root();
                Some(Body::RefusalSummary(RefusalSummary {
                    peer,
                    reason: reason.to_owned(),
                    minute: u64::try_from(minute).unwrap_or(0),
                    count: summary.count,
                    root: Digest::from_bytes(root),
                }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_burst_the_rate_holds_and_the_rest_is_one_summary_a_minute() {
        let refusals = Refusals::default();
        let peer = ParticipantId::parse("p").unwrap();
        let now = Timestamp::from_millis(120_000).unwrap();
        let singles = (0..1000).filter(|_| refusals.rate_ok(&peer, "u", now)).count();
        assert_eq!(singles, 200);
        let later = now.plus_millis(1000);
        assert_eq!((0..1000).filter(|_| refusals.rate_ok(&peer, "u", later)).count(), 50);
        for n in 0..800u32 {
            refusals.summarise("p", ErrorCode::Malformed, Digest::of(&n.to_be_bytes()), now);
        }
        assert!(refusals.due(now, false).is_empty());
        let due = refusals.due(now.plus_millis(60_000), false);
        assert_eq!(due.len(), 1);
        assert!(matches!(&due[0], Body::RefusalSummary(s) if s.count == 800 && s.reason == "malformed"));
        assert!(refusals.due(now.plus_millis(60_000), true).is_empty());
    }
}
