//! HTTPS as another program would speak it: with a participant's certificate or without.

use crate::world::{PROVIDER, SPACE, World};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The provider's listener, as seen with or without a certificate.
pub struct Client {
    config: Arc<ClientConfig>,
    at: SocketAddr,
}

/// The name in the provider's certificate.
pub fn server_name() -> String {
    format!("{PROVIDER}.{SPACE}.perron.internal")
}

impl Client {
    /// Shows the certificate of `who`, or none.
    pub fn new(world: &World, at: SocketAddr, who: Option<&str>) -> Client {
        perron::trust::tls::install_provider();
        let pem = |path: std::path::PathBuf| std::fs::read(path).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem(world.dir(PROVIDER).join("trust/ca.pem"))).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match who {
            None => builder.with_no_client_auth(),
            Some(who) => {
                let chain = pem(world.dir(who).join("trust/certificate.pem"));
                let chain = CertificateDer::pem_slice_iter(&chain).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(&pem(world.dir(who).join("keys/tls.pem"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Client { config: Arc::new(config), at }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let tcp = tokio::net::TcpStream::connect(self.at).await.unwrap();
        let name = ServerName::try_from(server_name()).unwrap();
        let tls = TlsConnector::from(self.config.clone()).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
        let driven = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        let _ = driven.await;
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::get(path).header("host", server_name());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub async fn submit(&self, body: impl Into<Bytes>) -> Answer {
        let request = Request::post("/add-checkpoint").header("host", server_name());
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }
}

/// A proxy that takes `CONNECT` to whatever name, and connects to one address: what a name server
/// would do for names that no test can enter. TLS goes through it from end to end.
pub fn tunnel(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((crate::world::address().ip(), 0)).unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || through(client, to));
        }
    });
    at
}

fn through(mut client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut head = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut there, mut back) = (server.try_clone()?, client.try_clone()?);
    let forth = std::thread::spawn(move || {
        // What the reader of the head took beyond it goes first.
        let _ = std::io::copy(&mut head, &mut there);
        there.shutdown(Shutdown::Write)
    });
    let _ = std::io::copy(&mut server, &mut back);
    let _ = back.shutdown(Shutdown::Write);
    let _ = forth.join();
    Ok(())
}
