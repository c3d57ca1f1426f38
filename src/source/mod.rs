//! Published sets and their immutable snapshots.
