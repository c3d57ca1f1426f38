//! Volume and rate: what is counted of an agreement beside its uses.

use super::*;
use crate::world::policy_for;
use serde_json::json;

/// A policy with one more bound.
fn bounded(operand: &str, bound: u64) -> String {
    let mut policy: Json = serde_json::from_str(&policy_for(END, 1_000)).unwrap();
    let bound = json!({"@type": "xsd:integer", "@value": bound.to_string()});
    let constraint = json!({"leftOperand": operand, "operator": "lteq", "rightOperand": bound});
    policy["permission"][0]["constraint"].as_array_mut().unwrap().push(constraint);
    policy.to_string()
}

fn volume(world: &World, agreement: &str) -> u64 {
    let all = world.of(PROVIDER, &["agreement", "list"], &[]).unwrap();
    let found = all.as_array().unwrap().iter().find(|a| a["agreement"] == agreement).unwrap().clone();
    found["volume"].as_u64().unwrap_or_else(|| panic!("{found}"))
}

#[test]
fn a_rate_counts_the_uses_of_the_last_hour_also_after_a_crash() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    let agreement = world.agree_on("releves", "trois", &bounded("perron:rate", 3));
    world.allow(&[&agreement]);
    for _ in 0..2 {
        world.query(&agreement, FEW).unwrap();
    }
    world.kill(PROVIDER);
    world.start(PROVIDER);
    world.query(&agreement, FEW).unwrap();
    for _ in 0..2 {
        assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "rate_exceeded");
    }
    verify_all(world);
}

const MIB: u64 = 1024 * 1024;

#[test]
fn no_more_leaves_than_the_volume() {
    let world = World::new();
    world.publish("releves").unwrap();
    let most = 2 * MIB;
    let agreement = world.agree_on("releves", "volume", &bounded("perron:volume", most));
    world.allow(&[&agreement]);
    world.query(&agreement, FEW).unwrap();
    let little = volume(&world, &agreement);
    assert!((1..5_000).contains(&little), "{little}");
    // A read that asks for more than there is gets what there is, and no more.
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let stream = runtime.block_on(begin(channel::local_channel(&world, CONSUMER), &agreement, MANY));
    let (_, ended) = runtime.block_on(read_on(stream));
    assert_eq!(code_of(&ended.unwrap()), "volume_exhausted");
    wait_until("the outcome is logged", || count(&world, PROVIDER, "outcome") == 2);
    let outcome = last(&world, PROVIDER, "outcome");
    let bytes = outcome["bytes"].as_u64().unwrap();
    assert!(outcome["rows"].as_u64().unwrap() > 0 && bytes <= most - little, "{outcome}");
    assert_eq!(outcome["reason"], "volume_exhausted");
    assert_eq!(volume(&world, &agreement), little + bytes);
    assert_eq!(last(&world, PROVIDER, "permit")["reserved"], most - little);
    verify_all(world);
}

#[test]
fn what_a_crash_hides_of_a_volume_is_charged_and_counts_on_under_an_amendment() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    // Far more than what waits between the processes, so that the read still runs.
    let most = 60 * MIB;
    let agreement = world.agree_on("releves", "volume", &bounded("perron:volume", most));
    world.allow(&[&agreement]);
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let mut running = runtime.block_on(begin(channel::local_channel(&world, CONSUMER), &agreement, MANY));
    runtime.block_on(running.message()).unwrap().unwrap();
    assert_eq!(volume(&world, &agreement), most, "a running read has reserved it");
    world.kill(PROVIDER);
    world.start(PROVIDER);
    drop(running);
    assert_eq!(last(&world, PROVIDER, "outcome")["status"], "UnknownAfterCrash");
    assert_eq!(volume(&world, &agreement), most);
    assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "volume_exhausted");
    let policy = world.write("plus.json", bounded("perron:volume", 2 * most));
    let asked = world.of(PROVIDER, &["agreement", "amend"], &[&agreement, "--policy", &policy]).unwrap();
    let there = amending::waiting(&world, CONSUMER);
    world.of(CONSUMER, &["negotiation", "approve"], &[&there]).unwrap();
    let done = amending::ended(&world, PROVIDER, asked["negotiation"].as_str().unwrap());
    let amended = done["agreement"].as_str().unwrap();
    wait_until("the consumer knows", || standing(&world, CONSUMER, &agreement) == "amended");
    assert_eq!(volume(&world, amended), most);
    world.query(amended, FEW).unwrap();
    let little = volume(&world, amended) - most;
    assert!((1..5_000).contains(&little), "{little}");
    verify_all(world);
}
