//! What protects a released table beside its floor: dominance, totals, rounding, noise, budget.

use super::odrl::{object, only};
use super::odrl_literal::{count, value};
use super::odrl_names::{clip, invalid};
use super::odrl_set::{Set, each, is_column_name, text};
use crate::dataset::ColumnType;
use crate::error::Result;
use crate::limits::{EPSILON_MICRO_MAX, EPSILON_MICRO_MIN, RELEASE_BASE_MAX};
use crate::policy::terms::{Dimension, Measure, MeasureFunction, Noise, Protection, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Left operands that are read here.
pub(super) const TERMS: &[&str] = &["dominance", "totals", "rounding", "noise", "budget"];

/// What was read so far, and where each term stands.
#[derive(Clone, Default)]
pub(super) struct Protecting {
    read: Protection,
    places: BTreeMap<&'static str, String>,
}

impl Protecting {
    /// Reads the constraint on the term `local`; false where the operator isn't one for it.
    pub(super) fn constraint(&mut self, path: &str, local: &str, op: &str, at: &str, right: &Json) -> Result<bool> {
        let Some(term) = TERMS.iter().find(|t| **t == local) else { return Ok(false) };
        let expected = match *term {
            "dominance" => "gteq",
            "totals" => "eq",
            "budget" => "lteq",
            _ => "isAllOf",
        };
        if op != expected {
            return Ok(false);
        }
        if let Some(first) = self.places.get(term) {
            return Err(invalid(path, &format!("`perron:{term}` is stated already at `{first}`")));
        }
        match *term {
            "dominance" => self.read.dominance = Some(percent(at, right)?),
            "totals" => self.read.totals = Some(name(at, right)?),
            "budget" => self.read.budget_micro = Some(epsilon(at, right)?),
            "rounding" => {
                self.read.rounding = by_measure(at, right, "perron:base", |at, members| {
                    bounded(&format!("{at}.perron:base"), members.get("perron:base"), 2)
                })?
            }
            _ => {
                self.read.noise = by_measure(at, right, "perron:epsilon", |at, members| {
                    let path = format!("{at}.perron:epsilon");
                    let stated = members.get("perron:epsilon").ok_or_else(|| invalid(&path, "missing"))?;
                    let bound = members.get("perron:bound");
                    let bound = bound.map_or(Ok(1), |b| bounded(&format!("{at}.perron:bound"), Some(b), 1))?;
                    Ok(Noise { epsilon_micro: epsilon(&path, stated)?, bound })
                })?
            }
        }
        self.places.insert(term, path.to_owned());
        Ok(true)
    }

    /// Refuses what stands in a policy of rows.
    pub(super) fn absent(&self) -> Result<()> {
        self.places.iter().next().map_or(Ok(()), |(term, path)| {
            Err(invalid(path, &format!("`perron:{term}` belongs to a policy with `perron:measures`")))
        })
    }

    /// Checks it against the table.
    pub(super) fn finish(
        self,
        set: Set<'_>,
        path: &str,
        dimensions: &[Dimension],
        measures: &[Measure],
    ) -> Result<Protection> {
        let place = |term: &str| self.places.get(term).map_or(path, String::as_str);
        for (term, name) in
            self.read.rounding.keys().map(|n| ("rounding", n)).chain(self.read.noise.keys().map(|n| ("noise", n)))
        {
            if !measures.iter().any(|m| m.name == *name) {
                return Err(invalid(place(term), &format!("the table has no measure `{}`", clip(name))));
            }
        }
        let whole = |m: &Measure| {
            m.function == MeasureFunction::Subjects
                || set.0.column(&m.column).is_some_and(|c| c.column_type == ColumnType::Integer)
        };
        for measure in measures {
            let Some(noise) = self.read.noise.get(&measure.name) else { continue };
            let refuse = |what: &str| Err(invalid(place("noise"), &format!("measure `{}`: {what}", measure.name)));
            let base = self.read.rounding.get(&measure.name).copied();
            match measure.function {
                MeasureFunction::Mean => {
                    return refuse("a mean takes no noise; give the sum and the number of subjects");
                }
                MeasureFunction::Subjects if noise.bound != 1 => return refuse("each data subject counts once"),
                MeasureFunction::Sum if base.is_none() && !whole(measure) => {
                    return refuse("noise needs `perron:rounding`, whose base is its step");
                }
                MeasureFunction::Sum if noise.bound < base.unwrap_or(1) => {
                    return refuse("the bound is less than the base");
                }
                _ => {}
            }
        }
        if self.read.noise.is_empty() != self.read.budget_micro.is_none() {
            let term = if self.read.noise.is_empty() { "budget" } else { "noise" };
            return Err(invalid(place(term), "noise and budget are stated together"));
        }
        if self.read.budget_micro.is_some_and(|budget| budget < self.read.epsilon_micro()) {
            return Err(invalid(place("budget"), "one period of the table costs more than the budget"));
        }
        if let Some(column) = &self.read.totals {
            let names = dimensions.iter().map(|d| &d.column).chain(measures.iter().map(|m| &m.name));
            if names.into_iter().any(|n| n == column) {
                return Err(invalid(place("totals"), &format!("the table has two columns `{}`", clip(column))));
            }
            if !self.read.noise.is_empty() {
                return Err(invalid(place("totals"), "totals of groups with noise are what their reader sums"));
            }
        }
        Ok(self.read)
    }
}

fn percent(path: &str, json: &Json) -> Result<u32> {
    let percent = count(path, json, 1)?;
    u32::try_from(percent).ok().filter(|p| *p <= 100).ok_or_else(|| invalid(path, "more than 100 percent"))
}

fn name(path: &str, json: &Json) -> Result<String> {
    match json {
        Json::String(name) if is_column_name(name) => Ok(name.clone()),
        _ => Err(invalid(path, "not 1 to 63 of a-z, 0-9 and _, a letter first")),
    }
}

fn bounded(path: &str, json: Option<&Json>, least: u64) -> Result<u64> {
    let number = count(path, json.ok_or_else(|| invalid(path, "missing"))?, least)?;
    if number > RELEASE_BASE_MAX { Err(invalid(path, &format!("more than {RELEASE_BASE_MAX}"))) } else { Ok(number) }
}

/// An ε in millionths.
fn epsilon(path: &str, json: &Json) -> Result<u64> {
    let Value::Number(number) = value(path, json, ColumnType::Number)? else {
        return Err(invalid(path, "not a number"));
    };
    let micro = (number * 1e6).round();
    let (least, most) = (EPSILON_MICRO_MIN, EPSILON_MICRO_MAX);
    if (least as f64..=most as f64).contains(&micro) {
        Ok(micro as u64)
    } else {
        Err(invalid(path, &format!("not between {} and {}", least as f64 / 1e6, most as f64 / 1e6)))
    }
}

/// A list of objects, each about the measure that its `perron:name` names.
fn by_measure<T>(
    path: &str,
    json: &Json,
    member: &str,
    read: impl Fn(&str, &serde_json::Map<String, Json>) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let mut found = BTreeMap::new();
    for (at, item) in each(path, json)? {
        let members = object(&at, item)?;
        let optional: &[&str] = if member == "perron:epsilon" { &["perron:bound"] } else { &[] };
        only(&at, members, &[&["perron:name", member], optional].concat())?;
        let name = text(&at, members, "perron:name")?.to_owned();
        if found.insert(name, read(&at, members)?).is_some() {
            return Err(invalid(&at, "a measure is named twice"));
        }
    }
    Ok(found)
}
