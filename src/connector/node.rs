//! One organisation: its keys, its log, its data. There are no globals; a process may hold many.

use crate::connector::partners::Partners;
use crate::connector::peers::Peers;
use crate::connector::ports::{AgreementsPort, ClockPort, PolicyPort, RegisterPort};
use crate::connector::reads::Running;
use crate::connector::rotation::log_keys;
use crate::connector::state::State;
use crate::connector::users::Users;
use crate::connector::witness::{HeldElsewhere, Kept, OutsideLogs};
use crate::ledger::{Activities, Draft, Generations, KnownHeads, Ledger, LogIdentity, Rates, SystemClock};
use crate::policy::Policies;
use crate::query::{QueryEngine, QuerySettings, Releases};
use crate::settings::Settings;
use crate::source::Sets;
use crate::store::Store;
use crate::trust::keyring::Keyring;
use crate::trust::register::RegisterHandle;
use crate::vault::{Sealed, Sealing, Vault};
use perron_gate::{Clock, Gate};
use perron_model::entry::{AttachmentKind, Body, Start, Stop};
use perron_model::limits::{
    CHECKPOINTS_BURST, CHECKPOINTS_PER_SECOND, NEGOTIATION_MESSAGES_BURST, NEGOTIATION_MESSAGES_PER_SECOND,
};
use perron_model::participant::{Participant, PublicKey};
use perron_model::succession::generation_of;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The gate over this program's ports.
pub type NodeGate = Gate<RegisterPort, AgreementsPort, PolicyPort, Ledger, ClockPort>;

/// What a node is made of, handed in by the wiring.
pub struct Parts {
    /// Settings.
    pub settings: Settings,
    /// Private keys.
    pub keys: Arc<Keyring>,
    /// The register in use.
    pub register: Arc<RegisterHandle>,
    /// The authority's register key.
    pub authority: PublicKey,
    /// The data space.
    pub space: SpaceId,
    /// Other connectors.
    pub peers: Arc<dyn Peers>,
    /// Policies, compiled.
    pub policies: Arc<Policies>,
    /// Logs outside of the data space whose checkpoints are cosigned.
    pub outside: OutsideLogs,
}

impl Parts {
    fn own(&self) -> Result<Participant> {
        let me = &self.settings.participant;
        let own = self.register.load().participant(me).cloned();
        own.ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, format!("`{me}` is not in the register")))
    }

    /// The log in force.
    pub fn identity(&self) -> Result<LogIdentity> {
        self.identity_of(&self.own()?.log_origin)
    }

    /// The log of an origin of this organisation, with all keys that it has or had.
    pub fn identity_of(&self, origin: &str) -> Result<LogIdentity> {
        let own = self.own()?;
        self.keys.follow(&own);
        let keys = log_keys(&self.keys, &own, origin)?;
        Ok(LogIdentity { origin: origin.to_owned(), generation: generation_of(origin)?, keys })
    }

    /// The logs that are closed, opened for reading.
    pub fn generations(&self) -> Result<Generations> {
        let closed = self.own()?.closed_logs.into_iter();
        let identities = closed.map(|log| Ok((self.identity_of(&log.origin)?, log))).collect::<Result<_>>()?;
        Generations::open(&self.settings.data, identities)
    }
}

/// One organisation.
pub struct Node {
    pub(crate) me: ParticipantId,
    pub(crate) space: SpaceId,
    pub(crate) data: PathBuf,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) register: Arc<RegisterHandle>,
    pub(crate) authority: PublicKey,
    pub(crate) sets: Arc<Sets>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) engine: QueryEngine,
    pub(crate) policies: Arc<Policies>,
    pub(crate) ledger: Ledger,
    pub(crate) state: Arc<State>,
    pub(crate) users: Users,
    pub(crate) vault: Arc<Vault>,
    pub(crate) backup_days: u16,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: NodeGate,
    pub(crate) running: Running,
    pub(crate) partners: Arc<Partners>,
    pub(crate) kept: Kept,
    pub(crate) outside: OutsideLogs,
    pub(crate) tile_looks: Mutex<std::collections::HashSet<(String, i64)>>,
    pub(crate) wanted: crate::connector::tasks::Wanted,
    pub(crate) negotiation_rates: Rates,
    pub(crate) checkpoint_rates: Rates,
    pub(crate) settling: crate::connector::settling::Settling,
    pub(crate) scrubbing: crate::connector::scrubbing::Scrubbing,
    pub(crate) extracts: crate::connector::audit::Extracts,
    pub(crate) reconciling: Arc<crate::connector::reconciling::Reconciling>,
    pub(crate) negotiating: tokio::sync::Mutex<()>,
    // A retention rule and what is pruned by it are one step after the other.
    pub(crate) pruning: tokio::sync::Mutex<()>,
    pub(crate) activities: Activities,
    // What was told of an agreement and what is written of it next are one step.
    pub(crate) noticing: tokio::sync::Mutex<()>,
    pub(crate) rotating: tokio::sync::Mutex<()>,
    pub(crate) following_keys: tokio::sync::Mutex<()>,
    // One new pseudonym at a time.
    pub(crate) introducing: tokio::sync::Mutex<()>,
    // One erasure at a time.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    pub(crate) schema_grants: Mutex<std::collections::HashSet<(ParticipantId, Digest, u64)>>,
    pub(crate) released: Mutex<std::collections::HashSet<(Digest, Digest)>>,
    pub(crate) mask_secret: [u8; 32],
}

impl Node {
    /// Opens an organisation's directory: the log first, then what is derived from it.
    pub fn open(parts: Parts, elsewhere: &HeldElsewhere) -> Result<Node> {
        let data = parts.settings.data.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let me = parts.settings.participant.clone();
        let identity = parts.identity()?;
        let store = Store::open(&data.join("state"))?;
        let state = Arc::new(State::open(store)?);
        let kept = Kept::open(&data.join("trust"))?;
        elsewhere.require_in_force(&identity.origin, &kept, clock.now())?;
        let heads = KnownHeads {
            heads: [kept.heads_of(&identity.origin)?, elsewhere.heads.clone()].concat(),
            asked: elsewhere.asked.iter().map(ToString::to_string).collect(),
        };
        let (closed, activities) = (parts.generations()?, parts.settings.activities.clone());
        let (ledger, opened) =
            Ledger::open_after(&data, closed, identity, heads, clock.clone(), state.clone(), activities)?;
        tracing::info!(
            entries = opened.size,
            recovered = opened.recovered,
            unfinished = opened.unfinished,
            "the log is open"
        );
        let reconciling = crate::connector::reconciling::Reconciling::new(parts.settings.reconcile_every, &data);
        let partners = Arc::new(Partners::open(state.clone(), &ledger, clock.now())?);
        let sets = Arc::new(Sets::open(&data.join("sets"))?);
        let releases = Arc::new(Releases::open(&data.join("released"))?);
        let engine = QueryEngine::new(sets.clone(), releases.clone(), QuerySettings::default())?;
        let users = Users::open(&data.join("users.json"))?;
        let vault = Arc::new(Vault::open(&data.join(crate::vault::FOLDER), state.erased_to())?);
        let gate = Gate::new(
            me.clone(),
            RegisterPort(parts.register.clone()),
            AgreementsPort::new(state.clone(), sets.clone(), clock.clone()),
            PolicyPort(parts.policies.clone()),
            ledger.clone(),
            ClockPort(clock.clone()),
        );
        Ok(Node {
            me,
            space: parts.space,
            mask_secret: mask_secret(&data.join("keys"))?,
            data,
            keys: parts.keys,
            register: parts.register,
            authority: parts.authority,
            sets,
            releases,
            engine,
            policies: parts.policies,
            ledger,
            state,
            users,
            vault,
            backup_days: parts.settings.backup_days,
            peers: parts.peers,
            clock,
            gate,
            running: Running::default(),
            partners,
            kept,
            outside: parts.outside,
            tile_looks: Mutex::default(),
            wanted: crate::connector::tasks::Wanted::default(),
            negotiation_rates: Rates::new(NEGOTIATION_MESSAGES_BURST, NEGOTIATION_MESSAGES_PER_SECOND),
            checkpoint_rates: Rates::new(CHECKPOINTS_BURST, CHECKPOINTS_PER_SECOND),
            settling: crate::connector::settling::Settling::default(),
            scrubbing: crate::connector::scrubbing::Scrubbing::default(),
            extracts: crate::connector::audit::Extracts::default(),
            reconciling: Arc::new(reconciling),
            negotiating: tokio::sync::Mutex::new(()),
            pruning: tokio::sync::Mutex::new(()),
            activities: parts.settings.activities,
            noticing: tokio::sync::Mutex::new(()),
            rotating: tokio::sync::Mutex::new(()),
            following_keys: tokio::sync::Mutex::new(()),
            introducing: tokio::sync::Mutex::new(()),
            erasing: tokio::sync::Mutex::new(()),
            schema_grants: Mutex::default(),
            released: Mutex::default(),
        })
    }

    /// Writes the entry of the start. Nothing is served before.
    pub async fn start(self: &Arc<Node>) -> Result<()> {
        // Before anything is decided by them.
        self.policies.keep(&self.data.join(MODULES))?;
        let modules = self.policies.digests().clone();
        let body = Body::Start(Start {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            origin: self.ledger.origin().to_owned(),
            modules,
            engine: Some(crate::policy::ENGINE.to_owned()),
        });
        self.ledger.append(Draft::plain(body)).await?;
        self.take_up_open_reads()?;
        self.note_sets().await?;
        self.note_register().await?;
        self.follow_keys().await?;
        self.finish_erasures().await?;
        self.tell_facts(None).await
    }

    /// Writes the entry of the stop, the outstanding summaries and the checkpoint.
    pub async fn stop(&self, reason: &str) -> Result<()> {
        self.ledger.append(Draft::plain(Body::Stop(Stop { reason: reason.to_owned() }))).await?;
        self.ledger.close().await
    }

    /// Notes in the log which register version is in use.
    pub async fn note_register(&self) -> Result<()> {
        let register = self.register.load();
        let body = Body::RegisterSeen(perron_model::entry::RegisterSeen {
            version: register.version(),
            digest: register.digest(),
        });
        let attachments = vec![(AttachmentKind::Register, register.signed().register.into_bytes())];
        self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await.map(|_| ())
    }

    /// Leave to seal one value; it is held until the value's entry is enqueued.
    pub(crate) async fn begin_sealing(&self) -> Result<Sealing> {
        self.vault.begin(self.ledger.reader().size()).await
    }

    /// Now, by the one clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Version of the register in use, until when, and how it stands: *fresh*, *half-used* (a newer
    /// one is overdue), or *stale*.
    pub fn register_age(&self) -> (u64, Timestamp, &'static str) {
        let (register, now) = (self.register.load(), self.now());
        let age = match (register.is_fresh(now), register.half_used(now)) {
            (false, _) => "stale",
            (true, true) => "half-used",
            (true, false) => "fresh",
        };
        (register.version(), register.payload().use_before, age)
    }

    /// This organisation.
    pub fn me(&self) -> &ParticipantId {
        &self.me
    }

    /// The log.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A participant of the register, in force now.
    pub(crate) fn in_force(&self, id: &ParticipantId) -> Result<Participant> {
        let register = self.register.load();
        let now = self.now();
        if !register.is_fresh(now) {
            return Err(Error::new(ErrorCode::RegisterStale, "the register is past its time of use"));
        }
        let participant = register
            .participant(id)
            .ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, format!("`{id}` is not in the register")))?;
        if register.is_ahead_of(now) {
            return Err(Error::new(ErrorCode::ClockJump, "this clock is behind the register's time"));
        }
        participant.require_in_force(now.max(register.payload().issued))?;
        Ok(participant.clone())
    }

    /// Writes an entry of an administrative act, with its document.
    pub(crate) async fn administer(&self, action: &str, actor: &str, document: Vec<u8>) -> Result<()> {
        self.administer_about(action, actor, document, None).await
    }

    /// As [`Self::administer`], with the sealed name of whom the act is about.
    pub(crate) async fn administer_about(
        &self,
        action: &str,
        actor: &str,
        document: Vec<u8>,
        about: Option<Sealed>,
    ) -> Result<()> {
        let body = Body::Administration(perron_model::entry::Administration {
            action: action.to_owned(),
            actor: actor.to_owned(),
            document: Digest::of(&document),
            sealed: about.as_ref().map(|sealed| sealed.digest),
        });
        let mut attachments = vec![(AttachmentKind::Document, document)];
        attachments.extend(about.map(|sealed| (AttachmentKind::Sealed, sealed.bytes)));
        self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await.map(|_| ())
    }
}

/// Folder of the policy modules that decided here.
pub const MODULES: &str = "modules";

/// File of the secret of masks, beside the keys.
pub const MASK_SECRET: &str = "mask.secret";

/// The secret from which the keys of masks are derived; made at the first start.
fn mask_secret(keys: &std::path::Path) -> Result<[u8; 32]> {
    let file = keys.join(MASK_SECRET);
    crate::trust::keys::require_private(keys, MASK_SECRET)?;
    match std::fs::read(&file) {
        Ok(bytes) => {
            return <[u8; 32]>::try_from(bytes)
                .map_err(|_| Error::new(ErrorCode::KeyInvalid, "`keys/mask.secret` is not 32 bytes"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(_) => return Err(Error::new(ErrorCode::KeyInvalid, "`keys/mask.secret` can't be read")),
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| Error::new(ErrorCode::Internal, "the system gave no random bytes"))?;
    crate::files::write_secret(&file, &secret)?;
    Ok(secret)
}
