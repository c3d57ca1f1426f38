//! `perron-bench`: takes the figures, prints them, and writes them as JSON.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use perron_bench::figure::{Figure, Goal, Line, Round, Rounds, Seen};
use perron_bench::flush::Probe;
use perron_bench::size::{FULL, QUICK, Size};
use perron_bench::space::Space;
use perron_bench::{
    appends, attacks, conditions, decisions, differential, evaluators, failed, log, many, negotiations, neighbours,
    plain, reads, release, rows, views,
};
use perron_model::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Takes the figures of docs/PERFORMANCE.md.
#[derive(Debug, Parser)]
#[command(name = "perron-bench")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Takes the figures.
    Run(RunArgs),
    /// Attacks the released tables of a connector that runs, and the same tables as files: how many
    /// individuals each attack learns.
    Attacks(AttackArgs),
    /// A released table over many readings, against DuckDB running the same protected query.
    Release(ReleaseArgs),
    /// The log alone: durable appends, their cost in a log of ten million entries, proofs,
    /// verification, and Tessera's POSIX log over the same leaves.
    Log(log::LogArgs),
    /// Verifies a log that was filled; the load program starts this itself.
    #[command(hide = true)]
    VerifyLog {
        /// Directory of the log.
        #[arg(long)]
        dir: PathBuf,
        /// Decode each entry too.
        #[arg(long)]
        decoded: bool,
    },
    /// A ledger that appends at full load until it is killed; the tests start this.
    #[command(hide = true)]
    Appending(log::AppendingArgs),
    /// Writes generated cases of policies with the gate's answers, for `tools/regorus`.
    Cases {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        cases: u64,
        /// Seed of the generator.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Serves batches plainly; the load program starts this itself.
    #[command(hide = true)]
    Plain {
        /// Directory of the member whose identity it has.
        #[arg(long)]
        dir: PathBuf,
        /// Files of batches (Arrow IPC).
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The program that is measured.
    #[arg(long)]
    perron: PathBuf,
    /// A new directory, on the disk whose flushes count; removed at the end, unless the run failed.
    #[arg(long)]
    dir: PathBuf,
    /// Where the demonstration's data lie.
    #[arg(long, default_value = "demo")]
    data: PathBuf,
    /// A short slice that shows that each figure is produced.
    #[arg(long)]
    quick: bool,
    /// Takes the figures of these groups alone.
    #[arg(long, value_enum)]
    only: Vec<Group>,
    /// Writes the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    others: evaluators::Others,
    /// The commit that is measured, as it stands in the report.
    #[arg(long, default_value = "unknown")]
    commit: String,
}

#[derive(Debug, clap::Args)]
struct AttackArgs {
    /// The program that is attacked.
    #[arg(long)]
    perron: PathBuf,
    /// A new directory; removed at the end, unless the run failed.
    #[arg(long)]
    dir: PathBuf,
    /// Tries of each attack.
    #[arg(long, default_value_t = 1_000)]
    tries: usize,
    /// From which households, targets and questions are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes what was learned to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ReleaseArgs {
    /// A new directory; removed at the end, unless the run failed.
    #[arg(long)]
    dir: PathBuf,
    /// Readings.
    #[arg(long, default_value_t = 100_000_000)]
    rows: usize,
    /// Times that each side is run.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A Python that has the package `duckdb`; without it, the released table alone is measured.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Writes the figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Figures that are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    Appends,
    Views,
    Reads,
    Neighbours,
    Negotiations,
    Rows,
    Starts,
    Decisions,
    /// With `--regorus` and `--opa` alone.
    Evaluators,
    Agreements,
}

/// Least part of the cases that are permits, and that are refusals, in percent.
const PART_PERCENT_MIN: u64 = 30;
/// Least number of refusals with each reason, in 100,000 cases.
const REASON_CASES_MIN: u64 = 100;

/// Writes the cases, prints what they are, and fails if they don't try each answer often enough.
fn write_cases(cases: u64, seed: u64, out: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(out).map_err(failed)?);
    let counts = runtime.block_on(differential::write(cases, seed, &mut file))?;
    std::io::Write::flush(&mut file).map_err(failed)?;
    println!("{cases} cases of seed {seed}: {} permits, {} refusals", counts.permits, counts.refusals);
    for (code, number) in &counts.reasons {
        println!("  {code}: {number}");
    }
    let least = cases * PART_PERCENT_MIN / 100;
    if counts.permits < least || counts.refusals < least {
        return Err(failed("too few permits or refusals among the cases"));
    }
    let seen = |code: &str| counts.reasons.get(code).copied().unwrap_or(0);
    match differential::REASONS.iter().find(|code| seen(code) < cases * REASON_CASES_MIN / 100_000) {
        Some(code) => Err(failed(format!("too few refusals as `{code}` among the cases"))),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(args) => run(&args),
        Verb::Attacks(args) => attack(&args),
        Verb::Release(args) => measure_release(&args),
        Verb::Log(args) => measure_log(&args),
        Verb::VerifyLog { dir, decoded } => log::verify(&dir, decoded),
        Verb::Appending(args) => log::append(&args),
        Verb::Cases { cases, seed, out } => write_cases(cases, seed, &out),
        Verb::Plain { dir, files } => plain::serve(&dir, &files),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", error.code, error.detail);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<()> {
    perron::trust::tls::install_provider();
    std::fs::create_dir(&args.dir).map_err(|e| failed(format!("`{}`: {e}", args.dir.display())))?;
    let directory = args.dir.canonicalize().map_err(failed)?;
    let size = if args.quick { QUICK } else { FULL };
    let profile = if cfg!(debug_assertions) { "dev" } else { "optimised" };
    let conditions = conditions::told(&directory, &args.commit, profile);
    println!("{conditions:#}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let taken = runtime.block_on(take(args, &directory, &size))?;
    drop(runtime);
    let _ = std::fs::remove_dir_all(&directory);
    let figures: Vec<_> = taken.iter().map(Figure::json).collect();
    if let Some(file) = &args.json {
        let text = format!("{:#}\n", json!({"conditions": conditions, "figures": figures}));
        std::fs::write(file, text).map_err(|e| failed(format!("`{}`: {e}", file.display())))?;
    }
    Ok(())
}

/// A new directory, and what runs in it.
fn begin(directory: &Path) -> Result<(PathBuf, tokio::runtime::Runtime)> {
    perron::trust::tls::install_provider();
    std::fs::create_dir(directory).map_err(|e| failed(format!("`{}`: {e}", directory.display())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    Ok((directory.canonicalize().map_err(failed)?, runtime))
}

/// Writes what was seen, and takes the directory away.
fn end(directory: &Path, file: Option<&PathBuf>, seen: &serde_json::Value) -> Result<()> {
    if let Some(file) = file {
        std::fs::write(file, format!("{seen:#}\n")).map_err(|e| failed(format!("`{}`: {e}", file.display())))?;
    }
    let _ = std::fs::remove_dir_all(directory);
    Ok(())
}

fn attack(args: &AttackArgs) -> Result<()> {
    let (directory, runtime) = begin(&args.dir)?;
    let report = runtime.block_on(attacks::run(&args.perron, &directory, args.tries, args.seed))?;
    report.learned.iter().for_each(|l| println!("{l}"));
    let attacks::Report { questions, answered, differing, .. } = report;
    println!(
        "{questions} different questions: the endpoint answered {answered} and refused the others; {differing} otherwise than the file"
    );
    let more: Vec<&str> = report.learned.iter().filter(|l| l.more()).map(|l| l.attack).collect();
    end(&directory, args.json.as_ref(), &json!({"tries": args.tries, "seed": args.seed, "report": report}))?;
    if !more.is_empty() {
        return Err(failed(format!("the endpoint taught more than the file: {}", more.join(", "))));
    }
    // An endpoint that answers nothing teaches nothing, and would say nothing.
    if differing > 0 {
        return Err(failed(format!("{differing} questions have another answer from the endpoint than from the file")));
    }
    Ok(())
}

fn measure_release(args: &ReleaseArgs) -> Result<()> {
    let (directory, runtime) = begin(&args.dir)?;
    let figure = release::measure(&runtime, &directory, args.rows, args.rounds, args.python.as_deref())?;
    figure.print();
    end(&directory, args.json.as_ref(), &figure.json())
}

fn measure_log(args: &log::LogArgs) -> Result<()> {
    let (directory, runtime) = begin(&args.dir)?;
    let report = log::measure(&runtime, &directory, args)?;
    end(&directory, args.json.as_ref(), &report)
}

async fn take(args: &RunArgs, directory: &Path, size: &Size) -> Result<Vec<Figure>> {
    let asked = |group: Group| args.only.is_empty() || args.only.contains(&group);
    let mut figures = Vec::new();
    let mut tell = |figure: Figure| {
        figure.print();
        figures.push(figure);
    };
    if asked(Group::Appends) {
        appends::measure(directory, size).await?.into_iter().for_each(&mut tell);
    }
    if asked(Group::Views) {
        tell(views::measure(directory, &args.data, size).await?);
    }
    let mut space = Space::set_up(&args.perron, directory, &args.data, size.rows)?;
    if asked(Group::Reads) {
        tell(reads::measure(&space, size).await?);
    }
    // Asked for by name alone: its long statements need a set of full size.
    if args.only.contains(&Group::Neighbours) {
        tell(neighbours::measure(&space, size).await?);
    }
    if asked(Group::Negotiations) {
        tell(negotiations::measure(&space, size).await?);
    }
    if asked(Group::Rows) {
        tell(rows::measure(&mut space, directory, size).await?);
    }
    if asked(Group::Starts) {
        starts(&mut space, size).await?.into_iter().for_each(&mut tell);
    }
    // The gate is opened on the provider's own directory.
    space.processes.stop(&space.provider)?;
    if asked(Group::Decisions) {
        decisions::measure(&space, size).await?.into_iter().for_each(&mut tell);
    }
    if asked(Group::Evaluators) {
        let input = decisions::input(&space, space.terms.twenty).await?;
        evaluators::measure(&input, &args.others, size).await?.into_iter().for_each(&mut tell);
    }
    if asked(Group::Agreements) {
        tell(many::measure(&mut space, size).await?);
    }
    Ok(figures)
}

/// Starts of the consumer's process, and its memory when nothing asks it for anything.
async fn starts(space: &mut Space, size: &Size) -> Result<Vec<Figure>> {
    let load = conditions::load();
    let mut probe = Probe::new(&space.provider)?;
    let (mut rounds, mut memory) = (Rounds::default(), Vec::new());
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for _ in 0..size.starts {
            space.processes.stop(&space.consumer)?;
            round.work.push(space.processes.start(&space.consumer)?);
            round.flush.push(probe.flush()?);
        }
        rounds.0.push(round);
        // Whatever it does after a start is done by then.
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..2 {
            ticks.tick().await;
        }
        memory.push(space.processes.resident_bytes(&space.consumer)? / 1e6);
    }
    let mut lines = rounds.latencies();
    lines.retain(|l| l.name != "p99");
    if let Some(p50) = lines.first_mut() {
        p50.goal = Some(Goal::AtMost(300_000.0));
    }
    let load = [load, conditions::load()];
    let what = "start to serving, warm";
    let start = Figure { name: "start", what, lines, samples: rounds.samples(), load };
    let resident = Line::new("resident", "MB", Seen::median(&memory), Some(Goal::AtMost(80.0)));
    let what = "memory of a process that nothing asks for anything";
    Ok(vec![start, Figure { name: "idle", what, lines: vec![resident], samples: memory.len(), load }])
}
