//! What each partner gets at the most: reads at a time, bytes a second, bytes a day.
//!
//! A partner that asks much shares its own part and not that of others. Limits are administrative
//! acts in the log; what was sent today is summed from the log's outcomes at the start.

use crate::connector::node::Node;
use crate::connector::state::State;
use crate::ledger::Ledger;
use perron_model::entry::{Body, Entry};
use perron_model::limits::{PARTNER_CONCURRENCY_DEFAULT, PARTNER_LOOK_BACK_MS};
use perron_model::partner::{LimitedPartner, PartnerLimits};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// What partners use now.
#[derive(Debug)]
pub struct Partners {
    state: Arc<State>,
    used: Mutex<HashMap<ParticipantId, Used>>,
}

/// What one partner uses.
#[derive(Clone, Debug, Default)]
struct Used {
    running: u32,
    /// The day of UTC of `sent`.
    day: i64,
    /// Bytes sent in that day.
    sent: u64,
    /// When the line is free for the partner's next message.
    free: Option<Instant>,
}

impl Used {
    fn sent_on(&mut self, day: i64) -> &mut u64 {
        if self.day < day {
            (self.day, self.sent) = (day, 0);
        }
        &mut self.sent
    }
}

/// A partner's place among what runs; given back when dropped.
#[derive(Debug)]
pub struct Place {
    partners: Arc<Partners>,
    partner: ParticipantId,
    /// Bytes taken out of the day's volume.
    taken: AtomicU64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(used) = self.partners.used().get_mut(&self.partner) {
            used.running = used.running.saturating_sub(1);
        }
    }
}

impl Partners {
    /// Over the limits that the state knows; what was sent today comes from the log.
    pub fn open(state: Arc<State>, ledger: &Ledger, now: Timestamp) -> Result<Partners> {
        let day = day_of(now);
        let used = sent_since(ledger, day.saturating_mul(DAY_MS))?
            .into_iter()
            .map(|(partner, sent)| (partner, Used { day, sent, ..Used::default() }))
            .collect();
        Ok(Partners { state, used: Mutex::new(used) })
    }

    fn used(&self) -> MutexGuard<'_, HashMap<ParticipantId, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a plan or a read of the partner.
    ///
    /// # Errors
    /// `partner_busy` with as many running as it may have; `partner_volume_reached` once it got
    /// what it may get in a day.
    pub fn enter(self: &Arc<Self>, partner: &ParticipantId, now: Timestamp) -> Result<Place> {
        let limits = self.state.limits_of(partner);
        let mut all = self.used();
        let used = all.entry(partner.clone()).or_default();
        let most = limits.concurrency.unwrap_or(PARTNER_CONCURRENCY_DEFAULT);
        if used.running >= most {
            return Err(Error::new(
                ErrorCode::PartnerBusy,
                format!("`{partner}` has {most} plans and reads at a time here, and so many run"),
            ));
        }
        if limits.volume_bytes_per_day.is_some_and(|most| *used.sent_on(day_of(now)) >= most) {
            return Err(volume_reached(partner));
        }
        used.running = used.running.saturating_add(1);
        Ok(Place { partners: Arc::clone(self), partner: partner.clone(), taken: AtomicU64::new(0) })
    }

    /// Partners with limits or with reads, and what they use.
    fn list(&self, now: Timestamp) -> Json {
        let mut limits = self.state.partner_limits();
        let used = self.used().clone();
        for partner in used.keys().cloned().chain(self.state.extracts_allowed()) {
            limits.entry(partner).or_default();
        }
        let shown = |(partner, limits): (ParticipantId, PartnerLimits)| {
            let mut used = used.get(&partner).cloned().unwrap_or_default();
            let sent = *used.sent_on(day_of(now));
            json!({
                "partner": partner,
                "bandwidth_bytes_per_s": limits.bandwidth_bytes_per_s,
                "concurrency": limits.concurrency,
                "volume_bytes_per_day": limits.volume_bytes_per_day,
                "extracts": self.state.gives_extracts_to(&partner),
                "running": used.running,
                "sent_today_bytes": sent,
            })
        };
        Json::Array(limits.into_iter().map(shown).collect())
    }
}

impl Place {
    /// Bytes that the partner may get in a second.
    pub fn bandwidth(&self) -> Option<u64> {
        self.partners.state.limits_of(&self.partner).bandwidth_bytes_per_s
    }

    /// Takes a message of so many bytes out of the day's volume, and gives how long it has to wait
    /// for the line. All reads of the partner share its line, message by message. The limits are
    /// those in force now: a change holds for what runs.
    ///
    /// # Errors
    /// `partner_volume_reached`: the message doesn't fit into the day.
    pub fn take(&self, bytes: u64, now: Timestamp) -> Result<Duration> {
        let limits = self.partners.state.limits_of(&self.partner);
        let mut all = self.partners.used();
        let used = all.entry(self.partner.clone()).or_default();
        let sent = used.sent_on(day_of(now));
        let after = sent.saturating_add(bytes);
        if limits.volume_bytes_per_day.is_some_and(|most| after > most) {
            return Err(volume_reached(&self.partner));
        }
        *sent = after;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = limits.bandwidth_bytes_per_s else {
            used.free = None;
            return Ok(Duration::ZERO);
        };
        let clock = Instant::now();
        let begins = used.free.map_or(clock, |free| free.max(clock));
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000).checked_div(rate).unwrap_or(0));
        used.free = Some(begins.checked_add(takes).unwrap_or(begins));
        Ok(begins.saturating_duration_since(clock))
    }
}

impl Place {
    /// Gives back what was taken and didn't leave: the outcome counts `left` bytes.
    pub fn settle(&self, left: u64) {
        let back = self.taken.swap(left, Ordering::Relaxed).saturating_sub(left);
        if let Some(used) = self.partners.used().get_mut(&self.partner) {
            used.sent = used.sent.saturating_sub(back);
        }
    }
}

impl Node {
    /// Limits a partner, in place of what limited it before.
    pub async fn limit_partner(&self, actor: &str, partner: ParticipantId, limits: PartnerLimits) -> Result<()> {
        let limits = limits.check()?;
        self.require_partner(&partner)?;
        let document = canonical::to_bytes(&LimitedPartner { partner, limits })?;
        self.administer("partner.limit", actor, document).await
    }

    /// Refuses who isn't another participant of the register.
    pub(in crate::connector) fn require_partner(&self, partner: &ParticipantId) -> Result<()> {
        if *partner != self.me && self.register.load().participant(partner).is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::ParticipantUnknown, format!("`{partner}` is no partner of the register")))
    }

    /// Partners, their limits and what they use.
    pub fn partner_list(&self) -> Json {
        self.partners.list(self.now())
    }
}

fn volume_reached(partner: &ParticipantId) -> Error {
    Error::new(ErrorCode::PartnerVolumeReached, format!("`{partner}` got what it may get here in a day"))
}

fn day_of(now: Timestamp) -> i64 {
    now.millis().div_euclid(DAY_MS)
}

/// Bytes that outcomes since `from` (milliseconds) count, by consumer: the log read backwards until
/// before then, and further for the decisions of what ran at that time.
fn sent_since(ledger: &Ledger, from: i64) -> Result<HashMap<ParticipantId, u64>> {
    let mut open: HashMap<Digest, u64> = HashMap::new();
    let mut sent: HashMap<ParticipantId, u64> = HashMap::new();
    for (log, index) in ledger.readers().flat_map(|log| (0..log.size()).rev().map(move |index| (log, index))) {
        let leaf = match crate::ledger::leaf_of(log, index) {
            Ok(leaf) => leaf,
            // Far older than anything that counts here.
            Err(error) if error.code == ErrorCode::EntryPruned => break,
            Err(error) => return Err(error),
        };
        let entry = Entry::from_bytes(&leaf)?;
        let before = from.saturating_sub(entry.time.millis());
        if before > PARTNER_LOOK_BACK_MS || (before > 0 && open.is_empty()) {
            break;
        }
        match entry.body {
            // Outside of a chain it ends a statement over this log.
            Body::Outcome(outcome) if before <= 0 && outcome.bytes > 0 && entry.chain.is_some() => {
                open.insert(outcome.decision, outcome.bytes);
            }
            Body::Decision(decision) => {
                let hash = Digest::from_bytes(perron_log::merkle::leaf_hash(&leaf).0);
                if let Some(bytes) = open.remove(&hash) {
                    let partner = sent.entry(ParticipantId::parse(&decision.consumer)?).or_default();
                    *partner = partner.saturating_add(bytes);
                }
            }
            _ => {}
        }
    }
    Ok(sent)
}
