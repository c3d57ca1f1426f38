//! `perron audit who`.

use super::about;
use crate::api::grpc::admin::Command;
use crate::cli::args::AboutArgs;
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::connector::{Question, WhoAnswer};
use crate::export::who::Told;
use crate::messages::text;
use perron_model::Result;
use serde_json::json;
use std::path::Path;

pub(super) fn run(directory: &Path, args: AboutArgs, output: &Output) -> Result<()> {
    let question = about(args);
    let ask = |question: Question| -> Result<WhoAnswer> {
        client::ask(directory, &Command::AuditWho { question: Box::new(question) })
    };
    let answer = ask(question.clone())?;
    tell(&answer, output);
    // Who asks who read means all that was read.
    for log in &answer.earlier {
        if !output.json {
            say!("");
        }
        tell(&ask(Question { generation: Some(log.generation), ..question.clone() })?, output);
    }
    Ok(())
}

/// What one log tells.
fn tell(answer: &WhoAnswer, output: &Output) {
    if output.json {
        say!("{}", json!(answer));
        return;
    }
    let (to, entry) = (answer.to.to_string(), answer.entry.to_string());
    let about = &answer.about;
    let parts =
        [("participant", about.participant.as_str()), ("origin", &about.origin), ("to", &to), ("entry", &entry)];
    let key = if answer.told.is_empty() { "audit.who.nobody" } else { "audit.who.head" };
    say!("{}", text(output.lang, key, &parts));
    if answer.pruned > 0 {
        output.say("audit.passed_over", &[("count", &answer.pruned.to_string())]);
    }
    for told in &answer.told {
        say!("");
        print(told, output);
    }
}

/// Who, on what ground, how often, and what proves it.
fn print(told: &Told, output: &Output) {
    let or_none = |value: Option<&str>| value.unwrap_or("–").to_owned();
    let reader = &told.reader;
    let agreement = reader.agreement.map(|id| id.to_string());
    let parts = [
        ("organisation", or_none(reader.organisation.as_deref())),
        ("name", or_none(told.name.as_deref().or(reader.organisation.as_deref()))),
        ("purpose", or_none(reader.purpose.as_deref())),
        ("legal_basis", or_none(reader.legal_basis.as_deref())),
        ("agreement", or_none(agreement.as_deref())),
        ("dataset", or_none(reader.dataset.as_deref())),
        ("reads", told.reads.to_string()),
        ("unfinished", told.unfinished.to_string()),
        ("first", told.first.to_string()),
        ("last", told.last.to_string()),
        ("rows", told.rows.to_string()),
        ("refused", told.refused.to_string()),
        ("reasons", told.reasons.iter().map(|(code, n)| format!("{code} × {n}")).collect::<Vec<_>>().join(", ")),
        ("permits", numbers(&told.permits)),
        ("refusals", numbers(&told.refusals)),
        ("left_out", told.left_out.to_string()),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let line = |key: &str| say!("{}", text(output.lang, &format!("audit.who.{key}"), &parts));
    line("reader");
    line("ground");
    line("period");
    if told.reads > 0 {
        line("reads");
    }
    if told.unfinished > 0 {
        line("unfinished");
    }
    if told.refused > 0 {
        line("refused");
    }
    if told.left_out > 0 {
        line("left_out");
    }
}

fn numbers(entries: &[u64]) -> String {
    entries.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
