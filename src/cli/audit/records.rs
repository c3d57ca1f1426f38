//! The records that the law asks for, out of the log and the agreements.

use super::export::{Unfinished, begin, pages};
use crate::api::grpc::admin::Command;
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::connector::{AgreementPage, Begun};
use crate::export::agreements::AgreementFacts;
use crate::export::art30::Register;
use crate::export::dga_log::Intermediation;
use perron_model::Result;
use std::path::Path;

pub fn run(directory: &Path, args: ExportArgs, output: &Output) -> Result<()> {
    let question = super::asked(args.question);
    let file = args.out.as_deref().map(Unfinished::create).transpose()?;
    let begun = begin(directory, args.format.format(), &question, args.from)?;
    let mut log = Intermediation::default();
    pages(directory, &begun, |record| log.take(&record))?;
    let entries = (begun.from, begun.to);
    let text = if args.format == ExportFormat::Art30 {
        let agreements = agreements(directory, &begun)?;
        let register =
            Register { about: &begun.about, entries, export: begun.entry, agreements: &agreements, log: &log };
        if output.json { format!("{}\n", register.document(output.lang)) } else { register.table(output.lang) }
    } else if output.json {
        format!("{}\n", log.document(&begun.about, entries, begun.entry))
    } else {
        log.table(&begun.about, entries, begun.entry, output.lang)
    };
    let Some(mut file) = file else {
        say!("{}", text.trim_end());
        return Ok(());
    };
    file.write(&text)?;
    file.finish()?;
    let out = args.out.map(|out| out.display().to_string()).unwrap_or_default();
    output.say("audit.recorded", &[("out", &out), ("export", &begun.entry.to_string())]);
    super::say_earlier(&begun.earlier, output);
    Ok(())
}

fn agreements(directory: &Path, begun: &Begun) -> Result<Vec<AgreementFacts>> {
    let (mut agreements, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let page: AgreementPage =
            client::ask(directory, &Command::AuditExportAgreements { entry: begun.entry, after })?;
        agreements.extend(page.agreements);
        next = page.next;
    }
    Ok(agreements)
}
