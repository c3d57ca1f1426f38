//! Texts in both languages at once, and what values of entries are called for people.

use crate::messages::{Lang, text, texts_of};
use crate::page::entries::Row;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// A text in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Both {
    pub en: String,
    pub fr: String,
}

impl Both {
    /// A text that is the same in all languages.
    pub fn same(text: impl Into<String>) -> Both {
        let text = text.into();
        Both { en: text.clone(), fr: text }
    }

    /// The text in a language.
    pub fn in_language(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Fr => &self.fr,
        }
    }
}

/// A text of the catalogue in both languages, its placeholders filled.
pub(super) fn both(key: &str, parts: &[(&str, &str)]) -> Both {
    Both { en: text(Lang::En, key, parts), fr: text(Lang::Fr, key, parts) }
}

/// As [`both`], with parts that are in both languages themselves.
pub(super) fn both_of(key: &str, parts: &BTreeMap<String, Both>) -> Both {
    let in_language = |lang: Lang| {
        let parts: Vec<(&str, &str)> = parts.iter().map(|(k, v)| (k.as_str(), v.in_language(lang))).collect();
        text(lang, key, &parts)
    };
    Both { en: in_language(Lang::En), fr: in_language(Lang::Fr) }
}

/// What a value of an entry is called. `verify.js` has the same rules.
pub(super) fn value_in_words(field: &str, value: &Json) -> Both {
    match (field, value) {
        (_, Json::Null) => Both::same("–"),
        ("reasons", Json::Array(codes)) if codes.is_empty() => Both::same("–"),
        (_, Json::Array(items)) => {
            let items: Vec<Both> = items.iter().map(|item| value_in_words(field, item)).collect();
            let joined = |lang| items.iter().map(|i| i.in_language(lang)).collect::<Vec<_>>().join(", ");
            Both { en: joined(Lang::En), fr: joined(Lang::Fr) }
        }
        ("reasons" | "reason" | "refused", Json::String(code)) => both(&format!("error.{code}"), &[]),
        ("status", Json::String(name)) => both(&format!("outcome.{name}"), &[]),
        ("side" | "by", Json::String(name)) => both(&format!("side.{name}"), &[]),
        ("act", Json::String(name)) => both(&format!("folder.act.{name}"), &[]),
        ("standing", Json::String(name)) => both(&format!("folder.standing.{name}"), &[]),
        ("purpose" | "legal_basis", Json::String(iri)) => Both::same(short(iri)),
        (_, Json::String(text)) => Both::same(text),
        (_, Json::Number(number)) => Both::same(number.as_u64().map_or_else(|| number.to_string(), grouped)),
        (_, other) => Both::same(other.to_string()),
    }
}

/// The last part of an IRI.
pub(super) fn short(iri: &str) -> String {
    iri.rsplit(['#', '/']).next().unwrap_or(iri).to_owned()
}

/// A number in groups of three digits, as both languages write it (SI).
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A time (RFC 3339, UTC) as people read it.
pub(super) fn shown_time(rfc3339: &str) -> String {
    format!("{} UTC", rfc3339.trim_end_matches('Z').replacen('T', " ", 1))
}

/// What the page's script needs of the catalogue.
pub(super) fn of_page(lang: Lang, rows: &[Row]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for beginning in
        ["folder.entry.", "folder.kind.", "folder.act.", "folder.standing.", "folder.regime.", "folder.js."]
    {
        texts.extend(texts_of(lang, beginning).map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
    for beginning in ["outcome.", "side.", "folder.said.", "folder.title"] {
        texts.extend(texts_of(lang, beginning).map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
    for code in rows.iter().flat_map(|row| &row.codes) {
        let key = format!("error.{code}");
        let said = text(lang, &key, &[]);
        texts.insert(key, said);
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_their_words_in_both_languages() {
        let words = |field: &str, value: Json| value_in_words(field, &value);
        assert_eq!(words("rows", json!(1_234_567)), Both::same("1\u{202f}234\u{202f}567"));
        assert_eq!(words("rows", json!(0)).en, "0");
        assert_eq!(words("purpose", json!("https://w3id.org/dpv#PublicBenefit")).fr, "PublicBenefit");
        assert_eq!(words("refused", Json::Null).en, "–");
        assert_eq!(words("status", json!("Complete")).en, "complete");
        let reasons = words("reasons", json!(["uses_exhausted", "prohibited"]));
        assert!(reasons.en.contains(", ") && reasons.en != reasons.fr, "{reasons:?}");
        assert_eq!(shown_time("2026-11-30T02:44:17.123Z"), "2026-11-30 02:44:17.123 UTC");
    }
}
