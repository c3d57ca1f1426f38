//! Lives of agreements: what the parties told each other, signed, and what follows from it.

use super::attached::Attached;
use super::{Reading, has_room};
use crate::jws::{self, Signed};
use perron_log::FindingKind;
use perron_model::entry::{AttachmentKind, Entry, Notice as Body};
use perron_model::life::{Life, NOTICE_TYP, Notice, Standing, Told};
use perron_model::limits::NOTICE_JWS_BYTES_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::KeyUse;
use perron_model::{Digest, Error, Result};

impl Reading<'_> {
    /// An agreement begins a life, or carries on that of the agreement that it amends.
    pub(super) fn lives(&mut self, agreement: &Digest, amends: Option<&Digest>, side: Side) {
        let Some(before) = amends else {
            if has_room(&self.lives, agreement) {
                self.lives.insert(*agreement, Life::new(*agreement));
                self.firsts.insert(*agreement, *agreement);
            } else {
                self.beyond = self.beyond.saturating_add(1);
            }
            return;
        };
        let carried = self.firsts.get(before).copied().and_then(|first| Some((first, self.lives.get_mut(&first)?)));
        let amended = match carried {
            // The consumer takes what its provider put in force also where it had revoked it.
            Some((_, life)) if side == Side::Provider && life.require_amendable(before).is_err() => false,
            Some((first, life)) => {
                self.firsts.insert(*agreement, first);
                life.amend(before, *agreement).is_ok()
            }
            None => false,
        };
        self.require(amended, FindingKind::Order, "it amends an agreement that is not known, or no longer in force");
    }

    /// State of an agreement; none where it isn't known.
    pub(super) fn standing(&self, agreement: &Digest) -> Option<Standing> {
        self.firsts.get(agreement).and_then(|f| self.lives.get(f)).map(|life| life.standing_of(agreement))
    }

    pub(super) fn notice(&mut self, entry: &Entry, body: &Body, attached: &mut Attached<'_>) {
        let Some(bytes) = self.bound(attached, AttachmentKind::Notice, &body.signed) else { return };
        let (notice, signed) = match read(bytes) {
            Ok(read) => read,
            Err(error) => return self.wrong(FindingKind::DocumentSignature, format!("the notice: {}", error.detail)),
        };
        let own_chain = entry.chain.as_ref().is_some_and(|c| c.agreement == notice.agreement);
        self.require(own_chain, FindingKind::ChainGap, "the notice is not in the chain of its agreement");
        self.count_signature("notice");
        let verified = match self.key_of(&notice.agreement, &notice.from, KeyUse::Agreement, &signed.kid, entry.time) {
            Some(key) => {
                self.signed_by(&notice.from, KeyUse::Agreement, &key);
                signed.verify(&key).map_err(|e| e.detail)
            }
            None => Err(format!("`{}` had no such agreement key in force", notice.from)),
        };
        if let Err(detail) = verified {
            self.wrong(FindingKind::DocumentSignature, format!("the notice: {detail}"));
        }
        let by = if body.by == "provider" { Side::Provider } else { Side::Consumer };
        let name = notice.name().ok();
        let fits = self.told_by_a_party(body, &notice, by) && name == Some(body.notice);
        self.require(fits, FindingKind::DocumentBytes, "the entry says other than the attached notice");
        if body.by == body.side {
            self.erasure_told(&notice.agreement, &notice.act);
        }
        self.took(body, notice, by);
    }

    /// What follows from it is what the entry says.
    fn took(&mut self, body: &Body, notice: Notice, by: Side) {
        let Some(first) = self.firsts.get(&notice.agreement).copied() else {
            return self.require(
                self.beyond > 0,
                FindingKind::Order,
                "the notice is about an agreement that isn't known",
            );
        };
        let Some(life) = self.lives.get_mut(&first) else { return };
        let told = Told { name: body.notice, agreement: notice.agreement, by, time: notice.time, act: notice.act };
        let told_before = !life.is_news(&told);
        let taken = life.take(told);
        let standing = life.standing();
        self.require(!told_before, FindingKind::Order, "the same notice was taken before");
        if let Err(error) = taken {
            self.wrong(FindingKind::Order, format!("the notice can't be taken: {}", error.detail));
        }
        let same = standing.name() == body.standing;
        self.require(same, FindingKind::Order, "the state that it tells isn't the one that the notice leads to");
    }

    fn told_by_a_party(&self, body: &Body, notice: &Notice, by: Side) -> bool {
        let (from, to) = (&notice.from, &notice.to);
        let owner = &self.owner.id;
        let is_own = from == owner && to.as_str() == body.counterparty && body.by == body.side;
        let is_theirs = to == owner && from.as_str() == body.counterparty && body.by != body.side;
        let known = self.agreements.get(&notice.agreement);
        let by_party = known.is_none_or(|k| {
            let sender = if by == Side::Provider { &k.provider.id } else { &k.consumer.id };
            let side = if k.side == Side::Provider { "provider" } else { "consumer" };
            sender == from && side == body.side
        });
        let sides = [&body.side, &body.by].into_iter().all(|s| s == "provider" || s == "consumer");
        (is_own || is_theirs)
            && by_party
            && sides
            && notice.space == self.register.space
            && notice.act.name() == body.act
    }
}

fn read(bytes: &[u8]) -> Result<(Notice, Signed)> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed("not UTF-8"))?;
    let (signed, payload) = jws::parse_compact(text, NOTICE_TYP, NOTICE_JWS_BYTES_MAX)?;
    Ok((Notice::parse(&payload)?, signed))
}
