//! Statements of the owner's users over the log: decided by a role, seen before, ended once.

use crate::second::verify;
use crate::support::Book;
use crate::world::{World, start, stop, stream_root};
use perron_model::entry::{AttachmentKind, Body, LogQuery, Outcome, OutcomeStatus};
use perron_model::{Digest, canonical};

fn input(action: &str) -> Vec<u8> {
    let input =
        serde_json::json!({"roles": ["auditor"], "action": action, "granted_agreements": [], "granted_purposes": []});
    [vec![7; 16], canonical::to_bytes(&input).unwrap()].concat()
}

fn query(permitted: bool, entries: u64) -> LogQuery {
    let told = |text: &str| if permitted { Vec::new() } else { vec![text.to_owned()] };
    LogQuery {
        user: "pseudonym".to_owned(),
        permitted,
        reasons: told("role_missing"),
        clauses: told("roles"),
        module: Digest::of(b"module"),
        input: Digest::of(&input("audit.sql")),
        statement: Digest::of(b"statement"),
        entries,
    }
}

fn outcome(decision: Digest, status: OutcomeStatus, rows: u64) -> Body {
    let (batches, bytes, messages, stream_root) = (rows, rows, rows, stream_root(rows));
    Body::Outcome(Outcome {
        decision,
        status,
        reason: None,
        batches,
        rows,
        bytes,
        messages,
        stream_root,
        uses: 0,
        volume: None,
    })
}

/// Writes a statement; gives its leaf.
fn asked(book: &mut Book, query: LogQuery) -> Digest {
    book.push(Body::LogQuery(query), None, vec![(AttachmentKind::EvaluationInput, input("audit.sql"))])
}

fn kinds(world: &World, write: impl Fn(&mut Book)) -> Vec<&'static str> {
    let mut book = world.provider.clone();
    write(&mut book);
    verify(&world.provider_with(&book.lines), &[]).unwrap().kinds()
}

#[test]
fn a_permit_with_its_end_and_a_refusal_verify() {
    let world = World::new(2);
    let size = world.provider.lines.len() as u64;
    let found = kinds(&world, |book| {
        let decision = asked(book, query(true, size));
        asked(book, query(false, size + 1));
        book.push(outcome(decision, OutcomeStatus::Complete, 5), None, vec![]);
    });
    assert!(found.is_empty(), "{found:?}");
    // One that still runs has none yet; after a crash the next life writes it.
    let running = kinds(&world, |book| {
        asked(book, query(true, size));
    });
    assert!(running.is_empty(), "{running:?}");
    let crashed = kinds(&world, |book| {
        let decision = asked(book, query(true, size));
        book.push(outcome(decision, OutcomeStatus::UnknownAfterCrash, 0), None, vec![]);
        start(book, &world.ville, &world.space);
        stop(book);
    });
    assert!(crashed.is_empty(), "{crashed:?}");
}

#[test]
fn what_does_not_fit_is_found() {
    let world = World::new(2);
    let size = world.provider.lines.len() as u64;
    let one = |query: LogQuery| {
        kinds(&world, |book| {
            asked(book, query.clone());
        })
    };
    assert_eq!(one(query(true, size + 1)), ["order"], "it sees itself");
    assert_eq!(one(LogQuery { reasons: vec!["role_missing".to_owned()], ..query(true, size) }), ["order"]);
    assert_eq!(one(LogQuery { reasons: Vec::new(), ..query(false, size) }), ["order"]);
    assert_eq!(one(LogQuery { clauses: Vec::new(), ..query(false, size) }), ["order"]);
    assert_eq!(one(LogQuery { input: Digest::of(b"other"), ..query(false, size) })[0], "document-bytes");
    let other = LogQuery { input: Digest::of(&input("audit.read")), ..query(false, size) };
    let attached = |book: &mut Book| {
        let bound = vec![(AttachmentKind::EvaluationInput, input("audit.read"))];
        book.push(Body::LogQuery(other.clone()), None, bound);
    };
    assert_eq!(kinds(&world, attached), ["document-bytes"]);
    let bare = |book: &mut Book| {
        book.push(Body::LogQuery(query(false, size)), None, vec![]);
    };
    assert_eq!(kinds(&world, bare), ["document-bytes"]);
}

#[test]
fn each_permit_has_one_end_outside_of_any_chain() {
    let world = World::new(2);
    let size = world.provider.lines.len() as u64;
    let ended = |ends: &dyn Fn(&mut Book, Digest, Digest)| {
        kinds(&world, |book| {
            let (permit, refusal) = (asked(book, query(true, size)), asked(book, query(false, size)));
            ends(book, permit, refusal);
        })
    };
    let complete = |decision| outcome(decision, OutcomeStatus::Complete, 1);
    let twice = ended(&|book, permit, _| {
        book.push(complete(permit), None, vec![]);
        book.push(complete(permit), None, vec![]);
    });
    assert!(twice.contains(&"order"), "{twice:?}");
    let of_refusal = ended(&|book, _, refusal| {
        book.push(complete(refusal), None, vec![]);
    });
    assert!(of_refusal.contains(&"order"), "{of_refusal:?}");
    let in_a_chain = ended(&|book, permit, _| {
        book.push(complete(permit), Some(world.deal.id), vec![]);
    });
    assert!(in_a_chain.contains(&"chain-gap"), "{in_a_chain:?}");
    let rows_of_nothing = ended(&|book, permit, _| {
        book.push(outcome(permit, OutcomeStatus::NothingLeft, 1), None, vec![]);
    });
    assert_eq!(rows_of_nothing, ["order"]);
    let charging = ended(&|book, permit, _| {
        let Body::Outcome(mut body) = complete(permit) else { unreachable!() };
        body.uses = 1;
        book.push(Body::Outcome(body), None, vec![]);
    });
    assert_eq!(charging, ["order"]);
    // A life that begins finds what the last one left open without an end.
    let left_open = ended(&|book, _, _| start(book, &world.ville, &world.space));
    assert_eq!(left_open, ["order"]);
}
