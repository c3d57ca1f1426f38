//! Retention by processing activity and pruning by a signed rule, through the processes, with a clock
//! that goes forth.

use crate::bad_input::shim;
use crate::world::{CONSUMER, PROVIDER, ROWS, World, perron};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const COUNT: &str = "SELECT count(*) AS n FROM releves";
const DAY_S: i64 = 86_400;
const READS: usize = 4;

/// A world with old reads, whose clock is set forth by so many days.
struct Old {
    world: World,
    agreement: String,
    shim: String,
    clock: PathBuf,
}

impl Old {
    fn new() -> Old {
        let mut world = World::new();
        for name in [PROVIDER, CONSUMER] {
            world.stop(name);
            let config = world.dir(name).join("perron.toml");
            let mut file = std::fs::File::options().append(true).open(config).unwrap();
            file.write_all(b"\n[activities]\nreleves = \"essais\"\n").unwrap();
            world.start(name);
        }
        let agreement = world.agree("2035-01-01T00:00:00Z");
        for _ in 0..READS {
            assert_eq!(world.query(&agreement, COUNT).unwrap()["n"], ROWS);
        }
        let (shim, clock) = (shim(&world, "clock", include_str!("bad_input/clock.c")), world.dir("clock.seconds"));
        let mut old = Old { world, agreement, shim, clock };
        [PROVIDER, CONSUMER].into_iter().for_each(|name| old.world.stop(name));
        old.set(200);
        [PROVIDER, CONSUMER].into_iter().for_each(|name| old.start(name));
        old
    }

    fn set(&self, days: i64) {
        std::fs::write(&self.clock, (days * DAY_S).to_string()).unwrap();
    }

    fn start(&mut self, name: &str) {
        let variables = [("LD_PRELOAD", self.shim.as_str()), ("PERRON_TEST_CLOCK", self.clock.to_str().unwrap())];
        self.world.start_with(name, &variables).unwrap();
    }

    fn code(&self, name: &str, verb: &[&str], args: &[&str]) -> String {
        self.world.of(name, verb, args).unwrap_err().code
    }

    fn agreed(&self, name: &str) -> Json {
        let agreements = match self.world.of(name, &["agreement", "list"], &[]).unwrap() {
            Json::Array(all) => all,
            one => vec![one],
        };
        agreements.into_iter().find(|a| a["agreement"] == *self.agreement).unwrap()
    }

    fn prunes(&self, name: &str, dry_run: bool) -> Json {
        self.world.of(name, &["audit", "prune"], if dry_run { &["--dry-run"] } else { &[] }).unwrap()
    }
}

fn segments(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(directory.join("log/segment")).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

fn count(entries: &[Json], kind: &str) -> usize {
    entries.iter().filter(|entry| entry["kind"] == kind).count()
}

#[test]
fn entries_about_old_reads_go_by_a_signed_rule_and_the_log_verifies() {
    let mut old = Old::new();
    let exported = old.world.path("before.jsonl");
    old.world.of(PROVIDER, &["audit", "export"], &["--format", "jsonl", "--out", &exported]).unwrap();
    let named = std::fs::read_to_string(&exported).unwrap();
    let named = named.lines().filter(|line| line.contains("\"processing_activity\":\"essais\""));
    assert!(named.count() >= 2 * READS, "decisions and outcomes name the activity");

    // No rule, and rules that are none.
    assert_eq!(old.code(PROVIDER, &["audit", "prune"], &[]), "not_found");
    assert_eq!(old.code(PROVIDER, &["retention", "set"], &["--default-days", "30"]), "malformed");
    assert_eq!(old.code(PROVIDER, &["retention", "set"], &[]), "malformed");
    for name in [PROVIDER, CONSUMER] {
        let set = old.world.of(name, &["retention", "set"], &["--default-days", "1000", "--activity", "essais=190"]);
        assert_eq!(set.unwrap()["rule"]["number"], 1);
        let shown = old.world.of(name, &["retention", "show"], &[]).unwrap();
        assert_eq!(
            (&shown["rule"]["activities"]["essais"], &shown["datasets"]["releves"]),
            (&190.into(), &"essais".into())
        );
        let (before, agreed) = (old.world.entries(name), old.agreed(name));
        let would = old.prunes(name, true);
        assert!(would["entries"].as_u64().unwrap() >= 2, "{would}");
        assert_eq!(would["groups"][0]["activity"], "essais");
        assert_eq!(count(&old.world.entries(name), "pruned"), 0, "nothing was changed");
        let done = old.prunes(name, false);
        assert_eq!((&done["entries"], &done["groups"]), (&would["entries"], &would["groups"]));
        let after = old.world.entries(name);
        let gone: Vec<&Json> = before.iter().filter(|b| !after.iter().any(|a| a["index"] == b["index"])).collect();
        assert_eq!(gone.len() as u64, would["entries"].as_u64().unwrap());
        let kinds = ["permit", "outcome", "intent", "received", "schema-grant"];
        assert!(gone.iter().all(|entry| kinds.contains(&entry["kind"].as_str().unwrap())), "{gone:?}");
        assert_eq!(count(&after, "pruned"), 1);
        assert_eq!(old.agreed(name), agreed, "counters are as they were");
        assert_eq!(old.prunes(name, false)["entries"], 0, "there is nothing more");
        // Who asks for what is gone is told so.
        let who = old.world.of(name, &["audit", "who"], &[]).unwrap();
        assert_eq!(who["pruned"], would["entries"], "an answer about reads says what it can't tell");
        let index = gone[0]["index"].to_string();
        assert_eq!(old.code(name, &["audit", "show"], &[&index]), "entry_pruned");
        assert_eq!(old.code(name, &["audit", "receipt"], &[&index]), "entry_pruned");
        assert_eq!(old.code(name, &["audit", "extract"], &[&old.agreement.clone()]), "entry_pruned");
        let other = if name == PROVIDER { CONSUMER } else { PROVIDER };
        let directory = old.world.path(name);
        let matched = std::process::Command::new(env!("CARGO_BIN_EXE_perron"))
            .args(["--json", "audit", "reconcile", "--with", other, "--dir", &directory])
            .output()
            .unwrap();
        let row: Json = serde_json::from_slice(&matched.stdout).unwrap();
        assert_eq!((&row["result"], &row["reason"]), (&"pruned".into(), &"entry_pruned".into()), "{row}");
        assert!(!matched.status.success());
        let folder = old.world.path(&format!("{name}.folder"));
        let asked = ["--agreement", &old.agreement.clone(), &folder];
        assert_eq!(old.code(name, &["audit", "folder"], &asked), "entry_pruned");
        // A copy of what is left verifies, or it would be none.
        let copied = old.world.of(name, &["backup"], &[&old.world.path(&format!("{name}.copy"))]).unwrap();
        assert!(copied["entries"].as_u64().unwrap() > after.last().unwrap()["index"].as_u64().unwrap(), "{copied}");
    }
    // A statement over the log sees what is left, an entry a row.
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(old.world.dir(PROVIDER)).unwrap()).to_string();
    old.world.of(PROVIDER, &["user", "add"], &["odile", "--role", "auditor", "--uid", &uid]).unwrap();
    let left = old.world.entries(PROVIDER);
    let until = left.last().unwrap()["index"].as_u64().unwrap();
    let counted = format!("SELECT count(*) AS n, max(index) AS last FROM log WHERE index <= {until}");
    let counted = old.world.of(PROVIDER, &["audit", "sql"], &[&counted]).unwrap();
    assert_eq!((&counted["n"], &counted["last"]), (&left.len().into(), &until.into()));
    // Opened again, with and without what is derived.
    for name in [PROVIDER, CONSUMER] {
        let agreed = old.agreed(name);
        for rebuild in [false, true] {
            old.world.stop(name);
            old.world.verify(name);
            if rebuild {
                old.world.of(name, &["store", "rebuild"], &[]).unwrap();
            }
            old.start(name);
            assert_eq!(old.agreed(name), agreed);
            assert_eq!(old.prunes(name, false)["entries"], 0);
        }
        old.world.stop(name);
        let report = perron(&["audit", "verify", &old.world.path(name)]).unwrap();
        assert_eq!(
            (report["pruned"][0]["rule"].as_u64(), report["outcome"].as_str()),
            (Some(1), Some("ok")),
            "{report}"
        );
    }
}

#[test]
fn a_start_does_what_a_crash_left_of_a_pruning() {
    let mut old = Old::new();
    let directory = old.world.dir(PROVIDER);
    old.world.of(PROVIDER, &["retention", "set"], &["--default-days", "190"]).unwrap();
    let before = segments(&directory);
    let done = old.prunes(PROVIDER, false);
    old.world.kill(PROVIDER);
    let pruned = segments(&directory);
    // The entry is durable, and the file that it names is as it was before.
    let (path, whole) = before.iter().next().unwrap();
    let rewritten = pruned[path].clone();
    let restored = unpruned(&rewritten, whole);
    assert!(restored.len() > rewritten.len());
    std::fs::write(path, &restored).unwrap();
    let found = perron(&["audit", "verify", &old.world.path(PROVIDER)]).unwrap_err();
    assert!(found.detail.contains("unfinished"), "{found:?}");
    old.start(PROVIDER);
    assert_eq!(segments(&directory)[path], rewritten);
    old.world.stop(PROVIDER);
    old.world.verify(PROVIDER);
    assert!(done["entries"].as_u64().unwrap() > 0);
}

/// The file as it was before it was pruned: whole records of `before`, then those of `after` behind.
fn unpruned(after: &[u8], before: &[u8]) -> Vec<u8> {
    use perron_log::segment::{FileHeader, RecordHead};
    let mut out = before.to_vec();
    let mut at = FileHeader::peek_length(after).unwrap();
    let mut end = FileHeader::peek_length(before).unwrap();
    let mut batch = None;
    while let Ok(head) = RecordHead::parse(&before[end..]) {
        (batch, end) = (Some(head.batch), end + head.record_bytes());
    }
    assert_eq!(end, before.len());
    while let Ok(head) = RecordHead::parse(&after[at..]) {
        if Some(head.batch) > batch {
            assert!(!head.is_pruned);
            out.extend_from_slice(&after[at..at + head.record_bytes()]);
        }
        at += head.record_bytes();
    }
    assert_eq!(at, after.len());
    out
}
