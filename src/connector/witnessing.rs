//! Witnesses over HTTPS that the configuration names (C2SP tlog-witness): each is asked to cosign
//! the newest durable checkpoint, soon after there is one; and what the policy says of all
//! cosignatures that came back.
//!
//! A witness that is away holds up nothing. One that holds another history of this log, or a longer
//! one, stops the writer for good: somebody saw entries that this directory doesn't have, so each
//! further entry would be a fork.

use crate::connector::node::Node;
use crate::connector::peers::{Witnesses, Witnessing};
use crate::connector::witness::{parse, witness_verifiers};
use perron_log::limits::POLICY_BYTES_MAX;
use perron_log::merkle::Hash;
use perron_log::policy::Cosigned;
use perron_log::{Checkpoint, Policy, SignedNote, Submission, Verdict, Verifier};
use perron_model::entry::{Body, Entry};
use perron_model::limits::{
    HEADS_ASKED_MS_MAX, HEADS_TRIES_MAX, OUTBOX_BACKOFF_MS_MAX, WITNESS_ASKED_MS_MIN, WITNESS_ENTRIES_LOOKED_AT_MAX,
};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::{Value as Json, json};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The witnesses that are asked, and how it goes with each.
pub struct Asked {
    witnesses: Vec<AskedWitness>,
    wire: Arc<dyn Witnesses>,
    policy: Option<Policy>,
}

struct AskedWitness {
    place: usize,
    verifier: Verifier,
    trouble: Mutex<Option<Error>>,
}

impl Asked {
    /// Asks the witnesses of these keys over `wire`, in this order; what they say is judged by
    /// `policy`.
    pub fn new(verifiers: Vec<Verifier>, wire: Arc<dyn Witnesses>, policy: Option<Policy>) -> Asked {
        let asked = |(place, verifier)| AskedWitness { place, verifier, trouble: Mutex::default() };
        Asked { witnesses: verifiers.into_iter().enumerate().map(asked).collect(), wire, policy }
    }

    /// Asks each what it holds of a stopped log whose newest checkpoint this is: a larger size, or
    /// this size with other entries; none where it holds no more. By the witness's name.
    pub async fn hold(&self, checkpoint: &str, size: u64) -> Vec<(String, Result<Option<u64>>)> {
        let limit = Duration::from_millis(HEADS_ASKED_MS_MAX);
        let asking = self.witnesses.iter().map(|witness| async move {
            let submission = Submission { old_size: size, proof: Vec::new(), checkpoint: checkpoint.to_owned() };
            let late = |_| Error::new(ErrorCode::DeadlineExceeded, "no answer in time");
            let answer = tokio::time::timeout(limit, self.wire.submit(witness.place, &submission)).await.map_err(late);
            let held = answer.and_then(|answer| answer).map(|answer| match answer {
                Witnessing::Holds(held) => Some(held).filter(|held| *held > size),
                Witnessing::Contradicts => Some(size),
                Witnessing::Cosigned(_) => None,
            });
            (witness.verifier.name().to_owned(), held)
        });
        if size == 0 { Vec::new() } else { futures::future::join_all(asking).await }
    }

    /// What keeps each of them from cosigning, if anything does.
    pub fn status(&self) -> Json {
        let shown = |w: &AskedWitness| json!({"witness": w.verifier.name(), "trouble": w.told_trouble()});
        Json::Array(self.witnesses.iter().map(shown).collect())
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asked({} witnesses)", self.witnesses.len())
    }
}

impl AskedWitness {
    fn troubled(&self, error: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn told_trouble(&self) -> Json {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map_or(Json::Null, |e| json!({"code": e.code.as_str(), "detail": e.detail}))
    }
}

/// The policy of the configuration; its file is relative to the organisation's directory.
pub fn read_policy(directory: &Path, file: &Path) -> Result<Policy> {
    let invalid = |what: String| Error::new(ErrorCode::ConfigInvalid, format!("`witness_policy`: {what}"));
    let unreadable = |e: std::io::Error| invalid(format!("the file can't be read: {}", e.kind()));
    let mut bytes = Vec::new();
    let handle = std::fs::File::open(directory.join(file)).map_err(unreadable)?;
    handle.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Policy::parse(&bytes).map_err(|e| invalid(e.to_string()))
}

/// Before the first entry of a start, each witness sees the newest durable checkpoint: one that holds
/// more, or another history, ends the start, and nothing is written. Those that don't answer in time
/// are left out: a start waits for nobody.
pub async fn before_start(node: &Node, asked: &Asked) -> Result<()> {
    if node.ledger().reader().size() == 0 {
        return Ok(());
    }
    let limit = Duration::from_millis(HEADS_ASKED_MS_MAX);
    let asking = asked.witnesses.iter().map(|witness| async move {
        let answer = tokio::time::timeout(limit, ask(node, &*asked.wire, witness)).await;
        answer.ok().and_then(Result::err).filter(|error| error.code == ErrorCode::OwnLogForked)
    });
    match futures::future::join_all(asking).await.into_iter().flatten().next() {
        Some(error) => {
            node.stop_superseded(error.clone()).await;
            Err(error)
        }
        None => Ok(()),
    }
}

/// Asks each witness, until the task is dropped.
pub async fn run(node: Arc<Node>, asked: Arc<Asked>) {
    futures::future::join_all(asked.witnesses.iter().map(|witness| follow(&node, &*asked.wire, witness))).await;
}

async fn follow(node: &Node, wire: &dyn Witnesses, witness: &AskedWitness) {
    let mut changes = node.state_changes();
    let mut wait_ms = WITNESS_ASKED_MS_MIN;
    loop {
        changes.borrow_and_update();
        let asked = async { if is_due(node, &witness.verifier)? { ask(node, wire, witness).await } else { Ok(()) } };
        match asked.await {
            Ok(()) => {
                wait_ms = WITNESS_ASKED_MS_MIN;
                witness.troubled(None);
            }
            Err(error) => {
                let is_fork = error.code == ErrorCode::OwnLogForked;
                let name = witness.verifier.name();
                tracing::warn!(witness = name, code = error.code.as_str(), "no cosignature now: {}", error.detail);
                witness.troubled(Some(error.clone()));
                if is_fork {
                    return node.stop_superseded(error).await;
                }
                wait_ms = wait_ms.saturating_mul(2).min(OUTBOX_BACKOFF_MS_MAX);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Is there an entry that the witness hasn't seen, other than what we noted of others' logs? Two
/// connectors that witness each other would else never come to rest.
fn is_due(node: &Node, verifier: &Verifier) -> Result<bool> {
    let seen = node.kept.witnessed(verifier)?.map_or(0, |(head, _)| head.size);
    let reader = node.ledger().reader();
    let size = reader.size();
    let end = size.min(seen.saturating_add(WITNESS_ENTRIES_LOOKED_AT_MAX));
    let mut is_due = end < size;
    reader
        .for_entries(seen.min(end), end, &mut |stored| {
            let entry = stored.entry().map(|stored| Entry::from_bytes(&stored.leaf));
            is_due |= !matches!(entry, Some(Ok(Entry { body: Body::CheckpointKept(_), .. })));
            !is_due
        })
        .map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
    Ok(is_due)
}

/// One submission; from where the witness is, where that isn't where it was believed to be.
async fn ask(node: &Node, wire: &dyn Witnesses, witness: &AskedWitness) -> Result<()> {
    let verifier = &witness.verifier;
    let mut from = node.kept.witnessed(verifier)?.map_or(0, |(head, _)| head.size);
    for _ in 0..HEADS_TRIES_MAX {
        let head = node.head(from).map_err(|e| superseded_by(verifier, e))?;
        let checkpoint =
            String::from_utf8(head.note).map_err(|_| Error::new(ErrorCode::Internal, "our checkpoint is not UTF-8"))?;
        let proof = head.consistency.into_iter().map(Hash).collect();
        let submission = Submission { old_size: from, proof, checkpoint };
        match wire.submit(witness.place, &submission).await? {
            Witnessing::Cosigned(lines) => {
                let note = cosigned(&submission.checkpoint, &lines, verifier)?;
                return node.kept.keep_witnessed(verifier, &note.to_string(), &node.key_ends()).await;
            }
            // A larger one than our whole log is another history of ours, and `head` says so.
            Witnessing::Holds(size) => from = size,
            Witnessing::Contradicts => return Err(contradicted(node, verifier, from)?),
        }
    }
    Err(Error::new(ErrorCode::MessageConflict, "the witness's size moves"))
}

/// The witness holds more entries than there are: this is an older state of the log, or a fork.
fn superseded_by(verifier: &Verifier, error: Error) -> Error {
    if error.code != ErrorCode::LogForked {
        return error;
    }
    Error::new(ErrorCode::OwnLogForked, format!("the witness `{}` holds more: {}", verifier.name(), error.detail))
}

/// What it means that the witness refuses our proof from the size that it holds. A witness that
/// contradicts what it signed itself is wrong; from nothing on, all is consistent.
fn contradicted(node: &Node, verifier: &Verifier, from: u64) -> Result<Error> {
    let held = node.kept.witnessed(verifier)?.filter(|(head, _)| head.size == from);
    let root = node.ledger().reader().root_at(from);
    let root = root.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
    if from == 0 || held.is_some_and(|(head, _)| head.root == root) {
        let detail = format!("the witness `{}` refuses a proof from what it cosigned itself", verifier.name());
        return Ok(Error::new(ErrorCode::EvidenceDiffers, detail));
    }
    let detail = format!("the witness `{}` holds {from} other entries of this log", verifier.name());
    Ok(Error::new(ErrorCode::OwnLogForked, detail))
}

/// Our checkpoint with the witness's own verified line; lines of others are left out.
fn cosigned(checkpoint: &str, lines: &str, verifier: &Verifier) -> Result<SignedNote> {
    let name = verifier.name();
    let wrong = |e: perron_log::NoteError| Error::malformed(format!("the answer of the witness `{name}`: {e}"));
    let mut note = SignedNote::parse(checkpoint).map_err(wrong)?;
    let answered = SignedNote::parse(&format!("{checkpoint}{lines}")).map_err(wrong)?;
    if answered.text != note.text {
        return Err(Error::malformed(format!("the answer of the witness `{name}` holds more than cosignature lines")));
    }
    let is_theirs = |line: &&perron_log::note::NoteSignature| line.name == name && line.key_id == verifier.key_id();
    let theirs: Vec<_> = answered.signatures.iter().filter(is_theirs).cloned().collect();
    let theirs = SignedNote { text: note.text.clone(), signatures: theirs };
    let verified = theirs
        .verify(std::slice::from_ref(verifier))
        .map_err(|e| Error::new(ErrorCode::SignatureInvalid, format!("the cosignature of `{name}`: {e}")))?;
    if verified.iter().any(|line| line.time_unix_s.unwrap_or(0) == 0) {
        return Err(Error::new(ErrorCode::SignatureInvalid, format!("the cosignature of `{name}` has no time")));
    }
    note.signatures.extend(theirs.signatures);
    Ok(note)
}

impl Node {
    /// Who cosigned this log, how far, when; what keeps a witness from it; and whether the log is
    /// final by the policy of the configuration.
    pub fn witness_report(&self, asked: &Asked) -> Result<Json> {
        let size = self.ledger.reader().size();
        let heads = self.cosigned_heads()?;
        let mut shown = Vec::new();
        let register = self.register.load();
        for participant in register.participants().filter(|p| p.id != self.me) {
            let keys = witness_verifiers(&self.space, participant);
            if let Some((seen, at)) = newest(&heads, &keys) {
                shown.push(json!({
                    "witness": participant.id, "size": seen, "at": at, "behind": size.saturating_sub(seen),
                    "trouble": Json::Null,
                }));
            }
        }
        for witness in &asked.witnesses {
            let seen = newest(&heads, std::slice::from_ref(&witness.verifier));
            shown.push(json!({
                "witness": witness.verifier.name(),
                "vkey": witness.verifier.to_vkey(),
                "size": seen.map(|(size, _)| size),
                "at": seen.and_then(|(_, at)| at),
                "behind": size.saturating_sub(seen.map_or(0, |(size, _)| size)),
                "trouble": witness.told_trouble(),
            }));
        }
        let policy = asked.policy.as_ref().map(|policy| self.judged(policy, &heads)).transpose()?;
        Ok(json!({"entries": size, "witnesses": shown, "policy": policy}))
    }

    /// Heads of this log that came back cosigned, and to which it leads: what was signed of another
    /// history counts for nothing.
    fn cosigned_heads(&self) -> Result<Vec<(Checkpoint, SignedNote)>> {
        let reader = self.ledger.reader();
        let mut heads = Vec::new();
        for note in self.kept.cosigned_notes()? {
            let head = parse(&note.to_string())?;
            let leads = head.origin == self.ledger.origin()
                && head.size <= reader.size()
                && reader.root_at(head.size).is_ok_and(|root| root == head.root);
            if leads {
                heads.push((head, note));
            }
        }
        Ok(heads)
    }

    fn judged(&self, policy: &Policy, heads: &[(Checkpoint, SignedNote)]) -> Result<Json> {
        let register = self.register.load();
        let keys = register.participant(&self.me).map(crate::connector::witness::log_verifiers).unwrap_or_default();
        let mut cosigned: Vec<Cosigned> = Vec::new();
        for (head, note) in heads {
            let found = policy.cosigned(note, head.size);
            cosigned.extend(found.map_err(|e| Error::new(ErrorCode::SignatureInvalid, e.to_string()))?);
        }
        let verdict = if policy.is_about(&keys) { policy.judge(&cosigned) } else { Verdict::Open };
        Ok(match verdict {
            Verdict::Unasked => {
                json!({"quorum": "none", "final": true, "size": self.ledger.reader().size(), "at": Json::Null})
            }
            Verdict::Final { size, at_unix_s } => {
                json!({"quorum": "met", "final": true, "size": size, "at": time(at_unix_s)})
            }
            Verdict::Open => json!({
                "quorum": if policy.is_about(&keys) { "open" } else { "another-log" },
                "final": false, "size": Json::Null, "at": Json::Null,
            }),
        })
    }
}

/// The largest of these heads that one of these keys cosigned, and when.
fn newest(heads: &[(Checkpoint, SignedNote)], keys: &[Verifier]) -> Option<(u64, Option<Timestamp>)> {
    let seen = heads.iter().filter_map(|(head, note)| {
        let lines = note.verify(keys).ok()?;
        let at = lines.iter().filter_map(|line| line.time_unix_s).max();
        Some((head.size, at.and_then(time)))
    });
    seen.max()
}

fn time(unix_s: u64) -> Option<Timestamp> {
    let ms = i64::try_from(unix_s).ok()?.checked_mul(1000)?;
    Timestamp::from_millis(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_log::{Cosigner, Signer};

    #[test]
    fn the_verified_line_of_the_witness_is_kept_and_nothing_else() {
        let log = Signer::from_seed("s/ville/1", &[1; 32]).unwrap();
        let head = Checkpoint::new("s/ville/1", 5, Hash([3; 32]));
        let note = head.sign(&[&log]).unwrap().to_string();
        let witness = |seed: u8| Cosigner::from_seed(&format!("w{seed}"), &[seed; 32]).unwrap();
        let (one, other) = (witness(2), witness(3));
        let line = |by: &Cosigner, of: &Checkpoint, at: u64| format!("{}\n", by.cosign(of, at).unwrap());
        let (good, strange) = (line(&one, &head, 7), line(&other, &head, 8));
        let kept = cosigned(&note, &format!("{strange}{good}"), one.verifier()).unwrap();
        assert_eq!(kept.to_string(), format!("{note}{good}"));
        let another = Checkpoint::new("s/ville/1", 5, Hash([4; 32]));
        for (bad, code) in [
            (String::new(), ErrorCode::SignatureInvalid),
            ("no line\n".to_owned(), ErrorCode::Malformed),
            (good.trim_end().to_owned(), ErrorCode::Malformed),
            (format!("\n{good}"), ErrorCode::Malformed),
            (strange, ErrorCode::SignatureInvalid),
            (line(&one, &another, 7), ErrorCode::SignatureInvalid),
            (line(&one, &head, 0), ErrorCode::SignatureInvalid),
        ] {
            assert_eq!(cosigned(&note, &bad, one.verifier()).unwrap_err().code, code, "{bad:?}");
        }
    }
}
