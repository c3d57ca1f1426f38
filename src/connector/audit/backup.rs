//! What a copy of a running log may hold: what is durable, and nothing past it.

use crate::connector::node::Node;
use perron_model::{Result, canonical};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The segment files of a log up to one durable checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupExtent {
    /// Entries of its tree.
    pub size: u64,
    /// The files, in order.
    pub segments: Vec<BackupSegment>,
}

/// A segment file as far as it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSegment {
    /// Its first entry, which names it.
    pub first_leaf: u64,
    /// Its bytes up to the checkpoint's record.
    pub bytes: u64,
}

impl BackupExtent {
    /// Of what a reader sees now.
    pub fn of(reader: &perron_log::LogReader) -> BackupExtent {
        let extent = reader.extent();
        let segment = |s: perron_log::SegmentExtent| BackupSegment { first_leaf: s.first_leaf, bytes: s.bytes };
        BackupExtent { size: extent.size, segments: extent.segments.into_iter().map(segment).collect() }
    }
}

impl Node {
    /// What a copy may hold. That one is made is an entry, and in the copy.
    pub async fn backup_extent(&self, actor: &str) -> Result<BackupExtent> {
        self.administer("backup", actor, canonical::to_bytes(&json!({"from": self.ledger.origin()}))?).await?;
        Ok(BackupExtent::of(self.ledger.reader()))
    }
}
