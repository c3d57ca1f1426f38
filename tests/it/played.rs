//! One run of the demonstration, for all tests that look at what it leaves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static PLAYED: OnceLock<tempfile::TempDir> = OnceLock::new();

/// The directory that the demonstration left; nobody writes into it.
pub fn played() -> PathBuf {
    let folder = PLAYED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let out = Command::new(env!("CARGO_BIN_EXE_perron"))
            .args(["--json", "demo", "--dir"])
            .arg(folder.path().join("demo"))
            .arg("--data")
            .arg(root.join("demo"))
            .env_remove("PERRON_DIR")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        folder
    });
    folder.path().join("demo")
}

/// Copies a directory, without the socket.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// All files below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}
