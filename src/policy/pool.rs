//! A bounded pool of instances of one module.

use crate::policy::answer::verdict;
use crate::policy::instance::{Bounds, Instance, failed};
use perron_model::decision::Verdict;
use perron_model::limits::EVALUATION_POOL;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use wasmtime::{Engine, Module};

/// A module with its warm instances. At most [`EVALUATION_POOL`] evaluate at a time; others wait
/// in order, each for a time that is bounded by the evaluations before it.
pub(super) struct Pool {
    engine: Engine,
    module: Module,
    name: &'static str,
    entrypoints: &'static [&'static str],
    digest: Digest,
    bounds: Bounds,
    permits: Semaphore,
    idle: Mutex<Vec<Instance>>,
}

impl Pool {
    /// Compiles `wasm`, or takes it from the engine's cache.
    pub(super) fn new(
        engine: &Engine,
        name: &'static str,
        entrypoints: &'static [&'static str],
        wasm: &[u8],
        bounds: Bounds,
    ) -> Result<Pool> {
        let module = Module::new(engine, wasm).map_err(|error| {
            tracing::error!(%error, name, "a policy module can't be compiled");
            Error::new(ErrorCode::Internal, format!("the policy module `{name}` can't be compiled"))
        })?;
        Ok(Pool {
            engine: engine.clone(),
            module,
            name,
            entrypoints,
            digest: Digest::of(wasm),
            bounds,
            permits: Semaphore::new(EVALUATION_POOL),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The module's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// SHA-256 of the module's wasm.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Makes one instance ready.
    pub(super) async fn warm(&self) -> Result<()> {
        let instance = Instance::new(&self.engine, &self.module, self.entrypoints, self.bounds).await?;
        self.put(instance);
        Ok(())
    }

    /// Decides about `input` at the module's first entrypoint.
    pub(super) async fn decide<I: Serialize + Sync>(&self, input: &I) -> Result<Verdict> {
        let entrypoint = self.entrypoints.first().copied().unwrap_or_default();
        verdict(self.evaluate(entrypoint, input).await?)
    }

    /// Evaluates `input` once, in an instance of its own with wider bounds: nothing waits for it.
    pub(super) async fn evaluate_apart<I: Serialize + Sync, A: DeserializeOwned>(
        &self,
        entrypoint: &str,
        input: &I,
        bounds: Bounds,
    ) -> Result<Vec<A>> {
        let mut instance = Instance::new(&self.engine, &self.module, self.entrypoints, bounds).await?;
        tokio::time::timeout(bounds.time, instance.evaluate(entrypoint, input))
            .await
            .map_err(|e| failed("deadline", &e))?
    }

    /// Evaluates `input` at one of the entrypoints. An instance that failed, or was cut off by the deadline or by a caller
    /// who went away, is dropped: only one that answered goes back.
    pub(super) async fn evaluate<I: Serialize + Sync, A: DeserializeOwned>(
        &self,
        entrypoint: &str,
        input: &I,
    ) -> Result<Vec<A>> {
        let _permit = self.permits.acquire().await.map_err(|e| failed("pool", &e))?;
        let work = async {
            let mut instance = match self.take() {
                Some(instance) => instance,
                None => Instance::new(&self.engine, &self.module, self.entrypoints, self.bounds).await?,
            };
            let answers = instance.evaluate(entrypoint, input).await?;
            self.put(instance);
            Ok(answers)
        };
        tokio::time::timeout(self.bounds.time, work).await.map_err(|e| failed("deadline", &e))?
    }

    /// Instances at rest.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.instances().len()
    }

    fn take(&self) -> Option<Instance> {
        self.instances().pop()
    }

    fn put(&self, instance: Instance) {
        let mut idle = self.instances();
        if idle.len() < EVALUATION_POOL && instance.reusable() {
            idle.push(instance);
        }
    }

    fn instances(&self) -> MutexGuard<'_, Vec<Instance>> {
        // Only pushes and pops happen under the lock, so a poisoned one still holds a sound list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
