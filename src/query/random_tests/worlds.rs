//! Random sets, rows and policies; and the copy, in which the policy was carried out by hand.

use super::chance::Chance;
use crate::query::testing::{Bench, Grants, dataset, key, now, rows_view};
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use perron_model::Timestamp;
use perron_model::dataset::ColumnType::{self, Boolean, Date, Integer, Number, Text, Timestamp as Time};
use perron_model::policy::{Mask, Operator, Predicate, Value};
use std::cmp::Ordering;

pub(super) const TYPES: [ColumnType; 6] = [Text, Integer, Number, Boolean, Date, Time];

/// A value; `None` is null.
pub(super) type Cell = Option<Value>;

/// A column of the set, and what the view makes of it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    pub(super) given: bool,
    pub(super) mask: Option<Mask>,
}

impl Column {
    /// The type that a statement sees.
    pub(super) fn seen(&self) -> ColumnType {
        if self.mask == Some(Mask::KeyedHash) { Text } else { self.kind }
    }
}

/// A set with a policy over it.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) columns: Vec<Column>,
    /// The parts of the snapshot.
    pub(super) parts: Vec<Vec<Vec<Cell>>>,
    pub(super) filter: Vec<Predicate>,
    pub(super) rows_max: Option<u64>,
}

impl World {
    pub(super) fn random(chance: &mut Chance) -> World {
        let mut columns: Vec<Column> = (0..2 + chance.below(6))
            .map(|n| {
                let mask = match chance.below(8) {
                    0 => Some(Mask::KeyedHash),
                    1 => Some(Mask::Null),
                    _ => None,
                };
                Column { name: format!("c{n}"), kind: *chance.of_all(&TYPES), given: !chance.percent(20), mask }
            })
            .collect();
        // A number of its own for each row: so no two parts are the same.
        columns.push(Column { name: "row".into(), kind: Integer, given: true, mask: None });
        let filter: Vec<Predicate> = (0..chance.below(4)).map(|_| predicate(chance, &columns)).collect();
        let mut serial = 0;
        let parts = (0..1 + chance.below(3)).map(|_| part(chance, &columns, &filter, &mut serial)).collect();
        let rows_max = chance.percent(15).then(|| 1 + chance.below(40) as u64);
        World { columns, parts, filter, rows_max }
    }

    /// Columns that the view gives.
    pub(super) fn given(&self) -> Vec<&Column> {
        self.columns.iter().filter(|c| c.given).collect()
    }

    /// The view of the set; the copy; and the set without a view.
    pub(super) fn open(&self) -> [(Bench, Grants); 3] {
        let all = |_: &Vec<Cell>| true;
        let every: Vec<&Column> = self.columns.iter().collect();
        let masked: Vec<(&str, Option<Mask>)> = self.given().iter().map(|c| (c.name.as_str(), c.mask)).collect();
        let plain: Vec<(&str, Option<Mask>)> = self.columns.iter().map(|c| (c.name.as_str(), None)).collect();
        let unmasked: Vec<(&str, Option<Mask>)> = masked.iter().map(|(name, _)| (*name, None)).collect();
        let kept = |row: &Vec<Cell>| satisfies(&self.columns, &self.filter, row);
        let view = self.published(&every, false, &all, rows_view(self.filter.clone(), &masked, self.rows_max));
        let copy = self.published(&self.given(), true, &kept, rows_view(vec![], &unmasked, self.rows_max));
        let whole = self.published(&every, false, &all, rows_view(vec![], &plain, self.rows_max));
        [view, copy, whole]
    }

    fn published(
        &self,
        columns: &[&Column],
        masked: bool,
        kept: &dyn Fn(&Vec<Cell>) -> bool,
        view: perron_model::policy::View,
    ) -> (Bench, Grants) {
        let bench = Bench::new();
        let types: Vec<(&str, ColumnType)> =
            columns.iter().map(|c| (c.name.as_str(), if masked { c.seen() } else { c.kind })).collect();
        let set = dataset("s", None, &types);
        let csv = |rows: &Vec<Vec<Cell>>| {
            let header: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            let mut csv = header.join(",") + "\n";
            for row in rows.iter().filter(|row| kept(row)) {
                let cells: Vec<String> = columns
                    .iter()
                    .map(|c| {
                        let cell = &row[self.columns.iter().position(|o| o.name == c.name).unwrap()];
                        if masked { by_hand(c, cell) } else { written(cell) }
                    })
                    .collect();
                csv += &(cells.join(",") + "\n");
            }
            csv
        };
        let mut snapshot = bench.publish(&set, &csv(&self.parts[0]));
        for part in self.parts.iter().skip(1).filter(|part| part.iter().any(kept)) {
            snapshot = bench.sets.append(&set.id, &bench.plain(&csv(part)), now()).unwrap();
        }
        (bench, Grants::of(&set, &snapshot, view))
    }
}

/// A part's rows: harmless ones, and where the policy hides a row, in its other columns values
/// that raise, overflow and stand out.
fn part(chance: &mut Chance, columns: &[Column], filter: &[Predicate], serial: &mut i64) -> Vec<Vec<Cell>> {
    (0..chance.below(30))
        .map(|_| {
            let nasty = chance.percent(5);
            let mut row: Vec<Cell> = columns.iter().map(|c| cell(chance, c.kind, nasty)).collect();
            if !satisfies(columns, filter, &row) {
                for (at, column) in columns.iter().enumerate() {
                    if filter.iter().all(|p| p.column != column.name) {
                        row[at] = cell(chance, column.kind, true);
                    }
                }
            }
            *serial += 1;
            if let Some(last) = row.last_mut() {
                *last = Some(Value::Integer(*serial));
            }
            row
        })
        .collect()
}

/// A value of a column; a nasty one raises or stands out.
fn cell(chance: &mut Chance, kind: ColumnType, nasty: bool) -> Cell {
    if chance.percent(12) {
        return None;
    }
    Some(value(chance, kind, nasty))
}

pub(super) fn value(chance: &mut Chance, kind: ColumnType, nasty: bool) -> Value {
    let n = chance.below(6);
    match kind {
        Text if nasty => Value::Text(["x9", "12-", "é", "3000-99-01", "zzz", "%"][n].into()),
        Text => Value::Text(["1", "2", "13", "2025", "7", "40"][n].into()),
        Integer if nasty => Value::Integer([0, i64::MAX, i64::MIN, -1, 0, 40_000_000_000][n]),
        Integer => Value::Integer([1, 2, 3, 5, 8, 13][n]),
        Number if nasty => Value::Number([0.0, -4.0, 1e300, -1e300, 1e-300, 0.0][n]),
        Number => Value::Number([0.5, 1.0, 2.25, 4.0, 10.0, 0.125][n]),
        Boolean => Value::Boolean(n.is_multiple_of(2)),
        Date if nasty => Value::Date([-300_000, 2_900_000, 0, -1, 60_000, -140_000][n]),
        Date => Value::Date(20_000 + i32::try_from(n).unwrap()),
        Time if nasty => time([-30_000_000_000_000, 200_000_000_000_000, 0, -60_000, 4_000_000_000_000, 60_000][n]),
        Time => time(1_740_000_000_000 + 3_600_000 * i64::try_from(n).unwrap()),
    }
}

fn time(millis: i64) -> Value {
    Value::Timestamp(Timestamp::from_millis(millis).unwrap_or_else(|_| Timestamp::from_millis(0).unwrap()))
}

fn predicate(chance: &mut Chance, columns: &[Column]) -> Predicate {
    use Operator::{Eq, Gt, Gteq, IsAnyOf, IsNoneOf, Lt, Lteq, Neq};
    let column = chance.of_all(&columns[..columns.len() - 1]);
    let operator = *chance.of_all(&[Eq, Neq, Lt, Lteq, Gt, Gteq, IsAnyOf, IsNoneOf]);
    let many = if matches!(operator, IsAnyOf | IsNoneOf) { 1 + chance.below(4) } else { 1 };
    let values = (0..many).map(|_| value(chance, column.kind, false)).collect();
    Predicate { column: column.name.clone(), operator, values }
}

/// The policy's filter, in Rust.
pub(super) fn satisfies(columns: &[Column], filter: &[Predicate], row: &[Cell]) -> bool {
    filter.iter().all(|predicate| {
        let at = columns.iter().position(|c| c.name == predicate.column).unwrap();
        let Some(value) = &row[at] else { return false };
        let orders: Vec<Ordering> = predicate.values.iter().map(|v| compare(value, v)).collect();
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
    })
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b).unwrap(),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        _ => unreachable!(),
    }
}

/// A value as a line of CSV has it.
fn written(cell: &Cell) -> String {
    match cell {
        None => String::new(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Number(number)) => format!("{number}"),
        Some(Value::Boolean(value)) => value.to_string(),
        Some(Value::Date(days)) => day(*days).to_string(),
        Some(Value::Timestamp(time)) => {
            chrono::DateTime::from_timestamp_millis(time.millis()).unwrap().format("%Y-%m-%d %H:%M").to_string()
        }
    }
}

fn day(days: i32) -> chrono::NaiveDate {
    chrono::NaiveDate::default() + chrono::TimeDelta::days(i64::from(days))
}

/// A masked value as the documentation of masks says.
fn by_hand(column: &Column, cell: &Cell) -> String {
    match (column.mask, cell) {
        (Some(Mask::Null), _) | (_, None) => String::new(),
        (None, _) => written(cell),
        (Some(Mask::KeyedHash), Some(value)) => {
            let bytes = match value {
                Value::Text(text) => text.as_bytes().to_vec(),
                Value::Integer(number) => number.to_string().into_bytes(),
                Value::Number(number) => number.to_bits().to_be_bytes().to_vec(),
                Value::Boolean(value) => value.to_string().into_bytes(),
                Value::Date(days) => days.to_string().into_bytes(),
                Value::Timestamp(time) => time.millis().to_string().into_bytes(),
            };
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key(&column.name)).unwrap();
            mac.update(&bytes);
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        }
    }
}
