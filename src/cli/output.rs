//! How answers are printed: words for people, JSON for machines.

use crate::messages::{Lang, text};
use perron_model::Error;
use serde_json::{Value as Json, json};
use std::fmt;
use std::io::{ErrorKind, Write};

/// Prints a line of an answer, as [`line`] does.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}
/// Prints a line about work that goes on whether it is read or not.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _nobody_listens = writeln!(std::io::stdout().lock(), $($text)*);
    }};
}
pub(crate) use {say, tell};

/// Prints a line of an answer. Whoever reads it may have had enough (`perron audit list | head`):
/// that ends the command in order. Any other failure is told, and isn't a success.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let Err(error) = writeln!(std::io::stdout().lock(), "{text}") else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    let _ = writeln!(std::io::stderr().lock(), "stdout: {error}");
    std::process::exit(1);
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// As JSON.
    pub json: bool,
    /// Language of texts.
    pub lang: Lang,
}

impl Output {
    /// For these switches.
    pub fn new(json: bool, lang: Lang) -> Output {
        Output { json, lang }
    }

    /// Prints an answer: JSON as it is, or as words.
    pub fn answer(&self, value: &Json) {
        if self.json {
            say!("{value}");
        } else {
            say!("{}", pretty(value));
        }
    }

    /// Prints a text of the catalogue, or with `--json` its parts.
    pub fn say(&self, key: &str, parts: &[(&str, &str)]) {
        if self.json {
            let map: serde_json::Map<String, Json> = parts.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            say!("{}", json!({"message": key, "parts": map}));
        } else {
            say!("{}", text(self.lang, key, parts));
        }
    }

    /// Prints an error on stderr: its code, what is wrong, what to do.
    pub fn error(&self, error: &Error) {
        let advice = text(self.lang, &format!("advice.{}", error.code), &[]);
        let told = if self.json {
            json!({"error": {"code": error.code.as_str(), "detail": error.detail, "advice": advice}}).to_string()
        } else {
            let what = text(self.lang, &format!("error.{}", error.code), &[]);
            format!("{what} [{}]: {}\n{advice}", error.code, error.detail)
        };
        let _ = writeln!(std::io::stderr().lock(), "{told}");
    }
}

fn pretty(value: &Json) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
