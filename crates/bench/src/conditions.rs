//! The conditions of a run: commit, machine, disk, load.

use serde_json::{Value as Json, json};
use std::path::Path;

/// Load average of the last minute; 0 where the system doesn't tell.
pub fn load() -> f64 {
    read("/proc/loadavg").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// What the run was made on and how durable a write was.
pub fn told(directory: &Path, commit: &str, profile: &str) -> Json {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_start_matches([' ', '\t', ':']));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")).map(str::trim);
    json!({
        "commit": commit,
        "profile": profile,
        "durability": "one fdatasync a batch of entries, before any is acknowledged",
        "flush": "fdatasync of a 4 KiB append, in the directory and under the load of what it divides",
        "disk": disk(directory),
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": model,
        "memory": memory,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": load(),
    })
}

/// Device and file system of the longest mount point above a directory.
fn disk(directory: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let above = mounts.filter(|(_, at, _)| directory.starts_with(at));
    above
        .max_by_key(|(_, at, _)| at.len())
        .map_or_else(String::new, |(device, at, kind)| format!("{kind} ({device}, {at})"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
