//! Checkpoints of others that are kept, and cosigned; cosignatures on ours.
//!
//! A directory alone can't convict its owner, who holds the key: what convicts is a checkpoint
//! that a partner kept. So heads go both ways after each read and agreement.

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::peers::{Head, Peers};
use crate::files::write_file;
use crate::ledger::Draft;
use crate::trust::register::VerifiedRegister;
use perron_log::merkle::{Hash, verify_consistency};
use perron_log::{Checkpoint, Cosigner, KeyKind, Verifier};
use perron_model::entry::{AttachmentKind, Body, CheckpointKept};
use perron_model::limits::{HEADS_ASKED_MAX, HEADS_ASKED_MS_MAX, HEADS_TRIES_MAX};
use perron_model::participant::{KeyUse, Participant};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Checkpoints in files: `trust/kept/` those of others, `trust/cosigned/` ours as others signed.
#[derive(Debug)]
pub struct Kept {
    kept: PathBuf,
    cosigned: PathBuf,
    // What lies in `kept/`, as far as it was looked at: each read asks for it.
    known: Mutex<HashMap<String, (Checkpoint, String)>>,
    // Check, keep and log are one step: two heads of one log are compared in an order.
    order: tokio::sync::Mutex<()>,
}

fn file_name(name: &str) -> String {
    format!("{}.checkpoint", name.replace('/', "_"))
}

impl Kept {
    /// Opens the directories, making them where they are not.
    pub fn open(trust: &Path) -> Result<Kept> {
        let (kept, cosigned) = (trust.join("kept"), trust.join("cosigned"));
        for directory in [&kept, &cosigned] {
            std::fs::create_dir_all(directory)
                .map_err(|_| Error::new(ErrorCode::DiskFull, "a directory can't be made"))?;
        }
        Ok(Kept { kept, cosigned, known: Mutex::default(), order: tokio::sync::Mutex::new(()) })
    }

    /// The newest checkpoint held of a log, with its note.
    pub fn held(&self, origin: &str) -> Result<Option<(Checkpoint, String)>> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(origin) {
            return Ok(Some(known.clone()));
        }
        match std::fs::read_to_string(self.kept.join(file_name(origin))) {
            Ok(note) => {
                let held = (parse(&note)?, note);
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(origin.to_owned(), held.clone());
                Ok(Some(held))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Error::new(ErrorCode::LogDamaged, "a kept checkpoint can't be read")),
        }
    }

    /// Heads of our own log that others cosigned.
    pub fn heads_of(&self, origin: &str) -> Result<Vec<Checkpoint>> {
        let heads = self.cosigned_notes()?.into_iter().map(|note| parse(&note.to_string()));
        heads.filter(|head| head.as_ref().map_or(true, |h| h.origin == origin)).collect()
    }

    /// Heads that came back cosigned, as signed.
    pub fn cosigned_notes(&self) -> Result<Vec<perron_log::SignedNote>> {
        let unreadable = || Error::new(ErrorCode::LogDamaged, "a cosigned checkpoint can't be read");
        let entries = std::fs::read_dir(&self.cosigned).map_err(|_| unreadable())?;
        let files = entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".checkpoint"));
        let note = |text: String| perron_log::SignedNote::parse(&text).map_err(|_| unreadable());
        files.map(|e| std::fs::read_to_string(e.path()).map_err(|_| unreadable()).and_then(note)).collect()
    }

    async fn keep(&self, origin: &str, checkpoint: &Checkpoint, note: &str) -> Result<()> {
        write(self.kept.join(file_name(origin)), note).await?;
        let held = (checkpoint.clone(), note.to_owned());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(origin.to_owned(), held);
        Ok(())
    }

    async fn keep_cosigned(&self, by: &ParticipantId, note: &str) -> Result<()> {
        write(self.cosigned.join(file_name(by.as_str())), note).await
    }
}

/// Writes and syncs a file beside the threads that serve.
async fn write(file: PathBuf, text: &str) -> Result<()> {
    let bytes = text.as_bytes().to_vec();
    blocking(move || write_file(&file, &bytes)).await
}

fn parse(note: &str) -> Result<Checkpoint> {
    let bad = |e: perron_log::NoteError| Error::new(ErrorCode::LogDamaged, format!("not a checkpoint: {e}"));
    let note = perron_log::SignedNote::parse(note).map_err(bad)?;
    Checkpoint::parse_text(&note.text).map_err(bad)
}

/// Name of a participant's witness key.
pub fn witness_name(space: &perron_model::SpaceId, participant: &ParticipantId) -> String {
    format!("{space}/{participant}/witness")
}

/// Verifiers of a participant's witness keys, past and present.
pub fn witness_verifiers(space: &perron_model::SpaceId, participant: &Participant) -> Vec<Verifier> {
    let name = witness_name(space, &participant.id);
    let keys = participant.keys.iter().filter(|k| k.key_use == KeyUse::Witness);
    keys.filter_map(|k| Verifier::new(&name, KeyKind::CosignatureV1, k.key.as_bytes()).ok()).collect()
}

/// Verifiers of a participant's log keys, past and present.
pub fn log_verifiers(participant: &Participant) -> Vec<Verifier> {
    participant
        .keys
        .iter()
        .filter(|k| k.key_use == KeyUse::Log)
        .filter_map(|k| Verifier::new(&participant.log_origin, KeyKind::Ed25519, k.key.as_bytes()).ok())
        .collect()
}

impl Node {
    /// Asks a peer for its newest checkpoint, checks that it extends the one held, keeps it, and
    /// shows ours. Where the peer shows a newer one meanwhile, it is asked again from there.
    pub async fn exchange_heads(&self, peer: &ParticipantId) -> Result<()> {
        let participant = self.in_force(peer)?;
        for _ in 0..HEADS_TRIES_MAX {
            let from = self.held_size(&participant)?;
            let head = self.peers.head(peer, from).await?;
            if self.keep_head(&participant, from, &head).await?.is_ok() {
                return self.show_head(peer).await;
            }
        }
        Err(Error::new(ErrorCode::MessageConflict, "the peer's newest checkpoint moves"))
    }

    fn held_size(&self, participant: &Participant) -> Result<u64> {
        Ok(self.kept.held(&participant.log_origin)?.map_or(0, |(c, _)| c.size))
    }

    /// Our newest durable checkpoint, with the proof that it extends the one of `held_size`.
    pub fn head(&self, held_size: u64) -> Result<Head> {
        let reader = self.ledger.reader();
        let note = reader.last_note();
        let size = parse(&note)?.size;
        if held_size > size {
            return Err(Error::new(
                ErrorCode::LogForked,
                format!("this log has {size} entries; a checkpoint of {held_size} is of another history"),
            ));
        }
        let consistency = if held_size == 0 {
            Vec::new()
        } else {
            reader
                .consistency_proof(held_size, size)
                .map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?
        };
        Ok(Head { note: note.into_bytes(), consistency: consistency.into_iter().map(|h| h.0).collect() })
    }

    /// As witness: checks a participant's checkpoint against the one held, keeps it, cosigns it.
    /// Gives the size held instead, where the caller's proof begins elsewhere.
    pub async fn witness(
        &self,
        peer: &ParticipantId,
        old_size: u64,
        head: &Head,
    ) -> Result<std::result::Result<Vec<u8>, u64>> {
        let participant = self.in_force(peer)?;
        let held = self.held_size(&participant)?;
        if held != old_size {
            return Ok(Err(held));
        }
        if !self.checkpoint_rates.take(peer.as_str(), self.now()) {
            return Err(Error::new(ErrorCode::Overloaded, "too many checkpoints in a short time"));
        }
        let checkpoint = match self.keep_head(&participant, old_size, head).await? {
            Ok(checkpoint) => checkpoint,
            Err(held) => return Ok(Err(held)),
        };
        let name = witness_name(&self.space, &self.me);
        let cosigner = Cosigner::from_seed(&name, &self.keys.signing_key(KeyUse::Witness)?.seed())
            .map_err(|_| Error::new(ErrorCode::KeyInvalid, "the witness key can't sign"))?;
        let seconds = u64::try_from(self.now().millis() / 1000).unwrap_or(0);
        let line = cosigner
            .cosign(&checkpoint, seconds)
            .map_err(|_| Error::new(ErrorCode::KeyInvalid, "the witness key can't sign"))?;
        Ok(Ok(line.to_string().into_bytes()))
    }

    /// Checks and keeps a head whose proof begins at `from`. Gives the size held instead, where
    /// another head was kept since it was asked for.
    async fn keep_head(
        &self,
        participant: &Participant,
        from: u64,
        head: &Head,
    ) -> Result<std::result::Result<Checkpoint, u64>> {
        let text = std::str::from_utf8(&head.note).map_err(|_| Error::malformed("a checkpoint is UTF-8"))?;
        let opened =
            Checkpoint::open(text, &participant.log_origin, &log_verifiers(participant), &[]).map_err(|e| {
                Error::new(ErrorCode::SignatureInvalid, format!("the checkpoint of `{}`: {e}", participant.id))
            })?;
        let checkpoint = opened.checkpoint;
        let _order = self.kept.order.lock().await;
        if let Some((held, _)) = self.kept.held(&participant.log_origin)? {
            match compare(&held, from, &checkpoint, &head.consistency)? {
                Compared::Extends => {}
                Compared::Same => return Ok(Ok(checkpoint)),
                Compared::ProofElsewhere => return Ok(Err(held.size)),
            }
        }
        self.kept.keep(&participant.log_origin, &checkpoint, text).await?;
        let body = Body::CheckpointKept(CheckpointKept {
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            root: Digest::from_bytes(checkpoint.root.0),
        });
        self.ledger
            .append(Draft {
                body,
                chain: None,
                trace: None,
                attachments: vec![(AttachmentKind::Checkpoint, head.note.clone())],
            })
            .await?;
        Ok(Ok(checkpoint))
    }

    async fn show_head(&self, peer: &ParticipantId) -> Result<()> {
        let believed = self.kept.cosigned_size(peer)?;
        let mut head = self.head(believed)?;
        let mut shown = self.peers.show(peer, believed, head.clone()).await?;
        for _ in 1..HEADS_TRIES_MAX {
            let Err(held) = shown else { break };
            // The peer holds another size than we thought: again, from there. A larger one than our
            // whole log is another history of ours, and `head` says so.
            head = self.head(held)?;
            shown = self.peers.show(peer, held, head.clone()).await?;
        }
        let line = shown.map_err(|_| Error::new(ErrorCode::MessageConflict, "the witness's size moves"))?;
        let ours =
            String::from_utf8(head.note).map_err(|_| Error::new(ErrorCode::Internal, "our checkpoint is not UTF-8"))?;
        let line = String::from_utf8(line).map_err(|_| Error::malformed("a cosignature is UTF-8"))?;
        let note = format!("{ours}{}\n", line.trim_end());
        let register = self.register.load();
        let keys: Vec<Verifier> =
            register.participant(peer).into_iter().flat_map(|p| witness_verifiers(&self.space, p)).collect();
        let parsed =
            perron_log::SignedNote::parse(&note).map_err(|e| Error::malformed(format!("a cosignature line: {e}")))?;
        parsed
            .verify(&keys)
            .map_err(|e| Error::new(ErrorCode::SignatureInvalid, format!("the cosignature of `{peer}`: {e}")))?;
        self.kept.keep_cosigned(peer, &note).await
    }
}

impl Node {
    /// The newest checkpoint of a participant's log that is kept here.
    pub fn kept_of(&self, peer: &ParticipantId) -> Result<Option<String>> {
        let participant = self.in_force(peer)?;
        Ok(self.kept.held(&participant.log_origin)?.map(|(_, note)| note))
    }
}

/// What others keep of our log, asked for before a torn end of it is moved aside.
#[derive(Clone, Debug, Default)]
pub struct HeldElsewhere {
    /// Checkpoints that our log key signed.
    pub heads: Vec<Checkpoint>,
    /// Who answered.
    pub asked: Vec<ParticipantId>,
}

/// Asks all who can be reached for the newest checkpoint of our log that they keep. Those that
/// don't answer in time are left out: a start waits for nobody.
pub async fn ask_for_heads(peers: &dyn Peers, register: &VerifiedRegister, me: &ParticipantId) -> HeldElsewhere {
    let mut held = HeldElsewhere::default();
    let Some(own) = register.participant(me) else { return held };
    let others = register.participants().filter(|p| p.id != *me && p.endpoint.is_some()).take(HEADS_ASKED_MAX);
    let asking = others.map(|p| async {
        let answer = tokio::time::timeout(Duration::from_millis(HEADS_ASKED_MS_MAX), peers.kept(&p.id)).await;
        answer.ok().and_then(std::result::Result::ok).map(|note| (p.id.clone(), note))
    });
    for (who, note) in futures::future::join_all(asking).await.into_iter().flatten() {
        // One that we never signed says nothing about our log.
        let opened = note.and_then(|n| Checkpoint::open(&n, &own.log_origin, &log_verifiers(own), &[]).ok());
        held.heads.extend(opened.map(|o| o.checkpoint));
        held.asked.push(who);
    }
    held
}

impl Kept {
    fn cosigned_size(&self, by: &ParticipantId) -> Result<u64> {
        match std::fs::read_to_string(self.cosigned.join(file_name(by.as_str()))) {
            Ok(note) => Ok(parse(&note)?.size),
            Err(_) => Ok(0),
        }
    }
}

/// What a head says beside the one held.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    /// It extends it.
    Extends,
    /// It is the same.
    Same,
    /// Its proof begins at another size than the one held: another head came between, and this one
    /// says nothing until it is asked for from there.
    ProofElsewhere,
}

/// Compares a head, whose proof begins at `from`, with the one held (RFC 6962, section 2.1.2). A
/// contradiction is an error that shows a fork or an older state.
fn compare(held: &Checkpoint, from: u64, new: &Checkpoint, proof: &[[u8; 32]]) -> Result<Compared> {
    let forked = |what: &str| Error::new(ErrorCode::LogForked, format!("the log `{}` {what}", held.origin));
    if new.size == held.size {
        return if new.root == held.root {
            Ok(Compared::Same)
        } else {
            Err(forked("shows another history than one kept"))
        };
    }
    if held.size != from {
        return Ok(Compared::ProofElsewhere);
    }
    if new.size < held.size {
        return Err(forked("shows an older state than one kept"));
    }
    if held.size > 0 {
        let hashes: Vec<Hash> = proof.iter().map(|h| Hash(*h)).collect();
        verify_consistency(held.size, new.size, &held.root, &new.root, &hashes)
            .map_err(|_| forked("doesn't extend the checkpoint kept"))?;
    }
    Ok(Compared::Extends)
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
