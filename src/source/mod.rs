//! Published sets and their immutable snapshots.
//!
//! A file of the owner (CSV or Parquet) is read as its owner describes it, checked against the
//! set's declared columns, and kept as Parquet parts named by their SHA-256. A snapshot is a list
//! of parts; it never changes. This room knows nothing of policies.

mod csv;
mod parquet;
mod part;
mod schema;
mod sets;
mod values;

pub use csv::{CsvFormat, Encoding};
pub use part::Part;
pub(crate) use part::{PartCache, PartWriter};
pub use schema::{arrow_type, dataset_schema};
pub use sets::Sets;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file of the owner, and how it is to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// How it is written.
    pub format: SourceFormat,
    /// Where the file's name of a column is another than the set's. Columns left out here are
    /// looked up under their own name.
    #[serde(default)]
    pub columns: Vec<ColumnHeader>,
}

/// How a file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum SourceFormat {
    /// Text with separators.
    Csv(CsvFormat),
    /// Apache Parquet.
    Parquet,
}

/// The file's name of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnHeader {
    /// Name of the set's column.
    pub name: String,
    /// Name in the file; the same when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

impl SourceFile {
    /// The file's name of the set's column `name`.
    pub(crate) fn header_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.columns.iter().find(|c| c.name == name).and_then(|c| c.header.as_deref()).unwrap_or(name)
    }
}
