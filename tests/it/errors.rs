//! The one table of errors, as the reference shows it in both languages.

use crate::source::{read, root};
use perron::messages::{Lang, text};
use perron_model::ErrorCode;

/// Names of gRPC's status codes, by number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn rows(lang: Lang) -> Vec<String> {
    let row = |code: &ErrorCode| {
        let say = |kind: &str| text(lang, &format!("{kind}.{code}"), &[]);
        let grpc = GRPC[usize::try_from(code.grpc()).unwrap()];
        format!("| `{code}` | {grpc} ({}) | {} | {}. | {} |", code.grpc(), code.http(), say("error"), say("advice"))
    };
    ErrorCode::ALL.iter().map(row).collect()
}

/// `PERRON_WRITE=1 cargo test -p perron --test it errors` writes the tables anew.
#[test]
fn the_reference_shows_the_table_of_errors() {
    for (page, lang) in [("docs/reference/errors.md", Lang::En), ("docs/reference/errors.fr.md", Lang::Fr)] {
        let (shown, expected) = (read(page), rows(lang));
        let is_row = |line: &&str| line.starts_with("| `");
        if std::env::var("PERRON_WRITE").is_ok() {
            let begin = shown.lines().take_while(|l| !is_row(l));
            let after = shown.lines().skip_while(|l| !is_row(l)).skip_while(is_row);
            let all: Vec<&str> = begin.chain(expected.iter().map(String::as_str)).chain(after).collect();
            std::fs::write(root().join(page), all.join("\n") + "\n").unwrap();
            continue;
        }
        let shown: Vec<&str> = shown.lines().filter(is_row).collect();
        let differing: Vec<&String> = expected.iter().filter(|e| !shown.contains(&e.as_str())).collect();
        assert!(
            differing.is_empty(),
            "{page} lacks:\n{}",
            differing.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("\n")
        );
        assert_eq!(shown, expected, "{page} has more than the table, or another order");
    }
}
