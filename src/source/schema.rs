//! How the types of a set's columns are written in Arrow.

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use perron_model::dataset::{ColumnType, Dataset};
use std::sync::Arc;

/// The Arrow type of a column: text is `Utf8`, timestamps are milliseconds in UTC.
pub fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    }
}

/// The Arrow schema of a set: its columns in their order, each of which may be null.
pub fn dataset_schema(dataset: &Dataset) -> SchemaRef {
    let fields: Vec<Field> =
        dataset.columns.iter().map(|c| Field::new(&c.name, arrow_type(c.column_type), true)).collect();
    Arc::new(Schema::new(fields))
}
