//! `perron key`.

use crate::api::grpc::admin::Command;
use crate::cli::args::KeyVerb;
use crate::cli::init::read_register;
use crate::cli::output::say;
use crate::cli::serve::lock;
use crate::cli::{Output, client};
use crate::files::write_file;
use crate::ledger::SystemClock;
use crate::messages::text;
use crate::settings::Config;
use crate::trust::keyring::make_for_lost;
use crate::trust::renewal::KeyReplacement;
use perron_gate::Clock;
use perron_model::Result;
use serde_json::Value as Json;

pub fn run(verb: KeyVerb, output: &Output) -> Result<()> {
    match verb {
        KeyVerb::List(dir) => {
            let keys = client::execute(&dir.dir, &Command::KeyList {})?;
            if output.json {
                output.answer(&keys);
            } else {
                keys.as_array().into_iter().flatten().for_each(|key| describe(key, output));
            }
            Ok(())
        }
        KeyVerb::Rotate { dir, key, overlap } => {
            let command = Command::KeyRotate { key_use: key.into(), overlap_s: overlap };
            let changed = client::execute(&dir.dir, &command)?;
            if output.json {
                output.answer(&changed);
                return Ok(());
            }
            let parts = ["use", "old", "new", "register"].map(|name| (name, word(&changed, name)));
            let parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
            output.say("key.rotated", &parts);
            Ok(())
        }
        KeyVerb::Make { dir, key, out } => {
            let directory = &dir.dir;
            let _lock = lock(directory)?;
            let config = Config::load(directory)?;
            let register = read_register(directory)?;
            let known = register.participant(&config.participant).map(|own| own.keys.as_slice()).unwrap_or_default();
            let made = make_for_lost(&directory.join("keys"), key.into(), known)?;
            let request =
                KeyReplacement::sign(&config.space, &config.participant, key.into(), &made, SystemClock.now())?;
            write_file(&out, request.as_bytes())?;
            output.say("key.made", &[("file", &out.display().to_string()), ("thumbprint", &made.kid().to_string())]);
            Ok(())
        }
    }
}

/// One key, in words.
fn describe(key: &Json, output: &Output) {
    let standing = word(key, "standing");
    let use_word = text(output.lang, &format!("key.use.{}", word(key, "use")), &[]);
    let ends = key.get("until").is_some_and(|until| !until.is_null());
    let name = match (standing.as_str(), ends) {
        ("in-force", true) => "key.standing.in-force-until".to_owned(),
        (other, _) => format!("key.standing.{other}"),
    };
    let parts = ["key", "from", "until"].map(|name| (name, word(key, name)));
    let mut parts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (*name, part.as_str())).collect();
    parts.push(("use", &use_word));
    say!("{}", text(output.lang, &name, &parts));
    // That the old key consented is what its consent shows, not what is said of it.
    let by = match (key.get("authorised_by").and_then(Json::as_str), key.get("consent").and_then(Json::as_bool)) {
        (None | Some("enrolment"), _) => None,
        (Some("previous-key"), Some(true)) => Some("key.by.previous-key"),
        _ => Some("key.by.authority-alone"),
    };
    if let Some(by) = by {
        say!("  {}", text(output.lang, by, &[]));
    }
    if let Some(vkey) = key.get("vkey").and_then(Json::as_str) {
        say!("  {vkey}");
    }
}

fn word(value: &Json, name: &str) -> String {
    match value.get(name) {
        None | Some(Json::Null) => "–".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
