//! The load program works and every figure is produced. No goal is asked of this profile.

mod support;

use serde_json::Value as Json;
use support::{PERRON, run};

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
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo");
    let (_, report, folder) = run(&["run", "--quick", "--commit", "a test", "--perron", PERRON, "--data", demo]);
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
