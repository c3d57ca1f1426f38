//! The chain of one agreement, for its other party.

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::peers::ExtractPlace;
use crate::connector::state::KeptAgreement;
use crate::ledger::Draft;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_log::{Checkpoint, LogError, SignedNote, Stored};
use perron_model::entry::{Body, Entry, Extract};
use perron_model::extract::{ExtractHead, ExtractKind, ExtractLeaf};
use perron_model::limits::{AUDIT_ENTRIES_LOOKED_AT_MAX, AUDIT_ENTRIES_MAX, EXTRACT_LEAVES_MAX};
use perron_model::{AgreementId, Error, ErrorCode, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An extract that was begun: what its pages are asked for by.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractBegun {
    /// The extract's first line.
    pub head: ExtractHead,
    /// Entry of the log that says that it was given, the last of it.
    pub end: u64,
    /// Size of the tree that all proofs end in.
    pub size: u64,
}

/// A page of an extract.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractPage {
    /// Entries of the chain, in its order.
    pub leaves: Vec<ExtractLeaf>,
    /// Where to go on; none at the end.
    pub next: Option<u64>,
}

impl Node {
    /// Makes out the chain of an agreement for its other party. That it was made out is the chain's
    /// own last entry, durable before anything of it leaves.
    pub async fn begin_extract(&self, actor: &str, agreement: &AgreementId) -> Result<ExtractBegun> {
        let kept = self
            .state
            .agreement(agreement)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        self.require_open_chain(&kept)?;
        let pruned = self.ledger.pruned_of(agreement);
        if pruned > 0 {
            let detail =
                format!("{pruned} entries of this agreement's chain were pruned, so the whole can't be made out");
            return Err(Error::new(ErrorCode::EntryPruned, detail));
        }
        let entries = self.ledger.chain_head(agreement).map_or(0, |(number, _)| number.saturating_add(2));
        if usize::try_from(entries).map_or(true, |entries| entries > EXTRACT_LEAVES_MAX) {
            let detail = format!("the chain has more than {EXTRACT_LEAVES_MAX} entries");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        let payload = &kept.payload;
        let to = if payload.provider == self.me { &payload.consumer } else { &payload.provider };
        let body = Body::Extract(Extract { to: to.to_string(), by: actor.to_owned() });
        let recorded =
            self.ledger.append(Draft { body, chain: Some(*agreement), trace: None, attachments: Vec::new() }).await?;
        let checkpoint = self.ledger.reader().last_note();
        let tree = SignedNote::parse(&checkpoint).and_then(|note| Checkpoint::parse_text(&note.text));
        let tree = tree.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        let head = ExtractHead {
            kind: ExtractKind::V1,
            owner: self.me.clone(),
            to: to.clone(),
            agreement: *agreement,
            envelope: kept.envelope.clone(),
            entries: self.entries_of(payload),
            checkpoint,
        };
        Ok(ExtractBegun { head, end: recorded.index, size: tree.size })
    }

    /// Refuses where the agreement was made in a log that is closed: its chain lies in more than one.
    pub(in crate::connector) fn require_open_chain(&self, kept: &KeptAgreement) -> Result<()> {
        if !self.ledger.is_closed(kept.index) {
            return Ok(());
        }
        let detail = "the chain of this agreement begins in a log that is closed: the one in force hasn't the whole";
        Err(Error::new(ErrorCode::NotFound, detail))
    }

    /// Entries of the chain from entry `from` of the log on, with their proofs in the tree of `size`
    /// entries. Only what an entry says was given: `end` is that entry.
    pub async fn extract_page(
        self: &Arc<Self>,
        agreement: AgreementId,
        end: u64,
        size: u64,
        from: u64,
    ) -> Result<ExtractPage> {
        let node = self.clone();
        blocking(move || node.page(&agreement, end, size, from)).await
    }

    fn page(&self, agreement: &AgreementId, end: u64, size: u64, from: u64) -> Result<ExtractPage> {
        let (leaves, next) = self.proven_page(agreement, &ExtractPlace { end, size, from }, usize::MAX)?;
        Ok(ExtractPage { leaves, next })
    }

    /// Entries of the chain from a place on with their proofs, `bytes_max` bytes about, and where to go
    /// on.
    pub(super) fn proven_page(
        &self,
        agreement: &AgreementId,
        place: &ExtractPlace,
        bytes_max: usize,
    ) -> Result<(Vec<ExtractLeaf>, Option<u64>)> {
        let ExtractPlace { end, size, from } = *place;
        let reader = self.ledger.reader();
        self.require_extract(agreement, end, size)?;
        // No entry of an agreement comes before its first.
        let from = from.max(self.state.agreement(agreement).map_or(0, |kept| kept.index));
        let past = end.saturating_add(1);
        let last = past.min(from.saturating_add(AUDIT_ENTRIES_LOOKED_AT_MAX));
        let (mut leaves, mut bytes, mut next, mut broken) = (Vec::new(), 0_usize, from, None);
        let visited = reader.for_entries(from.min(last), last, &mut |stored| {
            next = next.saturating_add(1);
            // Of a chain that is whole none was pruned.
            if let Stored::Entry(stored) = stored {
                match Entry::from_bytes(&stored.leaf) {
                    Ok(entry) if is_of(&entry, agreement) => {
                        bytes =
                            bytes.saturating_add(stored.leaf.len().saturating_mul(4) / 3).saturating_add(PROOF_BYTES);
                        leaves.push((entry.index, stored.leaf));
                    }
                    Ok(_) => {}
                    Err(error) => broken = Some(error),
                }
            }
            leaves.len() < AUDIT_ENTRIES_MAX && bytes < bytes_max && broken.is_none()
        });
        let unavailable = |e: LogError| Error::new(ErrorCode::LogUnavailable, e.to_string());
        visited.map_err(unavailable)?;
        broken.map_or(Ok(()), Err)?;
        let proven = leaves.into_iter().map(|(index, leaf)| {
            let proof = reader.inclusion_proof(index, size).map_err(unavailable)?;
            let proof = proof.iter().map(perron_log::Hash::to_base64).collect();
            Ok(ExtractLeaf { leaf: URL_SAFE_NO_PAD.encode(leaf), proof })
        });
        Ok((proven.collect::<Result<_>>()?, (next < past).then_some(next)))
    }

    /// The entry that says that an extract of the agreement was given, in a tree of this size: nothing
    /// is given that no entry says.
    pub(super) fn require_extract(&self, agreement: &AgreementId, end: u64, size: u64) -> Result<Entry> {
        let is_there = end < size && size <= self.ledger.reader().size();
        let given = if is_there { Some(Entry::from_bytes(&self.leaf(end)?)?) } else { None };
        given
            .filter(|entry| is_of(entry, agreement) && matches!(entry.body, Body::Extract(_)))
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no extract of this agreement ends there"))
    }
}

/// Bytes of a proof in a log of some million entries, about.
const PROOF_BYTES: usize = 24 * 48;

fn is_of(entry: &Entry, agreement: &AgreementId) -> bool {
    entry.chain.as_ref().is_some_and(|chain| chain.agreement == *agreement)
}
