//! Grants for tests, from the one gate over small ports.

use super::{QueryEngine, QuerySettings, Releases, RowStream};
use crate::source::{ColumnHeader, CsvFormat, Encoding, Sets, SourceFile, SourceFormat};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use perron_gate::{
    AccessGrant, AgreementInForce, Agreements, Clock, DecisionRecord, Evaluated, Gate, Ledger, LogGrant,
    LogQueryRecord, LogRequest, LogSchemaGrant, Policy, Recorded, Register, ReleaseGrant, SchemaGrant, Standing,
    VerifiedRequest,
};
use perron_model::dataset::{Column, ColumnType, Dataset, ProtectionClass, Regime, Snapshot, SubjectKey, Visibility};
use perron_model::decision::{AccessInput, StaffInput, StateFacts, Verdict};
use perron_model::participant::Status;
use perron_model::policy::{Mask, Predicate, RowView, Terms, View, ViewColumn};
use perron_model::request::ReadRequest;
use perron_model::{AgreementId, DatasetId, Digest, ErrorCode, ParticipantId, Result, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000).unwrap()
}

pub(crate) fn agreement() -> AgreementId {
    Digest::of(b"agreement")
}

/// Entries that a grant of the log sees here.
pub(crate) const DURABLE: u64 = 1_000;

struct Ports(AgreementInForce);
struct Yes;

impl Register for Yes {
    fn standing(&self, _: &ParticipantId, _: Timestamp) -> Standing {
        Standing { status: Status::Active, version: 1, fresh: true, clock_behind: false }
    }
    fn jurisdiction(&self, _: &ParticipantId) -> Option<String> {
        None
    }
}
impl Agreements for Ports {
    fn agreement(&self, id: &AgreementId) -> Option<AgreementInForce> {
        (*id == self.0.id).then(|| self.0.clone())
    }
}
impl Policy for Yes {
    async fn access(&self, _: &AccessInput) -> Result<Evaluated> {
        Ok(Evaluated { verdict: Verdict::Permit, module: Digest::of(b"module") })
    }
    async fn staff(&self, _: &StaffInput) -> Result<Evaluated> {
        Ok(Evaluated { verdict: Verdict::Permit, module: Digest::of(b"module") })
    }
}
impl Ledger for Yes {
    type Turn = ();
    async fn turn(&self, _: &AgreementId) {}
    fn state(&self, _: &AgreementId, _: Timestamp, _: &[perron_model::request::Acknowledgement]) -> StateFacts {
        StateFacts::default()
    }
    async fn record(&self, (): (), _: DecisionRecord) -> Result<Recorded> {
        Ok(Recorded { index: 0, leaf: Digest::of(b"leaf") })
    }
    fn durable(&self) -> u64 {
        DURABLE
    }
    async fn record_log_query(&self, _: LogQueryRecord) -> Result<Recorded> {
        Ok(Recorded { index: DURABLE, leaf: Digest::of(b"leaf") })
    }
    fn refusal_rate_ok(&self, _: &ParticipantId, _: &str, _: Timestamp) -> bool {
        true
    }
    fn summarise(&self, _: &ParticipantId, _: ErrorCode, _: Digest, _: Timestamp) {}
}
impl Clock for Yes {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// What the gate gives for a view of a snapshot.
pub(crate) struct Grants {
    gate: Gate<Yes, Ports, Yes, Yes, Yes>,
}

impl Grants {
    pub(crate) fn of(dataset: &Dataset, snapshot: &Snapshot, view: View) -> Grants {
        let (provider, consumer) = parties();
        let terms = Terms { rules: Arc::default(), view };
        let in_force = AgreementInForce {
            id: agreement(),
            provider: provider.clone(),
            consumer,
            finalized: true,
            revoked: false,
            suspended: false,
            amended: false,
            agreed_at: now(),
            known: perron_gate::Known::default(),
            legal_basis: String::new(),
            terms: Arc::new(terms),
            dataset: Arc::new(dataset.clone()),
            snapshot: Some(snapshot.clone()),
        };
        Grants { gate: Gate::new(provider, Yes, Ports(in_force), Yes, Yes, Yes) }
    }

    pub(crate) async fn access(&self) -> AccessGrant {
        let (provider, issuer) = parties();
        let request = ReadRequest {
            id: String::new(),
            issuer,
            provider,
            agreement: agreement(),
            action: String::new(),
            purpose: String::new(),
            statement: Digest::of(b""),
            user: String::new(),
            grant: String::new(),
            nonce: String::new(),
            time: now(),
            trace: None,
            roles: None,
            seen: None,
            acknowledged: vec![],
        };
        self.gate.admit(VerifiedRequest { request, jws: String::new(), beside: None, sealed: None }).await.unwrap()
    }

    /// Of the log, under whatever agreement.
    pub(crate) fn of_log() -> Grants {
        let set = dataset("numbers", None, &[("a", ColumnType::Integer)]);
        let snapshot = Snapshot::of(set.id.clone(), Vec::new(), 0, now());
        Grants::of(&set, &snapshot, rows_view(Vec::new(), &[("a", None)], None))
    }

    pub(crate) async fn log(&self, sql: &str) -> LogGrant {
        self.gate.admit_log(log_request(sql)).await.unwrap()
    }

    pub(crate) async fn log_schema(&self, sql: &str) -> LogSchemaGrant {
        self.gate.admit_log_schema(log_request(sql)).await.unwrap()
    }

    pub(crate) fn schema(&self) -> SchemaGrant {
        self.gate.admit_schema(&parties().1, &agreement()).unwrap()
    }

    pub(crate) fn release(&self) -> ReleaseGrant {
        self.gate.admit_release(&agreement()).unwrap()
    }
}

fn log_request(sql: &str) -> LogRequest {
    LogRequest { user: String::new(), roles: Vec::new(), statement: sql.to_owned(), trace: None }
}

fn parties() -> (ParticipantId, ParticipantId) {
    (ParticipantId::parse("commune").unwrap(), ParticipantId::parse("intercommunale").unwrap())
}

/// A directory with sets, releases and an engine.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) sets: Arc<Sets>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) engine: QueryEngine,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with(QuerySettings::default())
    }
    pub(crate) fn with(settings: QuerySettings) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let sets = Arc::new(Sets::open(&directory.path().join("sets")).unwrap());
        let releases = Arc::new(Releases::open(&directory.path().join("released")).unwrap());
        let engine = QueryEngine::new(Arc::clone(&sets), Arc::clone(&releases), settings).unwrap();
        Bench { directory, sets, releases, engine }
    }
    /// Waits until a query may run: one that ended, or whose reader went away, gives its place back.
    pub(crate) async fn until_free(&self) {
        let free = async {
            while self.engine.permit().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), free).await.unwrap();
    }
    /// Publishes lines of plain CSV (`,`, UTF-8, ISO dates, UTC).
    pub(crate) fn publish(&self, dataset: &Dataset, csv: &str) -> Snapshot {
        self.sets.add(dataset.clone(), &self.plain(csv), now()).unwrap()
    }
    pub(crate) fn plain(&self, csv: &str) -> SourceFile {
        let path = self.directory.path().join(format!("{}.csv", Digest::of(csv.as_bytes())));
        std::fs::write(&path, csv).unwrap();
        SourceFile { path, format: SourceFormat::Csv(plain_format()), columns: vec![] }
    }
    pub(crate) async fn rows(&self, grants: &Grants, sql: &str) -> Result<Vec<String>> {
        let stream = self.engine.run(&grants.access().await, sql, key).await?;
        collect(stream).await
    }
}

pub(crate) fn plain_format() -> CsvFormat {
    CsvFormat {
        separator: ',',
        encoding: Encoding::Utf8,
        decimal: '.',
        thousands: None,
        date: "%Y-%m-%d".into(),
        timestamp: "%Y-%m-%d %H:%M".into(),
        time_zone: "UTC".into(),
    }
}

pub(crate) fn key(column: &str) -> [u8; 32] {
    *Digest::of(column.as_bytes()).as_bytes()
}

/// The rows of a stream as text, `|` between values.
pub(crate) async fn collect(mut stream: RowStream) -> Result<Vec<String>> {
    let schema = stream.schema();
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert_eq!(batch.schema(), schema);
        rows.extend(texts(&batch));
    }
    Ok(rows)
}

pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let cells: Vec<String> =
                batch.columns().iter().map(|c| array_value_to_string(c.as_ref(), row).unwrap()).collect();
            cells.join("|")
        })
        .collect()
}

pub(crate) fn dataset(id: &str, subject: Option<&str>, columns: &[(&str, ColumnType)]) -> Dataset {
    let columns = columns
        .iter()
        .map(|(name, column_type)| Column {
            name: (*name).into(),
            column_type: *column_type,
            meaning: "a column".into(),
            unit: String::new(),
            protection: if subject.is_some() { ProtectionClass::Personal } else { ProtectionClass::None },
        })
        .collect();
    Dataset {
        id: DatasetId::parse(id).unwrap(),
        title: "a set".into(),
        description: "a set of rows".into(),
        theme: "ENVI".into(),
        owner: "a commune".into(),
        subject_key: subject.map_or(SubjectKey::None, |s| SubjectKey::Column(s.into())),
        regime: Regime::PublicTask,
        visibility: Visibility::Members,
        columns,
    }
    .check()
    .unwrap()
}

pub(crate) fn rows_view(filter: Vec<Predicate>, columns: &[(&str, Option<Mask>)], rows_max: Option<u64>) -> View {
    let columns = columns.iter().map(|(name, mask)| ViewColumn { name: (*name).into(), mask: *mask }).collect();
    View::Rows(RowView { filter, columns, rows_max })
}

pub(crate) fn demo(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/data").join(file)
}

pub(crate) fn demo_csv(file: &str, headers: &[(&str, &str)]) -> SourceFile {
    let columns =
        headers.iter().map(|(name, header)| ColumnHeader { name: (*name).into(), header: Some((*header).into()) });
    SourceFile { path: demo(file), format: SourceFormat::Csv(CsvFormat::default()), columns: columns.collect() }
}

/// The households of the demonstration.
pub(crate) fn households() -> (Dataset, Vec<SourceFile>) {
    let set = dataset(
        "household-water",
        Some("menage"),
        &[
            ("compteur", ColumnType::Text),
            ("menage", ColumnType::Text),
            ("secteur", ColumnType::Text),
            ("occupants", ColumnType::Integer),
            ("date", ColumnType::Date),
            ("litres", ColumnType::Number),
        ],
    );
    let files = ["01", "02", "03"].map(|m| demo_csv(&format!("household_water_2025-{m}.csv"), &[("menage", "ménage")]));
    (set, files.into())
}

/// The water of the buildings of the demonstration.
pub(crate) fn building_water() -> (Dataset, SourceFile) {
    let set = dataset(
        "building-water",
        None,
        &[
            ("nis", ColumnType::Text),
            ("building", ColumnType::Text),
            ("meter", ColumnType::Text),
            ("start", ColumnType::Timestamp),
            ("litres", ColumnType::Number),
            ("minutes_present", ColumnType::Integer),
        ],
    );
    (set, demo_csv("building_water_hours_2015.csv", &[("start", "start_local")]))
}
