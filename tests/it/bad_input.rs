//! Bad input of every kind, by its stable code: on stderr of the command line and as a gRPC status
//! at the peer and the local sockets. Nothing is lost, nothing panics, nothing of the inside shows.
//!
//! What a unit test already shows by its code isn't shown twice: `COVERED` names where.

mod clock;
mod disk;
mod start;

use crate::source::read;
use crate::standing::{MANY, begin, read_on};
use crate::world::wire::{self, call, call_with, code_of};
use crate::world::{
    AUTHORITY, CONSUMER, PROVIDER, PURPOSE, ROWS, Refused, World, description, perron, policy, wait_until, wait_within,
};
use arrow_flight::sql::{Any, CommandStatementQuery, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, Ticket};
use bytes::Bytes;
use perron::api::pb;
use perron_model::limits::{ANSWER_STALL_MS_MAX, HANDSHAKE_MS_MAX, MESSAGE_BYTES_MAX, STATEMENT_BYTES_MAX};
use prost::Message;
use std::io::Read;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

const END: &str = "2035-01-01T00:00:00Z";
const COUNT: &str = "SELECT count(*) AS n FROM releves";

const GET_FLIGHT_INFO: &str = "/arrow.flight.protocol.FlightService/GetFlightInfo";
const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const EXECUTE: &str = "/perron.v1.AdminService/Execute";

/// Kind of input, its code, the file and the test that show it.
const COVERED: &[(&str, &str, &str, &str)] = &[
    ("protobuf", "Malformed", "src/api/errors.rs", "what_the_wire_refuses_by_itself_has_its_code"),
    ("protobuf", "malformed", "tests/it/bad_input.rs", "peers_refuse_what_is_not_a_message"),
    ("JSON: policy", "malformed", "tests/it/bad_input.rs", "the_command_line_refuses_what_cannot_be_used"),
    ("JSON: policy over its bounds", "TooLarge", "crates/model/src/policy/odrl_tests.rs", "a_policy_is_bounded"),
    (
        "JSON: terms",
        "TermUnsupported",
        "crates/model/src/policy/odrl_tests.rs",
        "what_is_not_enforced_is_refused_by_name",
    ),
    ("JSON: terms", "term_unsupported", "tests/it/bad_input.rs", "the_command_line_refuses_what_cannot_be_used"),
    ("JSON: command", "malformed", "tests/it/bad_input.rs", "local_sockets_refuse_what_is_not_a_message"),
    ("configuration", "ConfigInvalid", "src/settings.rs", "unknown_keys_and_open_flight_ports_are_refused"),
    (
        "configuration",
        "config_invalid",
        "tests/it/bad_input/start.rs",
        "nothing_is_served_from_files_that_cannot_be_used",
    ),
    ("CSV, with the line", "SourceInvalid", "src/source/csv_tests.rs", "a_wrong_value_is_named_by_line_and_header"),
    ("CSV, with the line", "source_invalid", "tests/it/bad_input.rs", "the_command_line_refuses_what_cannot_be_used"),
    ("certificates", "CertificateInvalid", "src/trust/tls_tests.rs", "key_certificate_and_ca_belong_together"),
    (
        "certificates",
        "certificate_invalid",
        "tests/it/bad_input/start.rs",
        "nothing_is_served_from_files_that_cannot_be_used",
    ),
    ("certificates of peers", "Unauthenticated", "src/trust/tls_tests.rs", "a_client_of_another_ca_is_refused"),
    ("keys that others read", "KeyUnsafe", "src/trust/keys_tests.rs", "keys_that_others_can_read_are_refused"),
    ("keys", "key_invalid", "tests/it/bad_input/start.rs", "nothing_is_served_from_files_that_cannot_be_used"),
    ("signed documents", "SignatureInvalid", "src/trust/jws_tests.rs", "every_flipped_bit_is_seen"),
    ("SQL", "StatementNotAllowed", "src/query/statement_tests.rs", "only_select_is_served"),
    ("SQL", "statement_invalid", "tests/it/bad_input.rs", "the_command_line_refuses_what_cannot_be_used"),
    ("tickets", "ticket_invalid", "tests/it/bad_input.rs", "peers_refuse_what_is_not_a_message"),
    ("messages over the limit", "too_large", "tests/it/bad_input.rs", "peers_refuse_what_is_not_a_message"),
    (
        "a peer that stalls: handshake",
        "unauthenticated",
        "tests/it/bad_input.rs",
        "a_peer_that_stalls_is_left_and_others_go_on",
    ),
    (
        "a peer that stalls: request",
        "deadline_exceeded",
        "tests/it/bad_input.rs",
        "a_peer_that_stalls_is_left_and_others_go_on",
    ),
    (
        "a peer that stalls: reader",
        "deadline_exceeded",
        "tests/it/bad_input.rs",
        "a_peer_that_stalls_is_left_and_others_go_on",
    ),
    ("a full disk", "disk_full", "tests/it/bad_input/disk.rs", "a_full_disk_refuses_reads_and_loses_nothing"),
    ("a port taken", "port_taken", "tests/it/bad_input/start.rs", "nothing_is_served_from_files_that_cannot_be_used"),
    ("a clock that jumps", "register_stale", "tests/it/bad_input/clock.rs", "a_clock_that_jumps_is_told_and_logged"),
    ("something inside", "internal", "tests/it/bad_input.rs", "an_internal_error_has_an_id_that_the_log_explains"),
];

#[test]
fn every_kind_of_bad_input_has_its_test() {
    for (kind, code, file, test) in COVERED {
        let text = read(file);
        assert!(text.contains(&format!("fn {test}()")), "{kind}: no test `{test}` in {file}");
        assert!(text.contains(code), "{kind}: {file} doesn't speak of {code}");
    }
}

/// Nothing of the inside: no path of the machine but those that the caller named, no name of Rust's.
fn shows_nothing_inside(world: &World, text: &str) {
    for inside in ["::", ".rs", "panicked", "Err(", "prost", "PRIVATE KEY", "trust/kept"] {
        assert!(!text.contains(inside), "`{inside}` shows in: {text}");
    }
    let directory = world.path(PROVIDER);
    assert!(!text.contains(&directory), "the directory shows in: {text}");
}

fn is_refused(world: &World, refused: Refused, code: &str) -> Refused {
    assert_eq!(refused.code, code, "{refused:?}");
    assert!(!refused.detail.is_empty() && !refused.advice.is_empty(), "{refused:?}");
    shows_nothing_inside(world, &refused.detail);
    refused
}

fn is_told(world: &World, status: &Status, code: &str) {
    assert_eq!(code_of(status), code, "{status:?}");
    assert!(!status.message().is_empty());
    shows_nothing_inside(world, status.message());
}

/// All still runs, nothing was lost, and no process panicked.
fn all_is_well(world: &mut World, agreement: &str) {
    let answer = world.query(agreement, COUNT).unwrap();
    assert_eq!(answer["n"], ROWS, "{answer}");
    for name in [CONSUMER, PROVIDER] {
        assert!(world.runs(name));
        assert!(!world.logged(name).contains("panicked"), "{}", world.logged(name));
        world.stop(name);
        world.verify(name);
    }
}

/// Compiles a library that stands between the program and the system; gives its path.
pub fn shim(world: &World, name: &str, source: &str) -> String {
    let (from, to) = (world.write(&format!("{name}.c"), source), world.path(&format!("{name}.so")));
    let built = std::process::Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &to, &from, "-ldl"]).output();
    let built = built.expect("a C compiler (cc) is needed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    to
}

#[test]
fn the_command_line_refuses_what_cannot_be_used() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let offer = |policy: &str| {
        let file = world.write("bad.json", policy);
        let basis = ["--legal-basis", "https://w3id.org/dpv#PublicInterest", "--legal-text", "x"];
        world.of(
            PROVIDER,
            &["offer", "add"],
            &[&["autre", "--dataset", "releves", "--policy", &file], &basis[..]].concat(),
        )
    };
    let good = policy(END);
    let unknown = good.replace("\"leftOperand\":\"count\"", "\"leftOperand\":\"product\"");
    let unfit = good.replace("\"valeur\"", "\"salaire\"");
    let long = good.replace("\"@type\":\"Offer\"", &format!("\"@type\":\"Offer\",\"x\":\"{}\"", "y".repeat(70_000)));
    for (bad, code, names) in [
        (&good[..good.len() / 2], "malformed", ""),
        (&unknown, "term_unsupported", "product"),
        (&unfit, "term_invalid", "salaire"),
        (&long, "too_large", ""),
    ] {
        let refused = is_refused(&world, offer(bad).unwrap_err(), code);
        assert!(refused.detail.contains(names), "{refused:?}");
    }

    let add = |description: &str, csv: &[u8]| {
        let (description, file) = (world.write("bad.toml", description), world.write("bad.csv", csv));
        world.of(PROVIDER, &["dataset", "add"], &["--description", &description, &file])
    };
    let described = description("autre");
    let csv = b"n;nom;valeur\n1;a;1,5\n2;b;1.x\n3;c;2,5\n";
    let refused = is_refused(&world, add(&described, csv).unwrap_err(), "source_invalid");
    assert!(refused.detail.contains("line 3") && refused.detail.contains("valeur"), "{refused:?}");
    let refused = add(&described, b"n;nom;valeur\n1;a;1,5\n2;b\n").unwrap_err();
    assert!(is_refused(&world, refused, "source_invalid").detail.contains("line 3"));
    is_refused(&world, add(&described, b"n;nom;valeur\n1;\xff\xfe;1,5\n").unwrap_err(), "source_invalid");
    let refused = add(&described.replace("owner = \"Commune\"\n", ""), csv).unwrap_err();
    assert!(is_refused(&world, refused, "description_incomplete").detail.contains("owner"));
    is_refused(&world, add("dataset = [", csv).unwrap_err(), "description_incomplete");

    for (sql, code) in [
        ("SELECT n FROM", "statement_invalid"),
        ("SELECT 'unclosed FROM releves", "statement_invalid"),
        ("DROP TABLE releves", "statement_not_allowed"),
        ("SELECT * FROM releves; SELECT 1", "statement_invalid"),
        ("SELECT pg_read_file('/etc/passwd')", "function_not_allowed"),
        ("SELECT * FROM autre", "table_not_granted"),
        ("SELECT salaire FROM releves", "column_not_granted"),
        (&format!("SELECT '{}' FROM releves", "x".repeat(STATEMENT_BYTES_MAX)), "too_large"),
        (&format!("SELECT {}1{} FROM releves", "(".repeat(500), ")".repeat(500)), "statement_invalid"),
    ] {
        is_refused(&world, world.query(&agreement, sql).unwrap_err(), code);
    }

    let garbage = world.write("garbage", "eyJhbGciOiJub25lIn0.e30.");
    let enrolled = world.of(AUTHORITY, &["authority", "enrol"], &[&garbage, "--out", &world.path("x")]);
    is_refused(&world, enrolled.unwrap_err(), "signature_invalid");
    let key = world.path("inter/trust/authority.key");
    is_refused(&world, perron(&["agreement", "verify", &garbage, "--authority", &key]).unwrap_err(), "malformed");
    let nowhere = world.write("dir", "");
    is_refused(&world, perron(&["status", "--dir", &nowhere]).unwrap_err(), "not_running");
    all_is_well(&mut world, &agreement);
}

#[test]
fn peers_refuse_what_is_not_a_message() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let (channel, dialled) = wire::peer_channel(&world, CONSUMER, PROVIDER);
    let send = |path, bytes: Bytes| runtime.block_on(call(&channel, path, bytes));
    let junk = Bytes::from_static(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1]);
    let huge = Bytes::from(vec![0u8; MESSAGE_BYTES_MAX + 1]);
    for path in [
        "/perron.v1.CatalogService/GetCatalog",
        "/perron.v1.NegotiationService/Request",
        "/perron.v1.NegotiationService/Watch",
        "/perron.v1.LedgerService/AddCheckpoint",
        "/perron.v1.RegisterService/Renew",
        GET_FLIGHT_INFO,
        DO_GET,
    ] {
        is_told(&world, &send(path, junk.clone()).unwrap_err(), "malformed");
        is_told(&world, &send(path, huge.clone()).unwrap_err(), "too_large");
    }
    // Messages that can be decoded, with contents that can't.
    let ticket = |bytes: &[u8]| Bytes::from(Ticket::new(bytes.to_vec()).encode_to_vec());
    let plan = |command: Vec<u8>| Bytes::from(FlightDescriptor::new_cmd(command).encode_to_vec());
    let read = |request: &str, nonce: &[u8]| {
        let read = pb::Read {
            request: request.to_owned(),
            statement: COUNT.to_owned(),
            salt: nonce.to_vec(),
            ..pb::Read::default()
        };
        ticket(&read.encode_to_vec())
    };
    let named =
        |agreement: &str| pb::PlanRead { agreement: agreement.to_owned(), statement: COUNT.to_owned() }.encode_to_vec();
    let offer = pb::RequestRequest { offer: b"{".to_vec(), envelope: Some(pb::Envelope::default()) };
    let digest = pb::GetReceiptRequest { request: vec![1; 5], ..pb::GetReceiptRequest::default() };
    for (path, message, code) in [
        (DO_GET, ticket(&[0xFF; 9]), "ticket_invalid"),
        (DO_GET, ticket(&vec![0; 200_000]), "too_large"),
        (DO_GET, read("not.a.jws", &[0; 16]), "malformed"),
        (DO_GET, read(&"x".repeat(40_000), &[0; 16]), "too_large"),
        (GET_FLIGHT_INFO, plan(vec![0xFF; 9]), "malformed"),
        (GET_FLIGHT_INFO, plan(named("nothing")), "malformed"),
        (GET_FLIGHT_INFO, plan(named(&"A".repeat(43))), "agreement_not_in_force"),
        ("/perron.v1.NegotiationService/Request", offer.encode_to_vec().into(), "malformed"),
        ("/perron.v1.LedgerService/GetReceipt", digest.encode_to_vec().into(), "malformed"),
    ] {
        is_told(&world, &send(path, message).unwrap_err(), code);
    }
    assert_eq!(send("/perron.v1.CatalogService/Nothing", Bytes::new()).unwrap_err().code(), tonic::Code::Unimplemented);
    assert_eq!(dialled.load(std::sync::atomic::Ordering::Acquire), 1, "bad input cost the connection");
    send("/perron.v1.CatalogService/GetCatalog", Bytes::new()).unwrap();
    drop(channel);
    all_is_well(&mut world, &agreement);
}

#[test]
fn local_sockets_refuse_what_is_not_a_message() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let socket = wire::local_channel(&world, CONSUMER);
    let headers = [("perron-agreement", agreement.as_str()), ("perron-purpose", PURPOSE)];
    let send = |channel: &Channel, path, bytes: Bytes| runtime.block_on(call_with(channel, path, bytes, &headers));
    let command = |json: &str| {
        Bytes::from(pb::ExecuteRequest { command: json.as_bytes().to_vec(), language: String::new() }.encode_to_vec())
    };
    let junk = Bytes::from_static(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1]);
    let huge = Bytes::from(vec![0u8; MESSAGE_BYTES_MAX + 1]);
    for path in [EXECUTE, GET_FLIGHT_INFO, DO_GET] {
        is_told(&world, &send(&socket, path, junk.clone()).unwrap_err(), "malformed");
        is_told(&world, &send(&socket, path, huge.clone()).unwrap_err(), "too_large");
    }
    for bad in [
        "",
        "{",
        "[]",
        r#"{"command":"destroy"}"#,
        r#"{"command":"status","x":1}"#,
        r#"{"command":"user-list","name":"anne"}"#,
        r#"{"command":"dataset-list","x":1}"#,
        r#"{"command":"offer-list","x":1}"#,
        r#"{"command":"agreement-list","x":1}"#,
        r#"{"command":"authority-list","x":1}"#,
        r#"{"command":"audit-list","from":0,"count":1,"x":1}"#,
        r#"{"command":"audit-list","from":-1,"count":1}"#,
    ] {
        is_told(&world, &send(&socket, EXECUTE, command(bad)).unwrap_err(), "malformed");
    }
    for good in [r#"{"command":"status"}"#, r#"{"command":"agreement-list"}"#] {
        send(&socket, EXECUTE, command(good)).unwrap();
    }

    let any = |type_url: &str, value: &'static [u8]| {
        Any { type_url: type_url.to_owned(), value: Bytes::from_static(value) }.encode_to_vec()
    };
    let statement = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery";
    let unknown = TicketStatementQuery { statement_handle: Bytes::from_static(b"nothing") }.as_any().encode_to_vec();
    let ticket = |bytes: Vec<u8>| Bytes::from(Ticket::new(bytes).encode_to_vec());
    let plan = |bytes: Vec<u8>| Bytes::from(FlightDescriptor::new_cmd(bytes).encode_to_vec());
    for (path, message, code) in [
        (DO_GET, ticket(vec![0xFF; 9]), "malformed"),
        (DO_GET, ticket(unknown), "ticket_invalid"),
        (GET_FLIGHT_INFO, plan(vec![0xFF; 9]), "malformed"),
        (GET_FLIGHT_INFO, plan(any(statement, &[0x0A, 0xFF])), "malformed"),
    ] {
        let status = send(&socket, path, message).unwrap_err();
        is_told(&world, &status, code);
        assert!(status.message().starts_with(&format!("[{code}] ")), "tools show the message: {status:?}");
    }

    // The loopback port: anonymous, and with a token that nobody was given.
    let config = std::fs::read_to_string(world.dir(CONSUMER).join("perron.toml")).unwrap();
    let port = config.lines().find_map(|l| l.strip_prefix("flight = ")).unwrap().trim_matches('"').to_owned();
    let port = wire::plain_channel(&port);
    let query = CommandStatementQuery { query: COUNT.to_owned(), transaction_id: None };
    let query = plan(query.as_any().encode_to_vec());
    is_told(&world, &send(&port, GET_FLIGHT_INFO, query.clone()).unwrap_err(), "unauthenticated");
    for token in ["Bearer nobody", "Basic eDp5", "Bearer"] {
        let headers = [&headers[..], &[("authorization", token)]].concat();
        let status = runtime.block_on(call_with(&port, GET_FLIGHT_INFO, query.clone(), &headers)).unwrap_err();
        is_told(&world, &status, "unauthenticated");
        assert!(!status.message().contains("nobody"));
    }
    // Without agreement or purpose, and with what is neither.
    for headers in [vec![], vec![headers[0]], vec![("perron-agreement", "x"), headers[1]]] {
        let status = runtime.block_on(call_with(&socket, GET_FLIGHT_INFO, query.clone(), &headers)).unwrap_err();
        is_told(&world, &status, "malformed");
    }
    drop((socket, port));
    all_is_well(&mut world, &agreement);
}

#[test]
fn a_peer_that_stalls_is_left_and_others_go_on() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let runtime = wire::runtime();
    let _inside = runtime.enter();
    let register = wire::register(&world.dir(CONSUMER).join("trust"));
    let endpoint = register.participants().find(|p| p.id.as_str() == PROVIDER).unwrap().endpoint.clone().unwrap();

    // A reader takes the beginning of a large answer, and then nothing more.
    let mut unread = runtime.block_on(begin(wire::local_channel(&world, CONSUMER), &agreement, MANY));
    runtime.block_on(unread.message()).unwrap().unwrap();
    let (channel, _) = wire::peer_channel(&world, CONSUMER, PROVIDER);
    let half = runtime.spawn(async move {
        let begun = Instant::now();
        (wire::stall(&channel, "/perron.v1.CatalogService/GetCatalog").await, begun.elapsed())
    });
    let mut silent = std::net::TcpStream::connect(&endpoint).unwrap();
    // Meanwhile others are served, by new connections and by open ones.
    let (other, _) = wire::peer_channel(&world, CONSUMER, PROVIDER);
    runtime.block_on(call(&other, "/perron.v1.CatalogService/GetCatalog", Bytes::new())).unwrap();
    world.query(&agreement, COUNT).unwrap();

    // A process that stands still: its connections stay open, and nothing comes.
    world.signal(AUTHORITY, "-STOP");
    is_refused(&world, world.of(CONSUMER, &["catalogue"], &[AUTHORITY]).unwrap_err(), "deadline_exceeded");
    world.query(&agreement, COUNT).unwrap();
    world.signal(AUTHORITY, "-CONT");

    silent.set_read_timeout(Some(Duration::from_millis(HANDSHAKE_MS_MAX + 5_000))).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0, "the silent peer is left");
    wait_until("the reason stands in the process's log", || {
        let log = world.logged(PROVIDER);
        log.contains("\"code\":\"unauthenticated\"") && log.contains("the handshake took too long")
    });
    let (status, waited) = runtime.block_on(half).unwrap();
    is_told(&world, &status, "deadline_exceeded");
    assert!(waited < Duration::from_secs(20), "{waited:?}");

    let patience = Duration::from_millis(ANSWER_STALL_MS_MAX + 15_000);
    wait_within("the read that nobody reads is ended", patience, Duration::from_millis(500), || {
        let entries = world.entries(PROVIDER);
        entries.iter().any(|e| e["facts"]["status"] == "CutByConsumer" && e["facts"]["reason"] == "deadline_exceeded")
    });
    // Its own connector notes the end too, although nobody reads on.
    wait_within("the consumer settles it", Duration::from_secs(40), Duration::from_millis(500), || {
        world.entries(CONSUMER).iter().any(|e| e["kind"] == "received" && !e["facts"]["refused"].is_null())
    });
    // What was under way still comes, then the reason.
    let (_, ended) = runtime.block_on(read_on(unread));
    is_told(&world, &ended.unwrap(), "deadline_exceeded");
    drop(other);
    all_is_well(&mut world, &agreement);
}

#[test]
fn an_internal_error_has_an_id_that_the_log_explains() {
    let world = World::new();
    let agreement = world.agree(END);
    // A part of the set goes missing under the running process.
    let set = world.dir(PROVIDER).join("sets/releves");
    let parts = std::fs::read_dir(&set).unwrap().flatten().map(|e| e.path());
    let parts: Vec<_> = parts.filter(|p| p.extension().is_some_and(|e| e == "parquet")).collect();
    parts.iter().for_each(|p| std::fs::remove_file(p).unwrap());
    let refused = is_refused(&world, world.query(&agreement, "SELECT sum(n) FROM releves").unwrap_err(), "internal");
    let id = refused.detail.rsplit(' ').next().unwrap().to_owned();
    let explained = |name: &str, id: &str| {
        let log = world.logged(name);
        log.lines().find(|l| l.contains(id)).map(str::to_owned)
    };
    // The user's connector explains what it told the user, by what the provider told it.
    let line = explained(CONSUMER, &id).unwrap_or_else(|| panic!("no line explains `{id}`: {refused:?}"));
    let detail: serde_json::Value = serde_json::from_str(&line).unwrap();
    let theirs = detail["fields"]["detail"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(explained(PROVIDER, &theirs).is_some(), "the provider's log doesn't explain `{theirs}`: {line}");
}
