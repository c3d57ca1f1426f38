//! What one party holds of the other's log: receipts at the consumer, intents at the provider.

use super::Reading;
use super::attached::Attached;
use crate::jws;
use crate::register::{log_verifiers_of, require_signed_in_time};
use perron_log::merkle::{empty_root, leaf_hash};
use perron_log::{FindingKind, TlogProof};
use perron_model::entry::{AttachmentKind, Body, Decision, Entry, Outcome, Received};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::participant::Participant;
use perron_model::request::{Beside, ReadRequest, Receipt};
use perron_model::{Digest, ParticipantId, canonical};

/// What is wrong with a receipt.
type Wrong = (FindingKind, String);

impl Reading<'_> {
    pub(super) fn received(&mut self, entry: &Entry, body: &Received, attached: &mut Attached<'_>) {
        let claims = self.request(entry, &body.request, attached);
        let intended = self.intents.remove(&body.request);
        self.require(intended, FindingKind::Order, "no earlier intent without an end is about its request");
        self.own_read(entry, claims.as_ref());
        let receipt = attached.take(AttachmentKind::Receipt);
        if receipt.map(Digest::of) != body.receipt {
            return self.wrong(FindingKind::DocumentBytes, "the attached receipt is not the one that it binds");
        }
        // A receipt that didn't hold was kept, and the entry says that it was refused; then it names
        // no decision.
        if body.refused.is_some() && body.decision.is_none() {
            return self.require(
                body.outcome.is_none(),
                FindingKind::DocumentBytes,
                "an outcome is named without its decision",
            );
        }
        if receipt.is_some() != body.decision.is_some() {
            return self.wrong(
                FindingKind::DocumentBytes,
                "a provider's decision is named exactly where its receipt is attached",
            );
        }
        let (Some(receipt), Some(claims)) = (receipt, claims) else {
            return self.require(
                body.outcome.is_none(),
                FindingKind::DocumentBytes,
                "an outcome is named without a receipt",
            );
        };
        self.count_signature("receipt");
        if let Err((kind, detail)) = self.receipt(body, receipt, &claims) {
            self.wrong(kind, format!("the receipt: {detail}"));
        }
    }

    fn receipt(&self, body: &Received, bytes: &[u8], claims: &ReadRequest) -> Result<(), Wrong> {
        let other = |detail: &str| (FindingKind::DocumentBytes, detail.to_owned());
        let receipt: Receipt =
            canonical::from_bytes(bytes, MESSAGE_BYTES_MAX).map_err(|e| (FindingKind::DocumentBytes, e.detail))?;
        let salt = decode(&receipt.stream_salt)?;
        if salt.len() != 16 {
            return Err(other("the salt of the stream root is not 16 bytes"));
        }
        let (decision, leaf) = self.opened(claims, &claims.provider, &receipt.decision, &receipt.decision_proof)?;
        let fits = |permitted: bool| permitted || body.refused.is_some();
        let about = matches!(&decision.body, Body::Decision(d) if d.request == body.request && fits(d.permitted));
        if !about || body.decision != Some(leaf) {
            return Err(other("its decision is not the one about this request"));
        }
        if receipt.outcome.is_empty() {
            let none = receipt.outcome_proof.is_empty() && body.outcome.is_none();
            return if none { Ok(()) } else { Err(other("an outcome is named that it doesn't hold")) };
        }
        let (outcome, outcome_leaf) =
            self.opened(claims, &claims.provider, &receipt.outcome, &receipt.outcome_proof)?;
        match &outcome.body {
            // Of an answer that broke off less may have come than was sent; the entry says so.
            Body::Outcome(o) if o.decision == leaf && body.outcome == Some(outcome_leaf) => match body.refused {
                None => agrees(body, o),
                Some(_) => Ok(()),
            },
            _ => Err(other("its outcome is not the one of this decision")),
        }
    }

    /// What a consumer proved beside its request: its log held the intent before it asked.
    pub(super) fn kept_beside(&mut self, body: &Decision, claims: Option<&ReadRequest>, attached: &mut Attached<'_>) {
        let is_there = body.beside.is_some() || attached.look(AttachmentKind::Beside).is_some();
        if !is_there || body.beside.is_none() && body.attached.is_none() {
            return;
        }
        let Some(bytes) = self.part(attached, AttachmentKind::Beside, body.beside.as_ref()) else { return };
        let Some(claims) = claims else { return };
        self.count_signature("intent");
        let checked = canonical::from_bytes::<Beside>(bytes, MESSAGE_BYTES_MAX)
            .map_err(|e| (FindingKind::DocumentBytes, e.detail))
            .and_then(|beside| self.opened(claims, &claims.issuer, &beside.intent, &beside.intent_proof));
        match checked {
            Ok((entry, _)) if matches!(&entry.body, Body::Intent(i) if i.request == body.request) => {}
            Ok(_) => self.wrong(FindingKind::DocumentBytes, "the intent beside the request is about another"),
            Err((kind, detail)) => self.wrong(kind, format!("the intent beside the request: {detail}")),
        }
    }

    /// A leaf of a party's log, in a tree that this party signed.
    fn opened(
        &self,
        claims: &ReadRequest,
        party: &ParticipantId,
        leaf: &str,
        proof: &str,
    ) -> Result<(Entry, Digest), Wrong> {
        let bytes = decode(leaf)?;
        let hash = leaf_hash(&bytes);
        let proof = TlogProof::parse(proof).map_err(|e| (FindingKind::DocumentBytes, e.to_string()))?;
        let known = self.agreements.get(&claims.agreement);
        let known = known.into_iter().flat_map(|k| [&k.provider, &k.consumer]).filter(|p| p.id == *party);
        let told: Vec<&Participant> = self.register.participant(party.as_str()).into_iter().chain(known).collect();
        // In the log that its checkpoint names, where that is one of the party's; else in the one in force.
        let verifies = |p: &Participant| {
            let named = proof.checkpoint.text.lines().next();
            let origin = p.origins().find(|own| Some(*own) == named).unwrap_or(&p.log_origin);
            proof.verify(&hash, origin, &log_verifiers_of(p, origin), &[])
        };
        let mut verified = Err(format!("`{party}` is not in the register"));
        for participant in &told {
            verified = verifies(participant).map_err(|e| e.to_string());
            if verified.is_ok() {
                break;
            }
        }
        let tree = verified.map_err(|detail| (FindingKind::DocumentSignature, detail))?;
        let entry = Entry::from_bytes(&bytes).map_err(|e| (FindingKind::DocumentBytes, e.detail))?;
        require_signed_in_time(told, &tree, entry.time).map_err(|e| (FindingKind::KeyNotInForce, e.detail))?;
        Ok((entry, Digest::from_bytes(hash.0)))
    }
}

/// What was received is what the provider says that it sent.
fn agrees(body: &Received, outcome: &Outcome) -> Result<(), Wrong> {
    let same =
        body.stream_root == outcome.stream_root && body.messages == outcome.messages && body.rows == outcome.rows;
    let nothing = body.messages > 0 || body.stream_root == Digest::from_bytes(empty_root().0);
    if same && nothing {
        Ok(())
    } else {
        Err((FindingKind::DocumentBytes, "the provider's outcome isn't what was received".to_owned()))
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Wrong> {
    jws::decode(text).map_err(|e| (FindingKind::DocumentBytes, e.detail))
}
