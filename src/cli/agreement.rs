//! `perron agreement`.

use crate::api::grpc::admin::Command;
use crate::cli::args::AgreementVerb;
use crate::cli::output::say;
use crate::cli::policy::{print_table, table_json};
use crate::cli::{Output, client};
use crate::connector::state::payload_of;
use crate::trust::envelope::verify_envelope_bytes;
use perron_model::agreement::Envelope;
use perron_model::participant::PublicKey;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde_json::{Value as Json, json};
use std::path::Path;

pub fn run(verb: AgreementVerb, output: &Output) -> Result<()> {
    match verb {
        AgreementVerb::List { dir, waiting } => {
            let listed = client::execute(&dir.dir, &Command::AgreementList {})?;
            output.answer(&if waiting { those_that_wait(listed) } else { listed });
            Ok(())
        }
        AgreementVerb::Show { dir, agreement, history: true, .. } => {
            client::print(&dir.dir, &Command::AgreementHistory { id: agreement }, output)
        }
        AgreementVerb::Suspend { dir, agreement, reason } => {
            client::print(&dir.dir, &Command::AgreementSuspend { id: agreement, reason }, output)
        }
        AgreementVerb::Resume { dir, agreement } => {
            client::print(&dir.dir, &Command::AgreementResume { id: agreement }, output)
        }
        AgreementVerb::Refuse { dir, agreement, reason } => {
            client::print(&dir.dir, &Command::AgreementRefuse { id: agreement, reason }, output)
        }
        AgreementVerb::Revoke { dir, agreement, reason } => {
            client::print(&dir.dir, &Command::AgreementRevoke { id: agreement, reason }, output)
        }
        AgreementVerb::Amend { dir, agreement, policy } => {
            let policy = client::read_policy(&policy)?;
            client::print(&dir.dir, &Command::AgreementAmend { id: agreement, policy }, output)
        }
        AgreementVerb::Duties { dir, agreement } => {
            client::print(&dir.dir, &Command::AgreementDuties { id: agreement }, output)
        }
        AgreementVerb::Fulfil { dir, agreement, duty, evidence, file } => {
            let file = file.as_deref().map(digest_of_file).transpose()?;
            client::print(&dir.dir, &Command::AgreementFulfil { id: agreement, duty, evidence, file }, output)
        }
        AgreementVerb::Show { dir, agreement, history: false, terms } => {
            let envelope = client::execute(&dir.dir, &Command::AgreementShow { id: agreement })?;
            if terms {
                return table(&policy_of(&envelope)?, output);
            }
            // The bytes as they are signed and kept: they can be verified as printed.
            say!("{}", String::from_utf8_lossy(&perron_model::canonical::to_bytes(&envelope)?));
            Ok(())
        }
        AgreementVerb::Verify { file, authority } => {
            let bytes = client::read(&file)?;
            let verified = verify_envelope_bytes(bytes.trim_end().as_bytes(), &authority_key(&authority)?)?;
            let payload = verified.payload();
            let mut answer = json!({
                "agreement": verified.id(),
                "provider": payload.provider,
                "consumer": payload.consumer,
                "dataset": payload.offer.dataset,
                "signed": payload.timestamp,
                "valid": true,
            });
            if output.json {
                let coverage = table_json(&payload.offer.policy, output.lang)?;
                if let Some(members) = answer.as_object_mut() {
                    members.insert("coverage".to_owned(), coverage);
                }
                output.answer(&answer);
                return Ok(());
            }
            output.answer(&answer);
            print_table(&payload.offer.policy, output)
        }
    }
}

/// The table of a policy's terms, for people or machines.
fn table(policy: &Json, output: &Output) -> Result<()> {
    if output.json {
        output.answer(&table_json(policy, output.lang)?);
        return Ok(());
    }
    print_table(policy, output)
}

/// The policy that was signed.
fn policy_of(envelope: &Json) -> Result<Json> {
    let envelope: Envelope =
        serde_json::from_value(envelope.clone()).map_err(|_| Error::malformed("the envelope can't be read"))?;
    Ok(payload_of(&envelope.agreement)?.offer.policy)
}

fn digest_of_file(path: &Path) -> Result<Digest> {
    let bytes = std::fs::read(path)
        .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be read", path.display())))?;
    Ok(Digest::of(&bytes))
}

/// Those about which the other side has proposed something.
fn those_that_wait(listed: Json) -> Json {
    let Json::Array(all) = listed else { return listed };
    Json::Array(all.into_iter().filter(|a| a.get("waiting").and_then(Json::as_bool) == Some(true)).collect())
}

/// The authority's key: 43 characters, or a file that holds them.
fn authority_key(text: &str) -> Result<PublicKey> {
    let text = if Path::new(text).is_file() { client::read(Path::new(text))? } else { text.to_owned() };
    PublicKey::try_from(text.trim().to_owned())
        .map_err(|e| Error::new(ErrorCode::KeyInvalid, format!("the authority's key: {}", e.detail)))
}
