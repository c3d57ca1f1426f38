//! What a constraint says of the set, checked against the set's description.

use super::odrl::{object, only};
use super::odrl_literal::{count, value};
use super::odrl_names::{clip, invalid, unsupported};
use crate::dataset::{Column, ColumnType, Dataset, ProtectionClass, SubjectKey};
use crate::error::Result;
use crate::limits::ID_BYTES_MAX;
use crate::policy::terms::{Dimension, Granularity, Measure, MeasureFunction, Operator, Predicate};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// The described set.
#[derive(Clone, Copy)]
pub(super) struct Set<'a>(pub(super) &'a Dataset);

impl<'a> Set<'a> {
    fn column(self, path: &str, column: &str) -> Result<&'a Column> {
        let missing = || invalid(path, &format!("the set `{}` has no column `{}`", self.0.id, clip(column)));
        self.0.column(column).ok_or_else(missing)
    }

    /// Names of columns, each once.
    pub(super) fn names(self, path: &str, json: &Json) -> Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for (at, item) in each(path, json)? {
            let column = self.column(&at, item.as_str().ok_or_else(|| invalid(&at, "not the name of a column"))?)?;
            if !seen.insert(column.name.as_str()) {
                return Err(invalid(&at, &format!("column `{}` is named twice", column.name)));
            }
            names.push(column.name.clone());
        }
        Ok(names)
    }

    pub(super) fn predicate(
        self,
        path: &str,
        column: &str,
        operator: &str,
        op: &str,
        right: &Json,
    ) -> Result<Predicate> {
        let column = self.column(&format!("{path}.leftOperand"), column)?;
        let operator_path = format!("{path}.operator");
        let operator = match op {
            "eq" => Operator::Eq,
            "neq" => Operator::Neq,
            "lt" => Operator::Lt,
            "lteq" => Operator::Lteq,
            "gt" => Operator::Gt,
            "gteq" => Operator::Gteq,
            "isAnyOf" => Operator::IsAnyOf,
            "isNoneOf" => Operator::IsNoneOf,
            _ => return Err(unsupported(&operator_path, operator)),
        };
        let orders = matches!(operator, Operator::Lt | Operator::Lteq | Operator::Gt | Operator::Gteq);
        if orders && column.column_type == ColumnType::Boolean {
            return Err(invalid(&operator_path, "true and false have no order"));
        }
        let right_path = format!("{path}.rightOperand");
        let values = if matches!(operator, Operator::IsAnyOf | Operator::IsNoneOf) {
            each(&right_path, right)?.map(|(at, item)| value(&at, item, column.column_type)).collect::<Result<_>>()?
        } else {
            vec![value(&right_path, right, column.column_type)?]
        };
        Ok(Predicate { column: column.name.clone(), operator, values })
    }

    pub(super) fn floor(self, path: &str, right_path: &str, right: &Json) -> Result<u32> {
        if self.0.subject_key == SubjectKey::None {
            return Err(invalid(path, "a floor counts data subjects, and the set declares no data-subject key"));
        }
        let floor = count(right_path, right, 2)?;
        u32::try_from(floor).map_err(|_| invalid(right_path, "a floor is a number of 32 bits"))
    }

    pub(super) fn dimension(self, path: &str, json: &Json) -> Result<Dimension> {
        let (named, granularity) = match json {
            Json::String(named) => (named.as_str(), Granularity::Value),
            _ => {
                let members = object(path, json)?;
                only(path, members, &["perron:column", "perron:granularity"])?;
                let granularity = match text(path, members, "perron:granularity")? {
                    "value" => Granularity::Value,
                    "day" => Granularity::Day,
                    "month" => Granularity::Month,
                    "year" => Granularity::Year,
                    other => return Err(unsupported(&format!("{path}.perron:granularity"), other)),
                };
                (text(path, members, "perron:column")?, granularity)
            }
        };
        let column = self.column(path, named)?;
        if granularity != Granularity::Value && !matches!(column.column_type, ColumnType::Date | ColumnType::Timestamp)
        {
            return Err(invalid(path, &format!("column `{named}` is neither a date nor a timestamp")));
        }
        if column.column_type == ColumnType::Number {
            return Err(invalid(path, &format!("column `{named}` is measured, not a category")));
        }
        let subject = matches!(&self.0.subject_key, SubjectKey::Column(key) if *key == column.name);
        if subject || column.protection == ProtectionClass::Personal {
            return Err(invalid(path, &format!("column `{named}` tells of a person and can't be a dimension")));
        }
        Ok(Dimension { column: column.name.clone(), granularity })
    }

    pub(super) fn measure(self, path: &str, json: &Json) -> Result<Measure> {
        let members = object(path, json)?;
        let function_path = format!("{path}.perron:function");
        let function = match text(path, members, "perron:function")? {
            "sum" => MeasureFunction::Sum,
            "mean" => MeasureFunction::Mean,
            "subjects" => MeasureFunction::Subjects,
            other => return Err(unsupported(&function_path, other)),
        };
        let measured = text(path, members, "perron:name")?;
        if !is_column_name(measured) {
            return Err(invalid(&format!("{path}.perron:name"), "not 1 to 63 of a-z, 0-9 and _, a letter first"));
        }
        let column = if function == MeasureFunction::Subjects {
            only(path, members, &["perron:function", "perron:name"])?;
            let SubjectKey::Column(key) = &self.0.subject_key else {
                return Err(invalid(&function_path, "the set declares no data-subject key"));
            };
            key.clone()
        } else {
            only(path, members, &["perron:function", "perron:column", "perron:name"])?;
            let named = text(path, members, "perron:column")?;
            let column = self.column(&format!("{path}.perron:column"), named)?;
            let numeric = matches!(column.column_type, ColumnType::Integer | ColumnType::Number);
            let subject = matches!(&self.0.subject_key, SubjectKey::Column(key) if *key == column.name);
            if !numeric || subject {
                return Err(invalid(&format!("{path}.perron:column"), &format!("column `{named}` is not a quantity")));
            }
            column.name.clone()
        };
        Ok(Measure { function, column, name: measured.to_owned() })
    }
}

pub(super) fn is_column_name(text: &str) -> bool {
    text.len() <= ID_BYTES_MAX
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The items of a list that isn't empty, with their places.
pub(super) fn each<'a>(path: &str, json: &'a Json) -> Result<impl Iterator<Item = (String, &'a Json)> + use<'a>> {
    match json {
        Json::Array(items) if !items.is_empty() => {
            let path = path.to_owned();
            Ok(items.iter().enumerate().map(move |(i, item)| (format!("{path}[{i}]"), item)))
        }
        _ => Err(invalid(path, "not a list of at least one")),
    }
}

/// A member that is a text.
pub(super) fn text<'a>(path: &str, members: &'a Map<String, Json>, member: &str) -> Result<&'a str> {
    match members.get(member) {
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(invalid(&format!("{path}.{member}"), "not a text")),
        None => Err(invalid(&format!("{path}.{member}"), "missing")),
    }
}
