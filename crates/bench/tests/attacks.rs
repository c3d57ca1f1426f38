//! A slice of the attacks, against a connector that runs.

use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

#[test]
fn the_endpoint_teaches_no_more_than_the_table_as_a_file() {
    let bench = Path::new(env!("CARGO_BIN_EXE_perron-bench"));
    let perron = bench.with_file_name("perron");
    assert!(perron.is_file(), "perron isn't built: cargo build --workspace --bins");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("attacks.json");
    let out = Command::new(bench)
        .args(["attacks", "--tries", "20", "--seed", "7", "--perron"])
        .arg(&perron)
        .arg("--dir")
        .arg(folder.path().join("run"))
        .arg("--json")
        .arg(&report)
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    println!("{told}");
    let report: Json = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let report = &report["report"];
    let learned = report["learned"].as_array().unwrap();
    let names: Vec<&str> = learned.iter().map(|l| l["attack"].as_str().unwrap()).collect();
    assert_eq!(names, ["tracker", "differencing", "averaging"]);
    for attack in learned {
        for what in ["individuals", "tries"] {
            let [endpoint, file, unprotected] =
                ["endpoint", "file", "unprotected"].map(|from| attack[from][what].as_u64().unwrap());
            assert!(endpoint <= file, "{attack}");
            // The attack works where nothing protects, or it would say nothing where something does.
            assert!(unprotected > file, "{attack}");
        }
        assert_eq!(attack["beyond"], 0, "{attack}");
    }
    // The endpoint was asked, and gave what stands in the file: it isn't safe by being silent.
    assert_eq!(report["differing"], 0, "{report}");
    assert!(report["answered"].as_u64().unwrap() > 100, "{report}");
}
