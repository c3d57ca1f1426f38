//! A small data space for tests of this and other rooms.

use super::authority::AuthorityRegister;
use super::ca::{self, SpaceCa};
use super::keys::{KeySet, SigningKey};
use super::register::VerifiedRegister;
use super::tls::TlsIdentity;
use perron_model::participant::{
    EnterpriseNumber, KeyAuthorisation, KeyUse, Participant, PublicKey, RegisteredKey, Role, Status,
};
use perron_model::register::SignedRegister;
use perron_model::{ParticipantId, SpaceId, Timestamp};
use std::collections::BTreeMap;

/// 2026-11-23, plus so many milliseconds.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::parse("2026-11-23T10:00:00Z").unwrap().plus_millis(ms)
}

pub(crate) fn id(name: &str) -> ParticipantId {
    ParticipantId::parse(name).unwrap()
}

pub(crate) fn space() -> SpaceId {
    SpaceId::parse("liege").unwrap()
}

/// The system's time, by which rustls judges certificates.
pub(crate) fn today() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).unwrap()
}

/// An authority, its CA, its register and members with their keys.
pub(crate) struct World {
    pub(crate) authority: KeySet,
    pub(crate) ca: SpaceCa,
    pub(crate) register: AuthorityRegister,
    pub(crate) signed: SignedRegister,
    members: BTreeMap<ParticipantId, KeySet>,
}

impl World {
    /// Members enrolled at `at(0)`; certificates are of today.
    pub(crate) fn new(names: &[&str]) -> World {
        let authority = KeySet::generate(true).unwrap();
        let ca = SpaceCa::create(&space(), authority.ca().unwrap(), today()).unwrap();
        let mut register = AuthorityRegister::new(space());
        let mut members = BTreeMap::new();
        let mut signed = register.resign(at(0), authority.signing_key(KeyUse::Register).unwrap()).unwrap();
        for name in names {
            let keys = KeySet::generate(false).unwrap();
            let member = participant(name, &keys);
            signed = register.enrol(member, at(0), authority.signing_key(KeyUse::Register).unwrap()).unwrap();
            members.insert(id(name), keys);
        }
        World { authority, ca, register, signed, members }
    }

    pub(crate) fn authority_key(&self) -> &SigningKey {
        self.authority.signing_key(KeyUse::Register).unwrap()
    }

    pub(crate) fn authority_public(&self) -> PublicKey {
        self.authority_key().public()
    }

    pub(crate) fn keys(&self, name: &str) -> &KeySet {
        &self.members[&id(name)]
    }

    pub(crate) fn verified(&self) -> VerifiedRegister {
        VerifiedRegister::verify(&self.signed, &self.authority_public(), None).unwrap()
    }

    /// The member's identity on the channel, by a certificate issued at `now` for `life_s`.
    pub(crate) fn identity_at(&self, name: &str, now: Timestamp, life_s: i64) -> TlsIdentity {
        let key = self.keys(name).tls();
        let request = ca::csr(key, &id(name), &space()).unwrap();
        let issued = self.ca.issue(&id(name), &request, now, life_s).unwrap();
        TlsIdentity::new(&space(), &issued.pem, key, self.ca.pem()).unwrap()
    }

    pub(crate) fn identity(&self, name: &str) -> TlsIdentity {
        self.identity_at(name, today(), 3600)
    }
}

/// A participant in force for ten years from `at(0)` on.
pub(crate) fn participant(name: &str, keys: &KeySet) -> Participant {
    let keys = [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness]
        .into_iter()
        .map(|key_use| RegisteredKey {
            key_use,
            key: keys.public(key_use).unwrap(),
            from: at(0),
            until: None,
            authorised_by: KeyAuthorisation::Enrolment,
            consent: None,
        })
        .collect();
    Participant {
        id: id(name),
        name: format!("Commune of {name}"),
        enterprise: EnterpriseNumber::parse("0202.239.951").unwrap(),
        nis: None,
        jurisdiction: "BE".to_owned(),
        roles: vec![Role::Provider, Role::Consumer],
        endpoint: None,
        keys,
        log_origin: format!("liege/{name}/1"),
        closed_logs: Vec::new(),
        status: Status::Active,
        valid_from: at(0),
        valid_until: at(10 * 365 * 24 * 3_600_000),
    }
}
