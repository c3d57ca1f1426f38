//! The table of a policy: each term, what it means, what carries it out, who must be trusted.

use super::document;
use crate::cli::Output;
use crate::cli::output::say;
use crate::messages::{Lang, text};
use perron_model::Result;
use perron_odrl::{By, Label, Line, coverage as lines};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// `perron policy coverage`.
pub(super) fn coverage(file: &Path, output: &Output) -> Result<()> {
    let policy = document(file)?;
    if output.json {
        output.answer(&table_json(&policy, output.lang)?);
        return Ok(());
    }
    print_table(&policy, output)
}

/// The table as data, with the meanings in words.
pub fn table_json(policy: &Json, lang: Lang) -> Result<Json> {
    let lines = lines(policy)?;
    let rows: Vec<Json> = lines
        .iter()
        .map(|line| {
            json!({
                "at": line.at,
                "term": line.term,
                "stated": line.stated,
                "meaning": meaning(line, lang),
                "by": line.by,
                "trust": line.trust,
                "label": line.label(),
            })
        })
        .collect();
    let weakest = lines.iter().map(Line::label).max();
    Ok(json!({"terms": rows, "label": weakest}))
}

/// Prints the table for people: a term takes two lines, and the last line counts.
pub fn print_table(policy: &Json, output: &Output) -> Result<()> {
    let lines = lines(policy)?;
    let lang = output.lang;
    let mut counts: BTreeMap<Label, usize> = BTreeMap::new();
    say!("{}", text(lang, "policy.table", &[]));
    for line in &lines {
        say!("{}", format!("{}: {} {}", line.at, line.term, line.stated).trim_end());
        say!("    {} [{}; {}]", meaning(line, lang), by(line.by, lang), label(line.label(), lang));
        *counts.entry(line.label()).or_default() += 1;
    }
    let counted: Vec<String> = counts.iter().map(|(l, count)| format!("{count} {}", label(*l, lang))).collect();
    say!("{}", text(lang, "policy.counted", &[("counts", &counted.join(", "))]));
    Ok(())
}

fn meaning(line: &Line, lang: Lang) -> String {
    match &line.key {
        Some(key) => text(lang, &format!("policy.term.{key}"), &[]),
        None => text(lang, "policy.unknown", &[]),
    }
}

/// Keys of texts are the names that `--json` writes.
fn key(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn by(by: By, lang: Lang) -> String {
    text(lang, &format!("policy.by.{}", key(&by)), &[])
}

fn label(label: Label, lang: Lang) -> String {
    text(lang, &format!("policy.label.{}", key(&label)), &[])
}
