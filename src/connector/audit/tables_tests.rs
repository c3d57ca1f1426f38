use super::*;
use crate::ledger::{Draft, KnownHeads, LogIdentity, LogKeys};
use crate::store::Store;
use perron_gate::Clock;
use perron_log::Signer;
use perron_model::Timestamp;
use perron_model::entry::{Body, SchemaGrant, Stop};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that is set, in seconds.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + self.0.load(Ordering::Acquire) * 1_000).unwrap()
    }
}

fn log(directory: &Path, clock: &Arc<Set>) -> LogRows {
    let state = Arc::new(State::open(Store::open(&directory.join("state")).unwrap()).unwrap());
    let origin = "authority.test/huy/1".to_owned();
    let signer = Signer::from_seed(&origin, &[7; 32]).unwrap();
    let identity = LogIdentity { origin, generation: 1, keys: LogKeys::alone(signer) };
    let (ledger, _) = Ledger::open(directory, identity, KnownHeads::default(), clock.clone(), state.clone()).unwrap();
    LogRows { ledger, state }
}

fn scan(from: u64, to: u64, since: Option<i64>, until: Option<i64>, entries: u64) -> LogScan {
    LogScan { table: LOG, columns: vec![0, 1], from, to, since, until, entries }
}

/// Whatever a look is narrowed to, no entry is missed that it asks for; also where the clock went back.
#[tokio::test]
async fn no_time_that_is_asked_for_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Set(AtomicI64::new(0)));
    let log = log(directory.path(), &clock);
    for second in [0, 1, 1, 2, 7, 9, 3, 4, 4, 8, 12, 1, 5, 20, 20] {
        clock.0.store(second, Ordering::Release);
        log.ledger.append(Draft::plain(Body::Stop(Stop { reason: "test".into() }))).await.unwrap();
    }
    let entries = log.ledger.reader().size();
    assert_eq!(log.ledger.clock_jumps().unwrap().len(), 2);
    let times: Vec<i64> = log.records(0..entries).unwrap().iter().map(|record| record.time.millis() * 1_000).collect();
    let base = 1_800_000_000_000_000;
    let asked: Vec<Option<i64>> = std::iter::once(None).chain((-1..22).map(|s| Some(base + s * 1_000_000))).collect();
    let mut narrower = 0;
    for since in &asked {
        for until in &asked {
            for (from, to) in [(0, entries), (3, entries), (0, 9), (5, 6), (9, 4)] {
                let range = log.narrowed(&scan(from, to, *since, *until, entries)).unwrap();
                let fits = |at: &i64| since.is_none_or(|s| *at >= s) && until.is_none_or(|u| *at <= u);
                let wanted = (from..to).filter(|n| fits(&times[usize::try_from(*n).unwrap()]));
                assert!(wanted.clone().all(|n| range.contains(&n)), "{since:?} {until:?} {from}..{to}: {range:?}");
                assert!(range.is_empty() || (range.start >= from && range.end <= to), "{from}..{to}: {range:?}");
                narrower += usize::from(wanted.count() == 0 && range.is_empty());
            }
        }
    }
    assert!(narrower > 500, "{narrower}");
    // An instant is a piece of the log, not all of it.
    let at_nine = log.narrowed(&scan(0, entries, Some(base + 9_000_000), Some(base + 9_000_000), entries)).unwrap();
    assert_eq!(at_nine.clone().count(), 1, "{at_nine:?}");
}

#[tokio::test]
async fn rows_come_in_their_order_and_with_the_columns_that_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Set(AtomicI64::new(0)));
    let log = log(directory.path(), &clock);
    let body = || Body::SchemaGrant(SchemaGrant { peer: "inter".into(), hour: 1 });
    let count = LOG_ROWS_STEP + 40;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..count {
        let ledger = log.ledger.clone();
        waiting.spawn(async move { ledger.append(Draft::plain(body())).await.unwrap() });
    }
    waiting.join_all().await;
    let batches: Vec<RecordBatch> = log.rows(scan(10, count, None, None, count)).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, count - 10);
    assert!(batches.len() > 1 && batches.iter().all(|batch| batch.num_columns() == 2));
    let nothing = LogScan { columns: Vec::new(), ..scan(0, count, None, None, count) };
    let batches: Vec<RecordBatch> = log.rows(nothing).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, count);
    // Nothing past what may be seen.
    let beyond = log.rows(scan(0, u64::MAX, None, None, 5)).map(|batch| batch.unwrap().num_rows()).sum::<usize>();
    assert_eq!(beyond, 5);
}
