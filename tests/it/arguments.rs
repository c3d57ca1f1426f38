//! Names and keys are base64url, so one in 64 begins with a hyphen: the command line takes it.

use clap::Parser;
use perron::cli::Cli;

const HYPHEN: &str = "-N3RRp7Tk14NKBJZEYGkU64ewNzYFk56e0RDlr5Zzcs";
const TWO: &str = "--3RRp7Tk14NKBJZEYGkU64ewNzYFk56e0RDlr5Zzcs";

#[test]
fn values_that_begin_with_a_hyphen_are_taken() {
    for value in [HYPHEN, TWO] {
        for words in [
            format!("join --dir d a.jws --authority {value} --listen 127.0.0.1:1"),
            format!("user add --dir d anne --role analyst --token --agreement {value} --agreement {value}"),
            format!("query --dir d --agreement {value} --purpose p sql"),
            format!("agreement show --dir d {value}"),
            format!("agreement show {value} --dir d"),
            format!("agreement show -C d {value}"),
            format!("agreement verify e.json --authority {value}"),
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("perron").chain(words.split(' ')));
            assert!(parsed.is_ok(), "{words}: {}", parsed.unwrap_err());
        }
    }
}
