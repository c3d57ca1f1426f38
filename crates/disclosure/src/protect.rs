//! Which cells of a new table may be given.
//!
//! Whoever holds tables of one set can add and subtract their cells. All that comes of it is a sum
//! over *atoms*: the pieces into which the released cells, of all tables together, cut the rows.
//! So the rule is one: **each atom is empty or safe** (enough distinct data subjects, none of them
//! dominant). Then whatever is released could be worked out from a table of the atoms, in which
//! each cell keeps the floor and the dominance rule by itself; totals, differences and the pooling
//! of several consumers give nothing more. Rows that no released cell holds are no atom: nobody
//! knows anything about them.
//!
//! Cells are suppressed until the rule holds: first those that aren't safe themselves, then, where
//! what is left of a total or of a cell of another table isn't, the smallest cell beside it, which
//! thereby melts with it. It ends, for each round takes at least one cell of the new table away,
//! and without any of them the atoms are the ones that were there before.
//!
//! Distinct subjects don't add up over rows (a household is in many months), so where tables give
//! numbers of subjects each two cells that share rows must differ by no subject or by enough.

use crate::gather::{Contributions, broken};
use crate::pairs::Small;
use perron_model::limits::RELEASE_ROUNDS_MAX;
use perron_model::{Error, ErrorCode, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Cells that were released before: of one table, or of one level of its totals.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// The released cell that each unit lies in, if it lies in one.
    pub cells: Vec<Option<u32>>,
    /// Which of the measured columns the table gives.
    pub columns: Vec<usize>,
    /// Does it give numbers of subjects?
    pub subjects: bool,
}

/// What the new table asks for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Fewest distinct data subjects.
    pub floor: u64,
    /// p of the p % rule: no subject's part may be known to within p % to the second largest.
    pub dominance: Option<u32>,
    /// Measured columns that the table gives.
    pub columns: Vec<usize>,
    /// Does it give numbers of subjects?
    pub subjects: bool,
}

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is given.
    Released,
    /// Too few data subjects stand behind one of its measures.
    Few,
    /// One data subject dominates a sum.
    Dominated,
    /// Withheld so that a total gives nothing away.
    Complement,
    /// Withheld so that the difference to another released table gives nothing away.
    Overlap,
}

/// Largest contributions of a group of pairs, one subject's taken together.
#[derive(Clone, Copy, Debug, Default)]
struct Stat {
    subjects: u64,
    first: f64,
    second: f64,
    /// Of all others.
    rest: f64,
}

impl Stat {
    fn take(&mut self, absolute: f64) {
        self.subjects += 1;
        if absolute > self.first {
            self.rest += self.second;
            self.second = std::mem::replace(&mut self.first, absolute);
        } else if absolute > self.second {
            self.rest += std::mem::replace(&mut self.second, absolute);
        } else {
            self.rest += absolute;
        }
    }

    /// Why a piece of which this is known may not be.
    fn fault(&self, rule: &Rule, measured: bool) -> Option<Fate> {
        if self.subjects < rule.floor {
            return Some(Fate::Few);
        }
        let dominated = |percent: u32| !self.rest.is_finite() || self.rest < f64::from(percent) / 100.0 * self.first;
        rule.dominance.filter(|p| measured && dominated(*p)).map(|_| Fate::Dominated)
    }
}

/// Statistics of groups of pairs; `pairs` gives group, subject and absolute contribution.
fn statistics(pairs: impl Iterator<Item = (u32, u32, f64)>) -> BTreeMap<u32, Stat> {
    let mut sorted: Vec<(u64, f64)> =
        pairs.map(|(group, subject, absolute)| ((u64::from(group) << 32) | u64::from(subject), absolute)).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut found: BTreeMap<u32, Stat> = BTreeMap::new();
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let group = same.first().map_or(0, |(key, _)| (key >> 32) as u32);
        found.entry(group).or_default().take(same.iter().map(|(_, absolute)| absolute).sum());
    }
    found
}

/// No released cell.
const NONE: u32 = u32::MAX;

/// A measured column, or presence alone, with what was released of it before.
struct Target {
    /// Unit, subject and absolute contribution of each pair with a value.
    pairs: Vec<(u32, u32, f64)>,
    /// Is a value measured, so that dominance has a sense?
    measured: bool,
    /// Number of the signature of each unit: which cells released before it lies in; 0 for none.
    signature: Vec<u32>,
    /// Units with a value, by signature.
    filled: Vec<u64>,
    /// Has the unit a value?
    has: Vec<bool>,
}

impl Target {
    fn new(data: &Contributions, column: Option<usize>, known: &[&Family]) -> Result<Target> {
        let of = data.unit_of.iter().zip(&data.subject_of);
        let pairs: Vec<(u32, u32, f64)> = match column {
            None => of.map(|(unit, subject)| (*unit, *subject, 0.0)).collect(),
            Some(at) => {
                let column = data.columns.get(at).ok_or_else(broken)?;
                of.zip(column.absolutes())
                    .filter(|(_, (count, _))| *count > 0)
                    .map(|((unit, subject), (_, absolute))| (*unit, *subject, absolute))
                    .collect()
            }
        };
        let mut has = vec![false; data.units];
        for (unit, _, _) in &pairs {
            *has.get_mut(*unit as usize).ok_or_else(broken)? = true;
        }
        let mut signature = vec![0u32; data.units];
        for family in known {
            let mut numbers: Small<u64, u32> = Small::default();
            // Nothing before and nothing here stays nothing.
            numbers.insert(u64::from(NONE), 0);
            for (unit, cell) in signature.iter_mut().zip(&family.cells) {
                let next = u32::try_from(numbers.len()).map_err(|_| broken())?;
                let key = (u64::from(*unit) << 32) | u64::from(cell.unwrap_or(NONE));
                *unit = *numbers.entry(key).or_insert(next);
            }
        }
        let most = signature.iter().copied().max().unwrap_or(0);
        let mut filled = vec![0u64; most as usize + 1];
        for (signature, _) in signature.iter().zip(&has).filter(|(_, has)| **has) {
            if let Some(count) = filled.get_mut(*signature as usize) {
                *count += 1;
            }
        }
        Ok(Target { pairs, measured: column.is_some(), signature, filled, has })
    }
}

/// The new table while cells are taken out of it.
struct Table<'a> {
    /// For each level, from the finest, the cell of each unit.
    levels: &'a [Vec<Option<u32>>],
    /// First number of each level's cells.
    offsets: Vec<u32>,
    fates: Vec<Fate>,
    /// Distinct subjects of each cell.
    sizes: Vec<u64>,
}

impl Table<'_> {
    fn number(&self, level: usize, unit: usize) -> Option<u32> {
        let cell = self.levels.get(level)?.get(unit).copied().flatten()?;
        self.offsets.get(level)?.checked_add(cell)
    }
    fn released(&self, cell: u32) -> bool {
        self.fates.get(cell as usize) == Some(&Fate::Released)
    }
    /// The released cells that a unit lies in, from the finest.
    fn chain(&self, unit: usize) -> impl Iterator<Item = u32> + '_ {
        (0..self.levels.len()).filter_map(move |l| self.number(l, unit)).filter(|c| self.released(*c))
    }
    fn finest(&self, unit: usize) -> u32 {
        self.chain(unit).next().unwrap_or(NONE)
    }
    fn size(&self, cell: u32) -> u64 {
        self.sizes.get(cell as usize).copied().unwrap_or(0)
    }
    /// Takes a cell out.
    fn suppress(&mut self, cell: u32, fate: Fate) {
        if let Some(place) = self.fates.get_mut(cell as usize)
            && *place == Fate::Released
        {
            *place = fate;
        }
    }
}

/// Decides about the cells of a new table. `levels` gives, from the finest to the coarsest, the
/// cell that each unit lies in; each level's cells are unions of the finer level's. `known` are
/// the cells that were released of the same rows before.
///
/// # Errors
/// `too_large` where it doesn't end within [`RELEASE_ROUNDS_MAX`] rounds; `internal` where the
/// parts don't fit together.
pub fn protect(
    data: &Contributions,
    known: &[Family],
    levels: &[Vec<Option<u32>>],
    rule: &Rule,
) -> Result<Vec<Vec<Fate>>> {
    let counts: Vec<u32> =
        levels.iter().map(|l| l.iter().flatten().max().map_or(0, |most| most.saturating_add(1))).collect();
    let offsets: Vec<u32> = counts
        .iter()
        .scan(0u32, |sum, count| {
            let before = *sum;
            *sum = sum.saturating_add(*count);
            Some(before)
        })
        .collect();
    let cells = counts.iter().map(|c| *c as usize).sum();
    let mut table = Table { levels, offsets, fates: vec![Fate::Released; cells], sizes: vec![0; cells] };
    let mut targets = Vec::new();
    let of_subjects: Vec<&Family> = known.iter().filter(|f| rule.subjects && f.subjects).collect();
    targets.push(Target::new(data, None, &of_subjects)?);
    for column in &rule.columns {
        let same: Vec<&Family> = known.iter().filter(|f| f.columns.contains(column)).collect();
        targets.push(Target::new(data, Some(*column), &same)?);
    }
    by_themselves(&mut table, &targets, rule);
    if rule.subjects {
        by_their_subjects(data, &mut table, &of_subjects, rule);
    }
    let mut changed: Option<Vec<bool>> = None;
    for _ in 0..RELEASE_ROUNDS_MAX {
        let mut out = BTreeMap::new();
        // Atoms that weren't safe are looked at again, whether or not they grew.
        let mut again = vec![false; data.units];
        for target in &targets {
            unsafe_atoms(&table, target, rule, changed.as_deref(), &mut out, &mut again);
        }
        if out.is_empty() {
            return Ok(split(&table, &counts));
        }
        let touched: BTreeSet<u32> = out.keys().copied().collect();
        let lies = |unit: usize| (0..levels.len()).filter_map(|l| table.number(l, unit)).any(|c| touched.contains(&c));
        changed = Some(again.into_iter().enumerate().map(|(unit, again)| again || lies(unit)).collect());
        for (cell, fate) in out {
            table.suppress(cell, fate);
        }
    }
    Err(Error::new(ErrorCode::TooLarge, "the table's totals and overlaps can't be made safe within bounds"))
}

fn split(table: &Table<'_>, counts: &[u32]) -> Vec<Vec<Fate>> {
    let mut fates = table.fates.iter().copied();
    counts.iter().map(|count| fates.by_ref().take(*count as usize).collect()).collect()
}

/// Takes out what isn't safe by itself, and learns how large each cell is.
fn by_themselves(table: &mut Table<'_>, targets: &[Target], rule: &Rule) {
    for level in 0..table.levels.len() {
        for target in targets {
            let of = |(unit, subject, absolute): &(u32, u32, f64)| {
                table.number(level, *unit as usize).map(|cell| (cell, *subject, *absolute))
            };
            let stats = statistics(target.pairs.iter().filter_map(of));
            let numbers = (0..table.levels.get(level).map_or(0, Vec::len)).filter_map(|u| table.number(level, u));
            let all: BTreeSet<u32> = numbers.collect();
            for cell in all {
                let stat = stats.get(&cell).copied().unwrap_or_default();
                if let (false, Some(size)) = (target.measured, table.sizes.get_mut(cell as usize)) {
                    *size = stat.subjects;
                }
                if let Some(fate) = stat.fault(rule, target.measured) {
                    table.suppress(cell, fate);
                }
            }
        }
    }
}

/// Takes out cells whose subjects differ from those of a cell with which they share rows by fewer
/// than the floor.
fn by_their_subjects(data: &Contributions, table: &mut Table<'_>, known: &[&Family], rule: &Rule) {
    let near = |a: u64, b: u64| a != b && a.abs_diff(b) < rule.floor;
    // A total holds all subjects of its parts.
    for unit in 0..data.units {
        let chain: Vec<u32> = table.chain(unit).collect();
        for (at, part) in chain.iter().enumerate() {
            if chain.iter().skip(at + 1).any(|total| near(table.size(*part), table.size(*total))) {
                table.suppress(*part, Fate::Complement);
            }
        }
    }
    for family in known {
        let mut shared: BTreeSet<(u32, u32)> = BTreeSet::new();
        for (unit, other) in family.cells.iter().enumerate() {
            let Some(other) = other else { continue };
            shared.extend(table.chain(unit).map(|cell| (cell, *other)));
        }
        if shared.is_empty() {
            continue;
        }
        let theirs: BTreeSet<(u32, u32)> = data
            .unit_of
            .iter()
            .zip(&data.subject_of)
            .filter_map(|(unit, subject)| Some((*subject, family.cells.get(*unit as usize).copied().flatten()?)))
            .collect();
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, other) in &theirs {
            *sizes.entry(*other).or_default() += 1;
        }
        let mine: BTreeSet<(u32, u32)> = data
            .unit_of
            .iter()
            .zip(&data.subject_of)
            .flat_map(|(unit, subject)| table.chain(*unit as usize).map(|cell| (*subject, cell)))
            .collect();
        let mut common: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (subject, cell) in &mine {
            for (_, other) in theirs.range((*subject, 0)..=(*subject, NONE)) {
                if shared.contains(&(*cell, *other)) {
                    *common.entry((*cell, *other)).or_default() += 1;
                }
            }
        }
        for (cell, other) in shared {
            let both = common.get(&(cell, other)).copied().unwrap_or(0);
            if near(table.size(cell), both) || near(sizes.get(&other).copied().unwrap_or(0), both) {
                table.suppress(cell, Fate::Overlap);
            }
        }
    }
}

/// Finds the atoms of a target that aren't safe, and for each a cell to take out.
fn unsafe_atoms(
    table: &Table<'_>,
    target: &Target,
    rule: &Rule,
    changed: Option<&[bool]>,
    out: &mut BTreeMap<u32, Fate>,
    again: &mut [bool],
) {
    let mut numbers: Small<u64, u32> = Small::default();
    let mut atoms: Vec<(u32, u32)> = Vec::new();
    let mut filled: Vec<u64> = Vec::new();
    let mut fresh: Vec<bool> = Vec::new();
    let mut atom_of: Vec<u32> = Vec::with_capacity(target.signature.len());
    for (unit, signature) in target.signature.iter().enumerate() {
        let finest = table.finest(unit);
        if *signature == 0 && finest == NONE {
            atom_of.push(NONE);
            continue;
        }
        let next = u32::try_from(atoms.len()).unwrap_or(NONE);
        let atom = *numbers.entry((u64::from(*signature) << 32) | u64::from(finest)).or_insert(next);
        if atom == next {
            atoms.push((*signature, finest));
            filled.push(0);
            fresh.push(false);
        }
        let has = target.has.get(unit).copied().unwrap_or(false);
        let moved = changed.is_none_or(|c| c.get(unit).copied().unwrap_or(true));
        if let (Some(filled), Some(fresh)) = (filled.get_mut(atom as usize), fresh.get_mut(atom as usize)) {
            *filled += u64::from(has);
            *fresh |= moved;
        }
        atom_of.push(atom);
    }
    let looked_at = |(unit, subject, absolute): &(u32, u32, f64)| {
        let atom = atom_of.get(*unit as usize).copied().filter(|a| *a != NONE)?;
        fresh.get(atom as usize).copied().unwrap_or(true).then_some((atom, *subject, *absolute))
    };
    let stats = statistics(target.pairs.iter().filter_map(looked_at));
    // What is there already, whole, is nothing new: it was safe by the rule of its time.
    let whole =
        |atom: usize, signature: u32| signature != 0 && filled.get(atom) == target.filled.get(signature as usize);
    let bad: BTreeMap<u32, (u32, u32)> = stats
        .iter()
        .filter(|(_, stat)| stat.fault(rule, target.measured).is_some())
        .filter_map(|(atom, _)| atoms.get(*atom as usize).map(|key| (*atom, *key)))
        .filter(|(atom, (signature, _))| !whole(*atom as usize, *signature))
        .collect();
    if bad.is_empty() {
        return;
    }
    for (again, _) in again.iter_mut().zip(&atom_of).filter(|(_, atom)| bad.contains_key(atom)) {
        *again = true;
    }
    victims(table, target, &bad.into_values().collect(), out);
}

/// For each unsafe atom, the smallest cell next to it, which melts with it when it is taken out;
/// where there is none, the atom's own finest cell.
fn victims(table: &Table<'_>, target: &Target, bad: &BTreeSet<(u32, u32)>, out: &mut BTreeMap<u32, Fate>) {
    let mut beside: BTreeMap<(u32, u32), (u64, u32)> = BTreeMap::new();
    for (unit, signature) in target.signature.iter().enumerate() {
        let mut part = NONE;
        for cell in table.chain(unit).chain([NONE]) {
            if part != NONE && bad.contains(&(*signature, cell)) {
                let offered = (table.size(part), part);
                let best = beside.entry((*signature, cell)).or_insert(offered);
                *best = offered.min(*best);
            }
            part = cell;
        }
    }
    for key in bad {
        let fate = if key.0 == 0 { Fate::Complement } else { Fate::Overlap };
        match beside.get(key) {
            Some((_, cell)) => out.entry(*cell).or_insert(fate),
            None if key.1 != NONE => out.entry(key.1).or_insert(fate),
            None => continue,
        };
    }
}

#[cfg(test)]
#[path = "protect_tests.rs"]
mod tests;
