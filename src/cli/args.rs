//! Arguments of the command line.

mod agreement;
mod audit;
mod key;
mod negotiation;
mod policy;
mod retention;

pub use agreement::{AgreementVerb, CollectionVerb, FactVerb};
pub use audit::{AboutArgs, AuditVerb, EraseArgs, ExportArgs, ExportFormat, QuestionArgs};
pub use key::KeyVerb;
pub use negotiation::NegotiationVerb;
pub use policy::{CheckArgs, EvaluateArgs, EvaluationMode, PolicyVerb, ReportForm};
pub use retention::RetentionVerb;

use crate::connector::users::UserRole;
use crate::messages::Lang;
use clap::{Args, Parser, Subcommand};
use perron_model::id::UserName;
use perron_model::{AgreementId, DatasetId, Digest, ParticipantId, SpaceId};
use std::path::PathBuf;

/// A sovereign data-space connector: data shared under terms that both sides signed.
#[derive(Debug, Parser)]
#[command(name = "perron", version, about, long_about = None)]
pub struct Cli {
    /// Answers as JSON, one object a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Language of the texts: fr or en.
    #[arg(long, global = true, default_value = "en", env = "PERRON_LANG")]
    pub lang: Lang,
    /// What to do.
    #[command(subcommand)]
    pub noun: Noun,
}

/// The directory of an organisation.
#[derive(Clone, Debug, Args)]
pub struct Dir {
    /// The organisation's directory.
    #[arg(long, short = 'C', default_value = ".", env = "PERRON_DIR")]
    pub dir: PathBuf,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Plays the main job in front of you, on real readings.
    #[command(after_help = "Example: perron demo --dir /tmp/perron-demo --lang fr")]
    Demo(DemoArgs),
    /// Makes an organisation's keys and the request that its authority enrols.
    #[command(
        after_help = "Example: perron init --dir commune --space eau --name commune --title \"Commune\" --enterprise 0207.400.022 --nis 63049 --endpoint 127.0.0.1:7411"
    )]
    Init(InitArgs),
    /// Turns the authority's answer into a working configuration.
    #[command(
        after_help = "Example: perron join --dir commune answer.jws --authority THUMBPRINT --listen 127.0.0.1:7411"
    )]
    Join(JoinArgs),
    /// Serves an organisation's directory.
    #[command(after_help = "Example: perron serve --dir commune")]
    Serve(Dir),
    /// Tells what runs here.
    Status(Dir),
    /// Looks at an installation, stopped or running, and says what to do.
    #[command(after_help = "Example: perron doctor --dir commune")]
    Doctor(Dir),
    /// Copies an organisation's directory, stopped or running, and verifies the copy.
    #[command(after_help = "Example: perron backup --dir commune /mnt/backup/2026-12-01")]
    Backup(BackupArgs),
    /// Brings a backup back: asks who holds what of its log, and lets it go on, or begins the next one.
    #[command(after_help = "Example: perron restore --dir commune /mnt/backup/2026-12-01 --keys /mnt/keys")]
    Restore(RestoreArgs),
    /// A data space's authority.
    #[command(subcommand)]
    Authority(AuthorityVerb),
    /// Users of the organisation.
    #[command(subcommand)]
    User(UserVerb),
    /// Signing keys of the organisation.
    #[command(subcommand)]
    Key(KeyVerb),
    /// What partners get at the most.
    #[command(subcommand)]
    Partner(PartnerVerb),
    /// Published sets.
    #[command(subcommand)]
    Dataset(DatasetVerb),
    /// Published offers.
    #[command(subcommand)]
    Offer(OfferVerb),
    /// What another participant shows.
    #[command(after_help = "Example: perron catalogue intercommunale --filter eau")]
    Catalogue(CatalogueArgs),
    /// Negotiations.
    #[command(subcommand)]
    Negotiation(NegotiationVerb),
    /// Agreements.
    #[command(subcommand)]
    Agreement(AgreementVerb),
    /// Policies in files: what they say, what carries it out, what they decide.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Collections of parties and of sets that policies may be about.
    #[command(subcommand)]
    Collection(CollectionVerb),
    /// Facts that policies may ask for.
    #[command(subcommand)]
    Fact(FactVerb),
    /// Runs a statement under an agreement, for a purpose.
    #[command(
        after_help = "Example: perron query --agreement ID --purpose https://w3id.org/dpv#ServiceProvision \"SELECT count(*) FROM water\""
    )]
    Query(QueryArgs),
    /// What is derived from the log.
    #[command(subcommand)]
    Store(StoreVerb),
    /// The log.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// How long entries about single reads are kept.
    #[command(subcommand)]
    Retention(RetentionVerb),
}

/// `perron backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The copy, which must not exist.
    pub to: PathBuf,
    /// Copies the private keys too. Without this they are left out: keep a copy of `keys/` and of `vault/*.kek` apart.
    #[arg(long)]
    pub with_keys: bool,
}

/// `perron restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The backup; without one, the directory as it stands is what was brought back.
    pub backup: Option<PathBuf>,
    /// Directory of the private keys, where the backup holds none; the vault's lies there too, or in `vault` beside.
    #[arg(long)]
    pub keys: Option<PathBuf>,
    /// An authority's: the newest register that a member holds, a copy of its `trust/register.json`.
    #[arg(long)]
    pub register: Option<PathBuf>,
    /// Where others hold more of the log: closes it as it was brought back, and begins the next one.
    #[arg(long)]
    pub next_generation: bool,
}

/// `perron demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Keeps everything in this directory, which must not exist.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Leaves the connectors running.
    #[arg(long)]
    pub serve: bool,
    /// Where the demonstration's data lie.
    #[arg(long, default_value = "demo", env = "PERRON_DEMO_DATA")]
    pub data: PathBuf,
}

/// What an organisation says of itself.
#[derive(Clone, Debug, Args)]
pub struct Facts {
    /// Its name in the data space.
    #[arg(long)]
    pub name: ParticipantId,
    /// Its name for people.
    #[arg(long)]
    pub title: String,
    /// Its enterprise number (KBO/BCE).
    #[arg(long)]
    pub enterprise: String,
    /// A commune's NIS code.
    #[arg(long)]
    pub nis: Option<String>,
    /// Where its connector can be dialled, `host:port`.
    #[arg(long)]
    pub endpoint: Option<String>,
    /// The data space.
    #[arg(long)]
    pub space: SpaceId,
}

/// `perron init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub dir: Dir,
    #[command(flatten)]
    pub facts: Facts,
    /// File of the request; `request.jws` in the directory by default.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `perron join`.
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The authority's answer.
    pub answer: PathBuf,
    /// Thumbprint of the authority's key, as learnt by another way than the answer.
    #[arg(long, allow_hyphen_values = true)]
    pub authority: Digest,
    /// Address to listen on for other connectors.
    #[arg(long)]
    pub listen: std::net::SocketAddr,
    /// Loopback address of Flight SQL for our own tools.
    #[arg(long)]
    pub flight: Option<std::net::SocketAddr>,
    /// Address of Flight SQL over TLS, for tools on other machines: a user shows a certificate or
    /// a token.
    #[arg(long)]
    pub flight_tls: Option<std::net::SocketAddr>,
}

/// `perron authority …`.
#[derive(Debug, Subcommand)]
pub enum AuthorityVerb {
    /// Makes a data space: CA, register, the authority's own keys.
    Init {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        facts: Facts,
        /// Address to listen on.
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
    /// Enrols an organisation from its request.
    Enrol {
        #[command(flatten)]
        dir: Dir,
        /// The organisation's request.
        request: PathBuf,
        /// File of the answer.
        #[arg(long)]
        out: PathBuf,
    },
    /// Suspends a participant.
    Suspend {
        #[command(flatten)]
        dir: Dir,
        /// The participant.
        participant: ParticipantId,
    },
    /// Brings a suspended participant back.
    Reinstate {
        #[command(flatten)]
        dir: Dir,
        /// The participant.
        participant: ParticipantId,
    },
    /// Revokes a participant, for ever.
    Revoke {
        #[command(flatten)]
        dir: Dir,
        /// The participant.
        participant: ParticipantId,
    },
    /// Puts a key in the place of one that its participant lost. The register shows that the authority
    /// alone answers for it: compare the thumbprint with the participant by another way than the file's.
    #[command(
        after_help = "Example: perron authority replace-key commune --dir authority --request log.replacement.jws"
    )]
    ReplaceKey {
        #[command(flatten)]
        dir: Dir,
        /// The participant.
        participant: ParticipantId,
        /// The file that its `perron key make` wrote.
        #[arg(long)]
        request: PathBuf,
        /// Seconds for which the lost key stays in force beside the new one.
        #[arg(long, default_value_t = 0)]
        overlap: i64,
    },
    /// Members of the register.
    List(Dir),
}

/// `perron user …`.
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Adds a user, or replaces the grants of one.
    #[command(
        after_help = "Example: perron user add anne --role analyst --purpose https://w3id.org/dpv#ServiceProvision --agreement ID --token"
    )]
    Add {
        #[command(flatten)]
        dir: Dir,
        /// Name.
        name: UserName,
        /// Role.
        #[arg(long = "role", required = true)]
        roles: Vec<UserRole>,
        /// Purpose that they may state.
        #[arg(long = "purpose")]
        purposes: Vec<String>,
        /// Agreement that they may use.
        #[arg(long = "agreement", allow_hyphen_values = true)]
        agreements: Vec<AgreementId>,
        /// They are the owner of the local socket's other end.
        #[arg(long, group = "credential")]
        uid: Option<u32>,
        /// They show this client certificate (PEM).
        #[arg(long, group = "credential")]
        certificate: Option<PathBuf>,
        /// They get a token, printed once.
        #[arg(long, group = "credential")]
        token: bool,
    },
    /// All users.
    List(Dir),
    /// Who a pseudonym of the log is. That it was asked, and why, is an entry of the log.
    #[command(
        after_help = "Example: perron user resolve 8Zc1Jt0mQm6cRrXb3eGJ5A --reason \"complaint 2026-114 of a citizen\""
    )]
    Resolve {
        #[command(flatten)]
        dir: Dir,
        /// Pseudonym, as the log has it.
        #[arg(allow_hyphen_values = true)]
        pseudonym: String,
        /// Why it is asked. It stays in the log for good: no names, no data on health.
        #[arg(long)]
        reason: String,
    },
}

/// `perron partner …`.
#[derive(Debug, Subcommand)]
pub enum PartnerVerb {
    /// Limits what a partner gets here, in place of what limited it before; without options, nothing
    /// does.
    #[command(after_help = "Example: perron partner limit intercommunale --bandwidth 256K --concurrency 4 --volume 2G")]
    Limit {
        #[command(flatten)]
        dir: Dir,
        /// The partner.
        name: ParticipantId,
        /// Bytes of answers in a second, over all its reads; K, M and G are powers of 1,024.
        #[arg(long, value_parser = bytes)]
        bandwidth: Option<u64>,
        /// Plans and reads at a time.
        #[arg(long)]
        concurrency: Option<u32>,
        /// Bytes of answers in a day of UTC.
        #[arg(long, value_parser = bytes)]
        volume: Option<u64>,
    },
    /// Whether a partner may have extracts of our log over the wire: the chains of its own agreements.
    #[command(subcommand)]
    Extracts(ExtractsVerb),
    /// Partners, their limits and what they use.
    List(Dir),
}

/// `perron partner extracts …`.
#[derive(Debug, Subcommand)]
pub enum ExtractsVerb {
    /// It may: its connector asks for them by itself.
    #[command(after_help = "Example: perron partner extracts allow intercommunale")]
    Allow(PartnerArgs),
    /// It may not, as at the beginning; but where an agreement obliges us to give them, it does.
    #[command(after_help = "Example: perron partner extracts deny intercommunale")]
    Deny(PartnerArgs),
}

/// A partner.
#[derive(Clone, Debug, Args)]
pub struct PartnerArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The partner.
    pub name: ParticipantId,
}

/// A number of bytes, with K, M or G for powers of 1,024.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1),
    };
    let number = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
    number.and_then(|n| n.checked_mul(unit)).ok_or_else(|| "not a number of bytes like 65536, 64K or 2G".to_owned())
}

/// `perron dataset …`.
#[derive(Debug, Subcommand)]
pub enum DatasetVerb {
    /// Publishes a table: a description (TOML) and its file.
    #[command(after_help = "Example: perron dataset add --description household.toml household_2025-01.csv")]
    Add {
        #[command(flatten)]
        dir: Dir,
        /// Description of set and format (TOML).
        #[arg(long)]
        description: PathBuf,
        /// CSV or Parquet.
        file: PathBuf,
    },
    /// Appends to a set, or replaces its rows.
    Update {
        #[command(flatten)]
        dir: Dir,
        /// Description of set and format (TOML), as published.
        #[arg(long)]
        description: PathBuf,
        /// Replaces the rows rather than append.
        #[arg(long)]
        replace: bool,
        /// CSV or Parquet.
        file: PathBuf,
    },
    /// Takes a set back.
    Withdraw {
        #[command(flatten)]
        dir: Dir,
        /// The set.
        id: DatasetId,
    },
    /// All sets published here.
    List(Dir),
}

/// `perron offer …`.
#[derive(Debug, Subcommand)]
pub enum OfferVerb {
    /// Publishes an offer of a set under a policy.
    #[command(
        after_help = "Example: perron offer add totals --dataset household_water --policy totals.json --legal-basis https://w3id.org/dpv#PublicInterest --legal-text \"Décret du …\""
    )]
    Add {
        #[command(flatten)]
        dir: Dir,
        /// The offer's name.
        id: DatasetId,
        /// The set.
        #[arg(long)]
        dataset: DatasetId,
        /// The ODRL policy (JSON).
        #[arg(long)]
        policy: PathBuf,
        /// Legal basis (DPV IRI).
        #[arg(long)]
        legal_basis: String,
        /// The law or decision, in words.
        #[arg(long)]
        legal_text: String,
        /// Requests for exactly this offer are agreed at once.
        #[arg(long)]
        automatic: bool,
        /// For this participant alone.
        #[arg(long)]
        to: Option<ParticipantId>,
    },
    /// All offers published here.
    List(Dir),
}

/// `perron catalogue`.
#[derive(Clone, Debug, Args)]
pub struct CatalogueArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The participant.
    pub of: ParticipantId,
    /// Words that title, description or theme must hold.
    #[arg(long, default_value = "")]
    pub filter: String,
}

/// `perron store …`.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Removes what is derived from the log in a stopped directory; the next start makes it anew.
    #[command(after_help = "Example: perron store rebuild --dir commune")]
    Rebuild(Dir),
}

/// `perron query`.
#[derive(Clone, Debug, Args)]
pub struct QueryArgs {
    #[command(flatten)]
    pub dir: Dir,
    /// The agreement.
    #[arg(long, allow_hyphen_values = true)]
    pub agreement: AgreementId,
    /// The purpose (DPV IRI).
    #[arg(long)]
    pub purpose: String,
    #[command(flatten)]
    pub asked: AskedArgs,
}

/// A statement, by whom, and what becomes of the answer.
#[derive(Clone, Debug, Args)]
pub struct AskedArgs {
    /// File that holds the user's token; by default the user is the socket's owner.
    #[arg(long)]
    pub token: Option<PathBuf>,
    /// How the answer is written.
    #[arg(long, default_value = "table")]
    pub output: QueryOutput,
    /// File of the answer (for parquet).
    #[arg(long)]
    pub to: Option<PathBuf>,
    /// SQL.
    pub statement: String,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum QueryOutput {
    /// A table for people.
    Table,
    /// CSV.
    Csv,
    /// JSON, an object a line.
    Json,
    /// Parquet, to a file.
    Parquet,
}
