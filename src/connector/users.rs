//! Users of the organisation: who they are, what they may state.
//!
//! Users are kept in a file beside the log, never in it: names are personal, and what must be
//! erasable is not in the tree. The log knows random pseudonyms, one a counterparty.

use crate::ledger::random_text;
use perron_model::id::UserName;
use perron_model::limits::{PSEUDONYM_BYTES_MAX, REASON_BYTES_MAX};
use perron_model::sealed::SealedValue;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

/// Most users of one organisation.
const USERS_MAX: usize = 10_000;

/// Role of a user (DESIGN.md, "The wire").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserRole {
    /// Queries under grants.
    Analyst,
    /// Publishes, writes policies, negotiates.
    DataOfficer,
    /// Second pair of eyes.
    Approver,
    /// Reads the log, nothing else.
    Auditor,
    /// Runs it, sees no data.
    Operator,
    /// Clauses and statements.
    Buyer,
}

impl UserRole {
    /// The role's stable text, as the policy `staff` knows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            UserRole::Analyst => "analyst",
            UserRole::DataOfficer => "data-officer",
            UserRole::Approver => "approver",
            UserRole::Auditor => "auditor",
            UserRole::Operator => "operator",
            UserRole::Buyer => "buyer",
        }
    }
}

impl std::str::FromStr for UserRole {
    type Err = Error;
    fn from_str(text: &str) -> Result<UserRole> {
        [
            UserRole::Analyst,
            UserRole::DataOfficer,
            UserRole::Approver,
            UserRole::Auditor,
            UserRole::Operator,
            UserRole::Buyer,
        ]
        .into_iter()
        .find(|r| r.as_str() == text)
        .ok_or_else(|| {
            Error::malformed(format!(
                "`{}` is not one of analyst, data-officer, approver, auditor, operator, buyer",
                text.chars().take(40).collect::<String>()
            ))
        })
    }
}

/// How a user shows who they are. OpenID Connect gets its variant here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "value")]
pub enum Credential {
    /// Owner of the local socket's other end.
    Uid(u32),
    /// SHA-256 of a client certificate (DER).
    Certificate(Digest),
    /// SHA-256 of a bearer token.
    Token(Digest),
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name that the operator gave.
    pub name: UserName,
    /// Roles.
    pub roles: Vec<UserRole>,
    /// Purposes that they may state (DPV IRIs).
    pub purposes: Vec<String>,
    /// Agreements that they may use.
    pub agreements: Vec<AgreementId>,
    /// How they show who they are.
    pub credential: Credential,
    /// Random pseudonym for each counterparty; "" is one's own log.
    pub pseudonyms: BTreeMap<String, String>,
}

/// The users of one organisation.
#[derive(Debug)]
pub struct Users {
    file: PathBuf,
    users: RwLock<Vec<User>>,
    // Who is being erased: one at a time.
    leaving: Mutex<Option<UserName>>,
}

/// A user who is being erased: nobody shows themselves as them, and nothing more is sealed of them, so
/// that nothing of them is left. Once it is let go they are as before, or off the list.
#[derive(Debug)]
pub struct Leaving<'a> {
    users: &'a Users,
    /// Their name.
    pub name: UserName,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        *self.users.leaving.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Users {
    /// Opens the users' file, or begins without any.
    pub fn open(file: &Path) -> Result<Users> {
        let users = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Error::new(ErrorCode::ConfigInvalid, format!("the users' file can't be read: {e}")))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(_) => return Err(Error::new(ErrorCode::ConfigInvalid, "the users' file can't be opened")),
        };
        Ok(Users { file: file.to_owned(), users: RwLock::new(users), leaving: Mutex::default() })
    }

    /// Adds a user, or replaces the grants of one of that name. Gives the digest that the log
    /// gets: salted, for a name is guessable; and the user with their pseudonyms.
    pub fn put(&self, mut user: User) -> Result<(Digest, User)> {
        let salt = crate::ledger::random_16()?;
        if self.is_leaving(&user.name) {
            let detail = "the user of this name is being erased; enter them again once that is done";
            return Err(Error::new(ErrorCode::AlreadyExists, detail));
        }
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever keeps their name keeps their pseudonyms: what they did stays theirs.
        if let Some(known) = users.iter().find(|u| u.name == user.name) {
            user.pseudonyms.clone_from(&known.pseudonyms);
        }
        if !user.pseudonyms.contains_key("") {
            user.pseudonyms.insert(String::new(), random_text()?);
        }
        let taken = users.iter().any(|u| u.credential == user.credential && u.name != user.name);
        if taken {
            return Err(Error::new(ErrorCode::AlreadyExists, "another user shows themselves in the same way"));
        }
        let mut next: Vec<User> = users.iter().filter(|u| u.name != user.name).cloned().collect();
        if next.len() >= USERS_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("more than {USERS_MAX} users")));
        }
        next.push(user.clone());
        let document = Digest::salted(&salt, &canonical::to_bytes(&next)?);
        crate::files::write_file(&self.file, &canonical::to_bytes(&next)?)?;
        *users = next;
        Ok((document, user))
    }

    /// Takes the user of this pseudonym off the list; whoever isn't on it any more is off it already.
    pub fn remove(&self, pseudonym: &str) -> Result<()> {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |user: &User| user.pseudonyms.values().any(|known| known == pseudonym);
        if !users.iter().any(is_meant) {
            return Ok(());
        }
        let next: Vec<User> = users.iter().filter(|user| !is_meant(user)).cloned().collect();
        crate::files::write_file(&self.file, &canonical::to_bytes(&next)?)?;
        *users = next;
        Ok(())
    }

    /// The user of a credential; nobody is anonymous.
    pub fn by_credential(&self, credential: &Credential) -> Result<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let found = users.iter().find(|u| u.credential == *credential && !self.is_leaving(&u.name));
        found.cloned().ok_or_else(|| {
            Error::new(ErrorCode::Unauthenticated, "no user of this organisation shows themselves in this way")
        })
    }

    /// The user that a name or a pseudonym is of.
    pub fn meant(&self, text: &str) -> Option<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |user: &&User| user.name.as_str() == text || user.pseudonyms.values().any(|p| p == text);
        users.iter().find(is_meant).cloned()
    }

    /// The user that a name or a pseudonym is of is being erased from here on. Whatever was begun of
    /// them is to be waited for then ([`crate::vault::Vault::rest`]).
    pub fn let_leave(&self, text: &str) -> Option<Leaving<'_>> {
        let name = self.meant(text)?.name;
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        Some(Leaving { users: self, name })
    }

    fn is_leaving(&self, name: &UserName) -> bool {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(name)
    }

    /// Refuses whoever is being erased, or has been: by who holds leave to seal something of them.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn require_staying(&self, name: &UserName, pseudonym: &str) -> Result<()> {
        let is_theirs = |user: User| user.name == *name && !self.is_leaving(name);
        if self.meant(pseudonym).is_some_and(is_theirs) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Unauthenticated, "this user is being erased, or is no user any more"))
    }

    /// Whose pseudonym this is, and for which counterparty; none for one's own log.
    fn named(&self, pseudonym: &str) -> Option<(UserName, Option<String>)> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.iter().find_map(|user| {
            let (counterparty, _) = user.pseudonyms.iter().find(|(_, known)| *known == pseudonym)?;
            Some((user.name.clone(), Some(counterparty.clone()).filter(|name| !name.is_empty())))
        })
    }

    /// All users.
    pub fn list(&self) -> Vec<User> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The user's pseudonym for a counterparty (or for one's own log), made at its first use.
    pub fn pseudonym(&self, name: &UserName, counterparty: Option<&ParticipantId>) -> Result<String> {
        self.pseudonym_or(name, counterparty, None)
    }

    /// As [`Self::pseudonym`], with the one to be taken where there is none yet.
    fn pseudonym_or(
        &self,
        name: &UserName,
        counterparty: Option<&ParticipantId>,
        new: Option<String>,
    ) -> Result<String> {
        let key = counterparty.map(ToString::to_string).unwrap_or_default();
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = users.clone();
        let user = next
            .iter_mut()
            .find(|u| u.name == *name)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, "no user of this name"))?;
        if let Some(known) = user.pseudonyms.get(&key) {
            return Ok(known.clone());
        }
        let made = new.map_or_else(random_text, Ok)?;
        user.pseudonyms.insert(key, made.clone());
        crate::files::write_file(&self.file, &canonical::to_bytes(&next)?)?;
        *users = next;
        Ok(made)
    }
}

impl crate::connector::Node {
    /// Who a pseudonym of the log is. That somebody asked, why, and whether there was an answer is an
    /// entry of the log, durable before the answer; the name isn't in it.
    ///
    /// # Errors
    /// `malformed` without a reason, or past a bound; `not_found` for a pseudonym that is no user's.
    pub async fn resolve_user(&self, actor: &str, pseudonym: &str, reason: &str) -> Result<Json> {
        if pseudonym.is_empty() || pseudonym.len() > PSEUDONYM_BYTES_MAX {
            return Err(Error::malformed(format!("a pseudonym has 1 to {PSEUDONYM_BYTES_MAX} bytes")));
        }
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(Error::malformed(format!("a reason has 1 to {REASON_BYTES_MAX} bytes")));
        }
        let found = self.users.named(pseudonym);
        let act = json!({"pseudonym": pseudonym, "reason": reason, "found": found.is_some()});
        self.administer("user.resolve", actor, canonical::to_bytes(&act)?).await?;
        let (name, counterparty) =
            found.ok_or_else(|| Error::new(ErrorCode::NotFound, "no user of this organisation has this pseudonym"))?;
        Ok(json!({"name": name, "toward": counterparty}))
    }

    /// The user's pseudonym for a counterparty. A new one is an entry of the log before it is used,
    /// with the name sealed, so that the log itself can tell an auditor who it is.
    pub(crate) async fn introduced(&self, name: &UserName, to: &ParticipantId) -> Result<String> {
        let known = |users: &Users| {
            users.list().into_iter().find(|u| u.name == *name).and_then(|u| u.pseudonyms.get(to.as_str()).cloned())
        };
        if let Some(known) = known(&self.users) {
            return Ok(known);
        }
        // One at a time: a pseudonym is told once.
        let _one = self.introducing.lock().await;
        if let Some(known) = known(&self.users) {
            return Ok(known);
        }
        let (own, made) = (self.users.pseudonym(name, None)?, random_text()?);
        let sealing = self.begin_sealing().await?;
        self.users.require_staying(name, &own)?;
        let pseudonyms = BTreeMap::from([(to.to_string(), made.clone())]);
        let sealed = sealing.seal(&SealedValue::User { name: name.clone(), pseudonyms })?;
        let document = canonical::to_bytes(&json!({"toward": to}))?;
        self.administer_about("user.pseudonym", &own, document, Some(sealed)).await?;
        self.users.pseudonym_or(name, Some(to), Some(made))
    }

    /// The user of a credential.
    pub fn user(&self, credential: &Credential) -> Result<User> {
        self.users.by_credential(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, token: &str) -> User {
        User {
            name: name.parse().unwrap(),
            roles: vec![UserRole::Analyst],
            purposes: Vec::new(),
            agreements: Vec::new(),
            credential: Credential::Token(Digest::of(token.as_bytes())),
            pseudonyms: BTreeMap::new(),
        }
    }

    /// From the mark on nothing more comes of them; without it they are as they were.
    #[test]
    fn who_is_being_erased_does_nothing_more() {
        let directory = tempfile::tempdir().unwrap();
        let users = Users::open(&directory.path().join("users.json")).unwrap();
        let anne = users.put(user("anne", "a")).unwrap().1;
        let paul = users.put(user("paul", "p")).unwrap().1;
        let own = |user: &User| user.pseudonyms[""].clone();
        let code = |result: Result<()>| result.map_err(|error| error.code);
        let shown = |user: &User| code(users.by_credential(&user.credential).map(|_| ()));
        assert!(users.let_leave("somebody").is_none());
        let leaving = users.let_leave(&own(&anne)).unwrap();
        assert_eq!(leaving.name, anne.name);
        assert_eq!(shown(&anne), Err(ErrorCode::Unauthenticated));
        assert_eq!(code(users.require_staying(&anne.name, &own(&anne))), Err(ErrorCode::Unauthenticated));
        assert_eq!(code(users.put(user("anne", "b")).map(|_| ())), Err(ErrorCode::AlreadyExists));
        assert_eq!((shown(&paul), code(users.require_staying(&paul.name, &own(&paul)))), (Ok(()), Ok(())));
        // The erasure failed.
        drop(leaving);
        assert_eq!((shown(&anne), code(users.require_staying(&anne.name, &own(&anne)))), (Ok(()), Ok(())));
        // It is done; another of that name has other pseudonyms.
        let leaving = users.let_leave("anne").unwrap();
        users.remove(&own(&anne)).unwrap();
        drop(leaving);
        users.put(user("anne", "c")).unwrap();
        assert_eq!(shown(&anne), Err(ErrorCode::Unauthenticated));
        assert_eq!(code(users.require_staying(&anne.name, &own(&anne))), Err(ErrorCode::Unauthenticated));
    }
}
