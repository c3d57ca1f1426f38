//! Reads a snapshot's parts once, into what each data subject contributes to each unit.
//!
//! Texts stay in the dictionaries of their pages, so that a row costs a look-up in small tables
//! and no hashing of text.

use crate::query::errors;
use crate::source::{Part, dataset_schema};
use chrono::{DateTime, Datelike, Duration, NaiveDate};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int32Type, Int64Type, Schema, TimestampMillisecondType,
};
use datafusion::arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use perron_disclosure::{Gathering, Key, Kind, NOBODY, Names, Values};
use perron_model::dataset::{ColumnType, Dataset};
use perron_model::policy::Granularity;
use perron_model::{Error, ErrorCode, Result};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows read at a time.
const ROWS: usize = 64 * 1024;

const DAY_MS: i64 = 86_400_000;

/// What is read of a set.
pub(super) struct Reading {
    /// Place of each dimension's column, and how it is cut.
    pub(super) dimensions: Vec<(usize, Granularity)>,
    /// Place of the data-subject key.
    pub(super) subject: usize,
    /// Places of the measured columns, which are numbers.
    pub(super) measured: Vec<usize>,
}

/// Kinds of the measured columns.
fn kinds(dataset: &Dataset, reading: &Reading) -> Result<Vec<Kind>> {
    let kind = |at: &usize| match dataset.columns.get(*at).map(|c| c.column_type) {
        Some(ColumnType::Integer) => Ok(Kind::Whole),
        Some(ColumnType::Number) => Ok(Kind::Real),
        _ => Err(broken()),
    };
    reading.measured.iter().map(kind).collect()
}

/// Gathers all rows of `parts`, on so many threads. May block; ends early once `gone` is set.
pub(super) fn gather(
    dataset: &Dataset,
    parts: &[Part],
    reading: &Reading,
    threads: usize,
    gone: &AtomicBool,
) -> Result<Gathering> {
    let schema = with_dictionaries(dataset, reading);
    let mut groups: Vec<(&Part, ArrowReaderMetadata, usize)> = Vec::new();
    for part in parts {
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(part.metadata.metadata()), options).map_err(|_| broken())?;
        groups.extend((0..part.row_groups().count()).map(|group| (part, metadata.clone(), group)));
    }
    let kinds = kinds(dataset, reading)?;
    let each = groups.len().div_ceil(threads.max(1)).max(1);
    let of_run = |run: &[(&Part, ArrowReaderMetadata, usize)]| -> Result<Gathering> {
        let mut gathering = Gathering::new(reading.dimensions.len(), &kinds);
        for (part, metadata, group) in run {
            take_group(&mut gathering, part, metadata, *group, reading, gone)?;
        }
        Ok(gathering)
    };
    let gathered: Vec<Result<Gathering>> = std::thread::scope(|scope| {
        let runs: Vec<_> = groups.chunks(each).map(|run| scope.spawn(|| of_run(run))).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err(broken()))).collect()
    });
    let mut gathered = gathered.into_iter();
    let mut all = gathered.next().unwrap_or_else(|| Ok(Gathering::new(reading.dimensions.len(), &kinds)))?;
    for other in gathered {
        all.absorb(other?)?;
    }
    Ok(all)
}

/// The set's schema with dictionaries for the texts that are only told apart.
fn with_dictionaries(dataset: &Dataset, reading: &Reading) -> Arc<Schema> {
    let told_apart = |at: usize| reading.subject == at || reading.dimensions.iter().any(|(d, _)| *d == at);
    let whole = dataset_schema(dataset);
    let fields = whole.fields().iter().enumerate().map(|(at, field)| match field.data_type() {
        DataType::Utf8 if told_apart(at) => {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Arc::new(Field::new(field.name(), dictionary, true))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn take_group(
    gathering: &mut Gathering,
    part: &Part,
    metadata: &ArrowReaderMetadata,
    group: usize,
    reading: &Reading,
    gone: &AtomicBool,
) -> Result<()> {
    let mut read: Vec<usize> = reading.dimensions.iter().map(|(at, _)| *at).collect();
    read.push(reading.subject);
    read.extend(&reading.measured);
    read.sort_unstable();
    read.dedup();
    let file = File::open(&part.path).map_err(|_| broken())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), read.iter().copied());
    let rows = builder
        .with_projection(mask)
        .with_row_groups(vec![group])
        .with_batch_size(ROWS)
        .build()
        .map_err(|_| broken())?;
    for batch in rows {
        if gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::DeadlineExceeded, "the table took too long"));
        }
        take_batch(gathering, &batch.map_err(|_| broken())?, &read, reading)?;
    }
    Ok(())
}

fn take_batch(gathering: &mut Gathering, batch: &RecordBatch, read: &[usize], reading: &Reading) -> Result<()> {
    let array = |at: usize| read.binary_search(&at).ok().and_then(|i| batch.columns().get(i)).ok_or_else(broken);
    let mut dimensions = Vec::with_capacity(reading.dimensions.len());
    for (i, (at, granularity)) in reading.dimensions.iter().enumerate() {
        let names = gathering.dimension(i).ok_or_else(broken)?;
        let missing = names.number(Key::Missing);
        dimensions.push(numbers(array(*at)?.as_ref(), names, *granularity, missing)?);
    }
    let subjects = numbers(array(reading.subject)?.as_ref(), gathering.subjects(), Granularity::Value, NOBODY)?;
    let mut valid: Vec<Option<Vec<bool>>> = Vec::with_capacity(reading.measured.len());
    for at in &reading.measured {
        let nulls = array(*at)?.logical_nulls().filter(|n| n.null_count() > 0);
        valid.push(nulls.map(|n| n.iter().collect()));
    }
    let mut values = Vec::with_capacity(reading.measured.len());
    for (at, valid) in reading.measured.iter().zip(&valid) {
        let array = array(*at)?;
        values.push(match array.data_type() {
            DataType::Int64 => Values::whole(array.as_primitive::<Int64Type>().values(), valid.as_deref()),
            DataType::Float64 => Values::real(array.as_primitive::<Float64Type>().values(), valid.as_deref()),
            _ => return Err(broken()),
        });
    }
    gathering.take(&dimensions, &subjects, &values)
}

/// The number of each value of an array, cut; `missing` for no value.
fn numbers(array: &dyn Array, names: &mut Names, granularity: Granularity, missing: u32) -> Result<Vec<u32>> {
    let number = |names: &mut Names, raw: Option<i64>, key: &dyn Fn(i64) -> Key| {
        raw.map_or(missing, |raw| names.raw(raw as u64, || cut(&key(raw), granularity)))
    };
    Ok(match array.data_type() {
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(broken)?;
            // A value of the dictionary gets its number when it is used: another group's data
            // subjects may stand in it.
            let mut known = vec![None; texts.len()];
            let mut of = |key: Option<i32>| {
                let at = key.and_then(|k| usize::try_from(k).ok()).filter(|at| texts.is_valid(*at));
                at.and_then(|at| Some((known.get_mut(at)?, at)))
                    .map_or(missing, |(known, at)| *known.get_or_insert_with(|| names.text(texts.value(at))))
            };
            dictionary.keys().iter().map(&mut of).collect()
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            texts.iter().map(|text| text.map_or(missing, |text| names.text(text))).collect()
        }
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().map(|v| number(names, v, &Key::Integer)).collect(),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            let key = |raw: i64| Key::Day(i32::try_from(raw).unwrap_or_default());
            days.iter().map(|v| number(names, v.map(i64::from), &key)).collect()
        }
        DataType::Timestamp(_, _) => {
            let times = array.as_primitive::<TimestampMillisecondType>();
            if granularity == Granularity::Value {
                times.iter().map(|v| number(names, v, &Key::Time)).collect()
            } else {
                // By day, so that the names stay few.
                let day = |raw: i64| Key::Day(i32::try_from(raw).unwrap_or_default());
                times.iter().map(|v| number(names, v.map(|v| v.div_euclid(DAY_MS)), &day)).collect()
            }
        }
        DataType::Boolean => {
            let key = |raw: i64| Key::Boolean(raw != 0);
            array.as_boolean().iter().map(|v| number(names, v.map(i64::from), &key)).collect()
        }
        DataType::Float64 => {
            let bits = |v: f64| (v + 0.0).to_bits() as i64;
            let key = |raw: i64| Key::Number(raw as u64);
            array.as_primitive::<Float64Type>().iter().map(|v| number(names, v.map(bits), &key)).collect()
        }
        _ => return Err(broken()),
    })
}

/// Cuts a value: a day, or the first day of its month or year. What is cut already can be cut to
/// something coarser.
pub(super) fn cut(key: &Key, granularity: Granularity) -> Key {
    let days = match (key, granularity) {
        (other, Granularity::Value) => return other.clone(),
        (Key::Day(days), _) => *days,
        (Key::Time(ms), _) => i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or_default(),
        (other, _) => return other.clone(),
    };
    let first = day(days).and_then(|date| match granularity {
        Granularity::Month => date.with_day(1),
        Granularity::Year => date.with_day(1).and_then(|d| d.with_month(1)),
        _ => Some(date),
    });
    Key::Day(first.and_then(days_of).unwrap_or(days))
}

fn day(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(Duration::days(i64::from(days)))
}

fn days_of(date: NaiveDate) -> Option<i32> {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// The name of a period: its value as text.
pub(super) fn period_name(key: &Key) -> String {
    match key {
        Key::Day(days) => day(*days).map_or_else(|| days.to_string(), |d| d.format("%Y-%m-%d").to_string()),
        Key::Time(ms) => DateTime::from_timestamp_millis(*ms)
            .map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        _ => super::MISSING.to_owned(),
    }
}

/// From when until before when a period lies, in milliseconds since 1970-01-01.
pub(super) fn period_span(key: &Key, granularity: Granularity) -> Option<(i64, i64)> {
    let ms = |date: NaiveDate| days_of(date).map(|days| i64::from(days).saturating_mul(DAY_MS));
    match key {
        Key::Time(at) => Some((*at, at.saturating_add(1))),
        Key::Day(days) => {
            let first = day(*days)?;
            let next = match granularity {
                Granularity::Month => first.checked_add_months(chrono::Months::new(1))?,
                Granularity::Year => first.checked_add_months(chrono::Months::new(12))?,
                _ => first.succ_opt()?,
            };
            Some((ms(first)?, ms(next)?))
        }
        _ => None,
    }
}

/// The value that [`period_name`] wrote.
pub(super) fn period_key(name: &str) -> Key {
    if let Ok(date) = NaiveDate::parse_from_str(name, "%Y-%m-%d") {
        return days_of(date).map_or(Key::Missing, Key::Day);
    }
    DateTime::parse_from_rfc3339(name).map_or(Key::Missing, |t| Key::Time(t.timestamp_millis()))
}

fn broken() -> Error {
    errors::internal("release")
}
