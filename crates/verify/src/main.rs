//! `perron-verify`: the auditor's program.

#![forbid(unsafe_code)]

fn main() {}
