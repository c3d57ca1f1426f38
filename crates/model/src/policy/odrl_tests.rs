//! Policies as people write them, and each thing that is refused.

use super::odrl::{ACTION_READ, ACTION_USE, PROFILE, assignee, check_legal_basis, parse, read};
use super::rule::NUMBER_MAX;
use super::*;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorCode};
use crate::id::ParticipantId;
use crate::limits::{POLICY_BYTES_MAX, POLICY_DEPTH_MAX, POLICY_TERMS_MAX};
use crate::time::Timestamp;
use serde_json::{Value as Json, json};
use std::sync::Arc;

const ROWS: &[u8] = include_bytes!("../../../../policies/examples/building-water-rows.json");
const AGGREGATES: &[u8] = include_bytes!("../../../../policies/examples/household-water-aggregates.json");

pub(super) fn column(name: &str, kind: &str, protection: &str) -> Json {
    json!({"name": name, "type": kind, "meaning": "as named", "protection": protection})
}

pub(super) fn dataset(id: &str, subject_key: Json, columns: Vec<Json>) -> Dataset {
    let description = json!({
        "id": id, "title": "Water", "description": "Readings", "theme": "ENVI", "owner": "Commune",
        "subject_key": subject_key, "regime": "public-task", "visibility": {"to": "members"}, "columns": columns,
    });
    serde_json::from_value::<Dataset>(description).unwrap().check().unwrap()
}

pub(super) fn buildings() -> Dataset {
    dataset(
        "building_water",
        json!({"declared": "none"}),
        vec![
            column("nis", "text", "none"),
            column("building", "text", "none"),
            column("meter", "text", "none"),
            column("start_local", "timestamp", "none"),
            column("litres", "number", "none"),
            column("minutes_present", "integer", "none"),
            column("public", "boolean", "none"),
        ],
    )
}

pub(super) fn households() -> Dataset {
    dataset(
        "household_water",
        json!({"declared": "column", "column": "household"}),
        vec![
            column("meter", "text", "personal"),
            column("household", "text", "personal"),
            column("number", "integer", "none"),
            column("sector", "text", "none"),
            column("occupants", "integer", "personal"),
            column("date", "date", "none"),
            column("litres", "number", "personal"),
        ],
    )
}

pub(super) fn rows() -> Json {
    read(ROWS).unwrap()
}

pub(super) fn aggregates() -> Json {
    read(AGGREGATES).unwrap()
}

fn constraints(policy: &mut Json) -> &mut Vec<Json> {
    policy.pointer_mut("/permission/0/constraint").and_then(Json::as_array_mut).unwrap()
}

/// The example with its constraint on `left` replaced by another.
pub(super) fn with(mut policy: Json, left: &str, operator: &str, right: Json) -> Json {
    constraints(&mut policy).retain(|c| c["leftOperand"] != left);
    also(policy, left, operator, right)
}

pub(super) fn also(mut policy: Json, left: &str, operator: &str, right: Json) -> Json {
    constraints(&mut policy).push(json!({"leftOperand": left, "operator": operator, "rightOperand": right}));
    policy
}

pub(super) fn without(mut policy: Json, left: &str) -> Json {
    constraints(&mut policy).retain(|c| c["leftOperand"] != left);
    policy
}

pub(super) fn set(mut policy: Json, pointer: &str, value: Json) -> Json {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    policy.pointer_mut(parent).unwrap()[member] = value;
    policy
}

fn time(text: &str) -> Option<Timestamp> {
    Some(Timestamp::parse(text).unwrap())
}

pub(super) fn refused(policy: &Json, dataset: &Dataset) -> Error {
    parse(policy, dataset, None).expect_err(&policy.to_string())
}

/// Adds tests with the numbers of their constraints.
fn take(rule: &mut Rule, tests: &[(usize, Left, Test)]) {
    let mut numbering = Numbering::default();
    for (index, left, test) in tests {
        let at = format!("permission[0].constraint[{index}]");
        numbering.add(rule, Constraint::Test { at, left: left.clone(), test: test.clone() }).unwrap();
    }
}

#[test]
fn the_example_of_rows() {
    let columns = ["nis", "building", "meter", "start_local", "litres", "minutes_present"];
    let ms = |text: &str| Timestamp::parse(text).unwrap().millis();
    let mut rule = Rule::new("permission[0]", ACTION_READ);
    let texts = |text: &str| vec![Scalar::Text(text.to_owned())];
    take(
        &mut rule,
        &[
            (0, Left::Purpose, Test::Any(texts("https://w3id.org/dpv#ImprovePublicServices"))),
            (1, Left::LegalBasis, Test::Any(texts("https://w3id.org/dpv#PublicInterest"))),
            (2, Left::DateTime, Test::Range { min: ms("2025-12-31T23:00:00Z"), max: NUMBER_MAX }),
            (3, Left::DateTime, Test::Range { min: -NUMBER_MAX, max: ms("2028-12-31T23:00:00Z") - 1 }),
            (4, Left::Count, Test::Range { min: -NUMBER_MAX, max: 10_000 }),
        ],
    );
    let expected = Terms {
        rules: Arc::new(Rules { permissions: vec![rule], ..Rules::default() }),
        view: View::Rows(RowView {
            filter: vec![Predicate {
                column: "nis".to_owned(),
                operator: Operator::Eq,
                values: vec![Value::Text("63049".to_owned())],
            }],
            columns: columns.map(|name| ViewColumn { name: name.to_owned(), mask: None }).to_vec(),
            rows_max: Some(1_000_000),
        }),
    };
    assert_eq!(parse(&rows(), &buildings(), None), Ok(expected));
}

#[test]
fn the_example_of_aggregates() {
    let measure = |function, column: &str, name: &str| Measure { function, column: column.into(), name: name.into() };
    let mut rule = Rule::new("permission[0]", ACTION_USE);
    let texts = |text: &str| vec![Scalar::Text(text.to_owned())];
    let end = time("2027-12-31T23:00:00Z").unwrap().millis();
    take(
        &mut rule,
        &[
            (0, Left::Purpose, Test::Any(texts("https://w3id.org/dpv#PublicBenefit"))),
            (1, Left::LegalBasis, Test::Any(texts("https://w3id.org/dpv#OfficialAuthorityOfController"))),
            (2, Left::DateTime, Test::Range { min: -NUMBER_MAX, max: end - 1 }),
        ],
    );
    let expected = Terms {
        rules: Arc::new(Rules { permissions: vec![rule], ..Rules::default() }),
        view: View::Aggregates(ReleaseSpec {
            dimensions: vec![
                Dimension { column: "sector".to_owned(), granularity: Granularity::Value },
                Dimension { column: "date".to_owned(), granularity: Granularity::Month },
            ],
            measures: vec![
                measure(MeasureFunction::Sum, "litres", "litres"),
                measure(MeasureFunction::Subjects, "household", "households"),
            ],
            floor: 10,
            protection: Protection::default(),
        }),
    };
    assert_eq!(parse(&aggregates(), &households(), None), Ok(expected));
}

#[test]
fn compact_and_full_names_say_the_same() {
    let expected = parse(&rows(), &buildings(), None).unwrap();
    let full = String::from_utf8(ROWS.to_vec())
        .unwrap()
        .replace("\"purpose\"", "\"http://www.w3.org/ns/odrl/2/purpose\"")
        .replace("\"lteq\"", "\"odrl:lteq\"")
        .replace("\"perron:columns\"", "\"https://w3id.org/perron/odrl/v1/columns\"")
        .replace("\"https://w3id.org/dpv#ImprovePublicServices\"", "{\"@id\": \"dpv:ImprovePublicServices\"}")
        .replace("\"read\"", "\"odrl:read\"");
    assert_eq!(parse(&read(full.as_bytes()).unwrap(), &buildings(), None), Ok(expected.clone()));
    let mut bare = rows();
    bare.as_object_mut().unwrap().remove("@context");
    assert_eq!(parse(&bare, &buildings(), None), Ok(expected));
}

#[test]
fn masks_stand_with_their_columns() {
    let policy = also(rows(), "perron:keyedHash", "isAllOf", json!(["meter"]));
    let policy = also(policy, "perron:null", "isAllOf", json!(["building"]));
    let View::Rows(view) = parse(&policy, &buildings(), None).unwrap().view else { panic!("not rows") };
    let masks: Vec<_> = view.columns.iter().map(|c| c.mask).collect();
    assert_eq!(masks, [None, Some(Mask::Null), Some(Mask::KeyedHash), None, None, None]);
}

#[test]
fn each_operator_of_a_row_filter() {
    let cases = [
        ("eq", json!(5), Operator::Eq, 1),
        ("neq", json!(5), Operator::Neq, 1),
        ("lt", json!(5), Operator::Lt, 1),
        ("lteq", json!(5), Operator::Lteq, 1),
        ("gt", json!(5), Operator::Gt, 1),
        ("gteq", json!(5), Operator::Gteq, 1),
        ("isAnyOf", json!([5, 6]), Operator::IsAnyOf, 2),
        ("isNoneOf", json!([5, 6]), Operator::IsNoneOf, 2),
    ];
    for (operator, right, expected, values) in cases {
        let policy = also(rows(), "perron:column/minutes_present", operator, right);
        let View::Rows(view) = parse(&policy, &buildings(), None).unwrap().view else { panic!("not rows") };
        let predicate = view.filter.last().unwrap();
        assert_eq!((predicate.operator, predicate.values.len()), (expected, values));
    }
}

#[test]
fn the_assignee_is_the_consumer() {
    let policy = set(rows(), "/assignee", json!("intercommunale"));
    let (named, other) = (ParticipantId::parse("intercommunale").unwrap(), ParticipantId::parse("other").unwrap());
    assert_eq!(assignee(&policy), Ok(Some(named.clone())));
    assert_eq!(assignee(&rows()), Ok(None));
    assert!(parse(&policy, &buildings(), None).is_ok());
    assert!(parse(&policy, &buildings(), Some(&named)).is_ok());
    assert!(parse(&rows(), &buildings(), Some(&other)).is_ok());
    let error = parse(&policy, &buildings(), Some(&other)).unwrap_err();
    assert_eq!((error.code, error.detail.contains("$.assignee")), (ErrorCode::TermInvalid, true));
}

/// The term that isn't enforced, and where it stands, are in the refusal.
#[test]
fn what_is_not_enforced_is_refused_by_name() {
    let duty = |extra: Json| {
        let mut duty = json!({"action": "delete"});
        duty.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        set(rows(), "/permission/0/duty", json!([duty]))
    };
    let prohibition = |json: Json| set(rows(), "/prohibition", json!([json]));
    let limited =
        |left: &str, op: &str| json!({"constraint": [{"leftOperand": left, "operator": op, "rightOperand": "P1D"}]});
    let cases = [
        (prohibition(json!({"action": "use", "remedy": []})), "`remedy` at `$.prohibition[0].remedy`"),
        (prohibition(json!({"action": "use", "duty": []})), "`duty` at `$.prohibition[0].duty`"),
        (prohibition(json!({"action": "divide"})), "`divide` at `$.prohibition[0].action`"),
        (
            prohibition(json!({"action": "use", "constraint": [
                {"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["nis"]},
            ]})),
            "`perron:columns` at `$.prohibition[0].constraint[0].leftOperand`",
        ),
        (duty(json!({"consequence": []})), "`consequence` at `$.permission[0].duty[0].consequence`"),
        (duty(json!({"action": "erase"})), "`erase` at `$.permission[0].duty[0].action`"),
        (duty(limited("payAmount", "lt")), "`payAmount` at `$.permission[0].duty[0].constraint[0].leftOperand`"),
        (duty(limited("elapsedTime", "gt")), "`gt` at `$.permission[0].duty[0].constraint[0].operator`"),
        (set(rows(), "/conflict", json!("invalid")), "`invalid` at `$.conflict`"),
        (also(rows(), "elapsedTime", "eq", json!("P1D")), "`eq` at"),
        (also(rows(), "event", "gt", json!("crisis")), "`gt` at"),
        (also(rows(), "perron:legalBasis", "neq", json!("dpv:Consent")), "`neq` at"),
        (also(rows(), "perron:userRole", "lt", json!("analyst")), "`lt` at"),
        (also(rows(), "perron:rate", "eq", json!(3)), "`eq` at"),
        (
            also(rows(), "systemDevice", "eq", json!("x")),
            "`systemDevice` at `$.permission[0].constraint[8].leftOperand`",
        ),
        (set(rows(), "/assigner", json!("commune")), "`assigner` at `$.assigner`"),
        (set(rows(), "/conflict", json!("perm")), "`perm` at `$.conflict`"),
        (set(rows(), "/inheritFrom", json!("urn:x")), "`inheritFrom` at `$.inheritFrom`"),
        (set(rows(), "/uid", json!("urn:x")), "`uid` at `$.uid`"),
        (set(rows(), "/@type", json!("Set")), "`Set` at `$.@type`"),
        (set(rows(), "/profile", json!("http://example.org/")), "`http://example.org/` at `$.profile`"),
        (set(rows(), "/@context", json!("http://example.org/")), "`http://example.org/` at `$.@context`"),
        (set(rows(), "/@context", json!([{"ex": "http://example.org/"}])), "`ex` at `$.@context`"),
        (set(rows(), "/permission/0/action", json!("distribute")), "`distribute` at `$.permission[0].action`"),
        (set(rows(), "/permission/0/action", json!("ex:use")), "`ex:use` at `$.permission[0].action`"),
        (also(rows(), "ex:purpose", "eq", json!("x")), "`ex:purpose` at"),
        (also(rows(), "perron:unknown", "eq", json!("x")), "`perron:unknown` at"),
        (with(rows(), "purpose", "isA", json!("x")), "`isA` at `$.permission[0].constraint[7].operator`"),
        (with(rows(), "count", "eq", json!(3)), "`eq` at"),
        (with(rows(), "perron:columns", "isAllOf", json!(["nis"])), "`isAllOf` at"),
        (with(rows(), "perron:maximumRows", "lt", json!(3)), "`lt` at"),
        (with(rows(), "perron:column/nis", "hasPart", json!("6")), "`hasPart` at"),
        (with(rows(), "perron:column/nis", "ex:eq", json!("6")), "`ex:eq` at"),
    ];
    for (policy, expected) in cases {
        let error = refused(&policy, &buildings());
        assert_eq!(error.code, ErrorCode::TermUnsupported, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
    for operand in
        ["absolutePosition", "payAmount", "industry", "language", "media", "percentage", "product", "version"]
    {
        let error = refused(&also(rows(), operand, "eq", json!("x")), &buildings());
        assert!(
            error.detail.contains(&format!("`{operand}` at `$.permission[0].constraint[8].leftOperand`")),
            "{error}"
        );
    }
    let mut logical = rows();
    let columns = json!({"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["nis"]});
    constraints(&mut logical).push(json!({"or": [columns]}));
    assert!(
        refused(&logical, &buildings()).detail.contains("`perron:columns` at `$.permission[0].constraint[8].or[0]")
    );
}

#[test]
fn a_term_of_rows_fits_the_set() {
    let cases = [
        (without(rows(), "purpose"), "no `purpose`"),
        (with(rows(), "purpose", "eq", json!("leak detection")), "`leak detection` is not a term of the DPV"),
        (with(rows(), "purpose", "isAnyOf", json!([])), "not a list of at least one"),
        (with(rows(), "purpose", "isAnyOf", json!(["dpv:A", "dpv:A"])), "named twice"),
        (also(rows(), "purpose", "eq", json!("dpv:Marketing")), "stated already at `$.permission[0].constraint[0]`"),
        (with(rows(), "perron:legalBasis", "eq", json!("https://example.org/law")), "not a term of the DPV"),
        (with(rows(), "count", "lteq", json!(0)), "`0` is less than 1"),
        (with(rows(), "count", "lteq", json!(-1)), "`-1` is less than 1"),
        (with(rows(), "count", "lteq", json!("10")), "xsd:integer"),
        (with(rows(), "perron:maximumRows", "lteq", json!(0)), "less than 1"),
        (with(rows(), "dateTime", "gteq", json!("2026")), "not a time like"),
        (also(rows(), "dateTime", "lt", json!("2026-06-01T00:00:00Z")), "stated already"),
        (with(rows(), "perron:column/absent", "eq", json!("x")), "no column `absent`"),
        (with(rows(), "perron:column/", "eq", json!("x")), "no column ``"),
        (with(rows(), "perron:column/nis", "eq", json!(63049)), "not a text"),
        (with(rows(), "perron:column/nis", "eq", json!(["63049"])), "not a text"),
        (with(rows(), "perron:column/nis", "isAnyOf", json!("63049")), "not a list"),
        (with(rows(), "perron:column/public", "lt", json!(true)), "no order"),
        (with(rows(), "perron:columns", "isAnyOf", json!(["absent"])), "no column `absent`"),
        (with(rows(), "perron:columns", "isAnyOf", json!(["nis", "nis"])), "`nis` is named twice"),
        (with(rows(), "perron:columns", "isAnyOf", json!([])), "not a list of at least one"),
        (with(rows(), "perron:columns", "isAnyOf", json!([1])), "not the name of a column"),
        (without(rows(), "perron:columns"), "neither `perron:columns` nor `perron:measures`"),
        (also(rows(), "perron:null", "isAllOf", json!(["public"])), "`public` is not given"),
        (also(rows(), "perron:floor", "gteq", json!(10)), "declares no data-subject key"),
        (set(rows(), "/permission/0/action", json!("aggregate")), "the action is `use` or `read`"),
        (set(rows(), "/permission/0/action", json!({"@id": "use"})), "one action, a text"),
        (set(rows(), "/permission", json!([])), "at least one permission"),
        (set(rows(), "/permission", json!([{}, {}])), "a permission has a list of constraints"),
        (set(rows(), "/permission", json!({})), "a list of permissions"),
        (set(rows(), "/prohibition", json!([])), "not a list of at least one"),
        (set(rows(), "/obligation", json!({})), "not a list of at least one"),
        (set(rows(), "/permission/0/duty", json!([])), "not a list of at least one"),
        (
            set(rows(), "/target", json!("other_water")),
            "the policy is offered with `building_water`, not `other_water`",
        ),
        (set(rows(), "/permission/0/target", json!({"source": "building_water"})), "an `AssetCollection` or `Asset`"),
        (set(rows(), "/permission/0/assignee", json!({"source": "x"})), "a `Party` or a `PartyCollection`"),
        (set(rows(), "/permission/0/assignee", json!({"@type": "PartyCollection", "source": "x"})), "named by an IRI"),
        (set(rows(), "/conflict", json!({})), "the strategy is `prohibit`"),
        (also(rows(), "spatial", "eq", json!("Belgium")), "a country code of two letters"),
        (also(rows(), "elapsedTime", "lteq", json!("P1Y")), "not a duration like P30D"),
        (also(rows(), "recipient", "isAnyOf", json!(["Not A Name"])), "rightOperand[0]"),
        (also(rows(), "perron:userRole", "eq", json!("Head of all")), "a role is"),
        (also(rows(), "perron:volume", "lteq", json!(9_007_199_254_740_992_i64)), "over 2^53 - 1"),
        (also(rows(), "event", "eq", json!("A Crisis")), "the name of a fact"),
        (also(rows(), "perron:fact/", "eq", json!(true)), "the name of a fact"),
        (also(rows(), "perron:fact/season", "eq", json!(3)), "a fact is true, false or a text"),
        (set(rows(), "/profile", Json::Null), "the policy states its profile"),
        (set(rows(), "/@id", json!("a b")), "$.@id"),
        (set(rows(), "/assignee", json!("Not A Name")), "$.assignee"),
        (set(rows(), "/@context", json!([{"dpv": "http://example.org/"}])), "$.@context.dpv"),
    ];
    for (policy, expected) in cases {
        let error = refused(&policy, &buildings());
        assert_eq!(error.code, ErrorCode::TermInvalid, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
    let masks = also(rows(), "perron:null", "isAllOf", json!(["meter"]));
    let twice = also(masks, "perron:keyedHash", "isAllOf", json!(["meter"]));
    assert!(refused(&twice, &buildings()).detail.contains("masked twice"));
    let window = without(rows(), "dateTime");
    let window = also(window, "dateTime", "gteq", json!("2027-01-01T00:00:00Z"));
    let window = also(window, "dateTime", "lt", json!("2027-01-01T00:00:00Z"));
    assert!(refused(&window, &buildings()).detail.contains("ends before it begins"));
}

#[test]
fn a_term_of_aggregates_fits_the_set() {
    let dimensions = |right: Json| with(aggregates(), "perron:dimensions", "isAllOf", right);
    let measures = |right: Json| with(aggregates(), "perron:measures", "isAnyOf", right);
    let sum =
        |column: &str, name: &str| json!({"perron:function": "sum", "perron:column": column, "perron:name": name});
    let cases = [
        (with(aggregates(), "perron:floor", "gteq", json!(1)), "`1` is less than 2"),
        (with(aggregates(), "perron:floor", "gteq", json!(5_000_000_000_u64)), "32 bits"),
        (without(aggregates(), "perron:floor"), "`perron:floor` is missing"),
        (without(aggregates(), "perron:dimensions"), "`perron:dimensions` is missing"),
        (dimensions(json!([])), "not a list of at least one"),
        (dimensions(json!(["absent"])), "no column `absent`"),
        (dimensions(json!(["household"])), "`household` tells of a person"),
        (dimensions(json!(["meter"])), "`meter` tells of a person"),
        (dimensions(json!(["occupants"])), "`occupants` tells of a person"),
        (dimensions(json!(["litres"])), "not a category"),
        (dimensions(json!(["sector", "sector"])), "two columns `sector`"),
        (
            dimensions(json!([{"perron:column": "sector", "perron:granularity": "month"}])),
            "neither a date nor a timestamp",
        ),
        (measures(json!([])), "not a list of at least one"),
        (measures(json!([sum("absent", "x")])), "no column `absent`"),
        (measures(json!([sum("sector", "x")])), "not a quantity"),
        (measures(json!([sum("date", "x")])), "not a quantity"),
        (measures(json!([sum("litres", "Litres")])), "1 to 63 of a-z"),
        (measures(json!([sum("litres", "sector")])), "two columns `sector`"),
        (measures(json!([{"perron:function": "sum", "perron:name": "x"}])), "perron:column`: missing"),
        (also(aggregates(), "perron:columns", "isAnyOf", json!(["sector"])), "one of them"),
        (also(aggregates(), "perron:column/sector", "eq", json!("a")), "a row filter belongs to"),
        (also(aggregates(), "perron:null", "isAllOf", json!(["sector"])), "a mask belongs to"),
        (also(aggregates(), "perron:keyedHash", "isAllOf", json!(["sector"])), "a mask belongs to"),
        (also(aggregates(), "perron:maximumRows", "lteq", json!(3)), "`perron:maximumRows` belongs to"),
    ];
    for (policy, expected) in cases {
        let error = refused(&policy, &households());
        assert_eq!(error.code, ErrorCode::TermInvalid, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
    let unsupported = [
        (dimensions(json!([{"perron:column": "date", "perron:granularity": "week"}])), "`week` at"),
        (dimensions(json!([{"column": "date"}])), "`column` at"),
        (
            measures(json!([{"perron:function": "median", "perron:column": "litres", "perron:name": "x"}])),
            "`median` at",
        ),
        (
            measures(json!([{"perron:function": "subjects", "perron:column": "meter", "perron:name": "x"}])),
            "`perron:column` at",
        ),
    ];
    for (policy, expected) in unsupported {
        let error = refused(&policy, &households());
        assert_eq!(error.code, ErrorCode::TermUnsupported, "{error}");
        assert!(error.detail.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn a_floor_on_a_set_without_a_subject_key_is_refused() {
    let described = dataset(
        "household_water",
        json!({"declared": "none"}),
        vec![column("sector", "text", "none"), column("date", "date", "none"), column("litres", "number", "none")],
    );
    let error = refused(&without(aggregates(), "perron:measures"), &described);
    assert_eq!(error.code, ErrorCode::TermInvalid);
    assert!(error.detail.contains("data-subject key"), "{error}");
    assert!(refused(&aggregates(), &described).detail.contains("data-subject key"));
}

#[test]
fn a_policy_is_bounded() {
    let large = set(rows(), "/@id", json!("x".repeat(POLICY_BYTES_MAX)));
    assert_eq!(refused(&large, &buildings()).code, ErrorCode::TooLarge);
    assert_eq!(read(&vec![b' '; POLICY_BYTES_MAX + 1]).unwrap_err().code, ErrorCode::TooLarge);
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(read(nested(POLICY_DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(read(nested(POLICY_DEPTH_MAX + 1).as_bytes()).unwrap_err().code, ErrorCode::TooLarge);
    let deep: Json = serde_json::from_str(&nested(POLICY_DEPTH_MAX + 1)).unwrap();
    assert_eq!(refused(&deep, &buildings()).code, ErrorCode::TooLarge);
    let mut many = rows();
    let constraint = json!({"leftOperand": "perron:column/nis", "operator": "neq", "rightOperand": "1"});
    constraints(&mut many).resize(POLICY_TERMS_MAX, constraint.clone());
    assert!(parse(&many, &buildings(), None).is_ok());
    constraints(&mut many).push(constraint);
    assert!(refused(&many, &buildings()).detail.contains("more than"));
}

#[test]
fn a_member_stated_twice_is_refused_by_name() {
    let text = String::from_utf8(ROWS.to_vec())
        .unwrap()
        .replace("\"action\": \"read\",", "\"action\": \"read\", \"action\": \"use\",");
    let error = read(text.as_bytes()).unwrap_err();
    assert_eq!(error.code, ErrorCode::TermUnsupported);
    assert!(error.detail.contains("`action, stated twice` at `$.permission[0]`"), "{error}");
    for garbage in ["", "{", "{} {}", "nul", "\u{feff}{}", "[1e999]"] {
        assert_eq!(read(garbage.as_bytes()).unwrap_err().code, ErrorCode::Malformed, "{garbage}");
    }
}

#[test]
fn clauses_have_stable_paths() {
    let terms = parse(&rows(), &buildings(), None).unwrap();
    let clauses = describe(&terms);
    let paths: Vec<&str> = clauses.iter().map(|c| c.path.as_str()).collect();
    let constraint = |number: usize| format!("permission[0].constraint[{number}]");
    assert_eq!(paths[0], "permission[0]");
    assert!(paths[1..6].iter().enumerate().all(|(number, path)| *path == constraint(number)), "{paths:?}");
    assert_eq!(paths[6], "view.filter[0]");
    assert_eq!(clauses[3].parameters, json!({"from": "2025-12-31T23:00:00.000Z"}));
    assert_eq!(clauses[4].parameters, json!({"before": "2028-12-31T23:00:00.000Z"}));
    assert_eq!(clauses[5].parameters, json!({"max": 10_000}));
    assert_eq!((paths.len(), paths.last()), (14, Some(&"view.rows_max")));
    assert_eq!(clauses[6].parameters, json!({"column": "nis", "operator": "eq", "values": ["63049"]}));
    assert_eq!((clauses[1].trust, clauses[5].trust), (Trust::Recorded, Trust::PreventedByProvider));
    let terms = parse(&aggregates(), &households(), None).unwrap();
    let shown = serde_json::to_value(describe(&terms)).unwrap();
    assert_eq!(shown[5]["parameters"], json!({"column": "date", "granularity": "month"}));
    assert_eq!(shown[8]["path"], "view.floor");
    let dated = also(rows(), "perron:column/start_local", "gteq", json!("2026-01-01T00:00:00Z"));
    let clauses = describe(&parse(&dated, &buildings(), None).unwrap());
    assert_eq!(clauses[7].parameters["values"], json!(["2026-01-01T00:00:00.000Z"]));
}

/// The rules of a policy survive the log: what is written is read back.
#[test]
fn terms_are_read_back_as_written() {
    for (policy, described) in [(rows(), buildings()), (aggregates(), households())] {
        let terms = parse(&policy, &described, None).unwrap();
        let bytes = crate::canonical::to_bytes(terms.rules.as_ref()).unwrap();
        assert_eq!(crate::canonical::from_bytes::<Rules>(&bytes, POLICY_BYTES_MAX).as_ref(), Ok(terms.rules.as_ref()));
    }
    assert_eq!(rows()["profile"], PROFILE);
}

#[test]
fn the_legal_basis_of_an_offer_is_the_one_that_its_policy_states() {
    let terms = parse(&rows(), &buildings(), None).unwrap();
    assert!(check_legal_basis(&terms, "https://w3id.org/dpv#PublicInterest").is_ok());
    assert!(check_legal_basis(&terms, "https://w3id.org/dpv#Consent").is_err());
    let terms = parse(&without(rows(), "perron:legalBasis"), &buildings(), None).unwrap();
    assert!(check_legal_basis(&terms, "https://w3id.org/dpv#Consent").is_ok());
    assert!(check_legal_basis(&terms, "dpv:Consent").is_err());
    assert!(check_legal_basis(&terms, "consent").is_err());
}

/// The page shows the examples as they are.
#[test]
fn the_page_holds_the_examples() {
    let page = include_str!("../../../../policies/README.md");
    for example in [ROWS, AGGREGATES] {
        assert!(page.contains(std::str::from_utf8(example).unwrap().trim_end()));
    }
}
