//! Negotiating with a participant that can't be dialled: it watches, we hold its messages ready.

use crate::connector::node::Node;
use crate::connector::peers::{ForWatcher, RemoteState, Watched, WatchedMessage};
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::life::{Notice, Standing};
use perron_model::limits::{OUTBOX_BACKOFF_MS_MAX, OUTBOX_BACKOFF_MS_MIN};
use perron_model::negotiation::{Message, NegotiationMessage};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

impl Node {
    /// Can this participant be dialled, by what the register says?
    pub(crate) fn is_dialable(&self, id: &ParticipantId) -> bool {
        self.register.load().participant(id).is_some_and(|p| p.endpoint.is_some())
    }

    /// Our messages and notices for a watcher: those that wait, then each new one, each once a watch.
    pub fn messages_for(self: &Arc<Self>, peer: &ParticipantId) -> BoxStream<'static, ForWatcher> {
        let (node, peer) = (self.clone(), peer.clone());
        let changes = node.state.changes();
        let begun = (node, peer, changes, HashSet::new());
        futures::stream::unfold(
            begun,
            |(node, peer, mut changes, mut given): (Arc<Node>, ParticipantId, _, HashSet<String>)| async move {
                loop {
                    changes.borrow_and_update();
                    let waiting = node.waiting_for(&peer);
                    // What was given and taken needs no remembering.
                    given.retain(|id| waiting.iter().any(|(waits, _)| waits == id));
                    if let Some((id, message)) = waiting.into_iter().find(|(id, _)| !given.contains(id)) {
                        given.insert(id);
                        return Some((message, (node, peer, changes, given)));
                    }
                    if changes.changed().await.is_err() {
                        return None;
                    }
                }
            },
        )
        .boxed()
    }

    /// What waits for a participant, by its id: notices first, for they may end something.
    fn waiting_for(&self, peer: &ParticipantId) -> Vec<(String, ForWatcher)> {
        let notices = self.state.notices_to_tell().into_iter().filter(|t| t.to == *peer);
        let notices = notices.map(|t| (t.notice.name.to_string(), ForWatcher::Notice(t.notice.jws)));
        let messages = self.state.negotiations_to_move().into_iter().filter(|n| n.counterparty == *peer);
        let messages = messages.filter_map(|n| n.outgoing);
        notices.chain(messages.map(|m| (m.message_id.clone(), ForWatcher::Message(Box::new(m))))).collect()
    }

    /// A watcher took our notice, or refused it for good.
    pub fn notice_acknowledged(&self, peer: &ParticipantId, name: &Digest, taken: Result<Standing>) -> Result<()> {
        let told = self.state.notices_to_tell().into_iter().find(|t| t.to == *peer && t.notice.name == *name);
        told.map_or(Ok(()), |told| self.told(&told, taken))
    }

    /// A watcher took our message, or refused it for good.
    pub async fn acknowledged(&self, peer: &ParticipantId, message_id: &str, taken: Result<RemoteState>) -> Result<()> {
        let is_it = |n: &crate::connector::state::Negotiation| {
            n.counterparty == *peer && n.outgoing.as_ref().is_some_and(|m| m.message_id == message_id)
        };
        let Some(found) = self.state.negotiations_to_move().into_iter().find(is_it) else { return Ok(()) };
        match taken {
            Ok(remote) => {
                let theirs = if remote.provider_pid == found.pid { remote.consumer_pid } else { remote.provider_pid };
                self.state.delivered(&found.pid, message_id, &theirs)
            }
            Err(error) => self.rejected(&found.pid, &error).await,
        }
    }

    /// Takes a message that came over a watch.
    async fn take_watched(&self, peer: &ParticipantId, watched: WatchedMessage) -> Result<RemoteState> {
        let by_provider = match watched.message {
            Message::Offer | Message::Agree | Message::Finalize => true,
            Message::Request | Message::Accept | Message::Verify => false,
            Message::Terminate => self.is_consumer_of(peer, &watched.consumer_pid),
        };
        let (provider, consumer) =
            if by_provider { (peer.clone(), self.me.clone()) } else { (self.me.clone(), peer.clone()) };
        let message = NegotiationMessage {
            message_id: watched.message_id,
            message: watched.message,
            consumer_pid: watched.consumer_pid,
            provider_pid: Some(watched.provider_pid).filter(|p| !p.is_empty()),
            provider,
            consumer,
            offer: watched.offer,
            agreement: watched.agreement,
            reason: watched.reason,
        };
        self.receive(peer, message).await
    }
}

/// Where we can't be dialled: watches every participant with whom a negotiation is open or an
/// agreement isn't revoked.
pub(crate) async fn watch(node: Arc<Node>) {
    let mut changes = node.state.changes();
    let watched: Arc<Mutex<HashSet<ParticipantId>>> = Arc::default();
    loop {
        changes.borrow_and_update();
        if !node.is_dialable(&node.me) {
            for peer in open_with(&node) {
                if !watched.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone()) {
                    continue;
                }
                let (node, watched) = (node.clone(), watched.clone());
                tokio::spawn(async move {
                    watch_one(&node, &peer).await;
                    watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
                    node.state.touch();
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn open_with(node: &Node) -> HashSet<ParticipantId> {
    let mut open = node.state.in_negotiation();
    open.extend(node.state.in_agreement());
    open
}

/// Watches one participant as long as something may come from it.
async fn watch_one(node: &Node, peer: &ParticipantId) {
    let mut wait_ms = OUTBOX_BACKOFF_MS_MIN;
    let mut changes = node.state.changes();
    while open_with(node).contains(peer) {
        if let Ok(mut messages) = node.peers.watch(peer).await {
            wait_ms = OUTBOX_BACKOFF_MS_MIN;
            loop {
                let message = tokio::select! {
                    message = messages.next() => message,
                    _ = changes.changed() => {
                        if open_with(node).contains(peer) { continue } else { return }
                    }
                };
                let Some(Ok(message)) = message else { break };
                if let Err(error) = answer(node, peer, message).await {
                    tracing::info!(peer = %peer, code = error.code.as_str(), "a watched message waits to be acknowledged");
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = wait_ms.saturating_mul(2).min(OUTBOX_BACKOFF_MS_MAX);
    }
}

/// Takes a message and tells what became of it; one that may be taken later is told of then.
async fn answer(node: &Node, peer: &ParticipantId, message: Watched) -> Result<()> {
    match message {
        Watched::Message(message) => {
            let message_id = message.message_id.clone();
            let taken = for_good(node.take_watched(peer, *message).await)?;
            node.peers.acknowledge(peer, &message_id, &taken).await
        }
        Watched::Notice(notice) => {
            let name = Notice::of_compact(&notice).and_then(|n| n.name());
            let taken = for_good(node.receive_notice(peer, &notice).await)?;
            node.peers.acknowledge_notice(peer, &name?, &taken).await
        }
    }
}

/// What can be told: an error after which the same may yet be taken is none to tell.
fn for_good<T>(taken: Result<T>) -> Result<Result<T>> {
    match taken {
        Err(error) if crate::connector::tasks::is_for_now(error.code) => {
            Err(Error::new(ErrorCode::PeerUnavailable, error.detail))
        }
        taken => Ok(taken),
    }
}
