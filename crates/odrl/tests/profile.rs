//! The published profile: context, schema and prose are made from the table of terms
//! (`crates/odrl/src/terms.rs`) and the catalogue of texts, so that none of them lacks a term.
//!
//! `PERRON_WRITE=1 cargo test -p perron-odrl --test profile` writes them anew.

use perron_model::policy::Trust;
use perron_model::policy::odrl::PROFILE;
use perron_odrl::{Kind, TERMS, Term, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
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
    for term in TERMS.iter().filter(|t| !t.name.contains("<action>")) {
        let name = term.name.replace("<name>", "");
        let value = match term.kind {
            Kind::Logical => json!({"@id": full(&name), "@type": "@id", "@container": "@list"}),
            _ => json!(full(&name)),
        };
        let key = match name.strip_prefix("odrl:") {
            Some(local) => local.to_owned(),
            None => name.clone(),
        };
        context.insert(key, value);
    }
    // What stands within dimensions and measures.
    for member in ["column", "granularity", "function", "name"] {
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
                    "perron:granularity": {"enum": ["value", "day", "month", "year"]},
                },
                "required": ["perron:column", "perron:granularity"],
                "additionalProperties": false,
            },
        ]})),
        Value::Measures => many(json!({
            "type": "object",
            "properties": {
                "perron:function": {"type": "string"},
                "perron:column": {"type": "string", "pattern": COLUMN},
                "perron:name": {"type": "string", "pattern": COLUMN},
            },
            "required": ["perron:function", "perron:name"],
        })),
    }
}

const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,3})?(Z|[+-][0-9]{2}:[0-9]{2})$";
const DURATION: &str = "^P([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$";
const COLUMN: &str = "^[a-z0-9_]{1,63}$";

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
            "uid": {"$ref": "#/$defs/id"},
            "@type": {"enum": spellings("odrl:Constraint")},
            "leftOperand": left,
            "operator": {"enum": operators},
            "rightOperand": right(term.value),
        },
        "required": ["leftOperand", "operator", "rightOperand"],
        "additionalProperties": false,
    })
}

/// The names of a kind; where the other actions of ODRL's vocabulary have a meaning too, any name.
fn names(kind: Kind) -> Json {
    let own = || TERMS.iter().filter(move |t| t.kind == kind);
    if own().any(|t| t.name.contains('<')) {
        return json!({"type": "string", "minLength": 1});
    }
    json!({"enum": own().flat_map(|t| spellings(t.name)).collect::<Vec<_>>()})
}

fn rule(kind: Kind, duties: bool) -> Json {
    let action = names(kind);
    let mut properties = json!({
        "@id": {"$ref": "#/$defs/id"},
        "uid": {"$ref": "#/$defs/id"},
        "@type": {"type": "string"},
        "action": {"anyOf": [action, {"type": "object", "required": ["rdf:value"]}]},
        "assignee": {"$ref": "#/$defs/named"},
        "target": {"$ref": "#/$defs/named"},
        "constraint": {"$ref": "#/$defs/constraints"},
    });
    if duties {
        properties["duty"] = json!({"type": "array", "items": {"$ref": "#/$defs/duty"}});
    }
    json!({"type": "object", "properties": properties, "required": ["action"], "additionalProperties": false})
}

fn schema() -> Json {
    let atoms: Vec<Json> = TERMS.iter().filter(|t| t.kind == Kind::LeftOperand).map(atom).collect();
    let logical: Vec<Json> = TERMS
        .iter()
        .filter(|t| t.kind == Kind::Logical)
        .map(|term| {
            let mut properties = Map::new();
            for name in ["@id", "uid"] {
                properties.insert(name.into(), json!({"$ref": "#/$defs/id"}));
            }
            properties.insert("@type".into(), json!({"enum": spellings("odrl:LogicalConstraint")}));
            let local = term.name.strip_prefix("odrl:").unwrap();
            properties.insert(local.into(), json!({"$ref": "#/$defs/constraints"}));
            json!({
                "title": term.name,
                "type": "object",
                "properties": properties,
                "required": [local],
                "additionalProperties": false,
            })
        })
        .collect();
    let list = |of: &str| json!({"type": "array", "items": {"$ref": format!("#/$defs/{of}")}, "minItems": 1});
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
            "assignee": {"type": "string"},
            "permission": list("permission"),
            "prohibition": list("prohibition"),
            "obligation": list("duty"),
        },
        "required": ["@type", "profile", "permission"],
        "additionalProperties": false,
        "$defs": {
            "id": {"type": "string", "minLength": 1, "maxLength": 255},
            "named": {"anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {
                        "@id": {"$ref": "#/$defs/id"},
                        "uid": {"$ref": "#/$defs/id"},
                        "@type": {"type": "string"},
                        "source": {"type": "string"},
                        "refinement": {"$ref": "#/$defs/constraints"},
                    },
                    "additionalProperties": false,
                },
            ]},
            "permission": rule(Kind::PermittedAction, true),
            "prohibition": rule(Kind::ProhibitedAction, false),
            "duty": rule(Kind::DutyAction, false),
            "constraints": {"type": "array", "items": {"$ref": "#/$defs/constraint"}},
            "constraint": {"oneOf": [{"$ref": "#/$defs/atom"}, {"$ref": "#/$defs/logical"}]},
            "atom": {"anyOf": atoms},
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
    same(CONTEXT, &format!("{}\n", serde_json::to_string_pretty(&context()).unwrap()));
    same(SCHEMA, &format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap()));
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
