//! The tutorial's commands are run as they are written, in both languages.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

fn free(address: &str) -> String {
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The page's `sh` blocks, one after the other.
fn script(page: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
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

fn run(name: &str, script: &str) {
    let perron = Path::new(env!("CARGO_BIN_EXE_perron"));
    let work = tempfile::tempdir().unwrap();
    // What the script leaves running ends with it, also when a command in the middle fails.
    let script = format!("trap 'kill ${{PIDS:-}} 2>/dev/null || true; wait' EXIT\n{script}");
    // Two addresses of one machine: the organisations don't share one.
    let out = Command::new("bash")
        .args(["-eu", "-c", &script])
        .env("PERRON", perron)
        .env("PERRON_VERIFY", perron.with_file_name("perron-verify"))
        .env("WORK", work.path())
        .env("AUTHORITY_AT", free("127.0.0.1"))
        .env("COMMUNE_AT", free("127.0.0.1"))
        .env("INTERCOMMUNALE_AT", free("127.0.0.2"))
        .env_remove("PERRON_DIR")
        .env_remove("PERRON_LANG")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{name}: {text}");
}

#[test]
fn the_tutorial_runs_as_written() {
    run("docs/tutorial.md", &script("docs/tutorial.md"));
}

#[test]
fn the_french_tutorial_runs_as_written() {
    run("docs/tutorial.fr.md", &script("docs/tutorial.fr.md"));
}

#[test]
fn who_cannot_be_dialled_negotiates_and_reads_all_the_same() {
    // The intercommunale tells the register no endpoint: it watches for the commune's messages.
    // The tutorial's end, where the commune dials it to exchange checkpoints, is left out.
    let page = script("docs/tutorial.md");
    let one_sided = page.replace(" --endpoint \"$INTERCOMMUNALE_AT\"", "");
    assert_ne!(one_sided, page);
    let exchange = one_sided.find("audit exchange --dir commune").unwrap();
    let line = one_sided[..exchange].rfind('\n').unwrap();
    run("one-sided", &one_sided[..=line]);
}
