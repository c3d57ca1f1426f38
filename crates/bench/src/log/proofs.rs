//! Inclusion proofs out of a large log.

use super::ground::{self, Dice};
use super::size::Size;
use crate::figure::{Figure, Goal, Line, Seen, quantile};
use crate::{conditions, failed, micros};
use perron_log::LogReader;
use perron_log::merkle::verify_inclusion;
use perron_model::Result;
use std::path::Path;
use std::time::Instant;

/// From which the leaves are drawn.
const SEED: u64 = 20_261_130;

/// The figure, over a log that was filled.
pub(super) fn measure(directory: &Path, size: &Size) -> Result<Figure> {
    let before = conditions::load();
    let begun = Instant::now();
    let log = ground::log(directory)?;
    let opened = begun.elapsed().as_secs_f64();
    let reader = log.reader();
    let mut dice = Dice::of(SEED);
    let leaves: Vec<u64> = (0..size.proofs).map(|_| dice.below(reader.size())).collect();
    let fresh = prove(&reader, &leaves)?;
    let mut rounds = Vec::new();
    for _ in 0..size.rounds {
        rounds.push(prove(&reader, &leaves)?);
    }
    let warm = |share| Seen::median(&rounds.iter().map(|r| quantile(r, share)).collect::<Vec<_>>());
    let first = |share| Seen::median(&[quantile(&fresh, share)]);
    let lines = vec![
        Line::new("p50", "µs", warm(0.5), None),
        Line::new("p99", "µs", warm(0.99), Some(Goal::AtMost(1_000.0))),
        Line::new("after an opening: p50", "µs", first(0.5), None),
        Line::new("after an opening: p99", "µs", first(0.99), None),
        Line::new("the log's opening", "s", Seen::median(&[opened]), None),
        Line::new("entries of the log", "1", Seen::median(&[reader.size() as f64]), None),
    ];
    let samples = fresh.len() + rounds.iter().map(Vec::len).sum::<usize>();
    let what = "the inclusion proof of any leaf of a large log; each is verified";
    Ok(Figure { name: "log-proofs", what, lines, samples, load: [before, conditions::load()] })
}

/// What each proof takes; verifying it isn't timed.
fn prove(reader: &LogReader, leaves: &[u64]) -> Result<Vec<f64>> {
    let (size, root) = (reader.size(), reader.root());
    let mut taken = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let begun = Instant::now();
        let proof = reader.inclusion_proof(*leaf, size).map_err(failed)?;
        taken.push(micros(begun));
        let hash = reader.leaf_hash(*leaf).map_err(failed)?;
        verify_inclusion(*leaf, size, &hash, &proof, &root).map_err(failed)?;
    }
    Ok(taken)
}
