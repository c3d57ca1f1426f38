//! The log as tables: SQL of an auditor through the gate, and who read what about us, in words.

use crate::source::{read, root};
use crate::world::{CONSUMER, PROVIDER, PURPOSE, ROWS, Refused, World, output, perron, policy};
use perron::export::columns::{self, Column};
use perron::messages::{Lang, text};
use serde_json::{Value as Json, json};
use std::os::unix::fs::MetadataExt;

/// A user of the provider who shows a token: the file that holds it.
fn user(world: &World, name: &str, role: &str) -> String {
    let added = world.of(PROVIDER, &["user", "add"], &[name, "--role", role, "--token"]).unwrap();
    world.write(&format!("{name}.token"), added["token"].as_str().unwrap())
}

fn rows(answer: Result<Json, Refused>) -> Vec<Json> {
    match answer.unwrap() {
        Json::Array(rows) => rows,
        Json::Null => Vec::new(),
        one => vec![one],
    }
}

fn sql(world: &World, token: &str, statement: &str) -> Result<Json, Refused> {
    world.of(PROVIDER, &["audit", "sql"], &["--token", token, statement])
}

fn of_kind(world: &World, kind: &str) -> Vec<Json> {
    rows(world.of(PROVIDER, &["audit", "list"], &["--kind", kind]))
}

/// Two reads and two refusals of them, at a provider with an auditor.
fn played() -> (World, String, String) {
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT n FROM data").unwrap();
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    assert!(world.query(&agreement, "SELECT nothing_of_this_name FROM data").is_err());
    assert!(world.query(&agreement, "SELECT nothing_else FROM data").is_err());
    let auditor = user(&world, "alice", "auditor");
    (world, agreement, auditor)
}

#[test]
fn an_auditor_asks_the_log_by_sql() {
    let (mut world, agreement, auditor) = played();
    let ask = |statement: &str| rows(sql(&world, &auditor, statement));
    let listed = rows(world.of(PROVIDER, &["audit", "list"], &[]));
    let last = listed.last().unwrap()["index"].as_u64().unwrap();
    let counted =
        ask(&format!("SELECT kind, count(*) AS n FROM log WHERE index <= {last} GROUP BY kind ORDER BY kind"));
    for row in &counted {
        let of_kind = listed.iter().filter(|entry| entry["kind"] == row["kind"]).count();
        assert_eq!(row["n"].as_u64(), Some(of_kind as u64), "{row}");
    }
    assert_eq!(counted.iter().filter_map(|row| row["n"].as_u64()).sum::<u64>(), listed.len() as u64);

    let reads =
        ask("SELECT organisation, purpose, agreement, status, rows, ended > index AS after FROM reads ORDER BY index");
    assert_eq!(reads.len(), 2, "{reads:#?}");
    for (read, rows) in reads.iter().zip([ROWS, 1]) {
        assert_eq!(
            read,
            &json!({"organisation": CONSUMER, "purpose": PURPOSE, "agreement": agreement, "status": "complete", "rows": rows, "after": true})
        );
    }
    let refused =
        ask("SELECT reason, clause, sum(count) AS n FROM refusals WHERE kind = 'plan-refusal' GROUP BY reason, clause");
    assert_eq!(refused, [json!({"reason": "column_not_granted", "clause": "view.columns", "n": 2})]);
    let by_user = ask("SELECT user, count(*) AS n FROM log WHERE kind = 'permit' GROUP BY user");
    assert_eq!((by_user.len(), by_user[0]["n"].as_u64()), (1, Some(2)));
    // A time narrows what is read, and the answer is the same.
    let since = listed[5]["time"].as_str().unwrap();
    let from_then = ask(&format!("SELECT count(*) AS n FROM log WHERE time >= '{since}' AND index <= {last}"));
    let expected = listed.iter().filter(|entry| entry["time"].as_str().unwrap() >= since).count();
    assert_eq!(from_then[0]["n"].as_u64(), Some(expected as u64));

    // A read is told whole wherever a look at reads is narrowed to, and only one that began there.
    let permits = of_kind(&world, "permit");
    let second = permits[1]["index"].as_u64().unwrap();
    let later = ask(&format!("SELECT count(*) AS n, max(rows) AS rows FROM reads WHERE index >= {second}"));
    assert_eq!(later, [json!({"n": 1, "rows": 1})]);
    let first = ask(&format!("SELECT status, rows FROM reads WHERE index < {second}"));
    assert_eq!(first, [json!({"status": "complete", "rows": ROWS})]);

    // Each was decided by the policy, and is an entry before the answer, with its end.
    let looks = of_kind(&world, "log-query");
    assert_eq!(looks.len(), 7, "{looks:#?}");
    let pseudonym = looks[0]["facts"]["user"].as_str().unwrap();
    for look in &looks {
        assert_eq!((&look["facts"]["permitted"], look["facts"]["user"].as_str()), (&json!(true), Some(pseudonym)));
        assert!(look["facts"]["entries"].as_u64() <= look["index"].as_u64(), "{look}");
        assert!(look["chain"].is_null());
    }
    let ends = rows(world.of(PROVIDER, &["audit", "list"], &["--kind", "outcome"]));
    let of_looks: Vec<&Json> = ends.iter().filter(|end| end["chain"].is_null()).collect();
    assert_eq!(of_looks.len(), looks.len());
    for (look, end) in looks.iter().zip(&of_looks) {
        assert_eq!((&end["facts"]["decision"], &end["facts"]["status"]), (&look["leaf"], &json!("Complete")));
    }
    assert_eq!(of_looks[1]["facts"]["rows"], 2);
    let resolved = world.of(PROVIDER, &["user", "resolve"], &[pseudonym, "--reason", "audit"]).unwrap();
    assert_eq!(resolved["name"], "alice");
    // A statement sees what was there when it was permitted: not itself.
    let own = ask("SELECT max(index) AS last FROM log");
    let look = of_kind(&world, "log-query").pop().unwrap();
    assert!(own[0]["last"].as_u64() < look["index"].as_u64(), "{own:?} {look}");

    world.stop(PROVIDER);
    world.verify(PROVIDER);
    let replayed = perron(&["audit", "replay", &world.path(PROVIDER)]).unwrap();
    assert_eq!(replayed["same"], replayed["decisions"]);
    assert_eq!(replayed["decisions"].as_u64(), Some(2 + 8));
}

#[test]
fn who_is_no_auditor_is_refused_the_log_by_an_entry() {
    let (mut world, _, auditor) = played();
    let before = of_kind(&world, "log-query").len();
    let roles = ["analyst", "data-officer", "approver", "operator", "buyer"];
    for role in roles {
        let token = user(&world, role, role);
        let refused = sql(&world, &token, "SELECT count(*) FROM log").unwrap_err();
        assert_eq!(refused.code, "role_missing", "{role}: {refused:?}");
    }
    let looks = of_kind(&world, "log-query");
    assert_eq!(looks.len(), before + roles.len());
    for look in &looks {
        assert_eq!(look["facts"]["permitted"], false);
        assert_eq!(
            (&look["facts"]["reasons"], &look["facts"]["clauses"]),
            (&json!(["role_missing"]), &json!(["roles"]))
        );
    }
    let counted = rows(sql(&world, &auditor, "SELECT sum(count) AS n FROM refusals WHERE reason = 'role_missing'"));
    assert_eq!(counted[0]["n"].as_u64(), Some(roles.len() as u64));
    // The directory's owner is no auditor either, unless entered as one.
    let owner = world.of(PROVIDER, &["audit", "sql"], &["SELECT count(*) FROM log"]).unwrap_err();
    assert_eq!(owner.code, "unauthenticated");
    let uid = std::fs::metadata(world.dir(PROVIDER)).unwrap().uid().to_string();
    world.of(PROVIDER, &["user", "add"], &["odile", "--role", "auditor", "--uid", &uid]).unwrap();
    assert!(world.of(PROVIDER, &["audit", "sql"], &["SELECT count(*) FROM log"]).is_ok());
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

#[test]
fn a_statement_reaches_nothing_but_the_log() {
    let (mut world, _, auditor) = played();
    let logged = [
        ("SELECT * FROM releves", "table_not_granted"),
        ("SELECT * FROM data", "table_not_granted"),
        ("SELECT * FROM '../users.json'", "table_not_granted"),
        ("SELECT * FROM read_parquet('sets/x')", "function_not_allowed"),
        ("SELECT version() FROM log", "function_not_allowed"),
        ("SELECT password FROM log", "column_not_granted"),
        ("COPY log TO '/tmp/out.csv'", "statement_not_allowed"),
        ("DROP TABLE log", "statement_not_allowed"),
        ("UPDATE log SET kind = 'stop'", "statement_not_allowed"),
        ("CREATE VIEW v AS SELECT * FROM log", "statement_not_allowed"),
    ];
    for (statement, code) in logged {
        let refused = sql(&world, &auditor, statement).unwrap_err();
        assert_eq!(refused.code, code, "{statement}: {refused:?}");
    }
    let looks = of_kind(&world, "log-query");
    let told: Vec<(&Json, &Json)> =
        looks.iter().map(|l| (&l["facts"]["reasons"][0], &l["facts"]["clauses"][0])).collect();
    let expected: Vec<(Json, Json)> = logged.iter().map(|(_, code)| (json!(code), json!("statement"))).collect();
    assert_eq!(told, expected.iter().map(|(code, clause)| (code, clause)).collect::<Vec<_>>());
    // What is only mistyped isn't worth an entry; nor does a failing one stay without its end.
    assert_eq!(sql(&world, &auditor, "SELEKT 1").unwrap_err().code, "statement_invalid");
    assert_eq!(of_kind(&world, "log-query").len(), logged.len());
    let failed = sql(&world, &auditor, "SELECT 1 / (index - index) FROM log").unwrap_err();
    assert_eq!(failed.code, "query_failed", "{failed:?}");
    let ends = rows(world.of(PROVIDER, &["audit", "list"], &["--kind", "outcome"]));
    let end = &ends.last().unwrap()["facts"];
    assert_eq!((&end["status"], &end["reason"]), (&json!("NothingLeft"), &json!("query_failed")));
    assert!(!std::path::Path::new("/tmp/out.csv").exists());
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

/// The policy of the tests, with rows of one place alone.
fn policy_of_a_place(place: &str) -> String {
    let mut policy: Json = serde_json::from_str(&policy("2099-01-01T00:00:00Z")).unwrap();
    let filter =
        json!({"leftOperand": "perron:column/nom", "operator": "isAnyOf", "rightOperand": [place, "compteur 5"]});
    policy["permission"][0]["constraint"].as_array_mut().unwrap().push(filter);
    policy.to_string()
}

#[test]
fn who_read_what_about_us_is_told_in_words() {
    let (mut world, agreement, _) = played();
    let of_place = world.agree_on("releves", "quartier", &policy_of_a_place("63049"));
    world.allow(&[&agreement, &of_place]);
    world.query(&of_place, "SELECT valeur FROM data").unwrap();

    let who = |question: &[&str]| world.of(PROVIDER, &["audit", "who"], question).unwrap();
    let told = who(&[]);
    let listed = rows(world.of(PROVIDER, &["audit", "list"], &["--agreement", &agreement]));
    let of = |kind: &str| {
        listed.iter().filter(|e| e["kind"] == kind).filter_map(|e| e["index"].as_u64()).collect::<Vec<_>>()
    };
    let groups = told["told"].as_array().unwrap();
    assert_eq!(groups.len(), 3, "{told:#}");
    let found = |agreement: &str, refused: bool| {
        groups.iter().find(|g| g["agreement"] == agreement && (g["refused"] != 0) == refused).unwrap()
    };
    let (read, planned) = (found(&agreement, false), found(&agreement, true));
    assert_eq!((read["organisation"].as_str(), read["purpose"].as_str()), (Some(CONSUMER), Some(PURPOSE)));
    assert_eq!((read["reads"].as_u64(), read["rows"].as_u64()), (Some(2), Some(ROWS as u64 + 1)));
    assert_eq!((&read["name"], &read["dataset"], &read["unfinished"]), (&json!("B"), &json!("releves"), &json!(0)));
    assert_eq!(read["legal_basis"], "https://w3id.org/dpv#PublicInterest");
    assert_eq!(read["permits"], json!(of("permit")));
    assert_eq!((planned["refused"].as_u64(), &planned["refusals"]), (Some(2), &json!(of("plan-refusal"))));
    assert_eq!(planned["reasons"], json!({"column_not_granted": 2}));
    assert_eq!(found(&of_place, false)["rows"], 1);

    let permits =
        |question: &[&str]| rows(world.of(PROVIDER, &["audit", "list"], &[&["--kind", "permit"], question].concat()));
    let questions: [(&[&str], u64); 9] = [
        (&["--column", "nom"], 3),
        (&["--column", "compteur"], 0),
        (&["--place", "63049"], 1),
        (&["--place", "63049", "--column", "valeur"], 1),
        (&["--place", "4000"], 0),
        (&["--dataset", "releves"], 3),
        (&["--purpose", "https://w3id.org/dpv#Marketing"], 0),
        (&["--until", "2020-01-01T00:00:00Z"], 0),
        (&["--since", "2020-01-01T00:00:00Z", "--organisation", CONSUMER], 3),
    ];
    for (question, reads) in questions {
        let told = who(question);
        let sum: u64 = told["told"].as_array().unwrap().iter().filter_map(|t| t["reads"].as_u64()).sum();
        assert_eq!(sum, reads, "{question:?}: {told:#}");
        assert_eq!(permits(question).len() as u64, reads, "{question:?}");
    }

    for (lang, words) in [("en", "permitted reads: 2"), ("fr", "lectures permises : 2")] {
        let out = output(&["audit", "who", "--dir", &world.path(PROVIDER), "--lang", lang], &[]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains(words) && text.contains(&agreement) && text.contains("column_not_granted × 2"), "{text}");
    }
    // That it was asked is in the log, and what.
    let acts = rows(world.of(PROVIDER, &["audit", "list"], &["--kind", "administration"]));
    let asked: Vec<Option<u64>> =
        acts.iter().filter(|e| e["facts"]["action"] == "audit.who").map(|e| e["index"].as_u64()).collect();
    assert_eq!(asked.len(), 1 + questions.len() + 2);
    assert_eq!(asked[0], told["entry"].as_u64());
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

fn of_table<T>(table: &str, lang: Lang, columns: &[Column<T>]) -> Vec<String> {
    let row = |column: &Column<T>| {
        let own = format!("column.{table}.{}", column.name);
        let said = match text(lang, &own, &[]) {
            said if said == own => text(lang, &format!("column.log.{}", column.name), &[]),
            said => said,
        };
        assert!(!said.starts_with("column."), "{said}");
        format!("| `{table}` | `{}` | {} | {said} |", column.name, column.kind())
    };
    columns.iter().map(row).collect()
}

/// `PERRON_WRITE=1 cargo test -p perron --test it auditsql` writes the tables anew.
#[test]
fn the_reference_shows_the_tables_of_the_log() {
    for (page, lang) in [("docs/reference/log-tables.md", Lang::En), ("docs/reference/log-tables.fr.md", Lang::Fr)] {
        let expected = [
            of_table("log", lang, &columns::log()),
            of_table("reads", lang, &columns::reads()),
            of_table("refusals", lang, &columns::refusals()),
        ]
        .concat();
        let shown = read(page);
        let is_row = |line: &&str| line.starts_with("| `");
        if std::env::var("PERRON_WRITE").is_ok() {
            let kept = shown.lines().filter(|line| !is_row(line)).map(str::to_owned);
            std::fs::write(root().join(page), kept.chain(expected).collect::<Vec<_>>().join("\n") + "\n").unwrap();
            continue;
        }
        let rows: Vec<&str> = shown.lines().filter(is_row).collect();
        assert_eq!(rows, expected, "{page}");
    }
}
