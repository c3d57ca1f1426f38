use super::*;
use crate::query::testing::{Bench, Grants, agreement, dataset, households, now};
use perron_model::dataset::ColumnType::{Boolean, Date, Integer, Number, Text, Timestamp as Time};
use perron_model::policy::View;
use perron_model::policy::{Dimension, Measure, Noise, Protection};

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
        protection: Protection::default(),
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

fn other(name: &str) -> AgreementId {
    Digest::of(name.as_bytes())
}

fn people() -> Dataset {
    dataset("s", Some("p"), &[("p", Text), ("z", Text), ("k", Text), ("d", Date), ("v", Integer), ("x", Number)])
}

/// `count` people of a sector and kind on a day, each with the value.
fn some(sector: &str, kind: &str, day: &str, count: usize, value: i64) -> String {
    (0..count).map(|i| format!("{sector}{kind}{i},{sector},{kind},{day},{value},{value}.5\n")).collect()
}

const HEADER: &str = "p,z,k,d,v,x\n";

fn protected(dimensions: &[(&str, Granularity)], floor: u32, protection: Protection) -> ReleaseSpec {
    let measures = [(MeasureFunction::Sum, "v", "total"), (MeasureFunction::Subjects, "p", "people")];
    ReleaseSpec { protection, ..spec(dimensions, &measures, floor) }
}

async fn released(
    bench: &Bench,
    set: &Dataset,
    snapshot: &Snapshot,
    terms: &ReleaseSpec,
    name: &str,
) -> Result<Released> {
    let grants = Grants::of(set, snapshot, View::Aggregates(terms.clone()));
    bench.engine.release(&grants.release(), other(name)).await
}

/// The groups of an agreement's table, as lines.
fn lines(bench: &Bench, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for part in bench.releases.table(&other(name)).unwrap().unwrap_or_default() {
        let file = std::fs::File::open(&part.path).unwrap();
        let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        rows.build().unwrap().for_each(|b| lines.extend(crate::query::testing::texts(&b.unwrap())));
    }
    lines
}

const BY_SECTOR: [(&str, Granularity); 2] = [("z", Granularity::Value), ("d", Granularity::Month)];

#[tokio::test]
async fn totals_come_with_a_second_group_withheld() {
    let bench = Bench::new();
    let csv = [
        HEADER,
        &some("a", "u", "2025-01-01", 6, 1),
        &some("b", "u", "2025-01-02", 2, 1),
        &some("c", "u", "2025-01-03", 5, 1),
        &some("a", "u", "2025-02-01", 6, 2),
        &some("c", "u", "2025-02-01", 4, 2),
    ]
    .concat();
    let snapshot = bench.publish(&people(), &csv);
    let totals = Protection { totals: Some("summed".into()), ..Protection::default() };
    let terms = protected(&BY_SECTOR, 3, totals);
    let given = released(&bench, &people(), &snapshot, &terms, "a").await.unwrap();
    // In January b has too few, and c goes with it; February keeps all.
    assert_eq!((given.groups, given.suppressed, given.further), (5, 2, 1));
    assert_eq!(
        lines(&bench, "a"),
        [
            "a|2025-01-01|0|6|6",
            "a|2025-02-01|0|12|6",
            "c|2025-02-01|0|8|4",
            "|2025-01-01|1|13|13",
            "|2025-02-01|1|20|10"
        ]
    );
    let grants = Grants::of(&people(), &snapshot, View::Aggregates(terms));
    bench.engine.release(&grants.release(), agreement()).await.unwrap();
    let sql = "SELECT count(*) FROM s WHERE summed = 1 AND z IS NULL";
    assert_eq!(bench.rows(&grants, sql).await.unwrap(), ["2"]);
}

#[tokio::test]
async fn a_giant_is_not_shown_by_its_sector() {
    let bench = Bench::new();
    let giant = format!("{HEADER}{}giant,a,u,2025-01-01,1000,0\n", some("a", "u", "2025-01-01", 6, 10));
    let snapshot = bench.publish(&people(), &giant);
    for (percent, groups) in [(None, 1), (Some(5), 1), (Some(6), 0)] {
        let terms = protected(&BY_SECTOR, 3, Protection { dominance: percent, ..Protection::default() });
        let given = released(&bench, &people(), &snapshot, &terms, &format!("{percent:?}")).await;
        // 1000 beside six of ten: all but the two largest are five per cent of it.
        assert_eq!(given.unwrap().groups, groups, "{percent:?}");
    }
}

#[tokio::test]
async fn two_tables_of_one_set_leave_no_small_difference() {
    let bench = Bench::new();
    let csv = [
        HEADER,
        &some("a", "u", "2025-01-01", 6, 1),
        &some("a", "w", "2025-01-01", 5, 1),
        &some("b", "u", "2025-01-01", 6, 1),
        &some("b", "w", "2025-01-01", 1, 7),
    ]
    .concat();
    let snapshot = bench.publish(&people(), &csv);
    let by_sector = protected(&BY_SECTOR, 3, Protection::default());
    let by_kind = protected(
        &[("z", Granularity::Value), ("k", Granularity::Value), ("d", Granularity::Month)],
        3,
        Protection::default(),
    );
    released(&bench, &people(), &snapshot, &by_sector, "one").await.unwrap();
    assert_eq!(lines(&bench, "one"), ["a|2025-01-01|11|11", "b|2025-01-01|13|7"]);
    // b less its kind u would be one household: the second table withholds it.
    let given = released(&bench, &people(), &snapshot, &by_kind, "two").await.unwrap();
    assert_eq!((given.suppressed, given.further), (2, 1));
    assert_eq!(lines(&bench, "two"), ["a|u|2025-01-01|6|6", "a|w|2025-01-01|5|5"]);
    // The other way round, b as a whole is withheld.
    let bench = Bench::new();
    let snapshot = bench.publish(&people(), &csv);
    released(&bench, &people(), &snapshot, &by_kind, "two").await.unwrap();
    assert_eq!(lines(&bench, "two").len(), 3);
    released(&bench, &people(), &snapshot, &by_sector, "one").await.unwrap();
    assert_eq!(lines(&bench, "one"), ["a|2025-01-01|11|11"]);
    // The same table for a third gives what the first gave, and nothing more.
    released(&bench, &people(), &snapshot, &by_kind, "three").await.unwrap();
    assert_eq!(lines(&bench, "three"), lines(&bench, "two"));
}

#[tokio::test]
async fn between_snapshots_nobody_is_singled_out() {
    let bench = Bench::new();
    let january = [HEADER, &some("a", "u", "2025-01-01", 6, 1)].concat();
    let first = bench.publish(&people(), &january);
    let terms = protected(&BY_SECTOR, 3, Protection::default());
    released(&bench, &people(), &first, &terms, "one").await.unwrap();
    // A household moved in: the same month of another snapshot, for another consumer, is taken
    // from the snapshot that the first one saw.
    let moved = format!("{january}new,a,u,2025-01-05,9,9\n{}", some("a", "u", "2025-02-01", 4, 1));
    let second = bench.sets.replace(&people().id, &bench.plain(&moved), now()).unwrap();
    let given = released(&bench, &people(), &second, &terms, "two").await.unwrap();
    assert_eq!((given.periods, given.snapshot), (vec!["2025-02-01".to_owned()], second.digest));
    assert_eq!(lines(&bench, "two"), ["a|2025-02-01|4|4", "a|2025-01-01|6|6"]);
    let all = bench.releases.list(&other("two")).unwrap();
    assert_eq!((all.len(), all[1].snapshot), (2, first.digest));
    // A table that spans both has no snapshot in which nothing moved.
    let whole = protected(&[("z", Granularity::Value), ("d", Granularity::Year)], 3, Protection::default());
    let refused = released(&bench, &people(), &second, &whole, "three").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReleaseOverlap);
    assert!(bench.releases.list(&other("three")).unwrap().is_empty());
    // Asked again, the same.
    assert_eq!(released(&bench, &people(), &second, &whole, "three").await.unwrap_err(), refused);
    // Appended months change nothing in those before.
    let bench = Bench::new();
    let first = bench.publish(&people(), &january);
    released(&bench, &people(), &first, &terms, "one").await.unwrap();
    let february = [HEADER, &some("a", "u", "2025-02-01", 4, 1)].concat();
    let second = bench.sets.append(&people().id, &bench.plain(&february), now()).unwrap();
    let whole = protected(&[("z", Granularity::Value), ("d", Granularity::Year)], 2, Protection::default());
    let given = released(&bench, &people(), &second, &whole, "three").await.unwrap();
    // All of January are in the year, and the year has as many households.
    assert_eq!((given.groups, given.periods), (1, vec!["2025-01-01".to_owned()]));
}

fn noisy(epsilon_micro: u64, budget_micro: u64) -> Protection {
    Protection {
        noise: [
            ("total".to_owned(), Noise { epsilon_micro, bound: 50 }),
            ("people".to_owned(), Noise { epsilon_micro, bound: 1 }),
        ]
        .into(),
        budget_micro: Some(budget_micro),
        ..Protection::default()
    }
}

#[tokio::test]
async fn noise_is_drawn_once_and_its_budget_spent_once() {
    let mut bench = Bench::new();
    let months: Vec<String> = (1..=4).map(|m| some("a", "u", &format!("2025-0{m}-01"), 40, 3)).collect();
    let snapshot = bench.publish(&people(), &format!("{HEADER}{}", months.concat()));
    // 0.2 a period, 0.5 in all: two of four periods.
    let terms = protected(&BY_SECTOR, 3, noisy(100_000, 500_000));
    let first = released(&bench, &people(), &snapshot, &terms, "one").await.unwrap();
    assert_eq!((first.periods.len(), first.epsilon_micro, first.spent_micro), (2, 400_000, 400_000));
    let given = lines(&bench, "one");
    assert_eq!(given.len(), 2);
    // After a restart the same, byte for byte.
    bench.releases = std::sync::Arc::new(Releases::open(&bench.directory.path().join("released")).unwrap());
    bench.engine =
        crate::query::QueryEngine::new(bench.sets.clone(), bench.releases.clone(), Default::default()).unwrap();
    assert_eq!(released(&bench, &people(), &snapshot, &terms, "one").await.unwrap(), first);
    assert_eq!(lines(&bench, "one"), given);
    // What other tables of the set spent counts, by the smallest budget of all.
    let rich = protected(&BY_SECTOR, 3, noisy(100_000, 900_000));
    let refused = released(&bench, &people(), &snapshot, &rich, "two").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::BudgetExhausted);
    // A table without noise beside it would take the noise away.
    let exact = protected(&BY_SECTOR, 3, Protection::default());
    let refused = released(&bench, &people(), &snapshot, &exact, "three").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReleaseOverlap);
}

#[tokio::test]
async fn what_lies_there_after_a_crash_before_the_index_counts_for_nothing() {
    let bench = Bench::new();
    let snapshot = bench.publish(&people(), &format!("{HEADER}{}", some("a", "u", "2025-01-01", 40, 3)));
    let terms = protected(&BY_SECTOR, 3, noisy(100_000, 300_000));
    let first = released(&bench, &people(), &snapshot, &terms, "one").await.unwrap();
    // The table is durable and the index isn't: nobody saw it, and nothing was spent.
    let directory = bench.directory.path().join("released").join(other("one").to_string());
    std::fs::remove_file(directory.join(INDEX)).unwrap();
    assert!(bench.releases.table(&other("one")).unwrap().is_none());
    let again = released(&bench, &people(), &snapshot, &terms, "one").await.unwrap();
    assert_eq!((again.spent_micro, again.periods), (first.spent_micro, first.periods));
    // An index that says less than what it is can't be compared, so nothing is released beside it.
    let index = std::fs::read_to_string(directory.join(INDEX)).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&index).unwrap();
    json.as_object_mut().unwrap().remove("of");
    std::fs::write(directory.join(INDEX), canonical::to_bytes(&json).unwrap()).unwrap();
    let refused = released(&bench, &people(), &snapshot, &terms, "two").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReleaseOverlap);
}

#[tokio::test]
async fn rounded_measures() {
    let bench = Bench::new();
    let snapshot = bench.publish(&people(), &format!("{HEADER}{}", some("a", "u", "2025-01-01", 7, 9)));
    let measures = [
        (MeasureFunction::Sum, "v", "total"),
        (MeasureFunction::Sum, "x", "real"),
        (MeasureFunction::Mean, "v", "mean"),
        (MeasureFunction::Subjects, "p", "people"),
    ];
    let rounding = [("total".to_owned(), 50), ("real".to_owned(), 20), ("people".to_owned(), 5)].into();
    let protection = Protection { rounding, ..Protection::default() };
    let terms = ReleaseSpec { protection, ..spec(&[("z", Granularity::Value)], &measures, 3) };
    released(&bench, &people(), &snapshot, &terms, "one").await.unwrap();
    // 63 is nearest to 50, 66.5 to 60, 7 to 5; the mean is that of the rounded sum.
    assert_eq!(lines(&bench, "one"), [format!("a|50|60.0|{}|5", 50.0 / 7.0)]);
}

/// A year was given as a whole; months follow, one snapshot after the other. The last one that
/// would be left of the year is withheld with its neighbour, though each was asked for alone.
#[tokio::test]
async fn what_is_left_of_another_table_beside_earlier_periods_counts() {
    let bench = Bench::new();
    let months = [6, 6, 2].iter().enumerate();
    let csv: String = months.map(|(m, n)| some("a", "u", &format!("2025-0{}-01", m + 1), *n, 1)).collect();
    let snapshot = bench.publish(&people(), &format!("{HEADER}{csv}"));
    let sums = |granularity| {
        let measures = [(MeasureFunction::Sum, "v", "total")];
        spec(&[("z", Granularity::Value), ("d", granularity)], &measures, 3)
    };
    released(&bench, &people(), &snapshot, &sums(Granularity::Year), "year").await.unwrap();
    assert_eq!(lines(&bench, "year"), ["a|2025-01-01|14"]);
    // Both safe months beside the year would leave the third, of two households.
    released(&bench, &people(), &snapshot, &sums(Granularity::Month), "months").await.unwrap();
    assert_eq!(lines(&bench, "months").len(), 1);
    // Nor in two steps: when the year was given after the first month, the second stays.
    let bench = Bench::new();
    let january = some("a", "u", "2025-01-01", 6, 1);
    let snapshot = bench.publish(&people(), &format!("{HEADER}{january}"));
    released(&bench, &people(), &snapshot, &sums(Granularity::Month), "months").await.unwrap();
    let later: String = csv.strip_prefix(&january).unwrap().to_owned();
    let snapshot = bench.sets.append(&people().id, &bench.plain(&format!("{HEADER}{later}")), now()).unwrap();
    released(&bench, &people(), &snapshot, &sums(Granularity::Year), "year").await.unwrap();
    assert_eq!(lines(&bench, "year").len(), 1);
    released(&bench, &people(), &snapshot, &sums(Granularity::Month), "months").await.unwrap();
    assert_eq!(lines(&bench, "months"), ["a|2025-01-01|6"]);
}

/// Numbers that are the same each time.
fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

/// The table is what a plain loop over the rows finds, over several parts, with values missing
/// everywhere, grouped by columns of every type.
#[tokio::test]
async fn a_table_is_what_a_plain_loop_finds() {
    type Groups = BTreeMap<String, (BTreeSet<u64>, BTreeSet<u64>, i64, u64)>;
    let set = dataset("s", Some("p"), &[("p", Integer), ("z", Text), ("b", Boolean), ("t", Time), ("v", Integer)]);
    for seed in 0..6 {
        let (bench, mut draw) = (Bench::new(), draws(seed));
        let mut groups: Groups = BTreeMap::new();
        let mut snapshot = None;
        for part in 0..3 {
            let mut csv = "p,z,b,t,v\n".to_owned();
            for _ in 0..60 {
                let (subject, sector, flag) = (draw(9), draw(4), draw(3));
                let (month, day, value) = (1 + draw(2), 1 + draw(28), draw(40) as i64 - 10);
                let (nobody, unvalued) = (draw(12) == 0, draw(6) == 0);
                let text = if sector == 3 { String::new() } else { format!("z{sector}") };
                let flag = ["true", "false", ""][flag as usize];
                let p = if nobody { String::new() } else { subject.to_string() };
                let v = if unvalued { String::new() } else { value.to_string() };
                csv += &format!("{p},{text},{flag},2025-0{month}-{day:02} {part}0:00,{v}\n");
                if nobody {
                    continue;
                }
                let group = groups.entry(format!("{text}|{flag}|2025-0{month}-01")).or_default();
                group.0.insert(subject);
                if !unvalued {
                    group.1.insert(subject);
                    group.2 += value;
                    group.3 += 1;
                }
            }
            snapshot = Some(match snapshot {
                None => bench.publish(&set, &csv),
                Some(_) => bench.sets.append(&set.id, &bench.plain(&csv), now()).unwrap(),
            });
        }
        let measures = [
            (MeasureFunction::Sum, "v", "total"),
            (MeasureFunction::Mean, "v", "mean"),
            (MeasureFunction::Subjects, "p", "people"),
        ];
        let by = [("z", Granularity::Value), ("b", Granularity::Value), ("t", Granularity::Month)];
        let given = released(&bench, &set, &snapshot.unwrap(), &spec(&by, &measures, 4), "one").await.unwrap();
        let all = groups.len() as u64;
        groups.retain(|_, (_, valued, _, _)| valued.len() >= 4);
        let expected: BTreeSet<String> = groups
            .iter()
            .map(|(key, (people, _, total, rows))| {
                format!("{key}|{total}|{:?}|{}", *total as f64 / *rows as f64, people.len())
            })
            .collect();
        assert_eq!(lines(&bench, "one").into_iter().collect::<BTreeSet<_>>(), expected, "{seed}");
        assert_eq!((given.groups, given.suppressed), (expected.len() as u64, all - expected.len() as u64));
        assert!(!expected.is_empty() && all > expected.len() as u64, "{seed}");
    }
}
