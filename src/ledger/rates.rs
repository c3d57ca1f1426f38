//! Token buckets: how often somebody may make the log grow.

use perron_model::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most keys that are followed at a time; past it all new ones share one bucket.
const RATES_MAX: usize = 4096;
const HOUR_MS: i64 = 3_600_000;

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// One bucket for each key: `burst` at once, then so many a second.
pub struct Rates {
    burst: u32,
    per_second: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    /// Full buckets.
    pub fn new(burst: u32, per_second: u32) -> Rates {
        Rates { burst, per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Full buckets of what is taken in an hour.
    pub fn by_the_hour(per_hour: u32) -> Rates {
        Rates { burst: per_hour, per_second: f64::from(per_hour) / 3_600.0, buckets: Mutex::default() }
    }

    /// Takes a token of a key; false where there is none.
    pub fn take(&self, key: &str, now: Timestamp) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if buckets.len() >= RATES_MAX && !buckets.contains_key(key) { "" } else { key };
        let full = f64::from(self.burst);
        let bucket = buckets.entry(key.to_owned()).or_insert(Bucket { tokens: full, at: now });
        let elapsed_ms = now.millis().saturating_sub(bucket.at.millis()).clamp(0, HOUR_MS);
        let gained = f64::from(i32::try_from(elapsed_ms).unwrap_or(i32::MAX)) / 1000.0 * self.per_second;
        bucket.tokens = (bucket.tokens + gained).min(full);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_an_hour() {
        let rates = Rates::by_the_hour(60);
        let at = |ms: i64| Timestamp::from_millis(1_000_000 + ms).unwrap();
        let taken = |ms: i64| (0..100).filter(|_| rates.take("a", at(ms))).count();
        assert_eq!((taken(0), taken(59_000), taken(121_000)), (60, 0, 2));
        assert_eq!(taken(121_000 + 2 * HOUR_MS), 60);
    }

    #[test]
    fn a_burst_then_the_rate_and_each_key_for_itself() {
        let rates = Rates::new(3, 2);
        let at = |ms: i64| Timestamp::from_millis(1_000_000 + ms).unwrap();
        let taken = |key: &str, ms: i64, tries: usize| (0..tries).filter(|_| rates.take(key, at(ms))).count();
        assert_eq!(taken("a", 0, 10), 3);
        assert_eq!(taken("b", 0, 10), 3);
        assert_eq!(taken("a", 500, 10), 1);
        assert_eq!(taken("a", 400, 10), 0, "a clock that goes back gives nothing");
        assert_eq!(taken("a", 60_000, 10), 3);
        for number in 0..2 * RATES_MAX {
            rates.take(&number.to_string(), at(60_000));
        }
        assert!(rates.buckets.lock().unwrap().len() <= RATES_MAX + 1);
        assert_eq!(taken("new", 60_000, 10), 0, "whoever comes past the bound shares one bucket");
    }
}
