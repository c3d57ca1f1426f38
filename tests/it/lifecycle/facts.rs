//! Facts that an organisation declares; duties that a policy carries.

use super::*;

fn set(world: &World, name: &str, value: &str) -> Result<Json, crate::world::Refused> {
    world.of(PROVIDER, &["fact", "set"], &[name, value])
}

fn listed(world: &World) -> Vec<(String, Json)> {
    let all = world.of(PROVIDER, &["fact", "list"], &[]).unwrap();
    let one = |f: &Json| (f["fact"].as_str().unwrap().to_owned(), f["value"].clone());
    all.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_fact_is_an_entry_and_survives_a_crash_and_a_store_made_anew() {
    let mut world = World::new();
    set(&world, "crisis-open", "true").unwrap();
    set(&world, "niveau", "orange").unwrap();
    set(&world, "crisis-open", "false").unwrap();
    let expected = [("crisis-open".to_owned(), Json::Bool(false)), ("niveau".to_owned(), "orange".into())];
    assert_eq!(listed(&world), expected);
    let actions = world.entries(PROVIDER).into_iter().filter(|e| e["facts"]["action"] == "fact.set").count();
    assert_eq!(actions, 3);
    world.kill(PROVIDER);
    world.start(PROVIDER);
    assert_eq!(listed(&world), expected);
    world.stop(PROVIDER);
    world.of(PROVIDER, &["store", "rebuild"], &[]).unwrap();
    world.start(PROVIDER);
    assert_eq!(listed(&world), expected);
    for value in ["", &"x".repeat(201)] {
        assert_eq!(set(&world, "niveau", value).unwrap_err().code, "malformed");
    }
    assert_eq!(listed(&world), expected);
    verify_all(world);
}

#[test]
fn a_duty_that_the_policy_does_not_have_can_not_be_fulfilled() {
    let world = World::new();
    let agreement = world.agree(END);
    let listed = world.of(CONSUMER, &["agreement", "duties"], &[&agreement]).unwrap();
    assert_eq!(listed, Json::Array(Vec::new()));
    for duty in ["permission[0].duty[0]", "obligation[7]", ""] {
        let refused =
            world.of(CONSUMER, &["agreement", "fulfil"], &[&agreement, duty, "--evidence", "fait"]).unwrap_err();
        assert_eq!(refused.code, "not_found", "{refused:?}");
    }
    assert_eq!(count(&world, CONSUMER, "notice"), 0);
}
