//! What protects a released table, as policies state it.

use super::odrl::parse;
use super::odrl_tests::{aggregates, buildings, households, refused, rows};
use super::*;
use crate::error::ErrorCode;
use crate::limits::RELEASE_BASE_MAX;
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

/// A measure of whole numbers and one of the mean beside those of the example.
fn measured(terms: &[(&str, &str, Json)]) -> Json {
    let mut policy = also(aggregates(), terms);
    let constraints = policy.pointer_mut("/permission/0/constraint").and_then(Json::as_array_mut).unwrap();
    let measures = constraints.iter_mut().find(|c| c["leftOperand"] == "perron:measures").unwrap();
    measures["rightOperand"].as_array_mut().unwrap().extend([
        json!({"perron:function": "sum", "perron:column": "number", "perron:name": "whole"}),
        json!({"perron:function": "mean", "perron:column": "litres", "perron:name": "mean"}),
    ]);
    policy
}

fn drawn(measure: &str, epsilon: f64, bound: Option<u64>) -> (&'static str, &'static str, Json) {
    let mut of = json!({"perron:name": measure, "perron:epsilon": epsilon});
    if let Some(bound) = bound {
        of["perron:bound"] = json!(bound);
    }
    ("perron:noise", "isAllOf", json!([of]))
}

#[test]
fn what_protects_may_be_stated_to_its_exact_bounds() {
    let good = [
        vec![("perron:dominance", "gteq", json!(1))],
        vec![("perron:dominance", "gteq", json!(100))],
        vec![base(2)],
        vec![base(RELEASE_BASE_MAX)],
        vec![noise(0.5, 10), base(10), budget(0.5)],
        vec![noise(0.001, RELEASE_BASE_MAX), base(10), budget(1_000.0)],
        vec![drawn("whole", 0.5, Some(1)), budget(1.0)],
        vec![drawn("whole", 0.5, None), budget(1.0)],
        vec![drawn("households", 0.5, None), budget(1.0)],
        vec![drawn("households", 0.5, Some(1)), budget(1.0)],
    ];
    for terms in good {
        assert!(parse(&measured(&terms), &households(), None).is_ok(), "{terms:?}");
    }
    let bad = [
        (vec![base(RELEASE_BASE_MAX + 1)], "more than 1000000000000"),
        (vec![noise(0.5, RELEASE_BASE_MAX + 1), base(10), budget(1.0)], "more than 1000000000000"),
        (vec![noise(0.5, 0), base(10), budget(1.0)], "`0` is less than 1"),
        (vec![noise(0.0009, 10), base(10), budget(1.0)], "not between 0.001 and 1000"),
        (vec![noise(0.5, 10), base(10), budget(1_000.1)], "not between 0.001 and 1000"),
        (vec![noise(0.5, 10), base(10), budget(0.499_999)], "costs more than the budget"),
        (vec![drawn("mean", 0.5, None), budget(1.0)], "a mean takes no noise"),
        (vec![drawn("absent", 0.5, None), budget(1.0)], "no measure `absent`"),
        (vec![("perron:noise", "isAllOf", json!([{"perron:name": "litres"}]))], "perron:epsilon`: missing"),
        (vec![("perron:rounding", "isAllOf", json!([{"perron:name": "litres"}]))], "perron:base`: missing"),
        (vec![("perron:totals", "eq", json!(7))], "1 to 63 of a-z"),
    ];
    for (terms, expected) in bad {
        let error = refused(&measured(&terms), &households());
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn each_measure_is_protected_once_and_by_its_own_members() {
    let of = |measure: &str, extra: Json| {
        let mut of = json!({"perron:name": measure, "perron:base": 5});
        of.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        of
    };
    let twice = vec![("perron:rounding", "isAllOf", json!([of("litres", json!({})), of("litres", json!({}))]))];
    assert!(refused(&measured(&twice), &households()).detail.contains("a measure is named twice"));
    let bound = vec![("perron:rounding", "isAllOf", json!([of("litres", json!({"perron:bound": 5}))]))];
    assert!(refused(&measured(&bound), &households()).detail.contains("`perron:bound` at"));
    let two = vec![("perron:rounding", "isAllOf", json!([of("litres", json!({})), of("whole", json!({}))]))];
    let View::Aggregates(spec) = parse(&measured(&two), &households(), None).unwrap().view else { panic!("rows") };
    assert_eq!(spec.protection.rounding, [("litres".to_owned(), 5), ("whole".to_owned(), 5)].into());
    for (left, operator) in
        [("perron:totals", "isAllOf"), ("perron:budget", "eq"), ("perron:noise", "isAnyOf"), ("perron:rounding", "eq")]
    {
        let error = refused(&measured(&[(left, operator, json!(1))]), &households());
        assert!(error.detail.contains(&format!("`{operator}` at")), "{error}");
    }
}

#[test]
fn what_a_table_costs_is_the_sum_of_its_noises() {
    let noises = json!([
        {"perron:name": "litres", "perron:epsilon": 0.25, "perron:bound": 10},
        {"perron:name": "whole", "perron:epsilon": 0.5},
    ]);
    let terms = [("perron:noise", "isAllOf", noises), base(10), budget(0.75)];
    let View::Aggregates(spec) = parse(&measured(&terms), &households(), None).unwrap().view else { panic!("rows") };
    assert_eq!(spec.protection.epsilon_micro(), 750_000);
    assert!(!spec.protection.is_floor_alone() && Protection::default().is_floor_alone());
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(json["protection"]["noise"]["whole"], json!({"epsilon_micro": 500_000, "bound": 1}));
    assert_eq!(serde_json::to_value(protected(&[])).unwrap().get("protection"), None);
}

/// Tables conflict by a measure of one kind over one column: numbers of subjects with numbers of
/// subjects, quantities with quantities.
#[test]
fn measures_conflict_by_kind_and_column() {
    let measure = |function, column: &str, name: &str| Measure { function, column: column.into(), name: name.into() };
    let spec = |measure: Measure, noisy: bool| {
        let name = measure.name.clone();
        let noise = noisy.then_some((name, Noise { epsilon_micro: 1_000, bound: 1 }));
        ReleaseSpec {
            dimensions: Vec::new(),
            measures: vec![measure],
            floor: 2,
            protection: Protection { noise: noise.into_iter().collect(), ..Protection::default() },
        }
    };
    use MeasureFunction::{Mean, Subjects, Sum};
    let noisy = spec(measure(Sum, "litres", "a"), true);
    for (other, conflicts) in [
        (spec(measure(Sum, "litres", "a"), false), true),
        (spec(measure(Mean, "litres", "b"), false), true),
        (spec(measure(Sum, "litres", "b"), true), false),
        (spec(measure(Sum, "number", "a"), false), false),
        (spec(measure(Subjects, "litres", "a"), false), false),
    ] {
        assert_eq!(noisy.conflict(&other).is_some(), conflicts, "{other:?}");
        assert_eq!(other.conflict(&noisy).is_some(), conflicts, "{other:?}");
    }
}
