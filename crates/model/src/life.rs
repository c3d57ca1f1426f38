//! The life of an agreement once it is in force: suspended, resumed, amended, revoked.
//!
//! What one side tells the other is a signed notice. What an agreement's state is follows from the
//! set of its notices, whatever their order: two sides whose notices cross on the way come to the
//! same state. So a suspension has a name, and only a resumption that names it, proposed by one
//! side and confirmed by the other, lifts it. A revocation is for ever. An amended agreement is a
//! new one that names the one before; what is said of any of them is said of all.

use crate::canonical;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AgreementId, Digest, FactName, ParticipantId, SpaceId};
use crate::limits::{
    ERASURES_TOLD_MAX, FACT_BYTES_MAX, FACTS_MAX, LIFTED_MAX, NOTICE_BYTES_MAX, NOTICES_MAX, PLACE_BYTES_MAX,
    POLICY_TERMS_MAX, REASON_BYTES_MAX, VERSIONS_MAX,
};
use crate::negotiation::Side;
use crate::sealed::Ground;
use crate::time::Timestamp;
use base64::Engine;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// `typ` of a notice's signature (RFC 7515, section 4.1.9).
pub const NOTICE_TYP: &str = "perron-notice+jws";

/// What one party of an agreement tells the other, signed with its agreement key (canonical JSON,
/// RFC 8785). The SHA-256 of the signed bytes is its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Always `perron-notice/v1`.
    #[serde(rename = "type")]
    pub kind: NoticeKind,
    /// The data space.
    pub space: SpaceId,
    /// UUIDv7 of the sender: two notices that say the same are two.
    pub id: String,
    /// The agreement.
    pub agreement: AgreementId,
    /// Who tells.
    pub from: ParticipantId,
    /// Who is told.
    pub to: ParticipantId,
    /// When it was signed.
    pub time: Timestamp,
    /// What is told.
    pub act: Act,
}

/// Type mark of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    /// A notice of version 1.
    #[serde(rename = "perron-notice/v1")]
    V1,
}

/// What a notice tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// From now on nothing is read, until both sides resume.
    Suspend {
        /// Why, for the other side.
        reason: String,
    },
    /// From now on nothing is read, for ever.
    Revoke {
        /// Why, for the other side.
        reason: String,
    },
    /// Proposes that these suspensions end.
    Resume {
        /// Names of the notices that suspended.
        lifts: Vec<Digest>,
    },
    /// Agrees to a proposal of the other side.
    Confirm {
        /// Name of the notice that proposed.
        proposal: Digest,
    },
    /// Refuses a proposal of the other side.
    Refuse {
        /// Name of the notice that proposed.
        proposal: Digest,
        /// Why, for the other side.
        reason: String,
    },
    /// Of now, by the provider: what holds of the world, as far as the agreement's policy asks.
    Fact {
        /// Which.
        name: FactName,
        /// What holds.
        value: FactValue,
    },
    /// A duty of the policy was fulfilled, by who owed it.
    Fulfil {
        /// Place of the duty in the signed policy: `permission[0].duty[0]`, `obligation[1]`.
        duty: String,
        /// How, in words for the other side.
        evidence: String,
        /// Digest of a file that shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<Digest>,
    },
    /// Sealed values of entries in the sender's chain of this agreement were erased. It changes
    /// nothing of the agreement.
    Erase {
        /// Leaf hash of the entry that says so in the sender's log.
        erasure: Digest,
        /// The first of these entries, by its number in the sender's chain.
        first: u64,
        /// The last of them.
        last: u64,
        /// How many values these are.
        values: u64,
        /// Ground.
        ground: Ground,
        /// Until when a backup of the sender's could undo it.
        until: Timestamp,
    },
}

/// What a fact is: true, false, or a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactValue {
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

impl FactValue {
    /// `true`, `false`, or any other text as it is; refuses an empty or too long one.
    pub fn parse(text: &str) -> Result<FactValue> {
        match text {
            "true" => Ok(FactValue::Boolean(true)),
            "false" => Ok(FactValue::Boolean(false)),
            _ => FactValue::Text(text.to_owned()).check(),
        }
    }

    fn check(self) -> Result<FactValue> {
        match &self {
            FactValue::Text(text) if text.is_empty() || text.len() > FACT_BYTES_MAX => {
                Err(Error::malformed(format!("a fact is true, false, or a text of 1 to {FACT_BYTES_MAX} bytes")))
            }
            _ => Ok(self),
        }
    }
}

impl Act {
    /// Its name, as in the JSON of a notice and in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Act::Suspend { .. } => "suspend",
            Act::Revoke { .. } => "revoke",
            Act::Resume { .. } => "resume",
            Act::Confirm { .. } => "confirm",
            Act::Refuse { .. } => "refuse",
            Act::Fact { .. } => "fact",
            Act::Fulfil { .. } => "fulfil",
            Act::Erase { .. } => "erase",
        }
    }

    /// The words for the other side, where it has some.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Act::Suspend { reason } | Act::Revoke { reason } | Act::Refuse { reason, .. } => Some(reason),
            Act::Fulfil { evidence, .. } => Some(evidence),
            Act::Resume { .. } | Act::Confirm { .. } | Act::Fact { .. } | Act::Erase { .. } => None,
        }
    }
}

impl Notice {
    /// The canonical bytes that are signed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        canonical::to_bytes(self)
    }

    /// Its name.
    pub fn name(&self) -> Result<Digest> {
        Ok(Digest::of(&self.bytes()?))
    }

    /// Reads canonical bytes; any other spelling is refused, and what is over its bound.
    pub fn parse(bytes: &[u8]) -> Result<Notice> {
        let notice: Notice = canonical::from_bytes(bytes, NOTICE_BYTES_MAX)?;
        notice.check()
    }

    /// What a compact JWS says, before anything is verified: for one that is known to verify.
    pub fn of_compact(text: &str) -> Result<Notice> {
        let payload = text.split('.').nth(1).unwrap_or_default();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| Error::malformed("the notice's payload is not base64url"))?;
        Notice::parse(&bytes)
    }

    /// Refuses a notice with a part that is over its bound or lacks.
    pub fn check(self) -> Result<Notice> {
        if self.from == self.to {
            return Err(Error::malformed("a notice goes from one organisation to another"));
        }
        if self.id.is_empty() || self.id.len() > 64 {
            return Err(Error::malformed("the id of a notice has 1 to 64 bytes"));
        }
        if let Some(reason) = self.act.reason()
            && (reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX)
        {
            return Err(Error::malformed(format!("a reason has 1 to {REASON_BYTES_MAX} bytes")));
        }
        if let Act::Fact { value, .. } = &self.act {
            value.clone().check()?;
        }
        if let Act::Fulfil { duty, .. } = &self.act
            && (duty.is_empty() || duty.len() > PLACE_BYTES_MAX)
        {
            return Err(Error::malformed(format!("the place of a duty has 1 to {PLACE_BYTES_MAX} bytes")));
        }
        if let Act::Erase { first, last, values, .. } = &self.act
            && (first > last || *values == 0 || *values > last.saturating_sub(*first).saturating_add(1))
        {
            return Err(Error::malformed("an erasure is of entries from one to another, one value each at the most"));
        }
        if let Act::Resume { lifts } = &self.act {
            let distinct: BTreeSet<&Digest> = lifts.iter().collect();
            if lifts.is_empty() || lifts.len() > LIFTED_MAX || distinct.len() != lifts.len() {
                return Err(Error::malformed(format!(
                    "a resumption names 1 to {LIFTED_MAX} suspensions, each of them once"
                )));
            }
        }
        Ok(self)
    }
}

/// State of an agreement in force, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may be read under, as far as its terms permit.
    InForce,
    /// For a time not.
    Suspended,
    /// A later version is in force in its place.
    Amended,
    /// For ever not.
    Revoked,
}

impl Standing {
    /// Its name, as in JSON and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Standing::InForce => "in-force",
            Standing::Suspended => "suspended",
            Standing::Amended => "amended",
            Standing::Revoked => "revoked",
        }
    }

    /// The standing of a name.
    pub fn parse(name: &str) -> Result<Standing> {
        [Standing::InForce, Standing::Suspended, Standing::Amended, Standing::Revoked]
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| Error::malformed("an unknown state of an agreement"))
    }

    /// Why nothing may be read; none while it is in force.
    pub const fn refusal(self) -> Option<ErrorCode> {
        match self {
            Standing::InForce => None,
            Standing::Suspended => Some(ErrorCode::AgreementSuspended),
            Standing::Amended => Some(ErrorCode::AgreementAmended),
            Standing::Revoked => Some(ErrorCode::AgreementRevoked),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A notice as a life remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Its name.
    pub name: Digest,
    /// The version of the agreement that it names.
    pub agreement: AgreementId,
    /// Which side told it.
    pub by: Side,
    /// When it was signed.
    pub time: Timestamp,
    /// What it tells.
    pub act: Act,
}

/// The life of an agreement: its versions, and all that was told of any of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    versions: Vec<AgreementId>,
    told: Vec<Told>,
    standing: Standing,
    // The newest of each fact, and what was told of duties: neither moves the state.
    #[serde(default)]
    facts: BTreeMap<FactName, Told>,
    #[serde(default)]
    fulfilled: BTreeMap<AgreementId, BTreeMap<String, Told>>,
    // The newest that was told of erasures, the oldest first: it doesn't move the state either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erased: Vec<Told>,
}

impl Life {
    /// A life that begins with this agreement.
    pub fn new(first: AgreementId) -> Life {
        Life {
            versions: vec![first],
            told: Vec::new(),
            standing: Standing::InForce,
            facts: BTreeMap::new(),
            fulfilled: BTreeMap::new(),
            erased: Vec::new(),
        }
    }

    /// The agreement with which it began.
    pub fn first(&self) -> Option<AgreementId> {
        self.versions.first().copied()
    }

    /// The newest version.
    pub fn current(&self) -> Option<AgreementId> {
        self.versions.last().copied()
    }

    /// All versions, the newest last.
    pub fn versions(&self) -> &[AgreementId] {
        &self.versions
    }

    /// What was told, as it became known here.
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// The newest of each fact that was told.
    pub fn facts(&self) -> &BTreeMap<FactName, Told> {
        &self.facts
    }

    /// What was told of a duty of one version, by its place: it was fulfilled.
    pub fn fulfilled(&self, agreement: &AgreementId, duty: &str) -> Option<&Told> {
        self.fulfilled.get(agreement)?.get(duty)
    }

    /// All that was told of duties.
    pub fn fulfilments(&self) -> impl Iterator<Item = &Told> {
        self.fulfilled.values().flat_map(BTreeMap::values)
    }

    /// The newest that was told of erasures, the oldest first.
    pub fn erasures(&self) -> &[Told] {
        &self.erased
    }

    /// State of the newest version.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// State of one version.
    pub fn standing_of(&self, agreement: &AgreementId) -> Standing {
        match self.standing {
            Standing::InForce | Standing::Suspended if self.current() != Some(*agreement) => Standing::Amended,
            standing => standing,
        }
    }

    /// May this version be amended? Only the newest may, and not once it was revoked.
    pub fn require_amendable(&self, agreement: &AgreementId) -> Result<()> {
        match self.standing_of(agreement) {
            Standing::InForce | Standing::Suspended => Ok(()),
            Standing::Amended => Err(Error::new(ErrorCode::AgreementAmended, "the agreement was amended before")),
            Standing::Revoked => Err(Error::new(ErrorCode::AgreementRevoked, "the agreement was revoked")),
        }
    }

    /// `next`, signed by both sides, takes the place of the newest version. A revocation that
    /// crossed it on the way holds for it too.
    pub fn amend(&mut self, before: &AgreementId, next: AgreementId) -> Result<()> {
        if self.versions.contains(&next) {
            return Ok(());
        }
        if self.current() != Some(*before) {
            return Err(Error::new(ErrorCode::AgreementAmended, "the agreement was amended before"));
        }
        if self.versions.len() >= VERSIONS_MAX {
            return Err(Error::new(ErrorCode::Overloaded, format!("an agreement has at most {VERSIONS_MAX} versions")));
        }
        self.versions.push(next);
        Ok(())
    }

    /// Is this notice known?
    pub fn knows(&self, name: &Digest) -> bool {
        let other = self.facts.values().chain(self.fulfilments()).chain(&self.erased);
        self.told.iter().chain(other).any(|t| t.name == *name)
    }

    /// Does this notice tell what isn't known? The same one doesn't, nor an older one of a fact.
    pub fn is_news(&self, told: &Told) -> bool {
        let newer = match &told.act {
            Act::Fact { name, .. } => self.facts.get(name).is_none_or(|known| known.time < told.time),
            // Past the bound the oldest are forgotten, and must not come again.
            Act::Erase { .. } if self.erasures_of(told.by) >= ERASURES_TOLD_MAX => {
                self.erased.iter().find(|t| t.by == told.by).is_none_or(|oldest| oldest.time <= told.time)
            }
            _ => true,
        };
        newer && !self.knows(&told.name)
    }

    /// Takes a notice. One that is no news changes nothing; one that doesn't fit what was told is
    /// refused and changes nothing.
    pub fn take(&mut self, told: Told) -> Result<()> {
        if !self.is_news(&told) {
            return Ok(());
        }
        match &told.act {
            Act::Fact { name, .. } => return self.take_fact(name.clone(), told),
            Act::Fulfil { duty, .. } => return self.take_fulfilment(duty.clone(), told),
            Act::Erase { .. } => {
                self.take_erasure(told);
                return Ok(());
            }
            _ => self.require_room(&told)?,
        }
        match &told.act {
            Act::Suspend { .. } | Act::Revoke { .. } | Act::Fact { .. } | Act::Fulfil { .. } | Act::Erase { .. } => {}
            Act::Resume { lifts } => {
                let known = |name: &Digest| self.find(name).is_some_and(|t| matches!(t.act, Act::Suspend { .. }));
                if !lifts.iter().all(known) {
                    return Err(Error::new(ErrorCode::NotFound, "a resumption names a suspension that isn't known"));
                }
            }
            Act::Confirm { proposal } | Act::Refuse { proposal, .. } => {
                let of_other = |t: &Told| t.by == told.by.other() && matches!(t.act, Act::Resume { .. });
                if !self.find(proposal).is_some_and(of_other) {
                    return Err(Error::new(ErrorCode::NotFound, "no such proposal of the other side"));
                }
                if self.answer(proposal).is_some() {
                    return Err(Error::new(ErrorCode::TransitionIllegal, "the proposal was answered before"));
                }
            }
        }
        self.told.push(told);
        self.standing = self.judged();
        Ok(())
    }

    fn take_fact(&mut self, name: FactName, told: Told) -> Result<()> {
        if told.by != Side::Provider {
            return Err(Error::new(ErrorCode::TransitionIllegal, "facts are told by the provider"));
        }
        if self.facts.len() >= FACTS_MAX && !self.facts.contains_key(&name) {
            return Err(Error::new(
                ErrorCode::Overloaded,
                format!("at most {FACTS_MAX} facts are told of an agreement"),
            ));
        }
        self.facts.insert(name, told);
        Ok(())
    }

    fn take_fulfilment(&mut self, duty: String, told: Told) -> Result<()> {
        let fulfilled = self.fulfilled.entry(told.agreement).or_default();
        if fulfilled.contains_key(&duty) {
            return Err(Error::new(ErrorCode::TransitionIllegal, "the duty was fulfilled before"));
        }
        if fulfilled.len() >= POLICY_TERMS_MAX {
            return Err(Error::new(ErrorCode::Overloaded, format!("a policy has at most {POLICY_TERMS_MAX} duties")));
        }
        fulfilled.insert(duty, told);
        Ok(())
    }

    fn erasures_of(&self, by: Side) -> usize {
        self.erased.iter().filter(|t| t.by == by).count()
    }

    fn take_erasure(&mut self, told: Told) {
        if self.erasures_of(told.by) >= ERASURES_TOLD_MAX
            && let Some(oldest) = self.erased.iter().position(|t| t.by == told.by)
        {
            self.erased.remove(oldest);
        }
        let after = self.erased.partition_point(|t| t.time <= told.time);
        self.erased.insert(after, told);
    }

    /// Suspensions that nothing lifts.
    pub fn suspensions(&self) -> Vec<&Told> {
        let lifted = self.lifted();
        self.told.iter().filter(|t| matches!(t.act, Act::Suspend { .. }) && !lifted.contains(&t.name)).collect()
    }

    /// The newest proposal of `by` to resume that has no answer and would still lift something.
    pub fn proposal_of(&self, by: Side) -> Option<&Told> {
        let open: BTreeSet<Digest> = self.suspensions().into_iter().map(|t| t.name).collect();
        self.told.iter().rev().find(|t| {
            t.by == by
                && matches!(&t.act, Act::Resume { lifts } if lifts.iter().any(|l| open.contains(l)))
                && self.answer(&t.name).is_none()
        })
    }

    fn find(&self, name: &Digest) -> Option<&Told> {
        self.told.iter().find(|t| t.name == *name)
    }

    fn answer(&self, proposal: &Digest) -> Option<&Told> {
        self.told
            .iter()
            .find(|t| matches!(&t.act, Act::Confirm { proposal: p } | Act::Refuse { proposal: p, .. } if p == proposal))
    }

    fn lifted(&self) -> BTreeSet<Digest> {
        let confirmed: BTreeSet<Digest> = self
            .told
            .iter()
            .filter_map(|t| match &t.act {
                Act::Confirm { proposal } => Some(*proposal),
                _ => None,
            })
            .collect();
        self.told
            .iter()
            .filter(|t| confirmed.contains(&t.name))
            .filter_map(|t| match &t.act {
                Act::Resume { lifts } => Some(lifts.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect()
    }

    fn judged(&self) -> Standing {
        if self.told.iter().any(|t| matches!(t.act, Act::Revoke { .. })) {
            Standing::Revoked
        } else if self.suspensions().is_empty() {
            Standing::InForce
        } else {
            Standing::Suspended
        }
    }

    /// What ends an agreement is taken also past the bound, once by each side.
    fn require_room(&self, told: &Told) -> Result<()> {
        let revoked_by = |side| self.told.iter().any(|t| t.by == side && matches!(t.act, Act::Revoke { .. }));
        let ends = matches!(told.act, Act::Revoke { .. }) && !revoked_by(told.by);
        if ends || self.told.len() < NOTICES_MAX {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Overloaded,
            format!("{NOTICES_MAX} notices were told of this agreement; only a revocation is taken now"),
        ))
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
