//! Notes, checkpoints, cosignatures, receipts.

use perron_log::merkle::leaf_hash;
use perron_log::proof::ProofError;
use perron_log::{
    Checkpoint, Cosigner, Hash, KeyKind, NoteError, NoteSigner as _, SignedNote, Signer, TlogProof, Verifier,
};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
// Tests of transparency-dev/formats: a cosigner's key (type 0x04).
const COSIGNER: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

#[test]
fn vector_of_c2sp_signed_note() {
    let key = Verifier::parse_vkey(VKEY).unwrap();
    assert_eq!(key.to_vkey(), VKEY);
    assert_eq!(key.key_id(), 0x530d_903a);
    let note = SignedNote::parse(NOTE).unwrap();
    assert_eq!(note.text, "This is an example message.\n");
    assert_eq!(note.to_string(), NOTE);
    note.verify(std::slice::from_ref(&key)).unwrap();
    note.verify_only(&[key]).unwrap();
}

#[test]
fn vkey_of_a_cosigner() {
    let key = Verifier::parse_vkey(COSIGNER).unwrap();
    assert_eq!(key.kind(), KeyKind::CosignatureV1);
    assert_eq!(key.to_vkey(), COSIGNER);
}

#[test]
fn each_other_spelling_of_a_key_is_refused() {
    for bad in [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "a+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
    ] {
        assert!(Verifier::parse_vkey(bad).is_err(), "{bad}");
    }
    // A point of small order verifies anything for anyone.
    let mut small = [0; 32];
    small[0] = 1;
    assert_eq!(Verifier::new("weak", KeyKind::Ed25519, &small), Err(NoteError::BadKey("of small order")));
}

#[test]
fn one_changed_character_anywhere_is_noticed() {
    let key = [Verifier::parse_vkey(VKEY).unwrap()];
    let bytes = NOTE.as_bytes();
    for at in 0..bytes.len() {
        for change in [0x01, 0x20, 0x80] {
            let mut changed = bytes.to_vec();
            changed[at] ^= change;
            let holds = SignedNote::parse_bytes(&changed).and_then(|note| note.verify_only(&key));
            assert!(holds.is_err(), "byte {at} changed by {change:#x}");
        }
    }
}

#[test]
fn one_spelling_of_base64() {
    // 68 bytes end in one padding character, so two bits are free: four spellings.
    let spellings = ["aQM=", "aQN=", "aQO=", "aQP="].map(|end| NOTE.replace("aQM=", end));
    let parsed = spellings.iter().filter(|note| SignedNote::parse(note).is_ok());
    assert_eq!(parsed.count(), 1);
}

#[test]
fn malleable_signatures_are_refused() {
    let signer = Signer::from_seed("a.test/log", &[1; 32]).unwrap();
    let mut signature = signer.sign("text\n").unwrap();
    signer.verifier().verify("text\n", &signature).unwrap();
    // S + L, where L is the order of the base point, is the same scalar.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = u8::try_from(carry & 0xff).unwrap();
        carry >>= 8;
    }
    assert!(signer.verifier().verify("text\n", &signature).is_err());
}

#[test]
fn unknown_lines_are_ignored_by_readers_and_refused_in_own_files() {
    let (ours, other) = (signer("a.test/1"), signer("b.test/1"));
    let checkpoint = Checkpoint::new("a.test/1", 3, Hash::of(b"root"));
    let note = checkpoint.sign(&[&ours, &other]).unwrap();
    let keys = [ours.verifier().clone()];
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    assert!(matches!(note.verify_only(&keys), Err(NoteError::UnknownSignature { .. })));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownSignature));
    // One bad line of a known key condemns the note.
    let mut bad = note.clone();
    bad.signatures[0].signature[5] ^= 1;
    let both = [ours.verifier().clone(), other.verifier().clone()];
    assert!(matches!(bad.verify(&both), Err(NoteError::BadSignature { .. })));
}

fn signer(name: &str) -> Signer {
    Signer::from_seed(name, &leaf_hash(name.as_bytes()).0).unwrap()
}

#[test]
fn checkpoints_have_one_spelling() {
    let text = Checkpoint::new("a.test/1", 15, Hash::of(b"root")).to_text();
    assert_eq!(Checkpoint::parse_text(&text).unwrap().to_text(), text);
    for bad in [
        text.replace("15", "015"),
        text.replace("15", "+15"),
        text.replace("15", ""),
        text.replace("a.test/1", ""),
        format!("{text}\n"),
        text.trim_end().to_owned(),
        text.replace('=', ""),
        "a\n1\n".to_owned(),
    ] {
        assert!(Checkpoint::parse_text(&bad).is_err(), "{bad:?}");
    }
    let extended = format!("{text}extension\n");
    assert_eq!(Checkpoint::parse_text(&extended).unwrap().extensions, ["extension"]);
}

#[test]
fn cosignatures_carry_their_time() {
    let log = signer("a.test/1");
    let witness = Cosigner::from_seed("w.test", &[9; 32]).unwrap();
    let checkpoint = Checkpoint::new("a.test/1", 3, Hash::of(b"root"));
    let mut note = checkpoint.sign(&[&log]).unwrap();
    note.signatures.push(witness.cosign(&checkpoint, 1_700_000_000).unwrap());
    let text = note.to_string();
    let (logs, witnesses) = ([log.verifier().clone()], [witness.verifier().clone()]);
    let opened = Checkpoint::open(&text, "a.test/1", &logs, &witnesses).unwrap();
    assert_eq!(opened.verified[1].time_unix_s, Some(1_700_000_000));
    assert!(Checkpoint::open(&text, "other", &logs, &witnesses).is_err());
    // A witness alone isn't the log.
    assert!(Checkpoint::open(&text, "a.test/1", &[signer("z").verifier().clone()], &witnesses).is_err());
    // The time is signed.
    note.signatures[1].signature[7] ^= 1;
    assert!(Checkpoint::open(&note.to_string(), "a.test/1", &logs, &witnesses).is_err());
    assert!(witness.cosign(&checkpoint, u64::MAX).is_err());
}

#[test]
fn keys_from_pem() {
    // RFC 8410, section 10.3.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let signer = Signer::from_pkcs8_pem("rfc8410.test", pem).unwrap();
    let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    assert_eq!(Hash(signer.verifier().public_key()).to_string(), public);
    assert!(Signer::from_pkcs8_pem("x", "nonsense").is_err());
    assert!(Signer::generate("two words").is_err());
    Signer::generate("new.test").unwrap();
}

#[test]
fn receipts_parse_strictly_and_verify() {
    let log = signer("a.test/1");
    let (leaf, neighbour) = (leaf_hash(b"a"), leaf_hash(b"b"));
    let root = perron_log::merkle::node_hash(&leaf, &neighbour);
    let note = Checkpoint::new("a.test/1", 2, root).sign(&[&log]).unwrap();
    let proof = TlogProof { extra: Some(vec![1, 2, 3, 4]), index: 0, hashes: vec![neighbour], checkpoint: note };
    let text = proof.to_string();
    assert_eq!(TlogProof::parse(&text).unwrap(), proof);
    let keys = [log.verifier().clone()];
    proof.verify(&leaf, "a.test/1", &keys, &[]).unwrap();
    assert!(matches!(proof.verify(&neighbour, "a.test/1", &keys, &[]), Err(ProofError::Merkle(_))));
    assert!(matches!(proof.verify(&leaf, "a.test/2", &keys, &[]), Err(ProofError::Note(_))));
    let without = TlogProof { extra: None, ..proof };
    assert_eq!(TlogProof::parse(&without.to_string()).unwrap(), without);
    for bad in [
        text.replace("@v1", "@v2"),
        text.replace("index 0", "index 00"),
        text.replace("index 0\n", ""),
        text.replace("AQIDBA==", "AQIDBB=="),
        text.replace("AQIDBA==", "AQIDBA"),
        text.replace("\n\n", "\n"),
        format!("{text} "),
    ] {
        assert!(TlogProof::parse(&bad).is_err(), "{bad}");
    }
}
