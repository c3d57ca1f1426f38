//! Names of RDF, ODRL, Dublin Core, the test suite's state of the world, and the compliance report.

use oxrdf::NamedNodeRef;

/// Namespace of ODRL 2.2.
pub(crate) const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// Namespace of Dublin Core's terms.
pub(crate) const DCT: &str = "http://purl.org/dc/terms/";
/// Namespace of Dublin Core's elements.
pub(crate) const DC: &str = "http://purl.org/dc/elements/1.1/";
/// Namespace of XML Schema's data types.
pub(crate) const XSD: &str = "http://www.w3.org/2001/XMLSchema#";
/// Namespace of the compliance report (SolidLabResearch, ODRL Compliance Report Model).
pub const REPORT: &str = "https://w3id.org/force/compliance-report#";

/// What names of participants and sets, which policies in JSON write alone, are relative to as IRIs:
/// `https://w3id.org/perron/name/malmedy` is `malmedy`.
pub const NAMES: &str = "https://w3id.org/perron/name/";

/// `rdf:type`.
pub(crate) const TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";
/// `rdf:value`.
pub(crate) const VALUE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#value";
/// `rdf:first`.
pub(crate) const FIRST: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#first";
/// `rdf:rest`.
pub(crate) const REST: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#rest";
/// `rdf:nil`.
pub(crate) const NIL: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#nil";
/// `rdfs:label`.
pub(crate) const LABEL: &str = "http://www.w3.org/2000/01/rdf-schema#label";
/// `rdfs:comment`.
pub(crate) const COMMENT: &str = "http://www.w3.org/2000/01/rdf-schema#comment";
/// `xsd:dateTime`.
pub(crate) const DATE_TIME: &str = "http://www.w3.org/2001/XMLSchema#dateTime";
/// `xsd:string`.
pub(crate) const STRING: &str = "http://www.w3.org/2001/XMLSchema#string";

/// A name of which only the text is known. Every caller's text is a constant of this file, joined
/// with a local name of letters.
pub(crate) fn node(iri: &str) -> NamedNodeRef<'_> {
    NamedNodeRef::new_unchecked(iri)
}

/// A name as policies in JSON write it, of its IRI.
pub(crate) fn plain(iri: &str) -> String {
    iri.strip_prefix(NAMES).filter(|name| !name.is_empty()).unwrap_or(iri).to_owned()
}
