//! The compliance report of an evaluation (https://w3id.org/force/compliance-report#), as Turtle
//! and as JSON.

use crate::vocabulary::{DATE_TIME, DCT, ODRL, REPORT, TYPE, node};
use oxrdf::{BlankNode, Literal, NamedNode, NamedOrBlankNode, Term, Triple};
use oxttl::TurtleSerializer;
use perron_model::decision::DutyState;
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::{Value as Json, json};

/// The report on one policy and one request.
#[derive(Clone, Debug)]
pub struct Compliance {
    /// When it was made.
    pub created: Timestamp,
    /// The policy.
    pub policy: NamedOrBlankNode,
    /// The request.
    pub request: NamedOrBlankNode,
    /// May what is asked be done? One answer a requested rule.
    pub permit: Vec<bool>,
    /// Places of the terms that decide nothing: the view, the released table or the stream carries
    /// them out once a read is permitted.
    pub elsewhere: Vec<String>,
    /// Each rule of the policy, against each thing that is asked.
    pub rules: Vec<RuleReport>,
}

/// The report on one rule.
#[derive(Clone, Debug)]
pub struct RuleReport {
    /// Permission, prohibition or obligation.
    pub kind: RuleKind,
    /// Place in the policy.
    pub place: String,
    /// The rule.
    pub rule: NamedOrBlankNode,
    /// What was asked.
    pub requested: NamedOrBlankNode,
    /// What the rule states, and whether it holds: nothing for what it doesn't state.
    pub premises: Vec<Premise>,
    /// Its duties.
    pub conditions: Vec<Condition>,
    /// Do all premises hold, and the duties as the mode asks?
    pub activation: Activation,
}

/// Kind of a rule (ODRL 2.2 Information Model, section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleKind {
    /// What may be done.
    Permission,
    /// What must not be done.
    Prohibition,
    /// What must be done.
    Obligation,
}

/// Activation state of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// In force for this request.
    Active,
    /// Not.
    Inactive,
}

/// A part of a rule that holds or doesn't.
#[derive(Clone, Debug)]
pub struct Premise {
    /// Which part.
    pub kind: PremiseKind,
    /// Does it hold?
    pub satisfied: bool,
}

/// Part of a rule.
#[derive(Clone, Debug)]
pub enum PremiseKind {
    /// The asset.
    Target,
    /// The assignee.
    Party,
    /// The action.
    Action,
    /// An atomic constraint.
    Atomic {
        /// Place in the policy.
        place: String,
        /// The constraint.
        constraint: NamedOrBlankNode,
        /// Present values of the left operand; none where nothing is known.
        left: Vec<Term>,
        /// The operator.
        operator: Option<NamedNode>,
        /// The right operands, as written.
        right: Vec<Term>,
    },
    /// A logical constraint.
    Logical {
        /// Place in the policy.
        place: String,
        /// The constraint.
        constraint: NamedOrBlankNode,
        /// `odrl:and`, `or`, `xone`, `andSequence`.
        operand: NamedNode,
        /// Its operands.
        premises: Vec<Premise>,
    },
}

/// A duty that a permission depends on.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Place in the policy.
    pub place: String,
    /// The duty.
    pub duty: NamedOrBlankNode,
    /// The report on it in the state of the world, if there is one.
    pub report: Option<NamedOrBlankNode>,
    /// Its state.
    pub state: DutyState,
}

impl Compliance {
    /// As Turtle. As in the suite's reports, the operator and the right operand stand with a
    /// constraint that is satisfied; the JSON has them always.
    pub fn turtle(&self) -> Result<String> {
        let prefixes = [("report", REPORT), ("odrl", ODRL), ("dct", DCT), ("xsd", crate::vocabulary::XSD)];
        let mut serializer = TurtleSerializer::new();
        for (prefix, iri) in prefixes {
            serializer = serializer.with_prefix(prefix, iri).map_err(|e| unwritable(&e))?;
        }
        let mut writer = serializer.for_writer(Vec::new());
        for triple in self.triples() {
            writer.serialize_triple(&triple).map_err(|e| unwritable(&e))?;
        }
        String::from_utf8(writer.finish().map_err(|e| unwritable(&e))?).map_err(|e| unwritable(&e))
    }

    /// As triples, in an order that the report decides.
    pub fn triples(&self) -> Vec<Triple> {
        let mut writing = Writing { triples: Vec::new(), nodes: 0 };
        let report = writing.fresh("report");
        let rules: Vec<_> = self.rules.iter().map(|_| writing.fresh("rule")).collect();
        writing.a(&report, "PolicyReport");
        let created = Literal::new_typed_literal(self.created.to_string(), node(DATE_TIME));
        writing.add(&report, &format!("{DCT}created"), created);
        writing.add(&report, &format!("{REPORT}policy"), self.policy.clone());
        writing.add(&report, &format!("{REPORT}policyRequest"), self.request.clone());
        for rule in &rules {
            writing.add(&report, &format!("{REPORT}ruleReport"), rule.clone());
        }
        for (rule, id) in self.rules.iter().zip(rules) {
            writing.rule(rule, &id);
        }
        writing.triples
    }

    /// As JSON.
    pub fn json(&self) -> Json {
        json!({
            "created": self.created,
            "policy": name(&self.policy),
            "request": name(&self.request),
            "permit": self.permit,
            "notEvaluated": self.elsewhere,
            "rules": self.rules.iter().map(rule_json).collect::<Vec<_>>(),
        })
    }
}

struct Writing {
    triples: Vec<Triple>,
    nodes: usize,
}

impl Writing {
    fn fresh(&mut self, what: &str) -> NamedOrBlankNode {
        self.nodes += 1;
        BlankNode::new_unchecked(format!("{what}{}", self.nodes)).into()
    }

    fn add(&mut self, subject: &NamedOrBlankNode, predicate: &str, object: impl Into<Term>) {
        self.triples.push(Triple::new(subject.clone(), node(predicate), object));
    }

    fn a(&mut self, subject: &NamedOrBlankNode, class: &str) {
        self.add(subject, TYPE, NamedNode::new_unchecked(format!("{REPORT}{class}")));
    }

    fn state(&mut self, subject: &NamedOrBlankNode, predicate: &str, value: &str) {
        self.add(subject, &format!("{REPORT}{predicate}"), NamedNode::new_unchecked(format!("{REPORT}{value}")));
    }

    fn rule(&mut self, rule: &RuleReport, id: &NamedOrBlankNode) {
        let class = match rule.kind {
            RuleKind::Permission => "PermissionReport",
            RuleKind::Prohibition => "ProhibitionReport",
            RuleKind::Obligation => "ObligationReport",
        };
        self.a(id, class);
        self.state(id, "attemptState", "Attempted");
        self.add(id, &format!("{REPORT}rule"), rule.rule.clone());
        self.add(id, &format!("{REPORT}ruleRequest"), rule.requested.clone());
        let premises: Vec<_> = rule.premises.iter().map(|_| self.fresh("premise")).collect();
        for premise in &premises {
            self.add(id, &format!("{REPORT}premiseReport"), premise.clone());
        }
        let conditions: Vec<_> =
            rule.conditions.iter().map(|c| c.report.clone().unwrap_or_else(|| self.fresh("duty"))).collect();
        for condition in &conditions {
            self.add(id, &format!("{REPORT}conditionReport"), condition.clone());
        }
        let active = match rule.activation {
            Activation::Active => "Active",
            Activation::Inactive => "Inactive",
        };
        self.state(id, "activationState", active);
        for (premise, id) in rule.premises.iter().zip(premises) {
            self.premise(premise, &id);
        }
        for (condition, id) in rule.conditions.iter().zip(conditions) {
            // What the state of the world says of a duty stands there.
            if condition.report.is_none() {
                self.condition(condition, &id);
            }
        }
    }

    fn condition(&mut self, condition: &Condition, id: &NamedOrBlankNode) {
        let (performed, state) = match condition.state {
            DutyState::Fulfilled => ("Performed", "Fulfilled"),
            DutyState::NotSet => ("Unknown", "NonSet"),
            DutyState::Violated => ("Unperformed", "Violated"),
        };
        self.a(id, "DutyReport");
        self.add(id, &format!("{REPORT}rule"), condition.duty.clone());
        self.state(id, "performanceState", performed);
        self.state(id, "deonticState", state);
    }

    fn premise(&mut self, premise: &Premise, id: &NamedOrBlankNode) {
        let class = match &premise.kind {
            PremiseKind::Target => "TargetReport",
            PremiseKind::Party => "PartyReport",
            PremiseKind::Action => "ActionReport",
            PremiseKind::Atomic { .. } | PremiseKind::Logical { .. } => "ConstraintReport",
        };
        self.a(id, class);
        let mut inner = Vec::new();
        match &premise.kind {
            PremiseKind::Target | PremiseKind::Party | PremiseKind::Action => {}
            PremiseKind::Atomic { constraint, left, operator, right, .. } => {
                self.add(id, &format!("{REPORT}constraint"), constraint.clone());
                for value in left {
                    self.add(id, &format!("{REPORT}constraintLeftOperand"), value.clone());
                }
                if premise.satisfied {
                    if let Some(operator) = operator {
                        self.add(id, &format!("{REPORT}constraintOperator"), operator.clone());
                    }
                    for value in right {
                        self.add(id, &format!("{REPORT}constraintRightOperand"), value.clone());
                    }
                }
            }
            PremiseKind::Logical { constraint, operand, premises, .. } => {
                self.add(id, &format!("{REPORT}constraint"), constraint.clone());
                self.add(id, &format!("{REPORT}constraintLogicalOperand"), operand.clone());
                inner = premises.iter().map(|p| (p, self.fresh("premise"))).collect();
                for (_, id_of_inner) in &inner {
                    self.add(id, &format!("{REPORT}premiseReport"), id_of_inner.clone());
                }
            }
        }
        self.state(id, "satisfactionState", if premise.satisfied { "Satisfied" } else { "Unsatisfied" });
        for (premise, id) in inner {
            self.premise(premise, &id);
        }
    }
}

fn rule_json(rule: &RuleReport) -> Json {
    let conditions: Vec<Json> =
        rule.conditions.iter().map(|c| json!({"place": c.place, "duty": name(&c.duty), "state": c.state})).collect();
    json!({
        "kind": rule.kind,
        "place": rule.place,
        "rule": name(&rule.rule),
        "requested": name(&rule.requested),
        "premises": rule.premises.iter().map(premise_json).collect::<Vec<_>>(),
        "duties": conditions,
        "activation": rule.activation,
    })
}

fn premise_json(premise: &Premise) -> Json {
    let texts = |terms: &[Term]| terms.iter().map(Term::to_string).collect::<Vec<_>>();
    match &premise.kind {
        PremiseKind::Target => json!({"kind": "target", "satisfied": premise.satisfied}),
        PremiseKind::Party => json!({"kind": "party", "satisfied": premise.satisfied}),
        PremiseKind::Action => json!({"kind": "action", "satisfied": premise.satisfied}),
        PremiseKind::Atomic { place, constraint, left, operator, right } => json!({
            "kind": "constraint",
            "place": place,
            "constraint": name(constraint),
            "left": texts(left),
            "operator": operator.as_ref().map(NamedNode::as_str),
            "right": texts(right),
            "satisfied": premise.satisfied,
        }),
        PremiseKind::Logical { place, constraint, operand, premises } => json!({
            "kind": "logical",
            "place": place,
            "constraint": name(constraint),
            "operand": operand.as_str(),
            "premises": premises.iter().map(premise_json).collect::<Vec<_>>(),
            "satisfied": premise.satisfied,
        }),
    }
}

/// A node's IRI; nothing for a blank node, whose name means nothing outside.
fn name(node: &NamedOrBlankNode) -> Option<&str> {
    match node {
        NamedOrBlankNode::NamedNode(node) => Some(node.as_str()),
        NamedOrBlankNode::BlankNode(_) => None,
    }
}

fn unwritable(cause: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("a report can't be written: {cause}"))
}
