//! Decisions: the gate over everything that a provider's process has — its register, agreements,
//! policies in wasm, counters — on the directory that the process left.
//!
//! Alone, a decision is what the gate and the policy cost: its entry is not waited for. With the
//! log it is what a read waits for before its first row.

use crate::figure::{Figure, Goal, Line, Round, Rounds, Seen};
use crate::flush::Probe;
use crate::link::Member;
use crate::reads::sign;
use crate::size::Size;
use crate::space::Space;
use crate::{conditions, failed, micros};
use perron::connector::ports::{AgreementsPort, ClockPort, PolicyPort, RegisterPort};
use perron::connector::state::State;
use perron::ledger::{Ledger, SystemClock};
use perron::policy::Policies;
use perron::source::Sets;
use perron::store::Store;
use perron_gate::{Clock, DecisionRecord, Evaluated, Gate, LogQueryRecord, Policy, Recorded, VerifiedRequest};
use perron_model::decision::{AccessInput, StaffInput, StateFacts};
use perron_model::request::Acknowledgement;
use perron_model::{AgreementId, Digest, ErrorCode, ParticipantId, Result, Timestamp};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Decisions between two flushes.
const BETWEEN_FLUSHES: usize = 20;

/// The real ledger, but a decision's entry is dropped instead of written: what is left is the
/// decision alone.
struct Unwritten(Ledger);

impl perron_gate::Ledger for Unwritten {
    type Turn = <Ledger as perron_gate::Ledger>::Turn;
    async fn turn(&self, agreement: &AgreementId) -> Self::Turn {
        perron_gate::Ledger::turn(&self.0, agreement).await
    }
    fn state(&self, agreement: &AgreementId, now: Timestamp, acknowledged: &[Acknowledgement]) -> StateFacts {
        perron_gate::Ledger::state(&self.0, agreement, now, acknowledged)
    }
    async fn record(&self, turn: Self::Turn, record: DecisionRecord) -> Result<Recorded> {
        drop(turn);
        Ok(Recorded { index: 0, leaf: record.request.digest() })
    }
    fn durable(&self) -> u64 {
        perron_gate::Ledger::durable(&self.0)
    }
    async fn record_log_query(&self, record: LogQueryRecord) -> Result<Recorded> {
        perron_gate::Ledger::record_log_query(&self.0, record).await
    }
    fn refusal_rate_ok(&self, peer: &ParticipantId, user: &str, now: Timestamp) -> bool {
        perron_gate::Ledger::refusal_rate_ok(&self.0, peer, user, now)
    }
    fn summarise(&self, peer: &ParticipantId, reason: ErrorCode, refused: Digest, now: Timestamp) {
        perron_gate::Ledger::summarise(&self.0, peer, reason, refused, now);
    }
}

/// A provider's rooms, opened on its directory as its process opens them.
pub(crate) struct Rooms {
    pub(crate) member: Member,
    pub(crate) state: Arc<State>,
    sets: Arc<Sets>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) ledger: Ledger,
}

impl Rooms {
    pub(crate) fn open(directory: &Path) -> Result<Rooms> {
        let member = Member::open(directory)?;
        let state = Arc::new(State::open(Store::open(&directory.join("state"))?)?);
        let ledger = member.ledger(directory, state.clone())?;
        let sets = Arc::new(Sets::open(&directory.join("sets"))?);
        let policies = Arc::new(Policies::load(&directory.join("cache"))?);
        Ok(Rooms { member, state, sets, policies, ledger })
    }

    fn gate<L: perron_gate::Ledger>(&self, ledger: L) -> Gate<RegisterPort, AgreementsPort, PolicyPort, L, ClockPort> {
        self.gate_with(ledger, PolicyPort(self.policies.clone()))
    }

    fn gate_with<L: perron_gate::Ledger, P: Policy>(
        &self,
        ledger: L,
        policy: P,
    ) -> Gate<RegisterPort, AgreementsPort, P, L, ClockPort> {
        Gate::new(
            self.member.config.participant.clone(),
            RegisterPort(self.member.register.clone()),
            AgreementsPort::new(self.state.clone(), self.sets.clone(), Arc::new(SystemClock)),
            policy,
            ledger,
            ClockPort(Arc::new(SystemClock)),
        )
    }

    fn nonce(&self, consumer: &Member, agreement: AgreementId) -> Result<String> {
        self.ledger.nonces().issue(&consumer.config.participant, agreement, SystemClock.now())
    }
}

/// Figures of decisions. The provider's process must have ended: its directory is opened here.
pub async fn measure(space: &Space, size: &Size) -> Result<Vec<Figure>> {
    let rooms = Rooms::open(&space.provider)?;
    let consumer = Member::open(&space.consumer)?;
    rooms.policies.warm().await?;
    let what = "the gate with its policy in wasm, without the entry";
    let alone = rooms.alone("decisions", what, (space, &consumer, space.terms.rows), size).await?;
    let what = "the same under an agreement of twenty rules";
    let twenty = rooms.alone("decisions-20", what, (space, &consumer, space.terms.twenty), size).await?;
    let logged = logged(space, &rooms, &consumer, size).await?;
    rooms.ledger.close().await?;
    Ok(vec![alone, twenty, logged])
}

/// What the gate asks the policy about a read: told, and permitted as the policy says.
struct Told(PolicyPort, Mutex<Option<AccessInput>>);

impl Policy for &Told {
    async fn access(&self, input: &AccessInput) -> Result<Evaluated> {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(input.clone());
        self.0.access(input).await
    }
    async fn staff(&self, input: &StaffInput) -> Result<Evaluated> {
        self.0.staff(input).await
    }
}

/// The input of a permitted read's evaluation under an agreement, as the gate makes it.
pub async fn input(space: &Space, agreement: AgreementId) -> Result<AccessInput> {
    let rooms = Rooms::open(&space.provider)?;
    let consumer = Member::open(&space.consumer)?;
    let told = Told(PolicyPort(rooms.policies.clone()), Mutex::default());
    let gate = rooms.gate_with(Unwritten(rooms.ledger.clone()), &told);
    gate.admit(rooms.request(&consumer, agreement)?).await.map_err(|d| d.error)?;
    rooms.ledger.close().await?;
    let input = told.1.lock().unwrap_or_else(PoisonError::into_inner).take();
    input.ok_or_else(|| failed("the gate asked no policy"))
}

impl Rooms {
    /// A request as it arrives, verified.
    fn request(&self, consumer: &Member, agreement: AgreementId) -> Result<VerifiedRequest> {
        let read = sign(consumer, agreement, "SELECT 1", &self.nonce(consumer, agreement)?, Vec::new())?;
        Ok(VerifiedRequest { request: read.claims, jws: read.request, beside: None, sealed: None })
    }

    /// Decisions about one read under an agreement, without their entries.
    pub(crate) async fn alone(
        &self,
        name: &'static str,
        what: &'static str,
        (space, consumer, agreement): (&Space, &Member, AgreementId),
        size: &Size,
    ) -> Result<Figure> {
        let load = conditions::load();
        let gate = self.gate(Unwritten(self.ledger.clone()));
        let verified = self.request(consumer, agreement)?;
        let mut probe = Probe::new(&space.provider)?;
        let (mut rounds, mut of_cpu) = (Rounds::default(), Vec::new());
        for number in 0..=size.rounds {
            let (mut round, mut cpu_ns) = (Round::default(), 0.0);
            while round.work.len() < size.decisions {
                let before = cpu_taken_ns()?;
                for _ in 0..BETWEEN_FLUSHES {
                    let request = verified.clone();
                    let begun = Instant::now();
                    gate.admit(request).await.map_err(|d| d.error)?;
                    round.work.push(micros(begun));
                }
                cpu_ns += cpu_taken_ns()? - before;
                round.flush.push(probe.flush()?);
            }
            round.rate = 1e6 * round.work.len() as f64 / round.work.iter().sum::<f64>();
            // The first round warms up.
            if number > 0 {
                of_cpu.push(round.work.len() as f64 * 1e9 / cpu_ns);
                rounds.0.push(round);
            }
        }
        let mut lines = rounds.latencies();
        for line in &mut lines {
            line.goal = match line.name {
                "p50" => Some(Goal::AtMost(250.0)),
                "p99" => Some(Goal::AtMost(1000.0)),
                _ => None,
            };
        }
        lines.push(Line::new("p50 / flush p50", "ratio", rounds.seen(|r| r.p50() / r.flush_p50()), None));
        lines.push(Line::new("decisions, by the wall", "1/s", rounds.seen(|r| r.rate), None));
        let goal = Some(Goal::AtLeast(3000.0));
        lines.push(Line::new("decisions of a core's time", "1/s", Seen::median(&of_cpu), goal));
        Ok(Figure { name, what, lines, samples: rounds.samples(), load: [load, conditions::load()] })
    }
}

async fn logged(space: &Space, rooms: &Rooms, consumer: &Member, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let gate = rooms.gate(rooms.ledger.clone());
    let agreement = space.terms.rows;
    let mut probe = Probe::new(&space.provider)?;
    let (mut rounds, mut before) = (Rounds::default(), Vec::new());
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for _ in 0..size.appends {
            let read = sign(consumer, agreement, "SELECT 1", &rooms.nonce(consumer, agreement)?, before)?;
            let verified = VerifiedRequest { request: read.claims, jws: read.request, beside: None, sealed: None };
            let begun = Instant::now();
            let grant = gate.admit(verified).await.map_err(|d| d.error)?;
            round.work.push(micros(begun));
            round.flush.push(probe.flush()?);
            let decision = grant.decision();
            before = vec![Acknowledgement { decision, rows: 0, messages: 0, stream_root: decision }];
        }
        rounds.0.push(round);
    }
    let mut lines = rounds.latencies();
    lines.push(Line::new("p50 / flush p50", "ratio", rounds.seen(|r| r.p50() / r.flush_p50()), None));
    lines.push(Line::new("p99 / flush p99", "ratio", rounds.seen(|r| r.p99() / r.flush_p99()), None));
    let what = "the same with its durable entry, a flush after each";
    Ok(Figure { name: "decisions-logged", what, lines, samples: rounds.samples(), load: [load, conditions::load()] })
}

/// Time that this thread had a processor, in nanoseconds: other work on the machine isn't in it.
pub(crate) fn cpu_taken_ns() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let taken = text.split_whitespace().next().and_then(|n| n.parse().ok());
    taken.ok_or_else(|| failed("the system doesn't tell a thread's time"))
}
