//! What verification can find, by stable names.

use std::fmt;

/// How bad a finding is. All but the first two make a verification exit
/// non-zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Nothing found.
    Ok,
    /// Derived files lag behind the segments: opening the log mends it.
    Behind,
    /// An interrupted write or publication: opening the log mends it.
    Unfinished,
    /// Bytes aren't what was written; nobody need have meant it.
    Damaged,
    /// What was signed and what lies there contradict each other.
    Tampered,
    /// Entries are gone that something has seen.
    TailLost,
}

/// What was found. The names are stable; the reference page has a sentence
/// for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A segment's bytes aren't a record that follows the one before.
    SegmentBytes,
    /// A leaf isn't the canonical encoding of an entry (found by the caller).
    EntryEncoding,
    /// A signed root isn't that of the leaves.
    TreeRoot,
    /// A number is missing in an agreement's chain (found by the caller).
    ChainGap,
    /// Entries stand in an order that they can't have (found by the caller).
    Order,
    /// Time goes backwards (found by the caller).
    TimeBackwards,
    /// A signature doesn't verify, or is by a key that isn't the log's.
    Signature,
    /// Text that isn't in its one canonical spelling.
    Encoding,
    /// A tile or entry bundle isn't that of the leaves.
    TileBytes,
    /// A file that has no business there.
    StrayFile,
    /// A file that should be there isn't.
    MissingFile,
    /// The segments end before what was published.
    Truncated,
    /// Two checkpoints that the log signed contradict each other.
    Fork,
    /// The log isn't what it was when a kept checkpoint was signed.
    Rewrite,
    /// A kept checkpoint has seen more entries than there are.
    OlderState,
    /// A log doesn't follow the one that it took the place of (found by the
    /// caller).
    Succession,
    /// A document's bytes aren't those that its entry names (found by the
    /// caller).
    DocumentBytes,
    /// A document's signature doesn't verify (found by the caller).
    DocumentSignature,
    /// Entries are pruned, and no signed retention rule allows it (found by the
    /// caller).
    PrunedWithoutRule,
    /// A signature is by a key that was not in force then (found by the
    /// caller).
    KeyNotInForce,
    /// The last record is no whole one, and nothing has seen it whole.
    TornTail,
    /// Tiles of another size than the published one, or entries that were to be
    /// pruned: an interrupted publication or pruning.
    Unfinished,
    /// The published checkpoint is older than the segments.
    Behind,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// File concerned, relative to the log directory; or `kept <n>` for the
    /// n-th kept checkpoint, counted from 0.
    pub path: String,
    /// Byte offset within the file, where one is known.
    pub offset: Option<u64>,
    /// Leaf index, where one is known.
    pub index: Option<u64>,
    /// What exactly, for people.
    pub detail: String,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::SegmentBytes,
        Self::EntryEncoding,
        Self::TreeRoot,
        Self::ChainGap,
        Self::Order,
        Self::TimeBackwards,
        Self::Signature,
        Self::Encoding,
        Self::TileBytes,
        Self::StrayFile,
        Self::MissingFile,
        Self::Truncated,
        Self::Fork,
        Self::Rewrite,
        Self::OlderState,
        Self::Succession,
        Self::DocumentBytes,
        Self::DocumentSignature,
        Self::PrunedWithoutRule,
        Self::KeyNotInForce,
        Self::TornTail,
        Self::Unfinished,
        Self::Behind,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SegmentBytes => "segment-bytes",
            Self::EntryEncoding => "entry-encoding",
            Self::TreeRoot => "tree-root",
            Self::ChainGap => "chain-gap",
            Self::Order => "order",
            Self::TimeBackwards => "time-backwards",
            Self::Signature => "signature",
            Self::Encoding => "encoding",
            Self::TileBytes => "tile-bytes",
            Self::StrayFile => "stray-file",
            Self::MissingFile => "missing-file",
            Self::Truncated => "truncated",
            Self::Fork => "fork",
            Self::Rewrite => "rewrite",
            Self::OlderState => "older-state",
            Self::Succession => "succession",
            Self::DocumentBytes => "document-bytes",
            Self::DocumentSignature => "document-signature",
            Self::PrunedWithoutRule => "pruned-without-rule",
            Self::KeyNotInForce => "key-not-in-force",
            Self::TornTail => "torn-tail",
            Self::Unfinished => "unfinished",
            Self::Behind => "behind",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Behind => Outcome::Behind,
            Self::TornTail | Self::Unfinished => Outcome::Unfinished,
            Self::SegmentBytes | Self::TileBytes | Self::StrayFile | Self::MissingFile | Self::DocumentBytes => {
                Outcome::Damaged
            }
            Self::EntryEncoding
            | Self::TreeRoot
            | Self::ChainGap
            | Self::Order
            | Self::TimeBackwards
            | Self::Signature
            | Self::Encoding
            | Self::Fork
            | Self::Rewrite
            | Self::Succession
            | Self::DocumentSignature
            | Self::PrunedWithoutRule
            | Self::KeyNotInForce => Outcome::Tampered,
            Self::Truncated | Self::OlderState => Outcome::TailLost,
        }
    }
}

impl Outcome {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Behind => "behind",
            Self::Unfinished => "unfinished",
            Self::Damaged => "damaged",
            Self::Tampered => "tampered",
            Self::TailLost => "tail-lost",
        }
    }

    /// Whether a verification that ends so exits with zero.
    #[must_use]
    pub const fn is_pass(self) -> bool {
        matches!(self, Self::Ok | Self::Behind)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.kind, self.path)?;
        if let Some(offset) = self.offset {
            write!(out, " at byte {offset}")?;
        }
        if let Some(index) = self.index {
            write!(out, ", entry {index}")?;
        }
        write!(out, ": {}", self.detail)
    }
}
