//! How answers are printed: words for people, JSON for machines.

use crate::messages::{Lang, text};
use perron_model::Error;
use serde_json::{Value as Json, json};

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
            println!("{value}");
        } else {
            println!("{}", pretty(value));
        }
    }

    /// Prints a text of the catalogue, or with `--json` its parts.
    pub fn say(&self, key: &str, parts: &[(&str, &str)]) {
        if self.json {
            let map: serde_json::Map<String, Json> = parts.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            println!("{}", json!({"message": key, "parts": map}));
        } else {
            println!("{}", text(self.lang, key, parts));
        }
    }

    /// Prints an error on stderr: its code, what is wrong, what to do.
    pub fn error(&self, error: &Error) {
        let advice = text(self.lang, &format!("advice.{}", error.code), &[]);
        if self.json {
            eprintln!("{}", json!({"error": {"code": error.code.as_str(), "detail": error.detail, "advice": advice}}));
        } else {
            eprintln!("{} [{}]: {}", text(self.lang, &format!("error.{}", error.code), &[]), error.code, error.detail);
            eprintln!("{advice}");
        }
    }
}

fn pretty(value: &Json) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
