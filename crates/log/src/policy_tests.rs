use super::*;
use crate::Checkpoint;
use crate::cosignature::Cosigner;
use crate::keys::Signer;
use crate::merkle::Hash;
use crate::note::NoteSigner as _;

fn log(seed: u8) -> Signer {
    Signer::from_seed(&format!("example.com/log{seed}"), &[seed; 32]).unwrap()
}

fn witness(seed: u8) -> Cosigner {
    Cosigner::from_seed(&format!("example.com/witness{seed}"), &[seed; 32]).unwrap()
}

fn log_key(seed: u8) -> String {
    log(seed).verifier().to_vkey()
}

fn key(seed: u8) -> String {
    witness(seed).verifier().to_vkey()
}

/// The example of the specification: two of three, and any of three.
fn example() -> String {
    let mut text = format!("# two operators\n\nlog {}\n", log_key(1));
    for (name, seed) in [("X1", 11), ("X2", 12), ("X3", 13), ("Y1", 21), ("Y2", 22), ("Y3", 23)] {
        text.push_str(&format!("\twitness  {name} {}\n", key(seed)));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n  # both \ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn seen(witness: usize, size: u64, time_unix_s: u64) -> Cosigned {
    Cosigned { witness, size, time_unix_s }
}

#[test]
fn a_quorum_is_met_at_the_largest_size_that_all_of_it_saw() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(policy.witnesses().len(), 6);
    for (cosigned, verdict) in [
        (vec![], Verdict::Open),
        (vec![seen(0, 5, 100), seen(1, 5, 100)], Verdict::Open),
        (vec![seen(0, 5, 100), seen(3, 5, 100), seen(4, 5, 100)], Verdict::Open),
        (vec![seen(0, 5, 100), seen(1, 5, 110), seen(5, 5, 105)], Verdict::Final { size: 5, at_unix_s: 110 }),
        // Whoever saw more saw less too, and one who came later isn't needed.
        (
            vec![seen(0, 9, 100), seen(1, 7, 120), seen(2, 8, 300), seen(3, 8, 90)],
            Verdict::Final { size: 8, at_unix_s: 300 },
        ),
        (vec![seen(0, 9, 100), seen(1, 7, 120), seen(3, 7, 90)], Verdict::Final { size: 7, at_unix_s: 120 }),
        // One and the same twice is one; a head of no leaf shows nothing.
        (vec![seen(0, 9, 100), seen(0, 8, 90), seen(3, 9, 90)], Verdict::Open),
        (vec![seen(0, 0, 100), seen(1, 0, 90), seen(3, 0, 90)], Verdict::Open),
    ] {
        assert_eq!(policy.judge(&cosigned), verdict, "{cosigned:?}");
    }
}

#[test]
fn a_single_witness_or_nobody_may_be_the_quorum() {
    let one = Policy::parse(format!("witness w {} http://127.0.0.1:1\nquorum w\n", key(3)).as_bytes()).unwrap();
    assert_eq!(one.judge(&[]), Verdict::Open);
    assert_eq!(one.judge(&[seen(0, 4, 7), seen(0, 2, 5)]), Verdict::Final { size: 4, at_unix_s: 7 });
    assert_eq!(one.witnesses()[0].url.as_deref(), Some("http://127.0.0.1:1"));
    let nobody = Policy::parse(b"quorum none\n").unwrap();
    assert_eq!(nobody.judge(&[]), Verdict::Unasked);
    assert!(nobody.is_about(&[log(1).verifier().clone()]), "one that names no log is about any");
    let other = Policy::parse(format!("log {}\nquorum none\n", log_key(2)).as_bytes()).unwrap();
    assert!(other.is_about(&[log(1).verifier().clone(), log(2).verifier().clone()]));
    assert!(!other.is_about(&[log(1).verifier().clone()]));
}

#[test]
fn cosignatures_are_verified_and_strangers_count_for_nothing() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let head = Checkpoint::new("example.com/log1", 4, Hash([7; 32]));
    let mut note = head.sign(&[&log(1)]).unwrap();
    assert!(policy.cosigned(&note, 4).unwrap().is_empty());
    note.signatures.push(witness(12).cosign(&head, 100).unwrap());
    note.signatures.push(witness(99).cosign(&head, 100).unwrap());
    note.signatures.push(witness(13).cosign(&head, 0).unwrap());
    assert_eq!(policy.cosigned(&note, 4).unwrap(), [seen(1, 4, 100)]);
    let other = Checkpoint::new("example.com/log1", 4, Hash([8; 32]));
    note.signatures.push(witness(11).cosign(&other, 100).unwrap());
    assert!(matches!(policy.cosigned(&note, 4), Err(NoteError::BadSignature { .. })));
}

#[test]
fn what_is_not_understood_is_refused() {
    let (a, b) = (format!("witness a {}\n", key(1)), format!("witness b {}\n", key(2)));
    let two = format!("{a}{b}");
    let bad = [
        String::new(),
        "\n".to_owned(),
        "quorum none".to_owned(),
        a.clone(),
        format!("{a}quorum b\n"),
        format!("quorum a\n{a}"),
        format!("{a}quorum a\nquorum none\n"),
        format!("{a}quorum a b\n"),
        format!("{a}{a}quorum a\n"),
        format!("{a}witness b {}\nquorum a\n", key(1)),
        format!("{a}witness a {}\nquorum a\n", key(2)),
        format!("witness none {}\nquorum none\n", key(1)),
        format!("{two}group g any\nquorum g\n"),
        format!("{two}group g 0 a b\nquorum g\n"),
        format!("{two}group g 3 a b\nquorum g\n"),
        format!("{two}group g 01 a b\nquorum g\n"),
        format!("{two}group g +1 a b\nquorum g\n"),
        format!("{two}group g some a b\nquorum g\n"),
        format!("{two}group g any a a\nquorum g\n"),
        format!("{two}group g any a\ngroup h any a b\nquorum h\n"),
        format!("{two}group g any g\nquorum g\n"),
        format!("{two}group g any none\nquorum g\n"),
        format!("{two}group a any b\nquorum a\n"),
        format!("{two}groups g any a\nquorum a\n"),
        format!("Witness a {}\nquorum none\n", key(1)),
        format!("witness a {} url more\nquorum a\n", key(1)),
        format!("witness a {}\nquorum a\n", log_key(1)),
        format!("log {}\nquorum none\n", key(1)),
        format!("log {0}\nlog {0}\nquorum none\n", log_key(1)),
        format!("log {}\nwitness a {}\nquorum a\n", log_key(1), key(1)),
        format!("log {}x\nquorum none\n", log_key(1)),
        "log\nquorum none\n".to_owned(),
        format!("{a}quorum a\r\n"),
        format!("{a}quorum a\u{0}\n"),
        format!("{a}quorum\u{b}a\n"),
    ];
    for text in bad {
        assert!(Policy::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    let long = format!("#{}\nquorum none\n", "x".repeat(POLICY_BYTES_MAX));
    assert!(matches!(Policy::parse(long.as_bytes()), Err(PolicyError::TooLarge(_))));
    let wrong = Policy::parse(format!("{a}\n# c\nquorum c\n").as_bytes()).unwrap_err();
    assert!(matches!(&wrong, PolicyError::Line { line: 4, .. }), "{wrong}");
}

#[test]
fn names_are_opaque_bytes() {
    let mut text = b"witness \xff\xfe ".to_vec();
    text.extend_from_slice(key(1).as_bytes());
    text.extend_from_slice(b" https://\xc3\xa9\xff\nquorum \xff\xfe\n");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.judge(&[seen(0, 1, 1)]), Verdict::Final { size: 1, at_unix_s: 1 });
    let kelvin = format!("witness K {}\nquorum \u{212a}\n", key(1));
    assert!(Policy::parse(kelvin.as_bytes()).is_err());
}
