use super::*;
use crate::query::testing::{dataset, plain_format};
use crate::source::{ColumnHeader, SourceFormat};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{Float64Type, TimestampMillisecondType};
use std::path::PathBuf;

fn read(text: &[u8], columns: &[(&str, ColumnType)], format: CsvFormat) -> Result<Vec<RecordBatch>> {
    let set = dataset("s", None, columns);
    let source = SourceFile { path: PathBuf::new(), format: SourceFormat::Csv(format.clone()), columns: vec![] };
    CsvRows::open(text, &set, &source, &format)?.collect()
}

const AB: &[(&str, ColumnType)] = &[("a", ColumnType::Text), ("b", ColumnType::Number)];

#[test]
fn belgian_text_is_read_and_empty_is_null() {
    let batches = read(b"x;b;a\r\n1;1,5;\xe9t\xe9 \x80\r\n2;;\r\n", AB, CsvFormat::default()).unwrap();
    let batch = &batches[0];
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "été €");
    assert!(batch.column(0).is_null(1) && batch.column(1).is_null(1));
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(0), 1.5);
}

#[test]
fn a_wrong_value_is_named_by_line_and_header() {
    let set = dataset("s", None, AB);
    let format = CsvFormat::default();
    let columns = vec![ColumnHeader { name: "b".into(), header: Some("Débit".into()) }];
    let source = SourceFile { path: PathBuf::new(), format: SourceFormat::Csv(format.clone()), columns };
    let text = b"a;D\xe9bit\nx;1,5\ny;1.5\n".as_slice();
    let error = CsvRows::open(text, &set, &source, &format).unwrap().collect::<Result<Vec<_>>>().unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceInvalid);
    assert_eq!(error.detail, "line 3, column `Débit`: `1.5` is not a number with decimal `,`");
}

#[test]
fn structure_is_checked() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "no line of headers"),
        (b"a;c\n", "no header `b`"),
        (b"a;b;b\n", "more than once"),
        (b"a;b\n1\n", "line 2 has 1 fields where line 1 has 2"),
        (b"a;b\nx;1\ny;2;3\n", "line 3 has 3 fields"),
        (b"a;b\n\xff;1\n", "line 2, column `a`: not UTF-8"),
    ];
    for (text, expected) in cases {
        let format = CsvFormat { encoding: Encoding::Utf8, ..CsvFormat::default() };
        let error = read(text, AB, format).unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceInvalid);
        assert!(error.detail.contains(expected), "{}", error.detail);
    }
    for format in [
        CsvFormat { separator: 'é', ..CsvFormat::default() },
        CsvFormat { time_zone: "Mars/Base".into(), ..CsvFormat::default() },
        CsvFormat { date: "%Q".into(), ..CsvFormat::default() },
        CsvFormat { thousands: Some(','), ..CsvFormat::default() },
    ] {
        assert_eq!(read(b"a;b\n", AB, format).unwrap_err().code, ErrorCode::SourceInvalid);
    }
}

#[test]
fn a_byte_order_mark_and_an_empty_file_are_fine() {
    assert!(read(b"\xef\xbb\xbfa,b\n", AB, plain_format()).unwrap().is_empty());
}

#[test]
fn an_unclosed_quote_does_not_take_the_whole_file() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 < 4 * CSV_LINE_BYTES_MAX as u64, "read too far");
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let set = dataset("s", None, AB);
    let format = CsvFormat::default();
    let source = SourceFile { path: PathBuf::new(), format: SourceFormat::Csv(format.clone()), columns: vec![] };
    let input = b"a;b\n\"".as_slice().chain(Endless(0));
    let error = CsvRows::open(input, &set, &source, &format).unwrap().collect::<Result<Vec<_>>>().unwrap_err();
    assert!(error.detail.contains("never closed"), "{}", error.detail);
}

#[test]
fn the_hours_of_both_changes_of_the_clock() {
    let columns = [("t", ColumnType::Timestamp)];
    let error = read(b"t\n29/03/2015 01:00\n29/03/2015 02:00\n", &columns, CsvFormat::default()).unwrap_err();
    assert!(error.detail.starts_with("line 3, column `t`: `29/03/2015 02:00` does not exist"), "{}", error.detail);
    let text = b"t\n25/10/2015 01:00\n25/10/2015 02:00\n25/10/2015 02:00\n25/10/2015 03:00\n";
    let batches = read(text, &columns, CsvFormat::default()).unwrap();
    let times = batches[0].column(0).as_primitive::<TimestampMillisecondType>().values().to_vec();
    assert!(times.windows(2).all(|w| w[1] - w[0] == 3_600_000), "{times:?}");
}
