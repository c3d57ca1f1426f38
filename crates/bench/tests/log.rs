//! The figures of the log are produced. No goal is asked of this profile.

use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

const FIGURES: [&str; 7] =
    ["log-appends", "log-appends-bare", "log-leaf", "log-verification", "log-growth", "log-proofs", "log-auditor"];

#[test]
fn every_figure_of_the_log_is_produced() {
    let bench = Path::new(env!("CARGO_BIN_EXE_perron-bench"));
    let perron = bench.with_file_name("perron");
    assert!(perron.is_file(), "perron isn't built: cargo build --workspace --bins");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("log.json");
    let out = Command::new(bench)
        .args(["log", "--quick", "--commit", "a test", "--perron"])
        .arg(&perron)
        .arg("--dir")
        .arg(folder.path().join("run"))
        .arg("--json")
        .arg(&report)
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    let report: Json = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.iter().map(|f| f["figure"].as_str().unwrap()).collect::<Vec<_>>(), FIGURES);
    for line in figures.iter().flat_map(|f| f["lines"].as_array().unwrap()) {
        let [value, least, most] = ["value", "least", "most"].map(|n| line[n].as_f64().unwrap());
        assert!(value > 0.0 && least > 0.0 && least <= most, "{line}");
    }
    // Bytes don't depend on how fast the machine is.
    let leaf = figures.iter().find(|f| f["figure"] == "log-leaf").unwrap();
    assert_eq!(leaf["lines"][0]["met"], true, "{leaf}");
    assert!(!folder.path().join("run").exists(), "the run's directory is left behind");
}
