//! A log that Tessera wrote: its sixteen checkpoints and its tiles.

use std::fs;

use perron_log::{Checkpoint, FindingKind, Outcome, Verifier, VerifyError, VerifyOptions, verify_tiles_dir};

use crate::support::conformance;

const ORIGIN: &str = "example.com/log/testdata";
const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

fn options(kept: Vec<String>) -> VerifyOptions {
    let keys = vec![Verifier::parse_vkey(VKEY).unwrap()];
    VerifyOptions { origin: ORIGIN.to_owned(), keys, kept }
}

#[test]
fn all_checkpoints_and_tiles_of_tessera() {
    let Some(folder) = conformance("tessera-log") else { return };
    let kept: Vec<String> =
        (0..16).map(|number| fs::read_to_string(folder.join(format!("checkpoint.{number}"))).unwrap()).collect();
    for (size, note) in (0..).zip(&kept) {
        let opened = Checkpoint::open(note, ORIGIN, &options(Vec::new()).keys, &[]).unwrap();
        assert_eq!(opened.checkpoint.size, size);
        assert_eq!(opened.note.to_string(), *note);
    }
    let mut leaves = 0;
    let report = verify_tiles_dir(&folder, &options(kept.clone()), &mut |view| {
        assert_eq!(view.index, leaves);
        leaves += 1;
        Vec::new()
    })
    .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.outcome, report.size, leaves), (Outcome::Ok, 15, 15));
    assert_eq!((report.kept_compared, report.kept_size_max), (16, Some(15)));

    // The folder at each earlier state, against the checkpoints after it.
    for size in 0..15 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&folder.join("tile"), &copy.path().join("tile"));
        fs::write(copy.path().join("checkpoint"), &kept[size]).unwrap();
        let report = verify_tiles_dir(copy.path(), &options(Vec::new()), &mut |_| Vec::new()).unwrap();
        assert_eq!(report.findings, [], "size {size}");
        let report = verify_tiles_dir(copy.path(), &options(kept.clone()), &mut |_| Vec::new()).unwrap();
        assert!(report.has(FindingKind::OlderState));
    }
}

#[test]
fn a_changed_byte_of_a_foreign_log_is_found() {
    let Some(folder) = conformance("tessera-log") else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&folder.join("tile"), &copy.path().join("tile"));
    fs::copy(folder.join("checkpoint"), copy.path().join("checkpoint")).unwrap();
    for name in ["checkpoint", "tile/0/000.p/15", "tile/entries/000.p/15"] {
        let path = copy.path().join(name);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let report = verify_tiles_dir(copy.path(), &options(Vec::new()), &mut |_| Vec::new()).unwrap();
            assert!(!report.outcome.is_pass(), "byte {at} of {name}");
        }
        fs::write(&path, &whole).unwrap();
    }
    let none = VerifyOptions { keys: Vec::new(), ..options(Vec::new()) };
    let answer = verify_tiles_dir(copy.path(), &none, &mut |_| Vec::new());
    assert!(matches!(answer, Err(VerifyError::NoKeys)));
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
