//! The slow look at the log: it is read again and again, a little at a time, so that bytes which rot
//! on the disk are found before an auditor asks for them.

use crate::connector::node::Node;
use perron_log::{LogError, Scrub, Step};
use perron_model::limits::{SCRUB_STEP_BYTES, SCRUB_STEP_MS};
use perron_model::{Error, ErrorCode, Timestamp};
use serde_json::{Value as Json, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Scrubbing(Mutex<Found>);

#[derive(Clone, Debug, Default)]
struct Found {
    /// When the log was last looked at from its beginning to its end, and how many entries it had.
    whole: Option<(Timestamp, u64)>,
    /// Tiles that had to be made anew.
    mended: u64,
}

impl Scrubbing {
    /// As plain data, for the status of the process.
    pub fn status(&self) -> Json {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (at, entries) = found.whole.unzip();
        json!({"at": at, "entries": entries, "mended": found.mended})
    }

    fn take(&self, step: &Step, now: Timestamp) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.mended = found.mended.saturating_add(u64::try_from(step.mended.len()).unwrap_or(u64::MAX));
        if let Some(entries) = step.whole {
            found.whole = Some((now, entries));
        }
    }
}

/// Looks on as long as the process runs. Damage ends it: nothing more is written to such a log.
pub(super) async fn scrub(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(SCRUB_STEP_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut scrub = node.ledger.reader().scrub();
    loop {
        ticks.tick().await;
        let Some((then, stepped)) = step(scrub).await else { return };
        scrub = then;
        match stepped {
            Ok(step) => {
                for tile in &step.mended {
                    tracing::warn!(tile = tile.path(), "a tile on the disk wasn't what the log says; it was made anew");
                }
                node.scrubbing.take(&step, node.now());
            }
            Err(LogError::Damaged { path, offset, detail }) => {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                tracing::error!(file, offset, detail, "the log on the disk isn't what was written");
                let detail = format!("`{file}` is damaged at byte {offset}: {detail}");
                node.ledger.give_up(Error::new(ErrorCode::LogDamaged, detail));
                return;
            }
            // Whatever it was, the next look begins anew.
            Err(error) => {
                tracing::warn!(%error, "the log can't be looked through now");
                scrub = node.ledger.reader().scrub();
            }
        }
    }
}

/// One step, beside the threads that serve.
async fn step(mut scrub: Scrub) -> Option<(Scrub, Result<Step, LogError>)> {
    let stepped = tokio::task::spawn_blocking(move || {
        let step = scrub.step(SCRUB_STEP_BYTES);
        (scrub, step)
    });
    stepped.await.ok()
}
