//! The disk's flush: `fdatasync` of a 4 KiB append, in the directory of what it divides.
//!
//! It is taken between the pieces of work, or beside them, never on an idle machine before: on
//! many virtual disks a flush takes ten times as long when the processor is idle.

use crate::{failed, micros};
use perron_model::Result;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Bytes of one append.
const BYTES: usize = 4096;
/// Pause between flushes beside work, so that most of the disk is left to the work.
const PAUSE: Duration = Duration::from_millis(5);

/// A file that is appended to and flushed.
pub struct Probe {
    file: File,
    path: PathBuf,
}

impl Probe {
    /// A probe in a directory.
    pub fn new(directory: &Path) -> Result<Probe> {
        let path = directory.join("flush.probe");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| failed(format!("the file of the flushes: {e}")))?;
        Ok(Probe { file, path })
    }

    /// Appends and flushes; what the flush took, in microseconds.
    pub fn flush(&mut self) -> Result<f64> {
        let wrong = |e: std::io::Error| failed(format!("a flush: {e}"));
        self.file.write_all(&[0x5a; BYTES]).map_err(wrong)?;
        let begun = Instant::now();
        self.file.sync_data().map_err(wrong)?;
        Ok(micros(begun))
    }

    /// Flushes from a thread of its own until the guard is told to end.
    pub fn beside(mut self) -> Beside {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            loop {
                taken.push(self.flush()?);
                match stopped.recv_timeout(PAUSE) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return Ok(taken),
                }
            }
        });
        Beside { stop, thread }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Flushes that go on beside work.
pub struct Beside {
    stop: Sender<()>,
    thread: std::thread::JoinHandle<Result<Vec<f64>>>,
}

impl Beside {
    /// Ends them; what each took.
    pub fn end(self) -> Result<Vec<f64>> {
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| failed("the thread of the flushes"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_takes_time_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut probe = Probe::new(directory.path()).unwrap();
        assert!(probe.flush().unwrap() > 0.0);
        assert_eq!(std::fs::metadata(&probe.path).unwrap().len(), BYTES as u64);
        assert!(!probe.beside().end().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
