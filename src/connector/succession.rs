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
use crate::connector::witness::{Kept, log_verifiers_of};
use crate::connector::witnessing::Asked;
use crate::ledger::{Begun, Closing};
use crate::trust::register::VerifiedRegister;
use crate::trust::succession as signed;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt;
use perron_log::merkle::leaf_hash;
use perron_log::{Checkpoint, Hash, LogReader, TlogProof};
use perron_model::entry::{AttachmentKind, Body, Entry, Succession};
use perron_model::limits::{HEADS_ASKED_MAX, HEADS_ASKED_MS_MAX, SUCCESSION_ASKED_AT_ONCE_MAX, SUCCESSION_BYTES_MAX};
use perron_model::participant::{KeyUse, Participant};
use perron_model::request::Receipt;
use perron_model::succession::{
    Charged, ChargedBy, ClosedLog, HeldHead, SuccessionDocument, SuccessionRequest, next_origin,
};
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};
pub use places::{BACKUP_FILE, NEXT, Places};
use std::time::Duration;

/// What others hold of a log that this directory doesn't lead to.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Their heads, with the signed checkpoint where it was shown.
    pub heads: Vec<HeldHead>,
    /// Organisations that couldn't be asked, or didn't answer.
    pub silent: Vec<ParticipantId>,
    /// Those that answered.
    pub asked: Vec<String>,
}

impl Elsewhere {
    /// Entries of the largest head that is held, of a log of `size`.
    pub fn held(&self, size: u64) -> u64 {
        self.heads.iter().map(|head| head.size).max().unwrap_or(size).max(size)
    }

    fn take(&mut self, reader: &LogReader, by: &str, head: &Checkpoint, note: &str) {
        let contradicts = head.size > reader.size() || reader.root_at(head.size).is_ok_and(|root| root != head.root);
        if contradicts && self.heads.iter().all(|known| known.by != by || known.size < head.size) {
            // The largest of each who holds one.
            self.heads.retain(|known| known.by != by);
            self.heads.push(HeldHead { by: by.to_owned(), size: head.size, note: Some(note.to_owned()) });
        }
    }
}

/// Asks all participants and the configured witnesses what they hold of the log that `closing` is the
/// end of; what lies cosigned in the directory counts too. Who doesn't answer in time is told as silent.
pub async fn ask(parts: &Parts, asked: &Asked, closing: &Closing) -> Result<Elsewhere> {
    let mut found = Elsewhere::default();
    let (reader, register) = (closing.reader(), parts.register.load());
    let own = own(&register, parts)?;
    let keys = log_verifiers_of(own, &own.log_origin);
    let others = register.participants().filter(|p| p.id != own.id);
    let asking = others.map(|p| async move {
        let limit = Duration::from_millis(HEADS_ASKED_MS_MAX);
        let answer = tokio::time::timeout(limit, parts.peers.kept(&p.id)).await;
        (p.id.clone(), answer.ok().and_then(Result::ok))
    });
    let answers: Vec<_> = futures::stream::iter(asking).buffer_unordered(HEADS_ASKED_MAX).collect().await;
    for (who, answer) in answers {
        let Some(note) = answer else {
            found.silent.push(who);
            continue;
        };
        // One that we never signed says nothing about our log.
        if let Some(note) = note
            && let Ok(opened) = Checkpoint::open(&note, &own.log_origin, &keys, &[])
        {
            found.take(reader, who.as_str(), &opened.checkpoint, &note);
        }
        found.asked.push(who.to_string());
    }
    for (by, note) in Kept::open(&parts.settings.data.join("trust"))?.cosigned_by()? {
        if let Ok(opened) = Checkpoint::open(&note, &own.log_origin, &keys, &[]) {
            found.take(reader, &by, &opened.checkpoint, &note);
        }
    }
    for (by, answer) in asked.hold(&reader.last_note(), reader.size()).await {
        match answer {
            Ok(held) => {
                found.asked.push(by.clone());
                // Its word, unsigned: a size alone.
                found.heads.extend(held.map(|size| HeldHead { by, size, note: None }));
            }
            Err(error) => tracing::warn!(witness = by, code = error.code.as_str(), "no answer: {}", error.detail),
        }
    }
    found.heads.sort_by(|one, two| (&one.by, one.size).cmp(&(&two.by, two.size)));
    found.silent.sort();
    Ok(found)
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
    let bytes = canonical::to_bytes(&document)?;
    if bytes.len() > SUCCESSION_BYTES_MAX {
        let detail = format!("what is charged to the agreements takes more than {SUCCESSION_BYTES_MAX} bytes");
        return Err(Error::new(ErrorCode::TooLarge, detail));
    }
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

/// What the partner's newest receipt shows, if that is more. One that our log key didn't sign, or
/// that is about another agreement, shows nothing.
fn by_partner(
    own: &Participant,
    agreement: &AgreementId,
    (uses, volume): (u64, u64),
    parts: Option<ReceiptParts>,
) -> Charged {
    let by = ChargedBy::Partner;
    let nothing_new = Charged { agreement: *agreement, by, uses, volume, receipt: None };
    let Some(receipt) = parts.map(|parts| kept_receipt(&parts)) else { return nothing_new };
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
