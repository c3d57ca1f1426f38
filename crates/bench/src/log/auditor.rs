//! The auditor's program over members' directories, of which one has a long log.

use super::appending::{act, identity};
use super::fill::fill;
use super::size::{BATCH, Size};
use super::verifying::{FLAT, peak_bytes};
use crate::figure::{Figure, Goal, Line, Seen};
use crate::processes::Processes;
use crate::{conditions, failed, space};
use perron::ledger::{Draft, SystemClock};
use perron_gate::Clock;
use perron_log::{Layout, Log, OsFiles};
use perron_model::Result;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Pause between two looks at a process's memory.
const PAUSE: Duration = Duration::from_millis(2);

/// What is taken of the program's report.
#[derive(Debug, Deserialize)]
struct Verdict {
    outcome: String,
    size: u64,
    signatures: BTreeMap<String, u64>,
}

/// A directory that was verified.
struct Verified {
    verdict: Verdict,
    wall_s: f64,
    peak_bytes: f64,
}

/// The figure: two members are enrolled, and their logs filled, one with many entries.
pub(super) fn measure(perron: &Path, directory: &Path, size: &Size) -> Result<Figure> {
    let before = conditions::load();
    std::fs::create_dir(directory).map_err(failed)?;
    let [authority, small, large] = ["authority", "provider", "consumer"].map(|name| directory.join(name));
    let mut processes = Processes::of(perron)?;
    space::enrol(&mut processes, directory, [&authority, &small, &large])?;
    for member in [&large, &small, &authority] {
        processes.stop(member)?;
    }
    for (member, entries) in [(&small, size.few), (&large, size.many)] {
        let identity = identity(member)?;
        let settings = identity.keys.settings(&identity.origin, identity.generation, SystemClock.now())?;
        let (log, _) = Log::open(Arc::new(OsFiles), Layout::new(member), settings, &[]).map_err(failed)?;
        fill(log, entries, BATCH, told)?;
    }
    let program = perron.with_file_name("perron-verify");
    let few = verify(&program, &small)?;
    let many = (0..size.verifications).map(|_| verify(&program, &large)).collect::<Result<Vec<_>>>()?;
    let seen = |number: &dyn Fn(&Verified) -> f64| Seen::median(&many.iter().map(number).collect::<Vec<_>>());
    let signatures = |v: &Verified| v.verdict.signatures.get("checkpoint").copied().unwrap_or(0) as f64;
    let lines = vec![
        Line::new("entries, by the wall", "1/s", seen(&|v| v.verdict.size as f64 / v.wall_s), None),
        Line::new("checkpoints' signatures", "1", seen(&signatures), None),
        Line::new("memory, large / small", "ratio", seen(&|v| v.peak_bytes / few.peak_bytes), Some(Goal::AtMost(FLAT))),
        Line::new("memory, large", "MB", seen(&|v| v.peak_bytes / 1e6), None),
        Line::new("memory, small", "MB", Seen::median(&[few.peak_bytes / 1e6]), None),
    ];
    let what = "perron-verify over a member's directory with a long log: all bytes, entries, documents, signatures";
    Ok(Figure { name: "log-auditor", what, lines, samples: many.len() + 1, load: [before, conditions::load()] })
}

/// What fills a member's log: acts with a short document.
fn told(number: u64) -> Draft {
    act(number.to_string().into_bytes())
}

/// Runs the auditor's program; it must accept the directory.
fn verify(program: &Path, directory: &Path) -> Result<Verified> {
    let begun = Instant::now();
    let mut child = Command::new(program)
        .arg(directory)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("`{}`: {e}", program.display())))?;
    let (done, ended) = channel();
    let process = child.id().to_string();
    let watching = std::thread::spawn(move || watch(&process, &ended));
    let mut report = Vec::new();
    let read = child.stdout.take().map(|mut out| std::io::Read::read_to_end(&mut out, &mut report));
    let status = child.wait().map_err(failed)?;
    let wall_s = begun.elapsed().as_secs_f64();
    drop(done);
    let peak_bytes = watching.join().map_err(|_| failed("the thread that looks at the memory"))?;
    read.transpose().map_err(failed)?;
    let verdict: Verdict = serde_json::from_slice(&report).map_err(failed)?;
    if !status.success() || verdict.outcome != "ok" {
        return Err(failed(format!("`{}` isn't accepted: {verdict:?}", directory.display())));
    }
    Ok(Verified { verdict, wall_s, peak_bytes })
}

/// The most memory that a process had, until it is said that it has ended.
fn watch(process: &str, ended: &Receiver<()>) -> f64 {
    let mut peak = 0.0_f64;
    loop {
        peak = peak.max(peak_bytes(process).unwrap_or(0.0));
        if ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return peak;
        }
    }
}
