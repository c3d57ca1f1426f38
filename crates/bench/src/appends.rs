//! Durable appends through the ledger: entries as a decision makes them, observed by the state
//! that a process folds from them, published once a second as a process does.

use crate::figure::{Figure, Goal, Line, Round, Rounds};
use crate::flush::Probe;
use crate::size::Size;
use crate::{conditions, failed, micros};
use perron::connector::state::State;
use perron::ledger::{Draft, KnownHeads, Ledger, LogIdentity, LogKeys, SystemClock};
use perron::store::Store;
use perron_log::Signer;
use perron_model::entry::{AttachmentKind, Body, Decision};
use perron_model::{Digest, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Agreements whose chains the entries belong to.
const AGREEMENTS: usize = 16;
/// Bytes of a request and of an evaluation's input, about as in a read of the demonstration.
const REQUEST_BYTES: usize = 1100;
const INPUT_BYTES: usize = 1500;
/// Letters of a pseudonym: 16 random bytes in base64url.
const PSEUDONYM_CHARS: usize = 22;
/// Bytes of a sealed statement of a hundred characters.
const SEALED_BYTES: usize = 200;

/// A ledger of its own in a new directory.
pub fn open(directory: &Path) -> Result<Ledger> {
    std::fs::create_dir_all(directory).map_err(failed)?;
    let state = Arc::new(State::open(Store::open(&directory.join("state"))?)?);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(failed)?;
    let origin = "authority.bench.perron/bench/1".to_owned();
    let signer = Signer::from_seed(&origin, &seed).map_err(failed)?;
    let identity = LogIdentity { origin, generation: 1, keys: LogKeys::alone(signer) };
    let (ledger, _) = Ledger::open(directory, identity, KnownHeads::default(), Arc::new(SystemClock), state)?;
    Ok(ledger)
}

/// An entry as a permitted read makes one, with the bytes that it binds or without.
pub fn draft(number: usize, bound: bool) -> Draft {
    let agreement = Digest::of(&(number % AGREEMENTS).to_be_bytes());
    let digest = Digest::of(&number.to_be_bytes());
    let body = Body::Decision(Decision {
        request: digest,
        permitted: true,
        reasons: Vec::new(),
        clauses: Vec::new(),
        module: digest,
        input: None,
        snapshot: Some(digest),
        uses: 1,
        register: 1,
        consumer: "consumer".to_owned(),
        purpose: crate::space::PURPOSE.to_owned(),
        legal_basis: Some("https://w3id.org/dpv#PublicInterest".to_owned()),
        user: digest.to_string().chars().take(PSEUDONYM_CHARS).collect(),
        beside: None,
        reserved: None,
        volume: None,
        attached: Some(digest),
        sealed: Some(true),
    });
    let mut attachments = Vec::new();
    if bound {
        attachments.push((AttachmentKind::Request, vec![b'r'; REQUEST_BYTES]));
        attachments.push((AttachmentKind::EvaluationInput, vec![b'i'; INPUT_BYTES]));
        attachments.push((AttachmentKind::Sealed, vec![b's'; SEALED_BYTES]));
    }
    Draft { body, chain: Some(agreement), trace: None, attachments }
}

/// Figures of one, 64 and 1,024 writers.
pub async fn measure(directory: &Path, size: &Size) -> Result<Vec<Figure>> {
    let directory = directory.join("appends");
    let ledger = open(&directory)?;
    let publishing = tokio::spawn(publish(ledger.clone()));
    let mut figures = vec![one(&directory, &ledger, size).await?];
    let goal = Some(Goal::AtLeast(20_000.0));
    for load in [
        Load { name: "appends-64", writers: 64, bound: true, rate: None },
        Load { name: "appends-1024", writers: 1024, bound: true, rate: goal },
        Load { name: "appends-1024-bare", writers: 1024, bound: false, rate: goal },
    ] {
        figures.push(many(&directory, &ledger, size, load).await?);
    }
    publishing.abort();
    ledger.close().await?;
    Ok(figures)
}

/// Publishes once a second, as a process does.
pub(crate) async fn publish(ledger: Ledger) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let _ = ledger.publish().await;
    }
}

/// The goals in flushes, and the rate.
fn figure(name: &'static str, what: &'static str, rounds: &Rounds, rate: Option<Goal>, load: f64) -> Figure {
    let mut lines = rounds.latencies();
    let (p50, p99) = (rounds.seen(|r| r.p50() / r.flush_p50()), rounds.seen(|r| r.p99() / r.flush_p99()));
    lines.push(Line::new("p50 / flush p50", "ratio", p50, Some(Goal::AtMost(2.0))));
    lines.push(Line::new("p99 / flush p99", "ratio", p99, Some(Goal::AtMost(3.0))));
    lines.push(Line::new("entries", "1/s", rounds.seen(|r| r.rate), rate));
    Figure { name, what, lines, samples: rounds.samples(), load: [load, conditions::load()] }
}

async fn one(directory: &Path, ledger: &Ledger, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let mut probe = Probe::new(directory)?;
    let mut rounds = Rounds::default();
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for number in 0..size.appends {
            let begun = Instant::now();
            ledger.append(draft(number, true)).await?;
            round.work.push(micros(begun));
            round.flush.push(probe.flush()?);
        }
        round.rate = 1e6 * round.work.len() as f64 / round.work.iter().sum::<f64>();
        rounds.0.push(round);
    }
    Ok(figure("appends-1", "durable appends, one writer, a flush after each", &rounds, None, load))
}

/// Writers that append beside each other, each so many entries.
#[derive(Clone, Copy)]
pub(crate) struct Writers {
    pub(crate) writers: usize,
    pub(crate) each: usize,
    /// Do the entries bind bytes, as a decision's do? Without, what entries cost is told from what
    /// bytes cost.
    pub(crate) bound: bool,
}

/// One round of many writers, with flushes beside them in the same directory.
pub(crate) async fn round(directory: &Path, ledger: &Ledger, load: Writers) -> Result<Round> {
    let Writers { writers, each, bound } = load;
    let beside = Probe::new(directory)?.beside();
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut work = Vec::with_capacity(each);
            for number in 0..each {
                let draft = draft(writer * each + number, bound);
                let begun = Instant::now();
                ledger.append(draft).await?;
                work.push(micros(begun));
            }
            Ok::<_, perron_model::Error>(work)
        });
    }
    let mut round = Round::default();
    while let Some(done) = tasks.join_next().await {
        round.work.extend(done.map_err(failed)??);
    }
    round.rate = round.work.len() as f64 / begun.elapsed().as_secs_f64();
    round.flush = beside.end()?;
    Ok(round)
}

/// A figure of many writers.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    writers: usize,
    bound: bool,
    rate: Option<Goal>,
}

async fn many(directory: &Path, ledger: &Ledger, size: &Size, load: Load) -> Result<Figure> {
    let Load { name, writers, bound, rate } = load;
    let load = conditions::load();
    let mut rounds = Rounds::default();
    // Fewer writers write more each, so that a round isn't over at once.
    let each = size.appends_each * (1024 / writers).min(8);
    for _ in 0..size.rounds {
        rounds.0.push(round(directory, ledger, Writers { writers, each, bound }).await?);
    }
    let what = if bound {
        "durable appends, many writers, flushes beside them"
    } else {
        "the same entries without the bytes that they bind"
    };
    Ok(figure(name, what, &rounds, rate, load))
}
