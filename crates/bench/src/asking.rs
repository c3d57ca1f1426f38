//! A consumer's connector as far as a provider sees it, in the hands of somebody who writes their
//! own: it dials the provider's public endpoint over mutual TLS, plans, notes its intent in a log
//! of its own, signs the request, and acknowledges what it got with the next one. No check of our
//! own connector stands between it and the provider.

use crate::failed;
use crate::link::Member;
use crate::reads::sign;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::TryStreamExt;
use perron::api::pb;
use perron::connector::peers::rows_of;
use perron::connector::state::State;
use perron::ledger::stream_root::{message_digest, stream_root};
use perron::ledger::{Draft, Ledger};
use perron::query::arrow::record_batch::RecordBatch;
use perron::store::Store;
use perron_log::merkle::leaf_hash;
use perron_model::entry::{Body, Intent};
use perron_model::limits::FLIGHT_MESSAGE_BYTES_MAX;
use perron_model::request::Acknowledgement;
use perron_model::{AgreementId, Digest, Result};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tonic::transport::Channel;

/// A connection to a Flight endpoint.
pub type Client = FlightServiceClient<Channel>;

/// A client of the program's bounds.
pub fn client(channel: Channel) -> Client {
    FlightServiceClient::new(channel).max_decoding_message_size(FLIGHT_MESSAGE_BYTES_MAX)
}

/// Who asks.
pub struct Asking {
    pub provider: Client,
    consumer: Member,
    intents: Ledger,
    /// What the next request under an agreement acknowledges.
    taken: BTreeMap<AgreementId, Acknowledgement>,
}

impl Asking {
    /// As a member, with a new log of its intents in a directory.
    pub fn of(consumer: Member, directory: &Path) -> Result<Asking> {
        std::fs::create_dir_all(directory).map_err(failed)?;
        let state = Arc::new(State::open(Store::open(&directory.join("state"))?)?);
        let intents = consumer.ledger(directory, state)?;
        Ok(Asking { provider: client(consumer.dial_provider(None)?), consumer, intents, taken: BTreeMap::new() })
    }

    /// What is sent to execute a statement.
    pub async fn ticket(&mut self, agreement: AgreementId, statement: &str) -> Result<Ticket> {
        let plan = pb::PlanRead { agreement: agreement.to_string(), statement: statement.to_owned() };
        let planned = self.provider.get_flight_info(FlightDescriptor::new_cmd(plan.encode_to_vec())).await;
        let ticket = planned.map_err(failed)?.into_inner().endpoint.first().and_then(|e| e.ticket.clone());
        let nonce = pb::ReadNonce::decode(ticket.ok_or_else(|| failed("no ticket"))?.ticket).map_err(failed)?;
        let acknowledged = self.taken.get(&agreement).cloned().into_iter().collect();
        let signed = sign(&self.consumer, agreement, statement, &nonce.nonce, acknowledged)?;
        let intent = Body::Intent(Intent {
            request: Digest::of(signed.request.as_bytes()),
            user: signed.claims.user,
            purpose: signed.claims.purpose,
            provider: signed.claims.provider.to_string(),
            sealed: None,
        });
        let recorded = self.intents.append(Draft::plain(intent)).await?;
        let reader = self.intents.reader();
        let read = pb::Read {
            request: signed.request,
            statement: statement.to_owned(),
            salt: signed.salt.to_vec(),
            intent: reader.leaf(recorded.index).map_err(failed)?,
            intent_proof: reader.receipt(recorded.index, None).map_err(failed)?.to_string().into_bytes(),
            held_size: 0,
        };
        Ok(Ticket::new(read.encode_to_vec()))
    }

    /// Asks, and takes the answer and its receipt.
    pub async fn ask(&mut self, agreement: AgreementId, statement: &str) -> Result<Vec<RecordBatch>> {
        let ticket = self.ticket(agreement, statement).await?;
        let answer = self.provider.do_get(ticket).await.map_err(failed)?.into_inner();
        let mut messages: Vec<FlightData> = answer.try_collect().await.map_err(failed)?;
        // The last message has no header: it carries the receipt.
        let last = messages.pop().filter(|m| m.data_header.is_empty());
        let receipt = pb::Receipt::decode(last.ok_or_else(|| failed("an answer without a receipt"))?.app_metadata);
        self.taken.insert(agreement, acknowledgement(&receipt.map_err(failed)?, &messages)?);
        let messages = futures::stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
        FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.map_err(failed)
    }
}

fn acknowledgement(receipt: &pb::Receipt, messages: &[FlightData]) -> Result<Acknowledgement> {
    let salt = <[u8; 16]>::try_from(receipt.stream_salt.as_slice()).map_err(failed)?;
    let digests: Vec<[u8; 32]> = messages.iter().map(|m| message_digest(&m.data_header, &m.data_body)).collect();
    Ok(Acknowledgement {
        decision: Digest::from_bytes(leaf_hash(&receipt.decision).0),
        rows: messages.iter().filter_map(|m| rows_of(&m.data_header)).sum(),
        messages: messages.len() as u64,
        stream_root: stream_root(&salt, &digests),
    })
}
