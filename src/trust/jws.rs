//! Signatures over documents (RFC 7515, EdDSA by RFC 8037), made and verified with josekit, and
//! strict where josekit is not.
//!
//! josekit takes any one of several signatures for all of them, reads `alg` and `kid` from
//! unprotected headers too, misses an unknown `crit` in JSON form, and knows `none`. So before
//! it sees a document, the document is taken apart here: the protected header must be byte for
//! byte `{"alg":"EdDSA","kid":…,"typ":…}`, base64url must be the one canonical spelling, and
//! josekit gets each signature alone, with the one key that must have made it.

use super::keys::SigningKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use josekit::jws::{EdDSA, JwsContext, JwsHeader, JwsHeaderSet, JwsVerifier};
use perron_model::agreement::{JwsJson, JwsSignature};
use perron_model::limits::{DOCUMENT_BYTES_MAX, JWS_HEADER_BYTES_MAX};
use perron_model::participant::PublicKey;
use perron_model::{Digest, Error, ErrorCode, Result};
use serde::Deserialize;

/// What a verified compact JWS says, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The payload, as signed.
    pub payload: Vec<u8>,
    /// Thumbprint of the key that signed.
    pub kid: Digest,
    /// The key that signed.
    pub key: PublicKey,
}

/// Signs `payload` as a compact JWS whose protected header is exactly `alg`, `kid` and `typ`.
pub fn sign_compact(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<String> {
    let mut header = JwsHeader::new();
    header.set_algorithm("EdDSA");
    header.set_key_id(key.kid().to_string());
    header.set_token_type(typ);
    let signer = EdDSA.signer_from_der(&*key.to_der()?).map_err(|_| cannot_sign())?;
    let text = JwsContext::new().serialize_compact(payload, &header, &signer).map_err(|_| cannot_sign())?;
    let protected = text.split('.').next().unwrap_or_default();
    parse_header(protected, typ)?;
    Ok(text)
}

/// Verifies a compact JWS of up to `DOCUMENT_BYTES_MAX` bytes; `key_of` finds the key of a `kid`.
pub fn verify_compact(text: &str, typ: &str, key_of: impl FnOnce(&Digest) -> Option<PublicKey>) -> Result<Verified> {
    verify_compact_within(text, typ, DOCUMENT_BYTES_MAX, key_of)
}

/// As `verify_compact`, with a bound of its own in bytes.
pub fn verify_compact_within(
    text: &str,
    typ: &str,
    bytes_max: usize,
    key_of: impl FnOnce(&Digest) -> Option<PublicKey>,
) -> Result<Verified> {
    let parts = Parts::of_compact(text, bytes_max)?;
    let kid = parse_header(parts.protected, typ)?;
    let key = key_of(&kid).filter(|k| k.thumbprint() == kid).ok_or_else(|| {
        Error::new(ErrorCode::SignatureInvalid, format!("no key of thumbprint `{kid}` may sign this document"))
    })?;
    let payload = canonical_base64(parts.payload)?;
    let signature = canonical_base64(parts.signature)?;
    let verifier = verifier(&key, &signature)?;
    let (seen, _) = JwsContext::new().deserialize_compact(text, &*verifier).map_err(|_| wrong_signature())?;
    if seen != payload {
        return Err(wrong_signature());
    }
    Ok(Verified { payload, kid, key })
}

/// The payload of a compact JWS and the `kid` that it names, before anything is verified: only
/// for documents that carry the key they are signed with.
pub(super) fn peek(text: &str, typ: &str, bytes_max: usize) -> Result<(Vec<u8>, Digest)> {
    let parts = Parts::of_compact(text, bytes_max)?;
    Ok((canonical_base64(parts.payload)?, parse_header(parts.protected, typ)?))
}

/// Signs `payload` first: a JWS in JSON serialization (RFC 7515, section 7.2.1) of one signature.
pub fn sign_first(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<JwsJson> {
    let signature = sign_alone(key, typ, payload)?;
    Ok(JwsJson { payload: URL_SAFE_NO_PAD.encode(payload), signatures: vec![signature] })
}

/// Adds the second signature, over the same bytes. The first is not verified here.
pub fn add_signature(jws: JwsJson, key: &SigningKey, typ: &str) -> Result<JwsJson> {
    let [first] = jws.signatures.as_slice() else {
        return Err(wrong_count(1, jws.signatures.len()));
    };
    if parse_header(&first.protected, typ)? == key.kid() {
        return Err(Error::new(ErrorCode::SignatureInvalid, "the two signatures must be of two organisations"));
    }
    let second = sign_alone(key, typ, &payload_of(&jws)?)?;
    let JwsJson { payload, mut signatures } = jws;
    signatures.push(second);
    Ok(JwsJson { payload, signatures })
}

/// Verifies that `jws` has exactly two signatures, the first of `keys[0]`, the second of
/// `keys[1]`, each alone over the same bytes; gives the bytes.
pub fn verify_exactly(jws: &JwsJson, typ: &str, keys: &[PublicKey; 2]) -> Result<Vec<u8>> {
    let [provider, consumer] = keys;
    let [first, second] = jws.signatures.as_slice() else {
        return Err(wrong_count(2, jws.signatures.len()));
    };
    if provider == consumer {
        return Err(Error::new(ErrorCode::SignatureInvalid, "the two signatures must be of two organisations"));
    }
    let payload = payload_of(jws)?;
    verify_alone(jws, first, typ, provider, &payload)?;
    verify_alone(jws, second, typ, consumer, &payload)?;
    Ok(payload)
}

/// Verifies that `jws` has exactly one signature, of `key`; gives the bytes.
pub fn verify_one(jws: &JwsJson, typ: &str, key: &PublicKey) -> Result<Vec<u8>> {
    let [only] = jws.signatures.as_slice() else {
        return Err(wrong_count(1, jws.signatures.len()));
    };
    let payload = payload_of(jws)?;
    verify_alone(jws, only, typ, key, &payload)?;
    Ok(payload)
}

/// The payload's bytes; not verified.
pub fn payload_of(jws: &JwsJson) -> Result<Vec<u8>> {
    bounded(jws.payload.len(), DOCUMENT_BYTES_MAX)?;
    canonical_base64(&jws.payload)
}

/// The thumbprints that the signatures name, in order; not verified.
pub fn kids_of(jws: &JwsJson, typ: &str) -> Result<Vec<Digest>> {
    if jws.signatures.len() > 2 {
        return Err(wrong_count(2, jws.signatures.len()));
    }
    jws.signatures.iter().map(|s| parse_header(&s.protected, typ)).collect()
}

/// The three parts of a compact JWS.
struct Parts<'a> {
    protected: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of_compact(text: &'a str, bytes_max: usize) -> Result<Parts<'a>> {
        bounded(text.len(), bytes_max)?;
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(protected), Some(payload), Some(signature), None) => Ok(Parts { protected, payload, signature }),
            _ => Err(Error::malformed("a compact JWS has three parts")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Protected {
    alg: String,
    kid: String,
    typ: String,
}

/// Reads a protected header that must be exactly `alg` EdDSA, a thumbprint as `kid`, and `typ`.
fn parse_header(protected: &str, typ: &str) -> Result<Digest> {
    bounded(protected.len(), JWS_HEADER_BYTES_MAX)?;
    let refuse = |detail: String| Err(Error::new(ErrorCode::SignatureInvalid, detail));
    let bytes = canonical_base64(protected)?;
    let header: Protected = match serde_json::from_slice(&bytes) {
        Ok(header) => header,
        Err(_) => return refuse("the protected header must hold alg, kid and typ, and nothing else".to_owned()),
    };
    if header.alg != "EdDSA" {
        return refuse("the algorithm must be EdDSA".to_owned());
    }
    if header.typ != typ {
        return refuse(format!("the document is not of type `{typ}`"));
    }
    let Ok(kid) = Digest::parse(&header.kid) else {
        return refuse("the kid is not the thumbprint of a key (RFC 7638)".to_owned());
    };
    if bytes == header_text(&kid, typ).as_bytes() {
        Ok(kid)
    } else {
        refuse("the protected header is not in its canonical spelling".to_owned())
    }
}

/// The one spelling of a protected header (it is canonical by RFC 8785 too).
fn header_text(kid: &Digest, typ: &str) -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{typ}"}}"#)
}

fn sign_alone(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<JwsSignature> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flattened {
        #[serde(rename = "payload")]
        _payload: String,
        protected: String,
        signature: String,
    }
    let mut header = JwsHeaderSet::new();
    header.set_algorithm("EdDSA", true);
    header.set_key_id(key.kid().to_string(), true);
    header.set_token_type(typ, true);
    let signer = EdDSA.signer_from_der(&*key.to_der()?).map_err(|_| cannot_sign())?;
    let text = JwsContext::new().serialize_flattened_json(payload, &header, &signer).map_err(|_| cannot_sign())?;
    let flat: Flattened = serde_json::from_str(&text).map_err(|_| cannot_sign())?;
    parse_header(&flat.protected, typ)?;
    Ok(JwsSignature { protected: flat.protected, signature: flat.signature })
}

/// Verifies one signature as a flattened JWS of its own (RFC 7515, section 7.2.2).
fn verify_alone(jws: &JwsJson, one: &JwsSignature, typ: &str, key: &PublicKey, payload: &[u8]) -> Result<()> {
    if parse_header(&one.protected, typ)? != key.thumbprint() {
        return Err(Error::new(ErrorCode::SignatureInvalid, "a signature is not by who should have signed"));
    }
    let signature = canonical_base64(&one.signature)?;
    let verifier = verifier(key, &signature)?;
    let flat = serde_json::json!({ "protected": one.protected, "payload": jws.payload, "signature": one.signature });
    let (seen, _) = JwsContext::new().deserialize_json(flat.to_string(), &*verifier).map_err(|_| wrong_signature())?;
    if seen == payload { Ok(()) } else { Err(wrong_signature()) }
}

/// A verifier of `key`, unless key or signature are of those that OpenSSL takes and RFC 8032's
/// strict readers don't: points of small order, and spellings that are not canonical.
fn verifier(key: &PublicKey, signature: &[u8]) -> Result<Box<dyn JwsVerifier>> {
    let (r, s) = signature.split_first_chunk::<32>().ok_or_else(wrong_signature)?;
    if s.len() != 32 || !is_strict_point(r) {
        return Err(wrong_signature());
    }
    require_strong(key)?;
    // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410, section 4): a fixed prefix and the key.
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    spki.extend_from_slice(key.as_bytes());
    EdDSA
        .verifier_from_der(&spki)
        .map(|mut verifier| {
            verifier.set_key_id(key.thumbprint().to_string());
            Box::new(verifier) as Box<dyn JwsVerifier>
        })
        .map_err(|_| Error::new(ErrorCode::KeyInvalid, "a public key can't be read"))
}

/// Refuses a public key that is no point of the curve, of small order, or not canonical.
pub fn require_strong(key: &PublicKey) -> Result<()> {
    if is_strict_point(key.as_bytes()) {
        Ok(())
    } else {
        Err(Error::new(ErrorCode::KeyInvalid, "a public key is not a sound point of Ed25519"))
    }
}

fn is_strict_point(bytes: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(bytes)
        .is_ok_and(|point| !point.is_weak() && point.to_edwards().compress().as_bytes() == bytes)
}

/// Decodes base64url without padding, and refuses any spelling but the canonical one.
fn canonical_base64(text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .filter(|bytes| URL_SAFE_NO_PAD.encode(bytes) == text)
        .ok_or_else(|| Error::malformed("a part of the JWS is not canonical base64url"))
}

fn bounded(bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes <= bytes_max {
        Ok(())
    } else {
        Err(Error::new(ErrorCode::TooLarge, format!("a signed document of {bytes} bytes is over {bytes_max}")))
    }
}

fn wrong_signature() -> Error {
    Error::new(ErrorCode::SignatureInvalid, "the signature doesn't verify")
}

fn wrong_count(expected: usize, found: usize) -> Error {
    Error::new(ErrorCode::SignatureInvalid, format!("{found} signatures where exactly {expected} must stand"))
}

fn cannot_sign() -> Error {
    Error::new(ErrorCode::KeyInvalid, "the document could not be signed")
}

#[cfg(test)]
#[path = "jws_tests.rs"]
mod tests;
