//! Lives of agreements: what an owner with its key can't say about a suspension or a revocation.

use crate::second::verify;
use crate::support::{Book, Party, compact, space, time};
use crate::world::{World, ask, decide};
use perron_model::agreement::Offer;
use perron_model::entry::{self, AttachmentKind, Body};
use perron_model::life::{Act, NOTICE_TYP, Notice, NoticeKind};
use perron_model::negotiation::{Message, NegotiationMessage};
use perron_model::participant::KeyUse;
use perron_model::{Digest, canonical};

/// A notice of `from` about the agreement, as the provider's log has it.
pub fn tell(world: &World, from: &Party, act: Act, standing: &str) -> (Body, Notice, Vec<u8>) {
    let to = if from.id() == world.ville.id() { &world.inter } else { &world.ville };
    let notice = Notice {
        kind: NoticeKind::V1,
        space: space(),
        id: "n".to_owned(),
        agreement: world.deal.id,
        from: from.id(),
        to: to.id(),
        time: time(60),
        act,
    };
    let bytes = canonical::to_bytes(&notice).unwrap();
    let signed = compact(&from.key(KeyUse::Agreement), NOTICE_TYP, &bytes).into_bytes();
    let by = if from.id() == world.ville.id() { "provider" } else { "consumer" };
    let body = Body::Notice(entry::Notice {
        notice: Digest::of(&bytes),
        signed: Digest::of(&signed),
        counterparty: world.inter.id().to_string(),
        side: "provider".to_owned(),
        by: by.to_owned(),
        act: notice.act.name().to_owned(),
        standing: standing.to_owned(),
        decided_by: None,
    });
    (body, notice, signed)
}

pub fn push(book: &mut Book, agreement: Digest, told: &(Body, Notice, Vec<u8>)) {
    book.push(told.0.clone(), Some(agreement), vec![(AttachmentKind::Notice, told.2.clone())]);
}

fn suspend() -> Act {
    Act::Suspend { reason: "contrôle".to_owned() }
}

/// The provider's log, without its stop, with what `more` writes after it.
fn kinds(world: &World, more: impl Fn(&mut Book)) -> Vec<&'static str> {
    let mut book = world.provider.clone();
    book.lines.pop();
    more(&mut book);
    verify(&world.provider_with(&book.lines), &[]).unwrap().kinds()
}

#[test]
fn a_suspension_and_its_end_by_both_sides_verify() {
    let world = World::new(1);
    let suspended = tell(&world, &world.ville, suspend(), "suspended");
    let lifts = vec![suspended.1.name().unwrap()];
    let proposed = tell(&world, &world.inter, Act::Resume { lifts }, "suspended");
    let confirmed = tell(&world, &world.ville, Act::Confirm { proposal: proposed.1.name().unwrap() }, "in-force");
    let found = kinds(&world, |book| {
        for told in [&suspended, &proposed, &confirmed] {
            push(book, world.deal.id, told);
        }
        let read = decide(book, &ask(&world.inter, &world.ville, world.deal.id, 2001), 2, true);
        crate::world::end(book, world.deal.id, read, entry::OutcomeStatus::Complete, 3);
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_permit_after_a_suspension_or_a_revocation_is_found() {
    let world = World::new(1);
    for (act, standing) in [(suspend(), "suspended"), (Act::Revoke { reason: "fin".to_owned() }, "revoked")] {
        let told = tell(&world, &world.inter, act, standing);
        let found = kinds(&world, |book| {
            push(book, world.deal.id, &told);
            let read = decide(book, &ask(&world.inter, &world.ville, world.deal.id, 2001), 2, true);
            crate::world::end(book, world.deal.id, read, entry::OutcomeStatus::Complete, 3);
        });
        assert_eq!(found, ["order"], "{standing}");
    }
}

#[test]
fn a_notice_that_nobody_signed_or_that_says_other_than_its_entry_is_found() {
    let world = World::new(1);
    let good = tell(&world, &world.inter, suspend(), "suspended");
    assert!(kinds(&world, |book| push(book, world.deal.id, &good)).is_empty());
    let with = |change: &dyn Fn(&mut entry::Notice)| {
        let mut told = good.clone();
        let Body::Notice(body) = &mut told.0 else { unreachable!() };
        change(body);
        kinds(&world, |book| push(book, world.deal.id, &told))
    };
    assert_eq!(with(&|b| b.standing = "in-force".to_owned()), ["order"]);
    assert_eq!(with(&|b| b.act = "revoke".to_owned()), ["document-bytes"]);
    assert_eq!(with(&|b| b.by = "provider".to_owned()), ["document-bytes"]);
    assert_eq!(with(&|b| b.notice = Digest::of(b"other")), ["document-bytes"]);
    assert!(with(&|b| b.signed = Digest::of(b"other")).contains(&"document-bytes"));
    // Another's signature, and one over other words.
    let mut forged = good.clone();
    forged.2 = compact(&world.ville.key(KeyUse::Agreement), NOTICE_TYP, &good.1.bytes().unwrap()).into_bytes();
    let Body::Notice(body) = &mut forged.0 else { unreachable!() };
    body.signed = Digest::of(&forged.2);
    assert_eq!(kinds(&world, |book| push(book, world.deal.id, &forged)), ["document-signature"]);
    // Told twice; of a proposal that was never made.
    let twice = kinds(&world, |book| {
        push(book, world.deal.id, &good);
        push(book, world.deal.id, &good);
    });
    assert_eq!(twice, ["order"]);
    let answer = tell(&world, &world.ville, Act::Confirm { proposal: Digest::of(b"none") }, "in-force");
    assert_eq!(kinds(&world, |book| push(book, world.deal.id, &answer)), ["order"]);
    // In no chain.
    let unchained = kinds(&world, |book| {
        book.push(good.0.clone(), None, vec![(AttachmentKind::Notice, good.2.clone())]);
    });
    assert!(unchained.contains(&"chain-gap"), "{unchained:?}");
}

const AMENDED_PID: &str = "p-2";

/// A negotiation that amends `before`, and the amended agreement with `uses` counting on.
fn amend(world: &World, book: &mut Book, before: Digest, uses: u64) -> crate::support::Deal {
    let offer = Offer { amends: Some(before), ..crate::support::offer() };
    let deal = crate::support::deal_over(offer.clone(), &world.space, &world.ville, &world.inter, AMENDED_PID);
    let step = |book: &mut Book, by: &str, message: Message, state: &str| {
        let text = serde_json::to_value(message).unwrap().as_str().unwrap().to_owned();
        let sent = NegotiationMessage {
            message_id: format!("a-{text}"),
            message,
            consumer_pid: "c-2".to_owned(),
            provider_pid: (message != Message::Request).then(|| AMENDED_PID.to_owned()),
            provider: world.ville.id(),
            consumer: world.inter.id(),
            offer: (message == Message::Request).then(|| offer.clone()),
            agreement: match message {
                Message::Agree => Some(deal.half.clone()),
                Message::Verify => Some(deal.signed.clone()),
                _ => None,
            },
            reason: None,
        };
        let bytes = canonical::to_bytes(&sent).unwrap();
        let body = entry::Negotiation {
            id: AMENDED_PID.to_owned(),
            counterparty: world.inter.id().to_string(),
            side: "provider".to_owned(),
            by: by.to_owned(),
            message: text,
            state: state.to_owned(),
            digest: Digest::of(&bytes),
            decided_by: None,
        };
        book.push(Body::Negotiation(body), None, vec![(AttachmentKind::NegotiationMessage, bytes)]);
    };
    step(book, "consumer", Message::Request, "REQUESTED");
    step(book, "provider", Message::Agree, "AGREED");
    step(book, "consumer", Message::Verify, "VERIFIED");
    let body = Body::Agreement(entry::Agreement {
        agreement: deal.id,
        envelope: Digest::of(&deal.envelope),
        counterparty: world.inter.id().to_string(),
        side: "provider".to_owned(),
        dataset: "water".to_owned(),
        legal_basis: offer.legal_basis.term.clone(),
        regime: "public-task".to_owned(),
        amends: Some(before),
        uses: Some(uses),
        volume: None,
    });
    book.push(body, Some(deal.id), vec![(AttachmentKind::Envelope, deal.envelope.clone())]);
    step(book, "provider", Message::Finalize, "FINALIZED");
    deal
}

/// As `kinds`, after the amendment of `before`.
fn kinds_amended(world: &World, before: Digest, uses: u64, more: impl Fn(&mut Book, Digest)) -> Vec<&'static str> {
    let mut book = world.provider.clone();
    book.lines.pop();
    let deal = amend(world, &mut book, before, uses);
    more(&mut book, deal.id);
    let dir = world.provider_with(&book.lines);
    std::fs::write(dir.join(format!("documents/{}.json", deal.id)), &deal.envelope).unwrap();
    verify(&dir, &[]).unwrap().kinds()
}

#[test]
fn an_amendment_carries_on_what_was_used_and_ends_the_one_before() {
    let world = World::new(1);
    let read = |book: &mut Book, agreement: Digest, number: u64| {
        let read = decide(book, &ask(&world.inter, &world.ville, agreement, number), 2, true);
        crate::world::end(book, agreement, read, entry::OutcomeStatus::Complete, 3);
    };
    let good = kinds_amended(&world, world.deal.id, 2, |book, amended| read(book, amended, 3001));
    assert!(good.is_empty(), "{good:?}");
    // Nothing is permitted under the one before.
    assert_eq!(kinds_amended(&world, world.deal.id, 2, |book, _| read(book, world.deal.id, 3001)), ["order"]);
    // What was charged is forgotten.
    assert_eq!(kinds_amended(&world, world.deal.id, 0, |_, _| {}), ["order"]);
    // Of an agreement that nobody knows, or that was revoked before.
    assert!(kinds_amended(&world, Digest::of(b"unknown"), 0, |_, _| {}).contains(&"order"));
    let revoked = tell(&world, &world.inter, Act::Revoke { reason: "fin".to_owned() }, "revoked");
    let mut book = world.provider.clone();
    book.lines.pop();
    push(&mut book, world.deal.id, &revoked);
    let deal = amend(&world, &mut book, world.deal.id, 2);
    let dir = world.provider_with(&book.lines);
    std::fs::write(dir.join(format!("documents/{}.json", deal.id)), &deal.envelope).unwrap();
    assert_eq!(verify(&dir, &[]).unwrap().kinds(), ["order"]);
}
