//! Real small logs of two parties: verified, tampered with, convicted.

mod cli;
mod files;
mod honest;
mod kept;
mod notices;
mod page;
mod semantics;
mod support;
mod world;
