//! The log of the intermediation: who read what of whom, on which ground and how often, by agreement
//! and month.
//!
//! Regulation (EU) 2022/868 (Data Governance Act), Art. 12(o): a provider of data intermediation
//! services keeps a log record of the data intermediation activity. Whether an organisation is such
//! a provider, Art. 2(11) and Art. 10 say; public bodies that share without a commercial aim aren't
//! (Art. 2(11)(d)), and may keep it all the same. Each row names the entries of the log that it is
//! made from.

use super::{About, Record};
use crate::messages::{Lang, text};
use perron_model::limits::INTERMEDIATION_ROWS_MAX;
use perron_model::{AgreementId, Error, ErrorCode, Result, Timestamp};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a row is about: an agreement, or an organisation whose requests had none, and a month.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    organisation: String,
    agreement: Option<String>,
    month: String,
}

/// What happened under an agreement in a month, by the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which side this organisation is: `provider` or `consumer`.
    pub side: Option<String>,
    /// The set.
    pub dataset: Option<String>,
    /// Legal basis (DPV IRI).
    pub legal_basis: Option<String>,
    /// Purposes that were stated (DPV IRIs).
    pub purposes: BTreeSet<String>,
    /// Reads that were permitted.
    pub permitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Rows that left, or came.
    pub rows: u64,
    /// Bytes that left.
    pub bytes: u64,
    /// Reads whose end isn't known: the process ended in between.
    pub unknown: u64,
    /// Time and number of the first entry.
    pub first: Option<(Timestamp, u64)>,
    /// Time and number of the last entry.
    pub last: Option<(Timestamp, u64)>,
    /// How many entries it is made from.
    pub entries: u64,
}

/// The log of the intermediation, as far as entries were taken.
#[derive(Clone, Debug, Default)]
pub struct Intermediation {
    rows: BTreeMap<Key, Row>,
}

/// What a row tells, with what it is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told<'a> {
    /// The other organisation.
    pub organisation: &'a str,
    /// The agreement; none for requests under none.
    pub agreement: Option<&'a str>,
    /// Month (UTC).
    pub month: &'a str,
    /// What happened.
    #[serde(flatten)]
    pub row: &'a Row,
}

impl Intermediation {
    /// Takes an entry into its row; entries that are about no read are in none.
    pub fn take(&mut self, record: &Record) -> Result<()> {
        let is_read = matches!(
            record.kind.as_str(),
            "intent" | "permit" | "refusal" | "outcome" | "received" | "plan-refusal" | "refusal-summary"
        );
        let Some(organisation) = record.organisation.as_ref().filter(|_| is_read) else { return Ok(()) };
        let key = Key {
            organisation: organisation.clone(),
            agreement: record.agreement.map(|a| a.to_string()),
            month: record.time.to_string().chars().take(7).collect(),
        };
        if self.rows.len() >= INTERMEDIATION_ROWS_MAX && !self.rows.contains_key(&key) {
            let detail = format!("over {INTERMEDIATION_ROWS_MAX} agreements and months: ask for a shorter time");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        let row = self.rows.entry(key).or_default();
        row.side = row.side.take().or_else(|| record.side.clone());
        row.dataset = row.dataset.take().or_else(|| record.dataset.clone());
        row.legal_basis = row.legal_basis.take().or_else(|| record.legal_basis.clone());
        row.purposes.extend(record.purpose.clone());
        match record.permitted {
            Some(true) => row.permitted = row.permitted.saturating_add(1),
            Some(false) => {
                let count = record.facts.get("count").and_then(Json::as_u64).unwrap_or(1);
                row.refused = row.refused.saturating_add(count);
            }
            None => {}
        }
        row.rows = row.rows.saturating_add(record.rows.unwrap_or_default());
        row.bytes = row.bytes.saturating_add(record.bytes.unwrap_or_default());
        row.unknown = row.unknown.saturating_add(u64::from(record.status.as_deref() == Some("unknown-after-crash")));
        row.entries = row.entries.saturating_add(1);
        row.first = row.first.or(Some((record.time, record.index)));
        row.last = Some((record.time, record.index));
        Ok(())
    }

    /// Its rows: by organisation, agreement and month.
    pub fn rows(&self) -> impl Iterator<Item = Told<'_>> {
        self.rows.iter().map(|(key, row)| Told {
            organisation: &key.organisation,
            agreement: key.agreement.as_deref(),
            month: &key.month,
            row,
        })
    }

    /// Rows of one agreement.
    pub fn of(&self, agreement: &AgreementId) -> Vec<Told<'_>> {
        let agreement = agreement.to_string();
        self.rows().filter(|told| told.agreement == Some(&agreement)).collect()
    }

    /// As one document.
    pub fn document(&self, about: &About, entries: (u64, u64), export: u64) -> Json {
        json!({
            "type": "perron-dga-log/v1",
            "law": "Regulation (EU) 2022/868, Art. 12(o)",
            "of": about,
            "entries": {"from": entries.0, "before": entries.1},
            "export": export,
            "rows": self.rows().collect::<Vec<_>>(),
        })
    }

    /// As a table in words (Markdown).
    pub fn table(&self, about: &About, entries: (u64, u64), export: u64, lang: Lang) -> String {
        let say = |key: &str, parts: &[(&str, &str)]| text(lang, &format!("dga.{key}"), parts);
        let (from, to, export) = (entries.0.to_string(), entries.1.to_string(), export.to_string());
        let intro: [(&str, &str); 5] = [
            ("of", about.participant.as_str()),
            ("origin", &about.origin),
            ("from", &from),
            ("to", &to),
            ("export", &export),
        ];
        let mut page = format!("# {}\n\n{}\n\n", say("title", &[]), say("intro", &intro));
        let heads = [
            "month",
            "organisation",
            "agreement",
            "side",
            "dataset",
            "legal_basis",
            "purposes",
            "permitted",
            "refused",
            "rows",
            "bytes",
            "first",
            "last",
            "entries",
        ];
        let heads: Vec<String> = heads.iter().map(|head| say(&format!("head.{head}"), &[])).collect();
        page.push_str(&line(&heads));
        page.push_str(&line(&vec!["---".to_owned(); heads.len()]));
        for told in self.rows() {
            let row = told.row;
            let at = |end: Option<(Timestamp, u64)>| {
                end.map_or_else(String::new, |(time, index)| format!("{time} ({index})"))
            };
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
            page.push_str(&line(&[
                told.month.to_owned(),
                told.organisation.to_owned(),
                told.agreement.unwrap_or("–").to_owned(),
                row.side.as_ref().map_or_else(|| "–".to_owned(), |side| say(&format!("side.{side}"), &[])),
                or(&row.dataset),
                or(&row.legal_basis),
                row.purposes.iter().cloned().collect::<Vec<_>>().join(", "),
                row.permitted.to_string(),
                row.refused.to_string(),
                row.rows.to_string(),
                row.bytes.to_string(),
                at(row.first),
                at(row.last),
                row.entries.to_string(),
            ]));
        }
        page
    }
}

/// A line of a table (GitHub Flavored Markdown, section 4.10).
pub(super) fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{about, decision, record};

    #[test]
    fn reads_are_counted_by_agreement_and_month() {
        let mut log = Intermediation::default();
        let outcome = Record {
            kind: "outcome".to_owned(),
            permitted: None,
            status: Some("complete".to_owned()),
            rows: Some(12),
            bytes: Some(340),
            ..decision(5, true)
        };
        let summary = Record {
            organisation: Some("inter".to_owned()),
            permitted: Some(false),
            facts: json!({"count": 40}),
            ..record(8, "refusal-summary")
        };
        let later = Record { time: Timestamp::parse("2026-12-01T00:00:00Z").unwrap(), ..decision(9, true) };
        for taken in [record(0, "start"), decision(4, true), outcome, decision(6, false), summary, later] {
            log.take(&taken).unwrap();
        }
        let rows: Vec<Told<'_>> = log.rows().collect();
        assert_eq!(rows.len(), 3);
        // Under no agreement first, then by month.
        assert_eq!((rows[0].agreement, rows[0].row.refused), (None, 40));
        let november = rows[1].row;
        assert_eq!((november.permitted, november.refused, november.rows, november.bytes), (1, 1, 12, 340));
        assert_eq!((november.first.unwrap().1, november.last.unwrap().1, november.entries), (4, 6, 3));
        assert_eq!((rows[2].month, rows[2].row.permitted), ("2026-12", 1));
        let document = log.document(&about(), (0, 10), 10);
        assert_eq!(document["rows"][1]["purposes"][0], "https://w3id.org/dpv#PublicBenefit");
        for lang in [Lang::En, Lang::Fr] {
            let table = log.table(&about(), (0, 10), 10, lang);
            assert_eq!(table.lines().filter(|l| l.starts_with("| ")).count(), 5, "{table}");
            assert!(!table.contains("dga."), "{table}");
        }
    }
}
