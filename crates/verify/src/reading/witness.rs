//! Checkpoints of others that this organisation kept: in its log, and in `trust/kept/`.

use super::attached::Attached;
use super::{Reading, has_room};
use crate::directory::names;
use crate::kept::read_note;
use crate::limits::FILES_MAX;
use crate::register::{Register, log_verifiers};
use crate::report::of_file;
use perron_log::note::NoteError;
use perron_log::{Checkpoint, Finding, FindingKind};
use perron_model::entry::{AttachmentKind, CheckpointKept};
use perron_model::{Digest, Result};
use std::collections::HashMap;
use std::path::Path;

/// The newest checkpoint of another log, as this log's entries tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptHere {
    size: u64,
    root: Digest,
}

impl Reading<'_> {
    pub(super) fn checkpoint_kept(&mut self, body: &CheckpointKept, attached: &mut Attached<'_>) {
        match attached.take(AttachmentKind::Checkpoint) {
            Some(bytes) => {
                self.count_signature("checkpoint");
                match opened(self.register, &body.origin, &String::from_utf8_lossy(bytes)) {
                    Ok(head) => {
                        let fits = head == KeptHere { size: body.size, root: body.root };
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
        let now = KeptHere { size: body.size, root: body.root };
        let newest = self.kept.entry(body.origin.clone()).or_insert(now);
        let forked = newest.size == now.size && newest.root != now.root;
        // Two that were kept at once may be logged in either order: the larger one counts.
        if newest.size < now.size {
            *newest = now;
        }
        self.require(!forked, FindingKind::Fork, "another checkpoint of that size was kept of that log");
    }
}

fn opened(register: &Register, origin: &str, note: &str) -> std::result::Result<KeptHere, (FindingKind, String)> {
    let owner = register
        .owner_of(origin)
        .ok_or_else(|| (FindingKind::Signature, format!("the register knows no log `{origin}`")))?;
    match Checkpoint::open(note, origin, &log_verifiers(owner), &[]) {
        Ok(opened) => Ok(KeptHere { size: opened.checkpoint.size, root: Digest::from_bytes(opened.checkpoint.root.0) }),
        Err(error @ (NoteError::Malformed(_) | NoteError::NotACheckpoint(_) | NoteError::OtherOrigin { .. })) => {
            Err((FindingKind::DocumentBytes, error.to_string()))
        }
        Err(error) => Err((FindingKind::Signature, error.to_string())),
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
        if file_name(&origin) != name {
            files.findings.push(of_file(
                FindingKind::DocumentBytes,
                path,
                "it is not a checkpoint of the log that it is named after",
            ));
            continue;
        }
        files.signatures = files.signatures.saturating_add(1);
        match opened(register, &origin, &note) {
            Ok(head) => files.compare(path, &origin, head, told.get(&origin)),
            Err((kind, detail)) => files.findings.push(of_file(kind, path, detail)),
        }
        there.push(origin);
    }
    let mut missing: Vec<&String> = told.keys().filter(|origin| !there.contains(origin)).collect();
    missing.sort_unstable();
    for origin in missing {
        let path = format!("trust/kept/{}", file_name(origin));
        files.findings.push(of_file(FindingKind::MissingFile, path, "a checkpoint that the log tells of is not there"));
    }
    Ok(files)
}

impl KeptFiles {
    fn compare(&mut self, path: String, origin: &str, head: KeptHere, told: Option<&KeptHere>) {
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

fn file_name(origin: &str) -> String {
    format!("{}.checkpoint", origin.replace('/', "_"))
}
