//! What an auditor asks of a running process: by whom, under what, refused or not.

use crate::world::{CONSUMER, PROVIDER, PURPOSE, World, output};
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

    // Page by page, the same.
    let all = of(&[]);
    let paged: Vec<Json> = (0..all.len()).flat_map(|i| of(&["--from", &i.to_string(), "--count", "1"])).collect();
    assert_eq!(paged, all);
    let wrong = output(&["audit", "list", "--dir", &world.path(PROVIDER), "--kind", "permitt"], &[]);
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    world.stop(PROVIDER);
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

    let start = world.of(PROVIDER, &["audit", "receipt"], &["0"]).unwrap_err();
    assert_eq!(start.code, "not_found", "{start:?}");
    let beyond = world.of(PROVIDER, &["audit", "receipt"], &["100000"]).unwrap_err();
    assert_eq!(beyond.code, "not_found", "{beyond:?}");
    world.stop(PROVIDER);
}
