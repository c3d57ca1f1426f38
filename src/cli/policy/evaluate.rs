//! `perron policy evaluate`: a policy, a request and a state of the world through the module that
//! the gate loads; the compliance report out.

use super::{RDF_FILE_BYTES_MAX, bytes, document};
use crate::cli::args::{EvaluateArgs, EvaluationMode, ReportForm};
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::ledger::SystemClock;
use crate::policy::Policies;
use perron_gate::Clock;
use perron_model::Result;
use perron_odrl::{Evaluation, Mode, Policy, Rdf, Request, World};
use std::path::Path;

pub(super) fn evaluate(args: &EvaluateArgs, output: &Output) -> Result<()> {
    let rdf = |path: &Path| Rdf::read(&bytes(path, RDF_FILE_BYTES_MAX)?);
    let policy = Policy::json(&document(&args.policy)?)?;
    let request = Request::read(&rdf(&args.request)?)?;
    let world = World::read(&rdf(&args.sotw)?)?;
    let mode = match args.mode {
        EvaluationMode::Gate => Mode::Gate,
        EvaluationMode::Suite => Mode::Suite,
    };
    let evaluation = Evaluation::new(&policy, &request, &world, mode);
    let inputs = evaluation.inputs()?;
    let answers = client::runtime()?.block_on(async {
        let policies = Policies::load_uncached()?;
        let mut answers = Vec::new();
        for input in &inputs {
            answers.push(policies.report(input).await?);
        }
        Ok::<_, perron_model::Error>(answers)
    })?;
    let report = evaluation.report(&answers, SystemClock.now())?;
    match args.report {
        ReportForm::Turtle => say!("{}", report.turtle()?.trim_end()),
        ReportForm::Json => output.answer(&report.json()),
    }
    Ok(())
}
