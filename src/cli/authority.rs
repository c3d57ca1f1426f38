//! `perron authority`.

use crate::api::grpc::admin::Command;
use crate::cli::args::{AuthorityVerb, Dir, Facts};
use crate::cli::init::{AUTHORITY_KEY, CA, CERTIFICATE, facts, make_directories};
use crate::cli::serve::lock;
use crate::cli::{Output, client};
use crate::connector::authority::{MEMBERSHIP_MS, REGISTER_FILE};
use crate::files::write_file;
use crate::ledger::SystemClock;
use crate::settings::{Config, Listen, ReconcileEvery};
use crate::trust::authority::AuthorityRegister;
use crate::trust::ca::SpaceCa;
use crate::trust::enrolment::EnrolmentRequest;
use crate::trust::keys::KeySet;
use perron_gate::Clock;
use perron_model::limits::CERTIFICATE_LIFE_S;
use perron_model::participant::{KeyUse, Role, Status};
use perron_model::{Error, Result, canonical};
use std::collections::BTreeMap;

pub fn run(verb: AuthorityVerb, output: &Output) -> Result<()> {
    match verb {
        AuthorityVerb::Init { dir, facts, listen } => init(&dir, &facts, listen, output),
        AuthorityVerb::Enrol { dir, request, out } => {
            let answer = client::execute(
                &dir.dir,
                &Command::AuthorityEnrol { request: client::read(&request)?.trim().to_owned() },
            )?;
            let answer = answer.as_str().ok_or_else(|| Error::malformed("the answer is not a text"))?;
            write_file(&out, answer.as_bytes())?;
            output.say("authority.enrolled", &[("file", &out.display().to_string())]);
            Ok(())
        }
        AuthorityVerb::Suspend { dir, participant } => {
            client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Suspended }, output)
        }
        AuthorityVerb::Reinstate { dir, participant } => {
            client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Active }, output)
        }
        AuthorityVerb::Revoke { dir, participant } => {
            client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Revoked }, output)
        }
        AuthorityVerb::ReplaceKey { dir, participant, request, overlap } => {
            let request = client::read(&request)?.trim().to_owned();
            let command = Command::AuthorityReplaceKey { participant, request, overlap_s: overlap };
            let replaced = client::execute(&dir.dir, &command)?;
            let of = |name: &str| replaced.get(name).and_then(serde_json::Value::as_str).unwrap_or("–").to_owned();
            output.say("authority.key_replaced", &[("participant", &of("participant")), ("thumbprint", &of("key"))]);
            Ok(())
        }
        AuthorityVerb::List(dir) => client::print(&dir.dir, &Command::AuthorityList {}, output),
    }
}

fn init(dir: &Dir, given: &Facts, listen: std::net::SocketAddr, output: &Output) -> Result<()> {
    let directory = &dir.dir;
    let mut own = facts(given, vec![Role::Authority])?;
    own.endpoint.get_or_insert_with(|| listen.to_string());
    make_directories(directory)?;
    let _lock = lock(directory)?;
    let now = SystemClock.now();
    let keys = KeySet::create_authority(&directory.join("keys"))?;
    let space = &given.space;
    let ca = SpaceCa::create(space, keys.ca()?, now)?;
    // The authority is the first participant that it enrols.
    let request = EnrolmentRequest::new(space, own, &keys, now)?;
    let verified = EnrolmentRequest::open(&request.sign(keys.signing_key(KeyUse::Agreement)?)?)?;
    let mut register = AuthorityRegister::new(space.clone());
    let participant = verified.into_participant(now, now.plus_millis(MEMBERSHIP_MS));
    let signed = register.enrol(participant, now, keys.signing_key(KeyUse::Register)?)?;
    let certificate = ca.issue(&given.name, &request.csr, now, CERTIFICATE_LIFE_S)?;
    let trust = directory.join("trust");
    write_file(&trust.join(CA), ca.pem().as_bytes())?;
    write_file(&trust.join(CERTIFICATE), certificate.pem.as_bytes())?;
    write_file(&trust.join(AUTHORITY_KEY), String::from(keys.public(KeyUse::Register)?).as_bytes())?;
    write_file(&trust.join(REGISTER_FILE), &canonical::to_bytes(&signed)?)?;
    let config = Config {
        participant: given.name.clone(),
        space: space.clone(),
        listen: Listen { peers: listen, flight: None, flight_tls: None },
        authority: None,
        syslog: None,
        http: None,
        witness: Vec::new(),
        erasure: None,
        witness_policy: None,
        activities: BTreeMap::new(),
        reconcile_every: ReconcileEvery::default(),
    };
    config.save(directory)?;
    let thumbprint = keys.public(KeyUse::Register)?.thumbprint().to_string();
    output.say("authority.made", &[("space", space.as_str()), ("thumbprint", &thumbprint)]);
    Ok(())
}
