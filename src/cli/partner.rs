//! `perron partner`.

use crate::api::grpc::admin::Command;
use crate::cli::args::{ExtractsVerb, PartnerVerb};
use crate::cli::{Output, client};
use perron_model::Result;
use perron_model::partner::PartnerLimits;

pub fn run(verb: PartnerVerb, output: &Output) -> Result<()> {
    match verb {
        PartnerVerb::Limit { dir, name, bandwidth, concurrency, volume } => {
            let limits = PartnerLimits { bandwidth_bytes_per_s: bandwidth, concurrency, volume_bytes_per_day: volume };
            client::print(&dir.dir, &Command::PartnerLimit { partner: name, limits: limits.check()? }, output)
        }
        PartnerVerb::Extracts(verb) => {
            let (allowed, args) = match verb {
                ExtractsVerb::Allow(args) => (true, args),
                ExtractsVerb::Deny(args) => (false, args),
            };
            client::print(&args.dir.dir, &Command::PartnerExtracts { partner: args.name, allowed }, output)
        }
        PartnerVerb::List(dir) => client::print(&dir.dir, &Command::PartnerList {}, output),
    }
}
