//! What is given of the cells that are released.

use crate::gather::{Column, Contributions, broken};
use crate::noise::{Random, discrete_laplace};
use crate::protect::Fate;
use perron_model::{Error, ErrorCode, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What is worked out of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Sum of the measured column with this number.
    Sum(usize),
    /// Mean of it over its rows.
    Mean(usize),
    /// Distinct data subjects.
    Subjects,
}

/// A measure, and how it is blurred.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What it is.
    pub statistic: Statistic,
    /// Base that it is rounded to.
    pub rounding: Option<u64>,
    /// ε in millionths, and the most that one data subject brings into it within a period.
    pub noise: Option<(u64, u64)>,
}

/// A value of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// A float.
    Real(f64),
}

/// Sums of one cell.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u64,
    whole: i128,
    real: f64,
}

/// The coarser level over `finer`: each unit's cell is that of its `key`.
pub fn roll_up<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> (Vec<Option<u32>>, usize) {
    let mut numbers: BTreeMap<K, u32> = BTreeMap::new();
    let cells = keys
        .map(|key| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            key.map(|key| *numbers.entry(key).or_insert(next))
        })
        .collect();
    (cells, numbers.len())
}

/// The values of `asked` in each cell of a level, none where the cell isn't released. `period`
/// is the period of each unit: within one, the noise of a measure is drawn for what one data
/// subject can change in all its cells together.
///
/// # Errors
/// `query_failed` where a sum doesn't fit into 64 bits; `internal` where no random bytes come.
pub fn values(
    data: &Contributions,
    cells: &[Option<u32>],
    fates: &[Fate],
    period: &[u32],
    asked: &Asked,
    random: &mut dyn Random,
) -> Result<Vec<Option<Number>>> {
    let exact = match (asked.statistic, asked.noise) {
        (Statistic::Subjects, None) => subjects(data, cells, fates.len()),
        (Statistic::Sum(at) | Statistic::Mean(at), None) => {
            let column = data.columns.get(at).ok_or_else(broken)?;
            let sums = sums(data, column, cells, fates.len())?;
            sums.iter().map(|s| number(column, s, asked)).collect::<Result<_>>()?
        }
        (Statistic::Subjects, Some(_)) => clipped_subjects(data, cells, fates.len(), period),
        (Statistic::Sum(at), Some((_, bound))) => {
            let column = data.columns.get(at).ok_or_else(broken)?;
            clipped_sums(data, column, cells, fates.len(), period, bound, asked.rounding.unwrap_or(1))?
        }
        (Statistic::Mean(_), Some(_)) => return Err(Error::new(ErrorCode::TermInvalid, "a mean takes no noise")),
    };
    let mut given = Vec::with_capacity(fates.len());
    for (value, fate) in exact.into_iter().zip(fates) {
        let value = match (value, asked.noise) {
            _ if *fate != Fate::Released => None,
            (Some(value), Some((epsilon, bound))) => Some(noisy(value, epsilon, bound, asked, random)?),
            (Some(Number::Whole(value)), None) if asked.statistic == Statistic::Subjects => {
                Some(Number::Whole(rounded(i128::from(value), asked.rounding)?))
            }
            (value, _) => value,
        };
        given.push(value);
    }
    Ok(given)
}

fn subjects(data: &Contributions, cells: &[Option<u32>], count: usize) -> Vec<Option<Number>> {
    let of = |(unit, subject): (&u32, &u32)| {
        cells.get(*unit as usize).copied().flatten().map(|cell| (u64::from(cell) << 32) | u64::from(*subject))
    };
    let mut there: Vec<u64> = data.unit_of.iter().zip(&data.subject_of).filter_map(of).collect();
    there.sort_unstable();
    there.dedup();
    let mut found = vec![0i64; count];
    for key in there {
        if let Some(count) = found.get_mut((key >> 32) as usize) {
            *count += 1;
        }
    }
    found.into_iter().map(|n| Some(Number::Whole(n))).collect()
}

fn sums(data: &Contributions, column: &Column, cells: &[Option<u32>], count: usize) -> Result<Vec<Sums>> {
    let mut sums = vec![Sums::default(); count];
    let mut add = |unit: &u32, rows: u64, whole: i128, real: f64| {
        if let Some(cell) = cells.get(*unit as usize).copied().flatten()
            && let Some(sum) = sums.get_mut(cell as usize)
        {
            sum.count += rows;
            sum.whole = sum.whole.saturating_add(whole);
            sum.real += real;
        }
    };
    match column {
        Column::Whole(amounts) => {
            data.unit_of.iter().zip(amounts).for_each(|(unit, a)| add(unit, a.count, a.sum, 0.0));
        }
        Column::Real(amounts) => data.unit_of.iter().zip(amounts).for_each(|(unit, a)| add(unit, a.count, 0, a.sum)),
    }
    Ok(sums)
}

/// The value of a sum or mean; a mean is that of the rounded sum, or it would give the sum away.
fn number(column: &Column, sums: &Sums, asked: &Asked) -> Result<Option<Number>> {
    if sums.count == 0 {
        return Ok(None);
    }
    let mean = matches!(asked.statistic, Statistic::Mean(_));
    Ok(Some(match column {
        Column::Whole(_) if mean => {
            let sum = asked.rounding.map_or(sums.whole, |base| nearest(sums.whole, base));
            Number::Real(sum as f64 / sums.count as f64)
        }
        Column::Whole(_) => Number::Whole(rounded(sums.whole, asked.rounding)?),
        Column::Real(_) => {
            let sum = asked.rounding.map_or(sums.real, |base| (sums.real / base as f64).round() * base as f64);
            Number::Real(if mean { sum / sums.count as f64 } else { sum } + 0.0)
        }
    }))
}

fn rounded(value: i128, base: Option<u64>) -> Result<i64> {
    let value = base.map_or(value, |base| nearest(value, base));
    i64::try_from(value).map_err(|_| Error::new(ErrorCode::QueryFailed, "a sum doesn't fit into 64 bits"))
}

/// The nearest multiple of `base`; halves go away from zero.
fn nearest(value: i128, base: u64) -> i128 {
    let base = i128::from(base.max(1));
    let half = base / 2 * value.signum();
    // For an odd base, `half` is below one half, and so is every remainder that rounds down.
    (value.saturating_add(half) / base).saturating_mul(base)
}

/// Each subject counts in one cell of a period: the one in which it has most rows.
fn clipped_subjects(data: &Contributions, cells: &[Option<u32>], count: usize, period: &[u32]) -> Vec<Option<Number>> {
    let mut rows: BTreeMap<(u32, u32, u32), u64> = BTreeMap::new();
    for ((unit, subject), n) in data.unit_of.iter().zip(&data.subject_of).zip(&data.rows) {
        let place = *unit as usize;
        if let (Some(Some(cell)), Some(period)) = (cells.get(place), period.get(place)) {
            *rows.entry((*period, *subject, *cell)).or_default() += n;
        }
    }
    let mut most: BTreeMap<(u32, u32), (u64, u32)> = BTreeMap::new();
    for ((period, subject, cell), n) in rows {
        let best = most.entry((period, subject)).or_insert((n, cell));
        if n > best.0 {
            *best = (n, cell);
        }
    }
    let mut found = vec![0i64; count];
    for (_, cell) in most.into_values() {
        if let Some(count) = found.get_mut(cell as usize) {
            *count += 1;
        }
    }
    found.into_iter().map(|n| Some(Number::Whole(n))).collect()
}

/// Sums in steps of `base`, in which one subject brings at most `bound` into all cells of a period
/// together: what it brings beyond is scaled down, then cut to whole steps towards zero.
fn clipped_sums(
    data: &Contributions,
    column: &Column,
    cells: &[Option<u32>],
    count: usize,
    period: &[u32],
    bound: u64,
    base: u64,
) -> Result<Vec<Option<Number>>> {
    let mut brought: BTreeMap<(u32, u32, u32), f64> = BTreeMap::new();
    let mut valued: BTreeSet<u32> = BTreeSet::new();
    let mut take = |at: usize, rows: u64, sum: f64| {
        let (Some(unit), Some(subject)) = (data.unit_of.get(at), data.subject_of.get(at)) else { return };
        let place = *unit as usize;
        if let (Some(Some(cell)), Some(period), true) = (cells.get(place), period.get(place), rows > 0) {
            *brought.entry((*period, *subject, *cell)).or_default() += sum;
            valued.insert(*cell);
        }
    };
    match column {
        Column::Whole(amounts) => amounts.iter().enumerate().for_each(|(at, a)| take(at, a.count, a.sum as f64)),
        Column::Real(amounts) => amounts.iter().enumerate().for_each(|(at, a)| take(at, a.count, a.sum)),
    }
    let mut all: BTreeMap<(u32, u32), f64> = BTreeMap::new();
    for ((period, subject, _), sum) in &brought {
        *all.entry((*period, *subject)).or_default() += sum.abs();
    }
    let steps_max = i128::from(bound / base.max(1));
    let mut left: BTreeMap<(u32, u32), i128> = BTreeMap::new();
    let mut sums = vec![0i128; count];
    for ((period, subject, cell), sum) in brought {
        let total = all.get(&(period, subject)).copied().unwrap_or(0.0);
        let scale = if total > bound as f64 { bound as f64 / total } else { 1.0 };
        let steps = (sum * scale / base.max(1) as f64).trunc();
        let left = left.entry((period, subject)).or_insert(steps_max);
        // What floats lose is made good here: never more steps than the bound has.
        let steps = if steps.is_finite() { (steps as i128).clamp(-*left, *left) } else { 0 };
        *left -= steps.abs();
        if let Some(place) = sums.get_mut(cell as usize) {
            *place += steps;
        }
    }
    let fits = |steps: i128| i64::try_from(steps).map_err(|_| Error::new(ErrorCode::QueryFailed, "a sum is too large"));
    (0u32..)
        .zip(sums)
        .map(
            |(cell, steps)| if valued.contains(&cell) { fits(steps).map(|s| Some(Number::Whole(s))) } else { Ok(None) },
        )
        .collect()
}

/// Adds the noise to a number of subjects, or to a sum in steps of the base.
fn noisy(value: Number, epsilon: u64, bound: u64, asked: &Asked, random: &mut dyn Random) -> Result<Number> {
    let Number::Whole(steps) = value else { return Err(broken()) };
    let (sensitivity, base) = match asked.statistic {
        Statistic::Subjects => (1, 1),
        _ => {
            let base = asked.rounding.unwrap_or(1).max(1);
            ((bound / base).max(1), base)
        }
    };
    let drawn = discrete_laplace(random, epsilon, sensitivity.saturating_mul(1_000_000))?;
    let value = i128::from(steps).saturating_add(drawn).saturating_mul(i128::from(base));
    let value = match asked.statistic {
        Statistic::Subjects => rounded(value, asked.rounding)?,
        _ => rounded(value, None)?,
    };
    Ok(Number::Whole(value))
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
