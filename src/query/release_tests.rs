use super::*;
use crate::query::testing::{Bench, Grants, agreement, dataset, households, now};
use perron_model::dataset::ColumnType::{Date, Integer, Number, Text, Timestamp as Time};
use perron_model::policy::View;

fn spec(dimensions: &[(&str, Granularity)], measures: &[(MeasureFunction, &str, &str)], floor: u32) -> ReleaseSpec {
    ReleaseSpec {
        dimensions: dimensions
            .iter()
            .map(|(column, granularity)| Dimension { column: (*column).into(), granularity: *granularity })
            .collect(),
        measures: measures
            .iter()
            .map(|(function, column, name)| Measure {
                function: *function,
                column: (*column).into(),
                name: (*name).into(),
            })
            .collect(),
        floor,
    }
}

fn monthly() -> ReleaseSpec {
    spec(
        &[("secteur", Granularity::Value), ("date", Granularity::Month)],
        &[
            (MeasureFunction::Subjects, "menage", "menages"),
            (MeasureFunction::Mean, "litres", "litres_moyens"),
            (MeasureFunction::Sum, "litres", "litres"),
        ],
        5,
    )
}

#[tokio::test]
async fn sectors_below_the_floor_are_withheld_and_periods_stay() {
    let bench = Bench::new();
    let (set, files) = households();
    bench.sets.add(set.clone(), &files[0], now()).unwrap();
    let january = bench.sets.append(&set.id, &files[1], now()).unwrap();
    let view = || View::Aggregates(monthly());
    let grants = Grants::of(&set, &january, view());
    let sql = "SELECT count(*), count(DISTINCT secteur), min(menages), min(date), max(date) FROM data";
    let missing = bench.rows(&grants, sql).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::ReleaseMissing);
    let first = bench.engine.release(&grants.release(), agreement()).await.unwrap();
    assert_eq!((first.groups, first.suppressed), (20, 4));
    assert_eq!(first.periods, ["2025-01-01", "2025-02-01"]);
    assert_eq!(bench.rows(&grants, sql).await.unwrap(), ["20|10|9|2025-01-01|2025-02-01"]);
    let shown = "SELECT secteur, date, menages, round(litres_moyens, 1) AS moyenne, round(litres) AS total \
                 FROM household_water ORDER BY secteur, date LIMIT 2";
    let rows = bench.rows(&grants, shown).await.unwrap();
    assert_eq!(rows, ["63049X003|2025-01-01|9|225.5|62926.0", "63049X003|2025-02-01|9|235.7|59394.0"]);
    // The same snapshot again is the same release.
    assert_eq!(bench.engine.release(&grants.release(), agreement()).await.unwrap(), first);
    // Another snapshot of the same periods isn't released.
    let other = bench.sets.replace(&set.id, &files[0], now()).unwrap();
    let again = Grants::of(&set, &other, view());
    let error = bench.engine.release(&again.release(), agreement()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ReleaseExists);
    // A later snapshot adds its periods.
    let march = bench.sets.append(&set.id, &files[2], now()).unwrap();
    let grants = Grants::of(&set, &march, view());
    let second = bench.engine.release(&grants.release(), agreement()).await.unwrap();
    assert_eq!((second.groups, second.suppressed, second.periods.len()), (10, 2, 1));
    assert_eq!(bench.rows(&grants, sql).await.unwrap(), ["30|10|9|2025-01-01|2025-03-01"]);
    assert_eq!(bench.releases.list(&agreement()).unwrap().len(), 2);
    let columns = bench.engine.table_schema(&grants.schema()).unwrap();
    let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["secteur", "date", "menages", "litres_moyens", "litres"]);
    for name in ["menage", "compteur", "occupants"] {
        let error = bench.rows(&grants, &format!("SELECT {name} FROM data")).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ColumnNotGranted);
    }
}

#[tokio::test]
async fn a_measure_that_few_stand_behind_suppresses_its_group() {
    let bench = Bench::new();
    let set = dataset("s", Some("p"), &[("p", Text), ("z", Text), ("d", Date), ("v", Number), ("n", Integer)]);
    let csv = "p,z,d,v,n\n\
        a,x,2025-01-01,1,1\nb,x,2025-01-01,2,\na,x,2025-01-02,1,1\n\
        a,y,2025-01-01,1,1\nb,y,2025-01-01,,2\nb,y,2025-01-01,,2\n\
        a,w,2025-01-01,5,1\n,w,2025-01-01,7,1\n\
        a,,2025-02-01,1,1\nb,,2025-02-01,3,1\n\
        a,x,,1,1\nb,x,,1,1\n";
    let snapshot = bench.publish(&set, csv);
    let terms = spec(
        &[("z", Granularity::Value), ("d", Granularity::Month)],
        &[(MeasureFunction::Sum, "v", "total"), (MeasureFunction::Subjects, "p", "people")],
        2,
    );
    let grants = Grants::of(&set, &snapshot, View::Aggregates(terms));
    let released = bench.engine.release(&grants.release(), agreement()).await.unwrap();
    // y: one person has a value; w: the row of nobody doesn't count.
    assert_eq!((released.groups, released.suppressed), (3, 2));
    assert_eq!(released.periods, ["2025-01-01", "2025-02-01", "none"]);
    let rows = bench.rows(&grants, "SELECT * FROM s ORDER BY total").await.unwrap();
    assert_eq!(rows, ["x||2.0|2", "x|2025-01-01|4.0|2", "|2025-02-01|4.0|2"]);
}

#[tokio::test]
async fn cuts_of_dates_and_times_and_tables_without_a_period() {
    let bench = Bench::new();
    let set = dataset("s", Some("p"), &[("p", Text), ("t", Time), ("n", Integer)]);
    let csv = "p,t,n\na,2024-12-31 23:00,1\nb,2024-12-31 01:00,2\na,2025-02-03 00:00,3\nb,2025-02-03 23:59,4\n";
    let snapshot = bench.publish(&set, csv);
    let measures = [(MeasureFunction::Sum, "n", "total"), (MeasureFunction::Mean, "n", "mean")];
    for (i, (granularity, expected)) in [
        (Granularity::Day, ["2024-12-31|3|1.5", "2025-02-03|7|3.5"]),
        (Granularity::Month, ["2024-12-01|3|1.5", "2025-02-01|7|3.5"]),
        (Granularity::Year, ["2024-01-01|3|1.5", "2025-01-01|7|3.5"]),
    ]
    .into_iter()
    .enumerate()
    {
        let bench = Bench::new();
        let snapshot = bench.publish(&set, csv);
        let grants = Grants::of(&set, &snapshot, View::Aggregates(spec(&[("t", granularity)], &measures, 2)));
        bench.engine.release(&grants.release(), agreement()).await.unwrap();
        assert_eq!(bench.rows(&grants, "SELECT * FROM s ORDER BY t").await.unwrap(), expected, "{i}");
    }
    let grants = Grants::of(&set, &snapshot, View::Aggregates(spec(&[], &measures, 2)));
    let released = bench.engine.release(&grants.release(), agreement()).await.unwrap();
    assert_eq!((released.groups, released.periods), (1, vec!["all".to_owned()]));
    let later = bench.sets.append(&set.id, &bench.plain("p,t,n\nc,2025-02-04 00:00,9\n"), now()).unwrap();
    let grants = Grants::of(&set, &later, View::Aggregates(spec(&[], &measures, 2)));
    let error = bench.engine.release(&grants.release(), agreement()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ReleaseExists);
}

#[tokio::test]
async fn a_release_that_can_not_keep_its_floor_is_refused() {
    let bench = Bench::new();
    let set = dataset("s", None, &[("p", Text), ("n", Integer)]);
    let snapshot = bench.publish(&set, "p,n\na,1\n");
    let measures = [(MeasureFunction::Sum, "n", "total")];
    let grants = Grants::of(&set, &snapshot, View::Aggregates(spec(&[("p", Granularity::Value)], &measures, 2)));
    let error = bench.engine.release(&grants.release(), agreement()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TermInvalid);
    assert!(bench.releases.list(&agreement()).unwrap().is_empty());
    let set = dataset("t", Some("p"), &[("p", Text), ("n", Integer)]);
    let snapshot = bench.publish(&set, "p,n\na,1\n");
    for terms in [
        spec(&[("p", Granularity::Month)], &measures, 2),
        spec(&[("q", Granularity::Value)], &measures, 2),
        spec(&[("p", Granularity::Value)], &[(MeasureFunction::Sum, "p", "total")], 2),
        spec(&[("p", Granularity::Value)], &[(MeasureFunction::Sum, "n", "p")], 2),
        spec(&[("p", Granularity::Value)], &[], 2),
    ] {
        let grants = Grants::of(&set, &snapshot, View::Aggregates(terms));
        let error = bench.engine.release(&grants.release(), agreement()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TermInvalid);
    }
    // A floor below two protects nobody: two are asked for all the same.
    let one = spec(&[("p", Granularity::Value)], &measures, 0);
    let grants = Grants::of(&set, &snapshot, View::Aggregates(one));
    let released = bench.engine.release(&grants.release(), agreement()).await.unwrap();
    assert_eq!((released.groups, released.suppressed), (0, 1));
}
