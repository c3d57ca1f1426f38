//! `perron query`: a statement over Flight SQL on the local socket.

use crate::api::errors::from_status;
use crate::api::flight::local::{AGREEMENT_HEADER, LOG, PURPOSE_HEADER};
use crate::cli::args::{AskedArgs, QueryArgs, QueryOutput};
use crate::cli::output::say;
use crate::cli::{Output, client};
use crate::query::arrow::array::RecordBatch;
use crate::query::write_parquet;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use perron_model::limits::PRINTED_ROWS_MAX;
use perron_model::trace::TRACEPARENT;
use perron_model::{Error, ErrorCode, Result, TraceId};
use std::path::Path;

pub fn run(args: QueryArgs, output: &Output) -> Result<()> {
    let about = [(AGREEMENT_HEADER, args.agreement.to_string()), (PURPOSE_HEADER, args.purpose)];
    answer(&args.dir.dir, &about, args.asked, output)
}

/// Asks the log instead of a set.
pub fn ask_log(directory: &Path, asked: AskedArgs, output: &Output) -> Result<()> {
    answer(directory, &[(AGREEMENT_HEADER, LOG.to_owned())], asked, output)
}

fn answer(directory: &Path, about: &[(&'static str, String)], asked: AskedArgs, output: &Output) -> Result<()> {
    let batches = client::runtime()?.block_on(fetch(directory, about, &asked))?;
    let kind = if output.json { QueryOutput::Json } else { asked.output };
    write(&batches, kind, asked.to.as_deref())
}

async fn fetch(directory: &Path, about: &[(&'static str, String)], asked: &AskedArgs) -> Result<Vec<RecordBatch>> {
    let channel = client::connect(directory).await?;
    let mut flight = FlightSqlServiceClient::new(channel);
    for (header, value) in about {
        flight.set_header(*header, value.clone());
    }
    // As OpenTelemetry hands a trace to programs that are started.
    if let Some(parent) = std::env::var("TRACEPARENT").ok().filter(|p| TraceId::of_traceparent(p).is_some()) {
        flight.set_header(TRACEPARENT, parent);
    }
    if let Some(file) = &asked.token {
        flight.set_token(client::read(file)?.trim().to_owned());
    }
    let info = flight.execute(asked.statement.clone(), None).await.map_err(|e| flight_error(&e))?;
    let ticket = info
        .endpoint
        .first()
        .and_then(|e| e.ticket.clone())
        .ok_or_else(|| Error::malformed("the answer has no ticket"))?;
    let stream = flight.do_get(ticket).await.map_err(|e| flight_error(&e))?;
    stream.try_collect().await.map_err(|e| flight_error(&e))
}

fn flight_error(error: &FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => from_status(status),
        FlightError::Arrow(error) => arrow_error(error),
        other => Error::malformed(format!("the answer can't be read: {other}")),
    }
}

fn arrow_error(error: &crate::query::arrow::error::ArrowError) -> Error {
    if let crate::query::arrow::error::ArrowError::ExternalError(inner) = error {
        if let Some(status) = inner.downcast_ref::<tonic::Status>() {
            return from_status(status);
        }
        if let Some(error) = inner.downcast_ref::<FlightError>() {
            return flight_error(error);
        }
    }
    Error::malformed(format!("the answer can't be read: {error}"))
}

fn write(batches: &[RecordBatch], kind: QueryOutput, to: Option<&Path>) -> Result<()> {
    use crate::query::arrow::util::pretty::pretty_format_batches;
    let failed = |_| Error::new(ErrorCode::Internal, "the answer can't be written");
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    match kind {
        QueryOutput::Table => {
            let mut left = PRINTED_ROWS_MAX;
            let mut shown = Vec::new();
            for batch in batches {
                let take = batch.num_rows().min(left);
                left -= take;
                shown.push(batch.slice(0, take));
            }
            say!("{}", pretty_format_batches(&shown).map_err(failed)?);
            if rows > PRINTED_ROWS_MAX {
                say!("… {rows}");
            }
            Ok(())
        }
        QueryOutput::Csv => {
            let mut writer = crate::query::arrow::csv::WriterBuilder::new().with_header(true).build(std::io::stdout());
            batches.iter().try_for_each(|b| writer.write(b)).map_err(failed)
        }
        QueryOutput::Json => {
            let mut writer = crate::query::arrow::json::LineDelimitedWriter::new(std::io::stdout());
            batches.iter().try_for_each(|b| writer.write(b)).and_then(|()| writer.finish()).map_err(failed)
        }
        QueryOutput::Parquet => {
            let file = to.ok_or_else(|| Error::malformed("--to names the file of the Parquet answer"))?;
            let out = std::fs::File::create(file)
                .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` can't be written", file.display())))?;
            write_parquet(out, batches)
        }
    }
}
