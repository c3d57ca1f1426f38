//! The log with nothing but a queue in front: opaque leaves of many writers, a batch at a time, as
//! Tessera takes them.

use super::ground;
use super::size::{BATCH, WRITERS};
use crate::figure::Round;
use crate::flush::Probe;
use crate::{failed, micros};
use perron_log::{Log, NewEntry, Publisher};
use perron_model::Result;
use perron_model::limits::{LEDGER_GATHER_US_MAX, LEDGER_QUEUE_MAX};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Longest that a batch waits for those who are about to come, as in the ledger.
const GATHER_MAX: Duration = Duration::from_micros(LEDGER_GATHER_US_MAX);

struct Waiting {
    leaf: Vec<u8>,
    /// Told once the entry is durable, with the signed checkpoint that covers it.
    reply: oneshot::Sender<()>,
}

/// One round: each writer takes the next leaf until none is left, with flushes beside them. Its rate
/// is that of entries acknowledged; the other, until they are published too: tiles and checkpoint.
pub(super) async fn round(directory: &Path, leaves: Vec<Vec<u8>>) -> Result<(Round, f64)> {
    let log = ground::log(directory)?;
    let publisher = log.publisher();
    let publishing = tokio::spawn(publish(publisher.clone()));
    let (queue, jobs) = mpsc::channel(LEDGER_QUEUE_MAX);
    let writing = std::thread::spawn(move || write(log, jobs));
    let beside = Probe::new(directory)?.beside();
    let (leaves, next) = (Arc::new(leaves), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (queue, leaves, next) = (queue.clone(), leaves.clone(), next.clone());
        tasks.spawn(async move {
            let mut work = Vec::new();
            while let Some(leaf) = leaves.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begun = Instant::now();
                let (reply, answer) = oneshot::channel();
                queue.send(Waiting { leaf: leaf.clone(), reply }).await.map_err(failed)?;
                answer.await.map_err(failed)?;
                work.push(micros(begun));
            }
            Ok::<_, perron_model::Error>(work)
        });
    }
    drop(queue);
    let mut round = Round::default();
    while let Some(done) = tasks.join_next().await {
        round.work.extend(done.map_err(failed)??);
    }
    round.rate = round.work.len() as f64 / begun.elapsed().as_secs_f64();
    publishing.abort();
    // What the last tick began is over after this.
    publisher.publish().map_err(failed)?;
    let published = round.work.len() as f64 / begun.elapsed().as_secs_f64();
    round.flush = beside.end()?;
    writing.join().map_err(|_| failed("the writer's thread"))??;
    Ok((round, published))
}

/// Publishes once a second, as a process does.
async fn publish(publisher: Publisher) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let publisher = publisher.clone();
        let _ = tokio::task::spawn_blocking(move || publisher.publish()).await;
    }
}

/// The one writer; ends when nobody can send any more.
fn write(mut log: Log, mut jobs: mpsc::Receiver<Waiting>) -> Result<()> {
    let most = usize::try_from(BATCH).map_err(failed)?;
    let mut before = 0;
    while let Some(first) = jobs.blocking_recv() {
        let begun = Instant::now();
        let mut batch = vec![first];
        while batch.len() < most {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                // Those who were answered together come again together.
                Err(_) if batch.len() < before && begun.elapsed() < GATHER_MAX => std::thread::yield_now(),
                Err(_) => break,
            }
        }
        before = batch.len();
        let (leaves, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.leaf, w.reply)).unzip();
        let entries: Vec<NewEntry> =
            leaves.into_iter().map(|leaf| NewEntry { leaf, attachments: Vec::new() }).collect();
        log.append(&entries).map_err(failed)?;
        for reply in replies {
            let _ = reply.send(());
        }
    }
    Ok(())
}
