//! `perron audit folder`: the page, a copy of the evidence, and what to do with them.

use crate::api::grpc::admin::Command;
use crate::cli::policy::table_json;
use crate::cli::{Output, client};
use crate::connector::{EvidenceFile, FolderAnswer, FolderScope};
use crate::files::write_file;
use crate::messages::{Lang, text};
use crate::page::{Term, render};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use perron_model::agreement::AgreementPayload;
use perron_model::limits::AUDIT_EVIDENCE_PIECE_BYTES_MAX;
use perron_model::{Error, ErrorCode, Result};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Component, Path};

/// Name of the page.
const PAGE: &str = "index.html";
/// Name of the copy of the directory.
const EVIDENCE: &str = "evidence";
/// The auditor's program.
const VERIFIER: &str = "perron-verify";

/// Writes the folder; it must not exist yet.
pub fn run(dir: &Path, scope: FolderScope, with_verifier: bool, out: &Path, output: &Output) -> Result<()> {
    if out.exists() {
        return Err(Error::new(ErrorCode::AlreadyExists, format!("`{}` exists", out.display())));
    }
    let answer: FolderAnswer = client::ask(dir, &Command::AuditFolder { scope })?;
    let page = page_of(&answer, output.lang)?;
    make(out)?;
    let evidence = out.join(EVIDENCE);
    for (path, text) in &answer.small {
        write_file(&place(&evidence, path)?, text.as_bytes())?;
    }
    for file in &answer.files {
        copy(dir, answer.folder.given.index, file, &place(&evidence, &file.path)?)?;
    }
    for (name, lang) in [("LISEZMOI.txt", Lang::Fr), ("README.txt", Lang::En)] {
        let authority: String = answer.folder.authority.into();
        let parts = [("authority", authority.as_str()), ("by", answer.folder.participant.as_str())];
        write_file(&out.join(name), text(lang, "folder.readme", &parts).as_bytes())?;
    }
    let verifier = with_verifier && copy_verifier(out)?;
    // Last: a folder with its page is whole.
    write_file(&out.join(PAGE), page.as_bytes())?;
    let folder = &answer.folder;
    if output.json {
        output.answer(&json!({"page": out.join(PAGE), "evidence": evidence, "entries": folder.entries.len(), "witnesses": folder.witnessed.len(), "verifier": verifier}));
        return Ok(());
    }
    let (place, entries) = (out.display().to_string(), folder.entries.len().to_string());
    output.say("folder.made_at", &[("out", &place), ("entries", &entries)]);
    if with_verifier && !verifier {
        output.say("folder.no_verifier", &[]);
    }
    Ok(())
}

fn page_of(answer: &FolderAnswer, lang: Lang) -> Result<String> {
    let payload = URL_SAFE_NO_PAD.decode(&answer.folder.envelope.agreement.payload);
    let payload = AgreementPayload::parse(&payload.map_err(|_| Error::malformed("the agreement is not base64url"))?)?;
    let table = |lang| table_json(&payload.offer.policy, lang);
    render(&answer.folder, &Term::of(&table(Lang::En)?, &table(Lang::Fr)?), lang)
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be made", folder.display())))
}

/// Where a file of the copy goes: below the copy, whatever its name says.
fn place(evidence: &Path, path: &str) -> Result<std::path::PathBuf> {
    let path = Path::new(path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::new(ErrorCode::Internal, "a file of the copy would lie outside of it"));
    }
    let place = evidence.join(path);
    place.parent().map_or(Ok(()), make)?;
    Ok(place)
}

/// Copies a file piece by piece.
fn copy(dir: &Path, given: u64, file: &EvidenceFile, to: &Path) -> Result<()> {
    let failed = |e: std::io::Error| crate::files::io_error(&e);
    let mut written = File::create_new(to).map_err(failed)?;
    let (mut offset, mut left) = (0_u64, file.bytes);
    loop {
        let whole = AUDIT_EVIDENCE_PIECE_BYTES_MAX;
        let length = left.map_or(whole, |left| usize::try_from(left).unwrap_or(whole).min(whole));
        if length == 0 {
            break;
        }
        let piece = piece(dir, given, &file.path, offset, length)?;
        written.write_all(&piece).map_err(failed)?;
        let got = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        offset = offset.saturating_add(got);
        left = left.map(|left| left.saturating_sub(got));
        if piece.len() < length {
            break;
        }
    }
    if left.is_some_and(|left| left > 0) {
        return Err(Error::new(ErrorCode::LogDamaged, format!("`{}` is shorter than it was", file.path)));
    }
    written.sync_all().map_err(failed)
}

fn piece(dir: &Path, given: u64, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
    let answer = client::execute(dir, &Command::AuditEvidence { given, path: path.to_owned(), offset, length })?;
    let text = answer.get("bytes").and_then(serde_json::Value::as_str).unwrap_or_default();
    STANDARD.decode(text).map_err(|_| Error::malformed("a piece of a file is not base64"))
}

/// Puts the auditor's program into the folder, if it lies beside this one.
fn copy_verifier(out: &Path) -> Result<bool> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(VERIFIER));
    let Some(program) = beside.filter(|p| p.is_file()) else { return Ok(false) };
    std::fs::copy(program, out.join(VERIFIER)).map(|_| true).map_err(|e| crate::files::io_error(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_outside_of_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        assert!(place(folder.path(), "log/tile/0/000.p/3").is_ok());
        for path in ["../x", "/etc/x", "log/../../x", "./x"] {
            let outside = place(folder.path(), path);
            assert!(outside.is_err() || outside.as_ref().is_ok_and(|p| *p == folder.path().join("x")), "{outside:?}");
        }
    }
}
