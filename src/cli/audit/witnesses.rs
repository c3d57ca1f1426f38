//! `perron audit witnesses`.

use crate::api::grpc::admin::Command;
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::messages::text;
use perron_model::{Error, ErrorCode, Result};
use serde_json::Value as Json;
use std::path::Path;

/// Prints who cosigned the log, a line each, then what the policy says. Where the log isn't final by
/// the policy, the command fails.
pub fn print(directory: &Path, output: &Output) -> Result<()> {
    let report = client::execute(directory, &Command::AuditWitnesses {})?;
    let of = |value: &Json, name: &str| match value.get(name) {
        None | Some(Json::Null) => "–".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let policy = report.get("policy").filter(|policy| !policy.is_null());
    let is_final = policy.is_none_or(|policy| policy.get("final") == Some(&Json::Bool(true)));
    if output.json {
        output.answer(&report);
    } else {
        for witness in report.get("witnesses").and_then(Json::as_array).into_iter().flatten() {
            let trouble = witness.get("trouble").and_then(|t| t.get("detail")).and_then(Json::as_str);
            let key = match (witness.get("size").and_then(Json::as_u64), trouble) {
                (None, None) => "witnesses.none",
                (None, Some(_)) => "witnesses.none_troubled",
                (Some(_), None) => "witnesses.seen",
                (Some(_), Some(_)) => "witnesses.seen_troubled",
            };
            let parts = ["witness", "size", "at", "behind"].map(|name| (name, of(witness, name)));
            let mut parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
            parts.extend(trouble.map(|detail| ("detail", detail)));
            say!("{}", text(output.lang, key, &parts));
        }
        let key = match policy.and_then(|policy| policy.get("quorum")).and_then(Json::as_str) {
            None => "witnesses.policy.nothing",
            Some("none") => "witnesses.policy.none",
            Some("met") => "witnesses.policy.met",
            Some("another-log") => "witnesses.policy.another-log",
            Some(_) => "witnesses.policy.open",
        };
        let parts = ["size", "at"].map(|name| (name, policy.map(|p| of(p, name)).unwrap_or_default()));
        let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
        say!("{}", text(output.lang, key, &parts));
    }
    if is_final {
        return Ok(());
    }
    Err(Error::new(ErrorCode::QuorumOpen, "the quorum of the policy has cosigned nothing of this log"))
}
