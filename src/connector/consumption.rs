//! Reads at the consumer: who of ours asks, the signed request, the intent.

use crate::connector::node::Node;
use crate::connector::peers::{OutgoingRead, WireMessage};
use crate::connector::receiving::{Receiving, Sent};
use crate::connector::state::KeptAgreement;
use crate::connector::users::User;
use crate::ledger::{Draft, random_16};
use crate::trust::jws;
use bytes::Bytes;
use futures::stream::BoxStream;
use perron_model::decision::{StaffInput, Verdict};
use perron_model::entry::{AttachmentKind, Body, Intent, StaffRefusal};
use perron_model::id::UserName;
use perron_model::limits::{STATEMENT_BYTES_MAX, UNACKNOWLEDGED_MAX};
use perron_model::negotiation::Side;
use perron_model::participant::KeyUse;
use perron_model::policy::odrl;
use perron_model::request::{REQUEST_TYP, ReadRequest, claims_of};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, TraceId, canonical};
use std::sync::Arc;

/// A statement that a user wants to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For which purpose: a DPV IRI.
    pub purpose: String,
    /// SQL.
    pub statement: String,
    /// The trace that the user's tool began.
    pub trace: Option<TraceId>,
}

/// A statement that was planned at the provider.
#[derive(Clone, Debug)]
pub struct PlannedRead {
    /// What is wanted.
    pub wanted: Wanted,
    /// The provider's nonce.
    pub nonce: String,
    /// Arrow schema of the answer, as an IPC message.
    pub schema: Bytes,
}

/// The action that a query is.
const READ_ACTION: &str = "http://www.w3.org/ns/odrl/2/read";

impl Node {
    /// May this user of ours do this? A refusal is logged.
    pub async fn require_staff(&self, user: &User, action: &str, wanted: Option<&Wanted>) -> Result<()> {
        let input = StaffInput {
            roles: roles_of(user),
            action: action.to_owned(),
            agreement: wanted.map(|w| w.agreement),
            purpose: wanted.map(|w| w.purpose.clone()),
            // A grant goes on for what an agreement was amended to.
            granted_agreements: self.state.with_later_versions(&user.agreements),
            granted_purposes: user.purposes.clone(),
        };
        let reasons = match self.policies.staff(&input).await {
            Ok(Verdict::Permit) => return Ok(()),
            Ok(Verdict::Refuse(reasons)) => reasons,
            Err(_) => Vec::new(),
        };
        let code = reasons.first().map_or(ErrorCode::EvaluationFailed, perron_model::decision::Refused::error_code);
        let pseudonym = self.users.pseudonym(&user.name, None)?;
        let body = Body::StaffRefusal(StaffRefusal {
            user: pseudonym,
            action: action.to_owned(),
            reason: code.as_str().to_owned(),
            purpose: wanted.map(|w| w.purpose.clone()),
        });
        self.ledger.append(Draft::plain(body)).await?;
        Err(Error::new(code, staff_detail(code, action, wanted)))
    }

    /// Plans a user's statement at the provider.
    pub async fn plan_for(&self, user: &User, wanted: Wanted) -> Result<PlannedRead> {
        if wanted.statement.len() > STATEMENT_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a statement is over {STATEMENT_BYTES_MAX} bytes")));
        }
        self.require_staff(user, "query", Some(&wanted)).await?;
        let kept = self.consumed(&wanted.agreement)?;
        let planned = self.peers.plan(&kept.payload.provider, &wanted.agreement, &wanted.statement).await?;
        Ok(PlannedRead { wanted, nonce: planned.nonce, schema: planned.schema })
    }

    /// Executes a planned statement: intent in our log, signed request, answer, receipt.
    pub async fn execute_for(
        self: &Arc<Self>,
        user: &User,
        planned: PlannedRead,
    ) -> Result<BoxStream<'static, Result<WireMessage>>> {
        self.require_staff(user, "query", Some(&planned.wanted)).await?;
        let kept = self.consumed(&planned.wanted.agreement)?;
        let provider = self.in_force(&kept.payload.provider)?;
        let pseudonym = self.introduced(&user.name, &provider.id).await?;
        let (request, salt) = self.sign_request(user, pseudonym.clone(), &planned, &kept)?;
        let digest = Digest::of(request.as_bytes());
        let intent = Intent {
            request: digest,
            user: pseudonym,
            purpose: planned.wanted.purpose,
            provider: provider.id.to_string(),
            sealed: None,
        };
        let sent = Sent { request, digest, agreement: kept.id, nonce: planned.nonce, provider };
        let (node, statement, name) = (self.clone(), planned.wanted.statement, user.name.clone());
        // In a task of its own: a user who goes away must not leave an intent that nobody follows.
        tokio::spawn(async move { node.send(sent, &name, intent, statement, salt).await })
            .await
            .map_err(|_| Error::new(ErrorCode::Internal, "a read ended unexpectedly"))?
    }

    async fn send(
        self: Arc<Self>,
        sent: Sent,
        user: &UserName,
        mut intent: Intent,
        statement: String,
        salt: [u8; 16],
    ) -> Result<BoxStream<'static, Result<WireMessage>>> {
        let sealing = self.begin_sealing().await?;
        // An erasure that began before waits for this read, or this read isn't made.
        self.users.require_staying(user, &intent.user)?;
        let sealed = sealing.statement(&salt, &statement)?;
        intent.sealed = Some(sealed.digest);
        let attachments =
            vec![(AttachmentKind::Request, sent.request.clone().into_bytes()), (AttachmentKind::Sealed, sealed.bytes)];
        let (chain, trace) = (Some(sent.agreement), claims_of(&sent.request).ok().and_then(|claims| claims.trace));
        let draft = Draft { body: Body::Intent(intent), chain, trace, attachments };
        let recorded = self.ledger.append(draft).await?;
        drop(sealing);
        // From here on the read has an end in our log, whatever happens to this task.
        let (provider, request) = (sent.provider.clone(), sent.request.clone());
        let receiving = Receiving::begin(self.clone(), sent);
        let outgoing = OutgoingRead {
            request,
            statement,
            salt,
            intent: self.leaf(recorded.index)?,
            intent_proof: self.prove(recorded.index)?.into_bytes(),
            held_size: self.kept.held(&provider.log_origin)?.map_or(0, |(c, _)| c.size),
        };
        match self.peers.read(&provider.id, outgoing).await {
            Ok(events) => Ok(receiving.relay(events)),
            Err(error) => Err(receiving.refused(error).await),
        }
    }

    fn consumed(&self, agreement: &AgreementId) -> Result<Arc<KeptAgreement>> {
        let kept = self
            .state
            .agreement(agreement)
            .filter(|a| a.side == Side::Consumer)
            .ok_or_else(|| Error::new(ErrorCode::AgreementNotInForce, "no agreement of this name is in force"))?;
        self.require_standing(agreement)?;
        Ok(kept)
    }

    fn sign_request(
        &self,
        user: &User,
        pseudonym: String,
        planned: &PlannedRead,
        kept: &KeptAgreement,
    ) -> Result<(String, [u8; 16])> {
        let salt = random_16()?;
        let held = self.state.held(&kept.id);
        let acknowledged_max = usize::try_from(UNACKNOWLEDGED_MAX).unwrap_or(usize::MAX);
        let request = ReadRequest {
            id: uuid::Uuid::now_v7().to_string(),
            issuer: self.me.clone(),
            provider: kept.payload.provider.clone(),
            agreement: kept.id,
            action: READ_ACTION.to_owned(),
            purpose: planned.wanted.purpose.clone(),
            statement: Digest::salted(&salt, planned.wanted.statement.as_bytes()),
            user: pseudonym,
            grant: Digest::salted(&salt, user.name.as_str().as_bytes()).short(),
            nonce: planned.nonce.clone(),
            time: self.now(),
            trace: planned.wanted.trace,
            roles: odrl::asks_for_roles(&kept.payload.offer.policy).then(|| roles_of(user)),
            seen: held.seen,
            // What doesn't fit goes with the next request; a provider waits for so many at the most.
            acknowledged: held.unacknowledged.into_iter().take(acknowledged_max).collect(),
        };
        let key = self.keys.signing_key(KeyUse::Request, request.time)?;
        let signed = jws::sign_compact(&key, REQUEST_TYP, &canonical::to_bytes(&request)?)?;
        Ok((signed, salt))
    }
}

fn roles_of(user: &User) -> Vec<String> {
    user.roles.iter().map(|r| r.as_str().to_owned()).collect()
}

fn staff_detail(code: ErrorCode, action: &str, wanted: Option<&Wanted>) -> String {
    match (code, wanted) {
        (ErrorCode::PurposeNotGranted, Some(w)) => format!(
            "the purpose `{}` isn't one that this user was granted",
            w.purpose.chars().take(200).collect::<String>()
        ),
        (ErrorCode::AgreementNotGranted, Some(w)) => {
            format!("the agreement {} isn't one that this user was granted", w.agreement.short())
        }
        _ => format!("this user's roles don't allow `{action}`"),
    }
}
