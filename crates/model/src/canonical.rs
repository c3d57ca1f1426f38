//! Canonical JSON (RFC 8785): what is signed and digested.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The canonical bytes of `value` (RFC 8785, JCS).
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|e| Error::malformed(format!("can't be written as canonical JSON: {e}")))
}

/// Reads `bytes` and refuses any that are not the canonical form of what they say.
pub fn from_bytes<T: Serialize + DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T> {
    if bytes.len() > bytes_max {
        return Err(Error::new(
            crate::ErrorCode::TooLarge,
            format!("a document of {} bytes is over {bytes_max}", bytes.len()),
        ));
    }
    let value: T =
        serde_json::from_slice(bytes).map_err(|e| Error::malformed(format!("not the JSON expected: {e}")))?;
    if to_bytes(&value)? == bytes {
        Ok(value)
    } else {
        Err(Error::malformed("the JSON is not in its canonical form (RFC 8785)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use std::collections::BTreeMap;

    #[test]
    fn a_document_has_one_spelling_and_at_most_so_many_bytes() {
        let value = BTreeMap::from([("b".to_owned(), 2), ("a".to_owned(), 1)]);
        let bytes = to_bytes(&value).unwrap();
        assert_eq!(bytes, br#"{"a":1,"b":2}"#);
        let read = |bytes: &[u8], bytes_max| from_bytes::<BTreeMap<String, i32>>(bytes, bytes_max);
        assert_eq!(read(&bytes, bytes.len()), Ok(value.clone()));
        assert_eq!(read(&bytes, bytes.len() + 1), Ok(value));
        assert_eq!(read(&bytes, bytes.len() - 1).unwrap_err().code, ErrorCode::TooLarge);
        for other in [br#"{"b":2,"a":1}"#.as_slice(), br#"{"a":1, "b":2}"#, br#"{"a":1"#] {
            assert_eq!(read(other, 100).unwrap_err().code, ErrorCode::Malformed);
        }
    }
}
