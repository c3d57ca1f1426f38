//! What a verification says.

use crate::words::{Lang, Phrase, sentence};
use perron_log::{FindingKind, Outcome};
use perron_model::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The result of a verification. As JSON its words are English.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whose directory it is.
    pub participant: String,
    /// The data space.
    pub space: String,
    /// Origin of the log; empty where the register doesn't tell it.
    pub origin: String,
    /// Keys of the log, past and present, as verifier keys (C2SP signed-note): for other programs
    /// that verify logs.
    pub log_keys: Vec<String>,
    /// Entries that were read.
    pub size: u64,
    /// RFC 6962 root of those entries, base64.
    pub root: String,
    /// Worst outcome of all findings, by its stable name; `ok` where there is none.
    pub outcome: &'static str,
    /// The authority's key that all else was verified by.
    pub authority: Authority,
    /// Version of the register in the directory, once it verified.
    pub register_version: Option<u64>,
    /// What was found, at most 1,000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_left_out: u64,
    /// Entries read, by kind.
    pub entries: BTreeMap<&'static str, u64>,
    /// Entries of which the hash alone is left, by the retention rule that allows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedBy>,
    /// Permitted reads without an outcome at the log's end.
    pub open_reads: u64,
    /// Values that are sealed beside the tree.
    pub sealed: u64,
    /// Those of them that were erased.
    pub erased: u64,
    /// Signatures checked, by kind; good and bad ones.
    pub signatures: BTreeMap<&'static str, u64>,
    /// Checkpoints of this log, kept or cosigned by others, that were compared with it.
    pub checkpoints_compared: u64,
    /// The largest head that each other organisation has seen.
    pub kept: Vec<KeptHead>,
    /// Logs that were closed before this one, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<Closed>,
    /// What a policy of witnesses says, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Judged>,
    /// Exactly what may be said of the directory.
    pub statements: Vec<String>,
    /// What the given files can't show.
    pub not_shown: Vec<String>,
    #[serde(skip)]
    pub(crate) said: Vec<Phrase>,
    #[serde(skip)]
    pub(crate) unsaid: Vec<Phrase>,
    #[serde(skip)]
    pub(crate) worst: Outcome,
}

/// The authority's register key, and where it came from.
#[derive(Clone, Debug, Serialize)]
pub struct Authority {
    /// The key, base64url.
    pub key: String,
    /// Where it came from.
    pub from: AuthoritySource,
}

/// Where the authority's key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthoritySource {
    /// The caller gave it.
    Given,
    /// `trust/authority.key` of the directory under verification.
    Directory,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Stable name of what was found.
    pub kind: &'static str,
    /// How bad it is, by its stable name.
    pub outcome: &'static str,
    /// File concerned, relative to the directory; or a kept checkpoint's own file.
    pub path: String,
    /// Byte offset within the file, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Entry concerned, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What the kind means, in English.
    pub sentence: &'static str,
    /// What exactly, in English.
    pub detail: String,
    #[serde(skip)]
    pub(crate) known: FindingKind,
}

/// What a policy of witnesses (C2SP tlog-policy) says of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// `met`; `none` where it asks for nobody; `open` where its quorum cosigned nothing that agrees
    /// with a log that verifies; `another-log` where it isn't about this one.
    pub quorum: &'static str,
    /// Is the log final up to `size`?
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Entries up to which it is.
    pub size: Option<u64>,
    /// When the last one needed signed, by its clock (RFC 3339).
    pub at: Option<String>,
    /// The policy's witnesses, in its order.
    pub witnesses: Vec<JudgedWitness>,
}

/// A witness of a policy, and the largest head that it cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JudgedWitness {
    /// Its name in the policy.
    pub name: String,
    /// Entries that its head covers.
    pub size: Option<u64>,
    /// When it signed it, by its clock (RFC 3339).
    pub at: Option<String>,
}

/// Entries that were pruned by one retention rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrunedBy {
    /// Number of the rule.
    pub rule: u64,
    /// How many entries.
    pub entries: u64,
    /// None of them is newer.
    pub until: Timestamp,
}

/// A log that was closed, and what the one after it tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Closed {
    /// Its origin.
    pub origin: String,
    /// Entries after which it was closed.
    pub size: u64,
    /// Entries lost, as far as it is known.
    pub lost: u64,
    /// Who held more of it.
    pub held_by: Vec<String>,
    /// Who held other entries of it than those that were got back.
    pub contradicted_by: Vec<String>,
    /// Who couldn't be asked what they hold.
    pub silent: Vec<String>,
    /// Who of them holds more than anybody was named to hold.
    pub shown_later: Vec<Holder>,
}

/// Who holds a head of a closed log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who.
    pub by: String,
    /// Entries that it covers.
    pub size: u64,
}

/// A head of this log as another organisation has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptHead {
    /// Who.
    pub by: String,
    /// Entries that it covers.
    pub size: u64,
    /// When they saw it, by their clock (RFC 3339), where that is known.
    pub at: Option<String>,
    /// Is that a time they signed, by a cosignature?
    pub cosigned: bool,
}

impl Report {
    /// Does the directory verify: `ok`, or only `behind` in what can be made anew?
    pub fn is_ok(&self) -> bool {
        self.worst.is_pass()
    }

    /// The stable names of all kinds found, each once.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&'static str> = self.findings.iter().map(|f| f.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// What may be said, in a language.
    pub fn statements_in(&self, lang: Lang) -> Vec<String> {
        self.said.iter().map(|p| p.text(lang)).collect()
    }

    /// What the given files can't show, in a language.
    pub fn not_shown_in(&self, lang: Lang) -> Vec<String> {
        self.unsaid.iter().map(|p| p.text(lang)).collect()
    }

    pub(crate) fn add(&mut self, finding: perron_log::Finding) {
        self.worst = self.worst.max(finding.kind.outcome());
        if self.findings.len() < perron_log::limits::FINDINGS_MAX {
            self.findings.push(Finding::new(finding));
        } else {
            self.findings_left_out = self.findings_left_out.saturating_add(1);
        }
    }

    pub(crate) fn say(&mut self, phrase: Phrase) {
        self.statements.push(phrase.text(Lang::En));
        self.said.push(phrase);
    }

    pub(crate) fn leave_unsaid(&mut self, phrase: Phrase) {
        self.not_shown.push(phrase.text(Lang::En));
        self.unsaid.push(phrase);
    }

    pub(crate) fn count_signatures(&mut self, kind: &'static str, count: u64) {
        let sum = self.signatures.entry(kind).or_default();
        *sum = sum.saturating_add(count);
    }
}

impl Finding {
    fn new(finding: perron_log::Finding) -> Finding {
        Finding {
            kind: finding.kind.name(),
            outcome: finding.kind.outcome().name(),
            path: finding.path,
            offset: finding.offset,
            index: finding.index,
            sentence: sentence(finding.kind, Lang::En),
            detail: finding.detail,
            known: finding.kind,
        }
    }

    /// What the kind means, in a language.
    pub fn sentence_in(&self, lang: Lang) -> &'static str {
        sentence(self.known, lang)
    }
}

/// A finding of a file.
pub(crate) fn of_file(kind: FindingKind, path: impl Into<String>, detail: impl Into<String>) -> perron_log::Finding {
    perron_log::Finding { kind, path: path.into(), offset: None, index: None, detail: detail.into() }
}

/// A finding of an entry.
pub(crate) fn of_entry(kind: FindingKind, index: u64, detail: impl Into<String>) -> perron_log::Finding {
    perron_log::Finding { kind, path: "log".to_owned(), offset: None, index: Some(index), detail: detail.into() }
}
