//! Arguments of `perron audit …`.

use crate::cli::args::{AskedArgs, Dir};
use crate::connector::KINDS;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use perron_model::sealed::Ground;
use perron_model::{AgreementId, DatasetId, ParticipantId, Timestamp};
use std::path::PathBuf;

/// `perron audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Entries of the log, in words: all, or those that answer a question.
    List {
        #[command(flatten)]
        dir: Dir,
        /// First entry.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many at the most.
        #[arg(long, default_value_t = 1000)]
        count: usize,
        #[command(flatten)]
        question: Box<QuestionArgs>,
        /// Open sealed values: statements, names of users. The log tells that you did.
        #[arg(long)]
        opened: bool,
    },
    /// One entry.
    Show {
        #[command(flatten)]
        dir: Dir,
        /// Its number.
        index: u64,
        /// In a log that was closed: the number that its origin ends in.
        #[arg(long)]
        generation: Option<u64>,
        /// Open its sealed value: the statement, the name of a user. The log tells that you did.
        #[arg(long)]
        opened: bool,
    },
    /// Erases sealed values: statements, names of users. Their keys are destroyed; the log keeps
    /// every byte, and every proof stays valid. The entry of it names the ground; the other parties
    /// of the agreements concerned get a notice.
    #[command(
        after_help = "Example: perron audit erase --user anne --ground A17-1-a\nGrounds: the letters of GDPR Art. 17(1), A17-1-a to A17-1-f."
    )]
    Erase {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        erase: Box<EraseArgs>,
    },
    /// Who read what about us, in words: by organisation, purpose, legal basis and agreement, how
    /// often, when, how many rows, what was refused, and the entries that prove it.
    #[command(after_help = "Example: perron audit who --place 63049 --since 2026-01-01T00:00:00Z --lang fr")]
    Who {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        about: Box<AboutArgs>,
    },
    /// A read as one file, for `perron-verify --receipt`: agreement, signed request, decision and
    /// outcome with their proofs.
    Receipt {
        #[command(flatten)]
        dir: Dir,
        /// Number of the permit, of the refusal, or of what was received.
        index: u64,
        /// In a log that was closed: the number that its origin ends in.
        #[arg(long)]
        generation: Option<u64>,
    },
    /// The chain of an agreement, for its other party: every entry with its proof, none missing, and
    /// nothing of others. That it was made out is the chain's last entry.
    Extract {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
    },
    /// Matches the other side's chain with our own: what one has and the other lacks, what differs. The
    /// other side's is its extract in a file, or is asked for now.
    #[command(after_help = "Example: perron audit reconcile --with intercommunale")]
    Reconcile {
        #[command(flatten)]
        dir: Dir,
        /// The other side's extract.
        #[arg(required_unless_present = "with", conflicts_with = "with")]
        extract: Option<PathBuf>,
        /// Our own extract, in place of one that the running process gives now.
        #[arg(long, requires = "extract")]
        ours: Option<PathBuf>,
        /// Asks this partner for its extracts now: what came of it is in the log.
        #[arg(long)]
        with: Option<ParticipantId>,
        /// Of this agreement alone; else of all that aren't over.
        #[arg(long, allow_hyphen_values = true, requires = "with")]
        agreement: Option<AgreementId>,
    },
    /// What came of matching each agreement's chain with its other party's, on schedule or by command.
    Reconciliations {
        #[command(flatten)]
        dir: Dir,
    },
    /// Writes a folder for an auditor, a data protection officer or a court: one page about an
    /// agreement that verifies itself in a browser, and a copy of the evidence.
    Folder {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(long, allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Not before this time: 2026-11-23T10:00:00Z.
        #[arg(long)]
        since: Option<Timestamp>,
        /// Before this time.
        #[arg(long)]
        until: Option<Timestamp>,
        /// Put the program `perron-verify` in, if it lies beside this one.
        #[arg(long)]
        with_verifier: bool,
        /// The folder, which is made.
        out: PathBuf,
    },
    /// Entries of the log for other programs, complete and in their order.
    #[command(
        after_help = "Example: perron audit export --format parquet --since 2026-11-01T00:00:00Z --out november.parquet"
    )]
    Export {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        export: Box<ExportArgs>,
    },
    /// Asks the log by SQL, for a user with the role auditor: its tables are `log`, `reads` and
    /// `refusals`.
    #[command(
        after_help = "Example: perron audit sql \"SELECT reason, sum(count) FROM refusals GROUP BY reason ORDER BY 2 DESC\""
    )]
    Sql {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        asked: AskedArgs,
    },
    /// Who cosigned this log: how far, when, how far that is behind; and whether it is final by the
    /// policy of the configuration.
    Witnesses {
        #[command(flatten)]
        dir: Dir,
    },
    /// Exchanges checkpoints with a participant now.
    Exchange {
        #[command(flatten)]
        dir: Dir,
        /// The participant.
        with: ParticipantId,
    },
    /// Prunes entries about single reads that the retention rule in force lets go: their hashes are
    /// left, so the log verifies as before. An entry says first which, by which rule.
    #[command(after_help = "Example: perron audit prune --dry-run")]
    Prune {
        #[command(flatten)]
        dir: Dir,
        /// Tells what would go, and changes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Makes every decision of a directory's log again, by the policy modules and inputs that it
    /// names, and tells what comes out otherwise: a stopped directory, or a copy.
    Replay {
        /// The directory.
        directory: PathBuf,
        /// Folder of policy modules, each named by its digest, in place of the directory's own.
        #[arg(long)]
        modules: Option<PathBuf>,
    },
    /// Verifies a directory, as `perron-verify` does.
    Verify {
        /// The directory.
        directory: PathBuf,
        /// A checkpoint, or a directory of checkpoints, that others kept of it.
        #[arg(long)]
        against: Vec<PathBuf>,
    },
}

/// An export of the log.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// In which form.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// First entry: an export that broke off, or a stream with a gap, goes on from here.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Into this file, which has its name once it is complete; without, on the standard output.
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub question: QuestionArgs,
}

/// What is erased, and why: values that fit all that is said.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct EraseArgs {
    /// An entry, by its number. May be repeated.
    #[arg(long = "entry", group = "what")]
    pub entries: Vec<u64>,
    /// A user of ours by name or pseudonym, or a partner's by pseudonym. Alone, it takes a user of
    /// ours off the list of users too.
    #[arg(long, allow_hyphen_values = true, group = "what")]
    pub user: Option<String>,
    /// What happened under an agreement.
    #[arg(long, allow_hyphen_values = true, group = "what")]
    pub agreement: Option<AgreementId>,
    /// Not before this time: 2026-11-23T10:00:00Z.
    #[arg(long, group = "what")]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, group = "what")]
    pub until: Option<Timestamp>,
    /// The letter of GDPR Art. 17(1): A17-1-a (no longer necessary), A17-1-b (consent withdrawn),
    /// A17-1-c (objection), A17-1-d (unlawful), A17-1-e (required by law), A17-1-f (a child's).
    #[arg(long)]
    pub ground: Ground,
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// An object a line.
    Jsonl,
    /// Columns (Apache Parquet); needs `--out`.
    Parquet,
    /// An event of the Open Cybersecurity Schema Framework (1.8.0) a line.
    Ocsf,
    /// The record of processing activities (GDPR, Art. 30): Markdown, or JSON-LD with `--json`.
    Art30,
    /// The log of the intermediation (Data Governance Act, Art. 12(o)): Markdown, or with `--json`.
    DgaLog,
}

/// What is asked of the log; an entry is told that fits all of it.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("answer").multiple(false))]
pub struct QuestionArgs {
    #[command(flatten)]
    pub about: AboutArgs,
    /// A kind of entry, as the guide names it: permit, refusal, outcome… May be repeated.
    #[arg(long = "kind", value_parser = PossibleValuesParser::new(KINDS))]
    pub kinds: Vec<String>,
    /// Refusals alone.
    #[arg(long, group = "answer")]
    pub refused: bool,
    /// All but refusals.
    #[arg(long, group = "answer")]
    pub permitted: bool,
}

/// By whom, about what, when.
#[derive(Clone, Debug, Args)]
pub struct AboutArgs {
    /// Who asked or was asked: another organisation.
    #[arg(long)]
    pub organisation: Option<ParticipantId>,
    /// A user, by pseudonym; or who acted, as `operator`.
    #[arg(long, allow_hyphen_values = true)]
    pub user: Option<String>,
    /// What happened under an agreement.
    #[arg(long, allow_hyphen_values = true)]
    pub agreement: Option<AgreementId>,
    /// The purpose stated (DPV IRI).
    #[arg(long)]
    pub purpose: Option<String>,
    /// The legal basis of a decision or an agreement (DPV IRI).
    #[arg(long)]
    pub legal_basis: Option<String>,
    /// The set.
    #[arg(long)]
    pub dataset: Option<DatasetId>,
    /// A column that the agreement gives, masked or not, whether or not a statement read it: of its
    /// rows; or that its released table is grouped by or measures.
    #[arg(long)]
    pub column: Option<String>,
    /// A place: the NIS code of a commune, or another code that rows have, as a postal code. Found is
    /// what happened under an agreement whose rows are those where a column equals it, or one of
    /// several; or whose provider is, by the register, the commune of this NIS code. A set of a
    /// wider area isn't found by the places in it.
    #[arg(long)]
    pub place: Option<String>,
    /// Not before this time: 2026-11-23T10:00:00Z.
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[arg(long)]
    pub until: Option<Timestamp>,
    /// In a log that was closed: the number that its origin ends in. Without it the log in force is
    /// asked; `who` asks all of them.
    #[arg(long)]
    pub generation: Option<u64>,
}
