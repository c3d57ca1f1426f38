//! Uses of the last hour, counted by second: a use counts for an hour and at most a second more,
//! so within no hour there are more than a policy gives.

use perron_model::Timestamp;
use perron_model::limits::RATE_WINDOW_MS;
use std::collections::VecDeque;

/// Uses by the second in which they were charged, the oldest first, and how many they are in all:
/// each decision asks, so none adds up an hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    seconds: VecDeque<(i64, u64)>,
    total: u64,
}

impl Recent {
    /// Counts a use. One of a clock that went back counts as if it were of the newest second.
    pub(super) fn charge(&mut self, at: Timestamp) {
        self.charge_many(at, 1);
    }

    /// Counts so many uses at once.
    pub(super) fn charge_many(&mut self, at: Timestamp, uses: u64) {
        let second = at.millis().div_euclid(1_000);
        while let Some((oldest, count)) = self.seconds.front()
            && is_over(*oldest, at)
        {
            self.total = self.total.saturating_sub(*count);
            self.seconds.pop_front();
        }
        self.total = self.total.saturating_add(uses);
        match self.seconds.back_mut() {
            Some((newest, count)) if *newest >= second => *count = count.saturating_add(uses),
            _ if uses > 0 => self.seconds.push_back((second, uses)),
            _ => {}
        }
    }

    /// Gives a use back: the oldest, so that what remains counts for longer rather than shorter.
    pub(super) fn give_back(&mut self) {
        if let Some((_, count)) = self.seconds.front_mut() {
            self.total = self.total.saturating_sub(1);
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.seconds.pop_front();
            }
        }
    }

    /// Uses in the hour before `now`.
    pub(super) fn count(&self, now: Timestamp) -> u64 {
        let over = self.seconds.iter().take_while(|(second, _)| is_over(*second, now));
        self.total.saturating_sub(over.map(|(_, count)| count).sum())
    }
}

/// Is all of this second more than an hour before `now`?
fn is_over(second: i64, now: Timestamp) -> bool {
    second.saturating_add(1).saturating_mul(1_000).saturating_add(RATE_WINDOW_MS) <= now.millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_use_counts_for_an_hour_and_less_than_a_second_more() {
        let mut recent = Recent::default();
        recent.charge(at(10_500));
        recent.charge(at(10_900));
        recent.charge(at(12_000));
        assert_eq!(recent.count(at(12_000)), 3);
        // An hour after 10,500 the use of 10,900 still counts, and so does that of its second.
        assert_eq!(recent.count(at(3_600_000 + 10_999)), 3);
        assert_eq!(recent.count(at(3_600_000 + 11_000)), 1);
        assert_eq!(recent.count(at(3_600_000 + 13_000)), 0);
    }

    #[test]
    fn what_is_over_is_dropped_and_a_clock_that_goes_back_loses_nothing() {
        let mut recent = Recent::default();
        for millis in [0, 5_000, 4_000, 3_700_000] {
            recent.charge(at(millis));
        }
        assert_eq!(recent.seconds, [(3_700, 1)]);
        recent.charge(at(3_600_000));
        assert_eq!(recent.count(at(3_700_000)), 2);
        recent.give_back();
        recent.give_back();
        recent.give_back();
        assert_eq!(recent.count(at(3_700_000)), 0);
    }
}
