//! Flight at the provider: `GetFlightInfo` plans under a schema grant, `DoGet` executes a signed
//! request. The last message of an answer has no data: it carries the receipt.

use crate::api::errors::{denied_to_status, to_status};
use crate::api::flight::answer::{Answering, answer};
use crate::api::grpc::services::{Services, peer_of};
use crate::api::pb;
use crate::connector::reads::IncomingRead;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use perron_model::limits::REQUEST_BYTES_MAX;
use perron_model::{AgreementId, Error, ErrorCode, Result};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

/// Flight between connectors.
#[derive(Clone)]
pub struct PeerFlight(pub Services);

fn unsupported<T>(what: &str) -> Result<T, Status> {
    Err(to_status(&Error::new(ErrorCode::StatementNotAllowed, format!("`{what}` is not served between connectors"))))
}

#[tonic::async_trait]
impl FlightService for PeerFlight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let peer = peer_of(&request)?;
        let malformed = || to_status(&Error::malformed("the descriptor's command is not a plan of a read"));
        let plan = pb::PlanRead::decode(request.into_inner().cmd).map_err(|_| malformed())?;
        let agreement = AgreementId::parse(&plan.agreement).map_err(|e| to_status(&e))?;
        let (schema, nonce) =
            self.0.node.plan(&peer, &agreement, &plan.statement).await.map_err(|d| denied_to_status(&d))?;
        let ticket = Ticket::new(pb::ReadNonce { nonce }.encode_to_vec());
        let info = FlightInfo::new()
            .try_with_schema(&schema)
            .map_err(|_| to_status(&Error::new(ErrorCode::Internal, "a schema can't be encoded")))?;
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket))))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let peer = peer_of(&request)?;
        let bytes = request.into_inner().ticket;
        if bytes.len() > 4 * REQUEST_BYTES_MAX {
            return Err(to_status(&Error::new(ErrorCode::TooLarge, "the ticket is too large")));
        }
        let read = pb::Read::decode(bytes)
            .map_err(|_| to_status(&Error::new(ErrorCode::TicketInvalid, "the ticket is not a read")))?;
        let incoming = IncomingRead {
            request: read.request,
            statement: read.statement,
            salt: read.salt,
            intent: read.intent,
            intent_proof: read.intent_proof,
            held_size: read.held_size,
        };
        // In a task of its own: a caller that goes away between decision and outcome must not leave
        // a permit without an outcome.
        let node = self.0.node.clone();
        let admitted = tokio::spawn(async move {
            let serving = node.serve(&peer, incoming).await?;
            Ok::<_, perron_gate::Denied>(answer(node, Answering::Read(Box::new(serving), peer)))
        });
        let admitted =
            admitted.await.map_err(|_| to_status(&Error::new(ErrorCode::Internal, "a read ended unexpectedly")))?;
        Ok(Response::new(admitted.map_err(|d| denied_to_status(&d))?))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        unsupported("Handshake")
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        unsupported("ListFlights")
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        unsupported("PollFlightInfo")
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        unsupported("GetSchema")
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        unsupported("DoPut")
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        unsupported("DoAction")
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        unsupported("ListActions")
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        unsupported("DoExchange")
    }
}
