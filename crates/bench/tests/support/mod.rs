//! What the tests of the load program share: one run of it.

use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What stands for the program `perron` in arguments.
pub const PERRON: &str = "PERRON";

/// Runs `perron-bench` with these arguments in a folder of its own: what it printed, what it reported,
/// and the folder, in which it worked in `run`. Beside the build rather than in the system's folder
/// for temporary files, which may be memory.
pub fn run(arguments: &[&str]) -> (String, Json, TempDir) {
    let bench = Path::new(env!("CARGO_BIN_EXE_perron-bench"));
    let perron = bench.with_file_name("perron");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new(bench);
    for argument in arguments {
        if *argument == PERRON {
            assert!(perron.is_file(), "perron isn't built: cargo build --workspace --bins");
            command.arg(&perron);
        } else {
            command.arg(argument);
        }
    }
    let out = command.arg("--dir").arg(folder.path().join("run")).arg("--json").arg(&report).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    (told, serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap(), folder)
}
