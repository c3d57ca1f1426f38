//! An entry as an event of the Open Cybersecurity Schema Framework (OCSF 1.8.0).
//!
//! What is about reading data is *Datastore Activity* (class 6005): intents, decisions, outcomes,
//! what was received, releases, refusals. All else is *API Activity* (class 6003): the process's
//! life, negotiations, agreements, notices, administration. What OCSF has no name for stands in
//! `unmapped`, so an event says all that its entry says.

use super::{About, Record};
use serde_json::{Map, Value as Json, json};

/// Version of the schema that the events follow.
pub const VERSION: &str = "1.8.0";

/// A class of events, with the attribute `class_name` as the schema captions it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Datastore,
    Api,
}

/// How the event ended (`status_id` of the schema's base event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Unknown,
    Success,
    Failure,
}

/// What a statement over the log is to the policy.
const ASK_LOG: &str = "audit.sql";

/// `activity_id` and `activity_name` of the classes; 99 is the schema's *Other*, with a name of ours.
type Activity = (u64, &'static str);
const CREATE: Activity = (1, "Create");
const READ_API: Activity = (2, "Read");
const UPDATE: Activity = (3, "Update");
const DELETE: Activity = (4, "Delete");
const READ: Activity = (1, "Read");
const QUERY: Activity = (4, "Query");
const LIST: Activity = (8, "List");

/// The event of an entry.
pub fn event(record: &Record, about: &About) -> Json {
    let class = class_of(record);
    let (class_uid, class_name) = match class {
        Class::Datastore => (6005_u64, "Datastore Activity"),
        Class::Api => (6003, "API Activity"),
    };
    let (activity_id, activity_name) = activity_of(record, class);
    let (status_id, status) = match status_of(record) {
        Status::Unknown => (0, "Unknown"),
        Status::Success => (1, "Success"),
        Status::Failure => (2, "Failure"),
    };
    let (severity_id, severity) = severity_of(record);
    let asks = asking(record, about);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": class_uid,
        "class_name": class_name,
        "type_uid": class_uid * 100 + activity_id,
        "type_name": format!("{class_name}: {}", if activity_id == 99 { "Other" } else { activity_name }),
        "time": record.time.millis(),
        "timezone_offset": 0,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": message(record),
        "metadata": metadata(record, about),
        "actor": actor(record, about, &asks),
        "src_endpoint": endpoint(&asks),
        "observables": observables(record, &asks),
        "unmapped": unmapped(record),
    });
    if let Some(fields) = event.as_object_mut() {
        match class {
            Class::Datastore => datastore(record, about, fields),
            Class::Api => api(record, about, fields),
        }
        if let Some(reason) = record.reasons.first() {
            fields.insert("status_code".to_owned(), json!(reason));
            fields.insert("status_detail".to_owned(), json!(record.reasons.join(", ")));
        }
        if let Some(count) = record.facts.get("count").and_then(Json::as_u64) {
            fields.insert("count".to_owned(), json!(count));
        }
        if let Some(permitted) = record.permitted {
            // The profile `security_control` of the schema.
            let (action_id, action) = if permitted { (1, "Allowed") } else { (2, "Denied") };
            let (disposition_id, disposition) = if permitted { (1, "Allowed") } else { (2, "Blocked") };
            fields.insert("action_id".to_owned(), json!(action_id));
            fields.insert("action".to_owned(), json!(action));
            fields.insert("disposition_id".to_owned(), json!(disposition_id));
            fields.insert("disposition".to_owned(), json!(disposition));
        }
    }
    event
}

fn class_of(record: &Record) -> Class {
    match record.kind.as_str() {
        "intent" | "permit" | "refusal" | "outcome" | "received" | "release" | "schema-grant" | "plan-refusal"
        | "refusal-summary" => Class::Datastore,
        // A purpose is stated for a query alone.
        "staff-refusal" if record.purpose.is_some() => Class::Datastore,
        _ => Class::Api,
    }
}

fn activity_of(record: &Record, class: Class) -> Activity {
    let said = |name: &str| record.facts.get(name).and_then(Json::as_str).unwrap_or_default();
    match (record.kind.as_str(), class) {
        ("outcome" | "received" | "release", _) => READ,
        ("schema-grant", _) => LIST,
        (_, Class::Datastore) => QUERY,
        ("start", _) => (99, "Start"),
        ("stop", _) => (99, "Stop"),
        ("recovery", _) => (99, "Recovery"),
        ("clock-jump", _) => (99, "Clock Jump"),
        ("agreement" | "checkpoint-kept", _) => CREATE,
        ("register-seen" | "extract" | "reconciled" | "log-query", _) => READ_API,
        ("notice", _) if said("act") == "revoke" => DELETE,
        ("erased", _) => DELETE,
        ("negotiation", _) if said("message") == "request" => CREATE,
        ("administration" | "staff-refusal", _) => match said("action").rsplit('.').next().unwrap_or_default() {
            "add" | "enrol" | "request" => CREATE,
            "list" | "show" | "export" | "read" | "receipt" | "stream" => READ_API,
            "withdraw" | "remove" | "revoke" => DELETE,
            _ => UPDATE,
        },
        _ => UPDATE,
    }
}

fn status_of(record: &Record) -> Status {
    if record.permitted == Some(false) {
        return Status::Failure;
    }
    match record.status.as_deref() {
        Some("unknown-after-crash") => Status::Unknown,
        Some("complete") => Status::Success,
        Some(_) => Status::Failure,
        None if !record.reasons.is_empty() => Status::Failure,
        None => Status::Success,
    }
}

/// `severity_id` and its caption: what is refused is worth a look, what may be an attack or a loss more.
pub(super) fn severity_of(record: &Record) -> (u64, &'static str) {
    match record.kind.as_str() {
        "recovery" | "clock-jump" | "refusal-summary" | "staff-refusal" => (3, "Medium"),
        "outcome" if status_of(record) != Status::Success => (2, "Low"),
        _ if record.permitted == Some(false) => (2, "Low"),
        _ => (1, "Informational"),
    }
}

/// Who asks or acts: the other organisation, where it is the other that does.
fn asking(record: &Record, about: &About) -> String {
    let is_other = match record.kind.as_str() {
        "permit" | "refusal" | "schema-grant" | "plan-refusal" | "refusal-summary" | "outcome" => true,
        "negotiation" | "notice" => record.facts.get("by").and_then(Json::as_str) != record.side.as_deref(),
        _ => false,
    };
    record.organisation.clone().filter(|_| is_other).unwrap_or_else(|| about.participant.clone())
}

fn endpoint(participant: &str) -> Json {
    json!({"uid": participant, "svc_name": "perron"})
}

fn actor(record: &Record, about: &About, asks: &str) -> Json {
    let mut actor = json!({"app_name": "perron", "app_uid": asks});
    if let (Some(user), Some(fields)) = (&record.user, actor.as_object_mut()) {
        // A pseudonym, another for each counterparty; `operator` is the owner of the directory.
        fields.insert("user".to_owned(), json!({"uid": user, "org": {"uid": asks}}));
    }
    if let (Some(module), Some(permitted), Some(fields)) =
        (record.facts.get("module"), record.permitted, actor.as_object_mut())
    {
        let decision = if permitted { "permit" } else { "refuse" };
        let name = if record.kind == "log-query" { "staff" } else { "access" };
        let policy = json!({"name": name, "uid": module, "is_applied": true, "group": {"uid": about.participant}});
        fields.insert("authorizations".to_owned(), json!([{"decision": decision, "policy": policy}]));
    }
    actor
}

fn metadata(record: &Record, about: &About) -> Json {
    let mut metadata = json!({
        "version": VERSION,
        "product": {"name": "Perron", "vendor_name": "Perron", "version": about.version, "uid": about.participant},
        "uid": format!("{}:{}", record.index, record.leaf),
        "sequence": record.index,
        "event_code": record.kind,
        "log_name": about.origin,
        "log_provider": "perron",
        "original_time": record.time.to_string(),
        "tenant_uid": about.participant,
    });
    if let Some(fields) = metadata.as_object_mut() {
        if record.permitted.is_some() {
            fields.insert("profiles".to_owned(), json!(["security_control"]));
        }
        // All entries of one read: a decision by its own leaf, what follows from it by the same.
        let correlated = record
            .decision
            .or_else(|| matches!(record.kind.as_str(), "permit" | "refusal" | "log-query").then_some(record.leaf));
        if let Some(correlated) = correlated {
            fields.insert("correlation_uid".to_owned(), json!(correlated));
        }
    }
    metadata
}

fn datastore(record: &Record, about: &About, fields: &mut Map<String, Json>) {
    let provider = match record.side.as_deref() {
        Some("consumer") => record.organisation.clone().unwrap_or_default(),
        _ => about.participant.clone(),
    };
    match &record.dataset {
        Some(dataset) => {
            fields.insert("type_id".to_owned(), json!(3));
            fields.insert("type".to_owned(), json!("Table"));
            fields.insert("table".to_owned(), json!({"name": dataset, "uid": format!("{provider}/{dataset}")}));
        }
        None => {
            fields.insert("type_id".to_owned(), json!(1));
            fields.insert("type".to_owned(), json!("Database"));
            let database = json!({"name": "perron", "uid": provider, "type_id": 99, "type": "Data space connector"});
            fields.insert("database".to_owned(), database);
        }
    }
    fields.insert("dst_endpoint".to_owned(), endpoint(&provider));
}

fn api(record: &Record, about: &About, fields: &mut Map<String, Json>) {
    let said = |name: &str| record.facts.get(name).and_then(Json::as_str);
    let operation = match record.kind.as_str() {
        "administration" | "staff-refusal" => said("action").unwrap_or(&record.kind).to_owned(),
        "log-query" => ASK_LOG.to_owned(),
        "negotiation" => format!("negotiation.{}", said("message").unwrap_or("message")),
        "notice" => format!("agreement.{}", said("act").unwrap_or("notice")),
        kind => kind.to_owned(),
    };
    let mut api = json!({
        "operation": operation,
        "service": {"name": "perron", "uid": about.participant, "version": about.version},
        "request": {"uid": record.leaf},
    });
    if let (Some(reason), Some(api)) = (record.reasons.first(), api.as_object_mut()) {
        api.insert("response".to_owned(), json!({"error": reason}));
    }
    fields.insert("api".to_owned(), api);
    let mut resources = Vec::new();
    if let Some(agreement) = record.agreement {
        resources.push(json!({"type": "agreement", "uid": agreement}));
    }
    if let Some(dataset) = &record.dataset {
        resources.push(json!({"type": "dataset", "name": dataset}));
    }
    if !resources.is_empty() {
        fields.insert("resources".to_owned(), Json::Array(resources));
    }
}

/// Types of observables: 31 the user's uid, 48 a network endpoint's uid, 99 one that has no number.
fn observables(record: &Record, asks: &str) -> Json {
    let mut found =
        vec![json!({"name": "src_endpoint.uid", "type_id": 48, "type": "Network Endpoint Object: uid", "value": asks})];
    if let Some(user) = &record.user {
        found.push(json!({"name": "actor.user.uid", "type_id": 31, "type": "User Object: uid", "value": user}));
    }
    if let Some(agreement) = record.agreement {
        found.push(json!({"name": "unmapped.agreement", "type_id": 99, "type": "Agreement", "value": agreement}));
    }
    Json::Array(found)
}

fn unmapped(record: &Record) -> Json {
    let mut kept = Map::new();
    let mut keep = |name: &str, value: Option<Json>| value.map(|v| kept.insert(name.to_owned(), v));
    keep("agreement", record.agreement.map(|a| json!(a)));
    keep("chain_number", record.chain.as_ref().map(|c| json!(c.number)));
    keep("side", record.side.as_ref().map(|s| json!(s)));
    keep("organisation", record.organisation.as_ref().map(|o| json!(o)));
    keep("purpose", record.purpose.as_ref().map(|p| json!(p)));
    keep("legal_basis", record.legal_basis.as_ref().map(|l| json!(l)));
    keep("rows", record.rows.map(|n| json!(n)));
    keep("bytes", record.bytes.map(|n| json!(n)));
    keep("processing_activity", record.processing_activity.as_ref().map(|p| json!(p)));
    keep("trace", record.trace.as_ref().map(|t| json!(t)));
    keep("facts", Some(record.facts.clone()));
    Json::Object(kept)
}

fn message(record: &Record) -> String {
    let mut words = vec![record.kind.clone()];
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            words.push(format!("{name}={value}"));
        }
    };
    add("organisation", &record.organisation);
    add("dataset", &record.dataset);
    add("purpose", &record.purpose);
    add("status", &record.status);
    if !record.reasons.is_empty() {
        words.push(format!("reasons={}", record.reasons.join(",")));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{about, decision, record};

    #[test]
    fn reads_are_datastore_activity_and_the_rest_is_api_activity() {
        let (permit, refusal) = (event(&decision(4, true), &about()), event(&decision(5, false), &about()));
        assert_eq!(
            (&permit["class_uid"], &permit["type_uid"], &permit["status"]),
            (&json!(6005), &json!(600504), &json!("Success"))
        );
        assert_eq!((&refusal["status_id"], &refusal["action"]), (&json!(2), &json!("Denied")));
        assert_eq!(refusal["status_code"], "purpose_not_permitted");
        // The other organisation asked, and this one has the table.
        assert_eq!(
            (&permit["src_endpoint"]["uid"], &permit["dst_endpoint"]["uid"]),
            (&json!("inter"), &json!("commune"))
        );
        assert_eq!(permit["table"]["uid"], "commune/water");
        let start = event(&record(0, "start"), &about());
        assert_eq!((&start["class_uid"], &start["type_uid"]), (&json!(6003), &json!(600399)));
        assert_eq!(start["metadata"]["uid"], format!("0:{}", record(0, "start").leaf));
    }

    #[test]
    fn a_read_is_found_by_its_decision() {
        let permit = decision(4, true);
        let outcome = Record {
            decision: Some(permit.leaf),
            status: Some("cut-by-error".to_owned()),
            permitted: None,
            ..Record { kind: "outcome".to_owned(), ..decision(5, true) }
        };
        let (permit, outcome) = (event(&permit, &about()), event(&outcome, &about()));
        assert_eq!(permit["metadata"]["correlation_uid"], outcome["metadata"]["correlation_uid"]);
        assert_eq!((&outcome["status"], &outcome["activity_name"]), (&json!("Failure"), &json!("Read")));
        let unknown = Record { status: Some("unknown-after-crash".to_owned()), ..record(6, "outcome") };
        assert_eq!(event(&unknown, &about())["status"], "Unknown");
    }

    #[test]
    fn administration_is_what_its_action_says() {
        let of = |action: &str| {
            let act = Record {
                facts: json!({"action": action}),
                user: Some("operator".into()),
                ..record(1, "administration")
            };
            let event = event(&act, &about());
            assert_eq!(event["api"]["operation"], action);
            event["activity_name"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            ["user.add", "audit.export", "dataset.withdraw", "dataset.update"].map(of),
            ["Create", "Read", "Delete", "Update"]
        );
    }
}
