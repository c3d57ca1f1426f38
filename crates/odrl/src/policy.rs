//! A policy in RDF into the compact JSON-LD shape that `perron_model::policy` reads.
//!
//! Nothing is dropped but annotations of Dublin Core and RDF Schema that say nothing about who may
//! do what: any other predicate becomes a member of its full name, which the reader of policies
//! refuses by its place; and a node of ODRL that hangs on no rule is refused here.

use crate::limits::{RDF_DEPTH_MAX, RDF_NODES_MAX};
use crate::rdf::{Rdf, iri, shown, subject, too_large};
use crate::vocabulary::{COMMENT, DC, DCT, LABEL, ODRL, STRING, TYPE, VALUE, XSD, plain};
use oxrdf::{Literal, NamedOrBlankNode, Term};
use perron_model::policy::odrl::PROFILE;
use perron_model::{Error, ErrorCode, Result};
use serde_json::{Map, Value as Json, json};
use std::collections::HashSet;

/// Classes of policies (ODRL 2.2 Information Model, section 2.1; `Request` is read elsewhere).
const POLICIES: [&str; 7] = ["Set", "Offer", "Agreement", "Policy", "Privacy", "Assertion", "Ticket"];
/// Members whose values are rules, constraints or duties: always lists of objects.
const NESTED: [&str; 8] =
    ["permission", "prohibition", "obligation", "duty", "remedy", "consequence", "constraint", "refinement"];
/// Members whose values are the operands of a logical constraint: an RDF list, or one triple each.
const LOGICAL: [&str; 4] = ["and", "or", "xone", "andSequence"];
/// Members whose values are parties or assets, and may be described in the same document.
const DESCRIBED: [&str; 9] = [
    "target",
    "output",
    "assignee",
    "assigner",
    "attributedParty",
    "informedParty",
    "compensatedParty",
    "trackedParty",
    "hasPolicy",
];
/// Annotations that say nothing about who may do what (ODRL 2.2 Information Model, section 2.8.1,
/// without `coverage`, `replaces` and `isReplacedBy`, which do).
const ANNOTATIONS: [&str; 10] =
    ["title", "description", "source", "creator", "publisher", "issued", "created", "modified", "identifier", "type"];

/// The one policy of a document, as compact JSON. Named nodes keep their IRIs as `@id`.
pub fn policy_json(rdf: &Rdf) -> Result<Json> {
    let roots: Vec<_> = rdf.subjects().into_iter().filter(|s| is_policy(rdf, s)).collect();
    let [root] = roots.as_slice() else {
        let why = format!("a document holds one policy, this one {}", roots.len());
        return Err(Error::new(ErrorCode::TermInvalid, why));
    };
    let mut unfolding = Unfolding { rdf, reached: HashSet::new(), nodes: 0 };
    let json = unfolding.object(root, "", 1)?;
    unfolding.all_reached()?;
    Ok(json)
}

fn is_policy(rdf: &Rdf, node: &NamedOrBlankNode) -> bool {
    let typed = POLICIES.iter().any(|class| rdf.is_a(node, &format!("{ODRL}{class}")));
    let has_rules = ["permission", "prohibition", "obligation"]
        .iter()
        .any(|member| !rdf.objects(node, &format!("{ODRL}{member}")).is_empty());
    (typed || has_rules) && !rdf.is_a(node, &format!("{ODRL}Request"))
}

struct Unfolding<'a> {
    rdf: &'a Rdf,
    reached: HashSet<NamedOrBlankNode>,
    nodes: usize,
}

impl Unfolding<'_> {
    fn object(&mut self, node: &NamedOrBlankNode, place: &str, depth: usize) -> Result<Json> {
        self.nodes += 1;
        if depth > RDF_DEPTH_MAX || self.nodes > RDF_NODES_MAX {
            let why = format!("a policy of more than {RDF_DEPTH_MAX} levels or {RDF_NODES_MAX} nodes, or in a circle");
            return Err(too_large(why));
        }
        self.reached.insert(node.clone());
        let mut members = Map::new();
        if let NamedOrBlankNode::NamedNode(name) = node {
            members.insert("@id".to_owned(), json!(name.as_str()));
        }
        let rdf = self.rdf;
        for (predicate, object) in rdf.of(node) {
            if predicate == format!("{ODRL}uid") {
                if subject(object).as_ref() != Some(node) {
                    let why = format!("{} has another `odrl:uid`", shown(node));
                    return Err(Error::new(ErrorCode::TermInvalid, why));
                }
            } else if !(is_annotation(predicate) || predicate == TYPE && implied(place, object)) {
                let member = member(predicate);
                let value = self.value(&member, object, depth)?;
                add(&mut members, &member, value);
            }
        }
        Ok(Json::Object(with_lists(members)))
    }

    /// The values of a member that one triple gives: several where it is a list.
    fn value(&mut self, member: &str, object: &Term, depth: usize) -> Result<Vec<Json>> {
        let nested = NESTED.contains(&member) || LOGICAL.contains(&member);
        let node = match (subject(object), object) {
            (Some(node), _) => node,
            // A text is one where texts may stand; elsewhere it must not pass for a name.
            (None, Term::Literal(text))
                if text.datatype().as_str() == STRING
                    && (member == "rightOperand" || member.starts_with("perron:")) =>
            {
                return Ok(vec![json!(text.value())]);
            }
            (None, Term::Literal(literal)) if !nested => return Ok(vec![typed(literal)]),
            (None, _) => {
                let why = format!("a value of `{member}` is not a node");
                return Err(Error::new(ErrorCode::TermInvalid, why));
            }
        };
        if LOGICAL.contains(&member) && self.rdf.is_list(&node) {
            self.reach_list(&node);
            let items = self.rdf.list(&node)?;
            return items.into_iter().map(|item| self.nested(member, item, depth)).collect();
        }
        if nested {
            return Ok(vec![self.nested(member, object, depth)?]);
        }
        let described = self.rdf.describes(&node);
        let inner = (member == "action" && !self.rdf.objects(&node, VALUE).is_empty())
            || (DESCRIBED.contains(&member) && described)
            || matches!(node, NamedOrBlankNode::BlankNode(_));
        if inner {
            return Ok(vec![self.object(&node, member, depth + 1)?]);
        }
        Ok(vec![json!(iri(object).map(compact).unwrap_or_default())])
    }

    fn nested(&mut self, member: &str, object: &Term, depth: usize) -> Result<Json> {
        let node = subject(object)
            .ok_or_else(|| Error::new(ErrorCode::TermInvalid, format!("a value of `{member}` is not a node")))?;
        self.object(&node, member, depth + 1)
    }

    fn reach_list(&mut self, head: &NamedOrBlankNode) {
        let mut at = Some(head.clone());
        while let Some(node) = at {
            at = self.rdf.objects(&node, crate::vocabulary::REST).first().and_then(|rest| subject(rest));
            if !self.reached.insert(node) {
                return;
            }
        }
    }

    /// Refuses what is said in ODRL's words of a node that no rule leads to: a link with a slip in
    /// it would make a constraint vanish.
    fn all_reached(&self) -> Result<()> {
        let odrl = |node: &NamedOrBlankNode| {
            self.rdf
                .of(node)
                .any(|(p, o)| p.starts_with(ODRL) || (p == TYPE && iri(o).is_some_and(|class| class.starts_with(ODRL))))
        };
        match self.rdf.subjects().into_iter().find(|s| !self.reached.contains(*s) && odrl(s)) {
            Some(stray) => {
                let why = format!("{} is described and no rule of the policy leads to it", shown(stray));
                Err(Error::new(ErrorCode::TermInvalid, why))
            }
            None => Ok(()),
        }
    }
}

/// Is this the class that a node of the member has anyway?
fn implied(member: &str, class: &Term) -> bool {
    let classes: &[&str] = match member {
        "permission" => &["Permission", "Rule"],
        "prohibition" => &["Prohibition", "Rule"],
        "obligation" | "duty" => &["Duty", "Rule"],
        "constraint" | "refinement" | "and" | "or" | "xone" | "andSequence" => &["Constraint", "LogicalConstraint"],
        _ => &[],
    };
    iri(class).and_then(|class| class.strip_prefix(ODRL)).is_some_and(|local| classes.contains(&local))
}

fn is_annotation(predicate: &str) -> bool {
    let local = predicate.strip_prefix(DCT).or_else(|| predicate.strip_prefix(DC));
    local.is_some_and(|local| ANNOTATIONS.contains(&local)) || [LABEL, COMMENT].contains(&predicate)
}

/// The member of a predicate: ODRL's are bare, as in the shape of the Dataspace Protocol.
fn member(predicate: &str) -> String {
    match predicate {
        TYPE => "@type".to_owned(),
        VALUE => "rdf:value".to_owned(),
        _ => predicate.strip_prefix(ODRL).map_or_else(|| compact(predicate), str::to_owned),
    }
}

/// An IRI as the compact shape writes it.
fn compact(iri: &str) -> String {
    if let Some(local) = iri.strip_prefix(ODRL) {
        local.to_owned()
    } else if let Some(local) = iri.strip_prefix(PROFILE).filter(|local| !local.is_empty()) {
        format!("perron:{local}")
    } else {
        plain(iri)
    }
}

fn typed(literal: &Literal) -> Json {
    if let Some(language) = literal.language() {
        return json!({"@language": language, "@value": literal.value()});
    }
    let datatype = literal.datatype();
    let datatype = match datatype.as_str() {
        STRING => "xsd:string".to_owned(),
        other => other.strip_prefix(XSD).map_or_else(|| other.to_owned(), |local| format!("xsd:{local}")),
    };
    json!({"@type": datatype, "@value": literal.value()})
}

/// RDF has no lists of one: what an operator compares with a set is a list.
fn with_lists(mut members: Map<String, Json>) -> Map<String, Json> {
    let sets = ["isAnyOf", "isAllOf", "isNoneOf"];
    if members.get("operator").and_then(Json::as_str).is_some_and(|operator| sets.contains(&operator))
        && let Some(right) = members.get_mut("rightOperand")
        && !right.is_array()
    {
        *right = Json::Array(vec![right.take()]);
    }
    members
}

/// Adds values to a member: lists for what is always a list, otherwise a list from the second on.
fn add(members: &mut Map<String, Json>, member: &str, values: Vec<Json>) {
    let always = NESTED.contains(&member) || LOGICAL.contains(&member);
    match members.get_mut(member) {
        Some(Json::Array(items)) => items.extend(values),
        Some(one) => {
            let mut items = vec![one.take()];
            items.extend(values);
            *one = Json::Array(items);
        }
        None => {
            let value = match <[Json; 1]>::try_from(values) {
                Ok([value]) if !always => value,
                Ok(values) => Json::Array(values.to_vec()),
                Err(values) => Json::Array(values),
            };
            members.insert(member.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIXES: &str = "@prefix odrl: <http://www.w3.org/ns/odrl/2/> . @prefix ex: <http://example.org/> . \
        @prefix dct: <http://purl.org/dc/terms/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n";

    fn read(text: &str) -> Result<Json> {
        policy_json(&Rdf::read(format!("{PREFIXES}{text}").as_bytes())?)
    }

    #[test]
    fn a_policy_arrives_whole_and_in_its_order() {
        let json = read(
            "ex:p a odrl:Set ; odrl:uid ex:p ; dct:description \"words\" ; odrl:profile <https://w3id.org/perron/odrl/v1/> ;
               odrl:permission [ a odrl:Permission ;
                 odrl:action [ <http://www.w3.org/1999/02/22-rdf-syntax-ns#value> odrl:read ; odrl:refinement ex:r ] ;
                 odrl:target ex:c ;
                 odrl:constraint [ odrl:andSequence ( ex:b ex:a ) ] ;
                 odrl:duty [ odrl:action odrl:delete ] ] .
             ex:c a odrl:AssetCollection ; odrl:source ex:s .
             ex:a odrl:leftOperand odrl:count ; odrl:operator odrl:lteq ; odrl:rightOperand 3 .
             ex:b odrl:leftOperand odrl:purpose ; odrl:operator odrl:isAnyOf ; odrl:rightOperand ex:x, ex:y .
             ex:r odrl:leftOperand <https://w3id.org/perron/odrl/v1/floor> ; odrl:operator odrl:gteq ; odrl:rightOperand 5 .",
        )
        .unwrap();
        let permission = &json["permission"][0];
        assert_eq!(permission["action"]["rdf:value"], "read");
        assert_eq!(permission["action"]["refinement"][0]["leftOperand"], "perron:floor");
        assert_eq!(permission["target"]["@type"], "AssetCollection");
        assert_eq!(permission["constraint"][0]["andSequence"][0]["@id"], "http://example.org/b");
        assert_eq!(permission["constraint"][0]["andSequence"][1]["rightOperand"]["@value"], "3");
        let any = &permission["constraint"][0]["andSequence"][0]["rightOperand"];
        assert_eq!(any, &json!(["http://example.org/x", "http://example.org/y"]));
        assert_eq!(permission["duty"][0]["action"], "delete");
        let text = "ex:p a odrl:Set ; odrl:permission [ odrl:action \"read\" ; odrl:constraint [
            odrl:leftOperand <https://w3id.org/perron/odrl/v1/columns> ; odrl:operator odrl:isAnyOf ;
            odrl:rightOperand \"n\" ] ] .";
        let permission = &read(text).unwrap()["permission"][0];
        assert_eq!(permission["constraint"][0]["rightOperand"], json!(["n"]), "a list of one");
        assert!(permission["action"].is_object(), "a text is no name");
        assert!(json.get("description").is_none() && json.get("uid").is_none());
    }

    #[test]
    fn nothing_vanishes() {
        let stray = "ex:p a odrl:Set ; odrl:permission [ odrl:action odrl:read ] . \
            ex:lost odrl:leftOperand odrl:count ; odrl:operator odrl:lteq ; odrl:rightOperand 3 .";
        let error = read(stray).unwrap_err();
        assert_eq!(error.code, ErrorCode::TermInvalid);
        assert!(error.detail.contains("<http://example.org/lost>"), "{error}");
        // What isn't ODRL's stays, by its full name, for the reader of policies to refuse.
        let json = read("ex:p a odrl:Set ; odrl:permission [ odrl:action odrl:read ; ex:only \"mondays\" ] .").unwrap();
        assert_eq!(json["permission"][0]["http://example.org/only"]["@value"], "mondays");
        let json =
            read("ex:p a odrl:Set ; dct:isReplacedBy ex:q ; odrl:permission [ odrl:action odrl:read ] .").unwrap();
        assert_eq!(json["http://purl.org/dc/terms/isReplacedBy"], "http://example.org/q");
        let error = read("ex:p a odrl:Set ; odrl:uid ex:q ; odrl:permission [ odrl:action odrl:read ] .").unwrap_err();
        assert!(error.detail.contains("odrl:uid"), "{error}");
    }

    #[test]
    fn circles_and_fans_are_bounded() {
        let circle =
            "ex:p a odrl:Set ; odrl:permission [ odrl:constraint ex:a ] . ex:a odrl:and ex:b . ex:b odrl:or ex:a .";
        assert_eq!(read(circle).unwrap_err().code, ErrorCode::TooLarge);
        let levels = 16;
        let mut fan = "ex:p a odrl:Set ; odrl:permission [ odrl:constraint ex:n0 ] .".to_owned();
        for level in 0..levels {
            let next = level + 1;
            fan.push_str(&format!(
                "ex:n{level} odrl:and ex:n{next}, ex:m{next} . ex:m{level} odrl:or ex:n{next}, ex:m{next} ."
            ));
        }
        assert_eq!(read(&fan).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(read("ex:p a odrl:Set . ex:q a odrl:Set .").unwrap_err().code, ErrorCode::TermInvalid);
        assert_eq!(read("ex:p a ex:Set .").unwrap_err().code, ErrorCode::TermInvalid);
        let literal = "ex:p a odrl:Set ; odrl:permission \"all\" .";
        assert_eq!(read(literal).unwrap_err().code, ErrorCode::TermInvalid);
    }
}
