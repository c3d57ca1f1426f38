//! Appending to the log: one writer, group commit.
