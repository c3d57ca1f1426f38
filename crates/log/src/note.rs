//! Signed notes (C2SP signed-note): text, a blank line, signature lines.
//!
//! Parsing is strict: what parses is byte for byte what [`SignedNote`] would
//! print again.

use std::fmt;

use crate::keys::Verifier;
use crate::limits::{NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};
use crate::merkle::decode_base64;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note, or not its one canonical spelling.
    #[error("not a well-formed note: {0}")]
    Malformed(&'static str),
    /// A key name with a space, a plus, a control character, empty or too long.
    #[error("not a key name: `{0}`")]
    BadName(String),
    /// A verifier key that can't be read, or whose key id isn't its own.
    #[error("not a verifier key: {0}")]
    BadKey(&'static str),
    /// A line of a known key doesn't verify.
    #[error("the signature of `{name}` does not verify")]
    BadSignature {
        /// Key name on the line.
        name: String,
    },
    /// No line is by a known key.
    #[error("no signature of a known key")]
    NoKnownSignature,
    /// A line is by a key that isn't known, where only known ones may be.
    #[error("a signature line of `{name}` is by no known key")]
    UnknownSignature {
        /// Key name on the line.
        name: String,
    },
    /// The text isn't a checkpoint, or is another log's.
    #[error("not a checkpoint: {0}")]
    NotACheckpoint(&'static str),
    /// The checkpoint's origin isn't the one expected.
    #[error("the checkpoint is of origin `{found}`, expected `{expected}`")]
    OtherOrigin {
        /// Origin expected.
        expected: String,
        /// Origin found.
        found: String,
    },
    /// A signer failed.
    #[error("signing failed: {0}")]
    Sign(String),
}

/// One signature line: `— <name> base64(key id || signature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Key name.
    pub name: String,
    /// Key id, the first four bytes of the decoded line, big-endian.
    pub key_id: u32,
    /// Signature bytes after the key id (64 for Ed25519, 72 for a timestamped
    /// cosignature).
    pub signature: Vec<u8>,
}

/// A note: its text (ending in a newline) and its signature lines in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// The signed text, its final newline included.
    pub text: String,
    /// One or more signature lines.
    pub signatures: Vec<NoteSignature>,
}

/// A signature line that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// Key name.
    pub name: String,
    /// Key id.
    pub key_id: u32,
    /// For a cosignature its time, in seconds since the Unix epoch.
    pub time_unix_s: Option<u64>,
}

/// The port to whatever holds a log key (in memory, in a card, in a HSM).
pub trait NoteSigner: Send + Sync {
    /// The public half: name, key id, public key.
    fn verifier(&self) -> &Verifier;

    /// Signs a note's text (its final newline included); gives the signature
    /// bytes that follow the key id.
    ///
    /// # Errors
    /// [`NoteError::Sign`] when the key can't be used.
    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError>;
}

impl<S: NoteSigner + ?Sized> NoteSigner for std::sync::Arc<S> {
    fn verifier(&self) -> &Verifier {
        (**self).verifier()
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        (**self).sign(text)
    }
}

/// Checks the form of a key name or origin (C2SP signed-note: not empty, no
/// Unicode space, no plus; here also no control character, at most 255 bytes).
///
/// # Errors
/// [`NoteError::BadName`].
pub fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(bad) {
        return Err(NoteError::BadName(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(())
}

/// Signs a text with each signer, in order.
///
/// # Errors
/// [`NoteError`] when the text can't be a note's or a signer fails.
pub fn sign_note(text: &str, signers: &[&dyn NoteSigner]) -> Result<SignedNote, NoteError> {
    check_text(text)?;
    let mut signatures = Vec::with_capacity(signers.len());
    for signer in signers {
        let verifier = signer.verifier();
        signatures.push(NoteSignature {
            name: verifier.name().to_owned(),
            key_id: verifier.key_id(),
            signature: signer.sign(text)?,
        });
    }
    if signatures.is_empty() || signatures.len() > NOTE_SIGNATURES_MAX {
        return Err(NoteError::Malformed("a note has one to 100 signatures"));
    }
    Ok(SignedNote { text: text.to_owned(), signatures })
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("the text does not end in a newline"));
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    Ok(())
}

// === impl NoteSignature ===

impl NoteSignature {
    /// Parses a signature line without its final newline.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] or [`NoteError::BadName`].
    pub fn parse_line(line: &str) -> Result<Self, NoteError> {
        let rest = line
            .strip_prefix("\u{2014} ")
            .ok_or(NoteError::Malformed("a signature line begins with an em dash and a space"))?;
        let (name, blob) = rest.split_once(' ').ok_or(NoteError::Malformed("a signature line without signature"))?;
        check_name(name)?;
        let bytes = decode_base64(blob).ok_or(NoteError::Malformed("a signature is not canonical base64"))?;
        let (id, signature) =
            bytes.split_first_chunk::<4>().ok_or(NoteError::Malformed("a signature is shorter than its key id"))?;
        if signature.is_empty() {
            return Err(NoteError::Malformed("an empty signature"));
        }
        Ok(Self { name: name.to_owned(), key_id: u32::from_be_bytes(*id), signature: signature.to_vec() })
    }

    fn is_by(&self, verifier: &Verifier) -> bool {
        self.key_id == verifier.key_id() && self.name == verifier.name()
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without a newline.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = self.key_id.to_be_bytes().to_vec();
        blob.extend_from_slice(&self.signature);
        write!(out, "\u{2014} {} {}", self.name, STANDARD.encode(blob))
    }
}

// === impl SignedNote ===

impl SignedNote {
    /// Parses a note from bytes.
    ///
    /// # Errors
    /// [`NoteError`] for anything but the one canonical spelling.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        Self::parse(note)
    }

    /// Parses a note.
    ///
    /// # Errors
    /// [`NoteError`] for anything but the one canonical spelling.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("longer than a note may be"));
        }
        check_text(note)?;
        let (head, lines) =
            note.rsplit_once("\n\n").ok_or(NoteError::Malformed("no blank line before the signatures"))?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("no signature after the text"))?;
        if lines.split('\n').count() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::Malformed("more signatures than a note may have"));
        }
        let signatures = lines.split('\n').map(NoteSignature::parse_line).collect::<Result<Vec<_>, _>>()?;
        let parsed = Self { text: format!("{head}\n"), signatures };
        // Strictness by construction: nothing may parse that isn't printed so.
        if parsed.to_string() != note {
            return Err(NoteError::Malformed("not the canonical spelling"));
        }
        Ok(parsed)
    }

    /// Verifies each line of a known key (C2SP signed-note: unknown keys are
    /// ignored; one bad signature of a known key condemns the note).
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] or [`NoteError::NoKnownSignature`].
    pub fn verify(&self, known: &[Verifier]) -> Result<Vec<VerifiedSignature>, NoteError> {
        let mut verified = Vec::new();
        for line in &self.signatures {
            for verifier in known.iter().filter(|verifier| line.is_by(verifier)) {
                let time_unix_s = verifier.verify(&self.text, &line.signature)?;
                verified.push(VerifiedSignature { name: line.name.clone(), key_id: line.key_id, time_unix_s });
            }
        }
        if verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }

    /// As [`SignedNote::verify`], and refuses a line by an unknown key and a
    /// second line by the same key: for files in which each byte is protected.
    ///
    /// # Errors
    /// As [`SignedNote::verify`], and [`NoteError::UnknownSignature`].
    pub fn verify_only(&self, known: &[Verifier]) -> Result<Vec<VerifiedSignature>, NoteError> {
        self.check_lines_known(known)?;
        self.verify(known)
    }

    /// The part of [`SignedNote::verify_only`] that needs no arithmetic on
    /// curves.
    pub(crate) fn check_lines_known(&self, known: &[Verifier]) -> Result<(), NoteError> {
        for (at, line) in self.signatures.iter().enumerate() {
            let repeated = self
                .signatures
                .iter()
                .take(at)
                .any(|earlier| earlier.key_id == line.key_id && earlier.name == line.name);
            if repeated || !known.iter().any(|verifier| line.is_by(verifier)) {
                return Err(NoteError::UnknownSignature { name: line.name.clone() });
            }
        }
        Ok(())
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}
