//! The channel: mutual TLS 1.3 (RFC 8446) and nothing else, by rustls with aws-lc-rs.
//!
//! The hybrid key exchange X25519MLKEM768 comes first. Both sides show a certificate of the
//! space's CA; no tickets and no early data, so each connection proves both again. Revocation is
//! the register's, looked up at each request: a certificate only says whose channel it is.

use super::ca;
use super::keys::CertKey;
use super::user_tls::AnyCertificate;
use arc_swap::ArcSwap;
use perron_model::limits::{HANDSHAKE_MS_MAX, KEY_FILE_BYTES_MAX};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The one protocol spoken inside (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";
/// The protocol of the listener for programs of other makes (RFC 9112).
pub(super) const HTTP_ALPN: &[u8] = b"http/1.1";

/// A channel that came in.
pub type ServerStream<S> = server::TlsStream<S>;
/// A channel that was dialled.
pub type ClientStream<S> = client::TlsStream<S>;

/// Makes aws-lc-rs the process's provider, so that no library ever chooses another. Call it
/// first; again does nothing.
pub fn install_provider() {
    // An error says that there is one already: this one, unless `main` called it too late.
    let _ = provider().install_default();
}

/// The provider that all configurations of this room get explicitly.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// One participant's identity on the channel: both configurations, ready for use.
#[derive(Clone)]
pub struct TlsIdentity {
    space: SpaceId,
    participant: ParticipantId,
    not_after: Timestamp,
    server: Arc<ServerConfig>,
    // For tools of this organisation's users.
    users: Arc<ServerConfig>,
    // For programs of other makes, that may show a participant's certificate.
    http: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl TlsIdentity {
    /// The identity of a certificate chain (leaf first) with its key and the space's CA, all
    /// PEM. Refused unless key, certificate and CA belong together; whether the certificate is
    /// still valid, peers judge, and `not_after` tells.
    pub fn new(space: &SpaceId, chain_pem: &str, key: &CertKey, ca_pem: &str) -> Result<TlsIdentity> {
        let chain = ca::certificates(chain_pem)?;
        let root = ca::one_certificate(ca_pem)?;
        let leaf = chain.first().ok_or_else(|| invalid("there is no certificate"))?;
        let participant = ca::participant_of(leaf, space)?;
        let not_after = ca::not_after(leaf)?;
        let mut roots = RootCertStore::empty();
        roots.add(root).map_err(|_| invalid("the CA's certificate can't be used"))?;
        let (roots, provider) = (Arc::new(roots), Arc::new(provider()));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|_| invalid("the CA's certificate can't be used"))?;
        require_issued(&*verifier, &chain, not_after)?;
        let optional = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|_| invalid("the CA's certificate can't be used"))?;
        let mut http = server_config(&provider, optional, &chain, key)?;
        http.alpn_protocols = vec![HTTP_ALPN.to_vec()];
        Ok(TlsIdentity {
            space: space.clone(),
            participant,
            not_after,
            server: Arc::new(server_config(&provider, verifier, &chain, key)?),
            users: Arc::new(server_config(&provider, Arc::new(AnyCertificate(Arc::clone(&provider))), &chain, key)?),
            http: Arc::new(http),
            client: Arc::new(client_config(&provider, roots, &chain, key)?),
        })
    }

    /// As `new`, from files.
    pub fn load(space: &SpaceId, chain: &Path, key: &CertKey, ca: &Path) -> Result<TlsIdentity> {
        Self::new(space, &read_file(chain)?, key, &read_file(ca)?)
    }

    /// Whose identity it is.
    pub fn participant(&self) -> &ParticipantId {
        &self.participant
    }

    /// The data space.
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// When the certificate stops being valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({} of {}, until {})", self.participant, self.space, self.not_after)
    }
}

/// The identity in use, replaceable while connections go on.
pub struct ReloadableTls {
    current: ArcSwap<TlsIdentity>,
    handshake: Duration,
}

impl ReloadableTls {
    /// Begins with `identity`.
    pub fn new(identity: TlsIdentity) -> ReloadableTls {
        ReloadableTls { current: ArcSwap::from_pointee(identity), handshake: Duration::from_millis(HANDSHAKE_MS_MAX) }
    }

    /// The identity in use.
    pub fn load(&self) -> Arc<TlsIdentity> {
        self.current.load_full()
    }

    /// Takes a renewed identity of the same participant: new connections use it.
    pub fn replace(&self, identity: TlsIdentity) -> Result<()> {
        let current = self.load();
        if identity.participant != current.participant || identity.space != current.space {
            return Err(invalid("the certificate is another participant's"));
        }
        self.current.store(Arc::new(identity));
        Ok(())
    }

    /// Shakes hands with who dialled in; tells who it is. Whatever goes wrong is `unauthenticated`.
    pub async fn accept<S>(&self, stream: S) -> Result<(ServerStream<S>, ParticipantId)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let identity = self.load();
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
        let stream = in_time(self.handshake, acceptor.accept(stream)).await?;
        let (_, connection) = stream.get_ref();
        let peer = peer_of(connection.peer_certificates(), connection.alpn_protocol(), &identity.space)?;
        Ok((stream, peer))
    }

    /// Shakes hands with a tool of one of our users; gives the SHA-256 of the certificate that it
    /// showed, if it did.
    pub async fn accept_user<S>(&self, stream: S) -> Result<(ServerStream<S>, Option<Digest>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.load().users));
        let stream = in_time(self.handshake, acceptor.accept(stream)).await?;
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::first).map(|c| Digest::of(c));
        Ok((stream, shown))
    }

    /// Shakes hands with a program of another make; tells which participant's certificate it
    /// showed, if it did. One that is nobody's is refused.
    pub async fn accept_http<S>(&self, stream: S) -> Result<(ServerStream<S>, Option<ParticipantId>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let identity = self.load();
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.http));
        let stream = in_time(self.handshake, acceptor.accept(stream)).await?;
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let who = shown.map(|leaf| ca::participant_of(leaf, &identity.space)).transpose();
        who.map(|who| (stream, who)).map_err(|e| unauthenticated(&e.detail))
    }

    /// Shakes hands with the participant that was dialled, and no other.
    pub(super) async fn connect<S>(&self, stream: S, to: &ParticipantId) -> Result<ClientStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let identity = self.load();
        let name = ca::server_name(to, &identity.space)?;
        let connector = TlsConnector::from(Arc::clone(&identity.client));
        let stream = in_time(self.handshake, connector.connect(name, stream)).await?;
        let (_, connection) = stream.get_ref();
        let peer = peer_of(connection.peer_certificates(), connection.alpn_protocol(), &identity.space)?;
        if peer == *to { Ok(stream) } else { Err(unauthenticated("the certificate is another participant's")) }
    }
}

impl fmt::Debug for ReloadableTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// The name of the key exchange group of a connection, for the process's log.
pub fn negotiated_group(connection: &rustls::CommonState) -> String {
    connection.negotiated_key_exchange_group().map_or_else(|| "none".to_owned(), |g| format!("{:?}", g.name()))
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: &[CertificateDer<'static>],
    key: &CertKey,
) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| unusable())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key.rustls())
        .map_err(|_| invalid("the certificate is not of the channel's key"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    key: &CertKey,
) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| unusable())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.to_vec(), key.rustls())
        .map_err(|_| invalid("the certificate is not of the channel's key"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// Refuses a chain that isn't of the CA, whatever the time: it is judged at its own last second.
fn require_issued(verifier: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>], end: Timestamp) -> Result<()> {
    let seconds = u64::try_from(end.millis() / 1000 - 1).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let (leaf, rest) = chain.split_first().ok_or_else(|| invalid("there is no certificate"))?;
    verifier
        .verify_client_cert(leaf, rest, time)
        .map(|_| ())
        .map_err(|_| invalid("the certificate is not of this data space's CA"))
}

fn peer_of(chain: Option<&[CertificateDer<'_>]>, alpn: Option<&[u8]>, space: &SpaceId) -> Result<ParticipantId> {
    if alpn != Some(ALPN) {
        return Err(unauthenticated("the peer doesn't speak h2"));
    }
    let leaf = chain.and_then(<[_]>::first).ok_or_else(|| unauthenticated("the peer shows no certificate"))?;
    ca::participant_of(leaf, space).map_err(|e| unauthenticated(&e.detail))
}

/// Shakes hands with a server that this configuration trusts by that name, in time.
pub(super) async fn connect_as<S>(
    config: Arc<ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
    stream: S,
) -> Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time(Duration::from_millis(HANDSHAKE_MS_MAX), TlsConnector::from(config).connect(name, stream)).await
}

async fn in_time<T>(limit: Duration, handshake: impl Future<Output = std::io::Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(unauthenticated(&format!("no channel: {e}"))),
        Err(_) => Err(unauthenticated("no channel: the handshake took too long")),
    }
}

fn read_file(path: &Path) -> Result<String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unreadable = |e: std::io::Error| invalid(&format!("certificate file `{file}` can't be read: {}", e.kind()));
    let mut text = String::new();
    let handle = std::fs::File::open(path).map_err(unreadable)?;
    handle.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn invalid(detail: &str) -> Error {
    Error::new(ErrorCode::CertificateInvalid, detail)
}

fn unauthenticated(detail: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, detail)
}

fn unusable() -> Error {
    Error::new(ErrorCode::Internal, "the crypto provider has no TLS 1.3")
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
