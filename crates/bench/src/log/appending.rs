//! A ledger of an organisation's directory that appends at full load until its process is killed:
//! `tests/it/kill/alone.rs` kills it, and looks at what is left.

use super::ground;
use super::size::WRITERS;
use crate::failed;
use perron::ledger::{Draft, KnownHeads, Ledger, LogIdentity, LogKeys, SystemClock};
use perron::trust::keys::KeySet;
use perron_log::{Checkpoint, Signer};
use perron_model::entry::{Administration, AttachmentKind, Body};
use perron_model::participant::KeyUse;
use perron_model::{Digest, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Bytes that an entry binds: about as many as a decision's request and input.
const DOCUMENT_BYTES: usize = 2_600;
/// Acknowledgements that are told at a time.
const TOLD_AT_ONCE: usize = 4_096;

/// Whose ledger, and how it runs.
#[derive(Debug, clap::Args)]
pub struct AppendingArgs {
    /// Directory of an organisation whose process doesn't run.
    #[arg(long)]
    dir: PathBuf,
    /// A checkpoint that was kept of its log, and may not be lost; may be repeated.
    #[arg(long)]
    kept: Vec<PathBuf>,
    /// Milliseconds between two publications.
    #[arg(long, default_value_t = 1_000)]
    publish_ms: u64,
    /// Opens the ledger and ends it in order, without appending.
    #[arg(long)]
    open_only: bool,
}

/// Opens the ledger and says what it found in one line: entries, whether a torn record was moved
/// aside. Then appends, and writes each acknowledgement as it comes, in 40 bytes: index, leaf hash.
pub fn append(args: &AppendingArgs) -> Result<()> {
    let runtime = Runtime::new().map_err(failed)?;
    let identity = identity(&args.dir)?;
    let known = kept(&args.kept, &identity)?;
    let state = ground::state(&args.dir)?;
    let (ledger, opened) = Ledger::open(&args.dir, identity, known, Arc::new(SystemClock), state)?;
    println!("{} {}", opened.size, opened.recovered);
    if args.open_only {
        return runtime.block_on(ledger.close());
    }
    let (told, to_tell) = channel();
    std::thread::spawn(move || tell(&to_tell));
    runtime.block_on(load(&ledger, &told, Duration::from_millis(args.publish_ms.max(1))))
}

/// Name and key of the log of an organisation's directory.
pub(super) fn identity(directory: &Path) -> Result<LogIdentity> {
    let note = read(&directory.join("log/checkpoint"))?;
    let origin = note.lines().next().unwrap_or_default().to_owned();
    let generation = origin.rsplit('/').next().and_then(|g| g.parse().ok());
    let generation = generation.ok_or_else(|| failed("the origin doesn't end in a generation"))?;
    let keys = KeySet::load(&directory.join("keys"))?;
    let signer = Signer::from_seed(&origin, &keys.signing_key(KeyUse::Log)?.seed()).map_err(failed)?;
    Ok(LogIdentity { origin, generation, keys: LogKeys::alone(signer) })
}

/// Heads of the log that were kept.
fn kept(files: &[PathBuf], identity: &LogIdentity) -> Result<KnownHeads> {
    let own = identity.keys.verifiers();
    let mut heads = Vec::new();
    for file in files {
        let opened = Checkpoint::open(&read(file)?, &identity.origin, &own, &[]).map_err(failed)?;
        heads.push(opened.checkpoint);
    }
    Ok(KnownHeads { heads, asked: Vec::new() })
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| failed(format!("`{}`: {e}", file.display())))
}

/// Many writers and publications; ends by a failure alone.
async fn load(ledger: &Ledger, told: &Sender<(u64, Digest)>, published_each: Duration) -> Result<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(ledger.clone(), published_each));
    for writer in 0..WRITERS {
        tasks.spawn(write(ledger.clone(), told.clone(), writer));
    }
    match tasks.join_next().await {
        Some(done) => done.map_err(failed)?,
        None => Ok(()),
    }
}

async fn publish(ledger: Ledger, each: Duration) -> Result<()> {
    let mut ticks = tokio::time::interval(each);
    loop {
        ticks.tick().await;
        ledger.publish().await?;
    }
}

/// A writer, who waits for each entry before the next.
async fn write(ledger: Ledger, told: Sender<(u64, Digest)>, writer: usize) -> Result<()> {
    let mut number = 0_u64;
    loop {
        let mut document = format!("{writer} {number} ").into_bytes();
        document.resize(DOCUMENT_BYTES, b'd');
        let recorded = ledger.append(act(document)).await?;
        number += 1;
        told.send((recorded.index, recorded.leaf)).map_err(|_| failed("nobody is told any more"))?;
    }
}

/// An act that the auditor's program accepts by itself, with the document that it binds.
pub(super) fn act(document: Vec<u8>) -> Draft {
    let body = Body::Administration(Administration {
        action: "bench.append".to_owned(),
        actor: "operator".to_owned(),
        document: Digest::of(&document),
        sealed: None,
    });
    Draft { body, chain: None, trace: None, attachments: vec![(AttachmentKind::Document, document)] }
}

/// Writes acknowledgements to where they outlive this process.
fn tell(entries: &Receiver<(u64, Digest)>) {
    let mut out = std::io::stdout().lock();
    while let Ok(first) = entries.recv() {
        let mut bytes = Vec::new();
        for (index, leaf) in std::iter::once(first).chain(entries.try_iter().take(TOLD_AT_ONCE)) {
            bytes.extend_from_slice(&index.to_be_bytes());
            bytes.extend_from_slice(leaf.as_bytes());
        }
        if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
