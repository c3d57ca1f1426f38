//! The organisation's own command line, over its local socket.
//!
//! Both ends are the same program, so a command is a type of this program; who may give it is
//! decided by the policy `staff`. The owner of the directory may do all but read data.

use crate::api::errors::to_status;
use crate::api::flight::local::{uid_of, user_of};
use crate::api::grpc::services::unbroken;
use crate::api::pb;
use crate::api::pb::admin_service_server::AdminService;
use crate::connector::authority::Authority;
use crate::connector::catalogue::blocking;
use crate::connector::erasure::EraseAsked;
use crate::connector::rotation::Registrar;
use crate::connector::state::{Approval, Negotiation};
use crate::connector::streaming::Stream;
use crate::connector::users::{Credential, User, UserRole};
use crate::connector::witnessing::Asked;
use crate::connector::{FolderScope, Node, Question};
use crate::export::Format;
use crate::settings::Listen;
use crate::source::SourceFile;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use perron_model::agreement::LegalBasis;
use perron_model::collection::{CollectionName, Members};
use perron_model::dataset::Dataset;
use perron_model::id::{FactName, UserName};
use perron_model::life::FactValue;
use perron_model::limits::AUDIT_ENTRIES_MAX;
use perron_model::participant::{KeyUse, Status};
use perron_model::partner::PartnerLimits;
use perron_model::retention::Activity;
use perron_model::{AgreementId, DatasetId, Digest, Error, ErrorCode, ParticipantId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response};

/// Longest wait of `negotiation wait`, in seconds.
const WAIT_S_MAX: u64 = 600;

/// A command of the local command line. Those without fields are written with braces: as units
/// they would take unknown fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// What runs here.
    Status {},
    /// Adds a user, or replaces the grants of one.
    UserAdd {
        name: UserName,
        roles: Vec<UserRole>,
        purposes: Vec<String>,
        agreements: Vec<AgreementId>,
        credential: Credential,
    },
    /// All users.
    UserList {},
    /// Who a pseudonym of the log is.
    UserResolve { pseudonym: String, reason: String },
    /// Publishes a set.
    DatasetAdd { dataset: Box<Dataset>, source: SourceFile },
    /// Appends to a set, or replaces its rows.
    DatasetUpdate { id: DatasetId, source: SourceFile, replace: bool },
    /// Takes a set back.
    DatasetWithdraw { id: DatasetId },
    /// All sets published here.
    DatasetList {},
    /// Publishes an offer.
    OfferAdd {
        id: DatasetId,
        dataset: DatasetId,
        policy: Json,
        legal_basis: LegalBasis,
        approval: Approval,
        consumer: Option<ParticipantId>,
    },
    /// All offers published here.
    OfferList {},
    /// What another participant shows us.
    Catalogue { of: ParticipantId, filter: String },
    /// Asks for an offer, as published or with another policy.
    NegotiationRequest { provider: ParticipantId, offer: DatasetId, policy: Option<Json> },
    /// Negotiations; or those that wait for a person here.
    NegotiationList { waiting: bool },
    /// Waits until a negotiation has ended or waits for a person here.
    NegotiationWait { pid: String, seconds: u64 },
    /// Approves what waits, if it is the policy that was shown (the digest of its canonical bytes).
    NegotiationApprove { pid: String, shown: Digest },
    /// Refuses what waits.
    NegotiationRefuse { pid: String, reason: String },
    /// Puts another policy on the table.
    NegotiationCounter { pid: String, policy: Json },
    /// Agreements in force.
    AgreementList {},
    /// An agreement's envelope.
    AgreementShow { id: AgreementId },
    /// What became of an agreement.
    AgreementHistory { id: AgreementId },
    /// Suspends an agreement.
    AgreementSuspend { id: AgreementId, reason: String },
    /// Proposes to resume it, or confirms that the other side proposed it.
    AgreementResume { id: AgreementId },
    /// Refuses what the other side proposed.
    AgreementRefuse { id: AgreementId, reason: String },
    /// Revokes an agreement.
    AgreementRevoke { id: AgreementId, reason: String },
    /// Puts another policy of an agreement on the table.
    AgreementAmend { id: AgreementId, policy: Json },
    /// Duties of an agreement.
    AgreementDuties { id: AgreementId },
    /// Tells that a duty was fulfilled.
    AgreementFulfil { id: AgreementId, duty: String, evidence: String, file: Option<Digest> },
    /// Declares what holds.
    FactSet { name: FactName, value: FactValue },
    /// Facts declared here, and those that partners told.
    FactList {},
    /// Declares who or what belongs to a collection.
    CollectionSet { name: CollectionName, members: Members },
    /// Collections declared here.
    CollectionList {},
    /// Entries of the log that answer a question.
    AuditList { question: Box<Question>, from: u64, count: usize, opened: bool },
    /// Erases sealed values.
    AuditErase { asked: Box<EraseAsked> },
    /// Who read here, for what, on what ground.
    AuditWho { question: Box<Question> },
    /// One read as one file.
    AuditReceipt { index: u64, generation: Option<u64> },
    /// Gives the other party of an agreement its chain.
    AuditExtract { agreement: AgreementId },
    /// A page of what was given: entries from `from` on, with proofs in the tree of `size` entries.
    AuditExtractPage { agreement: AgreementId, end: u64, size: u64, from: u64 },
    /// Matches the chains of agreements with a partner's now.
    AuditReconcile { with: ParticipantId, agreement: Option<AgreementId> },
    /// What came of matching each agreement's chain.
    AuditReconciliations {},
    /// What an auditor's folder is made of.
    AuditFolder { scope: FolderScope },
    /// A piece of a file of the copy in it, base64; `given` is the folder's own entry.
    AuditEvidence { given: u64, path: String, offset: u64, length: usize },
    /// Begins an export.
    AuditExport { format: Format, question: Box<Question>, from: u64 },
    /// A page of the export that began by an entry.
    AuditExportPage { entry: u64, from: u64 },
    /// Agreements that the export is about.
    AuditExportAgreements { entry: u64, after: usize },
    /// Who cosigned the log, how far, when.
    AuditWitnesses {},
    /// Exchanges checkpoints with a participant now.
    AuditExchange { with: ParticipantId },
    /// Prunes what the retention rule allows, or tells what that is.
    AuditPrune { dry_run: bool },
    /// Signs a retention rule and puts it in force.
    RetentionSet { default_days: Option<u32>, activities: BTreeMap<Activity, u32> },
    /// The retention rule in force.
    RetentionShow {},
    /// Enrols a participant (authority).
    AuthorityEnrol { request: String },
    /// Suspends, revokes or reinstates a participant (authority).
    AuthorityStatus { participant: ParticipantId, status: Status },
    /// Members of the register.
    AuthorityList {},
    /// Puts the key of a lost one's successor into the register (authority).
    AuthorityReplaceKey { participant: ParticipantId, request: String, overlap_s: i64 },
    /// This organisation's signing keys.
    KeyList {},
    /// Puts a new key in the place of the one in force.
    KeyRotate { key_use: KeyUse, overlap_s: i64 },
    /// Limits a partner, in place of what limited it before.
    PartnerLimit { partner: ParticipantId, limits: PartnerLimits },
    /// Gives a partner extracts over the wire, or none any more.
    PartnerExtracts { partner: ParticipantId, allowed: bool },
    /// Partners, their limits and what they use.
    PartnerList {},
    /// What a copy of the log may hold now.
    Backup {},
}

impl Command {
    /// The action that the policy `staff` decides about.
    const fn action(&self) -> &'static str {
        match self {
            Command::Status {} => "status",
            // Both acts of an operator.
            Command::UserAdd { .. } | Command::UserList {} => "user.add",
            Command::UserResolve { .. } => "user.resolve",
            // Both say what a partner gets.
            Command::PartnerLimit { .. } | Command::PartnerExtracts { .. } => "partner.limit",
            Command::PartnerList {} => "partner.list",
            Command::DatasetAdd { .. } => "dataset.add",
            Command::DatasetUpdate { .. } => "dataset.update",
            Command::DatasetWithdraw { .. } => "dataset.withdraw",
            Command::OfferAdd { .. } => "offer.add",
            Command::DatasetList {} | Command::OfferList {} | Command::Catalogue { .. } => "catalogue.show",
            Command::NegotiationRequest { .. } | Command::NegotiationCounter { .. } => "negotiation.request",
            Command::NegotiationList { .. } | Command::NegotiationWait { .. } => "negotiation.show",
            Command::NegotiationApprove { .. } => "negotiation.approve",
            Command::NegotiationRefuse { .. } => "negotiation.refuse",
            Command::AgreementList {}
            | Command::AgreementShow { .. }
            | Command::AgreementHistory { .. }
            | Command::AgreementDuties { .. } => "agreement.show",
            Command::AgreementFulfil { .. } => "agreement.fulfil",
            Command::FactSet { .. } => "fact.set",
            Command::FactList {} => "fact.list",
            Command::CollectionSet { .. } => "collection.set",
            Command::CollectionList {} => "collection.list",
            Command::AgreementSuspend { .. } => "agreement.suspend",
            Command::AgreementResume { .. } | Command::AgreementRefuse { .. } => "agreement.resume",
            Command::AgreementRevoke { .. } => "agreement.revoke",
            Command::AgreementAmend { .. } => "agreement.amend",
            Command::AuditList { opened: true, .. } => "audit.open",
            Command::AuditErase { .. } => "audit.erase",
            Command::AuditList { .. }
            | Command::AuditWho { .. }
            | Command::AuditReceipt { .. }
            | Command::AuditExtract { .. }
            | Command::AuditExtractPage { .. }
            | Command::AuditReconcile { .. }
            | Command::AuditReconciliations {}
            | Command::AuditFolder { .. }
            | Command::AuditEvidence { .. }
            | Command::AuditWitnesses {}
            | Command::AuditExchange { .. } => "audit.read",
            Command::AuditExport { .. } | Command::AuditExportPage { .. } | Command::AuditExportAgreements { .. } => {
                "audit.export"
            }
            Command::AuditPrune { .. } => "audit.prune",
            Command::RetentionSet { .. } => "retention.set",
            Command::RetentionShow {} => "retention.show",
            Command::AuthorityEnrol { .. } | Command::AuthorityStatus { .. } | Command::AuthorityReplaceKey { .. } => {
                "authority.change"
            }
            Command::KeyList {} => "key.list",
            Command::KeyRotate { .. } => "key.rotate",
            Command::AuthorityList {} => "status",
            // No role gives it: the owner's alone.
            Command::Backup {} => "backup",
        }
    }
}

/// The service.
pub struct Admin {
    /// The organisation.
    pub node: Arc<Node>,
    /// The authority, in its own process.
    pub authority: Option<Arc<Authority>>,
    /// User id of the directory's owner.
    pub owner: u32,
    /// Addresses that the process listens on.
    pub listen: Listen,
    /// Where the log and the witness are served over HTTPS, if they are.
    pub http: Option<SocketAddr>,
    /// The stream of the log's entries, where the configuration names a collector.
    pub stream: Option<Arc<Stream>>,
    /// The witnesses that are asked for cosignatures.
    pub asked: Arc<Asked>,
    /// Who changes this organisation's keys in the register.
    pub registrar: Option<Arc<dyn Registrar>>,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn execute(
        &self,
        request: Request<pb::ExecuteRequest>,
    ) -> Result<Response<pb::ExecuteResponse>, tonic::Status> {
        let command: Command = serde_json::from_slice(&request.get_ref().command)
            .map_err(|e| to_status(&Error::malformed(format!("not a command: {e}"))))?;
        let by_token = request.metadata().contains_key("authorization");
        let actor = if !by_token && uid_of(&request).is_some_and(|uid| uid == self.owner) {
            "operator".to_owned()
        } else {
            let user = user_of(&self.node, &request)?;
            self.node.require_staff(&user, command.action(), None).await.map_err(|e| to_status(&e))?;
            self.node.pseudonym_of(&user).map_err(|e| to_status(&e))?
        };
        let answer = self.execute_as(&actor, command).await.map_err(|e| to_status(&e))?;
        let answer = serde_json::to_vec(&answer)
            .map_err(|_| to_status(&Error::new(ErrorCode::Internal, "an answer can't be written")))?;
        Ok(Response::new(pb::ExecuteResponse { answer }))
    }
}

impl Admin {
    async fn execute_as(&self, actor: &str, command: Command) -> Result<Json> {
        let node = &self.node;
        match command {
            Command::Status {} => self.status(),
            Command::UserAdd { name, roles, purposes, agreements, credential } => {
                let user = User { name, roles, purposes, agreements, credential, pseudonyms: BTreeMap::new() };
                node.add_user(actor, user).await.map(|()| json!({}))
            }
            Command::UserList {} => Ok(node.user_list()),
            Command::UserResolve { pseudonym, reason } => node.resolve_user(actor, &pseudonym, &reason).await,
            Command::DatasetAdd { dataset, source } => {
                node.add_dataset(actor, *dataset, source).await.and_then(to_json)
            }
            Command::DatasetUpdate { id, source, replace } => {
                node.update_dataset(actor, id, source, replace).await.and_then(to_json)
            }
            Command::DatasetWithdraw { id } => node.withdraw_dataset(actor, &id).await.map(|()| json!({})),
            Command::DatasetList {} => to_json(node.dataset_list()),
            Command::OfferAdd { id, dataset, policy, legal_basis, approval, consumer } => {
                node.add_offer(actor, id, &dataset, policy, legal_basis, approval, consumer).await.and_then(to_json)
            }
            Command::OfferList {} => to_json(node.offer_list()),
            Command::Catalogue { of, filter } => node.catalogue_of(&of, &filter).await.and_then(to_json),
            Command::NegotiationRequest { provider, offer, policy } => self.request(&provider, &offer, policy).await,
            Command::NegotiationList { waiting } => {
                Ok(Json::Array(node.negotiation_list(waiting)?.iter().map(negotiation).collect()))
            }
            Command::NegotiationWait { pid, seconds } => self.wait(&pid, seconds).await,
            Command::NegotiationApprove { pid, shown } => node.approve(&pid, shown, actor).await.map(|()| json!({})),
            Command::NegotiationRefuse { pid, reason } => node.refuse(&pid, reason, actor).await.map(|()| json!({})),
            Command::NegotiationCounter { pid, policy } => node.counter(&pid, policy, actor).await.map(|()| json!({})),
            Command::AgreementList {} => node.agreement_list(),
            Command::AgreementShow { id } => node.envelope(&id).and_then(to_json),
            Command::AgreementHistory { id } => node.agreement_history(&id),
            Command::AgreementDuties { id } => node.duty_list(&id),
            Command::AgreementSuspend { .. }
            | Command::AgreementResume { .. }
            | Command::AgreementRefuse { .. }
            | Command::AgreementRevoke { .. }
            | Command::AgreementAmend { .. }
            | Command::AgreementFulfil { .. }
            | Command::FactSet { .. }
            | Command::CollectionSet { .. } => {
                let (node, actor) = (node.clone(), actor.to_owned());
                // In a task of its own: who goes away must not leave a notice in the middle.
                unbroken(async move { change_agreement(&node, &actor, command).await }).await
            }
            Command::FactList {} => Ok(node.fact_list()),
            Command::CollectionList {} => Ok(node.collection_list()),
            Command::AuditList { question, from, count, opened } => {
                node.audit_list(actor, &question, from, count.min(AUDIT_ENTRIES_MAX), opened).await
            }
            Command::AuditErase { asked } => {
                let (node, actor) = (node.clone(), actor.to_owned());
                // In a task of its own: who goes away must not leave it in the middle.
                unbroken(async move { node.erase(&actor, *asked).await.and_then(to_json) }).await
            }
            Command::AuditWho { question } => node.audit_who(actor, *question).await.and_then(to_json),
            Command::AuditReceipt { index, generation } => node.audit_receipt(actor, index, generation).await,
            Command::AuditExtract { agreement } => node.begin_extract(actor, &agreement).await.and_then(to_json),
            Command::AuditExtractPage { agreement, end, size, from } => {
                node.extract_page(agreement, end, size, from).await.and_then(to_json)
            }
            Command::AuditReconcile { with, agreement } => {
                let node = node.clone();
                // In a task of its own: what a partner gave is kept and written, whoever waits for it.
                unbroken(async move { node.reconcile_with(&with, agreement).await.and_then(to_json) }).await
            }
            Command::AuditReconciliations {} => Ok(node.reconciliation_list()),
            Command::AuditFolder { scope } => {
                let (node, actor) = (node.clone(), actor.to_owned());
                unbroken(async move { node.audit_folder(scope, &actor).await.and_then(to_json) }).await
            }
            Command::AuditEvidence { given, path, offset, length } => {
                let (node, actor) = (node.clone(), actor.to_owned());
                let piece = blocking(move || node.audit_evidence(&actor, given, &path, offset, length)).await?;
                Ok(json!({ "bytes": STANDARD.encode(piece) }))
            }
            Command::AuditExport { format, question, from } => {
                node.export_begin(actor, format, *question, from).await.and_then(to_json)
            }
            Command::AuditExportPage { entry, from } => node.export_page(actor, entry, from).await.and_then(to_json),
            Command::AuditExportAgreements { entry, after } => {
                node.export_agreements(actor, entry, after).await.and_then(to_json)
            }
            Command::AuditWitnesses {} => {
                let (node, asked) = (node.clone(), self.asked.clone());
                blocking(move || node.witness_report(&asked)).await
            }
            Command::AuditExchange { with } => node.exchange_heads(&with).await.map(|()| json!({})),
            Command::AuditPrune { dry_run } => {
                let (node, actor) = (node.clone(), actor.to_owned());
                // In a task of its own: who goes away must not leave a pruning in the middle.
                unbroken(async move { node.prune(&actor, dry_run).await }).await
            }
            Command::RetentionSet { default_days, activities } => {
                node.set_retention(actor, default_days, activities).await
            }
            Command::RetentionShow {} => node.retention(),
            Command::AuthorityEnrol { request } => {
                let answer = self.authority()?.enrol(&request, node.now())?;
                node.administer("authority.enrol", actor, request.into_bytes()).await?;
                to_json(answer)
            }
            Command::AuthorityStatus { participant, status } => {
                self.authority()?.set_status(&participant, status, node.now())?;
                node.administer(
                    "authority.status",
                    actor,
                    perron_model::canonical::to_bytes(&json!({"participant": participant, "status": status}))?,
                )
                .await?;
                Ok(json!({}))
            }
            Command::AuthorityReplaceKey { participant, request, overlap_s } => {
                self.replace_key(actor, participant, request, overlap_s).await
            }
            Command::AuthorityList {} => Ok(node.register_list()),
            Command::KeyList {} => Ok(node.key_list()),
            Command::KeyRotate { key_use, overlap_s } => {
                let no_authority = || Error::new(ErrorCode::ConfigInvalid, "no authority is configured");
                let registrar = self.registrar.clone().ok_or_else(no_authority)?;
                let (node, actor) = (node.clone(), actor.to_owned());
                // In a task of its own: who goes away must not leave a change in the middle.
                unbroken(async move { node.rotate_key(key_use, overlap_s, &*registrar, &actor).await }).await
            }
            Command::PartnerLimit { partner, limits } => {
                node.limit_partner(actor, partner, limits).await.map(|()| json!({}))
            }
            Command::PartnerExtracts { partner, allowed } => {
                node.set_extracts(actor, partner, allowed).await.map(|()| json!({}))
            }
            Command::PartnerList {} => Ok(node.partner_list()),
            Command::Backup {} => node.backup_extent(actor).await.and_then(to_json),
        }
    }

    async fn replace_key(
        &self,
        actor: &str,
        participant: ParticipantId,
        request: String,
        overlap_s: i64,
    ) -> Result<Json> {
        let kid = self.authority()?.replace_key(&participant, &request, overlap_s, || self.node.now())?;
        self.node.administer("authority.replace-key", actor, request.into_bytes()).await?;
        Ok(json!({"participant": participant, "key": kid}))
    }

    fn authority(&self) -> Result<&Arc<Authority>> {
        self.authority
            .as_ref()
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "this directory is not a data space's authority"))
    }

    fn status(&self) -> Result<Json> {
        let reader = self.node.ledger().reader();
        let (version, until, age) = self.node.register_age();
        let mut listen = to_json(&self.listen)?;
        if let (Some(addresses), Some(http)) = (listen.as_object_mut(), self.http) {
            addresses.insert("http".to_owned(), to_json(http)?);
        }
        Ok(json!({
            "participant": self.node.me(),
            "origin": self.node.ledger().origin(),
            "entries": reader.size(),
            "published": reader.published_size(),
            "scrubbed": self.node.scrubbed(),
            "register": {"version": version, "use_before": until, "age": age},
            "newest": self.node.newest_entry()?,
            "listen": listen,
            "authority": self.authority.is_some(),
            "reconciliations": self.node.reconciliation_status(),
            "stream": self.stream.as_ref().map(|stream| stream.status(reader.size())),
            "witnesses": self.asked.status(),
            "version": env!("CARGO_PKG_VERSION"),
        }))
    }

    async fn request(&self, provider: &ParticipantId, offer: &DatasetId, policy: Option<Json>) -> Result<Json> {
        let items = self.node.catalogue_of(provider, "").await?;
        let mut found = items
            .into_iter()
            .flat_map(|i| i.offers)
            .find(|o| o.id == *offer)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("`{provider}` shows no offer `{offer}`")))?;
        if let Some(policy) = policy {
            found.policy = policy;
        }
        let pid = self.node.request(provider, found).await?;
        Ok(json!({ "negotiation": pid }))
    }

    /// Follows the changes of the state, so that nothing is polled.
    async fn wait(&self, pid: &str, seconds: u64) -> Result<Json> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds.min(WAIT_S_MAX));
        let mut changes = self.node.state_changes();
        loop {
            changes.borrow_and_update();
            let (found, waiting) = self
                .node
                .negotiation_found(pid)?
                .ok_or_else(|| Error::new(ErrorCode::NotFound, "no negotiation of this number"))?;
            let settled = found.state.is_terminal()
                && (found.outgoing.is_none() || found.state == perron_model::negotiation::State::Finalized);
            if settled || waiting {
                return Ok(negotiation(&found));
            }
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => {
                    return Err(Error::new(
                        ErrorCode::DeadlineExceeded,
                        format!("the negotiation is still in {}", found.state),
                    ));
                }
            }
        }
    }
}

/// What ends, halts or changes an agreement, or what it depends on.
async fn change_agreement(node: &Node, actor: &str, command: Command) -> Result<Json> {
    let standing = match command {
        Command::AgreementSuspend { id, reason } => node.suspend(&id, reason, actor).await?,
        Command::AgreementRefuse { id, reason } => node.refuse_to_resume(&id, reason, actor).await?,
        Command::AgreementRevoke { id, reason } => node.revoke(&id, reason, actor).await?,
        Command::AgreementResume { id } => {
            let (done, standing) = node.resume(&id, actor).await?;
            return Ok(json!({ "resume": done, "standing": standing }));
        }
        Command::AgreementAmend { id, policy } => {
            let pid = node.amend(&id, policy, actor).await?;
            return Ok(json!({ "negotiation": pid }));
        }
        Command::AgreementFulfil { id, duty, evidence, file } => {
            node.fulfil(&id, duty, evidence, file, actor).await?;
            return Ok(json!({}));
        }
        Command::FactSet { name, value } => {
            node.set_fact(name, value, actor).await?;
            return Ok(json!({}));
        }
        Command::CollectionSet { name, members } => {
            node.set_collection(name, members, actor).await?;
            return Ok(json!({}));
        }
        _ => return Err(Error::new(ErrorCode::Internal, "not a change of an agreement")),
    };
    Ok(json!({ "standing": standing }))
}

fn negotiation(n: &Negotiation) -> Json {
    let agreement: Option<Digest> =
        n.agreement.as_ref().and_then(|a| crate::connector::state::payload_of(a).ok()).and_then(|p| p.id().ok());
    json!({
        "negotiation": n.pid,
        "side": n.side,
        "with": n.counterparty,
        "state": n.state,
        "offer": n.offer,
        "offered_by": n.offered_by,
        "agreement": agreement,
        "reason": n.reason,
        "undelivered": n.outgoing.is_some(),
        "changed": n.changed,
    })
}

fn to_json<T: Serialize>(value: T) -> Result<Json> {
    serde_json::to_value(value).map_err(|_| Error::new(ErrorCode::Internal, "an answer can't be written"))
}
