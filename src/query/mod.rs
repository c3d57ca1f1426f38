//! Runs a statement over what a grant allows. DataFusion is here and in `source` alone.
//!
//! A statement is judged on its text and syntax (`statement`, `walk`), planned in a session that
//! holds one table and the functions of `functions`, and run over either the barrier of a row view
//! (`view`) or a released table (`release`). Nothing runs without a grant of the gate.

mod choices;
mod decoded;
mod engine;
mod errors;
mod export;
mod functions;
mod guard;
mod lanes;
mod log;
mod memory;
mod passing;
mod release;
mod run;
mod statement;
mod view;
mod walk;

#[cfg(test)]
mod museum_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
pub(crate) mod testing;

/// Batches and schemas of answers: the one Arrow of this program.
pub use datafusion::arrow;
pub use engine::{QueryEngine, QuerySettings};
pub use export::write_parquet;
pub use functions::function_names;
pub use log::{LogScan, LogTables};
pub use release::{Released, Releases};
pub use run::RowStream;
pub use statement::TABLE_ALIAS;
