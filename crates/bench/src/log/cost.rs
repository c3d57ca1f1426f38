//! What an append costs in a small log and in a large one, turn by turn.

use super::ground::{self, Level};
use super::size::{Size, WRITERS};
use crate::appends::{self, Writers};
use crate::conditions;
use crate::figure::{Figure, Goal, Line, Rounds, Seen};
use perron::ledger::Ledger;
use perron_model::Result;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The cost may differ by so much: rounds of one and the same log differ by as much.
const SAME_COST: f64 = 1.1;

/// A ledger over a log that was filled, and the seconds until it was open. Its state counts the
/// entries as taken up, as after an ordinary start.
fn open(directory: &Path, seen: u64) -> Result<(Ledger, f64)> {
    let level = Arc::new(Level { state: ground::state(directory)?, seen });
    let begun = Instant::now();
    let (ledger, _) = ground::ledger(directory, level)?;
    Ok((ledger, begun.elapsed().as_secs_f64()))
}

/// The figure, over two logs that were filled.
pub(super) async fn measure(few: &Path, many: &Path, size: &Size) -> Result<Figure> {
    let before = conditions::load();
    let (small, small_s) = open(few, size.few)?;
    let (large, large_s) = open(many, size.many)?;
    let publishing = [&small, &large].map(|ledger| tokio::spawn(appends::publish(ledger.clone())));
    let load = Writers { writers: WRITERS, each: size.each_compared, bound: true };
    let (mut of_small, mut of_large) = (Rounds::default(), Rounds::default());
    // The first round warms up.
    for round in 0..=size.rounds {
        let one = appends::round(few, &small, load).await?;
        let other = appends::round(many, &large, load).await?;
        if round > 0 {
            of_small.0.push(one);
            of_large.0.push(other);
        }
    }
    publishing.iter().for_each(tokio::task::JoinHandle::abort);
    small.close().await?;
    large.close().await?;
    let pairs = || of_large.0.iter().zip(&of_small.0);
    let p50: Vec<f64> = pairs().map(|(l, s)| l.p50() / s.p50()).collect();
    let p99: Vec<f64> = pairs().map(|(l, s)| l.p99() / s.p99()).collect();
    let lines = vec![
        Line::new("p50, large / small", "ratio", Seen::median(&p50), Some(Goal::AtMost(SAME_COST))),
        Line::new("p99, large / small", "ratio", Seen::median(&p99), None),
        Line::new("small: p50", "µs", of_small.seen(|r| r.p50()), None),
        Line::new("large: p50", "µs", of_large.seen(|r| r.p50()), None),
        Line::new("small: entries", "1/s", of_small.seen(|r| r.rate), None),
        Line::new("large: entries", "1/s", of_large.seen(|r| r.rate), None),
        Line::new("small: flush p99", "µs", of_small.seen(|r| r.flush_p99()), None),
        Line::new("large: flush p99", "µs", of_large.seen(|r| r.flush_p99()), None),
        Line::new("small: the ledger's opening", "s", Seen::median(&[small_s]), None),
        Line::new("large: the ledger's opening", "s", Seen::median(&[large_s]), None),
    ];
    let samples = of_small.samples() + of_large.samples();
    let what = "durable appends of 1,024 writers to a log of few entries and to one of many, turn by turn";
    Ok(Figure { name: "log-growth", what, lines, samples, load: [before, conditions::load()] })
}
