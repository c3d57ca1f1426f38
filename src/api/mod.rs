//! The wires: one folder each. No business rule lives here.
