//! Over random sets, rows, policies and statements the answer under a view is the answer over a
//! copy in which the policy was carried out by hand: rows and their order, errors with code and
//! text, and the schema that planning tells.
//!
//! `PERRON_ROWS_SEED` and `PERRON_ROWS_CASES` choose what is played; `make soak` plays a long one.
//! A failure prints the seed of its world and the statement.

#[cfg(test)]
mod chance;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod worlds;

use super::testing::{Bench, Grants};
use chance::Chance;
use perron_model::{Error, ErrorCode, Result};
use statements::{Name, Sql, Statements};
use worlds::World;

/// Statements over each world.
const EACH: usize = 24;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |v| v.parse().unwrap())
}

/// What came of a statement.
#[derive(Debug, PartialEq)]
struct Answer {
    schema: Result<Vec<String>>,
    rows: Result<Vec<String>>,
}

async fn ask((bench, grants): &(Bench, Grants), sql: &Sql) -> Answer {
    let schema = bench.engine.schema(&grants.schema(), &sql.text).await;
    let schema = schema.map(|s| s.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect());
    let mut rows = bench.rows(grants, &sql.text).await;
    if let (Ok(rows), false) = (&mut rows, sql.ordered) {
        rows.sort();
    }
    Answer { schema: schema.map_err(plain), rows: rows.map_err(plain) }
}

/// An internal error has a number of its own.
fn plain(error: Error) -> Error {
    if error.code == ErrorCode::Internal { Error::new(ErrorCode::Internal, "") } else { error }
}

#[derive(Debug, Default)]
struct Seen {
    statements: usize,
    answered: usize,
    with_rows: usize,
    raised: usize,
    not_granted: usize,
    too_many: usize,
    not_planned: usize,
    otherwise_without_view: usize,
}

impl Seen {
    fn count(&mut self, view: &Answer, whole: &Answer) {
        self.statements += 1;
        match &view.rows {
            Ok(rows) => {
                self.answered += 1;
                self.with_rows += usize::from(!rows.is_empty());
            }
            Err(e) => match e.code {
                ErrorCode::QueryFailed => self.raised += 1,
                ErrorCode::ColumnNotGranted => self.not_granted += 1,
                ErrorCode::RowsExceeded => self.too_many += 1,
                _ => self.not_planned += 1,
            },
        }
        self.otherwise_without_view += usize::from(view.rows != whole.rows);
    }
}

#[tokio::test]
async fn a_view_answers_as_a_copy_without_what_it_hides() {
    let (seed, cases) = (number("PERRON_ROWS_SEED", 20_261_125), number("PERRON_ROWS_CASES", 4));
    let (mut seen, mut different) = (Seen::default(), Vec::new());
    for case in 0..cases {
        let seed = seed.wrapping_add(case);
        let mut chance = Chance::of(seed);
        let world = World::random(&mut chance);
        let [view, copy, whole] = world.open();
        let table: Vec<Name> = world.given().iter().map(|c| (c.name.clone(), c.seen())).collect();
        let mut missing: Vec<String> = world.columns.iter().filter(|c| !c.given).map(|c| c.name.clone()).collect();
        missing.push("nowhere".to_owned());
        for _ in 0..EACH {
            let sql = Statements::new(&mut chance, table.clone(), missing.clone()).statement();
            let (over_view, over_copy) = (ask(&view, &sql).await, ask(&copy, &sql).await);
            seen.count(&over_view, &ask(&whole, &sql).await);
            if over_view != over_copy {
                different.push(format!(
                    "seed {seed}: {}\n  view {over_view:?}\n  copy {over_copy:?}\n  {:?} {:?}",
                    sql.text, world.columns, world.filter
                ));
            }
        }
    }
    eprintln!("{seen:?}");
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), seen.statements, different.join("\n"));
    // The generators reach what they are for.
    let share = |n: usize| n * 100 / seen.statements.max(1);
    assert!(share(seen.answered) >= 40 && share(seen.with_rows) >= 25, "{seen:?}");
    assert!(share(seen.raised) >= 3 && share(seen.not_planned) <= 15, "{seen:?}");
    assert!(share(seen.otherwise_without_view) >= 25, "{seen:?}");
    assert!(cases < 100 || seen.not_granted > 0 && seen.too_many > 0, "{seen:?}");
}
