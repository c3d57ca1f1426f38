//! Arrow Flight: between connectors, and Flight SQL for an organisation's own tools.

mod answer;
pub mod local;
mod metadata;
pub mod peer;
mod taken;
