//! The three processes, and the command line to talk to them.

use perron_model::{Error, ErrorCode, Result};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An organisation of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Authority,
    Commune,
    Inter,
}

impl Who {
    pub const fn name(self) -> &'static str {
        match self {
            Who::Authority => "authority",
            Who::Commune => "commune",
            Who::Inter => "inter",
        }
    }
}

pub struct World {
    pub directory: PathBuf,
    pub data: PathBuf,
    running: Vec<(Who, Child)>,
}

fn failed(what: impl Into<String>) -> Error {
    Error::new(ErrorCode::Internal, what)
}

impl World {
    pub fn new(directory: PathBuf, data: PathBuf) -> World {
        World { directory, data, running: Vec::new() }
    }

    pub fn dir(&self, who: Who) -> PathBuf {
        self.directory.join(who.name())
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    pub fn data(&self, name: &str) -> String {
        self.data.join(name).display().to_string()
    }

    fn program() -> Result<Command> {
        std::env::current_exe().map(Command::new).map_err(|_| failed("the program can't be found"))
    }

    /// Runs a command of the program; its answer, or its error with its code.
    pub fn run(&self, args: &[&str]) -> Result<Json> {
        let out = World::program()?
            .arg("--json")
            .args(args)
            .env_remove("PERRON_DIR")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| failed("the program can't be started"))?;
        if !out.status.success() {
            return Err(told(&out.stderr));
        }
        // A command answers with one object, or with one a line.
        let lines: Vec<Json> = out
            .stdout
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .filter_map(|l| serde_json::from_slice(l).ok())
            .collect();
        match <[Json; 1]>::try_from(lines) {
            Ok([one]) => Ok(one),
            Err(many) => Ok(Json::Array(many)),
        }
    }

    /// Runs a command in an organisation's directory.
    pub fn of(&self, who: Who, noun: &str, verb: &str, args: &[&str]) -> Result<Json> {
        let dir = self.dir(who).display().to_string();
        let mut all = vec![noun];
        if !verb.is_empty() {
            all.push(verb);
        }
        all.extend(["--dir", &dir]);
        all.extend(args);
        self.run(&all)
    }

    /// Must be refused with this code; gives what the user reads.
    pub fn refused(&self, answer: Result<Json>, code: ErrorCode) -> Result<String> {
        match answer {
            Err(error) if error.code == code => Ok(format!("[{}] {}", error.code, error.detail)),
            Err(error) => Err(error),
            Ok(_) => Err(failed(format!("what should be refused with {code} was answered"))),
        }
    }

    /// Starts an organisation's process and waits until it says that it serves.
    pub fn start(&mut self, who: Who) -> Result<()> {
        let directory = self.dir(who);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(directory.join("process.log"))
            .map_err(|_| failed("a process's log can't be made"))?;
        let mut child = World::program()?
            .arg("serve")
            .arg("--dir")
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|_| failed("a process can't be started"))?;
        let out = child.stdout.take().ok_or_else(|| failed("a process has no output"))?;
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        if read.is_err() || !line.contains("\"serving\"") {
            let _ = child.wait();
            let text = std::fs::read_to_string(directory.join("process.log")).unwrap_or_default();
            return Err(failed(format!("`{}` doesn't serve: {}", who.name(), text.lines().last().unwrap_or_default())));
        }
        self.running.push((who, child));
        Ok(())
    }

    /// Every process must still run: a step that one of them missed doesn't count.
    pub fn all_run(&mut self) -> Result<()> {
        for (who, child) in &mut self.running {
            if !matches!(child.try_wait(), Ok(None)) {
                return Err(failed(format!("the process of `{}` has ended", who.name())));
            }
        }
        Ok(())
    }

    /// Ends the processes in order, as an operator does, and waits for them.
    pub fn stop(&mut self) -> Result<()> {
        while let Some((who, mut child)) = self.running.pop() {
            signal(&child)?;
            let status = child.wait().map_err(|_| failed("a process can't be waited for"))?;
            if !status.success() {
                return Err(failed(format!("the process of `{}` ended with {status}", who.name())));
            }
        }
        Ok(())
    }

    /// Leaves the processes running after the program's end.
    pub fn leave(&mut self) {
        self.running.clear();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child) -> Result<()> {
    let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())).status();
    status.ok().filter(|s| s.success()).map(|_| ()).ok_or_else(|| failed("a process can't be told to end"))
}

/// The error that a command printed.
fn told(stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    for line in text.lines().rev() {
        if let Ok(value) = serde_json::from_str::<Json>(line)
            && let Some(error) = value.get("error")
        {
            let field = |name: &str| error.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
            return Error::new(ErrorCode::parse(&field("code")).unwrap_or(ErrorCode::Internal), field("detail"));
        }
    }
    failed(text.lines().last().unwrap_or("no word").to_owned())
}

/// Free loopback addresses.
pub fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // All are held until all are known, so that none is given twice.
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|_| failed("no loopback port is free"))?;
        *address = listener.local_addr().map_err(|_| failed("no loopback port is free"))?;
        listeners.push(listener);
    }
    Ok(addresses)
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let bad = |_| failed("a directory can't be copied");
    std::fs::create_dir_all(to).map_err(bad)?;
    for entry in std::fs::read_dir(from).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let kind = entry.file_type().map_err(bad)?;
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(bad)?;
        }
    }
    Ok(())
}
