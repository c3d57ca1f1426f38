//! Checkpoints (C2SP tlog-checkpoint): the signed head of a log.

use crate::keys::Verifier;
use crate::limits::{CHECKPOINT_EXTENSIONS_MAX, TREE_LEAVES_MAX};
use crate::merkle::{Hash, decode_decimal};
use crate::note::{NoteError, NoteSigner, SignedNote, VerifiedSignature, check_name, sign_note};

/// What a checkpoint says, without its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: `<authority>/<participant>/<generation>` for ours.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// RFC 6962 root of the tree.
    pub root: Hash,
    /// Extension lines of foreign logs; ours has none.
    pub extensions: Vec<String>,
}

/// A checkpoint whose log signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note as parsed.
    pub note: SignedNote,
    /// The lines that verified, log's and cosigners'.
    pub verified: Vec<VerifiedSignature>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.to_owned(), size, root, extensions: Vec::new() }
    }

    /// The note text: origin, size, root, extensions, each ending in a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Parses a note text in its one canonical spelling.
    ///
    /// # Errors
    /// [`NoteError::NotACheckpoint`] saying which line is wrong.
    pub fn parse_text(text: &str) -> Result<Self, NoteError> {
        let body = text.strip_suffix('\n').ok_or(NoteError::NotACheckpoint("no final newline"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty());
        let origin = origin.ok_or(NoteError::NotACheckpoint("no origin"))?;
        let size = lines.next().and_then(decode_decimal).filter(|size| *size <= TREE_LEAVES_MAX);
        let size = size.ok_or(NoteError::NotACheckpoint("no tree size in canonical decimal"))?;
        let root = lines.next().and_then(Hash::from_base64);
        let root = root.ok_or(NoteError::NotACheckpoint("no root in canonical base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(NoteError::NotACheckpoint("an empty extension line"));
        }
        if extensions.len() > CHECKPOINT_EXTENSIONS_MAX {
            return Err(NoteError::NotACheckpoint("too many extension lines"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// Signs the checkpoint with each log key, in order.
    ///
    /// # Errors
    /// [`NoteError`] when the origin is no name or a signer fails.
    pub fn sign(&self, signers: &[&dyn NoteSigner]) -> Result<SignedNote, NoteError> {
        check_name(&self.origin)?;
        sign_note(&self.to_text(), signers)
    }

    /// Parses a note, verifies the lines of known keys, and requires the
    /// expected origin and at least one verified line whose key is one of
    /// `log_keys`. Lines of `cosigners` are verified too; others are ignored.
    ///
    /// # Errors
    /// [`NoteError`] saying what doesn't hold.
    pub fn open(
        note: &str,
        origin: &str,
        log_keys: &[Verifier],
        cosigners: &[Verifier],
    ) -> Result<OpenedCheckpoint, NoteError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Self::parse_text(&note.text)?;
        if checkpoint.origin != origin {
            return Err(NoteError::OtherOrigin { expected: origin.to_owned(), found: checkpoint.origin });
        }
        let mut verified = note.verify(log_keys)?;
        if !cosigners.is_empty() {
            match note.verify(cosigners) {
                Ok(lines) => verified.extend(lines),
                Err(NoteError::NoKnownSignature) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(OpenedCheckpoint { checkpoint, note, verified })
    }
}
