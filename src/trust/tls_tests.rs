//! Real handshakes, in memory and over loopback.

use super::*;
use crate::trust::ca::{SpaceCa, csr, server_name};
use crate::trust::testing::{World, id, space, today};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn world() -> World {
    World::new(&["huy", "seraing"])
}

/// A server of one identity shakes hands with whatever the client does.
async fn accept(
    identity: TlsIdentity,
    stream: DuplexStream,
) -> Result<(server::TlsStream<DuplexStream>, ParticipantId)> {
    ReloadableTls::new(identity).accept(stream).await
}

/// Both sides of one handshake.
async fn shake(server: TlsIdentity, client: TlsIdentity, to: &str) -> (Result<ParticipantId>, Result<()>) {
    let (near, far) = duplex(64 * 1024);
    let (server, client) = tokio::join!(
        async {
            let (mut stream, peer) = accept(server, far).await?;
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            Ok(peer)
        },
        async {
            let mut stream = ReloadableTls::new(client).connect(near, &id(to)).await?;
            // With TLS 1.3 a client is done before the server has judged its certificate.
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.map_err(|e| unauthenticated(&e.to_string()))?;
            Ok(())
        }
    );
    (server, client)
}

/// A client that rustls would not make for us.
fn client_with(
    roots: &SpaceCa,
    certificate: Option<(&str, &CertKey)>,
    spoil: impl Fn(&mut ClientConfig),
) -> TlsConnector {
    let mut store = RootCertStore::empty();
    store.add(ca::one_certificate(roots.pem()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(store);
    let mut config = match certificate {
        Some((pem, key)) => builder.with_client_auth_cert(ca::certificates(pem).unwrap(), key.rustls()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    spoil(&mut config);
    TlsConnector::from(Arc::new(config))
}

async fn refused_by(server: TlsIdentity, connector: TlsConnector) -> Error {
    let (near, far) = duplex(64 * 1024);
    let name = server_name(&id("huy"), &space()).unwrap();
    let (result, _) = tokio::join!(accept(server, far), async {
        if let Ok(mut stream) = connector.connect(name, near).await {
            let _ = stream.read(&mut [0; 1]).await;
        }
    });
    let error = result.map(|(_, peer)| peer).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    error
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let world = world();
    let (server, client) = shake(world.identity("huy"), world.identity("seraing"), "huy").await;
    assert_eq!(server.unwrap(), id("seraing"));
    client.unwrap();
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_nothing_is_resumed() {
    let world = world();
    let (server, client) = (ReloadableTls::new(world.identity("huy")), ReloadableTls::new(world.identity("seraing")));
    for _ in 0..2 {
        let (near, far) = duplex(64 * 1024);
        let to = id("huy");
        let (accepted, connected) = tokio::join!(server.accept(far), client.connect(near, &to));
        let (mut accepted, _) = accepted.unwrap();
        let mut connected = connected.unwrap();
        accepted.write_all(b"x").await.unwrap();
        accepted.flush().await.unwrap();
        connected.read_exact(&mut [0; 1]).await.unwrap();
        for common in [&**accepted.get_ref().1 as &rustls::CommonState, connected.get_ref().1] {
            assert_eq!(negotiated_group(common), "X25519MLKEM768");
            assert_eq!(common.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            assert_eq!(common.alpn_protocol(), Some(ALPN));
            assert_eq!(common.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
        assert_eq!(connected.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let world = world();
    let stranger = World::new(&["huy", "seraing"]);
    let request = csr(stranger.keys("seraing").tls(), &id("seraing"), &space()).unwrap();
    let issued = stranger.ca.issue(&id("seraing"), &request, today(), 3600).unwrap();
    let connector = client_with(&world.ca, Some((&issued.pem, stranger.keys("seraing").tls())), |_| ());
    refused_by(world.identity("huy"), connector).await;
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused() {
    let (world, stranger) = (world(), world());
    let (server, client) = shake(stranger.identity("huy"), world.identity("seraing"), "huy").await;
    assert!(server.is_err());
    assert_eq!(client.unwrap_err().code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = world();
    let connector = client_with(&world.ca, None, |_| ());
    refused_by(world.identity("huy"), connector).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_either_side() {
    let world = world();
    let long_ago = today().plus_millis(-3 * 3_600_000);
    let expired = |name: &str| world.identity_at(name, long_ago, 3600);
    let (server, client) = shake(world.identity("huy"), expired("seraing"), "huy").await;
    assert_eq!(server.unwrap_err().code, ErrorCode::Unauthenticated);
    client.unwrap_err();
    let (server, client) = shake(expired("huy"), world.identity("seraing"), "huy").await;
    server.unwrap_err();
    assert_eq!(client.unwrap_err().code, ErrorCode::Unauthenticated);
    // Nor is one that isn't valid yet.
    let tomorrow = today().plus_millis(24 * 3_600_000);
    let (server, _) = shake(world.identity("huy"), world.identity_at("seraing", tomorrow, 3600), "huy").await;
    assert_eq!(server.unwrap_err().code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn another_participant_than_dialled_is_refused() {
    let world = world();
    let (_, client) = shake(world.identity("seraing"), world.identity("seraing"), "huy").await;
    assert_eq!(client.unwrap_err().code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    // A ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2) by hand: rustls is built without it.
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, // supported_groups: secp256r1
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // ec_point_formats: uncompressed
        0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03, // signature_algorithms
        0x00, 0x10, 0x00, 0x05, 0x00, 0x03, 0x02, 0x68, 0x32, // ALPN h2
    ];
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&[0x11; 32]);
    body.push(0); // no session
    body.extend_from_slice(&[0x00, 0x04, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend_from_slice(&[0x01, 0x00]); // no compression
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(extensions);
    let mut hello = vec![0x01, 0x00];
    hello.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    hello.extend_from_slice(&body);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend_from_slice(&u16::try_from(hello.len()).unwrap().to_be_bytes());
    record.extend_from_slice(&hello);

    let (mut near, far) = duplex(64 * 1024);
    let (result, answer) = tokio::join!(accept(world().identity("huy"), far), async {
        near.write_all(&record).await.unwrap();
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer).await;
        answer
    });
    assert_eq!(result.map(|(_, peer)| peer).unwrap_err().code, ErrorCode::Unauthenticated);
    // A fatal alert, protocol_version (70).
    assert_eq!(answer, [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46]);
}

#[tokio::test]
async fn a_peer_that_speaks_no_h2_is_refused() {
    let world = world();
    let request = csr(world.keys("seraing").tls(), &id("seraing"), &space()).unwrap();
    let issued = world.ca.issue(&id("seraing"), &request, today(), 3600).unwrap();
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let certificate = Some((issued.pem.as_str(), world.keys("seraing").tls()));
        let connector = client_with(&world.ca, certificate, |c| c.alpn_protocols.clone_from(&alpn));
        refused_by(world.identity("huy"), connector).await;
    }
}

#[tokio::test]
async fn a_certificate_of_the_ca_for_no_participant_is_refused() {
    // Of the right CA's key, but for a name outside the space: the CA's own constraint refuses it.
    let world = world();
    let key = CertKey::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["seraing.elsewhere.perron.internal".to_owned()]).unwrap();
    let root = ca::one_certificate(world.ca.pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&root, world.authority.ca().unwrap().rcgen().unwrap()).unwrap();
    let certificate = params.signed_by(&key.rcgen().unwrap(), &issuer).unwrap();
    let connector = client_with(&world.ca, Some((&certificate.pem(), &key)), |_| ());
    refused_by(world.identity("huy"), connector).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_left() {
    let (_near, far) = duplex(1024);
    let mut tls = ReloadableTls::new(world().identity("huy"));
    assert_eq!(tls.handshake, Duration::from_millis(HANDSHAKE_MS_MAX));
    tls.handshake = Duration::from_millis(20);
    let error = tls.accept(far).await.map(|(_, peer)| peer).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
    assert!(error.detail.contains("too long"));
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 100], b""] {
        let (mut near, far) = duplex(1024);
        near.write_all(bytes).await.unwrap();
        drop(near);
        let error = accept(world().identity("huy"), far).await.map(|(_, peer)| peer).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
    }
}

#[tokio::test]
async fn a_renewed_identity_serves_the_next_connection() {
    let world = world();
    let tls = ReloadableTls::new(world.identity("huy"));
    let first = tls.load().not_after();
    tls.replace(world.identity_at("huy", today(), 7200)).unwrap();
    assert!(tls.load().not_after() > first);
    assert_eq!(tls.replace(world.identity("seraing")).unwrap_err().code, ErrorCode::CertificateInvalid);
    let (near, far) = duplex(64 * 1024);
    let client = ReloadableTls::new(world.identity("seraing"));
    let to = id("huy");
    let (accepted, connected) = tokio::join!(tls.accept(far), client.connect(near, &to));
    assert_eq!(accepted.unwrap().1, id("seraing"));
    connected.unwrap();
}

#[test]
fn key_certificate_and_ca_belong_together() {
    let (one, other) = (world(), world());
    let request = csr(one.keys("huy").tls(), &id("huy"), &space()).unwrap();
    let issued = one.ca.issue(&id("huy"), &request, today(), 3600).unwrap();
    let new = |chain: &str, key: &CertKey, ca: &str| TlsIdentity::new(&space(), chain, key, ca).map(|i| i.participant);
    let key = one.keys("huy").tls();
    assert_eq!(new(&issued.pem, key, one.ca.pem()).unwrap(), id("huy"));
    for (chain, key, ca) in [
        (issued.pem.as_str(), other.keys("huy").tls(), one.ca.pem()),
        (&issued.pem, key, other.ca.pem()),
        (one.ca.pem(), one.authority.ca().unwrap(), one.ca.pem()),
        ("", key, one.ca.pem()),
        (&issued.pem, key, "nonsense"),
    ] {
        assert_eq!(new(chain, key, ca).unwrap_err().code, ErrorCode::CertificateInvalid);
    }
    let elsewhere = SpaceId::parse("elsewhere").unwrap();
    assert!(TlsIdentity::new(&elsewhere, &issued.pem, key, one.ca.pem()).is_err());
    let dir = tempfile::tempdir().unwrap();
    let (chain, ca) = (dir.path().join("chain.pem"), dir.path().join("ca.pem"));
    std::fs::write(&chain, &issued.pem).unwrap();
    assert_eq!(TlsIdentity::load(&space(), &chain, key, &ca).unwrap_err().code, ErrorCode::CertificateInvalid);
    std::fs::write(&ca, one.ca.pem()).unwrap();
    assert_eq!(TlsIdentity::load(&space(), &chain, key, &ca).unwrap().participant(), &id("huy"));
}
