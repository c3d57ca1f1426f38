//! The log as the tables that statements over it see.

use super::export::record;
use super::question;
use crate::connector::audit::sealed::with_sealed;
use crate::connector::state::State;
use crate::export::Record;
use crate::export::columns::{self, Column};
use crate::export::reads::{Following, Read};
use crate::ledger::Ledger;
use crate::query::arrow::datatypes::SchemaRef;
use crate::query::arrow::record_batch::RecordBatch;
use crate::query::{LogScan, LogTables};
use perron_log::Stored;
use perron_model::entry::Entry;
use perron_model::limits::LOG_ROWS_STEP;
use perron_model::{Error, ErrorCode, Result};
use std::ops::Range;
use std::sync::Arc;

/// Entries, each a row.
const LOG: &str = "log";
/// Permitted reads, each with its end.
const READS: &str = "reads";
/// Refusals.
const REFUSALS: &str = "refusals";

/// The log, with what is known of the agreements that its entries are about.
#[derive(Clone)]
pub(crate) struct LogRows {
    pub(crate) ledger: Ledger,
    pub(crate) state: Arc<State>,
}

impl LogTables for LogRows {
    fn tables(&self) -> Vec<(&'static str, SchemaRef)> {
        vec![
            (LOG, columns::schema(&columns::log())),
            (READS, columns::schema(&columns::reads())),
            (REFUSALS, columns::schema(&columns::refusals())),
        ]
    }

    fn rows(&self, scan: LogScan) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        let narrowed = self.narrowed(&scan);
        let range = match narrowed {
            Ok(range) => range,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let entries = Entries { log: self.clone(), next: range.start, end: range.end };
        match scan.table {
            READS => {
                // The end of a read may come after what is asked for.
                let entries = Entries { end: scan.entries, ..entries };
                let given = chosen(columns::reads(), &scan.columns);
                let reads = Reads { entries, begins_before: range.end, following: Some(Following::default()) };
                Box::new(reads.map(move |rows| rows.and_then(|rows| columns::batch(given.iter(), &rows))))
            }
            REFUSALS => {
                let given = chosen(columns::refusals(), &scan.columns);
                Box::new(entries.map(move |rows| {
                    let refused = rows?.into_iter().filter(|r| r.permitted == Some(false)).collect::<Vec<_>>();
                    columns::batch(given.iter(), &refused)
                }))
            }
            _ => {
                let given = chosen(columns::log(), &scan.columns);
                Box::new(entries.map(move |rows| columns::batch(given.iter(), &rows?)))
            }
        }
    }
}

/// The columns at these places, in this order.
fn chosen<T>(all: Vec<Column<T>>, places: &[usize]) -> Vec<Column<T>> {
    let mut all: Vec<Option<Column<T>>> = all.into_iter().map(Some).collect();
    places.iter().filter_map(|place| all.get_mut(*place).and_then(Option::take)).collect()
}

impl LogRows {
    /// The entries among which those of a scan are.
    pub(super) fn narrowed(&self, scan: &LogScan) -> Result<Range<u64>> {
        let within = scan.from..scan.to.min(scan.entries);
        if within.is_empty() || (scan.since.is_none() && scan.until.is_none()) {
            return Ok(within);
        }
        let Some(jumps) = self.ledger.clock_jumps() else { return Ok(within) };
        // Between two jumps of the clock time never decreases.
        let starts = std::iter::once(0).chain(jumps.iter().copied());
        let ends = jumps.iter().copied().chain(std::iter::once(scan.entries));
        let (mut first, mut end) = (None, 0);
        for (start, stop) in starts.zip(ends) {
            let (start, stop) = (start.max(within.start), stop.min(within.end));
            let from = match scan.since {
                Some(since) => self.first(start..stop, |micros| micros >= since)?,
                None => start,
            };
            let to = match scan.until {
                Some(until) => self.first(start..stop, |micros| micros > until)?,
                None => stop,
            };
            if from < to {
                first = first.or(Some(from));
                end = to;
            }
        }
        Ok(first.map_or(within.start..within.start, |first| first..end))
    }

    /// The first entry of a range whose time is as asked for, in microseconds; its end, if none is.
    /// Those that are come after those that aren't.
    fn first(&self, range: Range<u64>, is: impl Fn(i64) -> bool) -> Result<u64> {
        let (mut from, mut to) = (range.start, range.end.max(range.start));
        while from < to {
            let middle = from + (to - from) / 2;
            match self.time_at(middle, to)?.is_none_or(&is) {
                true => to = middle,
                false => from = middle.saturating_add(1),
            }
        }
        Ok(from)
    }

    /// The time of an entry, in microseconds; of one that was pruned that of the next that wasn't.
    fn time_at(&self, index: u64, end: u64) -> Result<Option<i64>> {
        let mut found = None;
        let read = self.ledger.reader().for_entries(index, end, &mut |stored| {
            found = stored.entry();
            found.is_none()
        });
        read.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        let time = found.map(|stored| Entry::from_bytes(&stored.leaf)).transpose()?.map(|entry| entry.time);
        Ok(time.map(|time| time.millis().saturating_mul(1_000)))
    }

    /// Entries as they are exported.
    fn records(&self, range: Range<u64>) -> Result<Vec<Record>> {
        let mut records = Vec::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0));
        let mut failed = None;
        let read = self.ledger.reader().for_entries(range.start, range.end, &mut |stored| {
            let Stored::Entry(stored) = stored else { return true };
            match Entry::from_bytes(&stored.leaf) {
                Ok(entry) => {
                    let agreement = question::agreement_of(&entry).and_then(|id| self.state.agreement(&id));
                    let told = record(&stored.leaf, &entry, agreement.as_deref());
                    records.push(with_sealed(&self.state, told, &entry, entry.index));
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        });
        read.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        failed.map_or(Ok(records), Err)
    }
}

/// The entries of a range, some at a time.
struct Entries {
    log: LogRows,
    next: u64,
    end: u64,
}

impl Iterator for Entries {
    type Item = Result<Vec<Record>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let to = self.end.min(self.next.saturating_add(LOG_ROWS_STEP));
        let records = self.log.records(self.next..to);
        self.next = to;
        Some(records)
    }
}

/// The reads that begin before an entry, each when its end comes; those without one at the end.
struct Reads {
    entries: Entries,
    begins_before: u64,
    // None once the rest was given.
    following: Option<Following>,
}

impl Reads {
    fn followed(&mut self, records: Vec<Record>) -> Result<Vec<Read>> {
        let mut ended = Vec::new();
        let Some(following) = &mut self.following else { return Ok(ended) };
        for record in records {
            let begins = matches!(record.kind.as_str(), "permit" | "intent");
            if begins && record.index >= self.begins_before {
                continue;
            }
            ended.extend(following.take(&record)?);
        }
        Ok(ended)
    }
}

impl Iterator for Reads {
    type Item = Result<Vec<Read>>;

    fn next(&mut self) -> Option<Self::Item> {
        let following = self.following.as_ref()?;
        // Past the last that may begin, only open ones matter.
        let is_over = self.entries.next >= self.begins_before && following.is_empty();
        match self.entries.next().filter(|_| !is_over) {
            Some(records) => Some(records.and_then(|records| self.followed(records))),
            None => self.following.take().map(|following| Ok(following.rest())),
        }
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
