//! Arguments of `perron key`.

use super::Dir;
use clap::Subcommand;
use perron_model::limits::KEY_OVERLAP_S_DEFAULT;
use perron_model::participant::KeyUse;
use std::path::PathBuf;

/// `perron key …`.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Keys of this organisation with their history, and what the register says of each.
    List(Dir),
    /// Puts a new key in the place of the one in force, which consents: both are in force for a while.
    #[command(after_help = "Example: perron key rotate log --dir commune")]
    Rotate {
        #[command(flatten)]
        dir: Dir,
        /// What the key is for.
        key: RotatableUse,
        /// Seconds for which the old key stays in force beside the new one.
        #[arg(long, default_value_t = KEY_OVERLAP_S_DEFAULT)]
        overlap: i64,
    },
    /// Makes a key in the place of a lost one, in a stopped directory, and the request that goes to the
    /// authority by hand.
    #[command(after_help = "Example: perron key make log --dir commune --out log.replacement.jws")]
    Make {
        #[command(flatten)]
        dir: Dir,
        /// What the key is for.
        key: RotatableUse,
        /// File of the request.
        #[arg(long)]
        out: PathBuf,
    },
}

/// What a key is for that a participant changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RotatableUse {
    /// Signs agreements and notices, and asks for certificates and keys.
    Agreement,
    /// Signs read requests.
    Request,
    /// Signs checkpoints of the log.
    Log,
    /// Cosigns checkpoints of others.
    Witness,
}

impl From<RotatableUse> for KeyUse {
    fn from(of: RotatableUse) -> KeyUse {
        match of {
            RotatableUse::Agreement => KeyUse::Agreement,
            RotatableUse::Request => KeyUse::Request,
            RotatableUse::Log => KeyUse::Log,
            RotatableUse::Witness => KeyUse::Witness,
        }
    }
}
