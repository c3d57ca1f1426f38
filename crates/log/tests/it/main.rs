//! Tests of the log: other people's cases, properties, crashes, tampering.
mod conformance;
mod crash;
mod extent;
mod notes;
mod parsing;
mod prune;
mod rotation;
mod scrub;
mod support;
mod tamper;
mod tessera;
mod tree;
mod writing;
