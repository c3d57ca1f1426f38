//! The log beside Tessera's POSIX log: the same leaves, the same disk, as many writers, turn by turn,
//! each in a new directory. The ledger, which makes the leaves, is told apart: it does more for an
//! entry, for it also follows its chain and takes it into the state.

use super::ground;
use super::size::{Size, WRITERS};
use crate::appends::{self, Writers};
use crate::figure::{Figure, Goal, Line, Round, Seen};
use crate::{conditions, failed};
use perron_model::Result;
use serde::Deserialize;
use serde_json::Value as Json;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// What the program of `tools/tessera` tells of a run, times in microseconds.
#[derive(Debug, Deserialize)]
struct Theirs {
    /// Its version, and how it is set.
    configuration: Json,
    entries: u64,
    /// Entries a second, from the first that was added until the last was durable and integrated.
    rate: f64,
    /// From adding an entry until its place was returned: durable and integrated.
    add_p50: f64,
    add_p99: f64,
    /// From adding an entry until a published checkpoint covered it.
    checkpoint_p50: f64,
    checkpoint_p99: f64,
}

/// How Tessera is set in turn while all warm up: entries and age of a batch at most. It is measured
/// as it was fastest.
const SETTINGS: [[&str; 2]; 4] = [["256", "10ms"], ["512", "10ms"], ["1024", "10ms"], ["1024", "50ms"]];

/// A round of the ledger, of the log alone, and of Tessera.
struct Turn {
    ledger: Round,
    log: Round,
    /// Entries of the log alone, acknowledged and published, a second.
    published: f64,
    tessera: Theirs,
}

/// The figure, and Tessera's configuration.
pub(super) async fn measure(program: &Path, directory: &Path, size: &Size) -> Result<(Figure, Json)> {
    let before = conditions::load();
    let mut turns = Vec::new();
    // The first round warms up.
    let warm = turn(program, &directory.join("warm"), &SETTINGS, size).await?;
    let fastest = [warm.tessera.batch()];
    for round in 0..size.rounds {
        let settings = fastest.each_ref().map(|s| s.each_ref().map(String::as_str));
        turns.push(turn(program, &directory.join(round.to_string()), &settings, size).await?);
    }
    let figure = figure(&turns, [before, conditions::load()]);
    Ok((figure, warm.tessera.configuration))
}

fn figure(turns: &[Turn], load: [f64; 2]) -> Figure {
    let of = |number: fn(&Turn) -> f64| Seen::median(&turns.iter().map(number).collect::<Vec<_>>());
    let ratio = |name, number: fn(&Turn) -> f64, goal| Line::new(name, "ratio", of(number), goal);
    let rate = |name, number: fn(&Turn) -> f64| Line::new(name, "1/s", of(number), None);
    let time = |name, number: fn(&Turn) -> f64| Line::new(name, "µs", of(number), None);
    let (rates, times) = (Some(Goal::AtLeast(3.0)), Some(Goal::AtMost(0.1)));
    let lines = vec![
        ratio("entries, log / Tessera", |t| t.published / t.tessera.rate, rates),
        ratio("to checkpoint p50, log / its", |t| t.log.p50() / t.tessera.checkpoint_p50, times),
        ratio("to checkpoint p99, log / its", |t| t.log.p99() / t.tessera.checkpoint_p99, None),
        ratio("entries, ledger / Tessera", |t| t.ledger.rate / t.tessera.rate, None),
        ratio("to checkpoint, ledger / its", |t| t.ledger.p50() / t.tessera.checkpoint_p50, None),
        ratio("to durable p50, log / its", |t| t.log.p50() / t.tessera.add_p50, None),
        rate("log: entries, published", |t| t.published),
        rate("log: entries, acknowledged", |t| t.log.rate),
        time("log: p50", |t| t.log.p50()),
        time("log: p99", |t| t.log.p99()),
        time("log: flush p50", |t| t.log.flush_p50()),
        time("log: flush p99", |t| t.log.flush_p99()),
        rate("ledger: entries", |t| t.ledger.rate),
        time("ledger: p50", |t| t.ledger.p50()),
        time("ledger: p99", |t| t.ledger.p99()),
        rate("Tessera: entries", |t| t.tessera.rate),
        time("Tessera: to durable, p50", |t| t.tessera.add_p50),
        time("Tessera: to durable, p99", |t| t.tessera.add_p99),
        time("Tessera: to checkpoint, p50", |t| t.tessera.checkpoint_p50),
        time("Tessera: to checkpoint, p99", |t| t.tessera.checkpoint_p99),
    ];
    let samples = turns.iter().map(|t| t.ledger.work.len() + t.log.work.len()).sum();
    let what = "durable appends of 1,024 writers beside Tessera's POSIX log, the same leaves, turn by turn";
    Figure { name: "log-tessera", what, lines, samples, load }
}

/// All three, one after the other, each in a new directory. An entry of ours is acknowledged with
/// its signed checkpoint durable, so that both times are one.
async fn turn(program: &Path, directory: &Path, settings: &[[&str; 2]], size: &Size) -> Result<Turn> {
    let (ledger, leaves) = by_ledger(&directory.join("ledger"), size).await?;
    let file = directory.join("leaves");
    write_leaves(&leaves, &file).map_err(failed)?;
    let entries = leaves.len() as u64;
    let (log, published) = super::grouped::round(&directory.join("log"), leaves).await?;
    let mut best: Option<Theirs> = None;
    for (at, setting) in settings.iter().enumerate() {
        let theirs = there(program, &directory.join(format!("tessera-{at}")), &file, setting)?;
        if theirs.entries != entries {
            return Err(failed(format!("Tessera covered {} of {entries} entries", theirs.entries)));
        }
        if best.as_ref().is_none_or(|b| theirs.rate > b.rate) {
            best = Some(theirs);
        }
    }
    std::fs::remove_dir_all(directory).map_err(failed)?;
    Ok(Turn { ledger, log, published, tessera: best.ok_or_else(|| failed("Tessera has no settings"))? })
}

/// A round of the ledger, and the leaves that it made.
async fn by_ledger(directory: &Path, size: &Size) -> Result<(Round, Vec<Vec<u8>>)> {
    let (ledger, _) = ground::ledger(directory, ground::state(directory)?)?;
    let publishing = tokio::spawn(appends::publish(ledger.clone()));
    let load = Writers { writers: WRITERS, each: size.each_beside, bound: false };
    let round = appends::round(directory, &ledger, load).await?;
    publishing.abort();
    ledger.close().await?;
    let mut leaves = Vec::new();
    let take = &mut |stored: perron_log::Stored| {
        leaves.extend(stored.entry().map(|stored| stored.leaf));
        true
    };
    ledger.reader().for_entries(0, ledger.reader().size(), take).map_err(failed)?;
    Ok((round, leaves))
}

/// Leaves as in an entry bundle: two bytes of length, then the leaf.
fn write_leaves(leaves: &[Vec<u8>], file: &Path) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for leaf in leaves {
        out.write_all(&u16::try_from(leaf.len()).unwrap_or(u16::MAX).to_be_bytes())?;
        out.write_all(leaf)?;
    }
    out.flush()
}

impl Theirs {
    /// Entries and age of a batch, as it was set.
    fn batch(&self) -> [String; 2] {
        ["batch_max_size", "batch_max_age"].map(|name| match self.configuration.get(name) {
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        })
    }
}

fn there(program: &Path, directory: &Path, leaves: &Path, [entries, age]: &[&str; 2]) -> Result<Theirs> {
    let out = Command::new(program)
        .arg("-dir")
        .arg(directory)
        .arg("-leaves")
        .arg(leaves)
        .args(["-writers", &WRITERS.to_string(), "-batch", entries, "-age", age])
        .output()
        .map_err(|e| failed(format!("`{}`: {e}", program.display())))?;
    if !out.status.success() {
        return Err(failed(format!("Tessera: {}", String::from_utf8_lossy(&out.stderr))));
    }
    serde_json::from_slice(&out.stdout).map_err(failed)
}
