//! The load program works and every figure is produced. No goal is asked of this profile.

use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

/// Figures that a run has to give, in this order.
const FIGURES: &[&str] = &[
    "appends-1",
    "appends-64",
    "appends-1024",
    "appends-1024-bare",
    "views",
    "read",
    "negotiation",
    "rows",
    "start",
    "idle",
    "decisions",
    "decisions-20",
    "decisions-logged",
    "agreements",
];

fn text<'a>(value: &'a Json, name: &str) -> &'a str {
    value.get(name).and_then(Json::as_str).unwrap_or_else(|| panic!("no `{name}`: {value}"))
}

fn list<'a>(value: &'a Json, name: &str) -> &'a [Json] {
    value.get(name).and_then(Json::as_array).unwrap_or_else(|| panic!("no `{name}`: {value}"))
}

#[test]
fn every_figure_is_produced() {
    let bench = Path::new(env!("CARGO_BIN_EXE_perron-bench"));
    let perron = bench.with_file_name("perron");
    assert!(perron.is_file(), "perron isn't built: cargo build --workspace --bins");
    // Beside the build rather than in the system's folder for temporary files, which may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("report.json");
    let out = Command::new(bench)
        .args(["run", "--quick", "--commit", "a test", "--perron"])
        .arg(&perron)
        .arg("--dir")
        .arg(folder.path().join("run"))
        .arg("--data")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo"))
        .arg("--json")
        .arg(&report)
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    let report: Json = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let conditions = report.get("conditions").unwrap();
    for name in ["commit", "durability", "disk", "kernel"] {
        assert!(!text(conditions, name).is_empty(), "{name}: {conditions}");
    }
    let figures = list(&report, "figures");
    assert_eq!(figures.iter().map(|f| text(f, "figure")).collect::<Vec<_>>(), FIGURES);
    for figure in figures {
        let lines = list(figure, "lines");
        assert!(lines.iter().any(|l| !l["goal"].is_null()) || text(figure, "figure") == "decisions-logged", "{figure}");
        for line in lines {
            // What isn't a finite number is null in JSON.
            let [value, least, most] = ["value", "least", "most"].map(|n| line.get(n).and_then(Json::as_f64));
            let (value, least, most) = (value.unwrap(), least.unwrap(), most.unwrap());
            assert!(value > 0.0 && least > 0.0 && least <= most, "{}: {line}", text(figure, "figure"));
        }
    }
    assert!(!folder.path().join("run").exists(), "the run's directory is left behind");
}
