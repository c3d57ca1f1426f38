//! The figure of a released table is produced. No goal is asked of this profile.

use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

#[test]
fn a_released_table_is_measured() {
    let bench = Path::new(env!("CARGO_BIN_EXE_perron-bench"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("release.json");
    let out = Command::new(bench)
        .args(["release", "--rows", "150000", "--rounds", "1", "--dir"])
        .arg(folder.path().join("run"))
        .arg("--json")
        .arg(&report)
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    let report: Json = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert!(report["lines"][0]["value"].as_f64().unwrap() > 0.0, "{report}");
    // 225 sectors: 25 are too small for the floor, and in 5 one household dominates.
    assert!(told.contains(" 195 groups"), "{told}");
}
