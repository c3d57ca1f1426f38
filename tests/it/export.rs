//! Exports of the log of a running process: complete, in order, and themselves in the log.

use crate::played::{copy, played};
use crate::world::{CONSUMER, PROVIDER, World, address, output};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOME_READS: [&str; 2] = ["SELECT count(*) FROM data", "SELECT nothing_of_this_name FROM data"];

/// A provider that gave something, and refused something.
fn world() -> World {
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    assert!(world.query(&agreement, SOME_READS[0]).is_ok());
    assert!(world.query(&agreement, SOME_READS[1]).is_err());
    world
}

/// What an export printed, a value a line.
fn lines(world: &World, name: &str, args: &[&str]) -> Vec<Json> {
    let mut all = vec!["audit", "export", "--dir"];
    let dir = world.path(name);
    all.push(&dir);
    all.extend(args);
    let out = output(&all, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// What an export says of an entry that is listed: of a sealed value only whether it is there.
fn facts_of(listed: &Json) -> Json {
    let mut facts = listed["facts"].clone();
    if let Some(sealed) = listed.get("sealed") {
        facts["sealed"] = sealed["state"].clone();
    }
    facts
}

fn indices(lines: &[Json]) -> Vec<u64> {
    lines.iter().map(|l| l["index"].as_u64().unwrap()).collect()
}

#[test]
fn the_whole_log_in_its_order_and_the_export_is_in_it() {
    let mut world = world();
    let listed = world.entries(PROVIDER);
    let exported = lines(&world, PROVIDER, &["--format", "jsonl"]);
    assert!(exported.len() >= listed.len());
    assert_eq!(indices(&exported), (0..exported.len() as u64).collect::<Vec<_>>());
    for (listed, exported) in listed.iter().zip(&exported) {
        for field in ["index", "time", "leaf", "kind", "chain"] {
            assert_eq!(listed[field], exported[field], "{field} of {listed}");
        }
        assert_eq!(facts_of(listed), exported["facts"], "facts of {listed}");
    }
    let permit = exported.iter().find(|e| e["kind"] == "permit").unwrap();
    assert_eq!((&permit["organisation"], &permit["permitted"]), (&CONSUMER.into(), &true.into()));
    let outcome = exported.iter().find(|e| e["kind"] == "outcome").unwrap();
    assert_eq!(
        (&outcome["decision"], &outcome["status"], &outcome["rows"]),
        (&permit["leaf"], &"complete".into(), &1.into())
    );
    assert_eq!(outcome["dataset"], permit["dataset"]);

    // The export is an entry of its own, which says what was asked; it comes after what it gave.
    let export = world.entries(PROVIDER).into_iter().find(|e| e["facts"]["action"] == "audit.export").unwrap();
    assert_eq!(export["index"].as_u64().unwrap(), exported.len() as u64);
    assert_eq!((&export["kind"], &export["facts"]["actor"]), (&"administration".into(), &"operator".into()));

    // What is asked of a list is asked of an export, and it goes on from anywhere.
    let refused = lines(&world, PROVIDER, &["--format", "jsonl", "--refused"]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["kind"], "plan-refusal");
    let from = exported.len() - 2;
    let rest = lines(&world, PROVIDER, &["--format", "jsonl", "--from", &from.to_string()]);
    assert_eq!(rest[..2], exported[from..]);
    let beyond = lines(&world, PROVIDER, &["--format", "jsonl", "--from", "1000000"]);
    assert!(beyond.is_empty(), "{beyond:?}");
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

#[test]
fn columns_with_their_types() {
    let mut world = world();
    let out = world.path("log.parquet");
    let told = world.of(PROVIDER, &["audit", "export"], &["--format", "parquet", "--out", &out]).unwrap();
    let rows = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&out).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = rows.map(Result::unwrap).collect();
    let (mut index, mut permits) = (0, 0);
    let listed = world.entries(PROVIDER);
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        for row in 0..batch.num_rows() {
            let entry = &listed[usize::try_from(index).unwrap()];
            assert_eq!(column("index").as_primitive::<UInt64Type>().value(row), index);
            assert_eq!(column("leaf").as_string::<i32>().value(row), entry["leaf"].as_str().unwrap());
            let time = perron_model::Timestamp::parse(entry["time"].as_str().unwrap()).unwrap();
            let micros = column("time").as_primitive::<TimestampMicrosecondType>().value(row);
            assert_eq!(micros, time.millis() * 1000);
            let facts: Json = serde_json::from_str(column("facts").as_string::<i32>().value(row)).unwrap();
            assert_eq!(facts, facts_of(entry));
            let permitted = column("permitted").as_boolean();
            permits += u32::from(!permitted.is_null(row) && permitted.value(row));
            index += 1;
        }
    }
    assert_eq!((told["parts"]["count"].as_str().unwrap(), permits), (index.to_string().as_str(), 1));
    read_by_others(Path::new(&out), index);
    world.stop(PROVIDER);
}

#[test]
fn a_file_has_its_name_once_it_is_complete() {
    let mut world = World::new();
    let asked =
        |world: &World, out: &str| world.of(PROVIDER, &["audit", "export"], &["--format", "jsonl", "--out", out]);
    let nowhere = world.path("no/such/place");
    assert_eq!(asked(&world, &nowhere).unwrap_err().code, "not_found");
    let needs = world.of(PROVIDER, &["audit", "export"], &["--format", "parquet"]).unwrap_err();
    assert_eq!(needs.code, "malformed");
    world.stop(PROVIDER);
    let out = world.path("log.jsonl");
    let refused = asked(&world, &out).unwrap_err();
    assert_eq!(refused.code, "not_running");
    let left: Vec<PathBuf> = std::fs::read_dir(Path::new(&out).parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl" || e == "tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The logs of the demonstration, which have all kinds of entries that it makes, and the one of
/// these tests: each event holds by the published schema.
#[test]
fn every_event_is_one_of_the_published_schema() {
    let mut world = world();
    for who in ["commune", "inter"] {
        copy(&played().join(who), &world.dir(who).with_extension("demo"));
    }
    let mut files = Vec::new();
    for name in [PROVIDER, CONSUMER, "commune.demo", "inter.demo"] {
        if name.ends_with("demo") {
            let (peers, flight) = (address().to_string(), address().to_string());
            let elsewhere = [("PERRON__LISTEN__PEERS", peers.as_str()), ("PERRON__LISTEN__FLIGHT", flight.as_str())];
            world.start_with(name, &elsewhere).unwrap();
        }
        let events = lines(&world, name, &["--format", "ocsf"]);
        let count = world.entries(name).len();
        // What came between the two, and the export itself.
        assert!(events.len() < count && events.len() + 20 > count, "{} of {count}", events.len());
        assert!(events.iter().any(|e| e["class_uid"] == 6005) && events.iter().any(|e| e["class_uid"] == 6003));
        let text: String = events.iter().map(|e| format!("{e}\n")).collect();
        files.push(world.write(&format!("{name}.ocsf"), text));
        world.stop(name);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ocsf/validate.py");
    let mut args = vec![script.display().to_string()];
    args.extend(files);
    python(&args);
}

#[test]
fn the_records_that_the_law_asks_for() {
    let mut world = world();
    let agreement = world.of(PROVIDER, &["agreement", "list"], &[]).unwrap();
    let agreement = agreement[0]["agreement"].as_str().unwrap().to_owned();
    let document = |name: &str, format: &str| lines(&world, name, &["--json", "--format", format]).remove(0);
    let log = document(PROVIDER, "dga-log");
    let row = log["rows"].as_array().unwrap().iter().find(|r| r["agreement"] == agreement.as_str()).unwrap();
    assert_eq!((&row["permitted"], &row["refused"], &row["rows"]), (&1.into(), &1.into(), &1.into()), "{row}");
    assert_eq!((&row["organisation"], &row["side"]), (&CONSUMER.into(), &"provider".into()));
    let first = row["first"][1].as_u64().unwrap();
    assert!(world.entries(PROVIDER)[usize::try_from(first).unwrap()]["chain"]["agreement"] == agreement.as_str());
    let jsonld = world.write("art30.json", document(CONSUMER, "art30").to_string());
    let received = document(CONSUMER, "dga-log");
    assert_eq!(received["rows"][0]["side"], "consumer");

    // The set of these tests is about nobody, by its description; its consumer doesn't know that.
    let register = document(PROVIDER, "art30");
    assert_eq!(register["perron:notPersonal"][0]["odrl:hasPolicy"], agreement.as_str());
    let register = document(CONSUMER, "art30");
    let process = &register["dpv:hasProcess"][0];
    assert_eq!(process["@id"], format!("perron:agreement/{agreement}"));
    assert_eq!(process["dpv:hasPurpose"][0]["@id"], crate::world::PURPOSE);
    let entry = usize::try_from(process["perron:evidence"]["agreement"].as_u64().unwrap()).unwrap();
    assert_eq!(world.entries(CONSUMER)[entry]["kind"], "agreement");

    // Others read it as JSON-LD.
    let script = "import sys, rdflib\n\
                  g = rdflib.Graph().parse(sys.argv[1], format='json-ld')\n\
                  d = rdflib.Namespace('https://w3id.org/dpv#')\n\
                  [p] = g.subjects(rdflib.RDF.type, d.Process)\n\
                  [w] = g.objects(p, d.hasPurpose)\n\
                  assert str(w) == sys.argv[2], w\n";
    python(&["-c".to_owned(), script.to_owned(), jsonld, crate::world::PURPOSE.to_owned()]);

    let out = world.path("registre.md");
    let dir = world.path(CONSUMER);
    let told = output(&["--lang", "fr", "audit", "export", "--dir", &dir, "--format", "art30", "--out", &out], &[]);
    assert!(told.status.success(), "{told:?}");
    let page = std::fs::read_to_string(&out).unwrap();
    assert!(page.starts_with("# Registre des activités de traitement") && page.contains("à compléter"), "{page}");
    world.stop(PROVIDER);
}

/// Another program's reading of a file of columns.
fn read_by_others(file: &Path, rows: u64) {
    let script = "import sys, pyarrow.parquet as p\n\
                  t = p.read_table(sys.argv[1])\n\
                  assert t.num_rows == int(sys.argv[2]), t.num_rows\n\
                  assert str(t.schema.field('time').type) == 'timestamp[us, tz=UTC]', t.schema\n\
                  assert str(t.schema.field('index').type) == 'uint64', t.schema\n\
                  assert t.column('index').to_pylist() == list(range(t.num_rows))\n";
    python(&["-c".to_owned(), script.to_owned(), file.display().to_string(), rows.to_string()]);
}

/// Runs a script by the Python of the tests.
fn python(args: &[String]) {
    let Some(python) = std::env::var_os("PERRON_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "PERRON_PYTHON isn't set: run `make test`");
        eprintln!("not run, for PERRON_PYTHON isn't set: {}", args[0]);
        return;
    };
    let out = Command::new(python).args(args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{stdout}{stderr}");
}
