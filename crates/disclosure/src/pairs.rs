//! Pairs of small numbers, each with a number of its own.

use crate::gather::NOBODY;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hash for small keys of our own making: two rounds of multiply and shift.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        let mut mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 32;
        mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ (mixed >> 29);
    }
}

pub(crate) type Small<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Pairs of numbers and the number of each pair. A row costs no hashing where its right number came
/// last with the same left one: a meter's readings stay in their sector and month.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    numbers: Small<u64, u32>,
    pub(crate) pairs: Vec<(u32, u32)>,
    /// For each right number the left one that it came with last, and the number of the pair.
    recent: Vec<(u32, u32)>,
}

impl Pairs {
    /// The number of a pair, and whether it is new.
    #[inline]
    pub(crate) fn number(&mut self, left: u32, right: u32) -> (u32, bool) {
        match self.recent.get(right as usize) {
            Some((with, number)) if *with == left => (*number, false),
            _ => self.looked_up(left, right),
        }
    }

    fn looked_up(&mut self, left: u32, right: u32) -> (u32, bool) {
        let key = (u64::from(left) << 32) | u64::from(right);
        let next = u32::try_from(self.pairs.len()).unwrap_or(NOBODY);
        let number = *self.numbers.entry(key).or_insert(next);
        let new = number == next;
        if new {
            self.pairs.push((left, right));
        }
        let at = right as usize;
        if self.recent.len() <= at {
            self.recent.resize(at + 1, (NOBODY, NOBODY));
        }
        if let Some(recent) = self.recent.get_mut(at) {
            *recent = (left, number);
        }
        (number, new)
    }
}

/// Places of a [`Crossing`]'s table, at the most.
const PLACES_MAX: usize = 1 << 20;

/// Pairs of which there are few in most tables: they are found in a table of all that may occur, as
/// long as it is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crossing {
    pub(crate) pairs: Pairs,
    /// Number of each pair, in a row of `width` for each left number; [`NOBODY`] for none yet.
    table: Vec<u32>,
    width: usize,
}

impl Crossing {
    #[inline]
    pub(crate) fn number(&mut self, left: u32, right: u32) -> u32 {
        match self.place(left, right).and_then(|at| self.table.get(at)) {
            Some(number) if *number != NOBODY => *number,
            _ => self.looked_up(left, right),
        }
    }

    #[inline]
    fn place(&self, left: u32, right: u32) -> Option<usize> {
        let right = right as usize;
        (right < self.width).then_some((left as usize).wrapping_mul(self.width).wrapping_add(right))
    }

    fn looked_up(&mut self, left: u32, right: u32) -> u32 {
        let (number, new) = self.pairs.number(left, right);
        if new && self.place(left, right).is_none_or(|at| at >= self.table.len()) {
            self.grow(left, right);
        }
        if let Some(place) = self.place(left, right).and_then(|at| self.table.get_mut(at)) {
            *place = number;
        }
        number
    }

    /// Makes room for a pair, if it isn't too much.
    fn grow(&mut self, left: u32, right: u32) {
        let doubled = |at: u32, had: usize| (at as usize + 1).next_power_of_two().max(had);
        let width = doubled(right, self.width);
        let height = doubled(left, self.table.len().checked_div(self.width).unwrap_or(0));
        if width.saturating_mul(height) > PLACES_MAX {
            return;
        }
        self.width = width;
        self.table = vec![NOBODY; width * height];
        for ((left, right), number) in self.pairs.pairs.iter().zip(0u32..) {
            let at = (*left as usize) * width + *right as usize;
            if let Some(place) = self.table.get_mut(at) {
                *place = number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers that are the same each time.
    fn draws(seed: u64) -> impl FnMut(u64) -> u32 {
        let mut state = seed;
        move |bound| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % bound) as u32
        }
    }

    #[test]
    fn each_pair_has_one_number_in_the_order_in_which_they_come() {
        // The last of these is more than a table holds.
        for (lefts, rights, rows) in [(1, 300, 2_000), (50, 3, 2_000), (400, 17, 20_000), (5_000, 3_000, 20_000)] {
            let (mut draw, mut pairs, mut crossing) = (draws(lefts), Pairs::default(), Crossing::default());
            let mut known = BTreeMap::new();
            for _ in 0..rows {
                let pair = (draw(lefts), draw(rights));
                let next = known.len() as u32;
                let number = *known.entry(pair).or_insert(next);
                assert_eq!(pairs.number(pair.0, pair.1), (number, known.len() as u32 > next));
                assert_eq!(crossing.number(pair.0, pair.1), number, "{pair:?} of {lefts} and {rights}");
                assert!(crossing.table.len() <= PLACES_MAX);
            }
            let listed: Vec<(u32, u32)> = crossing.pairs.pairs.clone();
            assert_eq!(listed.len(), known.len());
            assert!(listed.iter().zip(0..).all(|(pair, number)| known[pair] == number));
        }
    }
}
