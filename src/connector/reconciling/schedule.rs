//! When an agreement's chain is matched by itself: once in the time that is set, at another moment for
//! each, and only where something happened since.

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::state::{KeptAgreement, Matching};
use perron_model::entry::{Body, Entry};
use perron_model::limits::{RECONCILE_LOOK_MS_MAX, RECONCILE_LOOK_MS_MIN};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// What this process knows beside the log.
#[derive(Debug, Default)]
struct Schedule {
    /// Not before this.
    next: HashMap<AgreementId, Timestamp>,
    /// Nothing happened in the chain before this entry of the log, since it was matched.
    quiet: HashMap<AgreementId, u64>,
}

/// Matches what is due, as long as the process runs.
pub(in crate::connector) async fn reconcile(node: Arc<Node>) {
    let Some(every) = node.reconciling.every else { return };
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let look_ms = (every_ms / 20).clamp(RECONCILE_LOOK_MS_MIN, RECONCILE_LOOK_MS_MAX);
    let mut ticks = tokio::time::interval(Duration::from_millis(look_ms));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let every_ms = i64::try_from(every_ms).unwrap_or(i64::MAX);
    let mut schedule = Schedule::default();
    loop {
        ticks.tick().await;
        let looked = node.clone();
        let due = blocking(move || looked.due(every_ms, schedule)).await;
        schedule = match due {
            Ok((due, mut schedule)) => {
                for agreement in due {
                    node.match_due(&agreement, every_ms, &mut schedule).await;
                }
                schedule
            }
            Err(error) => {
                tracing::error!(code = error.code.as_str(), "what is to be reconciled can't be told: {}", error.detail);
                Schedule::default()
            }
        };
    }
}

impl Node {
    /// The agreements whose turn it is.
    fn due(&self, every_ms: i64, mut schedule: Schedule) -> Result<(Vec<AgreementId>, Schedule)> {
        let now = self.now();
        let (mut due, mut perhaps) = (Vec::new(), HashMap::new());
        for id in self.state.agreement_names()? {
            if schedule.next.get(&id).is_some_and(|next| *next > now) {
                continue;
            }
            let known = self.state.reconciliation(&id);
            let Some(kept) = self.state.stored_agreement(&id)? else { continue };
            let since = known.as_ref().map_or(kept.payload.timestamp, |known| known.newest.at);
            let at = since.plus_millis(every_ms.saturating_add(self.delay_of(&id, every_ms)));
            if at > now {
                schedule.next.insert(id, at);
            } else if !self.is_dialable(&kept.counterparty()) || !self.is_whole(&kept) {
                schedule.next.insert(id, now.plus_millis(every_ms));
            } else {
                let looked = schedule.quiet.get(&id).copied();
                // What this process doesn't know, the entry tells well enough.
                let is_whole = |newest: &Matching| {
                    newest.result == "same" && newest.open == Some(0) && (looked.is_some() || !newest.is_behind)
                };
                match known.map(|known| known.newest).filter(is_whole) {
                    Some(newest) => drop(perhaps.insert(id, looked.unwrap_or(newest.entry))),
                    None => due.push(id),
                }
            }
        }
        let (active, size) = self.active_since(&perhaps)?;
        for id in perhaps.into_keys() {
            if active.contains(&id) {
                due.push(id);
            } else {
                schedule.quiet.insert(id, size);
            }
        }
        Ok((due, schedule))
    }

    /// Has the log in force the whole chain of an agreement?
    fn is_whole(&self, kept: &KeptAgreement) -> bool {
        self.ledger.pruned_of(&kept.id) == 0 && self.require_open_chain(kept).is_ok()
    }

    /// Of these agreements, those in whose chain something stands from an entry of the log on, other
    /// than that it was given or matched; and up to where that was looked for.
    fn active_since(&self, perhaps: &HashMap<AgreementId, u64>) -> Result<(HashSet<AgreementId>, u64)> {
        let reader = self.ledger.reader();
        let size = reader.size();
        let mut active = HashSet::new();
        let Some(from) = perhaps.values().min().copied() else { return Ok((active, size)) };
        let visited = reader.for_entries(from.min(size), size, &mut |stored| {
            let Some(stored) = stored.entry() else { return true };
            if let Ok(Entry { index, chain: Some(chain), body, .. }) = Entry::from_bytes(&stored.leaf)
                && perhaps.get(&chain.agreement).is_some_and(|from| index >= *from)
                && !matches!(body, Body::Extract(_) | Body::Reconciled(_))
            {
                active.insert(chain.agreement);
            }
            active.len() < perhaps.len()
        });
        visited.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        Ok((active, size))
    }

    async fn match_due(self: &Arc<Self>, agreement: &AgreementId, every_ms: i64, schedule: &mut Schedule) {
        let Some(kept) = self.state.agreement(agreement) else { return };
        let partner = kept.counterparty();
        let matched = self.match_chains(kept, false).await;
        let (matched, size) = match matched {
            Ok((matched, size)) => (Ok(matched), size),
            Err(error) => (Err(error), None),
        };
        let wait_ms = match matched {
            Ok(matched) if matched.result == "unanswered" => {
                let (code, detail) = (matched.reason.unwrap_or_default(), matched.detail.unwrap_or_default());
                tracing::info!(%agreement, %partner, code, "the partner's extract can't be had now: {detail}");
                every_ms / 24
            }
            Ok(_) => every_ms,
            Err(error) => {
                let code = error.code.as_str();
                tracing::warn!(%agreement, %partner, code, "a chain can't be reconciled now: {}", error.detail);
                every_ms / 24
            }
        };
        schedule.quiet.remove(agreement);
        schedule.quiet.extend(size.map(|size| (*agreement, size)));
        schedule.next.insert(*agreement, self.now().plus_millis(wait_ms.max(1_000)));
    }

    /// Up to a tenth of the time, another for each agreement and side: not all ask at once.
    fn delay_of(&self, agreement: &AgreementId, every_ms: i64) -> i64 {
        let name = Digest::of(&[agreement.as_bytes().as_slice(), self.me.as_str().as_bytes()].concat());
        let [first, second, ..] = *name.as_bytes();
        let part = i64::from(u16::from_be_bytes([first, second]));
        (every_ms / 10).saturating_mul(part) / i64::from(u16::MAX)
    }
}
