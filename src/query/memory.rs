//! Memory of one query: a share of its own within what all queries have together.

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use std::fmt;
use std::sync::Arc;

/// The pool of one query. Reservations go to both its own bound and the common one.
#[derive(Debug)]
pub(crate) struct QueryPool {
    own: GreedyMemoryPool,
    common: Arc<dyn MemoryPool>,
}

impl QueryPool {
    /// A pool of at most `bytes_max` within `common`.
    pub(crate) fn new(bytes_max: usize, common: Arc<dyn MemoryPool>) -> QueryPool {
        QueryPool { own: GreedyMemoryPool::new(bytes_max), common }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("query")
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }
    fn register(&self, consumer: &MemoryConsumer) {
        self.common.register(consumer);
    }
    fn unregister(&self, consumer: &MemoryConsumer) {
        self.common.unregister(consumer);
    }
    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.common.grow(reservation, additional);
    }
    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.common.shrink(reservation, shrink);
    }
    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.common.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }
    fn reserved(&self) -> usize {
        self.own.reserved()
    }
    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}
