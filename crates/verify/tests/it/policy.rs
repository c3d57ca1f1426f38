//! Policies of witnesses: what is final, and what a log says of logs that no register knows.

use crate::second::{agrees, verify};
use crate::world::{World, checkpoint_of};
use perron_log::note::NoteSigner;
use perron_log::{Checkpoint, Cosigner, Hash, Policy, SignedNote, Signer};
use perron_model::Digest;
use perron_model::entry::{self, AttachmentKind, Body};
use perron_verify::{Judged, Options, Report, verify_with};
use std::path::Path;

/// A witness that no register names.
fn stranger(seed: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/{seed}"), &[seed; 32]).unwrap()
}

/// Puts a note, cosigned, where the provider keeps what such a witness cosigned.
fn keep(dir: &Path, by: &Cosigner, note: &str, seconds: u64) -> String {
    let mut cosigned = SignedNote::parse(note).unwrap();
    cosigned.signatures.push(by.cosign(&checkpoint_of(note), seconds).unwrap());
    let name = format!("trust/cosigned/vkey+{}.checkpoint", by.verifier().fingerprint());
    std::fs::write(dir.join(&name), cosigned.to_string()).unwrap();
    name
}

fn judged(world: &World, policy: &str) -> (Report, Judged) {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let report = verify_with(&world.dir("ville"), &Options { policy: Some(policy), ..Options::default() }).unwrap();
    let judged = report.policy.clone().unwrap();
    (report, judged)
}

fn both(world: &World) -> String {
    let log = world.ville.log_signer();
    let inter = world.inter.cosigner();
    format!(
        "log {}\nwitness w {}\nwitness inter {}\ngroup two all w inter\nquorum two\n",
        log.verifier().to_vkey(),
        stranger(77).verifier().to_vkey(),
        inter.verifier().to_vkey(),
    )
}

#[test]
fn a_log_is_final_up_to_where_its_quorum_saw_it() {
    let world = World::new(4);
    let (small, large) = (checkpoint_of(&world.notes[3]).size, checkpoint_of(&world.notes[4]).size);
    let (report, open) = judged(&world, &both(&world));
    assert!(report.is_ok() && !open.is_final && open.quorum == "open" && open.size.is_none());
    keep(&world.dir("ville"), &stranger(77), &world.notes[3], 1_790_000_100);
    assert!(!judged(&world, &both(&world)).1.is_final);
    world.cosign(&world.inter, &world.notes[4], 1_790_000_200);
    let (report, met) = judged(&world, &both(&world));
    agrees(&world.dir("ville"), &report);
    assert_eq!((met.quorum, met.is_final, met.size), ("met", true, Some(small)));
    assert_eq!(met.at.as_deref(), Some("2026-09-21T14:16:40.000Z"));
    assert_eq!(met.witnesses.iter().map(|w| w.size).collect::<Vec<_>>(), [Some(small), Some(large)]);
    let said = report.statements.last().unwrap();
    assert!(said.starts_with(&format!("Final up to entry {} at 2026-09-21T14:16:40.000Z", small - 1)), "{said}");
    // Without a policy it is said whose word is missing.
    let report = verify(&world.dir("ville"), &[]).unwrap();
    assert!(report.is_ok() && report.policy.is_none());
    assert!(report.not_shown.iter().any(|t| t.contains("Who cosigned 1 heads")), "{:?}", report.not_shown);
}

#[test]
fn nothing_is_final_of_another_log_or_of_one_that_does_not_verify() {
    let world = World::new(3);
    let dir = world.dir("ville");
    let file = keep(&dir, &stranger(77), &world.notes[3], 100);
    let one = format!("witness w {}\nquorum w\n", stranger(77).verifier().to_vkey());
    assert!(judged(&world, &one).1.is_final);
    let other = Signer::from_seed("elsewhere/log", &[5; 32]).unwrap();
    let (report, another) = judged(&world, &format!("log {}\n{one}", other.verifier().to_vkey()));
    assert!(report.is_ok() && another.quorum == "another-log" && !another.is_final);
    let (_, unasked) = judged(&world, "quorum none\n");
    assert_eq!(
        (unasked.quorum, unasked.is_final, unasked.size),
        ("none", true, Some(world.provider.lines.len() as u64))
    );
    // A cosignature over another history, or one that doesn't verify.
    let head = checkpoint_of(&world.notes[3]);
    let forked =
        Checkpoint::new(&head.origin, head.size, Hash::of(b"other")).sign(&[&world.ville.log_signer()]).unwrap();
    keep(&dir, &stranger(77), &forked.to_string(), 100);
    let (report, open) = judged(&world, &one);
    assert!(report.kinds().contains(&"rewrite") && !open.is_final, "{:?}", report.kinds());
    agrees(&dir, &report);
    let mut note = SignedNote::parse(&world.notes[3]).unwrap();
    note.signatures.push(stranger(77).cosign(&checkpoint_of(&forked.to_string()), 100).unwrap());
    std::fs::write(dir.join(&file), note.to_string()).unwrap();
    let (report, open) = judged(&world, &one);
    assert!(report.kinds() == ["signature"] && !open.is_final, "{:?}", report.kinds());
    // A file without a line of the key that it is named after.
    std::fs::write(dir.join(&file), &world.notes[3]).unwrap();
    assert_eq!(verify(&dir, &[]).unwrap().kinds(), ["signature"]);
}

/// The consumer's log tells of a log that no register knows, by this key, with this note.
fn outside(world: &World, key: Option<String>, note: &SignedNote, with_file: bool) -> Report {
    let head = checkpoint_of(&note.to_string());
    let mut book = world.consumer.clone();
    book.lines.pop();
    let body = entry::CheckpointKept {
        origin: head.origin.clone(),
        size: head.size,
        root: Digest::from_bytes(head.root.0),
        key,
    };
    book.push(Body::CheckpointKept(body), None, vec![(AttachmentKind::Checkpoint, note.to_string().into_bytes())]);
    crate::world::stop(&mut book);
    let dir = world.consumer_with(&book.lines);
    if with_file {
        let name = format!("trust/kept/outside+{}.checkpoint", Hash::of(head.origin.as_bytes()));
        std::fs::write(dir.join(name), note.to_string()).unwrap();
    }
    verify(&dir, &[]).unwrap()
}

#[test]
fn a_log_that_no_register_knows_is_verified_by_the_key_that_its_entry_names() {
    let world = World::new(2);
    let signer = Signer::from_seed("elsewhere.example/key", &[5; 32]).unwrap();
    let vkey = Some(signer.verifier().to_vkey());
    let note = Checkpoint::new("elsewhere/log", 9, Hash::of(b"root")).sign(&[&signer]).unwrap();
    let good = outside(&world, vkey.clone(), &note, true);
    assert!(good.is_ok(), "{:#?}", good.findings);
    assert_eq!(outside(&world, vkey.clone(), &note, false).kinds(), ["missing-file"]);
    assert!(outside(&world, None, &note, true).kinds().contains(&"signature"));
    let other = Signer::from_seed("elsewhere.example/key", &[6; 32]).unwrap();
    assert!(outside(&world, Some(other.verifier().to_vkey()), &note, true).kinds().contains(&"signature"));
    assert!(outside(&world, Some(stranger(5).verifier().to_vkey()), &note, true).kinds().contains(&"signature"));
    // Of a participant's log only the register has the keys.
    let theirs = SignedNote::parse(&world.notes[5]).unwrap();
    let own = world.ville.log_signer().verifier().to_vkey();
    assert!(outside(&world, Some(own), &theirs, false).kinds().contains(&"signature"));
}
