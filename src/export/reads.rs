//! Reads out of entries: a permit with its outcome at the provider, an intent with what was received
//! at the consumer. Memory grows with the reads that have no end yet.

use super::Record;
use perron_model::limits::LOG_READS_OPEN_MAX;
use perron_model::{AgreementId, Error, ErrorCode, Result, Timestamp};
use serde_json::Value as Json;
use std::collections::HashMap;

/// A permitted read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Entry of the permit; of the intent, where another organisation was read.
    pub index: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Under which agreement.
    pub agreement: Option<AgreementId>,
    /// Which side of it this organisation is.
    pub side: Option<String>,
    /// The other organisation.
    pub organisation: Option<String>,
    /// Pseudonym of the user.
    pub user: Option<String>,
    /// Purpose stated (DPV IRI).
    pub purpose: Option<String>,
    /// Legal basis (DPV IRI).
    pub legal_basis: Option<String>,
    /// The set.
    pub dataset: Option<String>,
    /// How it ended, at the provider.
    pub status: Option<String>,
    /// Rows that left or came.
    pub rows: Option<u64>,
    /// Bytes that left.
    pub bytes: Option<u64>,
    /// Entry of its end, and when it was written.
    pub ended: Option<(u64, Timestamp)>,
}

/// Reads whose end may still come, by what names them.
#[derive(Debug, Default)]
pub struct Following(HashMap<String, Read>);

impl Following {
    /// Takes the next entry; gives the read that it ends.
    ///
    /// # Errors
    /// `too_large` where more reads are open than are followed.
    pub fn take(&mut self, record: &Record) -> Result<Option<Read>> {
        let Some(name) = name_of(record) else { return Ok(None) };
        match record.kind.as_str() {
            "permit" | "intent" => {
                if self.0.len() >= LOG_READS_OPEN_MAX {
                    let detail = format!("more than {LOG_READS_OPEN_MAX} reads have no end");
                    return Err(Error::new(ErrorCode::TooLarge, detail));
                }
                self.0.insert(name, begun(record));
                Ok(None)
            }
            _ => Ok(self.0.remove(&name).and_then(|read| ended(read, record))),
        }
    }

    /// Is there none whose end may come?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose end didn't come, in the order of the log.
    pub fn rest(self) -> Vec<Read> {
        let mut open: Vec<Read> = self.0.into_values().collect();
        open.sort_unstable_by_key(|read| read.index);
        open
    }
}

/// What the entries of one read have in common: the leaf hash of its decision, or the digest of its
/// request.
fn name_of(record: &Record) -> Option<String> {
    match record.kind.as_str() {
        "permit" => Some(record.leaf.to_string()),
        "outcome" => record.decision.map(|decision| decision.to_string()),
        "intent" | "received" => record.facts.get("request").and_then(Json::as_str).map(str::to_owned),
        _ => None,
    }
}

fn begun(record: &Record) -> Read {
    Read {
        index: record.index,
        time: record.time,
        agreement: record.agreement,
        side: record.side.clone(),
        organisation: record.organisation.clone(),
        user: record.user.clone(),
        purpose: record.purpose.clone(),
        legal_basis: record.legal_basis.clone(),
        dataset: record.dataset.clone(),
        status: None,
        rows: None,
        bytes: None,
        ended: None,
    }
}

/// The read with its end; none where the other side refused it.
fn ended(read: Read, end: &Record) -> Option<Read> {
    let is_read = end.permitted != Some(false);
    is_read.then(|| Read {
        status: end.status.clone(),
        rows: end.rows,
        bytes: end.bytes,
        ended: Some((end.index, end.time)),
        ..read
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{decision, record};
    use perron_model::Digest;
    use serde_json::json;

    fn outcome(index: u64, of: &Record, rows: u64) -> Record {
        let status = Some("complete".to_owned());
        Record { decision: Some(of.leaf), rows: Some(rows), bytes: Some(8 * rows), status, ..record(index, "outcome") }
    }

    fn request(index: u64, kind: &str, number: u64) -> Record {
        Record { facts: json!({"request": Digest::of(&number.to_be_bytes())}), ..record(index, kind) }
    }

    #[test]
    fn a_read_is_told_with_its_end_and_without_one_at_the_end() {
        let mut following = Following::default();
        let (first, second) = (decision(1, true), decision(2, true));
        for begins in [&first, &second, &decision(3, false)] {
            assert_eq!(following.take(begins).unwrap(), None);
        }
        let read = following.take(&outcome(4, &second, 7)).unwrap().unwrap();
        assert_eq!((read.index, read.rows, read.ended.map(|(index, _)| index)), (2, Some(7), Some(4)));
        assert_eq!(read.organisation.as_deref(), Some("inter"));
        // The end of a statement over the log is no read's.
        assert_eq!(following.take(&outcome(5, &record(0, "log-query"), 1)).unwrap(), None);
        assert!(!following.is_empty());
        let rest = following.rest();
        assert_eq!(rest.iter().map(|r| (r.index, r.ended)).collect::<Vec<_>>(), [(1, None)]);
    }

    #[test]
    fn what_the_other_side_refused_is_no_read() {
        let mut following = Following::default();
        for number in 1..3 {
            following.take(&request(number, "intent", number)).unwrap();
        }
        let refused = Record { permitted: Some(false), ..request(3, "received", 1) };
        assert_eq!(following.take(&refused).unwrap(), None);
        let got = Record { permitted: Some(true), rows: Some(9), ..request(4, "received", 2) };
        assert_eq!(following.take(&got).unwrap().map(|r| (r.index, r.rows)), Some((2, Some(9))));
        assert!(following.is_empty());
    }

    #[test]
    fn so_many_reads_are_followed_at_the_most() {
        let mut following = Following::default();
        for index in 0..LOG_READS_OPEN_MAX as u64 {
            following.take(&decision(index, true)).unwrap();
        }
        let one_more = decision(LOG_READS_OPEN_MAX as u64, true);
        assert_eq!(following.take(&one_more).unwrap_err().code, ErrorCode::TooLarge);
    }
}
