//! The register as a member holds it: verified, never older than one seen before, shared.
//!
//! A version binds its entries by digest and its predecessor by digest; every entry is a JWS of
//! its own. Nothing of a register can be reached before all of it is verified.

use super::jws;
use arc_swap::ArcSwap;
use perron_model::limits::{CLOCK_LAG_MS_MAX, DOCUMENT_BYTES_MAX, PARTICIPANTS_MAX, REGISTER_BYTES_MAX};
use perron_model::participant::{Participant, PublicKey, RegisteredKey, Status};
use perron_model::register::{PARTICIPANT_TYP, ParticipantEntry, REGISTER_TYP, RegisterVersion, SignedRegister};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A register version whose every signature, digest and link was verified.
#[derive(Clone)]
pub struct VerifiedRegister {
    authority: PublicKey,
    version: RegisterVersion,
    digest: Digest,
    jws: String,
    entries: BTreeMap<ParticipantId, Arc<VerifiedEntry>>,
}

struct VerifiedEntry {
    entry: ParticipantEntry,
    digest: Digest,
    jws: String,
}

impl VerifiedRegister {
    /// Verifies `signed` with the authority's key, and that it may follow `previous`, the newest
    /// seen so far: not older, of the same space, chained to it if it is the next, and nobody
    /// who was revoked in force again. Entries that `previous` holds too aren't verified twice.
    pub fn verify(
        signed: &SignedRegister,
        authority: &PublicKey,
        previous: Option<&VerifiedRegister>,
    ) -> Result<VerifiedRegister> {
        let bytes = signed.entries.iter().fold(signed.register.len(), |sum, e| sum.saturating_add(e.len()));
        if signed.entries.len() > PARTICIPANTS_MAX || bytes > REGISTER_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, "the register is over its bound"));
        }
        let kid = authority.thumbprint();
        let verified = jws::verify_compact_within(&signed.register, REGISTER_TYP, REGISTER_BYTES_MAX, |k| {
            (*k == kid).then_some(*authority)
        })
        .map_err(invalid)?;
        let version: RegisterVersion = canonical::from_bytes(&verified.payload, REGISTER_BYTES_MAX).map_err(invalid)?;
        check_version(&version, signed)?;
        let known = previous.filter(|p| p.authority == *authority);
        let mut entries = BTreeMap::new();
        for (listed, text) in version.entries.iter().zip(&signed.entries) {
            if Digest::of(text.as_bytes()) != listed.digest {
                return Err(refuse(format!("the entry of `{}` is not the one the register names", listed.participant)));
            }
            let kept = known.and_then(|p| p.entries.get(&listed.participant)).filter(|e| e.digest == listed.digest);
            let entry = match kept {
                Some(kept) => Arc::clone(kept),
                None => {
                    let entry = verify_entry(text, authority).map_err(invalid)?;
                    Arc::new(VerifiedEntry { entry, digest: listed.digest, jws: text.clone() })
                }
            };
            let payload = &entry.entry;
            if payload.participant.id != listed.participant
                || payload.space != version.space
                || payload.version > version.version
            {
                return Err(refuse(format!("the entry of `{}` is not of this register", listed.participant)));
            }
            entries.insert(listed.participant.clone(), entry);
        }
        let register = VerifiedRegister {
            authority: *authority,
            digest: Digest::of(signed.register.as_bytes()),
            version,
            jws: signed.register.clone(),
            entries,
        };
        if let Some(previous) = previous {
            register.check_follows(previous)?;
        }
        Ok(register)
    }

    /// As `verify`, of the canonical bytes that `bytes` gives: a file, or a message of a peer.
    pub fn verify_bytes(
        bytes: &[u8],
        authority: &PublicKey,
        previous: Option<&VerifiedRegister>,
    ) -> Result<VerifiedRegister> {
        let signed: SignedRegister = canonical::from_bytes(bytes, REGISTER_BYTES_MAX).map_err(invalid)?;
        Self::verify(&signed, authority, previous)
    }

    /// The canonical bytes (RFC 8785) of what `signed` gives, for a file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        canonical::to_bytes(&self.signed())
    }

    /// Refuses unless this version may stand in the place of `previous`.
    fn check_follows(&self, previous: &VerifiedRegister) -> Result<()> {
        if self.version.space != previous.version.space || self.authority != previous.authority {
            return Err(refuse("the register is of another data space or authority"));
        }
        let (ours, theirs) = (self.version.version, previous.version.version);
        if ours < theirs || self.version.issued < previous.version.issued {
            return Err(refuse(format!("register version {ours} is older than version {theirs}, seen before")));
        }
        if ours == theirs && self.digest != previous.digest {
            return Err(refuse(format!("there are two registers of version {ours}")));
        }
        if theirs.checked_add(1) == Some(ours) && self.version.previous != Some(previous.digest) {
            return Err(refuse(format!("register version {ours} doesn't follow the version {theirs} seen before")));
        }
        for (id, old) in &previous.entries {
            let revoked = |e: &VerifiedEntry| e.entry.participant.status == Status::Revoked;
            if revoked(old) && self.entries.get(id).is_some_and(|new| !revoked(new)) {
                return Err(refuse(format!("`{id}` was revoked, and that is for ever")));
            }
            // An entry that is the very same follows itself.
            if let Some(new) = self.entries.get(id).filter(|new| new.digest != old.digest) {
                super::succession::check_follows(&new.entry.participant, &old.entry.participant)?;
                check_keys(&new.entry.participant, &old.entry.participant)?;
            }
        }
        Ok(())
    }

    /// The participant's entry; says nothing of whether it is in force.
    pub fn participant(&self, id: &ParticipantId) -> Option<&Participant> {
        self.entries.get(id).map(|e| &e.entry.participant)
    }

    /// The participant, if it is in force at `now`; else the refusal that says why not.
    pub fn member(&self, id: &ParticipantId, now: Timestamp) -> Result<&Participant> {
        let participant = self.participant(id).ok_or_else(|| {
            Error::new(ErrorCode::ParticipantUnknown, format!("participant `{id}` is not in the register"))
        })?;
        participant.require_in_force(now)?;
        Ok(participant)
    }

    /// All participants, by name.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.entries.values().map(|e| &e.entry.participant)
    }

    /// The participant's entry as the authority signed it, for an agreement's envelope.
    pub fn entry_jws(&self, id: &ParticipantId) -> Option<&str> {
        self.entries.get(id).map(|e| e.jws.as_str())
    }

    /// All entries as the authority signed them, by name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&ParticipantId, Digest, &str)> {
        self.entries.iter().map(|(id, e)| (id, e.digest, e.jws.as_str()))
    }

    /// The version's number.
    pub fn version(&self) -> u64 {
        self.version.version
    }

    /// The payload of the version.
    pub fn payload(&self) -> &RegisterVersion {
        &self.version
    }

    /// SHA-256 of the version's compact JWS.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The data space.
    pub fn space(&self) -> &SpaceId {
        &self.version.space
    }

    /// The key that signed it.
    pub fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// May reads be served by it at `now`?
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.version.use_before
    }

    /// Was it signed so long after `now` that the clock which shows `now` must be wrong?
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        now.plus_millis(CLOCK_LAG_MS_MAX) < self.version.issued
    }

    /// Refuses past `use_before` with `register_stale`.
    pub fn require_fresh(&self, now: Timestamp) -> Result<()> {
        if self.is_fresh(now) {
            Ok(())
        } else {
            let detail =
                format!("register version {} was to be used before {}", self.version(), self.version.use_before);
            Err(Error::new(ErrorCode::RegisterStale, detail))
        }
    }

    /// Is half of its time over at `now`? Then a warning is due.
    pub fn half_used(&self, now: Timestamp) -> bool {
        let life = self.version.use_before.millis().saturating_sub(self.version.issued.millis());
        now >= self.version.issued.plus_millis(life / 2)
    }

    /// As it travels, and as it is kept in a file.
    pub fn signed(&self) -> SignedRegister {
        SignedRegister { register: self.jws.clone(), entries: self.entries.values().map(|e| e.jws.clone()).collect() }
    }
}

impl fmt::Debug for VerifiedRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedRegister({} version {}, {} entries)", self.space(), self.version(), self.entries.len())
    }
}

/// Verifies one entry, as an agreement's envelope carries it.
pub fn verify_entry(text: &str, authority: &PublicKey) -> Result<ParticipantEntry> {
    let kid = authority.thumbprint();
    let verified = jws::verify_compact(text, PARTICIPANT_TYP, |k| (*k == kid).then_some(*authority))?;
    canonical::from_bytes(&verified.payload, DOCUMENT_BYTES_MAX)
}

/// What a version says of itself must hold together.
fn check_version(version: &RegisterVersion, signed: &SignedRegister) -> Result<()> {
    if version.entries.len() != signed.entries.len() {
        return Err(refuse("the register comes with more or fewer entries than it names"));
    }
    if version.version == 0 || (version.version == 1) != version.previous.is_none() {
        return Err(refuse("every register version but the first names its predecessor"));
    }
    if version.issued >= version.use_before {
        return Err(refuse("the register is of no use at any time"));
    }
    let ordered = version.entries.iter().zip(version.entries.iter().skip(1));
    for (one, next) in ordered {
        if one.participant >= next.participant {
            return Err(refuse("the register's entries are not in order, each once"));
        }
    }
    Ok(())
}

/// Refuses a register whose history of a participant's keys is another than before: of a key that was
/// there nothing changes but that it ends, or ends earlier.
fn check_keys(new: &Participant, old: &Participant) -> Result<()> {
    let is_kept = |before: &RegisteredKey| {
        let same = |after: &&RegisteredKey| RegisteredKey { until: before.until, ..(*after).clone() } == *before;
        let ends = |after: &RegisteredKey| after.until.is_some_and(|end| before.until.is_none_or(|until| end <= until));
        new.keys.iter().find(same).is_some_and(|after| after.until == before.until || ends(after))
    };
    if old.keys.iter().all(is_kept) {
        return Ok(());
    }
    Err(refuse(format!("the history of the keys of `{}` is not what it was", new.id)))
}

/// The one register in use, shared: reading is cheap, and who waits learns of a new version.
pub struct RegisterHandle {
    current: ArcSwap<VerifiedRegister>,
    replacing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl RegisterHandle {
    /// Shares `register`.
    pub fn new(register: VerifiedRegister) -> RegisterHandle {
        let (changed, _) = watch::channel(register.version());
        RegisterHandle { current: ArcSwap::from_pointee(register), replacing: Mutex::new(()), changed }
    }

    /// The register in use.
    pub fn load(&self) -> Arc<VerifiedRegister> {
        self.current.load_full()
    }

    /// Verifies `signed` as what follows the register in use, and puts it in its place.
    pub fn update(&self, signed: &SignedRegister) -> Result<Arc<VerifiedRegister>> {
        let current = self.load();
        self.replace(VerifiedRegister::verify(signed, current.authority(), Some(&current))?)
    }

    /// Puts `register` in the place of the one in use, which it must follow. All who subscribed
    /// are told, unless it is the very same version.
    pub fn replace(&self, register: VerifiedRegister) -> Result<Arc<VerifiedRegister>> {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.load();
        register.check_follows(&current)?;
        if register.digest == current.digest {
            return Ok(current);
        }
        let register = Arc::new(register);
        self.current.store(Arc::clone(&register));
        self.changed.send_replace(register.version());
        Ok(register)
    }

    /// Tells of each new version (the newest if several came): a running stream looks up its
    /// participants again.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl fmt::Debug for RegisterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::RegisterInvalid, detail)
}

/// Whatever is wrong inside a register makes it an invalid register.
fn invalid(error: Error) -> Error {
    if error.code == ErrorCode::TooLarge { error } else { refuse(error.detail) }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
