//! Witnesses that the configuration names, and the channel to each (C2SP tlog-witness): TLS 1.3, or
//! none to a loopback address, where a program of the same machine may end the TLS.
//!
//! What a witness says is believed by its key alone; TLS keeps what is asked from others, and their
//! answers from us.

use super::dialer::Endpoint;
use super::tls::{self, HTTP_ALPN};
use crate::settings::Witness;
use http::Uri;
use perron_log::{KeyKind, Verifier};
use perron_model::limits::{WITNESS_CA_BYTES_MAX, WITNESS_URL_BYTES_MAX};
use perron_model::{Error, ErrorCode, Result};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A channel to a witness.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A channel to a witness, with or without TLS.
pub type WitnessStream = Box<dyn Wire>;

/// A witness: its key, and where it takes submissions.
pub struct WitnessAddress {
    verifier: Verifier,
    endpoint: Endpoint,
    host: String,
    path: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl WitnessAddress {
    /// Those of the configuration, each key once; files are relative to the organisation's
    /// directory, and `space_ca` is the data space's own certificate there.
    pub fn load_all(directory: &Path, space_ca: &Path, witnesses: &[Witness]) -> Result<Vec<WitnessAddress>> {
        let mut loaded: Vec<WitnessAddress> = Vec::with_capacity(witnesses.len());
        for witness in witnesses {
            let address = WitnessAddress::load(directory, space_ca, witness)?;
            if loaded.iter().any(|known| known.verifier.public_key() == address.verifier.public_key()) {
                return Err(invalid(format!("the witness `{}` stands there twice", address.verifier.name())));
            }
            loaded.push(address);
        }
        Ok(loaded)
    }

    fn load(directory: &Path, space_ca: &Path, witness: &Witness) -> Result<WitnessAddress> {
        let verifier = Verifier::parse_vkey(&witness.vkey)
            .map_err(|e| invalid(format!("`vkey` of a `[[witness]]` can't be used: {e}")))?;
        if verifier.kind() != KeyKind::CosignatureV1 {
            return Err(invalid(format!(
                "the key of `{}` is not of type 0x04 (timestamped Ed25519 cosignature)",
                verifier.name()
            )));
        }
        let Url { is_secure, host, port, path } = Url::parse(&witness.url)?;
        let wrong =
            |_| invalid(format!("`url` of the witness `{}` names no host that can be dialled", verifier.name()));
        let endpoint = Endpoint::parse(&format!("{host}:{port}")).map_err(wrong)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if is_secure {
            let name = ServerName::try_from(bare)
                .map_err(|_| invalid(format!("`url` of the witness `{}` names no server", verifier.name())))?;
            let file = witness.ca.as_deref().map_or_else(|| space_ca.to_owned(), |ca| directory.join(ca));
            Some((Arc::new(client_config(&file)?), name))
        } else if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            None
        } else {
            return Err(invalid(format!(
                "the witness `{}` has to be asked over `https://`; `http://` is for a loopback address alone",
                verifier.name()
            )));
        };
        Ok(WitnessAddress { verifier, endpoint, host: format!("{host}:{port}"), path, tls })
    }

    /// Its key.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Host and port, as a request names them.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path of its `add-checkpoint`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Shakes hands with it, where there is TLS.
    pub(super) async fn connect(&self, stream: TcpStream) -> Result<WitnessStream> {
        match &self.tls {
            Some((config, name)) => Ok(Box::new(tls::connect_as(Arc::clone(config), name.clone(), stream).await?)),
            None => Ok(Box::new(stream)),
        }
    }
}

impl fmt::Debug for WitnessAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessAddress({} at {})", self.verifier.name(), self.endpoint)
    }
}

/// The parts of a submission prefix.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    is_secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Result<Url> {
        let shown: String = text.chars().take(80).collect();
        let wrong = || invalid(format!("`{shown}` is no URL like `https://witness.example/prefix`"));
        // A fragment would be dropped without a word.
        if text.len() > WITNESS_URL_BYTES_MAX || text.contains('#') {
            return Err(wrong());
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(wrong());
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => return Err(wrong()),
            None if is_secure => 443,
            None => 80,
        };
        let path = format!("{}/add-checkpoint", uri.path().trim_end_matches('/'));
        Ok(Url { is_secure, host: authority.host().to_owned(), port, path })
    }
}

/// TLS to a server of these authorities.
fn client_config(ca: &Path) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Error::new(ErrorCode::Internal, "the crypto provider has no TLS 1.3"))?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// The certificates of a file. Of a system's bundle some may be of a form that isn't read; one at
/// least has to be.
fn roots(file: &Path) -> Result<RootCertStore> {
    let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unreadable = || invalid(format!("`ca` of a `[[witness]]`, `{shown}`, can't be read"));
    let mut text = Vec::new();
    let handle = std::fs::File::open(file).map_err(|_| unreadable())?;
    handle.take(WITNESS_CA_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(|_| unreadable())?;
    if text.len() > WITNESS_CA_BYTES_MAX {
        return Err(invalid(format!("`{shown}` is over {WITNESS_CA_BYTES_MAX} bytes")));
    }
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| invalid(format!("`{shown}` holds no certificates in PEM")))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(invalid(format!("`{shown}` holds no certificate of an authority that can be used")));
    }
    Ok(roots)
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::ConfigInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_log::{Cosigner, NoteSigner, Signer};

    fn witness(seed: u8, url: &str) -> Witness {
        let vkey = Cosigner::from_seed("example.com/w", &[seed; 32]).unwrap().verifier().to_vkey();
        Witness { vkey, url: url.to_owned(), ca: None }
    }

    fn load(witnesses: &[Witness]) -> Result<Vec<WitnessAddress>> {
        let directory = tempfile::tempdir().unwrap();
        let world = crate::trust::testing::World::new(&["huy"]);
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, world.ca.pem()).unwrap();
        WitnessAddress::load_all(directory.path(), &ca, witnesses)
    }

    #[test]
    fn where_a_witness_takes_submissions() {
        for (url, host, path) in [
            ("https://w.example", "w.example:443", "/add-checkpoint"),
            ("https://w.example/", "w.example:443", "/add-checkpoint"),
            ("https://w.example:8443/a/b/", "w.example:8443", "/a/b/add-checkpoint"),
            ("http://127.0.0.1:7380", "127.0.0.1:7380", "/add-checkpoint"),
            ("http://[::1]/x", "[::1]:80", "/x/add-checkpoint"),
            ("https://10.0.0.1/", "10.0.0.1:443", "/add-checkpoint"),
        ] {
            let loaded = load(&[witness(1, url)]).unwrap();
            assert_eq!((loaded[0].host(), loaded[0].path()), (host, path), "{url}");
            assert_eq!(loaded[0].tls.is_some(), url.starts_with("https"), "{url}");
        }
        for bad in [
            "",
            "w.example",
            "ftp://w.example",
            "http://w.example",
            "http://localhost:7380",
            "http://10.0.0.1:7380",
            "https://",
            "https://user@w.example/",
            "https://w.example/?a=b",
            "https://w.example/#a",
            "https://w.example:0/",
            "https://w.example:99999/",
            "https://w.example:/",
            "https://a b/",
        ] {
            assert_eq!(load(&[witness(1, bad)]).unwrap_err().code, ErrorCode::ConfigInvalid, "{bad}");
        }
    }

    #[test]
    fn a_witness_has_a_witness_key_and_stands_there_once() {
        let good = witness(1, "https://w.example");
        assert_eq!(load(&[good.clone(), witness(2, "https://w.example")]).unwrap().len(), 2);
        let log = Signer::from_seed("example.com/w", &[1; 32]).unwrap();
        let of_a_log = Witness { vkey: log.verifier().to_vkey(), ..good.clone() };
        let without_ca = Witness { ca: Some("nowhere.pem".into()), ..good.clone() };
        let garbled = Witness { vkey: format!("{}x", good.vkey), ..good.clone() };
        for bad in [vec![good.clone(), good], vec![of_a_log], vec![without_ca], vec![garbled]] {
            assert_eq!(load(&bad).unwrap_err().code, ErrorCode::ConfigInvalid, "{bad:?}");
        }
    }
}
