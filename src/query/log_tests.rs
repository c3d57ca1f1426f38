use super::*;
use crate::query::testing::{Bench, DURABLE, Grants, collect};
use datafusion::arrow::array::{Array, ArrayRef, StringArray, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::record_batch::RecordBatchOptions;
use perron_model::{Error, ErrorCode};
use std::sync::Mutex;

const SECOND: i64 = 1_000_000;

/// A log in which entry n was written n seconds after the epoch, with what was scanned of it.
#[derive(Default)]
struct Numbered {
    scans: Arc<Mutex<Vec<LogScan>>>,
    breaks_at: Option<u64>,
}

impl LogTables for Numbered {
    fn tables(&self) -> Vec<(&'static str, SchemaRef)> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = vec![
            Field::new("index", DataType::UInt64, false),
            Field::new("time", time, false),
            Field::new("user", DataType::Utf8, true),
        ];
        vec![("log", Arc::new(Schema::new(fields)))]
    }

    fn rows(&self, scan: LogScan) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        self.scans.lock().unwrap().push(scan.clone());
        let (schema, breaks_at) = (self.tables().remove(0).1, self.breaks_at);
        let schema = Arc::new(schema.project(&scan.columns).unwrap());
        let starts = (scan.from..scan.to).step_by(100);
        Box::new(starts.map(move |start| {
            if breaks_at.is_some_and(|at| start >= at) {
                return Err(Error::new(ErrorCode::LogUnavailable, "a record can't be read"));
            }
            let rows: Vec<u64> = (start..scan.to.min(start + 100)).collect();
            let seconds = rows.iter().map(|n| i64::try_from(*n).unwrap() * SECOND);
            let all: [ArrayRef; 3] = [
                Arc::new(UInt64Array::from(rows.clone())),
                Arc::new(seconds.map(Some).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
                Arc::new(rows.iter().map(|n| Some(format!("u{}", n % 3))).collect::<StringArray>()),
            ];
            let arrays: Vec<ArrayRef> = scan.columns.iter().map(|c| Arc::clone(&all[*c])).collect();
            assert!(arrays.iter().all(|array| array.len() == rows.len()));
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).unwrap())
        }))
    }
}

async fn asked(sql: &str) -> (Result<Vec<String>>, Vec<LogScan>) {
    let (bench, tables) = (Bench::new(), Numbered::default());
    let scans = Arc::clone(&tables.scans);
    let rows = match bench.engine.run_log(&Grants::of_log().log(sql).await, sql, Arc::new(tables)).await {
        Ok(stream) => collect(stream).await,
        Err(error) => Err(error),
    };
    let scans = scans.lock().unwrap().clone();
    (rows, scans)
}

#[tokio::test]
async fn a_statement_sees_the_entries_of_its_grant() {
    let (rows, scans) = asked("SELECT count(*), min(\"index\"), max(\"index\") FROM log").await;
    assert_eq!(rows.unwrap(), [format!("{DURABLE}|0|{}", DURABLE - 1)]);
    assert_eq!(scans.iter().map(|s| (s.from, s.to, s.entries)).collect::<Vec<_>>(), [(0, DURABLE, DURABLE)]);
    let (rows, scans) = asked("SELECT count(*) FROM log").await;
    assert_eq!((rows.unwrap(), scans[0].columns.len()), (vec![DURABLE.to_string()], 0));
    // `user` is a column here, whoever is signed in.
    let (rows, _) = asked("SELECT user, count(*) AS n FROM log WHERE user <> 'u2' GROUP BY user ORDER BY user").await;
    assert_eq!(rows.unwrap(), ["u0|334", "u1|333"]);
}

#[tokio::test]
async fn numbers_and_times_narrow_what_is_read_and_filter_nothing() {
    let cases = [
        ("index >= 100 AND index < 200", (100, 200), (None, None), 100),
        ("index = 7", (7, 8), (None, None), 1),
        ("17 < index AND index <= 20", (18, 21), (None, None), 3),
        ("index BETWEEN 5 AND 6", (5, 7), (None, None), 2),
        ("index > 5000", (5_001, DURABLE), (None, None), 0),
        ("time >= TIMESTAMP '1970-01-01T00:10:00Z'", (0, DURABLE), (Some(600 * SECOND), None), DURABLE - 600),
        ("time < '1970-01-01T00:00:10Z' AND index > 1", (2, DURABLE), (None, Some(10 * SECOND)), 8),
        ("index < 10 OR index > 990", (0, DURABLE), (None, None), 19),
        ("index + 0 < 10", (0, DURABLE), (None, None), 10),
        ("index >= -1", (0, DURABLE), (None, None), DURABLE),
    ];
    for (filter, range, times, found) in cases {
        let (rows, scans) = asked(&format!("SELECT count(*) FROM log WHERE {filter}")).await;
        assert_eq!(rows.unwrap(), [found.to_string()], "{filter}");
        let narrowed: Vec<_> = scans.iter().map(|s| ((s.from, s.to), (s.since, s.until))).collect();
        assert_eq!(narrowed, [(range, times)], "{filter}");
    }
}

#[tokio::test]
async fn nothing_but_the_log_is_reached() {
    let cases = [
        ("SELECT * FROM data", ErrorCode::TableNotGranted),
        ("SELECT * FROM information_schema.tables", ErrorCode::TableNotGranted),
        ("SELECT * FROM 'users.json'", ErrorCode::TableNotGranted),
        ("SELECT * FROM read_csv('users.json')", ErrorCode::FunctionNotAllowed),
        ("SELECT secret FROM log", ErrorCode::ColumnNotGranted),
        ("SELECT now() FROM log", ErrorCode::FunctionNotAllowed),
        ("COPY log TO 'out.parquet'", ErrorCode::StatementNotAllowed),
        ("DELETE FROM log", ErrorCode::StatementNotAllowed),
        ("INSERT INTO log SELECT * FROM log", ErrorCode::StatementNotAllowed),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", ErrorCode::StatementInvalid),
        ("CREATE TABLE t AS SELECT 1", ErrorCode::StatementNotAllowed),
        ("SELECT 1; SELECT 2", ErrorCode::StatementInvalid),
        ("WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t", ErrorCode::StatementNotAllowed),
    ];
    let bench = Bench::new();
    for (sql, code) in cases {
        let (rows, scans) = asked(sql).await;
        let error = rows.unwrap_err();
        assert_eq!((error.code, scans.len()), (code, 0), "{sql}: {error}");
        let grant = Grants::of_log().log_schema(sql).await;
        let planned = bench.engine.log_schema(&grant, Arc::new(Numbered::default())).await;
        assert_eq!(planned.unwrap_err(), error, "{sql}");
        assert!(!error.detail.contains("agreement"), "{error}");
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_the_answers_end() {
    let sql = "SELECT \"index\" FROM log";
    let tables = Arc::new(Numbered { breaks_at: Some(500), ..Numbered::default() });
    let (bench, grant) = (Bench::new(), Grants::of_log().log(sql).await);
    let stream = bench.engine.run_log(&grant, sql, tables).await.unwrap();
    assert_eq!(collect(stream).await.unwrap_err().code, ErrorCode::LogUnavailable);
    grant.stop().stop(ErrorCode::RoleMissing);
    let stopped = bench.engine.run_log(&grant, sql, Arc::new(Numbered::default())).await;
    assert_eq!(stopped.unwrap_err().code, ErrorCode::RoleMissing);
}
