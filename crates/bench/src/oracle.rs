//! Where an attacker's questions go: to the endpoint, or to rows that somebody holds.

use crate::asking::Asking;
use crate::failed;
use crate::ground::{Household, MONTHS, Row, Table, kind, month, sector};
use perron::query::arrow::array::{Array, AsArray};
use perron::query::arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use perron::query::arrow::record_batch::RecordBatch;
use perron_model::{AgreementId, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// A condition on the rows of a table.
#[derive(Clone, Debug)]
pub enum Cond {
    Sector(usize),
    /// Sectors before this one.
    SectorBelow(usize),
    Kind(usize),
    Month(usize),
    /// How many dimensions a total sums over.
    Summed(i64),
    /// The household itself, which no table names.
    Name(String),
    And(Vec<Cond>),
    Or(Vec<Cond>),
    Not(Box<Cond>),
}

impl Cond {
    fn sql(&self) -> String {
        let joined = |all: &[Cond], by: &str| format!("({})", all.iter().map(Cond::sql).collect::<Vec<_>>().join(by));
        match self {
            Cond::Sector(s) => format!("sector = '{}'", sector(*s)),
            Cond::SectorBelow(s) => format!("sector < '{}'", sector(*s)),
            Cond::Kind(k) => format!("kind = '{}'", kind(*k)),
            Cond::Month(m) => format!("date = DATE '{}'", month(*m)),
            Cond::Summed(n) => format!("summed = {n}"),
            Cond::Name(name) => format!("household = '{name}'"),
            Cond::And(all) => joined(all, " AND "),
            Cond::Or(all) => joined(all, " OR "),
            Cond::Not(one) => format!("NOT {}", one.sql()),
        }
    }

    /// As SQL has it: none for what is unknown; an error for a column that isn't there.
    fn holds(&self, row: &Row) -> Result<Option<bool>, ()> {
        let known = |value: &Option<String>, test: &dyn Fn(&str) -> bool| value.as_deref().map(test);
        Ok(match self {
            Cond::Sector(s) => known(&row.sector, &|v| v == sector(*s)),
            Cond::SectorBelow(s) => known(&row.sector, &|v| v < sector(*s).as_str()),
            Cond::Kind(k) => known(&row.kind, &|v| v == kind(*k)),
            Cond::Month(m) => Some(row.month == month(*m)),
            Cond::Summed(n) => Some(row.summed == *n),
            Cond::Name(_) => return Err(()),
            Cond::And(all) => {
                let all: Vec<Option<bool>> = all.iter().map(|c| c.holds(row)).collect::<Result<_, ()>>()?;
                if all.contains(&Some(false)) { Some(false) } else { all.iter().all(Option::is_some).then_some(true) }
            }
            Cond::Or(all) => {
                let all: Vec<Option<bool>> = all.iter().map(|c| c.holds(row)).collect::<Result<_, ()>>()?;
                if all.contains(&Some(true)) { Some(true) } else { all.iter().all(Option::is_some).then_some(false) }
            }
            Cond::Not(one) => one.holds(row)?.map(|h| !h),
        })
    }
}

/// What is asked of a table, summed over the rows that a condition holds of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub litres: f64,
    pub households: f64,
    pub rows: f64,
}

impl Sums {
    pub fn plus(self, other: Sums, sign: f64) -> Sums {
        Sums {
            litres: self.litres + sign * other.litres,
            households: self.households + sign * other.households,
            rows: self.rows + sign * other.rows,
        }
    }
}

/// Where the attacker's questions go.
pub enum Oracle {
    /// The provider's public endpoint, under the agreement of each table.
    Endpoint(Box<Asking>, BTreeMap<Table, AgreementId>),
    /// Rows of each table.
    Rows(BTreeMap<Table, Vec<Row>>),
}

/// What is asked of the rows that a condition holds of.
const SELECT: &str = "SELECT CAST(coalesce(sum(total), 0) AS DOUBLE) AS litres, CAST(coalesce(sum(households), 0) AS DOUBLE) AS households, CAST(count(*) AS DOUBLE) AS n FROM data WHERE";

/// Answers by question; none where it was refused.
pub type Answers = BTreeMap<(Table, String), Option<Sums>>;

/// An attacker, who keeps every answer.
pub struct Attacker {
    oracle: Oracle,
    pub kept: Answers,
}

impl Attacker {
    pub fn of(oracle: Oracle) -> Attacker {
        Attacker { oracle, kept: BTreeMap::new() }
    }

    /// None where the question is refused.
    pub async fn ask(&mut self, table: Table, condition: &Cond) -> Option<Sums> {
        let sql = condition.sql();
        if let Some(kept) = self.kept.get(&(table, sql.clone())) {
            return *kept;
        }
        let answer = match &mut self.oracle {
            Oracle::Endpoint(asking, agreements) => match agreements.get(&table) {
                Some(agreement) => {
                    let answer = asking.ask(*agreement, &format!("{SELECT} {sql}")).await;
                    answer.ok().and_then(|batches| sums(&batches))
                }
                None => None,
            },
            Oracle::Rows(rows) => rows.get(&table).and_then(|rows| summed(rows, condition)),
        };
        self.kept.insert((table, sql), answer);
        answer
    }
}

/// How many questions have another answer here than there, to a millionth.
pub fn differing(here: &Answers, there: &Answers) -> usize {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let same = |a: Option<Sums>, b: Option<Sums>| match (a, b) {
        (Some(a), Some(b)) => near(a.litres, b.litres) && near(a.households, b.households) && near(a.rows, b.rows),
        (a, b) => a.is_none() && b.is_none(),
    };
    let asked = here.keys().chain(there.keys().filter(|question| !here.contains_key(question)));
    asked.filter(|q| !matches!((here.get(q), there.get(q)), (Some(a), Some(b)) if same(*a, *b))).count()
}

fn sums(batches: &[RecordBatch]) -> Option<Sums> {
    let batch = batches.iter().find(|b| b.num_rows() == 1)?;
    let value = |at: usize| Some(batch.columns().get(at)?.as_primitive_opt::<Float64Type>()?.value(0));
    Some(Sums { litres: value(0)?, households: value(1)?, rows: value(2)? })
}

fn summed(rows: &[Row], condition: &Cond) -> Option<Sums> {
    let mut sums = Sums::default();
    for row in rows {
        if condition.holds(row).ok()? == Some(true) {
            sums = sums.plus(Sums { litres: row.litres, households: row.households, rows: 1.0 }, 1.0);
        }
    }
    Some(sums)
}

/// The rows of a released table, from its files.
pub fn read(directory: &Path, table: Table) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|e| e != "parquet") {
            continue;
        }
        let file = std::fs::File::open(&path).map_err(failed)?;
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        for batch in reader.build().map_err(failed)? {
            let batch = batch.map_err(failed)?;
            for at in 0..batch.num_rows() {
                rows.push(row(&batch, at, table).ok_or_else(|| failed("a released table of another shape"))?);
            }
        }
    }
    Ok(rows)
}

fn row(batch: &RecordBatch, at: usize, table: Table) -> Option<Row> {
    let text = |name: &str| -> Option<Option<String>> {
        let texts = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        Some(texts.is_valid(at).then(|| texts.value(at).to_owned()))
    };
    let number = |name: &str| -> Option<f64> {
        let array = batch.column_by_name(name)?;
        match array.data_type() {
            DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(at) as f64),
            _ => Some(array.as_primitive_opt::<Float64Type>()?.value(at)),
        }
    };
    let day = batch.column_by_name("date")?.as_primitive_opt::<Date32Type>()?.value_as_date(at)?;
    Some(Row {
        sector: text("sector")?,
        kind: if table.has_kind() { text("kind")? } else { None },
        month: day.format("%Y-%m-%d").to_string(),
        summed: if table.has_totals() { number("summed")? as i64 } else { 0 },
        litres: number("total")?,
        households: number("households")?,
    })
}

/// Sector, kind, month and how many dimensions are summed: what a row of the table is about.
type Group = (Option<String>, Option<String>, String, i64);

/// What a connector without disclosure control would give: every group, exactly, of the rows of
/// its time.
pub fn unprotected(population: &[Household], table: Table) -> Vec<Row> {
    let (later, months) = if table == Table::Late { (true, MONTHS + 1) } else { (false, MONTHS) };
    let mut groups: BTreeMap<Group, (f64, f64)> = BTreeMap::new();
    for household in population.iter().filter(|h| later || !h.moved_in) {
        for (number, litres) in household.litres.iter().enumerate().take(months) {
            for summed in 0..=i64::from(table.has_totals()) {
                let shown = summed == 0;
                let key = (
                    shown.then(|| sector(household.sector)),
                    (table.has_kind() && shown).then(|| kind(household.kind)),
                    month(number),
                    summed,
                );
                let group = groups.entry(key).or_default();
                *group = (group.0 + *litres as f64, group.1 + 1.0);
            }
        }
    }
    let row =
        |((sector, kind, month, summed), (litres, households))| Row { sector, kind, month, summed, litres, households };
    groups.into_iter().map(row).collect()
}
