//! What is as it was written verifies, and only what may be said is said.

use crate::second::{verify, verify_with};
use crate::world::World;
use perron_verify::words::Lang;
use perron_verify::{AuthoritySource, Options};

const ALONE: &str = "Nobody without this log's key changed it; its owner could have.";

#[test]
fn both_directories_verify() {
    let world = World::new(4);
    for (name, signed) in
        [("ville", ["envelope", "request"].as_slice()), ("inter", &["envelope", "request", "receipt"])]
    {
        let report = verify(&world.dir(name), &[]).unwrap();
        assert!(report.is_ok() && report.findings.is_empty(), "{name}: {:#?}", report.findings);
        assert_eq!((report.outcome, report.open_reads), ("ok", 0));
        assert_eq!(report.statements, [ALONE]);
        assert!(report.not_shown.iter().any(|t| t.contains("nobody else's checkpoint")));
        assert_eq!(report.authority.from, AuthoritySource::Directory);
        for kind in signed {
            assert!(report.signatures.get(kind).is_some_and(|n| *n > 0), "{name}: {kind}");
        }
    }
    let report = verify(&world.dir("ville"), &[]).unwrap();
    assert_eq!(report.entries.get("decision"), Some(&8));
    assert_eq!(report.size, world.provider.lines.len() as u64);
    assert_eq!(report.signatures.get("request"), Some(&8));
}

#[test]
fn cosigned_heads_say_until_when_and_by_whom() {
    let world = World::new(4);
    let size = crate::world::checkpoint_of(&world.notes[4]).size;
    world.cosign(&world.inter, &world.notes[4], 1_790_000_100);
    let one = verify(&world.dir("ville"), &[]).unwrap();
    assert!(one.is_ok(), "{:#?}", one.findings);
    let unchanged = format!(
        "Unchanged up to entry {} since 2026-09-21T14:15:00.000Z, as inter saw it. Later entries are the owner's word.",
        size - 1
    );
    assert_eq!(one.statements, [ALONE, &unchanged]);
    world.cosign(&world.tiers, &world.notes[3], 1_790_000_200);
    let two = verify(&world.dir("ville"), &[]).unwrap();
    let quorum = two.statements.last().unwrap();
    let last = crate::world::checkpoint_of(&world.notes[3]).size - 1;
    let expected = format!("inter and tiers saw one and the same history up to entry {last} at ");
    assert!(quorum.starts_with(&expected), "{quorum}");
    assert!(two.statements_in(Lang::Fr).iter().any(|t| t.contains("tel que inter l'a vu")));
    assert_eq!((two.checkpoints_compared, two.signatures.get("cosignature")), (2, Some(&2)));
}

#[test]
fn a_partners_directory_brings_all_heads_that_it_kept() {
    let world = World::new(4);
    let report = verify(&world.dir("ville"), &[world.dir("inter")]).unwrap();
    assert!(report.is_ok(), "{:#?}", report.findings);
    // Two in the partner's log, one in its file.
    assert_eq!(report.checkpoints_compared, 3);
    assert_eq!(report.kept.len(), 1);
    assert_eq!(report.kept[0].by, "inter");
    assert!(report.kept[0].at.is_some() && !report.kept[0].cosigned);
    // A file alone says whose only by its name, and not when.
    let file = world.dir("inter").join("trust/kept/liege_ville_1.checkpoint");
    let report = verify(&world.dir("ville"), &[file]).unwrap();
    assert!(report.statements[1].contains("at a time that its file doesn't tell"), "{:?}", report.statements);
    // The other way round, nothing is held of the consumer's log.
    let report = verify(&world.dir("inter"), &[world.dir("ville")]).unwrap();
    assert!(report.is_ok() && report.not_shown.iter().any(|t| t.contains("holds no checkpoint of this log")));
}

#[test]
fn the_authoritys_key_can_come_from_elsewhere() {
    let world = World::new(1);
    let right = Some(crate::support::public(&crate::support::authority()));
    let options = Options { authority: right, ..Options::default() };
    let report = verify_with(&world.dir("ville"), &options).unwrap();
    assert!(report.is_ok() && report.authority.from == AuthoritySource::Given);
    let wrong = Some(crate::support::public(&crate::support::key(9, perron_model::participant::KeyUse::Register)));
    let report = verify_with(&world.dir("ville"), &Options { authority: wrong, ..Options::default() }).unwrap();
    assert_eq!((report.kinds(), report.size), (vec!["document-signature"], 0));
    assert_eq!(report.statements, ["Nothing may be said for this directory before its findings are explained."]);
}

#[test]
fn what_cant_be_read_is_an_error_and_no_verdict() {
    let world = World::new(1);
    assert!(verify(&world.dir("nowhere"), &[]).is_err());
    assert!(verify(&world.dir("ville"), &[world.dir("nowhere")]).is_err());
    std::fs::remove_file(world.dir("ville").join("trust/authority.key")).unwrap();
    assert!(verify(&world.dir("ville"), &[]).is_err());
}

#[test]
fn a_log_past_full_tiles_verifies() {
    let world = World::new(150);
    let report = verify(&world.dir("ville"), &[world.dir("inter")]).unwrap();
    assert!(report.is_ok(), "{:#?}", report.findings);
    assert!(report.size > 256 && world.dir("ville").join("log/tile/0/000").is_file());
}
