//! `perron audit extract` and `reconcile`: the chain of one agreement, given to its other party, and
//! both sides' chains matched.

use crate::api::grpc::admin::Command;
use crate::cli::output::say;
use crate::cli::{Output, client, init};
use crate::connector::{ExtractBegun, ExtractPage};
use crate::messages::Lang;
use perron_model::{AgreementId, Error, ErrorCode, Result, canonical};
use perron_verify::{OpenedExtract, open_extract, read_extract, reconcile};
use std::path::Path;

/// Prints an extract, line by line.
pub(super) fn extract(directory: &Path, agreement: AgreementId) -> Result<()> {
    lines(directory, agreement, &mut |line| {
        say!("{line}");
    })
}

/// A language as the verifier knows it.
pub(super) fn verifiers(lang: Lang) -> perron_verify::words::Lang {
    match lang {
        Lang::En => perron_verify::words::Lang::En,
        Lang::Fr => perron_verify::words::Lang::Fr,
    }
}

/// Gives each line of an extract of the process that serves a directory.
fn lines(directory: &Path, agreement: AgreementId, give: &mut dyn FnMut(&str)) -> Result<()> {
    let begun: ExtractBegun = client::ask(directory, &Command::AuditExtract { agreement })?;
    let mut written = |bytes: Vec<u8>| give(&String::from_utf8_lossy(&bytes));
    written(canonical::to_bytes(&begun.head)?);
    let mut next = Some(0);
    while let Some(from) = next {
        let (end, size) = (begun.end, begun.size);
        let page: ExtractPage = client::ask(directory, &Command::AuditExtractPage { agreement, end, size, from })?;
        for leaf in &page.leaves {
            written(canonical::to_bytes(leaf)?);
        }
        next = page.next;
    }
    Ok(())
}

/// Matches the other side's extract with ours: a file, or one that the running process gives now.
pub(super) fn match_with(directory: &Path, theirs: &Path, ours: Option<&Path>, output: &Output) -> Result<()> {
    let authority = init::read_authority_key(directory)?;
    let theirs = read_extract(theirs, &authority)?;
    let ours: OpenedExtract = match ours {
        Some(file) => read_extract(file, &authority)?,
        None => {
            let mut bytes = Vec::new();
            lines(directory, theirs.agreement, &mut |line| {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            })?;
            open_extract(&mut bytes.as_slice(), &authority)?
        }
    };
    let reconciled = reconcile(&theirs, &ours)?;
    if output.json {
        let told = serde_json::to_value(&reconciled);
        output.answer(&told.map_err(|_| Error::new(ErrorCode::Internal, "the report can't be written"))?);
    } else {
        reconciled.words(verifiers(output.lang)).iter().for_each(|line| say!("{line}"));
    }
    if reconciled.is_same() {
        return Ok(());
    }
    Err(Error::new(ErrorCode::EvidenceDiffers, "the two sides' chains don't tell the same"))
}
