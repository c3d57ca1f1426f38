//! Limits by partner: reads at a time, bytes a second, bytes a day; in force at once, and still
//! after a crash.

use crate::world::{CONSUMER, PROVIDER, World, perron, wait_until};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

const END: &str = "2100-01-01T00:00:00Z";
const ALL: &str = "SELECT * FROM data";

fn limit(world: &World, options: &[&str]) {
    world.of(PROVIDER, &["partner", "limit"], &[&[CONSUMER], options].concat()).unwrap();
}

fn shown(world: &World) -> Json {
    match world.of(PROVIDER, &["partner", "list"], &[]).unwrap() {
        Json::Array(all) => all.into_iter().find(|p| p["partner"] == CONSUMER).unwrap_or_default(),
        one => one,
    }
}

fn number(value: &Json) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// Status, reason and bytes of the newest outcome.
fn outcome(world: &World) -> (String, String, u64) {
    let entries = world.entries(PROVIDER);
    let facts = &entries.iter().rev().find(|e| e["kind"] == "outcome").unwrap()["facts"];
    let text = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), number(&facts["bytes"]))
}

#[test]
fn a_partner_gets_what_its_limits_say() {
    let mut world = World::new();
    let agreement = world.agree(END);
    for (arguments, code) in [
        (vec!["nobody", "--concurrency", "2"], "participant_unknown"),
        (vec![PROVIDER, "--concurrency", "2"], "participant_unknown"),
        (vec![CONSUMER, "--bandwidth", "1K"], "malformed"),
        (vec![CONSUMER, "--concurrency", "0"], "malformed"),
        (vec![CONSUMER, "--volume", "0"], "malformed"),
    ] {
        assert_eq!(world.of(PROVIDER, &["partner", "limit"], &arguments).unwrap_err().code, code, "{arguments:?}");
    }

    // A line of 32 KiB a second: the answer takes as long as its bytes take, but for the first message.
    let begun = Instant::now();
    world.query(&agreement, ALL).unwrap();
    let (free, (_, _, bytes)) = (begun.elapsed(), outcome(&world));
    limit(&world, &["--bandwidth", "32K"]);
    let begun = Instant::now();
    world.query(&agreement, ALL).unwrap();
    let (paced, (status, _, _)) = (begun.elapsed(), outcome(&world));
    let least = Duration::from_secs_f64((bytes - 16 * 1024) as f64 / 32_768.0);
    eprintln!("{bytes} bytes: {free:?} without a limit, {paced:?} at 32 KiB/s, of which {least:?} on the line");
    assert_eq!(status, "Complete");
    assert!(paced >= least, "{paced:?}");

    // One read at a time: while it runs another is refused, and nothing of it is charged.
    limit(&world, &["--bandwidth", "16K", "--concurrency", "1"]);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| world.query(&agreement, ALL));
        wait_until("the read runs", || shown(&world)["running"] == 1 && outcome(&world).0 == "Complete");
        wait_until("another is refused", || {
            world.query(&agreement, "SELECT 1").is_err_and(|refused| {
                assert_eq!(refused.code, "partner_busy", "{refused:?}");
                true
            })
        });
        // A change holds for what runs.
        limit(&world, &["--concurrency", "1"]);
        slow.join().unwrap().unwrap();
    });

    // The day's volume cuts a stream in its middle, and refuses what comes then.
    let sent = number(&shown(&world)["sent_today_bytes"]);
    assert!(sent >= 3 * bytes, "{sent}");
    let most = (sent + bytes / 2).to_string();
    limit(&world, &["--bandwidth", "128K", "--volume", &most]);
    let refused = world.query(&agreement, ALL).unwrap_err();
    assert_eq!(refused.code, "partner_volume_reached", "{refused:?}");
    let (status, reason, left) = outcome(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("CutByError", "partner_volume_reached"));
    assert!(left > 0 && left <= bytes / 2, "{left} of {bytes}");
    let sent = number(&shown(&world)["sent_today_bytes"]);
    limit(&world, &["--volume", &sent.to_string()]);
    assert_eq!(world.query(&agreement, "SELECT 1").unwrap_err().code, "partner_volume_reached");

    // Limits and what was sent today are there after a crash.
    let before = shown(&world);
    world.kill(PROVIDER);
    world.start(PROVIDER);
    assert_eq!(shown(&world), before);
    wait_until("the consumer is told again", || {
        world.query(&agreement, "SELECT 1").is_err_and(|refused| refused.code == "partner_volume_reached")
    });
    limit(&world, &[]);
    world.query(&agreement, ALL).unwrap();

    let acts = world.entries(PROVIDER);
    assert_eq!(acts.iter().filter(|e| e["facts"]["action"] == "partner.limit").count(), 6);
    world.stop(PROVIDER);
    let report = perron(&["audit", "verify", &world.path(PROVIDER)]);
    assert!(report.is_ok(), "{report:?}");
}
