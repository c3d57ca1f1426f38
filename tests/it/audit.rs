//! What an auditor asks of a running process: by whom, under what, refused or not.

use crate::world::{CONSUMER, PROVIDER, PURPOSE, World, output, perron};
use serde_json::Value as Json;

fn asked(world: &World, name: &str, question: &[&str]) -> Vec<Json> {
    match world.of(name, &["audit", "list"], question).unwrap() {
        Json::Array(entries) => entries,
        Json::Null => Vec::new(),
        one => vec![one],
    }
}

fn kinds(entries: &[Json]) -> Vec<&str> {
    entries.iter().filter_map(|e| e["kind"].as_str()).collect()
}

#[test]
fn an_auditor_asks_in_their_own_words() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    assert!(world.query(&agreement, "SELECT nothing_of_this_name FROM data").is_err());

    let of = |question: &[&str]| asked(&world, PROVIDER, question);
    let permits = of(&["--organisation", CONSUMER, "--kind", "permit"]);
    assert_eq!(kinds(&permits), ["permit"]);
    let user = permits[0]["facts"]["user"].as_str().unwrap();
    assert_eq!(of(&["--user", user]), permits);
    assert_eq!(of(&["--purpose", PURPOSE, "--agreement", &agreement, "--permitted"]), permits);
    assert_eq!(of(&["--purpose", "https://w3id.org/dpv#Marketing"]), Vec::<Json>::new());

    let chain = of(&["--agreement", &agreement]);
    assert!(kinds(&chain).starts_with(&["agreement"]), "{chain:#?}");
    assert!(kinds(&chain).contains(&"outcome") && kinds(&chain).contains(&"plan-refusal"), "{chain:#?}");
    let refused = of(&["--refused", "--agreement", &agreement]);
    assert_eq!(kinds(&refused), ["plan-refusal"]);
    assert_eq!(refused[0]["facts"]["reason"], "column_not_granted");

    let at = permits[0]["time"].as_str().unwrap();
    let from_then = of(&["--since", at, "--kind", "permit", "--kind", "start"]);
    assert_eq!(kinds(&from_then), ["permit"]);
    assert!(of(&["--until", at, "--kind", "permit"]).is_empty());

    // Who looked, at what, is in the log before the answer is given.
    let looks = of(&["--kind", "administration", "--user", "operator"]);
    let last = looks.iter().rfind(|e| e["facts"]["action"] == "audit.list").unwrap();
    assert!(last["index"].as_u64() > permits[0]["index"].as_u64(), "{looks:#?}");
    assert_eq!(of(&["--kind", "administration"]).len(), looks.len() + 1);

    // Page by page, the same.
    let all = of(&[]);
    let paged: Vec<Json> = (0..all.len()).flat_map(|i| of(&["--from", &i.to_string(), "--count", "1"])).collect();
    assert_eq!(paged, all);
    let wrong = output(&["audit", "list", "--dir", &world.path(PROVIDER), "--kind", "permitt"], &[]);
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    world.stop(PROVIDER);
}

/// What a tool began goes with the signed request to both logs.
#[test]
fn a_trace_is_found_in_both_logs() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    let query = |parent: &str| {
        let to = world.path(CONSUMER);
        let asked =
            ["query", "--dir", &to, "--agreement", &agreement, "--purpose", PURPOSE, "SELECT count(*) FROM data"];
        let answer = output(&asked, &[("TRACEPARENT", parent)]);
        assert!(answer.status.success(), "{answer:?}");
    };
    query(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
    // One that isn't valid is left out of account.
    query(&format!("00-{TRACE}-00f067aa0ba902b7"));
    for (name, kinds) in [(PROVIDER, vec!["permit"]), (CONSUMER, vec!["intent", "received"])] {
        let kinds: Vec<&str> = kinds.into_iter().flat_map(|kind| ["--kind", kind]).collect();
        let entries =
            world.of(name, &["audit", "export"], &[&["--format", "jsonl"], kinds.as_slice()].concat()).unwrap();
        let traces: Vec<&Json> = entries.as_array().unwrap().iter().map(|e| &e["trace"]).collect();
        let half = traces.len() / 2;
        assert!(half > 0 && traces[..half].iter().all(|t| **t == TRACE), "{entries:#}");
        assert!(traces[half..].iter().all(|t| t.is_null()), "{entries:#}");
    }
}

/// Who a pseudonym is stays beside the log; that somebody wanted to know is in it.
#[test]
fn a_pseudonym_is_resolved_by_an_entry() {
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    let permit = asked(&world, PROVIDER, &["--kind", "permit"]).remove(0);
    let pseudonym = permit["facts"]["user"].as_str().unwrap();
    let resolve = |of: &str, reason: &str| world.of(CONSUMER, &["user", "resolve"], &[of, "--reason", reason]);
    let found = resolve(pseudonym, "plainte 2026-114").unwrap();
    assert_eq!(found, serde_json::json!({"name": "anne", "toward": PROVIDER}));
    let own = asked(&world, CONSUMER, &["--kind", "intent"]).remove(0);
    assert_eq!(resolve(own["facts"]["user"].as_str().unwrap(), "x").unwrap()["name"], "anne");
    assert_eq!(resolve("nobody-of-this-name", "x").unwrap_err().code, "not_found");
    assert_eq!(resolve(pseudonym, " ").unwrap_err().code, "malformed");
    // Nobody there can say who it is.
    let elsewhere = world.of(PROVIDER, &["user", "resolve"], &[pseudonym, "--reason", "x"]);
    assert_eq!(elsewhere.unwrap_err().code, "not_found");

    let acts = asked(&world, CONSUMER, &["--kind", "administration", "--user", "operator"]);
    assert_eq!(acts.iter().filter(|e| e["facts"]["action"] == "user.resolve").count(), 3, "{acts:#?}");
    let exported = output(&["audit", "export", "--format", "jsonl", "--dir", &world.path(CONSUMER)], &[]);
    let told = String::from_utf8(exported.stdout).unwrap();
    assert!(told.contains("user.resolve") && !told.contains("anne"), "{told}");
}

#[test]
fn a_read_is_one_file_that_the_authoritys_key_alone_verifies() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    world.of(PROVIDER, &["audit", "exchange"], &[CONSUMER]).unwrap();
    let key = std::fs::read_to_string(world.dir(PROVIDER).join("trust/authority.key")).unwrap();
    let authority = perron_model::participant::PublicKey::try_from(key.trim().to_owned()).unwrap();
    let receipt = |name: &str, kind: &str| {
        let entry = asked(&world, name, &["--kind", kind]).remove(0)["index"].to_string();
        output(&["audit", "receipt", "--dir", &world.path(name), &entry], &[]).stdout
    };
    let verified = |bytes: &[u8]| perron_verify::verify_receipt(bytes.trim_ascii_end(), &authority).unwrap();
    let given = verified(&receipt(PROVIDER, "permit"));
    let got = verified(&receipt(CONSUMER, "received"));
    assert_eq!(
        (given.provider.as_str(), given.consumer.as_str(), given.purpose.as_str(), given.permitted),
        (PROVIDER, CONSUMER, PURPOSE, true)
    );
    assert_eq!((given.decision, &given.user, given.at), (got.decision, &got.user, got.at));
    let left = |report: &perron_verify::ReceiptReport| report.outcome.as_ref().map(|o| (o.status, o.rows));
    assert_eq!(left(&given), Some(("complete", 1)));
    assert_eq!(left(&given), left(&got));
    // The consumer signed that it saw the log which holds both.
    assert_eq!(given.cosigned.iter().map(|c| c.by.as_str()).collect::<Vec<_>>(), [CONSUMER]);

    let acts = asked(&world, PROVIDER, &["--kind", "administration"]);
    assert!(acts.iter().any(|e| e["facts"]["action"] == "audit.receipt"), "{acts:#?}");
    let start = world.of(PROVIDER, &["audit", "receipt"], &["0"]).unwrap_err();
    assert_eq!(start.code, "not_found", "{start:?}");
    let beyond = world.of(PROVIDER, &["audit", "receipt"], &["100000"]).unwrap_err();
    assert_eq!(beyond.code, "not_found", "{beyond:?}");
    world.stop(PROVIDER);
}

/// Each side gives the other its chain; the auditor of either matches them.
#[test]
fn both_sides_chains_tell_the_same() {
    use perron_model::entry::Body;
    use perron_verify::{DifferenceKind, open_extract, reconcile, reconcile_asked};
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    world.query(&agreement, "SELECT 1").unwrap();
    let key = std::fs::read_to_string(world.dir(PROVIDER).join("trust/authority.key")).unwrap();
    let authority = perron_model::participant::PublicKey::try_from(key.trim().to_owned()).unwrap();
    let extract = |name: &str| {
        let out = output(&["audit", "extract", "--dir", &world.path(name), &agreement], &[]);
        assert!(out.status.success(), "{out:?}");
        world.write(&format!("{name}.extract"), std::str::from_utf8(&out.stdout).unwrap())
    };
    let (given, own) = (extract(PROVIDER), extract(CONSUMER));
    let text = std::fs::read_to_string(&given).unwrap();
    let open = |text: &str| open_extract(&mut text.as_bytes(), &authority);
    let theirs = open(&text).unwrap();
    let told = asked(&world, PROVIDER, &["--agreement", &agreement]);
    assert_eq!(theirs.entries.len(), told.iter().filter(|e| !e["chain"].is_null()).count());
    assert_eq!((theirs.owner.as_str(), theirs.to.as_str()), (PROVIDER, CONSUMER));
    assert_eq!(told.last().unwrap()["kind"], "extract");

    let matched = world.of(CONSUMER, &["audit", "reconcile"], &[&given]).unwrap();
    assert_eq!((matched["reads"].as_u64(), matched["differences"].as_array().map(Vec::len)), (Some(2), Some(0)));
    let again = world.of(PROVIDER, &["audit", "reconcile"], &[&own, "--ours", &given]).unwrap();
    assert_eq!(again["reads"], matched["reads"]);

    // Nothing of it can be taken out, put in another order, or given as somebody else's.
    let lines: Vec<&str> = text.lines().collect();
    let of = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for at in 0..lines.len() {
        let left: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, line)| *line).collect();
        assert!(open(&of(&left)).is_err(), "without line {at}");
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(open(&of(&swapped)).unwrap_err().code.as_str(), "log_damaged");
    let renamed = text.replacen(&format!("\"to\":\"{CONSUMER}\""), "\"to\":\"autrui\"", 1);
    assert_eq!(open(&renamed).unwrap_err().code.as_str(), "signature_invalid");
    assert!(open(text.trim_end()).is_err() && open("").is_err());

    // What one side hides, or tells otherwise, the other one's chain shows.
    let ours = open_extract(&mut std::fs::read(&own).unwrap().as_slice(), &authority).unwrap();
    let (just_given, just_read) = (theirs.clone(), ours.clone());
    let later = |mut extract: perron_verify::OpenedExtract| {
        extract.given = extract.given.plus_millis(3_600_000);
        extract
    };
    let (theirs, ours) = (later(theirs), later(ours));
    assert!(reconcile(&theirs, &ours).unwrap().is_same());
    let without = |extract: &perron_verify::OpenedExtract, hidden: fn(&Body) -> bool| {
        let mut extract = extract.clone();
        let place = extract.entries.iter().position(|(_, entry)| hidden(&entry.body)).unwrap();
        extract.entries.remove(place);
        extract
    };
    let kinds = |theirs, ours| reconcile(theirs, ours).unwrap().differences.iter().map(|d| d.kind).collect::<Vec<_>>();
    let hidden = without(&theirs, |body| matches!(body, Body::Decision(_)));
    assert_eq!(kinds(&hidden, &ours), [DifferenceKind::DecisionMissing]);
    // Of two that were given just now nothing can be said, unless the one was asked for by the other.
    let hidden = without(&just_given, |body| matches!(body, Body::Decision(_)));
    let told = reconcile(&hidden, &just_read).unwrap();
    assert_eq!((told.differences.len(), told.too_new), (0, 1));
    let asked = |hidden, asked| reconcile_asked(hidden, &just_read, asked).unwrap();
    let told = asked(&hidden, u64::MAX);
    assert_eq!((told.kinds.get("decision-missing"), told.too_new), (Some(&1), 0));
    assert_eq!((asked(&hidden, 0).kinds.len(), asked(&hidden, 0).too_new), (0, 1));
    let hidden = without(&just_given, |body| matches!(body, Body::Outcome(_)));
    assert_eq!(asked(&hidden, u64::MAX).kinds.get("outcome-missing"), Some(&1));
    assert_eq!((asked(&hidden, 0).kinds.len(), asked(&hidden, 0).too_new), (0, 1));
    // What we read after that lacks nothing that the other one tells.
    let hidden = without(&just_read, |body| matches!(body, Body::Intent(_)));
    let told = reconcile_asked(&just_given, &hidden, 0).unwrap();
    assert_eq!(told.kinds.get("request-missing"), Some(&1));

    let hidden = without(&theirs, |body| matches!(body, Body::Outcome(_)));
    assert_eq!(kinds(&hidden, &ours), [DifferenceKind::OutcomeMissing]);
    let hidden = without(&ours, |body| matches!(body, Body::Intent(_)));
    assert_eq!(kinds(&theirs, &hidden), [DifferenceKind::RequestMissing]);
    let mut fewer = theirs.clone();
    for (_, entry) in &mut fewer.entries {
        if let Body::Outcome(outcome) = &mut entry.body {
            outcome.rows += 1;
        }
    }
    assert_eq!(kinds(&fewer, &ours), [DifferenceKind::AnswerDiffers; 2]);
    let mut refused = theirs.clone();
    for (_, entry) in &mut refused.entries {
        if let Body::Decision(decision) = &mut entry.body {
            decision.permitted = false;
        }
    }
    assert_eq!(kinds(&refused, &ours), [DifferenceKind::RefusalDiffers; 2]);
    assert!(reconcile(&theirs, &theirs).is_err());

    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
        let replayed = perron(&["audit", "replay", &world.path(name)]).unwrap();
        let decisions = if name == PROVIDER { 2 } else { 0 };
        assert_eq!((replayed["decisions"].as_u64(), &replayed["same"]), (Some(decisions), &replayed["decisions"]));
    }
}
