//! One evaluation: a policy, a request and a state of the world into what the module is asked, and
//! the module's answers into the compliance report.

use crate::index::Index;
use crate::rdf::{Rdf, too_large};
use crate::report::{Activation, Compliance, Condition, Premise, PremiseKind, RuleKind, RuleReport};
use crate::request::{Request, RequestedRule};
use crate::rules::{invalid, rules, unsupported};
use crate::values::{duration_ms, integer, lexical, scalar};
use crate::vocabulary::{ODRL, XSD, node};
use crate::world::World;
use oxrdf::{Literal, NamedNode, NamedOrBlankNode, Term};
use perron_model::decision::{DutyState, StateFacts};
use perron_model::policy::Scalar;
use perron_model::policy::odrl::PROFILE;
use perron_model::policy::rule::{ANY, Rule, Rules};
use perron_model::report::{
    LeftValue, NodeReport, Report, ReportAgreement, ReportInput, ReportParties, ReportRequest, RuleReport as Answer,
    Satisfaction,
};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether evaluation is as at the gate, or as the ODRL test suite expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A duty that isn't fulfilled makes its permission inactive: deny by default.
    Gate,
    /// A duty that is neither fulfilled nor violated leaves its permission active.
    Suite,
}

/// A policy that is ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Policy {
    index: Index,
    rules: Arc<Rules>,
    elsewhere: Vec<String>,
}

impl Policy {
    /// Of a document in Turtle.
    pub fn turtle(text: &[u8]) -> Result<Policy> {
        Policy::json(&crate::policy::policy_json(&Rdf::read(text)?)?)
    }

    /// Of a document in the compact JSON-LD shape.
    pub fn json(policy: &Json) -> Result<Policy> {
        let (rules, elsewhere) = rules(policy)?;
        Ok(Policy { index: Index::of(policy)?, rules: Arc::new(rules), elsewhere })
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whom and what its rules name. A state of the world tells all memberships, so whatever it is,
    /// who belongs to it is known.
    fn named(&self) -> Vec<String> {
        let rules = self.rules.permissions.iter().chain(&self.rules.prohibitions);
        let named: BTreeSet<&String> = rules.flat_map(|rule| [&rule.assignee, &rule.target]).collect();
        named.into_iter().filter(|name| *name != ANY).cloned().collect()
    }

    fn node(&self, at: &str) -> NamedOrBlankNode {
        self.index.get(at).map_or_else(|| oxrdf::BlankNode::default().into(), |n| n.id.clone())
    }
}

/// What a policy is evaluated against.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    policy: &'a Policy,
    request: &'a Request,
    world: &'a World,
    mode: Mode,
}

impl<'a> Evaluation<'a> {
    /// Of one request in one state of the world.
    pub fn new(policy: &'a Policy, request: &'a Request, world: &'a World, mode: Mode) -> Evaluation<'a> {
        Evaluation { policy, request, world, mode }
    }

    /// What the module is asked: one input a requested rule, in their order.
    pub fn inputs(&self) -> Result<Vec<ReportInput>> {
        self.request.rules.iter().map(|rule| self.input(rule)).collect()
    }

    fn input(&self, rule: &RequestedRule) -> Result<ReportInput> {
        let (now, _) =
            self.world.now.as_ref().ok_or_else(|| {
                invalid("the state of the world", "no time is told (`temp:currentTime dct:issued …`)")
            })?;
        let known = Known::of(self.world, *now)?;
        let of = |member: &Option<String>| match member {
            Some(member) => self.world.part_of.iter().filter(|(m, _)| m == member).map(|(_, c)| c.clone()).collect(),
            None => Vec::new(),
        };
        let mut request = ReportRequest {
            issuer: rule.assignee.clone().unwrap_or_default(),
            issuer_of: of(&rule.assignee),
            action: rule.action.clone().unwrap_or_default(),
            target: rule.target.clone().unwrap_or_default(),
            target_of: of(&rule.target),
            ..ReportRequest::default()
        };
        for (left, value) in &rule.stated {
            match (left.strip_prefix(ODRL), left.strip_prefix(PROFILE), scalar(value)) {
                (Some("purpose"), _, Scalar::Text(text)) if request.purpose.is_none() => request.purpose = Some(text),
                (_, Some("userRole"), Scalar::Text(text)) => request.roles.get_or_insert_default().push(text),
                _ => return Err(unsupported("the request", left)),
            }
        }
        let agreement = ReportAgreement {
            rules: self.policy.rules.clone(),
            legal_basis: known.legal_basis,
            agreed_at: known.agreed_at,
        };
        let mut state = known.state;
        state.duties = self.duties(*now, known.agreed_at)?;
        state.collections = self.policy.named();
        Ok(ReportInput {
            now: *now,
            request,
            agreement,
            parties: ReportParties { consumer_jurisdiction: known.jurisdiction },
            state,
            suite: self.mode == Mode::Suite,
        })
    }

    /// States of this policy's duties, by place: as told; one that isn't fulfilled in its time is
    /// violated.
    fn duties(&self, now: Timestamp, agreed_at: Option<Timestamp>) -> Result<BTreeMap<String, DutyState>> {
        let at = "the state of the world";
        let mut states = BTreeMap::new();
        for duty in self.policy.rules.duties() {
            let id = self.policy.node(&duty.at);
            let mut told = self.world.duties.iter().filter(|known| known.rule == id).map(|known| known.state);
            let state = told.next().unwrap_or(DutyState::NotSet);
            if told.any(|other| other != state) {
                return Err(invalid(at, &format!("two states of the duty `{}`", duty.at)));
            }
            let within = match (duty.within_ms, agreed_at) {
                (None, _) => None,
                (Some(ms), Some(agreed_at)) => Some(agreed_at.millis().saturating_add(ms)),
                (Some(_), None) => {
                    let why =
                        format!("`odrl:elapsedTime` isn't told, and the duty `{}` is to be fulfilled by it", duty.at);
                    return Err(invalid(at, &why));
                }
            };
            let late = duty.before_ms.into_iter().chain(within).any(|until| now.millis() >= until);
            let state = if late && state == DutyState::NotSet { DutyState::Violated } else { state };
            states.insert(duty.at.clone(), state);
        }
        Ok(states)
    }

    /// The compliance report: `answers` are those to [`Evaluation::inputs`], in their order.
    pub fn report(&self, answers: &[Report], created: Timestamp) -> Result<Compliance> {
        let mut rules = Vec::new();
        for (requested, answer) in self.request.rules.iter().zip(answers) {
            let kinds = [
                (RuleKind::Permission, &self.policy.rules.permissions, &answer.permissions),
                (RuleKind::Prohibition, &self.policy.rules.prohibitions, &answer.prohibitions),
            ];
            for (kind, own, answers) in kinds {
                if own.len() != answers.len() {
                    return Err(unexpected("another number of rules"));
                }
                for (rule, answer) in own.iter().zip(answers) {
                    rules.push(self.rule(kind, rule, requested, answer)?);
                }
            }
            for obligation in &answer.obligations {
                rules.push(RuleReport {
                    kind: RuleKind::Obligation,
                    place: obligation.at.clone(),
                    rule: self.policy.node(&obligation.at),
                    requested: requested.id.clone(),
                    premises: Vec::new(),
                    conditions: vec![self.condition(&obligation.at, obligation.state)],
                    activation: Activation::Active,
                });
            }
        }
        Ok(Compliance {
            created,
            policy: self.policy.node("$"),
            request: self.request.id.clone(),
            permit: answers.iter().map(|answer| answer.permit).collect(),
            elsewhere: self.policy.elsewhere.clone(),
            rules,
        })
    }

    fn rule(&self, kind: RuleKind, rule: &Rule, requested: &RequestedRule, answer: &Answer) -> Result<RuleReport> {
        let mut premises = Vec::new();
        let stated = [
            (PremiseKind::Target, &rule.target, answer.target),
            (PremiseKind::Party, &rule.assignee, answer.party),
            (PremiseKind::Action, &rule.action, answer.action),
        ];
        for (kind, name, satisfied) in stated {
            if name != ANY {
                premises.push(Premise { kind, satisfied });
            }
        }
        let nodes: BTreeMap<u32, &NodeReport> = answer.nodes.iter().map(|node| (node.id, node)).collect();
        for id in &rule.all {
            premises.push(self.premise(&nodes, *id)?);
        }
        Ok(RuleReport {
            kind,
            place: rule.at.clone(),
            rule: self.policy.node(&rule.at),
            requested: requested.id.clone(),
            premises,
            conditions: answer.duties.iter().map(|duty| self.condition(&duty.at, duty.state)).collect(),
            activation: if answer.active { Activation::Active } else { Activation::Inactive },
        })
    }

    fn premise(&self, nodes: &BTreeMap<u32, &NodeReport>, id: u32) -> Result<Premise> {
        let answer = nodes.get(&id).ok_or_else(|| unexpected("no word about a constraint"))?;
        let place = answer.at.clone();
        let own = self.index(&place)?;
        let satisfied = answer.state == Satisfaction::Satisfied;
        let kind = match (&answer.of, &own.logical) {
            (Some(of), Some(operand)) => {
                // A node combines nodes with smaller numbers, so this ends.
                let inner = of.iter().filter(|inner| **inner < id).map(|inner| self.premise(nodes, *inner));
                PremiseKind::Logical {
                    place,
                    constraint: own.id.clone(),
                    operand: operand.clone(),
                    premises: inner.collect::<Result<_>>()?,
                }
            }
            (None, None) => PremiseKind::Atomic {
                place,
                constraint: own.id.clone(),
                left: answer.left.as_ref().map(|left| self.left(own.left.as_deref(), left)).unwrap_or_default(),
                operator: own.operator.clone(),
                right: own.right.clone(),
            },
            _ => return Err(unexpected("a constraint of another kind")),
        };
        Ok(Premise { kind, satisfied })
    }

    fn index(&self, place: &str) -> Result<&crate::index::Node> {
        self.policy.index.get(place).ok_or_else(|| unexpected("a place that isn't in the policy"))
    }

    /// A left operand's value as terms; the time as the state of the world writes it.
    fn left(&self, operand: Option<&str>, value: &LeftValue) -> Vec<Term> {
        let typed =
            |value: String, local: &str| Literal::new_typed_literal(value, node(&format!("{XSD}{local}"))).into();
        let local = operand.and_then(|operand| operand.strip_prefix(ODRL));
        match (value, local, &self.world.now) {
            (LeftValue::Number(_), Some("dateTime"), Some((_, written))) => vec![written.clone().into()],
            (LeftValue::Number(ms), Some("elapsedTime"), _) => vec![typed(format!("PT{}S", ms / 1000), "duration")],
            (LeftValue::Number(number), _, _) => vec![typed(number.to_string(), "integer")],
            (LeftValue::Set(values), _, _) => values
                .iter()
                .map(|value| match value {
                    Scalar::Boolean(value) => typed(value.to_string(), "boolean"),
                    Scalar::Text(text) => match NamedNode::new(text) {
                        Ok(name) => name.into(),
                        Err(_) => Literal::new_simple_literal(text).into(),
                    },
                })
                .collect(),
        }
    }

    fn condition(&self, at: &str, state: DutyState) -> Condition {
        let duty = self.policy.node(at);
        let told = self.world.duties.iter().find(|known| known.rule == duty && known.state == state);
        let report = told.map(|known| known.report.clone());
        Condition { place: at.to_owned(), duty, report, state }
    }
}

/// What a state of the world tells of left operands.
struct Known {
    state: StateFacts,
    legal_basis: Option<String>,
    agreed_at: Option<Timestamp>,
    jurisdiction: Option<String>,
}

impl Known {
    fn of(world: &World, now: Timestamp) -> Result<Known> {
        let at = "the state of the world";
        let mut known = Known { state: StateFacts::default(), legal_basis: None, agreed_at: None, jurisdiction: None };
        let count = |term: &Term| {
            u64::try_from(integer(at, &lexical(at, term)?)?).map_err(|_| invalid(at, "a number is less than none"))
        };
        for (left, term) in &world.values {
            match (left.strip_prefix(ODRL), left.strip_prefix(PROFILE), scalar(term)) {
                (Some("count"), _, _) => known.state.uses = count(term)?,
                (Some("elapsedTime"), _, _) => {
                    let ms = duration_ms(at, &lexical(at, term)?)?;
                    known.agreed_at = Some(Timestamp::from_millis(now.millis().saturating_sub(ms))?);
                }
                (Some("spatial"), _, Scalar::Text(text)) => known.jurisdiction = Some(text),
                (Some("event"), _, Scalar::Text(text)) => {
                    known.state.facts.insert(text, Scalar::Boolean(true));
                }
                (_, Some("legalBasis"), Scalar::Text(text)) => known.legal_basis = Some(text),
                (_, Some("rate"), _) => known.state.uses_last_hour = Some(count(term)?),
                (_, Some("volume"), _) => known.state.volume_bytes = Some(count(term)?),
                (_, Some(local), value) if local.starts_with("fact/") => {
                    let name = local.strip_prefix("fact/").unwrap_or_default().to_owned();
                    known.state.facts.insert(name, value);
                }
                _ => return Err(unsupported(at, left)),
            }
        }
        if known.state.facts.len() > crate::limits::FACTS_MAX {
            return Err(too_large(format!("more than {} facts", crate::limits::FACTS_MAX)));
        }
        Ok(known)
    }
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorCode::EvaluationFailed, format!("the policy module gave {what}"))
}
