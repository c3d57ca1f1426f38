//! The one gate: ground and request → state → decision → durable entry → grant.
//!
//! Only this crate makes an [`AccessGrant`], a [`ReleaseGrant`] or a [`LogGrant`], and only a grant
//! runs a statement. What the gate needs of the world comes in through the ports; it knows neither
//! DataFusion, nor wasm, nor gRPC.

#![forbid(unsafe_code)]

mod gate;
mod grant;
mod ports;

pub use gate::ASK_LOG;
pub use gate::{Denied, Gate};
pub use grant::{AccessGrant, Ground, LogGrant, LogSchemaGrant, ReleaseGrant, SchemaGrant, Stop};
pub use ports::{
    AgreementInForce, Agreements, Clock, DecisionRecord, Evaluated, Known, Ledger, LogQueryRecord, LogRequest, Policy,
    Recorded, Register, Standing, VerifiedRequest,
};
