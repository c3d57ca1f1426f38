//! `perron audit export`.

use crate::api::grpc::admin::Command;
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::connector::{Begun, Page, Question};
use crate::export::parquet::Writer as Columns;
use crate::export::{About, Format, Record, jsonl, ocsf};
use crate::files::{io_error, sync_directory, temporary_name};
use perron_model::{Error, ErrorCode, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

impl ExportFormat {
    pub(super) const fn format(self) -> Format {
        match self {
            ExportFormat::Jsonl => Format::Jsonl,
            ExportFormat::Parquet => Format::Parquet,
            ExportFormat::Ocsf => Format::Ocsf,
            ExportFormat::Art30 => Format::Art30,
            ExportFormat::DgaLog => Format::DgaLog,
        }
    }
}

pub fn run(directory: &Path, args: ExportArgs, output: &Output) -> Result<()> {
    if matches!(args.format, ExportFormat::Art30 | ExportFormat::DgaLog) {
        return super::records::run(directory, args, output);
    }
    let question = super::asked(args.question);
    let mut sink = Sink::open(args.format, args.out.as_deref())?;
    let begun = begin(directory, args.format.format(), &question, args.from)?;
    let mut count = 0_u64;
    let pruned = pages(directory, &begun, |record| {
        count = count.saturating_add(1);
        sink.take(record, &begun.about)
    })?;
    sink.finish()?;
    if let Some(out) = &args.out {
        let out = out.display().to_string();
        let (from, to, count) = (begun.from.to_string(), begun.to.to_string(), count.to_string());
        output.say("audit.exported", &[("count", &count), ("from", &from), ("to", &to), ("out", &out)]);
        if pruned > 0 && !output.json {
            output.say("audit.passed_over", &[("count", &pruned.to_string())]);
        }
        super::say_earlier(&begun.earlier, output);
    }
    Ok(())
}

/// Begins an export: the log says so from now on.
pub(super) fn begin(directory: &Path, format: Format, question: &Question, from: u64) -> Result<Begun> {
    client::ask(directory, &Command::AuditExport { format, question: Box::new(question.clone()), from })
}

/// Gives every entry of an export to `take`, in their order; memory holds a page. Answers how many
/// pruned ones were passed over.
pub(super) fn pages(directory: &Path, begun: &Begun, mut take: impl FnMut(Record) -> Result<()>) -> Result<u64> {
    let mut pruned = 0_u64;
    let mut next = Some(begun.from).filter(|from| *from < begun.to);
    while let Some(from) = next {
        let page: Page = client::ask(directory, &Command::AuditExportPage { entry: begun.entry, from })?;
        page.records.into_iter().try_for_each(&mut take)?;
        pruned = pruned.saturating_add(page.pruned);
        next = page.next;
    }
    Ok(pruned)
}

/// Where entries go.
enum Sink {
    Lines(ExportFormat),
    File(ExportFormat, Unfinished),
    Parquet(Box<Columns<BufWriter<File>>>, Named),
}

impl Sink {
    fn open(format: ExportFormat, out: Option<&Path>) -> Result<Sink> {
        let Some(out) = out else {
            return match format {
                ExportFormat::Parquet => Err(Error::malformed("Parquet is written into a file: name it by `--out`")),
                _ => Ok(Sink::Lines(format)),
            };
        };
        let Unfinished { file, named } = Unfinished::create(out)?;
        match format {
            ExportFormat::Parquet => Ok(Sink::Parquet(Box::new(Columns::new(file)?), named)),
            _ => Ok(Sink::File(format, Unfinished { file, named })),
        }
    }

    fn take(&mut self, record: Record, about: &About) -> Result<()> {
        match self {
            Sink::Lines(format) => {
                say!("{}", line(*format, &record, about)?);
                Ok(())
            }
            Sink::File(format, unfinished) => {
                let line = line(*format, &record, about)?;
                writeln!(unfinished.file, "{line}").map_err(|e| io_error(&e))
            }
            Sink::Parquet(writer, _) => writer.take(record),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Sink::Lines(_) => Ok(()),
            Sink::File(_, unfinished) => unfinished.finish(),
            Sink::Parquet(writer, named) => Unfinished { file: writer.finish()?, named }.finish(),
        }
    }
}

fn line(format: ExportFormat, record: &Record, about: &About) -> Result<String> {
    match format {
        ExportFormat::Ocsf => Ok(ocsf::event(record, about).to_string()),
        _ => jsonl::line(record),
    }
}

/// A file that gets its name once it is complete.
pub(super) struct Unfinished {
    file: BufWriter<File>,
    named: Named,
}

/// The name a file has while it is written, removed unless it is finished, and the one it gets.
struct Named {
    temporary: PathBuf,
    directory: PathBuf,
    out: PathBuf,
}

impl Drop for Named {
    fn drop(&mut self) {
        // Once it has its name, there is none.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Unfinished {
    /// A file beside `out`, of another name.
    pub(super) fn create(out: &Path) -> Result<Unfinished> {
        let directory = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let temporary = directory.join(temporary_name());
        let file = File::options().write(true).create_new(true).open(&temporary);
        let file =
            file.map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be written", out.display())))?;
        let named = Named { temporary, directory, out: out.to_owned() };
        Ok(Unfinished { file: BufWriter::new(file), named })
    }

    /// Writes all of a text.
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|e| io_error(&e))
    }

    /// All of it on the disk, then its name.
    pub(super) fn finish(self) -> Result<()> {
        let Unfinished { file, named } = self;
        let finish = || -> std::io::Result<()> {
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
            std::fs::rename(&named.temporary, &named.out)?;
            sync_directory(&named.directory)
        };
        finish().map_err(|e| io_error(&e))
    }
}
