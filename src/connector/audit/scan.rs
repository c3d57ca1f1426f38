//! The entries of an agreement's chain, looked up in the log for a folder.

use crate::connector::{FolderDocument, FolderScope};
use perron_log::merkle::leaf_hash;
use perron_log::{LogReader, Stored, StoredEntry};
use perron_model::entry::Entry;
use perron_model::limits::{AUDIT_FOLDER_BYTES_MAX, AUDIT_FOLDER_ENTRIES_MAX, AUDIT_FOLDER_LOOKED_AT_MAX};
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp};

/// The entries of an agreement's chain that fall into a period.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The entries, in the order of the chain.
    pub entries: Vec<StoredEntry>,
    // After the last that falls into it; they count if another one comes that does.
    after: Vec<StoredEntry>,
    first: u64,
    chain: u64,
    head: Option<Digest>,
    bytes: usize,
    is_over: bool,
    // Pruned entries: whether some came since the last whole one, and the time of the one after.
    gone: bool,
    gone_until: Option<Timestamp>,
    is_torn: bool,
}

impl Scan {
    /// Looks through the log.
    pub fn of(reader: &LogReader, scope: &FolderScope) -> Result<Scan> {
        let size = reader.size();
        if size > AUDIT_FOLDER_LOOKED_AT_MAX {
            let detail = format!("the log has {size} entries, and a folder looks at {AUDIT_FOLDER_LOOKED_AT_MAX}");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        let (mut scan, mut failed) = (Scan::default(), None);
        let visited = reader.for_entries(0, size, &mut |stored| {
            let Stored::Entry(stored) = stored else {
                scan.gone = true;
                return true;
            };
            match Entry::from_bytes(&stored.leaf) {
                Ok(entry) => {
                    scan.take(&entry, stored, scope);
                    !scan.is_over && !scan.is_torn
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        visited.map_err(|e| unreadable(e.to_string()))?;
        if let Some(error) = failed {
            return Err(error);
        }
        if scan.is_torn {
            let from = scan.gone_until.map_or_else(String::new, |t| format!(": begin with --since after {t}"));
            let detail = format!("entries of the agreement's chain within the period were pruned{from}");
            return Err(Error::new(ErrorCode::EntryPruned, detail));
        }
        if scan.is_over {
            let detail = format!(
                "the period has more than {AUDIT_FOLDER_ENTRIES_MAX} entries or {AUDIT_FOLDER_BYTES_MAX} bytes of them: \
                 narrow it with --since and --until"
            );
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        Ok(scan)
    }

    fn take(&mut self, entry: &Entry, stored: StoredEntry, scope: &FolderScope) {
        if std::mem::take(&mut self.gone) {
            self.gone_until = Some(entry.time);
        }
        let Some(chain) = entry.chain.as_ref().filter(|c| c.agreement == scope.agreement) else { return };
        if chain.number > self.chain {
            // Between two entries of the folder, or so that they may fall into its period.
            let may_fit = scope.since.is_none_or(|since| self.gone_until.is_none_or(|until| since <= until));
            self.is_torn |= may_fit || !self.entries.is_empty();
        }
        (self.chain, self.head) = (chain.number.saturating_add(1), Some(Digest::from_bytes(leaf_hash(&stored.leaf).0)));
        let fits = scope.since.is_none_or(|t| entry.time >= t) && scope.until.is_none_or(|t| entry.time < t);
        if !fits && self.entries.is_empty() {
            return;
        }
        if self.entries.is_empty() {
            self.first = chain.number;
        }
        if !fits {
            // Past the bound it is enough to know that they would be too many.
            if self.after.len() <= AUDIT_FOLDER_ENTRIES_MAX {
                self.after.push(stored);
            }
            return;
        }
        self.after.push(stored);
        for stored in self.after.drain(..) {
            let kept: usize = stored.attachments.iter().map(|a| a.bytes.len()).sum();
            // The proof is at most 64 hashes.
            self.bytes = self.bytes.saturating_add(stored.leaf.len() + kept + 64 * 32);
            self.entries.push(stored);
        }
        self.is_over = self.entries.len() > AUDIT_FOLDER_ENTRIES_MAX || self.bytes > AUDIT_FOLDER_BYTES_MAX;
    }

    /// What the entry says that tells of a folder of these entries.
    pub fn document(&self, scope: FolderScope) -> Result<FolderDocument> {
        let empty = || Error::new(ErrorCode::NotFound, "the agreement has no entry within this period");
        let head = self.head.filter(|_| !self.entries.is_empty()).ok_or_else(empty)?;
        let entries = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        Ok(FolderDocument { scope, chain: self.chain, head, first: self.first, entries })
    }
}

fn unreadable(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::LogUnavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_log::Attachment;
    use perron_model::Timestamp;
    use perron_model::entry::{Body, ChainPosition, SchemaGrant};

    /// An entry of this number in the chain of `name`, at this second.
    fn entry(name: &[u8], number: usize, second: usize, attached: usize) -> (Entry, StoredEntry) {
        let (index, second) = (u64::try_from(number).unwrap(), i64::try_from(second).unwrap());
        let chain = ChainPosition { agreement: Digest::of(name), number: index, previous: None };
        let entry = Entry {
            version: 1,
            index,
            time: Timestamp::from_millis(second * 1_000).unwrap(),
            previous: None,
            blind: [0; 16].into(),
            chain: Some(chain),
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body: Body::SchemaGrant(SchemaGrant { peer: "x".to_owned(), hour: 0 }),
        };
        let attachments = vec![Attachment { kind: 10, bytes: vec![0; attached] }];
        let stored = StoredEntry { index, leaf: entry.to_bytes().unwrap(), attachments };
        (entry, stored)
    }

    fn scope(since: Option<i64>, until: Option<i64>) -> FolderScope {
        let time = |second: i64| Timestamp::from_millis(second * 1_000).unwrap();
        FolderScope { agreement: Digest::of(b"a"), since: since.map(time), until: until.map(time) }
    }

    fn scanned(scope: &FolderScope, seconds: impl Iterator<Item = usize>, attached: usize) -> Scan {
        let mut scan = Scan::default();
        for (number, second) in seconds.enumerate() {
            for name in [b"a".as_slice(), b"another"] {
                let (entry, stored) = entry(name, number, second, attached);
                scan.take(&entry, stored, scope);
            }
        }
        scan
    }

    #[test]
    fn a_period_has_its_entries_without_a_gap() {
        let all = scanned(&scope(None, None), 0..10, 0).document(scope(None, None)).unwrap();
        assert_eq!((all.chain, all.first, all.entries), (10, 0, 10));
        let some = scope(Some(3), Some(7));
        let found = scanned(&some, 0..10, 0).document(some).unwrap();
        assert_eq!((found.chain, found.first, found.entries), (10, 3, 4));
        // A clock that went back: what lies between counts with what it lies between.
        let before = scope(None, Some(5));
        let found = scanned(&before, [1, 2, 8, 9, 3, 4, 9].into_iter(), 0);
        assert_eq!(found.entries.iter().map(|e| e.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let none = scope(Some(20), None);
        assert_eq!(scanned(&none, 0..10, 0).document(none).unwrap_err().code, ErrorCode::NotFound);
    }

    #[test]
    fn a_page_has_so_many_entries_and_bytes_at_the_most() {
        let scanned = |count, attached| scanned(&scope(None, None), 0..count, attached).is_over;
        assert!(!scanned(AUDIT_FOLDER_ENTRIES_MAX, 0));
        assert!(scanned(AUDIT_FOLDER_ENTRIES_MAX + 1, 0));
        assert!(!scanned(10, AUDIT_FOLDER_BYTES_MAX / 12));
        assert!(scanned(13, AUDIT_FOLDER_BYTES_MAX / 12));
    }
}
