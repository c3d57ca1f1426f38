//! What is derived from the log, in sled.
