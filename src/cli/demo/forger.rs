//! The forger: works on a copy, with the commune's own log key.

use perron_log::merkle::leaf_hash;
use perron_log::{Layout, Log, LogSettings, NewEntry, OsFiles, Signer};
use perron_model::entry::{Body, Entry};
use perron_model::participant::KeyUse;
use perron_model::{Digest, Error, ErrorCode, Result};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

fn bad(what: impl ToString) -> Error {
    Error::new(ErrorCode::Internal, format!("the forger failed: {}", what.to_string()))
}

/// Changes one byte in the middle of the log's first segment.
pub fn edit(directory: &Path) -> Result<()> {
    let segment = directory.join("log/segment/00000000000000000000");
    let mut bytes = std::fs::read(&segment).map_err(bad)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).ok_or_else(|| bad("an empty segment"))?;
    *byte ^= 1;
    std::fs::write(&segment, bytes).map_err(bad)
}

/// Rewrites the log with one purpose changed, every hash made to fit, every checkpoint signed
/// again; and removes what others had signed of the true one.
pub fn rewrite(directory: &Path) -> Result<()> {
    let origin = origin_of(directory)?;
    let keys = crate::trust::keys::KeySet::load(&directory.join("keys"))?;
    let seed = keys.signing_key(KeyUse::Log)?.seed();
    let settings = || -> Result<LogSettings> {
        Ok(LogSettings::new(&origin, 1, Box::new(Signer::from_seed(&origin, &seed).map_err(bad)?)))
    };
    let files = Arc::new(OsFiles);
    let (log, _) = Log::open(files.clone(), Layout::new(directory), settings()?, &[]).map_err(bad)?;
    let entries = forged(&log)?;
    drop(log);
    for part in ["log", "tmp", "trust/cosigned"] {
        let _ = std::fs::remove_dir_all(directory.join(part));
    }
    std::fs::create_dir_all(directory.join("trust/cosigned")).map_err(bad)?;
    let (mut log, _) = Log::open(files, Layout::new(directory), settings()?, &[]).map_err(bad)?;
    for entry in entries {
        log.append(&[entry]).map_err(bad)?;
    }
    log.publish().map_err(bad)
}

/// The entries with the last administration's actor changed, and every hash that follows.
fn forged(log: &Log) -> Result<Vec<NewEntry>> {
    let size = log.size();
    let read = |index: u64| log.leaf(index).map_err(bad).and_then(|leaf| Entry::from_bytes(&leaf));
    let mut target = None;
    for index in 0..size {
        if matches!(read(index)?.body, Body::Administration(_)) {
            target = Some(index);
        }
    }
    let target = target.ok_or_else(|| bad("no entry to change"))?;
    // Old leaf hash to new: entries name each other by them.
    let mut renamed: HashMap<Digest, Digest> = HashMap::new();
    let mut entries = Vec::new();
    for index in 0..size {
        let old = log.leaf(index).map_err(bad)?;
        let mut entry = Entry::from_bytes(&old)?;
        if index == target
            && let Body::Administration(body) = &mut entry.body
        {
            body.actor = "nobody".to_owned();
        }
        let rename = |digest: &mut Digest| {
            if let Some(new) = renamed.get(digest) {
                *digest = *new;
            }
        };
        entry.previous.iter_mut().for_each(rename);
        entry.chain.iter_mut().filter_map(|c| c.previous.as_mut()).for_each(rename);
        if let Body::Outcome(outcome) = &mut entry.body {
            rename(&mut outcome.decision);
        }
        let leaf = entry.to_bytes()?;
        renamed.insert(Digest::from_bytes(leaf_hash(&old).0), Digest::from_bytes(leaf_hash(&leaf).0));
        entries.push(NewEntry { leaf, attachments: log.attachments(index).map_err(bad)? });
    }
    Ok(entries)
}

fn origin_of(directory: &Path) -> Result<String> {
    let text = std::fs::read_to_string(directory.join("log/checkpoint")).map_err(bad)?;
    text.lines().next().map(str::to_owned).ok_or_else(|| bad("an empty checkpoint"))
}
