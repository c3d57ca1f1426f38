//! Timestamped Ed25519 cosignatures (C2SP tlog-cosignature, version 1).

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::checkpoint::Checkpoint;
use crate::keys::{KeyKind, Verifier};
use crate::note::{NoteError, NoteSignature};

/// Largest time that a cosignature may carry, in seconds since the Unix epoch.
const TIME_MAX_S: u64 = i64::MAX as u64;

/// A witness key held in memory (type 0x04). The secret is wiped on drop.
///
/// The message doesn't commit to the cosigner's name: one key must never serve
/// two cosigners, nor a log.
pub struct Cosigner {
    verifier: Verifier,
    key: SigningKey,
}

impl Cosigner {
    /// A witness key from its 32-byte seed.
    ///
    /// # Errors
    /// [`NoteError::BadName`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Self::from_key(name, SigningKey::from_bytes(seed))
    }

    /// A witness key from a PKCS#8 PEM document (RFC 8410).
    ///
    /// # Errors
    /// [`NoteError::BadKey`] or [`NoteError::BadName`].
    pub fn from_pkcs8_pem(name: &str, pem: &str) -> Result<Self, NoteError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| NoteError::BadKey("not an Ed25519 key in PKCS#8 PEM"))?;
        Self::from_key(name, key)
    }

    fn from_key(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let public_key = key.verifying_key().to_bytes();
        Ok(Self { verifier: Verifier::new(name, KeyKind::CosignatureV1, &public_key)?, key })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Cosigns a checkpoint: "the largest consistent tree of this origin that
    /// I have seen at this time has this root". The caller has checked
    /// consistency and made the new head durable before.
    ///
    /// # Errors
    /// [`NoteError::Sign`] for a time past 2^63 − 1.
    pub fn cosign(&self, checkpoint: &Checkpoint, time_unix_s: u64) -> Result<NoteSignature, NoteError> {
        if time_unix_s > TIME_MAX_S {
            return Err(NoteError::Sign("the time is past what a cosignature holds".to_owned()));
        }
        let signature = self.key.sign(message(&checkpoint.to_text(), time_unix_s).as_bytes());
        let mut blob = time_unix_s.to_be_bytes().to_vec();
        blob.extend_from_slice(&signature.to_bytes());
        Ok(NoteSignature { name: self.verifier.name().to_owned(), key_id: self.verifier.key_id(), signature: blob })
    }
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Cosigner({})", self.verifier.to_vkey())
    }
}

/// The signed message over a note's text.
pub(crate) fn message(text: &str, time_unix_s: u64) -> String {
    format!("cosignature/v1\ntime {time_unix_s}\n{text}")
}

/// Splits the 72 bytes into time and signature.
pub(crate) fn split(blob: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = blob.split_first_chunk::<8>()?;
    let time_unix_s = u64::from_be_bytes(*time);
    (time_unix_s <= TIME_MAX_S && signature.len() == 64).then_some((time_unix_s, signature))
}
