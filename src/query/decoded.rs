//! Row groups of snapshots as they lie in memory once decoded, for the reads that come next.
//!
//! Parts never change, so what was decoded stays true. Kept are whole row groups with the columns
//! that a view reads, before its filter and masks: each read filters and masks for itself.

use crate::source::Part;
use datafusion::arrow::record_batch::RecordBatch;
use perron_model::limits::DECODED_BYTES_MAX;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names decoded columns of a row group.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupName {
    part: PathBuf,
    group: usize,
    columns: Vec<usize>,
}

impl GroupName {
    /// Columns of a row group of a part, by their places in the set.
    pub(super) fn new(part: &Part, group: usize, columns: &[usize]) -> GroupName {
        GroupName { part: part.path.clone(), group, columns: columns.to_vec() }
    }
}

struct Group {
    batches: Arc<Vec<RecordBatch>>,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Kept {
    groups: HashMap<GroupName, Group>,
    bytes: usize,
    clock: u64,
}

/// Decoded row groups, up to a number of bytes; those not used for longest go first.
pub(super) struct Decoded {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

impl Default for Decoded {
    fn default() -> Decoded {
        Decoded::new(DECODED_BYTES_MAX)
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoded")
    }
}

impl Decoded {
    /// Keeps nothing.
    pub(super) fn none() -> Decoded {
        Decoded::new(0)
    }

    fn new(bytes_max: usize) -> Decoded {
        Decoded { bytes_max, kept: Mutex::default() }
    }

    /// The batches of a row group, if they are kept.
    pub(super) fn get(&self, name: &GroupName) -> Option<Arc<Vec<RecordBatch>>> {
        let mut kept = self.kept();
        kept.clock = kept.clock.wrapping_add(1);
        let now = kept.clock;
        let group = kept.groups.get_mut(name)?;
        group.used = now;
        Some(Arc::clone(&group.batches))
    }

    /// Keeps a row group, all of its batches in their order.
    pub(super) fn put(&self, name: GroupName, batches: Vec<RecordBatch>) {
        let bytes = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        // One that would push out most others isn't worth it.
        if bytes > self.bytes_max / 4 {
            return;
        }
        let mut kept = self.kept();
        kept.clock = kept.clock.wrapping_add(1);
        if let Some(before) = kept.groups.remove(&name) {
            kept.bytes = kept.bytes.saturating_sub(before.bytes);
        }
        while kept.bytes.saturating_add(bytes) > self.bytes_max {
            let oldest = kept.groups.iter().min_by_key(|(_, g)| g.used).map(|(n, _)| n.clone());
            let Some(gone) = oldest.and_then(|n| kept.groups.remove(&n)) else { break };
            kept.bytes = kept.bytes.saturating_sub(gone.bytes);
        }
        let group = Group { batches: Arc::new(batches), bytes, used: kept.clock };
        kept.groups.insert(name, group);
        kept.bytes = kept.bytes.saturating_add(bytes);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;

    fn group(number: usize) -> (GroupName, Vec<RecordBatch>) {
        let name = GroupName { part: PathBuf::from("p"), group: number, columns: vec![0] };
        let column = Arc::new(Int64Array::from(vec![number as i64; 1000])) as _;
        (name, vec![RecordBatch::try_from_iter([("a", column)]).unwrap()])
    }

    #[test]
    fn the_least_used_go_first_and_the_bound_holds() {
        let bytes = group(0).1[0].get_array_memory_size();
        let decoded = Decoded::new(bytes * 4);
        for number in 0..4 {
            let (name, batches) = group(number);
            decoded.put(name, batches);
        }
        assert!(decoded.get(&group(0).0).is_some());
        let (name, batches) = group(4);
        decoded.put(name.clone(), batches.clone());
        assert!(decoded.get(&group(1).0).is_none());
        assert!([0, 2, 3, 4].iter().all(|n| decoded.get(&group(*n).0).is_some()));
        // The same again takes no more room.
        decoded.put(name, batches);
        assert_eq!(decoded.kept().bytes, bytes * 4);
    }

    #[test]
    fn a_group_that_would_push_out_most_others_is_not_kept() {
        let (name, batches) = group(0);
        let decoded = Decoded::new(batches[0].get_array_memory_size());
        decoded.put(name.clone(), batches);
        assert!(decoded.get(&name).is_none());
    }
}
