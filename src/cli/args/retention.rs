//! Arguments of `perron retention …`.

use crate::cli::args::Dir;
use clap::Subcommand;
use perron_model::retention::Activity;

/// `perron retention …`.
#[derive(Debug, Subcommand)]
pub enum RetentionVerb {
    /// Signs a retention rule and puts it in force, in place of the one before. It prunes nothing:
    /// `perron audit prune` does.
    #[command(after_help = "Example: perron retention set --default-days 1095 --activity billing=365")]
    Set {
        #[command(flatten)]
        dir: Dir,
        /// Days after which entries about reads may be pruned that name no activity, or one that the
        /// rule doesn't; without, they are kept.
        #[arg(long)]
        default_days: Option<u32>,
        /// Days of a processing activity, `NAME=DAYS`. May be repeated.
        #[arg(long = "activity", value_parser = days_of)]
        activities: Vec<(Activity, u32)>,
    },
    /// The rule in force, and the processing activities that the configuration names.
    Show(Dir),
}

/// `NAME=DAYS`.
fn days_of(text: &str) -> Result<(Activity, u32), String> {
    let (name, days) = text.split_once('=').ok_or_else(|| "an activity is given as NAME=DAYS".to_owned())?;
    let days = days.parse().map_err(|_| format!("`{days}` is not a number of days"))?;
    Ok((Activity::parse(name).map_err(|e| e.detail)?, days))
}
