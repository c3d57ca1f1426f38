//! gRPC between connectors and for an organisation's own command line.

pub mod admin;
pub mod channels;
pub mod client;
pub mod convert;
pub mod guard;
pub mod server;
pub mod services;
