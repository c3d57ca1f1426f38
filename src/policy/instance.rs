//! One instance of a module in its own store, with bounds of work and of memory.

use opa_wasm::{DefaultContext, Policy, Runtime};
use perron_model::limits::{EVALUATION_MEMORY_BYTES_MAX, EVALUATION_MS_MAX};
use perron_model::{Error, ErrorCode, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::time::Duration;
use wasmtime::{Engine, Module, ResourceLimiter, Store};

/// Most work of one evaluation, in units of wasmtime's fuel (about one a wasm instruction). A
/// usual input takes 0.8 million, the largest that the model lets through 8 million.
pub(super) const EVALUATION_FUEL_MAX: u64 = 200_000_000;
/// Fuel after which an evaluation lets others run, and its deadline is looked at.
const YIELD_FUEL: u64 = 1_000_000;
/// Most elements of a module's tables: OPA's modules have a few hundred.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Bounds of one evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Longest evaluation.
    pub(super) time: Duration,
    /// Most work.
    pub(super) fuel: u64,
    /// Work between two looks at the clock.
    pub(super) yield_fuel: u64,
    /// Largest memory of an instance, in bytes.
    pub(super) memory_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            time: Duration::from_millis(EVALUATION_MS_MAX),
            fuel: EVALUATION_FUEL_MAX,
            yield_fuel: YIELD_FUEL,
            memory_bytes: EVALUATION_MEMORY_BYTES_MAX,
        }
    }
}

impl Bounds {
    /// Of a report, which tells of every rule and node, for policies larger than the gate takes.
    pub(super) fn of_reports() -> Bounds {
        Bounds {
            time: Duration::from_millis(EVALUATION_MS_MAX * 10),
            fuel: EVALUATION_FUEL_MAX * 50,
            memory_bytes: EVALUATION_MEMORY_BYTES_MAX * 4,
            ..Bounds::default()
        }
    }
}

/// The store's limiter: refuses growth past the bound and remembers how far memory went.
struct Memory {
    bytes_max: usize,
    bytes: usize,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.bytes_max;
        if granted {
            self.bytes = self.bytes.max(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        2
    }
}

/// A module ready to be evaluated. After an error it must not be used again.
pub(super) struct Instance {
    store: Store<Memory>,
    policy: Policy<DefaultContext>,
    bounds: Bounds,
}

impl Instance {
    /// A fresh instance. OPA's heap of data is empty: all that counts is in the input.
    pub(super) async fn new(
        engine: &Engine,
        module: &Module,
        entrypoints: &[&str],
        bounds: Bounds,
    ) -> Result<Instance> {
        let mut store = Store::new(engine, Memory { bytes_max: bounds.memory_bytes, bytes: 0 });
        store.limiter(|memory| memory);
        store.set_fuel(bounds.fuel).map_err(|e| failed("fuel", &e))?;
        store.fuel_async_yield_interval(Some(bounds.yield_fuel)).map_err(|e| failed("fuel", &e))?;
        let runtime = Runtime::new(&mut store, module).await.map_err(|e| failed("instance", &e))?;
        if !entrypoints.iter().all(|e| runtime.entrypoints().contains(*e)) {
            return Err(failed("instance", &"the module lacks an entrypoint"));
        }
        let policy = runtime.without_data(&mut store).await.map_err(|e| failed("instance", &e))?;
        Ok(Instance { store, policy, bounds })
    }

    /// Evaluates `input` at `entrypoint`: the bindings that the module gives.
    pub(super) async fn evaluate<I: Serialize + Sync, A: DeserializeOwned>(
        &mut self,
        entrypoint: &str,
        input: &I,
    ) -> Result<Vec<A>> {
        self.store.set_fuel(self.bounds.fuel).map_err(|e| failed("fuel", &e))?;
        self.policy.evaluate(&mut self.store, entrypoint, input).await.map_err(|e| failed("evaluation", &e))
    }

    /// Is it worth keeping? Memory that an unusual input made grow is never given back by wasm.
    pub(super) fn reusable(&self) -> bool {
        self.store.data().bytes <= self.bounds.memory_bytes / 2
    }

    /// Fuel that the last evaluation took.
    #[cfg(test)]
    pub(super) fn fuel_taken(&self) -> u64 {
        self.bounds.fuel - self.store.get_fuel().unwrap()
    }
}

/// The caller gets the code; the process's own log gets the cause.
pub(super) fn failed(step: &str, cause: &dyn Display) -> Error {
    tracing::error!(step, cause = %cause, "a policy could not be evaluated");
    Error::new(ErrorCode::EvaluationFailed, "the policy could not be evaluated")
}
