//! Collections of parties and of sets that a policy is about.

use super::*;
use crate::world::policy_for;
use serde_json::json;

const CRISIS: &str = "urn:example:crisis";

/// A policy for all, of which one collection is excepted.
fn except(member: &str) -> String {
    let mut policy: Json = serde_json::from_str(&policy_for(END, 1_000)).unwrap();
    let mut prohibition = json!({"action": "use"});
    let kind = if member == "assignee" { "PartyCollection" } else { "AssetCollection" };
    prohibition[member] = json!({"@type": kind, "source": CRISIS});
    policy["prohibition"] = json!([prohibition]);
    policy.to_string()
}

fn declare(world: &World, kind: &str, members: &[&str]) -> Result<Json, crate::world::Refused> {
    world.of(PROVIDER, &["collection", kind], &[&[CRISIS], members].concat())
}

#[test]
fn a_prohibition_about_a_collection_holds_for_its_members_and_for_all_until_it_is_declared() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    world.publish("autres").unwrap();
    let [by_party, by_set] = [("assignee", "exclus"), ("target", "retires")]
        .map(|(member, offer)| world.agree_on("releves", offer, &except(member)));
    world.allow(&[&by_party, &by_set]);
    let refused = |agreement: &str| world.query(agreement, FEW).unwrap_err().code;
    for agreement in [&by_party, &by_set] {
        assert_eq!(refused(agreement), "prohibited", "who belongs to it isn't known");
    }
    // As a collection of parties it has no sets, and the other way round.
    declare(&world, "parties", &[]).unwrap();
    for agreement in [&by_party, &by_set] {
        world.query(agreement, FEW).unwrap();
    }
    declare(&world, "parties", &[CONSUMER]).unwrap();
    assert_eq!(refused(&by_party), "prohibited");
    world.query(&by_set, FEW).unwrap();
    declare(&world, "sets", &["releves"]).unwrap();
    assert_eq!(refused(&by_set), "prohibited");
    world.query(&by_party, FEW).unwrap();
    // A name that nobody has is refused, and changes nothing.
    assert_eq!(declare(&world, "parties", &["personne"]).unwrap_err().code, "participant_unknown");
    assert_eq!(declare(&world, "sets", &["autre"]).unwrap_err().code, "not_found");
    let listed = |world: &World| world.of(PROVIDER, &["collection", "list"], &[]).unwrap();
    let all = listed(&world);
    assert_eq!((all[0]["collection"].as_str(), &all[0]["sets"]), (Some(CRISIS), &json!(["releves"])), "{all}");
    world.kill(PROVIDER);
    world.start(PROVIDER);
    assert_eq!(listed(&world), all);
    world.stop(PROVIDER);
    world.of(PROVIDER, &["store", "rebuild"], &[]).unwrap();
    world.start(PROVIDER);
    assert_eq!(listed(&world), all);
    assert_eq!(world.query(&by_set, FEW).unwrap_err().code, "prohibited");
    verify_all(world);
}

#[test]
fn a_running_read_ends_when_its_reader_joins_a_prohibited_collection() {
    let world = World::new();
    world.publish("releves").unwrap();
    declare(&world, "parties", &[]).unwrap();
    let agreement = world.agree_on("releves", "exclus", &except("assignee"));
    world.allow(&[&agreement]);
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let mut stream = runtime.block_on(begin(channel::local_channel(&world, CONSUMER), &agreement, MANY));
    for _ in 0..3 {
        runtime.block_on(stream.message()).unwrap().unwrap();
    }
    declare(&world, "parties", &[CONSUMER]).unwrap();
    let (messages, ended) = runtime.block_on(read_on(stream));
    assert_eq!(code_of(&ended.unwrap()), "prohibited");
    let all = (ROWS * ROWS).div_ceil(8_192);
    assert!(messages < all / 2, "{messages} of {all} messages came after all");
    wait_until("the outcome is logged", || count(&world, PROVIDER, "outcome") > 0);
    verify_all(world);
}
