//! An extract: the chain of one agreement, as its owner gave it to the other party.

use crate::envelope;
use crate::jws;
use crate::parties::{Cosigned, Parties};
use crate::words::{Lang, Phrase};
use perron_log::Hash;
use perron_log::merkle::{leaf_hash, verify_inclusion};
use perron_model::entry::{Body, Entry};
use perron_model::extract::{ExtractHead, ExtractLeaf};
use perron_model::limits::{EXTRACT_LEAVES_MAX, MESSAGE_BYTES_MAX};
use perron_model::negotiation::Side;
use perron_model::participant::PublicKey;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// An extract that was verified: signatures, proofs, and that nothing of the chain is missing.
#[derive(Clone, Debug)]
pub struct OpenedExtract {
    /// Whose log it is from.
    pub owner: ParticipantId,
    /// The other party, to whom it was given.
    pub to: ParticipantId,
    /// The agreement.
    pub agreement: Digest,
    /// The owner's side of it.
    pub side: Side,
    /// Entries of the owner's log under the signature that the proofs end in.
    pub size: u64,
    /// The root of that tree.
    pub root: Digest,
    /// The checkpoint that says so, as signed.
    pub checkpoint: String,
    /// Whether the other party signed that it saw that log.
    pub cosigned: Vec<Cosigned>,
    /// When it was given, by the owner's log.
    pub given: Timestamp,
    /// The chain from its beginning, with leaf hashes; the last entry is that of the giving.
    pub entries: Vec<(Digest, Entry)>,
}

/// What an extract proves. As JSON its words are English.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractReport {
    /// Whose log it is from.
    pub owner: String,
    /// To whom it was given.
    pub to: String,
    /// The agreement.
    pub agreement: Digest,
    /// When it was given.
    pub given: Timestamp,
    /// Entries of the chain.
    pub entries: u64,
    /// Reads permitted.
    pub permitted: u64,
    /// Reads refused.
    pub refused: u64,
    /// Rows that left, by the outcomes.
    pub rows: u64,
    /// Entries of the log under the signature.
    pub size: u64,
    /// Whether the other party signed that it saw that log.
    pub cosigned: Vec<Cosigned>,
    /// Exactly what may be said.
    pub statements: Vec<String>,
    /// What an extract can't show.
    pub not_shown: Vec<String>,
}

/// Verifies the extract in a file.
///
/// # Errors
/// As [`open_extract`]; `config_invalid` where it can't be read.
pub fn read_extract(file: &Path, authority: &PublicKey) -> Result<OpenedExtract> {
    let unreadable =
        |e: std::io::Error| Error::new(ErrorCode::ConfigInvalid, format!("`{}` can't be read: {e}", file.display()));
    open_extract(&mut BufReader::new(File::open(file).map_err(unreadable)?), authority)
}

/// Verifies an extract, line by line; memory grows with the chain, not with proofs.
///
/// # Errors
/// `signature_invalid`, `malformed`, `log_damaged` or `too_large`, with what doesn't hold.
pub fn open_extract(lines: &mut dyn BufRead, authority: &PublicKey) -> Result<OpenedExtract> {
    let head = line_of(lines)?.ok_or_else(|| refuse("an extract has at least a head"))?;
    let head: ExtractHead = canonical::from_bytes(&head, MESSAGE_BYTES_MAX)?;
    let agreed = envelope::verify(&head.envelope, authority)?;
    let (provider, consumer) = (&agreed.payload.provider, &agreed.payload.consumer);
    let side = if head.owner == *provider { Side::Provider } else { Side::Consumer };
    let parties = if side == Side::Provider { [provider, consumer] } else { [consumer, provider] };
    if parties != [&head.owner, &head.to] || agreed.id != head.agreement {
        return Err(refuse("it is not of the agreement and the parties that it names"));
    }
    let of = Parties::of(&agreed, &head.entries, authority)?;
    let (opened, cosigned) = of.tree(side, &head.checkpoint)?;
    let tree = &opened.checkpoint;
    let mut entries: Vec<(Digest, Entry)> = Vec::new();
    while let Some(line) = line_of(lines)? {
        if entries.len() >= EXTRACT_LEAVES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a chain of over {EXTRACT_LEAVES_MAX} entries")));
        }
        let (leaf, entry) = proven(&line, tree.size, &tree.root)?;
        follows(&entry, &head.agreement, &entries)?;
        entries.push((leaf, entry));
    }
    let begins = entries.first().is_some_and(|(_, entry)| {
        let envelope = canonical::to_bytes(&head.envelope).map(|bytes| Digest::of(&bytes));
        matches!(&entry.body, Body::Agreement(body) if Ok(body.envelope) == envelope && body.agreement == head.agreement)
    });
    if !begins {
        return Err(gap("it doesn't begin with the agreement"));
    }
    let given = entries.last().and_then(|(_, entry)| match &entry.body {
        Body::Extract(extract) if extract.to == head.to.as_str() => Some(entry.time),
        _ => None,
    });
    let given = given.ok_or_else(|| gap("its last entry isn't that it was made out"))?;
    of.require_signed_in_time(side, &opened, given)?;
    let (owner, to, agreement, size) = (head.owner, head.to, head.agreement, tree.size);
    let (root, checkpoint) = (Digest::from_bytes(tree.root.0), head.checkpoint);
    Ok(OpenedExtract { owner, to, agreement, side, size, root, checkpoint, cosigned, given, entries })
}

/// The next line without its end; none at the end of the file.
fn line_of(lines: &mut dyn BufRead) -> Result<Option<Vec<u8>>> {
    let most = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut line = Vec::new();
    let unreadable = |e: std::io::Error| Error::new(ErrorCode::ConfigInvalid, format!("it can't be read: {e}"));
    lines.take(most).read_until(b'\n', &mut line).map_err(unreadable)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => {
            line.pop();
            Ok(Some(line))
        }
        Some(_) => Err(refuse("it ends within a line, or has one that is too long")),
    }
}

/// A leaf that is in the tree, at the place that it tells.
fn proven(line: &[u8], size: u64, root: &Hash) -> Result<(Digest, Entry)> {
    let line: ExtractLeaf = canonical::from_bytes(line, MESSAGE_BYTES_MAX)?;
    let bytes = jws::decode(&line.leaf)?;
    let entry = Entry::from_bytes(&bytes)?;
    let proof: Option<Vec<Hash>> = line.proof.iter().map(|hash| Hash::from_base64(hash)).collect();
    let proof = proof.ok_or_else(|| refuse("a proof has a part that is no hash"))?;
    let hash = leaf_hash(&bytes);
    verify_inclusion(entry.index, size, &hash, &proof, root)
        .map_err(|e| refuse(format!("entry {}: {e}", entry.index)))?;
    Ok((Digest::from_bytes(hash.0), entry))
}

/// Is it the next of the chain so far?
fn follows(entry: &Entry, agreement: &Digest, before: &[(Digest, Entry)]) -> Result<()> {
    let last = before.last();
    let number = u64::try_from(before.len()).unwrap_or(u64::MAX);
    let fits = entry.chain.as_ref().is_some_and(|chain| {
        chain.agreement == *agreement && chain.number == number && chain.previous == last.map(|(leaf, _)| *leaf)
    });
    if fits && last.is_none_or(|(_, entry_before)| entry_before.index < entry.index) {
        return Ok(());
    }
    Err(gap(format!("entry {} is not number {number} of the chain", entry.index)))
}

impl OpenedExtract {
    /// What may be said of it, in a language.
    pub fn report(&self, lang: Lang) -> ExtractReport {
        let (mut permitted, mut refused, mut rows) = (0_u64, 0_u64, 0_u64);
        for (_, entry) in &self.entries {
            match &entry.body {
                Body::Decision(decision) if decision.permitted => permitted = permitted.saturating_add(1),
                Body::Decision(_) => refused = refused.saturating_add(1),
                Body::Outcome(outcome) => rows = rows.saturating_add(outcome.rows),
                _ => {}
            }
        }
        let entries = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let index_of = |entry: Option<&(Digest, Entry)>| entry.map_or(0, |(_, entry)| entry.index);
        let (first, last) = (index_of(self.entries.first()), index_of(self.entries.last()));
        let head = vec![
            self.owner.to_string().into(),
            self.to.to_string().into(),
            self.agreement.to_string().into(),
            entries.into(),
            first.into(),
            last.into(),
            self.size.into(),
        ];
        let mut said = vec![Phrase::new("extract.given", head)];
        if self.side == Side::Provider {
            said.push(Phrase::new("extract.reads", vec![permitted.into(), refused.into(), rows.into()]));
        }
        for seen in &self.cosigned {
            let at = seen.at.map_or_else(|| "–".to_owned(), |t| t.to_string());
            said.push(Phrase::new("receipt.cosigned", vec![seen.by.as_str().into(), at.into()]));
        }
        let unsaid = ["extract.unsaid", "unsaid.key_time"].map(|key| Phrase::new(key, Vec::new()).text(lang));
        ExtractReport {
            owner: self.owner.to_string(),
            to: self.to.to_string(),
            agreement: self.agreement,
            given: self.given,
            entries,
            permitted,
            refused,
            rows,
            size: self.size,
            cosigned: self.cosigned.clone(),
            statements: said.iter().map(|phrase| phrase.text(lang)).collect(),
            not_shown: unsaid.to_vec(),
        }
    }
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::SignatureInvalid, detail)
}

fn gap(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::LogDamaged, detail)
}
