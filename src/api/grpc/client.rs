//! Other connectors, over mutual TLS: the `Peers` port of the use cases.

use crate::api::errors::from_status;
use crate::api::grpc::{convert, guard};
use crate::api::pb;
use crate::api::pb::agreement_service_client::AgreementServiceClient;
use crate::api::pb::catalog_service_client::CatalogServiceClient;
use crate::api::pb::ledger_service_client::LedgerServiceClient;
use crate::api::pb::negotiation_service_client::NegotiationServiceClient;
use crate::api::pb::register_service_client::RegisterServiceClient;
use crate::connector::peers::{
    CatalogueItem, ExtractPart, ExtractPlace, Head, OutgoingRead, Peers, Planned, ReadEvent, ReceiptParts, RemoteState,
    Watched, WireMessage,
};
use crate::trust::dialer::{Dialer, Purpose};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightDescriptor, Ticket};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use perron_model::life::Standing;
use perron_model::limits::{FLIGHT_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX};
use perron_model::negotiation::{Message, NegotiationMessage};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use prost::Message as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Longest unary call to another connector.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Pages of a catalogue that are asked for at the most.
const PAGES_MAX: usize = 1_000;

/// Channels to other connectors; each is dialled when it is needed.
pub struct GrpcPeers {
    dialer: Arc<Dialer>,
    channels: Mutex<HashMap<ParticipantId, Channel>>,
}

impl GrpcPeers {
    /// Over the one dialer.
    pub fn new(dialer: Arc<Dialer>) -> GrpcPeers {
        GrpcPeers { dialer, channels: Mutex::default() }
    }

    /// Forgets the channels, so that the next calls dial anew: after a change of certificate.
    pub fn reconnect(&self) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn channel(&self, peer: &ParticipantId) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(peer) {
            return channel.clone();
        }
        let (dialer, to) = (self.dialer.clone(), peer.clone());
        let connector = tower::service_fn(move |_: http::Uri| {
            let (dialer, to) = (dialer.clone(), to.clone());
            async move {
                dialer
                    .dial(&to, Purpose::Control)
                    .await
                    .map(|d| TokioIo::new(d.stream))
                    .map_err(|e| std::io::Error::other(e.to_string()))
            }
        });
        let channel = Endpoint::from_static("http://peer.perron.internal")
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            .connect_with_connector_lazy(connector);
        channels.insert(peer.clone(), channel.clone());
        channel
    }

    fn flight(&self, peer: &ParticipantId) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel(peer)).max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
    }

    /// Follows the authority's register.
    pub async fn watch_register(&self, authority: &ParticipantId) -> Result<BoxStream<'static, Result<Vec<u8>>>> {
        let mut client = self.register_of(authority);
        let stream =
            client.watch_register(pb::WatchRegisterRequest {}).await.map_err(|s| from_status(&s))?.into_inner();
        Ok(stream.map(|m| m.map(|m| m.register).map_err(|s| from_status(&s))).boxed())
    }

    /// Asks the authority for a new certificate.
    pub async fn renew(&self, authority: &ParticipantId, renewal: String) -> Result<String> {
        let mut client =
            RegisterServiceClient::new(self.channel(authority)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        call(client.renew(pb::RenewRequest { renewal })).await.map(|a| a.certificate)
    }

    /// Asks the authority to close our log and to name the next one; gives the register's bytes.
    pub async fn succeed(&self, authority: &ParticipantId, succession: String) -> Result<Vec<u8>> {
        let mut client = self.register_of(authority);
        call(client.succeed(pb::SucceedRequest { succession })).await.map(|a| a.register)
    }

    /// Asks the authority for another key in the place of one that consents; gives the register with it.
    pub async fn change_key(&self, authority: &ParticipantId, change: String) -> Result<Vec<u8>> {
        let mut client = self.register_of(authority);
        call(client.change_key(pb::ChangeKeyRequest { change })).await.map(|a| a.register)
    }

    /// The authority's register in force.
    pub async fn register(&self, authority: &ParticipantId) -> Result<Vec<u8>> {
        let mut client = self.register_of(authority);
        call(client.get_register(pb::GetRegisterRequest {})).await.map(|a| a.register)
    }

    fn register_of(&self, authority: &ParticipantId) -> RegisterServiceClient<Channel> {
        RegisterServiceClient::new(self.channel(authority)).max_decoding_message_size(64 * MESSAGE_BYTES_MAX)
    }
}

async fn call<T>(answer: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(from_status(&status)),
        Err(_) => {
            Err(Error::new(ErrorCode::DeadlineExceeded, format!("no answer within {} seconds", CALL_TIMEOUT.as_secs())))
        }
    }
}

#[async_trait]
impl Peers for GrpcPeers {
    async fn catalogue(&self, peer: &ParticipantId, filter: &str) -> Result<Vec<CatalogueItem>> {
        let mut client = CatalogServiceClient::new(self.channel(peer)).max_decoding_message_size(4 * MESSAGE_BYTES_MAX);
        let mut items = Vec::new();
        let mut page_token = String::new();
        for _ in 0..PAGES_MAX {
            let page =
                call(client.get_catalog(pb::GetCatalogRequest { filter: filter.to_owned(), page_size: 0, page_token }))
                    .await?;
            for item in page.datasets {
                items.push(convert::item_from_wire(item)?);
            }
            if page.next_page_token.is_empty() {
                return Ok(items);
            }
            page_token = page.next_page_token;
        }
        Err(Error::new(ErrorCode::TooLarge, format!("a catalogue has more than {PAGES_MAX} pages")))
    }

    async fn send(&self, peer: &ParticipantId, message: &NegotiationMessage) -> Result<RemoteState> {
        let mut client = NegotiationServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let envelope = convert::envelope(message);
        let offer = message.offer.as_ref().map(canonical::to_bytes).transpose()?.unwrap_or_default();
        let agreement = message.agreement.as_ref().map(canonical::to_bytes).transpose()?.unwrap_or_default();
        let state =
            match message.message {
                Message::Request => call(client.request(pb::RequestRequest { envelope, offer })).await?.state,
                Message::Offer => call(client.offer(pb::OfferRequest { envelope, offer })).await?.state,
                Message::Accept => call(client.accept(pb::AcceptRequest { envelope })).await?.state,
                Message::Agree => call(client.agree(pb::AgreeRequest { envelope, agreement })).await?.state,
                Message::Verify => call(client.verify(pb::VerifyRequest { envelope, agreement })).await?.state,
                Message::Finalize => call(client.finalize(pb::FinalizeRequest { envelope })).await?.state,
                Message::Terminate => {
                    call(client.terminate(pb::TerminateRequest {
                        envelope,
                        reason: message.reason.clone().unwrap_or_default(),
                    }))
                    .await?
                    .state
                }
            };
        convert::state_from_wire(state)
    }

    async fn plan(&self, peer: &ParticipantId, agreement: &AgreementId, statement: &str) -> Result<Planned> {
        let command = pb::PlanRead { agreement: agreement.to_string(), statement: statement.to_owned() };
        let mut client = self.flight(peer);
        let info = call(client.get_flight_info(FlightDescriptor::new_cmd(command.encode_to_vec()))).await?;
        let ticket = info
            .endpoint
            .first()
            .and_then(|e| e.ticket.clone())
            .ok_or_else(|| Error::malformed("the provider gave no ticket"))?;
        let nonce = pb::ReadNonce::decode(ticket.ticket)
            .map_err(|_| Error::malformed("the provider's ticket holds no nonce"))?;
        Ok(Planned { schema: info.schema, nonce: nonce.nonce })
    }

    async fn read(&self, peer: &ParticipantId, read: OutgoingRead) -> Result<BoxStream<'static, Result<ReadEvent>>> {
        let wire = pb::Read {
            request: read.request,
            statement: read.statement,
            salt: read.salt.to_vec(),
            intent: read.intent,
            intent_proof: read.intent_proof,
            held_size: read.held_size,
        };
        let mut flight = self.flight(peer);
        let begun = flight.do_get(Ticket::new(wire.encode_to_vec()));
        let stream = guard::unless_silent(begun).await?.map_err(|s| from_status(&s))?.into_inner();
        let events = guard::while_not_silent(stream).map(|message| {
            let message = message?.map_err(|s| from_status(&s))?;
            if message.data_header.is_empty() {
                let receipt = pb::Receipt::decode(message.app_metadata)
                    .map_err(|_| Error::malformed("the provider's receipt can't be read"))?;
                return Ok(ReadEvent::Receipt(convert::receipt_from_wire(receipt)));
            }
            Ok(ReadEvent::Message(WireMessage { header: message.data_header, body: message.data_body }))
        });
        Ok(events.boxed())
    }

    async fn receipt(
        &self,
        peer: &ParticipantId,
        request: &Digest,
        agreement: &AgreementId,
        nonce: &str,
    ) -> Result<ReceiptParts> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = pb::GetReceiptRequest {
            request: request.as_bytes().to_vec(),
            agreement: agreement.to_string(),
            nonce: nonce.to_owned(),
        };
        let answer = call(client.get_receipt(asked)).await?;
        let receipt = answer.receipt.ok_or_else(|| Error::malformed("the provider's answer holds no receipt"))?;
        Ok(convert::receipt_from_wire(receipt))
    }

    async fn held_receipt(&self, peer: &ParticipantId, agreement: &AgreementId) -> Result<Option<ReceiptParts>> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = pb::GetHeldReceiptRequest { agreement: agreement.to_string() };
        Ok(call(client.get_held_receipt(asked)).await?.receipt.map(convert::receipt_from_wire))
    }

    async fn head(&self, peer: &ParticipantId, held_size: u64) -> Result<Head> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = call(client.get_checkpoint(pb::GetCheckpointRequest { held_size })).await?;
        Ok(Head { note: answer.checkpoint, consistency: convert::hashes(answer.consistency)? })
    }

    async fn kept(&self, peer: &ParticipantId) -> Result<Option<String>> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let note = call(client.get_kept(pb::GetKeptRequest {})).await?.checkpoint;
        let note = String::from_utf8(note).map_err(|_| Error::malformed("a checkpoint is UTF-8"))?;
        Ok(Some(note).filter(|n| !n.is_empty()))
    }

    async fn extract(
        &self,
        peer: &ParticipantId,
        agreement: &AgreementId,
        held_size: u64,
        resume: Option<ExtractPlace>,
    ) -> Result<BoxStream<'static, Result<ExtractPart>>> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let resume = resume.map(convert::place_to_wire);
        let begun = client.get_extract(pb::GetExtractRequest { agreement: agreement.to_string(), held_size, resume });
        let stream = guard::unless_silent(begun).await?.map_err(|s| from_status(&s))?.into_inner();
        let parts =
            guard::while_not_silent(stream).map(|part| convert::part_from_wire(part?.map_err(|s| from_status(&s))?));
        Ok(parts.boxed())
    }

    async fn show(&self, peer: &ParticipantId, old_size: u64, head: Head) -> Result<std::result::Result<Vec<u8>, u64>> {
        let mut client = LedgerServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let consistency = convert::consistency(&head);
        let answer =
            call(client.add_checkpoint(pb::AddCheckpointRequest { old_size, consistency, checkpoint: head.note }))
                .await?;
        Ok(if answer.cosignatures.is_empty() { Err(answer.held_size) } else { Ok(answer.cosignatures) })
    }

    async fn watch(&self, peer: &ParticipantId) -> Result<BoxStream<'static, Result<Watched>>> {
        let mut client = NegotiationServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let stream = client.watch(pb::WatchRequest {}).await.map_err(|s| from_status(&s))?.into_inner();
        Ok(stream.map(|m| m.map_err(|s| from_status(&s)).and_then(convert::watched_from_wire)).boxed())
    }

    async fn acknowledge(&self, peer: &ParticipantId, message_id: &str, taken: &Result<RemoteState>) -> Result<()> {
        let mut client = NegotiationServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (state, refused, detail) = match taken {
            Ok(state) => (convert::state_to_wire(state), String::new(), String::new()),
            Err(error) => (None, error.code.as_str().to_owned(), error.detail.clone()),
        };
        let message_id = message_id.to_owned();
        let answer = pb::AcknowledgeRequest { message_id, state, refused, detail, standing: String::new() };
        call(client.acknowledge(answer)).await.map(|_| ())
    }

    async fn notify(&self, peer: &ParticipantId, notice: &str) -> Result<Standing> {
        let mut client = AgreementServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = call(client.notify(pb::NotifyRequest { notice: notice.to_owned() })).await?;
        Standing::parse(&answer.standing)
    }

    async fn acknowledge_notice(&self, peer: &ParticipantId, name: &Digest, taken: &Result<Standing>) -> Result<()> {
        let mut client = NegotiationServiceClient::new(self.channel(peer)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (standing, refused, detail) = match taken {
            Ok(standing) => (standing.name().to_owned(), String::new(), String::new()),
            Err(error) => (String::new(), error.code.as_str().to_owned(), error.detail.clone()),
        };
        let answer = pb::AcknowledgeRequest { message_id: name.to_string(), state: None, refused, detail, standing };
        call(client.acknowledge(answer)).await.map(|_| ())
    }
}
