//! The engine: from a grant and a statement to a stream of rows.

use super::decoded::Decoded;
use super::errors;
use super::functions;
use super::guard::Guard;
use super::lanes::SlowLane;
use super::log::{LogTable, LogTables};
use super::memory::QueryPool;
use super::release::{Released, Releases, Wanted, released_schema};
use super::run::{BATCHES_AHEAD, Cut, Message, RowStream, contained, feed, stopped, until};
use super::statement::{Statement, table_names};
use super::view::ViewTable;
use crate::source::Sets;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as SqlStatement;
use perron_gate::{AccessGrant, LogGrant, LogSchemaGrant, ReleaseGrant, SchemaGrant, Stop};
use perron_model::dataset::Dataset;
use perron_model::limits::{
    BATCH_ROWS, QUERIES_MAX, QUERY_MEMORY_BYTES_MAX, QUERY_MEMORY_EACH_BYTES_MAX, QUERY_MS_MAX, QUERY_STACK_BYTES,
    QUERY_THREADS,
};
use perron_model::policy::View;
use perron_model::{AgreementId, DatasetId, Error, ErrorCode, Result};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Bounds of an engine; the default takes them from [`perron_model::limits`].
#[derive(Clone, Copy, Debug)]
pub struct QuerySettings {
    /// Threads that plan and run queries.
    pub threads: usize,
    /// Memory that all queries may reserve, in bytes.
    pub memory_bytes_max: usize,
    /// Memory that one query may reserve, in bytes.
    pub memory_each_bytes_max: usize,
    /// Queries at a time.
    pub queries_max: usize,
    /// Longest query, in milliseconds, with the time that its reader takes.
    pub query_ms_max: u64,
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings {
            threads: QUERY_THREADS,
            memory_bytes_max: QUERY_MEMORY_BYTES_MAX,
            memory_each_bytes_max: QUERY_MEMORY_EACH_BYTES_MAX,
            queries_max: QUERIES_MAX,
            query_ms_max: QUERY_MS_MAX,
        }
    }
}

/// Runs statements over what grants allow, on threads of its own.
#[derive(Debug)]
pub struct QueryEngine {
    sets: Arc<Sets>,
    releases: Arc<Releases>,
    decoded: Arc<Decoded>,
    settings: QuerySettings,
    memory: Arc<dyn MemoryPool>,
    permits: Arc<Semaphore>,
    lane: SlowLane,
    threads: Threads,
}

/// Ends with the engine, also where blocking isn't allowed; queries that run are cut.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl QueryEngine {
    /// An engine over `sets` and `releases`.
    pub fn new(sets: Arc<Sets>, releases: Arc<Releases>, settings: QuerySettings) -> Result<QueryEngine> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("perron-query")
            .thread_stack_size(QUERY_STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|_| Error::new(ErrorCode::Internal, "the threads of queries can't be started"))?;
        Ok(QueryEngine {
            sets,
            releases,
            decoded: Arc::default(),
            settings,
            memory: Arc::new(GreedyMemoryPool::new(settings.memory_bytes_max)),
            permits: Arc::new(Semaphore::new(settings.queries_max)),
            lane: SlowLane::new(settings.threads),
            threads: Threads(Some(runtime)),
        })
    }

    /// Schema of what `sql` gives under `grant`. Plans only; no row is read.
    pub async fn schema(&self, grant: &SchemaGrant, sql: &str) -> Result<SchemaRef> {
        let permit = self.permit()?;
        let dataset = Arc::clone(grant.dataset());
        let table = empty_table(&dataset, grant.view())?;
        let session = self.session(table.partitions())?;
        let sql = sql.to_owned();
        self.on_threads(permit, async move {
            let plan = plan(&session, &dataset.id, &sql, Arc::new(table)).await?;
            Ok(plan.schema())
        })
        .await
    }

    /// Schema of the table that statements under `grant` see.
    pub fn table_schema(&self, grant: &SchemaGrant) -> Result<SchemaRef> {
        Ok(empty_table(grant.dataset(), grant.view())?.schema())
    }

    /// Runs `sql` under `grant`. `mask_key` gives the key of a column that the view hashes: 32
    /// bytes of this agreement and column. What planning refuses comes back at once; the rest
    /// comes as the stream's last item.
    pub async fn run(&self, grant: &AccessGrant, sql: &str, mask_key: impl Fn(&str) -> [u8; 32]) -> Result<RowStream> {
        if let Some(reason) = grant.stop().reason() {
            return Err(stopped(reason));
        }
        let permit = self.permit()?;
        let keys = keys(grant, mask_key);
        let rows_max = grant.row_view().and_then(|v| v.rows_max);
        let work = Work {
            dataset: Arc::clone(grant.dataset()),
            view: Arc::clone(grant.view()),
            agreement: grant.agreement(),
            snapshot: grant.snapshot().clone(),
            sets: Arc::clone(&self.sets),
            releases: Arc::clone(&self.releases),
            decoded: Arc::clone(&self.decoded),
            keys,
            sql: sql.to_owned(),
        };
        let environment = self.environment();
        let planning = async move {
            let table = work.table().await?;
            let session = session(environment, table.partitions())?;
            let plan = plan(&session, &work.dataset.id, &work.sql, Arc::new(table)).await?;
            Ok((session, plan))
        };
        self.begin(permit, grant.stop(), rows_max, planning).await
    }

    /// Schema of what `sql` gives over the tables of the log. Plans only; no entry is read.
    pub async fn log_schema(&self, grant: &LogSchemaGrant, tables: Arc<dyn LogTables>) -> Result<SchemaRef> {
        let permit = self.permit()?;
        let (session, sql) = (self.session(1)?, grant.statement().to_owned());
        self.on_threads(permit, async move { Ok(plan_log(&session, &sql, &tables, 0).await?.schema()) }).await
    }

    /// Runs `sql` over the entries of the log that `grant` shows. What planning refuses comes back at
    /// once; the rest comes as the stream's last item.
    pub async fn run_log(&self, grant: &LogGrant, sql: &str, tables: Arc<dyn LogTables>) -> Result<RowStream> {
        if let Some(reason) = grant.stop().reason() {
            return Err(stopped(reason));
        }
        let permit = self.permit()?;
        let (session, sql, entries) = (self.session(1)?, sql.to_owned(), grant.entries());
        let planning = async move {
            let plan = plan_log(&session, &sql, &tables, entries).await?;
            Ok((session, plan))
        };
        self.begin(permit, grant.stop(), None, planning).await
    }

    /// Runs what `planning` gives, on threads of its own.
    async fn begin(
        &self,
        permit: OwnedSemaphorePermit,
        stop: &Stop,
        rows_max: Option<u64>,
        planning: impl Future<Output = Result<(SessionContext, Arc<dyn ExecutionPlan>)>> + Send + 'static,
    ) -> Result<RowStream> {
        let (planned, schema) = oneshot::channel();
        let (messages, received) = mpsc::channel(BATCHES_AHEAD);
        let guard = self.guard(stop.clone());
        let gone = Arc::clone(&guard.gone);
        let task = self.spawn(async move {
            let mut planned = Some(planned);
            let result = contained(until(guard.deadline, async {
                let (session, plan) = planning.await?;
                if let Some(planned) = planned.take() {
                    let _ = planned.send(Ok(plan.schema()));
                }
                let kept = guard.keep(plan).map_err(|e| errors::execution(&e))?;
                let batches = execute_stream(kept, session.task_ctx()).map_err(|e| errors::execution(&e))?;
                feed(batches, &messages, &guard).await
            }))
            .await;
            drop(permit);
            match (result, planned.take()) {
                (Err(e), Some(planned)) => drop(planned.send(Err(e))),
                (Err(e), None) => drop(messages.send(Message::Failed(e)).await),
                (Ok(()), _) => drop(messages.send(Message::End).await),
            }
        })?;
        let cut = Cut { task, gone };
        let schema = schema.await.map_err(|_| errors::internal("ended"))??;
        Ok(RowStream::new(schema, received, stop.clone(), rows_max, cut))
    }

    /// Computes the released table of `agreement` from the grant's snapshot and keeps it. Periods
    /// that were released before stay as they are; if there is no other, `release_exists`. Where
    /// what other tables gave forbids it, `release_overlap`; where no ε is left, `budget_exhausted`.
    pub async fn release(&self, grant: &ReleaseGrant, agreement: AgreementId) -> Result<Released> {
        let permit = self.permit()?;
        let (dataset, spec, snapshot) = (Arc::clone(grant.dataset()), grant.spec().clone(), grant.snapshot().clone());
        let (sets, releases) = (Arc::clone(&self.sets), Arc::clone(&self.releases));
        let threads = self.settings.threads;
        self.on_threads(permit, async move {
            let waited = Waited::default();
            let gone = Arc::clone(&waited.0);
            blocking(move || {
                let (sets, dataset, gone) = (sets.as_ref(), dataset.as_ref(), gone.as_ref());
                let wanted = Wanted { sets, dataset, spec: &spec, snapshot: &snapshot, agreement, threads, gone };
                releases.compute(&wanted)
            })
            .await
        })
        .await
    }

    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            Error::new(ErrorCode::Overloaded, format!("{} queries are running already", self.settings.queries_max))
        })
    }

    fn guard(&self, stop: Stop) -> Guard {
        let deadline = Instant::now() + Duration::from_millis(self.settings.query_ms_max);
        Guard { stop, deadline, gone: Arc::new(AtomicBool::new(false)) }
    }

    fn environment(&self) -> Environment {
        Environment { memory: Arc::clone(&self.memory), each_bytes_max: self.settings.memory_each_bytes_max }
    }

    fn session(&self, partitions: usize) -> Result<SessionContext> {
        session(self.environment(), partitions)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
        let runtime = self.threads.0.as_ref().ok_or_else(|| errors::internal("threads"))?;
        Ok(runtime.spawn(self.lane.drive(work)).abort_handle())
    }

    /// Runs `work` to its end on the engine's threads; it is cut if the caller goes away.
    async fn on_threads<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let guard = self.guard(Stop::new());
        let gone = Arc::clone(&guard.gone);
        let task = self.spawn(async move {
            let result = contained(until(guard.deadline, work)).await;
            drop(permit);
            let _ = done.send(result);
        })?;
        let _cut = Cut { task, gone };
        result.await.map_err(|_| errors::internal("ended"))?
    }
}

/// Tells what works on another thread when nobody waits for it any more.
#[derive(Default)]
struct Waited(Arc<AtomicBool>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What one execution needs of its grant.
struct Work {
    dataset: Arc<Dataset>,
    view: Arc<View>,
    agreement: AgreementId,
    snapshot: perron_model::dataset::Snapshot,
    sets: Arc<Sets>,
    releases: Arc<Releases>,
    decoded: Arc<Decoded>,
    keys: BTreeMap<String, [u8; 32]>,
    sql: String,
}

impl Work {
    /// The table of the grant. Opening parts for the first time reads them whole, so it is done
    /// where blocking is allowed.
    async fn table(&self) -> Result<ViewTable> {
        match self.view.as_ref() {
            View::Rows(view) => {
                let (sets, snapshot) = (Arc::clone(&self.sets), self.snapshot.clone());
                let parts = blocking(move || sets.parts(&snapshot)).await?;
                let keys = |column: &str| self.keys.get(column).copied().unwrap_or_default();
                ViewTable::new(&self.dataset, view, parts, &keys, &self.decoded)
            }
            View::Aggregates(spec) => {
                let (releases, agreement) = (Arc::clone(&self.releases), self.agreement);
                let parts = blocking(move || releases.table(&agreement)).await?.ok_or_else(|| {
                    Error::new(ErrorCode::ReleaseMissing, "no table has been released under the agreement yet")
                })?;
                ViewTable::whole(released_schema(&self.dataset, spec)?, parts)
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| errors::internal("panic"))?
}

fn keys(grant: &AccessGrant, mask_key: impl Fn(&str) -> [u8; 32]) -> BTreeMap<String, [u8; 32]> {
    use perron_model::policy::Mask;
    let columns = grant.row_view().map(|v| v.columns.as_slice()).unwrap_or_default();
    let hashed = columns.iter().filter(|c| c.mask == Some(Mask::KeyedHash));
    hashed.map(|c| (c.name.clone(), mask_key(&c.name))).collect()
}

/// The table of a view without rows, to plan over.
fn empty_table(dataset: &Dataset, view: &View) -> Result<ViewTable> {
    match view {
        View::Rows(view) => ViewTable::new(dataset, view, Vec::new(), &|_| [0; 32], &Arc::new(Decoded::none())),
        View::Aggregates(spec) => ViewTable::whole(released_schema(dataset, spec)?, Vec::new()),
    }
}

/// What sessions of an engine share.
struct Environment {
    memory: Arc<dyn MemoryPool>,
    each_bytes_max: usize,
}

/// A session of its own for one execution: no table yet, no functions but the listed ones, no
/// files on the disk, a bound on memory.
fn session(environment: Environment, partitions: usize) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(QueryPool::new(environment.each_bytes_max, environment.memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .map_err(|_| errors::internal("environment"))?;
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false);
    let options = config.options_mut();
    // Clients know plain texts; views of texts are newer than many of them.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.expand_views_at_output = true;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // A rewriting that fails is left out: the plan as it was is right, if slower.
    options.optimizer.skip_failed_rules = true;
    let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime);
    Ok(SessionContext::new_with_state(functions::register(builder).build()))
}

/// Plans `sql` over `table` alone.
async fn plan(
    session: &SessionContext,
    dataset: &DatasetId,
    sql: &str,
    table: Arc<ViewTable>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let statement = Statement::parse(sql, dataset)?;
    let tables = table_names(dataset).into_iter().map(|name| (name, Arc::clone(&table) as Arc<dyn TableProvider>));
    plan_over(session, statement, tables.collect()).await
}

/// Plans `sql` over the tables of the log alone, of which it sees the first `entries` entries.
async fn plan_log(
    session: &SessionContext,
    sql: &str,
    tables: &Arc<dyn LogTables>,
    entries: u64,
) -> Result<Arc<dyn ExecutionPlan>> {
    let tables: Vec<(String, Arc<dyn TableProvider>)> = LogTable::all(tables, entries)
        .into_iter()
        .map(|(name, table)| (name.to_owned(), Arc::new(table) as Arc<dyn TableProvider>))
        .collect();
    let names = tables.iter().map(|(name, _)| name.clone()).collect();
    let planned = async { plan_over(session, Statement::parse_of_log(sql, names)?, tables).await };
    planned.await.map_err(errors::of_log)
}

/// Plans a statement over these tables alone.
async fn plan_over(
    session: &SessionContext,
    statement: Statement,
    tables: Vec<(String, Arc<dyn TableProvider>)>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let names: Vec<String> = tables.iter().map(|(name, _)| name.clone()).collect();
    for (name, table) in tables {
        session.register_table(TableReference::bare(name), table).map_err(|_| errors::internal("table"))?;
    }
    let state = session.state();
    let logical = state
        .statement_to_plan(SqlStatement::Statement(Box::new(statement.syntax)))
        .await
        .map_err(|e| errors::planning(&e))?;
    check_plan(&logical, &names)?;
    state.create_physical_plan(&logical).await.map_err(|e| errors::planning(&e))
}

/// The second net: a plan reads the grant's tables and nothing else, and changes nothing.
fn check_plan(plan: &LogicalPlan, names: &[String]) -> Result<()> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options
        .verify_plan(plan)
        .map_err(|_| Error::new(ErrorCode::StatementNotAllowed, "only SELECT statements are served"))?;
    let mut stray = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            stray |= !names.iter().any(|n| n == scan.table_name.table());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if stray || walked.is_err() {
        return Err(Error::new(ErrorCode::TableNotGranted, "the statement reads another table than the agreement's"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
