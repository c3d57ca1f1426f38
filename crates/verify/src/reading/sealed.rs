//! Values that can be erased: bound like any attachment, and erased by an entry that names them.
//!
//! A bit an entry is kept of those whose value is sealed and not erased.

use super::attached::{self, Attached};
use super::{Reading, has_room};
use crate::limits::CLOCKS_APART_MS_MAX;
use perron_log::FindingKind;
use perron_model::entry::{
    Administration, AttachmentKind, Body, Decision, Entry, Erased, Intent, Span, digest_of_parts,
};
use perron_model::life::Act;
use perron_model::sealed::{Ground, SealedHeader};
use perron_model::{Digest, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// What is attached to a decision beside its request.
const PARTS: [AttachmentKind; 3] = [AttachmentKind::EvaluationInput, AttachmentKind::Beside, AttachmentKind::Sealed];

/// Sealed values so far.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    // By generation; 0 is of a log that took no other's place.
    logs: BTreeMap<u64, Values>,
    generation: u64,
    /// Sealed values.
    pub values: u64,
    /// Those that were erased.
    pub erased: u64,
    // Number of the newest key-encryption key that an erasure names.
    vault: u64,
    // What each erasure told, by its leaf hash.
    told: HashMap<Digest, Told>,
}

/// What of an erasure its notices repeat.
#[derive(Debug)]
struct Told {
    agreements: Vec<Digest>,
    ground: String,
    until: Timestamp,
}

/// Those of one log.
#[derive(Debug, Default)]
struct Values {
    sealed: Bits,
    // Entries that were pruned: each may have had a value.
    pruned: Bits,
}

/// A bit an entry.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, entry: u64) {
        let Ok(word) = usize::try_from(entry / 64) else { return };
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (entry % 64);
        }
    }

    /// Takes those of a span out; gives how many there were.
    fn take(&mut self, span: Span) -> u64 {
        let mut taken = 0_u64;
        let mut at = span.first;
        while at <= span.last {
            let Some(bits) = usize::try_from(at / 64).ok().and_then(|word| self.0.get_mut(word)) else { break };
            let end = (at | 63).min(span.last);
            let mask = (u64::MAX >> (63 - (end - at))) << (at % 64);
            taken = taken.saturating_add(u64::from((*bits & mask).count_ones()));
            *bits &= !mask;
            let Some(next) = end.checked_add(1) else { break };
            at = next;
        }
        taken
    }
}

impl Sealed {
    /// Another log of the same owner comes: its entries have numbers of their own, and the vault goes
    /// on.
    pub(super) fn begin_log(&mut self, generation: u64) {
        self.generation = generation;
        self.logs.entry(generation).or_default();
    }

    fn values(&mut self) -> &mut Values {
        self.logs.entry(self.generation).or_default()
    }

    fn add(&mut self, entry: u64) {
        self.values().sealed.set(entry);
        self.values = self.values.saturating_add(1);
    }

    /// An entry that was pruned, with a value if it had one.
    pub(super) fn prune(&mut self, entry: u64) {
        self.values().pruned.set(entry);
    }

    /// Takes the values of a span out, of the log that is read or of a closed one; gives how many
    /// there are, and how many more may have been there in entries that were pruned since.
    fn erase(&mut self, closed: Option<u64>, span: Span) -> (u64, u64) {
        let Some(values) = self.logs.get_mut(&closed.unwrap_or(self.generation)) else { return (0, 0) };
        let (erased, pruned) = (values.sealed.take(span), values.pruned.take(span));
        self.erased = self.erased.saturating_add(erased);
        (erased, pruned)
    }
}

impl Reading<'_> {
    /// The sealed value of an entry, bound by its own digest or with the other parts of a decision.
    pub(super) fn attached_parts(&mut self, body: &Body, attached: &mut Attached<'_>) {
        match body {
            Body::Decision(decision) => self.parts_of(decision, attached),
            Body::Intent(Intent { sealed: Some(digest), .. })
            | Body::Administration(Administration { sealed: Some(digest), .. }) => {
                self.sealed_value(Some(digest), attached);
            }
            _ => {}
        }
    }

    /// All that is attached to a decision but its request: by one digest, or, in earlier entries,
    /// each by its own.
    fn parts_of(&mut self, body: &Decision, attached: &mut Attached<'_>) {
        let is_one = body.attached.is_some();
        let in_one_way = is_one != body.input.is_some() && !(is_one && body.beside.is_some());
        self.require(in_one_way, FindingKind::DocumentBytes, "what is attached to it is bound in two ways, or in none");
        let is_sealed = is_one && attached.look(AttachmentKind::Sealed).is_some();
        let is_told = body.sealed == is_sealed.then_some(true);
        self.require(is_told, FindingKind::DocumentBytes, "it says otherwise whether a statement is sealed with it");
        if let Some(due) = &body.attached {
            let parts = PARTS.into_iter().filter_map(|kind| Some((kind, attached.look(kind)?)));
            let found = digest_of_parts(parts);
            self.require(found == *due, FindingKind::DocumentBytes, "what is attached to it is not what it binds");
        }
        if is_sealed {
            self.sealed_value(None, attached);
        }
    }

    /// An attachment by its own digest, or one that `parts_of` compared with the others.
    pub(super) fn part<'v>(
        &mut self,
        attached: &mut Attached<'v>,
        kind: AttachmentKind,
        own: Option<&Digest>,
    ) -> Option<&'v [u8]> {
        if let Some(digest) = own {
            return self.bound(attached, kind, digest);
        }
        let bytes = attached.take(kind);
        if bytes.is_none() {
            self.wrong(FindingKind::DocumentBytes, format!("its {} is not attached", attached::name(kind)));
        }
        bytes
    }

    /// What a sealed value says isn't asked for.
    fn sealed_value(&mut self, own: Option<&Digest>, attached: &mut Attached<'_>) {
        if let Some(bytes) = self.part(attached, AttachmentKind::Sealed, own) {
            let is_one = SealedHeader::parse(bytes).is_ok();
            self.require(is_one, FindingKind::DocumentBytes, "its sealed value is not one");
        }
        self.sealed.add(self.index);
    }

    /// An erasure names values that there are, each once.
    pub(super) fn erasure(&mut self, entry: &Entry, leaf: Digest, body: &Erased) {
        let follows = |pair: &[Span]| matches!(pair, [one, two] if one.last < two.first);
        let ordered = body.entries.iter().all(|span| span.first <= span.last)
            && body.entries.windows(2).all(follows)
            && body.entries.last().is_none_or(|span| body.log.is_some() || span.last < self.index)
            && body.log.is_none_or(|closed| closed < self.sealed.generation && self.sealed.logs.contains_key(&closed));
        self.require(ordered, FindingKind::Order, "the entries that it erases don't stand before it in their order");
        if ordered {
            let of_span = |(all, more): (u64, u64), span: &Span| {
                let (erased, pruned) = self.sealed.erase(body.log, *span);
                (all.saturating_add(erased), more.saturating_add(pruned))
            };
            let (erased, pruned) = body.entries.iter().fold((0, 0), of_span);
            if !(erased..=erased.saturating_add(pruned)).contains(&body.values) {
                let detail = format!("it erases {} values, and the entries that it names have {erased}", body.values);
                self.wrong(FindingKind::Order, detail);
            }
        }
        // The time until then was computed a moment before the entry had its own.
        let in_time = body.until.plus_millis(CLOCKS_APART_MS_MAX) >= entry.time;
        let has_ground = body.ground.parse::<Ground>().is_ok() && in_time;
        self.require(has_ground, FindingKind::Order, "it erases without a ground, or to be undone before it");
        self.require(body.values > 0 || body.user.is_some(), FindingKind::Order, "it erases nothing");
        let is_newer = body.vault > self.sealed.vault;
        self.require(is_newer, FindingKind::Order, "the key that it goes on by is not a newer one");
        self.sealed.vault = body.vault;
        if has_room(&self.sealed.told, &leaf) {
            let (agreements, ground) = (body.agreements.clone(), body.ground.clone());
            self.sealed.told.insert(leaf, Told { agreements, ground, until: body.until });
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// What the owner tells a partner of an erasure is what an entry before it tells.
    pub(super) fn erasure_told(&mut self, agreement: &Digest, act: &Act) {
        let Act::Erase { erasure, ground, until, .. } = act else { return };
        let is_told = self.sealed.told.get(erasure).is_some_and(|told| {
            told.agreements.contains(agreement) && told.ground == ground.as_str() && told.until == *until
        });
        let detail = "it tells of an erasure of which no entry before it tells the same, or none under this agreement";
        self.require(is_told || self.beyond > 0, FindingKind::Order, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_once_over_words() {
        let mut sealed = Sealed::default();
        for entry in (0..300).filter(|e| e % 3 == 0) {
            sealed.add(entry);
        }
        assert_eq!(sealed.values, 100);
        assert_eq!(sealed.erase(None, Span { first: 3, last: 3 }).0, 1);
        assert_eq!(sealed.erase(None, Span { first: 3, last: 3 }).0, 0, "twice");
        assert_eq!(sealed.erase(None, Span { first: 60, last: 129 }).0, 24);
        assert_eq!(sealed.erase(None, Span { first: 64, last: 127 }).0, 0);
        assert_eq!(sealed.erase(None, Span { first: 0, last: u64::MAX }).0, 75);
        assert_eq!(sealed.erased, 100);
        sealed.prune(70);
        assert_eq!(sealed.erase(None, Span { first: 0, last: 99 }), (0, 1));
        assert_eq!(sealed.erase(None, Span { first: u64::MAX, last: u64::MAX }).0, 0);
    }

    #[test]
    fn each_log_has_values_of_its_own() {
        let mut sealed = Sealed::default();
        for generation in [1, 2] {
            sealed.begin_log(generation);
            sealed.add(5);
        }
        let span = Span { first: 0, last: 9 };
        assert_eq!([None, None, Some(1), Some(1), Some(7)].map(|closed| sealed.erase(closed, span).0), [1, 0, 1, 0, 0]);
        assert_eq!((sealed.values, sealed.erased), (2, 2));
    }
}
