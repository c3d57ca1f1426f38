//! The use cases: catalogue, negotiation, agreement, reads, users.
