//! What is attached to a decision beside its request: bound by one digest, or, in earlier entries,
//! each by its own.

use crate::semantics::{changed, decision_of};
use crate::support::Book;
use crate::world::World;
use perron_model::Digest;
use perron_model::entry::{AttachmentKind, Decision, digest_of_parts};
use perron_model::sealed::SealedHeader;

type Attachments = Vec<(u16, Vec<u8>)>;

/// A sealed value, whose key nobody has.
fn sealed() -> Vec<u8> {
    [SealedHeader { epoch: [1; 8], value: [2; 16] }.to_bytes().as_slice(), &[7; 40]].concat()
}

/// Seals a statement with the first decision; gives its place.
pub fn seal_first(book: &mut Book) -> usize {
    let (at, _) = decision_of(book, 0);
    let mut attachments = book.lines[at].attachments.clone();
    attachments.push((AttachmentKind::Sealed as u16, sealed()));
    let (_, decision) = decision_of(book, 0);
    bind(decision, &attachments);
    decision.sealed = Some(true);
    book.lines[at].attachments = attachments;
    at
}

/// Binds a decision's attachments by one digest.
fn bind(decision: &mut Decision, attachments: &Attachments) {
    let parts = attachments.iter().filter(|(kind, _)| *kind != AttachmentKind::Request as u16);
    let parts = parts.map(|(kind, bytes)| (AttachmentKind::from_u16(*kind).unwrap(), bytes.as_slice()));
    decision.attached = Some(digest_of_parts(parts));
    (decision.input, decision.beside) = (None, None);
}

/// What is found once the first decision is bound by one digest, with a sealed statement or without,
/// and changed then.
fn bound(world: &World, is_sealed: bool, change: impl Fn(&mut Decision, &mut Attachments)) -> Vec<&'static str> {
    changed(world, |book| {
        let (at, _) = decision_of(book, 0);
        let mut attachments = book.lines[at].attachments.clone();
        if is_sealed {
            attachments.push((AttachmentKind::Sealed as u16, sealed()));
        }
        let (_, decision) = decision_of(book, 0);
        bind(decision, &attachments);
        decision.sealed = is_sealed.then_some(true);
        change(decision, &mut attachments);
        book.lines[at].attachments = attachments;
    })
}

#[test]
fn one_digest_binds_all_but_the_request() {
    let world = World::new(2);
    let none = Vec::<&str>::new();
    assert_eq!(bound(&world, false, |_, _| {}), none);
    assert_eq!(bound(&world, true, |_, _| {}), none);
    // Wherever they stand among each other.
    assert_eq!(bound(&world, true, |_, attachments| attachments.reverse()), none);
    for place in 1..3 {
        let flipped = bound(&world, true, |_, attachments| *attachments[place].1.last_mut().unwrap() ^= 1);
        assert!(flipped.contains(&"document-bytes"), "{place}: {flipped:?}");
        let gone = bound(&world, true, |_, attachments| drop(attachments.remove(place)));
        assert!(gone.contains(&"document-bytes"), "{place}: {gone:?}");
        let twice = bound(&world, true, |_, attachments| attachments.push(attachments[place].clone()));
        assert!(twice.contains(&"document-bytes"), "{place}: {twice:?}");
    }
    let other_kind = |_: &mut Decision, attachments: &mut Attachments| {
        attachments[2].0 = AttachmentKind::Beside as u16;
    };
    assert_eq!(bound(&world, true, other_kind)[0], "document-bytes");
}

#[test]
fn it_is_bound_in_one_way_and_says_what_is_sealed() {
    let world = World::new(2);
    let one =
        |is_sealed: bool, change: &dyn Fn(&mut Decision)| bound(&world, is_sealed, |decision, _| change(decision));
    let input = |decision: &mut Decision| decision.input = Some(Digest::of(b"input"));
    assert_eq!(one(false, &input)[0], "document-bytes");
    assert_eq!(one(false, &|decision| decision.beside = Some(Digest::of(b"beside")))[0], "document-bytes");
    assert_eq!(one(false, &|decision| decision.attached = None)[0], "document-bytes");
    for (is_sealed, said) in [(true, None), (true, Some(false)), (false, Some(true)), (false, Some(false))] {
        let found = one(is_sealed, &|decision| decision.sealed = said);
        assert_eq!(found, ["document-bytes"], "{is_sealed}, {said:?}");
    }
    // Each by its own digest: then nothing is sealed with it.
    let earlier = bound(&world, false, |decision, attachments| {
        (decision.attached, decision.input) = (None, Some(Digest::of(&attachments[1].1)));
        decision.sealed = Some(true);
    });
    assert_eq!(earlier, ["document-bytes"]);
    // A value that isn't one, well bound.
    let short = bound(&world, true, |decision, attachments| {
        attachments[2].1 = vec![1; 30];
        bind(decision, attachments);
    });
    assert_eq!(short, ["document-bytes"]);
}
