//! An entry as a line of JSON (RFC 8259), lines as JSON Lines has them: UTF-8, one object each.

use super::Record;
use perron_model::{Error, ErrorCode, Result};

/// An entry as one line, without its end.
pub fn line(record: &Record) -> Result<String> {
    serde_json::to_string(record).map_err(|_| Error::new(ErrorCode::Internal, "an entry can't be written as JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::decision;

    #[test]
    fn a_line_is_read_again_as_what_it_was() {
        let record = Record { user: Some("a\nb\u{2028}".to_owned()), ..decision(3, false) };
        let line = line(&record).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        assert!(line.starts_with("{\"index\":3,\"time\":\"2026-11-23T10:00:00.123Z\",\"leaf\":"), "{line}");
    }
}
