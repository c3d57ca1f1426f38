//! Arguments about policies in files.

use super::Dir;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `perron policy …`.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Tells whether a policy could be published, and every term of it that could not.
    #[command(after_help = "Example: perron policy check totals.json --dataset household_water.toml")]
    Check(CheckArgs),
    /// Tells for each term what it means, what carries it out, and who must be trusted for it.
    #[command(after_help = "Example: perron policy coverage totals.json")]
    Coverage {
        /// The policy: JSON, Turtle, or an agreement's envelope.
        file: PathBuf,
    },
    /// Evaluates a policy by the module that the gate loads, and prints the compliance report.
    #[command(
        after_help = "Example: perron policy evaluate --policy policy.ttl --request request.ttl --sotw world.ttl --report turtle"
    )]
    Evaluate(EvaluateArgs),
}

/// `perron policy check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The policy: JSON, Turtle, or an agreement's envelope.
    pub file: PathBuf,
    /// The set that it is for, so that names are checked: a description (TOML or JSON), or the name
    /// of a set that the directory has published.
    #[arg(long)]
    pub dataset: Option<String>,
    #[command(flatten)]
    pub dir: Dir,
}

/// `perron policy evaluate`.
#[derive(Clone, Debug, Args)]
pub struct EvaluateArgs {
    /// The policy: Turtle, JSON in the compact shape of the Dataspace Protocol, or an agreement's envelope.
    #[arg(long)]
    pub policy: PathBuf,
    /// The request: Turtle, one `odrl:Request`.
    #[arg(long)]
    pub request: PathBuf,
    /// The state of the world: Turtle, one `ex:Sotw`.
    #[arg(long)]
    pub sotw: PathBuf,
    /// Form of the report.
    #[arg(long, default_value = "turtle")]
    pub report: ReportForm,
    /// As the gate decides, or as the ODRL test suite expects of duties that are not set.
    #[arg(long, default_value = "gate")]
    pub mode: EvaluationMode,
}

/// Form of a compliance report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportForm {
    /// Turtle, in the vocabulary <https://w3id.org/force/compliance-report#>.
    Turtle,
    /// JSON, with what the vocabulary has no term for.
    Json,
}

/// How a policy is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EvaluationMode {
    /// A duty that isn't fulfilled makes its permission inactive.
    Gate,
    /// A duty that is neither fulfilled nor violated leaves its permission active.
    Suite,
}
