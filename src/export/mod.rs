//! The log for other programs: lines of JSON, columns, events of the Open Cybersecurity Schema
//! Framework, messages of syslog, and the two records that the law asks for.
//!
//! What is exported is an entry as it was told ([`Record`]); this room puts it into the other
//! form. It reads no log, asks nobody, and never decides who may have what.

pub mod agreements;
pub mod art30;
pub mod columns;
pub mod dga_log;
pub mod jsonl;
pub mod ocsf;
pub mod parquet;
pub mod reads;
pub mod syslog;
pub mod who;

use perron_model::{AgreementId, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An object a line.
    Jsonl,
    /// Columns (Apache Parquet).
    Parquet,
    /// An event of the Open Cybersecurity Schema Framework a line.
    Ocsf,
    /// The record of processing activities (Regulation (EU) 2016/679, Art. 30).
    Art30,
    /// The log of the intermediation (Regulation (EU) 2022/868, Art. 12(o)).
    DgaLog,
}

impl Format {
    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
            Format::Ocsf => "ocsf",
            Format::Art30 => "art30",
            Format::DgaLog => "dga-log",
        }
    }
}

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The organisation.
    pub participant: String,
    /// Origin of its log: `<authority>/<participant>/<generation>`.
    pub origin: String,
    /// Version of the program.
    pub version: String,
}

/// Position in the chain of an agreement's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The agreement.
    pub agreement: AgreementId,
    /// Number in the chain, from 0.
    pub number: u64,
}

/// An entry of the log as it is exported: what it says (`facts`), and beside it what a reader
/// looks for in every entry, also where the entry itself says it by its agreement alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number in the log, from 0.
    pub index: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Leaf hash (RFC 6962, section 2.1): proves the entry in the log's tree.
    pub leaf: Digest,
    /// What happened, as the reference of the log names it.
    pub kind: String,
    /// Position in an agreement's chain.
    pub chain: Option<Chain>,
    /// The agreement that it is about.
    pub agreement: Option<AgreementId>,
    /// Which side of it this organisation is: `provider` or `consumer`.
    pub side: Option<String>,
    /// The other organisation.
    pub organisation: Option<String>,
    /// The user: a random pseudonym, or `operator`.
    pub user: Option<String>,
    /// Purpose stated (DPV IRI).
    pub purpose: Option<String>,
    /// Legal basis (DPV IRI).
    pub legal_basis: Option<String>,
    /// The set.
    pub dataset: Option<String>,
    /// Permitted or refused, where it is one of both.
    pub permitted: Option<bool>,
    /// Stable codes of a refusal or an error.
    pub reasons: Vec<String>,
    /// How a permitted read ended: `complete`, `cut-by-consumer`…
    pub status: Option<String>,
    /// Rows that left or came.
    pub rows: Option<u64>,
    /// Bytes that left.
    pub bytes: Option<u64>,
    /// Leaf hash of the decision that it belongs to.
    pub decision: Option<Digest>,
    /// W3C trace id, where the act had one.
    pub trace: Option<String>,
    /// Processing activity (GDPR Art. 30), where the owner named one.
    pub processing_activity: Option<String>,
    /// All that the entry says.
    pub facts: Json,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Whose log the tests export.
    pub fn about() -> About {
        About { participant: "commune".into(), origin: "autorite/commune/1".into(), version: "0.1.0".into() }
    }

    /// An entry that says nothing but its kind.
    pub fn record(index: u64, kind: &str) -> Record {
        Record {
            index,
            time: Timestamp::parse("2026-11-23T10:00:00.123Z").unwrap(),
            leaf: Digest::of(&index.to_be_bytes()),
            kind: kind.to_owned(),
            chain: None,
            agreement: None,
            side: None,
            organisation: None,
            user: None,
            purpose: None,
            legal_basis: None,
            dataset: None,
            permitted: None,
            reasons: Vec::new(),
            status: None,
            rows: None,
            bytes: None,
            decision: None,
            trace: None,
            processing_activity: None,
            facts: Json::Object(serde_json::Map::new()),
        }
    }

    /// A permit, or a refusal, of a read of `water`.
    pub fn decision(index: u64, permitted: bool) -> Record {
        let agreement = Digest::of(b"agreement");
        let reasons = if permitted { Vec::new() } else { vec!["purpose_not_permitted".to_owned()] };
        Record {
            chain: Some(Chain { agreement, number: index }),
            agreement: Some(agreement),
            side: Some("provider".to_owned()),
            organisation: Some("inter".to_owned()),
            user: Some("pseudonym".to_owned()),
            purpose: Some("https://w3id.org/dpv#PublicBenefit".to_owned()),
            legal_basis: Some("https://w3id.org/dpv#PublicInterest".to_owned()),
            dataset: Some("water".to_owned()),
            permitted: Some(permitted),
            reasons,
            ..record(index, if permitted { "permit" } else { "refusal" })
        }
    }
}
