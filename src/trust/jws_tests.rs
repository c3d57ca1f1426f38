//! Each pitfall of josekit and of JWS has its test here.

use super::*;
use ed25519_dalek::{Signer, Verifier};
use josekit::jws::{ES256, HS256};

const TYP: &str = "perron-test+jws";

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs any header at all, without josekit.
fn forge(key: &SigningKey, header: &str, payload: &[u8]) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    let signature = ed25519_dalek::SigningKey::from_bytes(&key.seed()).sign(message.as_bytes());
    format!("{message}.{}", b64(signature.to_bytes()))
}

fn forge_json(key: &SigningKey, header: &str, payload: &[u8]) -> JwsJson {
    let text = forge(key, header, payload);
    let parts: Vec<&str> = text.split('.').collect();
    JwsJson {
        payload: parts[1].to_owned(),
        signatures: vec![JwsSignature { protected: parts[0].to_owned(), signature: parts[2].to_owned() }],
    }
}

fn verify(text: &str) -> Result<Verified> {
    verify_compact(text, TYP, |_| Some(key(1).public()))
}

fn refused(text: &str) -> ErrorCode {
    verify(text).unwrap_err().code
}

#[test]
fn a_document_comes_back_as_signed() {
    let text = sign_compact(&key(1), TYP, b"{\"a\":1}").unwrap();
    let read = verify(&text).unwrap();
    assert_eq!((read.payload.as_slice(), read.kid, read.key), (&b"{\"a\":1}"[..], key(1).kid(), key(1).public()));
    let header = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap();
    assert_eq!(header, header_text(&key(1).kid(), TYP).as_bytes());
    assert_eq!(text, forge(&key(1), &header_text(&key(1).kid(), TYP), b"{\"a\":1}"));
    assert_eq!(sign_compact(&key(1), TYP, b"").and_then(|t| verify(&t)).unwrap().payload, b"");
}

#[test]
fn the_vector_of_rfc_8037_verifies() {
    // RFC 8037, appendix A.4; its header is only `alg`, so it goes to josekit directly as ours do,
    // and our own parser refuses it for want of kid and typ.
    let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let public = PublicKey::try_from("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()).unwrap();
    let seed: [u8; 32] =
        URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap().try_into().unwrap();
    assert_eq!(SigningKey::from_seed(&seed).public(), public);
    let signature = URL_SAFE_NO_PAD.decode(text.rsplit('.').next().unwrap()).unwrap();
    let message = text.rsplit_once('.').unwrap().0;
    verifier(&public, &signature).unwrap().verify(message.as_bytes(), &signature).unwrap();
    let signer = EdDSA.signer_from_der(&*SigningKey::from_seed(&seed).to_der().unwrap()).unwrap();
    assert_eq!(signer.sign(message.as_bytes()).unwrap(), signature);
    assert_eq!(verify_compact(text, TYP, |_| Some(public)).unwrap_err().code, ErrorCode::SignatureInvalid);
}

#[test]
fn josekit_and_dalek_check_each_other() {
    for n in 0..20u8 {
        let payload = vec![n; usize::from(n) * 7];
        let ours = sign_compact(&key(n), TYP, &payload).unwrap();
        let (message, signature) = ours.rsplit_once('.').unwrap();
        let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).unwrap().try_into().unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        let dalek = VerifyingKey::from_bytes(key(n).public().as_bytes()).unwrap();
        dalek.verify_strict(message.as_bytes(), &signature).unwrap();
        dalek.verify(message.as_bytes(), &signature).unwrap();
        let theirs = forge(&key(n), &header_text(&key(n).kid(), TYP), &payload);
        assert_eq!(verify_compact(&theirs, TYP, |_| Some(key(n).public())).unwrap().payload, payload);
    }
}

#[test]
fn other_algorithms_are_refused() {
    let kid = key(1).kid();
    for alg in ["none", "NONE", "HS256", "ES256", "Ed25519", "EdDSA ", "eddsa", "RS256", ""] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{TYP}"}}"#);
        assert_eq!(refused(&forge(&key(1), &header, b"x")), ErrorCode::SignatureInvalid, "{alg}");
    }
    // `none` with an empty signature.
    let header = format!(r#"{{"alg":"none","kid":"{kid}","typ":"{TYP}"}}"#);
    assert_eq!(refused(&format!("{}.{}.", b64(&header), b64("x"))), ErrorCode::SignatureInvalid);
    // The right header and no signature.
    assert_eq!(refused(&format!("{}.{}.", b64(header_text(&kid, TYP)), b64("x"))), ErrorCode::SignatureInvalid);
}

#[test]
fn the_public_key_is_no_secret_of_hs256() {
    let mut header = JwsHeader::new();
    header.set_key_id(key(1).kid().to_string());
    header.set_token_type(TYP);
    let signer = HS256.signer_from_bytes(key(1).public().as_bytes()).unwrap();
    let text = JwsContext::new().serialize_compact(b"x", &header, &signer).unwrap();
    assert_eq!(refused(&text), ErrorCode::SignatureInvalid);
    let pair = ES256.generate_key_pair().unwrap();
    let signer = ES256.signer_from_der(pair.to_der_private_key()).unwrap();
    let text = JwsContext::new().serialize_compact(b"x", &header, &signer).unwrap();
    assert_eq!(refused(&text), ErrorCode::SignatureInvalid);
}

#[test]
fn only_alg_kid_and_typ_in_their_one_spelling() {
    let kid = key(1).kid();
    for header in [
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","crit":["x"],"x":1}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","crit":[]}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","b64":false,"crit":["b64"]}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","jwk":{{"kty":"OKP"}}}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","jku":"https://x"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}","x5c":[]}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","kid":"{kid}","typ":"{TYP}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{TYP}"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
        format!(r#"{{"kid":"{kid}","typ":"{TYP}"}}"#),
        format!(r#"{{"kid":"{kid}","alg":"EdDSA","typ":"{TYP}"}}"#),
        format!(r#"{{"alg":"EdDSA", "kid":"{kid}","typ":"{TYP}"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{TYP}"}} "#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"perron-other+jws"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":["{TYP}"]}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"x","typ":"{TYP}"}}"#),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        assert_eq!(refused(&forge(&key(1), &header, b"x")), ErrorCode::SignatureInvalid, "{header}");
        let json = forge_json(&key(1), &header, b"x");
        assert_eq!(verify_one(&json, TYP, &key(1).public()).unwrap_err().code, ErrorCode::SignatureInvalid, "{header}");
    }
    let long = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{}"}}"#, "x".repeat(600));
    assert_eq!(refused(&forge(&key(1), &long, b"x")), ErrorCode::TooLarge);
}

#[test]
fn another_type_of_document_is_refused() {
    let text = sign_compact(&key(1), "perron-other+jws", b"x").unwrap();
    assert_eq!(refused(&text), ErrorCode::SignatureInvalid);
}

#[test]
fn the_key_is_the_one_of_the_thumbprint() {
    let text = sign_compact(&key(2), TYP, b"x").unwrap();
    // The resolver answers with another key than asked for.
    assert_eq!(refused(&text), ErrorCode::SignatureInvalid);
    assert_eq!(verify_compact(&text, TYP, |_| None).unwrap_err().code, ErrorCode::SignatureInvalid);
    // The kid of one key, the signature of another.
    let forged = forge(&key(2), &header_text(&key(1).kid(), TYP), b"x");
    assert_eq!(refused(&forged), ErrorCode::SignatureInvalid);
}

#[test]
fn base64_has_one_spelling_and_nothing_trails() {
    let text = sign_compact(&key(1), TYP, b"ab").unwrap();
    assert!(verify(&text).is_ok());
    let parts: Vec<&str> = text.split('.').collect();
    let mut others = Vec::new();
    // The last character of 64 bytes carries four bits that say nothing: 16 spellings.
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).collect();
    for part in 0..3 {
        let (rest, last) = parts[part].split_at(parts[part].len() - 1);
        let spelled: Vec<u8> = URL_SAFE_NO_PAD.decode(parts[part]).unwrap();
        let loose = base64::engine::GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        for c in &alphabet {
            let other = format!("{rest}{c}");
            if c.to_string() != last && loose.decode(&other).is_ok_and(|b| b == spelled) {
                let mut changed = parts.clone();
                changed[part] = &other;
                others.push(changed.join("."));
            }
        }
        for tail in ["=", "==", " ", "\n", "!"] {
            let other = format!("{}{tail}", parts[part]);
            let mut changed = parts.clone();
            changed[part] = &other;
            others.push(changed.join("."));
        }
    }
    others.push(text.replace('-', "+").replace('_', "/") + "+");
    others.extend([
        format!("{text}."),
        format!("{text}.x"),
        format!(".{text}"),
        "..".into(),
        "a".into(),
        String::new(),
    ]);
    assert!(others.len() > 20 + 15);
    for other in others {
        assert!(verify(&other).is_err(), "{other}");
        let parts: Vec<&str> = other.split('.').collect();
        if let [protected, payload, signature] = parts.as_slice() {
            let json = JwsJson {
                payload: (*payload).to_owned(),
                signatures: vec![JwsSignature {
                    protected: (*protected).to_owned(),
                    signature: (*signature).to_owned(),
                }],
            };
            assert!(verify_one(&json, TYP, &key(1).public()).is_err(), "{other}");
        }
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let text = sign_compact(&key(1), TYP, b"some payload").unwrap();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(other) = String::from_utf8(bytes) {
            assert!(verify(&other).is_err(), "{at}");
        }
    }
}

#[test]
fn size_is_bounded() {
    let text = sign_compact(&key(1), TYP, &vec![b'x'; DOCUMENT_BYTES_MAX]).unwrap();
    assert_eq!(refused(&text), ErrorCode::TooLarge);
    assert!(verify_compact_within(&text, TYP, text.len(), |_| Some(key(1).public())).is_ok());
    assert_eq!(
        verify_compact_within(&text, TYP, text.len() - 1, |_| Some(key(1).public())).unwrap_err().code,
        ErrorCode::TooLarge
    );
}

#[test]
fn weak_keys_and_malleable_signatures_are_refused() {
    // The identity, and a point of order eight.
    let mut identity = [0u8; 32];
    identity[0] = 1;
    let order_eight: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    for bytes in [identity, order_eight, [0xff; 32], [2; 32]] {
        let weak = PublicKey::from_bytes(bytes);
        let Err(error) = require_strong(&weak) else {
            // Two is a point or isn't; whichever, it is not the subject here.
            continue;
        };
        assert_eq!(error.code, ErrorCode::KeyInvalid);
        // With the identity as key, R = identity and S = 0 verify for any message, loosely.
        let mut signature = [0u8; 64];
        signature[0] = 1;
        let text = format!("{}.{}.{}", b64(header_text(&weak.thumbprint(), TYP)), b64("x"), b64(signature));
        assert!(verify_compact(&text, TYP, |_| Some(weak)).is_err());
    }
    assert!(require_strong(&PublicKey::from_bytes(identity)).is_err());
    assert!(require_strong(&PublicKey::from_bytes(order_eight)).is_err());
    // S + L is the same signature to a careless reader.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let text = sign_compact(&key(1), TYP, b"x").unwrap();
    let (message, signature) = text.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0u16;
    for (byte, l) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(refused(&format!("{message}.{}", b64(signature))), ErrorCode::SignatureInvalid);
}

mod two_signatures {
    use super::*;

    fn both() -> JwsJson {
        add_signature(sign_first(&key(1), TYP, b"{}").unwrap(), &key(2), TYP).unwrap()
    }

    fn keys() -> [PublicKey; 2] {
        [key(1).public(), key(2).public()]
    }

    fn refused(jws: &JwsJson) {
        assert_eq!(verify_exactly(jws, TYP, &keys()).unwrap_err().code, ErrorCode::SignatureInvalid);
    }

    #[test]
    fn both_in_their_order() {
        let jws = both();
        assert_eq!(verify_exactly(&jws, TYP, &keys()).unwrap(), b"{}");
        assert_eq!(kids_of(&jws, TYP).unwrap(), [key(1).kid(), key(2).kid()]);
        let swapped = JwsJson {
            payload: jws.payload.clone(),
            signatures: vec![jws.signatures[1].clone(), jws.signatures[0].clone()],
        };
        refused(&swapped);
        assert!(verify_exactly(&jws, TYP, &[key(1).public(), key(1).public()]).is_err());
        assert!(verify_exactly(&jws, "perron-other+jws", &keys()).is_err());
    }

    #[test]
    fn one_valid_of_two_is_not_two() {
        for spoiled in 0..2 {
            let mut jws = both();
            jws.signatures[spoiled].signature = b64([9u8; 64]);
            refused(&jws);
            let mut jws = both();
            jws.signatures[spoiled].signature = jws.signatures[1 - spoiled].signature.clone();
            refused(&jws);
        }
        // What josekit alone says of the same document: valid, by the first good signature.
        let mut jws = both();
        jws.signatures[1].signature = b64([9u8; 64]);
        let text = serde_json::to_string(&jws).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(&jws.signatures[0].signature).unwrap();
        let verifier = verifier(&key(1).public(), &signature).unwrap();
        assert!(JwsContext::new().deserialize_json(text, &*verifier).is_ok());
    }

    #[test]
    fn one_signer_twice_is_not_two() {
        let mut jws = both();
        jws.signatures[1] = jws.signatures[0].clone();
        refused(&jws);
        let once = sign_first(&key(1), TYP, b"{}").unwrap();
        assert_eq!(add_signature(once, &key(1), TYP).unwrap_err().code, ErrorCode::SignatureInvalid);
    }

    #[test]
    fn exactly_as_many_as_due() {
        let mut jws = both();
        jws.signatures.push(jws.signatures[0].clone());
        refused(&jws);
        assert!(kids_of(&jws, TYP).is_err());
        jws.signatures.truncate(1);
        refused(&jws);
        assert_eq!(verify_one(&jws, TYP, &key(1).public()).unwrap(), b"{}");
        assert!(verify_one(&jws, TYP, &key(2).public()).is_err());
        assert!(verify_one(&both(), TYP, &key(1).public()).is_err());
        jws.signatures.clear();
        refused(&jws);
        assert!(verify_one(&jws, TYP, &key(1).public()).is_err());
        assert!(add_signature(both(), &key(3), TYP).is_err());
    }

    #[test]
    fn unprotected_headers_are_refused() {
        // `JwsJson` has no place for them: such a document can't even be read.
        let jws = both();
        for extra in [r#""header":{"alg":"EdDSA"}"#, r#""header":{}"#, r#""alg":"EdDSA""#] {
            let text = serde_json::to_string(&jws).unwrap();
            let spoiled = text.replacen(r#"{"protected""#, &format!(r#"{{{extra},"protected""#), 1);
            assert_ne!(text, spoiled);
            assert!(serde_json::from_str::<JwsJson>(&spoiled).is_err(), "{extra}");
        }
        // And a protected header without them is not enough.
        for header in [format!(r#"{{"typ":"{TYP}"}}"#), format!(r#"{{"alg":"EdDSA","typ":"{TYP}"}}"#)] {
            let json = forge_json(&key(1), &header, b"{}");
            assert!(verify_one(&json, TYP, &key(1).public()).is_err());
        }
    }

    #[test]
    fn an_unknown_crit_is_refused_in_either() {
        let header =
            |k: &SigningKey| format!(r#"{{"alg":"EdDSA","crit":["x"],"kid":"{}","typ":"{TYP}","x":1}}"#, k.kid());
        for spoiled in 0..2 {
            let mut jws = both();
            let signer = key(spoiled as u8 + 1);
            jws.signatures[spoiled] = forge_json(&signer, &header(&signer), b"{}").signatures.remove(0);
            refused(&jws);
        }
        // What josekit alone says of it in JSON form: valid.
        let json = forge_json(&key(1), &header(&key(1)), b"{}");
        let signature = URL_SAFE_NO_PAD.decode(&json.signatures[0].signature).unwrap();
        let verifier = verifier(&key(1).public(), &signature).unwrap();
        assert!(JwsContext::new().deserialize_json(serde_json::to_string(&json).unwrap(), &*verifier).is_ok());
    }

    #[test]
    fn both_are_over_the_same_bytes() {
        let other = sign_first(&key(2), TYP, b"{\"x\":1}").unwrap();
        let mut jws = both();
        jws.signatures[1] = other.signatures[0].clone();
        refused(&jws);
        jws = both();
        jws.payload = b64("{\"x\":1}");
        refused(&jws);
    }
}
