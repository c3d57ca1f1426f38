//! The first entry of a log that took the place of another: what it says of that one, against that
//! one itself, the register and the checkpoints that are attached to it.

use super::attached::Attached;
use super::keys::{Dated, LogKeys};
use super::{Chain, Reading};
use crate::jws;
use crate::kept::Head;
use crate::register::{log_verifiers_of, require_signed_in_time};
use crate::report::of_file;
use perron_log::merkle::leaf_hash;
use perron_log::{Checkpoint, Finding, FindingKind, TlogProof};
use perron_model::entry::{AttachmentKind, Body, Entry, Succession};
use perron_model::limits::SUCCESSION_BYTES_MAX;
use perron_model::negotiation::Side;
use perron_model::request::Receipt;
use perron_model::succession::{Charged, ChargedBy, ClosedLog, HeldHead, SuccessionDocument, generation_of};
use perron_model::{Digest, canonical};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The log that the one to be read took the place of.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// As the register tells of it.
    pub told: ClosedLog,
    /// Entries and root that were read of it.
    pub read: (u64, Digest),
    /// Roots of heads of it that others have seen beyond, by their sizes.
    pub beyond: BTreeMap<u64, Digest>,
    /// Heads larger than the largest that the register tells of, until the succession explains them.
    pub larger: Vec<Larger>,
}

/// A head of a closed log that is larger than what was told of it.
#[derive(Clone, Debug)]
pub(crate) struct Larger {
    /// The file that holds it.
    pub label: String,
    /// Entries that it covers.
    pub size: u64,
    /// Others who hold it.
    pub by: BTreeSet<String>,
}

/// What a succession told.
#[derive(Clone, Debug)]
pub(crate) struct Succeeded {
    /// The closed log.
    pub origin: String,
    /// Entries after which it was closed.
    pub size: u64,
    /// Entries lost, as far as it is known.
    pub lost: u64,
    /// Who held more.
    pub by: Vec<String>,
    /// Who held other entries than those that were got back.
    pub contradicting: Vec<String>,
    /// Who couldn't be asked.
    pub silent: Vec<String>,
    /// Who of them holds more than was told, and how many entries.
    pub shown_later: Vec<(String, u64)>,
}

impl Reading<'_> {
    /// Begins to read the log of this origin, which lies at `place` of the directory and of which others
    /// have seen these heads.
    pub fn begin(&mut self, origin: &str, place: &str, before: Option<Before>, heads: &[Head]) {
        let succession = self.succession_untold();
        let place_before = std::mem::replace(&mut self.place, place.to_owned());
        let mut found = self.signatures.flush();
        found.extend(self.untold());
        self.found.extend(found.into_iter().map(|finding| Finding { path: place_before.clone(), ..finding }));
        self.found.extend(succession);
        (self.origin, self.before) = (origin.to_owned(), before);
        (self.last, self.jumped_at) = (None, None);
        (self.log_keys, self.dated) = (LogKeys::of(self.owner, origin), Dated::by(heads));
        self.sealed.begin_log(generation_of(origin).unwrap_or(0));
    }

    /// After the last entry: a log that took the place of another and has none, and heads of that one that
    /// nothing explains, larger than what was told.
    pub(super) fn succession_untold(&mut self) -> Vec<Finding> {
        let Some(before) = &mut self.before else { return Vec::new() };
        let (origin, held) = (&before.told.origin, before.told.held);
        let none = of_file(FindingKind::Succession, &self.place, format!("the log after `{origin}` has no entry"));
        let of = |head: Larger| {
            let detail = format!("it covers {} entries of `{origin}`, the register tells of {held}", head.size);
            of_file(FindingKind::Succession, head.label, detail)
        };
        let larger = std::mem::take(&mut before.larger).into_iter().map(of);
        self.last.is_none().then_some(none).into_iter().chain(larger).collect()
    }

    /// Takes the heads that are larger than what was told, where all who hold them are named as silent:
    /// whoever couldn't be asked may hold more, and nobody else can tell whether they were.
    fn shown_later(&mut self, silent: &[String]) -> Vec<(String, u64)> {
        let is_theirs = |head: &Larger| !head.by.is_empty() && head.by.iter().all(|by| silent.contains(by));
        let Some(before) = &mut self.before else { return Vec::new() };
        let (theirs, others): (Vec<_>, Vec<_>) = std::mem::take(&mut before.larger).into_iter().partition(is_theirs);
        before.larger = others;
        let mut most: BTreeMap<String, u64> = BTreeMap::new();
        for (by, size) in theirs.into_iter().flat_map(|head| head.by.into_iter().map(move |by| (by, head.size))) {
            let known = most.entry(by).or_insert(size);
            *known = size.max(*known);
        }
        most.into_iter().collect()
    }

    /// Is a succession where it has to be, and nowhere else?
    pub(super) fn succeeds(&mut self, entry: &Entry) {
        let is_one = matches!(entry.body, Body::Succession(_));
        let is_due = self.begins_with_succession(is_one);
        self.require(is_due || !is_one, FindingKind::Succession, "it tells of a succession where none was");
    }

    /// Is the entry the first of a log that took the place of another? It has to be the succession.
    pub(super) fn begins_with_succession(&mut self, is_one: bool) -> bool {
        let is_first = self.index == 0 && self.before.is_some();
        let detail = "the log took the place of another, and doesn't begin with a succession";
        self.require(is_one || !is_first, FindingKind::Succession, detail);
        is_first
    }

    pub(super) fn succession(&mut self, body: &Succession, leaf: Digest, attached: &mut Attached<'_>) {
        let document = self.bound(attached, AttachmentKind::Document, &body.document);
        let document = document.and_then(|bytes| {
            let read = canonical::from_bytes::<SuccessionDocument>(bytes, SUCCESSION_BYTES_MAX);
            read.map_err(|e| self.wrong(FindingKind::DocumentBytes, format!("its document: {}", e.detail))).ok()
        });
        let Some(before) = self.before.clone() else { return };
        let said = (body.origin.as_str(), body.size, body.root);
        let told = &before.told;
        self.require(
            said == (told.origin.as_str(), told.size, told.root) && body.held == told.held && leaf == told.genesis,
            FindingKind::Succession,
            "the register tells of another succession",
        );
        self.require(
            (body.size, body.root) == before.read,
            FindingKind::Succession,
            "the log that it closes isn't the one that lies there",
        );
        self.require(body.lost == told.lost(), FindingKind::Succession, "the entries lost don't add up");
        let Some(document) = document else { return };
        self.require(
            document.held(body.size) == body.held,
            FindingKind::Succession,
            "it tells of another largest head than those that it names",
        );
        let mut roots = before.beyond;
        for head in &document.heads {
            self.held_head(head, body, &mut roots);
        }
        self.charge(&document.charged);
        let shown_later = self.shown_later(&document.silent);
        let (larger, others): (Vec<_>, Vec<_>) = document.heads.into_iter().partition(|head| head.size > body.size);
        let by = |heads: Vec<HeldHead>| heads.into_iter().map(|head| head.by).collect();
        self.succeeded.push(Succeeded {
            origin: body.origin.clone(),
            size: body.size,
            lost: body.lost,
            by: by(larger),
            contradicting: by(others),
            silent: document.silent,
            shown_later,
        });
    }

    /// A head that others hold is what its signed checkpoint says, where there is one; a witness's word
    /// is unsigned. Of one size there is one root: nobody has the entries any more to tell two apart by.
    fn held_head(&mut self, head: &HeldHead, body: &Succession, roots: &mut BTreeMap<u64, Digest>) {
        let Some(note) = &head.note else { return };
        self.count_signature("checkpoint");
        let keys = log_verifiers_of(self.owner, &body.origin);
        match Checkpoint::open(note, &body.origin, &keys, &[]) {
            Ok(opened) => {
                let Checkpoint { size, root, .. } = opened.checkpoint;
                self.require(size == head.size, FindingKind::DocumentBytes, "a head isn't what its checkpoint says");
                let root = Digest::from_bytes(root.0);
                let one = *roots.entry(size).or_insert(root) == root;
                self.require(one, FindingKind::Fork, "others hold two heads of one size that contradict each other");
                let own = size == body.size && root == body.root;
                self.require(!own, FindingKind::Succession, "a head is named that the closed log leads to");
            }
            Err(error) => {
                self.wrong(FindingKind::Signature, format!("the checkpoint that `{}` holds: {error}", head.by));
            }
        }
    }

    /// Each agreement under which this organisation gives is charged once, no less than before, and
    /// for what was lost.
    fn charge(&mut self, charged: &[Charged]) {
        let mut seen = HashSet::new();
        for one in charged {
            let first = seen.insert(one.agreement);
            let chain = self.chains.get(&one.agreement);
            let (uses, volume, torn) = chain.map_or((0, 0, 0), |c: &Chain| (c.uses, c.volume, c.torn));
            let due = match (one.by, &one.receipt) {
                (ChargedBy::Lost, None) => {
                    let due = Charged::lost(one.agreement, (uses, volume));
                    Some((due.uses, due.volume))
                }
                (ChargedBy::Partner, None) => Some((uses, volume)),
                (ChargedBy::Partner, Some(receipt)) => {
                    self.count_signature("receipt");
                    let told = self.totals(&one.agreement, receipt);
                    told.map(|(told_uses, told_volume)| (told_uses.max(uses), told_volume.max(volume)))
                }
                (ChargedBy::Lost, Some(_)) => None,
            };
            // What isn't followed, or was pruned, can't be counted.
            let fits = first && (due == Some((one.uses, one.volume)) || torn > 0 || self.beyond > 0);
            self.require(fits, FindingKind::Succession, "what an agreement is charged isn't what was lost of it");
            if let Some(chain) = self.chains.get_mut(&one.agreement) {
                (chain.uses, chain.volume) = (one.uses.max(uses), one.volume.max(volume));
            }
        }
        let amended = |id: &Digest| {
            let first = self.firsts.get(id).unwrap_or(id);
            self.lives.get(first).is_some_and(|life| life.current() != Some(*id))
        };
        let gives = self.agreements.iter().filter(|(id, known)| known.side == Side::Provider && !amended(id));
        let left_out = gives.filter(|(id, _)| !seen.contains(*id)).count();
        self.require(left_out == 0, FindingKind::Succession, "an agreement under which it gives isn't charged");
    }

    /// The totals that a receipt of this organisation's own log tells of an agreement.
    fn totals(&self, agreement: &Digest, receipt: &Receipt) -> Option<(u64, u64)> {
        let Body::Decision(decision) = self.own(agreement, &receipt.decision, &receipt.decision_proof)? else {
            return None;
        };
        if receipt.outcome.is_empty() {
            return Some((decision.uses, decision.volume.unwrap_or(0)));
        }
        match self.own(agreement, &receipt.outcome, &receipt.outcome_proof)? {
            Body::Outcome(outcome) => Some((outcome.uses, outcome.volume.or(decision.volume).unwrap_or(0))),
            _ => None,
        }
    }

    fn own(&self, agreement: &Digest, leaf: &str, proof: &str) -> Option<Body> {
        let bytes = jws::decode(leaf).ok()?;
        let (hash, proof) = (leaf_hash(&bytes), TlogProof::parse(proof).ok()?);
        let mut origins = self.owner.origins();
        let tree = origins.find_map(|own| proof.verify(&hash, own, &log_verifiers_of(self.owner, own), &[]).ok())?;
        let entry = Entry::from_bytes(&bytes).ok()?;
        require_signed_in_time([self.owner], &tree, entry.time).ok()?;
        entry.chain.filter(|chain| chain.agreement == *agreement).map(|_| entry.body)
    }
}
