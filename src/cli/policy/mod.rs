//! `perron policy`: what a policy says, what carries it out, and what it decides. Works on files; no
//! process need run.

mod check;
mod evaluate;
mod table;

pub use table::{print_table, table_json};

use crate::cli::Output;
use crate::cli::args::PolicyVerb;
use crate::connector::state::payload_of;
use perron_model::agreement::Envelope;
use perron_model::limits::POLICY_BYTES_MAX;
use perron_model::policy::odrl;
use perron_model::{Error, ErrorCode, Result};
use serde_json::Value as Json;
use std::io::Read;
use std::path::Path;

/// Largest file of RDF that is read, in bytes.
const RDF_FILE_BYTES_MAX: usize = 1024 * 1024;

pub fn run(verb: PolicyVerb, output: &Output) -> Result<()> {
    match verb {
        PolicyVerb::Check(args) => check::check(&args, output),
        PolicyVerb::Coverage { file } => table::coverage(&file, output),
        PolicyVerb::Evaluate(args) => evaluate::evaluate(&args, output),
    }
}

/// A file's bytes, up to a bound.
fn bytes(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let unreadable = |_| Error::new(ErrorCode::NotFound, format!("`{}` can't be read", path.display()));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.by_ref().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err(Error::new(ErrorCode::TooLarge, format!("`{}` is over {bytes_max} bytes", path.display())));
    }
    Ok(bytes)
}

/// Is it JSON rather than Turtle?
fn is_json(text: &[u8]) -> bool {
    text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

/// A policy's document, of JSON or Turtle, with what the reading of its bytes checks. Of an
/// agreement's envelope it is the policy that was signed; whether the signatures are good,
/// `perron agreement verify` says.
fn document(path: &Path) -> Result<Json> {
    let text = bytes(path, RDF_FILE_BYTES_MAX)?;
    if !is_json(&text) {
        return perron_odrl::policy_json(&perron_odrl::Rdf::read(&text)?);
    }
    let policy = match serde_json::from_slice::<Envelope>(&text) {
        Ok(envelope) => return Ok(payload_of(&envelope.agreement)?.offer.policy),
        Err(_) if text.len() > POLICY_BYTES_MAX => {
            return Err(Error::new(ErrorCode::TooLarge, format!("a policy of over {POLICY_BYTES_MAX} bytes")));
        }
        Err(_) => odrl::read(&text)?,
    };
    if ["permission", "prohibition", "obligation"].iter().all(|rules| policy.get(rules).is_none()) {
        let why = format!("`{}` is neither a policy nor an agreement: it has no rules", path.display());
        return Err(Error::new(ErrorCode::TermInvalid, why));
    }
    Ok(policy)
}
