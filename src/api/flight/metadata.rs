//! What a tool asks before its statements: the server's properties, and the tables of the log.

use crate::api::errors::to_tool_status as to_status;
use crate::query::arrow::array::RecordBatch;
use crate::query::arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{CommandGetTables, ProstMessageExt, SqlInfo};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::{Error, ErrorCode, Result};
use prost::Message;
use tonic::{Response, Status};

/// Type of the log's tables, as tools show it.
pub(super) const TABLE_TYPE: &str = "VIEW";

/// An answer that can't be encoded.
pub(super) fn internal() -> Status {
    to_status(&Error::new(ErrorCode::Internal, "an answer can't be encoded"))
}

/// Where the answer to a command is had: by the command itself as a ticket.
pub(super) fn info(
    command: &impl ProstMessageExt,
    schema: &Schema,
    descriptor: FlightDescriptor,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new().try_with_schema(schema).map_err(|_| internal())?;
    Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_descriptor(descriptor)))
}

/// One batch as an answer.
pub(super) fn answer(
    schema: SchemaRef,
    batch: Result<RecordBatch, FlightError>,
) -> Response<BoxStream<'static, Result<FlightData, Status>>> {
    let once = futures::stream::once(async { batch });
    let messages = FlightDataEncoderBuilder::new().with_schema(schema).build(once);
    Response::new(messages.map(|m| m.map_err(|_| internal())).boxed())
}

/// The tables of the log, as far as they are asked for.
pub(super) fn tables(
    asked: CommandGetTables,
    tables: Vec<(&'static str, SchemaRef)>,
) -> Result<Response<BoxStream<'static, Result<FlightData, Status>>>, Status> {
    let mut found = asked.into_builder();
    for (name, schema) in tables {
        found.append("", "", name, TABLE_TYPE, &schema).map_err(|_| internal())?;
    }
    Ok(answer(found.schema(), found.build()))
}

/// What the server says of itself.
pub(super) fn sql_info() -> Result<SqlInfoData, Status> {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "perron");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerReadOnly, true);
    builder.build().map_err(|_| internal())
}
