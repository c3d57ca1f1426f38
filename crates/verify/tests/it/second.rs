//! Each directory that a test verifies is verified by `tools/verify.py` too: the two programs share
//! no code, and have to come to the same verdict.

use perron_verify::{Options, Report};
use std::path::{Path, PathBuf};
use std::process::Command;

/// As [`perron_verify::verify`], with a second opinion.
pub fn verify(dir: &Path, against: &[PathBuf]) -> perron_model::Result<Report> {
    let report = perron_verify::verify(dir, against);
    compare(dir, &Options { against: against.to_vec(), ..Options::default() }, report.as_ref().ok());
    report
}

/// As [`perron_verify::verify_with`], with a second opinion.
pub fn verify_with(dir: &Path, options: &Options) -> perron_model::Result<Report> {
    let report = perron_verify::verify_with(dir, options);
    compare(dir, options, report.as_ref().ok());
    report
}

/// A second opinion on what was found in `dir` alone.
pub fn agrees(dir: &Path, report: &Report) {
    compare(dir, &Options::default(), Some(report));
}

fn compare(dir: &Path, options: &Options, report: Option<&Report>) {
    let Ok(python) = std::env::var("PERRON_PYTHON") else {
        assert!(std::env::var("CI").is_err(), "PERRON_PYTHON, a Python with `cryptography`, has to be given in CI");
        eprintln!("tools/verify.py: not run, PERRON_PYTHON isn't set");
        return;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify.py");
    let mut command = Command::new(python);
    command.arg(program).arg(dir);
    for other in &options.against {
        command.arg("--against").arg(other);
    }
    if let Some(key) = options.authority {
        command.arg("--authority").arg(String::from(key));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let due = report.map_or(2, |report| i32::from(!report.is_ok()));
    let first = report.map(Report::kinds);
    assert_eq!(output.status.code(), Some(due), "perron-verify: {first:?}\nverify.py: {said}{}", {
        String::from_utf8_lossy(&output.stderr)
    });
}
