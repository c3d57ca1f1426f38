//! The wire as another program would speak it: mutual TLS with an organisation's own files, the
//! local sockets, and bytes that no generated client would send.

use super::{SPACE, World};
use bytes::{Buf, BufMut, Bytes};
use http_body::{Body as HttpBody, Frame};
use hyper_util::rt::TokioIo;
use perron::trust::dialer::{Dialer, Purpose};
use perron::trust::keys::KeySet;
use perron::trust::register::{RegisterHandle, VerifiedRegister};
use perron::trust::tls::{ReloadableTls, TlsIdentity, install_provider};
use perron_model::participant::PublicKey;
use perron_model::{ParticipantId, SpaceId};
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A runtime for one test.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A channel to `to` with another organisation's keys, and how often it was dialled.
pub fn peer_channel(world: &World, me: &str, to: &str) -> (Channel, Arc<AtomicUsize>) {
    install_provider();
    let dir = world.dir(me);
    let (trust, keys) = (dir.join("trust"), KeySet::load(&dir.join("keys")).unwrap());
    let space = SpaceId::parse(SPACE).unwrap();
    let identity =
        TlsIdentity::load(&space, &trust.join("certificate.pem"), keys.tls(), &trust.join("ca.pem")).unwrap();
    let tls = Arc::new(ReloadableTls::new(identity));
    let dialer = Arc::new(Dialer::new(tls, Arc::new(RegisterHandle::new(register(&trust))), BTreeMap::new()));
    let (to, dialled) = (ParticipantId::parse(to).unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = dialled.clone();
    let connector = tower::service_fn(move |_: http::Uri| {
        let (dialer, to, count) = (dialer.clone(), to.clone(), count.clone());
        async move {
            count.fetch_add(1, Ordering::AcqRel);
            let dialled = dialer.dial(&to, Purpose::Control).await;
            dialled.map(|d| TokioIo::new(d.stream)).map_err(|e| std::io::Error::other(e.to_string()))
        }
    });
    (Endpoint::from_static("http://peer.perron.internal").connect_with_connector_lazy(connector), dialled)
}

/// The register that a directory holds.
pub fn register(trust: &Path) -> VerifiedRegister {
    let text = std::fs::read_to_string(trust.join("authority.key")).unwrap();
    let key = PublicKey::try_from(text.trim().to_owned()).unwrap();
    let signed = serde_json::from_slice(&std::fs::read(trust.join("register.json")).unwrap()).unwrap();
    VerifiedRegister::verify(&signed, &key, None).unwrap()
}

/// A channel to a local socket; a reader of it holds little that it hasn't read.
pub fn local_channel(world: &World, name: &str) -> Channel {
    let socket = world.dir(name).join("perron.sock");
    let connector = tower::service_fn(move |_: http::Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://local.perron.internal")
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect_with_connector_lazy(connector)
}

/// A channel to an address, without TLS: the loopback port of Flight SQL.
pub fn plain_channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// Sends bytes as the message of a method; gives what comes back.
pub async fn call(channel: &Channel, path: &'static str, message: Bytes) -> Result<Bytes, Status> {
    call_with(channel, path, message, &[]).await
}

/// As `call`, with headers.
pub async fn call_with(
    channel: &Channel,
    path: &'static str,
    message: Bytes,
    headers: &[(&'static str, &str)],
) -> Result<Bytes, Status> {
    use futures::StreamExt;
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut request = tonic::Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let path = http::uri::PathAndQuery::from_static(path);
    let mut stream = client.server_streaming(request, path, Raw).await?.into_inner();
    stream.next().await.unwrap_or(Ok(Bytes::new()))
}

/// Sends a request whose body stops in the middle; gives its status.
pub async fn stall(channel: &Channel, path: &'static str) -> Status {
    use tower::{Service, ServiceExt};
    let request = http::Request::post(format!("http://peer.perron.internal{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(Half(Some(Bytes::from_static(&[0, 0, 0, 0, 100, 10, 5])))))
        .unwrap();
    let mut channel = channel.clone();
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    Status::from_header_map(answer.headers()).unwrap()
}

/// The stable code that a status carries as google.rpc.ErrorInfo; its status number is the table's.
pub fn code_of(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "perron");
    let code = perron_model::ErrorCode::parse(&info.reason).unwrap_or_else(|| panic!("not in the table: {info:?}"));
    assert_eq!(status.code(), Code::from_i32(code.grpc()), "{status:?}");
    info.reason
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The beginning of a message, and then nothing.
struct Half(Option<Bytes>);

impl HttpBody for Half {
    type Data = Bytes;
    type Error = Status;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}
