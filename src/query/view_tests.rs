use crate::query::testing::{Bench, Grants, collect, dataset, key, rows_view};
use perron_model::ErrorCode;
use perron_model::dataset::ColumnType::{Boolean, Date, Integer, Number, Text, Timestamp as Time};
use perron_model::dataset::Dataset;
use perron_model::policy::{Mask, Operator, Predicate, Value};
use proptest::prelude::*;

fn predicate(column: &str, operator: Operator, values: Vec<Value>) -> Predicate {
    Predicate { column: column.into(), operator, values }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn employees() -> Dataset {
    dataset("employee", None, &[("name", Text), ("position", Text), ("age", Integer), ("note", Text)])
}

const EMPLOYEES: &str = "name,position,age,note\nada,Engineer,30,5\ngrace,Engineer,41,6\nhidden,Director,22,secret\n";
const ENGINEERS: &str = "name,position,age,note\nada,Engineer,30,5\ngrace,Engineer,41,6\n";

/// What a user may try to make an expression fail on a row that the view hides (stack.md, 3.4).
const PROBES: &[&str] = &[
    "SELECT name FROM employee WHERE 100 / (age - #) > -1000",
    "SELECT name FROM employee WHERE CASE WHEN age = # THEN 1 / (age - #) ELSE 1 END > 0",
    "SELECT name, 100 / (age - #) FROM employee",
    "SELECT name FROM employee WHERE CAST(note AS BIGINT) > #",
    "SELECT count(*) FROM employee WHERE 100 / (age - #) > -1000",
    "SELECT count(*) FROM employee WHERE age = #",
    "SELECT sum(100 / (age - #)) FROM employee",
    "SELECT name FROM employee ORDER BY 100 / (age - #) LIMIT 1",
    "SELECT name FROM employee WHERE 100 / (age - #) > -1000 LIMIT 1",
    "SELECT a.name FROM employee a JOIN employee b ON a.age = b.age AND 100 / (b.age - #) > -1000",
    "SELECT name FROM employee WHERE age IN (SELECT age FROM employee WHERE 100 / (age - #) > -1000)",
    "SELECT name FROM employee WHERE EXISTS (SELECT 1 FROM employee e WHERE e.age = #)",
    "SELECT age / 10, max(100 / (age - #)) FROM employee GROUP BY age / 10 HAVING min(100 / (age - #)) > -1000",
    "SELECT name, sum(100 / (age - #)) OVER (ORDER BY age) FROM employee",
    "SELECT DISTINCT 100 / (age - #) FROM employee",
    "SELECT name FROM employee UNION ALL SELECT CAST(100 / (age - #) AS VARCHAR) FROM employee",
    "WITH e AS (SELECT age - # AS d FROM employee) SELECT 1 / d FROM e",
    "SELECT min(age), max(age), approx_distinct(age) FROM employee",
    "SELECT name FROM employee WHERE sqrt(age - #) >= 0 OR 1 / (age - #) = 0",
];

#[tokio::test]
async fn no_user_expression_on_a_hidden_row() {
    let bench = Bench::new();
    let snapshot = bench.publish(&employees(), EMPLOYEES);
    let filter = vec![predicate("position", Operator::Eq, vec![text("Engineer")])];
    let columns = [("name", None), ("age", None), ("note", None)];
    let view = Grants::of(&employees(), &snapshot, rows_view(filter, &columns, None));
    let other = Bench::new();
    let copied = other.publish(&employees(), ENGINEERS);
    let copy = Grants::of(&employees(), &copied, rows_view(vec![], &columns, None));
    for probe in PROBES {
        for n in [0, 21, 22, 23, 30, 41] {
            let sql = probe.replace('#', &n.to_string());
            let (mut seen, mut expected) = (bench.rows(&view, &sql).await, other.rows(&copy, &sql).await);
            for rows in [&mut seen, &mut expected].into_iter().flatten() {
                rows.sort();
            }
            assert_eq!(seen, expected, "{sql}");
            if n == 22 {
                assert!(seen.is_ok(), "{sql}: {seen:?}");
            }
        }
    }
    // A failure on a row that the view gives is told without its values.
    let error = bench.rows(&view, "SELECT 1 / (age - 30) FROM employee").await.unwrap_err();
    assert_eq!((error.code, error.detail.as_str()), (ErrorCode::QueryFailed, "a division by zero"));
}

#[tokio::test]
async fn a_view_selects_masks_and_orders_its_columns() {
    let bench = Bench::new();
    let set =
        dataset("s", None, &[("t", Text), ("i", Integer), ("n", Number), ("b", Boolean), ("d", Date), ("z", Time)]);
    let csv = "t,i,n,b,d,z\nx,1,1.5,true,2025-01-02,2025-01-02 03:04\nx,2,,false,,\n,3,-0.0,,2025-01-03,\n";
    let snapshot = bench.publish(&set, csv);
    let columns = [("z", None), ("d", Some(Mask::Null)), ("t", Some(Mask::KeyedHash)), ("i", None)];
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &columns, None));
    let rows = bench.rows(&grants, "SELECT * FROM s").await.unwrap();
    let hash = rows[0].split('|').nth(2).unwrap().to_owned();
    assert_eq!(hash.len(), 43);
    assert_eq!(rows, [format!("2025-01-02T03:04:00Z||{hash}|1"), format!("||{hash}|2"), "|||3".to_owned()]);
    // Another key, other values.
    let stream = bench.engine.run(&grants.access().await, "SELECT t FROM s", |_| [7; 32]).await.unwrap();
    assert_ne!(collect(stream).await.unwrap()[0], hash);
    // HMAC-SHA-256 as RFC 2104 has it.
    use base64::Engine as _;
    use hmac::{KeyInit, Mac};
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key("t")).unwrap();
    mac.update(b"x");
    assert_eq!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()), hash);
    let all = ["t", "i", "n", "b", "d", "z"].map(|c| (c, Some(Mask::KeyedHash)));
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &all, None));
    let rows = bench.rows(&grants, "SELECT count(t), count(i), count(n), count(b), count(d), count(z) FROM s").await;
    assert_eq!(rows.unwrap(), ["2|3|2|2|2|1"]);
    assert_eq!(bench.rows(&grants, "SELECT count(*) FROM data").await.unwrap(), ["3"]);
}

#[tokio::test]
async fn predicates_are_not_satisfied_by_null() {
    let bench = Bench::new();
    let set = dataset("s", None, &[("k", Text), ("i", Integer), ("n", Number)]);
    let snapshot = bench.publish(&set, "k,i,n\na,1,0.5\nb,2,\nc,,1.5\nd,4,-0.0\n");
    let cases = [
        (predicate("i", Operator::Neq, vec![Value::Integer(1)]), "b d"),
        (predicate("i", Operator::IsNoneOf, vec![Value::Integer(1), Value::Integer(2)]), "d"),
        (predicate("i", Operator::IsAnyOf, vec![Value::Integer(1), Value::Integer(4)]), "a d"),
        (predicate("i", Operator::Lteq, vec![Value::Integer(2)]), "a b"),
        (predicate("i", Operator::Gt, vec![Value::Integer(1)]), "b d"),
        (predicate("n", Operator::Eq, vec![Value::Number(0.0)]), "d"),
        (predicate("n", Operator::Gteq, vec![Value::Number(-0.0)]), "a c d"),
        (predicate("k", Operator::Lt, vec![text("c")]), "a b"),
    ];
    for (filter, expected) in cases {
        let grants = Grants::of(&set, &snapshot, rows_view(vec![filter.clone()], &[("k", None)], None));
        let rows = bench.rows(&grants, "SELECT k FROM s ORDER BY k").await.unwrap();
        assert_eq!(rows.join(" "), expected, "{filter:?}");
    }
    for wrong in [
        predicate("i", Operator::Eq, vec![Value::Number(1.0)]),
        predicate("i", Operator::Eq, vec![]),
        predicate("i", Operator::Lt, vec![Value::Integer(1), Value::Integer(2)]),
        predicate("x", Operator::Eq, vec![Value::Integer(1)]),
    ] {
        let grants = Grants::of(&set, &snapshot, rows_view(vec![wrong], &[("k", None)], None));
        assert_eq!(bench.rows(&grants, "SELECT k FROM s").await.unwrap_err().code, ErrorCode::TermInvalid);
    }
}

#[derive(Clone, Debug)]
struct Row {
    k: Option<String>,
    a: Option<i64>,
    b: Option<i64>,
}

impl Row {
    fn line(&self) -> String {
        let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
        format!("{},{},{}\n", self.k.clone().unwrap_or_default(), number(self.a), number(self.b))
    }
    fn satisfies(&self, predicate: &Predicate) -> bool {
        use std::cmp::Ordering;
        let compare = |value: &Value| match (predicate.column.as_str(), value) {
            ("k", Value::Text(v)) => self.k.as_ref().map(|k| k.cmp(v)),
            ("a", Value::Integer(v)) => self.a.map(|a| a.cmp(v)),
            ("b", Value::Integer(v)) => self.b.map(|b| b.cmp(v)),
            _ => unreachable!(),
        };
        let orders: Option<Vec<Ordering>> = predicate.values.iter().map(compare).collect();
        let Some(orders) = orders else { return false };
        match predicate.operator {
            Operator::Eq => orders[0].is_eq(),
            Operator::Neq => orders[0].is_ne(),
            Operator::Lt => orders[0].is_lt(),
            Operator::Lteq => orders[0].is_le(),
            Operator::Gt => orders[0].is_gt(),
            Operator::Gteq => orders[0].is_ge(),
            Operator::IsAnyOf => orders.iter().any(|o| o.is_eq()),
            Operator::IsNoneOf => !orders.iter().any(|o| o.is_eq()),
        }
    }
}

fn row() -> impl Strategy<Value = Row> {
    let number = || prop::option::weighted(0.8, -3i64..4);
    (prop::option::weighted(0.8, prop::sample::select(vec!["1", "2", "x", "é"])), number(), number())
        .prop_map(|(k, a, b)| Row { k: k.map(String::from), a, b })
}

fn filter() -> impl Strategy<Value = Predicate> {
    use Operator::{Eq, Gt, Gteq, IsAnyOf, IsNoneOf, Lt, Lteq, Neq};
    let operator = prop::sample::select(vec![Eq, Neq, Lt, Lteq, Gt, Gteq, IsAnyOf, IsNoneOf]);
    let column = prop::sample::select(vec!["k", "a", "b"]);
    (column, operator, prop::collection::vec(-3i64..4, 1..4)).prop_map(|(column, operator, numbers)| {
        let one = !matches!(operator, IsAnyOf | IsNoneOf);
        let values =
            numbers
                .into_iter()
                .take(if one { 1 } else { 3 })
                .map(|n| {
                    if column == "k" {
                        text(["1", "2", "x", "é"][n.rem_euclid(4) as usize])
                    } else {
                        Value::Integer(n)
                    }
                })
                .collect();
        predicate(column, operator, values)
    })
}

const STATEMENTS: &[&str] = &[
    "SELECT * FROM s",
    "SELECT k, 6 / a FROM s",
    "SELECT count(*), sum(b), min(k) FROM s WHERE 6 / a > 1",
    "SELECT k, count(*), avg(b) FROM s GROUP BY k HAVING min(6 / b) < 7",
    "SELECT x.k, y.a FROM s x JOIN s y ON x.a = y.b WHERE 6 / y.a <> 2",
    "SELECT k, row_number() OVER (PARTITION BY k ORDER BY a, b) FROM s",
    "SELECT a FROM s WHERE CAST(k AS BIGINT) > 0 AND b IS NOT NULL",
    "SELECT a FROM s WHERE a IN (SELECT b FROM s WHERE 6 / (b - 1) < 4)",
    "SELECT max(a) FROM (SELECT DISTINCT a, b FROM s ORDER BY a, b LIMIT 3)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn view_equals_a_physically_filtered_copy(
        rows in prop::collection::vec(row(), 0..30),
        filters in prop::collection::vec(filter(), 0..3),
        masked in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let set = dataset("s", None, &[("k", Text), ("a", Integer), ("b", Integer)]);
        let csv = |rows: &mut dyn Iterator<Item = &Row>| {
            std::iter::once("k,a,b\n".to_owned()).chain(rows.map(Row::line)).collect::<String>()
        };
        let kept = |row: &&Row| filters.iter().all(|f| row.satisfies(f));
        let (bench, other) = (Bench::new(), Bench::new());
        let snapshot = bench.publish(&set, &csv(&mut rows.iter()));
        let copied = other.publish(&set, &csv(&mut rows.iter().filter(kept)));
        let columns = [("k", masked.then_some(Mask::KeyedHash)), ("a", None), ("b", None)];
        let view = Grants::of(&set, &snapshot, rows_view(filters.clone(), &columns, None));
        let copy = Grants::of(&set, &copied, rows_view(vec![], &columns, None));
        for sql in STATEMENTS {
            let (mut seen, mut expected) = runtime.block_on(async {
                (bench.rows(&view, sql).await, other.rows(&copy, sql).await)
            });
            for rows in [&mut seen, &mut expected].into_iter().flatten() {
                rows.sort();
            }
            prop_assert_eq!(seen, expected, "{}", sql);
        }
    }
}
