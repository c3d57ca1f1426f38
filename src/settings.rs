//! Typed settings that rooms take.
