use super::{Elsewhere, bounded, by_partner, receipt_bytes, signed_by_us, within};
use crate::connector::peers::ReceiptParts;
use crate::trust::testing::{World, id};
use perron_log::note::NoteSignature;
use perron_log::{Checkpoint, Hash, NoteSigner, SignedNote, Signer, TlogProof};
use perron_model::limits::SUCCESSION_RECEIPT_BYTES_MAX;
use perron_model::request::Receipt;
use perron_model::succession::{ALL_USED, Charged, ChargedBy, HeldHead, SuccessionDocument};
use perron_model::{AgreementId, Digest, ErrorCode, canonical};

fn note() -> SignedNote {
    let signer = Signer::from_seed("liege/huy/1", &[1; 32]).unwrap();
    Checkpoint::new("liege/huy/1", 1, Hash([3; 32])).sign(&[&signer]).unwrap()
}

fn proof(extra: Option<Vec<u8>>) -> Vec<u8> {
    TlogProof { extra, index: 0, hashes: Vec::new(), checkpoint: note() }.to_string().into_bytes()
}

fn parts() -> ReceiptParts {
    ReceiptParts {
        decision: b"decision".to_vec(),
        outcome: b"outcome".to_vec(),
        decision_proof: proof(None),
        outcome_proof: proof(None),
        stream_salt: vec![7; 16],
    }
}

#[test]
fn of_a_receipt_nothing_is_taken_that_no_signature_covers() {
    let plain = bounded(&parts()).unwrap();
    let running = ReceiptParts { outcome: Vec::new(), outcome_proof: Vec::new(), ..parts() };
    assert_eq!(bounded(&running).unwrap().outcome_proof, "");
    // Extra data of a proof is left out.
    let extra = ReceiptParts { decision_proof: proof(Some(vec![1; 100_000])), ..parts() };
    assert_eq!(bounded(&extra).unwrap(), plain);
    for (what, padded) in [
        ("a long salt", ReceiptParts { stream_salt: vec![7; 1 << 20], ..parts() }),
        ("no salt", ReceiptParts { stream_salt: Vec::new(), ..parts() }),
        ("a proof of no outcome", ReceiptParts { outcome: Vec::new(), outcome_proof: vec![b'x'; 1 << 20], ..parts() }),
        ("a sound proof of no outcome", ReceiptParts { outcome: Vec::new(), ..parts() }),
        ("an outcome without a proof", ReceiptParts { outcome_proof: Vec::new(), ..parts() }),
        ("no proof", ReceiptParts { decision_proof: b"no proof".to_vec(), ..parts() }),
        ("more than its bound", ReceiptParts { decision: vec![0; SUCCESSION_RECEIPT_BYTES_MAX], ..parts() }),
    ] {
        assert_eq!(bounded(&padded), None, "{what}");
    }
}

#[test]
fn a_padded_receipt_is_no_answer_and_none_shows_nothing_new() {
    let (world, agreement) = (World::new(&["huy"]), Digest::of(b"agreement"));
    let register = world.verified();
    let own = register.participant(&id("huy")).unwrap();
    let charged = |parts| by_partner(own, &agreement, (3, 300), parts);
    let none = Charged { agreement, by: ChargedBy::Partner, uses: 3, volume: 300, receipt: None };
    assert_eq!(charged(None), none);
    // Of nobody's log.
    assert_eq!(charged(Some(parts())), none);
    let padded = ReceiptParts { stream_salt: vec![7; 17], ..parts() };
    assert_eq!(charged(Some(padded)), Charged::lost(agreement, (3, 300)));
}

#[test]
fn a_succession_is_told_within_its_bound_whatever_partners_show() {
    let receipt = |bytes: usize| Receipt {
        decision: "x".repeat(bytes),
        outcome: String::new(),
        decision_proof: String::new(),
        outcome_proof: String::new(),
        stream_salt: String::new(),
    };
    let name = |number: usize| -> AgreementId { Digest::of(number.to_string().as_bytes()) };
    let of = |number: usize, bytes: usize| Charged {
        agreement: name(number),
        by: ChargedBy::Partner,
        uses: 9,
        volume: 0,
        receipt: Some(receipt(bytes)),
    };
    let charged: Vec<Charged> = (0..20).map(|number| of(number, if number < 8 { 4_000 } else { 400 })).collect();
    let document = SuccessionDocument { heads: Vec::new(), charged: charged.clone(), silent: Vec::new() };
    let bytes = within(20_000, document.clone(), |_| (5, 0)).unwrap();
    assert!(bytes.len() <= 20_000, "{}", bytes.len());
    let told: SuccessionDocument = canonical::from_bytes(&bytes, 20_000).unwrap();
    let (kept, lost): (Vec<&Charged>, Vec<&Charged>) = told.charged.iter().partition(|c| c.by == ChargedBy::Partner);
    // The largest went, and no more of them than had to.
    assert!(kept.len() >= 13 && (12..20).all(|number| kept.contains(&&charged[number])), "{}", kept.len());
    assert!(lost.iter().all(|c| (c.uses, &c.receipt) == (ALL_USED, &None)));
    assert_eq!(within(usize::MAX, document.clone(), |_| (5, 0)).unwrap(), canonical::to_bytes(&document).unwrap());
    assert_eq!(within(100, document, |_| (5, 0)).unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(receipt_bytes(&receipt(7)), 7);
}

#[test]
fn of_a_head_that_others_keep_our_own_signatures_are_taken() {
    let signer = Signer::from_seed("liege/huy/1", &[1; 32]).unwrap();
    let mut padded = note();
    let own = padded.signatures[0].clone();
    padded.signatures.push(NoteSignature { name: "padding".to_owned(), ..own.clone() });
    padded.signatures.push(own);
    let keys = [signer.verifier().clone()];
    let opened = Checkpoint::open(&padded.to_string(), "liege/huy/1", &keys, &[]).unwrap();
    assert_eq!(signed_by_us(&opened), note().to_string());
}

#[test]
fn of_each_who_holds_more_the_largest_head_counts() {
    let mut found = Elsewhere::default();
    let head = |by: &str, size| HeldHead { by: by.to_owned(), size, note: None };
    for (by, size) in [("huy", 5), ("visé", 9), ("huy", 7), ("huy", 6), ("visé", 9)] {
        found.add(head(by, size));
    }
    assert_eq!(found.heads, [head("visé", 9), head("huy", 7)]);
    assert_eq!((found.held(3), found.held(12)), (9, 12));
}
