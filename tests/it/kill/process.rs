//! A `perron serve` whose trace is followed, and which is killed at a point of it.

use crate::kill::unsynced::{Layer, Life};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What the trace is asked for: the phases, and what the process says anyway.
const TRACE: &str = "info,h2=warn,sled=warn,wasmtime=warn,cranelift=warn,datafusion=warn,perron::phase=trace";
/// Longest wait until a process serves.
const START: Duration = Duration::from_secs(120);
/// Lines of the process's own words that a failure shows.
const WORDS: usize = 40;

/// The class of a kill: what the process was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Negotiation,
    Flush,
    Stream,
    /// Not one of a campaign's: nothing is erased there.
    Vault,
}

/// Those that a campaign aims at.
pub const CLASSES: [Class; 3] = [Class::Negotiation, Class::Flush, Class::Stream];

impl Class {
    fn of(line: &str) -> Option<Class> {
        let name = line.split("\"phase\":\"").nth(1)?.split('"').next()?;
        match name {
            "negotiation" => Some(Class::Negotiation),
            "flush" => Some(Class::Flush),
            "stream" => Some(Class::Stream),
            "vault" => Some(Class::Vault),
            other => panic!("the trace names a phase `{other}`"),
        }
    }
}

/// Kill at the `skip`-th beginning of a class from now on, once so many requests are in flight.
pub struct Aim {
    pub class: Class,
    pub skip: usize,
    pub in_flight: Arc<AtomicUsize>,
    pub in_flight_min: usize,
    /// Set just after the kill: nobody begins anything new.
    pub fired: Arc<AtomicBool>,
}

/// What the trace said, up to its end.
#[derive(Default)]
struct Told {
    aim: Option<Aim>,
    /// Phases begun and not ended, oldest first.
    open: Vec<Class>,
    /// Requests in flight when the kill was sent.
    at_kill: Option<usize>,
    words: VecDeque<String>,
    ended: bool,
}

struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
    child: Mutex<Child>,
}

/// A running process.
pub struct Process {
    pub name: &'static str,
    shared: Arc<Shared>,
    follower: Option<std::thread::JoinHandle<()>>,
    life: Option<Life>,
}

/// How a process ended by a kill.
pub struct Killed {
    /// Phases that its trace left open, oldest first.
    pub open: Vec<Class>,
    /// Requests in flight at the kill.
    pub in_flight: usize,
    /// Its life above the layer, if there was one.
    pub life: Option<Life>,
}

/// The program, without what the caller's surroundings would tell it.
pub fn perron() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
    command.env_remove("PERRON_DIR").env_remove("PERRON_LANG").stdin(Stdio::null());
    command
}

impl Process {
    /// Starts the process of a directory and waits until it serves; its last words, if it doesn't.
    pub fn start(name: &'static str, directory: &Path, layer: Option<(&Layer, Life)>) -> Result<Process, String> {
        let mut command = perron();
        command.arg("serve").arg("--dir").arg(directory).env("PERRON_TRACE", TRACE);
        let life = layer.map(|(layer, life)| {
            layer.below(&life, &mut command);
            life
        });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let shared = Arc::new(Shared { told: Mutex::default(), changed: Condvar::new(), child: Mutex::new(child) });
        let log = directory.join("process.log");
        let follower = {
            let shared = shared.clone();
            std::thread::spawn(move || follow(&shared, err, &log))
        };
        let mut process = Process { name, shared, follower: Some(follower), life };
        let (told, line) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out.take(64 * 1024)).read_line(&mut line);
            let _ = told.send(line);
        });
        match line.recv_timeout(START) {
            Ok(line) if line.contains("\"serving\"") => return Ok(process),
            Ok(_) => {}
            Err(_) => {
                let _ = process.shared.child.lock().unwrap().kill();
            }
        }
        process.wait();
        Err(process.words())
    }

    /// Arms the kill.
    pub fn aim(&self, aim: Aim) {
        self.shared.told.lock().unwrap().aim = Some(aim);
    }

    /// Waits until the aim was hit; false once the deadline is over.
    pub fn wait_hit(&self, deadline: Instant) -> bool {
        let mut told = self.shared.told.lock().unwrap();
        while told.at_kill.is_none() {
            assert!(!told.ended, "{} ended by itself:\n{}", self.name, joined(&told.words));
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            told = self.shared.changed.wait_timeout(told, left).unwrap().0;
        }
        true
    }

    /// Kills now, if the aim didn't.
    pub fn kill(&self, in_flight: usize) {
        self.shared.told.lock().unwrap().at_kill.get_or_insert(in_flight);
        let _ = self.shared.child.lock().unwrap().kill();
    }

    /// After a kill: what the trace left open.
    pub fn buried(mut self) -> Killed {
        self.wait();
        let told = self.shared.told.lock().unwrap();
        let (open, in_flight) = (told.open.clone(), told.at_kill.expect("a process that was killed"));
        drop(told);
        Killed { open, in_flight, life: self.life.take() }
    }

    /// Ends the process in order.
    pub fn stop(mut self) -> Option<Life> {
        let pid = self.shared.child.lock().unwrap().id();
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
        let status = self.wait();
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.words());
        self.life.take()
    }

    /// The last words of the process.
    pub fn words(&self) -> String {
        joined(&self.shared.told.lock().unwrap().words)
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        if let Some(follower) = self.follower.take() {
            // Its end of the pipe is closed when the process has gone.
            follower.join().unwrap();
        }
        self.shared.child.lock().unwrap().wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.shared.child.lock().unwrap().kill();
        let _ = self.shared.child.lock().unwrap().wait();
    }
}

fn joined(words: &VecDeque<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Reads the trace to its end. A line is written before what it announces, without a buffer: what
/// it left open is what the process was doing.
fn follow(shared: &Shared, err: ChildStderr, log: &PathBuf) {
    let mut log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut lines = BufReader::with_capacity(64 * 1024, err);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).unwrap() == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if !text.contains("\"target\":\"perron::phase\"") {
            let _ = log.write_all(&line);
            let mut told = shared.told.lock().unwrap();
            told.words.push_back(text.trim_end().to_owned());
            if told.words.len() > WORDS {
                told.words.pop_front();
            }
            continue;
        }
        let class = Class::of(&text).expect("a phase");
        let begun = text.contains("\"edge\":\"begin\"");
        let mut told = shared.told.lock().unwrap();
        if begun {
            told.open.push(class);
        } else if let Some(at) = told.open.iter().rposition(|c| *c == class) {
            told.open.remove(at);
        }
        // Behind a line that more lines follow, the moment has passed.
        let newest = lines.buffer().is_empty();
        let Told { aim, at_kill, .. } = &mut *told;
        if let Some(wanted) = aim
            && begun
            && class == wanted.class
            && at_kill.is_none()
        {
            if wanted.skip > 0 {
                wanted.skip -= 1;
                continue;
            }
            let in_flight = wanted.in_flight.load(Ordering::SeqCst);
            if newest && in_flight >= wanted.in_flight_min {
                let _ = shared.child.lock().unwrap().kill();
                wanted.fired.store(true, Ordering::SeqCst);
                *at_kill = Some(in_flight);
                shared.changed.notify_all();
            }
        }
    }
    shared.told.lock().unwrap().ended = true;
    shared.changed.notify_all();
}

/// Waits for a condition; what is missing, once the deadline is over.
pub fn until<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(missing) if Instant::now() >= end => return Err(missing),
            // Nothing tells of it: looked at again, without taking the processor from what works.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
