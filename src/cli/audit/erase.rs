//! `perron audit erase`: the keys of sealed values go, under a ground that the log tells.

use crate::api::grpc::admin::Command;
use crate::cli::args::EraseArgs;
use crate::cli::{Output, client};
use crate::connector::erasure::{EraseAsked, EraseDone};
use crate::messages::text;
use perron_model::{Error, ErrorCode, Result};
use std::path::Path;

/// Erases until nothing more fits: one erasure is bounded, and each is told with its entry.
pub(super) fn run(dir: &Path, args: EraseArgs, output: &Output) -> Result<()> {
    let asked = EraseAsked {
        entries: args.entries,
        user: args.user,
        agreement: args.agreement,
        since: args.since,
        until: args.until,
        ground: args.ground,
    };
    loop {
        let done: EraseDone = client::ask(dir, &Command::AuditErase { asked: Box::new(asked.clone()) })?;
        tell(&done, output)?;
        if !done.more {
            return Ok(());
        }
    }
}

fn tell(done: &EraseDone, output: &Output) -> Result<()> {
    if output.json {
        let answer = serde_json::to_value(done);
        output.answer(&answer.map_err(|_| Error::new(ErrorCode::Internal, "an answer can't be written"))?);
        return Ok(());
    }
    let ground = text(output.lang, &format!("ground.{}", done.ground.as_str()), &[]);
    let (values, entry) = (done.values.to_string(), done.entry.to_string());
    let (until, agreements) = (done.undone_until.to_string(), done.agreements.len().to_string());
    output.say("erase.done", &[("values", &values), ("ground", &ground), ("entry", &entry), ("until", &until)]);
    output.say("erase.told", &[("agreements", &agreements)]);
    if done.user_removed {
        output.say("erase.user", &[]);
    }
    Ok(())
}
