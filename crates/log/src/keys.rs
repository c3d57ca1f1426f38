//! Ed25519 keys of notes: verifier keys (vkeys) and signers held in memory.

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cosignature;
use crate::merkle::{Hash, decode_base64};
use crate::note::{NoteError, NoteSigner, check_name};

/// The signature types of C2SP signed-note that we make and check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// 0x01: plain Ed25519 over the note's text.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignature (C2SP tlog-cosignature v1).
    CosignatureV1,
}

/// A public key with its name, as a vkey holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key_id: u32,
    kind: KeyKind,
    fingerprint: Hash,
    key: VerifyingKey,
}

/// A log key held in memory (type 0x01). The secret is wiped on drop.
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

/// Keys of the files read so far: one that a header named and a later one no
/// longer does has ended, and signs nothing again.
#[derive(Debug, Default)]
pub(crate) struct DroppedKeys {
    named: Vec<Hash>,
    dropped: HashSet<Hash>,
}

// === impl DroppedKeys ===

impl DroppedKeys {
    /// Takes the keys that the next file's header names; are all of them ones
    /// that no header had dropped?
    pub(crate) fn take(&mut self, keys: &[Hash]) -> bool {
        let gone = self.named.iter().filter(|key| !keys.contains(key));
        self.dropped.extend(gone);
        self.named = keys.to_vec();
        !keys.iter().any(|key| self.dropped.contains(key))
    }
}

// === impl KeyKind ===

impl KeyKind {
    /// The signature type byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// Makes a verifier from a name and 32 bytes of public key.
    ///
    /// # Errors
    /// [`NoteError`] for a bad name, a key that isn't on the curve or is of
    /// small order.
    pub fn new(name: &str, kind: KeyKind, public_key: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| NoteError::BadKey("not a point of the curve"))?;
        if key.is_weak() {
            return Err(NoteError::BadKey("of small order"));
        }
        let mut hasher = Sha256::new();
        hasher.update(name.as_bytes());
        hasher.update([b'\n', kind.byte()]);
        hasher.update(public_key);
        let fingerprint = Hash(hasher.finalize().into());
        let [a, b, c, d, ..] = fingerprint.0;
        let key_id = u32::from_be_bytes([a, b, c, d]);
        Ok(Self { name: name.to_owned(), key_id, kind, fingerprint, key })
    }

    /// Parses `name+hex(key id)+base64(type || public key)`.
    ///
    /// # Errors
    /// [`NoteError`] for anything but the canonical spelling of a key of a
    /// kind that we know.
    pub fn parse_vkey(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(_id), Some(blob)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::BadKey("not of the form name+id+key"));
        };
        let bytes = decode_base64(blob).ok_or(NoteError::BadKey("not canonical base64"))?;
        let (kind, key) = bytes.split_first().ok_or(NoteError::BadKey("empty key"))?;
        let kind = KeyKind::from_byte(*kind).ok_or(NoteError::BadKey("of an unknown type"))?;
        let key = key.try_into().map_err(|_| NoteError::BadKey("not 32 bytes long"))?;
        let verifier = Self::new(name, kind, key)?;
        if verifier.to_vkey() != vkey {
            return Err(NoteError::BadKey("its id is not its own or not in lower case"));
        }
        Ok(verifier)
    }

    /// The vkey text.
    #[must_use]
    pub fn to_vkey(&self) -> String {
        let mut blob = vec![self.kind.byte()];
        blob.extend_from_slice(self.key.as_bytes());
        format!("{}+{:08x}+{}", self.name, self.key_id, STANDARD.encode(blob))
    }

    /// Key name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key id: the first four bytes of the fingerprint, big-endian.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// Signature type.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SHA-256(name || 0x0A || type || public key), of which the key id is the
    /// beginning.
    #[must_use]
    pub const fn fingerprint(&self) -> Hash {
        self.fingerprint
    }

    /// The 32 bytes of public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Checks the signature bytes of a line over a note's text; gives the time
    /// of a cosignature, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`].
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteError> {
        match self.kind {
            KeyKind::Ed25519 => {
                self.verify_message(text.as_bytes(), signature)?;
                Ok(None)
            }
            KeyKind::CosignatureV1 => {
                let (time_unix_s, signature) = cosignature::split(signature).ok_or_else(|| self.bad_signature())?;
                self.verify_message(cosignature::message(text, time_unix_s).as_bytes(), signature)?;
                Ok(Some(time_unix_s))
            }
        }
    }

    // Strictly: no small order, no malleable S (RFC 8032, section 5.1.7).
    fn verify_message(&self, message: &[u8], signature: &[u8]) -> Result<(), NoteError> {
        let signature = Signature::from_slice(signature).map_err(|_| self.bad_signature())?;
        self.key.verify_strict(message, &signature).map_err(|_| self.bad_signature())
    }

    fn bad_signature(&self) -> NoteError {
        NoteError::BadSignature { name: self.name.clone() }
    }
}

// === impl Signer ===

impl Signer {
    /// A log key from its 32-byte seed (RFC 8032 private key).
    ///
    /// # Errors
    /// [`NoteError::BadName`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Self::from_key(name, SigningKey::from_bytes(seed))
    }

    /// A log key from a PKCS#8 PEM document (RFC 8410).
    ///
    /// # Errors
    /// [`NoteError::BadKey`] or [`NoteError::BadName`].
    pub fn from_pkcs8_pem(name: &str, pem: &str) -> Result<Self, NoteError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| NoteError::BadKey("not an Ed25519 key in PKCS#8 PEM"))?;
        Self::from_key(name, key)
    }

    /// A new log key from the system's randomness.
    ///
    /// # Errors
    /// [`NoteError::BadName`], or [`NoteError::Sign`] without randomness.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| NoteError::Sign(error.to_string()))?;
        Self::from_seed(name, &seed)
    }

    fn from_key(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let public_key = key.verifying_key().to_bytes();
        Ok(Self { verifier: Verifier::new(name, KeyKind::Ed25519, &public_key)?, key })
    }
}

impl NoteSigner for Signer {
    fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        Ok(self.key.sign(text.as_bytes()).to_bytes().to_vec())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Signer({})", self.verifier.to_vkey())
    }
}
