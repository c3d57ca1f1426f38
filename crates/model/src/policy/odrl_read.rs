//! Reading a policy's text: JSON in which no member is stated twice (RFC 7493, section 2.3).

use super::odrl_names::{clip, unsupported};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::{POLICY_BYTES_MAX, POLICY_DEPTH_MAX};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use std::cell::RefCell;
use std::fmt;

/// The JSON of a policy's text. A member stated twice is refused by name: of two readers, one
/// would see the first and the other the second.
pub(super) fn read(text: &[u8]) -> Result<Json> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(too_large(text.len()));
    }
    let refused = RefCell::new(None);
    let mut source = serde_json::Deserializer::from_slice(text);
    let seed = Seed { path: "$".to_owned(), depth: 1, refused: &refused };
    let read = seed.deserialize(&mut source).and_then(|json| source.end().map(|()| json));
    read.map_err(|error| {
        refused.take().unwrap_or_else(|| Error::malformed(format!("a policy is a JSON document: {error}")))
    })
}

/// Refuses JSON that is larger or deeper than a policy may be.
pub(super) fn bounded(policy: &Json) -> Result<()> {
    let length = serde_json::to_vec(policy).map_err(|e| Error::malformed(e.to_string()))?.len();
    if length > POLICY_BYTES_MAX {
        return Err(too_large(length));
    }
    if depth(policy) > POLICY_DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(())
}

fn depth(json: &Json) -> usize {
    let inner = match json {
        Json::Array(items) => items.iter().map(depth).max(),
        Json::Object(members) => members.values().map(depth).max(),
        _ => None,
    };
    1 + inner.unwrap_or(0)
}

fn too_large(bytes: usize) -> Error {
    Error::new(ErrorCode::TooLarge, format!("a policy of {bytes} bytes is over {POLICY_BYTES_MAX}"))
}

fn too_deep() -> Error {
    Error::new(ErrorCode::TooLarge, format!("a policy is nested deeper than {POLICY_DEPTH_MAX} levels"))
}

/// Reads one value, knowing where it stands.
struct Seed<'a> {
    path: String,
    depth: usize,
    refused: &'a RefCell<Option<Error>>,
}

impl Seed<'_> {
    fn inner(&self, step: &str) -> Self {
        Seed { path: format!("{}{step}", self.path), depth: self.depth + 1, refused: self.refused }
    }
    fn refuse<E: de::Error>(&self, error: Error) -> E {
        let shown = E::custom(&error.detail);
        *self.refused.borrow_mut() = Some(error);
        shown
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, source: D) -> std::result::Result<Json, D::Error> {
        if self.depth > POLICY_DEPTH_MAX {
            return Err(self.refuse(too_deep()));
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> std::result::Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> std::result::Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> std::result::Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number is finite"))
    }
    fn visit_str<E>(self, value: &str) -> std::result::Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> std::result::Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = source.next_element_seed(self.inner(&format!("[{}]", items.len())))? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> std::result::Result<Json, A::Error> {
        let mut members = Map::new();
        while let Some(key) = source.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(self.refuse(unsupported(&self.path, &format!("{}, stated twice", clip(&key)))));
            }
            let value = source.next_value_seed(self.inner(&format!(".{}", clip(&key))))?;
            members.insert(key, value);
        }
        Ok(Json::Object(members))
    }
}
