//! The ledger alone, over a real directory: order, bounds, and the end.

use super::{
    Begun, Closing, Draft, Generations, KnownHeads, Ledger, LogIdentity, LogKey, LogKeys, Observer, SystemClock,
};
use perron_gate::{Clock, LogQueryRecord, LogRequest};
use perron_log::{Layout, Log, NoteSigner, OsFiles, Signer};
use perron_model::decision::{Refused, Verdict};
use perron_model::entry::{Administration, AttachmentKind, Body, Entry, Outcome, OutcomeStatus, Succession};
use perron_model::limits::{LEDGER_BATCH_BYTES_MAX, MESSAGE_BYTES_MAX};
use perron_model::succession::{Charged, ChargedBy, ClosedLog, SuccessionDocument};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Timestamp, canonical};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Remembers in which order it was told.
#[derive(Default)]
struct Told(Mutex<Vec<u64>>);

impl Observer for Told {
    fn applied(&self, entry: &Entry, _leaf: Digest, _attachments: &[(AttachmentKind, Vec<u8>)]) {
        self.0.lock().unwrap().push(entry.index);
    }
    fn batch_end(&self, size: u64) {
        assert_eq!(self.0.lock().unwrap().len() as u64, size);
    }
    fn seen(&self) -> u64 {
        0
    }
}

fn open(directory: &Path) -> (Ledger, Arc<Told>) {
    let origin = "authority.test/huy/1".to_owned();
    let signer = Signer::from_seed(&origin, &[7; 32]).unwrap();
    let told = Arc::new(Told::default());
    let identity = LogIdentity { origin, generation: 1, keys: LogKeys::alone(signer) };
    let (ledger, _) =
        Ledger::open(directory, identity, KnownHeads::default(), Arc::new(SystemClock), told.clone()).unwrap();
    (ledger, told)
}

fn draft(chain: Option<AgreementId>, bytes: usize) -> Draft {
    let document = vec![b'd'; bytes];
    let body = Body::Administration(Administration {
        action: "test".to_owned(),
        actor: "operator".to_owned(),
        document: Digest::of(&document),
        sealed: None,
    });
    Draft { body, chain, trace: None, attachments: vec![(AttachmentKind::Document, document)] }
}

/// Entries of many writers, large and small: each has its place in the log and in its chain, and no
/// record is asked to take more than it can.
#[tokio::test(flavor = "multi_thread")]
async fn each_entry_has_its_place_whoever_writes_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, told) = open(directory.path());
    let chains: Vec<AgreementId> = (0_u8..5).map(|n| Digest::of(&[n])).collect();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..64_usize {
        let (ledger, chains) = (ledger.clone(), chains.clone());
        writers.spawn(async move {
            let mut indexes = Vec::new();
            for number in 0..20 {
                let bytes = if writer < 20 && number == 3 { MESSAGE_BYTES_MAX } else { 100 };
                let chain = chains.get((writer + number) % 6).copied();
                indexes.push(ledger.append(draft(chain, bytes)).await.unwrap().index);
            }
            assert!(indexes.is_sorted(), "{indexes:?}");
            indexes
        });
    }
    let mut indexes: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..64 * 20).collect::<Vec<u64>>());
    assert_eq!(*told.0.lock().unwrap(), indexes);

    let refused = ledger.append(draft(None, LEDGER_BATCH_BYTES_MAX + 1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
    ledger.append(draft(None, LEDGER_BATCH_BYTES_MAX)).await.unwrap();
    ledger.close().await.unwrap();

    let (mut previous, mut positions) = (None, HashMap::new());
    let reader = ledger.reader();
    for index in 0..reader.size() {
        let leaf = reader.leaf(index).unwrap();
        let entry = Entry::from_bytes(&leaf).unwrap();
        let hash = Digest::from_bytes(perron_log::merkle::leaf_hash(&leaf).0);
        assert_eq!((entry.index, entry.previous), (index, previous));
        if let Some(chain) = entry.chain {
            let (next, before) = positions.insert(chain.agreement, (chain.number + 1, Some(hash))).unwrap_or((0, None));
            assert_eq!((chain.number, chain.previous), (next, before));
        }
        previous = Some(hash);
    }
    assert_eq!(positions.len(), chains.len());
}

/// A clock that shows what it is told.
struct Shown(Mutex<i64>);

impl Clock for Shown {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(*self.0.lock().unwrap()).unwrap()
    }
}

/// Where the clock goes back to the time of a key that has ended, the log goes on by the one after it: in
/// this life, and in the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_brings_no_key_back() {
    let directory = tempfile::tempdir().unwrap();
    let origin = "authority.test/huy/1".to_owned();
    let signer = |seed: u8| Arc::new(Signer::from_seed(&origin, &[seed; 32]).unwrap());
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    let open = |clock: &Arc<Shown>| {
        let key = |seed, from, until: Option<i64>| LogKey {
            signer: signer(seed),
            from: Some(time(from)),
            until: until.map(time),
        };
        let keys = LogKeys::new(vec![key(1, 0, Some(200_000)), key(2, 100_000, None)], Vec::new());
        let identity = LogIdentity { origin: origin.clone(), generation: 1, keys };
        let told = Arc::new(Told::default());
        Ledger::open(directory.path(), identity, KnownHeads::default(), clock.clone(), told).unwrap().0
    };
    let clock = Arc::new(Shown(Mutex::new(50_000)));
    let mut ledger = open(&clock);
    let ids = |seeds: &[u8]| seeds.iter().map(|seed| signer(*seed).verifier().key_id()).collect::<Vec<_>>();
    let steps: [(i64, &[u8]); 5] =
        [(50_000, &[1]), (150_000, &[1, 2]), (250_000, &[2]), (150_000, &[2]), (50_000, &[2])];
    for (number, (now, signing)) in steps.into_iter().enumerate() {
        *clock.0.lock().unwrap() = now;
        if number == 4 {
            ledger.close().await.unwrap();
            ledger = open(&clock);
        }
        ledger.append(draft(None, 10)).await.unwrap();
        let note = perron_log::SignedNote::parse(&ledger.reader().last_note()).unwrap();
        let lines: Vec<u32> = note.signatures.iter().map(|line| line.key_id).collect();
        assert_eq!(lines, ids(signing), "at {now}");
    }
    // Two of them tell that the clock went back.
    assert_eq!(ledger.reader().size(), 7);
    ledger.close().await.unwrap();
}

/// An observer that has seen so many entries in an earlier life.
struct Ahead(u64);

impl Observer for Ahead {
    fn applied(&self, _entry: &Entry, _leaf: Digest, _attachments: &[(AttachmentKind, Vec<u8>)]) {}
    fn batch_end(&self, _size: u64) {}
    fn seen(&self) -> u64 {
        self.0
    }
}

/// Writes the beginning of a record at the end of the log, and gives the segment.
fn tear(directory: &Path) -> PathBuf {
    use std::io::Write as _;
    let segments = std::fs::read_dir(directory.join("log/segment")).unwrap();
    let last = segments.map(|entry| entry.unwrap().path()).max().unwrap();
    std::fs::OpenOptions::new().append(true).open(&last).unwrap().write_all(b"PERRONba and no more").unwrap();
    last
}

/// Where the store has seen entries that the log no longer holds, the torn end isn't theirs to cut off:
/// nothing is changed, so that the bytes are there for who looks for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_stays_where_the_store_has_seen_more() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    ledger.append(draft(None, 10)).await.unwrap();
    ledger.append(draft(None, 10)).await.unwrap();
    ledger.close().await.unwrap();
    drop(ledger);
    let segment = tear(directory.path());
    let before = std::fs::read(&segment).unwrap();
    let start = |seen| {
        let (known, clock) = (KnownHeads::default(), Arc::new(SystemClock));
        Ledger::open(directory.path(), identity(1), known, clock, Arc::new(Ahead(seen)))
    };
    assert_eq!(start(3).err().unwrap().code, ErrorCode::LogTailLost);
    assert_eq!(std::fs::read(&segment).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory.path().join("quarantine")).unwrap().count(), 0);
    let (ledger, opened) = start(2).unwrap();
    assert!(opened.recovered);
    ledger.close().await.unwrap();
}

/// A start that ends after it cut off a torn end and before its entry is durable leaves the entry to the
/// next one; each torn end is told of once.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_told_of_by_a_later_start_too() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    ledger.append(draft(None, 10)).await.unwrap();
    ledger.close().await.unwrap();
    drop(ledger);
    tear(directory.path());
    let settings = identity(1).settings(SystemClock.now()).unwrap();
    let (log, cut) = Log::open(Arc::new(OsFiles), Layout::new(directory.path()), settings, &[]).unwrap();
    drop(log);
    let torn = cut.torn.unwrap();
    for _ in 0..2 {
        let (ledger, _) = open(directory.path());
        assert_eq!(ledger.reader().size(), 2);
        let told = Entry::from_bytes(&ledger.reader().leaf(1).unwrap()).unwrap();
        let Body::Recovery(told) = told.body else { panic!("it tells of something else") };
        assert_eq!((told.offset, told.length), (torn.offset, torn.length));
        assert_eq!(*told.digest.as_bytes(), torn.digest.0);
        ledger.close().await.unwrap();
    }
}

/// Whoever gives the log up is the reason that all others hear, and nothing more is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_takes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    ledger.append(draft(None, 10)).await.unwrap();
    ledger.give_up(Error::new(ErrorCode::LogDamaged, "found"));
    ledger.give_up(Error::new(ErrorCode::LogForked, "found later"));
    assert_eq!(ledger.failed().await.code, ErrorCode::LogDamaged);
    assert_eq!(ledger.append(draft(None, 10)).await.unwrap_err().code, ErrorCode::LogDamaged);
    ledger.close().await.unwrap();
    assert_eq!(ledger.reader().size(), 1);
}

/// A statement over the log that a crash cuts gets its end with the next start, in no chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_the_log_that_was_cut_gets_its_end() {
    use perron_gate::Ledger as _;
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let request = LogRequest { user: "u".into(), roles: Vec::new(), statement: "SELECT 1".into(), trace: None };
    let record = |verdict: Verdict| LogQueryRecord {
        request: request.clone(),
        input: b"{}".to_vec(),
        verdict,
        module: Digest::of(b"m"),
        entries: 0,
    };
    let refused = vec![Refused { code: "role_missing".into(), clause: "roles".into() }];
    ledger.record_log_query(record(Verdict::Refuse(refused))).await.unwrap();
    let cut = ledger.record_log_query(record(Verdict::Permit)).await.unwrap();
    let ended = ledger.record_log_query(record(Verdict::Permit)).await.unwrap();
    assert_eq!(ledger.durable(), 3);
    let outcome = Outcome {
        decision: ended.leaf,
        status: OutcomeStatus::Complete,
        reason: None,
        batches: 1,
        rows: 1,
        bytes: 1,
        messages: 1,
        stream_root: Digest::of(b"r"),
        uses: 0,
        volume: None,
    };
    ledger.outcome_of_log_query(outcome).await.unwrap();
    ledger.close().await.unwrap();
    drop(ledger);

    let (ledger, told) = open(directory.path());
    assert_eq!(told.0.lock().unwrap().len(), 5);
    let last = Entry::from_bytes(&ledger.reader().leaf(4).unwrap()).unwrap();
    let Body::Outcome(outcome) = last.body else { panic!("no outcome: {last:?}") };
    assert_eq!((outcome.decision, outcome.status), (cut.leaf, OutcomeStatus::UnknownAfterCrash));
    assert!(last.chain.is_none() && outcome.uses == 0 && outcome.volume.is_none());
    ledger.close().await.unwrap();
    drop(ledger);
    assert_eq!(open(directory.path()).1.0.lock().unwrap().len(), 5);
}

fn identity(generation: u64) -> LogIdentity {
    let origin = format!("authority.test/huy/{generation}");
    let signer = Signer::from_seed(&origin, &[7; 32]).unwrap();
    LogIdentity { origin, generation, keys: LogKeys::alone(signer) }
}

/// Closes the log in a directory and puts the next one in its place; gives what the register would say.
fn succeed(directory: &Path, charged: Charged) -> ClosedLog {
    let closing = Closing::open(directory, &Generations::default(), identity(1)).unwrap();
    let (size, root) = (closing.reader().size(), Digest::from_bytes(closing.reader().root().0));
    let document = SuccessionDocument { heads: Vec::new(), charged: vec![charged], silent: Vec::new() };
    let document = canonical::to_bytes(&document).unwrap();
    let origin = identity(1).origin;
    let body = Succession {
        origin: origin.clone(),
        size,
        root,
        held: size,
        lost: 0,
        backup: None,
        document: Digest::of(&document),
    };
    let (next, attached) = (directory.join("next"), vec![(AttachmentKind::Document, document)]);
    assert!(Begun::read(&next, identity(2)).unwrap().is_none());
    closing.begin(&next, identity(2), body.clone(), attached, Timestamp::EPOCH).unwrap();
    let begun = Begun::read(&next, identity(2)).unwrap().unwrap();
    assert_eq!(begun.body, body);
    std::fs::create_dir_all(directory.join("generations/1")).unwrap();
    std::fs::rename(directory.join("log"), directory.join("generations/1/log")).unwrap();
    std::fs::rename(next.join("log"), directory.join("log")).unwrap();
    ClosedLog { origin, size, root, held: size, genesis: begun.leaf, closed: Timestamp::EPOCH }
}

/// What a closed log says counts on: chains, totals, time; and its entries are found again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_from_the_one_whose_place_it_took() {
    let directory = tempfile::tempdir().unwrap();
    let agreement = Digest::of(b"agreement");
    let (ledger, _) = open(directory.path());
    let mut last = None;
    for _ in 0..3 {
        last = Some(ledger.append(draft(Some(agreement), 10)).await.unwrap());
    }
    let (last, oldest) = (last.unwrap(), ledger.reader().leaf(0).unwrap());
    let newest = Entry::from_bytes(&ledger.reader().leaf(2).unwrap()).unwrap();
    ledger.close().await.unwrap();
    drop(ledger);
    let charged = Charged { agreement, by: ChargedBy::Partner, uses: 5, volume: 7, receipt: None };
    let told = succeed(directory.path(), charged);

    let other = ClosedLog { root: Digest::of(b"other"), ..told.clone() };
    let refused = Generations::open(directory.path(), vec![(identity(1), other)]).err().unwrap();
    assert_eq!(refused.code, ErrorCode::LogDamaged);
    let closed = Generations::open(directory.path(), vec![(identity(1), told)]).unwrap();
    let seen = Arc::new(Told::default());
    let (clock, known) = (Arc::new(SystemClock), KnownHeads::default());
    let (ledger, opened) =
        Ledger::open_after(directory.path(), closed, identity(2), known, clock, seen.clone(), Default::default())
            .unwrap();
    assert_eq!((opened.size, ledger.entries_before(), ledger.origin()), (1, 3, "authority.test/huy/2"));
    let state = ledger.state_of(&agreement);
    assert_eq!((state.uses, state.volume_bytes, state.uses_last_hour), (5, Some(7), Some(5)));

    let places = seen.0.lock().unwrap().clone();
    assert_eq!(places[3], 0, "the succession is the first entry of its own log");
    let (reader, index) = ledger.locate(places[0]);
    assert_eq!((index, reader.leaf(index).unwrap()), (0, oldest));
    assert_eq!(ledger.locate(0).0.size(), 1);

    let recorded = ledger.append(draft(Some(agreement), 1)).await.unwrap();
    assert_eq!(recorded.index, 1);
    let entry = Entry::from_bytes(&ledger.reader().leaf(1).unwrap()).unwrap();
    let chain = entry.chain.unwrap();
    assert_eq!((chain.number, chain.previous), (3, Some(last.leaf)));
    assert!(entry.time >= newest.time);
    ledger.close().await.unwrap();
}
