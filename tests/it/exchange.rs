//! Extracts between connectors: who gets them, what is matched by itself, and what is found by it.

mod forged;
mod impostor;

use crate::world::wire::{self as channel, code_of};
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, World, output, policy, wait_until};
use perron::api::pb;
use perron::api::pb::ledger_service_client::LedgerServiceClient;
use perron_model::limits::EXTRACTS_PER_HOUR;
use perron_model::participant::PublicKey;
use serde_json::Value as Json;
use tonic::transport::Channel;

const END: &str = "2099-01-01T00:00:00Z";
const ONE: &str = "SELECT count(*) FROM data";
const EVERY_SECOND: &[(&str, &str)] = &[("PERRON__RECONCILE_EVERY", "1s")];

/// Both sides, anew, with chains that are matched every second.
fn often(world: &mut World) {
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.start_with(name, EVERY_SECOND).unwrap();
    }
}

fn allow(world: &World, by: &str, to: &str) {
    world.of(by, &["partner", "extracts", "allow"], &[to]).unwrap();
}

fn all(answer: Json) -> Vec<Json> {
    match answer {
        Json::Array(rows) => rows,
        row => vec![row],
    }
}

/// What a side knows of an agreement.
fn known(world: &World, of: &str, agreement: &str) -> Json {
    let rows = all(world.of(of, &["audit", "reconciliations"], &[]).unwrap());
    rows.into_iter().find(|row| row["agreement"] == agreement).unwrap_or_default()
}

/// Asks the partner now: the answer, or the code with which the command fails.
fn now(world: &World, of: &str, with: &str, agreement: &str) -> Result<Json, String> {
    world.of(of, &["audit", "reconcile"], &["--with", with, "--agreement", agreement]).map_err(|refused| refused.code)
}

fn authority_key(world: &World) -> PublicKey {
    let key = std::fs::read_to_string(world.dir(PROVIDER).join("trust/authority.key")).unwrap();
    PublicKey::try_from(key.trim().to_owned()).unwrap()
}

fn entries(world: &World, of: &str, kind: &str) -> Vec<Json> {
    world.entries(of).into_iter().filter(|entry| entry["kind"] == kind).collect()
}

/// Takes the checkpoints away that a stopped organisation kept of another's log.
fn forget(world: &World, by: &str, of: &str) {
    for file in std::fs::read_dir(world.dir(by).join("trust/kept")).unwrap().flatten() {
        if file.file_name().to_string_lossy().contains(&format!("_{of}_")) {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
}

#[test]
fn both_sides_match_their_chains_by_themselves() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, ONE).unwrap();
    // Nobody may have them until it is said.
    assert_eq!(now(&world, CONSUMER, PROVIDER, &agreement), Err("extract_denied".to_owned()));
    allow(&world, PROVIDER, CONSUMER);
    allow(&world, CONSUMER, PROVIDER);
    often(&mut world);
    let alike = |of: &str, reads: u64| {
        let newest = &known(&world, of, &agreement)["newest"];
        newest["result"] == "same" && newest["matched"] == reads && newest["open"] == 0
    };
    for reads in 1..=3 {
        for of in [PROVIDER, CONSUMER] {
            wait_until(&format!("{of} matched {reads} reads"), || alike(of, reads));
        }
        world.query(&agreement, ONE).unwrap();
    }
    // Where nothing happened since, nothing is asked for.
    for of in [PROVIDER, CONSUMER] {
        let chain: Vec<Json> = world.entries(of).into_iter().filter(|e| e["chain"]["agreement"] == agreement).collect();
        let is_own = |e: &Json| e["kind"] == "reconciled" && e["facts"]["result"] == "same";
        let places: Vec<usize> = (0..chain.len()).filter(|at| is_own(&chain[*at])).collect();
        assert!(places.len() >= 3, "{chain:#?}");
        for pair in places.windows(2) {
            let was_behind = chain[pair[0]]["facts"]["number"].as_u64().unwrap() + 1
                != chain[pair[0]]["chain"]["number"].as_u64().unwrap();
            let between = &chain[pair[0] + 1..pair[1]];
            let happened = between.iter().any(|e| e["kind"] != "extract" && e["kind"] != "reconciled");
            let was_open = chain[pair[0]]["facts"]["open"] != 0;
            assert!(was_behind || was_open || happened, "{of}: {chain:#?}");
        }
        let doctor = output(&["--json", "doctor", "--dir", &world.path(of)], &[]);
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains("reconciliations") && !said.contains("chains_differ"), "{said}");
        // What came lies there as it came.
        let kept = std::fs::read(world.dir(of).join(format!("extracts/{agreement}.extract"))).unwrap();
        let told = entries(&world, of, "reconciled");
        let digest = perron_model::Digest::of(&kept).to_string();
        assert!(told.iter().any(|e| e["facts"]["extract"] == digest), "{told:#?}");
        perron_verify::open_extract(&mut kept.as_slice(), &authority_key(&world)).unwrap();
    }
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
    }
}

/// One that can't be dialled asks all the same, and is told of instead of asked.
#[test]
fn who_can_t_be_dialled_asks() {
    let world = World::one_sided();
    let agreement = world.agree(END);
    world.query(&agreement, ONE).unwrap();
    allow(&world, PROVIDER, CONSUMER);
    let matched = now(&world, CONSUMER, PROVIDER, &agreement).unwrap();
    assert_eq!((&matched["result"], &matched["reconciled"]["reads"]), (&"same".into(), &1.into()), "{matched:#}");
    assert_eq!(now(&world, PROVIDER, CONSUMER, &agreement), Err("peer_unavailable".to_owned()));
    assert_eq!(known(&world, PROVIDER, &agreement)["newest"], Json::Null);
}

async fn lines(client: &Channel, asked: pb::GetExtractRequest) -> Result<Vec<pb::GetExtractResponse>, String> {
    let mut client = LedgerServiceClient::new(client.clone());
    let mut answer = client.get_extract(asked).await.map_err(|status| code_of(&status))?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = answer.message().await.map_err(|status| code_of(&status))? {
        parts.push(part);
    }
    Ok(parts)
}

#[test]
fn only_the_other_party_is_given_and_only_what_it_may_have() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, ONE).unwrap();
    // Under this one the provider owes it, whatever it allows.
    let mut owing: Json = serde_json::from_str(&policy(END)).unwrap();
    owing["obligation"] = serde_json::json!([{"action": "acceptTracking", "assignee": PROVIDER}]);
    let owed = world.agree_on("releves", "suivi", &owing.to_string());

    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let (consumer, _) = channel::peer_channel(&world, CONSUMER, PROVIDER);
    let (stranger, _) = channel::peer_channel(&world, AUTHORITY, PROVIDER);
    let request =
        |agreement: &str| pb::GetExtractRequest { agreement: agreement.to_owned(), held_size: 0, resume: None };
    let ask = |by: &Channel, asked| runtime.block_on(lines(by, asked));
    for (by, of, code) in [
        (&consumer, agreement.as_str(), "extract_denied"),
        (&stranger, &agreement, "not_found"),
        (&stranger, &owed, "not_found"),
        (&consumer, &perron_model::Digest::of(b"none").to_string(), "not_found"),
        (&consumer, "x", "malformed"),
    ] {
        assert_eq!(ask(by, request(of)).unwrap_err(), code, "{of}");
    }
    assert_eq!(entries(&world, PROVIDER, "extract"), Vec::<Json>::new());
    assert_eq!(ask(&consumer, request(&owed)).unwrap().len(), 2);
    assert_eq!(now(&world, CONSUMER, PROVIDER, &owed).unwrap()["result"], "same");
    // The consumer owes it nothing.
    assert_eq!(now(&world, PROVIDER, CONSUMER, &owed), Err("extract_denied".to_owned()));

    allow(&world, PROVIDER, CONSUMER);
    let whole = ask(&consumer, request(&agreement)).unwrap();
    assert!(whole.iter().all(|part| part.lines.ends_with(b"\n") && part.consistency.is_empty()), "{whole:?}");
    let bytes: Vec<u8> = whole.iter().flat_map(|part| part.lines.clone()).collect();
    let opened = perron_verify::open_extract(&mut bytes.as_slice(), &authority_key(&world)).unwrap();
    assert_eq!((opened.owner.as_str(), opened.to.as_str()), (PROVIDER, CONSUMER));
    // It goes on where it broke off, without another entry; but from nowhere else.
    let count = entries(&world, PROVIDER, "extract").len();
    let at = whole[0].next.unwrap();
    let on = |place: pb::ExtractPlace| pb::GetExtractRequest { resume: Some(place), ..request(&agreement) };
    let rest = ask(&consumer, on(at)).unwrap();
    assert_eq!(rest, whole[1..]);
    let elsewhere = pb::ExtractPlace { end: at.end - 1, ..at };
    let beyond = pb::ExtractPlace { size: at.size + 100_000, ..at };
    for place in [elsewhere, beyond] {
        assert_eq!(ask(&consumer, on(place)).unwrap_err(), "not_found", "{place:?}");
    }
    let other = pb::GetExtractRequest { resume: Some(at), ..request(&owed) };
    assert_eq!(ask(&consumer, other).unwrap_err(), "not_found");
    assert_eq!(entries(&world, PROVIDER, "extract").len(), count);
    let held = |size| pb::GetExtractRequest { held_size: size, ..request(&agreement) };
    assert_eq!(ask(&consumer, held(1_000_000)).unwrap_err(), "log_forked");
    assert!(!ask(&consumer, held(3)).unwrap()[0].consistency.is_empty());
    // So many an hour, then no more.
    let given = (0..EXTRACTS_PER_HOUR).take_while(|_| ask(&consumer, request(&agreement)).is_ok()).count();
    assert!(given > 10 && given < usize::try_from(EXTRACTS_PER_HOUR).unwrap(), "{given}");
    assert_eq!(ask(&consumer, request(&agreement)).unwrap_err(), "overloaded");
    assert_eq!(now(&world, CONSUMER, PROVIDER, &agreement), Err("overloaded".to_owned()));
    assert_eq!(known(&world, CONSUMER, &agreement)["newest"]["result"], "unanswered");

    // It may not any more; what was refused is counted in the log.
    world.of(PROVIDER, &["partner", "extracts", "deny"], &[CONSUMER]).unwrap();
    assert_eq!(ask(&consumer, request(&agreement)).unwrap_err(), "extract_denied");
    for (partner, code) in [("nobody", "participant_unknown"), (PROVIDER, "participant_unknown")] {
        assert_eq!(world.of(PROVIDER, &["partner", "extracts", "allow"], &[partner]).unwrap_err().code, code);
    }
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
        world.start(name);
    }
    let summaries = entries(&world, PROVIDER, "refusal-summary");
    for (peer, reason) in
        [(CONSUMER, "extract_denied"), (AUTHORITY, "not_found"), (CONSUMER, "overloaded"), (CONSUMER, "log_forked")]
    {
        let is_it = |e: &Json| e["facts"]["peer"] == peer && e["facts"]["reason"] == reason;
        assert!(summaries.iter().any(is_it), "{peer} {reason}: {summaries:#?}");
    }
    let acts: Vec<Json> = entries(&world, PROVIDER, "administration");
    assert_eq!(acts.iter().filter(|e| e["facts"]["action"] == "partner.extracts").count(), 2);
    // After a restart it holds what was said last.
    assert_eq!(now(&world, CONSUMER, PROVIDER, &agreement), Err("extract_denied".to_owned()));
    assert_eq!(known(&world, CONSUMER, &agreement)["newest"]["result"], "refused");
}

/// Killed while chains are matched, at whatever point: nothing is lost, and the next try comes through.
#[test]
fn a_kill_in_between_loses_nothing() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, ONE).unwrap();
    allow(&world, PROVIDER, CONSUMER);
    allow(&world, CONSUMER, PROVIDER);
    for victim in [PROVIDER, CONSUMER, PROVIDER, CONSUMER] {
        let arguments = ["audit", "reconcile", "--with", PROVIDER, "--agreement", &agreement, "--dir"];
        let dir = world.path(CONSUMER);
        let asking = std::thread::spawn({
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).chain([dir]).collect();
            move || output(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
        });
        world.kill(victim);
        asking.join().unwrap();
        world.start(victim);
    }
    wait_until("the chains are matched after all", || {
        now(&world, CONSUMER, PROVIDER, &agreement).is_ok_and(|matched| matched["result"] == "same")
    });
    assert_eq!(now(&world, PROVIDER, CONSUMER, &agreement).unwrap()["result"], "same");
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
        let left = std::fs::read_dir(world.dir(name).join("extracts")).unwrap();
        let names: Vec<String> = left.flatten().map(|f| f.file_name().into_string().unwrap()).collect();
        assert_eq!(names, [format!("{agreement}.extract")]);
    }
}
