//! A plain Flight server: it sends batches from memory, by the program's own TLS and with its
//! windows and message size, and does nothing else. What a provider's stream is compared with.

use crate::failed;
use crate::link::{CONNECTION_WINDOW, Member, STREAM_WINDOW};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use perron::query::arrow::array::RecordBatch;
use perron::query::arrow::datatypes::SchemaRef;
use perron::query::arrow::ipc::reader::FileReader;
use perron::query::arrow::ipc::writer::FileWriter;
use perron::trust::tls::{ServerStream, install_provider};
use perron_model::Result;
use perron_model::limits::FLIGHT_MESSAGE_BYTES_MAX;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of one data message, before it is cut: the provider's.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Writes batches for the server.
pub fn write(file: &Path, batches: &[RecordBatch]) -> Result<()> {
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| failed("an answer without a batch"))?;
    let out = File::create(file).map_err(failed)?;
    let mut writer = FileWriter::try_new(out, &schema).map_err(failed)?;
    batches.iter().try_for_each(|b| writer.write(b)).and_then(|()| writer.finish()).map_err(failed)
}

/// Starts this program as the server of some files, with a member's identity; where it listens.
pub fn start(directory: &Path, files: &[PathBuf]) -> Result<(Child, std::net::SocketAddr)> {
    use std::io::{BufRead, BufReader};
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg("plain")
        .arg("--dir")
        .arg(directory)
        .args(files)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    match (read, line.trim().parse()) {
        (Some(Ok(_)), Ok(address)) => Ok((child, address)),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failed("the plain server doesn't start"))
        }
    }
}

/// Serves the batches of each file under its number, for ever.
pub fn serve(directory: &Path, files: &[PathBuf]) -> Result<()> {
    install_provider();
    let sets = files.iter().map(|f| read(f)).collect::<Result<Vec<_>>>()?;
    // The runtime of `perron serve`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let member = Member::open(directory)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        println!("{}", listener.local_addr().map_err(failed)?);
        let (sender, accepted) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                if let Ok((stream, _)) = member.tls.accept(stream).await {
                    let _ = sender.send(Ok::<_, std::io::Error>(Accepted(stream))).await;
                }
            }
        });
        let flight = FlightServiceServer::new(Plain(sets)).max_encoding_message_size(FLIGHT_MESSAGE_BYTES_MAX);
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(flight)
            .serve_with_incoming(ReceiverStream::new(accepted))
            .await
            .map_err(failed)
    })
}

fn read(file: &Path) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let reader = FileReader::try_new(File::open(file).map_err(failed)?, None).map_err(failed)?;
    let schema = reader.schema();
    let batches: std::result::Result<Vec<RecordBatch>, _> = reader.collect();
    Ok((schema, batches.map_err(failed)?))
}

struct Plain(Vec<(SchemaRef, Vec<RecordBatch>)>);

type Answer<T> = BoxStream<'static, std::result::Result<T, Status>>;

fn unserved<T>() -> std::result::Result<T, Status> {
    Err(Status::unimplemented("only DoGet"))
}

#[tonic::async_trait]
impl FlightService for Plain {
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = Answer<FlightInfo>;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;
    type DoExchangeStream = Answer<FlightData>;

    async fn do_get(&self, request: Request<Ticket>) -> std::result::Result<Response<Self::DoGetStream>, Status> {
        let number: Option<usize> = std::str::from_utf8(&request.get_ref().ticket).ok().and_then(|t| t.parse().ok());
        let found = number.and_then(|n| self.0.get(n)).cloned();
        let (schema, batches) = found.ok_or_else(|| Status::not_found("no such batches"))?;
        let messages = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_max_flight_data_size(MESSAGE_BYTES)
            .build(futures::stream::iter(batches.into_iter().map(Ok::<_, FlightError>)));
        Ok(Response::new(messages.map_err(|e| Status::internal(e.to_string())).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> std::result::Result<Response<Self::HandshakeStream>, Status> {
        unserved()
    }
    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> std::result::Result<Response<Self::ListFlightsStream>, Status> {
        unserved()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<FlightInfo>, Status> {
        unserved()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<PollInfo>, Status> {
        unserved()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<SchemaResult>, Status> {
        unserved()
    }
    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoPutStream>, Status> {
        unserved()
    }
    async fn do_action(&self, _: Request<Action>) -> std::result::Result<Response<Self::DoActionStream>, Status> {
        unserved()
    }
    async fn list_actions(&self, _: Request<Empty>) -> std::result::Result<Response<Self::ListActionsStream>, Status> {
        unserved()
    }
    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoExchangeStream>, Status> {
        unserved()
    }
}

/// A channel whose handshake is done.
struct Accepted(ServerStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
