//! What runs by itself: delivery of messages, reactions, heads, publication, the end of what is
//! over.

use crate::connector::node::Node;
use crate::connector::state::Negotiation;
use perron_gate::Register;
use perron_model::life::Standing;
use perron_model::limits::{END_CHECK_MS, OUTBOX_BACKOFF_MS_MAX, OUTBOX_BACKOFF_MS_MIN};
use perron_model::negotiation::State;
use perron_model::participant::{Role, Status};
use perron_model::{AgreementId, ErrorCode, ParticipantId, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often checkpoints and tiles are published at the most.
const PUBLISH_MS: u64 = 1_000;

/// How long wishes for an exchange of heads are gathered.
const GATHER_HEADS_MS: u64 = 250;
/// How often the age of the register is looked at.
const REGISTER_CHECK_MS: u64 = 60_000;

/// Peers whose heads are to be exchanged soon.
#[derive(Debug, Default)]
pub struct Wanted {
    peers: Mutex<HashSet<ParticipantId>>,
    told: tokio::sync::Notify,
}

impl Node {
    /// Asks that heads be exchanged with a peer soon.
    pub(crate) fn heads_wanted(&self, peer: &ParticipantId) {
        let register = self.register.load();
        // The authority is witness to all: it sees what a partner sees.
        let authority = register.participants().find(|p| p.roles.contains(&Role::Authority) && p.id != self.me);
        let mut peers = self.wanted.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(peer.clone());
        peers.extend(authority.map(|a| a.id.clone()));
        drop(peers);
        self.wanted.told.notify_one();
    }

    /// Starts the tasks of a node; they end with `stop`.
    pub fn spawn_tasks(self: &Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        let tasks: [futures::future::BoxFuture<'static, ()>; 11] = [
            Box::pin(crate::connector::watching::watch(self.clone())),
            Box::pin(negotiate(self.clone())),
            Box::pin(notify(self.clone())),
            Box::pin(publish(self.clone())),
            Box::pin(exchange(self.clone())),
            Box::pin(watch_register(self.clone())),
            Box::pin(crate::connector::rotation::retire_keys(self.clone())),
            Box::pin(end_reads(self.clone())),
            Box::pin(crate::connector::settling::settle(self.clone())),
            Box::pin(crate::connector::scrubbing::scrub(self.clone())),
            Box::pin(crate::connector::reconciling::reconcile(self.clone())),
        ];
        for task in tasks {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = task => {}
                }
            });
        }
    }
}

/// Delivers what is outgoing and reacts to what came, woken by each change of the state.
async fn negotiate(node: Arc<Node>) {
    let mut changes = node.state.changes();
    let busy: Arc<Mutex<HashSet<String>>> = Arc::default();
    loop {
        changes.borrow_and_update();
        for negotiation in node.state.negotiations_to_move() {
            // Whoever can't be dialled watches, and gets its messages there.
            let to_send = negotiation.outgoing.is_some() && node.is_dialable(&negotiation.counterparty);
            let to_react = negotiation.outgoing.is_none() && negotiation.state.waits_for() == Some(negotiation.side);
            if !(to_send || to_react)
                || !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(negotiation.pid.clone())
            {
                continue;
            }
            let (node, busy) = (node.clone(), busy.clone());
            tokio::spawn(async move {
                let (pid, before) = (negotiation.pid.clone(), standing(&negotiation));
                let moved = to_send && deliver(&node, negotiation).await;
                if !to_send {
                    react(&node, &pid).await;
                }
                busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
                // A change that came while this was busy woke nobody for it: also one from before it
                // began, for what it was begun with may have been old. So now, with what there is now.
                if moved || node.state.negotiation(&pid).ok().flatten().is_some_and(|now| standing(&now) != before) {
                    node.state.touch();
                }
            });
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// What decides whether a negotiation has something to send or to react to.
fn standing(negotiation: &Negotiation) -> (State, Option<String>) {
    (negotiation.state, negotiation.outgoing.as_ref().map(|m| m.message_id.clone()))
}

async fn react(node: &Node, pid: &str) {
    if let Err(error) = node.react(pid).await {
        tracing::warn!(code = error.code.as_str(), "a negotiation can't go on by itself: {}", error.detail);
    }
}

/// Sends a message until the other side has taken or refused it.
async fn deliver(node: &Node, negotiation: Negotiation) -> bool {
    let Some(message) = negotiation.outgoing else { return false };
    let to = &negotiation.counterparty;
    match until_taken(to, || node.peers.send(to, &message)).await {
        Ok(remote) => {
            let theirs = if remote.provider_pid == negotiation.pid { remote.consumer_pid } else { remote.provider_pid };
            if let Err(error) = node.state.delivered(&negotiation.pid, &message.message_id, &theirs) {
                tracing::error!(code = error.code.as_str(), "a delivery can't be noted");
            }
            if remote.state == State::Finalized {
                node.heads_wanted(to);
            }
            true
        }
        Err(error) => match node.rejected(&negotiation.pid, &error).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(code = error.code.as_str(), "a refusal can't be noted");
                false
            }
        },
    }
}

/// Sends notices, the oldest of each agreement first, woken by each change of the state.
async fn notify(node: Arc<Node>) {
    let mut changes = node.state.changes();
    let busy: Arc<Mutex<HashSet<AgreementId>>> = Arc::default();
    loop {
        changes.borrow_and_update();
        for told in node.state.notices_to_tell() {
            // Whoever can't be dialled watches, and gets its notices there.
            if !node.is_dialable(&told.to) || !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(told.first) {
                continue;
            }
            let (node, busy) = (node.clone(), busy.clone());
            tokio::spawn(async move {
                let taken = until_taken(&told.to, || node.peers.notify(&told.to, &told.notice.jws)).await;
                let noted = node.told(&told, taken);
                busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&told.first);
                match noted {
                    // The next one of this agreement woke nobody while this one was under way.
                    Ok(()) => node.state.touch(),
                    Err(error) => tracing::error!(code = error.code.as_str(), "a delivery can't be noted"),
                }
            });
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Sends until the other side took it or refused it for good, later and later.
async fn until_taken<T, F>(to: &ParticipantId, send: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut wait_ms = OUTBOX_BACKOFF_MS_MIN;
    loop {
        match send().await {
            Err(error) if is_for_now(error.code) => {
                tracing::info!(peer = %to, code = error.code.as_str(), "a message waits for its recipient");
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = wait_ms.saturating_mul(2).min(OUTBOX_BACKOFF_MS_MAX);
            }
            taken => return taken,
        }
    }
}

/// Errors after which the same message may yet be taken.
pub(crate) const fn is_for_now(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::PeerUnavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Overloaded
            | ErrorCode::LogUnavailable
            | ErrorCode::DiskFull
            | ErrorCode::RegisterStale
            | ErrorCode::ParticipantSuspended
            | ErrorCode::Internal
    )
}

async fn publish(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(PUBLISH_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = node.ledger.publish().await {
            tracing::error!(code = error.code.as_str(), "the log can't be published: {}", error.detail);
        }
    }
}

/// Exchanges heads with those for whom it was asked. What is asked for in the time of gathering is
/// one exchange: each writes files and an entry on both sides.
async fn exchange(node: Arc<Node>) {
    loop {
        node.wanted.told.notified().await;
        tokio::time::sleep(Duration::from_millis(GATHER_HEADS_MS)).await;
        let peers: Vec<_> = node.wanted.peers.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        for peer in peers {
            if let Err(error) = node.exchange_heads(&peer).await {
                if error.code == ErrorCode::LogForked {
                    tracing::error!(peer = %peer, "{}", error.detail);
                } else {
                    tracing::info!(peer = %peer, code = error.code.as_str(), "heads can't be exchanged now: {}", error.detail);
                }
            }
        }
    }
}

/// A new register version: noted in the log, and what it ends is ended. One that grows old is
/// warned of at half of its time, for past it nothing is read.
async fn watch_register(node: Arc<Node>) {
    let mut changes = node.register.subscribe();
    let mut ticks = tokio::time::interval(Duration::from_millis(REGISTER_CHECK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut warned_of = None;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {
                let register = node.register.load();
                if register.half_used(node.now()) && warned_of != Some(register.version()) {
                    warned_of = Some(register.version());
                    let until = register.payload().use_before.to_string();
                    tracing::warn!(version = register.version(), until, "no newer register came for half of its time; past it reads are refused");
                }
                continue;
            }
        }
        node.end_what_is_over();
        if let Err(error) = node.note_register().await {
            tracing::error!(code = error.code.as_str(), "a register version can't be noted");
        }
        node.try_to_follow_keys().await;
    }
}

/// Windows end and registers grow old by the clock alone.
async fn end_reads(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(END_CHECK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if node.running.any() {
            node.end_what_is_over();
            node.recheck_running().await;
        }
    }
}

impl Node {
    /// Looks again at the running reads whose policy may answer otherwise by now (a duty, a fact,
    /// a prohibition's window, time passed): one that would be refused ends before its next batch.
    pub(crate) async fn recheck_running(&self) {
        for (ground, stop) in self.running.grounds() {
            if let Some(reason) = self.gate.recheck(&ground).await {
                stop.stop(reason);
            }
        }
    }

    /// Ends running reads whose consumer is no longer in force, or whose agreement is over, or was
    /// suspended, amended or revoked.
    pub(crate) fn end_what_is_over(&self) {
        let now = self.now();
        let register = crate::connector::ports::RegisterPort(self.register.clone());
        self.running.end(now, |consumer, agreement| {
            if let Some(reason) = self.state.standing_of(agreement).and_then(Standing::refusal) {
                return Some(reason);
            }
            let standing = register.standing(consumer, now);
            match standing.status {
                Status::Revoked => Some(ErrorCode::ParticipantRevoked),
                Status::Suspended => Some(ErrorCode::ParticipantSuspended),
                Status::Active if !standing.fresh => Some(ErrorCode::RegisterStale),
                Status::Active => None,
            }
        });
    }
}
