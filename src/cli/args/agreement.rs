//! Arguments about agreements in force, and about the facts that they may depend on.

use super::Dir;
use clap::Subcommand;
use perron_model::AgreementId;
use perron_model::id::FactName;
use std::path::PathBuf;

/// `perron agreement …`.
#[derive(Debug, Subcommand)]
pub enum AgreementVerb {
    /// Agreements, with their state.
    List {
        #[command(flatten)]
        dir: Dir,
        /// Those about which the other side has proposed something.
        #[arg(long)]
        waiting: bool,
    },
    /// Prints an agreement's envelope, or what became of it.
    Show {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Its state, its versions, and what was told of it.
        #[arg(long)]
        history: bool,
    },
    /// Suspends an agreement: from now on nothing is read under it, until both sides resume.
    #[command(after_help = "Example: perron agreement suspend ID --reason \"the meter data are being checked\"")]
    Suspend {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Why; the other side reads it.
        #[arg(long)]
        reason: String,
    },
    /// Proposes to resume a suspended agreement, or confirms that the other side proposed it.
    Resume {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
    },
    /// Refuses the other side's proposal to resume.
    Refuse {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Why; the other side reads it.
        #[arg(long)]
        reason: String,
    },
    /// Revokes an agreement, for ever.
    #[command(after_help = "Example: perron agreement revoke ID --reason \"the decree was repealed\"")]
    Revoke {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Why; the other side reads it.
        #[arg(long)]
        reason: String,
    },
    /// Puts another policy of an agreement on the table; the other side approves or refuses.
    #[command(after_help = "Example: perron agreement amend ID --policy longer.json")]
    Amend {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// The policy (JSON).
        #[arg(long)]
        policy: PathBuf,
    },
    /// Duties that the policy carries, with their state.
    Duties {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
    },
    /// Tells the other side that a duty was fulfilled.
    #[command(
        after_help = "Example: perron agreement fulfil ID permission[0].duty[0] --evidence \"deleted on 3 March\""
    )]
    Fulfil {
        #[command(flatten)]
        dir: Dir,
        /// The agreement.
        #[arg(allow_hyphen_values = true)]
        agreement: AgreementId,
        /// Place of the duty in the policy, as `duties` shows it.
        duty: String,
        /// How it was fulfilled; the other side reads it.
        #[arg(long)]
        evidence: String,
        /// A file that shows it: its digest is told, not its content.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Verifies an envelope with the authority's key and nothing else.
    #[command(after_help = "Example: perron agreement verify envelope.json --authority authority.key.json")]
    Verify {
        /// The envelope.
        file: PathBuf,
        /// The authority's public key: a file, or the 43 characters of its key.
        #[arg(long, allow_hyphen_values = true)]
        authority: String,
    },
}

/// `perron fact …`.
#[derive(Debug, Subcommand)]
pub enum FactVerb {
    /// Declares what holds; partners whose agreement asks for it are told.
    #[command(after_help = "Example: perron fact set crisis-open true")]
    Set {
        #[command(flatten)]
        dir: Dir,
        /// The fact.
        name: FactName,
        /// true, false, or a text.
        value: String,
    },
    /// Facts declared here, and those that partners told.
    List(Dir),
}
