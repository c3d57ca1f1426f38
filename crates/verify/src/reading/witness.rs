//! Checkpoints of others that this organisation kept: in its log, and in `trust/kept/`.

use super::attached::Attached;
use super::{Reading, has_room};
use crate::directory::names;
use crate::kept::read_note;
use crate::limits::FILES_MAX;
use crate::register::{Register, log_verifiers_of};
use crate::report::of_file;
use perron_log::note::NoteError;
use perron_log::{Checkpoint, Finding, FindingKind, Hash, KeyKind, Verifier};
use perron_model::entry::{AttachmentKind, CheckpointKept};
use perron_model::{Digest, Result};
use std::collections::HashMap;
use std::path::Path;

/// The newest checkpoint of another log, as this log's entries tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptHere {
    size: u64,
    root: Digest,
    /// Its key, of a log that the register doesn't know.
    key: Option<String>,
}

impl Reading<'_> {
    pub(super) fn checkpoint_kept(&mut self, body: &CheckpointKept, attached: &mut Attached<'_>) {
        match attached.take(AttachmentKind::Checkpoint) {
            Some(bytes) => {
                self.count_signature("checkpoint");
                match opened(self.register, &body.origin, body.key.as_deref(), &String::from_utf8_lossy(bytes)) {
                    Ok(head) => {
                        let fits = (head.size, head.root) == (body.size, body.root);
                        self.require(
                            fits,
                            FindingKind::DocumentBytes,
                            "the attached checkpoint is not the one that it binds",
                        );
                    }
                    Err((kind, detail)) => self.wrong(kind, format!("the attached checkpoint: {detail}")),
                }
            }
            None => self.wrong(FindingKind::DocumentBytes, "its checkpoint is not attached"),
        }
        if !has_room(&self.kept, &body.origin) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let now = KeptHere { size: body.size, root: body.root, key: body.key.clone() };
        let newest = self.kept.entry(body.origin.clone()).or_insert_with(|| now.clone());
        let forked = newest.size == now.size && newest.root != now.root;
        // Two that were kept at once may be logged in either order: the larger one counts.
        if newest.size < now.size {
            *newest = now;
        }
        self.require(!forked, FindingKind::Fork, "another checkpoint of that size was kept of that log");
    }
}

impl KeptHere {
    /// Is this another tree of the same size?
    pub(super) fn contradicts(&self, size: Option<u64>, root: Option<Digest>) -> bool {
        size == Some(self.size) && root != Some(self.root)
    }
}

/// A checkpoint as its log signed it. A log that the register doesn't know is opened by the key that
/// the entry names: whoever kept it says by which they did, and nobody else is bound by it.
fn opened(
    register: &Register,
    origin: &str,
    key: Option<&str>,
    note: &str,
) -> std::result::Result<KeptHere, (FindingKind, String)> {
    let refused = |detail: String| (FindingKind::Signature, detail);
    let keys = match (register.owner_of(origin), key) {
        (Some(owner), None) => log_verifiers_of(owner, origin),
        (None, Some(key)) => {
            let verifier = Verifier::parse_vkey(key).map_err(|e| refused(e.to_string()))?;
            if verifier.kind() != KeyKind::Ed25519 {
                return Err(refused("it is by a key of another kind than a log's".to_owned()));
            }
            vec![verifier]
        }
        (Some(_), Some(_)) => return Err(refused(format!("the register has the keys of `{origin}`"))),
        (None, None) => return Err(refused(format!("the register knows no log `{origin}`"))),
    };
    match Checkpoint::open(note, origin, &keys, &[]) {
        Ok(opened) => {
            let Checkpoint { size, root, .. } = opened.checkpoint;
            Ok(KeptHere { size, root: Digest::from_bytes(root.0), key: key.map(str::to_owned) })
        }
        Err(error @ (NoteError::Malformed(_) | NoteError::NotACheckpoint(_) | NoteError::OtherOrigin { .. })) => {
            Err((FindingKind::DocumentBytes, error.to_string()))
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

/// What the files under `trust/kept/` are, beside the entries that tell of them.
#[derive(Debug, Default)]
pub(crate) struct KeptFiles {
    pub findings: Vec<Finding>,
    /// Signatures that were checked.
    pub signatures: u64,
    /// Origins whose file is newer than the entries: a crash lay between.
    pub ahead: Vec<String>,
}

/// Verifies `trust/kept/`: each file signed by its log's key, and no older than the entries that
/// tell of it, nor another of the same size.
pub(crate) fn check_kept_files(
    directory: &Path,
    register: &Register,
    told: &HashMap<String, KeptHere>,
) -> Result<KeptFiles> {
    let folder = directory.join("trust/kept");
    let mut files = KeptFiles::default();
    let mut there = Vec::new();
    for name in names(&folder, FILES_MAX)? {
        if !name.ends_with(".checkpoint") {
            continue;
        }
        let Some(note) = read_note(&folder.join(&name))? else { continue };
        let path = format!("trust/kept/{name}");
        let origin = note.lines().next().unwrap_or_default().to_owned();
        if file_name(register, &origin) != name {
            files.findings.push(of_file(
                FindingKind::DocumentBytes,
                path,
                "it is not a checkpoint of the log that it is named after",
            ));
            continue;
        }
        let told_of = told.get(&origin);
        let key = told_of.and_then(|told| told.key.as_deref());
        if told_of.is_none() && register.owner_of(&origin).is_none() {
            // A crash lay between file and entry, which would name the key.
            files.ahead.push(origin.clone());
            there.push(origin);
            continue;
        }
        files.signatures = files.signatures.saturating_add(1);
        match opened(register, &origin, key, &note) {
            Ok(head) => files.compare(path, &origin, &head, told_of),
            Err((kind, detail)) => files.findings.push(of_file(kind, path, detail)),
        }
        there.push(origin);
    }
    let mut missing: Vec<&String> = told.keys().filter(|origin| !there.contains(origin)).collect();
    missing.sort_unstable();
    for origin in missing {
        let path = format!("trust/kept/{}", file_name(register, origin));
        files.findings.push(of_file(FindingKind::MissingFile, path, "a checkpoint that the log tells of is not there"));
    }
    Ok(files)
}

impl KeptFiles {
    fn compare(&mut self, path: String, origin: &str, head: &KeptHere, told: Option<&KeptHere>) {
        let told_size = told.map_or(0, |t| t.size);
        if head.size < told_size {
            let detail = format!("it covers {} entries, the log tells of one of {told_size}", head.size);
            self.findings.push(of_file(FindingKind::OlderState, path, detail));
        } else if told.is_some_and(|t| t.size == head.size && t.root != head.root) {
            self.findings.push(of_file(FindingKind::Fork, path, "the log tells of another checkpoint of that size"));
        } else if told.is_none_or(|t| t.size < head.size) {
            self.ahead.push(origin.to_owned());
        }
    }
}

/// A log outside of the data space chooses its origin, so its file is named by the origin's digest.
fn file_name(register: &Register, origin: &str) -> String {
    if register.owner_of(origin).is_some() {
        format!("{}.checkpoint", origin.replace('/', "_"))
    } else {
        format!("outside+{}.checkpoint", Hash::of(origin.as_bytes()))
    }
}
