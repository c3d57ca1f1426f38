//! A program of another make verifies our log directory: `fsck` of Tessera (Go), unmodified.

use crate::world::World;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const ACCEPTED: &str = "Successfully fsck'd log with size ";
const REFUSED: &str = "fsck failed";
/// Of a part of the log.
const INVALID: &str = "Invalid";
/// It says no more before its verdict: some lines a second.
const LINES_MAX: usize = 200;

/// What `fsck` says of a log, up to its verdict. Of one that is not sound it may tell the state of
/// its parts each second and never end, so it is ended once it has said so.
fn fsck(program: &str, dir: &Path, key: &Path) -> String {
    let mut command = Command::new(program);
    command.arg(format!("--storage_url=file://{}/", dir.join("log").display()));
    command.arg(format!("--public_key={}", key.display())).args(["--ui=false", "-v=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().take(LINES_MAX) {
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if [ACCEPTED, REFUSED, INVALID].iter().any(|verdict| line.contains(verdict)) {
            break;
        }
    }
    let _ended_by_itself = child.kill();
    child.wait().unwrap();
    said
}

#[test]
fn the_fsck_of_tessera_accepts_a_log_and_refuses_an_edited_one() {
    let Ok(program) = std::env::var("PERRON_FSCK") else {
        assert!(std::env::var("CI").is_err(), "PERRON_FSCK, the fsck of Tessera, has to be given in CI");
        return eprintln!("the fsck of Tessera: not run, PERRON_FSCK isn't set");
    };
    let world = World::new(150);
    let dir = world.dir("ville");
    let report = perron_verify::verify(&dir, &[]).unwrap();
    assert!(report.size > 256, "{} entries fill no tile", report.size);
    let [vkey] = report.log_keys.as_slice() else { panic!("{:?}", report.log_keys) };
    let key = world.root.path().join("log.vkey");
    std::fs::write(&key, vkey).unwrap();
    let said = fsck(&program, &dir, &key);
    let accepted = format!("{ACCEPTED}{} and root {}", report.size, report.root);
    assert!(said.contains(&accepted), "{said}");
    for file in ["log/tile/entries/000", "log/tile/0/000", "log/checkpoint"] {
        let good = std::fs::read(dir.join(file)).unwrap();
        let mut bad = good.clone();
        *bad.get_mut(40).unwrap() ^= 1;
        std::fs::write(dir.join(file), &bad).unwrap();
        let said = fsck(&program, &dir, &key);
        assert!([REFUSED, INVALID].iter().any(|verdict| said.contains(verdict)), "{file}: {said}");
        std::fs::write(dir.join(file), &good).unwrap();
    }
}
