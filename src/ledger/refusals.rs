//! Refusals within a rate, and summaries of the rest: nobody makes the log grow at will.

use perron_log::merkle::{Frontier, Hash, leaf_hash};
use perron_model::entry::{Body, RefusalSummary};
use perron_model::limits::{REFUSALS_BURST, REFUSALS_PER_SECOND};
use perron_model::{Digest, ErrorCode, ParticipantId, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Most peers and users whose rate is followed at a time; past it all share one.
const RATES_MAX: usize = 4096;
const MINUTE_MS: i64 = 60_000;

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

struct Summary {
    count: u64,
    frontier: Frontier,
}

/// Rates and summaries of refusals.
#[derive(Default)]
pub struct Refusals {
    rates: Mutex<HashMap<(String, String), Bucket>>,
    summaries: Mutex<BTreeMap<(i64, String, &'static str), Summary>>,
}

impl Refusals {
    /// May one more refusal of this peer and user be an entry of its own? (token bucket)
    pub fn rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (peer.to_string(), user.to_owned());
        if rates.len() >= RATES_MAX && !rates.contains_key(&key) {
            key = (String::new(), String::new());
        }
        let bucket = rates.entry(key).or_insert(Bucket { tokens: f64::from(REFUSALS_BURST), at: now });
        let elapsed_ms = now.millis().saturating_sub(bucket.at.millis()).clamp(0, MINUTE_MS);
        let gained = f64::from(i32::try_from(elapsed_ms).unwrap_or(i32::MAX)) / 1000.0 * f64::from(REFUSALS_PER_SECOND);
        bucket.tokens = (bucket.tokens + gained).min(f64::from(REFUSALS_BURST));
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
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
