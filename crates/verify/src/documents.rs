//! `documents/`: the envelopes as files, byte for byte those of the log.

use crate::directory::names;
use crate::limits::FILES_MAX;
use crate::report::of_file;
use perron_log::{Finding, FindingKind};
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::{Digest, Result};
use std::collections::HashMap;
use std::path::Path;

/// Compares the files with the envelopes that the log's entries bind, by agreement. Where the log
/// could not be read to its end, a file more says nothing.
pub(crate) fn check(directory: &Path, envelopes: &HashMap<Digest, Digest>, is_complete: bool) -> Result<Vec<Finding>> {
    let folder = directory.join("documents");
    let mut findings = Vec::new();
    let mut there = std::collections::HashSet::new();
    for name in names(&folder, FILES_MAX)? {
        let path = format!("documents/{name}");
        let agreement = name.strip_suffix(".json").and_then(|n| Digest::parse(n).ok());
        let bound = agreement.and_then(|a| envelopes.get(&a).map(|envelope| (a, envelope)));
        let Some((agreement, envelope)) = bound else {
            if is_complete {
                findings.push(of_file(FindingKind::StrayFile, path, "no agreement of the log has this file"));
            }
            continue;
        };
        there.insert(agreement);
        if digest_of_file(&folder.join(&name)) != Some(*envelope) {
            findings.push(of_file(FindingKind::DocumentBytes, path, "it is not byte for byte the envelope in the log"));
        }
    }
    let mut missing: Vec<&Digest> = envelopes.keys().filter(|a| !there.contains(*a)).collect();
    missing.sort_unstable();
    for agreement in missing {
        let path = format!("documents/{agreement}.json");
        findings.push(of_file(FindingKind::MissingFile, path, "the envelope of an agreement in the log is not there"));
    }
    Ok(findings)
}

/// Digest of a plain file; none for anything else, and for one that is longer than a document.
fn digest_of_file(file: &Path) -> Option<Digest> {
    if !std::fs::symlink_metadata(file).ok()?.is_file() {
        return None;
    }
    let bytes_max = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    crate::directory::read(file, bytes_max).ok()?.map(|bytes| Digest::of(&bytes))
}
