//! `perron retention`, and `perron audit prune`.

use crate::api::grpc::admin::Command;
use crate::cli::args::RetentionVerb;
use crate::cli::{Output, client};
use perron_model::{Error, Result};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

pub fn run(verb: RetentionVerb, output: &Output) -> Result<()> {
    match verb {
        RetentionVerb::Set { dir, default_days, activities } => {
            let count = activities.len();
            let activities: BTreeMap<_, _> = activities.into_iter().collect();
            if activities.len() < count {
                return Err(Error::malformed("an activity is named twice"));
            }
            client::print(&dir.dir, &Command::RetentionSet { default_days, activities }, output)
        }
        RetentionVerb::Show(dir) => client::print(&dir.dir, &Command::RetentionShow {}, output),
    }
}

/// Prunes, or tells what would go.
pub fn prune(dir: &Path, dry_run: bool, output: &Output) -> Result<()> {
    let told = client::execute(dir, &Command::AuditPrune { dry_run })?;
    if output.json {
        output.answer(&told);
        return Ok(());
    }
    let number = |value: &Json, name: &str| value.get(name).and_then(Json::as_u64).unwrap_or(0).to_string();
    for group in told.get("groups").and_then(Json::as_array).into_iter().flatten() {
        let activity = group.get("activity").and_then(Json::as_str).unwrap_or("–");
        let kinds: Vec<String> = group
            .get("kinds")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let (days, entries, kinds) = (number(group, "days"), number(group, "entries"), kinds.join(", "));
        let parts = [("activity", activity), ("days", &*days), ("entries", &*entries), ("kinds", &*kinds)];
        output.say("prune.group", &parts);
    }
    let (rule, entries, bytes) = (number(&told, "rule"), number(&told, "entries"), number(&told, "bytes"));
    let parts = [("rule", &*rule), ("entries", &*entries), ("bytes", &*bytes)];
    output.say(if told.get("entry").is_some() { "prune.done" } else { "prune.would" }, &parts);
    if told.get("more").and_then(Json::as_bool) == Some(true) {
        output.say("prune.more", &[]);
    }
    Ok(())
}
