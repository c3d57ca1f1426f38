//! `perron authority`.

use crate::api::grpc::admin::Command;
use crate::cli::args::{AuthorityVerb, Dir, Facts};
use crate::cli::init::{AUTHORITY_KEY, CA, CERTIFICATE, facts, make_directories};
use crate::cli::serve::lock;
use crate::cli::{Output, client};
use crate::connector::authority::REGISTER_FILE;
use crate::connector::state::write_file;
use crate::ledger::SystemClock;
use crate::settings::{Config, Listen};
use crate::trust::authority::AuthorityRegister;
use crate::trust::ca::SpaceCa;
use crate::trust::enrolment;
use crate::trust::keys::KeySet;
use perron_gate::Clock;
use perron_model::participant::{KeyUse, Role, Status};
use perron_model::{Result, canonical};

pub fn run(verb: AuthorityVerb, output: &Output) -> Result<()> {
    match verb {
        AuthorityVerb::Init { dir, facts, listen } => init(&dir, &facts, listen, output),
        AuthorityVerb::Enrol { dir, request, out } => {
            let answer = client::execute(&dir.dir, &Command::AuthorityEnrol { request: client::read(&request)?.trim().to_owned() })?;
            write_file(&out, answer.to_string().as_bytes())?;
            output.say("authority.enrolled", &[("file", &out.display().to_string())]);
            Ok(())
        }
        AuthorityVerb::Suspend { dir, participant } => client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Suspended }, output),
        AuthorityVerb::Reinstate { dir, participant } => client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Active }, output),
        AuthorityVerb::Revoke { dir, participant } => client::print(&dir.dir, &Command::AuthorityStatus { participant, status: Status::Revoked }, output),
        AuthorityVerb::List(dir) => client::print(&dir.dir, &Command::AuthorityList, output),
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
    let request = enrolment::request(&keys, own, space)?;
    let verified = enrolment::verify_request(&request, space)?;
    let mut register = AuthorityRegister::new(space.clone());
    let signed = register.enrol(verified.participant(space, now), now, keys.signing_key(KeyUse::Register)?)?;
    let certificate = ca.issue(&verified.id, &verified.csr, now)?;
    let trust = directory.join("trust");
    write_file(&trust.join(CA), ca.pem().as_bytes())?;
    write_file(&trust.join(CERTIFICATE), certificate.pem.as_bytes())?;
    write_file(&trust.join(AUTHORITY_KEY), String::from(keys.public(KeyUse::Register)?).as_bytes())?;
    write_file(&trust.join(REGISTER_FILE), &canonical::to_bytes(&signed)?)?;
    let config = Config { participant: given.name.clone(), space: space.clone(), listen: Listen { peers: listen, flight: None }, authority: None };
    config.save(directory)?;
    output.say("authority.made", &[("space", space.as_str())]);
    Ok(())
}
