//! `perron dataset`, `perron offer` and `perron catalogue`.

use crate::api::grpc::admin::Command;
use crate::cli::args::{CatalogueArgs, DatasetVerb, OfferVerb};
use crate::cli::{Output, client};
use crate::connector::state::Approval;
use crate::source::{ColumnHeader, SourceFile, SourceFormat};
use perron_model::agreement::LegalBasis;
use perron_model::dataset::Dataset;
use perron_model::{Error, ErrorCode, Result};
use serde::Deserialize;
use std::path::Path;

/// A description file: what the set is, and how its file is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    dataset: Dataset,
    format: SourceFormat,
    #[serde(default)]
    columns: Vec<ColumnHeader>,
}

/// The set that a description file describes.
pub fn description(path: &Path) -> Result<Dataset> {
    read(path)?.dataset.check()
}

fn read(path: &Path) -> Result<Description> {
    toml::from_str(&client::read(path)?)
        .map_err(|e| Error::new(ErrorCode::DescriptionIncomplete, format!("`{}`: {}", path.display(), e.message())))
}

fn described(description: &Path, file: &Path) -> Result<(Dataset, SourceFile)> {
    let read = read(description)?;
    Ok((read.dataset, SourceFile { path: client::absolute(file)?, format: read.format, columns: read.columns }))
}

pub fn run_dataset(verb: DatasetVerb, output: &Output) -> Result<()> {
    match verb {
        DatasetVerb::Add { dir, description, file } => {
            let (dataset, source) = described(&description, &file)?;
            client::print(&dir.dir, &Command::DatasetAdd { dataset: Box::new(dataset), source }, output)
        }
        DatasetVerb::Update { dir, description, replace, file } => {
            let (dataset, source) = described(&description, &file)?;
            client::print(&dir.dir, &Command::DatasetUpdate { id: dataset.id, source, replace }, output)
        }
        DatasetVerb::Withdraw { dir, id } => client::print(&dir.dir, &Command::DatasetWithdraw { id }, output),
        DatasetVerb::List(dir) => client::print(&dir.dir, &Command::DatasetList {}, output),
    }
}

pub fn run_offer(verb: OfferVerb, output: &Output) -> Result<()> {
    match verb {
        OfferVerb::Add { dir, id, dataset, policy, legal_basis, legal_text, automatic, to } => {
            let command = Command::OfferAdd {
                id,
                dataset,
                policy: client::read_policy(&policy)?,
                legal_basis: LegalBasis { term: legal_basis, text: legal_text },
                approval: if automatic { Approval::Automatic } else { Approval::Manual },
                consumer: to,
            };
            client::print(&dir.dir, &command, output)
        }
        OfferVerb::List(dir) => client::print(&dir.dir, &Command::OfferList {}, output),
    }
}

pub fn catalogue(args: CatalogueArgs, output: &Output) -> Result<()> {
    client::print(&args.dir.dir, &Command::Catalogue { of: args.of, filter: args.filter }, output)
}
