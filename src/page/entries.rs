//! The entries of a page: what each says in words, and by what it is counted.

use crate::connector::{ProvenLeaf, describe};
use crate::page::words::{Both, both, both_of, shown_time, value_in_words};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use perron_model::entry::{Body, Entry, OutcomeStatus};
use perron_model::{Digest, Error, Result};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};

/// How an entry counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    /// A read was permitted; at the consumer: an answer came.
    Permitted,
    /// Refused.
    Refused,
    /// A permitted read ended with all its rows.
    Whole,
    /// A permitted read ended otherwise.
    Cut,
    /// None of these.
    #[default]
    Other,
}

/// An entry as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub index: u64,
    pub number: u64,
    pub time: String,
    pub when: String,
    pub kind: &'static str,
    pub kind_words: Both,
    pub sentence: Both,
    pub reason: Option<String>,
    pub hash: String,
    pub leaf: String,
    pub proof: String,
    pub signed: Option<String>,
    pub class: Class,
    pub purpose: String,
    pub user: String,
    /// Codes of a refusal, by which it is counted, with a space between.
    pub reasons: String,
    pub bucket: String,
    #[serde(skip)]
    pub codes: Vec<String>,
    #[serde(skip)]
    pub rows: u64,
    #[serde(skip)]
    pub bytes: u64,
}

/// The leaf as an entry.
pub(super) fn decode(leaf: &ProvenLeaf) -> Result<Entry> {
    Entry::from_bytes(&bytes_of(leaf)?)
}

fn bytes_of(leaf: &ProvenLeaf) -> Result<Vec<u8>> {
    STANDARD.decode(&leaf.leaf).map_err(|_| Error::malformed("a leaf is not base64"))
}

/// For whom and for what a read was, told by the entry that an outcome or an answer refers to.
#[derive(Clone, Default)]
struct Asked {
    index: u64,
    user: String,
    purpose: String,
}

/// The entries as rows, in the order of the chain.
pub(super) fn rows(leaves: &[ProvenLeaf]) -> Result<Vec<Row>> {
    let mut asked: HashMap<Digest, Asked> = HashMap::new();
    let mut rows = leaves.iter().map(|leaf| row(leaf, &mut asked)).collect::<Result<Vec<_>>>()?;
    let length = bucket_length(&rows);
    for row in &mut rows {
        row.bucket = row.time.chars().take(length).collect();
    }
    Ok(rows)
}

/// How much of a time (RFC 3339) names the hour, day, month or year by which a page of this length
/// counts. `verify.js` takes it from the rows.
fn bucket_length(rows: &[Row]) -> usize {
    let millis = |row: Option<&Row>| {
        row.and_then(|r| perron_model::Timestamp::parse(&r.time).ok()).map_or(0, perron_model::Timestamp::millis)
    };
    let days = millis(rows.last()).saturating_sub(millis(rows.first())) / 86_400_000;
    match days {
        ..2 => 13,
        2..92 => 10,
        92..2_900 => 7,
        _ => 4,
    }
}

fn row(leaf: &ProvenLeaf, asked: &mut HashMap<Digest, Asked>) -> Result<Row> {
    let bytes = bytes_of(leaf)?;
    let entry = Entry::from_bytes(&bytes)?;
    let described = describe(&bytes)?;
    let hash = Digest::from_bytes(perron_log::merkle::leaf_hash(&bytes).0);
    let mut row = counted(&entry, hash, asked);
    let mut parts: BTreeMap<String, Both> = described
        .get("facts")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value_in_words(name, value)))
        .collect();
    if let Some(of) = referred(&entry.body).map(|name| asked.get(&name)) {
        parts.insert("of".to_owned(), Both::same(of.map_or_else(|| "–".to_owned(), |a| a.index.to_string())));
    }
    let time = entry.time.to_string();
    row.index = entry.index;
    row.number = entry.chain.as_ref().map_or(0, |c| c.number);
    row.when = shown_time(&time);
    row.time = time;
    row.kind = kind_of(&entry.body);
    row.kind_words = both(&format!("folder.kind.{}", row.kind), &[]);
    row.sentence = both_of(&format!("folder.entry.{}", row.kind), &parts);
    row.reason = leaf.signed.as_deref().and_then(own_words);
    row.hash = hash.to_string();
    row.leaf.clone_from(&leaf.leaf);
    row.proof = leaf.proof.join(" ");
    row.signed.clone_from(&leaf.signed);
    Ok(row)
}

/// What entries are called in the catalogue; the names are those of `perron audit list`.
fn kind_of(body: &Body) -> &'static str {
    match body {
        Body::Agreement(_) => "agreement",
        Body::Notice(_) => "notice",
        Body::Intent(_) => "intent",
        Body::Decision(decision) if decision.permitted => "permit",
        Body::Decision(_) => "refusal",
        Body::Outcome(_) => "outcome",
        Body::Received(_) => "received",
        Body::Release(_) => "release",
        Body::SchemaGrant(_) => "schema-grant",
        Body::PlanRefusal(_) => "plan-refusal",
        // No entry of another kind stands in the chain of an agreement.
        _ => "other",
    }
}

/// What names the entry that this one refers to.
fn referred(body: &Body) -> Option<Digest> {
    match body {
        Body::Outcome(outcome) => Some(outcome.decision),
        Body::Received(received) => Some(received.request),
        _ => None,
    }
}

/// By what an entry is counted.
fn counted(entry: &Entry, hash: Digest, asked: &mut HashMap<Digest, Asked>) -> Row {
    let mut row = empty();
    let refuse = |row: &mut Row, codes: Vec<String>| {
        row.class = Class::Refused;
        row.reasons = codes.join(" ");
        row.codes = codes;
    };
    let of = referred(&entry.body).and_then(|name| asked.get(&name).cloned()).unwrap_or_default();
    (row.user, row.purpose) = (of.user, of.purpose);
    match &entry.body {
        Body::Decision(decision) => {
            (row.user, row.purpose) = (decision.user.clone(), decision.purpose.clone());
            if decision.permitted {
                row.class = Class::Permitted;
                asked.insert(hash, about(entry.index, &row));
            } else {
                refuse(&mut row, decision.reasons.clone());
            }
        }
        Body::Intent(intent) => {
            (row.user, row.purpose) = (intent.user.clone(), intent.purpose.clone());
            asked.insert(intent.request, about(entry.index, &row));
        }
        Body::Outcome(outcome) => {
            row.class = if outcome.status == OutcomeStatus::Complete { Class::Whole } else { Class::Cut };
            (row.rows, row.bytes) = (outcome.rows, outcome.bytes);
            row.codes = outcome.reason.clone().into_iter().collect();
        }
        Body::Received(received) => match &received.refused {
            Some(code) => refuse(&mut row, vec![code.clone()]),
            None => (row.class, row.rows) = (Class::Permitted, received.rows),
        },
        Body::PlanRefusal(refusal) => refuse(&mut row, vec![refusal.reason.clone()]),
        _ => {}
    }
    row
}

fn about(index: u64, row: &Row) -> Asked {
    Asked { index, user: row.user.clone(), purpose: row.purpose.clone() }
}

fn empty() -> Row {
    Row {
        index: 0,
        number: 0,
        time: String::new(),
        when: String::new(),
        kind: "other",
        kind_words: Both::default(),
        sentence: Both::default(),
        reason: None,
        hash: String::new(),
        leaf: String::new(),
        proof: String::new(),
        signed: None,
        class: Class::Other,
        purpose: String::new(),
        user: String::new(),
        reasons: String::new(),
        bucket: String::new(),
        codes: Vec::new(),
        rows: 0,
        bytes: 0,
    }
}

/// What a signed notice says in its sender's own words: a reason, or how a duty was fulfilled.
fn own_words(jws: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(jws.split('.').nth(1)?).ok()?;
    let notice: Json = serde_json::from_slice(&payload).ok()?;
    let act = notice.get("act")?;
    let said = act.get("reason").or_else(|| act.get("evidence"))?;
    said.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
