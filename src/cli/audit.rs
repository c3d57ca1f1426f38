//! `perron audit`.

use crate::api::grpc::admin::Command;
use crate::cli::args::AuditVerb;
use crate::cli::{Output, client};
use crate::messages::text;
use perron_model::{Error, ErrorCode, Result};
use serde_json::Value as Json;

pub fn run(verb: AuditVerb, output: &Output) -> Result<()> {
    match verb {
        AuditVerb::List { dir, from, count } => {
            let entries = client::execute(&dir.dir, &Command::AuditList { from, count })?;
            for entry in entries.as_array().into_iter().flatten() {
                print_entry(entry, output);
            }
            Ok(())
        }
        AuditVerb::Show { dir, index } => {
            let entries = client::execute(&dir.dir, &Command::AuditList { from: index, count: 1 })?;
            let entry = entries
                .as_array()
                .and_then(|e| e.first())
                .ok_or_else(|| Error::new(ErrorCode::NotFound, "the log has no entry of this number"))?;
            print_entry(entry, output);
            output.answer(entry);
            Ok(())
        }
        AuditVerb::Exchange { dir, with } => client::print(&dir.dir, &Command::AuditExchange { with }, output),
        AuditVerb::Verify { directory, against } => verify(&directory, &against, output),
    }
}

/// One line in words: when, what, with its facts.
fn print_entry(entry: &Json, output: &Output) {
    if output.json {
        println!("{entry}");
        return;
    }
    let field = |name: &str| {
        entry.get(name).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default()
    };
    let facts: Vec<(String, String)> = entry
        .get("facts")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), words(v)))
        .collect();
    let parts: Vec<(&str, &str)> = facts.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let sentence = text(output.lang, &format!("entry.{}", field("kind")), &parts);
    println!("{:>6}  {}  {}", field("index"), field("time"), sentence);
}

fn words(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Null => "–".to_owned(),
        Json::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn verify(directory: &std::path::Path, against: &[std::path::PathBuf], output: &Output) -> Result<()> {
    let report = perron_verify::verify(directory, against)?;
    output.answer(
        &serde_json::to_value(&report).map_err(|_| Error::new(ErrorCode::Internal, "the report can't be written"))?,
    );
    if report.is_ok() {
        return Ok(());
    }
    Err(Error::new(ErrorCode::LogDamaged, format!("the directory doesn't verify: {}", report.kinds().join(", "))))
}
