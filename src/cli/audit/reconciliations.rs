//! `perron audit reconcile --with` and `reconciliations`: chains matched with partners over the wire.

use super::extract::verifiers;
use super::words;
use crate::api::grpc::admin::Command;
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::connector::Matched;
use crate::messages::text;
use perron_model::{AgreementId, Error, ErrorCode, ParticipantId, Result};
use serde_json::Value as Json;
use std::path::Path;

/// Matches chains with a partner now. Fails where they don't tell the same, or can't be compared.
pub(super) fn now(
    directory: &Path,
    with: ParticipantId,
    agreement: Option<AgreementId>,
    output: &Output,
) -> Result<()> {
    let answer = client::execute(directory, &Command::AuditReconcile { with, agreement })?;
    let unreadable = |_| Error::new(ErrorCode::Internal, "the running process answers otherwise than expected");
    let matched: Vec<Matched> = serde_json::from_value(answer.clone()).map_err(unreadable)?;
    if output.json {
        answer.as_array().into_iter().flatten().for_each(|one| output.answer(one));
    } else {
        for one in &matched {
            print(one, output);
        }
    }
    if matched.iter().any(|one| matches!(one.result.as_str(), "differs" | "invalid")) {
        return Err(Error::new(ErrorCode::EvidenceDiffers, "the two sides' chains don't tell the same"));
    }
    match matched.iter().find(|one| one.result != "same") {
        Some(one) => {
            let code = one.reason.as_deref().and_then(ErrorCode::parse).unwrap_or(ErrorCode::PeerUnavailable);
            Err(Error::new(code, one.detail.clone().unwrap_or_default()))
        }
        None => Ok(()),
    }
}

fn print(one: &Matched, output: &Output) {
    let reason = one.reason.as_deref().unwrap_or("–");
    let (agreement, partner) = (one.agreement.to_string(), one.partner.to_string());
    let parts = [("agreement", agreement.as_str()), ("partner", partner.as_str()), ("reason", reason)];
    say!("{}", text(output.lang, &format!("reconciliations.now.{}", one.result), &parts));
    if let Some(reconciled) = &one.reconciled {
        reconciled.words(verifiers(output.lang)).iter().for_each(|line| say!("  {line}"));
    }
}

/// Prints what is known of each agreement, a line each.
pub(super) fn list(directory: &Path, output: &Output) -> Result<()> {
    let rows = client::execute(directory, &Command::AuditReconciliations {})?;
    for row in rows.as_array().into_iter().flatten() {
        if output.json {
            output.answer(row);
            continue;
        }
        line(row, row.get("newest").filter(|newest| !newest.is_null()), output);
        // What was compared last still says what differs.
        let of = |name: &str| row.get(name).and_then(|told| told.get("entry"));
        if let Some(compared) = row.get("compared").filter(|compared| !compared.is_null())
            && of("newest") != of("compared")
        {
            line(row, Some(compared), output);
        }
    }
    Ok(())
}

fn line(row: &Json, told: Option<&Json>, output: &Output) {
    let result = told.and_then(|told| told.get("result")).and_then(Json::as_str).unwrap_or("never");
    let of = |name: &str| told.and_then(|told| told.get(name)).or_else(|| row.get(name)).map(words).unwrap_or_default();
    let differences = told.and_then(|told| told.get("differences")).and_then(Json::as_object);
    let differences: Vec<String> =
        differences.into_iter().flatten().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut parts =
        ["agreement", "partner", "reason", "at", "entry", "matched", "open"].map(|name| (name, of(name))).to_vec();
    parts.push(("differences", differences.join(", ")));
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
    say!("{}", text(output.lang, &format!("reconciliations.{result}"), &parts));
}
