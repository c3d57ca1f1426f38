//! Checkpoints of others that are kept, and cosigned; cosignatures on ours.
//!
//! A directory alone can't convict its owner, who holds the key: what convicts is a checkpoint
//! that somebody else kept. So heads go both ways after each read and agreement; a participant's or
//! an outsider's program may show one over HTTPS (C2SP tlog-witness), and witnesses that the
//! configuration names are asked for their cosignature (`witnessing`). All of them are checked, kept
//! and logged in one place.

mod elsewhere;
mod kept;
mod shown;

pub(in crate::connector) use elsewhere::Shown;
pub use elsewhere::{HeldElsewhere, ask_for_heads};
pub use kept::{Kept, SUPERSEDED};

use crate::connector::node::Node;
use crate::connector::peers::Head;
use crate::ledger::Draft;
use crate::settings::OutsideLog;
use crate::trust::keyring::Held;
pub(in crate::connector) use kept::parse;
use kept::{file_name, outside_file};
use perron_log::merkle::{Hash, empty_root, verify_consistency};
use perron_log::{Checkpoint, Cosigner, KeyKind, NoteError, OpenedCheckpoint, Submission, TlogProof, Verifier};
use perron_model::entry::{AttachmentKind, Body, CheckpointKept};
use perron_model::limits::{CLOCK_LAG_MS_MAX, HEADS_TRIES_MAX};
use perron_model::participant::{KeyUse, Participant};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::BTreeMap;

/// Logs outside of the data space whose checkpoints are cosigned: their keys, by origin.
pub type OutsideLogs = BTreeMap<String, Vec<Verifier>>;

/// The logs outside of the data space that the configuration names.
pub fn outside_logs(configured: &[OutsideLog]) -> Result<OutsideLogs> {
    let invalid = |detail: String| Error::new(ErrorCode::ConfigInvalid, detail);
    let mut logs = OutsideLogs::new();
    for log in configured {
        perron_log::note::check_name(&log.origin).map_err(|e| invalid(format!("`origin` of a `[[http.log]]`: {e}")))?;
        let key = Verifier::parse_vkey(&log.vkey)
            .map_err(|e| invalid(format!("`vkey` of the log `{}` can't be used: {e}", log.origin)))?;
        if key.kind() != KeyKind::Ed25519 {
            return Err(invalid(format!("the key of the log `{}` is not of type 0x01 (Ed25519)", log.origin)));
        }
        let keys = logs.entry(log.origin.clone()).or_default();
        if keys.contains(&key) {
            return Err(invalid(format!("the key of the log `{}` stands there twice", log.origin)));
        }
        keys.push(key);
    }
    Ok(logs)
}

/// A log whose checkpoints are checked, kept and cosigned here.
#[derive(Debug)]
struct WitnessedLog {
    origin: String,
    keys: Vec<Verifier>,
    // Those of them of which one must have signed; the others' lines only have to be right.
    in_force: Vec<Verifier>,
    // Whose it is, as errors and rates name it.
    who: String,
    is_outside: bool,
}

impl WitnessedLog {
    fn of(participant: &Participant, now: Timestamp) -> WitnessedLog {
        WitnessedLog {
            origin: participant.log_origin.clone(),
            keys: log_verifiers(participant),
            in_force: log_verifiers_at(participant, now),
            who: participant.id.to_string(),
            is_outside: false,
        }
    }

    fn open(&self, note: &str) -> std::result::Result<OpenedCheckpoint, NoteError> {
        let opened = Checkpoint::open(note, &self.origin, &self.keys, &[])?;
        opened.note.verify(&self.in_force)?;
        Ok(opened)
    }

    /// Name of its file in `trust/kept/`.
    fn file(&self) -> String {
        if self.is_outside { outside_file(&self.origin) } else { file_name(&self.origin) }
    }

    /// The key by which an opened checkpoint was checked, where the register doesn't know it.
    fn key_of(&self, opened: &OpenedCheckpoint) -> Option<String> {
        let line = opened.verified.first().filter(|_| self.is_outside)?;
        let key = self.keys.iter().find(|key| key.name() == line.name && key.key_id() == line.key_id)?;
        Some(key.to_vkey())
    }
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

/// Verifiers of a participant's log keys that are in force at `at`, or were or will be within the time
/// by which clocks may differ.
fn log_verifiers_at(participant: &Participant, at: Timestamp) -> Vec<Verifier> {
    let (early, late) = (at.plus_millis(-CLOCK_LAG_MS_MAX), at.plus_millis(CLOCK_LAG_MS_MAX));
    let keys = participant.keys.iter().filter(|k| k.key_use == KeyUse::Log);
    keys.filter(|k| k.from <= late && k.until.is_none_or(|until| early < until))
        .filter_map(|k| Verifier::new(&participant.log_origin, KeyKind::Ed25519, k.key.as_bytes()).ok())
        .collect()
}

/// Verifiers of a participant's log keys, past and present, for the log in force.
pub fn log_verifiers(participant: &Participant) -> Vec<Verifier> {
    log_verifiers_of(participant, &participant.log_origin)
}

/// As `log_verifiers`, for another of its logs.
pub fn log_verifiers_of(participant: &Participant, origin: &str) -> Vec<Verifier> {
    participant
        .keys
        .iter()
        .filter(|k| k.key_use == KeyUse::Log)
        .filter_map(|k| Verifier::new(origin, KeyKind::Ed25519, k.key.as_bytes()).ok())
        .collect()
}

/// Verifies that a leaf lies in the participant's log in force, or in a closed one as far as it was
/// closed.
pub(crate) fn verify_in_logs(
    proof: &TlogProof,
    leaf: &Hash,
    participant: &Participant,
) -> std::result::Result<(), perron_log::proof::ProofError> {
    let verify = |origin: &str| {
        let keys = log_verifiers_of(participant, origin);
        proof.verify(leaf, origin, &keys, &[]).map(|opened| opened.checkpoint.size)
    };
    let in_force = verify(&participant.log_origin).map(|_| ());
    let mut closed = participant.closed_logs.iter();
    if in_force.is_err() && closed.any(|log| verify(&log.origin).is_ok_and(|size| size <= log.size)) {
        return Ok(());
    }
    in_force
}

impl Node {
    /// Asks a peer for its newest checkpoint, checks that it extends the one held, keeps it, and
    /// shows ours. Where the peer holds another history of ours, and can show it, the writer stops.
    pub async fn exchange_heads(&self, peer: &ParticipantId) -> Result<()> {
        let exchanged = self.exchange_heads_once(peer).await;
        if exchanged.as_ref().is_err_and(|e| e.code == ErrorCode::LogForked) {
            self.look_for_a_fork(peer).await;
        }
        exchanged
    }

    /// Where the peer shows a newer one meanwhile, it is asked again from there.
    async fn exchange_heads_once(&self, peer: &ParticipantId) -> Result<()> {
        let participant = self.in_force(peer)?;
        for _ in 0..HEADS_TRIES_MAX {
            let log = WitnessedLog::of(&participant, self.now());
            let from = self.held_size(&log)?;
            let head = self.peers.head(peer, from).await?;
            if self.keep_head(&log, from, &head).await?.is_ok() {
                return self.show_head(peer).await;
            }
        }
        Err(Error::new(ErrorCode::MessageConflict, "the peer's newest checkpoint moves"))
    }

    fn held_size(&self, log: &WitnessedLog) -> Result<u64> {
        Ok(self.kept.held_in(&log.origin, &log.file())?.map_or(0, |(c, _)| c.size))
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
        let log = WitnessedLog::of(&self.in_force(peer)?, self.now());
        let held = self.held_size(&log)?;
        if held != old_size {
            return Ok(Err(held));
        }
        self.take_rate(&log)?;
        match self.keep_head(&log, old_size, head).await? {
            Ok(checkpoint) => self.cosign(&checkpoint).map(|line| Ok(line.into_bytes())),
            Err(held) => Ok(Err(held)),
        }
    }

    /// As witness over HTTPS (C2SP tlog-witness): checks what was submitted against the checkpoint
    /// held of that log, keeps it, cosigns it. Gives the size held instead, where the proof begins
    /// elsewhere.
    ///
    /// # Errors
    /// `not_found` for a log that nobody named, `signature_invalid` without a signature by its key,
    /// `malformed` where the old size is over the checkpoint's, `proof_invalid` or `log_forked` where
    /// the proof doesn't lead from the one to the other.
    pub async fn witness_submission(&self, submission: &Submission) -> Result<std::result::Result<String, u64>> {
        let log = self.witnessed_log(submission.origin())?;
        let opened = log.open(&submission.checkpoint).map_err(|e| match e {
            NoteError::BadSignature { .. } | NoteError::NoKnownSignature => {
                Error::new(ErrorCode::SignatureInvalid, format!("the checkpoint of `{}`: {e}", log.who))
            }
            _ => Error::malformed(format!("the checkpoint: {e}")),
        })?;
        let checkpoint = &opened.checkpoint;
        if submission.old_size > checkpoint.size {
            return Err(Error::malformed("the old size is over the checkpoint's"));
        }
        let held = self.held_size(&log)?;
        if held != submission.old_size {
            return Ok(Err(held));
        }
        let needs_no_proof = submission.old_size == 0 || submission.old_size == checkpoint.size;
        if needs_no_proof && !submission.proof.is_empty() {
            return Err(Error::new(ErrorCode::ProofInvalid, "there is a proof where none is needed"));
        }
        if checkpoint.size == 0 && checkpoint.root != empty_root() {
            return Err(Error::new(ErrorCode::ProofInvalid, "the root is not that of the empty tree"));
        }
        self.take_rate(&log)?;
        let consistency: Vec<[u8; 32]> = submission.proof.iter().map(|h| h.0).collect();
        let kept = self.keep_opened(&log, submission.old_size, &opened, &submission.checkpoint, &consistency).await?;
        match kept {
            Ok(checkpoint) => Ok(Ok(self.cosign(&checkpoint)?)),
            Err(held) => Ok(Err(held)),
        }
    }

    /// The log of this origin: a participant's that is in force, or one that the configuration names.
    fn witnessed_log(&self, origin: &str) -> Result<WitnessedLog> {
        let register = self.register.load();
        if let Some(owner) = register.participants().find(|p| p.log_origin == origin && p.id != self.me) {
            return Ok(WitnessedLog::of(&self.in_force(&owner.id)?, self.now()));
        }
        // Whoever signs that they saw their own log says nothing.
        let keys = self.outside.get(origin).filter(|_| origin != self.ledger.origin());
        let keys = keys.ok_or_else(|| Error::new(ErrorCode::NotFound, "no log of this origin is known here"))?.clone();
        Ok(WitnessedLog {
            origin: origin.to_owned(),
            in_force: keys.clone(),
            keys,
            who: origin.to_owned(),
            is_outside: true,
        })
    }

    /// Each checkpoint that is kept is an entry of ours, so they have a rate by log.
    fn take_rate(&self, log: &WitnessedLog) -> Result<()> {
        if self.checkpoint_rates.take(&log.origin, self.now()) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Overloaded, "too many checkpoints in a short time"))
    }

    /// Our cosignature lines of a checkpoint that was checked and kept: one, or two while the witness
    /// key changes.
    fn cosign(&self, checkpoint: &Checkpoint) -> Result<String> {
        let unusable = |_| Error::new(ErrorCode::KeyInvalid, "the witness key can't sign");
        let name = witness_name(&self.space, &self.me);
        let now = self.now();
        let seconds = u64::try_from(now.millis() / 1000).unwrap_or(0);
        let line = |held: Held| {
            let cosigner = Cosigner::from_seed(&name, &held.key.seed()).map_err(unusable)?;
            cosigner.cosign(checkpoint, seconds).map(|line| line.to_string()).map_err(unusable)
        };
        let lines: Vec<String> =
            self.keys.in_force(KeyUse::Witness, now)?.into_iter().map(line).collect::<Result<_>>()?;
        Ok(lines.join("\n"))
    }

    /// Checks and keeps a head whose proof begins at `from`. Gives the size held instead, where
    /// another head was kept since it was asked for.
    async fn keep_head(
        &self,
        log: &WitnessedLog,
        from: u64,
        head: &Head,
    ) -> Result<std::result::Result<Checkpoint, u64>> {
        let text = std::str::from_utf8(&head.note).map_err(|_| Error::malformed("a checkpoint is UTF-8"))?;
        let opened = log
            .open(text)
            .map_err(|e| Error::new(ErrorCode::SignatureInvalid, format!("the checkpoint of `{}`: {e}", log.who)))?;
        self.keep_opened(log, from, &opened, text, &head.consistency).await
    }

    /// Check, keep and log, as one step: the one core of all witnessing.
    async fn keep_opened(
        &self,
        log: &WitnessedLog,
        from: u64,
        opened: &OpenedCheckpoint,
        text: &str,
        consistency: &[[u8; 32]],
    ) -> Result<std::result::Result<Checkpoint, u64>> {
        let checkpoint = opened.checkpoint.clone();
        let _order = self.kept.order.lock().await;
        if let Some((held, _)) = self.kept.held_in(&log.origin, &log.file())? {
            match compare(&held, from, &checkpoint, consistency)? {
                Compared::Extends => {}
                Compared::Same => return Ok(Ok(checkpoint)),
                Compared::ProofElsewhere => return Ok(Err(held.size)),
            }
        }
        self.kept.keep(&log.file(), &checkpoint, text).await?;
        let body = Body::CheckpointKept(CheckpointKept {
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            root: Digest::from_bytes(checkpoint.root.0),
            key: log.key_of(opened),
        });
        let attachments = vec![(AttachmentKind::Checkpoint, text.as_bytes().to_vec())];
        self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await?;
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
        self.kept.keep_cosigned(peer, &note, &self.key_ends()).await
    }
}

impl Node {
    /// When keys of the register ended or will.
    pub(super) fn key_ends(&self) -> Vec<Timestamp> {
        let register = self.register.load();
        register.participants().flat_map(|p| &p.keys).filter_map(|k| k.until).collect()
    }

    /// Where a peer keeps a checkpoint that our own log key signed, and to which this log doesn't lead,
    /// nothing more is written.
    async fn look_for_a_fork(&self, peer: &ParticipantId) {
        let register = self.register.load();
        let (Ok(Some(note)), Some(own)) = (self.peers.kept(peer).await, register.participant(&self.me)) else { return };
        let Ok(opened) = Checkpoint::open(&note, self.ledger.origin(), &log_verifiers(own), &[]) else { return };
        let (head, reader) = (opened.checkpoint, self.ledger.reader());
        let is_longer = head.size > reader.size();
        if is_longer || reader.root_at(head.size).is_ok_and(|root| root != head.root) {
            let what = if is_longer { "more entries" } else { "other entries" };
            let detail = format!(
                "`{peer}` keeps a checkpoint of {} entries of this log, which has {what} than this directory",
                head.size
            );
            self.stop_superseded(Error::new(ErrorCode::OwnLogForked, detail)).await;
        }
    }

    /// Stops the writer where the register in use names another log of this organisation than the one
    /// that is written: this directory is of one that was closed.
    pub async fn stop_if_closed(&self) {
        let register = self.register.load();
        let Some(own) = register.participant(&self.me).filter(|own| own.log_origin != self.ledger.origin()) else {
            return;
        };
        let (written, named) = (self.ledger.origin(), &own.log_origin);
        let detail = format!("the register names the log `{named}`, and this directory is of `{written}`");
        self.stop_superseded(Error::new(ErrorCode::OwnLogForked, detail)).await;
    }

    /// Stops the writer for good, now and at each later start: this directory isn't the newest state
    /// of its log.
    pub(crate) async fn stop_superseded(&self, reason: Error) {
        tracing::error!(code = reason.code.as_str(), "the writer stops: {}", reason.detail);
        let kept = self.kept.supersede(&reason.detail, self.now()).await;
        if let Err(error) = kept {
            tracing::error!(code = error.code.as_str(), "that it stopped can't be kept: {}", error.detail);
        }
        self.ledger.give_up(reason);
    }

    /// The newest checkpoint of a participant's log that is kept here.
    pub fn kept_of(&self, peer: &ParticipantId) -> Result<Option<String>> {
        let participant = self.in_force(peer)?;
        Ok(self.kept.held(&participant.log_origin)?.map(|(_, note)| note))
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
