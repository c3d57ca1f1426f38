//! Counters are exact: a thousand requests at a time for a few allowed uses get exactly these, also
//! where the provider is killed in the middle.

use crate::world::{CONSUMER, PROVIDER, PURPOSE, World, policy_for, wait_within, wire};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use perron::api::flight::local::{AGREEMENT_HEADER, PURPOSE_HEADER};
use perron::query::arrow::array::RecordBatch;
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Uses that each agreement allows.
const USES: usize = 40;
/// Requests at a time.
const REQUESTS: usize = 1_000;
/// Longest back-off of one that found no place.
const PAUSE_MAX: Duration = Duration::from_millis(1_600);

/// One read; the code of its error.
async fn read(channel: Channel, agreement: Arc<str>) -> Result<(), String> {
    let told = |error: FlightError| match error {
        FlightError::Tonic(status) => status.get_details_error_info().map_or("transport".to_owned(), |i| i.reason),
        // A stream that broke: what had to be counted was counted.
        _ => "broken".to_owned(),
    };
    let mut flight = FlightSqlServiceClient::new(channel);
    flight.set_header(AGREEMENT_HEADER, agreement.to_string());
    flight.set_header(PURPOSE_HEADER, PURPOSE);
    let info = flight.execute("SELECT max(n) FROM data".to_owned(), None).await.map_err(told)?;
    let stream = flight.do_get(info.endpoint[0].ticket.clone().unwrap()).await.map_err(told)?;
    let rows: Vec<RecordBatch> = stream.try_collect().await.map_err(told)?;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    Ok(())
}

/// Asks until an answer or the end of the uses; what is only busy is asked again.
async fn ask(channel: Channel, agreement: Arc<str>, answered: Arc<AtomicUsize>) -> bool {
    let mut pause = Duration::from_millis(25);
    loop {
        match read(channel.clone(), agreement.clone()).await {
            Ok(()) => {
                answered.fetch_add(1, Ordering::AcqRel);
                return true;
            }
            Err(code) if code == "uses_exhausted" => return false,
            Err(code) => {
                let busy = [
                    "overloaded",
                    "deadline_exceeded",
                    "partner_busy",
                    "acknowledgement_missing",
                    "peer_unavailable",
                    "answer_incomplete",
                    "ticket_invalid",
                    "transport",
                    "broken",
                ];
                assert!(busy.contains(&code.as_str()), "{code}");
                tokio::time::sleep(pause).await;
                // A partner has a hundred places: a thousand that come again at once are in the way of each other.
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// All entries of a log, page by page; the looks at it are entries too.
fn entries(world: &World, name: &str) -> Vec<Json> {
    match world.of(name, &["audit", "list"], &["--count", "1000000"]).unwrap() {
        Json::Array(entries) => entries,
        one => vec![one],
    }
}

/// What the provider's log counts under an agreement: uses charged, and the newest total.
fn charged(entries: &[Json], agreement: &str) -> (usize, u64) {
    let of = |e: &&Json| e["chain"]["agreement"] == agreement;
    let permits = entries.iter().filter(of).filter(|e| e["kind"] == "permit").count();
    let outcomes: Vec<&Json> = entries.iter().filter(of).filter(|e| e["kind"] == "outcome").collect();
    let returned = outcomes.iter().filter(|e| e["facts"]["status"] == "NothingLeft").count();
    assert_eq!(outcomes.len(), permits, "a read without an outcome");
    let last = entries.iter().filter(of).filter_map(|e| e["facts"]["uses"].as_u64()).next_back();
    (permits - returned, last.unwrap())
}

#[test]
fn a_thousand_requests_for_a_few_uses_get_exactly_these() {
    let mut world = World::new();
    world.publish("releves").unwrap();
    let agreements = ["calme", "panne"]
        .map(|offer| world.agree_on("releves", offer, &policy_for("2100-01-01T00:00:00Z", USES as u64)));
    world.allow(&[&agreements[0], &agreements[1]]);
    let runtime = wire::runtime();
    for (agreement, crash) in agreements.iter().zip([false, true]) {
        let (answered, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let channel = {
            let _inside = runtime.enter();
            wire::local_channel(&world, CONSUMER)
        };
        let named: Arc<str> = agreement.as_str().into();
        let tasks: Vec<_> =
            (0..REQUESTS).map(|_| runtime.spawn(ask(channel.clone(), named.clone(), answered.clone()))).collect();
        if crash {
            let some = || answered.load(Ordering::Acquire) >= USES / 4;
            wait_within("some are answered", Duration::from_secs(120), Duration::from_millis(1), some);
            world.kill(PROVIDER);
            world.start(PROVIDER);
        }
        let served = tasks.into_iter().map(|t| runtime.block_on(t).unwrap()).filter(|s| *s).count();
        // What was given back while others were refused is there for who comes later.
        let later = std::iter::repeat_with(|| runtime.block_on(ask(channel.clone(), named.clone(), answered.clone())))
            .take_while(|served| *served)
            .count();
        let served = served + later;
        let entries = entries(&world, PROVIDER);
        let lost = entries
            .iter()
            .filter(|e| e["chain"]["agreement"] == agreement.as_str() && e["kind"] == "outcome")
            .filter(|e| !matches!(e["facts"]["status"].as_str(), Some("NothingLeft" | "Complete")))
            .count();
        eprintln!("{REQUESTS} requests, {served} answered, {lost} lost in the crash: {:?}", begun.elapsed());
        assert_eq!(charged(&entries, agreement), (USES, USES as u64));
        match crash {
            false => assert_eq!((served, lost), (USES, 0)),
            true => assert!(served <= USES && lost <= USES - served, "{served} answered, {lost} lost"),
        }
    }
    for name in [CONSUMER, PROVIDER] {
        world.stop(name);
        world.verify(name);
    }
}
