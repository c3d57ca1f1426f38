//! Private keys of an organisation, one for each use, in files that only it can read.
//!
//! `keys/` holds `tls.pem` (ECDSA P-256) and `agreement.pem`, `request.pem`, `log.pem`,
//! `witness.pem` (Ed25519); an authority's also holds `register.pem` (Ed25519) and `ca.pem`
//! (ECDSA P-256). All are PKCS#8 in PEM (RFC 5958, RFC 8410), 0600 in a directory 0700.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use perron_model::limits::KEY_FILE_BYTES_MAX;
use perron_model::participant::{KeyUse, PublicKey};
use perron_model::{Digest, Error, ErrorCode, Result};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

const TLS_FILE: &str = "tls.pem";
const CA_FILE: &str = "ca.pem";
const AUTHORITY_USES: [KeyUse; 5] =
    [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness, KeyUse::Register];

/// All private keys of one organisation.
pub struct KeySet {
    tls: CertKey,
    agreement: Arc<SigningKey>,
    request: Arc<SigningKey>,
    log: Arc<SigningKey>,
    witness: Arc<SigningKey>,
    authority: Option<AuthorityKeys>,
}

/// What an authority has beside.
struct AuthorityKeys {
    register: SigningKey,
    ca: CertKey,
}

/// An Ed25519 private key (RFC 8032). Its secret is wiped when it is dropped.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
    kid: Digest,
}

/// An ECDSA P-256 private key, for TLS or for a data space's CA.
pub struct CertKey {
    pkcs8: Zeroizing<Vec<u8>>,
    spki_key: Vec<u8>,
}

impl KeySet {
    /// Makes the keys of a participant in `dir`, which must not exist or be empty; its parent
    /// must exist. All or nothing: the directory appears once every file in it is durable.
    pub fn create(dir: &Path) -> Result<KeySet> {
        Self::create_as(dir, false)
    }

    /// As `create`, with the keys of an authority beside.
    pub fn create_authority(dir: &Path) -> Result<KeySet> {
        Self::create_as(dir, true)
    }

    fn create_as(dir: &Path, authority: bool) -> Result<KeySet> {
        let set = Self::generate(authority)?;
        set.write(dir)?;
        Ok(set)
    }

    /// New random keys that are in no file, with those of an authority beside if asked.
    pub fn generate(authority: bool) -> Result<KeySet> {
        let authority = if authority {
            Some(AuthorityKeys { register: SigningKey::generate()?, ca: CertKey::generate()? })
        } else {
            None
        };
        Ok(KeySet {
            tls: CertKey::generate()?,
            agreement: Arc::new(SigningKey::generate()?),
            request: Arc::new(SigningKey::generate()?),
            log: Arc::new(SigningKey::generate()?),
            witness: Arc::new(SigningKey::generate()?),
            authority,
        })
    }

    /// Reads the keys from `dir`; refuses files that others can read (`key_unsafe`) and what is
    /// not the key that the file's name says (`key_invalid`).
    pub fn load(dir: &Path) -> Result<KeySet> {
        let meta = std::fs::metadata(dir).map_err(|e| {
            Error::new(ErrorCode::KeyInvalid, format!("the directory of keys can't be read: {}", e.kind()))
        })?;
        if meta.mode() & 0o022 != 0 {
            return Err(Error::new(
                ErrorCode::KeyUnsafe,
                "the directory of keys can be changed by others: chmod 700 it",
            ));
        }
        // A key that is lost leaves the one that was made in its place.
        let signing = |key_use| match read_signing(dir, file_of(key_use))? {
            Some(key) => Ok(Arc::new(key)),
            None => read_signing(dir, next_file_of(key_use))?.map(Arc::new).ok_or_else(|| missing(file_of(key_use))),
        };
        let register = || {
            let file = file_of(KeyUse::Register);
            read_signing(dir, file)?.ok_or_else(|| missing(file))
        };
        let cert = |file: &str| CertKey::from_pem(&read_private(dir, file)?, file);
        let present = |file: &str| dir.join(file).try_exists().unwrap_or(false);
        let authority = if present(file_of(KeyUse::Register)) || present(CA_FILE) {
            Some(AuthorityKeys { register: register()?, ca: cert(CA_FILE)? })
        } else {
            None
        };
        Ok(KeySet {
            tls: cert(TLS_FILE)?,
            agreement: signing(KeyUse::Agreement)?,
            request: signing(KeyUse::Request)?,
            log: signing(KeyUse::Log)?,
            witness: signing(KeyUse::Witness)?,
            authority,
        })
    }

    /// The signing key for `key_use`; `key_invalid` if this is no authority and its is asked for.
    pub fn signing_key(&self, key_use: KeyUse) -> Result<&SigningKey> {
        match key_use {
            KeyUse::Agreement => Ok(self.agreement.as_ref()),
            KeyUse::Request => Ok(self.request.as_ref()),
            KeyUse::Log => Ok(self.log.as_ref()),
            KeyUse::Witness => Ok(self.witness.as_ref()),
            KeyUse::Register => self.authority.as_ref().map(|a| &a.register).ok_or_else(no_authority),
        }
    }

    /// As `signing_key`, to be held by others too; not an authority's.
    pub(super) fn shared(&self, key_use: KeyUse) -> Result<Arc<SigningKey>> {
        match key_use {
            KeyUse::Agreement => Ok(self.agreement.clone()),
            KeyUse::Request => Ok(self.request.clone()),
            KeyUse::Log => Ok(self.log.clone()),
            KeyUse::Witness => Ok(self.witness.clone()),
            KeyUse::Register => Err(Error::new(ErrorCode::KeyInvalid, "the register's key is the authority's alone")),
        }
    }

    /// The public key for `key_use`.
    pub fn public(&self, key_use: KeyUse) -> Result<PublicKey> {
        self.signing_key(key_use).map(SigningKey::public)
    }

    /// The key of the channel.
    pub fn tls(&self) -> &CertKey {
        &self.tls
    }

    /// The key of the data space's CA, for an authority.
    pub fn ca(&self) -> Result<&CertKey> {
        self.authority.as_ref().map(|a| &a.ca).ok_or_else(no_authority)
    }

    /// Are the keys of an authority among these?
    pub fn is_authority(&self) -> bool {
        self.authority.is_some()
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let taken =
            || Error::new(ErrorCode::AlreadyExists, "there are keys in this directory; they are never overwritten");
        if std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some()) {
            return Err(taken());
        }
        let mut mark = [0u8; 8];
        random(&mut mark)?;
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{:016x}", u64::from_be_bytes(mark)));
        let fresh = dir.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&fresh).map_err(|e| cannot_write(&e))?;
        for key_use in AUTHORITY_USES {
            if let Ok(key) = self.signing_key(key_use) {
                write_private(&fresh, file_of(key_use), &key.to_pem()?)?;
            }
        }
        write_private(&fresh, TLS_FILE, &self.tls.to_pem())?;
        if let Ok(ca) = self.ca() {
            write_private(&fresh, CA_FILE, &ca.to_pem())?;
        }
        sync_dir(&fresh)?;
        // A rename onto a directory that holds anything fails, so nothing is ever overwritten.
        std::fs::rename(&fresh, dir).map_err(|e| {
            if matches!(e.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists) {
                taken()
            } else {
                cannot_write(&e)
            }
        })?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("agreement", &self.agreement)
            .field("request", &self.request)
            .field("log", &self.log)
            .field("witness", &self.witness)
            .field("authority", &self.is_authority())
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new random key.
    pub fn generate() -> Result<SigningKey> {
        let mut seed = Zeroizing::new([0u8; 32]);
        random(seed.as_mut_slice())?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a seed (RFC 8032, section 5.1.5: the 32 bytes of the private key).
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::from_bytes(key.verifying_key().to_bytes());
        SigningKey { key, public, kid: public.thumbprint() }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The RFC 7638 thumbprint of the public key: its `kid`.
    pub fn kid(&self) -> Digest {
        self.kid
    }

    /// The seed; wiped when it is dropped.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// PKCS#8 version 1 (RFC 8410, section 7), in DER.
    pub(super) fn to_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        let document = self.keypair().to_pkcs8_der().map_err(|_| not_a_key("a new key"))?;
        Ok(Zeroizing::new(document.as_bytes().to_vec()))
    }

    pub(super) fn to_pem(&self) -> Result<Zeroizing<String>> {
        self.keypair().to_pkcs8_pem(LineEnding::LF).map_err(|_| not_a_key("a new key"))
    }

    /// Without the public key, because OpenSSL reads no other form of Ed25519 keys everywhere.
    fn keypair(&self) -> KeypairBytes {
        KeypairBytes { secret_key: self.key.to_bytes(), public_key: None }
    }

    fn from_pem(pem: &str, file: &str) -> Result<SigningKey> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| not_a_key(file))?;
        let mut seed = key.to_bytes();
        let read = Self::from_seed(&seed);
        seed.zeroize();
        Ok(read)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(kid {})", self.kid)
    }
}

impl CertKey {
    /// A new random key.
    pub fn generate() -> Result<CertKey> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| Error::new(ErrorCode::Internal, "no key could be made"))?;
        Ok(CertKey { spki_key: pair.public_key_raw().to_vec(), pkcs8: Zeroizing::new(pair.serialize_der()) })
    }

    /// The uncompressed point of the public key (SEC 1, section 2.3.3).
    pub fn public_point(&self) -> &[u8] {
        &self.spki_key
    }

    pub(super) fn rcgen(&self) -> Result<rcgen::KeyPair> {
        let der = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| not_a_key("the certificate's key"))
    }

    pub(super) fn rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    fn to_pem(&self) -> Zeroizing<String> {
        let mut body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &*self.pkcs8);
        let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
        for (i, c) in body.chars().enumerate() {
            if i > 0 && i % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push_str("\n-----END PRIVATE KEY-----\n");
        body.zeroize();
        pem
    }

    fn from_pem(pem: &str, file: &str) -> Result<CertKey> {
        let pair = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| not_a_key(file))?;
        Ok(CertKey { spki_key: pair.public_key_raw().to_vec(), pkcs8: Zeroizing::new(pair.serialize_der()) })
    }
}

impl fmt::Debug for CertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertKey(P-256, {})", Digest::of(&self.spki_key).short())
    }
}

/// Fills `bytes` from the operating system.
pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|_| Error::new(ErrorCode::Internal, "the system gives no random bytes"))
}

/// File of a new key until the old one's time is over.
pub(super) fn next_file_of(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Agreement => "agreement.next.pem",
        KeyUse::Request => "request.next.pem",
        KeyUse::Log => "log.next.pem",
        KeyUse::Witness => "witness.next.pem",
        KeyUse::Register => "register.next.pem",
    }
}

/// Reads a signing key; none where there is no such file.
pub(super) fn read_signing(dir: &Path, file: &str) -> Result<Option<SigningKey>> {
    match std::fs::symlink_metadata(dir.join(file)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        _ => SigningKey::from_pem(&read_private(dir, file)?, file).map(Some),
    }
}

fn missing(file: &str) -> Error {
    Error::new(
        ErrorCode::KeyInvalid,
        format!("key file `{file}` isn't there; `perron key make` makes another key for it"),
    )
}

pub(super) fn file_of(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Agreement => "agreement.pem",
        KeyUse::Request => "request.pem",
        KeyUse::Log => "log.pem",
        KeyUse::Witness => "witness.pem",
        KeyUse::Register => "register.pem",
    }
}

fn read_private(dir: &Path, file: &str) -> Result<Zeroizing<String>> {
    let unreadable =
        |e: std::io::Error| Error::new(ErrorCode::KeyInvalid, format!("key file `{file}` can't be read: {}", e.kind()));
    let handle = File::open(dir.join(file)).map_err(unreadable)?;
    require_private_mode(&handle.metadata().map_err(unreadable)?, file)?;
    // Room for all of it at once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX + 1));
    let read = handle.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read > KEY_FILE_BYTES_MAX {
        return Err(not_a_key(file));
    }
    Ok(text)
}

fn require_private_mode(meta: &std::fs::Metadata, file: &str) -> Result<()> {
    if meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorCode::KeyUnsafe, format!("key file `{file}` can be read or changed by others: chmod 600 it")))
}

/// Refuses a secret in `dir` that others can read (`key_unsafe`); one that isn't there yet is fine.
pub fn require_private(dir: &Path, file: &str) -> Result<()> {
    std::fs::metadata(dir.join(file)).map_or(Ok(()), |meta| require_private_mode(&meta, file))
}

fn write_private(dir: &Path, file: &str, pem: &str) -> Result<()> {
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join(file))
        .map_err(|e| cannot_write(&e))?;
    handle.write_all(pem.as_bytes()).and_then(|()| handle.sync_all()).map_err(|e| cannot_write(&e))
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| cannot_write(&e))
}

fn cannot_write(e: &std::io::Error) -> Error {
    let code = if e.kind() == std::io::ErrorKind::StorageFull { ErrorCode::DiskFull } else { ErrorCode::KeyInvalid };
    Error::new(code, format!("the keys can't be written: {}", e.kind()))
}

fn not_a_key(file: &str) -> Error {
    Error::new(ErrorCode::KeyInvalid, format!("`{file}` is not a private key of the kind expected (PKCS#8 in PEM)"))
}

fn no_authority() -> Error {
    Error::new(ErrorCode::KeyInvalid, "these are not the keys of an authority")
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
