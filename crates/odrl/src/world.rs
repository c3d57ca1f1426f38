//! A state of the world in RDF, as the ODRL test suite writes it.

use crate::rdf::{Rdf, iri, shown, subject};
use crate::vocabulary::{DCT, ODRL, REPORT, plain};
use oxrdf::{Literal, NamedOrBlankNode, Term};
use perron_model::decision::DutyState;
use perron_model::policy::odrl::PROFILE;
use perron_model::{Error, ErrorCode, Result, Timestamp};

/// Class of a state of the world.
const SOTW: &str = "http://example.org/Sotw";
/// The clock's node.
const CURRENT_TIME: &str = "http://example.com/request/currentTime";

/// What is known when a request is evaluated.
#[derive(Clone, Debug)]
pub struct World {
    /// The time, and how it was written.
    pub now: Option<(Timestamp, Literal)>,
    /// Members of collections: `(member, collection)` (`odrl:partOf`).
    pub part_of: Vec<(String, String)>,
    /// Reports on duties.
    pub duties: Vec<Duty>,
    /// Present values of left operands, in full: properties of the state's own node whose names are
    /// left operands of ODRL or of Perron's profile.
    pub values: Vec<(String, Term)>,
}

/// What a report says of a duty.
#[derive(Clone, Debug)]
pub struct Duty {
    /// The report's node.
    pub report: NamedOrBlankNode,
    /// The duty.
    pub rule: NamedOrBlankNode,
    /// Its state.
    pub state: DutyState,
}

impl World {
    /// The one state of a document.
    pub fn read(rdf: &Rdf) -> Result<World> {
        let states: Vec<_> = rdf.subjects().into_iter().filter(|s| rdf.is_a(s, SOTW)).collect();
        let [state] = states.as_slice() else {
            return Err(invalid(&format!("a document holds one `ex:Sotw`, this one {}", states.len())));
        };
        let mut world = World { now: None, part_of: Vec::new(), duties: Vec::new(), values: Vec::new() };
        for triple in rdf.triples() {
            let about = shown(&triple.subject);
            match (triple.predicate.as_str(), &triple.object) {
                (p, object) if p == format!("{DCT}issued") && about == format!("<{CURRENT_TIME}>") => {
                    if world.now.is_some() {
                        return Err(invalid("two times"));
                    }
                    world.now = Some(time(object)?);
                }
                (p, object) if p.strip_prefix(ODRL) == Some("partOf") => {
                    let (NamedOrBlankNode::NamedNode(member), Some(collection)) = (&triple.subject, iri(object)) else {
                        return Err(invalid("`odrl:partOf` is said of an IRI, and names one"));
                    };
                    world.part_of.push((plain(member.as_str()), collection.to_owned()));
                }
                (p, object) if triple.subject == **state && (p.starts_with(ODRL) || p.starts_with(PROFILE)) => {
                    world.values.push((p.to_owned(), object.clone()));
                }
                _ => {}
            }
        }
        for report in rdf.subjects().into_iter().filter(|s| rdf.is_a(s, &format!("{REPORT}DutyReport"))) {
            world.duties.push(duty(rdf, report)?);
        }
        Ok(world)
    }
}

fn time(object: &Term) -> Result<(Timestamp, Literal)> {
    match object {
        Term::Literal(literal) => {
            Timestamp::parse(literal.value()).map(|t| (t, literal.clone())).map_err(|e| invalid(&e.detail))
        }
        other => Err(invalid(&format!("`{other}` is not a time"))),
    }
}

fn duty(rdf: &Rdf, report: &NamedOrBlankNode) -> Result<Duty> {
    let one = |local: &str| match rdf.objects(report, &format!("{REPORT}{local}")).as_slice() {
        [one] => Ok((*one).clone()),
        _ => Err(invalid(&format!("the duty report {} has not exactly one `report:{local}`", shown(report)))),
    };
    let (rule, state) = (one("rule")?, one("deonticState")?);
    let rule = subject(&rule).ok_or_else(|| invalid("`report:rule` is not a node"))?;
    let state = match iri(&state).and_then(|iri| iri.strip_prefix(REPORT)) {
        Some("Fulfilled") => DutyState::Fulfilled,
        Some("NonSet" | "NotSet") => DutyState::NotSet,
        Some("Violated") => DutyState::Violated,
        _ => return Err(invalid(&format!("`{state}` is not a deontic state"))),
    };
    Ok(Duty { report: report.clone(), rule, state })
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, format!("the state of the world: {why}"))
}
