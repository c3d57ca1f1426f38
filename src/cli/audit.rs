//! `perron audit`.

mod erase;
mod export;
mod extract;
mod folder;
mod reconciliations;
mod records;
mod replay;
mod who;
mod witnesses;

use crate::api::grpc::admin::Command;
use crate::cli::args::{AboutArgs, AuditVerb, QuestionArgs};
use crate::cli::output::say;
use crate::cli::{Output, client, retention};
use crate::connector::{FolderScope, Question};
use crate::ledger::EarlierLog;
use crate::messages::text;
use perron_model::{Error, ErrorCode, Result, canonical};
use serde::Deserialize;
use serde_json::Value as Json;

pub fn run(verb: AuditVerb, output: &Output) -> Result<()> {
    match verb {
        AuditVerb::List { dir, from, count, question, opened } => {
            let question = asked(*question);
            let (mut next, mut left, mut pruned, mut earlier) = (Some(from), count, 0_u64, Vec::new());
            while let Some(from) = next.filter(|_| left > 0) {
                let page = page(&dir.dir, &question, from, left, opened)?;
                page.entries.iter().for_each(|entry| print_entry(entry, output));
                (next, left) = (page.next, left.saturating_sub(page.entries.len()));
                pruned = pruned.saturating_add(page.pruned);
                earlier = page.earlier;
            }
            if pruned > 0 && !output.json {
                output.say("audit.passed_over", &[("count", &pruned.to_string())]);
            }
            if !output.json {
                say_earlier(&earlier, output);
            }
            Ok(())
        }
        AuditVerb::Show { dir, index, generation, opened } => {
            let question = Question { generation, ..Question::default() };
            let page = page(&dir.dir, &question, index, 1, opened)?;
            let none = || match page.pruned {
                0 => Error::new(ErrorCode::NotFound, "the log has no entry of this number"),
                _ => Error::new(ErrorCode::EntryPruned, format!("entry {index} was pruned by a retention rule")),
            };
            let entry = page.entries.first().filter(|entry| is_numbered(entry, index)).ok_or_else(none)?;
            print_entry(entry, output);
            if !output.json {
                output.answer(entry);
            }
            Ok(())
        }
        AuditVerb::Receipt { dir, index, generation } => {
            let file = client::execute(&dir.dir, &Command::AuditReceipt { index, generation })?;
            // As it is verified: its one canonical spelling.
            say!("{}", String::from_utf8_lossy(&canonical::to_bytes(&file)?));
            Ok(())
        }
        AuditVerb::Extract { dir, agreement } => extract::extract(&dir.dir, agreement),
        AuditVerb::Reconcile { dir, extract: Some(file), ours, .. } => {
            extract::match_with(&dir.dir, &file, ours.as_deref(), output)
        }
        AuditVerb::Reconcile { dir, with: Some(with), agreement, .. } => {
            reconciliations::now(&dir.dir, with, agreement, output)
        }
        AuditVerb::Reconcile { .. } => Err(Error::malformed("neither an extract nor a partner is given")),
        AuditVerb::Reconciliations { dir } => reconciliations::list(&dir.dir, output),
        AuditVerb::Folder { dir, agreement, since, until, with_verifier, out } => {
            folder::run(&dir.dir, FolderScope { agreement, since, until }, with_verifier, &out, output)
        }
        AuditVerb::Erase { dir, erase } => erase::run(&dir.dir, *erase, output),
        AuditVerb::Export { dir, export } => export::run(&dir.dir, *export, output),
        AuditVerb::Who { dir, about } => who::run(&dir.dir, *about, output),
        AuditVerb::Sql { dir, asked } => crate::cli::query::ask_log(&dir.dir, asked, output),
        AuditVerb::Witnesses { dir } => witnesses::print(&dir.dir, output),
        AuditVerb::Exchange { dir, with } => client::print(&dir.dir, &Command::AuditExchange { with }, output),
        AuditVerb::Prune { dir, dry_run } => retention::prune(&dir.dir, dry_run, output),
        AuditVerb::Replay { directory, modules } => replay::replay(&directory, modules, output),
        AuditVerb::Verify { directory, against } => verify(&directory, &against, output),
    }
}

/// Entries that answer a question, and from where on more may.
#[derive(Deserialize)]
struct Page {
    entries: Vec<Json>,
    /// Entries of which the hash alone is left.
    pruned: u64,
    next: Option<u64>,
    /// Closed logs, which hold more.
    earlier: Vec<EarlierLog>,
}

/// Says which logs an answer isn't about.
fn say_earlier(earlier: &[EarlierLog], output: &Output) {
    for log in earlier {
        let (entries, generation) = (log.entries.to_string(), log.generation.to_string());
        let parts = [("origin", log.origin.as_str()), ("entries", &entries), ("generation", &generation)];
        output.say("audit.earlier", &parts);
    }
}

/// Is it the entry of this number, and not one behind it that is whole?
fn is_numbered(entry: &Json, index: u64) -> bool {
    entry.get("index").and_then(Json::as_u64) == Some(index)
}

fn page(dir: &std::path::Path, question: &Question, from: u64, count: usize, opened: bool) -> Result<Page> {
    let command = Command::AuditList { question: Box::new(question.clone()), from, count, opened };
    client::ask(dir, &command)
}

fn asked(args: QuestionArgs) -> Question {
    let refused = if args.refused { Some(true) } else { args.permitted.then_some(false) };
    Question { kinds: args.kinds, refused, ..about(args.about) }
}

fn about(args: AboutArgs) -> Question {
    Question {
        organisation: args.organisation,
        user: args.user,
        agreement: args.agreement,
        purpose: args.purpose,
        legal_basis: args.legal_basis,
        dataset: args.dataset,
        column: args.column,
        place: args.place,
        since: args.since,
        until: args.until,
        generation: args.generation,
        ..Question::default()
    }
}

/// One line in words: when, what, with its facts.
fn print_entry(entry: &Json, output: &Output) {
    if output.json {
        say!("{entry}");
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
    say!("{:>6}  {}  {}", field("index"), field("time"), sentence);
    // That a value is sealed goes without saying; what it says, or became of it, doesn't.
    if let Some(sealed) = entry.get("sealed").filter(|sealed| sealed.get("state") != Some(&Json::from("sealed"))) {
        say!("        {}", sealed_in_words(sealed, output));
    }
}

/// What is told of a sealed value: that there is one, what it says, or that it was erased.
fn sealed_in_words(sealed: &Json, output: &Output) -> String {
    let field = |name: &str| sealed.get(name).map(words).unwrap_or_default();
    let ground = match field("ground") {
        none if none.is_empty() => none,
        letter => text(output.lang, &format!("ground.{letter}"), &[]),
    };
    // Somebody else wrote it: nothing of it may move a terminal's cursor.
    let shown = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let state = match (field("state").as_str(), sealed.get("as_signed")) {
        ("statement", Some(Json::Bool(false))) => "unsigned".to_owned(),
        (state, _) => state.to_owned(),
    };
    let parts = [
        ("on", field("on")),
        ("ground", ground),
        ("until", field("undone_until")),
        ("entry", field("by_entry")),
        ("name", shown(field("name"))),
        ("statement", shown(field("statement"))),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    text(output.lang, &format!("sealed.{state}"), &parts)
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
