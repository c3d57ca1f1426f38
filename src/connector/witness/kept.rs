//! The files of checkpoints: `trust/kept/` those of others, `trust/cosigned/` ours as others signed,
//! `trust/dated/` those of ours that were cosigned before a key ended.

use crate::connector::catalogue::blocking;
use crate::files::write_file;
use perron_log::merkle::Hash;
use perron_log::{Checkpoint, SignedNote, Verifier};
use perron_model::succession::HeldHead;
use perron_model::{Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// File in `trust/` that says that this directory isn't the newest state of its log.
pub const SUPERSEDED: &str = "superseded.json";

/// Checkpoints in files: `trust/kept/` those of others, `trust/cosigned/` ours as others signed.
#[derive(Debug)]
pub struct Kept {
    kept: PathBuf,
    cosigned: PathBuf,
    dated: PathBuf,
    superseded: PathBuf,
    // What lies in `kept/`, as far as it was looked at: each read asks for it.
    known: Mutex<HashMap<String, (Checkpoint, String)>>,
    // Check, keep and log are one step: two heads of one log are compared in an order.
    pub(super) order: tokio::sync::Mutex<()>,
}

pub(super) fn file_name(name: &str) -> String {
    format!("{}.checkpoint", name.replace('/', "_"))
}

impl Kept {
    /// Opens the directories, making them where they are not.
    pub fn open(trust: &Path) -> Result<Kept> {
        let [kept, cosigned, dated] = ["kept", "cosigned", "dated"].map(|folder| trust.join(folder));
        for directory in [&kept, &cosigned, &dated] {
            std::fs::create_dir_all(directory)
                .map_err(|_| Error::new(ErrorCode::DiskFull, "a directory can't be made"))?;
        }
        let superseded = trust.join(SUPERSEDED);
        Ok(Kept { kept, cosigned, dated, superseded, known: Mutex::default(), order: tokio::sync::Mutex::new(()) })
    }

    /// The newest checkpoint held of a participant's log, with its note.
    pub fn held(&self, origin: &str) -> Result<Option<(Checkpoint, String)>> {
        self.held_in(origin, &file_name(origin))
    }

    pub(super) fn held_in(&self, origin: &str, file: &str) -> Result<Option<(Checkpoint, String)>> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(origin) {
            return Ok(Some(known.clone()));
        }
        match std::fs::read_to_string(self.kept.join(file)) {
            Ok(note) => {
                let held = (parse(&note)?, note);
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(origin.to_owned(), held.clone());
                Ok(Some(held))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Error::new(ErrorCode::LogDamaged, "a kept checkpoint can't be read")),
        }
    }

    /// Heads of our own log that others cosigned.
    ///
    /// # Errors
    /// `own_log_forked` where it was shown before that this directory isn't the newest state of the
    /// log: it never appends again.
    pub fn heads_of(&self, origin: &str) -> Result<Vec<Checkpoint>> {
        match std::fs::read_to_string(&self.superseded) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            told => {
                let told: Option<Superseded> = told.ok().and_then(|text| serde_json::from_str(&text).ok());
                let detail = told.map_or_else(|| "a witness showed it before".to_owned(), |told| told.detail);
                return Err(Error::new(ErrorCode::OwnLogForked, format!("{detail} (`trust/{SUPERSEDED}`)")));
            }
        }
        let heads = self.cosigned_notes()?.into_iter().map(|note| parse(&note.to_string()));
        heads.filter(|head| head.as_ref().map_or(true, |h| h.origin == origin)).collect()
    }

    /// Heads that came back cosigned, as signed.
    pub fn cosigned_notes(&self) -> Result<Vec<perron_log::SignedNote>> {
        let unreadable = || Error::new(ErrorCode::LogDamaged, "a cosigned checkpoint can't be read");
        let entries = std::fs::read_dir(&self.cosigned).map_err(|_| unreadable())?;
        let files = entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".checkpoint"));
        let note = |text: String| perron_log::SignedNote::parse(&text).map_err(|_| unreadable());
        files.map(|e| std::fs::read_to_string(e.path()).map_err(|_| unreadable()).and_then(note)).collect()
    }

    /// As `cosigned_notes`, each as its text with who cosigned it: a participant's name, or the
    /// fingerprint of a witness's key.
    pub(in crate::connector) fn cosigned_by(&self) -> Result<Vec<(String, String)>> {
        let unreadable = || Error::new(ErrorCode::LogDamaged, "a cosigned checkpoint can't be read");
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.cosigned).map_err(|_| unreadable())?.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if let Some(by) = name.strip_suffix(".checkpoint") {
                found.push((by.to_owned(), std::fs::read_to_string(file.path()).map_err(|_| unreadable())?));
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) async fn keep(&self, file: &str, checkpoint: &Checkpoint, note: &str) -> Result<()> {
        write(self.kept.join(file), note).await?;
        let held = (checkpoint.clone(), note.to_owned());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(checkpoint.origin.clone(), held);
        Ok(())
    }

    /// Keeps our head as a participant cosigned it; `ends` are the times at which keys of the register end.
    pub(super) async fn keep_cosigned(&self, by: &ParticipantId, note: &str, ends: &[Timestamp]) -> Result<()> {
        self.replace(&file_name(by.as_str()), note, ends).await
    }

    /// What was signed by a key that ends is proven by a head that somebody cosigned before: that one
    /// stays beside the newer one.
    async fn replace(&self, name: &str, note: &str, ends: &[Timestamp]) -> Result<()> {
        let file = self.cosigned.join(name);
        if let Ok(before) = std::fs::read_to_string(&file)
            && let (Some(then), Some(now)) = (cosigned_at(&before), cosigned_at(note))
            && ends.iter().any(|end| then < *end && *end <= now)
        {
            let who = name.strip_suffix(".checkpoint").unwrap_or(name);
            write(self.dated.join(format!("{who}+{}.checkpoint", then.millis() / 1000)), &before).await?;
        }
        write(file, note).await
    }

    pub(super) fn cosigned_size(&self, by: &ParticipantId) -> Result<u64> {
        match std::fs::read_to_string(self.cosigned.join(file_name(by.as_str()))) {
            Ok(note) => Ok(parse(&note)?.size),
            Err(_) => Ok(0),
        }
    }

    /// Notes that this directory isn't the newest state of its log: it is never opened for writing again.
    pub(super) async fn supersede(&self, detail: &str, at: Timestamp) -> Result<()> {
        let bytes = canonical::to_bytes(&Superseded { detail: detail.to_owned(), at, heads: Vec::new() })?;
        let file = self.superseded.clone();
        blocking(move || write_file(&file, &bytes)).await
    }

    /// As `supersede`, before anything is served, with the heads that showed it.
    pub fn note_superseded(&self, detail: &str, heads: &[HeldHead], at: Timestamp) -> Result<()> {
        let told = Superseded { detail: detail.to_owned(), at, heads: heads.to_vec() };
        write_file(&self.superseded, &canonical::to_bytes(&told)?)
    }

    /// Heads that showed before that this directory isn't the newest state of its log.
    pub fn superseding(&self) -> Vec<HeldHead> {
        let told = std::fs::read_to_string(&self.superseded).ok();
        told.and_then(|text| serde_json::from_str::<Superseded>(&text).ok()).map_or_else(Vec::new, |told| told.heads)
    }

    /// Participants that cosigned a head of ours, by name: those with whom there are agreements.
    pub fn cosigners(&self) -> Vec<ParticipantId> {
        let files = std::fs::read_dir(&self.cosigned).into_iter().flatten().flatten();
        let name = |file: std::fs::DirEntry| file.file_name().to_str()?.strip_suffix(".checkpoint").map(str::to_owned);
        let mut found: Vec<_> = files.filter_map(name).filter_map(|name| ParticipantId::parse(&name).ok()).collect();
        found.sort();
        found
    }

    /// Keeps our head as a witness over HTTPS cosigned it. A participant's name has no plus, so no
    /// file is another's.
    pub(in crate::connector) async fn keep_witnessed(
        &self,
        by: &Verifier,
        note: &str,
        ends: &[Timestamp],
    ) -> Result<()> {
        self.replace(&witness_file(by), note, ends).await
    }

    /// Our newest head that a witness over HTTPS cosigned, with the note.
    pub(in crate::connector) fn witnessed(&self, by: &Verifier) -> Result<Option<(Checkpoint, SignedNote)>> {
        match std::fs::read_to_string(self.cosigned.join(witness_file(by))) {
            Ok(text) => {
                let unreadable = |_| Error::new(ErrorCode::LogDamaged, "a cosigned checkpoint can't be read");
                Ok(Some((parse(&text)?, SignedNote::parse(&text).map_err(unreadable)?)))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Error::new(ErrorCode::LogDamaged, "a cosigned checkpoint can't be read")),
        }
    }
}

/// What `trust/superseded.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Superseded {
    detail: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heads: Vec<HeldHead>,
}

/// Name of the file of our head as a witness over HTTPS cosigned it: by its key's whole fingerprint.
fn witness_file(by: &Verifier) -> String {
    format!("vkey+{}.checkpoint", by.fingerprint())
}

/// When a head was cosigned, by the newest of its timestamped signatures (C2SP tlog-cosignature: 72
/// bytes, of which the first eight are the time in seconds).
fn cosigned_at(note: &str) -> Option<Timestamp> {
    let note = SignedNote::parse(note).ok()?;
    let timed = note.signatures.iter().filter(|line| line.signature.len() == 72);
    let seconds = timed.filter_map(|line| line.signature.first_chunk().copied()).map(u64::from_be_bytes).max()?;
    Timestamp::from_millis(i64::try_from(seconds).ok()?.checked_mul(1000)?).ok()
}

/// Writes and syncs a file beside the threads that serve.
async fn write(file: PathBuf, text: &str) -> Result<()> {
    let bytes = text.as_bytes().to_vec();
    blocking(move || write_file(&file, &bytes)).await
}

pub(in crate::connector) fn parse(note: &str) -> Result<Checkpoint> {
    let bad = |e: perron_log::NoteError| Error::new(ErrorCode::LogDamaged, format!("not a checkpoint: {e}"));
    let note = perron_log::SignedNote::parse(note).map_err(bad)?;
    Checkpoint::parse_text(&note.text).map_err(bad)
}

/// Name of the file of the newest checkpoint of a log outside of the data space. It chooses its
/// origin, which is hashed: no two have one file, and none has a participant's.
pub(super) fn outside_file(origin: &str) -> String {
    format!("outside+{}.checkpoint", Hash::of(origin.as_bytes()))
}
