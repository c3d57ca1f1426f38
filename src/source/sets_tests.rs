use super::*;
use crate::query::testing::{Bench, building_water, dataset, demo, households, now};
use crate::source::ColumnHeader;
use perron_model::dataset::ColumnType;

fn id(text: &str) -> DatasetId {
    DatasetId::parse(text).unwrap()
}

#[test]
fn the_files_of_the_demonstration_load() {
    let bench = Bench::new();
    let (set, files) = households();
    let first = bench.sets.add(set.clone(), &files[0], now()).unwrap();
    assert_eq!(first.rows, 13_020);
    let second = bench.sets.append(&set.id, &files[1], now()).unwrap();
    assert_eq!(second.rows, 13_020 + 11_760);
    let third = bench.sets.append(&set.id, &files[2], now()).unwrap();
    assert_eq!((third.rows, third.parts.len()), (37_800, 3));
    assert_eq!(bench.sets.append(&set.id, &files[2], now()).unwrap_err().code, ErrorCode::AlreadyExists);
    let (water, csv) = building_water();
    let from_csv = bench.sets.add(water.clone(), &csv, now()).unwrap();
    assert_eq!(from_csv.rows, 5201);
    let columns = vec![ColumnHeader { name: "start".into(), header: Some("start_utc".into()) }];
    let path = demo("building_water_hours_2015.parquet");
    let parquet = SourceFile { path, format: SourceFormat::Parquet, columns };
    let from_parquet = bench.sets.replace(&water.id, &parquet, now()).unwrap();
    // The same rows in the same order make the same part, whatever file they came in.
    assert_eq!(from_parquet.digest, from_csv.digest);
    let electricity = dataset(
        "building-electricity",
        None,
        &[("nis", ColumnType::Text), ("start", ColumnType::Timestamp), ("mean_watts", ColumnType::Number)],
    );
    let columns = vec![ColumnHeader { name: "start".into(), header: Some("start_utc".into()) }];
    let path = demo("building_electricity_hours_2016.parquet");
    let source = SourceFile { path, format: SourceFormat::Parquet, columns };
    assert_eq!(bench.sets.add(electricity, &source, now()).unwrap().rows, 6 * 8784);
}

#[test]
fn a_set_is_there_after_opening_again_and_its_old_snapshots_too() {
    let bench = Bench::new();
    let set = dataset("s", None, &[("a", ColumnType::Integer)]);
    let first = bench.publish(&set, "a\n1\n2\n");
    let second = bench.sets.replace(&set.id, &bench.plain("a\n3\n"), now()).unwrap();
    let again = Sets::open(&bench.directory.path().join("sets")).unwrap();
    let (description, newest) = again.current(&set.id).unwrap();
    assert_eq!((description.as_ref(), &newest), (&set, &second));
    assert_eq!(again.snapshot(&set.id, &first.digest).unwrap(), first);
    assert_eq!(again.parts(&first).unwrap()[0].rows(), 2);
    again.withdraw(&set.id).unwrap();
    assert!(again.current(&set.id).is_none() && again.list().is_empty());
    assert_eq!(again.withdraw(&set.id).unwrap_err().code, ErrorCode::NotFound);
    assert!(Sets::open(&bench.directory.path().join("sets")).unwrap().current(&set.id).is_none());
    assert_eq!(again.add(set.clone(), &bench.plain("a\n3\n"), now()).unwrap().digest, second.digest);
}

#[test]
fn a_part_that_was_changed_is_refused() {
    let bench = Bench::new();
    let set = dataset("s", None, &[("a", ColumnType::Integer)]);
    let snapshot = bench.publish(&set, "a\n1\n2\n");
    let path = bench.directory.path().join("sets/s").join(format!("{}.parquet", snapshot.parts[0]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(bench.sets.parts(&snapshot).unwrap_err().code, ErrorCode::Internal);
}

#[test]
fn what_a_crash_leaves_is_not_a_set() {
    let bench = Bench::new();
    let directory = bench.directory.path().join("sets");
    let set = dataset("s", None, &[("a", ColumnType::Integer)]);
    let snapshot = bench.publish(&set, "a\n1\n");
    // Before the pointer moved: parts, a manifest and a file being written are there, not named.
    std::fs::remove_file(directory.join("s").join(CURRENT)).unwrap();
    std::fs::write(directory.join("s").join("1-2.tmp"), b"half").unwrap();
    let again = Sets::open(&directory).unwrap();
    assert!(again.current(&set.id).is_none());
    assert!(!directory.join("s").join("1-2.tmp").exists());
    assert_eq!(again.add(set, &bench.plain("a\n1\n"), now()).unwrap(), snapshot);
    // A set whose manifest doesn't say what its name says isn't served; others are.
    let other = dataset("t", None, &[("a", ColumnType::Integer)]);
    again.add(other, &bench.plain("a\n1\n"), now()).unwrap();
    let manifest = directory.join("s").join(SNAPSHOTS).join(format!("{}.json", snapshot.digest));
    let text = std::fs::read_to_string(&manifest).unwrap().replace("\"rows\":1", "\"rows\":2");
    std::fs::write(&manifest, text.replace(&snapshot.parts[0].to_string(), &Digest::of(b"x").to_string())).unwrap();
    let again = Sets::open(&directory).unwrap();
    assert!(again.current(&id("s")).is_none() && again.current(&id("t")).is_some());
}

#[test]
fn a_source_that_fails_leaves_nothing_published() {
    let bench = Bench::new();
    let set = dataset("s", None, &[("a", ColumnType::Integer)]);
    let error = bench.sets.add(set.clone(), &bench.plain("a\n1\nx\n"), now()).unwrap_err();
    assert_eq!(error.detail, "line 3, column `a`: `x` is not a whole number");
    assert!(bench.sets.current(&set.id).is_none());
    let left = std::fs::read_dir(bench.directory.path().join("sets/s")).unwrap();
    assert!(left.flatten().all(|e| e.file_name() == SNAPSHOTS));
    let missing = SourceFile { path: "/nowhere/x.csv".into(), ..bench.plain("a\n") };
    assert!(!bench.sets.add(set.clone(), &missing, now()).unwrap_err().detail.contains("nowhere"));
    let strays = vec![ColumnHeader { name: "b".into(), header: None }];
    let stray = SourceFile { columns: strays, ..bench.plain("a\n1\n") };
    assert_eq!(bench.sets.add(set, &stray, now()).unwrap_err().detail, "the set has no column `b`");
}

#[test]
fn a_parquet_column_of_another_type_is_refused() {
    let bench = Bench::new();
    let set = dataset("w", None, &[("meter", ColumnType::Integer)]);
    let path = demo("building_water_hours_2015.parquet");
    let source = SourceFile { path, format: SourceFormat::Parquet, columns: vec![] };
    let error = bench.sets.add(set, &source, now()).unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceInvalid);
    assert!(error.detail.contains("`meter`") && error.detail.contains("integer"), "{}", error.detail);
}
