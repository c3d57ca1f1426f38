//! The register as its authority writes it. Its whole state is the newest signed version, which
//! the caller keeps in a file: durable before it is handed out.

use super::jws;
use super::keys::SigningKey;
use super::register::VerifiedRegister;
use perron_model::limits::{KEYS_PER_USE_MAX, PARTICIPANTS_MAX, REGISTER_LIFE_S};
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant, PublicKey, RegisteredKey, Status};
use perron_model::register::{
    EntryDigest, PARTICIPANT_TYP, ParticipantEntry, REGISTER_TYP, RegisterVersion, SignedRegister,
};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use std::collections::BTreeMap;

/// The register on the authority's side. Each change signs a new version; one that fails
/// changes nothing.
#[derive(Clone, Debug)]
pub struct AuthorityRegister {
    space: SpaceId,
    life_s: i64,
    last: Option<VerifiedRegister>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// What the key is for.
    pub key_use: KeyUse,
    /// The new key.
    pub key: PublicKey,
    /// The old key's consent; without it, the authority alone answers for the change.
    pub consent: Option<String>,
    /// How long the old key stays in force beside the new one, in milliseconds.
    pub overlap_ms: i64,
}

impl AuthorityRegister {
    /// An empty register, before its first version.
    pub fn new(space: SpaceId) -> AuthorityRegister {
        AuthorityRegister { space, life_s: REGISTER_LIFE_S, last: None }
    }

    /// The register that goes on from the newest version signed.
    pub fn open(signed: &SignedRegister, authority: &PublicKey) -> Result<AuthorityRegister> {
        let last = VerifiedRegister::verify(signed, authority, None)?;
        Ok(AuthorityRegister { space: last.space().clone(), life_s: REGISTER_LIFE_S, last: Some(last) })
    }

    /// Sets how long the versions signed from now on may be used, in seconds.
    pub fn set_life(&mut self, life_s: i64) {
        self.life_s = life_s.max(1);
    }

    /// The newest version signed, verified; none before the first.
    pub fn newest(&self) -> Option<&VerifiedRegister> {
        self.last.as_ref()
    }

    /// The member of that name.
    pub fn participant(&self, id: &ParticipantId) -> Option<&Participant> {
        self.last.as_ref().and_then(|l| l.participant(id))
    }

    /// The newest version's number; 0 before the first.
    pub fn version(&self) -> u64 {
        self.last.as_ref().map_or(0, VerifiedRegister::version)
    }

    fn members(&self) -> impl Iterator<Item = &Participant> {
        self.last.iter().flat_map(VerifiedRegister::participants)
    }

    /// Takes in a participant. Its keys must be sound and of nobody else, and there must be one
    /// in force for each use.
    pub fn enrol(&mut self, participant: Participant, now: Timestamp, key: &SigningKey) -> Result<SignedRegister> {
        if self.participant(&participant.id).is_some() {
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!("participant `{}` is in the register", participant.id),
            ));
        }
        if self.members().count() >= PARTICIPANTS_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a register holds {PARTICIPANTS_MAX} participants")));
        }
        if self.members().any(|m| m.origins().any(|origin| origin == participant.log_origin)) {
            return Err(Error::new(ErrorCode::AlreadyExists, "a log of this origin is in the register"));
        }
        for key_use in [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness] {
            if participant.current_key(key_use, now).is_none() {
                return Err(Error::new(ErrorCode::KeyInvalid, "a participant has a key in force for each use"));
            }
        }
        let mut seen: Vec<PublicKey> = Vec::new();
        for registered in &participant.keys {
            self.require_new_key(&registered.key)?;
            if seen.contains(&registered.key) {
                return Err(Error::new(ErrorCode::KeyInvalid, "each use has a key of its own"));
            }
            seen.push(registered.key);
        }
        self.sign(Some(participant), now, key)
    }

    /// Suspends, revokes, or brings a suspended participant back. A revocation is for ever.
    pub fn set_status(
        &mut self,
        id: &ParticipantId,
        status: Status,
        now: Timestamp,
        key: &SigningKey,
    ) -> Result<SignedRegister> {
        let mut participant = self.changeable(id)?;
        participant.status = status;
        self.sign(Some(participant), now, key)
    }

    /// Sets where a participant's connector can be dialled.
    pub fn set_endpoint(
        &mut self,
        id: &ParticipantId,
        endpoint: Option<String>,
        now: Timestamp,
        key: &SigningKey,
    ) -> Result<SignedRegister> {
        if let Some(endpoint) = &endpoint {
            super::dialer::Endpoint::parse(endpoint)?;
        }
        let mut participant = self.changeable(id)?;
        participant.endpoint = endpoint;
        self.sign(Some(participant), now, key)
    }

    /// Puts a new key in force from `now` on; the old one stays in the history, in force until
    /// the overlap ends.
    pub fn rotate_key(
        &mut self,
        id: &ParticipantId,
        change: &KeyChange,
        now: Timestamp,
        key: &SigningKey,
    ) -> Result<SignedRegister> {
        let mut participant = self.changeable(id)?;
        self.require_new_key(&change.key)?;
        let end = now.plus_millis(change.overlap_ms.max(0));
        let of_use = participant.keys.iter().filter(|k| k.key_use == change.key_use);
        if of_use.clone().count() >= KEYS_PER_USE_MAX {
            let detail = format!("a participant had {KEYS_PER_USE_MAX} keys for one use at the most");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        if of_use.clone().any(|k| k.from >= now) {
            // Which of two of one moment came first, and which consented to which, could nobody tell.
            let detail = "another key for this use begins at this very moment; a moment later there may be a next one";
            return Err(Error::new(ErrorCode::TransitionIllegal, detail));
        }
        let left = of_use.filter(|k| now < k.until.map_or(end, |until| until.min(end))).count();
        if left > 1 {
            return Err(Error::new(
                ErrorCode::TransitionIllegal,
                "the key before is still in force beside the newest one; until that is over there is no third",
            ));
        }
        for old in participant.keys.iter_mut().filter(|k| k.key_use == change.key_use) {
            old.until = Some(old.until.map_or(end, |until| until.min(end)));
        }
        participant.keys.push(RegisteredKey {
            key_use: change.key_use,
            key: change.key,
            from: now,
            until: None,
            authorised_by: match change.consent {
                Some(_) => KeyAuthorisation::PreviousKey,
                None => KeyAuthorisation::AuthorityAlone,
            },
            consent: change.consent.clone(),
        });
        self.sign(Some(participant), now, key)
    }

    /// Signs the same members anew, so that the register stays fresh.
    pub fn resign(&mut self, now: Timestamp, key: &SigningKey) -> Result<SignedRegister> {
        self.sign(None, now, key)
    }

    pub(super) fn changeable(&self, id: &ParticipantId) -> Result<Participant> {
        let participant = self.participant(id).ok_or_else(|| {
            Error::new(ErrorCode::ParticipantUnknown, format!("participant `{id}` is not in the register"))
        })?;
        if participant.status == Status::Revoked {
            return Err(Error::new(ErrorCode::ParticipantRevoked, format!("`{id}` is revoked, and that is for ever")));
        }
        Ok(participant.clone())
    }

    /// A key is sound, and of one participant, for one use, once.
    fn require_new_key(&self, key: &PublicKey) -> Result<()> {
        jws::require_strong(key)?;
        if self.members().any(|m| m.keys.iter().any(|k| k.key == *key)) {
            return Err(Error::new(ErrorCode::KeyInvalid, "a key of the register can't be used a second time"));
        }
        Ok(())
    }

    pub(super) fn sign(
        &mut self,
        changed: Option<Participant>,
        now: Timestamp,
        key: &SigningKey,
    ) -> Result<SignedRegister> {
        if self.last.as_ref().is_some_and(|l| now < l.payload().issued) {
            return Err(Error::new(ErrorCode::ClockJump, "the newest register was signed at a later time than now"));
        }
        let version = self
            .version()
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorCode::Internal, "the register has no more versions"))?;
        let mut entries: BTreeMap<ParticipantId, (Digest, String)> = BTreeMap::new();
        for (id, digest, jws) in self.last.iter().flat_map(VerifiedRegister::entries) {
            entries.insert(id.clone(), (digest, jws.to_owned()));
        }
        if let Some(participant) = changed {
            let id = participant.id.clone();
            let entry = ParticipantEntry { space: self.space.clone(), version, participant };
            let jws = jws::sign_compact(key, PARTICIPANT_TYP, &canonical::to_bytes(&entry)?)?;
            entries.insert(id, (Digest::of(jws.as_bytes()), jws));
        }
        let payload = RegisterVersion {
            space: self.space.clone(),
            version,
            previous: self.last.as_ref().map(VerifiedRegister::digest),
            issued: now,
            use_before: now.plus_millis(self.life_s.saturating_mul(1000)),
            entries: entries
                .iter()
                .map(|(id, (digest, _))| EntryDigest { participant: id.clone(), digest: *digest })
                .collect(),
        };
        let register = jws::sign_compact(key, REGISTER_TYP, &canonical::to_bytes(&payload)?)?;
        let signed = SignedRegister { register, entries: entries.into_values().map(|(_, jws)| jws).collect() };
        // What is handed out is what members accept; entries that didn't change aren't verified again.
        self.last = Some(VerifiedRegister::verify(&signed, &key.public(), self.last.as_ref())?);
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::{World, at, id};

    #[test]
    fn a_register_goes_on_from_its_file() {
        let world = World::new(&["huy"]);
        let key = world.authority_key();
        let mut register = world.register.clone();
        let first = register.resign(at(10), key).unwrap();
        let mut opened = AuthorityRegister::open(&first, &key.public()).unwrap();
        assert_eq!(opened.version(), register.version());
        let one = register.resign(at(20), key).unwrap();
        let two = opened.resign(at(20), key).unwrap();
        assert_eq!(one, two);
        assert_eq!(opened.newest().unwrap().signed(), two);
        let other = SigningKey::from_seed(&[9; 32]);
        assert!(AuthorityRegister::open(&first, &other.public()).is_err());
        // Another key than the authority's can't go on.
        assert_eq!(opened.resign(at(30), &other).unwrap_err().code, ErrorCode::RegisterInvalid);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let mut world = World::new(&["huy"]);
        let before = world.register.version();
        let key = SigningKey::from_seed(&world.authority_key().seed());
        let again = world.register.participant(&id("huy")).unwrap().clone();
        let register = &mut world.register;
        assert_eq!(register.enrol(again.clone(), at(5), &key).unwrap_err().code, ErrorCode::AlreadyExists);
        let mut renamed = again.clone();
        renamed.id = id("seraing");
        assert_eq!(register.enrol(renamed.clone(), at(5), &key).unwrap_err().code, ErrorCode::AlreadyExists);
        renamed.log_origin = "space/seraing/1".to_owned();
        // The keys are another's.
        assert_eq!(register.enrol(renamed.clone(), at(5), &key).unwrap_err().code, ErrorCode::KeyInvalid);
        for k in &mut renamed.keys {
            k.key = SigningKey::generate().unwrap().public();
        }
        let mut shared = renamed.clone();
        shared.keys[1].key = shared.keys[0].key;
        assert_eq!(register.enrol(shared, at(5), &key).unwrap_err().code, ErrorCode::KeyInvalid);
        let mut without = renamed.clone();
        without.keys.pop();
        assert_eq!(register.enrol(without, at(5), &key).unwrap_err().code, ErrorCode::KeyInvalid);
        let mut weak = renamed.clone();
        let mut identity = [0u8; 32];
        identity[0] = 1;
        weak.keys[2].key = PublicKey::from_bytes(identity);
        assert_eq!(register.enrol(weak, at(5), &key).unwrap_err().code, ErrorCode::KeyInvalid);
        let unknown = register.set_status(&id("nobody"), Status::Suspended, at(5), &key);
        assert_eq!(unknown.unwrap_err().code, ErrorCode::ParticipantUnknown);
        let endpoint = register.set_endpoint(&id("huy"), Some("nowhere".to_owned()), at(5), &key);
        assert_eq!(endpoint.unwrap_err().code, ErrorCode::Malformed);
        assert_eq!(register.version(), before);
        register.enrol(renamed, at(5), &key).unwrap();
        assert_eq!(register.resign(at(4), &key).unwrap_err().code, ErrorCode::ClockJump);
        assert_eq!(register.version(), before + 1);
    }

    #[test]
    fn a_revocation_is_for_ever_and_a_suspension_is_not() {
        let mut world = World::new(&["huy"]);
        let key = SigningKey::from_seed(&world.authority_key().seed());
        let register = &mut world.register;
        register.set_status(&id("huy"), Status::Suspended, at(1), &key).unwrap();
        register.set_status(&id("huy"), Status::Active, at(2), &key).unwrap();
        register.set_status(&id("huy"), Status::Revoked, at(3), &key).unwrap();
        let back = register.set_status(&id("huy"), Status::Active, at(4), &key);
        assert_eq!(back.unwrap_err().code, ErrorCode::ParticipantRevoked);
    }

    #[test]
    fn a_new_key_leaves_the_old_one_in_the_history() {
        let mut world = World::new(&["huy"]);
        let key = SigningKey::from_seed(&world.authority_key().seed());
        let old = world.keys("huy").public(KeyUse::Log).unwrap();
        let new = SigningKey::from_seed(&[77; 32]).public();
        let change = KeyChange { key_use: KeyUse::Log, key: new, consent: None, overlap_ms: 100 };
        world.register.rotate_key(&id("huy"), &change, at(1000), &key).unwrap();
        let huy = world.register.participant(&id("huy")).unwrap();
        assert_eq!(huy.current_key(KeyUse::Log, at(999)).unwrap().key, old);
        let newest = huy.current_key(KeyUse::Log, at(1000)).unwrap();
        assert_eq!((newest.key, newest.authorised_by), (new, KeyAuthorisation::AuthorityAlone));
        // Beside the two there is no third, until the first one's time is over or is made to be.
        let third = KeyChange { key: SigningKey::from_seed(&[78; 32]).public(), ..change.clone() };
        let at_once = world.register.clone().rotate_key(&id("huy"), &third, at(1050), &key);
        assert_eq!(at_once.unwrap_err().code, ErrorCode::TransitionIllegal);
        let third = KeyChange { overlap_ms: 0, ..third };
        world.register.clone().rotate_key(&id("huy"), &third, at(1050), &key).unwrap();
        assert!(huy.key_at(KeyUse::Log, &old.thumbprint(), at(1099)).is_some());
        assert!(huy.key_at(KeyUse::Log, &old.thumbprint(), at(1100)).is_none());
        assert!(huy.key_at(KeyUse::Agreement, &new.thumbprint(), at(1100)).is_none());
        // The old key can't come back, nor the same key twice.
        for key_again in [old, new] {
            let change = KeyChange { key: key_again, ..change.clone() };
            let again = world.register.rotate_key(&id("huy"), &change, at(2000), &key);
            assert_eq!(again.unwrap_err().code, ErrorCode::KeyInvalid);
        }
    }
}
