//! Bounds of what is read here. The gate reads none of it; a person at a command line does.

/// Largest Turtle document, in bytes.
pub const RDF_BYTES_MAX: usize = 1024 * 1024;
/// Most triples of one document.
pub const RDF_TRIPLES_MAX: usize = 20_000;
/// Longest IRI, in bytes.
pub const IRI_BYTES_MAX: usize = 2_048;
/// Deepest nesting of rules, constraints and lists when a policy is unfolded, in levels.
pub const RDF_DEPTH_MAX: usize = 32;
/// Most nodes of an unfolded policy: a node that is named in two places counts twice.
pub const RDF_NODES_MAX: usize = 8_192;
/// Most rules of one request.
pub const REQUEST_RULES_MAX: usize = 64;
/// Most facts of one state of the world.
pub const FACTS_MAX: usize = 1_000;
