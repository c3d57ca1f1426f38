use super::*;
use crate::query::testing::{Bench, Grants, building_water, collect, dataset, households, key, rows_view, texts};
use futures::{FutureExt, StreamExt};
use perron_model::dataset::ColumnType::{Integer, Text};
use perron_model::policy::{Operator, Predicate, Value};
use std::fmt::Write;
use std::time::Duration;

fn numbers(n: usize) -> (Dataset, String) {
    let mut csv = String::from("a,t\n");
    for i in 0..n {
        let _ = writeln!(csv, "{i},x{}", i % 7);
    }
    (dataset("numbers", None, &[("a", Integer), ("t", Text)]), csv)
}

fn columns() -> [(&'static str, Option<perron_model::policy::Mask>); 2] {
    [("a", None), ("t", None)]
}

#[tokio::test]
async fn a_statement_runs_and_streams_batches() {
    let bench = Bench::new();
    let (set, csv) = numbers(20_000);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    let sql = "SELECT a, t FROM numbers WHERE a % 2 = 0 ORDER BY a DESC";
    let mut stream = bench.engine.run(&grants.access().await, sql, key).await.unwrap();
    assert_eq!(stream.schema(), bench.engine.schema(&grants.schema(), sql).await.unwrap());
    let (mut batches, mut first) = (0, None);
    while let Some(batch) = stream.next().await {
        let batch = batch.unwrap();
        first = first.or_else(|| texts(&batch).into_iter().next());
        batches += 1;
    }
    assert_eq!((stream.rows(), first.as_deref()), (10_000, Some("19998|x6")));
    assert!(batches >= 2, "{batches}");
    assert!(stream.next().await.is_none());
    let table = bench.engine.table_schema(&grants.schema()).unwrap();
    assert_eq!(table.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["a", "t"]);
    let one = bench.rows(&grants, "SELECT 1 + 1 AS two").await.unwrap();
    assert_eq!(one, ["2"]);
}

#[tokio::test]
async fn a_withheld_column_and_an_unknown_one_are_the_same() {
    let bench = Bench::new();
    let (set, csv) = numbers(3);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &[("a", None)], None));
    for sql in ["SELECT X FROM data", "SELECT a FROM data ORDER BY X", "SELECT n.X FROM numbers n WHERE n.a = 1"] {
        let mut seen = Vec::new();
        for name in ["t", "u"] {
            let error = bench.rows(&grants, &sql.replace('X', name)).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::ColumnNotGranted, "{sql}: {error}");
            let planned = bench.engine.schema(&grants.schema(), &sql.replace('X', name)).await.unwrap_err();
            assert_eq!(planned, error);
            seen.push(error.detail.replace(&format!("`{name}`"), "`X`"));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], "column `X` isn't one that the agreement gives");
    }
}

/// The longest chains and the deepest nesting that are let through run on the engine's stack.
#[tokio::test]
async fn the_largest_statements_run() {
    let bench = Bench::new();
    let (set, csv) = numbers(10);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    let begun = std::time::Instant::now();
    let sum = format!("SELECT max(a{}) FROM data", " + a".repeat(290));
    assert_eq!(bench.rows(&grants, &sum).await.unwrap(), ["2619"]);
    let either = format!("SELECT count(*) FROM data WHERE a = 0{}", " OR a = 1".repeat(140));
    assert_eq!(bench.rows(&grants, &either).await.unwrap(), ["2"]);
    let nested = format!("SELECT sum({}a{}) FROM data", "abs(".repeat(28), ")".repeat(28));
    assert_eq!(bench.rows(&grants, &nested).await.unwrap(), ["45"]);
    let union = format!("SELECT a FROM data{}", " UNION ALL SELECT a FROM data".repeat(31));
    assert_eq!(bench.rows(&grants, &union).await.unwrap().len(), 320);
    let mut inner = "SELECT a FROM data".to_owned();
    for _ in 0..25 {
        inner = format!("SELECT a + 1 AS a FROM ({inner}) WHERE a > -1");
    }
    assert_eq!(bench.rows(&grants, &format!("SELECT max(a) FROM ({inner})")).await.unwrap(), ["34"]);
    let named = "WITH x AS (SELECT a + 1 AS a FROM data), y AS (SELECT a + 1 AS a FROM x), \
                 z AS (SELECT a + 1 AS a FROM y) SELECT max(a) FROM z";
    assert_eq!(bench.rows(&grants, named).await.unwrap(), ["12"]);
    let mut doubled = "SELECT a FROM data".to_owned();
    for _ in 0..9 {
        doubled = format!("SELECT a + a AS a FROM ({doubled}) WHERE a + a > -1");
    }
    assert_eq!(bench.rows(&grants, &doubled).await.unwrap().len(), 10);
    let list = format!("SELECT a FROM data WHERE a NOT IN (11{})", ", 11".repeat(3_000));
    assert_eq!(bench.rows(&grants, &list).await.unwrap().len(), 10);
    eprintln!("the largest statements: {:?}", begun.elapsed());
}

#[tokio::test]
async fn errors_of_the_data_are_told_without_values() {
    let bench = Bench::new();
    let (set, csv) = numbers(3);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    for (sql, code, detail) in [
        ("SELECT 1 / a FROM data", ErrorCode::QueryFailed, "a division by zero"),
        ("SELECT CAST(t AS INT) FROM data", ErrorCode::QueryFailed, "a value can't be converted"),
        ("SELECT t + 1 FROM data", ErrorCode::StatementInvalid, "can't be planned"),
        ("SELECT to_date(t) FROM data", ErrorCode::QueryFailed, "a value can't be converted"),
        ("SELECT sqrt(-1 - a) FROM data", ErrorCode::QueryFailed, "the query failed on the data"),
        ("SELECT CAST(a * 100000 AS SMALLINT) FROM data", ErrorCode::QueryFailed, "a value can't be converted"),
        // A constant that raises stops the engine's simplification, not what the statement means.
        (
            "SELECT coalesce(t, 'x1'), CAST(concat('x1', '2') AS INT) FROM data",
            ErrorCode::QueryFailed,
            "a value can't be converted",
        ),
        (
            "SELECT nvl2(t, ifnull(a, 1), 2), CAST(concat('x1', '2') AS INT) FROM data",
            ErrorCode::QueryFailed,
            "a value can't be converted",
        ),
        ("SELECT a, count(*) FROM data", ErrorCode::StatementInvalid, "can't be planned"),
        ("SELECT sum(t, a) FROM data", ErrorCode::StatementInvalid, "can't be planned"),
    ] {
        let error = bench.rows(&grants, sql).await.unwrap_err();
        assert_eq!(error.code, code, "{sql}: {error}");
        assert!(error.detail.contains(detail) && !error.detail.contains("x1"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn rows_over_the_most_are_not_given() {
    let bench = Bench::new();
    let (set, csv) = numbers(20_000);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), Some(10_000)));
    let mut stream = bench.engine.run(&grants.access().await, "SELECT a FROM data", key).await.unwrap();
    let (mut rows, mut last) = (0, None);
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => rows += batch.num_rows(),
            Err(e) => last = Some(e.code),
        }
    }
    assert_eq!(last, Some(ErrorCode::RowsExceeded));
    assert!(rows <= 10_000, "{rows}");
    assert_eq!(bench.rows(&grants, "SELECT a FROM data LIMIT 10000").await.unwrap().len(), 10_000);
    assert_eq!(bench.rows(&grants, "SELECT sum(a) FROM data").await.unwrap(), ["199990000"]);
}

#[tokio::test]
async fn a_stopped_grant_ends_its_stream_at_the_next_batch() {
    let bench = Bench::new();
    let (set, csv) = numbers(100_000);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    let grant = grants.access().await;
    let mut stream = bench.engine.run(&grant, "SELECT a FROM data", key).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    grant.stop().stop(ErrorCode::AgreementRevoked);
    assert_eq!(stream.next().await.unwrap().unwrap_err().code, ErrorCode::AgreementRevoked);
    assert!(stream.next().await.is_none());
    let error = bench.engine.run(&grant, "SELECT a FROM data", key).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AgreementRevoked);
    // Also while it computes and gives nothing.
    let grant = grants.access().await;
    let long = "SELECT count(*) FROM data x, data y WHERE x.a + y.a < 0";
    let mut stream = bench.engine.run(&grant, long, key).await.unwrap();
    grant.stop().stop(ErrorCode::ParticipantRevoked);
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap();
    assert_eq!(next.unwrap().unwrap_err().code, ErrorCode::ParticipantRevoked);
    // The threads are free again: neither stopping nor dropping leaves a query running.
    for _ in 0..4 {
        drop(bench.engine.run(&grants.access().await, long, key).await.unwrap());
    }
    let short = bench.rows(&grants, "SELECT count(*) FROM data");
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), short).await.unwrap().unwrap(), ["100000"]);
}

/// Statements that try pairs for as long as they may, and make no row of them.
#[tokio::test]
async fn short_statements_go_on_beside_long_ones() {
    let bench = Bench::with(QuerySettings { query_ms_max: 60_000, ..QuerySettings::default() });
    let (set, csv) = numbers(60_000);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    let long = "SELECT count(*) FROM data x, data y WHERE x.a + y.a < 0";
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(bench.engine.run(&grants.access().await, long, key).await.unwrap());
    }
    for _ in 0..5 {
        let short = bench.rows(&grants, "SELECT count(*) FROM data");
        assert_eq!(tokio::time::timeout(Duration::from_secs(8), short).await.unwrap().unwrap(), ["60000"]);
    }
    assert!(streams.iter_mut().all(|stream| stream.next().now_or_never().is_none()));
}

#[tokio::test]
async fn time_memory_and_number_of_queries_are_bounded() {
    let settings = QuerySettings {
        query_ms_max: 1_500,
        queries_max: 1,
        memory_each_bytes_max: 200_000,
        ..QuerySettings::default()
    };
    let bench = Bench::with(settings);
    let (set, csv) = numbers(60_000);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    let error = bench.rows(&grants, "SELECT a, count(*) FROM data GROUP BY a ORDER BY a").await.unwrap_err();
    assert_eq!((error.code, error.detail.contains("memory")), (ErrorCode::Overloaded, true));
    // So many pairs that no machine is through in time; what is held in memory is little.
    let many = |row: &str| vec![format!("SELECT {row} FROM data"); 24].join(" UNION ALL ");
    let few = |row: &str, rows: u32| format!("(SELECT {row} FROM data LIMIT {rows}) x");
    let long = format!("SELECT count(*) FROM {}, ({}) y WHERE x.a + y.a < 0", few("a", 9000), many("a"));
    let stream = bench.engine.run(&grants.access().await, &long, key).await.unwrap();
    let refused = bench.rows(&grants, "SELECT 1").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Overloaded);
    assert_eq!(collect(stream).await.unwrap_err().code, ErrorCode::DeadlineExceeded);
    for long in [
        format!("SELECT count(*) FROM {}, ({}) y", few("a", 9000), many("a")),
        format!("SELECT count(*) FROM {} JOIN ({}) y USING (a)", few("a / 60000 AS a", 4000), many("a / 60000 AS a")),
        format!(
            "SELECT count(*) FROM {} JOIN ({}) y ON x.k = y.k AND x.a + y.a < 0",
            few("1 AS k, a", 2000),
            many("1 AS k, a")
        ),
    ] {
        bench.until_free().await;
        let begun = std::time::Instant::now();
        assert_eq!(bench.rows(&grants, &long).await.unwrap_err().code, ErrorCode::DeadlineExceeded, "{long}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }
    // A place is free again once a query has ended, or its reader went away.
    for _ in 0..3 {
        bench.until_free().await;
        drop(bench.engine.run(&grants.access().await, "SELECT a FROM data", key).await.unwrap());
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_query_alone() {
    let panicking = async {
        if true {
            panic!("a defect");
        }
        Ok(())
    };
    let error = contained(panicking).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(!error.detail.contains("defect"));
    let bench = Bench::new();
    let permit = bench.engine.permit().unwrap();
    let work = async { if true { panic!("a defect") } else { Ok(()) } };
    assert_eq!(bench.engine.on_threads(permit, work).await.unwrap_err().code, ErrorCode::Internal);
    let (set, csv) = numbers(3);
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns(), None));
    assert_eq!(bench.rows(&grants, "SELECT count(*) FROM data").await.unwrap(), ["3"]);
}

/// The nights of continuous flow, of SOURCES.md; `docs` and the demonstration show this statement.
const NIGHTS: &str = "\
SELECT meter, building, CAST(start AT TIME ZONE 'Europe/Brussels' AS DATE) AS night, \
count(litres) AS hours, round(min(litres), 1) AS least, round(max(litres), 1) AS most \
FROM building_water \
WHERE date_part('hour', start AT TIME ZONE 'Europe/Brussels') < 5 \
GROUP BY meter, building, CAST(start AT TIME ZONE 'Europe/Brussels' AS DATE) \
HAVING count(litres) >= 4 AND min(litres) > 100 \
ORDER BY night";

#[tokio::test]
async fn the_two_flows_at_night_are_found() {
    let bench = Bench::new();
    let (set, source) = building_water();
    let snapshot = bench.sets.add(set.clone(), &source, crate::query::testing::now()).unwrap();
    let filter = Predicate { column: "nis".into(), operator: Operator::Eq, values: vec![Value::Text("63049".into())] };
    let columns = ["building", "meter", "start", "litres"].map(|c| (c, None));
    let grants = Grants::of(&set, &snapshot, rows_view(vec![filter], &columns, None));
    let rows = bench.rows(&grants, NIGHTS).await.unwrap();
    assert_eq!(
        rows,
        ["2923|Hôtel de ville|2015-03-08|5|150.8|163.4", "b285|École communale du Centre|2015-03-24|5|468.1|487.0",]
    );
}

#[tokio::test]
async fn the_households_by_sector_and_month() {
    let bench = Bench::new();
    let (set, files) = households();
    let now = crate::query::testing::now();
    bench.sets.add(set.clone(), &files[0], now).unwrap();
    bench.sets.append(&set.id, &files[1], now).unwrap();
    let snapshot = bench.sets.append(&set.id, &files[2], now).unwrap();
    let columns = ["menage", "secteur", "date", "litres"].map(|c| (c, None));
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns, None));
    let sql = "SELECT count(*), count(DISTINCT menage), count(DISTINCT secteur) FROM household_water";
    let begun = std::time::Instant::now();
    assert_eq!(bench.rows(&grants, sql).await.unwrap(), ["37800|420|12"]);
    eprintln!("counting 37,800 rows: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    assert_eq!(bench.rows(&grants, "SELECT * FROM \"household-water\"").await.unwrap().len(), 37_800);
    eprintln!("all 37,800 rows as text: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    bench.engine.schema(&grants.schema(), sql).await.unwrap();
    eprintln!("planning: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_large_set_is_read_in_two_streams() {
    let bench = Bench::new();
    let (set, csv) = numbers(270_000);
    let begun = std::time::Instant::now();
    let first = bench.publish(&set, &csv);
    eprintln!("publishing 270,000 rows: {:?}", begun.elapsed());
    let more = bench.plain("a,t\n270000,y\n,z\n");
    let snapshot = bench.sets.append(&set.id, &more, crate::query::testing::now()).unwrap();
    assert_ne!(first.digest, snapshot.digest);
    let odd = Predicate { column: "t".into(), operator: Operator::Neq, values: vec![Value::Text("x3".into())] };
    let grants = Grants::of(&set, &snapshot, rows_view(vec![odd], &columns(), None));
    let begun = std::time::Instant::now();
    let rows = bench.rows(&grants, "SELECT t, count(*), sum(a) FROM data GROUP BY t ORDER BY t").await.unwrap();
    eprintln!("grouping 270,000 rows: {:?}", begun.elapsed());
    let sum = |rest: usize| (0..270_000).filter(|a| a % 7 == rest).sum::<usize>();
    let count = |rest: usize| (0..270_000).filter(|a| a % 7 == rest).count();
    let mut expected: Vec<String> =
        [0, 1, 2, 4, 5, 6].iter().map(|r| format!("x{r}|{}|{}", count(*r), sum(*r))).collect();
    expected.extend(["y|1|270000".to_owned(), "z|1|".to_owned()]);
    assert_eq!(rows, expected);
    let ordered = bench.rows(&grants, "SELECT a FROM data ORDER BY a DESC NULLS LAST LIMIT 3").await.unwrap();
    assert_eq!(ordered, ["270000", "269999", "269998"]);
    let future = bench.engine.schema(&grants.schema(), "SELECT 1").await;
    assert!(future.is_ok());
}

#[test]
fn streams_and_the_calls_that_make_them_can_be_sent() {
    fn sent<T: Send>(_: &T) {}
    fn check(engine: &QueryEngine, access: &AccessGrant, schema: &SchemaGrant, release: &ReleaseGrant) {
        sent(&engine.run(access, "", key));
        sent(&engine.schema(schema, ""));
        sent(&engine.release(release, access.agreement()));
    }
    fn stream<T: Send + Unpin + 'static>() {}
    stream::<RowStream>();
    let _ = check;
}
