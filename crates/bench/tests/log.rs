//! The figures of the log are produced. No goal is asked of this profile.

mod support;

use support::{PERRON, run};

const FIGURES: [&str; 7] =
    ["log-appends", "log-appends-bare", "log-leaf", "log-verification", "log-growth", "log-proofs", "log-auditor"];

#[test]
fn every_figure_of_the_log_is_produced() {
    let (_, report, folder) = run(&["log", "--quick", "--commit", "a test", "--perron", PERRON]);
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
