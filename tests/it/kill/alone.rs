//! Killing a ledger alone, under the full load of 1,024 writers: quick enough for many points.
//!
//! A process opens the ledger of an organisation's directory, appends, publishes, and writes each
//! acknowledgement to a pipe that outlives it. It is killed at a moment of the seed's choice after
//! its first acknowledgement, and the ledger opened again by another process, which ends in order.
//! Then each acknowledged entry is at its place, inclusion and consistency are proven, and the
//! auditor's program finds nothing, with each checkpoint that was kept after a kill before. The next
//! kill goes on with the same directory, `KILLS_EACH` times.
//!
//! `PERRON_LOG_KILLS` kills (12; `make soak` takes 1,000), from the seed `PERRON_KILL_SEED`.

use super::of_environment;
use super::random::Random;
use super::world::{Who, World};
use crate::played::copy;
use perron::trust::keys::KeySet;
use perron_log::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use perron_log::{Checkpoint, Layout, Log, LogReader, LogSettings, OsFiles, Signer};
use perron_model::participant::KeyUse;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Kills of one directory: each look reads all of it.
const KILLS_EACH: usize = 6;
/// Longest from the first acknowledgement to the kill.
const MOMENT_US: usize = 250_000;
/// Milliseconds between two publications: as a process does, and so often that kills hit them.
const PUBLISHED_EACH_MS: [u64; 3] = [1_000, 200, 40];
/// Longest wait for the first acknowledgement.
const START: Duration = Duration::from_secs(120);
/// Bytes of an acknowledgement: index, leaf hash.
const TOLD_BYTES: usize = 40;
/// Acknowledged entries of a kill whose inclusion is proven.
const PROVEN: usize = 16;

/// A directory that is killed again and again.
struct Directory {
    data: PathBuf,
    /// What the log was after each kill: the file that holds it, and what it says.
    kept: Vec<(PathBuf, Checkpoint)>,
}

/// What a life acknowledged, by index.
type Acknowledged = BTreeMap<u64, [u8; 32]>;

fn program(directory: &Directory) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-bench");
    assert!(program.is_file(), "perron-bench isn't built: cargo build --workspace --bins");
    let mut command = Command::new(program);
    command.arg("appending").arg("--dir").arg(&directory.data).stdin(Stdio::null());
    for (file, _) in &directory.kept {
        command.arg("--kept").arg(file);
    }
    command
}

/// What a process says when the ledger is open: entries, whether a torn record was moved aside.
fn opened(line: &str) -> (u64, bool) {
    let (size, torn) = line.trim_end().split_once(' ').unwrap_or_else(|| panic!("the ledger doesn't open: {line:?}"));
    (size.parse().unwrap(), torn.parse().unwrap())
}

/// Reads what a process tells until it has gone.
fn read(out: ChildStdout, begun: &Sender<()>) -> (String, Vec<u8>) {
    let mut out = BufReader::with_capacity(64 * 1024, out);
    let (mut line, mut told, mut part) = (String::new(), Vec::new(), vec![0; 64 * 1024]);
    out.read_line(&mut line).unwrap();
    loop {
        let read = out.read(&mut part).unwrap();
        if read == 0 {
            return (line, told);
        }
        if told.is_empty() {
            let _ = begun.send(());
        }
        told.extend_from_slice(&part[..read]);
    }
}

/// A life from its start to its kill.
fn life(directory: &Directory, random: &mut Random) -> Acknowledged {
    let moment = Duration::from_micros(u64::try_from(random.below(MOMENT_US)).unwrap());
    let publish_ms = PUBLISHED_EACH_MS[random.below(PUBLISHED_EACH_MS.len())];
    let mut command = program(directory);
    let mut child = command.args(["--publish-ms", &publish_ms.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let (begun, first) = channel();
    let reader = std::thread::spawn(move || read(out, &begun));
    let came = first.recv_timeout(START);
    // Nothing more is sent: either the moment comes, or the process ended by itself.
    let ended = first.recv_timeout(moment) == Err(RecvTimeoutError::Disconnected);
    child.kill().unwrap();
    child.wait().unwrap();
    let (line, told) = reader.join().unwrap();
    assert!(came.is_ok() && !ended, "the process ended by itself, or never appended: {line:?}");
    opened(&line);
    assert!(told.len() >= TOLD_BYTES, "not one acknowledgement came whole");
    let mut acknowledged = Acknowledged::new();
    // The last one may have been cut.
    for one in told.chunks_exact(TOLD_BYTES) {
        let (index, leaf) = one.split_at(8);
        let before = acknowledged.insert(u64::from_be_bytes(index.try_into().unwrap()), leaf.try_into().unwrap());
        assert_eq!(before, None, "an index was given twice");
    }
    acknowledged
}

/// Opens the ledger after a kill and ends it in order; whether a torn record was moved aside.
fn reopen(directory: &Directory) -> bool {
    let out = program(directory).arg("--open-only").output().unwrap();
    let (line, words) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "the ledger doesn't open again: {words}");
    opened(&line).1
}

fn log(data: &Path) -> Log {
    let note = std::fs::read_to_string(data.join("log/checkpoint")).unwrap();
    let origin = note.lines().next().unwrap();
    let seed = KeySet::load(&data.join("keys")).unwrap().signing_key(KeyUse::Log).unwrap().seed();
    let settings = LogSettings::new(origin, 1, Box::new(Signer::from_seed(origin, &seed).unwrap()));
    Log::open(Arc::new(OsFiles), Layout::new(data), settings, &[]).unwrap().0
}

/// Everything acknowledged is there, with its proofs.
fn hold(reader: &LogReader, directory: &Directory, mut acknowledged: Acknowledged, random: &mut Random) {
    let now = reader.checkpoint();
    let places: Vec<(u64, [u8; 32])> = acknowledged.iter().map(|(index, leaf)| (*index, *leaf)).collect();
    let (first, last) = (places[0].0, places[places.len() - 1].0);
    assert!(last < now.size, "entry {last} was acknowledged, the log holds {}", now.size);
    let visit = &mut |stored: perron_log::Stored| {
        let stored = stored.entry().unwrap();
        if let Some(leaf) = acknowledged.remove(&stored.index) {
            assert_eq!(leaf_hash(&stored.leaf).0, leaf, "entry {} is another than was acknowledged", stored.index);
        }
        true
    };
    reader.for_entries(first, last + 1, visit).unwrap();
    assert!(acknowledged.is_empty(), "acknowledged entries are gone: {:?}", acknowledged.keys());
    for _ in 0..PROVEN {
        let (index, leaf) = places[random.below(places.len())];
        let proof = reader.inclusion_proof(index, now.size).unwrap();
        verify_inclusion(index, now.size, &perron_log::Hash(leaf), &proof, &now.root).unwrap();
    }
    for (_, before) in &directory.kept {
        let proof = reader.consistency_proof(before.size, now.size).unwrap();
        verify_consistency(before.size, now.size, &before.root, &now.root, &proof).unwrap();
    }
}

/// One kill; how much was acknowledged, and whether it tore a record.
fn kill(directory: &mut Directory, random: &mut Random) -> (usize, bool) {
    let acknowledged = life(directory, random);
    let count = acknowledged.len();
    let torn = reopen(directory);
    let log = log(&directory.data);
    hold(&log.reader(), directory, acknowledged, random);
    let (note, checkpoint) = (log.last_note(), log.reader().checkpoint());
    drop(log);
    let against: Vec<PathBuf> = directory.kept.iter().map(|(file, _)| file.clone()).collect();
    let report = perron_verify::verify(&directory.data, &against).unwrap();
    assert!(report.is_ok() && report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.size, checkpoint.size);
    let file = directory.data.with_extension(format!("kept-{}", directory.kept.len()));
    std::fs::write(&file, note).unwrap();
    directory.kept.push((file, checkpoint));
    (count, torn)
}

/// Invariant 6, of the ledger alone, across SIGKILL.
#[test]
fn a_ledger_killed_under_full_load_loses_nothing() {
    let _one = super::ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seed = of_environment("PERRON_KILL_SEED", 20_261_124);
    let kills = usize::try_from(of_environment("PERRON_LOG_KILLS", 12)).unwrap();
    let work = super::Work(Some(tempfile::tempdir().unwrap()));
    let (world, processes) = World::enrol(work.path());
    for process in processes.into_iter().rev() {
        drop(process.stop());
    }
    let begun = Instant::now();
    let (mut entries, mut torn, mut least) = (0, 0, usize::MAX);
    let mut directory = Directory { data: PathBuf::new(), kept: Vec::new() };
    for number in 0..kills {
        if number % KILLS_EACH == 0 {
            let _ = std::fs::remove_dir_all(&directory.data);
            directory = Directory { data: work.path().join(format!("ledger-{number}")), kept: Vec::new() };
            copy(&world.dir(Who::Provider), &directory.data);
        }
        let mut random = Random::of(seed, u64::try_from(number).unwrap());
        let told = Told(seed, number);
        let (count, was_torn) = kill(&mut directory, &mut random);
        std::mem::forget(told);
        entries += count;
        least = least.min(count);
        torn += usize::from(was_torn);
    }
    println!(
        "{kills} kills from the seed {seed}: {entries} entries acknowledged, {least} at least before a kill; {torn} torn records; {:.0} s",
        begun.elapsed().as_secs_f64()
    );
}

/// Says where a panic came from, whatever panicked.
struct Told(u64, usize);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("PERRON_KILL_SEED={} at kill {} of the ledger alone", self.0, self.1);
    }
}
