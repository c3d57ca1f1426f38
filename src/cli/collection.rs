//! `perron collection`.

use crate::api::grpc::admin::Command;
use crate::cli::args::CollectionVerb;
use crate::cli::{Output, client};
use perron_model::Result;
use perron_model::collection::Members;

pub fn run(verb: CollectionVerb, output: &Output) -> Result<()> {
    match verb {
        CollectionVerb::Parties { dir, name, members } => {
            let members = Members::Parties(members.into_iter().collect());
            client::print(&dir.dir, &Command::CollectionSet { name, members }, output)
        }
        CollectionVerb::Sets { dir, name, members } => {
            let members = Members::Sets(members.into_iter().collect());
            client::print(&dir.dir, &Command::CollectionSet { name, members }, output)
        }
        CollectionVerb::List(dir) => client::print(&dir.dir, &Command::CollectionList {}, output),
    }
}
