//! The command line: one file a subcommand.

mod agreement;
mod args;
mod audit;
mod authority;
mod backup;
mod client;
mod collection;
mod dataset;
mod demo;
mod doctor;
mod fact;
mod following;
mod init;
mod key;
mod negotiation;
mod output;
mod partner;
mod policy;
mod query;
mod restore;
mod retention;
mod serve;
mod store;
mod user;

pub use args::Cli;
pub use output::Output;

use args::Noun;
use perron_model::Result;
use std::process::ExitCode;

/// Exit code of a usage error (sysexits, EX_USAGE).
pub const EXIT_USAGE: u8 = 64;

/// Runs a command; gives the exit code of one that ended without an error.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let output = Output::new(cli.json, cli.lang);
    let done = match cli.noun {
        // What it finds is its answer, not its error.
        Noun::Doctor(args) if doctor::run(&args, &output) => Ok(()),
        Noun::Doctor(_) => return Ok(ExitCode::FAILURE),
        Noun::Serve(args) => serve::run(&args, &output),
        Noun::Init(args) => init::init(&args, &output),
        Noun::Join(args) => init::join(&args, &output),
        Noun::Backup(args) => backup::run(&args, &output),
        Noun::Restore(args) => restore::run(&args, &output),
        Noun::Authority(verb) => authority::run(verb, &output),
        Noun::User(verb) => user::run(verb, &output),
        Noun::Key(verb) => key::run(verb, &output),
        Noun::Partner(verb) => partner::run(verb, &output),
        Noun::Dataset(verb) => dataset::run_dataset(verb, &output),
        Noun::Offer(verb) => dataset::run_offer(verb, &output),
        Noun::Catalogue(args) => dataset::catalogue(args, &output),
        Noun::Negotiation(verb) => negotiation::run(verb, &output),
        Noun::Agreement(verb) => agreement::run(verb, &output),
        Noun::Collection(verb) => collection::run(verb, &output),
        Noun::Fact(verb) => fact::run(verb, &output),
        Noun::Policy(verb) => policy::run(verb, &output),
        Noun::Query(args) => query::run(args, &output),
        Noun::Retention(verb) => retention::run(verb, &output),
        Noun::Audit(verb) => audit::run(verb, &output),
        Noun::Store(verb) => store::run(verb, &output),
        Noun::Status(args) => client::print(&args.dir, &crate::api::grpc::admin::Command::Status {}, &output),
        Noun::Demo(args) => demo::run(&args, &output),
    };
    done.map(|()| ExitCode::SUCCESS)
}
