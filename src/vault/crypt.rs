//! The two algorithms of the vault: HKDF-SHA256 (RFC 5869) and AES-256-GCM (NIST SP 800-38D).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use perron_model::sealed::ValueId;
use perron_model::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

/// A key, overwritten in memory once it is let go.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Nonce of what a key encrypts once in its life, because it is of one value alone.
pub(super) const ONLY: [u8; 12] = [0; 12];

const DERIVED: &[u8] = b"perron-vault/v1 value";

/// Random bytes of the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(ErrorCode::Internal, "the system gave no random bytes"))?;
    Ok(bytes)
}

/// The key of one value, from the secret of its epoch.
pub(super) fn derive(secret: &Key, value: &ValueId) -> Result<Key> {
    let mut key = Key::default();
    let prk = Salt::new(HKDF_SHA256, DERIVED).extract(secret.as_slice());
    let info = [value.as_slice()];
    let okm = prk.expand(&info, HKDF_SHA256).map_err(|_| failed())?;
    okm.fill(key.as_mut_slice()).map_err(|_| failed())?;
    Ok(key)
}

/// The ciphertext with its tag.
pub(super) fn seal(key: &Key, nonce: [u8; 12], bound: &[u8], mut plain: Vec<u8>) -> Result<Vec<u8>> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key)?.seal_in_place_append_tag(nonce, Aad::from(bound), &mut plain).map_err(|_| failed())?;
    Ok(plain)
}

/// What was sealed; none where key, nonce, what is bound or the ciphertext is another.
pub(super) fn open(key: &Key, nonce: [u8; 12], bound: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = cipher(key)?.open_in_place(nonce, Aad::from(bound), &mut bytes).map(|plain| plain.len());
    let Ok(length) = opened else { return Ok(None) };
    bytes.truncate(length);
    Ok(Some(bytes))
}

fn cipher(key: &Key) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| failed())
}

fn failed() -> Error {
    Error::new(ErrorCode::Internal, "the vault's cryptography failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_all_that_it_is_bound_to_alone() {
        let secret = Key::new([1; 32]);
        let (key, other) = (derive(&secret, &[1; 16]).unwrap(), derive(&secret, &[2; 16]).unwrap());
        assert_ne!(key, other);
        assert_eq!(key, derive(&secret, &[1; 16]).unwrap());
        let sealed = seal(&key, ONLY, b"head", b"SELECT 1".to_vec()).unwrap();
        assert_eq!(open(&key, ONLY, b"head", &sealed).unwrap().unwrap().as_slice(), b"SELECT 1");
        assert!(open(&other, ONLY, b"head", &sealed).unwrap().is_none());
        assert!(open(&key, ONLY, b"tail", &sealed).unwrap().is_none());
        for at in 0..sealed.len() {
            let mut spoilt = sealed.clone();
            spoilt[at] ^= 1;
            assert!(open(&key, ONLY, b"head", &spoilt).unwrap().is_none(), "byte {at}");
        }
    }

    /// RFC 5869 with our label, computed apart: `HMAC(HMAC(salt, secret), value || 1)`.
    #[test]
    fn keys_are_derived_as_the_rfc_says() {
        use hmac::{Hmac, KeyInit, Mac};
        let hash = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let (secret, value) = (Key::new([5; 32]), [6; 16]);
        let prk = hash(DERIVED, &[secret.as_slice()]);
        assert_eq!(derive(&secret, &value).unwrap().as_slice(), hash(&prk, &[&value, &[1]]).as_slice());
    }
}
