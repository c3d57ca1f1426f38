//! `perron negotiation`.

use crate::api::grpc::admin::Command;
use crate::cli::args::NegotiationVerb;
use crate::cli::{Output, client};
use perron_model::Result;

pub fn run(verb: NegotiationVerb, output: &Output) -> Result<()> {
    let (dir, command) = match verb {
        NegotiationVerb::Request { dir, provider, offer, policy } => (
            dir,
            Command::NegotiationRequest {
                provider,
                offer,
                policy: policy.map(|p| client::read_policy(&p)).transpose()?,
            },
        ),
        NegotiationVerb::List { dir, waiting } => (dir, Command::NegotiationList { waiting }),
        NegotiationVerb::Wait { dir, negotiation, seconds } => {
            (dir, Command::NegotiationWait { pid: negotiation, seconds })
        }
        NegotiationVerb::Approve { dir, negotiation } => (dir, Command::NegotiationApprove { pid: negotiation }),
        NegotiationVerb::Refuse { dir, negotiation, reason } => {
            (dir, Command::NegotiationRefuse { pid: negotiation, reason })
        }
        NegotiationVerb::Counter { dir, negotiation, policy } => {
            (dir, Command::NegotiationCounter { pid: negotiation, policy: client::read_policy(&policy)? })
        }
    };
    client::print(&dir.dir, &command, output)
}
