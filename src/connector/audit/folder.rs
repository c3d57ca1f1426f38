//! What an auditor's folder is made of: the entries of one agreement with their proofs, all in one
//! checkpoint, and who else signed that they saw the log.
//!
//! That a folder is given is an entry of the log. It tells how many entries of the agreement's
//! chain there were and which the folder has, so that one taken out of the folder is missed.

use crate::connector::audit::evidence::{EvidenceFile, cosigned_files, small_files};
use crate::connector::audit::scan::Scan;
use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::witness::witness_verifiers;
use crate::ledger::Draft;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use perron_log::{Checkpoint, Extent, Hash, LogReader, SignedNote, StoredEntry};
use perron_model::agreement::{AgreementPayload, Envelope};
use perron_model::entry::{Administration, AttachmentKind, Body};
use perron_model::limits::HEADS_ASKED_MS_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::PublicKey;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The act of administration that a folder is.
pub const FOLDER_ACT: &str = "audit.folder";

/// Of which agreement and which time a folder tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderScope {
    /// The agreement.
    pub agreement: AgreementId,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The document of the entry that tells of a folder, in canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderDocument {
    /// What it tells of.
    pub scope: FolderScope,
    /// Entries of the agreement's chain when it was made.
    pub chain: u64,
    /// Leaf hash of the chain's newest entry then.
    pub head: Digest,
    /// Number in the chain of the first entry that the folder has.
    pub first: u64,
    /// How many it has.
    pub entries: u64,
}

/// A leaf and its place in the tree of the folder's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenLeaf {
    /// Index in the log.
    pub index: u64,
    /// The leaf, base64.
    pub leaf: String,
    /// Inclusion proof (RFC 6962, section 2.1.1), base64 each.
    pub proof: Vec<String>,
    /// A notice as it was signed (compact JWS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

/// Somebody else who signed that they saw the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnessed {
    /// Who.
    pub by: ParticipantId,
    /// When, by their clock.
    pub at: Timestamp,
    /// Entries that they saw.
    pub size: u64,
    /// The checkpoint with their signature.
    pub note: String,
    /// Consistency proof (RFC 6962, section 2.1.2) from there to the folder's checkpoint, base64 each.
    pub consistency: Vec<String>,
}

/// All that the page of a folder is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Whose log it is.
    pub participant: ParticipantId,
    /// The data space.
    pub space: SpaceId,
    /// The authority's register key.
    pub authority: PublicKey,
    /// When it was made.
    pub made: Timestamp,
    /// Which side of the agreement this is.
    pub side: Side,
    /// The signed checkpoint that all proofs end in.
    pub checkpoint: String,
    /// Who else saw the log, the largest first.
    pub witnessed: Vec<Witnessed>,
    /// The agreement as signed.
    pub envelope: Envelope,
    /// Entries of the register (compact JWS): of both parties, of the log's owner, of who cosigned.
    pub register: Vec<String>,
    /// The entries, in the order of the agreement's chain.
    pub entries: Vec<ProvenLeaf>,
    /// The entry that tells of this folder.
    pub given: ProvenLeaf,
    /// Its document.
    pub document: String,
}

/// What the running process gives for a folder: what the page is made of, and what of the
/// directory goes into its copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderAnswer {
    /// The page's material.
    pub folder: Folder,
    /// Files of the copy that are small: their paths and texts.
    pub small: Vec<(String, String)>,
    /// Files of the copy that are asked for piece by piece.
    pub files: Vec<EvidenceFile>,
}

impl Node {
    /// Makes the material of a folder, and writes the entry that tells of it. The other party is
    /// asked to cosign the log first; where it can't be reached, what was cosigned before counts.
    ///
    /// # Errors
    /// `not_found` for an agreement that isn't known here or a period without entries; `too_large`
    /// past a bound, which the detail names.
    pub async fn audit_folder(self: &Arc<Node>, scope: FolderScope, actor: &str) -> Result<FolderAnswer> {
        let agreed = self
            .state
            .agreement(&scope.agreement)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        if self.ledger.is_closed(agreed.index) {
            let detail = "the agreement was made in a log that is closed, so that no page has its whole chain: \
                          give a copy of the directory";
            return Err(Error::new(ErrorCode::NotFound, detail));
        }
        self.ledger.require_room()?;
        let made = self.now();
        let (reader, asked) = (self.ledger.reader().clone(), scope.clone());
        let found = blocking(move || Scan::of(&reader, &asked)).await?;
        let document = canonical::to_bytes(&found.document(scope)?)?;
        let body = Body::Administration(Administration {
            action: FOLDER_ACT.to_owned(),
            actor: actor.to_owned(),
            document: Digest::of(&document),
            sealed: None,
        });
        let attachments = vec![(AttachmentKind::Document, document.clone())];
        let given = self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await?.index;
        let other = agreed.counterparty();
        let patience = Duration::from_millis(HEADS_ASKED_MS_MAX);
        if !matches!(tokio::time::timeout(patience, self.exchange_heads(&other)).await, Ok(Ok(()))) {
            tracing::info!(with = %other, "a folder is made without a new cosignature");
        }
        let node = self.clone();
        let side = agreed.side;
        let (envelope, payload) = (agreed.envelope.clone(), agreed.payload.clone());
        let document = String::from_utf8(document).map_err(|_| unreadable("a document is not UTF-8"))?;
        blocking(move || {
            let (witnessed, cosigned) = (node.heads_seen()?, cosigned_files(&node)?);
            let extent = node.ledger.reader().extent();
            let prover = Prover { reader: node.ledger.reader(), extent: &extent };
            let entries = found.entries.into_iter().map(|e| prover.proven(e)).collect::<Result<Vec<_>>>()?;
            let given = node.ledger.reader().entry(given).map_err(|e| unreadable(e.to_string()))?;
            let folder = Folder {
                participant: node.me.clone(),
                space: node.space.clone(),
                authority: node.authority,
                made,
                side,
                checkpoint: extent.note.clone(),
                register: node.register_entries(&payload, &witnessed),
                witnessed: prover.witnessed(witnessed)?,
                envelope,
                entries,
                given: prover.proven(given)?,
                document,
            };
            Ok(FolderAnswer {
                folder,
                small: small_files(&node, &extent, cosigned)?,
                files: node.evidence_files(&extent)?,
            })
        })
        .await
    }

    /// Heads of this log that others cosigned, their signatures verified, the largest first.
    fn heads_seen(&self) -> Result<Vec<(ParticipantId, Timestamp, u64, SignedNote)>> {
        let register = self.register.load();
        let mut seen = Vec::new();
        for note in self.kept.cosigned_notes()? {
            let Ok(head) = Checkpoint::parse_text(&note.text) else { continue };
            if head.origin != self.ledger.origin() {
                continue;
            }
            for participant in register.participants().filter(|p| p.id != self.me) {
                let lines = note.verify(&witness_verifiers(&self.space, participant)).unwrap_or_default();
                let times = lines.iter().filter_map(|l| i64::try_from(l.time_unix_s?).ok()?.checked_mul(1000));
                if let Some(at) = times.max().and_then(|ms| Timestamp::from_millis(ms).ok()) {
                    seen.push((participant.id.clone(), at, head.size, note.clone()));
                }
            }
        }
        seen.sort_by_key(|(by, _, size, _)| (std::cmp::Reverse(*size), by.clone()));
        Ok(seen)
    }

    /// What the register in use says of both parties, of this organisation and of who cosigned.
    fn register_entries(
        &self,
        payload: &AgreementPayload,
        seen: &[(ParticipantId, Timestamp, u64, SignedNote)],
    ) -> Vec<String> {
        let register = self.register.load();
        let mut who = vec![&payload.provider, &payload.consumer, &self.me];
        who.extend(seen.iter().map(|(by, ..)| by));
        who.sort_unstable();
        who.dedup();
        who.into_iter().filter_map(|p| register.entry_jws(p).map(str::to_owned)).collect()
    }
}

/// Makes proofs that end in one checkpoint.
struct Prover<'a> {
    reader: &'a LogReader,
    extent: &'a Extent,
}

impl Prover<'_> {
    fn proven(&self, stored: StoredEntry) -> Result<ProvenLeaf> {
        let proof = self.reader.inclusion_proof(stored.index, self.extent.size);
        let signed = stored.attachments.into_iter().find(|a| a.kind == AttachmentKind::Notice as u16);
        let signed = signed.map(|a| String::from_utf8(a.bytes)).transpose();
        Ok(ProvenLeaf {
            index: stored.index,
            leaf: STANDARD.encode(&stored.leaf),
            proof: texts(&proof.map_err(|e| unreadable(e.to_string()))?),
            signed: signed.map_err(|_| unreadable("a notice is not UTF-8"))?,
        })
    }

    fn witnessed(&self, seen: Vec<(ParticipantId, Timestamp, u64, SignedNote)>) -> Result<Vec<Witnessed>> {
        let held = seen.into_iter().filter(|(_, _, size, _)| *size > 0 && *size <= self.extent.size);
        let one = |(by, at, size, note): (ParticipantId, Timestamp, u64, SignedNote)| {
            let proof = self.reader.consistency_proof(size, self.extent.size);
            let consistency = texts(&proof.map_err(|e| unreadable(e.to_string()))?);
            Ok(Witnessed { by, at, size, note: note.to_string(), consistency })
        };
        held.map(one).collect()
    }
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect()
}

fn unreadable(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::LogUnavailable, detail)
}
