//! Listeners: mutual TLS for other connectors, a socket and a loopback port for our own tools.

use crate::api::flight::local::LocalFlight;
use crate::api::flight::peer::PeerFlight;
use crate::api::grpc::admin::Admin;
use crate::api::grpc::channels::{self, PeerIdentity, UserCertificate};
use crate::api::grpc::guard;
use crate::api::grpc::services::Services;
use crate::api::pb::admin_service_server::AdminServiceServer;
use crate::api::pb::agreement_service_server::AgreementServiceServer;
use crate::api::pb::catalog_service_server::CatalogServiceServer;
use crate::api::pb::ledger_service_server::LedgerServiceServer;
use crate::api::pb::negotiation_service_server::NegotiationServiceServer;
use crate::api::pb::register_service_server::RegisterServiceServer;
use crate::trust::tls::ReloadableTls;
use arrow_flight::flight_service_server::FlightServiceServer;
use perron_model::limits::{FLIGHT_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX};
use perron_model::{Error, ErrorCode, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tower::util::{MapRequestLayer, MapResponseLayer};

/// Streams of one connection.
const STREAMS_MAX: u32 = 256;
/// Age after which a connection is asked to begin anew, so that certificates are looked at again.
const CONNECTION_AGE: Duration = Duration::from_secs(3600);

/// Binds a TCP address; one that is taken has its own code.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            Error::new(ErrorCode::PortTaken, format!("`{address}` is taken by another process"))
        }
        _ => Error::new(ErrorCode::ConfigInvalid, format!("`{address}` can't be listened on")),
    })
}

/// Binds the local socket; one that a dead process left is replaced (the directory is locked).
pub fn bind_socket(path: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(_) => return Err(Error::new(ErrorCode::ConfigInvalid, "the local socket can't be replaced")),
    }
    UnixListener::bind(path).map_err(|_| {
        Error::new(
            ErrorCode::ConfigInvalid,
            "the local socket can't be made; is the directory's path longer than 100 bytes?",
        )
    })
}

/// Serves other connectors until `stop`.
pub async fn serve_peers(
    listener: TcpListener,
    tls: Arc<ReloadableTls>,
    services: Services,
    stop: CancellationToken,
) -> Result<()> {
    let incoming = channels::accept(listener, stop.clone(), move |stream| {
        let tls = tls.clone();
        async move { tls.accept(stream).await.map(|(stream, peer)| (stream, PeerIdentity(peer))) }
    });
    let flight = FlightServiceServer::new(PeerFlight(services.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(FLIGHT_MESSAGE_BYTES_MAX);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(256)
        .load_shed(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .max_connection_age(CONNECTION_AGE)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .layer(MapResponseLayer::new(guard::for_peers))
        .layer(MapRequestLayer::new(guard::in_time))
        .add_service(CatalogServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(NegotiationServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AgreementServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(LedgerServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(RegisterServiceServer::new(services).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(flight)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    served.map_err(|e| Error::new(ErrorCode::Internal, format!("the listener for other connectors ended: {e}")))
}

fn tools(flight: LocalFlight) -> FlightServiceServer<LocalFlight> {
    FlightServiceServer::new(flight)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
}

/// Serves our own command line and tools on the local socket until `stop`.
pub async fn serve_socket(
    listener: UnixListener,
    admin: Admin,
    flight: LocalFlight,
    stop: CancellationToken,
) -> Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AdminServiceServer<Admin>>().await;
    let served = Server::builder()
        .layer(MapResponseLayer::new(guard::for_tools))
        .layer(MapRequestLayer::new(guard::in_time))
        .add_service(health_service)
        .add_service(AdminServiceServer::new(admin).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(tools(flight))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
        .await;
    served.map_err(|e| Error::new(ErrorCode::Internal, format!("the local socket ended: {e}")))
}

/// Serves Flight SQL to our own tools on a loopback port until `stop`.
pub async fn serve_flight(listener: TcpListener, flight: LocalFlight, stop: CancellationToken) -> Result<()> {
    let served = Server::builder()
        .layer(MapResponseLayer::new(guard::for_tools))
        .layer(MapRequestLayer::new(guard::in_time))
        .add_service(tools(flight))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await;
    served.map_err(|e| Error::new(ErrorCode::Internal, format!("the listener for local tools ended: {e}")))
}

/// Serves Flight SQL to our own tools over TLS until `stop`: who asks shows a certificate that is
/// a user's, or a token.
pub async fn serve_flight_tls(
    listener: TcpListener,
    tls: Arc<ReloadableTls>,
    flight: LocalFlight,
    stop: CancellationToken,
) -> Result<()> {
    let incoming = channels::accept(listener, stop.clone(), move |stream| {
        let tls = tls.clone();
        async move { tls.accept_user(stream).await.map(|(stream, user)| (stream, UserCertificate(user))) }
    });
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .max_connection_age(CONNECTION_AGE)
        .layer(MapResponseLayer::new(guard::for_tools))
        .layer(MapRequestLayer::new(guard::in_time))
        .add_service(tools(flight))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    served.map_err(|e| Error::new(ErrorCode::Internal, format!("the TLS listener for tools ended: {e}")))
}
