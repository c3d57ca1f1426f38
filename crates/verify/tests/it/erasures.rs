//! What an owner tells of an erasure: its entry, and the notice of it to the other party.

use crate::bindings::seal_first;
use crate::notices::{push, tell};
use crate::second::verify;
use crate::support::{Book, time};
use crate::world::World;
use perron_model::entry::{Body, Erased, Span};
use perron_model::life::Act;
use perron_model::sealed::Ground;
use perron_model::{Digest, Timestamp};

/// The erasure of the values of these entries.
pub fn erased(span: (u64, u64), vault: u64, agreements: Vec<Digest>, until: Timestamp) -> Body {
    Body::Erased(Erased {
        entries: vec![Span { first: span.0, last: span.1 }],
        values: 1,
        ground: Ground::NoLongerNecessary.as_str().to_owned(),
        by: "operator".to_owned(),
        vault,
        until,
        agreements,
        user: None,
        log: None,
    })
}

/// What is found once the provider erased its one sealed statement, and `more` was written after it.
fn found(
    world: &World,
    agreements: Vec<Digest>,
    until: i64,
    more: impl Fn(&mut Book, Digest, Timestamp),
) -> Vec<&'static str> {
    let mut book = world.provider.clone();
    book.lines.pop();
    let at = seal_first(&mut book) as u64;
    book.rechain(&world.provider);
    let newest = book.lines.last().unwrap().entry.index + 1;
    // As `push` times it.
    let until = time(100 + newest as i64 * 10 + until);
    let leaf = book.push(erased((at, at), 2, agreements, until), None, vec![]);
    more(&mut book, leaf, until);
    verify(&world.provider_with(&book.lines), &[]).unwrap().kinds()
}

fn notice(erasure: Digest, ground: Ground, until: Timestamp) -> Act {
    Act::Erase { erasure, first: 2, last: 2, values: 1, ground, until }
}

#[test]
fn a_notice_of_an_erasure_says_what_its_entry_says() {
    let world = World::new(1);
    let deal = world.deal.id;
    let one = |agreements: Vec<Digest>, act: &dyn Fn(Digest, Timestamp) -> Act| {
        found(&world, agreements, 1_000, |book, leaf, until| {
            push(book, deal, &tell(&world, &world.ville, act(leaf, until), "in-force"));
        })
    };
    let ground = Ground::NoLongerNecessary;
    let fits: &dyn Fn(Digest, Timestamp) -> Act = &|leaf, until| notice(leaf, ground, until);
    assert_eq!(one(vec![deal], fits), [""; 0]);
    assert_eq!(one(vec![], fits), ["order"], "the agreement is left out");
    assert_eq!(one(vec![deal], &|_, until| notice(Digest::of(b"none"), ground, until)), ["order"]);
    assert_eq!(one(vec![deal], &|leaf, until| notice(leaf, Ground::Child, until)), ["order"]);
    assert_eq!(one(vec![deal], &|leaf, until| notice(leaf, ground, until.plus_millis(-1))), ["order"]);
    // What the partner erased stands in its own log.
    let theirs = found(&world, vec![deal], 1_000, |book, _, until| {
        push(book, deal, &tell(&world, &world.inter, notice(Digest::of(b"theirs"), ground, until), "in-force"));
    });
    assert_eq!(theirs, [""; 0]);
}

/// It was computed a moment before the entry had its time.
#[test]
fn what_could_be_undone_ends_with_the_entry_or_later() {
    let world = World::new(1);
    let one = |until: i64| found(&world, vec![], until, |_, _, _| {});
    assert_eq!((one(0), one(-2), one(-300_000)), (vec![], vec![], vec![]));
    assert_eq!(one(-300_001), ["order"]);
}
