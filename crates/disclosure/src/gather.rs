//! From rows to contributions: what each data subject brings into each unit.

use crate::pairs::{Crossing, Pairs, Small};
use perron_model::limits::RELEASE_PAIRS_MAX;
use perron_model::{Error, ErrorCode, Result};
use std::collections::HashMap;

/// Stands for a data subject in rows that name none: they are left out.
pub const NOBODY: u32 = u32::MAX;

/// A value of a dimension or of the data-subject key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A text.
    Text(Box<str>),
    /// A whole number.
    Integer(i64),
    /// The bits of a 64-bit float.
    Number(u64),
    /// True or false.
    Boolean(bool),
    /// Days since 1970-01-01.
    Day(i32),
    /// Milliseconds since 1970-01-01, UTC.
    Time(i64),
    /// No value; after all others in the order.
    Missing,
}

/// How the values of a column are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers, exactly.
    Whole,
    /// 64-bit floats.
    Real,
}

/// Values of some rows in one column; without `valid`, none is missing.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The numbers.
    pub numbers: Numbers<'a>,
    /// Which of them are there.
    pub valid: Option<&'a [bool]>,
}

/// The numbers of [`Values`].
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// Of a column of whole numbers.
    Whole(&'a [i64]),
    /// Of a column of floats.
    Real(&'a [f64]),
}

impl<'a> Values<'a> {
    /// Whole numbers.
    pub fn whole(numbers: &'a [i64], valid: Option<&'a [bool]>) -> Values<'a> {
        Values { numbers: Numbers::Whole(numbers), valid }
    }
    /// Floats.
    pub fn real(numbers: &'a [f64], valid: Option<&'a [bool]>) -> Values<'a> {
        Values { numbers: Numbers::Real(numbers), valid }
    }
}

/// What one subject brings into one unit, in one column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount<T> {
    /// Rows with a value.
    pub count: u64,
    /// Their sum.
    pub sum: T,
    /// The sum of their absolute values: what dominance is measured by, so that it adds up over
    /// units also where values are negative.
    pub absolute: T,
}

/// The amounts of one column, in the order of the pairs.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Of whole numbers; 128 bits hold the sum of any number of 64-bit values.
    Whole(Vec<Amount<i128>>),
    /// Of floats.
    Real(Vec<Amount<f64>>),
}

impl Column {
    fn grow(&mut self) {
        match self {
            Column::Whole(amounts) => amounts.push(Amount::default()),
            Column::Real(amounts) => amounts.push(Amount::default()),
        }
    }

    /// Rows with a value and the sum of their absolute values, by pair.
    pub fn absolutes(&self) -> Box<dyn Iterator<Item = (u64, f64)> + '_> {
        match self {
            Column::Whole(amounts) => Box::new(amounts.iter().map(|a| (a.count, a.absolute as f64))),
            Column::Real(amounts) => Box::new(amounts.iter().map(|a| (a.count, a.absolute))),
        }
    }
}

/// What each data subject brings into each unit: one pair of unit and subject after the other.
#[derive(Clone, Debug, Default)]
pub struct Contributions {
    /// Number of units.
    pub units: usize,
    /// Unit of each pair.
    pub unit_of: Vec<u32>,
    /// Subject of each pair.
    pub subject_of: Vec<u32>,
    /// Rows of each pair.
    pub rows: Vec<u64>,
    /// The measured columns.
    pub columns: Vec<Column>,
}

/// Gives each value that comes a small number.
#[derive(Clone, Debug, Default)]
pub struct Names {
    numbers: HashMap<Key, u32>,
    texts: HashMap<Box<str>, u32>,
    raws: Small<u64, u32>,
    last: Option<(u64, u32)>,
    keys: Vec<Key>,
}

impl Names {
    /// The number of a text.
    pub fn text(&mut self, text: &str) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.number(Key::Text(text.into()));
        self.texts.insert(text.into(), number);
        number
    }

    /// The number of the key that `key` makes of `raw`: the same for the same `raw`.
    pub fn raw(&mut self, raw: u64, key: impl FnOnce() -> Key) -> u32 {
        if let Some((last, number)) = self.last
            && last == raw
        {
            return number;
        }
        let number = match self.raws.get(&raw) {
            Some(number) => *number,
            None => {
                let number = self.number(key());
                self.raws.insert(raw, number);
                number
            }
        };
        self.last = Some((raw, number));
        number
    }

    /// The number of `key`.
    pub fn number(&mut self, key: Key) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.keys.len()).unwrap_or(NOBODY);
        self.keys.push(key.clone());
        self.numbers.insert(key, number);
        number
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// None yet?
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Gathers rows.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    /// Values of each dimension.
    dimensions: Vec<Names>,
    /// Data subjects.
    subjects: Names,
    /// Crossing of the first dimensions with the next one.
    crossings: Vec<Crossing>,
    pairs: Pairs,
    rows: Vec<u64>,
    columns: Vec<Column>,
    scratch: Vec<u32>,
}

impl Gathering {
    /// Nothing gathered yet, of so many dimensions and of columns of these kinds.
    pub fn new(dimensions: usize, kinds: &[Kind]) -> Gathering {
        let column = |kind: &Kind| match kind {
            Kind::Whole => Column::Whole(Vec::new()),
            Kind::Real => Column::Real(Vec::new()),
        };
        Gathering {
            dimensions: vec![Names::default(); dimensions],
            crossings: vec![Crossing::default(); dimensions],
            columns: kinds.iter().map(column).collect(),
            ..Gathering::default()
        }
    }

    /// The names of a dimension.
    pub fn dimension(&mut self, at: usize) -> Option<&mut Names> {
        self.dimensions.get_mut(at)
    }

    /// The names of the data subjects.
    pub fn subjects(&mut self) -> &mut Names {
        &mut self.subjects
    }

    /// Takes rows: for each dimension the numbers of their values, the number of their subject
    /// (or [`NOBODY`]), and their values in each column.
    ///
    /// # Errors
    /// `too_large` past [`RELEASE_PAIRS_MAX`]; `internal` where the lengths don't agree.
    pub fn take(&mut self, dimensions: &[Vec<u32>], subjects: &[u32], columns: &[Values<'_>]) -> Result<()> {
        let mut units = std::mem::take(&mut self.scratch);
        units.clear();
        units.resize(subjects.len(), 0);
        for (crossing, numbers) in self.crossings.iter_mut().zip(dimensions) {
            if numbers.len() != subjects.len() {
                return Err(broken());
            }
            for (unit, number) in units.iter_mut().zip(numbers) {
                *unit = crossing.number(*unit, *number);
            }
        }
        for (unit, subject) in units.iter_mut().zip(subjects) {
            *unit = if *subject == NOBODY { NOBODY } else { self.pair(*unit, *subject) };
        }
        if self.pairs.pairs.len() > RELEASE_PAIRS_MAX {
            return Err(too_many());
        }
        for pair in &units {
            if let Some(rows) = self.rows.get_mut(*pair as usize) {
                *rows += 1;
            }
        }
        for (column, values) in self.columns.iter_mut().zip(columns) {
            match (column, values.numbers) {
                (Column::Whole(amounts), Numbers::Whole(numbers)) => {
                    add(amounts, &units, numbers, values.valid, i128::from, |n| i128::from(n).abs())?;
                }
                (Column::Real(amounts), Numbers::Real(numbers)) => {
                    add(amounts, &units, numbers, values.valid, |n| n, f64::abs)?;
                }
                _ => return Err(broken()),
            }
        }
        self.scratch = units;
        Ok(())
    }

    #[inline]
    fn pair(&mut self, unit: u32, subject: u32) -> u32 {
        let (pair, new) = self.pairs.number(unit, subject);
        if new {
            self.rows.push(0);
            self.columns.iter_mut().for_each(Column::grow);
        }
        pair
    }

    /// Takes over what another gathered, of the same dimensions and columns.
    ///
    /// # Errors
    /// As [`Gathering::take`].
    pub fn absorb(&mut self, other: Gathering) -> Result<()> {
        let mut numbers = Vec::with_capacity(other.dimensions.len());
        for (mine, theirs) in self.dimensions.iter_mut().zip(other.dimensions) {
            numbers.push(theirs.keys.into_iter().map(|k| mine.number(k)).collect::<Vec<u32>>());
        }
        let subjects: Vec<u32> = other.subjects.keys.into_iter().map(|k| self.subjects.number(k)).collect();
        let mut units = vec![0];
        for ((mine, theirs), numbers) in self.crossings.iter_mut().zip(other.crossings).zip(&numbers) {
            let mut next = Vec::with_capacity(theirs.pairs.pairs.len());
            for (left, right) in theirs.pairs.pairs {
                let left = *units.get(left as usize).ok_or_else(broken)?;
                next.push(mine.number(left, *numbers.get(right as usize).ok_or_else(broken)?));
            }
            units = next;
        }
        let mut pairs = Vec::with_capacity(other.pairs.pairs.len());
        for (unit, subject) in other.pairs.pairs {
            let unit = *units.get(unit as usize).ok_or_else(broken)?;
            pairs.push(self.pair(unit, *subjects.get(subject as usize).ok_or_else(broken)?));
        }
        if self.pairs.pairs.len() > RELEASE_PAIRS_MAX {
            return Err(too_many());
        }
        for (pair, rows) in pairs.iter().zip(other.rows) {
            *self.rows.get_mut(*pair as usize).ok_or_else(broken)? += rows;
        }
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            match (mine, theirs) {
                (Column::Whole(mine), Column::Whole(theirs)) => merge(mine, &pairs, theirs)?,
                (Column::Real(mine), Column::Real(theirs)) => merge(mine, &pairs, theirs)?,
                _ => return Err(broken()),
            }
        }
        Ok(())
    }

    /// The units, each with its value of every dimension, and the contributions to them.
    pub fn finish(self) -> (Vec<Vec<Key>>, Contributions) {
        let mut units: Vec<Vec<Key>> = vec![Vec::new()];
        for (crossing, names) in self.crossings.iter().zip(&self.dimensions) {
            let next = crossing.pairs.pairs.iter().map(|(left, right)| {
                let mut keys = units.get(*left as usize).cloned().unwrap_or_default();
                keys.push(names.keys.get(*right as usize).cloned().unwrap_or(Key::Missing));
                keys
            });
            units = next.collect();
        }
        let (unit_of, subject_of) = self.pairs.pairs.into_iter().unzip();
        let contributions =
            Contributions { units: units.len(), unit_of, subject_of, rows: self.rows, columns: self.columns };
        (units, contributions)
    }
}

fn add<N: Copy, T: std::ops::AddAssign>(
    amounts: &mut [Amount<T>],
    pairs: &[u32],
    numbers: &[N],
    valid: Option<&[bool]>,
    value: impl Fn(N) -> T,
    absolute: impl Fn(N) -> T,
) -> Result<()> {
    if numbers.len() != pairs.len() || valid.is_some_and(|v| v.len() != pairs.len()) {
        return Err(broken());
    }
    let mut put = |pair: u32, number: N| {
        if let Some(amount) = amounts.get_mut(pair as usize) {
            amount.count += 1;
            amount.sum += value(number);
            amount.absolute += absolute(number);
        }
    };
    match valid {
        None => pairs.iter().zip(numbers).for_each(|(pair, number)| put(*pair, *number)),
        Some(valid) => {
            for ((pair, number), there) in pairs.iter().zip(numbers).zip(valid) {
                if *there {
                    put(*pair, *number);
                }
            }
        }
    }
    Ok(())
}

fn merge<T: std::ops::AddAssign>(mine: &mut [Amount<T>], pairs: &[u32], theirs: Vec<Amount<T>>) -> Result<()> {
    for (pair, amount) in pairs.iter().zip(theirs) {
        let place = mine.get_mut(*pair as usize).ok_or_else(broken)?;
        place.count += amount.count;
        place.sum += amount.sum;
        place.absolute += amount.absolute;
    }
    Ok(())
}

fn too_many() -> Error {
    let what = format!("the groups have more than {RELEASE_PAIRS_MAX} data subjects in all");
    Error::new(ErrorCode::TooLarge, what)
}

pub(crate) fn broken() -> Error {
    Error::new(ErrorCode::Internal, "what was gathered doesn't fit together")
}
