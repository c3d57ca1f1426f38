//! Durable appends of 1,024 writers, and the bytes of what they append.

use super::ground;
use super::size::{Size, WRITERS};
use crate::appends::{self, Writers};
use crate::figure::{Figure, Goal, Line, Rounds, Seen};
use crate::{conditions, failed};
use perron_log::LogReader;
use perron_model::Result;
use perron_model::entry::{AttachmentKind, Body, Entry};
use std::path::Path;

/// Entries that are read back for their sizes.
const SIZED_MAX: u64 = 20_000;

/// The appends, with the bytes that decisions bind and without; then what a decision's bytes are.
pub(super) async fn measure(directory: &Path, size: &Size) -> Result<Vec<Figure>> {
    let (ledger, _) = ground::ledger(directory, ground::state(directory)?)?;
    let publishing = tokio::spawn(appends::publish(ledger.clone()));
    let mut figures = Vec::new();
    for bound in [true, false] {
        let before = conditions::load();
        let load = Writers { writers: WRITERS, each: size.each, bound };
        let mut rounds = Rounds::default();
        // The first round warms up.
        for round in 0..=size.rounds {
            let taken = appends::round(directory, &ledger, load).await?;
            if round > 0 {
                rounds.0.push(taken);
            }
        }
        figures.push(figure(bound, &rounds, before));
    }
    publishing.abort();
    figures.push(bytes(ledger.reader())?);
    ledger.close().await?;
    Ok(figures)
}

fn figure(bound: bool, rounds: &Rounds, before: f64) -> Figure {
    let (name, what) = if bound {
        ("log-appends", "durable appends of 1,024 writers, with what decisions bind, flushes beside them")
    } else {
        ("log-appends-bare", "the same entries without the bytes that they bind")
    };
    let mut lines = rounds.latencies();
    let p99 = rounds.seen(|r| r.p99() / r.flush_p99());
    lines.push(Line::new("p99 / flush p99", "ratio", p99, Some(Goal::AtMost(3.0))));
    lines.push(Line::new("entries", "1/s", rounds.seen(|r| r.rate), Some(Goal::AtLeast(50_000.0))));
    Figure { name, what, lines, samples: rounds.samples(), load: [before, conditions::load()] }
}

/// What of a decision is in the tree, and what lies beside it.
fn bytes(reader: &LogReader) -> Result<Figure> {
    let load = [conditions::load(); 2];
    let (mut leaves, mut requests, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
    let mut newest = None;
    let take = &mut |stored: perron_log::Stored| {
        let Some(stored) = stored.entry() else { return false };
        leaves.push(stored.leaf.len() as f64);
        for attachment in &stored.attachments {
            match AttachmentKind::from_u16(attachment.kind) {
                Some(AttachmentKind::Request) => requests.push(attachment.bytes.len() as f64),
                Some(AttachmentKind::EvaluationInput) => inputs.push(attachment.bytes.len() as f64),
                _ => {}
            }
        }
        newest = Some(stored.leaf);
        true
    };
    reader.for_entries(0, reader.size().min(SIZED_MAX), take).map_err(failed)?;
    let leaf = newest.ok_or_else(|| failed("no entry was appended"))?;
    let line = |name, seen, goal| Line::new(name, "bytes", seen, goal);
    let lines = vec![
        line("decision in the tree", Seen::median(&leaves), Some(Goal::AtMost(450.0))),
        line("one with all it may tell", Seen::median(&[fullest(&leaf)?]), None),
        line("its signed request, beside", Seen::median(&requests), None),
        line("its evaluation's input, beside", Seen::median(&inputs), None),
    ];
    let what = "a permitted decision: its leaf, and what is bound by it outside of the tree";
    Ok(Figure { name: "log-leaf", what, lines, samples: leaves.len(), load })
}

/// Bytes of a decision with every field that a permitted read can have.
fn fullest(leaf: &[u8]) -> Result<f64> {
    let mut entry = Entry::from_bytes(leaf)?;
    if let Body::Decision(decision) = &mut entry.body {
        decision.reserved = Some(u64::from(u32::MAX));
        decision.volume = Some(u64::MAX >> 16);
        decision.uses = u64::from(u16::MAX);
        decision.register = u64::from(u16::MAX);
    }
    entry.index = u64::from(u32::MAX);
    entry.trace = Some(vec![0; 16].into());
    Ok(entry.to_bytes()?.len() as f64)
}
