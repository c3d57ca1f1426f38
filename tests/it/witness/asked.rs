//! Our log before a witness of another make: cosigned, and stopped once it went its own way.

use super::lite::Lite;
use super::{configure, keys, table, text};
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, World, output, wait_until};
use perron_log::Checkpoint;
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

/// Names the witness in the provider's configuration, and a policy that asks for it alone.
fn name_witness(world: &World, lite: &Lite) {
    let vkey = lite.verifier.to_vkey();
    let log = keys(world, PROVIDER).0[0].to_vkey();
    let policy = world.write("policy", format!("log {log}\nwitness lite {vkey}\nquorum lite\n"));
    configure(world, PROVIDER, |config| {
        let witness = table([("vkey", text(vkey)), ("url", text(format!("http://{}/", lite.listens)))]);
        config.insert("witness".to_owned(), toml::Value::Array(vec![witness]));
        config.insert("witness_policy".to_owned(), text(policy));
    });
}

fn report(world: &World) -> Json {
    let out = output(&["--json", "audit", "witnesses", "--dir", &world.path(PROVIDER)], &[]);
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// Entries that the witness cosigned.
fn cosigned(world: &World) -> Option<u64> {
    lite_of(&report(world))["size"].as_u64()
}

/// What a report says of the witness.
fn lite_of(report: &Json) -> Json {
    let mut witnesses = report["witnesses"].as_array().into_iter().flatten();
    witnesses.find(|w| w["witness"] == "witness.test/lite").cloned().unwrap_or_default()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn swap(world: &World, with: &str, keep: &str) {
    std::fs::rename(world.dir(PROVIDER), world.dir(keep)).unwrap();
    std::fs::rename(world.dir(with), world.dir(PROVIDER)).unwrap();
}

#[test]
fn a_witness_of_another_make_cosigns_and_a_log_that_went_its_own_way_stops() {
    let mut world = World::new();
    let Some(mut lite) = Lite::start(&world) else { return };
    let (log_keys, _) = keys(&world, PROVIDER);
    world.stop(PROVIDER);
    name_witness(&world, &lite);
    // With the witness away the connector goes on, and says so.
    lite.stop();
    world.start(PROVIDER);
    wait_until("the trouble is told", || lite_of(&report(&world))["trouble"]["code"] == "peer_unavailable");
    world.publish("avant").unwrap();
    let refused = world.of(PROVIDER, &["audit", "witnesses"], &[]).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.exit), ("quorum_open", Some(1)), "{refused:?}");
    // It is back, but doesn't know the log; then it does.
    lite.again();
    lite.add_log(&log_keys[0]);
    wait_until("the witness cosigned", || cosigned(&world).is_some());
    let shown = world.of(PROVIDER, &["audit", "witnesses"], &[]).unwrap();
    assert_eq!((&shown["policy"]["final"], &shown["policy"]["quorum"]), (&true.into(), &"met".into()), "{shown}");
    let words = output(&["audit", "witnesses", "--dir", &world.path(PROVIDER)], &[]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("witness.test/lite cosigned") && words.contains("Final up to"), "{words}");

    // A copy of this state, and one that will go its own way for longer.
    world.stop(PROVIDER);
    let file = world.dir(PROVIDER).join(format!("trust/cosigned/vkey+{}.checkpoint", lite.verifier.fingerprint()));
    let note = std::fs::read_to_string(&file).unwrap();
    let opened = Checkpoint::open(&note, log_keys[0].name(), &log_keys, std::slice::from_ref(&lite.verifier)).unwrap();
    assert!(opened.verified.iter().any(|line| line.name == "witness.test/lite" && line.time_unix_s.is_some()));
    for name in ["older", "later", "longer"] {
        copy(&world.dir(PROVIDER), &world.dir(name));
    }
    // The auditor's program says the same of the directory.
    let policy = Some(perron_verify::read_policy(&world.dir("policy")).unwrap());
    let options = perron_verify::Options { policy, ..perron_verify::Options::default() };
    let verdict = perron_verify::verify_with(&world.dir(PROVIDER), &options).unwrap();
    assert!(verdict.is_ok() && verdict.policy.unwrap().is_final, "{:?}", verdict.findings);

    world.start(PROVIDER);
    for set in ["un", "deux", "trois"] {
        world.publish(set).unwrap();
    }
    wait_until("the witness saw all", || lite_of(&report(&world))["behind"] == 0);
    world.stop(PROVIDER);

    // The older copy has fewer entries than the witness holds.
    swap(&world, "older", "newest");
    stops(&mut world, "holds more");
    std::fs::rename(world.dir(PROVIDER), world.dir("older")).unwrap();
    std::fs::rename(world.dir("later"), world.dir(PROVIDER)).unwrap();
    stops_later(&mut world, &mut lite, "holds more");
    // The other has more by now, but other ones.
    std::fs::rename(world.dir(PROVIDER), world.dir("later")).unwrap();
    std::fs::rename(world.dir("longer"), world.dir(PROVIDER)).unwrap();
    let mut asked = None;
    configure(&world, PROVIDER, |config| asked = config.remove("witness"));
    world.start(PROVIDER);
    for n in 0..12 {
        world.publish(&format!("autre{n}")).unwrap();
    }
    world.stop(PROVIDER);
    configure(&world, PROVIDER, |config| drop(config.insert("witness".to_owned(), asked.unwrap())));
    stops(&mut world, "other entries");
    // The newest goes on as before.
    std::fs::rename(world.dir(PROVIDER), world.dir("longer")).unwrap();
    std::fs::rename(world.dir("newest"), world.dir(PROVIDER)).unwrap();
    world.start(PROVIDER);
    world.publish("quatre").unwrap();
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

/// The same by a partner: what it keeps of our log, our own key signed.
#[test]
fn an_older_copy_stops_before_a_partner_that_saw_more() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    let ask = |world: &World| world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    ask(&world);
    world.stop(PROVIDER);
    copy(&world.dir(PROVIDER), &world.dir("older"));
    let size = |note: &str| note.lines().nth(1).and_then(|line| line.parse::<u64>().ok()).unwrap();
    let older = size(&std::fs::read_to_string(world.dir("older").join("log/checkpoint")).unwrap());
    world.start(PROVIDER);
    for _ in 0..5 {
        ask(&world);
    }
    let kept = format!("trust/kept/{}.checkpoint", keys(&world, PROVIDER).0[0].name().replace('/', "_"));
    let kept = world.dir(CONSUMER).join(kept);
    wait_until("the partner keeps a newer head", || {
        std::fs::read_to_string(&kept).is_ok_and(|note| size(&note) > older + 10)
    });
    world.stop(PROVIDER);
    swap(&world, "older", "newest");
    // Who can be asked says so before anything is written.
    assert_eq!(world.start_with(PROVIDER, &[]).unwrap_err().code, "log_tail_lost");
    // Nobody can: it starts, and stops once somebody shows more.
    world.stop(CONSUMER);
    world.stop(AUTHORITY);
    world.start(PROVIDER);
    world.start(CONSUMER);
    let refused = world.of(PROVIDER, &["audit", "exchange"], &[CONSUMER]).unwrap_err();
    assert_eq!(refused.code, "log_forked", "{refused:?}");
    let ended = world.ended(PROVIDER);
    assert!(ended.code == "own_log_forked" && ended.detail.contains("`inter` keeps a checkpoint"), "{ended:?}");
    assert_eq!(world.start_with(PROVIDER, &[]).unwrap_err().code, "own_log_forked");
    // `perron doctor` says so too.
    let found = output(&["--json", "doctor", "--dir", &world.path(PROVIDER)], &[]);
    assert!(String::from_utf8(found.stdout).unwrap().contains("own_log_forked"));
}

/// The process doesn't start, and writes nothing.
fn stops(world: &mut World, detail: &str) {
    let size = log_size(world);
    for time in ["at first", "again"] {
        let told = world.start_with(PROVIDER, &[]).unwrap_err();
        assert!(told.code == "own_log_forked" && told.detail.contains(detail), "{time}: {told:?}");
        assert_eq!(log_size(world), size, "{time} an entry was written all the same");
    }
}

/// As `stops`, where the witness is away at the start: the process ends by itself once it is back.
fn stops_later(world: &mut World, lite: &mut Lite, detail: &str) {
    lite.stop();
    world.start(PROVIDER);
    lite.again();
    let told = world.ended(PROVIDER);
    assert!(told.code == "own_log_forked" && told.detail.contains(detail), "{told:?}");
    let told = world.start_with(PROVIDER, &[]).unwrap_err();
    assert!(told.code == "own_log_forked" && told.detail.contains(detail), "{told:?}");
}

fn log_size(world: &World) -> u64 {
    let files = std::fs::read_dir(world.dir(PROVIDER).join("log/segment")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
