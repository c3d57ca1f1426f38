//! `perron-verify`: the auditor's program. It reads a directory and writes nothing but its report.

#![forbid(unsafe_code)]

use clap::Parser;
use clap::error::ErrorKind;
use perron_model::ErrorCode;
use perron_model::participant::PublicKey;
use perron_verify::words::{Lang, Phrase, word};
use perron_verify::{AuthoritySource, Finding, Options, Reconciled, Report};
use perron_verify::{read_extract, read_policy, read_receipt, reconcile, verify_receipt, verify_with};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code for findings.
const EXIT_FINDINGS: u8 = 1;
/// Exit code of a usage error, or of what can't be read (sysexits, EX_USAGE).
const EXIT_USAGE: u8 = 64;

/// Verifies an organisation's directory: its log, its documents, its signatures, and what others
/// kept of its log.
///
/// Example: perron-verify ./ville --against ./intercommunale --authority 11qYAYKx…
#[derive(Debug, Parser)]
#[command(name = "perron-verify", version)]
struct Args {
    /// Directory of the organisation, stopped, or a copy of it
    #[arg(required_unless_present_any = ["receipt", "extract"])]
    dir: Option<PathBuf>,
    /// Verify a receipt (`perron audit receipt`) instead of a directory
    #[arg(long, value_name = "FILE", requires = "authority", conflicts_with_all = ["dir", "against"])]
    receipt: Option<PathBuf>,
    /// Verify an extract (`perron audit extract`) instead of a directory
    #[arg(long, value_name = "FILE", requires = "authority", conflicts_with_all = ["dir", "against", "receipt"])]
    extract: Option<PathBuf>,
    /// The other side's extract, to reconcile it with
    #[arg(long, value_name = "FILE", requires = "extract")]
    with: Option<PathBuf>,
    /// Directory of another organisation, or a checkpoint that someone kept; may be repeated
    #[arg(long, value_name = "PATH")]
    against: Vec<PathBuf>,
    /// The authority's register key (43 characters of base64url) instead of the directory's own
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, value_parser = |text: &str| PublicKey::try_from(text.to_owned()).map_err(|e| e.detail))]
    authority: Option<PublicKey>,
    /// Policy of witnesses (C2SP tlog-policy) by which the log is called final, or isn't
    #[arg(long, value_name = "FILE", conflicts_with_all = ["receipt", "extract"])]
    policy: Option<PathBuf>,
    /// Print the report as JSON, in English
    #[arg(long)]
    json: bool,
    /// Language of the words: fr or en
    #[arg(long, default_value = "en", env = "PERRON_LANG")]
    lang: Lang,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let helped = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if helped { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) };
        }
    };
    if let (Some(file), Some(authority)) = (&args.receipt, &args.authority) {
        return receipt(file, authority, &args);
    }
    if let (Some(file), Some(authority)) = (&args.extract, &args.authority) {
        return extracts(file, authority, &args);
    }
    let dir = args.dir.clone().unwrap_or_default();
    let policy = args.policy.as_deref().map(read_policy).transpose();
    let options = |policy| Options { against: args.against.clone(), authority: args.authority, policy };
    match policy.and_then(|policy| verify_with(&dir, &options(policy))) {
        Ok(report) => {
            let text = if args.json { json(&report) } else { in_words(&report, args.lang) };
            // Whoever asks for a policy's word has it refused unless the log is final.
            let is_final = report.policy.as_ref().is_none_or(|judged| judged.is_final);
            printed(&text, report.is_ok() && is_final)
        }
        Err(error) => failed("error.usage", &error, args.lang, EXIT_USAGE),
    }
}

/// Prints a verdict. Whoever has read enough of it changes nothing of it.
fn printed(text: &str, is_ok: bool) -> ExitCode {
    let printed = writeln!(std::io::stdout().lock(), "{text}");
    let was_read = printed.map_or_else(|error| error.kind() == std::io::ErrorKind::BrokenPipe, |()| true);
    if is_ok && was_read { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) }
}

fn failed(key: &'static str, error: &perron_model::Error, lang: Lang, code: u8) -> ExitCode {
    let phrase = Phrase::new(key, vec![error.detail.clone().into()]);
    let _ = writeln!(std::io::stderr().lock(), "{} ({})", phrase.text(lang), error.code.as_str());
    ExitCode::from(code)
}

/// One read as one file.
fn receipt(file: &Path, authority: &PublicKey, args: &Args) -> ExitCode {
    let bytes = match read_receipt(file) {
        Ok(bytes) => bytes,
        Err(error) => return failed("error.usage", &error, args.lang, EXIT_USAGE),
    };
    match verify_receipt(&bytes, authority) {
        Ok(report) if args.json => printed(&serde_json::to_string_pretty(&report).unwrap_or_default(), true),
        Ok(report) => {
            let mut lines = report.statements_in(args.lang);
            lines.push(word(args.lang, "line.unsaid").to_owned());
            lines.extend(report.not_shown_in(args.lang).into_iter().map(|text| format!("  {text}")));
            printed(&lines.join("\n"), true)
        }
        Err(error) => failed("receipt.invalid", &error, args.lang, EXIT_FINDINGS),
    }
}

/// The chain of one agreement, or both sides' chains of it.
fn extracts(file: &Path, authority: &PublicKey, args: &Args) -> ExitCode {
    let open = |file: &Path| read_extract(file, authority);
    let opened = open(file).and_then(|one| args.with.as_deref().map(open).transpose().map(|other| (one, other)));
    let (one, other) = match opened {
        Ok(opened) => opened,
        Err(error) if error.code == ErrorCode::ConfigInvalid => {
            return failed("error.usage", &error, args.lang, EXIT_USAGE);
        }
        Err(error) => return failed("extract.invalid", &error, args.lang, EXIT_FINDINGS),
    };
    let lang = if args.json { Lang::En } else { args.lang };
    let reports: Vec<_> = [Some(&one), other.as_ref()].into_iter().flatten().map(|e| e.report(lang)).collect();
    let reconciled = match other.as_ref().map(|other| reconcile(&one, other)).transpose() {
        Ok(reconciled) => reconciled,
        Err(error) => return failed("extract.invalid", &error, args.lang, EXIT_FINDINGS),
    };
    let is_same = reconciled.as_ref().is_none_or(Reconciled::is_same);
    if args.json {
        let told = serde_json::json!({"extracts": reports, "reconciled": reconciled});
        return printed(&serde_json::to_string_pretty(&told).unwrap_or_default(), is_same);
    }
    let mut lines: Vec<String> = reports.iter().flat_map(|report| report.statements.clone()).collect();
    lines.extend(reconciled.iter().flat_map(|reconciled| reconciled.words(args.lang)));
    lines.push(word(args.lang, "line.unsaid").to_owned());
    lines.extend(reports.iter().take(1).flat_map(|report| &report.not_shown).map(|text| format!("  {text}")));
    printed(&lines.join("\n"), is_same)
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default()
}

fn in_words(report: &Report, lang: Lang) -> String {
    let say = |key: &'static str, part: String| Phrase::new(key, vec![part.into()]).text(lang);
    let outcome = word(lang, outcome_key(report.outcome)).to_owned();
    let head =
        vec![report.participant.as_str().into(), report.space.as_str().into(), report.size.into(), outcome.into()];
    let mut lines = vec![Phrase::new("line.head", head).text(lang)];
    let authority = match report.authority.from {
        AuthoritySource::Given => "line.authority.given",
        AuthoritySource::Directory => "line.authority.directory",
    };
    lines.push(say(authority, report.authority.key.clone()));
    let signatures: Vec<String> =
        report.signatures.iter().map(|(kind, count)| format!("{} {count}", word(lang, signature_key(kind)))).collect();
    lines.push(say("line.signatures", signatures.join(", ")));
    lines.push(say("line.compared", report.checkpoints_compared.to_string()));
    if !report.findings.is_empty() {
        lines.push(word(lang, "line.findings").to_owned());
        lines.extend(report.findings.iter().map(|finding| line_of(finding, lang)));
    }
    if report.findings_left_out > 0 {
        lines.push(say("line.left_out", report.findings_left_out.to_string()));
    }
    let mut list = |title: &'static str, texts: Vec<String>| {
        lines.push(word(lang, title).to_owned());
        lines.extend(texts.into_iter().map(|text| format!("  {text}")));
    };
    list("line.said", report.statements_in(lang));
    list("line.unsaid", report.not_shown_in(lang));
    lines.join("\n")
}

/// One finding: its stable name, where, what it means, what exactly.
fn line_of(finding: &Finding, lang: Lang) -> String {
    let place = |key: &'static str, number: Option<u64>| {
        number.map_or_else(String::new, |n| format!(", {}", Phrase::new(key, vec![n.into()]).text(lang)))
    };
    let (entry, byte) = (place("line.entry", finding.index), place("line.byte", finding.offset));
    format!("  {} {}{entry}{byte}: {} ({})", finding.kind, finding.path, finding.sentence_in(lang), finding.detail)
}

/// The catalogue's key of an outcome's name.
fn outcome_key(outcome: &str) -> &'static str {
    let keys = [
        "outcome.ok",
        "outcome.behind",
        "outcome.unfinished",
        "outcome.damaged",
        "outcome.tampered",
        "outcome.tail-lost",
    ];
    keys.into_iter().find(|key| key.strip_prefix("outcome.") == Some(outcome)).unwrap_or("outcome.tampered")
}

/// The catalogue's key of a kind of signature.
fn signature_key(kind: &str) -> &'static str {
    let keys = [
        "signature.checkpoint",
        "signature.cosignature",
        "signature.register",
        "signature.envelope",
        "signature.notice",
        "signature.retention",
        "signature.request",
        "signature.receipt",
    ];
    keys.into_iter().find(|key| key.strip_prefix("signature.") == Some(kind)).unwrap_or("signature.checkpoint")
}
