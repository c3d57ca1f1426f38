//! A log that took the place of one that lost entries: the two together, and what a forger says of it.

use crate::second::verify;
use crate::support::{Book, Line, Party, Space, time, write_around, write_log};
use crate::world::{BATCH, SALT, World, ask, checkpoint_of, decide, end, start, stop};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_log::merkle::{Frontier, leaf_hash};
use perron_model::entry::{AttachmentKind, Body, ChainPosition, OutcomeStatus, Succession};
use perron_model::participant::KeyUse;
use perron_model::request::Receipt;
use perron_model::succession::{ALL_USED, Charged, ChargedBy, ClosedLog, HeldHead, SuccessionDocument};
use perron_model::{Digest, canonical};
use perron_verify::{Holder, Report};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Entries of the log before that were got back: one read of three is among them.
const BACK: usize = 11;
/// The batch whose head the partner kept: after three reads.
const HELD: usize = 4;

/// A change of what is said.
type Lie = Box<dyn Fn(&mut Plan)>;

/// What the owner says, and what the authority was told.
struct Plan {
    old: Vec<Line>,
    body: Succession,
    document: SuccessionDocument,
    closed: ClosedLog,
    is_begun: bool,
    uses: u64,
    kept: bool,
    changed: Option<(KeyUse, i64)>,
    signs_on: bool,
}

fn root(lines: &[Line]) -> Digest {
    let mut frontier = Frontier::new();
    lines.iter().for_each(|line| frontier.append(leaf_hash(&line.entry.to_bytes().unwrap())));
    Digest::from_bytes(frontier.root().0)
}

fn receipt(world: &World) -> Receipt {
    let (log, _) = write_log(&world.dir("whole"), &world.ville, &world.provider.lines, BATCH);
    let third = BACK + 2;
    let leaf = |index: usize| URL_SAFE_NO_PAD.encode(world.provider.lines[index].entry.to_bytes().unwrap());
    let proof = |index: usize| log.reader().receipt(index as u64, None).unwrap().to_string();
    Receipt {
        decision: leaf(third),
        outcome: leaf(third + 1),
        decision_proof: proof(third),
        outcome_proof: proof(third + 1),
        stream_salt: URL_SAFE_NO_PAD.encode(SALT),
    }
}

fn plan(world: &World) -> Plan {
    let old = world.provider.lines[..BACK].to_vec();
    let (note, head) = (world.notes[HELD].clone(), checkpoint_of(&world.notes[HELD]));
    let (size, held) = (BACK as u64, head.size);
    let heads = vec![HeldHead { by: "inter".to_owned(), size: held, note: Some(note) }];
    let charged = Charged {
        agreement: world.deal.id,
        by: ChargedBy::Partner,
        uses: 3,
        volume: 300,
        receipt: Some(receipt(world)),
    };
    let origin = world.ville.origin().to_owned();
    let (root, digest) = (root(&old), Digest::of(b"later"));
    Plan {
        old,
        body: Succession {
            origin: origin.clone(),
            size,
            root,
            held,
            lost: held - size,
            backup: None,
            document: digest,
        },
        document: SuccessionDocument { heads, charged: vec![charged], silent: vec![] },
        closed: ClosedLog { origin, size, root, held, genesis: digest, closed: time(50_000) },
        is_begun: true,
        uses: 3,
        kept: true,
        changed: None,
        signs_on: false,
    }
}

/// What an owner says that names no larger head, and these as ones who couldn't be asked.
fn unasked(world: &World, silent: &[&str]) -> Plan {
    let mut plan = plan(world);
    (plan.body.held, plan.body.lost, plan.closed.held) = (plan.body.size, 0, plan.body.size);
    plan.document.heads.clear();
    plan.document.charged = vec![Charged::lost(world.deal.id, (1, 300))];
    plan.document.silent = silent.iter().map(|who| (*who).to_owned()).collect();
    plan.uses = ALL_USED;
    plan
}

/// The lines of the next log: the succession, a start, a read that goes on counting, the end.
fn next(world: &World, ville: &Party, plan: &Plan) -> Vec<Line> {
    let mut book = Book::default();
    let later = |book: &mut Book| {
        let line = book.lines.last_mut().unwrap();
        line.entry.time = line.entry.time.plus_millis(60_000);
    };
    if plan.is_begun {
        let document = canonical::to_bytes(&plan.document).unwrap();
        let body = Succession { document: Digest::of(&document), ..plan.body.clone() };
        book.push(Body::Succession(body), None, vec![(AttachmentKind::Document, document)]);
        later(&mut book);
    }
    let before = book.lines.len();
    start(&mut book, ville, &world.space);
    let mut last = book.lines[..before].last().map(Line::leaf);
    for line in &mut book.lines[before..] {
        (line.entry.time, line.entry.previous) = (line.entry.time.plus_millis(60_000), last);
        last = Some(line.leaf());
    }
    let chained = plan.old.iter().rev().find_map(|l| l.entry.chain.clone().map(|c| (c.number, l.leaf()))).unwrap();
    let decision = decide(&mut book, &ask(&world.inter, ville, world.deal.id, 2000), plan.uses, true);
    later(&mut book);
    let line = book.lines.last_mut().unwrap();
    let agreement = world.deal.id;
    line.entry.chain = Some(ChainPosition { agreement, number: chained.0 + 1, previous: Some(chained.1) });
    let (old, decision) = (decision, line.leaf());
    assert_ne!(old, decision);
    end(&mut book, agreement, decision, OutcomeStatus::Complete, plan.uses + 1);
    later(&mut book);
    stop(&mut book);
    later(&mut book);
    book.lines
}

/// Writes the directory as planned, and verifies it with the checkpoints that the partner kept.
fn verified(world: &World, plan: &Plan) -> (PathBuf, Report) {
    let dir = world.dir("next");
    let _ = std::fs::remove_dir_all(&dir);
    let mut ville = world.ville.clone();
    ville.participant.log_origin = "liege/ville/2".to_owned();
    let old = ville.clone();
    if let Some((key_use, at)) = plan.changed {
        ville.change_key(key_use, time(at));
    }
    let lines = next(world, &ville, plan);
    let genesis = if plan.closed.genesis == Digest::of(b"later") { lines[0].leaf() } else { plan.closed.genesis };
    ville.participant.closed_logs = vec![ClosedLog { genesis, ..plan.closed.clone() }];
    let space = Space::new(&[&ville, &world.inter, &world.tiers], 2);
    write_around(&dir, &ville, &space, &[&world.deal]);
    write_log(&dir.join("generations/1"), &world.ville, &plan.old, BATCH);
    write_log(&dir, if plan.signs_on { &old } else { &ville }, &lines, BATCH);
    for left in ["quarantine", "tmp", "generations/1/quarantine", "generations/1/tmp"] {
        let _ = std::fs::remove_dir(dir.join(left));
    }
    let kept = if plan.kept { vec![world.dir("inter")] } else { vec![] };
    let report = verify(&dir, &kept).unwrap();
    (dir, report)
}

#[test]
fn the_next_log_and_the_one_before_are_verified_together() {
    let world = World::new(3);
    let (dir, report) = verified(&world, &plan(&world));
    assert!(report.is_ok() && report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.origin.as_str(), report.closed[0].lost), ("liege/ville/2", 4));
    let lost = "This log took the place of `liege/ville/1`, which was closed after 11 entries: 4 entries at least are \
                lost, as inter held them.";
    assert!(report.statements.iter().any(|s| s == lost), "{:#?}", report.statements);
    assert!(report.not_shown.iter().any(|s| s.contains("`liege/ville/1` lost")), "{:#?}", report.not_shown);
    let asked = |report: &Report| !report.not_shown.iter().any(|s| s.contains("couldn't be asked"));
    assert!(asked(&report), "{:#?}", report.not_shown);
    // Of the log before, only what it was closed with: without it nothing is what it says.
    std::fs::remove_dir_all(dir.join("generations")).unwrap();
    assert!(verify(&dir, &[]).unwrap().kinds().contains(&"missing-file"));
}

#[test]
fn who_could_not_be_asked_is_charged_all_that_was_lost() {
    let world = World::new(3);
    let mut plan = plan(&world);
    plan.document.charged = vec![Charged::lost(world.deal.id, (1, 300))];
    plan.document.silent = vec![world.inter.id().to_string()];
    plan.uses = ALL_USED;
    let (_, report) = verified(&world, &plan);
    assert!(report.is_ok() && report.findings.is_empty(), "{:#?}", report.findings);
    plan.document.charged[0].uses = 4;
    plan.uses = 4;
    assert!(verified(&world, &plan).1.kinds().contains(&"succession"));
}

/// What an owner might say instead, with the authority's word for it where the authority can't know.
#[test]
fn a_succession_that_lies_is_found() {
    let world = World::new(3);
    let other = Digest::of(b"other");
    let lies: Vec<(&str, Lie)> = vec![
        (
            "it hides the larger head that a partner kept",
            Box::new(|p| {
                (p.body.held, p.body.lost, p.closed.held) = (p.body.size, 0, p.body.size);
                p.document.heads.clear();
            }),
        ),
        (
            "it hides the larger head that a partner kept, and another is the one that couldn't be asked",
            Box::new(|p| {
                (p.body.held, p.body.lost, p.closed.held) = (p.body.size, 0, p.body.size);
                p.document.heads.clear();
                p.document.silent = vec!["tiers".to_owned()];
            }),
        ),
        (
            "it hides a head, and the authority knows of it",
            Box::new(|p| {
                (p.body.held, p.body.lost) = (p.body.size, 0);
                (p.document.heads, p.kept) = (vec![], false);
            }),
        ),
        ("it names another head of the log before", Box::new(move |p| (p.body.root, p.closed.root) = (other, other))),
        (
            "it names another size of the log before",
            Box::new(|p| {
                (p.body.size, p.closed.size, p.body.lost) = (10, 10, 5);
            }),
        ),
        ("it names another log before", Box::new(|p| p.body.origin = "liege/ville/0".to_owned())),
        ("the register names another genesis", Box::new(move |p| p.closed.genesis = other)),
        ("fewer entries are lost", Box::new(|p| p.body.lost = 1)),
        ("the next log begins without it", Box::new(|p| p.is_begun = false)),
        (
            "an agreement is charged too little",
            Box::new(|p| {
                p.document.charged[0].uses = 2;
                p.uses = 2;
            }),
        ),
        ("an agreement isn't charged", Box::new(|p| p.document.charged.clear())),
        (
            "an agreement is charged twice",
            Box::new(|p| {
                let again = p.document.charged[0].clone();
                p.document.charged.push(again);
            }),
        ),
        (
            "the partner showed a receipt of nobody's",
            Box::new(|p| {
                let receipt = p.document.charged[0].receipt.as_mut().unwrap();
                receipt.outcome_proof = receipt.decision_proof.clone();
            }),
        ),
        ("the log before is another one by now", Box::new(|p| drop(p.old.pop()))),
    ];
    for (what, lie) in lies {
        let mut plan = plan(&world);
        lie(&mut plan);
        let (_, report) = verified(&world, &plan);
        assert!(report.kinds().contains(&"succession"), "{what}: {:#?}", report.findings);
    }
}

#[test]
fn the_checkpoints_that_it_tells_of_are_those_that_were_signed() {
    let world = World::new(3);
    let kinds = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(&world);
        change(&mut plan);
        verified(&world, &plan).1.kinds()
    };
    assert!(kinds(&|p| p.document.heads[0].size += 1).contains(&"document-bytes"));
    assert!(kinds(&|p| p.document.heads[0].note = Some("no note".to_owned())).contains(&"signature"));
    let stranger = perron_log::Signer::from_seed(world.ville.origin(), &[99; 32]).unwrap();
    let forged = checkpoint_of(&world.notes[HELD]).sign(&[&stranger]).unwrap().to_string();
    assert!(kinds(&|p| p.document.heads[0].note = Some(forged.clone())).contains(&"signature"));
    // A witness over HTTPS says a size alone.
    assert_eq!(kinds(&|p| p.document.heads[0].note = None), Vec::<&str>::new());
}

/// A checkpoint of the closed log with another root, which its owner signed.
fn twin(world: &World, size: u64) -> String {
    let head = perron_log::Checkpoint::new(world.ville.origin(), size, perron_log::Hash([7; 32]));
    head.sign(&[&world.ville.log_signer()]).unwrap().to_string()
}

/// Whoever shows two histories may close the log before the heads of both: none of them can be compared
/// with entries any more.
#[test]
fn two_heads_of_the_lost_entries_contradict_each_other() {
    let world = World::new(3);
    let size = checkpoint_of(&world.notes[HELD]).size;
    let named = |by: &str| HeldHead { by: by.to_owned(), size, note: Some(twin(&world, size)) };
    let kinds = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(&world);
        change(&mut plan);
        verified(&world, &plan).1.kinds()
    };
    assert!(kinds(&|p| p.document.heads.push(named("tiers"))).contains(&"fork"), "both are named");
    assert!(kinds(&|p| p.document.heads[0] = named("inter")).contains(&"fork"), "the other one is named");
    assert_eq!(kinds(&|p| (p.document.heads[0], p.kept) = (named("inter"), false)), Vec::<&str>::new());
    // Neither is named: a witness said the size alone.
    let (dir, report) = verified(&world, &{
        let mut plan = plan(&world);
        plan.document.heads[0].note = None;
        plan
    });
    assert!(report.is_ok(), "{:#?}", report.findings);
    let file = world.dir("twin.checkpoint");
    std::fs::write(&file, twin(&world, size)).unwrap();
    let report = verify(&dir, &[world.dir("inter"), file]).unwrap();
    assert!(report.kinds().contains(&"fork"), "{:#?}", report.findings);
}

/// What a succession tells of is all that is said: not that nobody holds more.
#[test]
fn what_others_hold_is_said_as_it_was_told() {
    let world = World::new(3);
    let mut plan = unasked(&world, &["inter", "temoin.example/w1"]);
    plan.document.heads = vec![HeldHead { by: "tiers".to_owned(), size: 4, note: Some(twin(&world, 4)) }];
    plan.kept = false;
    let (_, report) = verified(&world, &plan);
    assert!(report.is_ok() && report.findings.is_empty(), "{:#?}", report.findings);
    let says = |lines: &[String], text: &str| assert!(lines.iter().any(|line| line.contains(text)), "{lines:#?}");
    says(&report.statements, "closed after 11 entries; it names no larger head of that one.");
    says(&report.statements, "Of `liege/ville/1`, tiers held other entries");
    says(&report.not_shown, "whether it lost more than others are named to hold");
    says(
        &report.not_shown,
        "What inter and temoin.example/w1 held of `liege/ville/1`: when it was closed they couldn't be",
    );
}

/// Whoever was away when a log was closed may hold more of it than anybody said: its owner doesn't lie.
#[test]
fn a_larger_head_of_whom_nobody_could_ask_is_told_and_not_found() {
    let world = World::new(3);
    let mut plan = unasked(&world, &["inter", "tiers"]);
    let (_, report) = verified(&world, &plan);
    assert!(report.is_ok() && report.findings.is_empty(), "{:#?}", report.findings);
    let held = checkpoint_of(&world.notes[HELD]).size;
    assert_eq!(report.closed[0].shown_later, vec![Holder { by: "inter".to_owned(), size: held }]);
    let told = format!("inter holds a head of {held} entries of `liege/ville/1`, more than was told");
    assert!(report.statements.iter().any(|line| line.starts_with(&told)), "{:#?}", report.statements);
    // Of a head that nobody is known to hold, nobody can say that they couldn't be asked: neither the name
    // of its file nor its owner's own cosignature tells who does.
    plan.document.silent.extend(["larger.checkpoint".to_owned(), "ville".to_owned()]);
    let (dir, _) = verified(&world, &plan);
    let file = world.dir("larger.checkpoint");
    let cosigned = |by: &Party| {
        let line = by.cosigner().cosign(&checkpoint_of(&world.notes[HELD]), 1_790_000_100).unwrap();
        format!("{}{line}\n", world.notes[HELD])
    };
    for note in [world.notes[HELD].clone(), cosigned(&world.ville)] {
        std::fs::write(&file, note).unwrap();
        assert_eq!(verify(&dir, std::slice::from_ref(&file)).unwrap().kinds(), ["succession"]);
    }
    // What lies with its owner was in its hands.
    std::fs::create_dir_all(dir.join("generations/1/cosigned")).unwrap();
    let own = dir.join("generations/1/cosigned/inter.checkpoint");
    std::fs::write(&own, cosigned(&world.inter)).unwrap();
    assert_eq!(verify(&dir, &[]).unwrap().kinds(), ["succession"]);
    std::fs::remove_file(own).unwrap();
    // Two of them that contradict each other are two histories, whoever holds them.
    let file = world.dir("twin.checkpoint");
    std::fs::write(&file, twin(&world, held)).unwrap();
    assert!(verify(&dir, &[world.dir("inter"), file]).unwrap().kinds().contains(&"fork"));
    for left in ["log/segment", "log/tile"] {
        std::fs::remove_dir_all(dir.join(left)).unwrap();
    }
    std::fs::remove_file(dir.join("log/checkpoint")).unwrap();
    assert!(verify(&dir, &[world.dir("inter")]).unwrap().kinds().contains(&"succession"));
}

/// A succession in a log that took the place of none.
#[test]
fn a_succession_where_none_was_is_found() {
    let world = World::new(3);
    let plan = plan(&world);
    let mut book = world.provider.clone();
    let document = canonical::to_bytes(&plan.document).unwrap();
    let body = Succession { document: Digest::of(&document), ..plan.body.clone() };
    book.push(Body::Succession(body), None, vec![(AttachmentKind::Document, document)]);
    let report = verify(&world.provider_with(&book.lines), &[]).unwrap();
    assert!(report.kinds().contains(&"succession"), "{:#?}", report.findings);
}

/// A closed log is verified by the keys that were in force then, and the next one by those in force now.
#[test]
fn each_log_is_verified_by_the_keys_of_its_time() {
    let world = World::new(3);
    let verified = |at, signs_on| {
        let plan = Plan { changed: Some((KeyUse::Log, at)), signs_on, ..plan(&world) };
        let report = verified(&world, &plan).1;
        let found: BTreeSet<String> = report.findings.iter().map(|f| format!("{} {}", f.path, f.kind)).collect();
        found.into_iter().collect::<Vec<_>>()
    };
    assert!(verified(50_000, false).is_empty());
    // The key had ended before the closed log was written: clocks aren't so far apart. Nor do receipts of
    // what it lost hold then.
    let (late, lost) = ("generations/1/log key-not-in-force", "log succession");
    assert_eq!(verified(-1_000_000, false), [late, lost]);
    assert_eq!(verified(-1_000_000, true), [late, "log key-not-in-force", lost], "the old key signs on");
}

/// What an ended key signed in a closed log is dated by the heads of that log.
#[test]
fn what_was_signed_in_a_closed_log_is_dated_by_who_cosigned_it() {
    let world = World::new(3);
    let plan = Plan { changed: Some((KeyUse::Agreement, 1_000_000)), ..plan(&world) };
    let (dir, report) = verified(&world, &plan);
    let undated = |report: &Report| report.not_shown.iter().any(|s| s.contains("signed by this key, time not proven"));
    assert!(report.is_ok() && undated(&report), "{:#?}", report.not_shown);
    let seconds = u64::try_from(time(900_000).millis() / 1000).unwrap();
    let cosigned = |note: &str| {
        let line = world.tiers.cosigner().cosign(&checkpoint_of(note), seconds).unwrap();
        format!("{note}{line}\n")
    };
    let dated = dir.join("generations/1/dated");
    std::fs::create_dir(&dated).unwrap();
    let file = dated.join(format!("tiers+{seconds}.checkpoint"));
    // A head from before the agreement, then one that covers it.
    std::fs::write(&file, cosigned(&world.notes[0])).unwrap();
    assert!(undated(&verify(&dir, &[]).unwrap()));
    std::fs::write(&file, cosigned(&world.notes[2])).unwrap();
    let report = verify(&dir, &[]).unwrap();
    assert!(report.is_ok() && !undated(&report), "{:#?} {:#?}", report.findings, report.not_shown);
}
