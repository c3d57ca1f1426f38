//! A slice of the attacks, against a connector that runs.

mod support;

use support::{PERRON, run};

#[test]
fn the_endpoint_teaches_no_more_than_the_table_as_a_file() {
    let (told, report, _) = run(&["attacks", "--tries", "20", "--seed", "7", "--perron", PERRON]);
    println!("{told}");
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
