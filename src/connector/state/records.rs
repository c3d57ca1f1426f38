//! Records of the fold as bytes, and what is read out of attachments.

use crate::store::{Change, Store};
use base64::Engine;
use perron_model::agreement::{AgreementPayload, JwsJson};
use perron_model::dataset::Snapshot;
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::request::{Receipt, Seen};
use perron_model::succession::generation_of;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The payload of an agreement's JWS, canonical.
pub fn payload_of(jws: &JwsJson) -> Result<AgreementPayload> {
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(&jws.payload)
        .map_err(|_| Error::malformed("the agreement's payload is not base64url"))?;
    AgreementPayload::parse(&bytes)
}

pub(super) fn put<T: Serialize>(tree: &'static str, key: &[u8], value: &T) -> Result<Change> {
    let value = serde_json::to_vec(value).map_err(|_| Error::new(ErrorCode::Internal, "a record can't be written"))?;
    Ok(Change::Put { tree, key: key.to_vec(), value })
}

/// A record that isn't what the fold writes.
pub(super) fn unreadable() -> Error {
    Error::new(ErrorCode::Internal, "a record of the store can't be read; `perron store rebuild` makes it anew")
}

/// A key's place in the log.
pub(super) fn position(tree: &'static str, key: Vec<u8>, index: u64) -> Change {
    Change::Put { tree, key, value: index.to_be_bytes().to_vec() }
}

pub(super) fn load<T: DeserializeOwned>(store: &Store, tree: &'static str) -> Result<Vec<T>> {
    store
        .scan(tree, b"")?
        .into_iter()
        .map(|(_, value)| serde_json::from_slice(&value).map_err(|_| unreadable()))
        .collect()
}

pub(super) fn document<T: DeserializeOwned>(
    attachments: &[(AttachmentKind, Vec<u8>)],
    kind: AttachmentKind,
) -> Result<T> {
    let (_, bytes) = attachments
        .iter()
        .find(|(k, _)| *k == kind)
        .ok_or_else(|| Error::new(ErrorCode::LogDamaged, "an entry lacks its attachment"))?;
    serde_json::from_slice(bytes).map_err(|_| Error::new(ErrorCode::LogDamaged, "an entry's attachment can't be read"))
}

pub(super) fn release_key(entry: &Entry, table: &Digest) -> Vec<u8> {
    let agreement = entry.chain.as_ref().map(|c| c.agreement.as_bytes().to_vec()).unwrap_or_default();
    [agreement.as_slice(), table.as_bytes()].concat()
}

pub(super) fn document_text(attachments: &[(AttachmentKind, Vec<u8>)], kind: AttachmentKind) -> Result<String> {
    let found =
        attachments.iter().find(|(k, _)| *k == kind).and_then(|(_, bytes)| String::from_utf8(bytes.clone()).ok());
    found.ok_or_else(|| Error::new(ErrorCode::LogDamaged, "an entry lacks its attachment"))
}

/// Is the decision of a receipt a permit?
pub(super) fn permits(receipt: &Receipt) -> bool {
    let leaf = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&receipt.decision).ok();
    let entry = leaf.and_then(|leaf| Entry::from_bytes(&leaf).ok());
    matches!(entry.map(|e| e.body), Some(Body::Decision(d)) if d.permitted)
}

/// Position in the provider's chain that a receipt proves, and the generation of the log that it is in.
pub(super) fn newest_position(receipt: &Receipt) -> Option<(u64, Seen)> {
    let (text, proof) = match receipt.outcome.is_empty() {
        true => (&receipt.decision, &receipt.decision_proof),
        false => (&receipt.outcome, &receipt.outcome_proof),
    };
    let leaf = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
    let number = Entry::from_bytes(&leaf).ok()?.chain?.number;
    let proof = perron_log::TlogProof::parse(proof).ok()?;
    let generation = generation_of(proof.checkpoint.text.lines().next()?).ok()?;
    Some((generation, Seen { number, leaf: Digest::from_bytes(perron_log::merkle::leaf_hash(&leaf).0) }))
}

/// The set and the snapshot that an act of publishing names: the snapshot alone, or after the
/// set's description.
pub(super) fn snapshot_of(attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<Snapshot> {
    match document::<serde_json::Value>(attachments, AttachmentKind::Document)? {
        serde_json::Value::Array(parts) => parts.into_iter().nth(1),
        alone => Some(alone),
    }
    .and_then(|value| serde_json::from_value(value).ok())
    .ok_or_else(|| Error::new(ErrorCode::LogDamaged, "an act of publishing names no snapshot"))
}
