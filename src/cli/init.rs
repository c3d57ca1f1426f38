//! `perron init` and `perron join`.

use crate::cli::args::{Facts, InitArgs, JoinArgs};
use crate::cli::serve::lock;
use crate::cli::{Output, client};
use crate::files::{create_directory, write_file};
use crate::ledger::SystemClock;
use crate::settings::{AuthorityAddress, Config, Listen, ReconcileEvery};
use crate::trust::enrolment::{EnrolmentAnswer, EnrolmentRequest, Facts as ParticipantFacts};
use crate::trust::keys::KeySet;
use crate::trust::register::VerifiedRegister;
use perron_gate::Clock;
use perron_model::participant::{EnterpriseNumber, KeyUse, NisCode, PublicKey, Role};
use perron_model::register::SignedRegister;
use perron_model::{Error, ErrorCode, Result, canonical};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Certificate chain of this organisation, in `trust/`.
pub const CERTIFICATE: &str = "certificate.pem";
/// CA of the data space, in `trust/`.
pub const CA: &str = "ca.pem";
/// The authority's public key, in `trust/`.
pub const AUTHORITY_KEY: &str = "authority.key";

/// Makes the directories of an organisation.
pub fn make_directories(directory: &Path) -> Result<()> {
    for part in ["", "trust"] {
        create_directory(&directory.join(part))
            .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the directory can't be made"))?;
    }
    Ok(())
}

/// What an organisation says of itself, checked.
pub fn facts(facts: &Facts, roles: Vec<Role>) -> Result<ParticipantFacts> {
    Ok(ParticipantFacts {
        id: facts.name.clone(),
        name: facts.title.clone(),
        enterprise: EnterpriseNumber::parse(&facts.enterprise)?,
        nis: facts.nis.as_deref().map(NisCode::parse).transpose()?,
        jurisdiction: "BE".to_owned(),
        roles,
        endpoint: facts.endpoint.clone(),
    })
}

/// The authority's public key as this directory keeps it.
pub fn read_authority_key(directory: &Path) -> Result<PublicKey> {
    let text = std::fs::read_to_string(directory.join("trust").join(AUTHORITY_KEY)).map_err(|_| {
        Error::new(ErrorCode::ConfigInvalid, "`trust/authority.key` can't be read; `perron join` makes it")
    })?;
    PublicKey::try_from(text.trim().to_owned())
}

/// The register as this directory keeps it, verified.
pub fn read_register(directory: &Path) -> Result<VerifiedRegister> {
    let key = read_authority_key(directory)?;
    let bytes = std::fs::read(directory.join("trust").join(crate::connector::authority::REGISTER_FILE))
        .map_err(|_| Error::new(ErrorCode::RegisterInvalid, "`trust/register.json` can't be read"))?;
    let signed: SignedRegister = serde_json::from_slice(&bytes)
        .map_err(|_| Error::new(ErrorCode::RegisterInvalid, "`trust/register.json` is not a register"))?;
    VerifiedRegister::verify(&signed, &key, None)
}

pub fn init(args: &InitArgs, output: &Output) -> Result<()> {
    let directory = &args.dir.dir;
    let facts = facts(&args.facts, vec![Role::Provider, Role::Consumer])?;
    make_directories(directory)?;
    let _lock = lock(directory)?;
    let keys = KeySet::create(&directory.join("keys"))?;
    let request = EnrolmentRequest::new(&args.facts.space, facts, &keys, SystemClock.now())?
        .sign(keys.signing_key(KeyUse::Agreement)?)?;
    let file = args.out.clone().unwrap_or_else(|| directory.join("request.jws"));
    write_file(&file, request.as_bytes())?;
    output.say("init.done", &[("file", &file.display().to_string())]);
    Ok(())
}

pub fn join(args: &JoinArgs, output: &Output) -> Result<()> {
    let directory = &args.dir.dir;
    let _lock = lock(directory)?;
    let keys = KeySet::load(&directory.join("keys"))?;
    let enrolled = EnrolmentAnswer::open(&client::read(&args.answer)?, &args.authority, &keys)?;
    let (answer, register) = (enrolled.answer, enrolled.register);
    let me = answer.participant.clone();
    let authority = register.participants().find(|p| p.roles.contains(&Role::Authority));
    let authority =
        authority.ok_or_else(|| Error::new(ErrorCode::RegisterInvalid, "the register holds no authority"))?;
    let endpoint = authority
        .endpoint
        .clone()
        .ok_or_else(|| Error::new(ErrorCode::RegisterInvalid, "the register tells no endpoint of the authority"))?;
    let trust = directory.join("trust");
    write_file(&trust.join(AUTHORITY_KEY), String::from(answer.authority).as_bytes())?;
    write_file(&trust.join(CA), answer.ca.as_bytes())?;
    write_file(&trust.join(CERTIFICATE), answer.certificate.as_bytes())?;
    write_file(&trust.join(crate::connector::authority::REGISTER_FILE), &canonical::to_bytes(&answer.register)?)?;
    let config = Config {
        participant: me.clone(),
        space: answer.space.clone(),
        listen: Listen { peers: args.listen, flight: args.flight, flight_tls: args.flight_tls },
        authority: Some(AuthorityAddress { participant: authority.id.clone(), endpoint }),
        syslog: None,
        http: None,
        witness: Vec::new(),
        erasure: None,
        witness_policy: None,
        activities: BTreeMap::new(),
        reconcile_every: ReconcileEvery::default(),
    };
    config.save(directory)?;
    if output.json {
        output.answer(&json!({"participant": me, "space": answer.space}));
    } else {
        output.say("join.done", &[("participant", me.as_str()), ("space", answer.space.as_str())]);
    }
    Ok(())
}
