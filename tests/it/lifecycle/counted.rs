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

#[test]
fn no_more_leaves_than_the_volume_and_what_a_crash_hides_is_charged() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    let least = 200_000;
    let agreement = world.agree_on("releves", "volume", &bounded("perron:volume", least));
    let amended = bounded("perron:volume", 2 * least);
    world.allow(&[&agreement]);
    world.query(&agreement, FEW).unwrap();
    let little = volume(&world, &agreement);
    assert!((1..5_000).contains(&little), "{little}");
    // One read that asks for more than there is gets what there is, and no more.
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let begun = |world: &World| runtime.block_on(begin(channel::local_channel(world, CONSUMER), &agreement, MANY));
    let (_, ended) = runtime.block_on(read_on(begun(&world)));
    assert_eq!(code_of(&ended.unwrap()), "volume_exhausted");
    wait_until("the outcome is logged", || count(&world, PROVIDER, "outcome") == 2);
    let outcome = last(&world, PROVIDER, "outcome");
    let bytes = outcome["bytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes <= least - little, "{outcome}");
    assert_eq!(volume(&world, &agreement), little + bytes);
    assert_eq!(last(&world, PROVIDER, "permit")["reserved"], least - little);
    // A read that a crash cuts is charged with all that it had reserved.
    let mut running = begun(&world);
    runtime.block_on(running.message()).unwrap().unwrap();
    world.kill(PROVIDER);
    world.start(PROVIDER);
    drop(running);
    assert_eq!(volume(&world, &agreement), least);
    assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "volume_exhausted");
    // What was charged counts on under an amendment.
    let policy = world.write("plus.json", amended);
    let asked = world.of(PROVIDER, &["agreement", "amend"], &[&agreement, "--policy", &policy]).unwrap();
    let there = amending::waiting(&world, CONSUMER);
    world.of(CONSUMER, &["negotiation", "approve"], &[&there]).unwrap();
    let done = amending::ended(&world, PROVIDER, asked["negotiation"].as_str().unwrap());
    let amended = done["agreement"].as_str().unwrap();
    wait_until("the consumer knows", || standing(&world, CONSUMER, &agreement) == "amended");
    assert_eq!(volume(&world, amended), least);
    world.query(amended, FEW).unwrap();
    assert_eq!(volume(&world, amended), least + little);
    verify_all(world);
}
