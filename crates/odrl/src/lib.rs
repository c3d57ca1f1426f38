//! ODRL in RDF: policies, requests and states of the world in Turtle into the compact JSON-LD that
//! `perron-model` reads; the compliance report of an evaluation out, as Turtle or JSON.
//!
//! This is for tools (`perron policy evaluate`) and for other people's test suites. The gate knows
//! nothing of it: there is one reader of policies, `perron_model::policy`, and what comes as Turtle
//! goes through it.

#![forbid(unsafe_code)]

mod coverage;
mod evaluation;
mod index;
mod limits;
mod policy;
mod rdf;
mod report;
mod request;
mod rules;
mod terms;
mod values;
mod vocabulary;
mod world;

pub use coverage::{Label, Line, coverage};
pub use evaluation::{Evaluation, Mode, Policy};
pub use index::{Index, Node};
pub use policy::policy_json;
pub use rdf::Rdf;
pub use report::{Activation, Compliance, Condition, Premise, PremiseKind, RuleKind, RuleReport};
pub use request::{Request, RequestedRule};
pub use terms::{By, FUNCTIONS, GRANULARITIES, Kind, TERMS, Term, Value};
pub use vocabulary::{NAMES, REPORT};
pub use world::{Duty, World};
