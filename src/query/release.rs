//! Released tables: what an agreement on aggregates gives instead of rows.
//!
//! A table is computed once a snapshot: a group for each combination of the dimensions that
//! occurs, and totals where the policy asks for them; measures over the rows that name a data
//! subject. Which groups are given is decided by `perron_disclosure` over what each data subject
//! contributes, and over what the set's other tables gave of the same rows: docs/DISCLOSURE.md.
//!
//! The *period* of a group is its value of the first dimension of dates or times. A period that
//! was looked at in a release stays as it was then, also where all of its groups were suppressed:
//! a later snapshot releases other periods only, since two versions of one period would show by
//! their difference what the floor hides. For the same reason a period is released only from a
//! snapshot that agrees, on it, with those from which other tables were released; an older
//! snapshot serves where the newest doesn't. A table without such a dimension is one period.
//!
//! ```text
//! released/<agreement>/<digest>.parquet   a release's groups, sorted by the dimensions
//! released/<agreement>/index.json         what the table is; the releases, their periods, their ε
//! ```
//!
//! A release counts once `index.json` names it, which it does by a rename after all else is
//! durable: noise that was drawn before a crash and isn't named there was shown to nobody, and
//! what is named there is never drawn again. Days, months and years of timestamps are those of
//! UTC.

mod fold;
mod history;
mod table;

use super::errors;
use crate::files::{create_directory, remove_temporary, write_atomically};
use crate::source::{Part, PartCache, PartWriter, Sets};
use fold::{Reading, cut, gather, period_name};
use history::{Past, fitting, overlap, past};
use perron_disclosure::{Asked, Contributions, Fate, Key, Random, Rule, Statistic, protect, roll_up, values};
use perron_model::dataset::{ColumnType, Dataset, Snapshot, SubjectKey};
use perron_model::limits::{RELEASE_GROUPS_MAX, RELEASE_INDEX_BYTES_MAX};
use perron_model::policy::{Granularity, MeasureFunction, ReleaseSpec};
use perron_model::{AgreementId, DatasetId, Digest, Error, ErrorCode, Result, canonical};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
pub(super) use table::released_schema;
use table::{Group, Shape, batch};

const INDEX: &str = "index.json";
/// The period of a table without a dimension of dates or times.
const ALL: &str = "all";
/// The period of groups whose date is missing.
const MISSING: &str = "none";

/// What is found of a snapshot each time: it is not looked for again.
const STAYS: [ErrorCode; 4] =
    [ErrorCode::ReleaseOverlap, ErrorCode::BudgetExhausted, ErrorCode::TooLarge, ErrorCode::QueryFailed];

/// One release of an agreement's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// The snapshot that it was computed from.
    pub snapshot: Digest,
    /// Digest of the Parquet file of its groups.
    pub table: Digest,
    /// Groups released, totals counted in.
    pub groups: u64,
    /// Groups suppressed, totals counted in.
    pub suppressed: u64,
    /// How many of them are safe alone, and would give away others by a total or by another table.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further: u64,
    /// Periods that it covers, in order.
    pub periods: Vec<String>,
    /// ε that its noise cost, in millionths.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epsilon_micro: u64,
    /// ε that all tables of the set had cost after it, in millionths.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spent_micro: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// What the table is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Of>,
    releases: Vec<Released>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    dataset: DatasetId,
    spec: ReleaseSpec,
}

/// The released tables of one organisation, in a directory.
#[derive(Debug)]
pub struct Releases {
    directory: PathBuf,
    parts: PartCache,
    /// Held while a table is computed: one at a time, so that each sees what the others gave. In
    /// it, why nothing of an agreement's snapshot could be released: the same is found each time.
    computing: Mutex<BTreeMap<(AgreementId, Digest), Error>>,
}

/// What a release is computed for.
pub(super) struct Wanted<'a> {
    pub(super) sets: &'a Sets,
    pub(super) dataset: &'a Dataset,
    pub(super) spec: &'a ReleaseSpec,
    pub(super) snapshot: &'a Snapshot,
    pub(super) agreement: AgreementId,
    /// Threads that read.
    pub(super) threads: usize,
    /// Set when nobody waits for it any more.
    pub(super) gone: &'a AtomicBool,
}

/// Random bytes of the system.
struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|_| errors::internal("random"))
    }
}

impl Releases {
    /// Opens the directory of released tables, and creates it if need be.
    pub fn open(directory: &Path) -> Result<Releases> {
        create_directory(directory)?;
        if let Ok(entries) = std::fs::read_dir(directory) {
            for entry in entries.flatten() {
                remove_temporary(&entry.path());
            }
        }
        Ok(Releases { directory: directory.to_owned(), parts: PartCache::default(), computing: Mutex::default() })
    }

    /// The releases of an agreement so far, oldest first.
    pub fn list(&self, agreement: &AgreementId) -> Result<Vec<Released>> {
        read_index(&self.directory.join(agreement.to_string())).map(|i| i.releases)
    }

    /// The released table of an agreement, if there is one. May block.
    pub(crate) fn table(&self, agreement: &AgreementId) -> Result<Option<Vec<Part>>> {
        let directory = self.directory.join(agreement.to_string());
        let digests: Vec<Digest> = read_index(&directory)?.releases.iter().map(|r| r.table).collect();
        if digests.is_empty() { Ok(None) } else { self.parts.parts(&directory, &digests).map(Some) }
    }

    /// Computes what the snapshot adds to the agreement's released table, and keeps it. Blocks.
    ///
    /// # Errors
    /// `release_exists` where every period was released before; `release_overlap` and
    /// `budget_exhausted` where no other may be.
    pub(super) fn compute(&self, wanted: &Wanted<'_>) -> Result<Released> {
        let mut computing = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = (wanted.agreement, wanted.snapshot.digest);
        if let Some(error) = computing.get(&refused) {
            return Err(error.clone());
        }
        let done = self.compute_once(wanted);
        if let Err(error) = &done
            && STAYS.contains(&error.code)
        {
            computing.insert(refused, error.clone());
        }
        done
    }

    fn compute_once(&self, wanted: &Wanted<'_>) -> Result<Released> {
        let Wanted { sets, dataset, spec, snapshot, agreement, .. } = *wanted;
        let directory = self.directory.join(agreement.to_string());
        let shape = Shape::of(dataset, spec)?;
        let mut index = read_index(&directory)?;
        if let Some(before) = index.releases.iter().find(|r| r.snapshot == snapshot.digest) {
            return Ok(before.clone());
        }
        let past = past(&self.directory, &dataset.id, &agreement)?;
        if let Some(conflict) = past.iter().find_map(|p| spec.conflict(&p.spec)) {
            return Err(overlap(&conflict));
        }
        let mut budget = Budget::of(spec, &past, &index)?;
        let mut snapshots = vec![snapshot.clone()];
        for digest in past.iter().flat_map(Past::snapshots) {
            if snapshots.iter().all(|s| s.digest != digest)
                && let Ok(older) = sets.snapshot(&dataset.id, &digest)
            {
                snapshots.push(older);
            }
        }
        let (mut new, mut refused) = (None, None);
        for from in snapshots {
            let known: BTreeSet<String> = index.releases.iter().flat_map(|r| r.periods.clone()).collect();
            let own = Past::own(&directory, spec, &index.releases);
            let (shape, past, from, known, parts) = (&shape, &past, &from, &known, &self.parts);
            let one = One { wanted, shape, past, own: &own, from, known, parts };
            let mut found = match one.work_out(&budget)? {
                Outcome::Given(given) => given,
                Outcome::Refused(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
                // Older snapshots hold no period that the newest lacks.
                Outcome::Nothing => break,
            };
            create_directory(&directory)?;
            let mut writer = PartWriter::create(&directory, std::sync::Arc::clone(&shape.schema))?;
            writer.write(&batch(shape, &found.groups)?)?;
            let (table, rows) = writer.finish()?;
            budget.spent_micro = budget.spent_micro.saturating_add(found.released.epsilon_micro);
            found.released.table = table;
            found.released.groups = rows;
            found.released.spent_micro = if budget.cost_micro > 0 { budget.spent_micro } else { 0 };
            index.of = Some(Of { dataset: dataset.id.clone(), spec: spec.clone() });
            index.releases.push(found.released.clone());
            let bytes = canonical::to_bytes(&index)?;
            if bytes.len() > RELEASE_INDEX_BYTES_MAX {
                return Err(Error::new(ErrorCode::TooLarge, "the agreement's releases have too many periods"));
            }
            write_atomically(&directory, INDEX, &bytes)?;
            new = new.or(Some(found.released));
            if found.complete {
                break;
            }
        }
        let exists = || Error::new(ErrorCode::ReleaseExists, "every period of the snapshot was released before");
        new.ok_or_else(|| refused.unwrap_or_else(exists))
    }
}

/// ε that may still be spent.
struct Budget {
    /// What one period costs, in millionths.
    cost_micro: u64,
    spent_micro: u64,
    /// Smallest budget that a table of the set states.
    most_micro: u64,
}

impl Budget {
    fn of(spec: &ReleaseSpec, past: &[Past], index: &Index) -> Result<Budget> {
        let own = index.releases.iter().map(|r| r.epsilon_micro);
        let spent_micro = past.iter().map(Past::spent_micro).chain(own).fold(0, u64::saturating_add);
        let stated = past.iter().map(|p| &p.spec).chain([spec]).filter_map(|s| s.protection.budget_micro);
        let budget =
            Budget { cost_micro: spec.protection.epsilon_micro(), spent_micro, most_micro: stated.min().unwrap_or(0) };
        Ok(budget)
    }

    /// How many periods it is enough for.
    fn periods(&self) -> usize {
        let left = self.most_micro.saturating_sub(self.spent_micro);
        left.checked_div(self.cost_micro).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

/// One table from one snapshot.
struct One<'a> {
    wanted: &'a Wanted<'a>,
    shape: &'a Shape,
    past: &'a [Past],
    /// What the table gave itself before.
    own: &'a Past,
    from: &'a Snapshot,
    known: &'a BTreeSet<String>,
    parts: &'a PartCache,
}

enum Outcome {
    Given(Found),
    Refused(Error),
    /// Every period was released before.
    Nothing,
}

struct Found {
    released: Released,
    groups: Vec<Group>,
    /// Was no period left out?
    complete: bool,
}

impl One<'_> {
    fn work_out(&self, budget: &Budget) -> Result<Outcome> {
        let Wanted { sets, dataset, spec, threads, gone, .. } = *self.wanted;
        let parts = sets.parts(self.from)?;
        let (columns, reading) = self.reading()?;
        let (units, data) = gather(dataset, &parts, &reading, threads, gone)?.finish();
        let keys = self.own_keys(&columns, &units)?;
        let named: Vec<String> = keys.iter().map(|k| self.period_of(k)).collect();
        let new: BTreeSet<String> = named.iter().filter(|n| !self.known.contains(*n)).cloned().collect();
        if new.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let fitting = fitting(self.past, dataset, sets, spec, &new, &parts)?;
        if fitting.is_empty() {
            let what =
                "another table gave the same periods from other rows; their difference could single somebody out";
            return Ok(Outcome::Refused(overlap(what)));
        }
        let periods: BTreeSet<String> = fitting.into_iter().take(budget.periods()).collect();
        if periods.is_empty() {
            let what = "the budget for noise of this set is spent; no further period is released";
            return Ok(Outcome::Refused(Error::new(ErrorCode::BudgetExhausted, what)));
        }
        let numbers: BTreeMap<&String, u32> = periods.iter().zip(0u32..).collect();
        let period: Vec<u32> = named.iter().map(|n| numbers.get(n).copied().unwrap_or(u32::MAX)).collect();
        let inside = |unit: usize| period.get(unit).is_some_and(|p| *p != u32::MAX);
        let mut levels = Vec::new();
        for level in 0..self.shape.levels() {
            let rolled = keys.iter().enumerate().map(|(u, k)| inside(u).then(|| self.shape.rolled(level, k.clone())));
            let (cells, count) = roll_up(rolled);
            if count > RELEASE_GROUPS_MAX {
                let what = format!("the table has more than {RELEASE_GROUPS_MAX} groups");
                return Err(Error::new(ErrorCode::TooLarge, what));
            }
            levels.push(cells);
        }
        let mut known = Vec::new();
        for table in self.past.iter().chain([self.own]) {
            known.extend(table.families(dataset, self.parts, &columns, &units, &self.measured())?);
        }
        let fates = protect(&data, &known, &levels, &self.rule())?;
        let groups = self.groups(&data, &keys, &levels, &fates, &period)?;
        let all = || fates.iter().flatten();
        let released = Released {
            snapshot: self.from.digest,
            table: self.from.digest,
            groups: 0,
            suppressed: all().filter(|f| **f != Fate::Released).count() as u64,
            further: all().filter(|f| matches!(f, Fate::Complement | Fate::Overlap)).count() as u64,
            epsilon_micro: budget.cost_micro.saturating_mul(periods.len() as u64),
            spent_micro: 0,
            periods: periods.into_iter().collect(),
        };
        let complete = released.periods.len() == new.len();
        Ok(Outcome::Given(Found { released, groups, complete }))
    }

    /// Columns that are measured, each once.
    fn measured(&self) -> Vec<String> {
        let measured = self.wanted.spec.measures.iter().filter(|m| m.function != MeasureFunction::Subjects);
        measured.map(|m| m.column.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn rule(&self) -> Rule {
        let spec = self.wanted.spec;
        // What others were promised holds for what is taken from their cells.
        let floors = self.past.iter().map(|p| p.spec.floor).chain([spec.floor]);
        let dominance = self.past.iter().map(|p| &p.spec).chain([spec]).filter_map(|s| s.protection.dominance);
        Rule {
            // A floor below 2 protects nobody, whatever the terms say.
            floor: u64::from(floors.max().unwrap_or(2).max(2)),
            dominance: dominance.max(),
            columns: (0..self.measured().len()).collect(),
            subjects: spec.measures.iter().any(|m| m.function == MeasureFunction::Subjects),
        }
    }

    /// What is read: the columns by which this table and the others group, each as fine as the
    /// finest of them, the data-subject key, the measured columns.
    fn reading(&self) -> Result<(Vec<String>, Reading)> {
        let Wanted { dataset, spec, .. } = *self.wanted;
        let SubjectKey::Column(subject) = &dataset.subject_key else {
            return Err(Error::new(ErrorCode::TermInvalid, "the set names no data subject, so no floor can be kept"));
        };
        let place = |name: &String| {
            dataset.columns.iter().position(|c| c.name == *name).ok_or_else(|| invalid(name, "not one of the set"))
        };
        let mut finest: BTreeMap<String, Granularity> = BTreeMap::new();
        for dimension in self.past.iter().map(|p| &p.spec).chain([spec]).flat_map(|s| &s.dimensions) {
            let cut = finest.entry(dimension.column.clone()).or_insert(dimension.granularity);
            if fineness(dimension.granularity) < fineness(*cut) {
                *cut = dimension.granularity;
            }
        }
        let dimensions = finest.iter().map(|(name, cut)| Ok((place(name)?, *cut))).collect::<Result<_>>()?;
        let measured = self.measured().iter().map(place).collect::<Result<_>>()?;
        Ok((finest.into_keys().collect(), Reading { dimensions, subject: place(subject)?, measured }))
    }

    /// The values of this table's dimensions, by unit.
    fn own_keys(&self, columns: &[String], units: &[Vec<Key>]) -> Result<Vec<Vec<Key>>> {
        let dimensions = &self.wanted.spec.dimensions;
        let place = |name: &String| columns.iter().position(|c| c == name).ok_or_else(broken);
        let places: Vec<usize> = dimensions.iter().map(|d| place(&d.column)).collect::<Result<_>>()?;
        let of = |unit: &Vec<Key>| {
            let one = |(at, d): (&usize, &perron_model::policy::Dimension)| {
                cut(unit.get(*at).unwrap_or(&Key::Missing), d.granularity)
            };
            places.iter().zip(dimensions).map(one).collect()
        };
        Ok(units.iter().map(of).collect())
    }

    fn period_of(&self, keys: &[Key]) -> String {
        self.shape.period.map_or_else(|| ALL.to_owned(), |at| keys.get(at).map_or(MISSING.to_owned(), period_name))
    }

    fn groups(
        &self,
        data: &Contributions,
        keys: &[Vec<Key>],
        levels: &[Vec<Option<u32>>],
        fates: &[Vec<Fate>],
        period: &[u32],
    ) -> Result<Vec<Group>> {
        let (spec, measured) = (self.wanted.spec, self.measured());
        let mut groups = Vec::new();
        for (level, (cells, fates)) in levels.iter().zip(fates).enumerate() {
            let mut of_level: Vec<Option<Group>> = vec![None; fates.len()];
            for (unit, cell) in cells.iter().enumerate() {
                let Some(cell) = cell.map(|c| c as usize).filter(|c| fates.get(*c) == Some(&Fate::Released)) else {
                    continue;
                };
                if let (Some(group @ None), Some(keys)) = (of_level.get_mut(cell), keys.get(unit)) {
                    *group = Some(Group { level, keys: self.shape.rolled(level, keys.clone()), numbers: Vec::new() });
                }
            }
            for measure in &spec.measures {
                let column = || measured.iter().position(|m| *m == measure.column).ok_or_else(broken);
                let asked = Asked {
                    statistic: match measure.function {
                        MeasureFunction::Sum => Statistic::Sum(column()?),
                        MeasureFunction::Mean => Statistic::Mean(column()?),
                        MeasureFunction::Subjects => Statistic::Subjects,
                    },
                    rounding: self.rounding_of(measure),
                    noise: spec.protection.noise.get(&measure.name).map(|n| (n.epsilon_micro, n.bound)),
                };
                let numbers = values(data, cells, fates, period, &asked, &mut System)?;
                for (group, number) in of_level.iter_mut().zip(numbers) {
                    if let Some(group) = group {
                        group.numbers.push(number);
                    }
                }
            }
            groups.extend(of_level.into_iter().flatten());
        }
        groups.sort_by(|a, b| a.keys.cmp(&b.keys).then(a.level.cmp(&b.level)));
        Ok(groups)
    }

    /// The base of a measure. A mean beside a sum of the same column is that of the rounded sum,
    /// or the two would give the sum away.
    fn rounding_of(&self, measure: &perron_model::policy::Measure) -> Option<u64> {
        let spec = self.wanted.spec;
        let base = |m: &perron_model::policy::Measure| spec.protection.rounding.get(&m.name).copied();
        if measure.function != MeasureFunction::Mean {
            return base(measure);
        }
        let beside = spec.measures.iter().filter(|m| m.function != MeasureFunction::Subjects);
        beside.filter(|m| m.column == measure.column).filter_map(base).max()
    }
}

fn fineness(granularity: Granularity) -> u8 {
    match granularity {
        Granularity::Value => 0,
        Granularity::Day => 1,
        Granularity::Month => 2,
        Granularity::Year => 3,
    }
}

fn is_dated(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Date | ColumnType::Timestamp)
}

fn column_type(dataset: &Dataset, name: &str) -> Result<ColumnType> {
    dataset.column(name).map(|c| c.column_type).ok_or_else(|| invalid(name, "not one of the set"))
}

fn invalid(column: &str, what: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, format!("column `{column}`: {what}"))
}

fn broken() -> Error {
    errors::internal("release")
}

fn read_index(directory: &Path) -> Result<Index> {
    match std::fs::read(directory.join(INDEX)) {
        Ok(bytes) => canonical::from_bytes(&bytes, RELEASE_INDEX_BYTES_MAX),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Index::default()),
        Err(_) => Err(errors::internal("index")),
    }
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
