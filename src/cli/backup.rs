//! `perron backup`: a copy of an organisation's directory that verifies.
//!
//! Of a running directory the process says how far its log is durable, and no byte past that is
//! copied; a stopped one is copied under its lock. The copy is made beside its name and verified, and
//! gets the name at the end: what has the name is whole.

use crate::api::grpc::admin::Command;
use crate::cli::args::BackupArgs;
use crate::cli::init::read_authority_key;
use crate::cli::serve::{lock, require_restored};
use crate::cli::{Output, client};
use crate::connector::audit::{BackupExtent, BackupSegment};
use crate::connector::negotiation::DOCUMENTS;
use crate::connector::rotation::log_keys;
use crate::connector::succession::{BACKUP_FILE, NEXT};
use crate::files::{TEMPORARY_ENDING, create_directory, io_error, sync_directory, write_file};
use crate::ledger::{GENERATIONS, SystemClock, generation_dir, log_error};
use crate::settings::Config;
use crate::trust::keyring::Keyring;
use crate::trust::keys::KeySet;
use crate::trust::register::VerifiedRegister;
use crate::vault;
use perron_gate::Clock;
use perron_log::{Layout, Log, LogReader, LogSettings, OsFiles, Stored};
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::limits::REGISTER_BYTES_MAX;
use perron_model::participant::Participant;
use perron_model::succession::generation_of;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders and files that a copy doesn't have: locks and sockets, what is derived from the log and made
/// anew, and what is copied in a way of its own.
const LEFT_OUT: &[&str] = &[
    "lock",
    client::SOCKET,
    "state",
    "cache",
    "tmp",
    NEXT,
    "log",
    DOCUMENTS,
    GENERATIONS,
    KEYS,
    TRUST,
    vault::FOLDER,
    BACKUP_FILE,
];
/// Folder of the register, of certificates and of checkpoints.
const TRUST: &str = "trust";
/// Heads of the log that came back cosigned, within it: the newest, and those before that date what keys
/// signed that have ended.
const COSIGNED: &[&str] = &["cosigned", "dated"];
/// Folder of the private keys.
pub const KEYS: &str = "keys";
/// Ending of a copy that isn't whole yet.
const UNFINISHED: &str = "unfinished";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Whose directory.
    pub participant: ParticipantId,
    /// Origin of the log in force.
    pub origin: String,
    /// Its entries in the copy.
    pub size: u64,
    /// Root of their tree.
    pub root: Digest,
    /// When the copy was made.
    pub made: Timestamp,
    /// Does it hold the private keys?
    pub keys: bool,
}

pub fn run(args: &BackupArgs, output: &Output) -> Result<()> {
    let source = absolute(&args.dir.dir)?;
    let (target, building) = places(&args.to, UNFINISHED)?;
    if target.starts_with(&source) {
        return Err(Error::malformed("a backup lies outside of the directory that it is of"));
    }
    if target.exists() {
        return Err(Error::new(ErrorCode::AlreadyExists, format!("`{}` exists", args.to.display())));
    }
    require_restored(&source)?;
    clear(&building)?;
    let told = copy(&source, &building, args.with_keys)?;
    write_file(&building.join(BACKUP_FILE), &canonical::to_bytes(&told)?)?;
    require_verified(&building)?;
    put(&building, &target)?;
    if output.json {
        output.answer(
            &json!({"to": args.to, "origin": told.origin, "entries": told.size, "root": told.root, "keys": told.keys}),
        );
    } else {
        let (to, entries) = (args.to.display().to_string(), told.size.to_string());
        output.say("backup.done", &[("to", &to), ("entries", &entries), ("origin", &told.origin)]);
        if !told.keys {
            output.say("backup.without_keys", &[]);
        }
    }
    Ok(())
}

/// Copies a directory to `to`, its log up to what is durable.
fn copy(source: &Path, to: &Path, with_keys: bool) -> Result<Backup> {
    let config = Config::load(source)?;
    let (held, folder) = (lock(source), source.join(KEYS));
    let keys = Keyring::open(&folder, Arc::new(KeySet::load(&folder)?))?;
    make(to)?;
    // None of them has seen more than what is durable after it.
    for heads in COSIGNED {
        copy_tree(&source.join(TRUST).join(heads), &to.join(TRUST).join(heads), &[])?;
    }
    let own = own_entry(source, &config)?;
    let extent = match &held {
        Ok(_) => BackupExtent::of(&read(source, settings(&keys, &own, &own.log_origin)?)?),
        Err(error) if error.code == ErrorCode::DirectoryLocked => client::ask(source, &Command::Backup {})?,
        Err(error) => return Err(error.clone()),
    };
    copy_tree(source, to, LEFT_OUT)?;
    copy_tree(&source.join(TRUST), &to.join(TRUST), COSIGNED)?;
    if with_keys {
        copy_tree(&source.join(KEYS), &to.join(KEYS), &[])?;
    }
    // By the register as it was copied: what is closed there is closed in the copy.
    let own = own_entry(to, &config)?;
    let mut documents = Vec::new();
    for closed in &own.closed_logs {
        let generation = generation_of(&closed.origin)?;
        let (from, at) = (generation_dir(source, generation), generation_dir(to, generation));
        create_directory(&to.join(GENERATIONS))?;
        copy_tree(&from, &at, &["tmp"])?;
        sync_directory(&to.join(GENERATIONS)).map_err(|e| io_error(&e))?;
        documents.push(read(&at, settings(&keys, &own, &closed.origin)?)?);
    }
    copy_segments(source, to, &extent.segments)?;
    // What is derived is made from what was copied, as a start makes it.
    let (log, _) = Log::open(Arc::new(OsFiles), Layout::new(to), settings(&keys, &own, &own.log_origin)?, &[])
        .map_err(|e| log_error(&e))?;
    log.publisher().publish().map_err(|e| log_error(&e))?;
    documents.push(log.reader());
    let logged = write_documents(to, &documents)?;
    // Of a later moment than the log: it has no key more than that log tells of.
    vault::copy(&source.join(vault::FOLDER), &to.join(vault::FOLDER), with_keys, logged)?;
    let reader = log.reader();
    if reader.size() != extent.size {
        let detail = format!("the copy of the log has {} entries instead of {}", reader.size(), extent.size);
        return Err(Error::new(ErrorCode::LogDamaged, detail));
    }
    Ok(Backup {
        participant: config.participant,
        origin: own.log_origin,
        size: reader.size(),
        root: Digest::from_bytes(reader.root().0),
        made: SystemClock.now(),
        keys: with_keys,
    })
}

/// How a log of this organisation is read, by all keys that it has or had.
fn settings(keys: &Keyring, own: &Participant, origin: &str) -> Result<LogSettings> {
    keys.follow(own);
    log_keys(keys, own, origin)?.reading(origin, generation_of(origin)?)
}

fn read(directory: &Path, settings: LogSettings) -> Result<LogReader> {
    Log::read(Arc::new(OsFiles), Layout::new(directory), &settings, &[]).map_err(|e| log_error(&e))
}

/// The organisation as the register in a directory tells of it.
fn own_entry(directory: &Path, config: &Config) -> Result<Participant> {
    let unreadable = |_| Error::new(ErrorCode::RegisterInvalid, "`trust/register.json` can't be read");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(directory.join("trust/register.json")).map_err(unreadable)?;
    file.take(REGISTER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let register = VerifiedRegister::verify_bytes(&bytes, &read_authority_key(directory)?, None)?;
    let own = register.participant(&config.participant).cloned();
    own.ok_or_else(|| {
        Error::new(ErrorCode::ParticipantUnknown, format!("`{}` is not in the register", config.participant))
    })
}

fn copy_segments(source: &Path, to: &Path, segments: &[BackupSegment]) -> Result<()> {
    let (from, at) = (Layout::new(source), Layout::new(to));
    make(&at.segment_dir())?;
    for segment in segments {
        let target = at.segment(segment.first_leaf);
        let copied = || -> std::io::Result<u64> {
            let file = std::fs::File::open(from.segment(segment.first_leaf))?;
            let mut written = std::fs::File::create(&target)?;
            let bytes = std::io::copy(&mut file.take(segment.bytes), &mut written)?;
            written.sync_all().map(|()| bytes)
        };
        if copied().map_err(|e| io_error(&e))? != segment.bytes {
            return Err(Error::new(ErrorCode::LogDamaged, "a segment file is shorter than what is durable of it"));
        }
    }
    sync_directory(&at.segment_dir()).map_err(|e| io_error(&e))
}

/// Writes the agreements' envelopes, as the entries have them attached. Gives the number of the vault's
/// key that the newest erasure names.
fn write_documents(to: &Path, logs: &[LogReader]) -> Result<Option<u64>> {
    let (directory, mut logged) = (to.join(DOCUMENTS), None);
    for log in logs {
        let mut written = Ok(());
        let read = log.for_entries(0, log.size(), &mut |stored| {
            let Stored::Entry(stored) = stored else { return true };
            match Entry::from_bytes(&stored.leaf).map(|entry| entry.body) {
                Ok(Body::Agreement(agreement)) => {
                    let mut attached = stored.attachments.into_iter();
                    if let Some(envelope) = attached.find(|a| a.kind == AttachmentKind::Envelope as u16) {
                        let file = directory.join(format!("{}.json", agreement.agreement));
                        written = make(&directory).and_then(|()| write_file(&file, &envelope.bytes));
                    }
                }
                Ok(Body::Erased(erased)) => logged = logged.max(Some(erased.vault)),
                _ => {}
            }
            written.is_ok()
        });
        written?;
        read.map_err(|e| log_error(&e))?;
    }
    Ok(logged)
}

/// Copies what lies in a folder, without these names; sockets and links are left out too.
pub fn copy_tree(from: &Path, to: &Path, without: &[&str]) -> Result<()> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error(&e)),
    };
    make(to)?;
    for entry in entries {
        let entry = entry.map_err(|e| io_error(&e))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if without.contains(&&*text) || text.ends_with(TEMPORARY_ENDING) {
            continue;
        }
        let (kind, target) = (entry.file_type().map_err(|e| io_error(&e))?, to.join(&name));
        if kind.is_dir() {
            // A folder of that name deeper down is another one.
            copy_tree(&entry.path(), &target, &[])?;
        } else if kind.is_file() {
            let copied = std::fs::copy(entry.path(), &target);
            copied.and_then(|_| std::fs::File::open(&target)?.sync_all()).map_err(|e| io_error(&e))?;
        }
    }
    sync_directory(to).map_err(|e| io_error(&e))
}

/// A copy is one that the auditor's program finds nothing wrong with.
pub fn require_verified(directory: &Path) -> Result<()> {
    let report = perron_verify::verify(directory, &[])?;
    if report.is_ok() {
        return Ok(());
    }
    let detail = format!("the copy doesn't verify: {}", report.kinds().join(", "));
    Err(Error::new(ErrorCode::LogDamaged, detail))
}

/// A directory that is to be, and where it is made.
pub fn places(to: &Path, ending: &str) -> Result<(PathBuf, PathBuf)> {
    let no_name = || Error::malformed(format!("`{}` names no directory", to.display()));
    let name = to.file_name().ok_or_else(no_name)?.to_string_lossy().into_owned();
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let parent = absolute(parent)?;
    Ok((parent.join(&name), parent.join(format!("{name}.{ending}"))))
}

/// Gives a whole copy its name.
pub fn put(building: &Path, target: &Path) -> Result<()> {
    let put = || -> std::io::Result<()> {
        sync_directory(building)?;
        std::fs::rename(building, target)?;
        target.parent().map_or(Ok(()), sync_directory)
    };
    put().map_err(|e| io_error(&e))
}

/// Removes what a killed run left.
pub fn clear(building: &Path) -> Result<()> {
    match std::fs::remove_dir_all(building) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(&e)),
        _ => Ok(()),
    }
}

fn make(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|e| io_error(&e))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` doesn't exist", path.display())))
}
