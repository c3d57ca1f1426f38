//! The collector of syslog messages that the configuration names, and the channel to it: TLS 1.3
//! with a certificate of the collector's own authority (RFC 5425, section 4.2; RFC 9662).

use super::ca;
use super::dialer::Endpoint;
use super::keys::require_private;
use super::tls::{self, ClientStream};
use crate::settings::Syslog;
use perron_model::limits::KEY_FILE_BYTES_MAX;
use perron_model::{Error, ErrorCode, Result};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A collector of syslog messages.
pub struct Collector {
    endpoint: Endpoint,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Collector {
    /// The one of the configuration; files are relative to the organisation's directory.
    pub fn load(directory: &Path, syslog: &Syslog) -> Result<Collector> {
        let endpoint = Endpoint::parse(&syslog.address)?;
        let name = ServerName::try_from(syslog.server_name.clone())
            .map_err(|_| invalid(&format!("`{}` is no name of a server", syslog.server_name)))?;
        let mut roots = RootCertStore::empty();
        for root in ca::certificates(&read(directory, &syslog.ca)?)? {
            roots.add(root).map_err(|_| invalid("a certificate of `syslog.ca` can't be used"))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(tls::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| Error::new(ErrorCode::Internal, "the crypto provider has no TLS 1.3"))?
            .with_root_certificates(roots);
        let mut config = match (&syslog.certificate, &syslog.key) {
            (Some(certificate), Some(key)) => {
                require_private(directory, &key.to_string_lossy())?;
                let chain = ca::certificates(&read(directory, certificate)?)?;
                let key = PrivateKeyDer::from_pem_slice(read(directory, key)?.as_bytes())
                    .map_err(|_| invalid("`syslog.key` is no private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| invalid("`syslog.certificate` is not of `syslog.key`"))?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(invalid("`syslog.certificate` and `syslog.key` go together")),
        };
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Collector { endpoint, name, config: Arc::new(config) })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Shakes hands with the collector, and no other.
    pub(super) async fn connect<S>(&self, stream: S) -> Result<ClientStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tls::connect_as(Arc::clone(&self.config), self.name.clone(), stream).await
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({} at {})", self.name.to_str(), self.endpoint)
    }
}

fn read(directory: &Path, file: &Path) -> Result<String> {
    let unreadable = || invalid(&format!("`{}` of `[syslog]` can't be read", file.display()));
    let mut text = String::new();
    let handle = std::fs::File::open(directory.join(file)).map_err(|_| unreadable())?;
    handle.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(|_| unreadable())?;
    Ok(text)
}

fn invalid(detail: &str) -> Error {
    Error::new(ErrorCode::ConfigInvalid, detail)
}
