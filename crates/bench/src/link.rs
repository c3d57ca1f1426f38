//! Connections of the load program: as a member to other members, over the program's own mutual
//! TLS and dialer; and to the local socket.

use crate::{failed, space};
use hyper_util::rt::TokioIo;
use perron::api::grpc::admin::Command;
use perron::api::pb;
use perron::api::pb::admin_service_client::AdminServiceClient;
use perron::connector::state::State;
use perron::ledger::{KnownHeads, Ledger, LogIdentity, LogKeys, SystemClock};
use perron::settings::Config;
use perron::trust::dialer::{Dialer, Endpoint as Destination, Purpose};
use perron::trust::keys::KeySet;
use perron::trust::register::{RegisterHandle, VerifiedRegister};
use perron::trust::tls::{ReloadableTls, TlsIdentity};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::participant::{KeyUse, PublicKey};
use perron_model::register::SignedRegister;
use perron_model::{ParticipantId, Result};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};

/// Windows of a connection between connectors, in bytes: those of the program.
pub const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
pub const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// A member as its directory has it.
pub struct Member {
    pub config: Config,
    pub keys: Arc<KeySet>,
    pub register: Arc<RegisterHandle>,
    pub tls: Arc<ReloadableTls>,
}

impl Member {
    /// Reads a member's directory.
    pub fn open(directory: &Path) -> Result<Member> {
        let config = Config::load(directory)?;
        let keys = Arc::new(KeySet::load(&directory.join("keys"))?);
        let trust = directory.join("trust");
        let read =
            |name: &str| std::fs::read_to_string(trust.join(name)).map_err(|e| failed(format!("`trust/{name}`: {e}")));
        let authority = PublicKey::try_from(read("authority.key")?.trim().to_owned())?;
        let signed: SignedRegister = serde_json::from_str(&read("register.json")?).map_err(failed)?;
        let register = Arc::new(RegisterHandle::new(VerifiedRegister::verify(&signed, &authority, None)?));
        let identity = TlsIdentity::new(&config.space, &read("certificate.pem")?, keys.tls(), &read("ca.pem")?)?;
        Ok(Member { config, keys, register, tls: Arc::new(ReloadableTls::new(identity)) })
    }

    /// The member's log in a directory: its own, or one of its name and key beside it.
    pub fn ledger(&self, directory: &Path, state: Arc<State>) -> Result<Ledger> {
        let register = self.register.load();
        let own = register.participant(&self.config.participant);
        let origin = own.ok_or_else(|| failed("the member is not in its register"))?.log_origin.clone();
        let seed = self.keys.signing_key(KeyUse::Log)?.seed();
        let signer = perron_log::Signer::from_seed(&origin, &seed).map_err(failed)?;
        let identity = LogIdentity { origin, generation: 1, keys: LogKeys::alone(signer) };
        Ledger::open(directory, identity, KnownHeads::default(), Arc::new(SystemClock), state).map(|(ledger, _)| ledger)
    }

    /// A connection to the provider, where it listens or at another address.
    pub fn dial_provider(&self, address: Option<SocketAddr>) -> Result<Channel> {
        let provider = ParticipantId::parse(space::PROVIDER)?;
        let mut fixed = BTreeMap::new();
        if let Some(address) = address {
            fixed.insert(provider.clone(), Destination::parse(&address.to_string())?);
        }
        let dialer = Arc::new(Dialer::new(self.tls.clone(), self.register.clone(), fixed));
        let connector = tower::service_fn(move |_: http::Uri| {
            let (dialer, to) = (dialer.clone(), provider.clone());
            async move {
                let dialled = dialer.dial(&to, Purpose::Data).await;
                dialled.map(|d| TokioIo::new(d.stream)).map_err(|e| std::io::Error::other(e.to_string()))
            }
        });
        Ok(Endpoint::from_static("http://peer.perron.internal")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector_lazy(connector))
    }
}

/// A connection to the process that serves a directory.
pub async fn socket(directory: &Path) -> Result<Channel> {
    let socket = directory.join("perron.sock");
    let connector = tower::service_fn(move |_: http::Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://local.perron.internal").connect_with_connector(connector).await.map_err(failed)
}

/// Gives a command over the local socket.
pub async fn command(channel: &Channel, command: &Command) -> Result<Json> {
    let mut client = AdminServiceClient::new(channel.clone()).max_decoding_message_size(16 * MESSAGE_BYTES_MAX);
    let command = serde_json::to_vec(command).map_err(failed)?;
    let answer = client.execute(pb::ExecuteRequest { command, language: String::new() }).await.map_err(failed)?;
    serde_json::from_slice(&answer.into_inner().answer).map_err(failed)
}
