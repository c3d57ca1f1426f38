//! The constraints of a permission: each into its place, then all together into `Terms`.

use super::odrl::{object, only};
use super::odrl_literal::{count, time};
use super::odrl_names::{Name, clip, dpv, invalid, name, unsupported};
use super::odrl_release::{self, Protecting};
use super::odrl_set::{Set, each, text};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::limits::POLICY_TERMS_MAX;
use crate::policy::terms::{Dimension, Mask, Measure, Predicate, ReleaseSpec, RowView, Terms, View, ViewColumn};
use crate::time::Timestamp;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// A value and the place where it is stated.
struct Stated<T> {
    path: String,
    value: T,
}

/// What was read so far; each term has one place, so stating it twice is seen.
pub(super) struct Draft<'a> {
    set: Set<'a>,
    purposes: Option<Stated<Vec<String>>>,
    legal_basis: Option<Stated<String>>,
    not_before: Option<Stated<Timestamp>>,
    not_after: Option<Stated<Timestamp>>,
    uses_max: Option<Stated<u64>>,
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

impl<'a> Draft<'a> {
    /// Nothing read yet.
    pub(super) fn new(dataset: &'a Dataset) -> Draft<'a> {
        Draft {
            set: Set(dataset),
            purposes: None,
            legal_basis: None,
            not_before: None,
            not_after: None,
            uses_max: None,
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

    /// Reads one constraint (ODRL 2.2 Information Model, section 2.5: atomic only).
    pub(super) fn constraint(&mut self, path: &str, json: &Json) -> Result<()> {
        let members = object(path, json)?;
        only(path, members, &["leftOperand", "operator", "rightOperand"])?;
        let (left, operator) = (text(path, members, "leftOperand")?, text(path, members, "operator")?);
        let right_path = format!("{path}.rightOperand");
        let right = members.get("rightOperand").ok_or_else(|| invalid(&right_path, "missing"))?;
        let Name::Odrl(op) = name(operator) else {
            return Err(unsupported(&format!("{path}.operator"), operator));
        };
        let (set, at) = (self.set, right_path.as_str());
        match (name(left), op) {
            (Name::Odrl("purpose"), "eq" | "isAnyOf") => once(&mut self.purposes, path, left, purposes(at, op, right)?),
            (Name::Odrl("dateTime"), "gteq") => once(&mut self.not_before, path, left, time(at, right)?),
            (Name::Odrl("dateTime"), "lt") => once(&mut self.not_after, path, left, time(at, right)?),
            (Name::Odrl("count"), "lteq") => once(&mut self.uses_max, path, left, count(at, right, 1)?),
            (Name::Perron("legalBasis"), "eq") => once(&mut self.legal_basis, path, left, iri(at, right)?),
            (Name::Perron("columns"), "isAnyOf") => once(&mut self.columns, path, left, set.names(at, right)?),
            (Name::Perron("keyedHash"), "isAllOf") => once(&mut self.keyed_hash, path, left, set.names(at, right)?),
            (Name::Perron("null"), "isAllOf") => once(&mut self.null, path, left, set.names(at, right)?),
            (Name::Perron("maximumRows"), "lteq") => once(&mut self.rows_max, path, left, count(at, right, 1)?),
            (Name::Perron("dimensions"), "isAllOf") => {
                let dimensions = each(at, right)?.map(|(at, item)| set.dimension(&at, item)).collect::<Result<_>>()?;
                once(&mut self.dimensions, path, left, dimensions)
            }
            (Name::Perron("measures"), "isAnyOf") => {
                let measures = each(at, right)?.map(|(at, item)| set.measure(&at, item)).collect::<Result<_>>()?;
                once(&mut self.measures, path, left, measures)
            }
            (Name::Perron("floor"), "gteq") => once(&mut self.floor, path, left, set.floor(path, at, right)?),
            (Name::Perron(local), _) if odrl_release::TERMS.contains(&local) => {
                if self.protecting.constraint(path, local, op, at, right)? {
                    Ok(())
                } else {
                    Err(unsupported(&format!("{path}.operator"), operator))
                }
            }
            (Name::Perron(local), _) if local.starts_with("column/") => {
                let column = local.strip_prefix("column/").unwrap_or_default();
                let predicate = set.predicate(path, column, operator, op, right)?;
                self.filter.push(Stated { path: path.to_owned(), value: predicate });
                Ok(())
            }
            (Name::Odrl("purpose" | "dateTime" | "count"), _) => {
                Err(unsupported(&format!("{path}.operator"), operator))
            }
            (Name::Perron(local), _) if is_known(local) => Err(unsupported(&format!("{path}.operator"), operator)),
            _ => Err(unsupported(&format!("{path}.leftOperand"), left)),
        }
    }

    /// All together: the terms, or what contradicts or is missing.
    pub(super) fn finish(self, path: &str, actions: Vec<String>) -> Result<Terms> {
        if let (Some(from), Some(to)) = (&self.not_before, &self.not_after)
            && from.value >= to.value
        {
            return Err(invalid(&to.path, "the window ends before it begins"));
        }
        let purposes = self.purposes.as_ref().ok_or_else(|| invalid(path, "no `purpose` is stated"))?;
        Ok(Terms {
            actions,
            purposes: purposes.value.clone(),
            legal_basis: self.legal_basis.as_ref().map(|s| s.value.clone()),
            not_before: self.not_before.as_ref().map(|s| s.value),
            not_after: self.not_after.as_ref().map(|s| s.value),
            uses_max: self.uses_max.as_ref().map(|s| s.value),
            view: self.view(path)?,
        })
    }

    fn view(self, path: &str) -> Result<View> {
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

fn is_known(local: &str) -> bool {
    let known =
        ["legalBasis", "columns", "keyedHash", "null", "maximumRows", "dimensions", "measures", "floor"].as_slice();
    known.contains(&local)
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

/// A DPV term: its IRI as a text, or as `{"@id": …}`.
fn iri(path: &str, json: &Json) -> Result<String> {
    let text = match json {
        Json::String(text) => text.as_str(),
        _ => {
            let members = object(path, json)?;
            only(path, members, &["@id"])?;
            text(path, members, "@id")?
        }
    };
    dpv(text).ok_or_else(|| invalid(path, &format!("`{}` is not a term of the DPV", clip(text))))
}

fn purposes(path: &str, op: &str, right: &Json) -> Result<Vec<String>> {
    if op == "eq" {
        return Ok(vec![iri(path, right)?]);
    }
    let mut seen = BTreeSet::new();
    for (at, item) in each(path, right)? {
        let purpose = iri(&at, item)?;
        if !seen.insert(purpose) {
            return Err(invalid(&at, "a purpose is named twice"));
        }
    }
    Ok(seen.into_iter().collect())
}
