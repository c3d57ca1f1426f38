//! Attacks on released tables, as programs: against the Flight SQL endpoint of a connector that
//! runs, against the same released tables given as files, and against the same groups without any
//! protection, which shows that the attacks work.
//!
//! Each try is about one household in one month. The attacker knows everything about everybody but
//! water, holds all tables (so pools what several consumers got), and in the end says a number of
//! litres. *Learned* is who comes within one per cent of the truth.

use crate::failed;
use crate::ground::{
    Draws, Ground, Household, KINDS, MONTHS, MOVED_IN, Row, SECTORS, TABLES, Table, kind, month, sector,
};
use crate::link;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use perron::api::flight::local::{AGREEMENT_HEADER, PURPOSE_HEADER};
use perron::query::arrow::array::{Array, AsArray};
use perron::query::arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use perron::query::arrow::record_batch::RecordBatch;
use perron_model::{AgreementId, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use tonic::transport::Channel;

/// How near to the truth is learned.
const NEAR: f64 = 0.01;
/// Questions that mean the same, of one averaging try.
const VARIATIONS: usize = 8;

/// What an attack learned, in so many tries.
#[derive(Clone, Debug, Serialize)]
pub struct Learned {
    pub attack: &'static str,
    pub tries: usize,
    /// From the endpoint.
    pub endpoint: usize,
    /// From the released tables as files.
    pub file: usize,
    /// From the same groups without protection.
    pub unprotected: usize,
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Learned { attack, tries, endpoint, file, unprotected } = self;
        write!(
            f,
            "{attack}: of {tries} tries, {endpoint} learned from the endpoint, {file} from the table as a file, {unprotected} from groups without protection"
        )
    }
}

/// A condition on the rows of a table.
#[derive(Clone, Debug)]
enum Cond {
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
struct Sums {
    litres: f64,
    households: f64,
    rows: f64,
}

impl Sums {
    fn plus(self, other: Sums, sign: f64) -> Sums {
        Sums {
            litres: self.litres + sign * other.litres,
            households: self.households + sign * other.households,
            rows: self.rows + sign * other.rows,
        }
    }
}

/// A connection of the attacker to their own connector, under one agreement.
pub struct Endpoint {
    flight: FlightSqlServiceClient<Channel>,
}

impl Endpoint {
    /// The attacker's tool, for the table of an agreement.
    pub async fn of(ground: &Ground, _: Table, agreement: AgreementId) -> Result<Endpoint> {
        let mut flight = FlightSqlServiceClient::new(link::socket(&ground.consumer).await?);
        flight.set_header(AGREEMENT_HEADER, agreement.to_string());
        flight.set_header(PURPOSE_HEADER, crate::space::PURPOSE);
        flight.set_token(ground.token.clone());
        Ok(Endpoint { flight })
    }

    /// The first question, which has the table released.
    pub async fn first(mut self) -> Result<()> {
        self.batches("SELECT count(*) AS n FROM data").await.map(|_| ())
    }

    async fn batches(&mut self, sql: &str) -> Result<Vec<RecordBatch>> {
        let info = self.flight.execute(sql.to_owned(), None).await.map_err(failed)?;
        let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).ok_or_else(|| failed("no ticket"))?;
        let batches = self.flight.do_get(ticket).await.map_err(failed)?;
        batches.try_collect().await.map_err(failed)
    }
}

/// Where the attacker's questions go.
enum Oracle {
    Endpoint(BTreeMap<Table, Endpoint>),
    Rows(BTreeMap<Table, Vec<Row>>),
}

/// An attacker, who keeps every answer.
struct Attacker {
    oracle: Oracle,
    kept: BTreeMap<(Table, String), Option<Sums>>,
}

impl Attacker {
    fn of(oracle: Oracle) -> Attacker {
        Attacker { oracle, kept: BTreeMap::new() }
    }

    /// None where the question is refused.
    async fn ask(&mut self, table: Table, condition: &Cond) -> Option<Sums> {
        let sql = condition.sql();
        if let Some(kept) = self.kept.get(&(table, sql.clone())) {
            return *kept;
        }
        let answer = match &mut self.oracle {
            Oracle::Endpoint(endpoints) => {
                let select = "SELECT CAST(coalesce(sum(total), 0) AS DOUBLE) AS litres, CAST(coalesce(sum(households), 0) AS DOUBLE) AS households, CAST(count(*) AS DOUBLE) AS n FROM data WHERE";
                match endpoints.get_mut(&table) {
                    Some(endpoint) => endpoint.batches(&format!("{select} {sql}")).await.ok().and_then(|b| sums(&b)),
                    None => None,
                }
            }
            Oracle::Rows(rows) => rows.get(&table).and_then(|rows| summed(rows, condition)),
        };
        self.kept.insert((table, sql), answer);
        answer
    }
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

/// One household in one month.
struct Target<'a> {
    household: &'a Household,
    month: usize,
}

impl Target<'_> {
    fn truth(&self) -> f64 {
        self.household.litres.get(self.month).map_or(0.0, |l| *l as f64)
    }
    fn learned(&self, guess: Option<f64>) -> bool {
        guess.is_some_and(|g| (g - self.truth()).abs() <= NEAR * self.truth())
    }
}

/// The guess from sums that hold the target: all of them where they hold nobody else, else the
/// mean of those whom they hold.
fn guess(found: Option<Sums>) -> Option<f64> {
    found.filter(|s| s.households >= 0.5).map(|s| s.litres / s.households.round())
}

/// Denning's general tracker: what a question about the target alone would say, from questions
/// about large sets: q(C) = q(C or T) + q(C or not T) - q(T) - q(not T).
async fn tracker(attacker: &mut Attacker, target: &Target<'_>, draws: &mut Draws) -> Option<f64> {
    let household = target.household;
    let named = Cond::And(vec![Cond::Name(household.name.clone()), Cond::Month(target.month)]);
    if let Some(found) = attacker.ask(Table::Kinds, &named).await {
        return guess(Some(found));
    }
    let table = Table::Kinds;
    let alone = Cond::And(vec![Cond::Sector(household.sector), Cond::Kind(household.kind), Cond::Month(target.month)]);
    let tracker = Cond::SectorBelow(1 + draws.below(SECTORS - 1));
    let not = Cond::Not(Box::new(tracker.clone()));
    let either = |a: &Cond, b: &Cond| Cond::Or(vec![a.clone(), b.clone()]);
    let with = attacker.ask(table, &either(&alone, &tracker)).await?;
    let without = attacker.ask(table, &either(&alone, &not)).await?;
    let (of, rest) = (attacker.ask(table, &tracker).await?, attacker.ask(table, &not).await?);
    guess(Some(with.plus(without, 1.0).plus(of, -1.0).plus(rest, -1.0)))
}

/// Differences of cells that hold the target and cells that don't: totals less their parts, one
/// table less another, a later one less an earlier one. The smallest set that holds the target is
/// what the guess is made from.
async fn differencing(attacker: &mut Attacker, target: &Target<'_>, _: &mut Draws) -> Option<f64> {
    let household = target.household;
    let at = Cond::Month(target.month);
    let and = |all: Vec<Cond>| Cond::And([all, vec![at.clone()]].concat());
    let mut found = Vec::new();
    // The month's total less all other sectors.
    let total = attacker.ask(Table::Sectors, &and(vec![Cond::Summed(1)])).await?;
    let others = and(vec![Cond::Summed(0), Cond::Not(Box::new(Cond::Sector(household.sector)))]);
    let others = attacker.ask(Table::Sectors, &others).await?;
    if total.rows > 0.0 {
        found.push(total.plus(others, -1.0));
    }
    // The sector less its other kinds, and its kind itself.
    let own = attacker.ask(Table::Sectors, &and(vec![Cond::Summed(0), Cond::Sector(household.sector)])).await?;
    let mut kinds = Sums::default();
    for kind in (0..KINDS).filter(|k| *k != household.kind) {
        let one = attacker.ask(Table::Kinds, &and(vec![Cond::Sector(household.sector), Cond::Kind(kind)])).await?;
        kinds = kinds.plus(one, 1.0);
    }
    if own.rows > 0.0 {
        found.push(own.plus(kinds, -1.0));
        found.push(own);
    }
    let cell = and(vec![Cond::Sector(household.sector), Cond::Kind(household.kind)]);
    found.push(attacker.ask(Table::Kinds, &cell).await?);
    // The sector in the later table, less the same in the earlier one: who moved in.
    let late = attacker.ask(Table::Late, &and(vec![Cond::Sector(household.sector)])).await?;
    if late.rows > 0.0 && own.rows > 0.0 && household.moved_in {
        found.push(late.plus(own, -1.0));
    }
    let holding = found.into_iter().filter(|s| s.households > 0.5 && s.litres > 0.0);
    guess(holding.min_by(|a, b| a.households.total_cmp(&b.households)))
}

/// The averaging attack on noise (as on Diffix): the same question in many spellings, averaged;
/// then all other households, whom this attacker knows to the litre, are taken off.
async fn averaging(
    attacker: &mut Attacker,
    target: &Target<'_>,
    draws: &mut Draws,
    population: &[Household],
) -> Option<f64> {
    let household = target.household;
    let group = Cond::And(vec![Cond::Sector(household.sector), Cond::Month(target.month)]);
    let mut answers = Vec::new();
    for _ in 0..VARIATIONS {
        // Always true, and never the same.
        let (a, b) = (SECTORS + draws.below(900), SECTORS + draws.below(900));
        let none = |s: usize| Cond::Not(Box::new(Cond::Sector(s)));
        let spelled = Cond::And(vec![group.clone(), none(a), Cond::Or(vec![none(b), Cond::Sector(b)])]);
        let answer = attacker.ask(Table::Noisy, &spelled).await?;
        if answer.rows > 0.0 {
            answers.push(answer.litres);
        }
    }
    if answers.is_empty() {
        return None;
    }
    let mean = answers.iter().sum::<f64>() / answers.len() as f64;
    let others = population
        .iter()
        .filter(|h| h.sector == household.sector && h.name != household.name && !h.moved_in)
        .filter_map(|h| h.litres.get(target.month))
        .sum::<i64>();
    Some(mean - others as f64)
}

/// Whom a try is about. The attacker knows who is in which group, and takes of some households
/// the one with the fewest beside it; differences are after those who moved in, every other time.
fn chosen<'a>(population: &'a [Household], attack: usize, draws: &mut Draws) -> Option<&'a Household> {
    let from = if attack == 1 && draws.below(2) == 0 { population.len().saturating_sub(MOVED_IN) } else { 0 };
    let peers = |h: &Household| population.iter().filter(|o| o.sector == h.sector && o.kind == h.kind).count();
    let some: Vec<&Household> =
        (0..4).filter_map(|_| population.get(from + draws.below(population.len().saturating_sub(from)))).collect();
    some.into_iter().min_by_key(|h| peers(h))
}

/// How many an attacker learns with each attack.
async fn learned(attacker: &mut Attacker, population: &[Household], tries: usize, seed: u64) -> [usize; 3] {
    let mut counts = [0; 3];
    for (attack, count) in counts.iter_mut().enumerate() {
        // Each attacker has the same targets and asks the same.
        let mut draws = Draws(seed ^ ((attack as u64 + 1) << 40));
        for _ in 0..tries {
            let Some(household) = chosen(population, attack, &mut draws) else { continue };
            let target = Target { household, month: draws.below(MONTHS) };
            let guess = match attack {
                0 => tracker(attacker, &target, &mut draws).await,
                1 => differencing(attacker, &target, &mut draws).await,
                _ => averaging(attacker, &target, &mut draws, population).await,
            };
            *count += usize::from(target.learned(guess));
        }
    }
    counts
}

/// Sets up the ground and runs each attack against endpoint, file, and groups without protection.
pub async fn run(program: &Path, directory: &Path, tries: usize, seed: u64) -> Result<Vec<Learned>> {
    let (program, directory) = (program.to_owned(), directory.to_owned());
    let ground = tokio::task::spawn_blocking(move || Ground::set_up(&program, &directory, seed));
    let ground = ground.await.map_err(failed)??;
    let mut endpoints = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (table, agreement) in &ground.agreements {
        endpoints.insert(*table, Endpoint::of(&ground, *table, *agreement).await?);
        files.insert(*table, read(&ground.provider.join("released").join(agreement.to_string()), *table)?);
    }
    let raw = TABLES.iter().map(|t| (*t, unprotected(&ground.population, *t))).collect();
    let (mut counts, mut answered) = (Vec::new(), Vec::new());
    for oracle in [Oracle::Endpoint(endpoints), Oracle::Rows(files), Oracle::Rows(raw)] {
        let mut attacker = Attacker::of(oracle);
        counts.push(learned(&mut attacker, &ground.population, tries, seed).await);
        answered.push(attacker.kept.values().flatten().count());
    }
    // An endpoint that answers nothing teaches nothing, and would say nothing.
    if answered.first() != answered.get(1) {
        return Err(failed(format!("endpoint, file and groups answered {answered:?} of the same questions")));
    }
    let of = |oracle: usize, attack: usize| counts.get(oracle).and_then(|c| c.get(attack)).copied().unwrap_or(0);
    Ok(["tracker", "differencing", "averaging"]
        .into_iter()
        .enumerate()
        .map(|(attack, name)| Learned {
            attack: name,
            tries,
            endpoint: of(0, attack),
            file: of(1, attack),
            unprotected: of(2, attack),
        })
        .collect())
}

/// The rows of a released table, from its files.
fn read(directory: &Path, table: Table) -> Result<Vec<Row>> {
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

/// What a connector without disclosure control would give: every group, exactly, of the rows of
/// its time.
fn unprotected(population: &[Household], table: Table) -> Vec<Row> {
    let (later, months) = if table == Table::Late { (true, MONTHS + 1) } else { (false, MONTHS) };
    let mut groups: BTreeMap<(Option<String>, Option<String>, String, i64), (f64, f64)> = BTreeMap::new();
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
