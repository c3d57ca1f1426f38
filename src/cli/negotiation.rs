//! `perron negotiation`.

use crate::api::grpc::admin::Command;
use crate::cli::args::NegotiationVerb;
use crate::cli::policy::{print_table, table_json};
use crate::cli::{Output, client};
use perron_model::{Error, ErrorCode, Result};
use serde_json::Value as Json;
use std::path::Path;

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
        NegotiationVerb::Show { dir, negotiation } => return show(&dir.dir, &negotiation, output),
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

/// One negotiation and the table of the policy on the table: what a person reads before approving.
fn show(directory: &Path, pid: &str, output: &Output) -> Result<()> {
    let all = client::execute(directory, &Command::NegotiationList { waiting: false })?;
    let named = |n: &&Json| n.get("negotiation").and_then(Json::as_str) == Some(pid);
    let mut found = all
        .as_array()
        .and_then(|all| all.iter().find(named))
        .cloned()
        .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("there is no negotiation `{pid}`")))?;
    let Some(policy) = found.pointer("/offer/policy").cloned() else {
        output.answer(&found);
        return Ok(());
    };
    if output.json {
        let table = table_json(&policy, output.lang)?;
        if let Some(members) = found.as_object_mut() {
            members.insert("coverage".to_owned(), table);
        }
        output.answer(&found);
        return Ok(());
    }
    output.answer(&found);
    print_table(&policy, output)
}
