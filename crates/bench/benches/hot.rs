//! Hot paths, one by one, each with a flush of the disk after every run of it, so that its ratio to
//! the flush is of the same time and load.

#![allow(clippy::expect_used, reason = "what can't be measured is no figure")]

use criterion::{Criterion, criterion_group, criterion_main};
use futures::StreamExt;
use perron::ledger::SystemClock;
use perron::policy::Policies;
use perron::query::{QueryEngine, QuerySettings, Releases};
use perron::source::{Sets, SourceFile, SourceFormat};
use perron::trust::{jws, keys};
use perron_bench::appends;
use perron_bench::figure::quantile;
use perron_bench::flush::Probe;
use perron_bench::open::Open;
use perron_bench::space::{DESCRIBED, PURPOSE, format, policy_of, write_readings};
use perron_gate::{Clock, Policy};
use perron_log::merkle::{Frontier, leaf_hash};
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::decision::{AccessInput, AgreementFacts, PartyFacts, RequestFacts, StateFacts};
use perron_model::entry::{ENTRY_VERSION, Entry};
use perron_model::participant::{KeyUse, Status};
use perron_model::policy::{Terms, odrl};
use perron_model::request::REQUEST_TYP;
use perron_model::{Digest, ParticipantId, Timestamp, canonical};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of the set that the view is taken of.
const ROWS: usize = 100_000;

/// Measures `work`, with a flush after each run of it, and prints the ratio of both.
fn beside_flushes(c: &mut Criterion, name: &str, mut work: impl FnMut()) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut probe = Probe::new(directory.path()).expect("a probe");
    let (mut taken, mut flushes) = (Vec::new(), Vec::new());
    c.bench_function(name, |b| {
        b.iter_custom(|count| {
            let begun = Instant::now();
            for _ in 0..count {
                work();
            }
            let all = begun.elapsed();
            taken.push(all.as_secs_f64() * 1e6 / count as f64);
            flushes.push(probe.flush().expect("a flush"));
            all
        });
    });
    let (p50, flush) = (quantile(&taken, 0.5), quantile(&flushes, 0.5));
    println!(
        "{name}: p50 {p50:.3} µs; flush p50 {flush:.0} µs, p99 {:.0} µs; ratio {:.6}\n",
        quantile(&flushes, 0.99),
        p50 / flush
    );
}

fn dataset() -> Dataset {
    serde_json::from_str(DESCRIBED).expect("a description")
}

fn terms() -> Terms {
    odrl::parse(&policy_of(false), &dataset(), None).expect("a policy")
}

fn parties() -> (ParticipantId, ParticipantId) {
    let parse = |name| ParticipantId::parse(name).expect("a name");
    (parse("provider"), parse("consumer"))
}

fn input() -> AccessInput {
    let (provider, consumer) = parties();
    let terms = terms();
    AccessInput {
        now: SystemClock.now(),
        request: RequestFacts {
            issuer: consumer.clone(),
            provider: provider.clone(),
            action: "http://www.w3.org/ns/odrl/2/read".to_owned(),
            purpose: PURPOSE.to_owned(),
            target: "readings".to_owned(),
            issuer_of: Vec::new(),
            target_of: Vec::new(),
            roles: None,
        },
        agreement: AgreementFacts {
            id: Digest::of(b"agreement"),
            provider,
            consumer,
            finalized: true,
            revoked: false,
            suspended: false,
            amended: false,
            agreed_at: Timestamp::EPOCH,
            legal_basis: "https://w3id.org/dpv#PublicInterest".to_owned(),
            rules: terms.rules,
        },
        parties: PartyFacts {
            provider: Status::Active,
            consumer: Status::Active,
            consumer_jurisdiction: Some("BE".to_owned()),
            register_fresh: true,
        },
        state: StateFacts { uses: 3, unacknowledged: 1, unacknowledged_ms: 1_000, ..StateFacts::default() },
    }
}

fn entry() -> Entry {
    let digest = Digest::of(b"entry");
    Entry {
        version: ENTRY_VERSION,
        index: 1_000_000,
        time: SystemClock.now(),
        previous: Some(digest),
        blind: [7; 16].into(),
        chain: None,
        trace: None,
        on_behalf_of: None,
        processing_activity: None,
        body: appends::draft(1, true).body,
    }
}

fn canonical_json(c: &mut Criterion) {
    let input = input();
    beside_flushes(c, "canonical JSON of an evaluation's input", || {
        black_box(canonical::to_bytes(black_box(&input)).expect("canonical JSON"));
    });
}

fn log(c: &mut Criterion) {
    let entry = entry();
    beside_flushes(c, "entry to CBOR", || {
        black_box(black_box(&entry).to_bytes().expect("an entry"));
    });
    let bytes = entry.to_bytes().expect("an entry");
    let mut frontier = Frontier::new();
    beside_flushes(c, "leaf hash into the tree", || {
        frontier.append(leaf_hash(black_box(&bytes)));
        black_box(&frontier);
    });
}

fn policy(c: &mut Criterion) {
    let policies = Policies::load_uncached().expect("the policies");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let input = input();
    beside_flushes(c, "access policy in wasm", || {
        black_box(runtime.block_on(Policy::access(&policies, black_box(&input))).expect("a decision"));
    });
}

fn signatures(c: &mut Criterion) {
    let keys = keys::KeySet::generate(false).expect("keys");
    let key = keys.signing_key(KeyUse::Request).expect("a key");
    let signed = jws::sign_compact(key, REQUEST_TYP, &[b'x'; 700]).expect("a signature");
    beside_flushes(c, "request signature verified", || {
        black_box(jws::verify_compact(black_box(&signed), REQUEST_TYP, |_| Some(key.public())).expect("verified"));
    });
}

fn published(directory: &Path) -> (Arc<Sets>, Snapshot) {
    let file = directory.join("readings.csv");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/data/building_water_hours_2015.csv");
    write_readings(&from, &file, ROWS).expect("readings");
    let source = SourceFile { path: file, format: SourceFormat::Csv(format()), columns: Vec::new() };
    let sets = Sets::open(&directory.join("sets")).expect("sets");
    let snapshot = sets.add(dataset(), &source, SystemClock.now()).expect("a snapshot");
    (Arc::new(sets), snapshot)
}

fn view(c: &mut Criterion) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (sets, snapshot) = published(directory.path());
    for (name, hashed) in [("view of 100,000 rows, filtered", false), ("the same with a keyed hash", true)] {
        let open = Open::agreement(dataset(), &snapshot, &policy_of(hashed)).expect("a policy");
        let gate = open.gate();
        let releases = Arc::new(Releases::open(&directory.path().join("released")).expect("releases"));
        let engine = QueryEngine::new(sets.clone(), releases, QuerySettings::default()).expect("an engine");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        beside_flushes(c, name, || {
            let rows = runtime.block_on(async {
                let grant = gate.admit(open.request()).await.expect("a grant");
                let mut rows = engine.run(&grant, "SELECT * FROM readings", |_| [7; 32]).await.expect("rows");
                let mut count = 0;
                while let Some(batch) = rows.next().await {
                    count += batch.expect("a batch").num_rows();
                }
                count
            });
            assert_eq!(rows, ROWS - ROWS.div_ceil(8));
        });
    }
}

criterion_group! {
    name = hot;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    targets = canonical_json, log, policy, signatures, view
}
criterion_main!(hot);
