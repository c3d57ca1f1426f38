//! The published profile: context, schema and prose are made from the table of terms
//! (`crates/odrl/src/terms.rs`) and the catalogue of texts, so that none of them lacks a term.
//!
//! `PERRON_WRITE=1 cargo test -p perron-odrl --test profile` writes them anew.

use perron_model::policy::odrl::PROFILE;
use perron_model::policy::{Trust, actions};
use perron_odrl::{By, FUNCTIONS, GRANULARITIES, Kind, TERMS, Term, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
const CC: &str = "http://creativecommons.org/ns#";
const CONTEXT: &str = "policies/profile/v1/context.jsonld";
const SCHEMA: &str = "policies/profile/v1/schema.json";
const PAGES: [(&str, Lang); 2] =
    [("docs/reference/policy-terms.md", Lang::En), ("docs/reference/policy-terms.fr.md", Lang::Fr)];

#[derive(Clone, Copy)]
enum Lang {
    En,
    Fr,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// A text of the catalogue.
fn text(lang: Lang, key: &str) -> String {
    let texts = match lang {
        Lang::En => include_str!("../../../locales/en.toml"),
        Lang::Fr => include_str!("../../../locales/fr.toml"),
    };
    let texts: BTreeMap<String, String> = toml::from_str(texts).unwrap();
    texts.get(key).unwrap_or_else(|| panic!("no text of `{key}`")).clone()
}

fn full(name: &str) -> String {
    match name.split_once(':') {
        Some(("perron", local)) => format!("{PROFILE}{local}"),
        Some(("odrl", local)) => format!("{ODRL}{local}"),
        _ => panic!("{name}"),
    }
}

/// The spellings of a name that a policy may use.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned(), full(name)];
    all.extend(name.strip_prefix("odrl:").map(str::to_owned));
    all
}

fn context() -> Json {
    let mut context = Map::new();
    let prefixes = [
        ("odrl", ODRL),
        ("perron", PROFILE),
        ("dpv", "https://w3id.org/dpv#"),
        ("xsd", "http://www.w3.org/2001/XMLSchema#"),
        ("rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"),
    ];
    context.insert("@version".into(), json!(1.1));
    // A name without a colon is ODRL's, as for the reader of policies.
    context.insert("@vocab".into(), json!(ODRL));
    for (prefix, iri) in prefixes {
        context.insert(prefix.into(), json!({"@id": iri, "@prefix": true}));
    }
    for class in [
        "Offer",
        "Agreement",
        "Set",
        "Permission",
        "Prohibition",
        "Duty",
        "Constraint",
        "LogicalConstraint",
        "AssetCollection",
        "PartyCollection",
    ] {
        context.insert(class.into(), json!(full(&format!("odrl:{class}"))));
    }
    for member in ["profile", "assigner", "assignee", "target", "source", "uid", "partOf"] {
        context.insert(member.into(), json!({"@id": full(&format!("odrl:{member}")), "@type": "@id"}));
    }
    for member in ["permission", "prohibition", "obligation", "duty", "constraint", "refinement"] {
        context.insert(
            member.into(),
            json!({"@id": full(&format!("odrl:{member}")), "@type": "@id", "@container": "@set"}),
        );
    }
    for member in ["action", "leftOperand", "operator"] {
        context.insert(member.into(), json!({"@id": full(&format!("odrl:{member}")), "@type": "@vocab"}));
    }
    context.insert("rightOperand".into(), json!({"@id": full("odrl:rightOperand")}));
    let operators: BTreeSet<&str> = TERMS.iter().flat_map(|t| t.operators).copied().collect();
    for operator in operators {
        context.insert(operator.into(), json!(full(&format!("odrl:{operator}"))));
    }
    // A family of names is written with the prefix.
    let members = [Kind::Member, Kind::DutyMember];
    for term in TERMS.iter().filter(|t| !t.name.contains('<') && !members.contains(&t.kind)) {
        let name = term.name;
        let value = match term.kind {
            Kind::Logical => json!({"@id": full(name), "@type": "@id", "@container": "@list"}),
            _ => json!(full(name)),
        };
        context.insert(name.strip_prefix("odrl:").unwrap_or(name).to_owned(), value);
    }
    // What stands within dimensions, measures, roundings and noises.
    for member in ["column", "granularity", "function", "name", "base", "epsilon", "bound"] {
        let name = format!("perron:{member}");
        context.insert(name.clone(), json!(full(&name)));
    }
    json!({"@context": context})
}

fn typed(local: &str, pattern: &str) -> Json {
    let datatype = format!("http://www.w3.org/2001/XMLSchema#{local}");
    json!({
        "type": "object",
        "properties": {
            "@type": {"enum": [format!("xsd:{local}"), datatype]},
            "@value": {"type": "string", "pattern": pattern},
        },
        "required": ["@type", "@value"],
        "additionalProperties": false,
    })
}

/// What a right operand of this kind looks like.
fn right(value: Value) -> Json {
    let one_or_many = |one: Json| json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]});
    let many = |one: Json| json!({"type": "array", "items": one, "minItems": 1});
    let text = json!({"anyOf": [{"type": "string"}, typed("string", "")]});
    match value {
        Value::None => json!(false),
        Value::Time => json!({"anyOf": [{"type": "string", "pattern": TIME}, typed("dateTime", TIME)]}),
        Value::Duration => json!({"anyOf": [{"type": "string", "pattern": DURATION}, typed("duration", DURATION)]}),
        Value::Integer => json!({"anyOf": [{"type": "integer", "minimum": 0}, typed("integer", "^(0|[1-9][0-9]*)$")]}),
        Value::Dpv => one_or_many(json!({"type": "string", "pattern": "^(dpv:|https://w3id\\.org/dpv)"})),
        Value::Text => one_or_many(text),
        Value::Fact => one_or_many(json!({"anyOf": [{"type": "boolean"}, typed("boolean", "^(true|false)$"), text]})),
        Value::Column => one_or_many(json!({"anyOf": [
            {"type": ["string", "number", "boolean"]},
            {"type": "object", "required": ["@type", "@value"]},
        ]})),
        Value::Columns => many(json!({"type": "string", "pattern": COLUMN})),
        Value::Dimensions => many(json!({"anyOf": [
            {"type": "string", "pattern": COLUMN},
            {
                "type": "object",
                "properties": {
                    "perron:column": {"type": "string", "pattern": COLUMN},
                    "perron:granularity": {"enum": GRANULARITIES},
                },
                "required": ["perron:column", "perron:granularity"],
                "additionalProperties": false,
            },
        ]})),
        Value::Measures => many(json!({
            "type": "object",
            "properties": {
                "perron:function": {"enum": FUNCTIONS},
                "perron:column": {"type": "string", "pattern": COLUMN},
                "perron:name": {"type": "string", "pattern": NAME},
            },
            "required": ["perron:function", "perron:name"],
            "additionalProperties": false,
        })),
        Value::Percent => {
            json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, typed("integer", "^([1-9][0-9]?|100)$")]})
        }
        Value::Name => json!({"type": "string", "pattern": NAME}),
        Value::Epsilon => epsilon(),
        Value::Roundings => many(json!({
            "type": "object",
            "properties": {"perron:name": {"type": "string", "pattern": NAME}, "perron:base": whole(2)},
            "required": ["perron:name", "perron:base"],
            "additionalProperties": false,
        })),
        Value::Noises => many(json!({
            "type": "object",
            "properties": {
                "perron:name": {"type": "string", "pattern": NAME},
                "perron:epsilon": epsilon(),
                "perron:bound": whole(1),
            },
            "required": ["perron:name", "perron:epsilon"],
            "additionalProperties": false,
        })),
    }
}

/// A whole number of at least `least`, which has one digit.
fn whole(least: u8) -> Json {
    json!({"anyOf": [
        {"type": "integer", "minimum": least},
        typed("integer", &format!("^([{least}-9]|[1-9][0-9]+)$")),
    ]})
}

fn epsilon() -> Json {
    let number = "^[0-9]+(\\.[0-9]+)?$";
    json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, typed("decimal", number), typed("double", number)]})
}

const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,3})?(Z|[+-][0-9]{2}:[0-9]{2})$";
const DURATION: &str = "^P([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$";
const COLUMN: &str = "^[a-z0-9_]{1,63}$";
/// What a column of a released table is named.
const NAME: &str = "^[a-z][a-z0-9_]{0,62}$";

fn atom(term: &Term) -> Json {
    let left = match term.name.split_once("<name>") {
        Some((family, _)) => {
            let full = full(family).replace('.', "\\.");
            json!({"type": "string", "pattern": format!("^({family}|{full}).+$")})
        }
        None => json!({"enum": spellings(term.name)}),
    };
    let operators: Vec<String> = term.operators.iter().flat_map(|o| spellings(&format!("odrl:{o}"))).collect();
    json!({
        "title": term.name,
        "description": text(Lang::En, &format!("policy.term.{}", term.key())),
        "type": "object",
        "properties": {
            "@id": {"$ref": "#/$defs/id"},
            "leftOperand": left,
            "operator": {"enum": operators},
            "rightOperand": right(term.value),
        },
        "required": ["leftOperand", "operator", "rightOperand"],
        "additionalProperties": false,
    })
}

/// The names of a kind; where the other actions of ODRL's vocabulary have a meaning too, all of them.
fn names(kind: Kind) -> Json {
    let own = || TERMS.iter().filter(move |t| t.kind == kind);
    if own().any(|t| t.name.contains('<')) {
        return json!({"$ref": "#/$defs/action"});
    }
    json!({"enum": own().flat_map(|t| spellings(t.name)).collect::<Vec<_>>()})
}

fn every_action() -> Json {
    let all = actions().flat_map(|full| match (full.strip_prefix(ODRL), full.strip_prefix(CC)) {
        (Some(local), _) => spellings(&format!("odrl:{local}")),
        (_, Some(local)) => vec![format!("cc:{local}"), full],
        _ => panic!("{full}"),
    });
    json!({"enum": all.collect::<Vec<_>>()})
}

fn refs(of: &[&str]) -> Json {
    json!({"anyOf": of.iter().map(|of| json!({"$ref": format!("#/$defs/{of}")})).collect::<Vec<_>>()})
}

/// A list of at least one; as JSON-LD writes ordered ones too where that is read.
fn list(of: &[&str], ordered: bool) -> Json {
    let plain = json!({"type": "array", "items": refs(of), "minItems": 1});
    if !ordered {
        return plain;
    }
    json!({"anyOf": [plain, closed(json!({"@list": plain}), &["@list"])]})
}

/// An object of these members alone.
fn closed(properties: Json, required: &[&str]) -> Json {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn rule(kind: Kind) -> Json {
    let name = names(kind);
    let refined =
        closed(json!({"rdf:value": name, "refinement": list(&["decides", "logical"], false)}), &["rdf:value"]);
    let mut properties = json!({"@id": {"$ref": "#/$defs/id"}});
    properties["action"] = if kind == Kind::DutyAction { name } else { json!({"anyOf": [name, refined]}) };
    let mut required = vec!["action"];
    match kind {
        Kind::PermittedAction => {
            properties["assignee"] = json!({"$ref": "#/$defs/party"});
            properties["target"] = json!({"$ref": "#/$defs/asset"});
            properties["constraint"] = json!({"type": "array", "items": refs(&["decides", "view", "logical"])});
            properties["duty"] = list(&["duty"], false);
            required.push("constraint");
        }
        Kind::DutyAction => {
            properties["assignee"] = json!({"type": "string", "minLength": 1});
            properties["constraint"] = list(&["deadline"], false);
        }
        _ => {
            properties["assignee"] = json!({"$ref": "#/$defs/party"});
            properties["target"] = json!({"$ref": "#/$defs/assetAlone"});
            properties["constraint"] = json!({"type": "array", "items": refs(&["decides", "logical"])});
        }
    }
    closed(properties, &required)
}

/// A participant or a set, or a collection of them.
fn named(classes: &[&str], refinement: Option<Json>) -> Json {
    let classes: Vec<String> = classes.iter().flat_map(|class| spellings(&format!("odrl:{class}"))).collect();
    let mut properties = json!({"@type": {"enum": classes}, "source": {"type": "string", "minLength": 1}});
    if let Some(refinement) = refinement {
        properties["refinement"] = refinement;
    }
    json!({"anyOf": [{"type": "string", "minLength": 1}, closed(properties, &["@type", "source"])]})
}

fn schema() -> Json {
    let atoms =
        |which: &dyn Fn(&&Term) -> bool| json!({"anyOf": TERMS.iter().filter(which).map(atom).collect::<Vec<_>>()});
    let logical: Vec<Json> = TERMS
        .iter()
        .filter(|t| t.kind == Kind::Logical)
        .flat_map(|term| spellings(term.name))
        .map(|name| {
            let mut properties = Map::new();
            properties.insert("@id".into(), json!({"$ref": "#/$defs/id"}));
            properties.insert(name.clone(), list(&["decides", "logical"], true));
            closed(Json::Object(properties), &[&name])
        })
        .collect();
    let assets = ["AssetCollection", "Asset"];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{PROFILE}schema.json"),
        "title": "A usage policy in Perron's ODRL profile",
        "description": "The form. What fits the set (its columns, their types) is checked by `perron policy check`.",
        "type": "object",
        "properties": {
            "@context": {},
            "@id": {"$ref": "#/$defs/id"},
            "@type": {"enum": spellings("odrl:Offer")},
            "profile": {"anyOf": [{"const": PROFILE}, {"type": "array", "items": {"const": PROFILE}, "minItems": 1, "maxItems": 1}]},
            "conflict": {"enum": spellings("odrl:prohibit")},
            "assignee": {"$ref": "#/$defs/party"},
            "target": {"$ref": "#/$defs/asset"},
            "permission": list(&["permission"], false),
            "prohibition": list(&["prohibition"], false),
            "obligation": list(&["duty"], false),
        },
        "required": ["@type", "profile", "permission"],
        "additionalProperties": false,
        "$defs": {
            "action": every_action(),
            "id": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "party": named(&["PartyCollection", "Party"], Some(list(&["decides", "logical"], false))),
            "asset": named(&assets, Some(list(&["view"], false))),
            "assetAlone": named(&assets, None),
            "permission": rule(Kind::PermittedAction),
            "prohibition": rule(Kind::ProhibitedAction),
            "duty": rule(Kind::DutyAction),
            "decides": atoms(&|t| t.kind == Kind::LeftOperand && t.by == By::Gate),
            "view": atoms(&|t| t.kind == Kind::LeftOperand && t.by != By::Gate),
            "deadline": atoms(&|t| t.kind == Kind::Deadline),
            "logical": {"oneOf": logical},
        },
    })
}

fn value_words(value: Value, lang: Lang) -> String {
    let key = serde_json::to_value(value).unwrap();
    text(lang, &format!("policy.value.{}", key.as_str().unwrap()))
}

fn rows(lang: Lang) -> Vec<String> {
    let label = |trust: Trust| {
        let key = match trust {
            Trust::PreventedByProvider => "enforced",
            Trust::CarriedOutByConsumer => "executed",
            Trust::Detected => "detected",
            Trust::Recorded => "recorded",
        };
        text(lang, &format!("policy.label.{key}"))
    };
    let key = |value: Json| value.as_str().unwrap().to_owned();
    TERMS
        .iter()
        .map(|term| {
            let kind = key(serde_json::to_value(term.kind).unwrap());
            let operators: Vec<String> = term.operators.iter().map(|o| format!("`{o}`")).collect();
            let by = key(serde_json::to_value(term.by).unwrap());
            format!(
                "| `{}` | {} | {} | {} | {} | {} | {} |",
                term.name,
                text(lang, &format!("policy.kind.{kind}")),
                operators.join(", "),
                value_words(term.value, lang),
                text(lang, &format!("policy.term.{}", term.key())),
                text(lang, &format!("policy.by.{by}")),
                label(term.trust),
            )
        })
        .collect()
}

/// Members in the order of their names, whichever features of `serde_json` other crates switch on.
fn pretty(mut document: Json) -> String {
    document.sort_all_objects();
    format!("{}\n", serde_json::to_string_pretty(&document).unwrap())
}

fn same(path: &str, expected: &str) {
    if std::env::var("PERRON_WRITE").is_ok() {
        std::fs::write(root().join(path), expected).unwrap();
    } else {
        assert!(
            read(path) == expected,
            "{path} isn't what the table of terms gives: PERRON_WRITE=1 cargo test -p perron-odrl --test profile"
        );
    }
}

#[test]
fn context_and_schema_are_those_of_the_table() {
    same(CONTEXT, &pretty(context()));
    same(SCHEMA, &pretty(schema()));
}

#[test]
fn the_reference_has_every_term_in_words() {
    for (page, lang) in PAGES {
        let (shown, expected) = (read(page), rows(lang));
        let is_row = |line: &&str| line.starts_with("| `");
        let begin = shown.lines().take_while(|l| !is_row(l));
        let after = shown.lines().skip_while(|l| !is_row(l)).skip_while(is_row);
        let all: Vec<&str> = begin.chain(expected.iter().map(String::as_str)).chain(after).collect();
        same(page, &(all.join("\n") + "\n"));
    }
}
