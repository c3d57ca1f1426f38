//! The figure of a released table is produced. No goal is asked of this profile.

mod support;

use support::run;

#[test]
fn a_released_table_is_measured() {
    let (told, report, _) = run(&["release", "--rows", "150000", "--rounds", "1"]);
    assert!(report["lines"][0]["value"].as_f64().unwrap() > 0.0, "{report}");
    // 225 sectors: 25 are too small for the floor, and in 5 one household dominates.
    assert!(told.contains(" 195 groups"), "{told}");
}
