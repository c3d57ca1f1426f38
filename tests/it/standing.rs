//! A consumer that the authority suspends or revokes: a running stream ends at its next batch, and
//! the next request is refused, on the open connection and on a new one. And reads that end before
//! their end otherwise.

use crate::world::wire::{self, code_of};
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, PURPOSE, ROWS, World, wait_until, wait_within};
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, flight_service_client::FlightServiceClient};
use perron::api::pb;
use prost::Message;
use serde_json::Value as Json;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

const END: &str = "2035-01-01T00:00:00Z";
/// Far more rows than all buffers between provider and reader hold.
pub const MANY: &str = "SELECT a.n AS a, b.n AS b, a.nom AS nom FROM releves a CROSS JOIN releves b";
const FEW: &str = "SELECT count(*) AS n FROM releves";

fn status_of(world: &World, name: &str) -> String {
    let members = world.of(AUTHORITY, &["authority", "list"], &[]).unwrap();
    let found = members["members"].as_array().unwrap().iter().find(|m| m["participant"] == name);
    found.unwrap_or_else(|| panic!("{members}"))["status"].as_str().unwrap().to_owned()
}

/// Changes the consumer's standing; returns once the provider goes by the new register.
fn set(world: &World, verb: &str) {
    let seen = |name: &str| {
        let entries = world.entries(name);
        entries.iter().filter(|e| e["kind"] == "register-seen").filter_map(|e| e["facts"]["version"].as_u64()).max()
    };
    let before = seen(PROVIDER);
    world.of(AUTHORITY, &["authority", verb], &[CONSUMER]).unwrap();
    wait_until("the provider takes up the register", || seen(PROVIDER) > before);
}

fn with_headers<T>(message: T, agreement: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("perron-agreement", agreement.parse().unwrap());
    request.metadata_mut().insert("perron-purpose", PURPOSE.parse().unwrap());
    request
}

/// Begins a read over the consumer's local socket, as any Flight SQL client does.
pub async fn begin(channel: Channel, agreement: &str, sql: &str) -> Streaming<FlightData> {
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(4 << 20);
    let query = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
    let info = client.get_flight_info(with_headers(descriptor, agreement)).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(with_headers(ticket, agreement)).await.unwrap().into_inner()
}

/// Reads on to the end; gives how many messages came and what ended them.
pub async fn read_on(mut stream: Streaming<FlightData>) -> (usize, Option<Status>) {
    let mut messages = 0;
    loop {
        match stream.message().await {
            Ok(Some(_)) => messages += 1,
            Ok(None) => return (messages, None),
            Err(status) => return (messages, Some(status)),
        }
    }
}

/// The consumer's own request over a channel that stays open, as its process would make it.
pub async fn plan(channel: &Channel, agreement: &str) -> Result<(), Status> {
    let command = pb::PlanRead { agreement: agreement.to_owned(), statement: FEW.to_owned() };
    let mut client = FlightServiceClient::new(channel.clone());
    client.get_flight_info(FlightDescriptor::new_cmd(command.encode_to_vec())).await.map(|_| ())
}

fn outcomes(world: &World) -> Vec<Json> {
    world.entries(PROVIDER).into_iter().filter(|e| e["kind"] == "outcome").collect()
}

#[test]
fn suspension_and_revocation_end_streams_and_requests_on_open_and_new_connections() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let (open, dialled) = wire::peer_channel(&world, CONSUMER, PROVIDER);
    let all = (ROWS * ROWS).div_ceil(8_192);

    for (verb, code) in [("suspend", "participant_suspended"), ("revoke", "participant_revoked")] {
        runtime.block_on(plan(&open, &agreement)).unwrap();
        let mut stream = runtime.block_on(begin(wire::local_channel(&world, CONSUMER), &agreement, MANY));
        for _ in 0..3 {
            runtime.block_on(stream.message()).unwrap().unwrap();
        }
        let before = outcomes(&world).len();
        set(&world, verb);
        // The running stream: what was under way may still come, then it ends.
        let (messages, ended) = runtime.block_on(read_on(stream));
        assert_eq!(code_of(&ended.unwrap()), code);
        assert!(messages < all / 2, "{messages} of {all} messages came after all");
        wait_until("the outcome is logged", || outcomes(&world).len() > before);
        let outcome = outcomes(&world).pop().unwrap();
        assert_eq!(outcome["facts"]["reason"], code, "{outcome}");
        assert_eq!(outcome["facts"]["status"], "CutByRevocation", "{outcome}");
        // The connections that were open: the consumer's process has one, this test another.
        let refused = world.query(&agreement, FEW).unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
        assert_eq!(code_of(&runtime.block_on(plan(&open, &agreement)).unwrap_err()), code);
        // New ones.
        let (new, _) = wire::peer_channel(&world, CONSUMER, PROVIDER);
        assert_eq!(code_of(&runtime.block_on(plan(&new, &agreement)).unwrap_err()), code);
        world.stop(CONSUMER);
        world.start(CONSUMER);
        assert_eq!(world.query(&agreement, FEW).unwrap_err().code, code);
        assert_eq!(dialled.load(std::sync::atomic::Ordering::Acquire), 1, "the open connection was not open");
        if verb == "suspend" {
            set(&world, "reinstate");
            let answer = world.query(&agreement, FEW).unwrap();
            assert_eq!(answer["n"], ROWS, "{answer}");
            runtime.block_on(plan(&open, &agreement)).unwrap();
        }
    }

    // Revoked is for ever: also after the provider and the authority began anew.
    let refused = world.of(AUTHORITY, &["authority", "reinstate"], &[CONSUMER]).unwrap_err();
    assert_eq!(refused.code, "participant_revoked", "{refused:?}");
    assert_eq!(status_of(&world, CONSUMER), "revoked");
    for name in [AUTHORITY, PROVIDER] {
        world.stop(name);
        world.start(name);
    }
    assert_eq!(world.query(&agreement, FEW).unwrap_err().code, "participant_revoked");
    assert_eq!(status_of(&world, CONSUMER), "revoked");
    drop(open);
    for name in [CONSUMER, PROVIDER, AUTHORITY] {
        world.stop(name);
        world.verify(name);
    }
}

fn received(world: &World) -> Vec<Json> {
    world.entries(CONSUMER).into_iter().filter(|e| e["kind"] == "received").collect()
}

/// Waits until both logs have an end of one more read; gives the provider's and the consumer's.
fn next_end(world: &World, before: (usize, usize)) -> (Json, Json) {
    wait_until("both sides note the end", || outcomes(world).len() > before.0 && received(world).len() > before.1);
    let (outcome, received) = (outcomes(world).pop().unwrap(), received(world).pop().unwrap());
    assert_eq!(received["facts"]["decision"], outcome["facts"]["decision"], "{received} {outcome}");
    let count = |entry: &Json, what: &str| entry["facts"][what].as_u64().unwrap();
    for what in ["rows", "messages"] {
        let unknown = outcome["facts"]["status"] == "UnknownAfterCrash";
        assert!(unknown || count(&received, what) <= count(&outcome, what), "{received} {outcome}");
    }
    (outcome["facts"].clone(), received["facts"].clone())
}

#[test]
fn a_read_that_is_cut_has_the_same_end_on_both_sides() {
    let mut world = World::new();
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let in_time = perron::ledger::SystemClock;
    let end = perron_gate::Clock::now(&in_time).plus_millis(25_000);
    let agreement = world.agree(&end.to_string());
    let begun = |world: &World| {
        let before = (outcomes(world).len(), received(world).len());
        let mut stream = runtime.block_on(begin(wire::local_channel(world, CONSUMER), &agreement, MANY));
        for _ in 0..3 {
            runtime.block_on(stream.message()).unwrap().unwrap();
        }
        (before, stream)
    };

    // The user goes away.
    let (before, stream) = begun(&world);
    drop(stream);
    let (outcome, end_here) = next_end(&world, before);
    assert_eq!(
        (outcome["status"].as_str(), end_here["refused"].as_str()),
        (Some("CutByConsumer"), Some("answer_incomplete"))
    );

    // The provider is killed, and says after its restart that it doesn't know.
    let (before, stream) = begun(&world);
    world.kill(PROVIDER);
    let (_, ended) = runtime.block_on(read_on(stream));
    assert_eq!(code_of(&ended.unwrap()), "peer_unavailable");
    assert_eq!(received(&world).len(), before.1, "an end was noted that nobody knows");
    world.start(PROVIDER);
    let (outcome, end_here) = next_end(&world, before);
    assert_eq!(
        (outcome["status"].as_str(), end_here["refused"].as_str()),
        (Some("UnknownAfterCrash"), Some("peer_unavailable"))
    );

    // The consumer is killed: it asks after its restart.
    let (before, stream) = begun(&world);
    world.kill(CONSUMER);
    drop(stream);
    world.start(CONSUMER);
    let (outcome, end_here) = next_end(&world, before);
    assert_eq!(
        (outcome["status"].as_str(), end_here["refused"].as_str()),
        (Some("CutByConsumer"), Some("answer_incomplete"))
    );

    // The agreement's window ends.
    let (before, stream) = begun(&world);
    let (outcome, end_here) = next_end_of(&world, before, stream, &runtime);
    assert_eq!(
        (outcome["status"].as_str(), outcome["reason"].as_str()),
        (Some("CutByRevocation"), Some("agreement_expired"))
    );
    assert_eq!(end_here["refused"], "agreement_expired");
    for name in [CONSUMER, PROVIDER, AUTHORITY] {
        world.stop(name);
        world.verify(name);
    }
}

/// Reads on once the provider has noted the end, which it does although nobody takes a message.
fn next_end_of(
    world: &World,
    before: (usize, usize),
    stream: Streaming<FlightData>,
    runtime: &tokio::runtime::Runtime,
) -> (Json, Json) {
    wait_within("the window ends", Duration::from_secs(40), Duration::from_millis(50), || {
        outcomes(world).len() > before.0
    });
    let (_, ended) = runtime.block_on(read_on(stream));
    assert_eq!(code_of(&ended.unwrap()), "agreement_expired");
    next_end(world, before)
}
