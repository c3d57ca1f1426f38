//! What holds of every policy.

use super::odrl::{parse, read};
use super::odrl_tests::{aggregates, buildings, households, refused, rows};
use crate::error::ErrorCode;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// The pointers of all values of `json`.
fn pointers(json: &Json, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match json {
        Json::Array(items) => items.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{at}/{i}"), found)),
        Json::Object(members) => members.iter().for_each(|(k, v)| {
            pointers(v, format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), found);
        }),
        _ => {}
    }
}

/// Whatever is added to any object, or put in the place of any text, is refused or changes the
/// terms: nothing that a policy says is dropped.
#[test]
fn nothing_is_dropped() {
    for (policy, described) in [(rows(), buildings()), (aggregates(), households())] {
        let terms = parse(&policy, &described, None).unwrap();
        let mut found = Vec::new();
        pointers(&policy, String::new(), &mut found);
        for pointer in found {
            let mut changed = policy.clone();
            let place = changed.pointer_mut(&pointer).unwrap();
            match place {
                Json::Object(members) => {
                    members.insert("zzz".to_owned(), json!(1));
                    let error = refused(&changed, &described);
                    assert_eq!(error.code, ErrorCode::TermUnsupported, "{error}");
                    assert!(error.detail.contains("`zzz`"), "{error}");
                }
                Json::Array(items) => {
                    items.push(json!({"zzz": 1}));
                    assert!(parse(&changed, &described, None).is_err(), "{pointer}");
                }
                other => {
                    *other = json!("zzz");
                    assert_ne!(parse(&changed, &described, None).ok(), Some(terms.clone()), "{pointer}");
                }
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let words = ["use", "purpose", "dateTime", "eq", "perron:columns", "perron:column/nis", "nis", "@id", "@value"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        proptest::sample::select(words.to_vec()).prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::hash_map("[@a-zA-Z:]{0,12}", inner, 0..4)
                .prop_map(|m| Json::from_iter(m.into_iter().collect::<Vec<_>>())),
        ]
    })
}

proptest! {
    /// Any value anywhere in a policy gives terms or an error with a code of policies.
    #[test]
    fn any_value_anywhere_is_read_or_refused(value in any_json(), place in any::<prop::sample::Index>()) {
        for (policy, described) in [(rows(), buildings()), (aggregates(), households())] {
            let mut found = Vec::new();
            pointers(&policy, String::new(), &mut found);
            let mut changed = policy;
            *changed.pointer_mut(place.get(&found).as_str()).unwrap() = value.clone();
            if let Err(error) = parse(&changed, &described, None) {
                prop_assert!(matches!(error.code, ErrorCode::TermInvalid | ErrorCode::TermUnsupported | ErrorCode::TooLarge));
            }
        }
    }

    /// A policy's text is read as serde_json reads it, or refused.
    #[test]
    fn any_text_is_read_or_refused(value in any_json(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(read(&text).unwrap(), serde_json::from_slice::<Json>(&text).unwrap());
        let _ = read(&bytes);
    }
}
