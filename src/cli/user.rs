//! `perron user`.

use crate::api::grpc::admin::Command;
use crate::cli::args::UserVerb;
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::connector::users::Credential;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde_json::json;

pub fn run(verb: UserVerb, output: &Output) -> Result<()> {
    match verb {
        UserVerb::Add { dir, name, roles, purposes, agreements, uid, certificate, token } => {
            let mut made = None;
            let credential = match (uid, certificate, token) {
                (Some(uid), _, _) => Credential::Uid(uid),
                (None, Some(file), _) => Credential::Certificate(crate::trust::ca::digest_of(&client::read(&file)?)?),
                (None, None, true) => {
                    let text = token_text()?;
                    let digest = Digest::of(text.as_bytes());
                    made = Some(text);
                    Credential::Token(digest)
                }
                (None, None, false) => {
                    return Err(Error::malformed(
                        "one of --uid, --certificate and --token says how the user shows who they are",
                    ));
                }
            };
            client::execute(&dir.dir, &Command::UserAdd { name, roles, purposes, agreements, credential })?;
            match made {
                Some(token) if output.json => output.answer(&json!({ "token": token })),
                Some(token) => say!("{token}"),
                None => output.answer(&json!({})),
            }
            Ok(())
        }
        UserVerb::Resolve { dir, pseudonym, reason } => {
            client::print(&dir.dir, &Command::UserResolve { pseudonym, reason }, output)
        }
        UserVerb::List(dir) => client::print(&dir.dir, &Command::UserList {}, output),
    }
}

/// 256 random bits as text; only its digest is kept.
fn token_text() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(ErrorCode::Internal, "the system gave no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
