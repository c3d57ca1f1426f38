//! The services between connectors. Each call begins with who calls, by the channel.

use crate::api::errors::to_status;
use crate::api::grpc::channels::PeerIdentity;
use crate::api::grpc::convert::{self, Content};
use crate::api::pb;
use crate::api::pb::agreement_service_server::AgreementService;
use crate::api::pb::catalog_service_server::CatalogService;
use crate::api::pb::ledger_service_server::LedgerService;
use crate::api::pb::negotiation_service_server::NegotiationService;
use crate::api::pb::register_service_server::RegisterService;
use crate::connector::Node;
use crate::connector::authority::Authority;
use crate::connector::peers::Head;
use futures::StreamExt;
use perron_model::life::Standing;
use perron_model::negotiation::Message;
use perron_model::{AgreementId, DatasetId, Digest, Error, ErrorCode, ParticipantId, Result};
use std::sync::Arc;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Sets on one page at the most.
const PAGE_MAX: usize = 200;
const PAGE_DEFAULT: usize = 50;

/// The channel's participant.
pub fn peer_of<T>(request: &Request<T>) -> Result<ParticipantId, Status> {
    let unauthenticated = || to_status(&Error::new(ErrorCode::Unauthenticated, "the channel names no participant"));
    request.extensions().get::<PeerIdentity>().map(|p| p.0.clone()).ok_or_else(unauthenticated)
}

/// Runs what must not be left in the middle because its caller went away.
pub async fn unbroken<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let ended = |_| Error::new(ErrorCode::Internal, "a task ended unexpectedly");
    tokio::spawn(work).await.map_err(ended)?
}

/// All services of one node.
#[derive(Clone)]
pub struct Services {
    /// The organisation.
    pub node: Arc<Node>,
    /// The data space's authority, in its own process.
    pub authority: Option<Arc<Authority>>,
    /// Ends the streams that have no end of their own, so that a stop doesn't wait for them.
    pub stop: CancellationToken,
}

impl Services {
    fn caller<T>(&self, request: &Request<T>) -> Result<ParticipantId, Status> {
        let peer = peer_of(request)?;
        self.node.in_force(&peer).map_err(|e| to_status(&e))?;
        Ok(peer)
    }

    async fn take(
        &self,
        peer: &ParticipantId,
        kind: Message,
        by_provider: bool,
        envelope: Option<pb::Envelope>,
        content: Content,
    ) -> Result<Option<pb::NegotiationState>, Status> {
        let taken = async {
            let message = convert::message(kind, envelope, self.node.me(), peer, by_provider, content)?;
            self.node.receive(peer, message).await
        };
        taken.await.map(|s| convert::state_to_wire(&s)).map_err(|e| to_status(&e))
    }
}

#[tonic::async_trait]
impl CatalogService for Services {
    async fn get_catalog(
        &self,
        request: Request<pb::GetCatalogRequest>,
    ) -> Result<Response<pb::GetCatalogResponse>, Status> {
        let peer = self.caller(&request)?;
        let asked = request.into_inner();
        let items = self.node.catalogue_for(&peer, &asked.filter);
        let size = match usize::try_from(asked.page_size).unwrap_or(PAGE_MAX) {
            0 => PAGE_DEFAULT,
            n => n.min(PAGE_MAX),
        };
        // A page begins after the set that its token names, so sets that come or go don't shift it.
        let rest: Vec<_> = items
            .iter()
            .filter(|i| asked.page_token.is_empty() || i.dataset.id.as_str() > asked.page_token.as_str())
            .collect();
        let page: Vec<_> = rest.iter().take(size).collect();
        let more = rest.len() > page.len();
        let next_page_token =
            if more { page.last().map(|i| i.dataset.id.to_string()).unwrap_or_default() } else { String::new() };
        let datasets =
            page.into_iter().map(|i| convert::item_to_wire(i)).collect::<Result<_>>().map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetCatalogResponse { datasets, next_page_token }))
    }

    async fn get_dataset(
        &self,
        request: Request<pb::GetDatasetRequest>,
    ) -> Result<Response<pb::GetDatasetResponse>, Status> {
        let peer = self.caller(&request)?;
        let found = async {
            let id = DatasetId::parse(&request.get_ref().dataset)?;
            let item = self.node.catalogue_for(&peer, "").into_iter().find(|i| i.dataset.id == id);
            convert::item_to_wire(
                &item.ok_or_else(|| Error::new(ErrorCode::NotFound, "no such set is shown to this participant"))?,
            )
        };
        let dataset = found.await.map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetDatasetResponse { dataset: Some(dataset) }))
    }
}

#[tonic::async_trait]
impl NegotiationService for Services {
    async fn request(&self, request: Request<pb::RequestRequest>) -> Result<Response<pb::RequestResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        let state = self.take(&peer, Message::Request, false, m.envelope, Content::Offer(m.offer)).await?;
        Ok(Response::new(pb::RequestResponse { state }))
    }
    async fn offer(&self, request: Request<pb::OfferRequest>) -> Result<Response<pb::OfferResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        let state = self.take(&peer, Message::Offer, true, m.envelope, Content::Offer(m.offer)).await?;
        Ok(Response::new(pb::OfferResponse { state }))
    }
    async fn accept(&self, request: Request<pb::AcceptRequest>) -> Result<Response<pb::AcceptResponse>, Status> {
        let peer = self.caller(&request)?;
        let state = self.take(&peer, Message::Accept, false, request.into_inner().envelope, Content::Nothing).await?;
        Ok(Response::new(pb::AcceptResponse { state }))
    }
    async fn agree(&self, request: Request<pb::AgreeRequest>) -> Result<Response<pb::AgreeResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        let state = self.take(&peer, Message::Agree, true, m.envelope, Content::Agreement(m.agreement)).await?;
        Ok(Response::new(pb::AgreeResponse { state }))
    }
    async fn verify(&self, request: Request<pb::VerifyRequest>) -> Result<Response<pb::VerifyResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        let state = self.take(&peer, Message::Verify, false, m.envelope, Content::Agreement(m.agreement)).await?;
        Ok(Response::new(pb::VerifyResponse { state }))
    }
    async fn finalize(&self, request: Request<pb::FinalizeRequest>) -> Result<Response<pb::FinalizeResponse>, Status> {
        let peer = self.caller(&request)?;
        let state = self.take(&peer, Message::Finalize, true, request.into_inner().envelope, Content::Nothing).await?;
        Ok(Response::new(pb::FinalizeResponse { state }))
    }
    async fn terminate(
        &self,
        request: Request<pb::TerminateRequest>,
    ) -> Result<Response<pb::TerminateResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        // Either side may end it: which one the sender is, the negotiation tells.
        let mine = m.envelope.as_ref().map(|e| e.consumer_pid.clone()).unwrap_or_default();
        let by_provider = self.node.is_consumer_of(&peer, &mine);
        let state = self.take(&peer, Message::Terminate, by_provider, m.envelope, Content::Reason(m.reason)).await?;
        Ok(Response::new(pb::TerminateResponse { state }))
    }
    type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let peer = self.caller(&request)?;
        let messages = self.node.messages_for(&peer).map(|m| convert::watched_to_wire(&m).map_err(|e| to_status(&e)));
        Ok(Response::new(Box::pin(messages.take_until(self.stop.clone().cancelled_owned()))))
    }
    async fn acknowledge(
        &self,
        request: Request<pb::AcknowledgeRequest>,
    ) -> Result<Response<pb::AcknowledgeResponse>, Status> {
        let peer = self.caller(&request)?;
        let m = request.into_inner();
        let refused = Some(&m.refused).filter(|code| !code.is_empty()).map(|code| {
            let code = ErrorCode::parse(code).unwrap_or(ErrorCode::Internal);
            Error::new(code, m.detail.chars().take(2000).collect::<String>())
        });
        let noted = match (refused, m.state) {
            // A message that was refused may be of either kind: what it names tells.
            (Some(error), _) => match Digest::parse(&m.message_id) {
                Ok(name) => self.node.notice_acknowledged(&peer, &name, Err(error)),
                Err(_) => self.node.acknowledged(&peer, &m.message_id, Err(error)).await,
            },
            (None, None) if !m.standing.is_empty() => {
                let taken = Standing::parse(&m.standing);
                Digest::parse(&m.message_id).and_then(|name| self.node.notice_acknowledged(&peer, &name, taken))
            }
            (None, state) => self.node.acknowledged(&peer, &m.message_id, convert::state_from_wire(state)).await,
        };
        noted.map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::AcknowledgeResponse {}))
    }
    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let peer = self.caller(&request)?;
        let state = self.node.negotiation_for(&peer, &request.get_ref().pid).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetResponse { state: convert::state_to_wire(&state) }))
    }
}

#[tonic::async_trait]
impl AgreementService for Services {
    async fn get_agreement(
        &self,
        request: Request<pb::GetAgreementRequest>,
    ) -> Result<Response<pb::GetAgreementResponse>, Status> {
        let peer = self.caller(&request)?;
        let found = AgreementId::parse(&request.get_ref().agreement).and_then(|id| self.node.standing_for(&peer, &id));
        let standing = found.map_err(|e| to_status(&e))?.name().to_owned();
        Ok(Response::new(pb::GetAgreementResponse { standing }))
    }
    async fn notify(&self, request: Request<pb::NotifyRequest>) -> Result<Response<pb::NotifyResponse>, Status> {
        let peer = self.caller(&request)?;
        let (node, notice) = (self.node.clone(), request.into_inner().notice);
        // In a task of its own: a caller that goes away must not let a decision come between.
        let taken = unbroken(async move { node.receive_notice(&peer, &notice).await }).await;
        let standing = taken.map_err(|e| to_status(&e))?.name().to_owned();
        Ok(Response::new(pb::NotifyResponse { standing }))
    }
}

#[tonic::async_trait]
impl LedgerService for Services {
    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        self.caller(&request)?;
        let head = self.node.head(request.get_ref().held_size).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetCheckpointResponse { consistency: convert::consistency(&head), checkpoint: head.note }))
    }
    async fn get_kept(&self, request: Request<pb::GetKeptRequest>) -> Result<Response<pb::GetKeptResponse>, Status> {
        let peer = self.caller(&request)?;
        let kept = self.node.kept_of(&peer).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetKeptResponse { checkpoint: kept.unwrap_or_default().into_bytes() }))
    }
    async fn add_checkpoint(
        &self,
        request: Request<pb::AddCheckpointRequest>,
    ) -> Result<Response<pb::AddCheckpointResponse>, Status> {
        let peer = self.caller(&request)?;
        let asked = request.into_inner();
        let witnessed = async {
            let head = Head { note: asked.checkpoint, consistency: convert::hashes(asked.consistency)? };
            self.node.witness(&peer, asked.old_size, &head).await
        };
        let answer = match witnessed.await.map_err(|e| to_status(&e))? {
            Ok(cosignatures) => pb::AddCheckpointResponse { cosignatures, held_size: 0 },
            Err(held_size) => pb::AddCheckpointResponse { cosignatures: Vec::new(), held_size },
        };
        Ok(Response::new(answer))
    }
    type GetExtractStream = std::pin::Pin<Box<dyn Stream<Item = Result<pb::GetExtractResponse, Status>> + Send>>;

    async fn get_extract(
        &self,
        request: Request<pb::GetExtractRequest>,
    ) -> Result<Response<Self::GetExtractStream>, Status> {
        let peer = self.caller(&request)?;
        let asked = request.into_inner();
        let agreement = AgreementId::parse(&asked.agreement).map_err(|e| to_status(&e))?;
        let resume = asked.resume.map(convert::place_from_wire);
        let parts = self.node.extract_for(&peer, agreement, asked.held_size, resume).await;
        let parts = parts.map_err(|e| to_status(&e))?;
        let messages = parts.map(|part| part.map(convert::part_to_wire).map_err(|e| to_status(&e)));
        Ok(Response::new(Box::pin(messages.take_until(self.stop.clone().cancelled_owned()))))
    }
    async fn get_receipt(
        &self,
        request: Request<pb::GetReceiptRequest>,
    ) -> Result<Response<pb::GetReceiptResponse>, Status> {
        let peer = self.caller(&request)?;
        let asked = request.into_inner();
        let found = async {
            let digest = <[u8; 32]>::try_from(asked.request.as_slice())
                .map_err(|_| Error::malformed("a request's digest is 32 bytes"))?;
            let ticket = match asked.nonce.is_empty() {
                true => None,
                false => Some((AgreementId::parse(&asked.agreement)?, asked.nonce)),
            };
            self.node.settled_receipt(&peer, &Digest::from_bytes(digest), ticket).await
        };
        let receipt = found.await.map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetReceiptResponse { receipt: Some(convert::receipt_to_wire(receipt)) }))
    }
    async fn get_held_receipt(
        &self,
        request: Request<pb::GetHeldReceiptRequest>,
    ) -> Result<Response<pb::GetHeldReceiptResponse>, Status> {
        let peer = self.caller(&request)?;
        let found = AgreementId::parse(&request.get_ref().agreement).and_then(|id| self.node.held_receipt(&peer, &id));
        let receipt = found.map_err(|e| to_status(&e))?.map(convert::receipt_to_wire);
        Ok(Response::new(pb::GetHeldReceiptResponse { receipt }))
    }
}

fn no_authority() -> Status {
    to_status(&Error::new(ErrorCode::NotFound, "this participant is not the data space's authority"))
}

#[tonic::async_trait]
impl RegisterService for Services {
    async fn get_register(
        &self,
        request: Request<pb::GetRegisterRequest>,
    ) -> Result<Response<pb::GetRegisterResponse>, Status> {
        peer_of(&request)?;
        let authority = self.authority.as_ref().ok_or_else(no_authority)?;
        let register = authority.signed().map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::GetRegisterResponse { register }))
    }

    type WatchRegisterStream = std::pin::Pin<Box<dyn Stream<Item = Result<pb::WatchRegisterResponse, Status>> + Send>>;

    async fn watch_register(
        &self,
        request: Request<pb::WatchRegisterRequest>,
    ) -> Result<Response<Self::WatchRegisterStream>, Status> {
        // A suspended member too: it has to learn that it is, and that others are.
        peer_of(&request)?;
        let authority = self.authority.clone().ok_or_else(no_authority)?;
        let changes = authority.changes();
        let stream =
            futures::stream::unfold((authority, changes, true), |(authority, mut changes, first)| async move {
                if !first && changes.changed().await.is_err() {
                    return None;
                }
                changes.borrow_and_update();
                let answer = authority
                    .signed()
                    .map(|register| pb::WatchRegisterResponse { register })
                    .map_err(|e| to_status(&e));
                Some((answer, (authority, changes, false)))
            });
        Ok(Response::new(Box::pin(stream.take_until(self.stop.clone().cancelled_owned()))))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let peer = self.caller(&request)?;
        let authority = self.authority.as_ref().ok_or_else(no_authority)?;
        let certificate =
            authority.renew(&peer, &request.get_ref().renewal, self.node.now()).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::RenewResponse { certificate }))
    }

    async fn succeed(&self, request: Request<pb::SucceedRequest>) -> Result<Response<pb::SucceedResponse>, Status> {
        let peer = self.caller(&request)?;
        let authority = self.authority.as_ref().ok_or_else(no_authority)?;
        let succeeded = self.node.succeed_of(authority, &peer, &request.get_ref().succession);
        let register = succeeded.and_then(|()| authority.signed()).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::SucceedResponse { register }))
    }

    async fn change_key(
        &self,
        request: Request<pb::ChangeKeyRequest>,
    ) -> Result<Response<pb::ChangeKeyResponse>, Status> {
        let peer = self.caller(&request)?;
        let authority = self.authority.as_ref().ok_or_else(no_authority)?;
        let register =
            authority.change_key(&peer, &request.get_ref().change, || self.node.now()).map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::ChangeKeyResponse { register }))
    }
}
