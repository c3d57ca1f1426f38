//! What was released of a set before, by all its agreements: which cells, of which snapshots,
//! and for how much ε.

use super::fold::{cut, period_key, period_span};
use super::table::{Shape, keys_of};
use super::{ALL, INDEX, Index, MISSING, Released, broken, read_index};
use crate::source::{Part, PartCache, Sets};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;
use perron_disclosure::{Family, Key};
use perron_model::dataset::Dataset;
use perron_model::limits::RELEASE_TABLES_MAX;
use perron_model::policy::{MeasureFunction, ReleaseSpec};
use perron_model::{AgreementId, DatasetId, Digest, Error, ErrorCode, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A table of another agreement over the same set.
pub(super) struct Past {
    directory: PathBuf,
    pub(super) spec: ReleaseSpec,
    releases: Vec<Released>,
}

/// The tables of other agreements over `dataset`, and the ε that all of them together cost.
pub(super) fn past(directory: &Path, dataset: &DatasetId, agreement: &AgreementId) -> Result<Vec<Past>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|_| broken())? {
        let path = entry.map_err(|_| broken())?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if name == agreement.to_string() || Digest::parse(&name).is_err() || !path.join(INDEX).exists() {
            continue;
        }
        let Index { of, releases } = read_index(&path)?;
        if releases.is_empty() {
            continue;
        }
        // What isn't described can't be compared, so nothing is released beside it.
        let of = of.ok_or_else(|| overlap("a table that an earlier version released isn't described"))?;
        if of.dataset == *dataset {
            found.push(Past { directory: path, spec: of.spec, releases });
        }
    }
    if found.len() >= RELEASE_TABLES_MAX {
        let what = format!("{RELEASE_TABLES_MAX} tables were released of the set already");
        return Err(Error::new(ErrorCode::TooLarge, what));
    }
    Ok(found)
}

impl Past {
    /// The table's own earlier periods: what is left of another table's cell beside them counts.
    pub(super) fn own(directory: &Path, spec: &ReleaseSpec, releases: &[Released]) -> Past {
        Past { directory: directory.to_owned(), spec: spec.clone(), releases: releases.to_vec() }
    }

    /// ε spent on it, in millionths.
    pub(super) fn spent_micro(&self) -> u64 {
        self.releases.iter().fold(0, |sum, r| sum.saturating_add(r.epsilon_micro))
    }

    /// Digests of the snapshots that it was released from, newest first.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Digest> + '_ {
        self.releases.iter().rev().map(|r| r.snapshot)
    }

    /// The cells that it gave, one family a level, over units whose values of the columns `at` are
    /// `units`. `measured` are the columns of the new table.
    pub(super) fn families(
        &self,
        dataset: &Dataset,
        parts: &PartCache,
        at: &[String],
        units: &[Vec<Key>],
        measured: &[String],
    ) -> Result<Vec<Family>> {
        let shape = Shape::of(dataset, &self.spec)?;
        let digests: Vec<Digest> = self.releases.iter().map(|r| r.table).collect();
        let mut given: BTreeMap<(usize, Vec<Key>), u32> = BTreeMap::new();
        for part in parts.parts(&self.directory, &digests)? {
            let file = File::open(&part.path).map_err(|_| broken())?;
            let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(file, part.metadata.clone());
            for batch in rows.build().map_err(|_| broken())? {
                for key in keys_of(&shape, &batch.map_err(|_| broken())?)? {
                    let next = u32::try_from(given.len()).map_err(|_| broken())?;
                    given.entry(key).or_insert(next);
                }
            }
        }
        let place = |column: &String| at.iter().position(|a| a == column).ok_or_else(broken);
        let places: Vec<usize> = self.spec.dimensions.iter().map(|d| place(&d.column)).collect::<Result<_>>()?;
        let columns: BTreeSet<&String> =
            self.spec.measures.iter().filter(|m| m.function != MeasureFunction::Subjects).map(|m| &m.column).collect();
        let columns: Vec<usize> =
            measured.iter().enumerate().filter(|(_, m)| columns.contains(m)).map(|(i, _)| i).collect();
        let subjects = self.spec.measures.iter().any(|m| m.function == MeasureFunction::Subjects);
        let family = |level: usize| {
            let cell = |unit: &Vec<Key>| {
                let of = |(place, d): (&usize, &perron_model::policy::Dimension)| {
                    cut(unit.get(*place).unwrap_or(&Key::Missing), d.granularity)
                };
                let keys: Vec<Key> = places.iter().zip(&self.spec.dimensions).map(of).collect();
                given.get(&(level, shape.rolled(level, keys))).copied()
            };
            Family { cells: units.iter().map(cell).collect(), columns: columns.clone(), subjects }
        };
        Ok((0..shape.levels()).map(family).collect())
    }

    /// May a period of another table, which spans `span`, be released from the snapshot whose
    /// parts are `parts`? What this table gave of the same rows must have come from the same rows.
    fn fits(&self, dataset: &Dataset, sets: &Sets, span: &Span, parts: &[Part]) -> Result<bool> {
        for release in &self.releases {
            // A snapshot that is gone can't be compared.
            let Ok(theirs) = sets.snapshot(&dataset.id, &release.snapshot).and_then(|s| sets.parts(&s)) else {
                return Ok(false);
            };
            if !theirs.iter().any(|part| span.may_hold(dataset, part)) {
                continue;
            }
            let paths: BTreeSet<&Path> = theirs.iter().map(|p| p.path.as_path()).collect();
            let ours: BTreeSet<&Path> = parts.iter().map(|p| p.path.as_path()).collect();
            let differing: Vec<&Part> = theirs
                .iter()
                .filter(|p| !ours.contains(p.path.as_path()))
                .chain(parts.iter().filter(|p| !paths.contains(p.path.as_path())))
                .collect();
            for period in &release.periods {
                let given = Span::of(dataset, &self.spec, period);
                if given.overlaps(span) && differing.iter().any(|part| given.may_hold(dataset, part)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Which of the periods of a new table may be released from the snapshot of `parts`.
pub(super) fn fitting(
    past: &[Past],
    dataset: &Dataset,
    sets: &Sets,
    spec: &ReleaseSpec,
    periods: &BTreeSet<String>,
    parts: &[Part],
) -> Result<BTreeSet<String>> {
    let mut fitting = BTreeSet::new();
    for period in periods {
        let span = Span::of(dataset, spec, period);
        let mut fits = true;
        for table in past {
            fits = fits && table.fits(dataset, sets, &span, parts)?;
        }
        if fits {
            fitting.insert(period.clone());
        }
    }
    Ok(fitting)
}

/// The rows of a period.
enum Span {
    All,
    /// Rows whose column of this place has no value.
    Missing(usize),
    /// Rows whose column of this place lies in a span of milliseconds.
    Times(usize, i64, i64),
}

impl Span {
    fn of(dataset: &Dataset, spec: &ReleaseSpec, period: &str) -> Span {
        let dated = spec.dimensions.iter().find_map(|d| {
            let at = dataset.columns.iter().position(|c| c.name == d.column)?;
            super::is_dated(dataset.columns.get(at)?.column_type).then_some((at, d.granularity))
        });
        match (dated, period) {
            (None, _) | (_, ALL) => Span::All,
            (Some((at, _)), MISSING) => Span::Missing(at),
            (Some((at, granularity)), name) => {
                period_span(&period_key(name), granularity).map_or(Span::All, |(from, to)| Span::Times(at, from, to))
            }
        }
    }

    fn overlaps(&self, other: &Span) -> bool {
        match (self, other) {
            (Span::Times(a, from, to), Span::Times(b, begin, end)) if a == b => from < end && begin < to,
            (Span::Times(a, _, _), Span::Missing(b)) | (Span::Missing(a), Span::Times(b, _, _)) => a != b,
            _ => true,
        }
    }

    /// Can a part hold rows of it? By the statistics of its row groups; without them, it can.
    fn may_hold(&self, dataset: &Dataset, part: &Part) -> bool {
        let (at, span) = match self {
            Span::All => return part.rows() > 0,
            Span::Missing(at) => (*at, None),
            Span::Times(at, from, to) => (*at, Some((*from, *to))),
        };
        let day_ms = 86_400_000;
        let days = dataset.columns.get(at).is_some_and(|c| c.column_type == perron_model::dataset::ColumnType::Date);
        part.metadata.metadata().row_groups().iter().any(|group| {
            let statistics = group.columns().get(at).and_then(|c| c.statistics());
            match (statistics, span) {
                (Some(statistics), None) => statistics.null_count_opt() != Some(0),
                (Some(Statistics::Int32(s)), Some((from, to))) if days => match (s.min_opt(), s.max_opt()) {
                    (Some(min), Some(max)) => i64::from(*min) * day_ms < to && i64::from(*max) * day_ms >= from,
                    _ => s.null_count_opt() != u64::try_from(group.num_rows()).ok(),
                },
                (Some(Statistics::Int64(s)), Some((from, to))) if !days => match (s.min_opt(), s.max_opt()) {
                    (Some(min), Some(max)) => *min < to && *max >= from,
                    _ => s.null_count_opt() != u64::try_from(group.num_rows()).ok(),
                },
                _ => true,
            }
        })
    }
}

pub(super) fn overlap(what: &str) -> Error {
    Error::new(ErrorCode::ReleaseOverlap, what)
}
