//! Verification: options, report, and what both kinds of directory share.
//! A stopped directory, or a copy, is read; nothing is written.

use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::files::{FileLayer, OsFiles};
use crate::findings::{Finding, FindingKind, Outcome};
use crate::keys::Verifier;
use crate::limits::{FINDINGS_MAX, KEPT_CHECKPOINTS_MAX};
use crate::merkle::{Frontier, Hash};
use crate::note::NoteError;
use crate::segment::AttachmentRef;
use crate::verify_segments::verify_segments;
use crate::verify_tiles::verify_foreign;

/// What to verify by.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Origin of the log.
    pub origin: String,
    /// Keys of the log, present and former.
    pub keys: Vec<Verifier>,
    /// Signed checkpoints of this log that others or we kept. Those of other
    /// origins are counted and left aside.
    pub kept: Vec<String>,
}

/// A leaf as the visitor sees it, in order of the log. Its record's bytes and
/// checkpoint text were checked; signatures are checked in rounds, so that a
/// bad one may be found a little later.
#[derive(Debug, Clone, Copy)]
pub struct LeafView<'a> {
    /// Index in the log.
    pub index: u64,
    /// The leaf; none of a pruned one, of which its hash alone is left.
    pub leaf: Option<&'a [u8]>,
    /// All attachments of the batch; see [`LeafView::attachments`].
    pub(crate) batch_attachments: &'a [AttachmentRef<'a>],
    /// Its place within the batch.
    pub place: u32,
    /// Its RFC 6962 hash.
    pub leaf_hash: Hash,
    /// Batch number; 0 in a log without segments.
    pub batch: u64,
    /// Fingerprints of the log keys that signed the batch, as its file's header lists them; none in
    /// a log without segments.
    pub keys: &'a [Hash],
}

/// What the caller does with each leaf: it gives the findings that only it can
/// make (encodings, chains, documents).
pub type Visitor<'a> = dyn FnMut(&LeafView<'_>) -> Vec<Finding> + 'a;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was found, at most 1,000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_left_out: u64,
    /// Worst outcome of all findings, left out ones included.
    pub outcome: Outcome,
    /// Leaves that were read.
    pub size: u64,
    /// Root of those leaves.
    pub root: Hash,
    /// Leaves under the `checkpoint` file, where there is a good one.
    pub published: Option<u64>,
    /// Leaves of them that were pruned; whether they might be is the caller's to judge.
    pub pruned: u64,
    /// Batches that were read.
    pub batches: u64,
    /// Notes whose signatures were verified, kept ones included.
    pub signatures_checked: u64,
    /// Kept checkpoints of this log that were compared.
    pub kept_compared: u64,
    /// The largest kept checkpoint that the log agrees with: the log is
    /// unchanged up to there. Later entries are the owner's word.
    pub kept_size_max: Option<u64>,
    /// Kept checkpoints of other origins, left aside.
    pub kept_of_others: u64,
    /// Whether all segments could be read to their end.
    pub is_complete: bool,
}

/// Why nothing can be said: what was given isn't fit to verify by, or the
/// directory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file system failed.
    #[error("`{path}`: {source}")]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key was given.
    #[error("no key of the log was given")]
    NoKeys,
    /// A kept checkpoint can't be used: not by the log's keys, or no
    /// checkpoint. It says nothing about the log.
    #[error("kept checkpoint {position} can't be used: {source}")]
    Kept {
        /// Its position among those given, from 0.
        position: usize,
        /// Why.
        source: NoteError,
    },
    /// More kept checkpoints than are compared at once.
    #[error("more kept checkpoints than can be compared at once")]
    TooManyKept,
}

/// Verifies a log of ours: each byte of each file under `log_dir` (the folder
/// that holds `segment/`, `checkpoint` and `tile/`). Memory doesn't grow with
/// the log.
///
/// # Errors
/// [`VerifyError`] when nothing can be said. What is wrong with the log is in
/// the report.
pub fn verify_log_dir(
    log_dir: &Path,
    options: &VerifyOptions,
    visitor: &mut Visitor<'_>,
) -> Result<Report, VerifyError> {
    verify_segments(&OsFiles, log_dir, options, visitor)
}

/// As [`verify_log_dir`], over another file layer.
///
/// # Errors
/// As [`verify_log_dir`].
pub fn verify_log_files(
    files: &dyn FileLayer,
    log_dir: &Path,
    options: &VerifyOptions,
    visitor: &mut Visitor<'_>,
) -> Result<Report, VerifyError> {
    verify_segments(files, log_dir, options, visitor)
}

/// Verifies a log directory of any make in the form of C2SP tlog-tiles:
/// `checkpoint`, tiles and entry bundles, without segments. Signature lines of
/// unknown keys and partial tiles of earlier checkpoints are allowed there.
///
/// # Errors
/// As [`verify_log_dir`].
pub fn verify_tiles_dir(
    log_dir: &Path,
    options: &VerifyOptions,
    visitor: &mut Visitor<'_>,
) -> Result<Report, VerifyError> {
    verify_foreign(&OsFiles, log_dir, options, visitor)
}

// === impl LeafView ===

impl<'a> LeafView<'a> {
    /// What is kept beside the leaf: kinds and bytes.
    pub fn attachments(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let place = self.place;
        let kept = self.batch_attachments.iter().filter(move |kept| kept.leaf == place);
        kept.map(|kept| (kept.kind, kept.bytes))
    }
}

// === collecting findings ===

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            findings: Vec::new(),
            findings_left_out: 0,
            outcome: Outcome::Ok,
            size: 0,
            root: crate::merkle::empty_root(),
            published: None,
            pruned: 0,
            batches: 0,
            signatures_checked: 0,
            kept_compared: 0,
            kept_size_max: None,
            kept_of_others: 0,
            is_complete: true,
        }
    }

    /// Adds a finding; past the bound it is only counted.
    pub fn add(&mut self, finding: Finding) {
        self.outcome = self.outcome.max(finding.kind.outcome());
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    pub(crate) fn find(&mut self, kind: FindingKind, path: &str, offset: Option<u64>, detail: impl Into<String>) {
        let path = path.to_owned();
        self.add(Finding { kind, path, offset, index: None, detail: detail.into() });
    }

    /// Whether a kind was found among those kept.
    #[must_use]
    pub fn has(&self, kind: FindingKind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }
}

/// Kept checkpoints by size, compared as the tree grows past them.
pub(crate) struct Kept {
    // Position among those given, and what it says; by size.
    heads: Vec<(usize, Checkpoint)>,
    next: usize,
}

impl Kept {
    /// Verifies and sorts the kept checkpoints; two of the same size with
    /// different roots are a fork, whatever the directory says.
    pub(crate) fn open(options: &VerifyOptions, report: &mut Report) -> Result<Self, VerifyError> {
        if options.keys.is_empty() {
            return Err(VerifyError::NoKeys);
        }
        if options.kept.len() > KEPT_CHECKPOINTS_MAX {
            return Err(VerifyError::TooManyKept);
        }
        let mut heads = Vec::new();
        for (position, note) in options.kept.iter().enumerate() {
            match Checkpoint::open(note, &options.origin, &options.keys, &[]) {
                Ok(opened) => heads.push((position, opened.checkpoint)),
                Err(NoteError::OtherOrigin { .. }) => report.kept_of_others += 1,
                Err(source) => return Err(VerifyError::Kept { position, source }),
            }
        }
        heads.sort_by_key(|(position, head)| (head.size, *position));
        report.kept_compared = heads.len() as u64;
        report.signatures_checked += heads.len() as u64;
        for pair in heads.windows(2) {
            if let [(first, a), (second, b)] = pair
                && a.size == b.size
                && a.root != b.root
            {
                let detail =
                    format!("it and kept {first} are both signed for {} entries, with different roots", b.size);
                report.find(FindingKind::Fork, &format!("kept {second}"), None, detail);
            }
        }
        Ok(Self { heads, next: 0 })
    }

    /// The largest size that a kept checkpoint has seen.
    pub(crate) fn size_max(&self) -> u64 {
        self.heads.last().map_or(0, |(_, head)| head.size)
    }

    /// Compares those of exactly the frontier's size.
    pub(crate) fn compare(&mut self, frontier: &Frontier, report: &mut Report) {
        while let Some((position, head)) = self.heads.get(self.next) {
            if head.size > frontier.size() {
                return;
            }
            self.next += 1;
            if head.root == frontier.root() {
                report.kept_size_max = Some(head.size);
                continue;
            }
            let detail = format!("its root over {} entries is not that of the log as it is now", head.size);
            report.find(FindingKind::Rewrite, &format!("kept {position}"), None, detail);
        }
    }

    /// Those left over have seen more than there is.
    pub(crate) fn finish(&self, size: u64, report: &mut Report) {
        for (position, head) in self.heads.iter().skip(self.next) {
            let detail = format!("it has seen {} entries, the log holds {size}", head.size);
            report.find(FindingKind::OlderState, &format!("kept {position}"), None, detail);
        }
    }
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    move |source| VerifyError::Io { path: path.to_owned(), source }
}
