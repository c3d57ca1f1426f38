//! Clauses, whole: each place, term, parameter and what must be trusted.

use super::odrl::parse;
use super::odrl_tests::{aggregates, also, buildings, households, rows, set};
use super::*;
use serde_json::{Value as Json, json};

fn constraint(left: &str, operator: &str, right: Json) -> Json {
    json!({"leftOperand": left, "operator": operator, "rightOperand": right})
}

/// The clauses of a policy's rules, without those of its view.
fn clauses(policy: &Json) -> Vec<(String, &'static str, Json, Trust)> {
    let terms = parse(policy, &buildings(), None).unwrap();
    let shown = describe(&terms).into_iter().filter(|c| !c.path.starts_with("view."));
    shown.map(|c| (c.path, c.term, c.parameters, c.trust)).collect()
}

const PREVENTED: Trust = Trust::PreventedByProvider;

#[test]
fn each_test_is_shown_with_its_values_and_what_is_trusted() {
    let cases = [
        (constraint("count", "gt", json!(2)), "odrl:count", json!({"from": 3}), PREVENTED),
        (constraint("elapsedTime", "lt", json!("PT1S")), "odrl:elapsedTime", json!({"max": 999}), PREVENTED),
        (constraint("spatial", "neq", json!("US")), "odrl:spatial", json!({"none of": ["US"]}), PREVENTED),
        (constraint("recipient", "eq", json!("a")), "odrl:recipient", json!({"any of": ["a"]}), PREVENTED),
        (constraint("perron:volume", "lteq", json!(9)), "perron:volume", json!({"max": 9}), PREVENTED),
        (constraint("perron:rate", "lt", json!(9)), "perron:rate", json!({"max": 8}), PREVENTED),
        (
            constraint("perron:userRole", "isAllOf", json!(["b", "a"])),
            "perron:userRole",
            json!({"all of": ["a", "b"]}),
            Trust::CarriedOutByConsumer,
        ),
        (
            constraint("perron:fact/open", "eq", json!(true)),
            "perron:fact",
            json!({"any of": [true], "fact": "open"}),
            PREVENTED,
        ),
        (
            constraint("dateTime", "neq", json!("2026-02-01T00:00:00Z")),
            "odrl:dateTime",
            json!({"other than": "2026-02-01T00:00:00.000Z"}),
            PREVENTED,
        ),
        (
            constraint("dateTime", "eq", json!("2026-02-01T00:00:00Z")),
            "odrl:dateTime",
            json!({"from": "2026-02-01T00:00:00.000Z", "before": "2026-02-01T00:00:00.001Z"}),
            PREVENTED,
        ),
    ];
    for (constraint, term, parameters, trust) in cases {
        let mut policy = rows();
        policy["permission"][0]["constraint"].as_array_mut().unwrap().push(constraint);
        let last = clauses(&policy).pop().unwrap();
        assert_eq!(last, ("permission[0].constraint[8]".to_owned(), term, parameters, trust));
    }
}

#[test]
fn rules_are_shown_with_their_action_party_and_target() {
    let policy = set(rows(), "/permission/0/assignee", json!("intercommunale"));
    let policy = set(policy, "/permission/0/target", json!("building_water"));
    let read = "http://www.w3.org/ns/odrl/2/read";
    let parameters = json!({"action": read, "assignee": "intercommunale", "target": "building_water"});
    assert_eq!(clauses(&policy)[0], ("permission[0]".to_owned(), "odrl:permission", parameters, PREVENTED));
    assert_eq!(clauses(&rows())[0].2, json!({"action": read}));
    let event = constraint("event", "eq", json!("crisis"));
    let policy = set(rows(), "/prohibition", json!([{"action": "sell", "constraint": [event]}]));
    let shown = clauses(&policy);
    let sell = json!({"action": "http://www.w3.org/ns/odrl/2/sell"});
    assert_eq!(shown[6], ("prohibition[0]".to_owned(), "odrl:prohibition", sell, Trust::Recorded));
    assert_eq!(shown[7].1, "perron:fact");
    // Only what stands under such an action binds by contract.
    assert_eq!((shown[7].3, shown[0].3, shown[5].3), (Trust::Recorded, PREVENTED, PREVENTED));
}

#[test]
fn logic_is_shown_after_what_it_combines() {
    let (one, two) = (constraint("event", "eq", json!("a")), constraint("spatial", "eq", json!("BE")));
    let mut policy = rows();
    policy["permission"][0]["constraint"].as_array_mut().unwrap().push(json!({"xone": [one, two]}));
    let shown = clauses(&policy);
    let at = "permission[0].constraint[8]";
    let paths: Vec<&str> = shown[6..].iter().map(|c| c.0.as_str()).collect();
    assert_eq!(paths, [&format!("{at}.xone[0]"), &format!("{at}.xone[1]"), at]);
    let combined = shown.last().unwrap();
    let parameters = json!({"operator": "xone", "of": 2});
    assert_eq!(combined, &(at.to_owned(), "odrl:LogicalConstraint", parameters, PREVENTED));
}

#[test]
fn duties_are_shown_with_who_owes_them_and_until_when() {
    let duty = json!({"action": "inform", "assignee": "intercommunale", "constraint": [
        constraint("dateTime", "lt", json!("2026-02-01T00:00:00Z")), constraint("elapsedTime", "lt", json!("P1D")),
    ]});
    let policy = set(rows(), "/permission/0/duty", json!([duty]));
    let shown = clauses(&set(policy, "/obligation", json!([{"action": "delete"}])));
    let inform = json!({
        "action": "http://www.w3.org/ns/odrl/2/inform", "assignee": "intercommunale",
        "before": "2026-02-01T00:00:00.000Z", "within_ms": 86_400_000,
    });
    assert_eq!(shown[6], ("permission[0].duty[0]".to_owned(), "odrl:duty", inform, Trust::Detected));
    let delete = json!({"action": "http://www.w3.org/ns/odrl/2/delete"});
    assert_eq!(shown[7], ("obligation[0]".to_owned(), "odrl:obligation", delete, Trust::Detected));
}

#[test]
fn a_view_of_rows_is_shown_column_by_column() {
    let policy = also(rows(), "perron:null", "isAllOf", json!(["building"]));
    let policy = also(policy, "perron:keyedHash", "isAllOf", json!(["meter"]));
    let policy = also(policy, "perron:column/litres", "gt", json!(0.5));
    let policy = also(policy, "perron:column/minutes_present", "isAnyOf", json!([1, 2]));
    let policy = also(policy, "perron:column/public", "eq", json!(true));
    let shown = describe(&parse(&policy, &buildings(), None).unwrap());
    let of = |path: &str| shown.iter().find(|c| c.path == path).map(|c| (c.term, c.parameters.clone(), c.trust));
    let parameters = |path: &str| of(path).unwrap().1;
    assert_eq!(parameters("view.columns[0]"), json!({"column": "nis"}));
    assert_eq!(parameters("view.columns[1]"), json!({"column": "building", "mask": "null"}));
    let masked = json!({"column": "meter", "mask": "keyed-hash"});
    assert_eq!(of("view.columns[2]"), Some(("perron:columns", masked, PREVENTED)));
    assert_eq!(parameters("view.filter[1]"), json!({"column": "litres", "operator": "gt", "values": [0.5]}));
    assert_eq!(parameters("view.filter[2]")["values"], json!([1, 2]));
    assert_eq!(
        (parameters("view.filter[3]")["values"].clone(), parameters("view.rows_max")),
        (json!([true]), json!({"rows": 1_000_000}))
    );
}

#[test]
fn a_released_table_is_shown_with_all_that_protects_it() {
    let noise = json!([{"perron:name": "litres", "perron:epsilon": 0.5, "perron:bound": 100}]);
    let noisy = also(aggregates(), "perron:noise", "isAllOf", noise);
    let noisy = also(noisy, "perron:rounding", "isAllOf", json!([{"perron:name": "litres", "perron:base": 10}]));
    let noisy = also(noisy, "perron:budget", "lteq", json!(1));
    let exact = also(aggregates(), "perron:dominance", "gteq", json!(15));
    let exact = also(exact, "perron:totals", "eq", json!("summed"));
    let view = |policy: &Json| -> Vec<(String, &'static str, Json)> {
        let shown = describe(&parse(policy, &households(), None).unwrap()).into_iter();
        shown.filter(|c| c.path.starts_with("view.")).map(|c| (c.path, c.term, c.parameters)).collect()
    };
    let clause = |path: &str, term: &'static str, parameters: Json| (path.to_owned(), term, parameters);
    let sector = json!({"column": "sector", "granularity": "value"});
    let litres = json!({"function": "sum", "column": "litres", "name": "litres"});
    assert_eq!(view(&exact)[0], clause("view.dimensions[0]", "perron:dimensions", sector));
    assert_eq!(view(&exact)[2], clause("view.measures[0]", "perron:measures", litres));
    assert_eq!(
        view(&exact)[4..],
        [
            clause("view.floor", "perron:floor", json!({"subjects": 10})),
            clause("view.dominance", "perron:dominance", json!({"percent": 15})),
            clause("view.totals", "perron:totals", json!({"column": "summed"})),
        ]
    );
    let drawn = json!({"measure": "litres", "epsilon_micro": 500_000, "bound": 100});
    assert_eq!(
        view(&noisy)[5..],
        [
            clause("view.rounding.litres", "perron:rounding", json!({"measure": "litres", "base": 10})),
            clause("view.noise.litres", "perron:noise", drawn),
            clause("view.budget", "perron:budget", json!({"epsilon_micro": 1_000_000})),
        ]
    );
}

#[test]
fn a_day_is_shown_as_a_day() {
    let mut described = buildings();
    described.columns[0].column_type = crate::dataset::ColumnType::Date;
    let policy =
        also(super::odrl_tests::without(rows(), "perron:column/nis"), "perron:column/nis", "lt", json!("1969-12-31"));
    let shown = describe(&parse(&policy, &described, None).unwrap());
    assert_eq!(shown[6].parameters["values"], json!(["1969-12-31"]));
}
