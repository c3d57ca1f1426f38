//! `perron agreement`.

use crate::api::grpc::admin::Command;
use crate::cli::args::AgreementVerb;
use crate::cli::{Output, client};
use crate::trust::envelope::verify_envelope_bytes;
use perron_model::participant::PublicKey;
use perron_model::{Error, ErrorCode, Result};
use serde_json::json;
use std::path::Path;

pub fn run(verb: AgreementVerb, output: &Output) -> Result<()> {
    match verb {
        AgreementVerb::List(dir) => client::print(&dir.dir, &Command::AgreementList {}, output),
        AgreementVerb::Show { dir, agreement } => {
            let envelope = client::execute(&dir.dir, &Command::AgreementShow { id: agreement })?;
            // The bytes as they are signed and kept: they can be verified as printed.
            println!("{}", String::from_utf8_lossy(&perron_model::canonical::to_bytes(&envelope)?));
            Ok(())
        }
        AgreementVerb::Verify { file, authority } => {
            let bytes = client::read(&file)?;
            let verified = verify_envelope_bytes(bytes.trim_end().as_bytes(), &authority_key(&authority)?)?;
            let payload = verified.payload();
            output.answer(&json!({
                "agreement": verified.id(),
                "provider": payload.provider,
                "consumer": payload.consumer,
                "dataset": payload.offer.dataset,
                "signed": payload.timestamp,
                "valid": true,
            }));
            Ok(())
        }
    }
}

/// The authority's key: 43 characters, or a file that holds them.
fn authority_key(text: &str) -> Result<PublicKey> {
    let text = if Path::new(text).is_file() { client::read(Path::new(text))? } else { text.to_owned() };
    PublicKey::try_from(text.trim().to_owned())
        .map_err(|e| Error::new(ErrorCode::KeyInvalid, format!("the authority's key: {}", e.detail)))
}
