//! TLS channels that come in, with who is at their other end.

use crate::trust::tls::ServerStream;
use perron_model::{Digest, ParticipantId, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Handshakes that run at a time.
const HANDSHAKES_MAX: usize = 64;
/// Connections that wait to be served.
const ACCEPTED_MAX: usize = 64;

/// Who is at the other end of a channel between connectors.
#[derive(Clone, Debug)]
pub struct PeerIdentity(pub ParticipantId);

/// The certificate that a user's tool showed, if it did, by its digest.
#[derive(Clone, Debug)]
pub struct UserCertificate(pub Option<Digest>);

/// A channel whose handshake is done.
pub struct Channel<I> {
    stream: ServerStream<TcpStream>,
    who: I,
}

impl<I: Clone + Send + Sync + 'static> Connected for Channel<I> {
    type ConnectInfo = I;
    fn connect_info(&self) -> I {
        self.who.clone()
    }
}

impl<I: Unpin> AsyncRead for Channel<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: Unpin> AsyncWrite for Channel<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts connections and shakes hands beside each other, so that one that stalls holds up none.
pub fn accept<I, H, F>(
    listener: TcpListener,
    stop: CancellationToken,
    handshake: H,
) -> ReceiverStream<std::io::Result<Channel<I>>>
where
    I: Send + 'static,
    H: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = Result<(ServerStream<TcpStream>, I)>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(ACCEPTED_MAX);
    let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let _ = stream.set_nodelay(true);
            let (shaken, sender) = (handshake(stream), sender.clone());
            tokio::spawn(async move {
                match shaken.await {
                    Ok((stream, who)) => {
                        let _ = sender.send(Ok(Channel { stream, who })).await;
                    }
                    Err(error) => tracing::info!(code = error.code.as_str(), "a handshake failed: {}", error.detail),
                }
                drop(slot);
            });
        }
    });
    ReceiverStream::new(receiver)
}
