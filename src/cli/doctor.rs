//! `perron doctor`: looks at an installation, stopped or running, and says what to do. It repairs
//! nothing. What a start would refuse is found by the same code that a start goes through.

mod checks;

use crate::cli::args::Dir;
use crate::cli::output::say;
use crate::cli::serve::lock;
use crate::cli::{Output, client};
use crate::messages::text;
use perron_model::{Error, ErrorCode};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;

/// Longest wait for the running process.
const ANSWER: Duration = Duration::from_secs(5);

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// As it should be.
    Fine,
    /// It goes on, and somebody should look at it.
    Warning,
    /// A start would be refused, or something is refused now.
    Problem,
}

impl Gravity {
    const fn as_str(self) -> &'static str {
        match self {
            Gravity::Fine => "ok",
            Gravity::Warning => "warning",
            Gravity::Problem => "problem",
        }
    }
    const fn sign(self) -> &'static str {
        match self {
            Gravity::Fine => "✓",
            Gravity::Warning => "!",
            Gravity::Problem => "✗",
        }
    }
}

/// What was seen: words of the catalogue with their facts, or an error's detail.
#[derive(Clone, Debug)]
pub enum Seen {
    /// `doctor.seen.…` with its placeholders.
    Text(&'static str, Vec<(&'static str, String)>),
    /// The detail of an error.
    Detail(String),
}

/// Words of the catalogue.
fn seen<const N: usize>(key: &'static str, facts: [(&'static str, String); N]) -> Seen {
    Seen::Text(key, facts.into())
}

impl Seen {
    fn words(&self, output: &Output) -> String {
        match self {
            Seen::Detail(detail) => detail.clone(),
            Seen::Text(key, facts) => {
                let facts: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
                text(output.lang, &format!("doctor.seen.{key}"), &facts)
            }
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How grave it is.
    pub gravity: Gravity,
    /// Stable code: `ok`, one of the table of errors, or one of the texts `doctor.code.…`.
    pub code: &'static str,
    /// What was seen.
    pub seen: Seen,
}

impl Finding {
    fn fine(check: &'static str, seen: Seen) -> Finding {
        Finding { check, gravity: Gravity::Fine, code: "ok", seen }
    }
    fn warning(check: &'static str, code: &'static str, seen: Seen) -> Finding {
        Finding { check, gravity: Gravity::Warning, code, seen }
    }
    fn problem(check: &'static str, code: &'static str, seen: Seen) -> Finding {
        Finding { check, gravity: Gravity::Problem, code, seen }
    }
    fn error(check: &'static str, error: Error) -> Finding {
        Finding::problem(check, error.code.as_str(), Seen::Detail(error.detail))
    }

    /// What happened and what to do, in words; nothing of what is as it should be.
    fn words(&self, output: &Output) -> Option<(String, String)> {
        if self.gravity == Gravity::Fine {
            return None;
        }
        let (what, todo) = match ErrorCode::parse(self.code) {
            Some(_) => (format!("error.{}", self.code), format!("advice.{}", self.code)),
            None => (format!("doctor.code.{}", self.code), format!("doctor.advice.{}", self.code)),
        };
        Some((text(output.lang, &what, &[]), text(output.lang, &todo, &[])))
    }

    fn print(&self, output: &Output) {
        let (words, detail) = (self.words(output), self.seen.words(output));
        if output.json {
            let action = words.map(|(_, todo)| todo);
            say!(
                "{}",
                json!({"check": self.check, "state": self.gravity.as_str(), "code": self.code, "detail": detail, "action": action})
            );
            return;
        }
        let check = text(output.lang, &format!("doctor.check.{}", self.check), &[]);
        match words {
            None => say!("{} {check}: {}", self.gravity.sign(), detail),
            Some((what, todo)) => {
                say!("{} {check}: {what} [{}]: {}", self.gravity.sign(), self.code, detail);
                say!("  → {todo}");
            }
        }
    }
}

/// Who has the directory.
pub enum Process {
    /// Nobody; we hold it while we look, so that nobody starts meanwhile.
    Stopped { _lock: std::fs::File },
    /// A process, which answered so.
    Running(Json),
    /// A process that doesn't answer, or a directory that can't be locked.
    Unknown,
}

/// Looks at all there is; tells whether no problem was found.
pub fn run(args: &Dir, output: &Output) -> bool {
    let mut findings = Vec::new();
    let process = process(&args.dir, &mut findings);
    checks::all(&args.dir, &process, &mut findings);
    findings.iter().for_each(|f| f.print(output));
    let problems = findings.iter().filter(|f| f.gravity == Gravity::Problem).count();
    let warnings = findings.iter().filter(|f| f.gravity == Gravity::Warning).count();
    if !output.json {
        let counted = [("problems", problems.to_string()), ("warnings", warnings.to_string())];
        let parts: Vec<(&str, &str)> = counted.iter().map(|(k, v)| (*k, v.as_str())).collect();
        say!("{}", text(output.lang, if problems == 0 { "doctor.well" } else { "doctor.ill" }, &parts));
    }
    problems == 0
}

fn process(directory: &Path, findings: &mut Vec<Finding>) -> Process {
    const CHECK: &str = "process";
    // Locking makes the file: a directory that isn't one of ours is left alone.
    if !directory.join(crate::settings::FILE).is_file() && !directory.join("keys").is_dir() {
        findings.push(Finding::problem(CHECK, ErrorCode::ConfigInvalid.as_str(), seen("no_organisation", [])));
        return Process::Unknown;
    }
    match lock(directory) {
        Ok(lock) => {
            findings.push(Finding::fine(CHECK, seen("process_stopped", [])));
            Process::Stopped { _lock: lock }
        }
        Err(error) if error.code == ErrorCode::DirectoryLocked => match client::status_within(directory, ANSWER) {
            Ok(status) => {
                findings.push(Finding::fine(CHECK, seen("process_running", [])));
                Process::Running(status)
            }
            Err(error) => {
                let seen = seen("process_silent", [("detail", error.detail)]);
                findings.push(Finding::problem(CHECK, "not_answering", seen));
                Process::Unknown
            }
        },
        Err(error) => {
            findings.push(Finding::error(CHECK, error));
            Process::Unknown
        }
    }
}
