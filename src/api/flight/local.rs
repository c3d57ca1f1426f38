//! Flight SQL for an organisation's own tools: pyarrow, ADBC, JDBC, and `perron query`.
//!
//! Agreement and purpose come as connection properties (headers `perron-agreement` and
//! `perron-purpose`); with `log` in an agreement's place statements are about the organisation's own
//! log. Who asks is known by the socket's owner or a bearer token. Anonymous is refused.

use crate::api::errors::{from_status, to_tool_status as to_status};
use crate::api::flight::answer::{Answering, answer};
use crate::api::flight::metadata;
use crate::api::flight::taken::while_taken;
use crate::api::grpc::channels::UserCertificate;
use crate::connector::consumption::{PlannedRead, Wanted};
use crate::connector::users::{Credential, User};
use crate::connector::{LogStatement, Node};
use crate::query::arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::limits::{TICKET_LIFE_MS, TICKETS_PER_CALLER_MAX};
use perron_model::trace::TRACEPARENT;
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, Timestamp, TraceId};
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

/// Header of the agreement.
pub const AGREEMENT_HEADER: &str = "perron-agreement";
/// Header of the purpose.
pub const PURPOSE_HEADER: &str = "perron-purpose";

/// In place of an agreement: the organisation's own log.
pub const LOG: &str = "log";

/// What a statement is about.
#[derive(Clone)]
enum Asked {
    /// A set of another organisation, under an agreement.
    Set(Wanted),
    /// One's own log.
    Log(LogStatement),
}

/// What was planned.
enum Planned {
    Set(PlannedRead),
    Log(LogStatement),
}

struct Waiting {
    user: User,
    planned: Planned,
    expires: Timestamp,
}

/// Statements that were prepared, by handle.
type Prepared = HashMap<Vec<u8>, (User, Asked)>;

/// Flight SQL over one organisation's grants.
#[derive(Clone)]
pub struct LocalFlight {
    node: Arc<Node>,
    waiting: Arc<Mutex<HashMap<Vec<u8>, Waiting>>>,
    prepared: Arc<Mutex<Prepared>>,
}

/// Who asks: by bearer token, else by the certificate of the channel, else by the owner of the
/// local socket's other end.
pub fn user_of<T>(node: &Node, request: &Request<T>) -> Result<User, Status> {
    let unauthenticated = || {
        to_status(&Error::new(
            ErrorCode::Unauthenticated,
            "who asks has to be shown, by a token, a certificate or the local socket",
        ))
    };
    if let Some(value) = request.metadata().get("authorization") {
        let token = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer ")).ok_or_else(unauthenticated)?;
        return node.user(&Credential::Token(Digest::of(token.as_bytes()))).map_err(|e| to_status(&e));
    }
    if let Some(UserCertificate(Some(shown))) = request.extensions().get::<UserCertificate>() {
        return node.user(&Credential::Certificate(*shown)).map_err(|e| to_status(&e));
    }
    let uid = uid_of(request).ok_or_else(unauthenticated)?;
    node.user(&Credential::Uid(uid)).map_err(|e| to_status(&e))
}

/// Owner of the local socket's other end.
pub fn uid_of<T>(request: &Request<T>) -> Option<u32> {
    request.extensions().get::<UdsConnectInfo>().and_then(|i| i.peer_cred).map(|c| c.uid())
}

fn asked<T>(request: &Request<T>, statement: String) -> Result<Asked, Status> {
    let header = |name: &str| {
        let missing = || to_status(&Error::malformed(format!("the connection lacks the property `{name}`")));
        request.metadata().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned).ok_or_else(missing)
    };
    let (agreement, trace) = (header(AGREEMENT_HEADER)?, trace_of(request));
    if agreement == LOG {
        return Ok(Asked::Log(LogStatement { statement, trace }));
    }
    let agreement = AgreementId::parse(&agreement).map_err(|e| to_status(&e))?;
    Ok(Asked::Set(Wanted { agreement, purpose: header(PURPOSE_HEADER)?, statement, trace }))
}

impl Asked {
    fn set_trace(&mut self, trace: Option<TraceId>) {
        match self {
            Asked::Set(wanted) => wanted.trace = trace,
            Asked::Log(asked) => asked.trace = trace,
        }
    }
}

impl Planned {
    /// A trace of the execution goes before that of the plan.
    fn traced(&mut self, trace: Option<TraceId>) {
        match self {
            Planned::Set(planned) => planned.wanted.trace = trace.or(planned.wanted.trace),
            Planned::Log(asked) => asked.trace = trace.or(asked.trace),
        }
    }
}

/// The trace that the tool's call belongs to, where it says so in a form that holds.
fn trace_of<T>(request: &Request<T>) -> Option<TraceId> {
    request.metadata().get(TRACEPARENT).and_then(|v| v.to_str().ok()).and_then(TraceId::of_traceparent)
}

fn handle() -> Result<Vec<u8>, Status> {
    crate::ledger::random_16().map(|b| b.to_vec()).map_err(|e| to_status(&e))
}

type Answer = Result<Response<<LocalFlight as FlightService>::DoGetStream>, Status>;

impl LocalFlight {
    /// Over a node.
    pub fn new(node: Arc<Node>) -> LocalFlight {
        LocalFlight { node, waiting: Arc::default(), prepared: Arc::default() }
    }

    /// Plans; gives the schema of the answer as an IPC message.
    async fn plan(&self, user: &User, asked: Asked) -> Result<(Planned, Bytes), Status> {
        match asked {
            Asked::Set(wanted) => {
                let planned = self.node.plan_for(user, wanted).await.map_err(|e| to_status(&e))?;
                let schema = planned.schema.clone();
                Ok((Planned::Set(planned), schema))
            }
            Asked::Log(asked) => {
                let schema = self.node.plan_look(user, &asked).await.map_err(|e| to_status(&e))?;
                let info = FlightInfo::new().try_with_schema(&schema).map_err(|_| metadata::internal())?;
                Ok((Planned::Log(asked), info.schema))
            }
        }
    }

    async fn info(
        &self,
        user: User,
        asked: Asked,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let (planned, schema) = self.plan(&user, asked).await?;
        let id = handle()?;
        let now = self.node.now();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|_, w| w.expires > now);
            if waiting.values().filter(|w| w.user.name == user.name).count() >= TICKETS_PER_CALLER_MAX {
                return Err(to_status(&Error::new(
                    ErrorCode::Overloaded,
                    format!("more than {TICKETS_PER_CALLER_MAX} tickets are waiting to be used"),
                )));
            }
            waiting.insert(id.clone(), Waiting { user, planned, expires: now.plus_millis(TICKET_LIFE_MS) });
        }
        let ticket = TicketStatementQuery { statement_handle: id.into() };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.as_any().encode_to_vec()));
        let info = FlightInfo { schema, ..FlightInfo::new() };
        Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(descriptor)))
    }

    async fn answer(
        &self,
        user: User,
        id: &[u8],
        trace: Option<TraceId>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let invalid =
            || to_status(&Error::new(ErrorCode::TicketInvalid, "the ticket isn't known, was used, or is too old"));
        let now = self.node.now();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        let mut waiting = waiting.filter(|w| w.user.name == user.name && w.expires > now).ok_or_else(invalid)?;
        waiting.planned.traced(trace);
        let planned = match waiting.planned {
            Planned::Set(planned) => planned,
            Planned::Log(asked) => return self.look(user, asked).await,
        };
        let phase = crate::phases::open(crate::phases::Phase::Stream);
        let messages = self.node.execute_for(&user, planned).await.map_err(|e| to_status(&e))?;
        let stream = messages.map(move |m| {
            let _open = &phase;
            m.map(|m| FlightData { data_header: m.header, data_body: m.body, ..FlightData::default() })
                .map_err(|e| to_status(&e))
        });
        Ok(Response::new(while_taken(stream.boxed())))
    }

    /// The tables of the log, which are in no catalog and no schema, for who may ask it; what an agreement gives is told by its offer.
    async fn tables_of<T>(&self, request: &Request<T>) -> Result<Vec<(&'static str, SchemaRef)>, Status> {
        let user = user_of(&self.node, request)?;
        if request.metadata().get(AGREEMENT_HEADER).is_none_or(|named| named != LOG) {
            return Err(Status::unimplemented("tables are listed of the log alone"));
        }
        self.node.tables_of_log(&user).await.map_err(|e| to_status(&e))
    }

    async fn look(&self, user: User, asked: LogStatement) -> Answer {
        // In a task of its own: who goes away between decision and outcome must not leave a permit
        // without an outcome.
        let node = self.node.clone();
        let begun = tokio::spawn(async move {
            let looking = node.look(&user, &asked).await?;
            Ok::<_, Error>(answer(node, Answering::Look(looking)))
        });
        let messages = begun.await.map_err(|_| metadata::internal())?.map_err(|e| to_status(&e))?;
        Ok(Response::new(messages.map(|m| m.map_err(|status| to_status(&from_status(&status)))).boxed()))
    }
}

#[tonic::async_trait]
impl FlightSqlService for LocalFlight {
    type FlightService = LocalFlight;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<std::pin::Pin<Box<dyn futures::Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        // The token that came is the token to go on with.
        user_of(&self.node, &request)?;
        let authorization = request.metadata().get("authorization").cloned();
        let once: BoxStream<'static, Result<HandshakeResponse, Status>> =
            futures::stream::once(async { Ok(HandshakeResponse::default()) }).boxed();
        let mut response: Response<
            std::pin::Pin<Box<dyn futures::Stream<Item = Result<HandshakeResponse, Status>> + Send>>,
        > = Response::new(once);
        if let Some(value) = authorization {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let user = user_of(&self.node, &request)?;
        let asked = asked(&request, query.query)?;
        self.info(user, asked, request.into_inner()).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let user = user_of(&self.node, &request)?;
        self.answer(user, &ticket.statement_handle, trace_of(&request)).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let user = user_of(&self.node, &request)?;
        let asked = asked(&request, query.query)?;
        let (_, schema) = self.plan(&user, asked.clone()).await?;
        let id = handle()?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.values().filter(|(u, _)| u.name == user.name).count() >= TICKETS_PER_CALLER_MAX {
            return Err(to_status(&Error::new(
                ErrorCode::Overloaded,
                format!("more than {TICKETS_PER_CALLER_MAX} statements are prepared"),
            )));
        }
        prepared.insert(id.clone(), (user, asked));
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: id.into(),
            dataset_schema: schema,
            parameter_schema: Bytes::new(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let user = user_of(&self.node, &request)?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.get(query.prepared_statement_handle.as_ref()).is_some_and(|(u, _)| u.name == user.name) {
            prepared.remove(query.prepared_statement_handle.as_ref());
        }
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let user = user_of(&self.node, &request)?;
        let found = self
            .prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(query.prepared_statement_handle.as_ref())
            .cloned();
        let (_, mut asked) = found
            .filter(|(u, _)| u.name == user.name)
            .ok_or_else(|| to_status(&Error::new(ErrorCode::TicketInvalid, "no such prepared statement")))?;
        // Each run belongs to a trace of its own.
        asked.set_trace(trace_of(&request));
        self.info(user, asked, request.into_inner()).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        // Clients may bind an empty set of parameters; there is none to take.
        user_of(&self.node, &request)?;
        let mut stream = request.into_inner();
        while let Some(message) = stream.next().await {
            if !message?.data_body.is_empty() {
                return Err(to_status(&Error::new(
                    ErrorCode::StatementNotAllowed,
                    "prepared statements with parameters are not served",
                )));
            }
        }
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        user_of(&self.node, &request)?;
        let schema = query.clone().into_builder(&metadata::sql_info()?).schema();
        metadata::info(&query, &schema, request.into_inner())
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Answer {
        user_of(&self.node, &request)?;
        let info = metadata::sql_info()?;
        let found = query.into_builder(&info);
        Ok(metadata::answer(found.schema(), found.build()))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.tables_of(&request).await?;
        let schema = query.clone().into_builder().schema();
        metadata::info(&query, &schema, request.into_inner())
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Answer {
        metadata::tables(query, self.tables_of(&request).await?)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.tables_of(&request).await?;
        metadata::info(&query, &query.into_builder().schema(), request.into_inner())
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> Answer {
        self.tables_of(&request).await?;
        let mut found = query.into_builder();
        found.append(metadata::TABLE_TYPE);
        Ok(metadata::answer(found.schema(), found.build()))
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.tables_of(&request).await?;
        metadata::info(&query, &query.into_builder().schema(), request.into_inner())
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Answer {
        self.tables_of(&request).await?;
        let mut found = query.into_builder();
        found.append("");
        Ok(metadata::answer(found.schema(), found.build()))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.tables_of(&request).await?;
        let schema = query.clone().into_builder().schema();
        metadata::info(&query, &schema, request.into_inner())
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Answer {
        self.tables_of(&request).await?;
        let mut found = query.into_builder();
        found.append("", "");
        Ok(metadata::answer(found.schema(), found.build()))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
