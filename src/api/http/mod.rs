//! HTTPS for programs of other makes: the witness and the log, as C2SP's tlog-witness and tlog-tiles
//! have them; and the same wire to the witnesses of others.

mod answers;
pub mod client;
pub mod server;
