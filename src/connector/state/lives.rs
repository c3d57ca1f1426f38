//! The lives of agreements in the fold: what was told of each, and what is yet to be told; and what
//! this organisation declares for their policies, facts and collections.

use super::records::{document, document_text, put};
use super::{COLLECTIONS, FACTS, LIVES, Memory, State};
use perron_model::collection::Collection;
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::id::FactName;
use perron_model::life::{FactValue, Life, Notice, Standing, Told};
use perron_model::negotiation::Side;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

/// The life of an agreement, from this side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptLife {
    /// Its versions, and what was told of them.
    pub life: Life,
    /// Which side this is.
    pub side: Side,
    /// The other side.
    pub counterparty: ParticipantId,
    /// Our notices that the other side has not taken yet, the oldest first.
    pub outgoing: Vec<OutgoingNotice>,
    /// Notices of ours that the other side refused for good, with its code.
    pub refused: Vec<(Digest, String)>,
}

/// A fact that this organisation declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Its name.
    pub name: FactName,
    /// What holds.
    pub value: FactValue,
    /// Since when.
    pub since: Timestamp,
}

/// A notice of ours on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingNotice {
    /// Its name.
    pub name: Digest,
    /// As signed (compact JWS).
    pub jws: String,
}

/// A notice that can be sent now.
#[derive(Clone, Debug)]
pub struct ToTell {
    /// To whom.
    pub to: ParticipantId,
    /// The agreement with which the life began.
    pub first: AgreementId,
    /// What.
    pub notice: OutgoingNotice,
}

impl Memory {
    fn life(&self, agreement: &AgreementId) -> Option<&KeptLife> {
        self.lives.get(self.firsts.get(agreement)?)
    }

    /// Takes a life in, with the names of its versions.
    pub(super) fn keep_life(&mut self, kept: KeptLife) {
        let Some(first) = kept.life.first() else { return };
        for version in kept.life.versions() {
            self.firsts.insert(*version, first);
        }
        if kept.outgoing.is_empty() {
            self.telling.remove(&first);
        } else {
            self.telling.insert(first);
        }
        self.lives.insert(first, kept);
    }
}

impl State {
    /// The life of an agreement, by any of its versions.
    pub fn life(&self, agreement: &AgreementId) -> Option<KeptLife> {
        self.read().life(agreement).cloned()
    }

    /// All lives.
    pub fn lives(&self) -> Vec<KeptLife> {
        self.read().lives.values().cloned().collect()
    }

    /// Facts that this organisation declares.
    pub fn facts(&self) -> BTreeMap<FactName, Declared> {
        self.read().facts.clone()
    }

    pub(super) fn take_fact(&self, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<()> {
        let declared: Declared = document(attachments, AttachmentKind::Document)?;
        self.store.apply(vec![put(FACTS, declared.name.as_str().as_bytes(), &declared)?])?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.facts.insert(declared.name.clone(), declared);
        Ok(())
    }

    /// Collections that this organisation declares.
    pub fn collections(&self) -> Vec<Collection> {
        self.read().collections.values().cloned().collect()
    }

    /// Those of these names that are declared.
    pub fn collections_named(&self, names: &BTreeSet<&str>) -> Vec<Collection> {
        if names.is_empty() {
            return Vec::new();
        }
        let memory = self.read();
        memory.collections.values().filter(|c| names.contains(c.name.as_str())).cloned().collect()
    }

    pub(super) fn take_collection(&self, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<()> {
        let collection: Collection = document(attachments, AttachmentKind::Document)?;
        self.store.apply(vec![put(COLLECTIONS, collection.name.as_str().as_bytes(), &collection)?])?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.collections.insert(collection.name.clone(), collection);
        Ok(())
    }

    /// State of a version of an agreement; one that isn't known is in no force and has none.
    pub fn standing_of(&self, agreement: &AgreementId) -> Option<Standing> {
        self.read().life(agreement).map(|kept| kept.life.standing_of(agreement))
    }

    /// The newest version of an agreement.
    pub fn current_version(&self, agreement: &AgreementId) -> Option<AgreementId> {
        self.read().life(agreement).and_then(|kept| kept.life.current())
    }

    /// These agreements, and the versions that came after them.
    pub fn with_later_versions(&self, agreements: &[AgreementId]) -> Vec<AgreementId> {
        let memory = self.read();
        let mut all = agreements.to_vec();
        for agreement in agreements {
            let Some(kept) = memory.life(agreement) else { continue };
            let later = kept.life.versions().iter().skip_while(|v| *v != agreement).skip(1);
            all.extend(later.filter(|v| !agreements.contains(v)).copied());
        }
        all
    }

    /// The oldest notice of each life that the other side hasn't taken. It waits while the message
    /// that tells the other side of the agreement itself is on its way.
    pub fn notices_to_tell(&self) -> Vec<ToTell> {
        let memory = self.read();
        let ready = |first: &AgreementId| {
            let kept = memory.lives.get(first)?;
            let made = kept.life.versions().iter().filter_map(|v| self.agreement(v));
            let mut made_in = made.filter_map(|a| memory.moving.get(&a.payload.negotiation));
            if made_in.any(|n| n.outgoing.is_some()) {
                return None;
            }
            let notice = kept.outgoing.first()?.clone();
            Some(ToTell { to: kept.counterparty.clone(), first: *first, notice })
        };
        memory.telling.iter().filter_map(ready).collect()
    }

    /// Participants from whom a notice may yet come.
    pub fn in_agreement(&self) -> HashSet<ParticipantId> {
        let lives = |kept: &&KeptLife| kept.life.standing() != Standing::Revoked || !kept.outgoing.is_empty();
        self.read().lives.values().filter(lives).map(|kept| kept.counterparty.clone()).collect()
    }

    /// Notes that the other side took our notice, or refused it for good with a code.
    pub fn told(&self, first: &AgreementId, name: &Digest, refused: Option<ErrorCode>) -> Result<()> {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut kept) = memory.lives.get(first).filter(|k| k.outgoing.iter().any(|o| o.name == *name)).cloned()
        {
            kept.outgoing.retain(|o| o.name != *name);
            kept.refused.extend(refused.map(|code| (*name, code.as_str().to_owned())));
            self.store.apply(vec![put(LIVES, first.as_bytes(), &kept)?])?;
            memory.keep_life(kept);
        }
        drop(memory);
        self.touch();
        Ok(())
    }

    /// Begins the lives of agreements in a store of before there were any.
    pub(super) fn begin_missing_lives(&self) -> Result<()> {
        let mut missing = self.agreement_names()?;
        {
            let memory = self.read();
            missing.retain(|id| !memory.firsts.contains_key(id));
        }
        // As they were made: what is amended comes before what amends it.
        let mut missing: Vec<_> = missing.iter().filter_map(|id| self.agreement(id)).collect();
        missing.sort_by_key(|kept| kept.index);
        missing.into_iter().try_for_each(|kept| {
            let other = kept.counterparty();
            self.begin_life(kept.id, kept.payload.offer.amends, kept.side, other)
        })
    }

    /// An agreement begins a life, or carries on the one of the agreement that it amends.
    pub(super) fn begin_life(
        &self,
        agreement: AgreementId,
        amends: Option<Digest>,
        side: Side,
        counterparty: ParticipantId,
    ) -> Result<()> {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if memory.life(&agreement).is_some() {
            return Ok(());
        }
        let kept = match amends {
            Some(before) => {
                let mut kept = memory.life(&before).cloned().ok_or_else(unknown)?;
                kept.life.amend(&before, agreement)?;
                kept
            }
            None => {
                KeptLife { life: Life::new(agreement), side, counterparty, outgoing: Vec::new(), refused: Vec::new() }
            }
        };
        self.put_life(&mut memory, kept)
    }

    /// Takes a notice that is durable.
    pub(super) fn take_notice(&self, entry: &Entry, attachments: &[(AttachmentKind, Vec<u8>)]) -> Result<()> {
        let Body::Notice(body) = &entry.body else { return Ok(()) };
        let jws = document_text(attachments, AttachmentKind::Notice)?;
        let notice = Notice::of_compact(&jws)?;
        let by = if body.by == "provider" { Side::Provider } else { Side::Consumer };
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept = memory.life(&notice.agreement).cloned().ok_or_else(unknown)?;
        let told = Told { name: body.notice, agreement: notice.agreement, by, time: notice.time, act: notice.act };
        if !kept.life.is_news(&told) {
            return Ok(());
        }
        kept.life.take(told.clone())?;
        let is_own = by == kept.side;
        if is_own {
            kept.outgoing.push(OutgoingNotice { name: body.notice, jws });
        }
        self.put_life(&mut memory, kept)?;
        drop(memory);
        if is_own { self.took_erasure_notice(&told) } else { Ok(()) }
    }

    fn put_life(&self, memory: &mut Memory, kept: KeptLife) -> Result<()> {
        let first = kept.life.first().ok_or_else(unknown)?;
        self.store.apply(vec![put(LIVES, first.as_bytes(), &kept)?])?;
        memory.keep_life(kept);
        Ok(())
    }
}

fn unknown() -> Error {
    Error::new(ErrorCode::LogDamaged, "a notice or an amendment is of an agreement that isn't known")
}
