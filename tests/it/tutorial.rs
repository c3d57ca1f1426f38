//! The tutorial's commands are run as they are written, in both languages.

use std::net::TcpListener;
use std::process::Command;

fn free(address: &str) -> String {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

fn blocks(page: &str) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match (line, inside) {
            ("```sh", _) => inside = true,
            ("```", true) => inside = false,
            (line, true) => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

fn run(page: &str) {
    let work = tempfile::tempdir().unwrap();
    // Two addresses of one machine: the organisations don't share one.
    let out = Command::new("bash")
        .args(["-eu", "-c", &blocks(page)])
        .env("PERRON", env!("CARGO_BIN_EXE_perron"))
        .env("PERRON_VERIFY", crate::verifier())
        .env("WORK", work.path())
        .env("AUTHORITY_AT", free("127.0.0.1"))
        .env("COMMUNE_AT", free("127.0.0.1"))
        .env("INTERCOMMUNALE_AT", free("127.0.0.2"))
        .env_remove("PERRON_DIR")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{page}: {text}");
}

#[test]
fn the_tutorial_runs_as_written() {
    run("docs/tutorial.md");
}

#[test]
fn the_french_tutorial_runs_as_written() {
    run("docs/tutorial.fr.md");
}
