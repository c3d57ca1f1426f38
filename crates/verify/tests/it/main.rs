//! Real small logs of two parties: verified, tampered with, convicted.

mod bindings;
mod cli;
mod erasures;
mod files;
mod honest;
mod kept;
mod keys;
mod log_queries;
mod notices;
mod page;
mod policy;
mod pruning;
mod receipts;
mod second;
mod semantics;
mod succession;
mod support;
mod tessera;
mod world;
