//! What the organisation knows, as a fold over its log: offers, negotiations, agreements.
//!
//! Each change is an entry first; this observer takes it up. sled keeps the fold between two
//! starts, memory serves it.

mod agreements;
mod erasures;
mod lives;
mod negotiations;
mod reconciled;
mod records;

use crate::connector::rotation::{KEY_CHANGED, KeyChanged};
use crate::ledger::Observer;
use crate::store::{Change, Places, Store, Trees};
pub use agreements::KeptAgreement;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use erasures::Erasure;
pub use lives::{Declared, KeptLife, OutgoingNotice, ToTell};
pub use negotiations::{Negotiation, REFUSED};
use perron_model::agreement::{Envelope, Offer};
use perron_model::collection::{Collection, CollectionName};
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::id::{DatasetId, FactName};
use perron_model::limits::LEDGER_BATCH_MAX;
use perron_model::negotiation::NegotiationMessage;
use perron_model::partner::{LimitedPartner, PartnerLimits};
use perron_model::request::{Acknowledgement, Receipt, Seen};
use perron_model::retention::{RETENTION_ACT, RetentionRule};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result};
pub use reconciled::{Matching, Reconciliations};
pub use records::payload_of;
use records::{document, document_text, load, newest_position, permits, position, put, release_key, snapshot_of};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

/// How requests for an offer are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// A request for exactly this offer is agreed at once.
    Automatic,
    /// A person decides.
    Manual,
}

/// A published offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedOffer {
    /// The offer.
    pub offer: Offer,
    /// How requests for it are decided.
    pub approval: Approval,
    /// For one consumer alone, or for all who may see the set.
    #[serde(default)]
    pub consumer: Option<ParticipantId>,
    /// Is it still to be had?
    pub open: bool,
}

/// What a consumer holds of a provider's chain, and has yet to acknowledge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Reads received whose acknowledgement the provider hasn't taken yet.
    pub unacknowledged: Vec<Acknowledgement>,
    /// Newest position held of the provider's chain.
    pub seen: Option<Seen>,
    /// Generation of the provider's log in which it lies.
    #[serde(default)]
    pub generation: u64,
    /// Place of our entry with the receipt that shows it.
    #[serde(default)]
    pub received: Option<u64>,
}

#[derive(Debug, Default)]
struct Memory {
    offers: BTreeMap<DatasetId, PublishedOffer>,
    // Negotiations that have not ended, or whose last message is on its way. The others, and all
    // agreements, are in the store: there may be very many.
    moving: BTreeMap<String, Negotiation>,
    held: BTreeMap<AgreementId, Held>,
    // Lives by the agreement with which they began; that one for each version; those with a notice
    // that is yet to be told.
    lives: BTreeMap<AgreementId, KeptLife>,
    firsts: HashMap<AgreementId, AgreementId>,
    telling: BTreeSet<AgreementId>,
    facts: BTreeMap<FactName, Declared>,
    collections: BTreeMap<CollectionName, Collection>,
    partners: BTreeMap<ParticipantId, PartnerLimits>,
    // Partners that may have extracts over the wire.
    extracts: BTreeSet<ParticipantId>,
    reconciled: BTreeMap<AgreementId, Reconciliations>,
    // By the number of their entries.
    erasures: BTreeMap<u64, Erasure>,
}

/// The fold.
#[derive(Debug)]
pub struct State {
    store: Store,
    memory: RwLock<Memory>,
    /// Agreements that were asked for lately.
    at_hand: Mutex<HashMap<AgreementId, Arc<KeptAgreement>>>,
    // Where the decision about a request lies, and the outcome of a decision.
    requests: Places,
    outcomes: Places,
    /// What the store gets at the end of a batch, in one step: whoever waits for an entry is answered
    /// after it. What is read back meanwhile isn't among it.
    noted: Mutex<Vec<Change>>,
    changed: tokio::sync::watch::Sender<u64>,
}

const OFFERS: &str = "offers";
const NEGOTIATIONS: &str = "negotiations";
const MOVING: &str = "negotiations-moving";
const THEIRS: &str = "negotiations-by-theirs";
const AGREEMENTS: &str = "agreements";
const LIVES: &str = "lives";
const FACTS: &str = "facts";
const COLLECTIONS: &str = "collections";
const REQUESTS: Trees = Trees { runs: "requests-runs", fresh: "requests-fresh", earlier: "requests" };
const OUTCOMES: Trees = Trees { runs: "outcomes-runs", fresh: "outcomes-fresh", earlier: "outcomes" };
const HELD: &str = "held";
const RELEASES: &str = "releases";
const SETS: &str = "sets";
const PARTNERS: &str = "partners";
const EXTRACTS: &str = "extracts";
const RECONCILED: &str = "reconciled";
const OPEN_READS: &str = "open-reads";
const RETENTION: &str = "retention";
const KEYS: &str = "keys";
const ERASURES: &str = "erasures";

impl State {
    /// Loads the fold from the store.
    pub fn open(store: Store) -> Result<State> {
        let mut memory = Memory::default();
        for offer in load::<PublishedOffer>(&store, OFFERS)? {
            memory.offers.insert(offer.offer.id.clone(), offer);
        }
        memory.moving = negotiations::moving(&store)?;
        for declared in load::<Declared>(&store, FACTS)? {
            memory.facts.insert(declared.name.clone(), declared);
        }
        for collection in load::<Collection>(&store, COLLECTIONS)? {
            memory.collections.insert(collection.name.clone(), collection);
        }
        for life in load::<KeptLife>(&store, LIVES)? {
            memory.keep_life(life);
        }
        for LimitedPartner { partner, limits } in load(&store, PARTNERS)? {
            memory.partners.insert(partner, limits);
        }
        memory.load_reconciled(&store)?;
        for erasure in load::<Erasure>(&store, ERASURES)? {
            memory.erasures.insert(erasure.index, erasure);
        }
        for (key, value) in store.scan(HELD, b"")? {
            let agreement = <[u8; 32]>::try_from(key)
                .map_err(|_| Error::new(ErrorCode::Internal, "a record of the store can't be read"))?;
            let held = serde_json::from_slice(&value)
                .map_err(|_| Error::new(ErrorCode::Internal, "a record of the store can't be read"))?;
            memory.held.insert(Digest::from_bytes(agreement), held);
        }
        let state = State {
            requests: Places::open(store.clone(), REQUESTS)?,
            outcomes: Places::open(store.clone(), OUTCOMES)?,
            store,
            memory: RwLock::new(memory),
            at_hand: Mutex::default(),
            noted: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(0),
        };
        state.begin_missing_lives()?;
        Ok(state)
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told at each change, with the number of entries applied.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }
    /// Wakes those who follow changes.
    pub fn touch(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
    /// All offers.
    pub fn offers(&self) -> Vec<PublishedOffer> {
        self.read().offers.values().cloned().collect()
    }
    /// An offer.
    pub fn offer(&self, id: &DatasetId) -> Option<PublishedOffer> {
        self.read().offers.get(id).cloned()
    }
    /// What is held of a provider's chain, as consumer.
    pub fn held(&self, agreement: &AgreementId) -> Held {
        self.read().held.get(agreement).cloned().unwrap_or_default()
    }
    /// Decisions of all providers about reads of ours that we have yet to acknowledge.
    pub fn unacknowledged(&self) -> HashSet<Digest> {
        self.read().held.values().flat_map(|held| &held.unacknowledged).map(|a| a.decision).collect()
    }
    /// The retention rule in force: as signed, and what it says.
    pub fn retention(&self) -> Result<Option<(String, RetentionRule)>> {
        let Some(bytes) = self.store.get(RETENTION, b"rule")? else { return Ok(None) };
        let signed = String::from_utf8(bytes).map_err(|_| records::unreadable())?;
        let payload = signed.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let rule = payload.and_then(|bytes| RetentionRule::parse(&bytes).ok()).ok_or_else(records::unreadable)?;
        Ok(Some((signed, rule)))
    }
    /// What limits a partner here.
    pub fn limits_of(&self, partner: &ParticipantId) -> PartnerLimits {
        self.read().partners.get(partner).cloned().unwrap_or_default()
    }
    /// Partners that are limited here.
    pub fn partner_limits(&self) -> BTreeMap<ParticipantId, PartnerLimits> {
        self.read().partners.clone()
    }
    /// Position of the decision about a request.
    pub fn decision_of(&self, request: &Digest) -> Result<Option<u64>> {
        self.requests.get(request)
    }
    /// Does the log tell that the key of this thumbprint was taken into use?
    pub fn is_key_noted(&self, kid: &Digest) -> Result<bool> {
        Ok(self.store.get(KEYS, kid.as_bytes())?.is_some())
    }
    /// Has the release of this table under this agreement its entry?
    pub fn is_released(&self, agreement: &AgreementId, table: &Digest) -> Result<bool> {
        let key = [agreement.as_bytes().as_slice(), table.as_bytes()].concat();
        Ok(self.store.get(RELEASES, &key)?.is_some())
    }
    /// Position of the outcome of a decision.
    pub fn outcome_of(&self, decision: &Digest) -> Result<Option<u64>> {
        self.outcomes.get(decision)
    }

    /// Sets that the log says are published, with the digest of the snapshot in use.
    pub fn published_sets(&self) -> Result<BTreeMap<DatasetId, Digest>> {
        let unreadable = || Error::new(ErrorCode::Internal, "a record of the store can't be read");
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id = String::from_utf8(key).map_err(|_| unreadable()).and_then(|id| DatasetId::parse(&id))?;
            let digest = <[u8; 32]>::try_from(value).map_err(|_| unreadable())?;
            Ok((id, Digest::from_bytes(digest)))
        };
        self.store.scan(SETS, b"")?.into_iter().map(read).collect()
    }

    /// Reads of ours whose end has no entry yet: the request's digest, and where its intent lies.
    pub fn open_reads(&self) -> Result<Vec<(Digest, u64)>> {
        let unreadable = || Error::new(ErrorCode::Internal, "a record of the store can't be read");
        self.store
            .scan(OPEN_READS, b"")?
            .into_iter()
            .map(|(key, value)| {
                let request = <[u8; 32]>::try_from(key).map_err(|_| unreadable())?;
                let index = <[u8; 8]>::try_from(value).map_err(|_| unreadable())?;
                Ok((Digest::from_bytes(request), u64::from_be_bytes(index)))
            })
            .collect()
    }
    /// Is this read of ours still without an entry of its end?
    pub fn is_open_read(&self, request: &Digest) -> Result<bool> {
        Ok(self.store.get(OPEN_READS, request.as_bytes())?.is_some())
    }

    /// Notes a change for the end of the batch; a long replay makes some of them before.
    fn note(&self, change: Change) -> Result<()> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(change);
        if noted.len() < LEDGER_BATCH_MAX {
            return Ok(());
        }
        self.store.apply(std::mem::take(&mut *noted))
    }

    fn take(&self, entry: &Entry, leaf: Digest, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<()> {
        match &entry.body {
            Body::Administration(admin) if admin.action == "offer.add" || admin.action == "offer.close" => {
                let offer: PublishedOffer = document(attachments, AttachmentKind::Document)?;
                self.store.apply(vec![put(OFFERS, offer.offer.id.as_str().as_bytes(), &offer)?])?;
                self.memory
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .offers
                    .insert(offer.offer.id.clone(), offer);
            }
            Body::Administration(admin) if admin.action == RETENTION_ACT => {
                let value = document_text(attachments, AttachmentKind::Document)?.into_bytes();
                self.store.apply(vec![Change::Put { tree: RETENTION, key: b"rule".to_vec(), value }])?;
            }
            Body::Administration(admin) if admin.action == "fact.set" => self.take_fact(attachments)?,
            Body::Administration(admin) if admin.action == "collection.set" => self.take_collection(attachments)?,
            Body::Administration(admin) if admin.action == "partner.limit" => {
                let limited: LimitedPartner = document(attachments, AttachmentKind::Document)?;
                self.store.apply(vec![put(PARTNERS, limited.partner.as_str().as_bytes(), &limited)?])?;
                let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
                memory.partners.insert(limited.partner, limited.limits);
            }
            Body::Administration(admin) if admin.action == "partner.extracts" => self.take_extracts(attachments)?,
            Body::Administration(admin) if admin.action == KEY_CHANGED => {
                let changed: KeyChanged = document(attachments, AttachmentKind::Document)?;
                self.store.apply(vec![position(KEYS, changed.new.as_bytes().to_vec(), entry.index)])?;
            }
            Body::Administration(admin) if admin.action == "dataset.withdraw" => {
                let id: DatasetId = document(attachments, AttachmentKind::Document)?;
                self.store.apply(vec![Change::Remove { tree: SETS, key: id.as_str().as_bytes().to_vec() }])?;
            }
            Body::Administration(admin) if admin.action.starts_with("dataset.") => {
                let snapshot = snapshot_of(attachments)?;
                let key = snapshot.dataset.as_str().as_bytes().to_vec();
                let value = snapshot.digest.as_bytes().to_vec();
                self.store.apply(vec![Change::Put { tree: SETS, key, value }])?;
            }
            Body::Negotiation(step) => {
                let message: NegotiationMessage = document(attachments, AttachmentKind::NegotiationMessage)?;
                self.take_step(step, message, entry.time)?;
            }
            Body::Agreement(_) => {
                let envelope: Envelope = document(attachments, AttachmentKind::Envelope)?;
                self.take_agreement(entry, envelope)?;
            }
            Body::Notice(_) => self.take_notice(entry, attachments)?,
            Body::Reconciled(reconciled) => self.take_reconciled(entry, reconciled)?,
            Body::Erased(erased) => self.take_erased(entry.index, entry.time, leaf, erased)?,
            Body::Decision(decision) => self.requests.note(&decision.request, entry.index)?,
            Body::Outcome(outcome) => self.outcomes.note(&outcome.decision, entry.index)?,
            Body::Release(release) => {
                let key = release_key(entry, &release.table);
                self.store.apply(vec![position(RELEASES, key, entry.index)])?;
            }
            Body::Intent(intent) => {
                self.note(position(OPEN_READS, intent.request.as_bytes().to_vec(), entry.index))?;
            }
            Body::Received(received) => {
                self.take_received(entry, received, attachments)?;
                let key = received.request.as_bytes().to_vec();
                self.note(Change::Remove { tree: OPEN_READS, key })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A read has ended. Where the provider decided about it, what its request acknowledged has
    /// arrived; where it permitted it, it is to be acknowledged itself, also if its answer broke
    /// off: the provider waits for it.
    fn take_received(
        &self,
        entry: &Entry,
        received: &perron_model::entry::Received,
        attachments: &[(AttachmentKind, Vec<u8>)],
    ) -> Result<()> {
        let (Some(position), Some(decision)) = (&entry.chain, received.decision) else { return Ok(()) };
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let held = memory.held.entry(position.agreement).or_default();
        if let Ok(text) = document_text(attachments, AttachmentKind::Request)
            && let Ok(request) = perron_model::request::claims_of(&text)
        {
            held.unacknowledged.retain(|a| !request.acknowledged.iter().any(|sent| sent.decision == a.decision));
        }
        let receipt = document::<Receipt>(attachments, AttachmentKind::Receipt).ok();
        if receipt.as_ref().is_some_and(permits) {
            held.unacknowledged.push(Acknowledgement {
                decision,
                rows: received.rows,
                messages: received.messages,
                stream_root: received.stream_root,
            });
        }
        if let Some((generation, seen)) = receipt.as_ref().and_then(newest_position)
            && held.seen.as_ref().is_none_or(|known| (held.generation, known.number) < (generation, seen.number))
        {
            (held.generation, held.seen, held.received) = (generation, Some(seen), Some(entry.index));
        }
        self.store.apply(vec![put(HELD, position.agreement.as_bytes(), held)?])
    }
}

impl Observer for State {
    fn applied(&self, entry: &Entry, leaf: Digest, attachments: &[(AttachmentKind, Vec<u8>)]) {
        if let Err(error) = self.take(entry, leaf, attachments) {
            tracing::error!(index = entry.index, error = %error, "an entry can't be taken into the store");
        }
    }
    fn batch_end(&self, size: u64) {
        let mut changes = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        changes.extend(self.requests.end_batch());
        changes.extend(self.outcomes.end_batch());
        if let Err(error) = self.store.apply(changes).and_then(|()| self.store.set_applied(size)) {
            tracing::error!(error = %error, "the store can't be brought level");
        }
        self.touch();
    }
    fn seen(&self) -> u64 {
        self.store.applied().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
