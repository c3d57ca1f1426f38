//! The museum of attacks, against the engine: each exhibit's answer is that over a copy of which
//! the hidden rows and columns were cut out beforehand. So that none is vacuous, the same statement
//! over the whole set without a view has to answer otherwise, unless the exhibit says that it can't.

#[path = "../../tests/museum/exhibits.rs"]
#[allow(dead_code, reason = "the tests over the wire use the rest")]
mod exhibits;

use super::testing::{Bench, Grants, collect, dataset, key, rows_view};
use base64::Engine as _;
use exhibits::{Exhibit, Expect, GIVEN, exhibits, lines, permitted};
use futures::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use perron_model::dataset::ColumnType::{self, Boolean, Integer, Number, Text, Timestamp};
use perron_model::policy::{Mask, Operator, Predicate, Value};
use perron_model::{Error, ErrorCode, Result};
use std::time::Duration;

const COLUMNS: [(&str, ColumnType); 12] = [
    ("household", Text),
    ("name", Text),
    ("district", Text),
    ("consent", Boolean),
    ("litres", Integer),
    ("divisor", Integer),
    ("code", Text),
    ("day", Text),
    ("share", Number),
    ("read_at", Timestamp),
    ("ok", Boolean),
    ("note", Text),
];

/// The view, the copy, and the whole set.
struct Museum {
    view: (Bench, Grants),
    copy: (Bench, Grants),
    whole: (Bench, Grants),
}

impl Museum {
    fn open() -> Museum {
        let joined = |lines: Vec<Vec<String>>| lines.iter().map(|l| l.join(",") + "\n").collect::<String>();
        let set = dataset("readings", None, &COLUMNS);
        let (bench, all) = (Bench::new(), Bench::new());
        let (snapshot, whole) = (bench.publish(&set, &joined(lines())), all.publish(&set, &joined(lines())));
        let places = Value::Text("centre".into());
        let filter = vec![
            Predicate {
                column: "district".into(),
                operator: Operator::IsAnyOf,
                values: vec![places, Value::Text("gare".into())],
            },
            Predicate { column: "consent".into(), operator: Operator::Eq, values: vec![Value::Boolean(true)] },
        ];
        let masked = GIVEN.map(|name| {
            let mask = match name {
                "household" => Some(Mask::KeyedHash),
                "note" => Some(Mask::Null),
                _ => None,
            };
            (name, mask)
        });
        let view = Grants::of(&set, &snapshot, rows_view(filter, &masked, None));
        let every = COLUMNS.map(|(name, _)| (name, None));
        let without = Grants::of(&set, &whole, rows_view(vec![], &every, None));
        Museum { view: (bench, view), copy: cut(), whole: (all, without) }
    }
}

/// The copy: nothing in it but what the view gives, masked by hand.
fn cut() -> (Bench, Grants) {
    let header = lines().swap_remove(0);
    let mut csv = GIVEN.join(",") + "\n";
    for line in permitted() {
        let value = |name: &str| {
            let plain = &line[header.iter().position(|h| h == name).unwrap()];
            match name {
                "note" => String::new(),
                "household" => {
                    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key("household")).unwrap();
                    mac.update(plain.as_bytes());
                    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
                }
                _ => plain.clone(),
            }
        };
        csv += &(GIVEN.map(value).join(",") + "\n");
    }
    let given: Vec<(&str, ColumnType)> = COLUMNS.into_iter().filter(|(name, _)| GIVEN.contains(name)).collect();
    let (bench, set) = (Bench::new(), dataset("readings", None, &given));
    let snapshot = bench.publish(&set, &csv);
    let grants = Grants::of(&set, &snapshot, rows_view(vec![], &GIVEN.map(|name| (name, None)), None));
    (bench, grants)
}

async fn ask((bench, grants): &(Bench, Grants), sql: &str, ordered: bool) -> Result<Vec<String>> {
    let planned = bench.engine.schema(&grants.schema(), sql).await;
    let mut answer = bench.rows(grants, sql).await;
    // Planning alone tells no more than running does.
    if let Err(error) = &planned {
        assert_eq!(answer.as_ref().err(), Some(error), "{sql}");
    }
    if let (Ok(rows), false) = (&mut answer, ordered) {
        rows.sort();
    }
    answer
}

fn detail(exhibit: &Exhibit, error: &Error) -> String {
    assert_ne!(error.code, ErrorCode::Internal, "{}: {error}", exhibit.name);
    for secret in ["Zoe", "secret", "922337203685477580", "laveu", "caché", "jamais", "7777777777"] {
        let told = exhibit.statements().iter().any(|s| s.contains(secret));
        assert!(told || !error.detail.contains(secret), "{}: {error}", exhibit.name);
    }
    error.detail.clone()
}

#[tokio::test]
async fn every_exhibit_is_behind_glass() {
    let museum = Museum::open();
    let exhibits = exhibits();
    assert!(exhibits.len() >= 200, "{}", exhibits.len());
    let mut wrong = Vec::new();
    for exhibit in &exhibits {
        let complaint = match exhibit.expect {
            Expect::Same => same(&museum, exhibit).await,
            Expect::Refused => refused(&museum, exhibit).await,
            Expect::Alike => alike(&museum, exhibit).await,
        };
        wrong.extend(complaint.err().map(|c| format!("{}: {c}", exhibit.name)));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), exhibits.len(), wrong.join("\n"));
}

async fn same(museum: &Museum, exhibit: &Exhibit) -> Result<(), String> {
    let mut differs = false;
    for sql in exhibit.statements() {
        let view = ask(&museum.view, &sql, exhibit.ordered).await;
        let copy = ask(&museum.copy, &sql, exhibit.ordered).await;
        if view != copy {
            return Err(format!("over the view {view:?}, over the copy {copy:?}"));
        }
        differs |= view != ask(&museum.whole, &sql, exhibit.ordered).await;
        match (&view, &exhibit.code) {
            (Err(error), Some(code)) if error.code.as_str() == code => drop(detail(exhibit, error)),
            (Ok(_), None) => {}
            _ if exhibit.any => {}
            _ => return Err(format!("{view:?}")),
        }
    }
    match differs == exhibit.harmless {
        true if differs => Err("it isn't harmless: over the whole set it answers otherwise".to_owned()),
        true => Err("over the whole set it answers the same, so nothing is shown".to_owned()),
        false => Ok(()),
    }
}

async fn refused(museum: &Museum, exhibit: &Exhibit) -> Result<(), String> {
    for sql in exhibit.statements() {
        let (view, copy) = (ask(&museum.view, &sql, false).await, ask(&museum.copy, &sql, false).await);
        match &view {
            Err(error) if exhibit.any_code || Some(error.code.as_str()) == exhibit.code.as_deref() => {
                detail(exhibit, error);
            }
            _ => return Err(format!("{view:?}")),
        }
        // Before a row was read: planning refuses it.
        let planned = museum.view.0.engine.schema(&museum.view.1.schema(), &sql).await;
        if planned.is_ok() || view != copy {
            return Err(format!("planned: {planned:?}; over the view {view:?}, over the copy {copy:?}"));
        }
    }
    Ok(())
}

async fn alike(museum: &Museum, exhibit: &Exhibit) -> Result<(), String> {
    for sql in exhibit.statements() {
        let mut seen = Vec::new();
        for name in &exhibit.names {
            let sql = sql.replace("{{name}}", name);
            let view = ask(&museum.view, &sql, false).await;
            if view != ask(&museum.copy, &sql, false).await {
                return Err(format!("over the copy otherwise than {view:?}"));
            }
            let Err(error) = view else { return Err(format!("`{name}` is answered")) };
            let (plain, low) = (format!("`{name}`"), format!("`{}`", name.to_lowercase()));
            seen.push((error.code, detail(exhibit, &error).replace(&plain, "`X`").replace(&low, "`X`")));
        }
        if seen.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!("{seen:?}"));
        }
    }
    Ok(())
}

/// A query that is dropped while it runs leaves nothing that a later one sees, and gives until
/// then what the copy would have given.
#[tokio::test]
async fn a_cancelled_query_tells_nothing() {
    let museum = Museum::open();
    let sql = "SELECT a.litres FROM data a, data b, data c, data d ORDER BY a.litres NULLS LAST";
    let (bench, grants) = &museum.view;
    let mut stream = bench.engine.run(&grants.access().await, sql, key).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0);
    drop(stream);
    let raising = "SELECT sum(1000 / divisor) FROM data";
    for _ in 0..8 {
        drop(bench.engine.run(&grants.access().await, raising, key).await.unwrap());
    }
    tokio::time::timeout(Duration::from_secs(20), async {
        assert_eq!(ask(&museum.view, raising, true).await, ask(&museum.copy, raising, true).await);
        let (bench, grants) = &museum.copy;
        let copied = collect(bench.engine.run(&grants.access().await, sql, key).await.unwrap()).await.unwrap();
        assert_eq!(ask(&museum.view, sql, true).await.unwrap(), copied);
    })
    .await
    .unwrap();
}

/// Where batches begin and end tells nothing: neither that a part holds rows, all of them hidden,
/// nor how many hidden rows lie between two that are given.
#[tokio::test]
async fn batches_are_as_if_nothing_were_hidden() {
    let set = dataset("s", None, &[("shown", Boolean), ("d", Integer)]);
    let shown = Predicate { column: "shown".into(), operator: Operator::Eq, values: vec![Value::Boolean(true)] };
    let lines = |hidden: usize| {
        let mut csv = String::from("shown,d\n");
        for d in [1, 2, 3, 0, 4] {
            csv += &"false,7\n".repeat(hidden);
            csv += &format!("true,{d}\n");
        }
        csv
    };
    let none = "shown,d\n";
    let over = |csv: String, more: &str| {
        let bench = Bench::new();
        let mut snapshot = bench.publish(&set, &csv);
        if more != none {
            snapshot = bench.sets.append(&set.id, &bench.plain(more), super::testing::now()).unwrap();
        }
        let grants = Grants::of(&set, &snapshot, rows_view(vec![shown.clone()], &[("d", None)], None));
        (bench, grants)
    };
    for ((view, copy), sql, code) in [
        // The fourth row raises in the batch of the first; many hidden rows lie between.
        (
            (over(lines(5_000), none), over(lines(0), none)),
            "SELECT d FROM data WHERE 6 / d > 0 LIMIT 2",
            Some("query_failed"),
        ),
        // Nothing is given, so no constant raises.
        (
            (over("shown,d\nfalse,1\n".into(), "shown,d\nfalse,2\n"), over(none.into(), none)),
            "SELECT count(*) FROM data WHERE CAST('x' AS BIGINT) > 0",
            None,
        ),
    ] {
        let (view, copy) = (ask(&view, sql, true).await, ask(&copy, sql, true).await);
        assert_eq!(view, copy, "{sql}");
        assert_eq!(view.err().map(|e| e.code.as_str()), code, "{sql}");
    }
}
