//! The Rego policies in wasm behind the gate's port (opa-wasm and wasmtime only here).
//!
//! The modules of `policies/` are compiled by OPA, committed, and part of the binary. A decision
//! is a function of its input and of the module's digest: no clock, no randomness, no network,
//! no function of the host is given to a module. An evaluation has a bound of work (fuel), of
//! time and of memory; past any of them, and for any answer but the expected form, it is an
//! error, which the gate makes a refusal (invariant 4).

mod answer;
mod instance;
mod pool;
mod replay;

pub use crate::policy::replay::{Recorded, Replayed, Replayer};

use crate::files::write_atomically;
use crate::policy::answer::report;
use crate::policy::instance::Bounds;
use crate::policy::pool::Pool;
use perron_gate::Evaluated;
use perron_model::decision::{AccessInput, ModuleDigests, StaffInput, Verdict};
use perron_model::report::Report;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde::Serialize;
use std::fmt::Display;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmtime::{Cache, CacheConfig, Config, Engine};

/// The evaluator of the modules, with the versions that this program was built with.
pub const ENGINE: &str = env!("PERRON_POLICY_ENGINE");

/// `policies/access.rego` with `policies/odrl.rego`, compiled.
const ACCESS: &[u8] = include_bytes!("../../policies/compiled/access.wasm");
/// Where it is entered: to decide, and to report.
const ACCESS_ENTRYPOINTS: &[&str] = &["perron/access/decision", REPORT];
const REPORT: &str = "perron/odrl/report";
/// Where `policies/staff.rego` is entered.
const STAFF_ENTRYPOINTS: &[&str] = &["perron/staff/decision"];
/// `policies/staff.rego`, compiled.
const STAFF: &[u8] = include_bytes!("../../policies/compiled/staff.wasm");

/// The policy modules, compiled for this machine, with their warm instances. Cloning shares them.
#[derive(Clone)]
pub struct Policies(Arc<Modules>);

struct Modules {
    access: Pool,
    staff: Pool,
}

impl Policies {
    /// Compiles the modules, or takes their machine code from the directory `cache`, so that the
    /// next start is short. What lies there is run: the directory is made for its owner alone,
    /// and one that others may write to is refused.
    pub fn load(cache: &Path) -> Result<Policies> {
        Policies::within(Some(cache), Bounds::default())
    }

    /// Compiles the modules and keeps nothing.
    pub fn load_uncached() -> Result<Policies> {
        Policies::within(None, Bounds::default())
    }

    fn within(cache: Option<&Path>, bounds: Bounds) -> Result<Policies> {
        let engine = engine(cache)?;
        Ok(Policies(Arc::new(Modules {
            access: Pool::new(&engine, "access", ACCESS_ENTRYPOINTS, ACCESS, bounds)?,
            staff: Pool::new(&engine, "staff", STAFF_ENTRYPOINTS, STAFF, bounds)?,
        })))
    }

    /// Instantiates each module once, so that a module that can't run is known before a port is
    /// bound, and the first read doesn't pay for it.
    pub async fn warm(&self) -> Result<()> {
        self.0.access.warm().await?;
        self.0.staff.warm().await
    }

    /// SHA-256 of each module's wasm, by name.
    pub fn digests(&self) -> ModuleDigests {
        [&self.0.access, &self.0.staff].into_iter().map(|pool| (pool.name().to_owned(), pool.digest())).collect()
    }

    /// May a user of one's own organisation do this? An error is a refusal.
    pub async fn staff(&self, input: &StaffInput) -> Result<Verdict> {
        self.0.staff.decide(input).await
    }

    /// What each rule's premises, duties and state are, by the module that decides: for a
    /// [`ReportInput`](perron_model::report::ReportInput), or for an [`AccessInput`]. Not on any
    /// read's way: it has bounds of its own.
    pub async fn report<I: Serialize + Sync>(&self, input: &I) -> Result<Report> {
        report(self.0.access.evaluate_apart(REPORT, input, Bounds::of_reports()).await?)
    }

    /// Keeps the modules in `folder`, each named by its digest: what was decided by them can be
    /// decided again by a program that has others.
    pub fn keep(&self, folder: &Path) -> Result<()> {
        let failed = |_| Error::new(ErrorCode::ConfigInvalid, "the folder of the policy modules can't be made");
        DirBuilder::new().recursive(true).create(folder).map_err(failed)?;
        for wasm in [ACCESS, STAFF] {
            let name = replay::file_name(&Digest::of(wasm));
            if !folder.join(&name).exists() {
                write_atomically(folder, &name, wasm)?;
            }
        }
        Ok(())
    }
}

impl perron_gate::Policy for Policies {
    async fn access(&self, input: &AccessInput) -> Result<Evaluated> {
        let verdict = self.0.access.decide(input).await?;
        Ok(Evaluated { verdict, module: self.0.access.digest() })
    }
    async fn staff(&self, input: &StaffInput) -> Result<Evaluated> {
        let verdict = self.0.staff.decide(input).await?;
        Ok(Evaluated { verdict, module: self.0.staff.digest() })
    }
}

fn engine(cache: Option<&Path>) -> Result<Engine> {
    let mut config = Config::new();
    config.consume_fuel(true);
    if let Some(directory) = cache {
        let mut settings = CacheConfig::new();
        settings.with_directory(private_directory(directory).map_err(|e| unusable(&e))?);
        config.cache(Some(Cache::new(settings).map_err(|e| unusable(&e))?));
    }
    Engine::new(&config).map_err(|error| {
        tracing::error!(%error, "the policy engine can't start");
        Error::new(ErrorCode::Internal, "the policy engine can't start")
    })
}

/// The directory, absolute, made for its owner alone if it isn't there.
fn private_directory(directory: &Path) -> std::io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let mode = std::fs::metadata(&directory)?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(std::io::Error::other("others may write to it"));
    }
    Ok(directory)
}

fn unusable(cause: &dyn Display) -> Error {
    tracing::error!(%cause, "the cache of compiled policies can't be used");
    Error::new(ErrorCode::ConfigInvalid, "the cache of compiled policies can't be used")
}

#[cfg(test)]
mod suite_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod variants_tests;
