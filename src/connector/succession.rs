//! The next generation of a log: for where entries were lost that others have seen.
//!
//! Partners, the authority and witnesses are asked what they hold of the log. If nobody holds more,
//! it goes on. Else it is closed at the head that was got back, and the next one begins: its first
//! entry names what others hold and what each agreement is charged for what was lost, the authority
//! confirms it in the register, and only then the directories change places. Each step finds what the
//! one before left, so a crash at any point loses nothing and the whole can be run again.

mod places;

use crate::connector::authority::Authority;
use crate::connector::node::{Node, Parts};
use crate::connector::peers::{Peers, ReceiptParts};
use crate::connector::receiving::kept_receipt;
use crate::connector::witness::{Kept, Shown, log_verifiers_of};
use crate::connector::witnessing::Asked;
use crate::ledger::{Begun, Closing, log_error};
use crate::trust::register::VerifiedRegister;
use crate::trust::succession as signed;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use perron_log::merkle::leaf_hash;
use perron_log::{Hash, Layout, LogError, LogReader, OpenedCheckpoint, OsFiles, TlogProof};
use perron_model::entry::{AttachmentKind, Body, Entry, Succession};
use perron_model::limits::{
    HEADS_ASKED_MAX, HEADS_ASKED_MS_MAX, SUCCESSION_ASKED_AT_ONCE_MAX, SUCCESSION_BYTES_MAX,
    SUCCESSION_RECEIPT_BYTES_MAX,
};
use perron_model::participant::{KeyUse, Participant};
use perron_model::request::Receipt;
use perron_model::succession::{
    Charged, ChargedBy, ClosedLog, HeldHead, SuccessionDocument, SuccessionRequest, next_origin,
};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
pub use places::{BACKUP_FILE, NEXT, Places};
use std::path::Path;
use std::time::Duration;

/// What others hold of a log that this directory doesn't lead to.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Their heads, with the signed checkpoint where it was shown.
    pub heads: Vec<HeldHead>,
    /// Participants and witnesses that couldn't be asked, or didn't answer.
    pub silent: Vec<String>,
    /// Those that answered.
    pub asked: Vec<String>,
    /// A log of ours that took the place of this one, and who keeps a checkpoint of it.
    pub later: Option<(String, String)>,
}

impl Elsewhere {
    /// Entries of the largest head that is held, of a log of `size`.
    pub fn held(&self, size: u64) -> u64 {
        self.heads.iter().map(|head| head.size).max().unwrap_or(size).max(size)
    }

    fn take(&mut self, reader: &LogReader, by: &str, opened: &OpenedCheckpoint) {
        let head = &opened.checkpoint;
        if head.size > reader.size() || reader.root_at(head.size).is_ok_and(|root| root != head.root) {
            self.add(HeldHead { by: by.to_owned(), size: head.size, note: Some(signed_by_us(opened)) });
        }
    }

    /// The largest of each who holds one.
    fn add(&mut self, head: HeldHead) {
        if self.heads.iter().all(|known| known.by != head.by || known.size < head.size) {
            self.heads.retain(|known| known.by != head.by);
            self.heads.push(head);
        }
    }
}

/// A checkpoint with our own signatures alone: whoever keeps it may have added any lines.
fn signed_by_us(opened: &OpenedCheckpoint) -> String {
    let mut note = opened.note.clone();
    let mut seen = Vec::new();
    note.signatures.retain(|line| {
        let key = (line.name.clone(), line.key_id);
        let is_ours = opened.verified.iter().any(|ours| (&ours.name, ours.key_id) == (&key.0, key.1));
        let is_kept = is_ours && !seen.contains(&key);
        seen.push(key);
        is_kept
    });
    note.to_string()
}

/// Asks all participants and the configured witnesses what they hold of the log that `closing` is the
/// end of; what was shown before and what lies cosigned in the directory count too. Who doesn't answer in
/// time is told as silent.
pub async fn ask(parts: &Parts, asked: &Asked, closing: &Closing) -> Result<Elsewhere> {
    let mut found = Elsewhere::default();
    let (reader, register) = (closing.reader(), parts.register.load());
    let own = own(&register, parts)?;
    let others = register.participants().filter(|p| p.id != own.id);
    let asking = others.map(|p| async move {
        let limit = Duration::from_millis(HEADS_ASKED_MS_MAX);
        let answer = tokio::time::timeout(limit, parts.peers.kept(&p.id)).await;
        (p.id.to_string(), answer.ok().and_then(Result::ok))
    });
    let answers: Vec<_> = futures::stream::iter(asking).buffer_unordered(HEADS_ASKED_MAX).collect().await;
    for (who, answer) in answers {
        let Some(note) = answer else {
            found.silent.push(who);
            continue;
        };
        match note.map_or(Shown::Nothing, |note| Shown::of(&note, own)) {
            Shown::Head(opened) => found.take(reader, &who, &opened),
            Shown::Later(origin) => found.later = Some((origin, who.clone())),
            Shown::Nothing => {}
        }
        found.asked.push(who);
    }
    in_directory(parts, own, reader, &mut found)?;
    for (by, answer) in asked.hold(&reader.last_note(), reader.size()).await {
        match answer {
            Ok(held) => {
                found.asked.push(by.clone());
                // Its word, unsigned: a size alone.
                held.into_iter().for_each(|size| found.add(HeldHead { by: by.clone(), size, note: None }));
            }
            Err(error) => {
                tracing::warn!(witness = by, code = error.code.as_str(), "no answer: {}", error.detail);
                found.silent.push(by);
            }
        }
    }
    found.heads.sort_by(|one, two| (&one.by, one.size).cmp(&(&two.by, two.size)));
    found.silent.sort();
    Ok(found)
}

/// Size and text of the checkpoint that the log last published; none before it had one.
pub fn own_head(directory: &Path, own: &Participant) -> Result<Option<(u64, String)>> {
    let bytes = perron_log::recover::read_checkpoint_file(&OsFiles, &Layout::new(directory));
    let note = match bytes {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(log_error(&error)),
    };
    match Shown::of(&note, own) {
        Shown::Head(opened) => Ok(Some((opened.checkpoint.size, signed_by_us(&opened)))),
        _ => Ok(None),
    }
}

/// What lies cosigned in the directory, and what others showed when they were asked before.
fn in_directory(parts: &Parts, own: &Participant, reader: &LogReader, found: &mut Elsewhere) -> Result<()> {
    let kept = Kept::open(&parts.settings.data.join("trust"))?;
    let shown = kept.superseding().into_iter().map(|head| (head.by.clone(), head.note.clone(), Some(head)));
    let cosigned = kept.cosigned_by()?.into_iter().map(|(by, note)| (by, Some(note), None));
    for (by, note, head) in shown.chain(cosigned) {
        match (note.map(|note| Shown::of(&note, own)), head) {
            (Some(Shown::Head(opened)), _) => found.take(reader, &by, &opened),
            (None, Some(head)) => found.add(head),
            _ => {}
        }
    }
    Ok(())
}

fn own<'a>(register: &'a VerifiedRegister, parts: &Parts) -> Result<&'a Participant> {
    let me = &parts.settings.participant;
    register
        .participant(me)
        .ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, format!("`{me}` is not in the register")))
}

/// Begins the next log beside the one that it will take the place of. Nothing else changes yet.
pub async fn begin(
    parts: &Parts,
    closing: &Closing,
    elsewhere: Elsewhere,
    backup: Option<Digest>,
    now: Timestamp,
) -> Result<()> {
    let (reader, register) = (closing.reader(), parts.register.load());
    let own = own(&register, parts)?;
    let (size, held) = (reader.size(), elsewhere.held(reader.size()));
    let charged = charge(&*parts.peers, own, closing).await;
    let document = SuccessionDocument { heads: elsewhere.heads, charged, silent: elsewhere.silent };
    let bytes = within(SUCCESSION_BYTES_MAX, document, |agreement| closing.totals(agreement))?;
    let body = Succession {
        origin: own.log_origin.clone(),
        size,
        root: Digest::from_bytes(reader.root().0),
        held,
        lost: held.saturating_sub(size),
        backup,
        document: Digest::of(&bytes),
    };
    let attachments = vec![(AttachmentKind::Document, bytes)];
    let identity = parts.identity_of(&next_origin(&own.log_origin)?)?;
    closing.begin(&Places::of(&parts.settings.data).next(), identity, body, attachments, now)
}

/// What the agreements under which this organisation gives are charged from here on.
async fn charge(peers: &dyn Peers, own: &Participant, closing: &Closing) -> Vec<Charged> {
    let asking = closing.gives().iter().map(|(agreement, partner)| async move {
        let limit = Duration::from_millis(HEADS_ASKED_MS_MAX);
        let answer = tokio::time::timeout(limit, peers.held_receipt(partner, agreement)).await;
        let before = closing.totals(agreement);
        match answer.ok().and_then(Result::ok) {
            Some(receipt) => by_partner(own, agreement, before, receipt),
            None => Charged::lost(*agreement, before),
        }
    });
    let mut charged: Vec<Charged> =
        futures::stream::iter(asking).buffer_unordered(SUCCESSION_ASKED_AT_ONCE_MAX).collect().await;
    charged.sort_by_key(|c| c.agreement);
    charged
}

/// The document's bytes. Where they are over the bound, the largest receipts of partners count as not
/// shown, as many as have to.
fn within(
    bytes_max: usize,
    mut document: SuccessionDocument,
    totals: impl Fn(&AgreementId) -> (u64, u64),
) -> Result<Vec<u8>> {
    loop {
        let bytes = canonical::to_bytes(&document)?;
        let excess = bytes.len().saturating_sub(bytes_max);
        if excess == 0 {
            return Ok(bytes);
        }
        let shown = document.charged.iter_mut().map(|c| (c.receipt.as_ref().map_or(0, receipt_bytes), c));
        let mut shown: Vec<_> = shown.filter(|(_, c)| c.receipt.is_some()).collect();
        shown.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        let mut freed = 0usize;
        for (size, one) in shown {
            if freed < excess {
                freed = freed.saturating_add(size.max(1));
                *one = Charged::lost(one.agreement, totals(&one.agreement));
            }
        }
        if freed == 0 {
            let detail = format!("what is charged to the agreements takes more than {bytes_max} bytes");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
    }
}

fn receipt_bytes(receipt: &Receipt) -> usize {
    let parts = [&receipt.decision, &receipt.outcome, &receipt.decision_proof, &receipt.outcome_proof];
    parts.into_iter().fold(receipt.stream_salt.len(), |sum, part| sum.saturating_add(part.len()))
}

/// What the partner's newest receipt shows, if that is more. One that our log key didn't sign, or
/// that is about another agreement, shows nothing; one in which anything could stand is no answer.
fn by_partner(
    own: &Participant,
    agreement: &AgreementId,
    (uses, volume): (u64, u64),
    parts: Option<ReceiptParts>,
) -> Charged {
    let by = ChargedBy::Partner;
    let nothing_new = Charged { agreement: *agreement, by, uses, volume, receipt: None };
    let Some(parts) = parts else { return nothing_new };
    let Some(receipt) = bounded(&parts) else { return Charged::lost(*agreement, (uses, volume)) };
    match totals_of(own, agreement, &receipt) {
        Some((told_uses, told_volume)) if told_uses > uses || told_volume > volume => Charged {
            agreement: *agreement,
            by,
            uses: told_uses.max(uses),
            volume: told_volume.max(volume),
            receipt: Some(receipt),
        },
        _ => nothing_new,
    }
}

/// A receipt as it is kept, with nothing in it that no signature covers, and within its bound.
fn bounded(parts: &ReceiptParts) -> Option<Receipt> {
    let proof = |bytes: &[u8]| {
        let proof = TlogProof::parse(std::str::from_utf8(bytes).ok()?).ok()?;
        Some(TlogProof { extra: None, ..proof }.to_string().into_bytes())
    };
    let outcome_proof = if parts.outcome.is_empty() {
        Some(Vec::new()).filter(|_| parts.outcome_proof.is_empty())?
    } else {
        proof(&parts.outcome_proof)?
    };
    let parts = ReceiptParts { decision_proof: proof(&parts.decision_proof)?, outcome_proof, ..parts.clone() };
    let receipt = kept_receipt(&parts);
    Some(receipt).filter(|r| parts.stream_salt.len() == 16 && receipt_bytes(r) <= SUCCESSION_RECEIPT_BYTES_MAX)
}

/// The totals that a receipt of our own log tells, as far as it tells them.
fn totals_of(own: &Participant, agreement: &AgreementId, receipt: &Receipt) -> Option<(u64, u64)> {
    let (decision, _) = proven(own, agreement, &receipt.decision, &receipt.decision_proof)?;
    let Body::Decision(decision) = decision else { return None };
    if receipt.outcome.is_empty() {
        return Some((decision.uses, decision.volume.unwrap_or(0)));
    }
    match proven(own, agreement, &receipt.outcome, &receipt.outcome_proof)?.0 {
        Body::Outcome(outcome) => Some((outcome.uses, outcome.volume.or(decision.volume).unwrap_or(0))),
        _ => None,
    }
}

/// An entry of the agreement's chain in one of our own logs.
fn proven(own: &Participant, agreement: &AgreementId, leaf: &str, proof: &str) -> Option<(Body, Hash)> {
    let bytes = URL_SAFE_NO_PAD.decode(leaf).ok()?;
    let (hash, proof) = (leaf_hash(&bytes), TlogProof::parse(proof).ok()?);
    own.origins().find(|origin| proof.verify(&hash, origin, &log_verifiers_of(own, origin), &[]).is_ok())?;
    let entry = Entry::from_bytes(&bytes).ok()?;
    crate::connector::rotation::require_signed_in_time(own, &proof.checkpoint, entry.time).ok()?;
    entry.chain.filter(|chain| chain.agreement == *agreement).map(|_| (entry.body, hash))
}

/// The signed request that the authority confirms, for the log that was begun.
pub fn request(parts: &Parts, begun: &Begun, now: Timestamp) -> Result<(SuccessionRequest, String)> {
    let body = &begun.body;
    let closes = ClosedLog {
        origin: body.origin.clone(),
        size: body.size,
        root: body.root,
        held: body.held,
        genesis: begun.leaf,
        closed: now,
    };
    let request = SuccessionRequest {
        space: parts.space.clone(),
        participant: parts.settings.participant.clone(),
        opens: next_origin(&closes.origin)?,
        closes,
        time: now,
    };
    let text = signed::sign(&request, &*parts.keys.signing_key(KeyUse::Agreement, now)?)?;
    Ok((request, text))
}

/// Verifies that the register's newer version names the next log, and takes it into use.
pub fn confirm(parts: &Parts, request: &SuccessionRequest, register: &[u8]) -> Result<()> {
    let current = parts.register.load();
    let verified = VerifiedRegister::verify_bytes(register, current.authority(), Some(&current))?;
    if !signed::is_confirmed(own(&verified, parts)?, request) {
        return Err(Error::new(ErrorCode::RegisterInvalid, "the authority's register doesn't name the next log"));
    }
    let file = parts.settings.data.join("trust").join(crate::connector::authority::REGISTER_FILE);
    crate::files::write_file(&file, register)?;
    parts.register.replace(verified).map(|_| ())
}

impl Node {
    /// As authority: closes a participant's log on its own signed request.
    pub fn succeed_of(&self, authority: &Authority, peer: &ParticipantId, succession: &str) -> Result<()> {
        let origin = self.register.load().participant(peer).map(|own| own.log_origin.clone());
        let held = origin.map(|origin| self.kept.held(&origin)).transpose()?.flatten();
        authority.succeed(peer, succession, held.map(|(head, _)| head.size), self.now())
    }

    /// The newest receipt that we hold of a provider's chain of an agreement.
    pub fn held_receipt(&self, provider: &ParticipantId, agreement: &AgreementId) -> Result<Option<ReceiptParts>> {
        let known = self.state.agreement(agreement).filter(|kept| kept.payload.provider == *provider);
        if known.is_none() {
            return Err(Error::new(ErrorCode::NotFound, "there is no such agreement with this participant"));
        }
        let held = self.state.held(agreement);
        let Some(place) = held.received else {
            // A store of before places were noted knows that there is a receipt, and not where.
            let unknown = || Error::new(ErrorCode::LogUnavailable, "the receipt isn't at hand; rebuild the store");
            return if held.seen.is_some() { Err(unknown()) } else { Ok(None) };
        };
        let unreadable = |_| Error::new(ErrorCode::LogUnavailable, "the receipt can't be read");
        let (reader, index) = self.ledger.locate(place);
        let attached = reader.attachments(index).map_err(unreadable)?;
        let bytes = attached.into_iter().find(|a| a.kind == AttachmentKind::Receipt as u16).map(|a| a.bytes);
        let damaged = || Error::new(ErrorCode::LogDamaged, "the receipt can't be read");
        let receipt: Receipt = serde_json::from_slice(&bytes.ok_or_else(damaged)?).map_err(|_| damaged())?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged());
        Ok(Some(ReceiptParts {
            decision: bytes(&receipt.decision)?,
            outcome: bytes(&receipt.outcome)?,
            decision_proof: receipt.decision_proof.into_bytes(),
            outcome_proof: receipt.outcome_proof.into_bytes(),
            stream_salt: bytes(&receipt.stream_salt)?,
        }))
    }
}

#[cfg(test)]
#[path = "succession_tests.rs"]
mod tests;
