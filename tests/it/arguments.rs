//! The command line: names and keys are base64url, so one in 64 begins with a hyphen, and is taken;
//! and answers go to a reader who may have had enough.

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
            format!("audit list --dir d --agreement {value} --user {value} --refused"),
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("perron").chain(words.split(' ')));
            assert!(parsed.is_ok(), "{words}: {}", parsed.unwrap_err());
        }
    }
}

/// A command that prints many lines, to this writer.
fn coverage(to: impl Into<std::process::Stdio>) -> std::process::Output {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/examples/household-water-totals.json");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perron"));
    command.args(["policy", "coverage", policy]).stdout(to).stderr(std::process::Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_reader_who_has_had_enough_ends_a_command_in_order() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = coverage(writer);
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn an_answer_that_cant_be_written_is_no_success() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = coverage(full);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.starts_with("stdout: ") && !said.contains("panicked"), "{said}");
}
