//! Whoever goes away takes their query with them, also one that gave nothing yet.

use crate::world::{CONSUMER, PROVIDER, PURPOSE, World, wait_until};
use std::process::{Command, Stdio};

#[test]
fn a_query_ends_with_who_asked_while_it_gives_nothing() {
    let world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    // Pairs for long, within a statement's memory, and no row of them.
    let many = vec!["SELECT n FROM releves"; 15].join(" UNION ALL ");
    let long = format!("SELECT count(*) FROM ({many}) x, ({many}) y WHERE x.n + y.n < 0");
    let mut asking = Command::new(env!("CARGO_BIN_EXE_perron"))
        .args(["query", "--dir", &world.path(CONSUMER), "--agreement", &agreement, "--purpose", PURPOSE, &long])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let of_kind = |kind: &str| world.entries(PROVIDER).into_iter().find(|e| e["kind"] == kind);
    wait_until("the query runs or was refused", || of_kind("permit").is_some() || asking.try_wait().unwrap().is_some());
    if asking.try_wait().unwrap().is_some() {
        panic!("it ended by itself: {:?}", asking.wait_with_output());
    }
    assert!(of_kind("outcome").is_none());
    asking.kill().unwrap();
    asking.wait().unwrap();
    wait_until("its end is in the log", || of_kind("outcome").is_some());
    let ended = of_kind("outcome").unwrap();
    assert_eq!(ended["facts"]["status"], "NothingLeft", "{ended}");
    // The other side knows it too, and nothing is left open.
    wait_until("the consumer has its end", || world.entries(CONSUMER).iter().any(|e| e["kind"] == "received"));
    world.query(&agreement, "SELECT count(*) FROM releves").unwrap();
}
