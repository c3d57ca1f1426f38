//! The witness protocol over HTTPS (C2SP tlog-witness, tlog-tiles), in both roles: our log before a
//! witness of another make, and logs of others before ours.

mod asked;
mod lite;
mod served;
mod wire;

use crate::world::wire::register;
use crate::world::{SPACE, World};
use perron::connector::witness::{log_verifiers, witness_verifiers};
use perron_log::Verifier;
use perron_model::{ParticipantId, SpaceId};
use std::ffi::OsString;

/// A program that `make test` installs; without it nothing is run, but in CI that is a failure.
fn program(variable: &str) -> Option<OsString> {
    let found = std::env::var_os(variable).filter(|program| !program.is_empty());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} isn't set: run `make test`");
        eprintln!("not run, for {variable} isn't set");
    }
    found
}

/// Changes an organisation's configuration while its process is stopped.
fn configure(world: &World, name: &str, change: impl FnOnce(&mut toml::Table)) {
    let file = world.dir(name).join("perron.toml");
    let mut config: toml::Table = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
}

fn text(value: impl Into<String>) -> toml::Value {
    toml::Value::String(value.into())
}

fn table<const N: usize>(entries: [(&str, toml::Value); N]) -> toml::Value {
    toml::Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The keys of an organisation's log, and of its witness, as the register has them.
fn keys(world: &World, name: &str) -> (Vec<Verifier>, Vec<Verifier>) {
    let register = register(&world.dir(name).join("trust"));
    let participant = register.participant(&ParticipantId::parse(name).unwrap()).unwrap();
    (log_verifiers(participant), witness_verifiers(&SpaceId::parse(SPACE).unwrap(), participant))
}
