//! The rules of a policy in the compact shape, with parties, assets and actions named by any IRI.
//!
//! The gate reads policies against a set's description (`perron_model::policy::odrl`). Here there is
//! none: what is evaluated is what ODRL says. Both make the same normal form, and the same module
//! evaluates it. Whatever isn't evaluated is refused by its place and its name.

use crate::index::full;
use crate::terms::{By, Kind, Term};
use crate::values::{duration_ms, integer, text, time_ms};
use crate::vocabulary::{ODRL, plain};
use perron_model::policy::odrl::PROFILE;
use perron_model::policy::rule::{ANY, Duty, Logic, Nodes, Rule, Rules};
use perron_model::policy::{Constraint, Left, Numbering, Operator, Scalar, Test};
use perron_model::{Error, ErrorCode, Result};
use serde_json::{Map, Value as Json};

type Members = Map<String, Json>;

/// The rules of a policy, and the places of the terms that decide nothing: what the view, the
/// released table or the stream carries out once a read is permitted.
pub(crate) fn rules(policy: &Json) -> Result<(Rules, Vec<String>)> {
    let members = object("$", policy)?;
    let about = ["@context", "@id", "uid", "@type", "profile", "conflict", "assignee", "target"];
    only("$", members, &[about.as_slice(), &["permission", "prohibition", "obligation"]].concat())?;
    conflict(members)?;
    let mut reading = Reading { policy: members, numbering: Numbering::default(), elsewhere: Vec::new() };
    let (mut permissions, mut prohibitions, mut obligations) = (Vec::new(), Vec::new(), Vec::new());
    for (at, json) in each("", members, "permission") {
        permissions.push(reading.rule(&at, json, true)?);
    }
    for (at, json) in each("", members, "prohibition") {
        prohibitions.push(reading.rule(&at, json, false)?);
    }
    for (at, json) in each("", members, "obligation") {
        obligations.push(duty(&at, json)?);
    }
    if permissions.is_empty() && prohibitions.is_empty() && obligations.is_empty() {
        return Err(invalid("$", "a policy has at least one rule"));
    }
    Ok((Rules { permissions, prohibitions, obligations }, reading.elsewhere))
}

struct Reading<'a> {
    /// Whose assignee and target are those of each rule that states none (ODRL 2.2 Information
    /// Model, section 2.7.1).
    policy: &'a Members,
    numbering: Numbering,
    elsewhere: Vec<String>,
}

impl Reading<'_> {
    fn rule(&mut self, at: &str, json: &Json, may_have_duties: bool) -> Result<Rule> {
        let members = object(at, json)?;
        let known = ["@id", "uid", "@type", "action", "assigner", "assignee", "target", "constraint", "duty"];
        only(at, members, &known)?;
        let policy = self.policy;
        let own_or_all = |name: &str| match member(members, name) {
            Some(_) => named(at, members, name),
            None => named("", policy, name),
        };
        let (action, action_refined) = named(at, members, "action")?;
        let (assignee, assignee_refined) = own_or_all("assignee")?;
        let (target, target_refined) = own_or_all("target")?;
        let mut rule = Rule {
            at: at.to_owned(),
            action: action.map_or_else(|| ANY.to_owned(), |a| full(&a)),
            assignee: assignee.map_or_else(|| ANY.to_owned(), |name| plain(&name)),
            target: target.map_or_else(|| ANY.to_owned(), |name| plain(&name)),
            all: Vec::new(),
            nodes: Nodes::default(),
            duties: Vec::new(),
        };
        let refined = action_refined.into_iter().chain(assignee_refined).chain(target_refined);
        for (at, json) in each(at, members, "constraint").chain(refined) {
            if is_carried_out_elsewhere(&at, json)? {
                if !self.elsewhere.contains(&at) {
                    self.elsewhere.push(at);
                }
            } else {
                self.numbering.add(&mut rule, constraint(&at, json)?)?;
            }
        }
        for (at, json) in each(at, members, "duty") {
            if !may_have_duties {
                return Err(unsupported(&at, "duty"));
            }
            rule.duties.push(duty(&at, json)?);
        }
        Ok(rule)
    }
}

/// Does the constraint tell what is seen rather than whether something is?
fn is_carried_out_elsewhere(at: &str, json: &Json) -> Result<bool> {
    let members = object(at, json)?;
    if member(members, "leftOperand").is_none() {
        return Ok(false);
    }
    let parts = atom(at, members)?;
    let by = Term::find(Kind::LeftOperand, &parts.left).map(|term| term.by);
    Ok(matches!(by, Some(By::View | By::ReleasedTable | By::Stream)))
}

/// A duty: its action, who owes it and until when. Its state comes from the state of the world.
fn duty(at: &str, json: &Json) -> Result<Duty> {
    let members = object(at, json)?;
    let known = ["@id", "uid", "@type", "action", "assigner", "assignee", "target", "constraint"];
    only(at, members, &known)?;
    let (action, refined) = named(at, members, "action")?;
    if let Some((at, _)) = refined.first() {
        return Err(unsupported(at, "refinement"));
    }
    let action = action.ok_or_else(|| invalid(&format!("{at}.action"), "a duty has an action"))?;
    let (assignee, _) = named(at, members, "assignee")?;
    let mut duty = Duty { at: at.to_owned(), action: full(&action), assignee, before_ms: None, within_ms: None };
    for (at, json) in each(at, members, "constraint") {
        let members = object(&at, json)?;
        let parts = atom(&at, members)?;
        let inclusive = i64::from(parts.operator == "lteq");
        let stated_twice = match (parts.left.as_str(), parts.operator.as_str()) {
            (left, "lt" | "lteq") if left == format!("{ODRL}dateTime") => {
                let before = time_ms(&parts.right_at, parts.right)?.saturating_add(inclusive);
                duty.before_ms.replace(before).is_some()
            }
            (left, "lt" | "lteq") if left == format!("{ODRL}elapsedTime") => {
                let within = duration_ms(&parts.right_at, parts.right)?.saturating_add(inclusive);
                duty.within_ms.replace(within).is_some()
            }
            (left, _) => return Err(unsupported(&format!("{at}.leftOperand"), left)),
        };
        if stated_twice {
            return Err(invalid(&at, "the duty's time is stated twice"));
        }
    }
    Ok(duty)
}

fn constraint(at: &str, json: &Json) -> Result<Constraint> {
    let members = object(at, json)?;
    let logical = [("and", Logic::And), ("or", Logic::Or), ("xone", Logic::Xone), ("andSequence", Logic::AndSequence)];
    let stated: Vec<_> = logical.iter().filter(|(name, _)| member(members, name).is_some()).collect();
    match stated.as_slice() {
        [] => {
            let parts = atom(at, members)?;
            let test = test(&parts)?;
            Ok(Constraint::Test { at: at.to_owned(), left: left(&parts)?, test })
        }
        [(name, operator)] => {
            only(at, members, &["@id", "uid", "@type", name])?;
            let of = each(at, members, name).map(|(at, json)| constraint(&at, json)).collect::<Result<Vec<_>>>()?;
            if of.is_empty() {
                return Err(invalid(&format!("{at}.{name}"), "a logical constraint combines at least one"));
            }
            Ok(Constraint::Logical { at: at.to_owned(), operator: *operator, of })
        }
        _ => Err(invalid(at, "a logical constraint has one operand")),
    }
}

/// An atomic constraint's parts (ODRL 2.2 Information Model, section 2.5.1).
struct Atom<'a> {
    at: String,
    left: String,
    operator: String,
    right_at: String,
    right: &'a Json,
}

fn atom<'a>(at: &str, members: &'a Members) -> Result<Atom<'a>> {
    only(at, members, &["@id", "uid", "@type", "leftOperand", "operator", "rightOperand"])?;
    let text = |name: &str| match member(members, name) {
        Some(Json::String(text)) => Ok(full(text)),
        _ => Err(invalid(&format!("{at}.{name}"), "missing, or not a name")),
    };
    let operator = text("operator")?;
    let operator =
        operator.strip_prefix(ODRL).ok_or_else(|| unsupported(&format!("{at}.operator"), &operator))?.to_owned();
    let right_at = format!("{at}.rightOperand");
    let right = member(members, "rightOperand").ok_or_else(|| invalid(&right_at, "missing"))?;
    Ok(Atom { at: at.to_owned(), left: text("leftOperand")?, operator, right_at, right })
}

fn left(parts: &Atom<'_>) -> Result<Left> {
    let unknown = || unsupported(&format!("{}.leftOperand", parts.at), &parts.left);
    if let Some(local) = parts.left.strip_prefix(ODRL) {
        return match local {
            "dateTime" => Ok(Left::DateTime),
            "purpose" => Ok(Left::Purpose),
            "count" => Ok(Left::Count),
            "elapsedTime" => Ok(Left::ElapsedTime),
            "spatial" => Ok(Left::Spatial),
            "recipient" => Ok(Left::Recipient),
            _ => Err(unknown()),
        };
    }
    match parts.left.strip_prefix(PROFILE) {
        Some("legalBasis") => Ok(Left::LegalBasis),
        Some("userRole") => Ok(Left::UserRole),
        Some("volume") => Ok(Left::Volume),
        Some("rate") => Ok(Left::Rate),
        Some(local) => match local.strip_prefix("fact/") {
            Some(name) if !name.is_empty() => Ok(Left::Fact(name.to_owned())),
            _ => Err(unknown()),
        },
        None => Err(unknown()),
    }
}

fn test(parts: &Atom<'_>) -> Result<Test> {
    let left = left(parts)?;
    let at = &parts.right_at;
    let unknown = || unsupported(&format!("{}.operator", parts.at), &parts.operator);
    let operator = match parts.operator.as_str() {
        "eq" => Operator::Eq,
        "neq" => Operator::Neq,
        "lt" => Operator::Lt,
        "lteq" => Operator::Lteq,
        "gt" => Operator::Gt,
        "gteq" => Operator::Gteq,
        "isAnyOf" | "isPartOf" => Operator::IsAnyOf,
        "isNoneOf" => Operator::IsNoneOf,
        "isAllOf" if !left.is_number() => return scalars(at, parts.right).map(Test::Every),
        _ => return Err(unknown()),
    };
    if !left.is_number() {
        let mut values = scalars(at, parts.right)?;
        for value in values.iter_mut().filter(|_| left == Left::Recipient) {
            if let Scalar::Text(text) = value {
                *text = plain(text);
            }
        }
        return Test::one_of(operator, values).ok_or_else(unknown);
    }
    let number = match left {
        Left::DateTime => time_ms(at, parts.right)?,
        Left::ElapsedTime => duration_ms(at, parts.right)?,
        _ => integer(at, parts.right)?,
    };
    Test::number(operator, number).ok_or_else(unknown)
}

/// Texts, names or truth values, at least one.
fn scalars(at: &str, right: &Json) -> Result<Vec<Scalar>> {
    let items = match right {
        Json::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    if items.is_empty() {
        return Err(invalid(at, "not at least one value"));
    }
    items.iter().map(|item| text(at, item)).collect()
}

/// A name, and the refinements of it with their places.
type Named<'a> = (Option<String>, Vec<(String, &'a Json)>);

/// What names an action, a party or an asset: a name, or an object with a name, a class and
/// refinements. Nothing where the rule doesn't state it.
fn named<'a>(at: &str, members: &'a Members, name: &str) -> Result<Named<'a>> {
    let at = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let stated = match member(members, name) {
        None => return Ok((None, Vec::new())),
        Some(Json::Array(items)) if items.len() == 1 => items.first(),
        other => other,
    };
    let (text, refined) = match stated {
        Some(Json::String(text)) => (text.clone(), Vec::new()),
        Some(Json::Object(inner)) => {
            only(&at, inner, &["@id", "uid", "@type", "rdf:value", "source", "refinement"])?;
            // A collection without a name of its own has its source's (section 2.2.1).
            let names = ["rdf:value", "@id", "uid", "source"];
            let text = match names.iter().find_map(|name| member(inner, name)) {
                Some(Json::String(text)) => text.clone(),
                Some(Json::Object(id)) => match id.get("@id") {
                    Some(Json::String(text)) => text.clone(),
                    _ => return Err(invalid(&at, "not a name")),
                },
                _ => return Err(invalid(&at, "not a name")),
            };
            (text, each(&at, inner, "refinement").collect())
        }
        _ => return Err(invalid(&at, "one name, or one object that has a name")),
    };
    if text.is_empty() || text == ANY {
        return Err(invalid(&at, "not a name"));
    }
    Ok((Some(text), refined))
}

/// Perron evaluates policies by the strategy `prohibit`; another one would be another answer.
fn conflict(members: &Members) -> Result<()> {
    match member(members, "conflict") {
        None => Ok(()),
        Some(Json::String(name)) if full(name) == format!("{ODRL}prohibit") => Ok(()),
        Some(other) => Err(unsupported("$.conflict", &other.to_string())),
    }
}

/// The items of a list member, or the one item that stands without a list, with their places.
fn each<'a>(at: &str, members: &'a Members, name: &str) -> impl Iterator<Item = (String, &'a Json)> + use<'a> {
    let prefix = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let value = match member(members, name) {
        Some(Json::Object(list)) => list.get("@list").or_else(|| member(members, name)),
        other => other,
    };
    let items: Vec<(String, &Json)> = match value {
        None => Vec::new(),
        Some(Json::Array(items)) => {
            items.iter().enumerate().map(|(i, item)| (format!("{prefix}[{i}]"), item)).collect()
        }
        Some(one) => vec![(prefix, one)],
    };
    items.into_iter()
}

fn member<'a>(members: &'a Members, name: &str) -> Option<&'a Json> {
    members.get(name).or_else(|| members.get(&format!("odrl:{name}")))
}

fn object<'a>(at: &str, json: &'a Json) -> Result<&'a Members> {
    json.as_object().ok_or_else(|| invalid(at, "not an object"))
}

fn only(at: &str, members: &Members, known: &[&str]) -> Result<()> {
    let stranger = members.keys().find(|k| !known.contains(&k.strip_prefix("odrl:").unwrap_or(k)));
    match stranger {
        Some(other) => Err(unsupported(&format!("{at}.{}", clip(other)), other)),
        None => Ok(()),
    }
}

pub(crate) fn invalid(at: &str, why: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, format!("at `{at}`: {why}"))
}

pub(crate) fn unsupported(at: &str, term: &str) -> Error {
    Error::new(ErrorCode::TermUnsupported, format!("`{}` at `{at}` is not a term that Perron evaluates", clip(term)))
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
