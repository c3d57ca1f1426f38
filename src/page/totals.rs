//! The numbers of a page, each with the entries that it counts.

use crate::page::entries::{Class, Row};
use crate::page::words::{Both, both, grouped, short};
use perron_model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Width of one column of a chart over time, and height of the tallest, in units of the drawing.
const COLUMN_WIDTH: usize = 10;
const COLUMN_HEIGHT: f64 = 130.0;
/// Where the columns stand.
const BASE: f64 = 140.0;
/// Room for so many columns at least: a single one isn't a wall.
const COLUMNS_MIN: usize = 16;
/// Most columns that are drawn without a gap for what is empty.
const COLUMNS_MAX: usize = 120;

/// What is counted of some entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    permitted: u64,
    refused: u64,
    rows: u64,
    first: Option<u64>,
}

impl Count {
    fn take(&mut self, row: &Row) {
        match row.class {
            Class::Permitted => self.permitted += 1,
            Class::Refused => self.refused += 1,
            Class::Whole | Class::Cut | Class::Other => {}
        }
        self.rows = self.rows.saturating_add(row.rows);
        self.first.get_or_insert(row.index);
    }

    fn of(&self, measure: &str) -> u64 {
        match measure {
            "permitted" => self.permitted,
            "refused" => self.refused,
            _ => self.rows,
        }
    }
}

/// A number at the head of the page.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    label: Both,
    shown: String,
    href: String,
    filter: String,
}

/// A chart over time.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    title: Both,
    width: usize,
    from: String,
    to: String,
    most: String,
    legend: bool,
    bars: Vec<ColumnBar>,
}

#[derive(Debug, Serialize)]
struct ColumnBar {
    key: String,
    measure: &'static str,
    x: usize,
    width: usize,
    y: String,
    height: String,
}

/// A table of what is counted by something.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    name: &'static str,
    title: Both,
    head: Both,
    measures: Vec<Both>,
    rows: Vec<GroupRow>,
}

#[derive(Debug, Serialize)]
struct GroupRow {
    key: String,
    label: Both,
    bars: Vec<RowBar>,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct RowBar {
    measure: &'static str,
    x: String,
    width: String,
}

#[derive(Debug, Serialize)]
struct Cell {
    measure: &'static str,
    shown: String,
    href: String,
    filter: String,
}

/// What is counted of a page's entries.
#[derive(Debug)]
pub(super) struct Totals<'a> {
    rows: &'a [Row],
    time: BTreeMap<String, Count>,
    purpose: BTreeMap<String, Count>,
    user: BTreeMap<String, Count>,
    reason: BTreeMap<String, Count>,
}

impl<'a> Totals<'a> {
    /// Counts.
    pub fn of(rows: &'a [Row]) -> Totals<'a> {
        let mut totals = Totals {
            rows,
            time: BTreeMap::new(),
            purpose: BTreeMap::new(),
            user: BTreeMap::new(),
            reason: BTreeMap::new(),
        };
        for row in rows.iter().filter(|row| row.class != Class::Other) {
            totals.time.entry(row.bucket.clone()).or_default().take(row);
            for (map, key) in [(&mut totals.purpose, &row.purpose), (&mut totals.user, &row.user)] {
                if !key.is_empty() {
                    map.entry(key.clone()).or_default().take(row);
                }
            }
            if row.class == Class::Refused {
                for code in &row.codes {
                    totals.reason.entry(code.clone()).or_default().take(row);
                }
            }
        }
        totals
    }

    /// The numbers at the head of the page.
    pub fn figures(&self) -> Vec<Figure> {
        let of = |class: Class| self.rows.iter().filter(move |row| row.class == class);
        let sum = |number: fn(&Row) -> u64| self.rows.iter().map(number).fold(0_u64, u64::saturating_add);
        let left = |number: fn(&Row) -> u64| self.rows.iter().find(|row| number(row) > 0).map(|row| row.index);
        let classes = [
            ("permitted", Class::Permitted),
            ("refused", Class::Refused),
            ("whole", Class::Whole),
            ("cut", Class::Cut),
        ];
        let mut figures: Vec<Figure> = classes
            .map(|(name, class)| {
                figure(name, len(of(class).count()), of(class).next().map(|r| r.index), &filter(&[("class", name)]))
            })
            .into();
        figures.push(figure("rows", sum(|r| r.rows), left(|r| r.rows), &filter(&[("left", "rows")])));
        figures.push(figure("bytes", sum(|r| r.bytes), left(|r| r.bytes), &filter(&[("left", "bytes")])));
        figures.push(figure("entries", len(self.rows.len()), self.rows.first().map(|r| r.index), "{}"));
        figures
    }

    /// The charts over time: reads with refusals, and rows.
    pub fn columns(&self) -> Vec<Columns> {
        let keys = keys_between(&self.time);
        let reads = columns("folder.chart.reads", &self.time, &keys, &["permitted", "refused"]);
        vec![reads, columns("folder.chart.rows", &self.time, &keys, &["rows"])]
    }

    /// The tables: over time, by reason, by purpose, by user.
    pub fn groups(&self) -> Vec<Group> {
        let reads = ["permitted", "refused", "rows"];
        let as_is = |key: &str| Both::same(key);
        vec![
            group("time", &self.time, &reads, |key| Both::same(shown_bucket(key))),
            group("reason", &self.reason, &["refused"], |code| both(&format!("error.{code}"), &[])),
            group("purpose", &self.purpose, &reads, |iri| Both::same(short(iri))),
            group("user", &self.user, &reads, as_is),
        ]
    }
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn figure(name: &'static str, number: u64, first: Option<u64>, filter: &str) -> Figure {
    let label = both(&format!("folder.total.{name}"), &[]);
    Figure { name, label, shown: grouped(number), href: href(first), filter: filter.to_owned() }
}

/// The first entry that a number counts: where its link leads where no script runs.
fn href(first: Option<u64>) -> String {
    first.map_or_else(|| "#entries".to_owned(), |index| format!("#e{index}"))
}

/// By what the script chooses the entries that a number counts.
fn filter(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(k, v)| ((*k).to_owned(), Json::String((*v).to_owned())));
    Json::Object(parts.collect::<Map<_, _>>()).to_string()
}

fn columns(
    title: &str,
    counts: &BTreeMap<String, Count>,
    keys: &[String],
    measures: &'static [&'static str],
) -> Columns {
    let all = |key: &String| measures.iter().map(|m| counts.get(key).map_or(0, |c| c.of(m))).sum::<u64>();
    let most = keys.iter().map(all).max().unwrap_or(0);
    let mut bars = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let mut base = BASE;
        for measure in measures {
            let number = counts.get(key).map_or(0, |c| c.of(measure));
            let height = part_of(number, most, COLUMN_HEIGHT);
            base -= height;
            if number > 0 {
                let (y, height) = (format!("{base:.2}"), format!("{height:.2}"));
                let (x, width) = (at * COLUMN_WIDTH + 1, COLUMN_WIDTH - 2);
                bars.push(ColumnBar { key: key.clone(), measure, x, width, y, height });
            }
        }
    }
    let edge = |key: Option<&String>| key.map(|k| shown_bucket(k)).unwrap_or_default();
    Columns {
        title: both(title, &[]),
        width: keys.len().max(COLUMNS_MIN) * COLUMN_WIDTH,
        from: edge(keys.first()),
        to: edge(keys.last()),
        most: grouped(most),
        legend: measures.len() > 1,
        bars,
    }
}

/// So much of `whole` as `number` is of `most`.
#[expect(clippy::cast_precision_loss, reason = "a length on a screen")]
fn part_of(number: u64, most: u64, whole: f64) -> f64 {
    if most == 0 { 0.0 } else { number as f64 / most as f64 * whole }
}

fn group(
    name: &'static str,
    counts: &BTreeMap<String, Count>,
    measures: &[&'static str],
    label: impl Fn(&str) -> Both,
) -> Group {
    let drawn: Vec<&'static str> = measures.iter().copied().filter(|m| *m != "rows").collect();
    let most = counts.values().map(|c| drawn.iter().map(|m| c.of(m)).sum::<u64>()).max().unwrap_or(0);
    let row = |(key, count): (&String, &Count)| {
        let mut x = 0.0;
        let mut bars = Vec::new();
        for measure in &drawn {
            let width = part_of(count.of(measure), most, 100.0);
            bars.push(RowBar { measure, x: format!("{x:.2}"), width: format!("{width:.2}") });
            x += width;
        }
        let cell = |measure: &&'static str| {
            let number = count.of(measure);
            let only = if *measure == "rows" { ("left", "rows") } else { ("class", *measure) };
            let filter = if number > 0 { filter(&[(name, key), only]) } else { String::new() };
            Cell { measure, shown: grouped(number), href: href(count.first), filter }
        };
        GroupRow { key: key.clone(), label: label(key), bars, cells: measures.iter().map(cell).collect() }
    };
    Group {
        name,
        title: both(&format!("folder.group.{name}"), &[]),
        head: both(&format!("folder.group.{name}.head"), &[]),
        measures: measures.iter().map(|m| both(&format!("folder.total.{m}"), &[])).collect(),
        rows: counts.iter().map(row).collect(),
    }
}

/// An hour, a day, a month or a year as people read it.
fn shown_bucket(key: &str) -> String {
    match key.split_once('T') {
        Some((day, hour)) => format!("{day} {hour}:00"),
        None => key.to_owned(),
    }
}

/// All hours, days, months or years from the first to the last that has something; those alone that
/// have something where they would be too many.
fn keys_between(counts: &BTreeMap<String, Count>) -> Vec<String> {
    let own = || counts.keys().cloned().collect::<Vec<_>>();
    let (Some(first), Some(last)) = (counts.keys().next(), counts.keys().next_back()) else { return Vec::new() };
    let mut keys = vec![first.clone()];
    while let Some(key) = keys.last().filter(|key| *key < last) {
        let Some(next) = bucket_after(key) else { return own() };
        keys.push(next);
        if keys.len() > COLUMNS_MAX {
            return own();
        }
    }
    keys
}

fn bucket_after(key: &str) -> Option<String> {
    let length = key.len();
    let (rest, step_ms) = match length {
        13 => (":00:00Z", 3_600_000),
        10 => ("T00:00:00Z", 86_400_000),
        7 => ("-01T00:00:00Z", 31 * 86_400_000),
        _ => ("-01-01T00:00:00Z", 366 * 86_400_000),
    };
    let begin = Timestamp::parse(&format!("{key}{rest}")).ok()?;
    let next: String = begin.plus_millis(step_ms).to_string().chars().take(length).collect();
    (next.as_str() > key).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_between_has_its_place() {
        let of = |keys: &[&str]| keys_between(&keys.iter().map(|k| ((*k).to_owned(), Count::default())).collect());
        assert_eq!(of(&["2026-02-28T22", "2026-03-01T01"]).len(), 4);
        assert_eq!(of(&["2024-02-28", "2024-03-01"]), ["2024-02-28", "2024-02-29", "2024-03-01"]);
        assert_eq!(of(&["2025-11", "2026-02"]), ["2025-11", "2025-12", "2026-01", "2026-02"]);
        assert_eq!(of(&["2025", "2027"]), ["2025", "2026", "2027"]);
        assert_eq!(of(&["2026-01-01T00", "2026-12-01T00"]).len(), 2);
        assert!(of(&[]).is_empty());
    }
}
