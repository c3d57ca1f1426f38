//! Erasing what lies sealed in the log: the keys go, the bytes and all proofs stay.
//!
//! What will be left of the vault is durable first, then the entry that tells of the erasure, then
//! the keys before are destroyed. A start finishes what has its entry and drops what has none. The
//! other parties of the agreements concerned get a signed notice.

mod torn;

use crate::connector::audit::question::{agreement_of, user_of};
use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::state::Erasure;
use crate::ledger::{Draft, closed_at};
use crate::vault::{Erasing, Resting};
use perron_log::{LogReader, StoredEntry};
use perron_model::entry::{AttachmentKind, Body, Entry, Erased, Span};
use perron_model::id::UserName;
use perron_model::life::Act;
use perron_model::limits::{
    ERASED_AGREEMENTS_MAX, ERASED_ENTRIES_ASKED_MAX, ERASED_EPOCHS_MAX, ERASED_SPANS_MAX, ERASURE_BACKUP_DAYS_MIN,
    PSEUDONYM_BYTES_MAX,
};
use perron_model::sealed::{EpochId, Ground, SealedHeader, SealedValue};
use perron_model::{AgreementId, Digest, Error, ErrorCode, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be erased: values of entries that fit all that is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseAsked {
    /// Entries by their numbers.
    pub entries: Vec<u64>,
    /// A user, by name or by a pseudonym; of a partner's by the pseudonym alone.
    pub user: Option<String>,
    /// An agreement.
    pub agreement: Option<AgreementId>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// On which ground.
    pub ground: Ground,
}

/// What an erasure came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseDone {
    /// The entry that tells of it.
    pub entry: u64,
    /// How many values were erased.
    pub values: u64,
    /// On which ground.
    pub ground: Ground,
    /// Until when a backup of the key before could undo it.
    pub undone_until: Timestamp,
    /// Agreements whose other parties are told.
    pub agreements: Vec<AgreementId>,
    /// Was the user's name taken off the list of users?
    pub user_removed: bool,
    /// Are there more that fit? One erasure is bounded: ask again.
    pub more: bool,
}

/// A user, as entries may name them.
#[derive(Debug)]
struct Whom {
    pseudonyms: BTreeSet<String>,
    // One of ours, on the list.
    name: Option<UserName>,
    // As they were asked for.
    text: String,
}

impl Whom {
    /// Is a sealed user this one? Then they go by its pseudonyms too: whoever is on the list no longer
    /// is found by what the log itself tells of them, which stands before all that they did.
    fn is(&mut self, name: &UserName, pseudonyms: BTreeMap<String, String>) -> bool {
        let is_named = self.name.as_ref().map_or(self.text == name.as_str(), |known| known == name);
        let is_theirs = is_named || pseudonyms.values().any(|one| self.pseudonyms.contains(one));
        if is_theirs {
            self.pseudonyms.extend(pseudonyms.into_values());
        }
        is_theirs
    }
}

/// What an erasure is of, within one agreement: numbers in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Concerned {
    first: u64,
    last: u64,
    values: u64,
}

/// What was found in the log.
#[derive(Debug, Default)]
struct Found {
    erasing: Erasing,
    spans: Vec<Span>,
    values: u64,
    agreements: BTreeMap<AgreementId, Concerned>,
    more: bool,
    // Was the newest entry with a sealed value, whatever it is, taken?
    is_run: bool,
    // The log that was looked through: the place of its first entry.
    base: u64,
}

impl Node {
    /// Erases sealed values, and says so in the log before any key is destroyed.
    ///
    /// # Errors
    /// `malformed` where nothing says what; `not_found` where nothing that can still be opened fits.
    pub async fn erase(self: &Arc<Node>, actor: &str, asked: EraseAsked) -> Result<EraseDone> {
        check(&asked)?;
        let _one = self.erasing.lock().await;
        let is_of_user_alone =
            asked.entries.is_empty() && asked.agreement.is_none() && asked.since.is_none() && asked.until.is_none();
        // Before the vault rests: what they began is waited for, and nothing more comes.
        let user = asked.user.as_deref().filter(|_| is_of_user_alone);
        let leaving = user.and_then(|text| self.users.let_leave(text));
        let resting = self.vault.rest(self.ledger.reader().size()).await?;
        self.ledger.level().await?;
        let whom = asked.user.as_deref().map(|text| self.whom(text));
        let name = whom.as_ref().and_then(|whom| whom.name.clone()).filter(|_| is_of_user_alone);
        if name != leaving.as_ref().map(|leaving| leaving.name.clone()) {
            let detail = "a user of this name was entered at this moment; ask again";
            return Err(Error::new(ErrorCode::AlreadyExists, detail));
        }
        let (node, seen) = (self.clone(), asked.clone());
        let found = blocking(move || node.look_through(&seen, whom, &resting)).await?;
        if found.values == 0 && name.is_none() {
            return Err(Error::new(ErrorCode::NotFound, "no sealed value that can still be opened fits"));
        }
        let until = undone_until(self.now(), self.backup_days);
        let subject = name.as_ref().filter(|_| !found.more).map(|name| self.users.pseudonym(name, None)).transpose()?;
        let body = Erased {
            entries: found.spans.clone(),
            values: found.values,
            ground: asked.ground.as_str().to_owned(),
            by: actor.to_owned(),
            vault: self.vault.number().saturating_add(1),
            until,
            agreements: found.agreements.keys().copied().collect(),
            user: subject.clone(),
            log: closed_at(found.base),
        };
        let done = body.clone();
        let (recorded, destroyed) = self.carry_out_erasure(body, found.erasing).await?;
        if let Some(pseudonym) = &subject {
            self.users.remove(pseudonym)?;
        }
        drop(leaving);
        self.tell_of_erasure(recorded, &found.agreements, asked.ground, until, Some(actor)).await;
        // All that the entry tells is done by now, but that.
        destroyed.map_err(|error| {
            let detail = format!(
                "entry {} tells of the erasure, but not all that was before it can be destroyed, which is tried again \
                 at the next erasure, for keys at the next start too: {}",
                recorded.index, error.detail
            );
            Error::new(error.code, detail)
        })?;
        Ok(EraseDone {
            entry: recorded.index,
            values: done.values,
            ground: asked.ground,
            undone_until: until,
            agreements: done.agreements,
            user_removed: subject.is_some(),
            more: found.more,
        })
    }

    /// Makes what is left durable, writes the entry, destroys what was before; gives whether it could.
    async fn carry_out_erasure(
        self: &Arc<Node>,
        body: Erased,
        erasing: Erasing,
    ) -> Result<(perron_gate::Recorded, Result<()>)> {
        let prepared = self.vault.prepare(erasing, body.vault).await?;
        let recorded = self.ledger.append(Draft::plain(Body::Erased(body))).await?;
        let node = self.clone();
        Ok((recorded, blocking(move || node.vault.finish(prepared).and(node.destroy_torn())).await))
    }

    /// A user of ours by name or pseudonym, with all their pseudonyms; else the pseudonym of a
    /// partner's, or whoever was on the list once.
    fn whom(&self, text: &str) -> Whom {
        let (pseudonyms, name) = match self.users.meant(text) {
            Some(user) => (user.pseudonyms.into_values().collect(), Some(user.name)),
            None => (BTreeSet::from([text.to_owned()]), None),
        };
        Whom { pseudonyms, name, text: text.to_owned() }
    }

    /// Looks through the logs, the oldest first, for one that has what is asked: an erasure is of one
    /// log. What a later one has is for the next.
    fn look_through(&self, asked: &EraseAsked, mut whom: Option<Whom>, resting: &Resting) -> Result<Found> {
        let mut first = Found::default();
        for (base, reader) in self.ledger.logs() {
            // Numbers are those of the log in force.
            if base != 0 && !asked.entries.is_empty() {
                continue;
            }
            let found = self.look_for((base, reader), asked, &mut whom, resting)?;
            if found.values > 0 && first.values > 0 {
                first.more = true;
            } else if found.values > 0 {
                first = found;
            }
            if first.more {
                break;
            }
        }
        Ok(first)
    }

    /// Looks through a log for what is asked, then for what else the epochs concerned have.
    fn look_for(
        &self,
        (base, reader): (u64, &LogReader),
        asked: &EraseAsked,
        whom: &mut Option<Whom>,
        resting: &Resting,
    ) -> Result<Found> {
        let mut found = Found { base, ..Found::default() };
        each_sealed(reader, 0, &mut |entry, header, stored| {
            // What came since the erasure began is not of it.
            if resting.holds(&header.epoch) && self.is_asked(asked, whom.as_mut(), entry, header, stored)? {
                Ok(found.take(entry, header))
            } else {
                found.is_run = false;
                Ok(true)
            }
        })?;
        self.add_left(reader, &mut found.erasing)?;
        Ok(found)
    }

    /// What the epochs concerned have in a log that isn't erased. No epoch is of two logs: each process
    /// begins one.
    fn add_left(&self, reader: &LogReader, erasing: &mut Erasing) -> Result<()> {
        if erasing.erased.is_empty() {
            return Ok(());
        }
        let epochs: BTreeSet<EpochId> = erasing.erased.keys().copied().collect();
        each_sealed(reader, self.vault.begin_of(&epochs), &mut |_, header, _| {
            if erasing.erased.get(&header.epoch).is_some_and(|gone| !gone.contains(&header.value)) {
                erasing.left.entry(header.epoch).or_default().insert(header.value);
            }
            Ok(true)
        })
    }

    /// Does the value of this entry fit, and can it still be opened?
    fn is_asked(
        &self,
        asked: &EraseAsked,
        whom: Option<&mut Whom>,
        entry: &Entry,
        header: &SealedHeader,
        stored: &StoredEntry,
    ) -> Result<bool> {
        let fits = (asked.entries.is_empty() || asked.entries.contains(&entry.index))
            && asked.agreement.is_none_or(|agreement| agreement_of(entry) == Some(agreement))
            && asked.since.is_none_or(|since| entry.time >= since)
            && asked.until.is_none_or(|until| entry.time < until);
        // Also where it doesn't fit, it may tell by which pseudonyms somebody goes.
        let may_tell = whom.is_some() && matches!(entry.body, Body::Administration(_));
        if !(fits || may_tell) || !self.vault.can_read(header)? {
            return Ok(false);
        }
        let Some(whom) = whom else { return Ok(true) };
        let is_theirs = match &entry.body {
            // Who acted is another than whom the act is about.
            Body::Administration(_) => {
                match sealed_in(stored).map(|bytes| self.vault.read(bytes)).transpose()?.flatten() {
                    Some(SealedValue::User { name, pseudonyms }) => whom.is(&name, pseudonyms),
                    _ => false,
                }
            }
            body => user_of(body).is_some_and(|user| whom.pseudonyms.contains(user)),
        };
        Ok(fits && is_theirs)
    }

    /// Tells the other parties; what can't be told now is told at the next start.
    async fn tell_of_erasure(
        &self,
        recorded: perron_gate::Recorded,
        agreements: &BTreeMap<AgreementId, Concerned>,
        ground: Ground,
        until: Timestamp,
        who: Option<&str>,
    ) {
        for (agreement, concerned) in agreements {
            let Concerned { first, last, values } = *concerned;
            let act = Act::Erase { erasure: recorded.leaf, first, last, values, ground, until };
            let _guard = self.noticing.lock().await;
            let Some(kept) = self.state.life(agreement) else { continue };
            if let Err(error) = self.tell_at(self.now(), agreement, &kept, act, who).await {
                tracing::warn!(code = error.code.as_str(), "an erasure can't be told now: {}", error.detail);
            }
        }
    }

    /// Finishes what a crash left of erasures; a vault from before one is brought level with the log.
    pub(crate) async fn finish_erasures(self: &Arc<Node>) -> Result<()> {
        let Some(number) = self.state.erased_to() else { return Ok(()) };
        if self.vault.number() < number {
            tracing::warn!("the vault is from before an erasure, which is done again");
            self.vault.rest(self.ledger.reader().size()).await?;
            let node = self.clone();
            let erasing = blocking(move || {
                let mut erasing = Erasing::default();
                for (base, reader) in node.ledger.logs() {
                    each_sealed(reader, 0, &mut |entry, header, _| {
                        if node.state.erased_by(base.saturating_add(entry.index)).is_some() {
                            erasing.erased.entry(header.epoch).or_default().insert(header.value);
                        }
                        Ok(true)
                    })?;
                }
                for (_, reader) in node.ledger.logs() {
                    node.add_left(reader, &mut erasing)?;
                }
                Ok(erasing)
            })
            .await?;
            let prepared = self.vault.prepare(erasing, number).await?;
            let vault = self.vault.clone();
            blocking(move || vault.finish(prepared)).await?;
        }
        for erasure in self.state.erasures() {
            if let Some(pseudonym) = &erasure.user {
                self.users.remove(pseudonym)?;
            }
            if !erasure.untold.is_empty() {
                self.tell_late(erasure).await?;
            }
        }
        Ok(())
    }

    async fn tell_late(self: &Arc<Node>, erasure: Erasure) -> Result<()> {
        let ground = erasure.ground.parse()?;
        let recorded = perron_gate::Recorded { index: erasure.index, leaf: erasure.leaf };
        let (node, until) = (self.clone(), erasure.until);
        let agreements = blocking(move || {
            let (mut found, base) = (Found::default(), erasure.base());
            let place = |number: u64| base.saturating_add(number);
            let (first, last) = (erasure.entries.first(), erasure.entries.last());
            let (from, last) = (first.map_or(base, |(first, _)| *first), last.map_or(base, |(_, last)| *last));
            let Some((_, reader)) = node.ledger.logs().find(|(of, _)| *of == base) else { return Ok(found.agreements) };
            each_sealed(reader, from.saturating_sub(base), &mut |entry, _, _| {
                if erasure.holds(place(entry.index)) {
                    found.concern(entry);
                }
                Ok(place(entry.index) < last)
            })?;
            found.agreements.retain(|agreement, _| erasure.untold.contains(agreement));
            Ok(found.agreements)
        })
        .await?;
        self.tell_of_erasure(recorded, &agreements, ground, until, None).await;
        Ok(())
    }
}

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// Until when a backup could undo an erasure that is made now. Its entry comes a little later, and must
/// not tell of a time before its own.
fn undone_until(now: Timestamp, backup_days: u16) -> Timestamp {
    now.plus_millis(i64::from(backup_days.max(ERASURE_BACKUP_DAYS_MIN)).saturating_mul(DAY_MS))
}

fn check(asked: &EraseAsked) -> Result<()> {
    let EraseAsked { entries, user, agreement, since, until, .. } = asked;
    if entries.is_empty() && user.is_none() && agreement.is_none() && since.is_none() && until.is_none() {
        return Err(Error::malformed("nothing says what is to be erased: entries, a user, an agreement or a period"));
    }
    if entries.len() > ERASED_ENTRIES_ASKED_MAX {
        return Err(Error::malformed(format!("at most {ERASED_ENTRIES_ASKED_MAX} entries are named at once")));
    }
    match user {
        Some(user) if user.is_empty() || user.len() > PSEUDONYM_BYTES_MAX => {
            Err(Error::malformed(format!("a name or pseudonym has 1 to {PSEUDONYM_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// The sealed value that is attached to an entry.
pub(super) fn sealed_in(stored: &StoredEntry) -> Option<&[u8]> {
    stored.attachments.iter().find(|a| a.kind == AttachmentKind::Sealed as u16).map(|a| a.bytes.as_slice())
}

/// Each durable entry from one on that seals a value, while it is wanted.
type Visit<'a> = dyn FnMut(&Entry, &SealedHeader, &StoredEntry) -> Result<bool> + 'a;

fn each_sealed(reader: &LogReader, from: u64, visit: &mut Visit<'_>) -> Result<()> {
    let mut show = |stored: &StoredEntry| {
        let Some(sealed) = sealed_in(stored) else { return Ok(true) };
        visit(&Entry::from_bytes(&stored.leaf)?, &SealedHeader::parse(sealed)?.0, stored)
    };
    let (end, mut visited) = (reader.size(), Ok(true));
    let read = reader.for_entries(from.min(end), end, &mut |stored| {
        // Of what was pruned nothing is left to be erased.
        let Some(stored) = stored.entry() else { return true };
        visited = show(&stored);
        matches!(visited, Ok(true))
    });
    visited?;
    read.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))
}

impl Found {
    /// Takes the value of an entry, unless this is too much for one erasure: then the rest is for the
    /// next.
    fn take(&mut self, entry: &Entry, header: &SealedHeader) -> bool {
        let epochs = &self.erasing.erased;
        let agreement = entry.chain.as_ref().map(|chain| chain.agreement);
        let has_room = (self.is_run || self.spans.len() < ERASED_SPANS_MAX)
            && (epochs.contains_key(&header.epoch) || epochs.len() < ERASED_EPOCHS_MAX)
            && agreement
                .is_none_or(|a| self.agreements.contains_key(&a) || self.agreements.len() < ERASED_AGREEMENTS_MAX);
        if !has_room {
            self.more = true;
            return false;
        }
        self.erasing.erased.entry(header.epoch).or_default().insert(header.value);
        self.values = self.values.saturating_add(1);
        match self.spans.last_mut() {
            Some(span) if self.is_run => span.last = entry.index,
            _ => self.spans.push(Span { first: entry.index, last: entry.index }),
        }
        self.is_run = true;
        self.concern(entry);
        true
    }

    fn concern(&mut self, entry: &Entry) {
        let Some(chain) = &entry.chain else { return };
        let number = chain.number;
        let one = self.agreements.entry(chain.agreement);
        let one = one.or_insert(Concerned { first: number, last: number, values: 0 });
        (one.last, one.values) = (number, one.values.saturating_add(1));
    }
}

/// The request of an entry, to compare an opened statement with what was signed.
pub(super) fn signed_statement(stored: &StoredEntry) -> Option<Digest> {
    let request = stored.attachments.iter().find(|a| a.kind == AttachmentKind::Request as u16)?;
    let text = std::str::from_utf8(&request.bytes).ok()?;
    perron_model::request::claims_of(text).ok().map(|claims| claims.statement)
}

#[cfg(test)]
#[path = "erasure_tests.rs"]
mod tests;
