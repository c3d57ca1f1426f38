//! Keys, certificates, TLS, JWS, the signed register, the one dialer.
//!
//! - `keys`: an organisation's private keys, one for each use, in files that only it can read;
//!   `keyring`: which of them sign, by the register, while one is changed.
//! - `jws`: the only place that knows josekit; strict where josekit is not.
//! - `ca`: the data space's certificates; `enrolment`, `renewal`: the documents by which one
//!   joins and stays.
//! - `authority` writes and `register` reads: signed, numbered, chained versions of who is in the data space.
//! - `envelope`: an agreement with what proves it to anyone who has the authority's key.
//! - `tls`: mutual TLS 1.3 and nothing else; `dialer`: the one way out, default deny; `collector`,
//!   `witnesses`: where else the configuration lets it go.
//!
//! Nothing here reads a clock of its own (rustls checks certificates against the system's);
//! nothing here knows of gRPC or storage engines.

pub mod authority;
pub mod ca;
pub mod collector;
pub mod dialer;
pub mod enrolment;
pub mod envelope;
pub mod jws;
pub mod keyring;
pub mod keys;
pub mod register;
pub mod renewal;
pub mod succession;
pub mod tls;
mod user_tls;
pub mod witnesses;

#[cfg(test)]
mod boundary_tests;
#[cfg(test)]
pub(crate) mod testing;
