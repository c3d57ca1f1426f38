//! `perron fact`.

use crate::api::grpc::admin::Command;
use crate::cli::args::FactVerb;
use crate::cli::{Output, client};
use perron_model::Result;
use perron_model::life::FactValue;

pub fn run(verb: FactVerb, output: &Output) -> Result<()> {
    match verb {
        FactVerb::Set { dir, name, value } => {
            client::print(&dir.dir, &Command::FactSet { name, value: FactValue::parse(&value)? }, output)
        }
        FactVerb::List(dir) => client::print(&dir.dir, &Command::FactList {}, output),
    }
}
