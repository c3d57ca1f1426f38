//! The program: parses the command line and hands over.

use clap::Parser;
use perron::cli::{Cli, EXIT_USAGE, Output};
use perron_model::ErrorCode;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let output = Output::new(cli.json, cli.lang);
    match perron::cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::from(match error.code {
                ErrorCode::ConfigInvalid | ErrorCode::KeyUnsafe | ErrorCode::KeyInvalid => EXIT_USAGE,
                _ => 1,
            })
        }
    }
}
