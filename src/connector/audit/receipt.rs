//! One read as one file: agreement, signed request, decision and outcome, with their proofs.

use crate::connector::node::Node;
use crate::connector::receiving::kept_receipt;
use crate::connector::witness::witness_name;
use crate::ledger::{OneLog, unreadable};
use perron_log::{Checkpoint, SignedNote, TlogProof};
use perron_model::agreement::AgreementPayload;
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::request::{Receipt, ReceiptFile, ReceiptKind, claims_of};
use perron_model::{Error, ErrorCode, ParticipantId, Result, canonical};
use serde_json::{Value as Json, json};

impl Node {
    /// The receipt of a read, by its entry: a permit or a refusal where this side gave, what was
    /// received where it asked. Its proofs end in the newest head that others cosigned, where one
    /// covers them; of a closed log, in its last. That it was asked for is an entry of its own.
    pub async fn audit_receipt(&self, actor: &str, index: u64, generation: Option<u64>) -> Result<Json> {
        let log = self.ledger.log_of(generation)?;
        let file = self.receipt_file(&log, index)?;
        let asked = json!({"entry": index, "log": log.origin});
        self.administer("audit.receipt", actor, canonical::to_bytes(&asked)?).await?;
        serde_json::to_value(&file).map_err(|_| Error::new(ErrorCode::Internal, "the receipt can't be written"))
    }

    fn receipt_file(&self, log: &OneLog, index: u64) -> Result<ReceiptFile> {
        if index >= log.reader.size() {
            return Err(Error::new(ErrorCode::NotFound, "the log has no entry of this number"));
        }
        let place = log.base.saturating_add(index);
        let leaf = self.leaf(place)?;
        let entry = Entry::from_bytes(&leaf)?;
        let receipt = match &entry.body {
            Body::Decision(decision) => {
                let outcome = self.outcome_after(decision, &leaf)?;
                let parts = self.receipt(place, outcome, self.stream_salt(&decision.request).to_vec())?;
                let mut receipt = kept_receipt(&parts);
                let consumer = witness_name(&self.space, &ParticipantId::parse(&decision.consumer)?);
                self.cosigned(&mut receipt.decision_proof, place, &consumer)?;
                if let Some(outcome) = outcome {
                    self.cosigned(&mut receipt.outcome_proof, outcome, &consumer)?;
                }
                receipt
            }
            Body::Received(_) => {
                let bytes = self.attached(log, index, AttachmentKind::Receipt)?;
                canonical::from_bytes::<Receipt>(&bytes, MESSAGE_BYTES_MAX)?
            }
            _ => {
                let detail = format!("entry {index} is no read: name a permit, a refusal or what was received");
                return Err(Error::new(ErrorCode::NotFound, detail));
            }
        };
        let request = String::from_utf8(self.attached(log, index, AttachmentKind::Request)?)
            .map_err(|_| Error::new(ErrorCode::LogDamaged, "a signed request is not UTF-8"))?;
        let agreement = claims_of(&request)?.agreement;
        let agreed = self
            .state
            .agreement(&agreement)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "the read was under no agreement that is known here"))?;
        Ok(ReceiptFile {
            kind: ReceiptKind::V1,
            envelope: agreed.envelope.clone(),
            request,
            receipt,
            entries: self.entries_of(&agreed.payload),
        })
    }

    fn attached(&self, log: &OneLog, index: u64, kind: AttachmentKind) -> Result<Vec<u8>> {
        let attachments = log.reader.attachments(index);
        let attachments = attachments.map_err(|e| unreadable(&e))?;
        let found = attachments.into_iter().find(|a| a.kind == kind as u16);
        found
            .map(|a| a.bytes)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("entry {index} has no receipt attached")))
    }

    /// What the register in use says of both parties.
    pub(super) fn entries_of(&self, payload: &AgreementPayload) -> Vec<String> {
        let register = self.register.load();
        let parties = [&payload.provider, &payload.consumer];
        parties.into_iter().filter_map(|p| register.entry_jws(p).map(str::to_owned)).collect()
    }

    /// Puts the proof in the newest head that the consumer cosigned and that covers the entry; else
    /// in the newest that anyone did.
    fn cosigned(&self, proof: &mut String, place: u64, consumer: &str) -> Result<()> {
        if self.ledger.is_closed(place) {
            return Ok(());
        }
        let index = place;
        let Some((size, note)) = newest(self.kept.cosigned_notes()?, self.ledger.origin(), index, consumer) else {
            return Ok(());
        };
        let hashes = self.ledger.reader().inclusion_proof(index, size);
        let hashes = hashes.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        *proof = TlogProof { extra: None, index, hashes, checkpoint: note }.to_string();
        Ok(())
    }
}

/// The newest head of this log that covers the entry, with the signatures of all who cosigned it.
/// One that the consumer cosigned comes before any other: whoever verifies a receipt knows its key.
fn newest(notes: Vec<SignedNote>, origin: &str, index: u64, consumer: &str) -> Option<(u64, SignedNote)> {
    let head = |note: &SignedNote| Checkpoint::parse_text(&note.text).ok();
    let covers = |note: &SignedNote| head(note).filter(|h| h.origin == origin && h.size > index).map(|h| h.size);
    let mut covering: Vec<(u64, SignedNote)> = notes.into_iter().filter_map(|n| Some((covers(&n)?, n))).collect();
    let by_consumer = |note: &SignedNote| note.signatures.iter().any(|line| line.name == consumer);
    covering.sort_by_key(|(size, note)| std::cmp::Reverse((by_consumer(note), *size)));
    let mut covering = covering.into_iter();
    let (size, mut newest) = covering.next()?;
    for (_, other) in covering.filter(|(_, note)| note.text == newest.text).collect::<Vec<_>>() {
        for line in other.signatures {
            if !newest.signatures.contains(&line) {
                newest.signatures.push(line);
            }
        }
    }
    Some((size, newest))
}

#[cfg(test)]
mod tests {
    use super::newest;
    use perron_log::{Checkpoint, Hash, SignedNote, Signer};

    /// A head of this size, cosigned by one.
    fn note(size: u64, by: &str) -> SignedNote {
        let signer = Signer::from_seed(by, &[7; 32]).unwrap();
        Checkpoint::new("s/ville/1", size, Hash([1; 32])).sign(&[&signer]).unwrap()
    }

    #[test]
    fn the_consumers_head_is_shown_before_a_newer_one_of_another() {
        let (consumer, other) = ("s/inter/witness", "s/autorite/witness");
        let shown = |notes: Vec<SignedNote>, index| newest(notes, "s/ville/1", index, consumer).map(|(size, _)| size);
        let both = vec![note(9, other), note(5, consumer), note(3, consumer)];
        assert_eq!(shown(both.clone(), 2), Some(5));
        assert_eq!(shown(both.clone(), 5), Some(9), "the consumer's doesn't cover it");
        assert_eq!(shown(both, 9), None);
        let (_, together) = newest(vec![note(5, other), note(5, consumer)], "s/ville/1", 0, consumer).unwrap();
        assert_eq!(together.signatures.len(), 2);
    }
}
