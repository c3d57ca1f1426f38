//! Receipts (C2SP tlog-proof): a leaf's place in a signed tree, as text that
//! can be verified offline. File extension `.tlog-proof`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, OpenedCheckpoint};
use crate::keys::Verifier;
use crate::limits::{PROOF_HASHES_MAX, RECEIPT_BYTES_MAX};
use crate::merkle::{Hash, MerkleError, decode_base64, decode_decimal, verify_inclusion};
use crate::note::{NoteError, SignedNote};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque extra data, **not authenticated** by the receipt itself.
    pub extra: Option<Vec<u8>>,
    /// Zero-based index of the leaf.
    pub index: u64,
    /// Inclusion proof, leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim, cosignature lines included.
    pub checkpoint: SignedNote,
}

/// Why a receipt was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not the form of a receipt, or not its one canonical spelling.
    #[error("not a well-formed receipt: {0}")]
    Malformed(&'static str),
    /// Its checkpoint was refused.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its hashes don't lead to its root.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

impl TlogProof {
    /// Parses a receipt strictly: what parses prints back byte for byte.
    ///
    /// # Errors
    /// [`ProofError`] saying what is wrong.
    pub fn parse(receipt: &str) -> Result<Self, ProofError> {
        if receipt.len() > RECEIPT_BYTES_MAX {
            return Err(ProofError::Malformed("longer than a receipt may be"));
        }
        let (head, note) = receipt.split_once("\n\n").ok_or(ProofError::Malformed("no blank line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofError::Malformed("unknown first line"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(text) => {
                let bytes = decode_base64(text).ok_or(ProofError::Malformed("extra data is not canonical base64"))?;
                lines.next();
                Some(bytes)
            }
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decode_decimal)
            .ok_or(ProofError::Malformed("no index in canonical decimal"))?;
        let hashes = lines
            .map(Hash::from_base64)
            .collect::<Option<Vec<_>>>()
            .ok_or(ProofError::Malformed("a hash is not canonical base64 of 32 bytes"))?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(ProofError::Malformed("more hashes than a proof may have"));
        }
        let proof = Self { extra, index, hashes, checkpoint: SignedNote::parse(note)? };
        if proof.to_string() != receipt {
            return Err(ProofError::Malformed("not the canonical spelling"));
        }
        Ok(proof)
    }

    /// Verifies the checkpoint's log signature and origin, and that the leaf
    /// of this hash is in its tree. Cosignatures of `cosigners` are verified
    /// and given back; whether they are a quorum is the caller's to judge.
    ///
    /// # Errors
    /// [`ProofError`] saying what doesn't hold.
    pub fn verify(
        &self,
        leaf_hash: &Hash,
        origin: &str,
        log_keys: &[Verifier],
        cosigners: &[Verifier],
    ) -> Result<OpenedCheckpoint, ProofError> {
        let opened = Checkpoint::open(&self.checkpoint.to_string(), origin, log_keys, cosigners)?;
        let Checkpoint { size, root, .. } = &opened.checkpoint;
        verify_inclusion(self.index, *size, leaf_hash, &self.hashes, root)?;
        Ok(opened)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(out, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(out, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(out, "{}", hash.to_base64()))?;
        write!(out, "\n{}", self.checkpoint)
    }
}
