//! Two lanes: a query that has worked for long lets others pass.
//!
//! Queries take turns on few threads, so as many long ones as are let in would make a short one
//! wait for each of them. Once the work of a query, with what the engine splits off from it, took
//! longer than `QUERY_QUICK_MS`, each further step waits for a place in the slow lane, which has one
//! thread less than there are. A short query finds a thread however many long ones run.
//!
//! A step may itself be long: a join tries pairs without end and makes no row of them. So whoever
//! tries pairs calls [`pace`]: past a step's time the thread is handed on to others, and what is left
//! of the step takes its turns in the slow lane.

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use perron_model::limits::{QUERY_QUICK_MS, QUERY_STEP_MS};
use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

/// The slow lane of an engine.
#[derive(Clone, Debug)]
pub(super) struct SlowLane(Arc<Semaphore>);

/// What one query has worked, and the lane that it then takes.
#[derive(Clone, Debug)]
struct Worked {
    micros: Arc<AtomicU64>,
    slow: SlowLane,
}

tokio::task_local! {
    /// The query of which a step runs.
    static QUERY: Worked;
}

thread_local! {
    /// The step that this thread takes.
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
}

/// A step under way.
struct Step {
    worked: Worked,
    /// Since when it has worked without letting anybody pass.
    begun: Instant,
    place: Option<OwnedSemaphorePermit>,
}

/// Ends the step of this thread, however it ends.
struct Stepping(Option<Step>);

impl Stepping {
    fn begin(step: Step) -> Stepping {
        Stepping(STEP.replace(Some(step)))
    }
}

impl Drop for Stepping {
    fn drop(&mut self) {
        if let Some(step) = STEP.replace(self.0.take()) {
            step.worked.add(step.begun);
        }
    }
}

/// Lets others pass where the step of this thread has taken its time, and returns when it is its turn
/// again. Outside of a step nothing happens.
pub(super) fn pace() {
    // Out of its place while it waits, so that nobody finds it borrowed.
    let Some(mut step) = STEP.take() else { return };
    if step.begun.elapsed().as_millis() >= u128::from(QUERY_STEP_MS) {
        step.worked.add(step.begun);
        step.place = None;
        let lane = step.worked.is_long().then(|| step.worked.slow.0.clone());
        // What others wait for on this thread goes on at another one.
        step.place =
            tokio::task::block_in_place(|| lane.and_then(|lane| Handle::current().block_on(lane.acquire_owned()).ok()));
        step.begun = Instant::now();
    }
    STEP.set(Some(step));
}

/// The work of a query, step by step.
pub(super) struct Driven {
    work: BoxFuture<'static, ()>,
    worked: Worked,
    place: PollSemaphore,
}

impl SlowLane {
    /// Of an engine with so many threads.
    pub(super) fn new(threads: usize) -> SlowLane {
        // The engine splits work off by spawning tasks, which belong to the query that did so. Set
        // once in a process; a second engine finds it set.
        let _ = set_join_set_tracer(&SplitOff);
        SlowLane(Arc::new(Semaphore::new(threads.saturating_sub(1).max(1))))
    }

    /// The work of a query that begins.
    pub(super) fn drive(&self, work: impl Future<Output = ()> + Send + 'static) -> Driven {
        let worked = Worked { micros: Arc::default(), slow: self.clone() };
        Driven { work: work.boxed(), place: PollSemaphore::new(self.0.clone()), worked }
    }
}

impl Worked {
    fn is_long(&self) -> bool {
        self.micros.load(Ordering::Relaxed) > QUERY_QUICK_MS.saturating_mul(1_000)
    }
    fn add(&self, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Future for Driven {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Given back after the step, so that those who wait take turns.
        let place = match this.worked.is_long() {
            true => ready!(this.place.poll_acquire(context)),
            false => None,
        };
        let _step = Stepping::begin(Step { worked: this.worked.clone(), begun: Instant::now(), place });
        QUERY.sync_scope(this.worked.clone(), || this.work.poll_unpin(context))
    }
}

/// Tasks that the engine spawns work on the account of the query that spawned them.
struct SplitOff;

impl JoinSetTracer for SplitOff {
    fn trace_future(&self, work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
        let Ok(worked) = QUERY.try_with(Worked::clone) else { return work };
        let (told, answer) = tokio::sync::oneshot::channel();
        let driven = Driven {
            work: work.map(|made| drop(told.send(made))).boxed(),
            place: PollSemaphore::new(worked.slow.0.clone()),
            worked,
        };
        async move {
            driven.await;
            // It was told before the work ended.
            match answer.await {
                Ok(made) => made,
                Err(_) => futures::future::pending().await,
            }
        }
        .boxed()
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    /// Works in steps of two milliseconds for a time; notes how many that are long do so at a time.
    async fn busy(total: Duration, at_work: Arc<AtomicUsize>, most: Arc<AtomicUsize>) {
        let mut worked = Duration::ZERO;
        while worked < total {
            let step = Instant::now();
            let long = worked > Duration::from_millis(QUERY_QUICK_MS + 10);
            if long {
                most.fetch_max(at_work.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
            }
            while step.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
            if long {
                at_work.fetch_sub(1, Ordering::AcqRel);
            }
            worked += step.elapsed();
            tokio::task::yield_now().await;
        }
    }

    /// Steps that never end by themselves, two for each thread there is.
    #[test]
    fn a_long_step_leaves_a_thread_to_short_work() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let lane = SlowLane::new(2);
        let (over, passed) = (Arc::<std::sync::atomic::AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let long: Vec<_> = (0..4)
            .map(|_| {
                let (over, passed) = (over.clone(), passed.clone());
                runtime.spawn(lane.drive(async move {
                    while !over.load(Ordering::Acquire) {
                        pace();
                        passed.fetch_add(1, Ordering::AcqRel);
                    }
                }))
            })
            .collect();
        // Each has its first time on the threads; then short work finds one of them.
        for _ in 0..20 {
            let short = runtime.spawn(lane.drive(async { tokio::task::yield_now().await }));
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), short).await.unwrap().unwrap() });
        }
        let before = passed.load(Ordering::Acquire);
        assert!(long.iter().all(|work| !work.is_finished()));
        over.store(true, Ordering::Release);
        long.into_iter().for_each(|work| runtime.block_on(work).unwrap());
        assert!(before > 0);
    }

    #[test]
    fn long_work_leaves_a_thread_to_short_work() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
        let lane = SlowLane::new(3);
        let (at_work, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let total = Duration::from_millis(QUERY_QUICK_MS + 60);
        let long: Vec<_> = (0..6)
            .map(|n| {
                let (at_work, most) = (at_work.clone(), most.clone());
                runtime.spawn(lane.drive(async move {
                    // Half of them split their work off, as the engine does.
                    if n % 2 == 0 {
                        let mut split = datafusion::common::runtime::JoinSet::new();
                        split.spawn(busy(total, at_work, most));
                        split.join_next().await.unwrap().unwrap();
                    } else {
                        busy(total, at_work, most).await;
                    }
                }))
            })
            .collect();
        long.into_iter().for_each(|work| runtime.block_on(work).unwrap());
        // The slow lane of three threads has two places.
        let most = most.load(Ordering::Acquire);
        assert!((1..=2).contains(&most), "{most}");
    }
}
