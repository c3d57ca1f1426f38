//! Figures of the log alone: durable appends, what they cost as the log grows, bytes, proofs,
//! verification, and Tessera's POSIX log over the same leaves.

mod appending;
mod auditor;
mod cost;
mod durable;
mod fill;
mod ground;
mod grouped;
mod proofs;
mod size;
mod tessera;
mod verifying;

use crate::conditions;
use crate::figure::Figure;
use fill::{fill, refusal};
use perron_model::Result;
use serde_json::{Value as Json, json};
use size::{BATCH, Size};
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

pub use appending::{AppendingArgs, append};
pub use verifying::verify;

/// How the log is measured.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// A new directory, on the disk whose flushes count; removed at the end, unless the run failed.
    #[arg(long)]
    pub dir: PathBuf,
    /// Entries of the large log: each needs about 1 KB on the disk.
    #[arg(long, default_value_t = 10_000_000)]
    pub entries: u64,
    /// Rounds of each figure.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// A short slice that shows that each figure is produced.
    #[arg(long)]
    pub quick: bool,
    /// The program whose members' directories `perron-verify`, beside it, verifies; without it, the
    /// figure of the auditor's program is left out.
    #[arg(long)]
    pub perron: Option<PathBuf>,
    /// The program of `tools/tessera`; without it, the figure beside Tessera is left out.
    #[arg(long)]
    pub tessera: Option<PathBuf>,
    /// Writes the figures to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The commit that is measured, as it stands in the report.
    #[arg(long, default_value = "unknown")]
    pub commit: String,
}

/// Takes the figures in a directory, prints them, and gives the report.
pub fn measure(runtime: &Runtime, directory: &Path, args: &LogArgs) -> Result<Json> {
    let size = if args.quick { Size::quick() } else { Size::full(args.entries, args.rounds) };
    let profile = if cfg!(debug_assertions) { "dev" } else { "optimised" };
    let mut conditions = conditions::told(directory, &args.commit, profile);
    println!("{conditions:#}");
    let mut figures = Vec::new();
    let mut tell = |figure: Figure| {
        figure.print();
        figures.push(figure);
    };
    runtime.block_on(durable::measure(&directory.join("appends"), &size))?.into_iter().for_each(&mut tell);
    if let Some(program) = &args.tessera {
        let beside = directory.join("beside");
        let (figure, configuration) = runtime.block_on(tessera::measure(program, &beside, &size))?;
        println!("\nTessera: {configuration:#}");
        tell(figure);
        if let Some(told) = conditions.as_object_mut() {
            told.insert("tessera".to_owned(), configuration);
        }
    }
    let (few, many) = (directory.join("few"), directory.join("many"));
    fill(ground::log(&few)?, size.few, BATCH, refusal)?;
    let filled_s = fill(ground::log(&many)?, size.many, BATCH, refusal)?;
    println!("\n{} entries were written and published in {filled_s:.0} s", size.many);
    tell(verifying::measure(&few, &many, &directory.join("signed"), &size)?);
    tell(runtime.block_on(cost::measure(&few, &many, &size))?);
    tell(proofs::measure(&many, &size)?);
    if let Some(perron) = &args.perron {
        tell(auditor::measure(perron, &directory.join("space"), &size)?);
    }
    let figures: Vec<Json> = figures.iter().map(Figure::json).collect();
    Ok(json!({"conditions": conditions, "entries": size.many, "filled_s": filled_s, "figures": figures}))
}
