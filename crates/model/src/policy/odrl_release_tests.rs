//! What protects a released table, as policies state it.

use super::odrl::parse;
use super::odrl_tests::{aggregates, buildings, households, refused, rows};
use super::*;
use crate::error::ErrorCode;
use serde_json::{Value as Json, json};

fn also(mut policy: Json, terms: &[(&str, &str, Json)]) -> Json {
    let constraints = policy.pointer_mut("/permission/0/constraint").and_then(Json::as_array_mut).unwrap();
    for (left, operator, right) in terms {
        constraints.push(json!({"leftOperand": left, "operator": operator, "rightOperand": right}));
    }
    policy
}

fn protected(terms: &[(&str, &str, Json)]) -> ReleaseSpec {
    match parse(&also(aggregates(), terms), &households(), None).unwrap().view {
        View::Aggregates(spec) => spec,
        View::Rows(_) => panic!("rows"),
    }
}

fn noise(epsilon: f64, bound: u64) -> (&'static str, &'static str, Json) {
    let of = json!([{"perron:name": "litres", "perron:epsilon": epsilon, "perron:bound": bound}]);
    ("perron:noise", "isAllOf", of)
}

fn base(base: u64) -> (&'static str, &'static str, Json) {
    ("perron:rounding", "isAllOf", json!([{"perron:name": "litres", "perron:base": base}]))
}

fn budget(epsilon: f64) -> (&'static str, &'static str, Json) {
    ("perron:budget", "lteq", json!({"@type": "xsd:decimal", "@value": epsilon.to_string()}))
}

#[test]
fn each_term_of_protection() {
    let exact =
        protected(&[("perron:dominance", "gteq", json!(15)), ("perron:totals", "eq", json!("summed")), base(100)]);
    let expected = Protection {
        dominance: Some(15),
        totals: Some("summed".to_owned()),
        rounding: [("litres".to_owned(), 100)].into(),
        ..Protection::default()
    };
    assert_eq!(exact.protection, expected);
    let noisy = protected(&[noise(0.25, 30_000), base(10), budget(4.0)]);
    let drawn = Noise { epsilon_micro: 250_000, bound: 30_000 };
    assert_eq!(noisy.protection.noise, [("litres".to_owned(), drawn)].into());
    assert_eq!((noisy.protection.budget_micro, noisy.protection.epsilon_micro()), (Some(4_000_000), 250_000));
    // Read back as written, and shown clause by clause.
    for terms in [vec![base(100)], vec![noise(0.25, 30_000), base(10), budget(4.0)]] {
        let terms = parse(&also(aggregates(), &terms), &households(), None).unwrap();
        let bytes = crate::canonical::to_bytes(&terms.view).unwrap();
        assert_eq!(crate::canonical::from_bytes::<View>(&bytes, 65_536), Ok(terms.view.clone()));
        let paths: Vec<String> = describe(&terms).into_iter().map(|c| c.path).collect();
        assert!(paths.contains(&"view.rounding.litres".to_owned()), "{paths:?}");
    }
}

#[test]
fn what_does_not_protect_is_refused() {
    let dominance = |right: Json| vec![("perron:dominance", "gteq", right)];
    let totals = |right: Json| vec![("perron:totals", "eq", right)];
    let cases = [
        (dominance(json!(0)), "`0` is less than 1"),
        (dominance(json!(101)), "more than 100"),
        (totals(json!("Summed")), "1 to 63 of a-z"),
        (totals(json!("sector")), "two columns `sector`"),
        (totals(json!("litres")), "two columns `litres`"),
        (vec![base(1)], "`1` is less than 2"),
        (vec![base(u64::MAX / 4)], "more than"),
        (vec![("perron:rounding", "isAllOf", json!([{"perron:name": "x", "perron:base": 5}]))], "no measure `x`"),
        (vec![base(5), base(6)], "stated already at"),
        (vec![noise(0.5, 100), budget(1.0)], "noise needs `perron:rounding`"),
        (vec![noise(0.5, 9), base(10), budget(1.0)], "the bound is less than the base"),
        (vec![noise(0.5, 100), base(10)], "stated together"),
        (vec![budget(1.0)], "stated together"),
        (vec![noise(0.5, 100), base(10), budget(0.4)], "costs more than the budget"),
        (vec![noise(0.0000001, 100), base(10), budget(1.0)], "not between"),
        (
            vec![noise(0.5, 100), base(10), budget(1.0), ("perron:totals", "eq", json!("summed"))],
            "totals of groups with noise",
        ),
        (
            vec![
                (
                    "perron:noise",
                    "isAllOf",
                    json!([{"perron:name": "households", "perron:epsilon": 1, "perron:bound": 2}]),
                ),
                budget(1.0),
            ],
            "each data subject counts once",
        ),
    ];
    for (terms, expected) in cases {
        let error = refused(&also(aggregates(), &terms), &households());
        assert_eq!(error.code, ErrorCode::TermInvalid, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
    let error = refused(&also(rows(), &dominance(json!(10))), &buildings());
    assert!(error.detail.contains("`perron:dominance` belongs to"), "{error}");
    for (terms, expected) in [
        (vec![("perron:dominance", "lteq", json!(10))], "`lteq` at"),
        (vec![("perron:rounding", "isAllOf", json!([{"perron:name": "litres", "base": 5}]))], "`base` at"),
    ] {
        let error = refused(&also(aggregates(), &terms), &households());
        assert_eq!(error.code, ErrorCode::TermUnsupported, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn noise_is_not_taken_away_by_another_table() {
    let exact = protected(&[]);
    let noisy = protected(&[noise(0.5, 100), base(10), budget(1.0)]);
    assert!(exact.conflict(&noisy).unwrap().contains("`litres`"));
    assert!(noisy.conflict(&exact).is_some());
    assert_eq!((noisy.conflict(&noisy), exact.conflict(&exact)), (None, None));
    // Another measure is another matter.
    let mut counts = protected(&[]);
    counts.measures.retain(|m| m.function == MeasureFunction::Subjects);
    assert_eq!(counts.conflict(&noisy), None);
}
