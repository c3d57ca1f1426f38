//! Rules of a policy: permissions, prohibitions, duties and obligations, with their action, their
//! assignee and their target.

use super::odrl::{ACTION_AGGREGATE, ACTION_READ, ACTION_USE, check_id, object, only};
use super::odrl_actions::known_action;
use super::odrl_constraint::{atomic, constraint, logical, place, test};
use super::odrl_literal::{duration_ms, time};
use super::odrl_names::{IRI_BYTES_MAX, Name, clip, invalid, name, unsupported};
use super::odrl_set::{each, text};
use super::odrl_view::ViewDraft;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::id::ParticipantId;
use crate::limits::POLICY_TERMS_MAX;
use crate::policy::constraint::{Constraint, Numbering};
use crate::policy::rule::{ANY, Duty, Rule};
use crate::policy::terms::View;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// What rules take from the policy where they don't state it (ODRL 2.2 Information Model, section
/// 2.7.1: compact policies), and what is counted.
pub(super) struct Reader<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) consumer: Option<&'a ParticipantId>,
    /// Assignee and target of the policy, with their places.
    pub(super) assignee: Option<&'a Json>,
    pub(super) target: Option<&'a Json>,
    pub(super) numbering: Numbering,
    pub(super) terms: usize,
}

/// Which kind of rule is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permission,
    Prohibition,
}

impl Reader<'_> {
    /// A permission and the view that it states.
    pub(super) fn permission(&mut self, path: &str, json: &Json) -> Result<(Rule, View)> {
        let members = object(path, json)?;
        only(path, members, &["@id", "action", "assignee", "target", "constraint", "duty"])?;
        check_id(path, members)?;
        let constraint_path = format!("{path}.constraint");
        let Some(Json::Array(constraints)) = members.get("constraint") else {
            return Err(invalid(&constraint_path, "a permission has a list of constraints"));
        };
        let mut view = ViewDraft::new(self.dataset);
        let mut rule = self.rule(path, members, Kind::Permission, &mut view)?;
        self.top_level(&constraint_path, constraints, &mut rule, Some(&mut view))?;
        for (at, duty) in optional_list(&format!("{path}.duty"), members.get("duty"))? {
            rule.duties.push(self.duty(&at, duty)?);
        }
        check_window(&rule)?;
        let states_purpose =
            |rule: &Rule| rule.nodes.any.iter().any(|n| n.left == "purpose" && rule.all.contains(&n.id));
        if !states_purpose(&rule) {
            return Err(invalid(&constraint_path, "no `purpose` is stated"));
        }
        let view = view.finish(&constraint_path)?;
        if rule.action == ACTION_AGGREGATE && matches!(view, View::Rows(_)) {
            return Err(invalid(&format!("{path}.action"), "rows are given to be read: the action is `use` or `read`"));
        }
        Ok((rule, view))
    }

    /// A prohibition. Its `remedy` is refused by name.
    pub(super) fn prohibition(&mut self, path: &str, json: &Json) -> Result<Rule> {
        let members = object(path, json)?;
        only(path, members, &["@id", "action", "assignee", "target", "constraint"])?;
        check_id(path, members)?;
        let mut view = ViewDraft::new(self.dataset);
        let mut rule = self.rule(path, members, Kind::Prohibition, &mut view)?;
        let constraint_path = format!("{path}.constraint");
        if let Some(json) = members.get("constraint") {
            let Json::Array(constraints) = json else {
                return Err(invalid(&constraint_path, "not a list of constraints"));
            };
            self.top_level(&constraint_path, constraints, &mut rule, None)?;
        }
        Ok(rule)
    }

    /// A duty or an obligation. Its `consequence` is refused by name. What it is limited by says
    /// until when it is to be fulfilled.
    pub(super) fn duty(&mut self, path: &str, json: &Json) -> Result<Duty> {
        let members = object(path, json)?;
        only(path, members, &["@id", "action", "assignee", "constraint"])?;
        check_id(path, members)?;
        self.count(path, 1)?;
        let action_path = format!("{path}.action");
        let action = known_action(text(path, members, "action")?)
            .ok_or_else(|| unsupported(&action_path, &clip(text(path, members, "action").unwrap_or_default())))?;
        let assignee = match members.get("assignee") {
            None => None,
            Some(json) => Some(participant(&format!("{path}.assignee"), json)?.to_string()),
        };
        let mut duty = Duty { at: place(path), action, assignee, before_ms: None, within_ms: None };
        for (at, json) in optional_list(&format!("{path}.constraint"), members.get("constraint"))? {
            self.count(&at, 1)?;
            deadline(&at, json, &mut duty)?;
        }
        Ok(duty)
    }

    fn rule(&mut self, path: &str, members: &Map<String, Json>, kind: Kind, view: &mut ViewDraft<'_>) -> Result<Rule> {
        let (action, refinement) = parse_action(&format!("{path}.action"), members.get("action"), kind)?;
        let mut rule = Rule::new(&place(path), &action);
        self.refine(&format!("{path}.action.refinement"), refinement, &mut rule)?;
        let (at, assignee) = stated(path, "assignee", members.get("assignee"), self.assignee);
        if let Some(json) = assignee {
            self.assignee(&at, json, kind, &mut rule)?;
        }
        let (at, target) = stated(path, "target", members.get("target"), self.target);
        if let Some(json) = target {
            self.target(&at, json, kind, &mut rule, view)?;
        }
        Ok(rule)
    }

    /// The constraints of a rule, all of which have to hold; terms of the view go to `view`. The
    /// same operand with the same operator stands once.
    fn top_level(
        &mut self,
        path: &str,
        constraints: &[Json],
        rule: &mut Rule,
        mut view: Option<&mut ViewDraft<'_>>,
    ) -> Result<()> {
        let mut known: BTreeMap<(&str, &str), String> = BTreeMap::new();
        for (index, json) in constraints.iter().enumerate() {
            let at = format!("{path}[{index}]");
            let members = object(&at, json)?;
            if logical(members).is_some() {
                let (tree, count) = constraint(&at, json)?;
                self.count(&at, count)?;
                self.add(rule, tree)?;
                continue;
            }
            self.count(&at, 1)?;
            let found = atomic(&at, members)?;
            if let Some(view) = view.as_deref_mut()
                && let Some(taken) = view.take(&at, found.left, found.op, found.operator, found.right)
            {
                taken?;
                continue;
            }
            let tested = test(&at, &found)?;
            let alike = match found.op {
                "isAnyOf" => "eq",
                "isNoneOf" => "neq",
                other => other,
            };
            if let Some(first) = known.insert((found.left, alike), at.clone()) {
                return Err(invalid(&at, &format!("`{}` is stated already at `{first}`", clip(found.left))));
            }
            self.add(rule, tested)?;
        }
        Ok(())
    }

    fn refine(&mut self, path: &str, json: Option<&Json>, rule: &mut Rule) -> Result<()> {
        for (at, json) in optional_list(path, json)? {
            let (tree, count) = constraint(&at, json)?;
            self.count(&at, count)?;
            self.add(rule, tree)?;
        }
        Ok(())
    }

    fn add(&mut self, rule: &mut Rule, constraint: Constraint) -> Result<()> {
        self.numbering.add(rule, constraint)
    }

    fn count(&mut self, path: &str, terms: usize) -> Result<()> {
        self.terms = self.terms.saturating_add(terms);
        if self.terms > POLICY_TERMS_MAX {
            return Err(invalid(path, &format!("more than {POLICY_TERMS_MAX} constraints and duties")));
        }
        Ok(())
    }

    /// A participant, or a collection of parties (`{"@type": "PartyCollection", "source": …}`), with
    /// refinements.
    fn assignee(&mut self, path: &str, json: &Json, kind: Kind, rule: &mut Rule) -> Result<()> {
        let Json::Object(members) = json else {
            let named = participant(path, json)?;
            return self.assign(path, &named, kind, rule);
        };
        only(path, members, &["@type", "source", "refinement"])?;
        let source = text(path, members, "source")?;
        match members.get("@type").and_then(Json::as_str).map(name) {
            Some(Name::Odrl("PartyCollection")) => rule.assignee = collection(&format!("{path}.source"), source)?,
            Some(Name::Odrl("Party")) => {
                let named = participant(&format!("{path}.source"), &Json::from(source))?;
                self.assign(path, &named, kind, rule)?;
            }
            _ => return Err(invalid(&format!("{path}.@type"), "an assignee is a `Party` or a `PartyCollection`")),
        }
        self.refine(&format!("{path}.refinement"), members.get("refinement"), rule)
    }

    fn assign(&self, path: &str, named: &ParticipantId, kind: Kind, rule: &mut Rule) -> Result<()> {
        if let Some(consumer) = self.consumer
            && consumer != named
            && kind == Kind::Permission
        {
            return Err(invalid(path, &format!("the policy is for `{named}`, not for `{consumer}`")));
        }
        rule.assignee = named.to_string();
        Ok(())
    }

    /// The set, or a collection of assets that holds it (`{"@type": "AssetCollection", "source": …}`);
    /// its refinements state the view.
    fn target(&mut self, path: &str, json: &Json, kind: Kind, rule: &mut Rule, view: &mut ViewDraft<'_>) -> Result<()> {
        let set = self.dataset.id.to_string();
        let (source, source_path, refinement) = match json {
            Json::String(text) => (text.as_str(), path.to_owned(), None),
            _ => {
                let members = object(path, json)?;
                only(path, members, &["@type", "source", "refinement"])?;
                match members.get("@type").and_then(Json::as_str).map(name) {
                    Some(Name::Odrl("AssetCollection" | "Asset")) => {}
                    _ => return Err(invalid(&format!("{path}.@type"), "a target is an `AssetCollection` or `Asset`")),
                }
                (text(path, members, "source")?, format!("{path}.source"), members.get("refinement"))
            }
        };
        rule.target = match source {
            named if named == set => set,
            named if named.contains(':') => collection(&source_path, named)?,
            other => {
                return Err(invalid(
                    &source_path,
                    &format!("the policy is offered with `{set}`, not `{}`", clip(other)),
                ));
            }
        };
        for (at, json) in optional_list(&format!("{path}.refinement"), refinement)? {
            self.count(&at, 1)?;
            let found = atomic(&at, object(&at, json)?)?;
            match view.take(&at, found.left, found.op, found.operator, found.right) {
                // The target of the policy is a prohibition's too; what it states of the view isn't.
                Some(taken) if kind == Kind::Permission || path == "$.target" => taken?,
                _ => return Err(unsupported(&format!("{at}.leftOperand"), found.left)),
            }
        }
        Ok(())
    }
}

/// What a rule states itself, or else what the policy states for all.
fn stated<'a>(path: &str, member: &str, own: Option<&'a Json>, policy: Option<&'a Json>) -> (String, Option<&'a Json>) {
    match own {
        Some(own) => (format!("{path}.{member}"), Some(own)),
        None => (format!("$.{member}"), policy),
    }
}

/// An action, and its refinements where it is written as `{"rdf:value": …, "refinement": […]}`. A
/// permission is for what Perron can do: `use` (which holds the others), `read` or `aggregate`.
fn parse_action<'a>(path: &str, json: Option<&'a Json>, kind: Kind) -> Result<(String, Option<&'a Json>)> {
    let wrong = || invalid(path, "a rule has one action, a text");
    let (action, refinement) = match json {
        Some(Json::String(action)) => (action.as_str(), None),
        Some(Json::Object(members)) if members.contains_key("rdf:value") => {
            only(path, members, &["rdf:value", "refinement"])?;
            (text(path, members, "rdf:value")?, members.get("refinement"))
        }
        _ => return Err(wrong()),
    };
    let known = known_action(action).ok_or_else(|| unsupported(path, action))?;
    if kind == Kind::Permission && ![ACTION_USE, ACTION_READ, ACTION_AGGREGATE].contains(&known.as_str()) {
        return Err(unsupported(path, action));
    }
    Ok((known, refinement))
}

fn participant(path: &str, json: &Json) -> Result<ParticipantId> {
    let text = json.as_str().ok_or_else(|| invalid(path, "not the name of a participant"))?;
    ParticipantId::parse(text).map_err(|e| invalid(path, &e.detail))
}

/// The name of a collection: an IRI.
fn collection(path: &str, text: &str) -> Result<String> {
    let fits = text.len() <= IRI_BYTES_MAX && text.contains(':') && text.bytes().all(|b| b.is_ascii_graphic());
    if fits && text != ANY { Ok(text.to_owned()) } else { Err(invalid(path, "a collection is named by an IRI")) }
}

/// Until when a duty is to be fulfilled: `dateTime` or `elapsedTime` with `lt` or `lteq`.
fn deadline(path: &str, json: &Json, duty: &mut Duty) -> Result<()> {
    let found = atomic(path, object(path, json)?)?;
    let (at, inclusive) = (format!("{path}.rightOperand"), i64::from(found.op == "lteq"));
    if !matches!(found.op, "lt" | "lteq") {
        return Err(unsupported(&format!("{path}.operator"), found.operator));
    }
    let (place, value) = match name(found.left) {
        Name::Odrl("dateTime") => (&mut duty.before_ms, time(&at, found.right)?.millis()),
        Name::Odrl("elapsedTime") => (&mut duty.within_ms, duration_ms(&at, found.right)?),
        _ => return Err(unsupported(&format!("{path}.leftOperand"), found.left)),
    };
    if place.replace(value.saturating_add(inclusive)).is_some() {
        return Err(invalid(path, &format!("`{}` is stated already", clip(found.left))));
    }
    Ok(())
}

/// A window that ends before it begins permits nothing.
fn check_window(rule: &Rule) -> Result<()> {
    let bounds = || rule.nodes.ranges.iter().filter(|n| n.left == "dateTime" && rule.all.contains(&n.id));
    let (from, last) = (bounds().map(|n| n.min).max(), bounds().min_by_key(|n| n.max));
    match (from, last) {
        (Some(from), Some(last)) if from > last.max => {
            Err(invalid(&format!("$.{}", last.at), "the window ends before it begins"))
        }
        _ => Ok(()),
    }
}

/// The items of a list that may be absent; present, it has at least one.
fn optional_list<'a>(path: &str, json: Option<&'a Json>) -> Result<Vec<(String, &'a Json)>> {
    json.map_or(Ok(Vec::new()), |json| each(path, json).map(Iterator::collect))
}
