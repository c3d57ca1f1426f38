//! The program as processes: its command line, `perron serve`, and what the system tells of them.

use crate::{failed, micros};
use perron_model::Result;
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The program and its running processes; they end with it.
pub struct Processes {
    program: PathBuf,
    running: Vec<(PathBuf, Child)>,
}

impl Processes {
    /// Of the program in a file.
    pub fn of(program: &Path) -> Result<Processes> {
        if program.is_file() {
            Ok(Processes { program: program.to_owned(), running: Vec::new() })
        } else {
            Err(failed(format!("`{}` is not there: build it with `cargo build --workspace --bins`", program.display())))
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("PERRON_DIR").env_remove("PERRON_LANG").stdin(Stdio::null());
        command
    }

    /// Runs a command of the program; its answer.
    pub fn run(&self, args: &[&str]) -> Result<Json> {
        let out = self
            .command()
            .arg("--json")
            .args(args)
            .output()
            .map_err(|e| failed(format!("the program can't be started: {e}")))?;
        if !out.status.success() {
            return Err(failed(format!("`perron {}`: {}", args.join(" "), String::from_utf8_lossy(&out.stderr))));
        }
        let text = String::from_utf8_lossy(&out.stdout);
        // Commands that have nothing to tell print words, or nothing.
        Ok(text.lines().find_map(|l| serde_json::from_str(l).ok()).unwrap_or(Json::Null))
    }

    /// Serves a directory; what it took until the process said that it serves, in microseconds.
    pub fn start(&mut self, directory: &Path) -> Result<f64> {
        let log = directory.join("process.log");
        let told = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|e| failed(format!("a process's log: {e}")))?;
        let begun = Instant::now();
        let mut child = self
            .command()
            .arg("serve")
            .arg("--dir")
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(told)
            .spawn()
            .map_err(|e| failed(format!("the program can't be started: {e}")))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let taken = micros(begun);
        if !matches!(read, Some(Ok(_))) || !line.contains("\"serving\"") {
            let _ = child.kill();
            let _ = child.wait();
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(failed(format!(
                "`{}` isn't served: {}",
                directory.display(),
                text.lines().last().unwrap_or("")
            )));
        }
        self.running.push((directory.to_owned(), child));
        Ok(taken)
    }

    /// Ends a process as an operator does, and waits for it.
    pub fn stop(&mut self, directory: &Path) -> Result<()> {
        let at = self.running.iter().position(|(d, _)| d == directory);
        let (_, mut child) = self.running.swap_remove(at.ok_or_else(|| failed("no such process"))?);
        let told = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())).status();
        let ended = child.wait();
        if told.is_ok_and(|s| s.success()) && ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            Ok(())
        } else {
            Err(failed(format!("`{}` ended with {ended:?}", directory.display())))
        }
    }

    /// Memory of a process that lies in the machine's, in bytes.
    pub fn resident_bytes(&self, directory: &Path) -> Result<f64> {
        let child = self.running.iter().find(|(d, _)| d == directory).map(|(_, c)| c.id());
        let id = child.ok_or_else(|| failed("no such process"))?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.split_whitespace().next());
        let kib: f64 = kib.and_then(|k| k.parse().ok()).ok_or_else(|| failed("the system doesn't tell the memory"))?;
        Ok(kib * 1024.0)
    }

    /// Adopts a process of another program, which ends with the others.
    pub fn adopt(&mut self, directory: &Path, child: Child) {
        self.running.push((directory.to_owned(), child));
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
