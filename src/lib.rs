//! Perron: a sovereign data-space connector. `docs/ARCHITECTURE.md` is the map.

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod connector;
pub mod export;
pub mod files;
pub mod ledger;
pub mod messages;
pub mod page;
pub mod phases;
pub mod policy;
pub mod query;
pub mod settings;
pub mod source;
pub mod store;
pub mod trust;
pub mod vault;
