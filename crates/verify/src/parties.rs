//! The two parties of an agreement, and what they signed of each other's logs, with the authority's
//! key and nothing else.

use crate::envelope::Agreed;
use crate::jws;
use crate::limits::CLOCKS_APART_MS_MAX;
use crate::register::{log_verifiers_of, open_entry, require_signed_in_time, witness_verifiers};
use perron_log::{Checkpoint, OpenedCheckpoint, Verifier};
use perron_model::limits::REQUEST_BYTES_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant, PublicKey};
use perron_model::request::{REQUEST_TYP, ReadRequest};
use perron_model::{Digest, Error, ErrorCode, Result, SpaceId, Timestamp, canonical};
use serde::Serialize;

/// Someone who signed that they saw the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// Who.
    pub by: String,
    /// When, by their clock.
    pub at: Option<Timestamp>,
}

/// Each as the agreement's envelope tells of it, and newer entries of the register, for keys that
/// the envelope doesn't know.
pub(crate) struct Parties {
    space: SpaceId,
    provider: Vec<Participant>,
    consumer: Vec<Participant>,
}

impl Parties {
    /// Of an agreement, with `entries` of the register beside it.
    pub fn of(agreed: &Agreed, entries: &[String], authority: &PublicKey) -> Result<Parties> {
        if entries.len() > 2 {
            return Err(refuse("there are entries of more than two parties"));
        }
        let space = agreed.payload.space.clone();
        let mut parties =
            Parties { space, provider: vec![agreed.provider.clone()], consumer: vec![agreed.consumer.clone()] };
        for text in entries {
            let entry = open_entry(text, authority)?;
            let of = |p: &Participant| p.id == entry.participant.id && entry.space == parties.space;
            let known = match () {
                () if of(&agreed.provider) => &mut parties.provider,
                () if of(&agreed.consumer) => &mut parties.consumer,
                () => return Err(refuse("an entry of the register is of another than the two parties")),
            };
            known.push(entry.participant);
        }
        Ok(parties)
    }

    /// The claims of a request, its signature by a request key of the consumer verified.
    pub fn request(&self, text: &str, at: Timestamp) -> Result<ReadRequest> {
        let (signed, payload) = jws::parse_compact(text, REQUEST_TYP, REQUEST_BYTES_MAX)?;
        let times = [0, -CLOCKS_APART_MS_MAX, CLOCKS_APART_MS_MAX].map(|ms| at.plus_millis(ms));
        let keys = self.consumer.iter().flat_map(|p| times.map(|t| p.key_at(KeyUse::Request, &signed.kid, t)));
        let key = keys.flatten().next().ok_or_else(|| refuse("the request is by no request key in force"))?;
        signed.verify(&key.key)?;
        canonical::from_bytes(&payload, REQUEST_BYTES_MAX)
    }

    /// Parties who signed the agreement, or the request, by a key that has ended since: a receipt shows
    /// no third party that had seen it before.
    pub fn undated(&self, agreed: &Agreed, request: &str) -> Vec<String> {
        let of_request = jws::parse_compact(request, REQUEST_TYP, REQUEST_BYTES_MAX).ok().map(|(signed, _)| signed.kid);
        let [provider, consumer] = agreed.keys.map(|key| key.thumbprint());
        let has_ended = |party: &[Participant], key_use: KeyUse, kid: &Digest| {
            let keys = party.iter().flat_map(|p| &p.keys);
            keys.filter(|k| k.key_use == key_use && k.key.thumbprint() == *kid).any(|k| k.until.is_some())
        };
        let consumer_ended = has_ended(&self.consumer, KeyUse::Agreement, &consumer)
            || of_request.is_some_and(|kid| has_ended(&self.consumer, KeyUse::Request, &kid));
        let ended = [
            (has_ended(&self.provider, KeyUse::Agreement, &provider), &agreed.payload.provider),
            (consumer_ended, &agreed.payload.consumer),
        ];
        ended.into_iter().filter(|(ended, _)| *ended).map(|(_, party)| party.to_string()).collect()
    }

    /// The tree of a checkpoint that the party of this side signed with a key of its log, and
    /// whether the other one signed that it saw it, by a witness key in force at the time that it tells.
    pub fn tree(&self, owner: Side, note: &str) -> Result<(OpenedCheckpoint, Vec<Cosigned>)> {
        let (owner, other) = match owner {
            Side::Provider => (&self.provider, &self.consumer),
            Side::Consumer => (&self.consumer, &self.provider),
        };
        let newest = owner.last().ok_or_else(|| refuse("nobody is told whose log it is"))?;
        // Of a log that was closed since, by what the note names; of any other, the one in force.
        let named = note.lines().next().filter(|line| owner.iter().any(|p| p.origins().any(|own| own == *line)));
        let origin = named.unwrap_or(&newest.log_origin);
        let keys: Vec<Verifier> = owner.iter().flat_map(|p| log_verifiers_of(p, origin)).collect();
        // Who signs that it saw its own log says nothing.
        let witnesses: Vec<_> = other.iter().flat_map(|p| witness_verifiers(&self.space, p)).collect();
        let cosigners: Vec<Verifier> = witnesses.iter().map(|(_, v)| v.clone()).collect();
        let opened = Checkpoint::open(note, origin, &keys, &cosigners).map_err(|e| refuse(e.to_string()))?;
        let mut cosigned = Vec::new();
        for line in &opened.verified {
            let by = witnesses.iter().find(|(_, v)| v.name() == line.name && v.key_id() == line.key_id);
            let Some((who, verifier)) = by else { continue };
            let ms = line.time_unix_s.and_then(|s| i64::try_from(s).ok()?.checked_mul(1000));
            let seen = Cosigned { by: who.to_string(), at: ms.and_then(|ms| Timestamp::from_millis(ms).ok()) };
            let counts = seen.at.is_none_or(|at| is_witness_at(other, &verifier.public_key(), at));
            if counts && !cosigned.contains(&seen) {
                cosigned.push(seen);
            }
        }
        Ok((opened, cosigned))
    }

    /// Refuses a tree of the party of this side that was signed by a log key which had ended before this time.
    pub fn require_signed_in_time(&self, owner: Side, tree: &OpenedCheckpoint, at: Timestamp) -> Result<()> {
        let owner = if owner == Side::Provider { &self.provider } else { &self.consumer };
        require_signed_in_time(owner, tree, at)
    }
}

/// Was this witness key of a party in force at that time, by all that its entries tell of it? Clocks may be
/// apart.
fn is_witness_at(party: &[Participant], key: &[u8; 32], at: Timestamp) -> bool {
    let (early, late) = (at.plus_millis(-CLOCKS_APART_MS_MAX), at.plus_millis(CLOCKS_APART_MS_MAX));
    let told = party.iter().flat_map(|p| p.keys.iter().map(move |k| (p, k)));
    let mut told = told.filter(|(_, k)| k.key_use == KeyUse::Witness && k.key.as_bytes() == key);
    told.all(|(p, k)| {
        let has_begun = p.answers_for(k) == KeyAuthorisation::Enrolment || k.from <= late;
        has_begun && k.until.is_none_or(|until| early < until)
    })
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::SignatureInvalid, detail)
}
