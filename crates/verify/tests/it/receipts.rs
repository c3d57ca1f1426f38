//! One read as one file: verified with the authority's key alone, and nothing of it can be another.

use crate::support::{Line, Party, Space, authority, key, public, time, write_log};
use crate::world::{World, checkpoint_of};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_model::entry::{AttachmentKind, Body};
use perron_model::participant::{KeyUse, PublicKey};
use perron_model::request::{Receipt, ReceiptFile, ReceiptKind};
use perron_model::{Result, canonical};
use perron_verify::words::Lang;
use perron_verify::{ReceiptReport, verify_receipt};

/// The receipts of all reads under the agreement, as the provider's log proves them.
fn receipts(world: &World) -> Vec<ReceiptFile> {
    let data = world.root.path().join("again");
    let lines = &world.provider.lines;
    let (log, _) = write_log(&data, &world.ville, lines, 16);
    let proof = |line: &Line| log.reader().receipt(line.entry.index, None).unwrap().to_string();
    let leaf = |line: &Line| URL_SAFE_NO_PAD.encode(line.entry.to_bytes().unwrap());
    let file = |line: &Line| {
        let (kind, request) = &line.attachments[0];
        assert_eq!(*kind, AttachmentKind::Request as u16);
        let of_it = |o: &&Line| matches!(&o.entry.body, Body::Outcome(outcome) if outcome.decision == line.leaf());
        let outcome = lines.iter().find(of_it);
        let receipt = Receipt {
            decision: leaf(line),
            outcome: outcome.map(leaf).unwrap_or_default(),
            decision_proof: proof(line),
            outcome_proof: outcome.map(proof).unwrap_or_default(),
            stream_salt: URL_SAFE_NO_PAD.encode([1; 16]),
        };
        ReceiptFile {
            kind: ReceiptKind::V1,
            envelope: serde_json::from_slice(&world.deal.envelope).unwrap(),
            request: String::from_utf8(request.clone()).unwrap(),
            receipt,
            entries: Vec::new(),
        }
    };
    let decided = |line: &&Line| matches!(line.entry.body, Body::Decision(_)) && line.entry.chain.is_some();
    lines.iter().filter(decided).map(file).collect()
}

fn verified(file: &ReceiptFile) -> Result<ReceiptReport> {
    verify_receipt(&canonical::to_bytes(file).unwrap(), &public(&authority()))
}

#[test]
fn a_receipt_says_who_read_what_for_what() {
    let world = World::new(2);
    let receipts = receipts(&world);
    let mut ended = Vec::new();
    for file in &receipts {
        let report = verified(file).unwrap();
        assert_eq!((report.provider.as_str(), report.consumer.as_str()), ("ville", "inter"));
        assert_eq!(report.agreement, world.deal.id);
        let words = report.statements_in(Lang::Fr);
        assert!(words.iter().any(|line| line.contains("`ville`") && line.contains("`inter`")), "{words:?}");
        assert_eq!(report.reasons.is_empty(), report.permitted);
        ended.push(report.outcome.as_ref().map_or("refused", |o| o.status));
        // Nobody else signed the head that the provider gave with its answer.
        assert!(report.cosigned.is_empty() && report.not_shown.len() == 3, "{report:#?}");
    }
    assert_eq!(ended, ["complete", "complete", "refused", "nothing-left", "unknown-after-crash"]);
}

#[test]
fn whatever_is_another_in_a_receipt_is_refused() {
    let world = World::new(2);
    let all = receipts(&world);
    let (file, other) = (&all[0], &all[1]);
    let refused = |change: &dyn Fn(&mut ReceiptFile)| {
        let mut changed = file.clone();
        change(&mut changed);
        assert_ne!(&changed, file);
        verified(&changed).unwrap_err().code.as_str()
    };
    let swap = |text: &str| text.replacen(&text[30..31], if &text[30..31] == "A" { "B" } else { "A" }, 1);
    assert_eq!(refused(&|f| f.request = other.request.clone()), "signature_invalid");
    assert_eq!(refused(&|f| f.request = swap(&f.request)), "signature_invalid");
    assert_eq!(refused(&|f| f.receipt.decision = other.receipt.decision.clone()), "signature_invalid");
    assert_eq!(refused(&|f| f.receipt.decision_proof = other.receipt.decision_proof.clone()), "signature_invalid");
    assert_eq!(refused(&|f| f.receipt.outcome = other.receipt.decision.clone()), "signature_invalid");
    assert_eq!(
        refused(&|f| {
            f.receipt.outcome = f.receipt.decision.clone();
            f.receipt.outcome_proof = f.receipt.decision_proof.clone();
        }),
        "signature_invalid"
    );
    assert_eq!(refused(&|f| f.envelope.agreement.signatures.reverse()), "signature_invalid");
    assert_eq!(refused(&|f| f.envelope.provider_entry = f.envelope.consumer_entry.clone()), "signature_invalid");
    assert_eq!(refused(&|f| f.entries = vec![world.space.entry(&world.tiers)]), "signature_invalid");
    let stranger: PublicKey = public(&key(9, KeyUse::Register));
    assert!(verify_receipt(&canonical::to_bytes(file).unwrap(), &stranger).is_err());
    let spaced = [canonical::to_bytes(file).unwrap(), b" ".to_vec()].concat();
    assert_eq!(verify_receipt(&spaced, &public(&authority())).unwrap_err().code.as_str(), "malformed");
}

#[test]
fn who_signs_that_it_saw_the_log_counts_unless_it_is_the_logs_own() {
    let world = World::new(1);
    let file = receipts(&world).remove(0);
    let cosigned = |by: &Party| {
        let mut file = file.clone();
        for proof in [&mut file.receipt.decision_proof, &mut file.receipt.outcome_proof] {
            let note = proof.split_once("\n\n").unwrap().1.to_owned();
            proof.push_str(&format!("{}\n", by.cosigner().cosign(&checkpoint_of(&note), 1_790_000_000).unwrap()));
        }
        verified(&file).unwrap().cosigned.into_iter().map(|c| c.by).collect::<Vec<_>>()
    };
    assert_eq!(cosigned(&world.inter), ["inter"]);
    assert!(cosigned(&world.ville).is_empty(), "of its own log");
    assert!(cosigned(&world.tiers).is_empty(), "of one whose keys the receipt doesn't have");
}

#[test]
fn newer_entries_of_the_register_are_taken() {
    let world = World::new(1);
    let mut file = receipts(&world).remove(0);
    file.entries = vec![world.space.entry(&world.ville), world.space.entry(&world.inter)];
    verified(&file).unwrap();
}

#[test]
fn a_tree_is_signed_by_no_key_that_had_ended_before() {
    let world = World::new(1);
    let file = receipts(&world).remove(0);
    let verified_after = |change: i64, by_next: bool| {
        let mut ville = Party::new(1, "ville");
        ville.change_key(KeyUse::Log, time(change));
        let mut file = file.clone();
        file.entries = vec![Space::new(&[&ville], 2).entry(&ville)];
        for proof in [&mut file.receipt.decision_proof, &mut file.receipt.outcome_proof] {
            let (place, note) = proof.split_once("\n\n").unwrap();
            if by_next {
                *proof = format!("{place}\n\n{}", checkpoint_of(note).sign(&[&ville.log_signer()]).unwrap());
            }
        }
        verified(&file).map(drop).map_err(|e| e.detail)
    };
    let refused = verified_after(-400_000, false).unwrap_err();
    assert!(refused.contains("had ended before"), "{refused}");
    // Clocks may be apart by five minutes; and the key may end after the entry.
    verified_after(-200_000, false).unwrap();
    verified_after(1_000_000, false).unwrap();
    // The tree in which the receipt ends may be a later one, by a key that came later.
    verified_after(1_000_000, true).unwrap();
    verified_after(-400_000, true).unwrap();
}

#[test]
fn a_cosignature_by_a_key_that_had_ended_counts_for_nothing() {
    let world = World::new(1);
    let mut file = receipts(&world).remove(0);
    let seconds = u64::try_from(time(0).millis() / 1000).unwrap();
    for proof in [&mut file.receipt.decision_proof, &mut file.receipt.outcome_proof] {
        let note = proof.split_once("\n\n").unwrap().1.to_owned();
        let line = world.inter.cosigner().cosign(&checkpoint_of(&note), seconds + 1000).unwrap();
        proof.push_str(&format!("{line}\n"));
    }
    for (ends, counts) in [(600_000, 0), (800_000, 1), (2_000_000, 1)] {
        let mut inter = Party::new(2, "inter");
        inter.change_key(KeyUse::Witness, time(ends));
        file.entries = vec![Space::new(&[&inter], 2).entry(&inter)];
        assert_eq!(verified(&file).unwrap().cosigned.len(), counts, "a key that ended at {ends}");
    }
}

#[test]
fn the_program_verifies_a_receipt_and_says_so_by_its_exit_code() {
    let world = World::new(1);
    let file = world.root.path().join("read.json");
    let bytes = canonical::to_bytes(&receipts(&world)[0]).unwrap();
    std::fs::write(&file, [bytes.as_slice(), b"\n"].concat()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perron-verify"));
        let ended = command.arg("--receipt").arg(&file).args(arguments).output().unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        (ended.status.code().unwrap(), said)
    };
    let (key, wrong) = (String::from(public(&authority())), String::from(public(&key(9, KeyUse::Register))));
    let (code, said) = run(&["--authority", &key, "--lang", "fr"]);
    assert!(code == 0 && said.contains("a permis à `inter`") && said.contains("ne montrent pas"), "{code}: {said}");
    let (code, said) = run(&["--authority", &key, "--json"]);
    assert!(code == 0 && said.contains("\"permitted\": true"), "{code}: {said}");
    let (code, said) = run(&["--authority", &wrong]);
    assert!(code == 1 && said.contains("signature_invalid"), "{code}: {said}");
    assert_eq!(run(&[]).0, 64, "without the authority's key");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(run(&["--authority", &key]).0, 64, "without a file");
}
