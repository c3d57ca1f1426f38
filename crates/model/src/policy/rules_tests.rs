//! Rules beyond one permission: what each term becomes, and where it stands.

use super::odrl::{ACTION_AGGREGATE, ACTION_READ, ACTION_USE, asks_for_roles, parse};
use super::odrl_tests::{aggregates, buildings, households, refused, rows};
use super::rule::{ANY, NUMBER_MAX, Range};
use super::*;
use crate::collection::CollectionName;
use crate::error::ErrorCode;
use crate::id::ParticipantId;
use crate::limits::{POLICY_LOGIC_LEVELS_MAX, POLICY_RULES_MAX, POLICY_TERMS_MAX};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn rules(policy: &Json) -> Arc<Rules> {
    parse(policy, &buildings(), None).unwrap_or_else(|e| panic!("{e}: {policy}")).rules
}

fn constraint(left: &str, operator: &str, right: Json) -> Json {
    json!({"leftOperand": left, "operator": operator, "rightOperand": right})
}

/// The example with one more constraint; its test stands last among those of its kind.
fn with(constraint: Json) -> Json {
    let mut policy = rows();
    policy["permission"][0]["constraint"].as_array_mut().unwrap().push(constraint);
    policy
}

fn text(text: &str) -> Scalar {
    Scalar::Text(text.to_owned())
}

#[test]
fn each_left_operand_has_its_test() {
    let day = 86_400_000;
    let numbers = [
        ("dateTime", "gt", json!("2026-02-01T00:00:00Z"), 1_769_904_000_001, NUMBER_MAX),
        ("dateTime", "eq", json!("2026-02-01T00:00:00Z"), 1_769_904_000_000, 1_769_904_000_000),
        ("count", "lt", json!(10), -NUMBER_MAX, 9),
        ("elapsedTime", "lteq", json!({"@type": "xsd:duration", "@value": "P2D"}), -NUMBER_MAX, 2 * day),
        ("elapsedTime", "gteq", json!("PT1H"), 3_600_000, NUMBER_MAX),
        ("perron:volume", "lteq", json!(1_000_000), -NUMBER_MAX, 1_000_000),
        ("perron:rate", "lteq", json!(60), -NUMBER_MAX, 60),
    ];
    for (left, operator, right, min, max) in numbers {
        let rules = rules(&with(constraint(left, operator, right)));
        let permission = &rules.permissions[0];
        let last = permission.nodes.ranges.last().unwrap();
        let left = left.trim_start_matches("perron:").to_owned();
        let at = "permission[0].constraint[8]".to_owned();
        assert_eq!(last, &Range { id: 6, at, left, min, max });
        assert_eq!(permission.all, [1, 2, 3, 4, 5, 6]);
    }
    let sets = [
        ("spatial", "isAnyOf", json!(["BE", "FR"]), "spatial", "any", vec![text("BE"), text("FR")]),
        ("spatial", "neq", json!("US"), "spatial", "none", vec![text("US")]),
        ("recipient", "eq", json!("intercommunale"), "recipient", "any", vec![text("intercommunale")]),
        ("recipient", "isNoneOf", json!(["other"]), "recipient", "none", vec![text("other")]),
        (
            "perron:userRole",
            "isAllOf",
            json!(["analyst", "engineer"]),
            "userRole",
            "every",
            vec![text("analyst"), text("engineer")],
        ),
        ("perron:userRole", "eq", json!("analyst"), "userRole", "any", vec![text("analyst")]),
        ("event", "eq", json!("crisis"), "fact/crisis", "any", vec![Scalar::Boolean(true)]),
        ("event", "neq", json!("crisis"), "fact/crisis", "none", vec![Scalar::Boolean(true)]),
        (
            "perron:fact/season",
            "isAnyOf",
            json!(["summer", "spring"]),
            "fact/season",
            "any",
            vec![text("summer"), text("spring")],
        ),
        (
            "perron:fact/open",
            "eq",
            json!({"@type": "xsd:boolean", "@value": "true"}),
            "fact/open",
            "any",
            vec![Scalar::Boolean(true)],
        ),
        (
            "purpose",
            "isNoneOf",
            json!(["dpv:Marketing"]),
            "purpose",
            "none",
            vec![text("https://w3id.org/dpv#Marketing")],
        ),
    ];
    for (left, operator, right, key, kind, values) in sets {
        let rules = rules(&with(constraint(left, operator, right)));
        let nodes = &rules.permissions[0].nodes;
        let list = match kind {
            "any" => &nodes.any,
            "none" => &nodes.none,
            _ => &nodes.every,
        };
        let last = list.last().unwrap();
        assert_eq!((last.left.as_str(), &last.values, last.id), (key, &values, 6), "{left} {operator}");
    }
    let differs = rules(&with(constraint("dateTime", "neq", json!("2026-02-01T00:00:00Z"))));
    assert_eq!(differs.permissions[0].nodes.differs[0].value, 1_769_904_000_000);
}

#[test]
fn logical_constraints_become_levels() {
    let (one, two) = (constraint("event", "eq", json!("crisis")), constraint("spatial", "eq", json!("BE")));
    let rules = rules(&with(
        json!({"or": [one, {"xone": {"@list": [two, {"odrl:and": [constraint("count", "lteq", json!(3))]}]}}]}),
    ));
    let permission = &rules.permissions[0];
    let nodes = &permission.nodes;
    type Shown<'a> = (u32, &'a str, Logic, &'a [u32]);
    let shown: Vec<Vec<Shown<'_>>> = nodes
        .logic
        .iter()
        .map(|level| level.iter().map(|n| (n.id, n.at.as_str(), n.operator, n.of.as_slice())).collect())
        .collect();
    let or = "permission[0].constraint[8]";
    assert_eq!(
        shown,
        [
            vec![(9, "permission[0].constraint[8].or[1].xone[1]", Logic::And, [8].as_slice())],
            vec![(10, "permission[0].constraint[8].or[1]", Logic::Xone, [7, 9].as_slice())],
            vec![(11, or, Logic::Or, [6, 10].as_slice())],
        ]
    );
    assert_eq!(permission.all, [1, 2, 3, 4, 5, 11]);
    let sequence = with(json!({"andSequence": {"@list": [constraint("event", "eq", json!("a"))]}}));
    assert_eq!(self::rules(&sequence).permissions[0].nodes.logic[0][0].operator, Logic::AndSequence);
    for (bad, expected) in [
        (json!({"or": []}), "not a list of at least one"),
        (json!({"or": {"@set": []}}), "`@set` at"),
        (json!({"or": [constraint("count", "lteq", json!(1))], "and": []}), "at `$.permission[0].constraint[8]."),
        (json!({"or": [{"xone": [{}]}]}), "leftOperand`: missing"),
    ] {
        let error = refused(&with(bad), &buildings());
        assert!(error.detail.contains(expected), "{error}");
    }
}

#[test]
fn logic_is_bounded() {
    let mut numbering = Numbering::default();
    let mut tree = Constraint::Test { at: "t".to_owned(), left: Left::Count, test: Test::Differs(1) };
    for level in 0..=POLICY_LOGIC_LEVELS_MAX {
        let mut rule = Rule::new("permission[0]", ACTION_USE);
        let added = numbering.add(&mut rule, tree.clone());
        assert_eq!(added.is_ok(), level <= POLICY_LOGIC_LEVELS_MAX);
        assert_eq!(rule.nodes.logic.len(), level);
        tree = Constraint::Logical { at: format!("{level}"), operator: Logic::Or, of: vec![tree] };
    }
    let error = numbering.add(&mut Rule::new("permission[0]", ACTION_USE), tree).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    // Constraints within others count.
    let many: Vec<Json> = (0..POLICY_TERMS_MAX).map(|_| constraint("event", "eq", json!("a"))).collect();
    assert!(refused(&with(json!({"or": many})), &buildings()).detail.contains("more than 200 constraints"));
}

#[test]
fn several_permissions_share_one_view() {
    let mut policy = rows();
    let mut second = policy["permission"][0].clone();
    second["constraint"][0] = constraint("purpose", "eq", json!("dpv:ScientificResearch"));
    policy["permission"].as_array_mut().unwrap().push(second);
    let terms = parse(&policy, &buildings(), None).unwrap();
    assert_eq!(terms.rules.permissions.len(), 2);
    assert_eq!(terms.rules.permissions[1].nodes.any[0].at, "permission[1].constraint[0]");
    assert_eq!(terms.rules.permissions[1].all, [6, 7, 8, 9, 10]);
    policy["permission"][1]["constraint"][6] = constraint("perron:columns", "isAnyOf", json!(["nis"]));
    let error = refused(&policy, &buildings());
    assert!(error.detail.contains("`$.permission[1]`: it states another view"), "{error}");
    let many = json!(vec![json!({"action": "sell"}); POLICY_RULES_MAX]);
    let mut policy = rows();
    policy["prohibition"] = many;
    assert!(refused(&policy, &buildings()).detail.contains("more than 100 rules"));
}

/// The view the ODRL way: as refinements of the target, for all rules or for one.
#[test]
fn a_view_may_refine_the_target() {
    let expected = parse(&rows(), &buildings(), None).unwrap().view;
    let mut policy = rows();
    let constraints = policy["permission"][0]["constraint"].as_array_mut().unwrap();
    let view: Vec<Json> = constraints.drain(5..).collect();
    let target = json!({"@type": "AssetCollection", "source": "building_water", "refinement": view});
    let (mut own, mut shared) = (policy.clone(), policy);
    own["permission"][0]["target"] = target.clone();
    shared["target"] = target;
    for policy in [&own, &shared] {
        let terms = parse(policy, &buildings(), None).unwrap();
        assert_eq!(terms.view, expected);
        assert_eq!(terms.rules.permissions[0].target, "building_water");
    }
    shared["prohibition"] = json!([{"action": "use", "assignee": "intercommunale"}]);
    assert_eq!(self::rules(&shared).prohibitions[0].target, "building_water");
    own["permission"][0]["target"]["refinement"][0] = constraint("count", "lteq", json!(1));
    assert!(
        refused(&own, &buildings()).detail.contains("`count` at `$.permission[0].target.refinement[0].leftOperand`")
    );
}

#[test]
fn who_and_what_a_rule_is_about() {
    let mut policy = rows();
    policy["permission"][0]["assignee"] = json!({
        "@type": "PartyCollection", "source": "urn:water:planners",
        "refinement": [constraint("perron:userRole", "eq", json!("engineer"))],
    });
    policy["permission"][0]["target"] = json!({"@type": "AssetCollection", "source": "urn:water:all"});
    policy["permission"][0]["action"] =
        json!({"rdf:value": "odrl:use", "refinement": [constraint("event", "eq", json!("season"))]});
    let rules = self::rules(&policy);
    let permission = &rules.permissions[0];
    assert_eq!(
        (permission.action.as_str(), permission.assignee.as_str(), permission.target.as_str()),
        (ACTION_USE, "urn:water:planners", "urn:water:all")
    );
    assert_eq!(permission.nodes.any[0].at, "permission[0].action.refinement[0]");
    assert_eq!(permission.nodes.any[1].at, "permission[0].assignee.refinement[0]");
    assert_eq!(permission.all.len(), 7);
    let named = |name: &str| ParticipantId::parse(name).unwrap();
    let mut policy = rows();
    policy["permission"][0]["assignee"] = json!("intercommunale");
    assert!(parse(&policy, &buildings(), Some(&named("intercommunale"))).is_ok());
    let error = parse(&policy, &buildings(), Some(&named("other"))).unwrap_err();
    assert!(error.detail.contains("`$.permission[0].assignee`"), "{error}");
    // A prohibition may be about others.
    let mut policy = rows();
    policy["prohibition"] = json!([{"action": "use", "assignee": "intercommunale"}]);
    let terms = parse(&policy, &buildings(), Some(&named("other"))).unwrap();
    assert_eq!(terms.rules.prohibitions[0].assignee, "intercommunale");
    assert_eq!(terms.rules.permissions[0].assignee, ANY);
}

#[test]
fn prohibitions_duties_and_obligations() {
    let mut policy = rows();
    policy["conflict"] = json!("odrl:prohibit");
    policy["prohibition"] = json!([
        {"action": "distribute"},
        {"action": "use", "constraint": [constraint("perron:fact/closed", "eq", json!(true))]},
    ]);
    policy["permission"][0]["duty"] = json!([
        {"action": "attribute"},
        {"action": "inform", "assignee": "intercommunale", "constraint": [
            constraint("elapsedTime", "lteq", json!("P30D")),
            constraint("dateTime", "lt", json!("2026-02-01T00:00:00Z")),
        ]},
    ]);
    policy["obligation"] = json!([{"action": "odrl:delete"}]);
    let clauses = describe(&parse(&policy, &buildings(), None).unwrap());
    let trust = |at: &str| clauses.iter().find(|clause| clause.path == at).map(|clause| clause.trust);
    assert_eq!(trust("prohibition[0]"), Some(Trust::Recorded), "the connector sees nobody distribute");
    assert_eq!(trust("prohibition[1]"), Some(Trust::PreventedByProvider));
    let rules = rules(&policy);
    assert_eq!(rules.prohibitions[0].action, "http://www.w3.org/ns/odrl/2/distribute");
    assert_eq!(rules.prohibitions[1].nodes.any[0].at, "prohibition[1].constraint[0]");
    assert_eq!(rules.prohibitions[1].nodes.any[0].id, 6);
    let duty = &rules.permissions[0].duties[1];
    assert_eq!(
        (duty.at.as_str(), duty.assignee.as_deref(), duty.before_ms, duty.within_ms),
        ("permission[0].duty[1]", Some("intercommunale"), Some(1_769_904_000_000), Some(30 * 86_400_000 + 1))
    );
    let places: Vec<&str> = rules.duties().map(|d| d.at.as_str()).collect();
    assert_eq!(places, ["permission[0].duty[0]", "permission[0].duty[1]", "obligation[0]"]);
    let twice = json!([
        constraint("dateTime", "lt", json!("2026-02-01T00:00:00Z")),
        constraint("dateTime", "lteq", json!("2026-02-01T00:00:00Z"))
    ]);
    policy["obligation"][0]["constraint"] = twice;
    assert!(refused(&policy, &buildings()).detail.contains("stated already"));
}

/// The end of the last permission is the end of the grant; a permission without one has none.
#[test]
fn until_is_the_end_of_the_last_permission() {
    let mut policy = rows();
    assert_eq!(parse(&policy, &buildings(), None).unwrap().until().unwrap().to_string(), "2028-12-31T23:00:00.000Z");
    let mut longer = policy["permission"][0].clone();
    longer["constraint"][3] = constraint("dateTime", "lteq", json!("2030-01-01T00:00:00Z"));
    policy["permission"].as_array_mut().unwrap().push(longer);
    assert_eq!(parse(&policy, &buildings(), None).unwrap().until().unwrap().to_string(), "2030-01-01T00:00:00.001Z");
    let mut unending = policy["permission"][0].clone();
    unending["constraint"].as_array_mut().unwrap().remove(3);
    policy["permission"].as_array_mut().unwrap().push(unending);
    assert_eq!(parse(&policy, &buildings(), None).unwrap().until(), None);
}

#[test]
fn roles_are_stated_only_where_they_are_asked_for() {
    assert!(!asks_for_roles(&rows()));
    assert!(asks_for_roles(&with(constraint("perron:userRole", "eq", json!("analyst")))));
    let nested = json!({"or": [constraint("https://w3id.org/perron/odrl/v1/userRole", "eq", json!("analyst"))]});
    assert!(asks_for_roles(&with(nested)));
}

#[test]
fn a_permission_is_for_what_perron_can_do() {
    let mut policy = aggregates();
    for (action, iri) in [("read", ACTION_READ), ("aggregate", ACTION_AGGREGATE)] {
        policy["permission"][0]["action"] = json!(action);
        assert_eq!(parse(&policy, &households(), None).unwrap().rules.permissions[0].action, iri);
    }
    policy["permission"][0]["action"] = json!("sell");
    assert_eq!(refused(&policy, &households()).code, ErrorCode::TermUnsupported);
}

#[test]
fn a_read_reserves_a_part_of_the_volume_up_to_the_next_bound() {
    const MIB: u64 = 1024 * 1024;
    let bounded = |operator: &str, bytes: u64| rules(&with(constraint("perron:volume", operator, json!(bytes))));
    assert_eq!(rules(&rows()).volume_to_reserve(0), None, "no volume is counted");
    let few = bounded("lteq", 1_000);
    assert_eq!([0, 400, 999].map(|volume| few.volume_to_reserve(volume)), [Some(1_000), Some(600), Some(1)]);
    assert_eq!(bounded("lt", 1_000).volume_to_reserve(0), Some(999));
    let many = bounded("lteq", 1_000 * MIB);
    assert_eq!(many.volume_to_reserve(0), Some(250 * MIB));
    assert_eq!(many.volume_to_reserve(900 * MIB), Some(64 * MIB));
    assert_eq!(many.volume_to_reserve(990 * MIB), Some(10 * MIB));
    // From a least volume on another answer is due: a read doesn't pass it either.
    assert_eq!(bounded("gteq", 501).volume_to_reserve(100), Some(400));
}

#[test]
fn collections_are_named_by_an_iri_and_known_by_their_rules() {
    let mut policy = rows();
    policy["permission"][0]["assignee"] = json!({"@type": "PartyCollection", "source": "urn:water:planners"});
    policy["prohibition"] =
        json!([{"action": "use", "target": {"@type": "AssetCollection", "source": "urn:water:all"}}]);
    let found = rules(&policy);
    assert_eq!(found.collections().into_iter().collect::<Vec<_>>(), ["urn:water:all", "urn:water:planners"]);
    assert!(rules(&rows()).collections().is_empty());
    for name in ["planners", "", "urn:a b", &format!("urn:{}", "x".repeat(252))] {
        assert!(CollectionName::parse(name).is_err(), "{name}");
    }
    assert_eq!(CollectionName::parse("urn:x").unwrap().as_str(), "urn:x");
}

/// What can change the answer while a read runs, each alone.
#[test]
fn an_answer_may_change_by_facts_duties_prohibitions_logic_or_collections() {
    assert!(!rules(&rows()).may_change(), "only its end ends a plain permission");
    for (left, right) in [("perron:userRole", json!("a")), ("recipient", json!("a"))] {
        assert!(!rules(&with(constraint(left, "eq", right))).may_change());
    }
    let mut several = rows();
    let second = several["permission"][0].clone();
    several["permission"].as_array_mut().unwrap().push(second);
    let mut owed = rows();
    owed["permission"][0]["duty"] = json!([{"action": "inform"}]);
    let mut obliged = rows();
    obliged["obligation"] = json!([{"action": "delete"}]);
    let mut prohibited = rows();
    prohibited["prohibition"] = json!([{"action": "sell"}]);
    let mut collected = rows();
    collected["permission"][0]["assignee"] = json!({"@type": "PartyCollection", "source": "urn:planners"});
    let logical = with(json!({"or": [constraint("recipient", "eq", json!("a"))]}));
    let tests = [
        constraint("event", "eq", json!("crisis")),
        constraint("perron:fact/open", "neq", json!(true)),
        constraint("elapsedTime", "lteq", json!("P1D")),
        constraint("spatial", "eq", json!("BE")),
    ];
    let tests = tests.map(with);
    for policy in [several, owed, obliged, prohibited, collected, logical].iter().chain(&tests) {
        assert!(rules(policy).may_change(), "{policy}");
    }
}

#[test]
fn a_bound_that_is_reached_reserves_up_to_the_next() {
    let few = rules(&with(constraint("perron:volume", "lteq", json!(1_000))));
    let most = u64::try_from(NUMBER_MAX).unwrap();
    assert_eq!(few.volume_to_reserve(1_000), Some((most - 1_000) / 4));
    assert_eq!((few.volume_to_reserve(most), few.volume_to_reserve(most - 1)), (Some(0), Some(1)));
    // What prohibitions count is counted too.
    let mut policy = rows();
    policy["prohibition"] = json!([{"action": "use", "constraint": [constraint("perron:volume", "gt", json!(500))]}]);
    assert_eq!(rules(&policy).volume_to_reserve(0), Some(500));
}

#[test]
fn facts_are_known_by_the_rules_that_ask_for_them() {
    let mut policy = with(constraint("event", "eq", json!("crisis")));
    policy["prohibition"] =
        json!([{"action": "use", "constraint": [constraint("perron:fact/closed", "eq", json!(true))]}]);
    assert_eq!(rules(&policy).facts().into_iter().collect::<Vec<_>>(), ["closed", "crisis"]);
    assert!(rules(&rows()).facts().is_empty());
}

/// Each test with its number and its place, whatever its kind.
#[test]
fn tests_of_all_kinds_are_listed() {
    let mut policy = with(constraint("dateTime", "neq", json!("2026-02-01T00:00:00Z")));
    let constraints = policy["permission"][0]["constraint"].as_array_mut().unwrap();
    constraints.push(constraint("spatial", "neq", json!("US")));
    constraints.push(constraint("perron:userRole", "isAllOf", json!(["a"])));
    let rules = rules(&policy);
    let listed: Vec<(u32, &str, &str)> = rules.permissions[0].nodes.tests().collect();
    let at = |number: usize| format!("permission[0].constraint[{number}]");
    let places: Vec<String> = [2, 3, 4, 8, 0, 1, 9, 10].map(at).to_vec();
    assert_eq!(listed.iter().map(|t| t.1).collect::<Vec<_>>(), places.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(listed.iter().map(|t| t.0).collect::<Vec<_>>(), [3, 4, 5, 6, 1, 2, 7, 8]);
    assert_eq!((listed[0].2, listed[3].2, listed[7].2), ("dateTime", "dateTime", "userRole"));
}

/// Rules that are shared in memory are written and read as they are.
#[test]
fn shared_rules_are_read_back_as_written() {
    let agreement = crate::report::ReportAgreement { rules: rules(&rows()), ..Default::default() };
    let bytes = crate::canonical::to_bytes(&agreement).unwrap();
    assert!(bytes.starts_with(br#"{"rules":{"obligations":[],"permissions":[{"action":"#));
    assert_eq!(crate::canonical::from_bytes(&bytes, 65_536), Ok(agreement));
}
