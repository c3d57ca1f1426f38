//! `perron agreement`.

use crate::api::grpc::admin::Command;
use crate::cli::args::AgreementVerb;
use crate::cli::policy::{print_table, table_json};
use crate::cli::{Output, client};
use crate::connector::state::payload_of;
use crate::trust::envelope::verify_envelope_bytes;
use perron_model::agreement::Envelope;
use perron_model::participant::PublicKey;
use perron_model::{Error, ErrorCode, Result};
use serde_json::{Value as Json, json};
use std::path::Path;

pub fn run(verb: AgreementVerb, output: &Output) -> Result<()> {
    match verb {
        AgreementVerb::List(dir) => client::print(&dir.dir, &Command::AgreementList {}, output),
        AgreementVerb::Show { dir, agreement, terms } => {
            let envelope = client::execute(&dir.dir, &Command::AgreementShow { id: agreement })?;
            if terms {
                return table(&policy_of(&envelope)?, output);
            }
            // The bytes as they are signed and kept: they can be verified as printed.
            println!("{}", String::from_utf8_lossy(&perron_model::canonical::to_bytes(&envelope)?));
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

/// The authority's key: 43 characters, or a file that holds them.
fn authority_key(text: &str) -> Result<PublicKey> {
    let text = if Path::new(text).is_file() { client::read(Path::new(text))? } else { text.to_owned() };
    PublicKey::try_from(text.trim().to_owned())
        .map_err(|e| Error::new(ErrorCode::KeyInvalid, format!("the authority's key: {}", e.detail)))
}
