//! One read as one file, verified with the authority's key and nothing else.

use crate::directory::read;
use crate::envelope::{self, Agreed};
use crate::jws;
use crate::parties::{Cosigned, Parties};
use crate::words::{Lang, Part, Phrase};
use perron_log::TlogProof;
use perron_log::merkle::{leaf_hash, verify_inclusion};
use perron_model::entry::{Body, Decision, Entry, Outcome, OutcomeStatus};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::PublicKey;
use perron_model::request::{Receipt, ReceiptFile};
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp, canonical};
use serde::Serialize;
use std::path::Path;

/// What a receipt proves. As JSON its words are English.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiptReport {
    /// The agreement.
    pub agreement: Digest,
    /// Who gave.
    pub provider: String,
    /// Who asked.
    pub consumer: String,
    /// Pseudonym of the user.
    pub user: String,
    /// The set.
    pub dataset: String,
    /// Purpose stated (DPV IRI).
    pub purpose: String,
    /// Legal basis (DPV IRI).
    pub legal_basis: String,
    /// When it was decided, by the provider's log.
    pub at: Timestamp,
    /// Entry of the decision.
    pub decision: u64,
    /// Was it permitted?
    pub permitted: bool,
    /// Reasons of a refusal: stable codes.
    pub reasons: Vec<String>,
    /// Entry of the outcome, and what left; none while it ran.
    pub outcome: Option<Ended>,
    /// Entries of the provider's log under the newest signature in it.
    pub size: u64,
    /// Others who signed that they saw that log, and when: of those whose keys are in the receipt.
    pub cosigned: Vec<Cosigned>,
    /// Exactly what may be said.
    pub statements: Vec<String>,
    /// What the receipt can't show.
    pub not_shown: Vec<String>,
    #[serde(skip)]
    said: Vec<Phrase>,
    #[serde(skip)]
    unsaid: Vec<Phrase>,
}

/// How a permitted read ended.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    /// Entry of the outcome.
    pub entry: u64,
    /// How: `complete`, `cut-by-consumer`…
    pub status: &'static str,
    #[serde(skip)]
    words: &'static str,
    /// Rows that left.
    pub rows: u64,
    /// Bytes that left.
    pub bytes: u64,
}

impl ReceiptReport {
    /// What may be said, in a language.
    pub fn statements_in(&self, lang: Lang) -> Vec<String> {
        self.said.iter().map(|p| p.text(lang)).collect()
    }

    /// What the receipt can't show, in a language.
    pub fn not_shown_in(&self, lang: Lang) -> Vec<String> {
        self.unsaid.iter().map(|p| p.text(lang)).collect()
    }
}

/// A leaf that is in a tree that its owner signed.
struct Proven {
    entry: Entry,
    leaf: Digest,
    size: u64,
    cosigned: Vec<Cosigned>,
}

/// Reads a receipt's file, with or without a line's end.
///
/// # Errors
/// `config_invalid` or `too_large`.
pub fn read_receipt(file: &Path) -> Result<Vec<u8>> {
    let bytes_max = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = read(file, bytes_max)?
        .ok_or_else(|| Error::new(ErrorCode::ConfigInvalid, format!("`{}` is not there", file.display())))?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

/// Verifies a receipt: the envelope, the request's signature by the consumer's request key, both
/// leaves in trees that the provider's log key signed, and that all of them are about one read.
///
/// # Errors
/// `signature_invalid`, `malformed` or `too_large`, with what doesn't hold.
pub fn verify_receipt(bytes: &[u8], authority: &PublicKey) -> Result<ReceiptReport> {
    let file: ReceiptFile = canonical::from_bytes(bytes, MESSAGE_BYTES_MAX)?;
    let agreed = envelope::verify(&file.envelope, authority)?;
    let parties = Parties::of(&agreed, &file.entries, authority)?;
    let proven = proven(&parties, &file.receipt.decision, &file.receipt.decision_proof)?;
    let Body::Decision(decision) = &proven.entry.body else { return Err(refuse("its decision is none")) };
    let claims = parties.request(&file.request, proven.entry.time)?;
    let about = decision.request == Digest::of(file.request.as_bytes())
        && claims.agreement == agreed.id
        && claims.issuer == agreed.payload.consumer
        && claims.provider == agreed.payload.provider
        && (&decision.consumer, &decision.purpose, &decision.user)
            == (&claims.issuer.to_string(), &claims.purpose, &claims.user);
    if !about {
        return Err(refuse("agreement, request and decision are not about one read"));
    }
    let ended = outcome_of(&parties, &file.receipt, &proven, decision)?;
    let mut report = report(&agreed, decision, &proven, ended.as_ref());
    for party in parties.undated(&agreed, &file.request) {
        report.unsaid.push(Phrase::new("receipt.undated", vec![party.into()]));
    }
    report.not_shown = report.not_shown_in(Lang::En);
    Ok(report)
}

/// A leaf, in a tree that the provider signed.
fn proven(parties: &Parties, leaf: &str, proof: &str) -> Result<Proven> {
    let bytes = jws::decode(leaf)?;
    let hash = leaf_hash(&bytes);
    let proof = TlogProof::parse(proof).map_err(|e| refuse(e.to_string()))?;
    let (opened, cosigned) = parties.tree(Side::Provider, &proof.checkpoint.to_string())?;
    let tree = &opened.checkpoint;
    verify_inclusion(proof.index, tree.size, &hash, &proof.hashes, &tree.root).map_err(|e| refuse(e.to_string()))?;
    let entry = Entry::from_bytes(&bytes)?;
    if entry.index != proof.index {
        return Err(refuse("an entry is not at the place that it tells"));
    }
    parties.require_signed_in_time(Side::Provider, &opened, entry.time)?;
    Ok(Proven { entry, leaf: Digest::from_bytes(hash.0), size: tree.size, cosigned })
}

fn outcome_of(
    parties: &Parties,
    receipt: &Receipt,
    decided: &Proven,
    decision: &Decision,
) -> Result<Option<(Proven, Outcome)>> {
    if receipt.outcome.is_empty() {
        return Ok(None);
    }
    let proven = proven(parties, &receipt.outcome, &receipt.outcome_proof)?;
    match &proven.entry.body {
        Body::Outcome(outcome) if outcome.decision == decided.leaf && decision.permitted => {
            let outcome = outcome.clone();
            Ok(Some((proven, outcome)))
        }
        _ => Err(refuse("its outcome is not the one of its decision")),
    }
}

fn report(agreed: &Agreed, decision: &Decision, proven: &Proven, ended: Option<&(Proven, Outcome)>) -> ReceiptReport {
    let newest = ended.map_or(proven, |(p, _)| p);
    let mut report = ReceiptReport {
        agreement: agreed.id,
        provider: agreed.payload.provider.to_string(),
        consumer: agreed.payload.consumer.to_string(),
        user: decision.user.clone(),
        dataset: agreed.payload.offer.dataset.to_string(),
        purpose: decision.purpose.clone(),
        legal_basis: agreed.payload.offer.legal_basis.term.clone(),
        at: proven.entry.time,
        decision: proven.entry.index,
        permitted: decision.permitted,
        reasons: decision.reasons.clone(),
        outcome: ended.map(|(p, o)| Ended {
            entry: p.entry.index,
            status: o.status.as_str(),
            words: status_key(o.status),
            rows: o.rows,
            bytes: o.bytes,
        }),
        size: newest.size,
        cosigned: newest.cosigned.clone(),
        statements: Vec::new(),
        not_shown: Vec::new(),
        said: Vec::new(),
        unsaid: vec![Phrase::new("receipt.unsaid", Vec::new()), Phrase::new("unsaid.key_time", Vec::new())],
    };
    report.said = said(&report);
    if report.cosigned.is_empty() {
        report.unsaid.push(Phrase::new("receipt.not_cosigned", vec![report.provider.as_str().into()]));
    }
    (report.statements, report.not_shown) = (report.statements_in(Lang::En), report.not_shown_in(Lang::En));
    report
}

fn said(of: &ReceiptReport) -> Vec<Phrase> {
    let text = |text: &str| Part::from(text);
    let mut read = vec![of.at.to_string().into(), text(&of.provider), text(&of.consumer), text(&of.user)];
    read.extend([text(&of.dataset), text(&of.purpose), of.decision.into()]);
    let mut said = Vec::new();
    if of.permitted {
        said.push(Phrase::new("receipt.permitted", read));
    } else {
        read.push(text(&of.reasons.join(", ")));
        said.push(Phrase::new("receipt.refused", read));
    }
    if let Some(ended) = &of.outcome {
        let parts = vec![Part::Word(ended.words), ended.rows.into(), ended.bytes.into(), ended.entry.into()];
        said.push(Phrase::new("receipt.ended", parts));
    } else if of.permitted {
        said.push(Phrase::new("receipt.runs", Vec::new()));
    }
    said.push(Phrase::new("receipt.agreed", vec![of.agreement.to_string().into(), text(&of.legal_basis)]));
    said.push(Phrase::new("receipt.signed", vec![text(&of.consumer), text(&of.provider), of.size.into()]));
    for cosigned in &of.cosigned {
        let at = cosigned.at.map_or_else(|| "–".to_owned(), |t| t.to_string());
        said.push(Phrase::new("receipt.cosigned", vec![text(&cosigned.by), at.into()]));
    }
    said
}

/// The catalogue's key of how a read ended.
const fn status_key(status: OutcomeStatus) -> &'static str {
    match status {
        OutcomeStatus::Complete => "status.complete",
        OutcomeStatus::CutByConsumer => "status.cut-by-consumer",
        OutcomeStatus::CutByRevocation => "status.cut-by-revocation",
        OutcomeStatus::CutByError => "status.cut-by-error",
        OutcomeStatus::NothingLeft => "status.nothing-left",
        OutcomeStatus::UnknownAfterCrash => "status.unknown-after-crash",
    }
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::SignatureInvalid, detail)
}
