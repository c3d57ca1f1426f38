//! Policies at the exact bounds and in every form of what they may state.

use super::odrl::{PROFILE, asks_for_roles, check_legal_basis, parse, read};
use super::odrl_tests::{aggregates, also, buildings, column, dataset, households, refused, rows, set, with, without};
use super::*;
use crate::error::ErrorCode;
use crate::id::ParticipantId;
use crate::limits::{
    ID_BYTES_MAX, IRI_BYTES_MAX, POLICY_BYTES_MAX, POLICY_DEPTH_MAX, POLICY_RULES_MAX, POLICY_TERMS_MAX,
};
use serde_json::{Value as Json, json};

fn taken(policy: &Json) -> bool {
    parse(policy, &buildings(), None).is_ok()
}

/// Each policy is refused with this in its detail.
fn refusals<const N: usize>(cases: [(Json, &str); N]) {
    for (policy, expected) in cases {
        let error = refused(&policy, &buildings());
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn a_text_is_as_long_and_as_deep_as_a_policy_may_be() {
    let text = format!("\"{}\"", "x".repeat(POLICY_BYTES_MAX - 2));
    assert_eq!(read(text.as_bytes()).unwrap().as_str().map(str::len), Some(POLICY_BYTES_MAX - 2));
    assert_eq!(read(format!("{text} ").as_bytes()).unwrap_err().code, ErrorCode::TooLarge);
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1));
    assert!(read(nested(POLICY_DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(read(nested(POLICY_DEPTH_MAX + 1).as_bytes()).unwrap_err().code, ErrorCode::TooLarge);
    let all = r#"[null,true,-1,18446744073709551615,0.5,"é",{"a":[]}]"#;
    assert_eq!(read(all.as_bytes()).unwrap(), json!([null, true, -1, u64::MAX, 0.5, "é", {"a": []}]));
}

/// The bounds hold as well where a policy comes as JSON that was read elsewhere.
#[test]
fn json_is_as_large_and_as_deep_as_a_policy_may_be() {
    let padded = |bytes: usize| {
        let empty = serde_json::to_vec(&set(rows(), "/zzz", json!(""))).unwrap().len();
        set(rows(), "/zzz", json!("x".repeat(bytes - empty)))
    };
    assert_eq!(refused(&padded(POLICY_BYTES_MAX), &buildings()).code, ErrorCode::TermUnsupported);
    assert_eq!(refused(&padded(POLICY_BYTES_MAX + 1), &buildings()).code, ErrorCode::TooLarge);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |levels: usize| {
            let text = format!("{}1{}", open.repeat(levels - 2), close.repeat(levels - 2));
            set(rows(), "/zzz", serde_json::from_str(&text).unwrap())
        };
        assert_eq!(refused(&nested(POLICY_DEPTH_MAX), &buildings()).code, ErrorCode::TermUnsupported);
        assert_eq!(refused(&nested(POLICY_DEPTH_MAX + 1), &buildings()).code, ErrorCode::TooLarge);
    }
}

#[test]
fn a_context_names_what_is_known_and_prefixes_mean_what_they_mean() {
    let prefixes = json!({
        "perron": PROFILE, "odrl": "http://www.w3.org/ns/odrl/2/", "dpv": "https://w3id.org/dpv#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
    });
    let context = |context: Json| set(rows(), "/@context", context);
    let known = [
        "https://w3id.org/perron/odrl/v1/context.jsonld",
        "https://w3id.org/dspace/2025/1/context.jsonld",
        "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
        "http://www.w3.org/ns/odrl.jsonld",
    ];
    assert!(taken(&context(json!([known[0], known[1], known[2], known[3], prefixes]))));
    assert!(taken(&context(prefixes.clone())) && taken(&context(json!(known[3]))) && taken(&context(json!([]))));
    for prefix in ["perron", "odrl", "dpv", "xsd"] {
        let mut other = prefixes.clone();
        other[prefix] = json!("http://example.org/");
        let place = format!("at `$.@context.{prefix}`: the prefix means");
        assert!(refused(&context(other), &buildings()).detail.contains(&place));
    }
    refusals([
        (context(json!(7)), "a context is an IRI or an object of prefixes"),
        (context(json!({"rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#"})), "`rdf` at `$.@context`"),
    ]);
}

#[test]
fn a_policy_says_its_type_its_profile_its_strategy_and_perhaps_its_name() {
    let good = [
        set(rows(), "/@type", json!("odrl:Offer")),
        set(rows(), "/profile", json!([PROFILE])),
        set(rows(), "/conflict", json!("prohibit")),
        set(rows(), "/@id", json!("x")),
        set(rows(), "/@id", json!("x".repeat(IRI_BYTES_MAX))),
        set(rows(), "/permission/0/@id", json!("urn:x")),
    ];
    for policy in good {
        assert!(taken(&policy), "{policy}");
    }
    refusals([
        (set(rows(), "/@type", json!(["Offer"])), "has the type `Offer`"),
        (set(rows(), "/profile", json!([PROFILE, "http://example.org/"])), "the policy states its profile"),
        (set(rows(), "/profile", json!([])), "the policy states its profile"),
        (set(rows(), "/profile", json!(["http://example.org/"])), "`http://example.org/` at `$.profile`"),
        (set(rows(), "/@id", json!("")), "at `$.@id`"),
        (set(rows(), "/@id", json!("x".repeat(IRI_BYTES_MAX + 1))), "at `$.@id`"),
        (set(rows(), "/@id", json!("é")), "at `$.@id`"),
        (set(rows(), "/@id", json!(7)), "at `$.@id`"),
        (set(rows(), "/permission/0/@id", json!("")), "at `$.permission[0].@id`"),
        (set(rows(), "/assignee", json!(7)), "not the name of a participant"),
    ]);
}

/// Permissions, prohibitions and obligations count together.
#[test]
fn rules_of_all_kinds_count_together() {
    let policy = |prohibitions: usize, obligations: usize| {
        let policy = set(rows(), "/prohibition", json!(vec![json!({"action": "sell"}); prohibitions]));
        set(policy, "/obligation", json!(vec![json!({"action": "delete"}); obligations]))
    };
    let most = POLICY_RULES_MAX - 1;
    assert!(taken(&policy(most - 1, 1)) && taken(&policy(1, most - 1)));
    refusals([
        (policy(most, 1), "more than 100 rules"),
        (policy(1, most), "more than 100 rules"),
        (policy(50, 50), "more than 100 rules"),
    ]);
}

#[test]
fn names_of_facts_and_roles_have_letters_digits_and_two_marks() {
    let longest = format!("f{}", "0".repeat(ID_BYTES_MAX - 1));
    let longer = format!("{longest}0");
    for good in ["a", "a9", "a-b", "a_b", longest.as_str()] {
        assert!(is_fact_name(good), "{good}");
        assert!(taken(&also(rows(), &format!("perron:fact/{good}"), "eq", json!(true))));
        assert!(taken(&also(rows(), "perron:userRole", "isNoneOf", json!([good]))));
        assert!(taken(&also(rows(), "event", "neq", json!(good))));
    }
    for bad in ["", "9a", "-a", "_a", "A", "aB", "a.b", "a b", "é", longer.as_str()] {
        assert!(!is_fact_name(bad), "{bad}");
        refusals([
            (also(rows(), &format!("perron:fact/{bad}"), "eq", json!(true)), "the name of a fact"),
            (also(rows(), "perron:userRole", "eq", json!(bad)), "a role is 1 to 63"),
            (also(rows(), "event", "eq", json!(bad)), "the name of a fact"),
        ]);
    }
    // The prefix is one: what repeats it is no name.
    refusals([
        (also(rows(), "perron:fact/fact/open", "eq", json!(true)), "the name of a fact"),
        (also(rows(), "event", "gt", json!(5)), "`gt` at"),
        (also(rows(), "event", "eq", json!(5)), "the name of a fact"),
    ]);
}

#[test]
fn values_of_sets_are_read_to_their_bounds() {
    let longest = "x".repeat(ID_BYTES_MAX);
    assert!(taken(&also(rows(), "perron:fact/season", "neq", json!(longest))));
    assert!(taken(&also(rows(), "perron:fact/season", "isNoneOf", json!([longest, false]))));
    assert!(taken(&also(rows(), "spatial", "isNoneOf", json!(["BE"]))));
    refusals([
        (also(rows(), "perron:fact/season", "eq", json!(format!("{longest}x"))), "a text of at most 63 bytes"),
        (also(rows(), "perron:fact/season", "isAnyOf", json!([])), "not a list of at least one"),
        (also(rows(), "perron:fact/season", "lt", json!("a")), "`lt` at"),
        (also(rows(), "spatial", "eq", json!("be")), "two letters"),
        (also(rows(), "spatial", "eq", json!("BEL")), "two letters"),
        (also(rows(), "spatial", "eq", json!("B1")), "two letters"),
        (also(rows(), "spatial", "eq", json!(32)), "two letters"),
        (also(rows(), "recipient", "eq", json!(7)), "not the name of a participant"),
        (also(rows(), "perron:userRole", "isAllOf", json!(["a", "a"])), "named twice"),
        (with(rows(), "purpose", "eq", json!({"@id": "dpv:Marketing", "x": 1})), "`x` at"),
        (with(rows(), "purpose", "eq", json!({"@id": 7})), "not a text"),
        (also(rows(), "odrl:and", "eq", json!(1)), "`odrl:and` at"),
    ]);
}

/// A permission needs its purpose at the top: one among alternatives may not hold.
#[test]
fn a_purpose_among_alternatives_is_none() {
    let purpose = |of: &str| json!({"leftOperand": "purpose", "operator": "eq", "rightOperand": of});
    let mut policy = without(rows(), "purpose");
    policy["permission"][0]["constraint"]
        .as_array_mut()
        .unwrap()
        .push(json!({"or": [purpose("dpv:Marketing"), purpose("dpv:ScientificResearch")]}));
    refusals([(policy, "no `purpose` is stated")]);
}

/// A legal basis is bound by the permission where it stands at the top; an alternative binds nothing.
#[test]
fn a_legal_basis_among_alternatives_does_not_bind_the_offer() {
    let basis = |of: &str| json!({"leftOperand": "perron:legalBasis", "operator": "eq", "rightOperand": of});
    let mut policy = without(rows(), "perron:legalBasis");
    let constraints = policy["permission"][0]["constraint"].as_array_mut().unwrap();
    constraints.push(json!({"or": [basis("dpv:Consent"), basis("dpv:Contract")]}));
    let terms = parse(&policy, &buildings(), None).unwrap();
    assert_eq!(check_legal_basis(&terms, "https://w3id.org/dpv#PublicInterest"), Ok(()));
    let terms = parse(&rows(), &buildings(), None).unwrap();
    let error = check_legal_basis(&terms, "https://w3id.org/dpv#Consent").unwrap_err();
    let stated = "the policy states `https://w3id.org/dpv#PublicInterest` at `permission[0].constraint[1]`";
    assert!(error.detail.contains(stated), "{error}");
}

/// Neither a window among alternatives nor another bound is the window of a permission.
#[test]
fn a_window_is_stated_at_the_top() {
    let time = |operator: &str, at: &str| json!({"leftOperand": "dateTime", "operator": operator, "rightOperand": at});
    let mut policy = without(rows(), "dateTime");
    let constraints = policy["permission"][0]["constraint"].as_array_mut().unwrap();
    constraints.push(json!({"or": [time("gt", "2030-01-01T00:00:00Z"), time("lt", "2020-01-01T00:00:00Z")]}));
    assert_eq!(parse(&policy, &buildings(), None).unwrap().until(), None);
    let constraints = policy["permission"][0]["constraint"].as_array_mut().unwrap();
    constraints.push(time("gteq", "2030-01-01T00:00:00Z"));
    constraints.push(time("lteq", "2030-01-01T00:00:00Z"));
    let until = parse(&policy, &buildings(), None).unwrap().until();
    assert_eq!(until.map(|t| t.to_string()).as_deref(), Some("2030-01-01T00:00:00.001Z"), "a millisecond is a window");
}

#[test]
fn parties_and_assets_are_named_in_full_or_by_their_name() {
    let party = |source: &str| json!({"@type": "Party", "source": source});
    let own = |member: &str, value: Json| set(rows(), &format!("/permission/0/{member}"), value);
    let terms = parse(&own("assignee", party("intercommunale")), &buildings(), None).unwrap();
    assert_eq!(terms.rules.permissions[0].assignee, "intercommunale");
    let asset = own("target", json!({"@type": "odrl:Asset", "source": "building_water"}));
    assert_eq!(parse(&asset, &buildings(), None).unwrap().rules.permissions[0].target, "building_water");
    let other = ParticipantId::parse("other").unwrap();
    let error = parse(&own("assignee", party("intercommunale")), &buildings(), Some(&other)).unwrap_err();
    assert!(error.detail.contains("the policy is for `intercommunale`, not for `other`"), "{error}");
    let filter = json!([{"leftOperand": "perron:column/nis", "operator": "eq", "rightOperand": "1"}]);
    let refined = json!({"@type": "Asset", "source": "building_water", "refinement": filter});
    refusals([
        (own("assignee", party("Not A Name")), "at `$.permission[0].assignee.source`"),
        (own("assignee", json!({"@type": "Asset", "source": "x"})), "a `Party` or a `PartyCollection`"),
        (own("assignee", json!({"@type": "Party", "source": "x", "more": 1})), "`more` at"),
        (own("target", json!({"@type": "Party", "source": "x"})), "an `AssetCollection` or `Asset`"),
        (own("target", json!("urn:a b")), "named by an IRI"),
        (own("action", json!({"rdf:value": "use", "more": 1})), "`more` at"),
        (own("action", json!({"rdf:value": 7})), "not a text"),
        (own("action", json!(7)), "one action, a text"),
        // A prohibition's own target states nothing of the view.
        (set(rows(), "/prohibition", json!([{"action": "use", "target": refined}])), "`perron:column/nis` at"),
        (set(rows(), "/prohibition", json!([{"action": "use", "constraint": {}}])), "not a list of constraints"),
    ]);
}

#[test]
fn duties_have_a_deadline_of_a_moment_or_of_a_length() {
    let duty = |constraint: Json| set(rows(), "/obligation", json!([{"action": "delete", "constraint": constraint}]));
    let limit = |left: &str, operator: &str, right: &str| {
        duty(json!([{"leftOperand": left, "operator": operator, "rightOperand": right}]))
    };
    let read = |policy: &Json| {
        let terms = parse(policy, &buildings(), None).unwrap();
        (terms.rules.obligations[0].before_ms, terms.rules.obligations[0].within_ms)
    };
    assert_eq!(read(&limit("dateTime", "lt", "1970-01-01T00:00:01Z")), (Some(1_000), None));
    assert_eq!(read(&limit("dateTime", "lteq", "1970-01-01T00:00:01Z")), (Some(1_001), None));
    assert_eq!(read(&limit("elapsedTime", "lt", "PT1S")), (None, Some(1_000)));
    assert_eq!(read(&limit("elapsedTime", "lteq", "PT1S")), (None, Some(1_001)));
    refusals([
        (limit("dateTime", "gteq", "1970-01-01T00:00:01Z"), "`gteq` at"),
        (duty(json!([])), "not a list of at least one"),
        (set(rows(), "/obligation", json!([{"action": "delete", "assignee": 7}])), "not the name of a participant"),
    ]);
}

#[test]
fn dimensions_and_measures_count_together() {
    let names: Vec<String> = (0..POLICY_TERMS_MAX).map(|n| format!("c{n}")).collect();
    let mut columns: Vec<Json> = names.iter().map(|name| column(name, "text", "none")).collect();
    columns.push(column("household", "text", "personal"));
    let described = dataset("household_water", json!({"declared": "column", "column": "household"}), columns);
    let subjects = json!([{"perron:function": "subjects", "perron:name": "households"}]);
    let policy = with(aggregates(), "perron:measures", "isAnyOf", subjects);
    let of = |count: usize| with(policy.clone(), "perron:dimensions", "isAllOf", json!(names[..count]));
    assert!(parse(&of(POLICY_TERMS_MAX - 1), &described, None).is_ok());
    let error = refused(&of(POLICY_TERMS_MAX), &described);
    assert!(error.detail.contains("more than 200 dimensions and measures"), "{error}");
}

#[test]
fn names_in_a_table_are_those_of_columns() {
    let longest = format!("m{}", "0".repeat(ID_BYTES_MAX - 1));
    let named = |name: &str| {
        let sum = json!([{"perron:function": "mean", "perron:column": "number", "perron:name": name}]);
        with(aggregates(), "perron:measures", "isAnyOf", sum)
    };
    for good in ["a", "a_9", longest.as_str()] {
        let View::Aggregates(spec) = parse(&named(good), &households(), None).unwrap().view else { panic!("rows") };
        assert_eq!((spec.measures[0].name.as_str(), spec.measures[0].function), (good, MeasureFunction::Mean));
    }
    for bad in ["", "9a", "_a", "aB", "a-b", "a.b", format!("{longest}0").as_str()] {
        assert!(refused(&named(bad), &households()).detail.contains("1 to 63 of a-z"), "{bad}");
    }
    for (granularity, expected) in [
        ("value", Granularity::Value),
        ("day", Granularity::Day),
        ("month", Granularity::Month),
        ("year", Granularity::Year),
    ] {
        let date = json!([{"perron:column": "date", "perron:granularity": granularity}]);
        let policy = with(aggregates(), "perron:dimensions", "isAllOf", date);
        let View::Aggregates(spec) = parse(&policy, &households(), None).unwrap().view else { panic!("rows") };
        assert_eq!(spec.dimensions, [Dimension { column: "date".to_owned(), granularity: expected }]);
    }
}

#[test]
fn roles_are_asked_for_by_a_left_operand_alone() {
    for (json, asks) in [
        (json!([{"leftOperand": "perron:userRole"}]), true),
        (json!({"constraint": [{"leftOperand": "purpose"}, {"leftOperand": "perron:userRole"}]}), true),
        (json!({"rightOperand": "perron:userRole"}), false),
        (json!({"leftOperand": "purpose"}), false),
        (json!({"leftOperand": ["perron:userRole"]}), false),
        (json!("perron:userRole"), false),
        (json!(7), false),
    ] {
        assert_eq!(asks_for_roles(&json), asks, "{json}");
    }
}
