//! Entries of the log to a collector of syslog messages, as they become durable: in their order,
//! each at least once, from where it was.
//!
//! Syslog has no acknowledgement. What was sent counts as taken once the collector has answered the
//! orderly end of the channel (RFC 5425, section 4.4): it reads our close_notify after all that
//! came before. So a channel is ended after so many entries or seconds, the position becomes
//! durable, and what comes next opens another. What was sent over a channel that broke is sent
//! again. The log's writer knows nothing of it and waits for nothing.

use crate::connector::audit::STREAM;
use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::export::syslog;
use crate::files::write_file;
use crate::ledger::Observer;
use crate::settings::{Confirmation, Syslog};
use crate::trust::dialer::Dialer;
use perron_model::limits::{
    OUTBOX_BACKOFF_MS_MAX, OUTBOX_BACKOFF_MS_MIN, STREAM_BYTES_MAX, STREAM_CONFIRM_MS, STREAM_ENTRIES_MAX,
    STREAM_STALL_MS_MAX,
};
use perron_model::{Error, ErrorCode, Result, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// File of the position, in an organisation's directory. Without it, the stream begins with the
/// log's first entry.
pub const POSITION: &str = "stream.json";

/// How far the collector has the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Which log.
    origin: String,
    /// First entry that it may not have.
    next: u64,
}

/// A stream of the log's entries to the collector that the configuration names.
pub struct Stream {
    settings: Syslog,
    dialer: Arc<Dialer>,
    file: PathBuf,
    // First entry that the collector may not have.
    confirmed: AtomicU64,
    connected: AtomicBool,
    trouble: Mutex<Option<Error>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream(to {})", self.settings.address)
    }
}

impl Stream {
    /// A stream that goes on from where it was.
    pub fn open(directory: &Path, settings: Syslog, dialer: Arc<Dialer>) -> Stream {
        Stream {
            settings,
            dialer,
            file: directory.join(POSITION),
            confirmed: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// How it stands: where to, what the collector has, what it lacks, and why it can't go on.
    pub fn status(&self, entries: u64) -> Json {
        let next = self.confirmed.load(Ordering::Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "address": self.settings.address,
            "format": self.settings.format,
            "next": next,
            "behind": entries.saturating_sub(next),
            "connected": self.connected.load(Ordering::Relaxed),
            "trouble": trouble.map(|e| json!({"code": e.code.as_str(), "detail": e.detail})),
        })
    }

    fn troubled(&self, error: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Where it was; at the beginning where there is no position, or one of more than the log has.
    fn position(&self, origin: &str, size: u64) -> Result<u64> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(crate::files::io_error(&e)),
        };
        let unreadable = || Error::new(ErrorCode::ConfigInvalid, format!("`{POSITION}` is no position of a stream"));
        let position: Position = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        if position.origin != origin || position.next > size {
            tracing::warn!(next = position.next, size, "the stream was beyond this log: it begins anew");
            return Ok(0);
        }
        Ok(position.next)
    }

    async fn confirm(&self, origin: &str, next: u64) -> Result<()> {
        let bytes = canonical::to_bytes(&Position { origin: origin.to_owned(), next })?;
        let file = self.file.clone();
        blocking(move || write_file(&file, &bytes)).await?;
        self.confirmed.store(next, Ordering::Relaxed);
        Ok(())
    }
}

/// Streams until the task is dropped.
pub async fn run(node: Arc<Node>, stream: Arc<Stream>) {
    let origin = node.ledger.origin().to_owned();
    match stream.position(&origin, node.ledger.reader().size()) {
        Ok(next) => stream.confirmed.store(next, Ordering::Relaxed),
        Err(error) => {
            tracing::error!(code = error.code.as_str(), "the log isn't streamed: {}", error.detail);
            return stream.troubled(Some(error));
        }
    }
    let mut wait_ms = OUTBOX_BACKOFF_MS_MIN;
    let mut is_noted = false;
    let mut changes = node.state_changes();
    loop {
        let done = async {
            if !is_noted {
                note(&node, &stream).await?;
                is_noted = true;
            }
            while stream.confirmed.load(Ordering::Relaxed) >= told(&node) {
                changed(&mut changes).await?;
            }
            session(&node, &stream, &mut changes).await
        };
        let done = done.await;
        stream.connected.store(false, Ordering::Relaxed);
        match done {
            Ok(()) => {
                wait_ms = OUTBOX_BACKOFF_MS_MIN;
                stream.troubled(None);
            }
            Err(error) => {
                tracing::warn!(code = error.code.as_str(), "the log waits for its collector: {}", error.detail);
                stream.troubled(Some(error));
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = wait_ms.saturating_mul(2).min(OUTBOX_BACKOFF_MS_MAX);
            }
        }
    }
}

/// The entry that says where entries go from now on, and from which.
async fn note(node: &Node, stream: &Stream) -> Result<()> {
    let next = stream.confirmed.load(Ordering::Relaxed);
    let settings = &stream.settings;
    let document = json!({"address": settings.address, "server_name": settings.server_name, "format": settings.format, "from": next});
    // Whoever may write the configuration is the owner of the directory.
    node.administer(STREAM, "operator", canonical::to_bytes(&document)?).await
}

/// One channel: entries from the confirmed position on, then the orderly end, then the position.
async fn session(node: &Arc<Node>, stream: &Stream, changes: &mut tokio::sync::watch::Receiver<u64>) -> Result<()> {
    let mut channel = stream.dialer.dial_collector().await?.stream;
    stream.connected.store(true, Ordering::Relaxed);
    let from = stream.confirmed.load(Ordering::Relaxed);
    let most = from.saturating_add(STREAM_ENTRIES_MAX);
    let until = Instant::now() + Duration::from_millis(STREAM_CONFIRM_MS);
    let mut next = from;
    while next < most {
        changes.borrow_and_update();
        let size = told(node).min(most);
        if next < size {
            let (bytes, end) = frames(node, stream, next, size).await?;
            in_time(channel.write_all(&bytes)).await?;
            in_time(channel.flush()).await?;
            next = end;
        }
        // Under a steady flow of entries nobody waits, and the end comes all the same.
        if Instant::now() >= until {
            break;
        }
        if next >= told(node) && !waits_for_more(&mut channel, changes, until).await? {
            break;
        }
    }
    end(&mut channel, stream.settings.confirmation).await?;
    stream.confirm(node.ledger.origin(), next).await
}

/// Entries that are durable and that the state has taken up, so that what it tells of their
/// agreements is there.
fn told(node: &Node) -> u64 {
    node.state.seen().saturating_sub(node.ledger.entries_before()).min(node.ledger.reader().size())
}

/// Frames of durable entries from `next` on, up to `size` or `STREAM_BYTES_MAX`; and the entry
/// after them.
async fn frames(node: &Arc<Node>, stream: &Stream, next: u64, size: u64) -> Result<(Vec<u8>, u64)> {
    let (node, format, facility) = (Arc::clone(node), stream.settings.format, stream.settings.facility);
    blocking(move || {
        let (about, mut bytes, mut next) = (node.about(node.ledger.origin().to_owned()), Vec::new(), next);
        while next < size && bytes.len() < STREAM_BYTES_MAX {
            match node.exported(next) {
                Ok(record) => bytes.extend(syslog::frame(&record, &about, format, facility)?),
                // Nothing of it is left that could be sent.
                Err(error) if error.code == ErrorCode::EntryPruned => {}
                Err(error) => return Err(error),
            }
            next = next.saturating_add(1);
        }
        Ok((bytes, next))
    })
    .await
}

/// Waits for more entries; tells whether there are before it is time to end the channel. A channel
/// that its other end closes meanwhile is an error.
async fn waits_for_more(
    channel: &mut (impl AsyncRead + Unpin),
    changes: &mut tokio::sync::watch::Receiver<u64>,
    until: Instant,
) -> Result<bool> {
    let mut said = [0; 64];
    loop {
        tokio::select! {
            more = changed(changes) => return more.map(|()| true),
            () = tokio::time::sleep_until(until) => return Ok(false),
            read = channel.read(&mut said) => match read {
                // A collector has nothing to say (RFC 5425, section 4.3).
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(broken("the collector ended the channel")),
            },
        }
    }
}

/// The orderly end: our close_notify, then the collector's.
async fn end(channel: &mut (impl AsyncRead + AsyncWrite + Unpin), confirmation: Confirmation) -> Result<()> {
    in_time(channel.shutdown()).await?;
    let mut said = [0; 64];
    loop {
        match in_time_read(channel.read(&mut said)).await? {
            Ok(1..) => {}
            Ok(0) => return Ok(()),
            // The connection ended without a close_notify.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return match confirmation {
                    Confirmation::EndOfStream => Ok(()),
                    Confirmation::CloseNotify => Err(broken(
                        "the collector ended the channel without a close_notify, so nothing says what it has (`syslog.confirmation`)",
                    )),
                };
            }
            Err(_) => return Err(broken("the channel broke at its end")),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<T> {
    in_time_read(work).await?.map_err(|_| broken("the channel broke"))
}

async fn in_time_read<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<std::io::Result<T>> {
    let limit = Duration::from_millis(STREAM_STALL_MS_MAX);
    timeout(limit, work).await.map_err(|_| broken("the collector takes nothing"))
}

async fn changed(changes: &mut tokio::sync::watch::Receiver<u64>) -> Result<()> {
    changes.changed().await.map_err(|_| Error::new(ErrorCode::LogUnavailable, "the log is closed"))
}

fn broken(detail: &str) -> Error {
    Error::new(ErrorCode::PeerUnavailable, detail)
}

#[cfg(test)]
#[path = "streaming_tests.rs"]
mod tests;
