//! The next generation of a log: what is said where entries of one were lost that others have seen.
//!
//! A log never goes on from behind what others hold of it: each further entry would be a fork. So
//! the old one is closed at the head that was got back, and another begins, whose origin ends in the
//! next number. Its first entry says what was lost; the register says that it is the one in force.

use crate::error::{Error, Result};
use crate::id::{AgreementId, Digest, ParticipantId, SpaceId};
use crate::request::Receipt;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// `typ` of a participant's request to close its log and to begin the next.
pub const SUCCESSION_TYP: &str = "perron-succession+jws";

/// A log of a participant that was closed, as the register tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLog {
    /// Its origin.
    pub origin: String,
    /// Entries that were got back: it is closed after them.
    pub size: u64,
    /// Root of the tree of these entries.
    pub root: Digest,
    /// Entries of the largest head that others are known to hold of it; `size` where none is larger.
    pub held: u64,
    /// Leaf hash of the next log's first entry, which is the root of its tree of one entry.
    pub genesis: Digest,
    /// When the authority closed it.
    pub closed: Timestamp,
}

/// Payload of the request that the authority confirms, signed by the agreement key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuccessionRequest {
    /// The data space.
    pub space: SpaceId,
    /// Whose log.
    pub participant: ParticipantId,
    /// The log to close; `closed` says when it was asked.
    pub closes: ClosedLog,
    /// Origin of the log that comes next.
    pub opens: String,
    /// When it was made.
    pub time: Timestamp,
}

/// What a `succession` entry binds as a document: who holds what of the log that was closed, and what
/// each agreement is charged for the entries that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuccessionDocument {
    /// Heads that contradict the head that was got back: larger ones, and others of its past.
    pub heads: Vec<HeldHead>,
    /// Agreements under which this organisation gives, each once.
    pub charged: Vec<Charged>,
    /// Participants, and witnesses by the names of their keys, that were asked what they hold and didn't
    /// answer.
    pub silent: Vec<String>,
}

/// A head of the closed log that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldHead {
    /// Who holds it: a participant's name, or the name of a witness's key.
    pub by: String,
    /// Entries that it covers.
    pub size: u64,
    /// The signed checkpoint, where it was shown: a witness over HTTPS says its size alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// By what an agreement is charged for entries that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChargedBy {
    /// The partner was asked: by its newest receipt, where it shows more.
    Partner,
    /// The partner couldn't be asked, so nobody can say how much was lost: all of it counts as used.
    Lost,
}

/// What an agreement is charged when the next log begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    /// The agreement.
    pub agreement: AgreementId,
    /// By what.
    pub by: ChargedBy,
    /// Uses charged from here on.
    pub uses: u64,
    /// Bytes charged from here on.
    pub volume: u64,
    /// The partner's newest receipt, where it shows more than the closed log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// Uses and bytes charged where nobody can say what was lost: more than any agreement gives, and with
/// room to be counted on from (RFC 8785 writes integers up to 2^53 − 1). A partner that doesn't answer
/// gains nothing by it.
pub const ALL_USED: u64 = 1 << 52;

impl ClosedLog {
    /// Entries that others hold and that are lost.
    pub fn lost(&self) -> u64 {
        self.held.saturating_sub(self.size)
    }
}

impl SuccessionDocument {
    /// Entries of the largest head that others hold, of a log that was closed after `size`.
    pub fn held(&self, size: u64) -> u64 {
        self.heads.iter().map(|head| head.size).max().unwrap_or(size).max(size)
    }
}

impl Charged {
    /// What an agreement is charged whose partner couldn't be asked.
    pub fn lost(agreement: AgreementId, (uses, volume): (u64, u64)) -> Charged {
        let (uses, volume) = (uses.max(ALL_USED), volume.max(ALL_USED));
        Charged { agreement, by: ChargedBy::Lost, uses, volume, receipt: None }
    }
}

/// The generation in which an origin ends: `<authority>/<participant>/<generation>`.
///
/// # Errors
/// `malformed` for anything but a decimal from 1 in its one spelling.
pub fn generation_of(origin: &str) -> Result<u64> {
    let wrong = || Error::malformed("the origin of a log ends in its generation");
    let (_, number) = origin.rsplit_once('/').ok_or_else(wrong)?;
    let generation: u64 = number.parse().map_err(|_| wrong())?;
    if generation == 0 || generation.to_string() != number { Err(wrong()) } else { Ok(generation) }
}

/// The origin of the log that comes after the one of `origin`.
///
/// # Errors
/// As [`generation_of`].
pub fn next_origin(origin: &str) -> Result<String> {
    let generation = generation_of(origin)?;
    let next = generation.checked_add(1).ok_or_else(|| Error::malformed("there is no generation after the last"))?;
    let stem = origin.strip_suffix(&generation.to_string()).unwrap_or(origin);
    Ok(format!("{stem}{next}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_count_generations() {
        assert_eq!(generation_of("eau/commune/1").unwrap(), 1);
        assert_eq!(next_origin("eau/commune/9").unwrap(), "eau/commune/10");
        assert_eq!(next_origin("eau/commune/10").unwrap(), "eau/commune/11");
        for bad in ["", "eau", "eau/commune/", "eau/commune/0", "eau/commune/01", "eau/commune/x", "eau/commune/-1"] {
            assert!(generation_of(bad).is_err() && next_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_lost_counts_as_used() {
        let charged = Charged::lost(Digest::of(b"a"), (3, ALL_USED + 1));
        assert_eq!((charged.uses, charged.volume, charged.by), (ALL_USED, ALL_USED + 1, ChargedBy::Lost));
        let head = |size| HeldHead { by: "huy".to_owned(), size, note: None };
        let document = |sizes: &[u64]| SuccessionDocument {
            heads: sizes.iter().map(|size| head(*size)).collect(),
            charged: Vec::new(),
            silent: Vec::new(),
        };
        assert_eq!((document(&[]).held(7), document(&[5]).held(7), document(&[9, 8]).held(7)), (7, 7, 9));
    }
}
