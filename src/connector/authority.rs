//! The data space's authority: enrolment, standing, renewal, the register signed anew.

use crate::files::write_file;
use crate::trust::authority::AuthorityRegister;
use crate::trust::ca::SpaceCa;
use crate::trust::enrolment::{EnrolmentAnswer, EnrolmentRequest};
use crate::trust::keys::{KeySet, SigningKey};
use crate::trust::register::{RegisterHandle, VerifiedRegister};
use crate::trust::renewal::{KeyChangeRequest, KeyReplacement, RenewalRequest};
use crate::trust::succession;
use perron_model::limits::CERTIFICATE_LIFE_S;
use perron_model::participant::{KeyUse, Status};
use perron_model::register::SignedRegister;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// File of the authority's register.
pub const REGISTER_FILE: &str = "register.json";

/// How long a membership lasts, in milliseconds: ten years.
pub const MEMBERSHIP_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// The authority within its own process.
pub struct Authority {
    space: SpaceId,
    keys: Arc<KeySet>,
    ca: SpaceCa,
    register: Mutex<AuthorityRegister>,
    handle: Arc<RegisterHandle>,
    file: PathBuf,
    me: ParticipantId,
}

impl Authority {
    /// Opens the authority's part of a directory.
    pub fn open(
        data: &Path,
        space: &SpaceId,
        me: &ParticipantId,
        keys: Arc<KeySet>,
        handle: Arc<RegisterHandle>,
    ) -> Result<Authority> {
        let pem = std::fs::read_to_string(data.join("trust/ca.pem"))
            .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "`trust/ca.pem` can't be read"))?;
        let ca = SpaceCa::load(space, keys.ca()?, &pem)?;
        let register = AuthorityRegister::open(&handle.load().signed(), handle.load().authority())?;
        Ok(Authority {
            space: space.clone(),
            keys,
            ca,
            register: Mutex::new(register),
            handle,
            file: data.join("trust").join(REGISTER_FILE),
            me: me.clone(),
        })
    }

    /// The register in force, signed (JSON).
    pub fn signed(&self) -> Result<Vec<u8>> {
        canonical::to_bytes(&self.handle.load().signed())
    }

    /// Told at each new version.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.handle.subscribe()
    }

    /// Enrols a participant from its signed request; gives the signed answer.
    pub fn enrol(&self, request: &str, now: Timestamp) -> Result<String> {
        let verified = EnrolmentRequest::open(request)?;
        let asked = verified.request().clone();
        if asked.space != self.space {
            return Err(Error::malformed(format!("the request is for the data space `{}`", asked.space)));
        }
        let participant = verified.into_participant(now, now.plus_millis(MEMBERSHIP_MS));
        let log_origin = participant.log_origin.clone();
        self.change(|register, key| register.enrol(participant, now, key).map(Some))?;
        let certificate = self.ca.issue(&asked.participant.id, &asked.csr, now, CERTIFICATE_LIFE_S)?;
        let answer = EnrolmentAnswer {
            space: self.space.clone(),
            participant: asked.participant.id,
            authority: self.keys.public(KeyUse::Register)?,
            ca: self.ca.pem().to_owned(),
            certificate: certificate.pem,
            register: self.handle.load().signed(),
            log_origin,
        };
        answer.sign(self.keys.signing_key(KeyUse::Register)?)
    }

    /// Suspends, revokes or reinstates a participant.
    pub fn set_status(&self, id: &ParticipantId, status: Status, now: Timestamp) -> Result<()> {
        if *id == self.me {
            return Err(Error::new(ErrorCode::TransitionIllegal, "the authority can't change its own standing"));
        }
        self.change(|register, key| register.set_status(id, status, now, key).map(Some))
    }

    /// Signs the register anew, so that it stays fresh.
    pub fn resign(&self, now: Timestamp) -> Result<()> {
        self.change(|register, key| register.resign(now, key).map(Some))
    }

    /// A new certificate for a participant, on its own signed request.
    pub fn renew(&self, peer: &ParticipantId, renewal: &str, now: Timestamp) -> Result<String> {
        let verified = RenewalRequest::open(renewal, &self.handle.load(), now)?;
        if verified.participant() != peer {
            return Err(Error::new(ErrorCode::IssuerMismatch, "the renewal is another participant's"));
        }
        Ok(self.ca.issue(peer, verified.csr(), now, CERTIFICATE_LIFE_S)?.pem)
    }

    /// Closes a participant's log on its own signed request, and names the next one. `held` are the
    /// entries of the largest head of it that is kept here. What was confirmed before stays.
    ///
    /// # Errors
    /// `own_log_forked` where the request doesn't tell of the head that is kept here.
    pub fn succeed(&self, peer: &ParticipantId, succession: &str, held: Option<u64>, now: Timestamp) -> Result<()> {
        self.change(|register, key| {
            // What came in between counts: a key may have ended, or the log have been closed.
            let request = succession::open(succession, newest(register)?, now)?;
            if request.participant != *peer {
                return Err(Error::new(ErrorCode::IssuerMismatch, "the succession is another participant's"));
            }
            if register.participant(peer).is_some_and(|own| succession::is_confirmed(own, &request)) {
                return Ok(None);
            }
            if let Some(held) = held.filter(|held| *held > request.closes.held) {
                let detail =
                    format!("the authority keeps a checkpoint of {held} entries, of which the request doesn't tell");
                return Err(Error::new(ErrorCode::OwnLogForked, detail));
            }
            register.succeed(&request, now, key).map(Some)
        })
    }

    /// Puts a new key in the place of a participant's old one, on its own signed request; gives the
    /// register that has it (JSON). `now` is asked once no other change can come between.
    pub fn change_key(&self, peer: &ParticipantId, change: &str, now: impl Fn() -> Timestamp) -> Result<Vec<u8>> {
        self.change(|register, key| {
            // Against the newest version: the key that consents may have ended in it.
            let now = now();
            let (participant, change) = KeyChangeRequest::open(change, newest(register)?, now)?;
            if participant != *peer {
                return Err(Error::new(ErrorCode::IssuerMismatch, "the change of a key is another participant's"));
            }
            register.rotate_key(&participant, &change, now, key).map(Some)
        })?;
        self.signed()
    }

    /// Puts a key in the place of one that its participant lost, on a request that was brought as a
    /// file: the authority alone answers for it, and the register says so. Gives the new key's thumbprint.
    pub fn replace_key(
        &self,
        id: &ParticipantId,
        request: &str,
        overlap_s: i64,
        now: impl Fn() -> Timestamp,
    ) -> Result<Digest> {
        let change = KeyReplacement::open(request, &self.space, id, overlap_s)?;
        self.change(|register, key| register.rotate_key(id, &change, now(), key).map(Some))?;
        Ok(change.key.thumbprint())
    }

    /// One change at a time; one that gives no new version found nothing to change.
    fn change(
        &self,
        change: impl FnOnce(&mut AuthorityRegister, &SigningKey) -> Result<Option<SignedRegister>>,
    ) -> Result<()> {
        let mut register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = register.clone();
        let Some(signed) = change(&mut next, self.keys.signing_key(KeyUse::Register)?)? else { return Ok(()) };
        // Durable before anyone sees it: the next version builds on this one.
        write_file(&self.file, &canonical::to_bytes(&signed)?)?;
        *register = next;
        self.handle.update(&signed).map(|_| ())
    }
}

fn newest(register: &AuthorityRegister) -> Result<&VerifiedRegister> {
    register.newest().ok_or_else(|| Error::new(ErrorCode::Internal, "the register has no version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::authority::KeyChange;
    use crate::trust::renewal::Change;
    use crate::trust::testing::{World, at, id, space};

    /// A change of huy's log key to the key of this seed, with huy's first log key's consent, and no overlap.
    fn asked(world: &World, seed: u8) -> String {
        let huy = world.keys("huy");
        let change = Change {
            key_use: KeyUse::Log,
            new: &SigningKey::from_seed(&[seed; 32]),
            old: huy.signing_key(KeyUse::Log).unwrap(),
            agreement: huy.signing_key(KeyUse::Agreement).unwrap(),
            overlap_s: 0,
        };
        KeyChangeRequest::sign(&space(), &id("huy"), change, at(10)).unwrap()
    }

    #[test]
    fn a_consent_counts_by_the_newest_version_though_nobody_sees_it_yet() {
        let mut world = World::new(&["huy"]);
        let (one, two) = (asked(&world, 81), asked(&world, 82));
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("trust")).unwrap();
        std::fs::write(directory.path().join("trust/ca.pem"), world.ca.pem()).unwrap();
        let handle = Arc::new(RegisterHandle::new(world.verified()));
        let keys = Arc::new(std::mem::replace(&mut world.authority, KeySet::generate(true).unwrap()));
        let authority = Authority::open(directory.path(), &space(), &id("authority"), keys, handle.clone()).unwrap();
        // The first change is signed, and not yet in use: as while its file is being synced.
        {
            let mut register = authority.register.lock().unwrap();
            let (participant, change) = KeyChangeRequest::open(&one, &handle.load(), at(20)).unwrap();
            let key = authority.keys.signing_key(KeyUse::Register).unwrap();
            register.rotate_key(&participant, &change, at(20), key).unwrap();
        }
        let version = handle.load().version();
        let refused = authority.change_key(&id("huy"), &two, || at(21)).unwrap_err();
        assert_eq!((refused.code, handle.load().version()), (ErrorCode::SignatureInvalid, version));
        let newest = authority.register.lock().unwrap().participant(&id("huy")).unwrap().clone();
        let newest = newest.current_key(KeyUse::Log, at(22)).unwrap().key;
        assert_eq!(newest, SigningKey::from_seed(&[81; 32]).public());
    }

    #[test]
    fn a_second_key_of_one_moment_is_refused() {
        let mut world = World::new(&["huy"]);
        let key = SigningKey::from_seed(&world.authority_key().seed());
        let change = |seed| KeyChange {
            key_use: KeyUse::Log,
            key: SigningKey::from_seed(&[seed; 32]).public(),
            consent: None,
            overlap_ms: 0,
        };
        world.register.rotate_key(&id("huy"), &change(81), at(20), &key).unwrap();
        // Nobody could tell which of the two came before the other.
        let again = world.register.clone().rotate_key(&id("huy"), &change(82), at(20), &key);
        assert_eq!(again.unwrap_err().code, ErrorCode::TransitionIllegal);
        world.register.rotate_key(&id("huy"), &change(82), at(21), &key).unwrap();
    }
}
