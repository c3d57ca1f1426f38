//! Reads at the provider: plan under a schema grant, execute under an access grant.

use crate::connector::node::Node;
use crate::connector::partners::Place;
use crate::connector::peers::ReceiptParts;
use crate::connector::rotation::require_signed_in_time;
use crate::connector::tally::Tally;
use crate::connector::witness::log_verifiers;
use crate::ledger::{Draft, random_16, unreadable};
use crate::query::RowStream;
use crate::query::arrow::datatypes::SchemaRef;
use crate::trust::jws;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_gate::{AccessGrant, Denied, Ground, Stop, VerifiedRequest};
use perron_log::TlogProof;
use perron_log::merkle::leaf_hash;
use perron_model::entry::{Body, Decision, Entry, Outcome, OutcomeStatus, PlanRefusal, SchemaGrant};
use perron_model::limits::{ID_BYTES_MAX, REQUEST_BYTES_MAX, ROLES_MAX};
use perron_model::participant::{KeyUse, Participant};
use perron_model::policy::View;
use perron_model::request::{Beside, REQUEST_TYP, ReadRequest};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
use std::sync::{Arc, Mutex, PoisonError};

/// A read as it came in.
#[derive(Clone, Debug)]
pub struct IncomingRead {
    /// Compact JWS of the request.
    pub request: String,
    /// The statement.
    pub statement: String,
    /// Salt of its commitment.
    pub salt: Vec<u8>,
    /// Leaf of the consumer's intent.
    pub intent: Vec<u8>,
    /// Its tlog-proof.
    pub intent_proof: Vec<u8>,
    /// Size of this log of which the consumer holds a checkpoint.
    pub held_size: u64,
}

/// Grants that run, with the signals that end them.
#[derive(Debug, Default)]
pub struct Running(Mutex<Vec<RunningRead>>);

/// A grant that runs.
#[derive(Debug)]
struct RunningRead {
    consumer: ParticipantId,
    agreement: AgreementId,
    until: Option<Timestamp>,
    ground: Option<Ground>,
    stop: Stop,
}

impl Running {
    fn add(&self, grant: &AccessGrant) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(RunningRead {
            consumer: grant.consumer().clone(),
            agreement: grant.agreement(),
            until: grant.until(),
            ground: grant.ground().cloned(),
            stop: grant.stop().clone(),
        });
    }
    fn remove(&self, stop: &Stop) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|r| !r.stop.is(stop));
    }
    /// Ends the grants whose agreement's window is over at `now`, and those for whose consumer and
    /// agreement `standing` gives a reason.
    pub fn end(&self, now: Timestamp, standing: impl Fn(&ParticipantId, &AgreementId) -> Option<ErrorCode>) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for read in running.iter() {
            let over = read.until.is_some_and(|until| until <= now).then_some(ErrorCode::AgreementExpired);
            if let Some(reason) = standing(&read.consumer, &read.agreement).or(over) {
                read.stop.stop(reason);
            }
        }
    }
    /// What has to be looked at again of the grants that run, each with the signal that ends it.
    pub fn grounds(&self) -> Vec<(Ground, Stop)> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let not_ended = running.iter().filter(|r| r.stop.reason().is_none());
        not_ended.filter_map(|r| r.ground.clone().map(|ground| (ground, r.stop.clone()))).collect()
    }
    /// Does any grant run?
    pub fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A permitted read that runs.
pub struct Serving {
    grant: AccessGrant,
    request: Digest,
    /// Schema of the answer.
    pub schema: SchemaRef,
    /// The rows; taken once.
    pub rows: Option<RowStream>,
    /// The partner's place, held until the read has ended.
    pub place: Place,
}

impl Serving {
    /// Bytes that may leave, where the policy counts volume.
    pub fn reserved(&self) -> Option<u64> {
        self.grant.reserved()
    }
    /// The signal that ends the read.
    pub fn stop(&self) -> &Stop {
        self.grant.stop()
    }
}

impl Node {
    /// Plans a statement for a peer: no row is read. The schema grant is logged once an hour.
    pub async fn plan(
        &self,
        peer: &ParticipantId,
        agreement: &AgreementId,
        statement: &str,
    ) -> Result<(SchemaRef, String), Denied> {
        let grant = self.gate.admit_schema(peer, agreement)?;
        let now = self.now();
        let _place = self.place_for(peer, Digest::salted(&random_16()?, statement.as_bytes()), now)?;
        let hour = u64::try_from(now.millis() / 3_600_000).unwrap_or(0);
        let this_hour = (peer.clone(), *agreement, hour);
        let first = {
            let mut known = self.schema_grants.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|(_, _, h)| *h == hour);
            !known.contains(&this_hour)
        };
        if first {
            let body = Body::SchemaGrant(SchemaGrant { peer: peer.to_string(), hour });
            self.ledger.append(Draft { body, chain: Some(*agreement), trace: None, attachments: Vec::new() }).await?;
            // Known only once it is durable: one that couldn't be logged is tried again.
            self.schema_grants.lock().unwrap_or_else(PoisonError::into_inner).insert(this_hour);
        }
        if let View::Aggregates(_) = grant.view().as_ref()
            && let Err(error) = self.release_if_new(agreement).await
        {
            return Err(self.refuse_plan(peer, agreement, statement, error).await);
        }
        let schema = match self.engine.schema(&grant, statement).await {
            Ok(schema) => schema,
            Err(error) => return Err(self.refuse_plan(peer, agreement, statement, error).await),
        };
        let nonce = self.ledger.nonces().issue(peer, *agreement, now)?;
        Ok((schema, nonce))
    }

    /// A statement that asks for what the view doesn't give is logged like any refusal, within
    /// the same rates; one that is only mistyped, or that failed here, is not.
    async fn refuse_plan(
        &self,
        peer: &ParticipantId,
        agreement: &AgreementId,
        statement: &str,
        error: Error,
    ) -> Denied {
        let clause = match error.code {
            ErrorCode::ColumnNotGranted => "view.columns",
            ErrorCode::TableNotGranted => "dataset",
            ErrorCode::FunctionNotAllowed
            | ErrorCode::StatementNotAllowed
            | ErrorCode::ReleaseOverlap
            | ErrorCode::BudgetExhausted => "view",
            _ => return error.into(),
        };
        let now = self.now();
        let recorded = async {
            let statement = Digest::salted(&random_16()?, statement.as_bytes());
            if !perron_gate::Ledger::refusal_rate_ok(&self.ledger, peer, "", now) {
                perron_gate::Ledger::summarise(&self.ledger, peer, error.code, statement, now);
                return Ok(None);
            }
            let body = Body::PlanRefusal(PlanRefusal {
                peer: peer.to_string(),
                reason: error.code.as_str().to_owned(),
                clause: Some(clause.to_owned()),
                statement,
            });
            self.ledger
                .append(Draft { body, chain: Some(*agreement), trace: None, attachments: Vec::new() })
                .await
                .map(Some)
        };
        match recorded.await {
            Ok(recorded) => Denied { error, clause: Some(clause.to_owned()), recorded },
            Err(failure) => failure.into(),
        }
    }

    /// Decides about an execution and begins it. A permit is durable before a row is read.
    pub async fn serve(&self, peer: &ParticipantId, read: IncomingRead) -> Result<Serving, Denied> {
        let mut verified = self.verify_request(peer, &read).inspect_err(|error| {
            let now = self.now();
            perron_gate::Ledger::summarise(&self.ledger, peer, error.code, Digest::of(read.request.as_bytes()), now);
        })?;
        let request = verified.digest();
        let nonce = verified.request.nonce.clone();
        let agreement = verified.request.agreement;
        if let Err(error) = self.ledger.nonces().check(&nonce, peer, &agreement, self.now()) {
            // The same request again gets its recorded outcome by `GetReceipt`, and no rows.
            let repeated = self.state.decision_of(&request)?.is_some();
            let error = if repeated {
                Error::new(ErrorCode::RequestRepeated, "this request was answered before; its receipt can be had")
            } else {
                error
            };
            perron_gate::Ledger::summarise(&self.ledger, peer, error.code, request, self.now());
            return Err(error.into());
        }
        // Before anything is decided or charged: a partner that has no place may come again.
        let place = self.place_for(peer, request, self.now())?;
        // Held until the decision has its place in the log.
        let sealing = self.begin_sealing().await?;
        verified.sealed = Some(sealing.statement(&read.salt, &read.statement)?.bytes);
        let grant = self.gate.admit(verified).await?;
        drop(sealing);
        self.running.add(&grant);
        // What ended the agreement between the decision and now found nothing that ran.
        self.end_what_is_over();
        let agreement = grant.agreement();
        let begun = self.engine.run(&grant, &read.statement, |column| self.mask_key(&agreement, column)).await;
        match begun {
            Ok(rows) => Ok(Serving { schema: rows.schema(), rows: Some(rows), request, grant, place }),
            Err(error) => {
                let serving = Serving {
                    schema: Arc::new(crate::query::arrow::datatypes::Schema::empty()),
                    rows: None,
                    request,
                    grant,
                    place,
                };
                self.finish(&serving, &Tally::default(), OutcomeStatus::NothingLeft, Some(error.code)).await?;
                Err(error.into())
            }
        }
    }

    /// A place for the partner; that it has none is counted as a refusal.
    fn place_for(&self, peer: &ParticipantId, refused: Digest, now: Timestamp) -> Result<Place> {
        self.partners.enter(peer, now).inspect_err(|error| {
            perron_gate::Ledger::summarise(&self.ledger, peer, error.code, refused, now);
        })
    }

    /// Writes the outcome and makes the receipt.
    pub async fn finish(
        &self,
        serving: &Serving,
        tally: &Tally,
        status: OutcomeStatus,
        reason: Option<ErrorCode>,
    ) -> Result<ReceiptParts> {
        self.running.remove(serving.grant.stop());
        serving.place.settle(tally.bytes);
        let salt = self.stream_salt(&serving.request);
        let outcome = Outcome {
            decision: serving.grant.decision(),
            status: status.with(tally.rows),
            reason: reason.map(|r| r.as_str().to_owned()),
            batches: tally.batches,
            rows: tally.rows,
            bytes: tally.bytes,
            messages: tally.messages(),
            stream_root: tally.root(&salt),
            // The totals are told where the order is made.
            uses: 0,
            volume: None,
        };
        let recorded = self.ledger.outcome(serving.grant.agreement(), outcome).await?;
        let decision = self
            .state
            .decision_of(&serving.request)?
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a decision was lost"))?;
        self.receipt(decision, Some(recorded.index), salt.to_vec())
    }

    /// The receipt of a request by its digest, for who asked.
    pub fn receipt_of(&self, peer: &ParticipantId, request: &Digest) -> Result<ReceiptParts> {
        let unknown = || Error::new(ErrorCode::NotFound, "no decision about such a request");
        let index = self.state.decision_of(request)?.ok_or_else(unknown)?;
        let leaf = self.leaf(index)?;
        let entry = Entry::from_bytes(&leaf)?;
        let Body::Decision(decision) = &entry.body else { return Err(unknown()) };
        if decision.consumer != peer.as_str() || decision.request != *request {
            return Err(unknown());
        }
        let outcome = self.outcome_after(decision, &leaf)?;
        self.receipt(index, outcome, self.stream_salt(request).to_vec())
    }

    /// Where the outcome of a decision lies, of which this is the leaf; a refusal has none.
    pub(crate) fn outcome_after(&self, decision: &Decision, leaf: &[u8]) -> Result<Option<u64>> {
        if !decision.permitted {
            return Ok(None);
        }
        self.state.outcome_of(&Digest::from_bytes(leaf_hash(leaf).0))
    }

    pub(crate) fn receipt(&self, decision: u64, outcome: Option<u64>, stream_salt: Vec<u8>) -> Result<ReceiptParts> {
        let (outcome_leaf, outcome_proof) = match outcome {
            Some(index) => (self.leaf(index)?, self.prove(index)?.into_bytes()),
            None => (Vec::new(), Vec::new()),
        };
        Ok(ReceiptParts {
            decision: self.leaf(decision)?,
            outcome: outcome_leaf,
            decision_proof: self.prove(decision)?.into_bytes(),
            outcome_proof,
            stream_salt,
        })
    }

    pub(crate) fn leaf(&self, place: u64) -> Result<Vec<u8>> {
        let (reader, index) = self.ledger.locate(place);
        reader.leaf(index).map_err(|e| unreadable(&e))
    }

    /// The tlog-proof of an entry in the newest durable checkpoint of its log.
    pub(crate) fn prove(&self, place: u64) -> Result<String> {
        let (reader, index) = self.ledger.locate(place);
        let unusable = |what: &str| Error::new(ErrorCode::LogUnavailable, format!("no proof can be made: {what}"));
        let note = perron_log::SignedNote::parse(&reader.last_note()).map_err(|e| unusable(&e.to_string()))?;
        let checkpoint = perron_log::Checkpoint::parse_text(&note.text).map_err(|e| unusable(&e.to_string()))?;
        let hashes = reader.inclusion_proof(index, checkpoint.size).map_err(|e| unusable(&e.to_string()))?;
        Ok(TlogProof { extra: None, index, hashes, checkpoint: note }.to_string())
    }

    fn verify_request(&self, peer: &ParticipantId, read: &IncomingRead) -> Result<VerifiedRequest> {
        if read.request.len() > REQUEST_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a request is over {REQUEST_BYTES_MAX} bytes")));
        }
        let register = self.register.load();
        // The register's own time is a lower bound of now: a clock that lags makes no key unknown.
        let now = self.now().max(register.payload().issued);
        let participant = register
            .participant(peer)
            .ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, "the caller is not in the register"))?;
        let verified = jws::verify_compact(&read.request, REQUEST_TYP, |kid| {
            participant.key_at(KeyUse::Request, kid, now).map(|k| k.key)
        })?;
        let request: ReadRequest = canonical::from_bytes(&verified.payload, REQUEST_BYTES_MAX)
            .map_err(|e| Error { detail: format!("not a read request: {}", e.detail), ..e })?;
        if request.issuer != *peer {
            return Err(Error::new(ErrorCode::IssuerMismatch, "the request's issuer isn't the channel's participant"));
        }
        if request.provider != self.me {
            return Err(Error::new(ErrorCode::IssuerMismatch, "the request is for another provider"));
        }
        let named = |role: &String| !role.is_empty() && role.len() <= ID_BYTES_MAX;
        if request.roles.as_ref().is_some_and(|roles| roles.len() > ROLES_MAX || !roles.iter().all(named)) {
            return Err(Error::malformed(format!(
                "a request states at most {ROLES_MAX} roles, each of 1 to {ID_BYTES_MAX} bytes"
            )));
        }
        let salt = <[u8; 16]>::try_from(read.salt.as_slice())
            .map_err(|_| Error::malformed("the statement's salt is 16 bytes"))?;
        if Digest::salted(&salt, read.statement.as_bytes()) != request.statement {
            return Err(Error::new(ErrorCode::SignatureInvalid, "the statement isn't the one that was signed"));
        }
        let beside = self.verify_beside(participant, read)?;
        Ok(VerifiedRequest { request, jws: read.request.clone(), beside: Some(beside), sealed: None })
    }

    /// What came beside a request, as it is kept: the intent lies in a tree that the consumer
    /// signed, and it holds no more of our log than there is.
    fn verify_beside(&self, consumer: &Participant, read: &IncomingRead) -> Result<Vec<u8>> {
        let bad = |what: String| Error::new(ErrorCode::SignatureInvalid, format!("the proof of the intent: {what}"));
        let proof = std::str::from_utf8(&read.intent_proof).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        let tree = TlogProof::parse(proof)
            .and_then(|p| p.verify(&leaf_hash(&read.intent), &consumer.log_origin, &log_verifiers(consumer), &[]))
            .map_err(|e| bad(e.to_string()))?;
        let about = |body: &Body| matches!(body, Body::Intent(i) if i.request == Digest::of(read.request.as_bytes()));
        let intent = Entry::from_bytes(&read.intent)?;
        if !about(&intent.body) {
            return Err(bad("it is about another request".to_owned()));
        }
        require_signed_in_time(consumer, &tree.note, intent.time).map_err(|e| bad(e.detail))?;
        let size = self.ledger.reader().size();
        if read.held_size > size {
            // It is asked for the checkpoint that would prove it.
            self.heads_wanted(&consumer.id);
            return Err(Error::new(
                ErrorCode::LogForked,
                format!("this log has {size} entries; a checkpoint of {} is of another history", read.held_size),
            ));
        }
        canonical::to_bytes(&Beside {
            intent: URL_SAFE_NO_PAD.encode(&read.intent),
            intent_proof: proof.to_owned(),
            held_size: read.held_size,
        })
    }

    /// Salt of the stream root of one answer: derived, so that its receipt can be had again.
    pub(crate) fn stream_salt(&self, request: &Digest) -> [u8; 16] {
        use sha2::Digest as _;
        let hashed = sha2::Sha256::new()
            .chain_update(self.mask_secret)
            .chain_update(b"stream-root")
            .chain_update(request.as_bytes());
        let hashed: [u8; 32] = hashed.finalize().into();
        let mut salt = [0; 16];
        salt.iter_mut().zip(hashed).for_each(|(to, from)| *to = from);
        salt
    }

    /// Key of the keyed-hash mask of one column under one agreement: SHA-256 over the secret and
    /// both names, of fixed lengths before the last.
    fn mask_key(&self, agreement: &AgreementId, column: &str) -> [u8; 32] {
        use sha2::Digest as _;
        let hashed =
            sha2::Sha256::new().chain_update(self.mask_secret).chain_update(agreement.as_bytes()).chain_update(column);
        hashed.finalize().into()
    }

    /// Computes what is not released yet of an agreement's table from the newest snapshot. The
    /// table is durable before its entry.
    pub async fn release_if_new(&self, agreement: &AgreementId) -> Result<()> {
        let grant = self.gate.admit_release(agreement).map_err(|d| d.error)?;
        let snapshot = grant.snapshot().digest;
        {
            let done = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            if done.contains(&(*agreement, snapshot)) {
                return Ok(());
            }
        }
        match self.engine.release(&grant, *agreement).await {
            Ok(_) => {}
            // Every period of this snapshot was released before: nothing replaces them.
            Err(Error { code: ErrorCode::ReleaseExists, .. }) => {}
            // No new period may be given; those that were stay.
            Err(error @ Error { code: ErrorCode::ReleaseOverlap | ErrorCode::BudgetExhausted, .. }) => {
                if self.releases.list(agreement)?.is_empty() {
                    return Err(error);
                }
                tracing::warn!(dataset = %grant.dataset().id, code = %error.code, "no new period is released");
            }
            Err(error) => return Err(error),
        }
        // A crash may have come between a table and its entry: whatever lacks one gets it now.
        for released in self.releases.list(agreement)? {
            if self.state.is_released(agreement, &released.table)? {
                continue;
            }
            let body = Body::Release(perron_model::entry::Release {
                dataset: grant.dataset().id.to_string(),
                snapshot: released.snapshot,
                table: released.table,
                groups: released.groups,
                suppressed: released.suppressed,
                further: (released.further > 0).then_some(released.further),
                epsilon_micro: (released.epsilon_micro > 0).then_some(released.epsilon_micro),
                spent_micro: (released.spent_micro > 0).then_some(released.spent_micro),
            });
            self.ledger.append(Draft { body, chain: Some(*agreement), trace: None, attachments: Vec::new() }).await?;
        }
        self.released.lock().unwrap_or_else(PoisonError::into_inner).insert((*agreement, snapshot));
        Ok(())
    }
}
