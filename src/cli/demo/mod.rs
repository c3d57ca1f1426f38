//! `perron demo`: the main job, played by the program itself.
//!
//! Authority, commune and intercommunale are processes of their own, in directories of their
//! own; the story talks to them through the command line alone. Only the forger, who works on a
//! copy, reaches into a log.

mod forger;
mod story;
mod world;

use crate::cli::Output;
use crate::cli::args::DemoArgs;
use crate::cli::output::tell;
use crate::messages::text;
use perron_model::{Error, ErrorCode, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Tells the steps as they happen.
pub struct Teller<'a> {
    output: &'a Output,
    steps: usize,
    begun: Instant,
}

impl Teller<'_> {
    /// Runs a step and tells how it ended; the first that doesn't hold ends the demonstration.
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        self.steps += 1;
        if !self.output.json {
            tell!("\n[{:>2}] {}", self.steps, text(self.output.lang, &format!("demo.step.{name}"), &[]));
        }
        match work() {
            Ok((value, detail)) => {
                if self.output.json {
                    tell!("{}", json!({"step": name, "ok": true, "detail": detail}));
                } else {
                    tell!("     ✓ {}", text(self.output.lang, &format!("demo.done.{name}"), &[("detail", &detail)]));
                }
                Ok(value)
            }
            Err(error) => {
                let detail = format!("{}: {}", error.code, error.detail);
                if self.output.json {
                    tell!("{}", json!({"step": name, "ok": false, "detail": detail}));
                } else {
                    tell!("     ✗ {}", text(self.output.lang, "demo.failed", &[("step", name), ("detail", &detail)]));
                }
                Err(error)
            }
        }
    }

    /// Says something beside the steps; machines read steps only.
    fn say(&self, key: &str, parts: &[(&str, &str)]) {
        if !self.output.json {
            tell!("     {}", text(self.output.lang, key, parts));
        }
    }
}

pub fn run(args: &DemoArgs, output: &Output) -> Result<()> {
    // Without --dir too the directory is kept: somebody may want to look, after a failure above all.
    let unnamed = || std::env::temp_dir().join(format!("perron-demo-{}", std::process::id()));
    let directory = args.dir.clone().unwrap_or_else(unnamed);
    make(&directory)?;
    if !output.json {
        tell!("{}", text(output.lang, "demo.title", &[]));
    }
    let mut teller = Teller { output, steps: 0, begun: Instant::now() };
    let played = play(&directory, args, &mut teller);
    let (provider, consumer) = (directory.join("commune"), directory.join("inter"));
    let ok = played.is_ok();
    if output.json {
        tell!(
            "{}",
            json!({"step": "summary", "ok": ok, "detail": format!("{} steps in {:.1} s", teller.steps, teller.begun.elapsed().as_secs_f64()), "provider_dir": provider, "consumer_dir": consumer})
        );
    } else if ok {
        tell!(
            "\n{} ({:.1} s)",
            text(
                output.lang,
                "demo.next",
                &[("provider_dir", &provider.display().to_string()), ("consumer_dir", &consumer.display().to_string())]
            ),
            teller.begun.elapsed().as_secs_f64()
        );
    }
    played
}

fn make(directory: &Path) -> Result<()> {
    if directory.exists() {
        return Err(Error::new(
            ErrorCode::AlreadyExists,
            format!("`{}` exists; the demonstration begins in a new directory", directory.display()),
        ));
    }
    std::fs::create_dir_all(directory)
        .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be made", directory.display())))
}

fn play(directory: &Path, args: &DemoArgs, teller: &mut Teller<'_>) -> Result<()> {
    let data: PathBuf = args.data.canonicalize().map_err(|_| {
        Error::new(
            ErrorCode::NotFound,
            format!("`{}` holds no demonstration data; --data names another folder", args.data.display()),
        )
    })?;
    let mut world = world::World::new(
        directory.canonicalize().map_err(|_| Error::new(ErrorCode::NotFound, "the directory can't be used"))?,
        data,
    );
    story::tell(&mut world, teller, args.serve)
}
