//! What convicts an owner: the heads that others kept.

use crate::second::verify;
use crate::support::{Line, time};
use crate::world::{World, checkpoint_of};
use perron_log::{Checkpoint, Hash};
use perron_model::entry::{Body, OutcomeStatus};
use perron_verify::Report;
use std::path::{Path, PathBuf};

/// The provider's log with one read rewritten, whole and signed by its owner.
fn rewritten(world: &World) -> Vec<Line> {
    let mut book = world.provider.clone();
    let at = book.find(|b| matches!(b, Body::Outcome(_)));
    let Body::Outcome(outcome) = &mut book.lines[at].entry.body else { unreachable!() };
    (outcome.status, outcome.rows) = (OutcomeStatus::CutByConsumer, 1);
    book.rechain(&world.provider);
    book.lines
}

fn against(dir: &Path, other: &[PathBuf]) -> Report {
    verify(dir, other).unwrap()
}

#[test]
fn a_rewrite_by_the_owner_is_convicted_by_what_a_partner_kept() {
    let world = World::new(3);
    let dir = world.provider_with(&rewritten(&world));
    // Alone the directory can't convict its owner, and says so.
    let alone = against(&dir, &[]);
    assert!(
        alone.is_ok() && alone.not_shown.iter().any(|t| t.contains("Whether the owner rewrote")),
        "{:#?}",
        alone.findings
    );
    let convicted = against(&dir, &[world.dir("inter")]);
    assert_eq!((convicted.kinds(), convicted.outcome), (vec!["rewrite"], "tampered"));
    assert!(convicted.findings.iter().any(|f| f.path.ends_with("trust/kept/liege_ville_1.checkpoint")));
    // The head that lies before the change still agrees; nothing is said for the directory.
    assert_eq!(convicted.kept.iter().map(|k| k.size).collect::<Vec<_>>(), [checkpoint_of(&world.notes[2]).size]);
    assert_eq!(convicted.statements, ["Nothing may be said for this directory before its findings are explained."]);
    let file = world.dir("inter").join("trust/kept/liege_ville_1.checkpoint");
    assert_eq!(against(&dir, &[file]).kinds(), ["rewrite"]);
}

#[test]
fn a_rewrite_is_convicted_by_heads_that_came_back_cosigned() {
    let world = World::new(3);
    world.cosign(&world.inter, &world.notes[5], 1_790_000_100);
    let dir = world.provider_with(&rewritten(&world));
    let (from, to) = (world.dir("ville"), dir.join("trust/cosigned/inter.checkpoint"));
    std::fs::copy(from.join("trust/cosigned/inter.checkpoint"), to).unwrap();
    let report = against(&dir, &[]);
    assert_eq!(report.kinds(), ["rewrite"]);
    assert_eq!(report.findings[0].path, "trust/cosigned/inter.checkpoint");
}

#[test]
fn an_older_state_and_a_tail_cut_are_seen_against_a_kept_head() {
    let world = World::new(3);
    let kept = world.dir("inter");
    let size = usize::try_from(checkpoint_of(&world.notes[4]).size).unwrap();
    // The whole directory as it was before; and a cut, signed anew by the owner.
    for lines in [&world.provider.lines[..size - 3], &world.provider.lines[..size - 1]] {
        let dir = world.provider_with(lines);
        let report = against(&dir, std::slice::from_ref(&kept));
        assert!(report.kinds().contains(&"older-state"), "{:?}", report.kinds());
        assert_eq!(report.outcome, "tail-lost");
    }
    // What lies beyond all that others saw can be cut unseen, and the report says so.
    let dir = world.provider_with(&world.provider.lines[..world.provider.lines.len() - 1]);
    let report = against(&dir, &[kept]);
    assert!(
        report.is_ok() && report.not_shown.iter().any(|t| t.contains("a cut of the newest entries")),
        "{:#?}",
        report.findings
    );
}

#[test]
fn two_histories_under_one_key_are_a_fork() {
    let world = World::new(3);
    let head = checkpoint_of(&world.notes[4]);
    let other =
        Checkpoint::new(&head.origin, head.size, Hash::of(b"other")).sign(&[&world.ville.log_signer()]).unwrap();
    let file = world.root.path().join("other.checkpoint");
    std::fs::write(&file, other.to_string()).unwrap();
    let report = against(&world.dir("ville"), &[world.dir("inter"), file]);
    assert!(report.kinds().contains(&"fork") && report.kinds().contains(&"rewrite"), "{:?}", report.kinds());
}

#[test]
fn heads_that_are_not_by_this_log_or_not_cosigned_are_found() {
    let world = World::new(2);
    let dir = world.dir("ville");
    let file = dir.join("trust/cosigned/inter.checkpoint");
    let first = |report: Report| report.findings.first().map(|f| (f.kind, f.path.clone()));
    let signature = Some(("signature", "trust/cosigned/inter.checkpoint".to_owned()));
    std::fs::write(&file, &world.notes[3]).unwrap();
    assert_eq!(first(against(&dir, &[])), signature, "without a cosignature");
    world.cosign(&world.tiers, &world.notes[3], 5);
    std::fs::rename(dir.join("trust/cosigned/tiers.checkpoint"), &file).unwrap();
    assert_eq!(first(against(&dir, &[])), signature, "cosigned by another");
    std::fs::write(&file, "no note").unwrap();
    assert_eq!(first(against(&dir, &[])), Some(("encoding", "trust/cosigned/inter.checkpoint".to_owned())));
    std::fs::remove_file(&file).unwrap();
    let forged = Checkpoint::new(world.ville.origin(), 3, Hash::of(b"x")).sign(&[&stranger(&world)]).unwrap();
    let given = world.root.path().join("forged");
    std::fs::write(&given, forged.to_string()).unwrap();
    assert_eq!(first(against(&dir, &[given])).unwrap().0, "signature");
}

fn stranger(world: &World) -> perron_log::Signer {
    perron_log::Signer::from_seed(world.ville.origin(), &[99; 32]).unwrap()
}

#[test]
fn what_was_kept_of_others_is_signed_and_no_older_than_the_log_tells() {
    let world = World::new(3);
    let dir = world.dir("inter");
    let file = dir.join("trust/kept/liege_ville_1.checkpoint");
    let path = "trust/kept/liege_ville_1.checkpoint".to_owned();
    let found = |note: &str| {
        std::fs::write(&file, note).unwrap();
        let report = against(&dir, &[]);
        report.findings.first().map(|f| (f.kind, f.path.clone()))
    };
    assert_eq!(found(&world.notes[4]), None);
    assert_eq!(found(&world.notes[2]), Some(("older-state", path.clone())));
    let head = checkpoint_of(&world.notes[4]);
    let sign = |signer: &perron_log::Signer, root| {
        Checkpoint::new(&head.origin, head.size, root).sign(&[signer]).unwrap().to_string()
    };
    assert_eq!(found(&sign(&world.ville.log_signer(), Hash::of(b"o"))), Some(("fork", path.clone())));
    assert_eq!(found(&sign(&stranger(&world), head.root)), Some(("signature", path.clone())));
    assert_eq!(found("junk"), Some(("document-bytes", path.clone())));
    // One that a crash left ahead of the log is no fault, and is said.
    assert_eq!(found(&world.notes[6]), None);
    assert!(against(&dir, &[]).not_shown.iter().any(|t| t.contains("newer than the log's entries")));
    std::fs::remove_file(&file).unwrap();
    let report = against(&dir, &[]);
    assert_eq!((report.findings[0].kind, report.findings[0].path.clone()), ("missing-file", path));
}

#[test]
fn checkpoints_in_the_log_are_those_that_were_signed() {
    let world = World::new(3);
    let change = |change: &dyn Fn(&mut Line)| {
        let mut book = world.consumer.clone();
        let at = book.find(|b| matches!(b, Body::CheckpointKept(_)));
        change(&mut book.lines[at]);
        book.rechain(&world.consumer);
        against(&world.consumer_with(&book.lines), &[]).kinds()
    };
    assert_eq!(change(&|l| l.attachments[0].1 = world.notes[1].clone().into_bytes()), ["document-bytes"]);
    assert_eq!(change(&|l| l.attachments.clear()), ["document-bytes"]);
    let head = checkpoint_of(&world.notes[2]);
    let forged = head.sign(&[&stranger(&world)]).unwrap().to_string();
    assert_eq!(change(&|l| l.attachments[0].1 = forged.clone().into_bytes()), ["signature"]);
    // The second head kept, but of another history.
    let other = Checkpoint::new(&head.origin, head.size, Hash::of(b"o"))
        .sign(&[&world.ville.log_signer()])
        .unwrap()
        .to_string();
    let mut book = world.consumer.clone();
    let at = book.find(|b| matches!(b, Body::CheckpointKept(_)));
    crate::world::keep(&mut book, &other);
    let mut added = book.lines.pop().unwrap();
    added.entry.time = time(100 + at as i64 * 10);
    book.lines.insert(at + 1, added);
    book.rechain(&world.consumer);
    assert_eq!(against(&world.consumer_with(&book.lines), &[]).kinds(), ["fork"]);
}

#[test]
fn a_partner_whose_own_log_is_broken_still_lends_its_file() {
    let world = World::new(3);
    let segment = world.dir("inter").join("log/segment/00000000000000000000");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let report = against(&world.dir("ville"), &[world.dir("inter")]);
    assert!(report.is_ok() && report.checkpoints_compared == 1, "{:#?}", report.findings);
    assert!(report.not_shown.iter().any(|t| t.contains("`inter` kept in its own log")));
}
