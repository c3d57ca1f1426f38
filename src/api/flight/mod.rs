//! Arrow Flight: between connectors, and Flight SQL for an organisation's own tools.

mod answer;
pub mod local;
pub mod peer;
mod taken;
