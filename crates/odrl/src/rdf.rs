//! A bounded Turtle document, in the order of its text.

use crate::limits::{IRI_BYTES_MAX, RDF_BYTES_MAX, RDF_TRIPLES_MAX};
use crate::vocabulary::{FIRST, NIL, REST, TYPE};
use oxrdf::{NamedOrBlankNode, Term, Triple};
use oxttl::TurtleParser;
use perron_model::{Error, ErrorCode, Result};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The triples of a document, by subject, in the order of the text: what is made of them is the
/// same at each reading.
#[derive(Clone, Debug, Default)]
pub struct Rdf {
    triples: Vec<Triple>,
    by_subject: HashMap<NamedOrBlankNode, Vec<usize>>,
}

impl Rdf {
    /// Reads Turtle (W3C RDF 1.1 Turtle). There is no base, so a relative IRI is an error; what is
    /// larger than its bound is `too_large`.
    pub fn read(text: &[u8]) -> Result<Rdf> {
        if text.len() > RDF_BYTES_MAX {
            return Err(too_large(format!("a document of {} bytes is over {RDF_BYTES_MAX}", text.len())));
        }
        let (mut rdf, mut known) = (Rdf::default(), HashSet::new());
        for triple in TurtleParser::new().for_slice(text) {
            let triple = triple.map_err(|error| {
                let at = error.location().start;
                Error::malformed(format!("Turtle, line {}, column {}: {}", at.line + 1, at.column + 1, error.message()))
            })?;
            if rdf.triples.len() == RDF_TRIPLES_MAX {
                return Err(too_large(format!("a document of more than {RDF_TRIPLES_MAX} triples")));
            }
            if iris(&triple).any(|iri| iri.len() > IRI_BYTES_MAX) {
                return Err(too_large(format!("an IRI of more than {IRI_BYTES_MAX} bytes")));
            }
            // RDF is a set: a triple that is written twice is one.
            if known.insert(triple.clone()) {
                rdf.by_subject.entry(triple.subject.clone()).or_default().push(rdf.triples.len());
                rdf.triples.push(triple);
            }
        }
        Ok(rdf)
    }

    /// All triples.
    pub fn triples(&self) -> &[Triple] {
        &self.triples
    }

    /// Subjects, in the order in which they are first written.
    pub fn subjects(&self) -> Vec<&NamedOrBlankNode> {
        let mut first: BTreeMap<usize, &NamedOrBlankNode> = BTreeMap::new();
        for (subject, own) in &self.by_subject {
            if let Some(at) = own.first() {
                first.insert(*at, subject);
            }
        }
        first.into_values().collect()
    }

    /// Predicates and objects of a subject.
    pub fn of<'a>(&'a self, subject: &NamedOrBlankNode) -> impl Iterator<Item = (&'a str, &'a Term)> + use<'a> {
        let own: Vec<usize> = self.by_subject.get(subject).cloned().unwrap_or_default();
        own.into_iter().filter_map(|i| self.triples.get(i)).map(|t| (t.predicate.as_str(), &t.object))
    }

    /// Objects of a subject and predicate.
    pub fn objects<'a>(&'a self, subject: &NamedOrBlankNode, predicate: &str) -> Vec<&'a Term> {
        self.of(subject).filter(|(p, _)| *p == predicate).map(|(_, o)| o).collect()
    }

    /// Is the subject of this class?
    pub fn is_a(&self, subject: &NamedOrBlankNode, class: &str) -> bool {
        self.of(subject).any(|(p, o)| p == TYPE && matches!(o, Term::NamedNode(n) if n.as_str() == class))
    }

    /// Is anything said of this node?
    pub fn describes(&self, node: &NamedOrBlankNode) -> bool {
        self.by_subject.contains_key(node)
    }

    /// Is the node a list's (`rdf:first`, `rdf:rest`)?
    pub(crate) fn is_list(&self, node: &NamedOrBlankNode) -> bool {
        !self.objects(node, FIRST).is_empty() || matches!(node, NamedOrBlankNode::NamedNode(n) if n.as_str() == NIL)
    }

    /// The members of a list (RDF 1.1 Semantics, section "RDF collections"), each node once.
    pub(crate) fn list<'a>(&'a self, head: &NamedOrBlankNode) -> Result<Vec<&'a Term>> {
        let broken =
            || Error::new(ErrorCode::TermInvalid, "a list that isn't one `rdf:first` and one `rdf:rest` a node");
        let (mut items, mut at, mut seen) = (Vec::new(), head.clone(), HashSet::new());
        loop {
            if matches!(&at, NamedOrBlankNode::NamedNode(n) if n.as_str() == NIL) {
                return Ok(items);
            }
            let (first, rest) = (self.objects(&at, FIRST), self.objects(&at, REST));
            let ([first], [rest]) = (first.as_slice(), rest.as_slice()) else { return Err(broken()) };
            items.push(*first);
            let next = subject(rest).ok_or_else(broken)?;
            if !seen.insert(std::mem::replace(&mut at, next)) {
                return Err(broken());
            }
        }
    }
}

/// The term as a subject, if it is a node.
pub(crate) fn subject(term: &Term) -> Option<NamedOrBlankNode> {
    match term {
        Term::NamedNode(node) => Some(node.clone().into()),
        Term::BlankNode(node) => Some(node.clone().into()),
        Term::Literal(_) => None,
    }
}

/// The IRI of a node, if it has one.
pub(crate) fn iri(term: &Term) -> Option<&str> {
    match term {
        Term::NamedNode(node) => Some(node.as_str()),
        _ => None,
    }
}

/// How a node is named in messages.
pub(crate) fn shown(node: &NamedOrBlankNode) -> String {
    node.to_string().chars().take(120).collect()
}

pub(crate) fn too_large(detail: String) -> Error {
    Error::new(ErrorCode::TooLarge, detail)
}

fn iris(triple: &Triple) -> impl Iterator<Item = &str> {
    let subject = match &triple.subject {
        NamedOrBlankNode::NamedNode(node) => Some(node.as_str()),
        NamedOrBlankNode::BlankNode(_) => None,
    };
    subject.into_iter().chain([triple.predicate.as_str()]).chain(iri(&triple.object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_bounded() {
        assert_eq!(Rdf::read(&vec![b' '; RDF_BYTES_MAX + 1]).unwrap_err().code, ErrorCode::TooLarge);
        let many: String = (0..=RDF_TRIPLES_MAX).map(|i| format!("<a:b> <a:c> {i} .\n")).collect();
        assert_eq!(Rdf::read(many.as_bytes()).unwrap_err().code, ErrorCode::TooLarge);
        let long = format!("<a:{}> <a:b> 1 .", "x".repeat(IRI_BYTES_MAX));
        assert_eq!(Rdf::read(long.as_bytes()).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn what_is_not_turtle_is_refused_by_its_place() {
        for text in ["<a:b> <a:c>", "<relative> <a:b> 1 .", "<a:b> <a:c> \"x .", "{}", "@prefix a <b:c> .", "\u{0}"] {
            let error = Rdf::read(text.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::Malformed, "{text}");
            assert!(error.detail.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn lists_are_read_and_broken_ones_refused() {
        let rdf = Rdf::read(
            b"<a:s> <a:p> (<a:1> <a:2>) . <a:c> <http://www.w3.org/1999/02/22-rdf-syntax-ns#first> 1 ; \
            <http://www.w3.org/1999/02/22-rdf-syntax-ns#rest> <a:c> .",
        )
        .unwrap();
        let head = subject(rdf.triples().iter().find(|t| t.predicate.as_str() == "a:p").map(|t| &t.object).unwrap());
        assert_eq!(rdf.list(&head.unwrap()).unwrap().len(), 2);
        let around = rdf.subjects().into_iter().find(|s| shown(s) == "<a:c>").unwrap().clone();
        assert!(rdf.is_list(&around));
        assert_eq!(rdf.list(&around).unwrap_err().code, ErrorCode::TermInvalid);
    }
}
