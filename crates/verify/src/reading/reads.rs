//! Reads: decisions with their outcomes at the provider, intents at the consumer.

use super::attached::Attached;
use super::{OpenRead, Reading, has_room};
use crate::jws::{self, Signed};
use crate::limits::{CLOCK_TOLERANCE_MS, CLOCKS_APART_MS_MAX, FOLLOWED_MAX};
use perron_log::FindingKind;
use perron_model::entry::{AttachmentKind, Decision, Entry, Intent, Outcome, OutcomeStatus};
use perron_model::limits::{MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX};
use perron_model::negotiation::Side;
use perron_model::participant::{KeyUse, PublicKey};
use perron_model::request::{REQUEST_TYP, ReadRequest};
use perron_model::{Digest, ErrorCode, ParticipantId, Timestamp, canonical};
use serde_json::Value as Json;

impl Reading<'_> {
    pub(super) fn decision(&mut self, entry: &Entry, leaf: Digest, body: &Decision, attached: &mut Attached<'_>) {
        let claims = self.request(entry, &body.request, attached);
        let chained = entry.chain.as_ref().map(|c| c.agreement);
        if let Some(claims) = &claims {
            let fits = claims.provider == self.owner.id
                && body.consumer == claims.issuer.as_str()
                && body.purpose == claims.purpose
                && body.user == claims.user;
            self.require(fits, FindingKind::DocumentBytes, "the decision says other than the attached request");
            let own = chained.is_none_or(|a| a == claims.agreement);
            self.require(own, FindingKind::ChainGap, "it is in the chain of another agreement than its request");
            if chained == Some(claims.agreement) {
                self.compare_with_seen(claims);
            }
        }
        let reasoned =
            if body.permitted { body.reasons.is_empty() && body.snapshot.is_some() } else { !body.reasons.is_empty() };
        self.require(reasoned, FindingKind::Order, "a permit has a snapshot and no reasons, a refusal has reasons");
        if let Some(agreement) = &chained {
            self.take_counters(agreement, attached);
        }
        let chain = chained.and_then(|a| self.chains.get(&a));
        let (before, volume) = chain.map_or((0, 0), |c| (c.uses, c.volume));
        let due = if body.permitted { before.saturating_add(1) } else { before };
        let is_torn = chain.is_some_and(|c| c.torn > 0);
        if !chain.map_or(body.uses == due, |c| c.is_due(body.uses, due)) {
            self.wrong(FindingKind::Order, format!("the uses after it are {}, {due} were to come", body.uses));
        }
        let reserved = volume.saturating_add(body.reserved.unwrap_or(0));
        let told = body.reserved.map(|_| reserved);
        let fits = told == body.volume || is_torn;
        self.require(fits, FindingKind::Order, "the bytes charged after it are not those to come");
        self.require(body.permitted || body.reserved.is_none(), FindingKind::Order, "a refusal reserves nothing");
        self.evaluated(entry, body, claims.as_ref(), (before, volume), attached);
        self.kept_beside(body, claims.as_ref(), attached);
        let Some(agreement) = chained else { return };
        if let Some(chain) = self.chains.get_mut(&agreement) {
            (chain.uses, chain.volume) = (body.uses, reserved);
        }
        let known = self.agreements.get(&agreement);
        let of_provider = known.is_none_or(|k| k.side == Side::Provider);
        let by_party = known.is_none_or(|k| !body.permitted || k.consumer.id.as_str() == body.consumer);
        self.require(of_provider, FindingKind::Order, "it decides under an agreement whose provider is another");
        self.require(by_party, FindingKind::Order, "it permits a read to another than the agreement's consumer");
        let ended = self.standing(&agreement).filter(|s| body.permitted && s.refusal().is_some());
        if let Some(standing) = ended {
            self.wrong(FindingKind::Order, format!("it permits a read under an agreement that is {standing}"));
        }
        if body.permitted {
            if has_room(&self.open_reads, &leaf) {
                self.open_reads.insert(leaf, OpenRead { agreement: Some(agreement), reserved: body.reserved });
            } else {
                self.beyond = self.beyond.saturating_add(1);
            }
        }
    }

    /// What the consumer signed of this chain: the newest entry that it was shown, and the reads
    /// that it acknowledges. A contradiction convicts nobody, for the consumer may be wrong.
    fn compare_with_seen(&mut self, claims: &ReadRequest) {
        let Some(chain) = self.chains.get(&claims.agreement) else { return };
        let seen_otherwise =
            claims.seen.as_ref().is_some_and(|seen| chain.holds(seen.number, &seen.leaf) == Some(false));
        let read_otherwise = claims.acknowledged.iter().any(|a| !chain.may_hold(&a.decision));
        if seen_otherwise || read_otherwise {
            let disputed = self.disputed.get_or_insert((0, self.index));
            disputed.0 = disputed.0.saturating_add(1);
        }
    }

    /// The input of the evaluation: bound with its salt, and about this request.
    fn evaluated(
        &mut self,
        entry: &Entry,
        body: &Decision,
        claims: Option<&ReadRequest>,
        (uses, volume): (u64, u64),
        attached: &mut Attached<'_>,
    ) {
        // SHA-256 of salt and input is that of the attachment as a whole.
        let Some(bytes) = self.part(attached, AttachmentKind::EvaluationInput, body.input.as_ref()) else { return };
        let Some((_, input)) = bytes.split_first_chunk::<16>() else {
            return self.wrong(FindingKind::DocumentBytes, "the evaluation's input has no salt");
        };
        if input.is_empty() {
            // Refused without an evaluation: under an agreement that isn't known, or by a clock
            // that is behind its register.
            let early = entry.chain.is_none() || body.reasons.iter().eq([ErrorCode::ClockJump.as_str()]);
            let fits = early && !body.permitted;
            return self.require(fits, FindingKind::DocumentBytes, "the evaluation's input is empty");
        }
        let input = match canonical::from_bytes::<Json>(input, MESSAGE_BYTES_MAX) {
            Ok(input) => input,
            Err(error) => {
                return self.wrong(FindingKind::DocumentBytes, format!("the evaluation's input: {}", error.detail));
            }
        };
        let text = |pointer: &str| input.pointer(pointer).and_then(Json::as_str);
        // Inputs of the first version told the time as a text.
        let in_ms = input.pointer("/now_ms").and_then(Json::as_i64).and_then(|ms| Timestamp::from_millis(ms).ok());
        let time = in_ms.or_else(|| text("/now").and_then(|t| Timestamp::parse(t).ok()));
        // A clock that went back between evaluation and entry proves nothing.
        let in_time = |t: Timestamp| self.jumped_lately() || t <= entry.time.plus_millis(CLOCK_TOLERANCE_MS);
        let number = |pointer: &str| input.pointer(pointer).and_then(Json::as_u64);
        // Inputs of the first version told no volume.
        let counted = number("/state/uses") == Some(uses) && number("/state/volume_bytes").is_none_or(|v| v == volume);
        let mut fits = time.is_some_and(in_time) && counted;
        if let Some(claims) = claims {
            fits = fits
                && text("/request/issuer") == Some(claims.issuer.as_str())
                && text("/request/provider") == Some(claims.provider.as_str())
                && text("/request/action") == Some(claims.action.as_str())
                && text("/request/purpose") == Some(claims.purpose.as_str())
                && input.pointer("/request/roles") == claims.roles.as_ref().map(|r| Json::from(r.clone())).as_ref()
                && text("/agreement/id") == Some(claims.agreement.to_string().as_str());
        }
        self.require(
            fits,
            FindingKind::DocumentBytes,
            "the evaluation's input is not about this request as it stood then",
        );
    }

    pub(super) fn outcome(&mut self, entry: &Entry, body: &Outcome) {
        let chained = entry.chain.as_ref().map(|c| c.agreement);
        let read = self.open_reads.remove(&body.decision);
        let reserved = read.and_then(|read| read.reserved);
        match read {
            Some(read) => {
                let own = chained == read.agreement;
                self.require(own, FindingKind::ChainGap, "it is in the chain of another agreement than its decision");
            }
            None => {
                self.wrong(FindingKind::Order, "no earlier permit without an outcome is the decision that it names")
            }
        }
        let nothing = body.status == OutcomeStatus::NothingLeft;
        self.require(!nothing || body.rows == 0, FindingKind::Order, "nothing left, and it counts rows");
        let Some(chain) = chained.and_then(|a| self.chains.get_mut(&a)) else {
            let charges = chained.is_none() && (body.uses != 0 || body.volume.is_some());
            return self.require(!charges, FindingKind::Order, "it charges, and is under no agreement");
        };
        let due = if nothing { chain.uses.saturating_sub(1) } else { chain.uses };
        let (is_due, is_torn) = (chain.is_due(body.uses, due), chain.torn > 0);
        chain.uses = body.uses;
        // What was reserved and didn't leave is given back, unless a crash hides what left.
        if body.status != OutcomeStatus::UnknownAfterCrash {
            chain.volume = chain.volume.saturating_sub(reserved.unwrap_or(0)).saturating_add(body.bytes);
        }
        let told = reserved.map(|_| chain.volume);
        let over = body.bytes > reserved.unwrap_or(u64::MAX);
        if !is_due {
            self.wrong(FindingKind::Order, format!("the uses after it are {}, {due} were to come", body.uses));
        }
        let fits = told == body.volume || is_torn;
        self.require(fits, FindingKind::Order, "the bytes charged after it are not those to come");
        self.require(!over, FindingKind::Order, "more left than was reserved");
    }

    pub(super) fn intent(&mut self, entry: &Entry, body: &Intent, attached: &mut Attached<'_>) {
        let claims = self.request(entry, &body.request, attached);
        if let Some(claims) = &claims {
            let fits = claims.issuer == self.owner.id
                && claims.provider.as_str() == body.provider
                && claims.purpose == body.purpose
                && claims.user == body.user;
            self.require(fits, FindingKind::DocumentBytes, "the intent says other than the attached request");
        }
        self.own_read(entry, claims.as_ref());
        if self.intents.len() < FOLLOWED_MAX {
            let fresh = self.intents.insert(body.request);
            self.require(fresh, FindingKind::Order, "the same request was intended before");
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// A read of this organisation: under an agreement whose consumer it is, in its chain.
    pub(super) fn own_read(&mut self, entry: &Entry, claims: Option<&ReadRequest>) {
        let Some(agreement) = entry.chain.as_ref().map(|c| c.agreement) else { return };
        let own = claims.is_none_or(|c| c.agreement == agreement);
        self.require(own, FindingKind::ChainGap, "it is in the chain of another agreement than its request");
        let as_consumer = self.agreements.get(&agreement).is_none_or(|k| k.side == Side::Consumer);
        self.require(as_consumer, FindingKind::Order, "it reads under an agreement whose consumer is another");
    }

    /// The signed request that an entry binds; its signature is checked with others.
    pub(super) fn request(
        &mut self,
        entry: &Entry,
        digest: &Digest,
        attached: &mut Attached<'_>,
    ) -> Option<ReadRequest> {
        let bytes = self.bound(attached, AttachmentKind::Request, digest)?;
        let parsed = std::str::from_utf8(bytes)
            .map_err(|_| "not UTF-8".to_owned())
            .and_then(|text| jws::parse_compact(text, REQUEST_TYP, REQUEST_BYTES_MAX).map_err(|e| e.detail))
            .and_then(|(signed, payload)| {
                let claims = canonical::from_bytes::<ReadRequest>(&payload, REQUEST_BYTES_MAX).map_err(|e| e.detail)?;
                Ok((signed, claims))
            });
        match parsed {
            Ok((signed, claims)) => {
                self.signed(entry, &claims, signed);
                let told = entry.trace.as_ref().map(|trace| trace.as_slice());
                let fits = told == claims.trace.as_ref().map(|trace| trace.as_bytes().as_slice());
                self.require(fits, FindingKind::DocumentBytes, "it tells of another trace than its request");
                Some(claims)
            }
            Err(detail) => {
                self.wrong(FindingKind::DocumentSignature, format!("the read request: {detail}"));
                None
            }
        }
    }

    fn signed(&mut self, entry: &Entry, claims: &ReadRequest, signed: Signed) {
        match self.request_key(claims, &signed.kid, entry.time) {
            Some(key) => {
                self.signed_by(&claims.issuer, KeyUse::Request, &key);
                let found = self.signatures.push(self.index, key, signed);
                self.found.extend(found);
            }
            None => self
                .wrong(FindingKind::DocumentSignature, format!("`{}` had no such request key in force", claims.issuer)),
        }
    }

    /// The issuer's request key, by the register, or by the envelope of the agreement.
    fn request_key(&self, claims: &ReadRequest, kid: &Digest, at: Timestamp) -> Option<PublicKey> {
        self.key_of(&claims.agreement, &claims.issuer, KeyUse::Request, kid, at)
    }

    /// A participant's key, by the register, or by the envelope of an agreement.
    pub(super) fn key_of(
        &self,
        agreement: &Digest,
        issuer: &ParticipantId,
        key_use: KeyUse,
        kid: &Digest,
        at: Timestamp,
    ) -> Option<PublicKey> {
        let known = self.agreements.get(agreement);
        let parties = known.into_iter().flat_map(|k| [&k.provider, &k.consumer]).filter(|p| p.id == *issuer);
        let mut candidates = self.register.participant(issuer.as_str()).into_iter().chain(parties);
        candidates.find_map(|participant| {
            let key = |at| participant.key_at(key_use, kid, at);
            let apart = [0, -CLOCKS_APART_MS_MAX, CLOCKS_APART_MS_MAX];
            apart.into_iter().find_map(|ms| key(at.plus_millis(ms))).map(|k| k.key)
        })
    }
}
