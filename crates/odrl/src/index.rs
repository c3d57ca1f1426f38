//! The nodes of a policy by their place in its JSON, as RDF terms: what a report names.

use crate::limits::{RDF_DEPTH_MAX, RDF_NODES_MAX};
use crate::rdf::too_large;
use crate::vocabulary::{ODRL, STRING, XSD};
use oxrdf::{BlankNode, Literal, NamedNode, NamedOrBlankNode, Term};
use perron_model::policy::odrl::PROFILE;
use perron_model::{Error, ErrorCode, Result};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// One rule, constraint or duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its IRI, or a blank node where it has none.
    pub id: NamedOrBlankNode,
    /// Left operand of an atomic constraint, in full.
    pub left: Option<String>,
    /// Operator of an atomic constraint.
    pub operator: Option<NamedNode>,
    /// Right operands of an atomic constraint, as written.
    pub right: Vec<Term>,
    /// `odrl:and`, `or`, `xone`, `andSequence` of a logical constraint.
    pub logical: Option<NamedNode>,
}

/// Members whose values have places of their own.
const INNER: [&str; 14] = [
    "permission",
    "prohibition",
    "obligation",
    "duty",
    "remedy",
    "consequence",
    "constraint",
    "refinement",
    "and",
    "or",
    "xone",
    "andSequence",
    "action",
    "target",
];

/// The nodes of a policy by place (`$`, `$.permission[0]`, `$.permission[0].constraint[0].or[1]`).
#[derive(Clone, Debug, Default)]
pub struct Index(BTreeMap<String, Node>);

impl Index {
    /// Of a policy in the compact JSON-LD shape.
    pub fn of(policy: &Json) -> Result<Index> {
        let mut index = Index::default();
        index.walk("$", policy, 1)?;
        Ok(index)
    }

    /// The node of a place, with or without the `$.` of its beginning.
    pub fn get(&self, place: &str) -> Option<&Node> {
        self.0.get(place).or_else(|| self.0.get(&format!("$.{place}")))
    }

    /// All places with their nodes.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(place, node)| (place.as_str(), node))
    }

    fn walk(&mut self, place: &str, json: &Json, depth: usize) -> Result<()> {
        if depth > RDF_DEPTH_MAX || self.0.len() >= RDF_NODES_MAX {
            return Err(too_large(format!("a policy of more than {RDF_DEPTH_MAX} levels or {RDF_NODES_MAX} nodes")));
        }
        let Json::Object(members) = json else { return Ok(()) };
        self.0.insert(place.to_owned(), node(place, members)?);
        for (key, value) in members {
            let local = key.strip_prefix("odrl:").unwrap_or(key);
            if !INNER.contains(&local) {
                continue;
            }
            let items = match value {
                Json::Object(list) => list.get("@list").unwrap_or(value),
                _ => value,
            };
            match items {
                Json::Array(items) => {
                    for (at, item) in items.iter().enumerate() {
                        self.walk(&format!("{place}.{key}[{at}]"), item, depth + 1)?;
                    }
                }
                one => self.walk(&format!("{place}.{key}"), one, depth + 1)?,
            }
        }
        Ok(())
    }
}

fn node(place: &str, members: &Map<String, Json>) -> Result<Node> {
    let wrong = |what: &str| Error::new(ErrorCode::TermInvalid, format!("at `{place}`: {what}"));
    let id = match members.get("@id").or_else(|| members.get("uid")) {
        Some(Json::String(text)) => match text.strip_prefix("_:") {
            Some(_) => BlankNode::default().into(),
            None => NamedNode::new(full(text)).map_err(|_| wrong("`@id` is not an IRI"))?.into(),
        },
        Some(_) => return Err(wrong("`@id` is not an IRI")),
        None => BlankNode::default().into(),
    };
    let left = members.get("leftOperand").and_then(Json::as_str).map(full);
    let operator = match members.get("operator") {
        Some(Json::String(text)) => Some(NamedNode::new(full(text)).map_err(|_| wrong("`operator` is not an IRI"))?),
        _ => None,
    };
    let right = match members.get("rightOperand") {
        None => Vec::new(),
        Some(Json::Array(items)) => items.iter().map(term).collect(),
        Some(one) => vec![term(one)],
    };
    let logical = ["and", "or", "xone", "andSequence"]
        .iter()
        .find(|name| members.contains_key(**name) || members.contains_key(&format!("odrl:{name}")))
        .map(|name| NamedNode::new_unchecked(format!("{ODRL}{name}")));
    Ok(Node { id, left, operator, right, logical })
}

/// A name of the compact shape in full.
pub(crate) fn full(name: &str) -> String {
    if let Some(local) = name.strip_prefix("perron:") {
        format!("{PROFILE}{local}")
    } else if let Some(local) = name.strip_prefix("odrl:") {
        format!("{ODRL}{local}")
    } else if name.contains(':') {
        name.to_owned()
    } else {
        format!("{ODRL}{name}")
    }
}

/// A right operand as a term. What JSON doesn't type is a name if it looks like an IRI, and a text
/// otherwise.
fn term(json: &Json) -> Term {
    let typed = |value: &str, local: &str| {
        Literal::new_typed_literal(value, NamedNode::new_unchecked(format!("{XSD}{local}"))).into()
    };
    match json {
        Json::String(text) if text.contains(':') => match NamedNode::new(full(text)) {
            Ok(node) => node.into(),
            Err(_) => Literal::new_simple_literal(text).into(),
        },
        Json::String(text) => Literal::new_simple_literal(text).into(),
        Json::Bool(value) => typed(if *value { "true" } else { "false" }, "boolean"),
        Json::Number(number) => typed(&number.to_string(), if number.is_f64() { "double" } else { "integer" }),
        Json::Object(members) => match (members.get("@id"), members.get("@value"), members.get("@type")) {
            (Some(Json::String(id)), _, _) => {
                NamedNode::new(full(id)).map_or_else(|_| Literal::new_simple_literal(id).into(), Term::from)
            }
            (None, Some(Json::String(value)), Some(Json::String(datatype))) => {
                let datatype = datatype.strip_prefix("xsd:").map_or_else(|| datatype.clone(), |l| format!("{XSD}{l}"));
                match (datatype.as_str(), NamedNode::new(&datatype)) {
                    (STRING, _) | (_, Err(_)) => Literal::new_simple_literal(value).into(),
                    (_, Ok(datatype)) => Literal::new_typed_literal(value, datatype).into(),
                }
            }
            (None, Some(Json::String(value)), _) => Literal::new_simple_literal(value).into(),
            (None, Some(value), _) => Literal::new_simple_literal(value.to_string()).into(),
            _ => Literal::new_simple_literal(json.to_string()).into(),
        },
        Json::Null | Json::Array(_) => Literal::new_simple_literal(json.to_string()).into(),
    }
}
