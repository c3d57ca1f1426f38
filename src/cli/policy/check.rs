//! `perron policy check`: would this policy be published?

use super::document;
use crate::cli::args::CheckArgs;
use crate::cli::dataset::description;
use crate::cli::output::say;
use crate::cli::{Output, client};
use perron_model::dataset::Dataset;
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::policy::{describe, odrl};
use perron_model::{DatasetId, Error, ErrorCode, Result, canonical};
use perron_odrl::{Label, coverage};
use serde_json::{Value as Json, json};
use std::path::Path;

/// Where an organisation's directory has the description of a published set.
const SETS: &str = "sets";
const DESCRIPTION: &str = "dataset.json";

/// Reads the policy as its publication would; tells all terms that aren't carried out at once.
pub(super) fn check(args: &CheckArgs, output: &Output) -> Result<()> {
    let policy = document(&args.file)?;
    let lines = coverage(&policy)?;
    let mut problems: Vec<Error> = lines
        .iter()
        .filter(|line| line.label() == Label::Refused)
        .map(|line| {
            let why = format!("`{}` at `{}` is not a term that Perron enforces", line.term, line.at);
            Error::new(ErrorCode::TermUnsupported, why)
        })
        .collect();
    let dataset = args.dataset.as_deref().map(|named| dataset(named, &args.dir.dir)).transpose()?;
    let mut clauses = None;
    match (odrl::check_form(&policy), &dataset) {
        // What is unsupported may be told above already, from the table of terms.
        (Err(error), _) => {
            if !problems.iter().any(|told| told.detail == error.detail.replace("`$.", "`")) {
                problems.push(error);
            }
        }
        (Ok(_), Some(dataset)) => match odrl::parse(&policy, dataset, None) {
            Ok(terms) => clauses = Some(describe(&terms).len()),
            Err(error) if error.code == ErrorCode::TermUnsupported && !problems.is_empty() => {}
            Err(error) => problems.push(error),
        },
        (Ok(_), None) => {}
    }
    let first = problems.first().cloned();
    say(args, dataset.as_ref(), lines.len().max(clauses.unwrap_or(0)), &problems, output);
    first.map_or(Ok(()), Err)
}

fn say(args: &CheckArgs, dataset: Option<&Dataset>, terms: usize, problems: &[Error], output: &Output) {
    if output.json {
        let problems: Vec<Json> =
            problems.iter().map(|e| json!({"code": e.code.as_str(), "detail": e.detail})).collect();
        output.answer(&json!({
            "valid": problems.is_empty(),
            "dataset": dataset.map(|d| d.id.to_string()),
            "terms": terms,
            "problems": problems,
        }));
        return;
    }
    let file = args.file.display().to_string();
    for problem in problems {
        say!("{}: {}", problem.code, problem.detail);
    }
    let count = terms.to_string();
    let parts = [("file", file.as_str()), ("terms", count.as_str())];
    match dataset {
        _ if !problems.is_empty() => {}
        Some(dataset) => {
            output.say("policy.fits", &[parts.as_slice(), &[("dataset", dataset.id.as_str())]].concat());
        }
        None => output.say("policy.means", &parts),
    }
}

/// A set's description: of a file (TOML as it is published with, or JSON), or of the set that the
/// organisation's directory has published under this name.
fn dataset(named: &str, directory: &Path) -> Result<Dataset> {
    let path = Path::new(named);
    if path.is_file() {
        if path.extension().is_some_and(|e| e == "json") {
            return published(path);
        }
        return description(path);
    }
    let id = DatasetId::parse(named)?;
    let path = directory.join(SETS).join(id.as_str()).join(DESCRIPTION);
    if !path.is_file() {
        let why = format!("`{named}` is neither a file nor a set published in `{}`", directory.display());
        return Err(Error::new(ErrorCode::NotFound, why));
    }
    published(&path)
}

fn published(path: &Path) -> Result<Dataset> {
    canonical::from_bytes::<Dataset>(client::read(path)?.trim_end().as_bytes(), DOCUMENT_BYTES_MAX)?.check()
}
