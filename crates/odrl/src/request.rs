//! A request in RDF: who asks to do what with what, as the ODRL test suite writes it.

use crate::limits::REQUEST_RULES_MAX;
use crate::rdf::{Rdf, iri, shown, subject, too_large};
use crate::vocabulary::{DC, DCT, ODRL, TYPE, plain};
use oxrdf::{NamedOrBlankNode, Term};
use perron_model::{Error, ErrorCode, Result};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its node.
    pub id: NamedOrBlankNode,
    /// Each rule that it asks for, evaluated alone.
    pub rules: Vec<RequestedRule>,
}

/// One thing that is asked.
#[derive(Clone, Debug)]
pub struct RequestedRule {
    /// Its node.
    pub id: NamedOrBlankNode,
    /// Who asks.
    pub assignee: Option<String>,
    /// The action, in full.
    pub action: Option<String>,
    /// The asset.
    pub target: Option<String>,
    /// What the asker states: a left operand in full, and its value. In RDF a constraint
    /// `leftOperand X; operator eq; rightOperand V`.
    pub stated: Vec<(String, Term)>,
}

impl Request {
    /// The one request of a document: a node of the class `odrl:Request`, with its permissions.
    pub fn read(rdf: &Rdf) -> Result<Request> {
        let requests: Vec<_> =
            rdf.subjects().into_iter().filter(|s| rdf.is_a(s, &format!("{ODRL}Request"))).cloned().collect();
        let [id] = requests.as_slice() else {
            return Err(invalid(&format!("a document holds one `odrl:Request`, this one {}", requests.len())));
        };
        let mut rules = Vec::new();
        for (predicate, object) in rdf.of(id) {
            match predicate.strip_prefix(ODRL) {
                Some("permission") => rules.push(rule(rdf, object)?),
                Some("uid") => {}
                _ if is_said_about(predicate) => {}
                _ => return Err(unknown(id, predicate)),
            }
            if rules.len() > REQUEST_RULES_MAX {
                return Err(too_large(format!("a request of more than {REQUEST_RULES_MAX} rules")));
            }
        }
        if rules.is_empty() {
            return Err(invalid("the request asks for no `odrl:permission`"));
        }
        Ok(Request { id: id.clone(), rules })
    }
}

fn rule(rdf: &Rdf, object: &Term) -> Result<RequestedRule> {
    let id = subject(object).ok_or_else(|| invalid("an `odrl:permission` that is not a node"))?;
    let mut rule = RequestedRule { id, assignee: None, action: None, target: None, stated: Vec::new() };
    for (predicate, object) in rdf.of(&rule.id) {
        let place = match predicate.strip_prefix(ODRL) {
            Some("assignee") => &mut rule.assignee,
            Some("action") => &mut rule.action,
            Some("target") => &mut rule.target,
            Some("constraint") => {
                rule.stated.push(stated(rdf, object)?);
                continue;
            }
            Some("uid") => continue,
            _ if is_said_about(predicate) => continue,
            _ => return Err(unknown(&rule.id, predicate)),
        };
        let value = iri(object).ok_or_else(|| invalid(&format!("`{predicate}` of a request is not an IRI")))?;
        if place.replace(plain(value)).is_some() {
            return Err(invalid(&format!("`{predicate}` of a request is stated twice")));
        }
    }
    Ok(rule)
}

fn stated(rdf: &Rdf, object: &Term) -> Result<(String, Term)> {
    let node = subject(object).ok_or_else(|| invalid("an `odrl:constraint` that is not a node"))?;
    let one = |local: &str| match rdf.objects(&node, &format!("{ODRL}{local}")).as_slice() {
        [one] => Ok((*one).clone()),
        _ => Err(invalid(&format!("{} has not exactly one `odrl:{local}`", shown(&node)))),
    };
    let (left, operator, right) = (one("leftOperand")?, one("operator")?, one("rightOperand")?);
    if iri(&operator) != Some(&format!("{ODRL}eq")) {
        return Err(invalid("a request states values with the operator `odrl:eq`"));
    }
    let left = iri(&left).ok_or_else(|| invalid("`odrl:leftOperand` is not an IRI"))?.to_owned();
    Ok((left, right))
}

fn is_said_about(predicate: &str) -> bool {
    predicate == TYPE || predicate.starts_with(DCT) || predicate.starts_with(DC)
}

fn unknown(node: &NamedOrBlankNode, predicate: &str) -> Error {
    let detail = format!("`{predicate}` of {} is not a member of a request that Perron reads", shown(node));
    Error::new(ErrorCode::TermUnsupported, detail)
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIXES: &str = "@prefix odrl: <http://www.w3.org/ns/odrl/2/> . @prefix ex: <http://example.org/> .\n";

    fn read(text: &str) -> Result<Request> {
        Request::read(&Rdf::read(format!("{PREFIXES}{text}").as_bytes())?)
    }

    #[test]
    fn a_request_is_read_with_what_it_states() {
        let request = read(
            "ex:r a odrl:Request ; odrl:permission [ odrl:assignee ex:alice ; odrl:action odrl:read ; odrl:target ex:x ; \
             odrl:constraint [ odrl:leftOperand odrl:purpose ; odrl:operator odrl:eq ; odrl:rightOperand ex:p ] ] .",
        )
        .unwrap();
        let [rule] = request.rules.as_slice() else { panic!("{request:?}") };
        assert_eq!(rule.assignee.as_deref(), Some("http://example.org/alice"));
        assert_eq!(rule.action.as_deref(), Some("http://www.w3.org/ns/odrl/2/read"));
        assert_eq!(rule.stated.first().map(|s| s.0.as_str()), Some("http://www.w3.org/ns/odrl/2/purpose"));
    }

    #[test]
    fn what_a_request_can_not_say_is_refused_by_name() {
        for (text, code, names) in [
            ("ex:r a odrl:Set .", ErrorCode::TermInvalid, "odrl:Request"),
            ("ex:r a odrl:Request .", ErrorCode::TermInvalid, "no `odrl:permission`"),
            ("ex:r a odrl:Request ; odrl:prohibition [] .", ErrorCode::TermUnsupported, "prohibition"),
            (
                "ex:r a odrl:Request ; odrl:permission [ odrl:action odrl:read, odrl:use ] .",
                ErrorCode::TermInvalid,
                "stated twice",
            ),
            ("ex:r a odrl:Request ; odrl:permission [ odrl:duty [] ] .", ErrorCode::TermUnsupported, "duty"),
            (
                "ex:r a odrl:Request ; odrl:permission [ odrl:constraint [ odrl:leftOperand odrl:purpose ; \
                 odrl:operator odrl:neq ; odrl:rightOperand ex:p ] ] .",
                ErrorCode::TermInvalid,
                "odrl:eq",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.detail.contains(names), "{error}");
        }
    }
}
