//! Signing keys that change: a new one is made, the register takes it up, and only then it signs.
//!
//! Each step can be the last before a crash. A new key is durable before anybody is asked; the register
//! is durable here before its keys are used; an old key goes once its time is over. What a start goes
//! on with is what the register says, and the entry that tells of a change is written where the log has none.

use crate::connector::authority::Authority;
use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::witness::{log_verifiers_of, witness_name};
use crate::ledger::{LogKey, LogKeys};
use crate::trust::keyring::{CHANGEABLE, Held, Keyring};
use crate::trust::renewal::{Change, KeyChangeRequest};
use async_trait::async_trait;
use perron_log::{KeyKind, SignedNote, Signer, Verifier};
use perron_model::limits::{CLOCK_LAG_MS_MAX, KEY_OVERLAP_S_MAX, KEY_RETIRE_CHECK_MS};
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant, RegisteredKey};
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// Administration by which a change is asked for.
pub const KEY_ROTATE: &str = "key.rotate";
/// Administration that tells that a new key is in use.
pub const KEY_CHANGED: &str = "key.changed";
/// Who answers for what follows from a register version.
const BY_REGISTER: &str = "register";

/// Document of `key.rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAsked {
    /// What the key is for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// Thumbprint of the key that goes.
    pub old: Digest,
    /// Thumbprint of the key that is to come.
    pub new: Digest,
    /// How long the old one is to stay in force beside it, in seconds.
    pub overlap_s: i64,
}

/// Document of `key.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChanged {
    /// What the key is for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// Thumbprint of the key before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Digest>,
    /// Until when that one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_until: Option<Timestamp>,
    /// Thumbprint of the new key.
    pub new: Digest,
    /// From when on it is in force.
    pub from: Timestamp,
    /// Who answers for it.
    pub authorised_by: KeyAuthorisation,
    /// Version of the register in use.
    pub register: u64,
}

/// What keeps the register, for one of its members.
#[async_trait]
pub trait Registrar: Send + Sync {
    /// Asks for another key; returns once the register in use here has it.
    async fn change_key(&self, change: String) -> Result<()>;
    /// Takes the register in force into use.
    async fn refresh(&self) -> Result<()>;
}

/// The authority itself, in its own process.
pub struct AtHome {
    /// The authority.
    pub authority: Arc<Authority>,
    /// Its organisation.
    pub node: Arc<Node>,
}

#[async_trait]
impl Registrar for AtHome {
    async fn change_key(&self, change: String) -> Result<()> {
        let (authority, node) = (self.authority.clone(), self.node.clone());
        blocking(move || authority.change_key(node.me(), &change, || node.now())).await.map(drop)
    }

    async fn refresh(&self) -> Result<()> {
        Ok(())
    }
}

/// The keys of this participant's log of an origin, those that are held and those whose notes are its own
/// too.
///
/// # Errors
/// `key_invalid` for a key that can't sign for a log of this origin.
pub fn log_keys(keys: &Keyring, own: &Participant, origin: &str) -> Result<LogKeys> {
    let held = keys.held(KeyUse::Log).into_iter().filter_map(|held| held.registered.clone().map(|r| (held, r)));
    let key = |(held, registered): (Held, RegisteredKey)| -> Result<LogKey> {
        let signer = Signer::from_seed(origin, &held.key.seed())
            .map_err(|_| Error::new(ErrorCode::KeyInvalid, "the log key can't sign"))?;
        Ok(LogKey { signer: Arc::new(signer), from: Some(registered.from), until: registered.until })
    };
    Ok(LogKeys::new(held.map(key).collect::<Result<_>>()?, log_verifiers_of(own, origin)))
}

/// Refuses a tree that a log key of its owner signed which had ended before the time of an entry in it; keys
/// that came later may sign, for the tree may be a later one. Clocks may be apart. The note's signatures
/// were verified before.
///
/// # Errors
/// `signature_invalid`.
pub(crate) fn require_signed_in_time(owner: &Participant, tree: &SignedNote, at: Timestamp) -> Result<()> {
    let (origin, early) = (tree.text.lines().next().unwrap_or_default(), at.plus_millis(-CLOCK_LAG_MS_MAX));
    let ended = |key: &&RegisteredKey| key.key_use == KeyUse::Log && key.until.is_some_and(|until| until <= early);
    for key in owner.keys.iter().filter(ended) {
        let signs = |v: &Verifier| tree.signatures.iter().any(|l| l.name == v.name() && l.key_id == v.key_id());
        if Verifier::new(origin, KeyKind::Ed25519, key.key.as_bytes()).is_ok_and(|verifier| signs(&verifier)) {
            let detail = format!("its tree is signed by the log key {}, which had ended", key.key.thumbprint());
            return Err(Error::new(ErrorCode::SignatureInvalid, detail));
        }
    }
    Ok(())
}

/// Old keys whose time is over are removed, until the task is dropped.
pub(super) async fn retire_keys(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(KEY_RETIRE_CHECK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = node.retire_old_keys().await {
            tracing::error!(code = error.code.as_str(), "an old key can't be removed: {}", error.detail);
        }
    }
}

impl Node {
    /// Puts a new key in the place of the one in force for a use. The old one consents and stays in
    /// force beside it for `overlap_s` seconds; the new one signs once the register in use has it.
    ///
    /// # Errors
    /// What the authority refuses it for, and what keeps it from being asked: then the old key stays in
    /// use, and the next try goes on with the same new key. `transition_illegal` while the change before is
    /// in its overlap.
    pub async fn rotate_key(
        &self,
        key_use: KeyUse,
        overlap_s: i64,
        registrar: &dyn Registrar,
        actor: &str,
    ) -> Result<Json> {
        if !CHANGEABLE.contains(&key_use) || !(0..=KEY_OVERLAP_S_MAX).contains(&overlap_s) {
            return Err(Error::malformed(format!("an overlap has 0 to {KEY_OVERLAP_S_MAX} seconds")));
        }
        let _alone = self.rotating.lock().await;
        self.retire_old_keys().await?;
        let keys = self.keys.clone();
        let new = blocking(move || keys.next(key_use)).await?;
        let now = self.now();
        let old = self.keys.in_force(key_use, now)?.pop().map(|held| held.key);
        let old = old.ok_or_else(|| Error::new(ErrorCode::KeyInvalid, "no key is in force"))?;
        let agreement = self.keys.signing_key(KeyUse::Agreement, now)?;
        let change = Change { key_use, new: &new, old: &old, agreement: &agreement, overlap_s };
        let request = KeyChangeRequest::sign(&self.space, &self.me, change, now)?;
        let asked = KeyAsked { key_use, old: old.kid(), new: new.kid(), overlap_s };
        self.administer(KEY_ROTATE, actor, canonical::to_bytes(&asked)?).await?;
        let changed = registrar.change_key(request).await;
        if let Err(error) = changed {
            // It may have come to pass although the answer didn't come.
            let _ = registrar.refresh().await;
            if !self.is_registered(key_use, &new.kid()) {
                return Err(error);
            }
        }
        self.follow_keys().await?;
        Ok(json!({"use": key_use, "old": old.kid(), "new": new.kid(), "register": self.register.load().version()}))
    }

    fn is_registered(&self, key_use: KeyUse, kid: &Digest) -> bool {
        let register = self.register.load();
        let own = register.participant(&self.me);
        own.is_some_and(|own| own.keys.iter().any(|k| k.key_use == key_use && k.key.thumbprint() == *kid))
    }

    /// Takes the keys into use that the register in use has, and writes the entry of each change that
    /// has none.
    pub(crate) async fn follow_keys(&self) -> Result<()> {
        let _alone = self.following_keys.lock().await;
        let register = self.register.load();
        let Some(own) = register.participant(&self.me) else { return Ok(()) };
        self.keys.follow(own);
        self.ledger.set_keys(log_keys(&self.keys, own, self.ledger.origin())?);
        for held in CHANGEABLE.into_iter().flat_map(|key_use| self.keys.held(key_use)) {
            let Some(registered) = held.registered else { continue };
            let kid = held.key.kid();
            let authorised_by = own.answers_for(&registered);
            if authorised_by == KeyAuthorisation::Enrolment || self.state.is_key_noted(&kid)? {
                continue;
            }
            let before = own.keys.iter().filter(|k| k.key_use == held.key_use && k.from < registered.from);
            let before = before.max_by_key(|k| k.from);
            let changed = KeyChanged {
                key_use: held.key_use,
                old: before.map(|k| k.key.thumbprint()),
                old_until: before.and_then(|k| k.until),
                new: kid,
                from: registered.from,
                authorised_by,
                register: register.version(),
            };
            self.administer(KEY_CHANGED, BY_REGISTER, canonical::to_bytes(&changed)?).await?;
        }
        Ok(())
    }

    /// As `follow_keys`; what keeps it from being done is told, and it is done again at the next version.
    pub(crate) async fn try_to_follow_keys(&self) {
        if let Err(error) = self.follow_keys().await {
            tracing::error!(code = error.code.as_str(), "keys can't be taken into use: {}", error.detail);
        }
    }

    async fn retire_old_keys(&self) -> Result<()> {
        let (keys, now) = (self.keys.clone(), self.now());
        for key_use in blocking(move || keys.retire(now)).await? {
            tracing::info!(key_use = ?key_use, "the time of an old key is over, and it is removed");
        }
        Ok(())
    }

    /// All keys that this organisation has or had, as the register has them, and those that it made and
    /// the register doesn't know yet.
    pub fn key_list(&self) -> Json {
        let (register, now) = (self.register.load(), self.now());
        let own = register.participant(&self.me);
        let registered = own.map(|own| own.keys.clone()).unwrap_or_default();
        let answers = |key: &RegisteredKey| own.map_or(KeyAuthorisation::AuthorityAlone, |own| own.answers_for(key));
        let held: Vec<Held> = CHANGEABLE.into_iter().flat_map(|key_use| self.keys.held(key_use)).collect();
        let is_held = |key: &RegisteredKey| held.iter().any(|h| h.key_use == key.key_use && h.key.public() == key.key);
        let known = registered.iter().filter(|k| CHANGEABLE.contains(&k.key_use)).map(|k| {
            let standing = match (k.from <= now, k.until.is_none_or(|until| now < until)) {
                (_, false) => "ended",
                (false, true) => "to-come",
                (true, true) => "in-force",
            };
            json!({
                "use": k.key_use, "key": k.key.thumbprint(), "standing": standing, "from": k.from, "until": k.until,
                "authorised_by": answers(k), "consent": k.consent.is_some(), "held": is_held(k),
                "vkey": self.vkey_of(k.key_use, k.key.as_bytes()),
            })
        });
        let pending = held.iter().filter(|h| h.registered.is_none()).map(|h| {
            let key = h.key.public();
            json!({
                "use": h.key_use, "key": h.key.kid(), "standing": "pending", "held": true,
                "vkey": self.vkey_of(h.key_use, key.as_bytes()),
            })
        });
        Json::Array(known.chain(pending).collect())
    }

    /// The key as C2SP signed-note spells it, for those who witness this log or trust this witness.
    fn vkey_of(&self, key_use: KeyUse, key: &[u8; 32]) -> Option<String> {
        let (name, kind) = match key_use {
            KeyUse::Log => (self.ledger.origin().to_owned(), KeyKind::Ed25519),
            KeyUse::Witness => (witness_name(&self.space, &self.me), KeyKind::CosignatureV1),
            _ => return None,
        };
        Verifier::new(&name, kind, key).ok().map(|key| key.to_vkey())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::keys::KeySet;
    use crate::trust::testing::{at, participant};
    use perron_log::{Checkpoint, Hash, NoteSigner};
    use perron_model::participant::PublicKey;

    #[test]
    fn a_tree_is_signed_by_no_key_that_had_ended_before() {
        let keys = KeySet::generate(false).unwrap();
        let mut huy = participant("huy", &keys);
        let origin = huy.log_origin.clone();
        let old = Signer::from_seed(&origin, &keys.signing_key(KeyUse::Log).unwrap().seed()).unwrap();
        let new = Signer::from_seed(&origin, &[66; 32]).unwrap();
        let until = 10_000_000;
        let first = huy.keys.iter_mut().find(|key| key.key_use == KeyUse::Log).unwrap();
        first.until = Some(at(until));
        let next = RegisteredKey { from: at(until), until: None, ..first.clone() };
        huy.keys.push(RegisteredKey { key: PublicKey::from_bytes(new.verifier().public_key()), ..next });
        let head = Checkpoint::new(&origin, 7, Hash::of(b"root"));
        let judged = |by: &[&dyn NoteSigner], ms| {
            require_signed_in_time(&huy, &head.sign(by).unwrap(), at(ms)).map_err(|error| error.code)
        };
        let ended = Err(ErrorCode::SignatureInvalid);
        assert_eq!(judged(&[&old], until + CLOCK_LAG_MS_MAX - 1), Ok(()));
        assert_eq!(judged(&[&old], until + CLOCK_LAG_MS_MAX), ended);
        assert_eq!(judged(&[&old, &new], until + CLOCK_LAG_MS_MAX), ended);
        // An entry of before, in a tree of after.
        assert_eq!((judged(&[&new], 5), judged(&[&new], until + CLOCK_LAG_MS_MAX)), (Ok(()), Ok(())));
    }
}
