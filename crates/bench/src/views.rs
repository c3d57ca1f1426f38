//! The row view against the same filter written by hand: DataFusion over the same Parquet parts,
//! with the same number of threads, in the same process, turn by turn.
//!
//! A user's own condition isn't evaluated on hidden rows, so it doesn't reach the parts: what a
//! barrier costs where pruning by it would have helped is told apart.

use crate::figure::{Figure, Goal, Line, Seen};
use crate::open::Open;
use crate::size::Size;
use crate::space::{DESCRIBED, format, policy_of, write_readings};
use crate::{conditions, failed, micros};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use perron::ledger::SystemClock;
use perron::query::{QueryEngine, QuerySettings, Releases};
use perron::source::{Sets, SourceFile, SourceFormat};
use perron_gate::Clock as _;
use perron_model::Result;
use perron_model::dataset::Dataset;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What the policy gives, as the user asks for it and by hand: all of it; totals; and the few rows
/// of one hour, whose place in the parts their statistics tell.
const STATEMENTS: [Asked; 3] = [
    Asked { name: "all rows", condition: "true", columns: "nis, meter, start, litres", goal: Some(1.1) },
    Asked { name: "totals", condition: "true", columns: "meter, sum(litres)", goal: Some(1.1) },
    Asked {
        name: "one hour, pruning lost",
        condition: "start = TIMESTAMP '2015-01-01T00:00:00Z'",
        columns: "meter, start, litres",
        goal: None,
    },
];

struct Asked {
    name: &'static str,
    condition: &'static str,
    columns: &'static str,
    goal: Option<f64>,
}

impl Asked {
    fn statement(&self, filter: &str) -> String {
        let group = if self.columns.contains("sum(") { " GROUP BY meter" } else { "" };
        format!("SELECT {} FROM readings WHERE {}{filter}{group}", self.columns, self.condition)
    }
}

/// The figure.
pub async fn measure(directory: &Path, data: &Path, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let directory = directory.join("views");
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let file = directory.join("readings.csv");
    write_readings(&data.join("data/building_water_hours_2015.csv"), &file, size.rows).map_err(failed)?;
    let dataset: Dataset = serde_json::from_str(DESCRIBED).map_err(failed)?;
    let sets = Arc::new(Sets::open(&directory.join("sets"))?);
    let source = SourceFile { path: file, format: SourceFormat::Csv(format()), columns: Vec::new() };
    let snapshot = sets.add(dataset.clone(), &source, SystemClock.now())?;
    let open = Open::agreement(dataset, &snapshot, &policy_of(false))?;
    let settings = QuerySettings::default();
    let threads = settings.threads;
    let engine = QueryEngine::new(sets, Arc::new(Releases::open(&directory.join("released"))?), settings)?;
    let by_hand = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    let parts = directory.join("sets").join("readings");
    let parts = parts.to_str().ok_or_else(|| failed("the directory's name is not UTF-8"))?;
    by_hand.register_parquet("readings", parts, ParquetReadOptions::default()).await.map_err(failed)?;
    let mut lines = Vec::new();
    for asked in &STATEMENTS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=size.rounds * size.answers {
            let (mine, rows) = viewed(&engine, &open, &asked.statement("")).await?;
            let (other, expected) = filtered(&by_hand, &asked.statement(" AND nis = '63049'")).await?;
            if rows != expected || rows == 0 {
                return Err(failed(format!("{}: {rows} rows, by hand {expected}", asked.name)));
            }
            if round > 0 {
                ours.push(mine);
                theirs.push(other);
            }
        }
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
        lines.push(Line::new(asked.name, "ratio", Seen::median(&ratios), asked.goal.map(Goal::AtMost)));
        lines.push(Line::new("  the view", "µs", Seen::median(&ours), None));
        lines.push(Line::new("  by hand", "µs", Seen::median(&theirs), None));
    }
    let what = "statements over the row view against the same with the filter written by hand";
    let samples = STATEMENTS.len() * size.rounds * size.answers;
    Ok(Figure { name: "views", what, lines, samples, load: [load, conditions::load()] })
}

/// Microseconds until the last row, and rows.
async fn viewed(engine: &QueryEngine, open: &Open, statement: &str) -> Result<(f64, usize)> {
    let begun = Instant::now();
    let gate = open.gate();
    let grant = gate.admit(open.request()).await.map_err(|d| d.error)?;
    let mut batches = engine.run(&grant, statement, |_| [7; 32]).await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch.map_err(failed)?.num_rows();
    }
    Ok((micros(begun), rows))
}

async fn filtered(context: &SessionContext, statement: &str) -> Result<(f64, usize)> {
    let begun = Instant::now();
    let planned = context.sql(statement).await.map_err(failed)?;
    let mut batches = planned.execute_stream().await.map_err(failed)?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch.map_err(failed)?.num_rows();
    }
    Ok((micros(begun), rows))
}
