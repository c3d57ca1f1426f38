//! `perron serve`: the wiring of one organisation's process.

use crate::api::flight::local::LocalFlight;
use crate::api::grpc::admin::Admin;
use crate::api::grpc::client::GrpcPeers;
use crate::api::grpc::server;
use crate::api::grpc::services::Services;
use crate::api::http::client::HttpWitnesses;
use crate::cli::args::Dir;
use crate::cli::client::SOCKET;
use crate::cli::following::{Follower, Member};
use crate::cli::output::tell;
use crate::cli::{Output, init};
use crate::connector::Node;
use crate::connector::authority::Authority;
use crate::connector::node::Parts;
use crate::connector::rotation::{AtHome, Registrar};
use crate::connector::streaming::{self, Stream};
use crate::connector::succession::{BACKUP_FILE, Places};
use crate::connector::witness::{HeldElsewhere, Kept, ask_for_heads, outside_logs};
use crate::connector::witnessing::{self, Asked};
use crate::files::write_file;
use crate::ledger::SystemClock;
use crate::policy::Policies;
use crate::settings::{Config, Settings};
use crate::trust::collector::Collector;
use crate::trust::dialer::{Dialer, Endpoint};
use crate::trust::keyring::{CHANGEABLE, Keyring};
use crate::trust::keys::KeySet;
use crate::trust::register::RegisterHandle;
use crate::trust::renewal::RenewalRequest;
use crate::trust::tls::{ReloadableTls, TlsIdentity, install_provider};
use crate::trust::witnesses::WitnessAddress;
use perron_gate::Clock;
use perron_model::limits::{CERTIFICATE_LIFE_S, ERASURE_BACKUP_DAYS_DEFAULT, REGISTER_RESIGN_S};
use perron_model::participant::KeyUse;
use perron_model::{Error, ErrorCode, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long requests under way may go on after a signal.
const DRAIN: Duration = Duration::from_secs(20);
/// A certificate with less than a third of its life left is renewed, in milliseconds.
const RENEWAL_LEFT_MS: i64 = CERTIFICATE_LIFE_S * 1000 / 3;
/// How often the certificate's age is looked at.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);

pub fn run(args: &Dir, output: &Output) -> Result<()> {
    install_provider();
    init_tracing();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|_| Error::new(ErrorCode::Internal, "no runtime can be started"))?;
    let served = runtime.block_on(serve(&args.dir, output));
    runtime.shutdown_timeout(Duration::from_secs(2));
    served
}

fn init_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PERRON_TRACE").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("info,h2=warn,sled=warn,wasmtime=warn,cranelift=warn,datafusion=warn")
    });
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Takes the directory for this process; another that has it keeps it.
pub fn lock(directory: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the directory can't be locked"))?;
    file.try_lock().map_err(|_| Error::new(ErrorCode::DirectoryLocked, "another process holds this directory"))?;
    Ok(file)
}

/// Refuses a backup that isn't restored, and a directory whose next log isn't in its place yet.
pub(super) fn require_restored(directory: &Path) -> Result<()> {
    if directory.join(BACKUP_FILE).exists() {
        let detail = format!("this is a backup, or what was brought back from one (`{BACKUP_FILE}`)");
        return Err(Error::new(ErrorCode::RestoreUnfinished, detail));
    }
    Places::of(directory).require_finished()
}

/// All that runs for one directory.
struct Running {
    node: Arc<Node>,
    authority: Option<Arc<Authority>>,
    peers: Arc<GrpcPeers>,
    tls: Arc<ReloadableTls>,
    follower: Option<Arc<Follower>>,
    keys: Arc<Keyring>,
    stream: Option<Arc<Stream>>,
    asked: Arc<Asked>,
    config: Config,
}

/// What a process is made of before its log is opened.
pub(super) struct Prepared {
    pub(super) parts: Parts,
    pub(super) peers: Arc<GrpcPeers>,
    tls: Arc<ReloadableTls>,
    pub(super) register: Arc<RegisterHandle>,
    pub(super) follower: Option<Arc<Follower>>,
    pub(super) keys: Arc<Keyring>,
    stream: Option<Arc<Stream>>,
    pub(super) asked: Arc<Asked>,
}

/// Everything before the log is looked at.
pub(super) fn prepare(directory: &Path, config: &Config) -> Result<Prepared> {
    let folder = directory.join("keys");
    let set = Arc::new(KeySet::load(&folder)?);
    let keys = Arc::new(Keyring::open(&folder, set.clone())?);
    let trust = directory.join("trust");
    let key = init::read_authority_key(directory)?;
    let register = Arc::new(RegisterHandle::new(init::read_register(directory)?));
    let identity = TlsIdentity::load(&config.space, &trust.join(init::CERTIFICATE), set.tls(), &trust.join(init::CA))?;
    if *identity.participant() != config.participant {
        return Err(Error::new(
            ErrorCode::CertificateInvalid,
            format!("the certificate is not `{}`'s", config.participant),
        ));
    }
    let tls = Arc::new(ReloadableTls::new(identity));
    let mut fixed = BTreeMap::new();
    if let Some(authority) = &config.authority {
        fixed.insert(authority.participant.clone(), Endpoint::parse(&authority.endpoint)?);
    }
    let collector = config.syslog.as_ref().map(|syslog| Collector::load(directory, syslog)).transpose()?;
    let witnesses = WitnessAddress::load_all(directory, &trust.join(init::CA), &config.witness)?;
    let verifiers = witnesses.iter().map(|witness| witness.verifier().clone()).collect();
    let policy = config.witness_policy.as_ref().map(|file| witnessing::read_policy(directory, file)).transpose()?;
    let dialer = Dialer::new(tls.clone(), register.clone(), fixed).with_collector(collector).with_witnesses(witnesses);
    let dialer = Arc::new(dialer);
    let asked = Arc::new(Asked::new(verifiers, Arc::new(HttpWitnesses::new(dialer.clone())), policy));
    let stream = config.syslog.clone().map(|syslog| Arc::new(Stream::open(directory, syslog, dialer.clone())));
    let peers = Arc::new(GrpcPeers::new(dialer));
    let policies = Arc::new(Policies::load(&directory.join("cache"))?);
    let settings = Settings {
        participant: config.participant.clone(),
        data: directory.to_owned(),
        activities: config.activities.clone(),
        reconcile_every: config.reconcile_every.duration(),
        backup_days: config.erasure.as_ref().map_or(ERASURE_BACKUP_DAYS_DEFAULT, |erasure| erasure.backup_days),
    };
    let parts = Parts {
        settings,
        keys: keys.clone(),
        register: register.clone(),
        authority: key,
        space: config.space.clone(),
        peers: peers.clone(),
        policies,
        outside: outside_logs(config.http.as_ref().map_or(&[][..], |http| http.log.as_slice()))?,
    };
    let file = trust.join(crate::connector::authority::REGISTER_FILE);
    let follower = config
        .authority
        .as_ref()
        .map(|address| Arc::new(Follower::new(peers.clone(), address.participant.clone(), register.clone(), file)));
    Ok(Prepared { parts, peers, tls, register, follower, keys, stream, asked })
}

fn open(directory: &Path, config: Config, prepared: Prepared, elsewhere: &HeldElsewhere) -> Result<Running> {
    let Prepared { parts, peers, tls, register, follower, keys, stream, asked } = prepared;
    let node = Arc::new(Node::open(parts, elsewhere)?);
    let set = keys.set().clone();
    let authority = if set.is_authority() {
        Some(Arc::new(Authority::open(directory, &config.space, &config.participant, set, register)?))
    } else {
        None
    };
    Ok(Running { node, authority, peers, tls, follower, keys, stream, asked, config })
}

/// Where the register in this directory knows none of the keys that a use has here, the authority is
/// asked for a newer one: it is how a lost key's successor comes into use. So it is where a key was made
/// that the register doesn't know: it may have been taken before the last process ended.
async fn learn_keys(prepared: &Prepared, config: &Config) -> Result<()> {
    let register = prepared.register.load();
    let Some(own) = register.participant(&config.participant) else { return Ok(()) };
    prepared.keys.follow(own);
    let lacking = || {
        let in_force = |key_use| prepared.keys.in_force(key_use, SystemClock.now());
        CHANGEABLE.into_iter().find_map(|key_use| in_force(key_use).err())
    };
    let is_pending = CHANGEABLE.into_iter().flat_map(|of| prepared.keys.held(of)).any(|h| h.registered.is_none());
    let error = lacking();
    let Some(follower) = prepared.follower.clone().filter(|_| is_pending || error.is_some()) else {
        return error.map_or(Ok(()), Err);
    };
    match Member(follower).refresh().await {
        Ok(()) => {
            if let Some(own) = prepared.register.load().participant(&config.participant) {
                prepared.keys.follow(own);
            }
            lacking().map_or(Ok(()), Err)
        }
        Err(away) => {
            tracing::warn!(
                code = away.code.as_str(),
                "the authority can't be asked for a newer register: {}",
                away.detail
            );
            error.map_or(Ok(()), Err)
        }
    }
}

async fn serve(directory: &Path, output: &Output) -> Result<()> {
    let directory =
        &directory.canonicalize().map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the directory doesn't exist"))?;
    let config = Config::load(directory)?;
    let _lock = lock(directory)?;
    require_restored(directory)?;
    let running = {
        let (at, of) = (directory.clone(), config.clone());
        let prepared = crate::connector::catalogue::blocking(move || prepare(&at, &of)).await?;
        learn_keys(&prepared, &config).await?;
        // Whoever holds more of this log than there is ends the start before anything is written.
        let partners = Kept::open(&directory.join("trust"))?.cosigners();
        let register = prepared.register.load();
        let elsewhere = ask_for_heads(&*prepared.peers, &register, &config.participant, &partners).await;
        let (directory, config) = (directory.clone(), config.clone());
        crate::connector::catalogue::blocking(move || open(&directory, config, prepared, &elsewhere)).await?
    };
    let listeners = Listeners::bind(directory, &config).await?;
    witnessing::before_start(&running.node, &running.asked).await?;
    running.node.start().await?;
    running.node.restore_documents()?;
    let stop = CancellationToken::new();
    let serving = CancellationToken::new();
    running.node.spawn_tasks(stop.clone());
    spawn_trust(&running, directory, &stop);
    let services = Services { node: running.node.clone(), authority: running.authority.clone(), stop: serving.clone() };
    let owner = std::fs::metadata(directory)
        .map(|m| m.uid())
        .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the directory can't be looked at"))?;
    let admin = Admin {
        node: running.node.clone(),
        authority: running.authority.clone(),
        owner,
        listen: config.listen.clone(),
        http: config.http.as_ref().map(|http| http.listen),
        stream: running.stream.clone(),
        asked: running.asked.clone(),
        registrar: registrar(&running),
    };
    let mut servers = listeners.serve(&running, services, admin, &serving);
    // Whoever reads that it serves may end it from then on.
    let mut signals = Signals::listen()?;
    tell!(
        "{}",
        json!({"serving": config.participant, "peers": config.listen.peers, "flight": config.listen.flight, "http": config.http.as_ref().map(|http| http.listen)})
    );
    let _ = output;
    let ended = wait_for_end(&running.node, &mut servers, &mut signals).await;
    tracing::info!("stopping");
    serving.cancel();
    let drained = async { while servers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    stop.cancel();
    let stopped = running.node.stop("signal").await;
    let _ = std::fs::remove_file(directory.join(SOCKET));
    // A log that nothing more is written to has no stop; why it isn't is what is told.
    ended.and(stopped)
}

/// All that is listened on.
struct Listeners {
    peers: TcpListener,
    socket: UnixListener,
    flight: Option<TcpListener>,
    flight_tls: Option<TcpListener>,
    http: Option<TcpListener>,
}

impl Listeners {
    async fn bind(directory: &Path, config: &Config) -> Result<Listeners> {
        Ok(Listeners {
            peers: server::bind(config.listen.peers).await?,
            socket: server::bind_socket(&directory.join(SOCKET))?,
            flight: bind_if(config.listen.flight).await?,
            flight_tls: bind_if(config.listen.flight_tls).await?,
            http: bind_if(config.http.as_ref().map(|http| http.listen)).await?,
        })
    }

    fn serve(
        self,
        running: &Running,
        services: Services,
        admin: Admin,
        serving: &CancellationToken,
    ) -> tokio::task::JoinSet<Result<()>> {
        let local = LocalFlight::new(running.node.clone());
        let mut servers = tokio::task::JoinSet::new();
        servers.spawn(server::serve_peers(self.peers, running.tls.clone(), services, serving.clone()));
        servers.spawn(server::serve_socket(self.socket, admin, local.clone(), serving.clone()));
        if let Some(listener) = self.flight {
            servers.spawn(server::serve_flight(listener, local.clone(), serving.clone()));
        }
        if let Some(listener) = self.flight_tls {
            servers.spawn(server::serve_flight_tls(listener, running.tls.clone(), local, serving.clone()));
        }
        if let Some(listener) = self.http {
            let (tls, node) = (running.tls.clone(), running.node.clone());
            servers.spawn(crate::api::http::server::serve(listener, tls, node, serving.clone()));
        }
        servers
    }
}

async fn bind_if(address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    match address {
        Some(address) => server::bind(address).await.map(Some),
        None => Ok(None),
    }
}

/// The signals that end the process in order, from when they are listened for on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(|_| Error::new(ErrorCode::Internal, "signals can't be waited for"));
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }
}

/// A signal, a listener that ended, or a log that can't be written.
async fn wait_for_end(
    node: &Node,
    servers: &mut tokio::task::JoinSet<Result<()>>,
    signals: &mut Signals,
) -> Result<()> {
    let mut changes = node.state_changes();
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            ended = servers.join_next() => return ended.and_then(std::result::Result::ok).unwrap_or(Ok(())),
            _ = changes.changed() => {}
            why = node.ledger().failed() => return Err(Error::new(why.code, format!("{}: so the process ends", why.detail))),
        }
    }
}

/// The register and the certificate keep themselves new; the log is streamed and cosigned, where it
/// is asked for.
fn spawn_trust(running: &Running, directory: &Path, stop: &CancellationToken) {
    let task: Option<futures::future::BoxFuture<'static, ()>> = match (&running.authority, running.follower.clone()) {
        (Some(authority), _) => Some(Box::pin(resign(running.node.clone(), authority.clone()))),
        (None, Some(follower)) => {
            let node = running.node.clone();
            Some(Box::pin(async move { follower.follow(&node).await }))
        }
        (None, None) => None,
    };
    let renewal: Option<futures::future::BoxFuture<'static, ()>> = running.config.authority.as_ref().map(|address| {
        let (peers, tls, keys, node, config) = (
            running.peers.clone(),
            running.tls.clone(),
            running.keys.clone(),
            running.node.clone(),
            running.config.clone(),
        );
        let (to, directory) = (address.participant.clone(), directory.to_owned());
        Box::pin(async move { renew(&peers, &to, &tls, &keys, &node, &config, &directory).await })
            as futures::future::BoxFuture<'static, ()>
    });
    let streaming = running.stream.clone().map(|stream| {
        Box::pin(streaming::run(running.node.clone(), stream)) as futures::future::BoxFuture<'static, ()>
    });
    let (node, asked) = (running.node.clone(), running.asked.clone());
    let asking = Box::pin(witnessing::run(node, asked)) as futures::future::BoxFuture<'static, ()>;
    for task in task.into_iter().chain(renewal).chain(streaming).chain([asking]) {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// Who changes this organisation's keys: the authority itself where it is one.
fn registrar(running: &Running) -> Option<Arc<dyn Registrar>> {
    match (running.authority.clone(), running.follower.clone()) {
        (Some(authority), _) => Some(Arc::new(AtHome { authority, node: running.node.clone() })),
        (None, Some(follower)) => Some(Arc::new(Member(follower))),
        (None, None) => None,
    }
}

async fn resign(node: Arc<Node>, authority: Arc<Authority>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(REGISTER_RESIGN_S));
    loop {
        ticks.tick().await;
        if let Err(error) = authority.resign(node.now()) {
            tracing::error!(code = error.code.as_str(), "the register can't be signed anew: {}", error.detail);
        }
    }
}

/// Renews the certificate once two thirds of its life are over.
async fn renew(
    peers: &GrpcPeers,
    authority: &perron_model::ParticipantId,
    tls: &ReloadableTls,
    keys: &Keyring,
    node: &Node,
    config: &Config,
    directory: &Path,
) {
    let mut ticks = tokio::time::interval(RENEWAL_CHECK);
    loop {
        ticks.tick().await;
        let now = node.now();
        let left_ms = tls.load().not_after().millis().saturating_sub(now.millis());
        if left_ms > RENEWAL_LEFT_MS {
            continue;
        }
        let renewed = async {
            let agreement = keys.signing_key(KeyUse::Agreement, now)?;
            let request = RenewalRequest::sign(&config.space, &config.participant, keys.set(), &agreement, now)?;
            let chain = peers.renew(authority, request).await?;
            let ca = std::fs::read_to_string(directory.join("trust").join(init::CA))
                .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "`trust/ca.pem` can't be read"))?;
            let identity = TlsIdentity::new(&config.space, &chain, keys.set().tls(), &ca)?;
            write_file(&directory.join("trust").join(init::CERTIFICATE), chain.as_bytes())?;
            tls.replace(identity)?;
            peers.reconnect();
            Ok::<(), Error>(())
        };
        match renewed.await {
            Ok(()) => tracing::info!("the certificate was renewed"),
            Err(error) => {
                tracing::warn!(code = error.code.as_str(), "the certificate can't be renewed now: {}", error.detail)
            }
        }
    }
}
