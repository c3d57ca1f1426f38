//! Samples, their quantiles, and figures with their goals.

use serde::Serialize;
use serde_json::{Value as Json, json};

/// One round of a figure.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What each piece of work took, in microseconds.
    pub work: Vec<f64>,
    /// What each flush between or beside them took, in microseconds.
    pub flush: Vec<f64>,
    /// Pieces of work a second, or another rate; 0 where none is told.
    pub rate: f64,
}

/// The rounds of a figure.
#[derive(Clone, Debug, Default)]
pub struct Rounds(pub Vec<Round>);

/// A goal of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Goal::AtMost(bound) => value <= bound,
            Goal::AtLeast(bound) => value >= bound,
        }
    }

    fn words(self) -> String {
        match self {
            Goal::AtMost(bound) => format!("≤ {bound}"),
            Goal::AtLeast(bound) => format!("≥ {bound}"),
        }
    }
}

/// A number that was measured: the median of the rounds, and the least and the most of one.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub value: f64,
    pub least: f64,
    pub most: f64,
}

/// One line of a figure.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: &'static str,
    pub unit: &'static str,
    pub seen: Seen,
    pub goal: Option<Goal>,
}

/// A figure: its lines, and under which load of the machine it was taken.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub what: &'static str,
    pub lines: Vec<Line>,
    pub samples: usize,
    /// Load average of the last minute, when it began and when it was done.
    pub load: [f64; 2],
}

/// The value below which a share of the samples lies; not a number without samples.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    // As many as the share says, rounded up: of few samples p99 is the largest.
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1).min(last)).copied().unwrap_or(f64::NAN)
}

impl Round {
    pub fn p50(&self) -> f64 {
        quantile(&self.work, 0.5)
    }
    pub fn p99(&self) -> f64 {
        quantile(&self.work, 0.99)
    }
    pub fn flush_p50(&self) -> f64 {
        quantile(&self.flush, 0.5)
    }
    pub fn flush_p99(&self) -> f64 {
        quantile(&self.flush, 0.99)
    }
}

impl Rounds {
    /// A number of each round: their median and their spread. Rounds aren't thrown together: a
    /// machine that is busy in one of them would make a ratio that none of them had.
    pub fn seen(&self, number: impl Fn(&Round) -> f64) -> Seen {
        Seen::median(&self.0.iter().map(number).collect::<Vec<_>>())
    }

    /// Pieces of work that were timed.
    pub fn samples(&self) -> usize {
        self.0.iter().map(|r| r.work.len()).sum()
    }

    /// p50 and p99 of the work and of the flushes.
    pub fn latencies(&self) -> Vec<Line> {
        let line = |name, seen| Line { name, unit: "µs", seen, goal: None };
        vec![
            line("p50", self.seen(Round::p50)),
            line("p99", self.seen(Round::p99)),
            line("flush p50", self.seen(Round::flush_p50)),
            line("flush p99", self.seen(Round::flush_p99)),
        ]
    }
}

impl Seen {
    /// The median of some numbers, and their spread.
    pub fn median(numbers: &[f64]) -> Seen {
        let (least, most) = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(*v), m.max(*v)));
        Seen { value: quantile(numbers, 0.5), least, most }
    }
}

impl Line {
    pub fn new(name: &'static str, unit: &'static str, seen: Seen, goal: Option<Goal>) -> Line {
        Line { name, unit, seen, goal }
    }

    fn met(&self) -> Option<bool> {
        self.goal.map(|g| g.met(self.seen.value))
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Seen { value, least, most } = self.seen;
        json!({
            "name": self.name, "unit": self.unit, "value": value, "least": least, "most": most,
            "goal": self.goal.map(Goal::words), "met": self.met(),
        })
        .serialize(serializer)
    }
}

impl Figure {
    /// For machines.
    pub fn json(&self) -> Json {
        json!({"figure": self.name, "what": self.what, "samples": self.samples, "load": self.load, "lines": self.lines})
    }

    /// For people.
    pub fn print(&self) {
        let [before, after] = self.load;
        println!("\n{}: {} (n = {}, load {before:.1} → {after:.1})", self.name, self.what, self.samples);
        for line in &self.lines {
            let Seen { value, least, most } = line.seen;
            let judged = match (line.goal, line.met()) {
                (Some(goal), Some(true)) => format!("  goal {}: met", goal.words()),
                (Some(goal), _) => format!("  goal {}: not met", goal.words()),
                (None, _) => String::new(),
            };
            println!(
                "  {:<28} {:>12} {:<6} [{} … {}]{judged}",
                line.name,
                short(value),
                line.unit,
                short(least),
                short(most)
            );
        }
    }
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&samples, 0.5), quantile(&samples, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&[3.0], 0.5), quantile(&[3.0, 4.0], 0.99)), (3.0, 4.0));
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn goals_are_judged_and_spread_is_over_rounds() {
        let round = |work: &[f64]| Round { work: work.to_vec(), flush: vec![1.0], rate: 2.0 };
        let rounds = Rounds(vec![round(&[1.0, 1.0, 1.0]), round(&[5.0])]);
        let seen = rounds.seen(Round::p50);
        assert_eq!((seen.value, seen.least, seen.most), (1.0, 1.0, 5.0));
        assert_eq!(Seen::median(&[3.0, 1.0, 2.0]).value, 2.0);
        assert_eq!(rounds.seen(|r| r.rate).value, 2.0);
        let line = |goal| Line::new("x", "µs", seen, goal).met();
        assert_eq!(line(Some(Goal::AtMost(1.0))), Some(true));
        assert_eq!(line(Some(Goal::AtLeast(1.5))), Some(false));
        assert_eq!(line(None), None);
    }
}
