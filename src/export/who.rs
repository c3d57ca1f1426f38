//! Who read what about us: reads and refusals out of entries, by organisation, purpose, legal basis,
//! agreement and set. Memory grows with what is told, not with the log.

use super::Record;
use super::columns::number_of_refusals;
use super::reads::{Following, Read};
use perron_model::limits::{WHO_ENTRIES_MAX, WHO_GROUPS_MAX};
use perron_model::{AgreementId, Error, ErrorCode, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who read, for what, on what ground, what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// The organisation.
    pub organisation: Option<String>,
    /// Purpose stated (DPV IRI); a refusal before a request was signed has none.
    pub purpose: Option<String>,
    /// Legal basis of the agreement (DPV IRI).
    pub legal_basis: Option<String>,
    /// The agreement.
    pub agreement: Option<AgreementId>,
    /// The set.
    pub dataset: Option<String>,
}

/// What they read, and what was refused to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// By whom.
    #[serde(flatten)]
    pub reader: Reader,
    /// The organisation's name, by the register.
    pub name: Option<String>,
    /// Permitted reads.
    pub reads: u64,
    /// Those of them whose end isn't in the log.
    pub unfinished: u64,
    /// When the first and the last was permitted or refused.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// Rows that left.
    pub rows: u64,
    /// Bytes that left.
    pub bytes: u64,
    /// Refusals.
    pub refused: u64,
    /// Why, each with its number.
    pub reasons: BTreeMap<String, u64>,
    /// Entries of the permits, the first of them.
    pub permits: Vec<u64>,
    /// Entries of the refusals, the first of them; one may count many.
    pub refusals: Vec<u64>,
    /// Entries beyond those.
    pub left_out: u64,
}

/// The fold over the log.
#[derive(Debug, Default)]
pub struct Who {
    following: Following,
    told: BTreeMap<Reader, Told>,
}

impl Who {
    /// Takes the next entry; `is_asked` says whether the question is about it. The end of a read that
    /// is asked for counts wherever it comes.
    ///
    /// # Errors
    /// `too_large` where more is told than has room.
    pub fn take(&mut self, record: &Record, is_asked: bool) -> Result<()> {
        match record.kind.as_str() {
            "permit" if is_asked => self.following.take(record).map(|_| ()),
            "outcome" => match self.following.take(record)? {
                Some(read) => self.read(&read),
                None => Ok(()),
            },
            "refusal" | "plan-refusal" | "refusal-summary" if is_asked => self.refused(record),
            _ => Ok(()),
        }
    }

    /// Is no end of a read to come?
    pub fn is_settled(&self) -> bool {
        self.following.is_empty()
    }

    /// All that is told, in the order of the names.
    pub fn finish(mut self) -> Result<Vec<Told>> {
        for read in std::mem::take(&mut self.following).rest() {
            self.read(&read)?;
        }
        Ok(self.told.into_values().collect())
    }

    fn read(&mut self, read: &Read) -> Result<()> {
        let reader = Reader {
            organisation: read.organisation.clone(),
            purpose: read.purpose.clone(),
            legal_basis: read.legal_basis.clone(),
            agreement: read.agreement,
            dataset: read.dataset.clone(),
        };
        let told = self.of(reader, read.time)?;
        told.reads = told.reads.saturating_add(1);
        told.unfinished = told.unfinished.saturating_add(u64::from(read.ended.is_none()));
        told.rows = told.rows.saturating_add(read.rows.unwrap_or(0));
        told.bytes = told.bytes.saturating_add(read.bytes.unwrap_or(0));
        if told.permits.len() < WHO_ENTRIES_MAX {
            told.permits.push(read.index);
        } else {
            told.left_out = told.left_out.saturating_add(1);
        }
        Ok(())
    }

    fn refused(&mut self, record: &Record) -> Result<()> {
        let reader = Reader {
            organisation: record.organisation.clone(),
            purpose: record.purpose.clone(),
            legal_basis: record.legal_basis.clone(),
            agreement: record.agreement,
            dataset: record.dataset.clone(),
        };
        let count = number_of_refusals(record);
        let told = self.of(reader, record.time)?;
        told.refused = told.refused.saturating_add(count);
        if let Some(reason) = record.reasons.first() {
            let sum = told.reasons.entry(reason.clone()).or_default();
            *sum = sum.saturating_add(count);
        }
        if told.refusals.len() < WHO_ENTRIES_MAX {
            told.refusals.push(record.index);
        } else {
            told.left_out = told.left_out.saturating_add(1);
        }
        Ok(())
    }

    fn of(&mut self, reader: Reader, at: Timestamp) -> Result<&mut Told> {
        if self.told.len() >= WHO_GROUPS_MAX && !self.told.contains_key(&reader) {
            let detail = format!("more than {WHO_GROUPS_MAX} are told of: ask about less");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        let told = self.told.entry(reader.clone()).or_insert_with(|| Told {
            reader,
            name: None,
            reads: 0,
            unfinished: 0,
            first: at,
            last: at,
            rows: 0,
            bytes: 0,
            refused: 0,
            reasons: BTreeMap::new(),
            permits: Vec::new(),
            refusals: Vec::new(),
            left_out: 0,
        });
        (told.first, told.last) = (told.first.min(at), told.last.max(at));
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{decision, record};
    use serde_json::json;

    fn outcome(index: u64, of: &Record, rows: u64) -> Record {
        Record { decision: Some(of.leaf), rows: Some(rows), bytes: Some(8 * rows), ..record(index, "outcome") }
    }

    #[test]
    fn reads_and_refusals_are_told_by_who_asked_and_why() {
        let mut who = Who::default();
        let other = Record { purpose: Some("https://w3id.org/dpv#Marketing".to_owned()), ..decision(4, false) };
        let permits = [decision(1, true), decision(2, true), decision(3, true)];
        for permit in &permits {
            who.take(permit, permit.index != 3).unwrap();
        }
        who.take(&other, true).unwrap();
        who.take(&outcome(5, &permits[0], 10), false).unwrap();
        who.take(&outcome(6, &permits[2], 99), true).unwrap();
        assert!(!who.is_settled());
        let told = who.finish().unwrap();
        assert_eq!(told.len(), 2, "{told:#?}");
        let (marketing, benefit) = (&told[0], &told[1]);
        assert_eq!((benefit.reads, benefit.rows, benefit.bytes, benefit.unfinished), (2, 10, 80, 1));
        assert_eq!((benefit.refused, &benefit.permits), (0, &vec![1, 2]));
        assert_eq!((marketing.reads, marketing.refused, &marketing.refusals), (0, 1, &vec![4]));
        assert_eq!(marketing.reasons, BTreeMap::from([("purpose_not_permitted".to_owned(), 1)]));
    }

    #[test]
    fn a_summary_counts_many_and_entries_beyond_the_bound_are_counted() {
        let mut who = Who::default();
        let reasons = vec!["rate_exceeded".to_owned()];
        let summary = Record { reasons, facts: json!({"count": 40}), ..record(0, "refusal-summary") };
        who.take(&summary, true).unwrap();
        for index in 1..=WHO_ENTRIES_MAX as u64 {
            who.take(&Record { index, ..record(index, "plan-refusal") }, true).unwrap();
        }
        let told = who.finish().unwrap();
        assert_eq!((told[0].refused, told[0].left_out), (40 + WHO_ENTRIES_MAX as u64, 1));
        assert_eq!(told[0].refusals.len(), WHO_ENTRIES_MAX);
    }

    #[test]
    fn so_many_are_told_of_at_the_most() {
        let mut who = Who::default();
        let of = |n: usize| Record { organisation: Some(format!("o{n}")), ..record(n as u64, "plan-refusal") };
        for n in 0..WHO_GROUPS_MAX {
            who.take(&of(n), true).unwrap();
        }
        assert_eq!(who.take(&of(WHO_GROUPS_MAX), true).unwrap_err().code, ErrorCode::TooLarge);
    }
}
