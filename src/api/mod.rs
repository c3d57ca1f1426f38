//! The wires: one folder each. No business rule lives here.

pub mod errors;
pub mod flight;
pub mod grpc;
pub mod http;

/// The wire contract as generated from `proto/perron/v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]
pub mod pb {
    tonic::include_proto!("perron.v1");
}
