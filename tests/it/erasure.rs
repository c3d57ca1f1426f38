//! What is sealed in the log is opened by an auditor, erased under a ground, and told to partners;
//! every proof stays valid.

mod killed;
mod restored;

use crate::folder::told_as;
use crate::played::copy;
use crate::recovery::tear;
use crate::world::{CONSUMER, PROVIDER, PURPOSE, World, output, perron, wait_until};
use perron::api::grpc::admin::Command;
use perron::connector::erasure::EraseAsked;
use perron::vault::Vault;
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::sealed::{Ground, SealedValue};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

const FIRST: &str = "SELECT count(*) AS premiere FROM releves";
const SECOND: &str = "SELECT max(n) AS seconde FROM releves WHERE nom <> 'Personne'";
const GROUND: &str = "A17-1-a";

/// Entries of a kind, their sealed values opened.
fn opened(world: &World, name: &str, kind: &str) -> Vec<Json> {
    match world.of(name, &["audit", "list"], &["--kind", kind, "--opened"]).unwrap() {
        Json::Array(entries) => entries,
        one => vec![one],
    }
}

fn statements(world: &World, name: &str, kind: &str) -> Vec<String> {
    let said = |entry: &Json| {
        let sealed = &entry["sealed"];
        match sealed["state"].as_str().unwrap() {
            "statement" => {
                assert_eq!(sealed["as_signed"], true, "{entry}");
                sealed["statement"].as_str().unwrap().to_owned()
            }
            other => other.to_owned(),
        }
    };
    opened(world, name, kind).iter().map(said).collect()
}

fn number(entry: &Json) -> String {
    entry["index"].to_string()
}

fn in_words(world: &World, name: &str, entry: &str, lang: &str) -> String {
    let out = output(&["audit", "show", entry, "--opened", "--lang", lang, "--dir", &world.path(name)], &[]);
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// The sealed values of a stopped directory's log, by their entries; and that it verifies.
fn sealed(directory: &Path) -> BTreeMap<u64, Vec<u8>> {
    let mut values = BTreeMap::new();
    let report = perron_verify::verify_visiting(directory, &perron_verify::Options::default(), &mut |view| {
        let found = view.attachments().find(|(kind, _)| *kind == AttachmentKind::Sealed as u16);
        values.extend(found.map(|(_, bytes)| (view.index, bytes.to_vec())));
        let (leaf, entry) = (view.leaf.unwrap(), Entry::from_bytes(view.leaf.unwrap()).unwrap());
        assert_eq!(entry.body.is_sealed(), found.is_some());
        assert!(
            !matches!(entry.body, Body::Decision(_)) || leaf.len() <= 450,
            "a decision in the tree: {}",
            leaf.len()
        );
    })
    .unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    assert_eq!(report.sealed, values.len() as u64);
    values
}

/// What a vault says of a value.
fn said(vault: &Vault, value: &[u8]) -> Option<String> {
    vault.read(value).unwrap().map(|value| match value {
        SealedValue::Statement { text, .. } => text,
        SealedValue::User { name, .. } => name.to_string(),
    })
}

/// A vault opened in a copy of it, so that nothing is changed.
fn vault(world: &World, of: &Path, number: u64) -> Vault {
    let at = world.dir(&format!("vault-{number}"));
    let _ = std::fs::remove_dir_all(&at);
    copy(of, &at);
    Vault::open(&at, Some(number)).unwrap()
}

/// What an organisation was told, or told itself, of erasures under an agreement.
fn notices(world: &World, name: &str, agreement: &str) -> Vec<Json> {
    let history = world.of(name, &["agreement", "show"], &[agreement, "--history"]).unwrap();
    history["erased"].as_array().unwrap().clone()
}

fn second_opinion(world: &World, name: &str) {
    let Some(python) = std::env::var_os("PERRON_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "PERRON_PYTHON isn't set: run `make test`");
        return eprintln!("not run, for PERRON_PYTHON isn't set: tools/verify.py");
    };
    let out = std::process::Command::new(python)
        .args(["-B", "tools/verify.py", &world.path(name)])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn a_statement_is_opened_then_erased_and_the_partner_is_told() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    world.query(&agreement, SECOND).unwrap();
    for (name, kind) in [(PROVIDER, "permit"), (CONSUMER, "intent")] {
        assert_eq!(statements(&world, name, kind), [FIRST, SECOND]);
        let closed = world.of(name, &["audit", "list"], &["--kind", kind]).unwrap();
        assert!(closed.as_array().unwrap().iter().all(|e| e["sealed"] == json!({"state": "sealed"})), "{closed}");
    }
    let before = world.dir(PROVIDER).join("vault");
    let backup = world.dir("backup");
    copy(&before, &backup);

    let permits = opened(&world, PROVIDER, "permit");
    let (gone, kept) = (number(&permits[0]), number(&permits[1]));
    let erase = |what: &[&str]| world.of(PROVIDER, &["audit", "erase"], &[what, &["--ground", GROUND]].concat());
    let done = erase(&["--entry", &gone]).unwrap();
    assert_eq!((&done["values"], &done["ground"], &done["more"]), (&json!(1), &json!(GROUND), &json!(false)));
    assert_eq!(done["agreements"], json!([agreement]));
    assert_eq!(erase(&["--entry", &gone]).unwrap_err().code, "not_found", "it can't be opened any more");
    assert_eq!(erase(&["--user", "personne"]).unwrap_err().code, "not_found");

    // Nobody opens it, whatever they ask for; the rest is as it was.
    assert_eq!(statements(&world, PROVIDER, "permit"), ["erased", SECOND]);
    let entry = world.of(PROVIDER, &["audit", "show"], &[&gone]).unwrap();
    let told = &entry["sealed"];
    assert_eq!((&told["ground"], &told["undone_until"]), (&json!(GROUND), &done["undone_until"]));
    assert_eq!(told["by_entry"], done["entry"]);
    let until = done["undone_until"].as_str().unwrap();
    let (english, french) = (in_words(&world, PROVIDER, &gone, "en"), in_words(&world, PROVIDER, &gone, "fr"));
    let on = told["on"].as_str().unwrap();
    let sentence =
        format!("erased on {on} under GDPR Art. 17(1)(a): no longer necessary, undone by a backup until {until}");
    assert!(english.contains(&sentence), "{english}");
    assert!(french.contains(&format!("effacé le {on} au titre de RGPD")), "{french}");
    assert!(in_words(&world, PROVIDER, &kept, "en").contains(SECOND));

    // The look is in the log, and so is the erasure, with whoever did it and why.
    let acts = world.of(PROVIDER, &["audit", "list"], &["--kind", "erased"]).unwrap();
    assert_eq!(
        (&acts["facts"]["by"], &acts["facts"]["entries"], &acts["facts"]["ground"]),
        (&json!("operator"), &json!([gone]), &json!(GROUND))
    );
    let export = |kind: &str| world.of(PROVIDER, &["audit", "export"], &["--format", "jsonl", "--kind", kind]).unwrap();
    let states: Vec<Json> = export("permit").as_array().unwrap().iter().map(|r| r["facts"]["sealed"].clone()).collect();
    assert_eq!(states, ["erased", "sealed"]);

    // The consumer is told, in the agreement's chain, and its own copy is its own matter.
    let notices = |name: &str| notices(&world, name, &agreement);
    wait_until("the consumer is told", || notices(CONSUMER).len() == 1);
    let notice = &notices(CONSUMER)[0];
    assert_eq!((&notice["act"], &notice["by"]), (&json!("erase"), &json!("provider")));
    assert_eq!((&notice["says"]["values"], &notice["says"]["until"]), (&json!(1), &json!(until)));
    wait_until("it has arrived", || notices(PROVIDER)[0]["undelivered"] == false);
    assert_eq!(statements(&world, CONSUMER, "intent"), [FIRST, SECOND]);
    world.query(&agreement, FIRST).unwrap();

    world.stop(PROVIDER);
    world.stop(CONSUMER);
    let values = sealed(&world.dir(PROVIDER));
    let (gone, kept): (u64, u64) = (gone.parse().unwrap(), kept.parse().unwrap());
    let present = vault(&world, &before, 2);
    assert_eq!((said(&present, &values[&gone]), said(&present, &values[&kept]).as_deref()), (None, Some(SECOND)));
    // So long as somebody has the key of before: that is what the sentence says.
    assert_eq!(said(&vault(&world, &backup, 1), &values[&gone]).as_deref(), Some(FIRST));
    for name in [PROVIDER, CONSUMER] {
        world.verify(name);
        second_opinion(&world, name);
    }
    let replayed = perron(&["audit", "replay", &world.path(PROVIDER)]).unwrap();
    assert_eq!((replayed["differences"].as_array().unwrap().len(), &replayed["same"]), (0, &json!(3)));
    assert_eq!((&replayed["erased"][0]["values"], &replayed["erased"][0]["ground"]), (&json!(1), &json!(GROUND)));
}

/// Whatever a crash leaves of the vault, and whatever is put back of it, the log decides.
#[test]
fn a_start_finishes_what_the_log_tells_and_drops_what_it_doesnt() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    world.query(&agreement, SECOND).unwrap();
    let (directory, backup) = (world.dir(PROVIDER).join("vault"), world.dir("backup"));
    copy(&directory, &backup);
    let gone = number(&opened(&world, PROVIDER, "permit")[0]);
    world.of(PROVIDER, &["audit", "erase"], &["--entry", &gone, "--ground", GROUND]).unwrap();
    world.kill(PROVIDER);
    let numbers = || {
        let names = std::fs::read_dir(&directory).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        let mut keys: Vec<u64> = names.filter_map(|n| n.strip_suffix(".kek").map(|n| n.parse().unwrap())).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(numbers(), [2]);
    // The crash came before the keys of before were destroyed.
    copy(&backup, &directory);
    assert_eq!(numbers(), [1, 2]);
    world.start(PROVIDER);
    assert_eq!((numbers(), statements(&world, PROVIDER, "permit")), (vec![2], vec!["erased".into(), SECOND.into()]));
    world.kill(PROVIDER);

    // An erasure was prepared and its entry never written.
    for kind in ["kek", "epochs"] {
        let of = |number: u64| directory.join(format!("{number:020}.{kind}"));
        std::fs::copy(of(2), of(3)).unwrap();
    }
    world.start(PROVIDER);
    assert_eq!((numbers(), statements(&world, PROVIDER, "permit")), (vec![2], vec!["erased".into(), SECOND.into()]));
    world.stop(PROVIDER);

    // Somebody restores the vault of before: what was erased is erased again before anything is served.
    std::fs::remove_dir_all(&directory).unwrap();
    copy(&backup, &directory);
    world.start(PROVIDER);
    assert_eq!(numbers(), [2]);
    world.stop(PROVIDER);
    let values = sealed(&world.dir(PROVIDER));
    let present = vault(&world, &directory, 2);
    assert_eq!(said(&present, &values[&gone.parse().unwrap()]), None);
    assert!(values.values().any(|value| said(&present, value).as_deref() == Some(SECOND)));

    // Without its key the process doesn't start: nothing would be sealed as it has to be.
    std::fs::remove_file(directory.join(format!("{:020}.kek", 2))).unwrap();
    let refused = world.start_with(PROVIDER, &[]).unwrap_err();
    assert_eq!(refused.code, "key_invalid", "{refused:?}");
}

/// A user goes from the list, and from the log everything that says who they are or what they asked.
#[test]
fn a_user_is_erased_by_name() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    let names = |world: &World| {
        let acts = opened(world, CONSUMER, "administration");
        let about = acts.iter().filter(|e| !e["sealed"].is_null());
        about.map(|e| (e["facts"]["action"].clone(), e["sealed"]["state"].clone())).collect::<Vec<_>>()
    };
    let user =
        |state: &str| [("user.add", state), ("user.pseudonym", state)].map(|(a, s)| (json!(a), json!(s))).to_vec();
    assert_eq!(names(&world), user("user"));
    // The log alone tells who the pseudonym of a read is.
    let acts = opened(&world, CONSUMER, "administration");
    let told = acts.iter().find(|e| e["facts"]["action"] == "user.pseudonym").unwrap();
    let asked = opened(&world, CONSUMER, "intent").remove(0);
    assert_eq!(
        (&told["sealed"]["name"], &told["sealed"]["pseudonyms"][PROVIDER]),
        (&json!("anne"), &asked["facts"]["user"])
    );

    let wrong = |args: &[&str]| {
        let dir = world.path(CONSUMER);
        output(&[&["audit", "erase", "--dir", &dir], args].concat(), &[]).status.code()
    };
    assert_eq!(wrong(&["--ground", GROUND]), Some(64), "nothing says what");
    assert_eq!(wrong(&["--user", "anne"]), Some(64), "nothing says why");
    assert_eq!(wrong(&["--user", "anne", "--ground", "because"]), Some(64));
    let done = world.of(CONSUMER, &["audit", "erase"], &["--user", "anne", "--ground", "A17-1-b"]).unwrap();
    assert_eq!((&done["values"], &done["user_removed"]), (&json!(3), &json!(true)));
    assert_eq!(world.of(CONSUMER, &["user", "list"], &[]).unwrap(), json!([]));
    assert_eq!(names(&world), user("erased"));
    assert_eq!(statements(&world, CONSUMER, "intent"), ["erased"]);
    let pseudonym = asked["facts"]["user"].as_str().unwrap();
    let resolved = world.of(CONSUMER, &["user", "resolve"], &[pseudonym, "--reason", "x"]);
    assert_eq!(resolved.unwrap_err().code, "not_found");
    assert_eq!(world.query(&agreement, FIRST).unwrap_err().code, "unauthenticated");
    // The provider is told, and erases what it has by the pseudonym, or by the agreement.
    let heard = || world.of(PROVIDER, &["agreement", "show"], &[&agreement, "--history"]).unwrap()["erased"].clone();
    wait_until("the provider is told", || heard().as_array().is_some_and(|told| told.len() == 1));
    assert_eq!(heard()[0]["says"]["ground"], "A17-1-b");
    let theirs = world.of(PROVIDER, &["audit", "erase"], &["--user", pseudonym, "--ground", "A17-1-b"]).unwrap();
    assert_eq!((&theirs["values"], &theirs["user_removed"]), (&json!(1), &json!(false)));

    // Under the same name there is another person, with other pseudonyms, after a start too.
    world.stop(CONSUMER);
    world.start(CONSUMER);
    world.allow(&[&agreement]);
    world.query(&agreement, SECOND).unwrap();
    let again = opened(&world, CONSUMER, "intent");
    assert_eq!(again[1]["sealed"]["statement"], SECOND);
    assert_ne!(again[1]["facts"]["user"], asked["facts"]["user"]);
    assert!(again.iter().all(|e| e["facts"]["purpose"] == PURPOSE));
    for name in [PROVIDER, CONSUMER] {
        world.stop(name);
        world.verify(name);
        second_opinion(&world, name);
    }
    let left = sealed(&world.dir(CONSUMER));
    let present = vault(&world, &world.dir(CONSUMER).join("vault"), 2);
    assert_eq!(left.values().filter(|value| said(&present, value).is_none()).count(), 3);
}

/// Whoever is erased while they ask leaves nothing: what they began is erased with the rest, and more
/// doesn't come.
#[test]
fn a_user_who_asks_meanwhile_leaves_nothing_that_opens() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    std::thread::scope(|scope| {
        let until_refused = || {
            loop {
                if let Err(refused) = world.query(&agreement, SECOND) {
                    return refused.code;
                }
            }
        };
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(until_refused)).collect();
        wait_until("they ask", || statements(&world, CONSUMER, "intent").len() > 4);
        let done = world.of(CONSUMER, &["audit", "erase"], &["--user", "anne", "--ground", GROUND]).unwrap();
        assert_eq!((&done["user_removed"], &done["more"]), (&json!(true), &json!(false)));
        for asker in askers {
            let code = asker.join().unwrap();
            assert!(["unauthenticated", "not_found"].contains(&code.as_str()), "{code}");
        }
    });
    world.stop(CONSUMER);
    let present = vault(&world, &world.dir(CONSUMER).join("vault"), 2);
    let values = sealed(&world.dir(CONSUMER));
    assert!(values.len() > 6 && values.values().all(|value| said(&present, value).is_none()));
}

/// A torn end may hold what was sealed, and no entry tells of it: an erasure takes it along.
#[test]
fn torn_ends_of_the_log_go_with_an_erasure() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    world.stop(PROVIDER);
    tear(&world.dir(PROVIDER));
    world.start(PROVIDER);
    let aside = world.dir(PROVIDER).join("quarantine");
    let names = || {
        let names = std::fs::read_dir(&aside).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 1);
    std::fs::write(aside.join("note"), "whatever an operator put there").unwrap();
    let gone = number(&opened(&world, PROVIDER, "permit")[0]);
    world.of(PROVIDER, &["audit", "erase"], &["--entry", &gone, "--ground", GROUND]).unwrap();
    assert_eq!(names(), ["note"]);
}

/// What is left of somebody who isn't on the list of users any more is found by their name: the log
/// tells by which pseudonyms they went.
#[test]
fn who_is_on_the_list_no_longer_is_erased_by_name() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    world.stop(CONSUMER);
    std::fs::write(world.dir(CONSUMER).join("users.json"), "[]").unwrap();
    world.start(CONSUMER);
    let erase = |user: &str| world.of(CONSUMER, &["audit", "erase"], &["--user", user, "--ground", GROUND]);
    assert_eq!(erase("paul").unwrap_err().code, "not_found");
    let done = erase("anne").unwrap();
    assert_eq!((&done["values"], &done["user_removed"]), (&json!(3), &json!(false)));
    assert_eq!(statements(&world, CONSUMER, "intent"), ["erased"]);
    assert_eq!(erase("anne").unwrap_err().code, "not_found");
}

/// Who opens what is sealed can't erase it, and who erases can't open it.
#[test]
fn opening_and_erasing_are_two_roles() {
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, FIRST).unwrap();
    let token = |user: &str, role: &str| {
        let added = world.of(PROVIDER, &["user", "add"], &[user, "--role", role, "--token"]).unwrap();
        added["token"].as_str().unwrap().to_owned()
    };
    let (lea, tom) = (token("lea", "auditor"), token("tom", "data-officer"));
    let look = |opened: bool| Command::AuditList { question: Box::default(), from: 0, count: 1000, opened };
    let erase = |ground: Ground| {
        let agreement = Some(agreement.parse().unwrap());
        let asked = EraseAsked { entries: Vec::new(), user: None, agreement, since: None, until: None, ground };
        Command::AuditErase { asked: Box::new(asked) }
    };
    let refused = |token: &str, command: &Command| told_as(&world, token, command).unwrap_err();
    assert_eq!(refused(&tom, &look(true)), "role_missing");
    assert_eq!(refused(&lea, &erase(Ground::Objection)), "role_missing");
    let seen = told_as(&world, &lea, &look(true)).unwrap();
    let permit = seen["entries"].as_array().unwrap().iter().find(|e| e["kind"] == "permit").unwrap();
    assert_eq!(permit["sealed"]["statement"], FIRST);
    let done = told_as(&world, &tom, &erase(Ground::Objection)).unwrap();
    assert_eq!((&done["values"], &done["ground"]), (&json!(1), &json!("A17-1-c")));
    let after = told_as(&world, &lea, &look(true)).unwrap();
    let entries = after["entries"].as_array().unwrap();
    let permit = entries.iter().find(|e| e["kind"] == "permit").unwrap();
    assert_eq!(permit["sealed"]["state"], "erased");
    // By their pseudonym; how many values were opened is told too.
    let act = entries.iter().find(|e| e["kind"] == "erased").unwrap();
    assert_ne!(act["facts"]["by"], "operator");
    let looks = entries.iter().filter(|e| e["facts"]["action"] == "audit.list");
    assert!(looks.count() >= 1, "{after}");
    let names = entries.iter().filter(|e| e["sealed"]["state"] == "user").map(|e| e["sealed"]["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["lea", "tom"]);
}
