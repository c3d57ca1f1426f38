//! What an owner with its key can't do either: each leaf against those before it and against what
//! it binds. The logs here are signed anew by the owner's own key.

use crate::second::verify;
use crate::support::{Book, Line, time};
use crate::world::World;
use perron_model::Digest;
use perron_model::entry::{AttachmentKind, Body, OutcomeStatus};

fn kinds_of(world: &World, lines: &[Line]) -> Vec<&'static str> {
    verify(&world.provider_with(lines), &[]).unwrap().kinds()
}

/// The kinds found in the provider's log once `change` was made and all digests were made to fit.
pub fn changed(world: &World, change: impl Fn(&mut Book)) -> Vec<&'static str> {
    let mut book = world.provider.clone();
    change(&mut book);
    book.rechain(&world.provider);
    kinds_of(world, &book.lines)
}

fn changed_consumer(world: &World, change: impl Fn(&mut Book)) -> Vec<&'static str> {
    let mut book = world.consumer.clone();
    change(&mut book);
    book.rechain(&world.consumer);
    verify(&world.consumer_with(&book.lines), &[]).unwrap().kinds()
}

pub fn decision_of(book: &mut Book, number: usize) -> (usize, &mut perron_model::entry::Decision) {
    let found =
        book.lines.iter_mut().enumerate().filter(|(_, l)| matches!(l.entry.body, Body::Decision(_))).nth(number);
    let (at, line) = found.unwrap();
    let Body::Decision(decision) = &mut line.entry.body else { unreachable!() };
    (at, decision)
}

type Attachments = Vec<(u16, Vec<u8>)>;

#[test]
fn the_same_lines_written_anew_verify() {
    let world = World::new(3);
    assert!(changed(&world, |_| {}).is_empty());
    assert!(changed_consumer(&world, |_| {}).is_empty());
}

#[test]
fn an_entry_dropped_leaves_a_gap() {
    let world = World::new(3);
    let last_chained = world.provider.lines.iter().rposition(|l| l.entry.chain.is_some()).unwrap();
    for gone in 0..world.provider.lines.len() - 1 {
        let mut lines = world.provider.lines.clone();
        lines.remove(gone);
        let kinds = kinds_of(&world, &lines);
        assert!(kinds.contains(&"order"), "entry {gone}: {kinds:?}");
        // The last of a chain leaves no gap in it: what names it, or the start after it, tells.
        let chained = world.provider.lines[gone].entry.chain.is_some() && gone != last_chained;
        assert_eq!(kinds.contains(&"chain-gap"), chained, "entry {gone}: {kinds:?}");
    }
}

#[test]
fn two_entries_swapped_are_out_of_order() {
    let world = World::new(3);
    for at in 0..world.provider.lines.len() - 1 {
        let mut lines = world.provider.lines.clone();
        lines.swap(at, at + 1);
        assert!(kinds_of(&world, &lines).contains(&"order"), "entries {at} and {}", at + 1);
    }
}

#[test]
fn a_back_dated_entry_is_found_in_a_log_that_is_whole_otherwise() {
    let world = World::new(3);
    for at in [3, 9, 12] {
        let kinds = changed(&world, |book| book.lines[at].entry.time = time(20));
        // A decision that is dated before the evaluation that it rests on says so too.
        assert!(kinds.contains(&"time-backwards"), "{kinds:?}");
        assert!(kinds.iter().all(|k| ["time-backwards", "document-bytes"].contains(k)), "{kinds:?}");
    }
    // Without its entry the clock jump is a jump back; with other figures it is none.
    let jump = world.provider.find(|b| matches!(b, Body::ClockJump(_)));
    assert_eq!(
        changed(&world, |book| {
            let Body::ClockJump(jump) = &mut book.lines[jump].entry.body else { unreachable!() };
            jump.from = time(1);
        }),
        ["time-backwards"]
    );
}

#[test]
fn a_read_taken_out_by_its_owner_breaks_the_counters() {
    let world = World::new(3);
    // Decision and outcome are gone, every digest and number is made anew: the uses tell.
    let kinds = changed(&world, |book| {
        let (at, _) = decision_of(book, 1);
        book.lines.drain(at..at + 2);
    });
    assert!(kinds.contains(&"order"), "{kinds:?}");
}

#[test]
fn the_bytes_charged_have_to_fit() {
    let world = World::new(3);
    let counted = |change: &dyn Fn(&mut perron_model::entry::Decision, &mut perron_model::entry::Outcome)| {
        changed(&world, |book| {
            let at = book.find(|body| matches!(body, Body::Outcome(_)));
            let Body::Outcome(mut outcome) = book.lines[at].entry.body.clone() else { unreachable!() };
            let decision = decision_of(book, 0).1;
            (decision.reserved, decision.volume, outcome.volume) = (Some(1_000), Some(1_000), Some(outcome.bytes));
            change(decision, &mut outcome);
            book.lines[at].entry.body = Body::Outcome(outcome);
        })
    };
    assert!(counted(&|_, _| {}).is_empty(), "{:?}", counted(&|_, _| {}));
    assert_eq!(counted(&|decision, _| decision.volume = Some(999)), ["order"]);
    assert_eq!(counted(&|decision, _| decision.volume = None), ["order"]);
    assert_eq!(counted(&|_, outcome| outcome.volume = Some(0)), ["order"]);
    assert_eq!(counted(&|_, outcome| outcome.volume = None), ["order"]);
    let more = |_: &mut perron_model::entry::Decision, outcome: &mut perron_model::entry::Outcome| {
        (outcome.bytes, outcome.volume) = (1_001, Some(1_001));
    };
    assert_eq!(counted(&more), ["order"]);
    let refusal = changed(&world, |book| {
        let at = book.find(|body| matches!(body, Body::Decision(d) if !d.permitted));
        let Body::Decision(decision) = &mut book.lines[at].entry.body else { unreachable!() };
        (decision.reserved, decision.volume) = (Some(0), Some(0));
    });
    assert_eq!(refusal, ["order"]);
}

#[test]
fn decisions_and_outcomes_have_to_fit() {
    let world = World::new(3);
    let one = |change: &dyn Fn(&mut Book)| changed(&world, change);
    assert_eq!(one(&|b| decision_of(b, 1).1.uses += 1), ["order"]);
    assert_eq!(one(&|b| decision_of(b, 1).1.consumer = "tiers".to_owned()), ["document-bytes", "order"]);
    assert_eq!(one(&|b| decision_of(b, 1).1.purpose = "other".to_owned()), ["document-bytes"]);
    assert_eq!(one(&|b| decision_of(b, 1).1.user = "other".to_owned()), ["document-bytes"]);
    assert_eq!(one(&|b| decision_of(b, 1).1.snapshot = None), ["order"]);
    assert_eq!(one(&|b| decision_of(b, 3).1.reasons.clear()), ["order"]);
    let outcome = |b: &mut Book, change: &dyn Fn(&mut perron_model::entry::Outcome)| {
        let at = b.find(|body| matches!(body, Body::Outcome(_)));
        let Body::Outcome(outcome) = &mut b.lines[at].entry.body else { unreachable!() };
        change(outcome);
    };
    // The next evaluation saw other uses than this outcome tells.
    assert_eq!(one(&|b| outcome(b, &|o| o.uses -= 1)), ["document-bytes", "order"]);
    assert_eq!(one(&|b| outcome(b, &|o| o.decision = Digest::of(b"none"))), ["order"]);
    assert_eq!(one(&|b| outcome(b, &|o| o.status = OutcomeStatus::NothingLeft)), ["order"]);
    // A second outcome of one decision.
    assert_eq!(
        one(&|b| {
            let at = b.find(|body| matches!(body, Body::Outcome(_)));
            let mut again = b.lines[at].clone();
            again.entry.blind = [77; 16].into();
            b.lines.insert(at + 1, again);
        }),
        ["order"]
    );
    // The crash's open read is forgotten.
    let unknown =
        world.provider.find(|b| matches!(b, Body::Outcome(o) if o.status == OutcomeStatus::UnknownAfterCrash));
    assert_eq!(one(&|b| drop(b.lines.remove(unknown))), ["order"]);
    // An entry outside of the chain that it belongs to.
    let first = decided(&world.provider);
    assert_eq!(one(&|b| b.lines[first].entry.chain = None)[0], "chain-gap");
}

fn decided(book: &Book) -> usize {
    book.find(|b| matches!(b, Body::Decision(_)))
}

#[test]
fn attachments_are_what_their_entries_bind() {
    let world = World::new(3);
    for (at, line) in world.provider.lines.iter().enumerate() {
        for place in 0..line.attachments.len() {
            let kind = line.attachments[place].0;
            let one =
                |change: &dyn Fn(&mut Attachments)| changed(&world, |book| change(&mut book.lines[at].attachments));
            let flipped = one(&|a| a[place].1[20 % line.attachments[place].1.len()] ^= 1);
            assert!(flipped.contains(&"document-bytes"), "entry {at}, kind {kind}: {flipped:?}");
            let unknown = one(&|a| a[place].0 = 99);
            assert!(unknown.contains(&"document-bytes"), "entry {at}, kind {kind}: {unknown:?}");
            let gone = one(&|a| drop(a.remove(place)));
            assert!(gone.contains(&"document-bytes"), "entry {at}, kind {kind}: {gone:?}");
        }
        let more = changed(&world, |book| book.lines[at].attachments.push((AttachmentKind::Document as u16, vec![1])));
        assert_eq!(more, ["document-bytes"], "entry {at}");
    }
}

#[test]
fn a_document_that_its_entry_binds_must_be_signed_too() {
    let world = World::new(2);
    // A request whose signature is broken, bound by its digest all the same.
    let broken = changed(&world, |book| {
        let at = decided(book);
        let jws = String::from_utf8(book.lines[at].attachments[0].1.clone()).unwrap();
        let (head, signature) = jws.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        let jws = format!("{head}.{other}{}", &signature[1..]);
        book.lines[at].attachments[0].1 = jws.clone().into_bytes();
        decision_of(book, 0).1.request = Digest::of(jws.as_bytes());
    });
    assert_eq!(broken, ["document-signature"]);
    // A request by another's key.
    let foreign = changed(&world, |book| {
        let mut asked = crate::world::ask(&world.inter, &world.ville, world.deal.id, 0);
        let key = world.tiers.key(perron_model::participant::KeyUse::Request);
        let payload = perron_model::canonical::to_bytes(&asked.claims).unwrap();
        asked.jws = crate::support::compact(&key, perron_model::request::REQUEST_TYP, &payload);
        let at = decided(book);
        book.lines[at].attachments[0].1 = asked.jws.clone().into_bytes();
        decision_of(book, 0).1.request = asked.digest();
    });
    assert_eq!(foreign, ["document-signature"]);
    // Another evaluation's input, bound by its commitment.
    let input = changed(&world, |book| {
        let asked = crate::world::ask(&world.inter, &world.ville, world.deal.id, 0);
        let input = crate::world::input_of(&asked, 5);
        let at = decided(book);
        decision_of(book, 0).1.input = Some(Digest::of(&input));
        book.lines[at].attachments[1].1 = input;
    });
    assert_eq!(input, ["document-bytes"]);
}

/// A clock that is behind its register refuses before any policy is asked, in the agreement's chain.
#[test]
fn only_a_refusal_before_any_policy_has_no_input() {
    let world = World::new(2);
    let refused = |reason: &str, permitted: bool| {
        let asked = crate::world::ask(&world.inter, &world.ville, world.deal.id, 7);
        let mut book = world.provider.clone();
        crate::world::decide(&mut book, &asked, 2, permitted);
        let line = book.lines.last_mut().unwrap();
        let Body::Decision(decision) = &mut line.entry.body else { unreachable!() };
        decision.reasons = if permitted { vec![] } else { vec![reason.to_owned()] };
        decision.input = Some(Digest::of(&[9; 16]));
        line.attachments[1].1 = vec![9; 16];
        let report = verify(&world.provider_with(&book.lines), &[]).unwrap();
        report.findings.iter().any(|f| f.detail.contains("input is empty"))
    };
    assert!(!refused("clock_jump", false));
    assert!(refused("purpose_not_allowed", false));
    assert!(refused("", true));
}

#[test]
fn an_entry_tells_the_trace_of_its_request() {
    let world = World::new(2);
    let trace = perron_model::TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    let found = |signed: bool, told: Option<Vec<u8>>| {
        let mut asked = crate::world::ask(&world.inter, &world.ville, world.deal.id, 7);
        if signed {
            asked = crate::world::signed(
                &world.inter,
                perron_model::request::ReadRequest { trace: Some(trace), ..asked.claims },
            );
        }
        let mut book = world.provider.clone();
        crate::world::decide(&mut book, &asked, 2, false);
        book.lines.last_mut().unwrap().entry.trace = told.map(Into::into);
        let report = verify(&world.provider_with(&book.lines), &[]).unwrap();
        report.findings.iter().any(|f| f.detail.contains("another trace"))
    };
    assert!(!found(false, None) && !found(true, Some(trace.as_bytes().to_vec())));
    assert!(found(true, None) && found(false, Some(trace.as_bytes().to_vec())));
    assert!(found(true, Some(trace.as_bytes()[..15].to_vec())) && found(true, Some(vec![7; 16])));
}

#[test]
fn what_a_consumer_signed_of_the_chain_is_compared_with_it() {
    let world = World::new(2);
    let (first, last) = (decided(&world.provider), world.provider.lines.len() - 1);
    let disputes = |number: u64, leaf: Digest, decision: Digest| {
        let mut asked = crate::world::ask(&world.inter, &world.ville, world.deal.id, 7);
        asked.claims.seen = Some(perron_model::request::Seen { number, leaf });
        let ack =
            perron_model::request::Acknowledgement { decision, rows: 1, messages: 1, stream_root: Digest::of(b"r") };
        asked.claims.acknowledged = vec![ack];
        let key = world.inter.key(perron_model::participant::KeyUse::Request);
        let payload = perron_model::canonical::to_bytes(&asked.claims).unwrap();
        asked.jws = crate::support::compact(&key, perron_model::request::REQUEST_TYP, &payload);
        let mut book = world.provider.clone();
        crate::world::decide(&mut book, &asked, 3, true);
        let report = verify(&world.provider_with(&book.lines), &[]).unwrap();
        assert!(report.is_ok(), "{:#?}", report.findings);
        let first = format!("Who is right in 1 reads, the first at entry {}", last + 1);
        report.not_shown.iter().any(|t| t.starts_with(&first))
    };
    let line = &world.provider.lines[first];
    let (number, leaf) = (line.entry.chain.as_ref().unwrap().number, line.leaf());
    assert!(!disputes(number, leaf, leaf));
    assert!(disputes(number, Digest::of(b"other"), leaf));
    assert!(disputes(number + 1, leaf, leaf));
    assert!(disputes(number + 100, leaf, leaf));
    assert!(disputes(number, leaf, Digest::of(b"other")));
}

#[test]
fn an_envelope_needs_both_signatures_over_one_text() {
    let world = World::new(1);
    let with = |change: &dyn Fn(&mut perron_model::agreement::Envelope)| {
        changed(&world, |book| {
            let at = book.find(|b| matches!(b, Body::Agreement(_)));
            let mut envelope = serde_json::from_slice(&world.deal.envelope).unwrap();
            change(&mut envelope);
            let bytes = perron_model::canonical::to_bytes(&envelope).unwrap();
            let Body::Agreement(body) = &mut book.lines[at].entry.body else { unreachable!() };
            body.envelope = Digest::of(&bytes);
            book.lines[at].attachments[0].1 = bytes;
        })
    };
    // The file under `documents/` is the old envelope, so that it differs as well.
    let both = ["document-bytes", "document-signature", "order"];
    let bad = |kinds: Vec<&'static str>| {
        assert!(
            kinds.contains(&"document-signature") && kinds.iter().all(|k| both.contains(k) || *k == "stray-file"),
            "{kinds:?}"
        );
    };
    bad(with(&|e| drop(e.agreement.signatures.pop())));
    bad(with(&|e| e.agreement.signatures.swap(0, 1)));
    bad(with(&|e| e.agreement.signatures[1] = e.agreement.signatures[0].clone()));
    bad(with(&|e| e.consumer_entry = e.provider_entry.clone()));
    bad(with(&|e| e.provider_entry = e.provider_entry.replacen('.', "..", 1)));
    assert!(with(&|_| {}).is_empty());
}

#[test]
fn negotiations_follow_the_state_machine() {
    let world = World::new(1);
    let at = |state: &str| world.provider.find(|b| matches!(b, Body::Negotiation(n) if n.state == state));
    // Nothing was verified, so that no agreement may follow, nor the end.
    let unverified = changed(&world, |book| drop(book.lines.remove(at("VERIFIED"))));
    assert_eq!(unverified, ["order"]);
    let state = changed(&world, |book| {
        let Body::Negotiation(step) = &mut book.lines[at("AGREED")].entry.body else { unreachable!() };
        step.state = "OFFERED".to_owned();
    });
    assert_eq!(state, ["order"]);
    let by = changed(&world, |book| {
        let Body::Negotiation(step) = &mut book.lines[at("AGREED")].entry.body else { unreachable!() };
        step.by = "consumer".to_owned();
    });
    assert!(by.contains(&"order"), "{by:?}");
    let told = changed(&world, |book| {
        let Body::Negotiation(step) = &mut book.lines[at("AGREED")].entry.body else { unreachable!() };
        step.counterparty = "tiers".to_owned();
    });
    assert_eq!(told, ["document-bytes", "order"]);
    // The agreement stands before it was verified.
    let early = changed(&world, |book| {
        let agreement = book.find(|b| matches!(b, Body::Agreement(_)));
        book.lines.swap(agreement - 1, agreement);
        let (a, b) = (book.lines[agreement - 1].entry.time, book.lines[agreement].entry.time);
        (book.lines[agreement - 1].entry.time, book.lines[agreement].entry.time) = (b, a);
    });
    assert_eq!(early, ["order"]);
    // A second agreement entry of the same agreement.
    let twice = changed(&world, |book| {
        let at = book.find(|b| matches!(b, Body::Agreement(_)));
        let again = book.lines[at].clone();
        book.lines.insert(at + 1, again);
    });
    assert_eq!(twice, ["order"]);
}

#[test]
fn a_consumers_record_is_what_the_provider_proves() {
    let world = World::new(2);
    let receipt_at = world.consumer.find(|b| matches!(b, Body::Received(r) if r.decision.is_some()));
    let body = |change: &dyn Fn(&mut perron_model::entry::Received)| {
        changed_consumer(&world, |book| {
            let Body::Received(received) = &mut book.lines[receipt_at].entry.body else { unreachable!() };
            change(received);
        })
    };
    assert_eq!(body(&|r| r.rows += 1), ["document-bytes"]);
    assert_eq!(body(&|r| r.messages -= 1), ["document-bytes"]);
    assert_eq!(body(&|r| r.stream_root = Digest::of(b"other")), ["document-bytes"]);
    assert_eq!(body(&|r| r.decision = Some(Digest::of(b"other"))), ["document-bytes"]);
    assert_eq!(body(&|r| r.outcome = None), ["document-bytes"]);
    assert_eq!(body(&|r| r.decision = None), ["document-bytes"]);
    assert_eq!(body(&|r| r.receipt = Some(Digest::of(b"other"))), ["document-bytes"]);
    let receipt = |change: &dyn Fn(&mut perron_model::request::Receipt)| {
        changed_consumer(&world, |book| {
            let attached = &mut book.lines[receipt_at].attachments[1].1;
            let mut receipt = serde_json::from_slice(attached).unwrap();
            change(&mut receipt);
            *attached = perron_model::canonical::to_bytes(&receipt).unwrap();
            let bound = Digest::of(attached);
            let Body::Received(received) = &mut book.lines[receipt_at].entry.body else { unreachable!() };
            received.receipt = Some(bound);
        })
    };
    assert!(receipt(&|_| {}).is_empty());
    assert_eq!(receipt(&|r| r.decision_proof = r.outcome_proof.clone()), ["document-signature"]);
    assert_eq!(receipt(&|r| r.decision = r.outcome.clone()), ["document-signature"]);
    assert_eq!(receipt(&|r| r.outcome.clear()), ["document-bytes"]);
    assert_eq!(
        receipt(&|r| r.decision_proof = r.decision_proof.replacen("index ", "index 1", 1)),
        ["document-signature"]
    );
    assert_eq!(receipt(&|r| r.stream_salt.clear()), ["document-bytes"]);
    // What was received was never intended.
    let intent = world.consumer.find(|b| matches!(b, Body::Intent(_)));
    assert_eq!(changed_consumer(&world, |b| drop(b.lines.remove(intent))), ["order"]);
}

#[test]
fn a_register_that_is_older_or_another_is_found() {
    let world = World::new(1);
    let seen = |version: u64, digest: Digest| {
        changed(&world, |book| {
            let last = book.lines.iter().rposition(|l| matches!(l.entry.body, Body::RegisterSeen(_))).unwrap();
            book.lines[last].entry.body = Body::RegisterSeen(perron_model::entry::RegisterSeen { version, digest });
        })
    };
    assert_eq!(seen(1, Digest::of(b"other")), ["document-bytes", "order"]);
    assert_eq!(seen(0, Digest::of(b"other")), ["order"]);
    assert_eq!(seen(2, Digest::of(b"other")), ["older-state"]);
}

#[test]
fn a_leaf_that_is_no_entry_is_found() {
    let world = World::new(1);
    let dir = world.provider_with(&[]);
    let settings = perron_log::LogSettings::new(world.ville.origin(), 1, Box::new(world.ville.log_signer()));
    let files = std::sync::Arc::new(perron_log::OsFiles);
    let (mut log, _) = perron_log::Log::open(files, perron_log::Layout::new(&dir), settings, &[]).unwrap();
    let mut leaf = world.provider.lines[0].entry.to_bytes().unwrap();
    leaf.push(0);
    log.append(&[perron_log::NewEntry { leaf, attachments: vec![] }]).unwrap();
    log.publish().unwrap();
    let kinds = verify(&dir, &[]).unwrap().kinds();
    // The document of an agreement that this log doesn't have is a stray one.
    assert_eq!(kinds, ["entry-encoding", "stray-file"]);
}

#[test]
fn the_intent_beside_a_request_is_of_the_consumers_log_and_about_it() {
    use base64::Engine;
    let world = World::new(2);
    let (log, _) = crate::support::write_log(&world.dir("inter-again"), &world.inter, &world.consumer.lines, 4);
    let intent = world.consumer.find(|b| matches!(b, Body::Intent(_)));
    let leaf = world.consumer.lines[intent].entry.to_bytes().unwrap();
    let proof = log.reader().receipt(intent as u64, None).unwrap().to_string();
    let beside = |leaf: &[u8], proof: &str| {
        let intent = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(leaf);
        let beside = perron_model::request::Beside { intent, intent_proof: proof.to_owned(), held_size: 0 };
        perron_model::canonical::to_bytes(&beside).unwrap()
    };
    let kinds = |number: usize, bytes: Vec<u8>, bound: Digest| {
        changed(&world, |book| {
            let (at, decision) = decision_of(book, number);
            decision.beside = Some(bound);
            book.lines[at].attachments.push((AttachmentKind::Beside as u16, bytes.clone()));
        })
    };
    let own = |number: usize, bytes: Vec<u8>| kinds(number, bytes.clone(), Digest::of(&bytes));
    assert_eq!(own(0, beside(&leaf, &proof)), Vec::<&str>::new());
    assert_eq!(own(1, beside(&leaf, &proof)), ["document-bytes"]);
    assert_eq!(own(0, b"{}".to_vec()), ["document-bytes"]);
    // In no tree that the consumer signed: another leaf, and one of the provider's own.
    assert_eq!(own(0, beside(&world.consumer.lines[0].entry.to_bytes().unwrap(), &proof)), ["document-signature"]);
    let of_provider = world.notes.last().unwrap();
    let foreign = format!("{}\n\n{of_provider}", proof.split("\n\n").next().unwrap());
    assert_eq!(own(0, beside(&leaf, &foreign)), ["document-signature"]);
    assert_eq!(kinds(0, beside(&leaf, &proof), Digest::of(b"another")), ["document-bytes"]);
}
