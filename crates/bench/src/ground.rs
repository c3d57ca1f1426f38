//! The ground of the attacks: a population of households with their water, a provider that gives
//! it as released tables alone, and one consumer that holds all of them, as several who pool would.

use crate::asking::Asking;
use crate::failed;
use crate::link::Member;
use crate::processes::Processes;
use crate::space::{self, CONSUMER, LEGAL_BASIS, PROVIDER, PURPOSE};
use perron_model::{AgreementId, Result};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Fewest households of a group.
pub const FLOOR: usize = 5;
/// p of the p % rule.
pub const DOMINANCE: u32 = 10;
/// Households; those of the last ones move in with the second snapshot.
const HOUSEHOLDS: usize = 1_200;
pub const MOVED_IN: usize = 40;
pub const SECTORS: usize = 60;
pub const KINDS: usize = 4;
/// Months of the first snapshot; the second has one more.
pub const MONTHS: usize = 2;

/// SplitMix64: what is drawn for the attacks must be the same each time.
#[derive(Clone, Debug)]
pub struct Draws(pub u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}

/// A household, as somebody who knows it well knows it: all but its water.
#[derive(Clone, Debug)]
pub struct Household {
    pub name: String,
    pub sector: usize,
    pub kind: usize,
    /// Litres of each month; what the attacks are after.
    pub litres: Vec<i64>,
    pub moved_in: bool,
}

/// Draws the households. Sectors and kinds are of very different sizes, so that many groups are
/// small; some households use far more than others.
pub fn population(draws: &mut Draws) -> Vec<Household> {
    (0..HOUSEHOLDS)
        .map(|number| {
            let sector = draws.below(SECTORS).min(draws.below(SECTORS));
            let kind = draws.below(KINDS).min(draws.below(KINDS));
            let usual = 2_000 + i64::try_from(draws.below(12_000)).unwrap_or(0);
            let usual = if draws.below(40) == 0 { usual * 30 } else { usual };
            let litres = (0..=MONTHS).map(|_| usual + i64::try_from(draws.below(1_500)).unwrap_or(0)).collect();
            let moved_in = number >= HOUSEHOLDS - MOVED_IN;
            Household { name: format!("m{number:04}"), sector, kind, litres, moved_in }
        })
        .collect()
}

pub fn sector(number: usize) -> String {
    format!("s{number:02}")
}
pub fn kind(number: usize) -> String {
    format!("k{number}")
}
pub fn month(number: usize) -> String {
    format!("2025-{:02}-01", number + 1)
}

/// A group of a table, or a total where a value is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub sector: Option<String>,
    pub kind: Option<String>,
    pub month: String,
    pub summed: i64,
    pub litres: f64,
    pub households: f64,
}

/// The released tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// By sector and month, with totals.
    Sectors,
    /// By sector, kind and month.
    Kinds,
    /// By sector and month, first agreed after households had moved in.
    Late,
    /// By sector and month, with noise, of a set of its own.
    Noisy,
}

pub const TABLES: [Table; 4] = [Table::Sectors, Table::Kinds, Table::Late, Table::Noisy];

impl Table {
    fn offer(self) -> &'static str {
        match self {
            Table::Sectors => "sectors",
            Table::Kinds => "kinds",
            Table::Late => "late",
            Table::Noisy => "noisy",
        }
    }
    fn dataset(self) -> &'static str {
        if self == Table::Noisy { "noisy_water" } else { "water" }
    }
    pub fn has_kind(self) -> bool {
        self == Table::Kinds
    }
    pub fn has_totals(self) -> bool {
        self == Table::Sectors
    }

    fn policy(self) -> Json {
        let term = |left: &str, operator: &str, right: Json| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let month = json!({"perron:column": "date", "perron:granularity": "month"});
        let mut dimensions = vec![json!("sector")];
        if self.has_kind() {
            dimensions.push(json!("kind"));
        }
        dimensions.push(month);
        let mut constraint = vec![
            term("purpose", "isAnyOf", json!([PURPOSE])),
            term("perron:legalBasis", "eq", json!(LEGAL_BASIS)),
            term("perron:dimensions", "isAllOf", Json::Array(dimensions)),
            term(
                "perron:measures",
                "isAnyOf",
                json!([
                    {"perron:function": "sum", "perron:column": "litres", "perron:name": "total"},
                    {"perron:function": "subjects", "perron:name": "households"}
                ]),
            ),
            term("perron:floor", "gteq", json!(FLOOR)),
            term("perron:dominance", "gteq", json!(DOMINANCE)),
        ];
        if self.has_totals() {
            constraint.push(term("perron:totals", "eq", json!("summed")));
        }
        if self == Table::Noisy {
            let noise = json!([
                {"perron:name": "total", "perron:epsilon": 1.0, "perron:bound": 15_000},
                {"perron:name": "households", "perron:epsilon": 1.0}
            ]);
            constraint.push(term("perron:noise", "isAllOf", noise));
            constraint.push(term("perron:budget", "lteq", json!(20.0)));
        }
        json!({
            "@type": "Offer",
            "profile": "https://w3id.org/perron/odrl/v1/",
            "permission": [{"action": "use", "constraint": constraint}]
        })
    }
}

/// The ground, with its processes.
pub struct Ground {
    pub processes: Processes,
    pub provider: PathBuf,
    /// The consumer, as it asks.
    pub asking: Asking,
    pub population: Vec<Household>,
    pub agreements: BTreeMap<Table, AgreementId>,
}

impl Ground {
    /// Publishes the population, agrees on all tables, and has each of them released from the
    /// snapshot of its time.
    pub fn set_up(program: &Path, directory: &Path, seed: u64) -> Result<Ground> {
        let mut processes = Processes::of(program)?;
        let population = population(&mut Draws(seed));
        let [authority, provider, consumer] = ["authority", PROVIDER, CONSUMER].map(|name| directory.join(name));
        space::enrol(&mut processes, directory, [&authority, &provider, &consumer])?;
        let asking = Asking::of(Member::open(&consumer)?, &directory.join("intents"))?;
        let mut ground = Ground { processes, provider, asking, population, agreements: BTreeMap::new() };
        ground.publish(directory, "water", false)?;
        ground.publish(directory, "noisy_water", false)?;
        for table in [Table::Sectors, Table::Kinds, Table::Noisy] {
            ground.agree(directory, &consumer, table)?;
        }
        ground.release()?;
        ground.publish(directory, "water", true)?;
        ground.agree(directory, &consumer, Table::Late)?;
        ground.release()?;
        Ok(ground)
    }

    fn publish(&self, directory: &Path, set: &str, later: bool) -> Result<()> {
        let wrong = |e: std::io::Error| failed(format!("a file of the set: {e}"));
        let (description, readings) = (directory.join(format!("{set}.toml")), directory.join(format!("{set}.csv")));
        let dataset = json!({
            "id": set, "title": "Water of households", "description": "Drawn for the attacks", "owner": "Nobody",
            "theme": "http://publications.europa.eu/resource/authority/data-theme/ENVI", "regime": "public-task",
            "subject_key": {"declared": "column", "column": "household"}, "visibility": {"to": "members"},
            "columns": [
                {"name": "household", "type": "text", "meaning": "Household", "protection": "personal"},
                {"name": "sector", "type": "text", "meaning": "Sector", "protection": "none"},
                {"name": "kind", "type": "text", "meaning": "Kind of dwelling", "protection": "none"},
                {"name": "date", "type": "date", "meaning": "Day", "protection": "none"},
                {"name": "litres", "type": "integer", "meaning": "Water", "unit": "l", "protection": "personal"}
            ]
        });
        let format = serde_json::to_value(perron::source::SourceFormat::Csv(space::format())).map_err(failed)?;
        let text = format!("dataset = {}\nformat = {}\n", space::toml(&dataset), space::toml(&format));
        std::fs::write(&description, text).map_err(wrong)?;
        let mut rows = "household,sector,kind,date,litres\n".to_owned();
        for household in self.population.iter().filter(|h| later || !h.moved_in) {
            let months = household.litres.iter().enumerate().take(if later { MONTHS + 1 } else { MONTHS });
            for (number, litres) in months {
                let (sector, kind) = (sector(household.sector), kind(household.kind));
                let _ = writeln!(rows, "{},{sector},{kind},{},{litres}", household.name, month(number));
            }
        }
        std::fs::write(&readings, rows).map_err(wrong)?;
        let (dir, readings) = (space::path(&self.provider)?, space::path(&readings)?);
        let described = space::path(&description)?;
        if later {
            self.processes.run(&[
                "dataset",
                "update",
                "--dir",
                dir,
                "--description",
                described,
                "--replace",
                readings,
            ])?;
        } else {
            self.processes.run(&["dataset", "add", "--dir", dir, "--description", described, readings])?;
        }
        Ok(())
    }

    fn agree(&mut self, directory: &Path, consumer: &Path, table: Table) -> Result<()> {
        let policy = directory.join(format!("{}.json", table.offer()));
        std::fs::write(&policy, table.policy().to_string()).map_err(failed)?;
        self.processes.run(&[
            "offer",
            "add",
            "--dir",
            space::path(&self.provider)?,
            table.offer(),
            "--dataset",
            table.dataset(),
            "--policy",
            space::path(&policy)?,
            "--legal-basis",
            LEGAL_BASIS,
            "--legal-text",
            "A law",
            "--automatic",
        ])?;
        self.agreements.insert(table, space::negotiate(&self.processes, consumer, table.offer())?);
        Ok(())
    }

    /// The first question of each agreement has its table released.
    fn release(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Handle::current();
        for agreement in self.agreements.values() {
            runtime.block_on(self.asking.ask(*agreement, "SELECT count(*) AS n FROM data"))?;
        }
        Ok(())
    }
}
