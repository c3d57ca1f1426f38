//! A released table over many readings, against DuckDB running the same protected query by hand
//! over the same Parquet parts, turn by turn in one run.

use crate::figure::{Figure, Goal, Line, Seen};
use crate::open::Open;
use crate::space::{LEGAL_BASIS, PURPOSE};
use crate::{conditions, failed, micros};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use perron::ledger::SystemClock;
use perron::query::arrow::array::{ArrayRef, AsArray, Float64Array, StringArray, TimestampMillisecondArray};
use perron::query::arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Int64Type, Schema, TimeUnit};
use perron::query::arrow::record_batch::RecordBatch;
use perron::query::{QueryEngine, QuerySettings, Releases};
use perron::source::{Sets, SourceFile, SourceFormat};
use perron_gate::Clock;
use perron_model::Result;
use perron_model::dataset::{Dataset, Snapshot};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Households, each with an hourly meter.
const HOUSEHOLDS: usize = 10_000;
const SECTORS: usize = 200;
const FLOOR: u32 = 10;
const DOMINANCE: u32 = 10;
/// 2025-01-01T00:00:00Z.
const BEGIN_MS: i64 = 1_735_689_600_000;
const HOUR_MS: i64 = 3_600_000;
/// One household in so many, of the first ones, uses so many times the water of the others: its
/// sector is dominated.
const LARGE_EACH: usize = 10;
const LARGE_BELOW: usize = 50;
const LARGE_TIMES: f64 = 1_000.0;
/// Hours that are written at a time.
const HOURS_AT_ONCE: usize = 10;

/// Derives `rows` readings: hour by hour, each household's, as meters send them. The litres are
/// the demonstration's shape of a day, shifted by household. Some sectors are too small for the
/// floor, in some one household dominates.
fn write_source(file: &Path, rows: usize) -> Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("household", DataType::Utf8, true),
        Field::new("sector", DataType::Utf8, true),
        Field::new("start", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("litres", DataType::Float64, true),
    ]));
    let out = std::fs::File::create(file).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(failed)?;
    let names: Vec<String> = (0..HOUSEHOLDS).map(|h| format!("household-{h:06}")).collect();
    let sector = |h: usize| if h.is_multiple_of(97) { SECTORS + h / 97 % 25 } else { h % SECTORS };
    let sectors: Vec<String> = (0..HOUSEHOLDS).map(|h| format!("sector-{:03}", sector(h))).collect();
    let mut hour = 0usize;
    let mut left = rows;
    while left > 0 {
        let block: Vec<(usize, usize)> =
            (hour..hour + HOURS_AT_ONCE).flat_map(|t| (0..HOUSEHOLDS).map(move |h| (t, h))).take(left).collect();
        left -= block.len();
        hour += HOURS_AT_ONCE;
        let name = |of: &'_ [String]| -> ArrayRef {
            Arc::new(block.iter().map(|(_, h)| of.get(*h).map(String::as_str)).collect::<StringArray>())
        };
        let start = block.iter().map(|(t, _)| Some(BEGIN_MS + HOUR_MS * i64::try_from(*t).unwrap_or(0)));
        let litres = block.iter().map(|(t, h)| {
            let of_day = [1.0, 0.5, 0.5, 0.5, 1.0, 4.0, 18.0, 31.0, 22.0, 12.0, 9.0, 8.0];
            let shape = of_day.get((t + h) % of_day.len()).copied().unwrap_or(1.0);
            let times = if *h < LARGE_BELOW && h % LARGE_EACH == 3 { LARGE_TIMES } else { 1.0 };
            Some(times * (shape * (1.0 + (h % 13) as f64 / 8.0) + ((t * 7 + h * 3) % 32) as f64 / 4.0))
        });
        let columns: Vec<ArrayRef> = vec![
            name(&names),
            name(&sectors),
            Arc::new(start.collect::<TimestampMillisecondArray>().with_timezone("UTC")),
            Arc::new(litres.collect::<Float64Array>()),
        ];
        writer.write(&RecordBatch::try_new(schema.clone(), columns).map_err(failed)?).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

fn dataset() -> Result<Dataset> {
    let described = json!({
        "id": "household_water", "title": "Hourly readings", "description": "Derived readings", "owner": "Nobody",
        "theme": "http://publications.europa.eu/resource/authority/data-theme/ENVI", "regime": "public-task",
        "subject_key": {"declared": "column", "column": "household"}, "visibility": {"to": "members"},
        "columns": [
            {"name": "household", "type": "text", "meaning": "Household", "protection": "personal"},
            {"name": "sector", "type": "text", "meaning": "Sector", "protection": "none"},
            {"name": "start", "type": "timestamp", "meaning": "Begin of the hour", "protection": "none"},
            {"name": "litres", "type": "number", "meaning": "Water", "unit": "l", "protection": "personal"}
        ]
    });
    serde_json::from_value::<Dataset>(described).map_err(failed)?.check()
}

fn policy() -> Json {
    let term = |left: &str, operator: &str, right: Json| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    json!({
        "@type": "Offer",
        "profile": "https://w3id.org/perron/odrl/v1/",
        "permission": [{"action": "use", "constraint": [
            term("purpose", "isAnyOf", json!([PURPOSE])),
            term("perron:legalBasis", "eq", json!(LEGAL_BASIS)),
            term("perron:dimensions", "isAllOf", json!(["sector", {"perron:column": "start", "perron:granularity": "month"}])),
            term("perron:measures", "isAnyOf", json!([
                {"perron:function": "sum", "perron:column": "litres", "perron:name": "litres"},
                {"perron:function": "mean", "perron:column": "litres", "perron:name": "mean"},
                {"perron:function": "subjects", "perron:name": "households"}
            ])),
            term("perron:floor", "gteq", json!(FLOOR)),
            term("perron:dominance", "gteq", json!(DOMINANCE))
        ]}]
    })
}

/// The same query as somebody would write it by hand: contributions of each household first, then
/// the groups, with floor and dominance. The month is that of UTC, without DuckDB's calendar of time
/// zones (`AT TIME ZONE`), with which it takes three times as long. For each line that it reads it
/// prints seconds and groups.
const DUCKDB: &str = r#"
import json, sys, time, duckdb
con = duckdb.connect()
con.execute("SET enable_progress_bar = false")
con.execute(f"SET threads = {int(sys.argv[2])}")
con.execute("SET TimeZone = 'UTC'")
query = f"""
WITH each AS (
    SELECT sector, date_trunc('month', make_timestamp(epoch_us(start))) AS month, household,
           sum(litres) AS litres, count(litres) AS readings, sum(abs(litres)) AS part
    FROM read_parquet('{sys.argv[1]}/*.parquet')
    WHERE household IS NOT NULL GROUP BY ALL
), groups AS (
    SELECT sector, month, sum(litres) AS litres, sum(litres) / sum(readings) AS mean, count(*) AS households,
           count(*) FILTER (readings > 0) AS behind, sum(part) AS parts, max(part, 2) AS top
    FROM each GROUP BY ALL
)
SELECT sector, date_diff('day', DATE '1970-01-01', month::DATE), litres, mean, households FROM groups
WHERE behind >= {sys.argv[3]} AND households >= {sys.argv[3]}
  AND parts - top[1] - coalesce(top[2], 0) >= {sys.argv[4]} / 100.0 * top[1]
ORDER BY sector, month
"""
print(duckdb.__version__, flush=True)
for _ in sys.stdin:
    begun = time.perf_counter()
    rows = con.execute(query).fetchall()
    taken = time.perf_counter() - begun
    print(json.dumps([taken, rows]), flush=True)
"#;

/// A group that is given: sector, day since 1970-01-01 on which its month begins, sum and mean of
/// the litres, households.
type Group = (String, i32, f64, f64, i64);

/// The groups of a released table, by its file.
fn groups(file: &Path) -> Result<Vec<Group>> {
    let file = std::fs::File::open(file).map_err(failed)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build()).map_err(failed)?;
    let mut groups = Vec::new();
    for batch in reader {
        let batch = batch.map_err(failed)?;
        let found = || -> Option<Vec<Group>> {
            let [sector, start, litres, mean, households] = batch.columns() else { return None };
            let (sector, start) = (sector.as_string_opt::<i32>()?, start.as_primitive_opt::<Date32Type>()?);
            let (litres, mean) = (litres.as_primitive_opt::<Float64Type>()?, mean.as_primitive_opt::<Float64Type>()?);
            let households = households.as_primitive_opt::<Int64Type>()?;
            let group = |at: usize| {
                (sector.value(at).to_owned(), start.value(at), litres.value(at), mean.value(at), households.value(at))
            };
            Some((0..batch.num_rows()).map(group).collect())
        };
        groups.extend(found().ok_or_else(|| failed("a released table of another shape"))?);
    }
    Ok(groups)
}

/// Are two tables the same? Sums of floats depend on the order of adding, by less than a billionth.
fn same(ours: &[Group], theirs: &[Group]) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let one = |(a, b): (&Group, &Group)| a.0 == b.0 && a.1 == b.1 && near(a.2, b.2) && near(a.3, b.3) && a.4 == b.4;
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(one)
}

/// One release, into a directory of its own; its time in seconds, and the table.
fn release(runtime: &Runtime, sets: &Arc<Sets>, snapshot: &Snapshot, directory: &Path) -> Result<(f64, Vec<Group>)> {
    let open = Open::agreement(dataset()?, snapshot, &policy())?;
    let (gate, agreement) = (open.gate(), open.id());
    let releases = Arc::new(Releases::open(directory)?);
    let settings = QuerySettings { query_ms_max: 3_600_000, ..QuerySettings::default() };
    let engine = QueryEngine::new(sets.clone(), releases, settings)?;
    let begun = Instant::now();
    let grant = gate.admit_release(&agreement).map_err(|d| d.error)?;
    let released = runtime.block_on(engine.release(&grant, agreement))?;
    let taken = micros(begun) / 1e6;
    let groups = groups(&directory.join(agreement.to_string()).join(format!("{}.parquet", released.table)))?;
    std::fs::remove_dir_all(directory).map_err(failed)?;
    Ok((taken, groups))
}

/// DuckDB, in a process that runs the query once a line.
struct Duck {
    child: std::process::Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Duck {
    fn start(python: &Path, parts: &Path, threads: usize) -> Result<Duck> {
        let mut child = Command::new(python)
            .arg("-c")
            .arg(DUCKDB)
            .arg(parts)
            .args([threads.to_string(), FLOOR.to_string(), DOMINANCE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| failed(format!("`{}`: {e}", python.display())))?;
        let out = child.stdout.take().ok_or_else(|| failed("no output"))?;
        let mut duck = Duck { child, answers: BufReader::new(out).lines() };
        println!("DuckDB {}", duck.line()?);
        Ok(duck)
    }

    fn line(&mut self) -> Result<String> {
        self.answers.next().ok_or_else(|| failed("DuckDB ended"))?.map_err(failed)
    }

    /// Seconds and groups.
    fn run(&mut self) -> Result<(f64, Vec<Group>)> {
        let input = self.child.stdin.as_mut().ok_or_else(|| failed("no input"))?;
        writeln!(input, "go").and_then(|()| input.flush()).map_err(failed)?;
        serde_json::from_str(&self.line()?).map_err(failed)
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The figure.
pub fn measure(
    runtime: &Runtime,
    directory: &Path,
    rows: usize,
    rounds: usize,
    python: Option<&Path>,
) -> Result<Figure> {
    let load = conditions::load();
    let source = directory.join("readings.parquet");
    write_source(&source, rows)?;
    let sets = Arc::new(Sets::open(&directory.join("sets"))?);
    let file = SourceFile { path: source.clone(), format: SourceFormat::Parquet, columns: Vec::new() };
    let snapshot = sets.add(dataset()?, &file, SystemClock.now())?;
    std::fs::remove_file(&source).map_err(failed)?;
    let parts = directory.join("sets").join("household_water");
    let threads = QuerySettings::default().threads;
    let mut duck = python.map(|p| Duck::start(p, &parts, threads)).transpose()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each reads from the disk and, here, verifies the parts' bytes; it isn't counted.
    for round in 0..=rounds {
        let (seconds, table) = release(runtime, &sets, &snapshot, &directory.join("released"))?;
        let (other, compared) = match duck.as_mut().map(Duck::run).transpose()? {
            Some((_, theirs)) if !same(&table, &theirs) => {
                let (ours, theirs) = (table.len(), theirs.len());
                return Err(failed(format!("another table: {ours} groups are released, DuckDB gives {theirs}")));
            }
            Some((other, _)) => (Some(other), format!("; DuckDB {other:.2} s, the same table")),
            None => (None, String::new()),
        };
        println!("round {round}: released in {seconds:.2} s, {} groups{compared}", table.len());
        if round > 0 {
            ours.push(seconds);
            theirs.extend(other);
        }
    }
    let mut lines = vec![Line::new("released table", "s", Seen::median(&ours), None)];
    if !theirs.is_empty() {
        lines.push(Line::new("DuckDB, by hand", "s", Seen::median(&theirs), None));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
        lines.push(Line::new("ratio", "ratio", Seen::median(&ratios), Some(Goal::AtMost(1.2))));
    }
    let what = "a released table, with floor and dominance, against the same query by hand in DuckDB";
    Ok(Figure { name: "release", what, lines, samples: ours.len(), load: [load, conditions::load()] })
}
