//! The ports in memory: small, honest implementations, each with the switches that tests need.

use perron_gate::{
    AgreementInForce, Agreements, Clock, DecisionRecord, Evaluated, Gate, Ledger, LogQueryRecord, LogRequest, Policy,
    Recorded, Register, Standing, VerifiedRequest,
};
use perron_model::dataset::{Column, ColumnType, Dataset, ProtectionClass, Regime, Snapshot, SubjectKey, Visibility};
use perron_model::decision::{AccessInput, Refused, StaffInput, StateFacts, Verdict};
use perron_model::id::DatasetId;
use perron_model::participant::Status;
use perron_model::policy::{
    Constraint, Left, Numbering, RowView, Rule, Rules as PolicyRules, Scalar, Terms, Test, View, ViewColumn,
};
use perron_model::request::ReadRequest;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

pub const PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
pub const READ: &str = "http://www.w3.org/ns/odrl/2/read";

pub fn member(name: &str) -> ParticipantId {
    ParticipantId::parse(name).unwrap()
}

pub fn agreement_id() -> AgreementId {
    Digest::of(b"agreement")
}

/// A clock that moves by a millisecond at each look.
#[derive(Clone, Default)]
pub struct Ticking(Arc<AtomicI64>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

/// A register of the two parties.
#[derive(Clone, Default)]
pub struct Members {
    pub statuses: BTreeMap<ParticipantId, Status>,
    /// Of whom it is past its time of use.
    pub stale: Vec<ParticipantId>,
    /// Was it signed well after what the clock shows?
    pub clock_behind: bool,
}

impl Register for Members {
    fn standing(&self, id: &ParticipantId, _: Timestamp) -> Standing {
        Standing {
            status: self.statuses.get(id).copied().unwrap_or(Status::Revoked),
            version: 7,
            fresh: !self.stale.contains(id),
            clock_behind: self.clock_behind,
        }
    }
    fn jurisdiction(&self, _: &ParticipantId) -> Option<String> {
        Some("BE".to_owned())
    }
}

/// The agreements known, changeable while requests run.
#[derive(Clone, Default)]
pub struct Known(pub Arc<Mutex<BTreeMap<AgreementId, AgreementInForce>>>);

impl Known {
    pub fn change(&self, change: impl FnOnce(&mut AgreementInForce)) {
        change(self.0.lock().unwrap().get_mut(&agreement_id()).unwrap());
    }
}

impl Agreements for Known {
    fn agreement(&self, id: &AgreementId) -> Option<AgreementInForce> {
        self.0.lock().unwrap().get(id).cloned()
    }
}

/// What the policy does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Decides by assignee, standing, state of the agreement, purpose and uses.
    Decide,
    /// Permits whatever is asked.
    Permit,
    /// Can't be evaluated.
    Fail,
    /// Refuses without a reason.
    Mute,
    /// Refuses with a code that isn't one of the table.
    Babble,
}

#[derive(Clone)]
pub struct Rules(pub Arc<Mutex<Mode>>);

impl Policy for Rules {
    async fn access(&self, input: &AccessInput) -> Result<Evaluated> {
        let mode = *self.0.lock().unwrap();
        let verdict = match mode {
            Mode::Decide => decide(input),
            Mode::Permit => Verdict::Permit,
            Mode::Fail => return Err(Error::new(ErrorCode::EvaluationFailed, "out of fuel")),
            Mode::Mute => Verdict::Refuse(Vec::new()),
            Mode::Babble => refused("sunshine", "sky"),
        };
        Ok(Evaluated { verdict, module: Digest::of(b"module") })
    }

    async fn staff(&self, input: &StaffInput) -> Result<Evaluated> {
        let mode = *self.0.lock().unwrap();
        let auditor = input.action == perron_gate::ASK_LOG && input.roles.iter().any(|role| role == "auditor");
        let verdict = match mode {
            Mode::Decide if auditor => Verdict::Permit,
            Mode::Decide => refused(ErrorCode::RoleMissing.as_str(), "roles"),
            Mode::Permit => Verdict::Permit,
            Mode::Fail => return Err(Error::new(ErrorCode::EvaluationFailed, "out of fuel")),
            Mode::Mute => Verdict::Refuse(Vec::new()),
            Mode::Babble => refused("sunshine", "sky"),
        };
        Ok(Evaluated { verdict, module: Digest::of(b"staff") })
    }
}

fn refused(code: &str, clause: &str) -> Verdict {
    Verdict::Refuse(vec![Refused { code: code.to_owned(), clause: clause.to_owned() }])
}

fn decide(input: &AccessInput) -> Verdict {
    let rule = &input.agreement.rules.permissions[0];
    let purpose = Scalar::Text(input.request.purpose.clone());
    let this_use = i64::try_from(input.state.uses).unwrap() + 1;
    let grounds = [
        (input.parties.register_fresh, ErrorCode::RegisterStale, "register"),
        (input.parties.consumer == Status::Active, ErrorCode::ParticipantSuspended, "parties.consumer"),
        (input.agreement.finalized, ErrorCode::AgreementNotInForce, "agreement"),
        (!input.agreement.revoked, ErrorCode::AgreementRevoked, "agreement"),
        (!input.agreement.suspended, ErrorCode::AgreementSuspended, "agreement"),
        (!input.agreement.amended, ErrorCode::AgreementAmended, "agreement"),
        (input.request.issuer == input.agreement.consumer, ErrorCode::AssigneeMismatch, "assignee"),
        (rule.action == input.request.action, ErrorCode::ActionNotAllowed, "actions"),
        (rule.nodes.any[0].values.contains(&purpose), ErrorCode::PurposeNotAllowed, "purposes"),
        (rule.nodes.ranges.iter().all(|n| this_use <= n.max), ErrorCode::UsesExhausted, "uses_max"),
    ];
    let known = |left: &str, value: &Scalar| {
        left.strip_prefix("fact/").is_none_or(|name| input.state.facts.get(name) == Some(value))
    };
    let facts = rule.nodes.any.iter().all(|n| n.values.iter().all(|value| known(&n.left, value)));
    let grounds = grounds.into_iter().chain([(facts, ErrorCode::ConstraintUnsatisfied, "facts")]);
    let missing: Vec<Refused> = grounds
        .filter(|(holds, _, _)| !holds)
        .map(|(_, code, clause)| Refused { code: code.as_str().to_owned(), clause: clause.to_owned() })
        .collect();
    if missing.is_empty() { Verdict::Permit } else { Verdict::Refuse(missing) }
}

/// A log in memory. A record is durable once the test's disk says so.
#[derive(Default)]
pub struct Log {
    pub records: Vec<DecisionRecord>,
    pub log_queries: Vec<LogQueryRecord>,
    pub summaries: BTreeMap<(ParticipantId, ErrorCode), u64>,
    requests: HashSet<Digest>,
}

#[derive(Default)]
pub struct Disk {
    /// Writes fail.
    pub full: bool,
    /// Nothing becomes durable.
    pub held: bool,
    waiting: Vec<Waker>,
}

#[derive(Clone, Default)]
pub struct MemoryLedger {
    pub log: Arc<Mutex<Log>>,
    pub disk: Arc<Mutex<Disk>>,
    turns: Arc<(Mutex<BTreeSet<AgreementId>>, Condvar)>,
    /// Requests that had to wait for a turn.
    pub waited: Arc<AtomicI64>,
    pub refusals_max: Arc<AtomicI64>,
}

impl MemoryLedger {
    /// Lets what was written become durable.
    pub fn release(&self) {
        let mut disk = self.disk.lock().unwrap();
        disk.held = false;
        disk.waiting.drain(..).for_each(Waker::wake);
    }
    pub fn permits(&self) -> usize {
        self.log.lock().unwrap().records.iter().filter(|r| r.verdict == Verdict::Permit).count()
    }
    pub fn last(&self) -> DecisionRecord {
        self.log.lock().unwrap().records.last().unwrap().clone()
    }
    pub fn len(&self) -> usize {
        self.log.lock().unwrap().records.len()
    }
    pub fn log_queries(&self) -> Vec<LogQueryRecord> {
        self.log.lock().unwrap().log_queries.clone()
    }
    /// Returns once what was written is durable.
    async fn durable_now(&self) {
        std::future::poll_fn(|context| {
            let mut disk = self.disk.lock().unwrap();
            if disk.held {
                disk.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// Given back when it is dropped.
pub struct Turn {
    turns: Arc<(Mutex<BTreeSet<AgreementId>>, Condvar)>,
    agreement: AgreementId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().unwrap().remove(&self.agreement);
        self.turns.1.notify_all();
    }
}

impl Ledger for MemoryLedger {
    type Turn = Turn;

    async fn turn(&self, agreement: &AgreementId) -> Turn {
        // Each test's request has its own thread, so waiting may block it.
        let mut held = self.turns.0.lock().unwrap();
        while !held.insert(*agreement) {
            self.waited.fetch_add(1, Ordering::AcqRel);
            held = self.turns.1.wait(held).unwrap();
        }
        Turn { turns: self.turns.clone(), agreement: *agreement }
    }

    fn state(&self, agreement: &AgreementId, _: Timestamp, _: &[perron_model::request::Acknowledgement]) -> StateFacts {
        let log = self.log.lock().unwrap();
        let charged = log.records.iter().filter(|r| r.request.request.agreement == *agreement);
        let uses = charged.filter(|r| r.verdict == Verdict::Permit).count() as u64;
        StateFacts { uses, ..StateFacts::default() }
    }

    async fn record(&self, turn: Turn, record: DecisionRecord) -> Result<Recorded> {
        let index = {
            if self.disk.lock().unwrap().full {
                return Err(Error::new(ErrorCode::LogUnavailable, "the log can't be written"));
            }
            let mut log = self.log.lock().unwrap();
            if !log.requests.insert(record.request.digest()) {
                return Err(Error::new(ErrorCode::RequestRepeated, "this request was answered before"));
            }
            log.records.push(record);
            log.records.len() as u64 - 1
        };
        drop(turn);
        self.durable_now().await;
        Ok(Recorded { index, leaf: leaf(index) })
    }

    fn durable(&self) -> u64 {
        DURABLE
    }

    async fn record_log_query(&self, record: LogQueryRecord) -> Result<Recorded> {
        let index = {
            if self.disk.lock().unwrap().full {
                return Err(Error::new(ErrorCode::LogUnavailable, "the log can't be written"));
            }
            let mut log = self.log.lock().unwrap();
            log.log_queries.push(record);
            DURABLE + log.log_queries.len() as u64 - 1
        };
        self.durable_now().await;
        Ok(Recorded { index, leaf: leaf(index) })
    }

    fn refusal_rate_ok(&self, _: &ParticipantId, _: &str, _: Timestamp) -> bool {
        self.refusals_max.fetch_sub(1, Ordering::SeqCst) > 0
    }

    fn summarise(&self, peer: &ParticipantId, reason: ErrorCode, _: Digest, _: Timestamp) {
        *self.log.lock().unwrap().summaries.entry((peer.clone(), reason)).or_default() += 1;
    }
}

/// Entries that are durable before a test's first statement over the log.
pub const DURABLE: u64 = 40;

pub fn leaf(index: u64) -> Digest {
    Digest::of(&index.to_be_bytes())
}

pub type TestGate = Gate<Members, Known, Rules, MemoryLedger, Ticking>;

/// A gate of `commune` with one agreement in force, and the handles of its world.
pub struct World {
    pub gate: TestGate,
    pub agreements: Known,
    pub policy: Rules,
    pub ledger: MemoryLedger,
}

pub fn world(uses_max: Option<u64>) -> World {
    world_of(uses_max, members())
}

pub fn members() -> Members {
    let statuses = BTreeMap::from([
        (member("commune"), Status::Active),
        (member("intercommunale"), Status::Active),
        (member("third"), Status::Active),
        (member("suspended"), Status::Suspended),
    ]);
    Members { statuses, ..Members::default() }
}

pub fn world_of(uses_max: Option<u64>, members: Members) -> World {
    let agreements = Known::default();
    agreements.0.lock().unwrap().insert(agreement_id(), agreement(uses_max));
    let policy = Rules(Arc::new(Mutex::new(Mode::Decide)));
    let ledger = MemoryLedger { refusals_max: Arc::new(AtomicI64::new(1_000)), ..MemoryLedger::default() };
    let gate =
        Gate::new(member("commune"), members, agreements.clone(), policy.clone(), ledger.clone(), Ticking::default());
    World { gate, agreements, policy, ledger }
}

fn agreement(uses_max: Option<u64>) -> AgreementInForce {
    let dataset = Dataset {
        id: DatasetId::parse("building_water").unwrap(),
        title: "Water".to_owned(),
        description: "Readings".to_owned(),
        theme: "ENVI".to_owned(),
        owner: "Commune".to_owned(),
        subject_key: SubjectKey::None,
        regime: Regime::PublicTask,
        visibility: Visibility::Members,
        columns: vec![Column {
            name: "litres".to_owned(),
            column_type: ColumnType::Number,
            meaning: "Litres in the hour".to_owned(),
            unit: "l".to_owned(),
            protection: ProtectionClass::None,
        }],
    };
    let created = Timestamp::from_millis(0).unwrap();
    AgreementInForce {
        id: agreement_id(),
        provider: member("commune"),
        consumer: member("intercommunale"),
        finalized: true,
        revoked: false,
        suspended: false,
        amended: false,
        legal_basis: "https://w3id.org/dpv#PublicInterest".to_owned(),
        agreed_at: created,
        known: perron_gate::Known::default(),
        terms: Arc::new(Terms {
            rules: Arc::new(rules(uses_max)),
            view: View::Rows(RowView {
                filter: Vec::new(),
                columns: vec![ViewColumn { name: "litres".to_owned(), mask: None }],
                rows_max: None,
            }),
        }),
        snapshot: Some(Snapshot::of(dataset.id.clone(), vec![Digest::of(b"part")], 1, created)),
        dataset: Arc::new(dataset),
    }
}

/// One permission: to read for [`PURPOSE`], `uses_max` times.
fn rules(uses_max: Option<u64>) -> PolicyRules {
    let (mut rule, mut numbering) = (Rule::new("permission[0]", READ), Numbering::default());
    let purpose = Test::Any(vec![Scalar::Text(PURPOSE.to_owned())]);
    let uses = uses_max.map(|max| Test::Range { min: 0, max: i64::try_from(max).unwrap() });
    for (left, test) in [(Left::Purpose, Some(purpose)), (Left::Count, uses)] {
        if let Some(test) = test {
            numbering.add(&mut rule, Constraint::Test { at: left.key(), left, test }).unwrap();
        }
    }
    PolicyRules { permissions: vec![rule], ..PolicyRules::default() }
}

/// Has the agreement's permission ask for a fact to be true.
pub fn ask_for_fact(agreement: &mut AgreementInForce, name: &str) {
    let mut rules = agreement.terms.rules.as_ref().clone();
    let (mut numbering, test) = (Numbering::default(), Test::Any(vec![Scalar::Boolean(true)]));
    let fact = Constraint::Test { at: name.to_owned(), left: Left::Fact(name.to_owned()), test };
    numbering.add(&mut rules.permissions[0], fact).unwrap();
    agreement.terms = Arc::new(Terms { rules: Arc::new(rules), view: agreement.terms.view.clone() });
}

/// A request of the consumer, told from others by its number.
pub fn request(number: u64) -> VerifiedRequest {
    let request = ReadRequest {
        id: format!("request-{number}"),
        issuer: member("intercommunale"),
        provider: member("commune"),
        agreement: agreement_id(),
        action: READ.to_owned(),
        purpose: PURPOSE.to_owned(),
        statement: Digest::of(b"statement"),
        user: "pseudonym".to_owned(),
        grant: "leaks".to_owned(),
        nonce: format!("nonce-{number}"),
        time: Timestamp::from_millis(0).unwrap(),
        trace: None,
        roles: None,
        seen: None,
        acknowledged: Vec::new(),
    };
    VerifiedRequest { request, jws: format!("jws-{number}"), beside: None, sealed: None }
}

/// A statement over the log, by a user of this role.
pub fn log_request(role: &str) -> LogRequest {
    let statement = "SELECT count(*) FROM log".to_owned();
    LogRequest { user: "pseudonym".to_owned(), roles: vec![role.to_owned()], statement, trace: None }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread.
pub fn run<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
