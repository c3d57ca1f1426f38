//! A released table as it lies on the disk: its columns, its groups, its values.

use super::{broken, column_type, invalid};
use crate::source::arrow_type;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use datafusion::arrow::record_batch::RecordBatch;
use perron_disclosure::{Key, Number};
use perron_model::dataset::{ColumnType, Dataset};
use perron_model::policy::{Granularity, MeasureFunction, ReleaseSpec};
use perron_model::{Error, ErrorCode, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Schema of the released table of `spec`: the dimensions by their columns' names, where totals
/// are given the number of dimensions summed over, then the measures by theirs. A dimension cut to
/// days, months or years is a date.
pub(in crate::query) fn released_schema(dataset: &Dataset, spec: &ReleaseSpec) -> Result<SchemaRef> {
    let mut fields = Vec::new();
    for dimension in &spec.dimensions {
        let column_type = column_type(dataset, &dimension.column)?;
        let data_type = match (dimension.granularity, column_type) {
            (Granularity::Value, other) => arrow_type(other),
            (_, ColumnType::Date | ColumnType::Timestamp) => DataType::Date32,
            _ => return Err(invalid(&dimension.column, "only a date or a time can be cut")),
        };
        fields.push(Field::new(&dimension.column, data_type, true));
    }
    if let Some(totals) = &spec.protection.totals {
        fields.push(Field::new(totals, DataType::Int64, true));
    }
    for measure in &spec.measures {
        let column_type = column_type(dataset, &measure.column)?;
        let data_type = match (measure.function, column_type) {
            (MeasureFunction::Subjects, _) => DataType::Int64,
            (MeasureFunction::Sum, ColumnType::Integer) => DataType::Int64,
            (MeasureFunction::Sum | MeasureFunction::Mean, ColumnType::Integer | ColumnType::Number) => {
                DataType::Float64
            }
            _ => return Err(invalid(&measure.column, "only a number has a sum or a mean")),
        };
        fields.push(Field::new(&measure.name, data_type, true));
    }
    let names: BTreeSet<&String> = fields.iter().map(Field::name).collect();
    if names.len() != fields.len() || spec.measures.is_empty() {
        return Err(Error::new(ErrorCode::TermInvalid, "the released table needs measures, each with its own name"));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// How a table's groups are laid out.
pub(super) struct Shape {
    pub(super) schema: SchemaRef,
    /// Number of dimensions.
    dimensions: usize,
    /// Place of the dimension that gives the period, by which totals are never summed.
    pub(super) period: Option<usize>,
    /// Are totals given?
    totals: bool,
}

impl Shape {
    pub(super) fn of(dataset: &Dataset, spec: &ReleaseSpec) -> Result<Shape> {
        let dated = |d: &perron_model::policy::Dimension| column_type(dataset, &d.column).is_ok_and(super::is_dated);
        Ok(Shape {
            schema: released_schema(dataset, spec)?,
            dimensions: spec.dimensions.len(),
            period: spec.dimensions.iter().position(dated),
            totals: spec.protection.totals.is_some(),
        })
    }

    /// Levels of totals, with the groups themselves.
    pub(super) fn levels(&self) -> usize {
        let summed = self.dimensions - usize::from(self.period.is_some());
        if self.totals { summed + 1 } else { 1 }
    }

    /// A group's values at a level: the last dimensions beside the period's are summed over.
    pub(super) fn rolled(&self, level: usize, mut keys: Vec<Key>) -> Vec<Key> {
        let mut left = level;
        for (at, key) in keys.iter_mut().enumerate().rev() {
            if left > 0 && Some(at) != self.period {
                *key = Key::Missing;
                left -= 1;
            }
        }
        keys
    }
}

/// A group that is given.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) level: usize,
    pub(super) keys: Vec<Key>,
    pub(super) numbers: Vec<Option<Number>>,
}

/// The groups as a batch, in the order given.
pub(super) fn batch(shape: &Shape, groups: &[Group]) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(shape.schema.fields().len());
    let measures = shape.dimensions + usize::from(shape.totals);
    for (at, field) in shape.schema.fields().iter().enumerate() {
        columns.push(if at < shape.dimensions {
            keys_array(field.data_type(), groups.iter().map(|g| g.keys.get(at)))?
        } else if at < measures {
            Arc::new(groups.iter().map(|g| i64::try_from(g.level).ok()).collect::<Int64Array>())
        } else {
            let numbers = groups.iter().map(|g| g.numbers.get(at - measures).copied().flatten());
            numbers_array(field.data_type(), numbers)?
        });
    }
    let options = datafusion::arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(groups.len()));
    RecordBatch::try_new_with_options(Arc::clone(&shape.schema), columns, &options).map_err(|_| broken())
}

fn keys_array<'a>(data_type: &DataType, keys: impl Iterator<Item = Option<&'a Key>>) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Utf8 => Arc::new(
            keys.map(|k| if let Some(Key::Text(text)) = k { Some(text.as_ref()) } else { None })
                .collect::<StringArray>(),
        ),
        DataType::Int64 => {
            Arc::new(keys.map(|k| if let Some(Key::Integer(v)) = k { Some(*v) } else { None }).collect::<Int64Array>())
        }
        DataType::Boolean => Arc::new(
            keys.map(|k| if let Some(Key::Boolean(v)) = k { Some(*v) } else { None }).collect::<BooleanArray>(),
        ),
        DataType::Date32 => {
            Arc::new(keys.map(|k| if let Some(Key::Day(v)) = k { Some(*v) } else { None }).collect::<Date32Array>())
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => Arc::new(
            keys.map(|k| if let Some(Key::Time(v)) = k { Some(*v) } else { None })
                .collect::<TimestampMillisecondArray>()
                .with_timezone_opt(zone.clone()),
        ),
        DataType::Float64 => Arc::new(
            keys.map(|k| if let Some(Key::Number(v)) = k { Some(f64::from_bits(*v)) } else { None })
                .collect::<Float64Array>(),
        ),
        _ => return Err(broken()),
    })
}

fn numbers_array(data_type: &DataType, numbers: impl Iterator<Item = Option<Number>>) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int64 => Arc::new(
            numbers.map(|n| if let Some(Number::Whole(v)) = n { Some(v) } else { None }).collect::<Int64Array>(),
        ),
        DataType::Float64 => {
            let real = |n: Number| match n {
                Number::Real(v) => v,
                Number::Whole(v) => v as f64,
            };
            Arc::new(numbers.map(|n| n.map(real)).collect::<Float64Array>())
        }
        _ => return Err(broken()),
    })
}

/// Level and values of the dimensions of each group of a batch of a released table.
pub(super) fn keys_of(shape: &Shape, batch: &RecordBatch) -> Result<Vec<(usize, Vec<Key>)>> {
    if batch.num_columns() != shape.schema.fields().len() {
        return Err(broken());
    }
    let mut columns: Vec<Vec<Key>> = Vec::with_capacity(shape.dimensions);
    for array in batch.columns().iter().take(shape.dimensions) {
        columns.push((0..batch.num_rows()).map(|row| key_at(array.as_ref(), row)).collect::<Result<_>>()?);
    }
    let levels = shape.totals.then(|| batch.columns().get(shape.dimensions)).flatten();
    let levels = levels.map(|a| a.as_primitive_opt::<Int64Type>().ok_or_else(broken)).transpose()?;
    let row = |row: usize| {
        let keys = columns.iter().filter_map(|c| c.get(row).cloned()).collect();
        let level = levels.map_or(0, |l| usize::try_from(l.value(row)).unwrap_or(0));
        (level, keys)
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

fn key_at(array: &dyn Array, row: usize) -> Result<Key> {
    if array.is_null(row) {
        return Ok(Key::Missing);
    }
    Ok(match array.data_type() {
        DataType::Utf8 => Key::Text(array.as_string::<i32>().value(row).into()),
        DataType::Int64 => Key::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => Key::Boolean(array.as_boolean().value(row)),
        DataType::Date32 => Key::Day(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(_, _) => Key::Time(array.as_primitive::<TimestampMillisecondType>().value(row)),
        DataType::Float64 => {
            let value = array.as_primitive::<datafusion::arrow::datatypes::Float64Type>().value(row);
            Key::Number(value.to_bits())
        }
        _ => return Err(broken()),
    })
}
