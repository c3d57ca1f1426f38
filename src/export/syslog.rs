//! An entry as a message of syslog (RFC 5424), framed by counting its octets (RFC 5425, section
//! 4.3; RFC 6587, section 3.4.1).

use super::{About, Record, jsonl, ocsf};
use crate::settings::{Facility, StreamFormat};
use perron_model::Result;

/// Name of the structured data. 32473 is the enterprise number that RFC 5612 sets aside for
/// documents and examples: the project has none of its own, and no other product may use it.
const STRUCTURED: &str = "perron@32473";
/// Longest MSGID, in octets (RFC 5424, section 6.2.7).
const MSGID_BYTES_MAX: usize = 32;

/// Numerical code of a facility (RFC 5424, table 1).
const fn number(facility: Facility) -> u8 {
    match facility {
        Facility::User => 1,
        Facility::Daemon => 3,
        Facility::Authpriv => 10,
        Facility::LogAudit => 13,
        Facility::Local0 => 16,
        Facility::Local1 => 17,
        Facility::Local2 => 18,
        Facility::Local3 => 19,
        Facility::Local4 => 20,
        Facility::Local5 => 21,
        Facility::Local6 => 22,
        Facility::Local7 => 23,
    }
}

/// The frame of an entry: `MSG-LEN SP SYSLOG-MSG`.
pub fn frame(record: &Record, about: &About, format: StreamFormat, facility: Facility) -> Result<Vec<u8>> {
    let message = message(record, about, format, facility)?;
    Ok(format!("{} {message}", message.len()).into_bytes())
}

fn message(record: &Record, about: &About, format: StreamFormat, facility: Facility) -> Result<String> {
    let text = match format {
        StreamFormat::Ocsf => ocsf::event(record, about).to_string(),
        StreamFormat::Jsonl => jsonl::line(record)?,
    };
    let priority = u16::from(number(facility)) * 8 + u16::from(severity(record));
    let id: String = record.kind.chars().filter(char::is_ascii_graphic).take(MSGID_BYTES_MAX).collect();
    let (index, leaf, origin) = (record.index, record.leaf, parameter(&about.origin));
    Ok(format!(
        "<{priority}>1 {} {} perron - {id} [{STRUCTURED} index=\"{index}\" leaf=\"{leaf}\" origin=\"{origin}\"] {}",
        record.time,
        about.participant,
        ascii(&text)
    ))
}

/// RFC 5424, table 2: 4 a warning, 5 worth a look, 6 informational.
fn severity(record: &Record) -> u8 {
    match ocsf::severity_of(record).0 {
        3.. => 4,
        2 => 5,
        _ => 6,
    }
}

/// A value of structured data (RFC 5424, section 6.3.3).
fn parameter(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

/// JSON without other characters than ASCII's: a message in UTF-8 would have to begin with a byte
/// order mark (RFC 5424, section 6.4), which readers of JSON refuse.
fn ascii(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            written.push(c);
        } else {
            let mut units = [0_u16; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| written.push_str(&format!("\\u{unit:04x}")));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{about, decision, record};

    #[test]
    fn a_message_has_the_parts_that_the_standard_names() {
        let refusal = decision(5, false);
        let framed =
            String::from_utf8(frame(&refusal, &about(), StreamFormat::Jsonl, Facility::LogAudit).unwrap()).unwrap();
        let (length, message) = framed.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        let head = format!(
            "<109>1 2026-11-23T10:00:00.123Z commune perron - refusal [perron@32473 index=\"5\" leaf=\"{}\" origin=\"autorite/commune/1\"] {{",
            refusal.leaf
        );
        assert!(message.starts_with(&head), "{message}");
        let json = message.split_once("] ").unwrap().1;
        assert_eq!(serde_json::from_str::<Record>(json).unwrap(), refusal);
        let start = message_of(&record(0, "start"), Facility::Local7);
        assert!(start.starts_with("<190>1 "), "{start}");
        assert!(start.contains("\"class_uid\":6003"));
    }

    fn message_of(record: &Record, facility: Facility) -> String {
        message(record, &about(), StreamFormat::Ocsf, facility).unwrap()
    }

    #[test]
    fn other_characters_are_escaped_and_read_again() {
        let odd = Record { user: Some("é\u{1F4A7}\n".to_owned()), ..record(1, "administration") };
        let framed = frame(&odd, &about(), StreamFormat::Jsonl, Facility::User).unwrap();
        assert!(framed.is_ascii() && !framed.contains(&b'\n'));
        let text = String::from_utf8(framed).unwrap();
        assert_eq!(serde_json::from_str::<Record>(text.split_once("] ").unwrap().1).unwrap(), odd);
        assert_eq!(parameter(r#"a\b"c]"#), r#"a\\b\"c\]"#);
    }
}
