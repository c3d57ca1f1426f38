//! What a policy states of the view: each term into its place, then all together into a `View`.

use super::odrl_literal::count;
use super::odrl_names::{Name, clip, invalid, name, unsupported};
use super::odrl_release::{self, Protecting};
use super::odrl_set::{Set, each};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::limits::POLICY_TERMS_MAX;
use crate::policy::terms::{Dimension, Mask, Measure, Predicate, ReleaseSpec, RowView, View, ViewColumn};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// A value and the place where it is stated.
#[derive(Clone)]
struct Stated<T> {
    path: String,
    value: T,
}

/// Terms of the profile that state the view, beside `column/<name>`.
const VIEW_TERMS: [&str; 7] = ["columns", "keyedHash", "null", "maximumRows", "dimensions", "measures", "floor"];

/// What was read so far; each term has one place, so stating it twice is seen.
#[derive(Clone)]
pub(super) struct ViewDraft<'a> {
    set: Set<'a>,
    filter: Vec<Stated<Predicate>>,
    columns: Option<Stated<Vec<String>>>,
    keyed_hash: Option<Stated<Vec<String>>>,
    null: Option<Stated<Vec<String>>>,
    rows_max: Option<Stated<u64>>,
    dimensions: Option<Stated<Vec<Dimension>>>,
    measures: Option<Stated<Vec<Measure>>>,
    floor: Option<Stated<u32>>,
    protecting: Protecting,
}

impl<'a> ViewDraft<'a> {
    /// Nothing read yet.
    pub(super) fn new(dataset: &'a Dataset) -> ViewDraft<'a> {
        ViewDraft {
            set: Set(dataset),
            filter: Vec::new(),
            columns: None,
            keyed_hash: None,
            null: None,
            rows_max: None,
            dimensions: None,
            measures: None,
            floor: None,
            protecting: Protecting::default(),
        }
    }

    /// Takes a term of the view; nothing if `left` isn't one.
    pub(super) fn take(
        &mut self,
        path: &str,
        left: &str,
        op: &str,
        operator: &str,
        right: &Json,
    ) -> Option<Result<()>> {
        let Name::Perron(local) = name(left) else { return None };
        let column = local.strip_prefix("column/");
        if column.is_none() && !VIEW_TERMS.contains(&local) && !odrl_release::TERMS.contains(&local) {
            return None;
        }
        let right_path = format!("{path}.rightOperand");
        Some(match column {
            Some(column) => self.set.predicate(path, column, operator, op, right).map(|predicate| {
                self.filter.push(Stated { path: path.to_owned(), value: predicate });
            }),
            None => self.term(path, left, (local, op, operator), &right_path, right),
        })
    }

    fn term(
        &mut self,
        path: &str,
        left: &str,
        (local, op, operator): (&str, &str, &str),
        at: &str,
        right: &Json,
    ) -> Result<()> {
        let set = self.set;
        match (local, op) {
            ("columns", "isAnyOf") => once(&mut self.columns, path, left, set.names(at, right)?),
            ("keyedHash", "isAllOf") => once(&mut self.keyed_hash, path, left, set.names(at, right)?),
            ("null", "isAllOf") => once(&mut self.null, path, left, set.names(at, right)?),
            ("maximumRows", "lteq") => once(&mut self.rows_max, path, left, count(at, right, 1)?),
            ("dimensions", "isAllOf") => {
                let dimensions = each(at, right)?.map(|(at, item)| set.dimension(&at, item)).collect::<Result<_>>()?;
                once(&mut self.dimensions, path, left, dimensions)
            }
            ("measures", "isAnyOf") => {
                let measures = each(at, right)?.map(|(at, item)| set.measure(&at, item)).collect::<Result<_>>()?;
                once(&mut self.measures, path, left, measures)
            }
            ("floor", "gteq") => once(&mut self.floor, path, left, set.floor(path, at, right)?),
            _ if self.protecting.constraint(path, local, op, at, right)? => Ok(()),
            _ => Err(unsupported(&format!("{path}.operator"), operator)),
        }
    }

    /// All together: the view, or what contradicts or is missing.
    pub(super) fn finish(self, path: &str) -> Result<View> {
        match (self.columns.is_some(), self.measures.is_some()) {
            (true, false) => self.rows(),
            (false, true) => self.aggregates(path),
            (true, true) => {
                Err(invalid(path, "`perron:columns` gives rows and `perron:measures` a table: one of them"))
            }
            (false, false) => Err(invalid(path, "neither `perron:columns` nor `perron:measures` is stated")),
        }
    }

    fn rows(self) -> Result<View> {
        absent(&self.dimensions, "`perron:dimensions` belongs to a policy with `perron:measures`")?;
        absent(&self.floor, "`perron:floor` belongs to a policy with `perron:measures`")?;
        self.protecting.absent()?;
        let given = self.columns.map(|s| s.value).unwrap_or_default();
        let (hashed, null) = (masked(&given, self.keyed_hash)?, masked(&given, self.null)?);
        if let Some(twice) = hashed.value.iter().find(|c| null.value.contains(c)) {
            return Err(invalid(&null.path, &format!("column `{}` is masked twice", clip(twice))));
        }
        let columns = given.into_iter().map(|column| {
            let mask = if hashed.value.contains(&column) {
                Some(Mask::KeyedHash)
            } else if null.value.contains(&column) {
                Some(Mask::Null)
            } else {
                None
            };
            ViewColumn { name: column, mask }
        });
        Ok(View::Rows(RowView {
            columns: columns.collect(),
            filter: self.filter.into_iter().map(|s| s.value).collect(),
            rows_max: self.rows_max.map(|s| s.value),
        }))
    }

    fn aggregates(self, path: &str) -> Result<View> {
        if let Some(filter) = self.filter.first() {
            return Err(invalid(&filter.path, "a row filter belongs to a policy with `perron:columns`"));
        }
        absent(&self.keyed_hash, "a mask belongs to a policy with `perron:columns`")?;
        absent(&self.null, "a mask belongs to a policy with `perron:columns`")?;
        absent(&self.rows_max, "`perron:maximumRows` belongs to a policy with `perron:columns`")?;
        let missing = |what: &str| invalid(path, &format!("`perron:{what}` is missing beside `perron:measures`"));
        let dimensions = self.dimensions.ok_or_else(|| missing("dimensions"))?.value;
        let floor = self.floor.ok_or_else(|| missing("floor"))?.value;
        let measures = self.measures.ok_or_else(|| missing("measures"))?;
        if dimensions.len() + measures.value.len() > POLICY_TERMS_MAX {
            return Err(invalid(path, &format!("more than {POLICY_TERMS_MAX} dimensions and measures")));
        }
        let mut names = BTreeSet::new();
        for column in dimensions.iter().map(|d| &d.column).chain(measures.value.iter().map(|m| &m.name)) {
            if !names.insert(column.as_str()) {
                return Err(invalid(&measures.path, &format!("the table has two columns `{}`", clip(column))));
            }
        }
        let protection = self.protecting.finish(self.set, path, &dimensions, &measures.value)?;
        Ok(View::Aggregates(ReleaseSpec { dimensions, measures: measures.value, floor, protection }))
    }
}

fn once<T>(place: &mut Option<Stated<T>>, path: &str, term: &str, value: T) -> Result<()> {
    if let Some(first) = place {
        return Err(invalid(path, &format!("`{}` is stated already at `{}`", clip(term), first.path)));
    }
    *place = Some(Stated { path: path.to_owned(), value });
    Ok(())
}

fn absent<T>(stated: &Option<Stated<T>>, why: &str) -> Result<()> {
    stated.as_ref().map_or(Ok(()), |s| Err(invalid(&s.path, why)))
}

/// Columns to mask, all of which the view gives.
fn masked(given: &[String], stated: Option<Stated<Vec<String>>>) -> Result<Stated<Vec<String>>> {
    let stated = stated.unwrap_or(Stated { path: String::new(), value: Vec::new() });
    match stated.value.iter().find(|c| !given.contains(c)) {
        Some(other) => Err(invalid(&stated.path, &format!("column `{}` is not given", clip(other)))),
        None => Ok(stated),
    }
}
