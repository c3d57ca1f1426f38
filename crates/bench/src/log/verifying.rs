//! Verification of whole logs, each by a process of its own: how fast, and how much memory at most.

use super::fill::{fill, refusal};
use super::ground::{self, ORIGIN};
use super::size::Size;
use crate::decisions::cpu_taken_ns;
use crate::figure::{Figure, Goal, Line, Seen};
use crate::{conditions, failed};
use perron_log::{Checkpoint, LeafView, NoteSigner, VerifyOptions};
use perron_model::Result;
use perron_model::entry::Entry;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Memory may differ by so much between a small log and a large one.
pub(super) const FLAT: f64 = 1.25;

/// What a process tells of a verification.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    entries: u64,
    batches: u64,
    signatures: u64,
    wall_s: f64,
    /// Time that the thread which reads the structure had a processor; signatures are checked by
    /// others.
    thread_s: f64,
    /// The most memory that the process had.
    peak_bytes: f64,
    outcome: String,
}

/// Verifies a log and prints what that took. `decoded`: each entry is decoded too, as the auditor's
/// program does before anything else.
pub fn verify(directory: &Path, decoded: bool) -> Result<()> {
    let options = VerifyOptions { origin: ORIGIN.to_owned(), keys: vec![ground::verifier()?], kept: Vec::new() };
    let (begun, cpu_ns) = (Instant::now(), cpu_taken_ns()?);
    let mut unreadable = 0_u64;
    let mut visitor = |view: &LeafView<'_>| {
        unreadable += u64::from(decoded && view.leaf.is_none_or(|leaf| Entry::from_bytes(leaf).is_err()));
        Vec::<perron_log::Finding>::new()
    };
    let report = perron_log::verify_log_dir(&directory.join("log"), &options, &mut visitor).map_err(failed)?;
    let told = Told {
        entries: report.size,
        batches: report.batches,
        signatures: report.signatures_checked,
        wall_s: begun.elapsed().as_secs_f64(),
        thread_s: (cpu_taken_ns()? - cpu_ns) / 1e9,
        peak_bytes: peak_bytes("self").ok_or_else(|| failed("the system doesn't tell the memory"))?,
        outcome: report.outcome.name().to_owned(),
    };
    if unreadable > 0 {
        return Err(failed(format!("{unreadable} leaves are no entries")));
    }
    println!("{}", serde_json::to_string(&told).map_err(failed)?);
    Ok(())
}

/// The most memory that a process had so far, by its number or `self`.
pub(super) fn peak_bytes(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next())?;
    kib.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Verifies in a process of its own; all signatures must have been checked, and nothing found.
fn process(directory: &Path, decoded: bool) -> Result<Told> {
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("verify-log").arg("--dir").arg(directory);
    if decoded {
        command.arg("--decoded");
    }
    let out = command.output().map_err(failed)?;
    if !out.status.success() {
        return Err(failed(String::from_utf8_lossy(&out.stderr)));
    }
    let told: Told = serde_json::from_slice(&out.stdout).map_err(failed)?;
    // One of each batch, and that of the `checkpoint` file.
    if told.outcome != "ok" || told.signatures != told.batches + 1 {
        return Err(failed(format!("the log isn't verified: {told:?}")));
    }
    Ok(told)
}

/// The figure, over two logs that were filled, and a third whose batches have one entry each.
pub(super) fn measure(few: &Path, many: &Path, signed: &Path, size: &Size) -> Result<Figure> {
    let before = conditions::load();
    let small = process(few, false)?;
    let of_large = |decoded| (0..size.verifications).map(|_| process(many, decoded)).collect::<Result<Vec<_>>>();
    let (structure, decoded) = (of_large(false)?, of_large(true)?);
    fill(ground::log(signed)?, size.signatures, 1, refusal)?;
    let signatures = (0..size.rounds).map(|_| process(signed, false)).collect::<Result<Vec<_>>>()?;
    let alone = one_after_another(size)?;
    let seen = |of: &[Told], number: fn(&Told) -> f64| Seen::median(&of.iter().map(number).collect::<Vec<_>>());
    let by_thread: fn(&Told) -> f64 = |t| t.entries as f64 / t.thread_s;
    let by_wall: fn(&Told) -> f64 = |t| t.entries as f64 / t.wall_s;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let in_parallel: Vec<f64> = signatures.iter().map(|t| t.signatures as f64 / t.wall_s).collect();
    let speed: Vec<f64> = in_parallel.iter().map(|rate| rate / (alone * processors)).collect();
    let memory: Vec<f64> = structure.iter().map(|t| t.peak_bytes / small.peak_bytes).collect();
    let lines = vec![
        Line::new("structure, a core's time", "1/s", seen(&structure, by_thread), Some(Goal::AtLeast(300_000.0))),
        Line::new("structure, by the wall", "1/s", seen(&structure, by_wall), None),
        Line::new("entries decoded, a core's time", "1/s", seen(&decoded, by_thread), None),
        Line::new("entries decoded, by the wall", "1/s", seen(&decoded, by_wall), None),
        Line::new("signatures among them", "1", seen(&structure, |t| t.signatures as f64), None),
        Line::new("one entry a batch, signatures", "1/s", Seen::median(&in_parallel), None),
        Line::new("signatures on one core", "1/s", Seen::median(&[alone]), None),
        Line::new("parallel / cores alone", "ratio", Seen::median(&speed), Some(Goal::AtLeast(0.8))),
        Line::new("memory, large / small", "ratio", Seen::median(&memory), Some(Goal::AtMost(FLAT))),
        Line::new("memory, large", "MB", seen(&structure, |t| t.peak_bytes / 1e6), None),
        Line::new("memory, decoded", "MB", seen(&decoded, |t| t.peak_bytes / 1e6), None),
    ];
    let samples = structure.len() + decoded.len() + signatures.len();
    let what = "every byte of a large log verified by a process of its own; all of its checkpoints' signatures too";
    Ok(Figure { name: "log-verification", what, lines, samples, load: [before, conditions::load()] })
}

/// Checkpoints' signatures a second, verified one after another.
fn one_after_another(size: &Size) -> Result<f64> {
    let log_key = ground::signer()?;
    let keys = [ground::verifier()?];
    let signers: [&dyn NoteSigner; 1] = [&log_key];
    let signed = (0..size.signatures)
        .map(|n| Checkpoint::new(ORIGIN, n, perron_log::Hash::of(&n.to_be_bytes())).sign(&signers))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    let begun = Instant::now();
    for note in &signed {
        note.verify_only(&keys).map_err(failed)?;
    }
    Ok(signed.len() as f64 / begun.elapsed().as_secs_f64())
}
