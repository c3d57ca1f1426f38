//! `perron store`: what is derived from the log, made anew.

use crate::cli::Output;
use crate::cli::args::StoreVerb;
use crate::cli::serve::lock;
use perron_model::{Error, ErrorCode, Result};
use serde_json::json;

/// Directory of what is derived, within an organisation's directory.
const STATE: &str = "state";

pub fn run(verb: StoreVerb, output: &Output) -> Result<()> {
    let StoreVerb::Rebuild(dir) = verb;
    // Under the lock: a process that serves the directory keeps it.
    let _lock = lock(&dir.dir)?;
    match std::fs::remove_dir_all(dir.dir.join(STATE)) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(_) => return Err(Error::new(ErrorCode::Internal, "the store can't be removed")),
    }
    // The next start finds no store, and applies the log from its beginning.
    if output.json {
        output.answer(&json!({}));
    } else {
        output.say("store.rebuilt", &[]);
    }
    Ok(())
}
