//! The chains of agreements, matched with those of their other parties: by command, and on schedule.
//!
//! The partner is asked for its extract, which has to hold by itself and to be of the one history of
//! its log that we know. Then our own chain is read, so that no clock decides what may be too new: what
//! our log said before we asked is in both, or a difference. What came of it is an entry of the chain.

mod files;
mod schedule;

pub(super) use schedule::reconcile;

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::state::{KeptAgreement, Matching};
use crate::connector::tasks::is_for_now;
use crate::ledger::Draft;
use files::Files;
use futures::StreamExt;
use perron_log::merkle::leaf_hash;
use perron_model::entry::{self, Body, Entry};
use perron_model::life::Standing;
use perron_model::limits::{
    EXTRACT_BYTES_MAX, EXTRACT_LEAVES_MAX, EXTRACT_MS_MAX, EXTRACT_TRIES_MAX, OUTBOX_BACKOFF_MS_MIN,
    RECONCILE_FAILURE_MS,
};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result};
use perron_verify::{DifferenceKind, OpenedExtract, Reconciled, open_extract, reconcile_asked};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often chains are matched, and what of partners is kept.
#[derive(Debug)]
pub struct Reconciling {
    every: Option<Duration>,
    files: Files,
    // One at a time: each is a look through the log.
    one: tokio::sync::Mutex<()>,
}

impl Reconciling {
    /// Every so often, or by command alone; extracts lie in an organisation's directory.
    pub fn new(every: Option<Duration>, data: &Path) -> Reconciling {
        Reconciling { every, files: Files::of(data), one: tokio::sync::Mutex::new(()) }
    }
}

/// What came of matching one agreement's chain with its other party's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matched {
    /// The agreement.
    pub agreement: AgreementId,
    /// Its other party.
    pub partner: ParticipantId,
    /// `same`, `differs`, `invalid`, `refused`, `unanswered`; in an answer alone also `pruned`: entries
    /// of our own chain are gone, so nothing was asked.
    pub result: String,
    /// Stable code, where nothing was compared.
    pub reason: Option<String>,
    /// What exactly, then.
    pub detail: Option<String>,
    /// Entries of the partner's log under the extract's signature.
    pub size: Option<u64>,
    /// SHA-256 of the extract.
    pub extract: Option<Digest>,
    /// What both tell alike, what is open, what differs.
    pub reconciled: Option<Reconciled>,
}

impl Matched {
    fn pruned(kept: &KeptAgreement, error: Error) -> Matched {
        Matched {
            agreement: kept.id,
            partner: kept.counterparty(),
            result: "pruned".to_owned(),
            reason: Some(error.code.to_string()),
            detail: Some(error.detail),
            size: None,
            extract: None,
            reconciled: None,
        }
    }
}

/// An extract as it came, with the proof from the checkpoint of `held` entries that we had.
#[derive(Debug, Default)]
struct Fetched {
    bytes: Vec<u8>,
    held: u64,
    consistency: Vec<[u8; 32]>,
}

/// The end of our own chain that was matched.
#[derive(Clone, Copy, Debug)]
struct OwnEnd {
    /// Its number in the chain.
    number: u64,
    /// Its leaf hash.
    leaf: Digest,
    /// Entries that our log had then.
    size: u64,
}

/// What the partner's side comes to.
enum Had {
    /// Its extract holds, and what came of matching it.
    Compared(Box<OpenedExtract>, Reconciled),
    /// What it shows of its log contradicts itself.
    Contradicted(DifferenceKind, Error),
    /// What came doesn't hold.
    Invalid(Error),
    /// Nothing came.
    Failed(Error),
}

impl Had {
    fn result(&self) -> &'static str {
        match self {
            Had::Compared(_, reconciled) if reconciled.is_same() => "same",
            Had::Compared(..) | Had::Contradicted(..) => "differs",
            Had::Invalid(_) => "invalid",
            Had::Failed(error) if is_refusal(error.code) => "refused",
            Had::Failed(_) => "unanswered",
        }
    }
}

/// Failures that say that the partner gives nothing, not that it couldn't be asked.
const fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ExtractDenied
            | ErrorCode::EntryPruned
            | ErrorCode::NotFound
            | ErrorCode::ParticipantUnknown
            | ErrorCode::ParticipantSuspended
            | ErrorCode::ParticipantRevoked
    )
}

impl Node {
    /// Matches the chains of one agreement with a partner now, or of all that aren't over.
    ///
    /// # Errors
    /// `participant_unknown`; `peer_unavailable` for who can't be dialled; `not_found` where there is no
    /// such agreement. What the partner does about it is in the answer, and in the log.
    pub async fn reconcile_with(
        self: &Arc<Self>,
        partner: &ParticipantId,
        agreement: Option<AgreementId>,
    ) -> Result<Vec<Matched>> {
        self.require_partner(partner)?;
        if !self.is_dialable(partner) {
            let detail = format!("`{partner}` can't be dialled; it can ask us, or give its extract as a file");
            return Err(Error::new(ErrorCode::PeerUnavailable, detail));
        }
        let is_over =
            |id: &AgreementId| matches!(self.state.standing_of(id), None | Some(Standing::Revoked | Standing::Amended));
        let names = match agreement {
            Some(id) => vec![id],
            None => self.state.agreement_names()?.into_iter().filter(|id| !is_over(id)).collect(),
        };
        let none = Error::new(ErrorCode::NotFound, format!("there is no such agreement with `{partner}`"));
        let (mut matched, mut why) = (Vec::new(), none);
        for id in names {
            let kept = self.state.stored_agreement(&id)?.filter(|kept| kept.counterparty() == *partner);
            let Some(kept) = kept.map(Arc::new) else { continue };
            if let Err(error) = self.require_open_chain(&kept) {
                why = error;
                continue;
            }
            matched.push(match self.match_chains(kept.clone(), true).await {
                // Asked about all, the others are matched all the same.
                Err(error) if error.code == ErrorCode::EntryPruned && agreement.is_none() => {
                    Matched::pruned(&kept, error)
                }
                done => done?.0,
            });
        }
        if matched.is_empty() {
            return Err(why);
        }
        Ok(matched)
    }

    /// Asks for the other party's chain, matches it with ours, keeps it, and writes what came of it;
    /// a failure that was written lately is written again only if `always`. Gives the size of our log
    /// up to which ours was matched too.
    async fn match_chains(self: &Arc<Self>, kept: Arc<KeptAgreement>, always: bool) -> Result<(Matched, Option<u64>)> {
        let _one = self.reconciling.one.lock().await;
        self.require_whole(&kept.id)?;
        let partner = kept.counterparty();
        let asked = self.ledger.reader().size();
        let late = |_| Err(Error::new(ErrorCode::DeadlineExceeded, "the extract takes too long to arrive"));
        let limit = Duration::from_millis(EXTRACT_MS_MAX);
        let fetched = tokio::time::timeout(limit, self.fetch(&partner, &kept.id)).await.unwrap_or_else(late);
        let (had, bytes, end) = match fetched {
            Ok(Fetched { bytes, held, consistency }) => {
                let bytes = Arc::new(bytes);
                match self.open_extract_of(&kept, bytes.clone(), held, &consistency).await? {
                    Ok(theirs) => {
                        let (had, end) = self.compare(&kept, theirs, asked).await?;
                        (had, Some(bytes), Some(end))
                    }
                    Err(had @ Had::Failed(_)) => (had, None, None),
                    Err(had) => (had, Some(bytes), None),
                }
            }
            Err(error) if error.code == ErrorCode::LogForked => {
                (Had::Contradicted(DifferenceKind::HistoryDiffers, error), None, None)
            }
            Err(error) => (Had::Failed(error), None, None),
        };
        let matched = self.take_up(&kept, had, bytes, end, always).await?;
        Ok((matched, end.map(|end| end.size)))
    }

    /// The whole extract of the partner; one that breaks off goes on where it did.
    async fn fetch(&self, partner: &ParticipantId, agreement: &AgreementId) -> Result<Fetched> {
        let mut fetched = Fetched { held: self.held_of(partner)?, ..Fetched::default() };
        let (mut place, mut wait_ms) = (None, OUTBOX_BACKOFF_MS_MIN);
        let mut tries = 0_usize;
        loop {
            tries = tries.saturating_add(1);
            let error = match self.fetch_on(partner, agreement, &mut fetched, &mut place).await {
                Ok(()) => return Ok(fetched),
                Err(error) => error,
            };
            let is_gone = error.code == ErrorCode::NotFound;
            if place.is_none() || tries >= EXTRACT_TRIES_MAX || !(is_gone || is_for_now(error.code)) {
                return Err(error);
            }
            if is_gone {
                place = None;
                fetched.bytes.clear();
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = wait_ms.saturating_mul(4);
        }
    }

    async fn fetch_on(
        &self,
        partner: &ParticipantId,
        agreement: &AgreementId,
        fetched: &mut Fetched,
        place: &mut Option<crate::connector::peers::ExtractPlace>,
    ) -> Result<()> {
        let mut parts = self.peers.extract(partner, agreement, fetched.held, *place).await?;
        loop {
            let broke_off = || Error::new(ErrorCode::PeerUnavailable, "the extract broke off");
            let part = parts.next().await.ok_or_else(broke_off)??;
            if fetched.bytes.is_empty() {
                fetched.consistency = part.consistency;
            }
            if fetched.bytes.len().saturating_add(part.lines.len()) > EXTRACT_BYTES_MAX {
                let detail = format!("the extract has more than {EXTRACT_BYTES_MAX} bytes; ask for it as a file");
                return Err(Error::new(ErrorCode::TooLarge, detail));
            }
            fetched.bytes.extend_from_slice(&part.lines);
            *place = part.next;
            if part.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Verifies an extract: by itself, that it is of the history that we know of that log, and that it
    /// was made out when we asked.
    async fn open_extract_of(
        &self,
        kept: &Arc<KeptAgreement>,
        bytes: Arc<Vec<u8>>,
        held: u64,
        consistency: &[[u8; 32]],
    ) -> Result<std::result::Result<Box<OpenedExtract>, Had>> {
        let authority = self.authority;
        let opened = blocking(move || Ok(open_extract(&mut bytes.as_slice(), &authority))).await?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(Had::Invalid(error))),
        };
        let partner = kept.counterparty();
        if (&opened.owner, &opened.to, &opened.agreement) != (&partner, &self.me, &kept.id) {
            let error = Error::new(ErrorCode::SignatureInvalid, "it is not the extract that was asked for");
            return Ok(Err(Had::Invalid(error)));
        }
        if let Err(error) = self.require_known_history(&partner, &opened, held, consistency).await {
            return Ok(Err(match error.code {
                ErrorCode::LogForked => Had::Contradicted(DifferenceKind::HistoryDiffers, error),
                ErrorCode::SignatureInvalid | ErrorCode::Malformed => Had::Invalid(error),
                _ => Had::Failed(error),
            }));
        }
        // That it was given is an entry which was written after we asked: beyond whatever we held then.
        let given = opened.entries.last().map_or(0, |(_, entry)| entry.index);
        if given < held {
            let error = Error::new(ErrorCode::EvidenceDiffers, "it was made out before we asked");
            return Ok(Err(Had::Contradicted(DifferenceKind::ExtractOlder, error)));
        }
        Ok(Ok(Box::new(opened)))
    }

    /// Reads our own chain and matches it. Gives the end of ours that was matched too.
    async fn compare(
        self: &Arc<Self>,
        kept: &Arc<KeptAgreement>,
        theirs: Box<OpenedExtract>,
        asked: u64,
    ) -> Result<(Had, OwnEnd)> {
        let (node, kept) = (self.clone(), kept.clone());
        blocking(move || {
            let ours = node.own_chain(&kept)?;
            let last = ours.entries.last().and_then(|(leaf, entry)| Some((entry.chain.as_ref()?.number, *leaf)));
            let (number, leaf) =
                last.ok_or_else(|| Error::new(ErrorCode::LogDamaged, "the agreement's chain has no entry"))?;
            let end = OwnEnd { number, leaf, size: ours.size };
            let reconciled = reconcile_asked(&theirs, &ours, asked)?;
            Ok((Had::Compared(theirs, reconciled), end))
        })
        .await
    }

    /// Refuses a chain of which entries were pruned: what it lacks would be told as a difference.
    fn require_whole(&self, agreement: &AgreementId) -> Result<()> {
        match self.ledger.pruned_of(agreement) {
            0 => Ok(()),
            pruned => {
                let detail = format!("{pruned} entries of this agreement's chain were pruned here");
                Err(Error::new(ErrorCode::EntryPruned, detail))
            }
        }
    }

    /// Our chain of an agreement, as the other party would have it.
    fn own_chain(&self, kept: &KeptAgreement) -> Result<OpenedExtract> {
        let reader = self.ledger.reader();
        let head = reader.checkpoint();
        let (mut entries, mut broken) = (Vec::new(), None);
        let visited = reader.for_entries(kept.index.min(head.size), head.size, &mut |stored| {
            // Of a chain that is whole none was pruned.
            let Some(stored) = stored.entry() else { return true };
            match Entry::from_bytes(&stored.leaf) {
                Ok(entry) if entry.chain.as_ref().is_some_and(|chain| chain.agreement == kept.id) => {
                    entries.push((Digest::from_bytes(leaf_hash(&stored.leaf).0), entry));
                }
                Ok(_) => {}
                Err(error) => broken = Some(error),
            }
            broken.is_none() && entries.len() <= EXTRACT_LEAVES_MAX
        });
        visited.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        broken.map_or(Ok(()), Err)?;
        // Pruned while it was read.
        self.require_whole(&kept.id)?;
        if entries.len() > EXTRACT_LEAVES_MAX {
            let detail = format!("the chain has more than {EXTRACT_LEAVES_MAX} entries");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        Ok(OpenedExtract {
            owner: self.me.clone(),
            to: kept.counterparty(),
            agreement: kept.id,
            side: kept.side,
            size: head.size,
            root: Digest::from_bytes(head.root.0),
            checkpoint: reader.last_note(),
            cosigned: Vec::new(),
            given: self.now(),
            entries,
        })
    }

    /// Keeps the extract, writes the entry, and tells the process's log of a difference once.
    async fn take_up(
        &self,
        kept: &KeptAgreement,
        had: Had,
        bytes: Option<Arc<Vec<u8>>>,
        end: Option<OwnEnd>,
        always: bool,
    ) -> Result<Matched> {
        let lost = || Error::new(ErrorCode::LogDamaged, "the agreement has no chain");
        let newest = || self.ledger.chain_head(&kept.id);
        let (number, leaf) = end.map(|end| (end.number, end.leaf)).or_else(newest).ok_or_else(lost)?;
        let (matched, body) = told(kept, &had, bytes.as_ref().map(|b| Digest::of(b)), number, leaf);
        let before = self.state.reconciliation(&kept.id);
        let newest = before.as_ref().map(|b| &b.newest);
        if !always && newest.is_some_and(|newest| is_the_same_failure(newest, &body, self.now().millis())) {
            return Ok(matched);
        }
        if let Some(bytes) = bytes {
            let (reconciling, agreement) = (self.reconciling.clone(), kept.id);
            let fits = body.result == "same";
            blocking(move || reconciling.files.keep(&agreement, &bytes, fits)).await?;
        }
        let is_news = before
            .and_then(|b| b.compared)
            .is_none_or(|compared| (&compared.result, &compared.differences) != (&body.result, &body.differences));
        if is_news && matches!(body.result.as_str(), "differs" | "invalid") {
            tracing::warn!(
                agreement = %kept.id,
                partner = body.partner,
                result = body.result,
                reason = body.reason,
                differences = ?body.differences,
                "the partner's chain of an agreement isn't what ours is: `perron audit reconciliations`"
            );
        }
        let draft = Draft { body: Body::Reconciled(body), chain: Some(kept.id), trace: None, attachments: Vec::new() };
        self.ledger.append(draft).await?;
        Ok(matched)
    }

    /// What came of matching each agreement's chain, newest first known of each; those for which it
    /// wasn't tried have no result.
    pub fn reconciliation_list(&self) -> Json {
        let entry = |m: &Matching| (!self.ledger.is_closed(m.entry)).then_some(m.entry);
        let shown = |m: &Matching| json!({"result": m.result, "reason": m.reason, "at": m.at, "entry": entry(m), "matched": m.matched, "open": m.open, "differences": m.differences, "size": m.size, "extract": m.extract});
        let mut rows: Vec<Json> = Vec::new();
        let mut tried = std::collections::HashSet::new();
        for kept in self.state.reconciliations() {
            tried.insert(kept.agreement);
            rows.push(json!({
                "agreement": kept.agreement,
                "partner": kept.partner,
                "newest": shown(&kept.newest),
                "compared": kept.compared.as_ref().map(shown),
            }));
        }
        for kept in self.state.lives() {
            for version in kept.life.versions().iter().filter(|version| !tried.contains(*version)) {
                let none = Json::Null;
                rows.push(
                    json!({"agreement": version, "partner": kept.counterparty, "newest": none, "compared": none}),
                );
            }
        }
        Json::Array(rows)
    }

    /// How many agreements there are whose other party's chain isn't what ours is, and one of them.
    pub fn reconciliation_status(&self) -> Json {
        let troubled: Vec<_> = self.state.reconciliations().into_iter().filter(|kept| kept.is_trouble()).collect();
        let first = troubled.first().map(|kept| json!({"agreement": kept.agreement, "partner": kept.partner}));
        json!({"differing": troubled.len(), "first": first})
    }
}

/// The answer and the entry.
fn told(
    kept: &KeptAgreement,
    had: &Had,
    extract: Option<Digest>,
    number: u64,
    leaf: Digest,
) -> (Matched, entry::Reconciled) {
    let (theirs, reconciled, error) = match had {
        Had::Compared(theirs, reconciled) => (Some(theirs), Some(reconciled.clone()), None),
        Had::Contradicted(kind, error) => (None, Some(Reconciled::only(*kind)), Some(error)),
        Had::Invalid(error) | Had::Failed(error) => (None, None, Some(error)),
    };
    let reason = error.filter(|_| reconciled.is_none()).map(|error| error.code.as_str().to_owned());
    let newest = theirs.and_then(|theirs| theirs.entries.last());
    let count = |of: fn(&Reconciled) -> u64| theirs.and(reconciled.as_ref()).map(of);
    let body = entry::Reconciled {
        partner: kept.counterparty().to_string(),
        result: had.result().to_owned(),
        reason: reason.clone(),
        number,
        leaf,
        size: theirs.map(|theirs| theirs.size),
        root: theirs.map(|theirs| theirs.root),
        their_number: newest.and_then(|(_, entry)| entry.chain.as_ref()).map(|chain| chain.number),
        their_leaf: newest.map(|(leaf, _)| *leaf),
        extract,
        matched: count(|r| r.reads.saturating_add(r.notices)),
        open: count(|r| r.unsettled.saturating_add(r.too_new)),
        differences: reconciled.as_ref().map(|r| r.kinds.clone()).unwrap_or_default(),
    };
    let matched = Matched {
        agreement: kept.id,
        partner: kept.counterparty(),
        result: body.result.clone(),
        reason,
        detail: error.map(|error| error.detail.clone()),
        size: body.size,
        extract,
        reconciled,
    };
    (matched, body)
}

/// Was this failure written lately?
fn is_the_same_failure(newest: &Matching, body: &entry::Reconciled, now_ms: i64) -> bool {
    let is_failure = matches!(body.result.as_str(), "refused" | "unanswered");
    is_failure
        && (&newest.result, &newest.reason) == (&body.result, &body.reason)
        && now_ms.saturating_sub(newest.at.millis()) < RECONCILE_FAILURE_MS
}
