//! Agreements, and the register versions in force.

use super::attached::Attached;
use super::{Chain, Reading, has_room};
use crate::envelope::{self, Agreed};
use perron_log::FindingKind;
use perron_model::Digest;
use perron_model::entry::{Agreement, AttachmentKind, Entry, Extract, Reconciled, RegisterSeen};
use perron_model::negotiation::Side;
use perron_model::participant::{KeyUse, Participant};

/// An agreement in force, as far as later entries need it.
pub(super) struct Known {
    /// Which side this log's owner is.
    pub side: Side,
    /// The provider as the envelope tells of it.
    pub provider: Participant,
    /// The consumer as the envelope tells of it.
    pub consumer: Participant,
    /// Digest of the envelope.
    pub envelope: Digest,
}

impl Reading<'_> {
    pub(super) fn agreement(&mut self, entry: &Entry, body: &Agreement, attached: &mut Attached<'_>) {
        let in_own_chain = entry.chain.as_ref().is_some_and(|c| c.agreement == body.agreement);
        self.require(in_own_chain, FindingKind::ChainGap, "the agreement is not in its own chain");
        if self.agreements.contains_key(&body.agreement) {
            self.wrong(FindingKind::Order, "the agreement was in force before");
        }
        let signed = self.verified.remove(&body.agreement);
        self.require(
            signed.is_some(),
            FindingKind::Order,
            "no negotiation that both sides signed led to the agreement",
        );
        let Some(bytes) = self.bound(attached, AttachmentKind::Envelope, &body.envelope) else { return };
        let read = envelope::parse(bytes);
        let read = match read {
            Ok(envelope) => envelope,
            Err(error) => return self.wrong(FindingKind::DocumentBytes, format!("the envelope: {}", error.detail)),
        };
        self.count_signature("envelope");
        match envelope::verify(&read, &self.register.authority) {
            Ok(agreed) => {
                let same = signed.is_none_or(|s| s == agreed.signed);
                self.require(
                    same,
                    FindingKind::DocumentBytes,
                    "the envelope's signatures are not those of the negotiation",
                );
                for (party, key) in [&agreed.payload.provider, &agreed.payload.consumer].into_iter().zip(agreed.keys) {
                    self.signed_by(party, KeyUse::Agreement, &key);
                }
                self.agreed(body, agreed);
            }
            Err(error) => self.wrong(FindingKind::DocumentSignature, format!("the envelope: {}", error.detail)),
        }
    }

    /// The chain of an agreement is given to its other party, and to nobody else.
    pub(super) fn extract(&mut self, entry: &Entry, body: &Extract) {
        let fits = self.other_party(entry).is_none_or(|other| other.id.as_str() == body.to);
        self.require(fits, FindingKind::Order, "it gives an agreement's chain to another than its other party");
    }

    fn other_party(&self, entry: &Entry) -> Option<&Participant> {
        let known = self.agreements.get(&entry.chain.as_ref()?.agreement)?;
        Some(if known.side == Side::Provider { &known.consumer } else { &known.provider })
    }

    /// What was matched of our own chain was there, and what came of it holds together.
    pub(super) fn reconciled(&mut self, entry: &Entry, body: &Reconciled) {
        let other = self.other_party(entry);
        let is_other = other.is_none_or(|other| other.id.as_str() == body.partner);
        let kept = other.and_then(|other| self.kept.get(&other.log_origin));
        let forked = kept.is_some_and(|kept| kept.contradicts(body.size, body.root));
        let own = entry.chain.as_ref().and_then(|position| {
            let before = body.number < position.number;
            Some(before && self.chains.get(&position.agreement)?.holds(body.number, &body.leaf) != Some(false))
        });
        let (has_differences, has_reason) = (!body.differences.is_empty(), body.reason.is_some());
        let holds = match body.result.as_str() {
            "same" => body.extract.is_some() && !has_differences && !has_reason,
            "differs" => has_differences && !has_reason,
            "invalid" | "refused" | "unanswered" => has_reason && !has_differences,
            _ => false,
        };
        self.require(is_other, FindingKind::Order, "it matches an agreement's chain with another than its other party");
        self.require(own != Some(false), FindingKind::Order, "the end of its own chain that it matched never was");
        self.require(holds, FindingKind::Order, "its result isn't what it tells of differences");
        self.require(!forked, FindingKind::Fork, "it was given another tree than the checkpoint kept of that size");
    }

    /// The entry tells what was agreed, and of this owner.
    fn agreed(&mut self, body: &Agreement, agreed: Agreed) {
        let Agreed { payload, id, provider, consumer, .. } = agreed;
        let (side, side_text, other) = if payload.provider == self.owner.id {
            (Side::Provider, "provider", &payload.consumer)
        } else {
            (Side::Consumer, "consumer", &payload.provider)
        };
        let regime = serde_json::to_value(payload.offer.regime).ok();
        let fits = id == body.agreement
            && payload.space == self.register.space
            && (payload.provider == self.owner.id || payload.consumer == self.owner.id)
            && body.side == side_text
            && body.counterparty == other.as_str()
            && body.dataset == payload.offer.dataset.as_str()
            && body.legal_basis == payload.offer.legal_basis.term
            && body.amends == payload.offer.amends
            && regime.as_ref().and_then(serde_json::Value::as_str) == Some(body.regime.as_str());
        self.require(fits, FindingKind::DocumentBytes, "the entry says other than the agreement in the envelope");
        self.carried_on(body, &provider, &consumer);
        self.lives(&body.agreement, body.amends.as_ref(), side);
        if has_room(&self.agreements, &body.agreement) {
            let known = Known { side, provider, consumer, envelope: body.envelope };
            self.agreements.insert(body.agreement, known);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// An amendment is between the same two, and what was charged before counts on.
    fn carried_on(&mut self, body: &Agreement, provider: &Participant, consumer: &Participant) {
        let charged = |chain: Option<&Chain>| chain.map_or((0, 0), |c| (c.uses, c.volume));
        let before = body.amends.map(|amends| charged(self.chains.get(&amends)));
        // Entries of the first version told no volume.
        let volume = body.volume.is_none_or(|told| before.is_some_and(|(_, volume)| volume == told));
        if body.uses != before.map(|(uses, _)| uses) || !volume {
            self.wrong(FindingKind::Order, "what was charged to the agreement that it amends doesn't count on");
        }
        if let Some(chain) = self.chains.get_mut(&body.agreement) {
            chain.uses = body.uses.unwrap_or(0);
            chain.volume = body.volume.unwrap_or(0);
        }
        let amended = body.amends.and_then(|amends| self.agreements.get(&amends));
        let same = amended.is_none_or(|k| k.provider.id == provider.id && k.consumer.id == consumer.id);
        self.require(same, FindingKind::Order, "it amends an agreement of others");
    }

    /// A register version was taken into use: never an older one, nor two of one number.
    pub(super) fn register_version(&mut self, seen: &RegisterSeen, attached: &mut Attached<'_>) {
        if let Some(bytes) = attached.take(AttachmentKind::Register)
            && Digest::of(bytes) != seen.digest
        {
            self.wrong(FindingKind::DocumentBytes, "the attached register version is not the one that it binds");
        }
        let now = (seen.version, seen.digest);
        if let Some(before) = self.register_seen.replace(now) {
            self.require(before.0 <= now.0, FindingKind::Order, "an older register version was taken into use");
            self.require(
                before.0 != now.0 || before.1 == now.1,
                FindingKind::Order,
                "there are two registers of this version",
            );
        }
        let differs = self.register.version == seen.version && self.register.digest != seen.digest;
        self.require(!differs, FindingKind::DocumentBytes, "`trust/register.json` is another register of this version");
    }
}
