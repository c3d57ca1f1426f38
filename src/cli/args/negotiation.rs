//! Arguments about negotiations.

use super::Dir;
use clap::Subcommand;
use perron_model::{DatasetId, ParticipantId};
use std::path::PathBuf;

/// `perron negotiation …`.
#[derive(Debug, Subcommand)]
pub enum NegotiationVerb {
    /// Asks for an offer, as published or with another policy.
    Request {
        #[command(flatten)]
        dir: Dir,
        /// The provider.
        provider: ParticipantId,
        /// The offer.
        offer: DatasetId,
        /// Another policy (JSON) to ask for.
        #[arg(long)]
        policy: Option<PathBuf>,
    },
    /// Negotiations.
    List {
        #[command(flatten)]
        dir: Dir,
        /// Those that wait for a person here.
        #[arg(long)]
        waiting: bool,
    },
    /// One negotiation, with the table of its policy's terms: what each means, what carries it out.
    #[command(after_help = "Example: perron negotiation show 0190… --dir commune")]
    Show {
        #[command(flatten)]
        dir: Dir,
        /// The negotiation.
        negotiation: String,
    },
    /// Waits until a negotiation has ended or waits for a person here.
    Wait {
        #[command(flatten)]
        dir: Dir,
        /// The negotiation.
        negotiation: String,
        /// Longest wait.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Approves what waits, and prints the table of the terms that are approved by it.
    Approve {
        #[command(flatten)]
        dir: Dir,
        /// The negotiation.
        negotiation: String,
    },
    /// Refuses what waits.
    Refuse {
        #[command(flatten)]
        dir: Dir,
        /// The negotiation.
        negotiation: String,
        /// Why; the other side reads it.
        #[arg(long)]
        reason: String,
    },
    /// Puts another policy on the table.
    Counter {
        #[command(flatten)]
        dir: Dir,
        /// The negotiation.
        negotiation: String,
        /// The policy (JSON).
        #[arg(long)]
        policy: PathBuf,
    },
}
