//! Signatures of documents (RFC 7515, EdDSA by RFC 8037), taken apart and checked strictly.
//!
//! The protected header must be byte for byte `{"alg":"EdDSA","kid":…,"typ":…}`; base64url must be
//! in its one canonical spelling; a key must be a canonical point that is not of small order.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use perron_model::agreement::JwsJson;
use perron_model::limits::{DOCUMENT_BYTES_MAX, JWS_HEADER_BYTES_MAX};
use perron_model::participant::PublicKey;
use perron_model::{Digest, Error, ErrorCode, Result};

/// One signature over a document, in its canonical form and not yet verified.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// Thumbprint of the key that it names.
    pub kid: Digest,
    message: Vec<u8>,
    signature: Signature,
}

/// Takes a compact JWS of this type apart; gives its payload too.
pub(crate) fn parse_compact(text: &str, typ: &str, bytes_max: usize) -> Result<(Signed, Vec<u8>)> {
    if text.len() > bytes_max {
        return Err(refuse(format!("a signed document of {} bytes is over {bytes_max}", text.len())));
    }
    let mut parts = text.split('.');
    let (Some(protected), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refuse("a compact JWS has three parts"));
    };
    Ok((parse_one(protected, payload, signature, typ)?, decode(payload)?))
}

/// Takes a JWS in JSON serialization apart: its payload, and each signature alone.
pub(crate) fn parse_json(jws: &JwsJson, typ: &str) -> Result<(Vec<Signed>, Vec<u8>)> {
    if jws.payload.len() > DOCUMENT_BYTES_MAX || jws.signatures.len() > 2 {
        return Err(refuse("a signed document is over its bound, or has more than two signatures"));
    }
    let one = |s: &perron_model::agreement::JwsSignature| parse_one(&s.protected, &jws.payload, &s.signature, typ);
    let signatures = jws.signatures.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok((signatures, decode(&jws.payload)?))
}

fn parse_one(protected: &str, payload: &str, signature: &str, typ: &str) -> Result<Signed> {
    let kid = parse_header(protected, typ)?;
    let signature = Signature::from_slice(&decode(signature)?).map_err(|_| refuse("a signature is 64 bytes"))?;
    Ok(Signed { kid, message: format!("{protected}.{payload}").into_bytes(), signature })
}

/// The thumbprint in a protected header that is exactly `alg`, `kid` and `typ`.
fn parse_header(protected: &str, typ: &str) -> Result<Digest> {
    if protected.len() > JWS_HEADER_BYTES_MAX {
        return Err(refuse("the protected header is over its bound"));
    }
    let bytes = decode(protected)?;
    let ending = format!(r#"","typ":"{typ}"}}"#);
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.strip_prefix(r#"{"alg":"EdDSA","kid":""#))
        .and_then(|text| text.strip_suffix(ending.as_str()))
        .and_then(|kid| Digest::parse(kid).ok())
        .ok_or_else(|| refuse(format!("the protected header is not that of a `{typ}`")))
}

impl Signed {
    /// Checks the signature with this key, which must be the one that it names.
    pub fn verify(&self, key: &PublicKey) -> Result<()> {
        if key.thumbprint() != self.kid {
            return Err(refuse("the signature is not by who should have signed"));
        }
        let point = sound_key(key)?;
        point.verify_strict(&self.message, &self.signature).map_err(|_| refuse("the signature doesn't verify"))
    }
}

/// The key as a point of the curve: canonical, and not of small order.
fn sound_key(key: &PublicKey) -> Result<VerifyingKey> {
    VerifyingKey::from_bytes(key.as_bytes())
        .ok()
        .filter(|point| !point.is_weak() && point.to_edwards().compress().as_bytes() == key.as_bytes())
        .ok_or_else(|| refuse("the public key is not a sound point of Ed25519"))
}

/// Decodes base64url without padding, in its one canonical spelling.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .filter(|bytes| URL_SAFE_NO_PAD.encode(bytes) == text)
        .ok_or_else(|| refuse("a part is not canonical base64url"))
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::SignatureInvalid, detail)
}
