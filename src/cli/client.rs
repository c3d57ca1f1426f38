//! The local socket of a running process.

use crate::api::errors::from_status;
use crate::api::grpc::admin::Command;
use crate::api::pb;
use crate::api::pb::admin_service_client::AdminServiceClient;
use crate::cli::Output;
use hyper_util::rt::TokioIo;
use perron_model::limits::LOCAL_ANSWER_BYTES_MAX;
use perron_model::{Error, ErrorCode, Result};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Name of the local socket in an organisation's directory.
pub const SOCKET: &str = "perron.sock";

/// A runtime for one command.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Error::new(ErrorCode::Internal, "no runtime can be started"))
}

/// Connects to the process that serves a directory.
pub async fn connect(directory: &Path) -> Result<Channel> {
    let socket: PathBuf = directory.join(SOCKET);
    let connector = tower::service_fn(move |_: http::Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let not_running = |_| Error::new(ErrorCode::NotRunning, "no process serves this directory");
    Endpoint::from_static("http://local.perron.internal").connect_with_connector(connector).await.map_err(not_running)
}

/// Gives a command, and its answer.
pub fn execute(directory: &Path, command: &Command) -> Result<Json> {
    runtime()?.block_on(answer(directory, command))
}

/// What the process of a directory tells of itself, if it does so in time.
pub fn status_within(directory: &Path, limit: Duration) -> Result<Json> {
    runtime()?.block_on(async {
        let late = |_| Error::new(ErrorCode::DeadlineExceeded, "no answer in time");
        tokio::time::timeout(limit, answer(directory, &Command::Status {})).await.map_err(late)?
    })
}

async fn answer(directory: &Path, command: &Command) -> Result<Json> {
    let mut client =
        AdminServiceClient::new(connect(directory).await?).max_decoding_message_size(LOCAL_ANSWER_BYTES_MAX);
    let bytes =
        serde_json::to_vec(command).map_err(|_| Error::new(ErrorCode::Internal, "a command can't be written"))?;
    let answer = client
        .execute(pb::ExecuteRequest { command: bytes, language: String::new() })
        .await
        .map_err(|s| from_status(&s))?;
    serde_json::from_slice(&answer.into_inner().answer).map_err(|_| Error::malformed("an answer can't be read"))
}

/// Gives a command; its answer as the type that this program knows it by.
pub fn ask<T: DeserializeOwned>(directory: &Path, command: &Command) -> Result<T> {
    serde_json::from_value(execute(directory, command)?)
        .map_err(|_| Error::new(ErrorCode::Internal, "the running process answers otherwise than this program expects"))
}

/// Gives a command and prints its answer.
pub fn print(directory: &Path, command: &Command, output: &Output) -> Result<()> {
    output.answer(&execute(directory, command)?);
    Ok(())
}

/// Reads a file that the user named.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be read", path.display())))
}

/// Reads an ODRL policy that the user named: a member stated twice is refused, not dropped.
pub fn read_policy(path: &Path) -> Result<Json> {
    perron_model::policy::odrl::read(read(path)?.as_bytes())
}

/// An absolute path: the process that serves has another working directory.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be read", path.display())))
}
