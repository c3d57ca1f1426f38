//! The store is derived: removed and made anew from the log, it says the same.

use crate::played::{copy, played};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn free() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

fn perron() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
    command.env_remove("PERRON_DIR").stdin(Stdio::null());
    command
}

fn answer(directory: &Path, words: &[&str]) -> Json {
    let out = perron().arg("--json").args(words).arg("--dir").arg(directory).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(directory: &Path) -> Served {
    let mut child = perron()
        .arg("serve")
        .arg("--dir")
        .arg(directory)
        .env("PERRON__LISTEN__PEERS", free())
        .env("PERRON__LISTEN__FLIGHT", free())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("serving"), "{line}");
    Served(child)
}

/// What the store knows. Which of our messages the other side has taken is not in the log: they
/// are sent again, and the same message gets the same answer.
fn known(directory: &Path) -> [Json; 3] {
    let _served = serve(directory);
    let mut known = [
        answer(directory, &["agreement", "list"]),
        answer(directory, &["negotiation", "list"]),
        answer(directory, &["offer", "list"]),
    ];
    for negotiation in known[1].as_array_mut().unwrap() {
        negotiation.as_object_mut().unwrap().remove("undelivered");
    }
    known
}

#[test]
fn made_anew_it_says_the_same() {
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("commune");
    copy(&played().join("commune"), &directory);
    let before = known(&directory);
    assert_eq!(before[0].as_array().map(Vec::len), Some(3));
    answer(&directory, &["store", "rebuild"]);
    assert!(!directory.join("state").exists());
    assert_eq!(known(&directory), before);
    // Where a process serves, nothing is removed.
    let _served = serve(&directory);
    let refused = perron().args(["--json", "store", "rebuild", "--dir"]).arg(&directory).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("directory_locked"));
    assert!(directory.join("state").exists());
}
