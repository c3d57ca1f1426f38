//! `perron negotiation`.

use crate::api::grpc::admin::Command;
use crate::cli::args::NegotiationVerb;
use crate::cli::policy::{print_table, table_json};
use crate::cli::{Output, client};
use perron_model::{Digest, Error, ErrorCode, Result, canonical};
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
        NegotiationVerb::Show { dir, negotiation } => {
            let found = named(&dir.dir, &negotiation)?;
            return with_table(&found, policy_of(&found), output);
        }
        NegotiationVerb::Wait { dir, negotiation, seconds } => {
            (dir, Command::NegotiationWait { pid: negotiation, seconds })
        }
        NegotiationVerb::Approve { dir, negotiation } => return approve(&dir.dir, negotiation, output),
        NegotiationVerb::Refuse { dir, negotiation, reason } => {
            (dir, Command::NegotiationRefuse { pid: negotiation, reason })
        }
        NegotiationVerb::Counter { dir, negotiation, policy } => {
            (dir, Command::NegotiationCounter { pid: negotiation, policy: client::read_policy(&policy)? })
        }
    };
    client::print(&dir.dir, &command, output)
}

/// Approves exactly the policy whose table is printed.
fn approve(directory: &Path, pid: String, output: &Output) -> Result<()> {
    let found = named(directory, &pid)?;
    let policy = policy_of(&found).ok_or_else(|| {
        Error::new(ErrorCode::TransitionIllegal, format!("no policy is on the table of negotiation `{pid}`"))
    })?;
    let shown = Digest::of(&canonical::to_bytes(policy)?);
    let answer = client::execute(directory, &Command::NegotiationApprove { pid, shown })?;
    with_table(&answer, Some(policy), output)
}

/// One negotiation of the directory.
fn named(directory: &Path, pid: &str) -> Result<Json> {
    let all = client::execute(directory, &Command::NegotiationList { waiting: false })?;
    let is_named = |n: &&Json| n.get("negotiation").and_then(Json::as_str) == Some(pid);
    all.as_array()
        .and_then(|all| all.iter().find(is_named))
        .cloned()
        .ok_or_else(|| Error::new(ErrorCode::NotFound, "no negotiation of this number"))
}

fn policy_of(negotiation: &Json) -> Option<&Json> {
    negotiation.pointer("/offer/policy")
}

/// An answer, and the table of a policy's terms: what a person reads who approves it.
fn with_table(answer: &Json, policy: Option<&Json>, output: &Output) -> Result<()> {
    let Some(policy) = policy else {
        output.answer(answer);
        return Ok(());
    };
    if output.json {
        let mut answer = answer.clone();
        if let Some(members) = answer.as_object_mut() {
            members.insert("coverage".to_owned(), table_json(policy, output.lang)?);
        }
        output.answer(&answer);
        return Ok(());
    }
    output.answer(answer);
    print_table(policy, output)
}
