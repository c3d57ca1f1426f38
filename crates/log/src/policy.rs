//! Policies of witnesses (C2SP tlog-policy): which logs, which witnesses, and
//! which of them together make a checkpoint final.
//!
//! Parsing is strict, and what isn't understood is refused: a policy that is
//! read otherwise than it was meant would call final what isn't.

use std::collections::BTreeSet;

use crate::keys::{KeyKind, Verifier};
use crate::limits::{
    POLICY_BYTES_MAX, POLICY_COSIGNATURES_MAX, POLICY_GROUPS_MAX, POLICY_LOGS_MAX, POLICY_WITNESSES_MAX,
};
use crate::merkle::decode_decimal;
use crate::note::{NoteError, SignedNote};

/// The predefined name of a quorum that asks for nobody.
const NOBODY: &[u8] = b"none";

/// Why a policy was refused, with the number of its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Over a bound.
    #[error("the policy is over its bound of {0}")]
    TooLarge(&'static str),
    /// A line isn't what it has to be.
    #[error("line {line} of the policy: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A part is missing.
    #[error("the policy {0}")]
    Lacks(&'static str),
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Verifier>,
    witnesses: Vec<PolicyWitness>,
    // In the order of their lines: each refers to what stands before it.
    terms: Vec<Term>,
    quorum: Option<usize>,
}

/// A witness of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within the policy, opaque bytes there; here with what isn't
    /// UTF-8 replaced.
    pub name: String,
    /// Its key.
    pub key: Verifier,
    /// Where it takes submissions, if the policy says.
    pub url: Option<String>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// The witness of this place.
    Witness(usize),
    /// At least `least` of the terms of these places.
    Group { least: usize, members: Vec<usize> },
}

/// A witness of the policy cosigned a head of the log that the caller found to
/// be of one history with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigned {
    /// Place of the witness among [`Policy::witnesses`].
    pub witness: usize,
    /// Leaves that the head covers.
    pub size: u64,
    /// When it signed, in seconds since the Unix epoch, by its own clock.
    pub time_unix_s: u64,
}

/// What a policy says of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It asks for no witness.
    Unasked,
    /// The quorum saw the log up to this size; the last of those needed signed
    /// at this time.
    Final {
        /// Leaves that the quorum saw.
        size: u64,
        /// Seconds since the Unix epoch.
        at_unix_s: u64,
    },
    /// The quorum saw nothing of it.
    Open,
}

// === impl Policy ===

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    /// [`PolicyError`] naming the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge("64 KiB"));
        }
        let text = match bytes {
            [] => return Err(PolicyError::Lacks("has no quorum line")),
            bytes => bytes.strip_suffix(b"\n").ok_or(PolicyError::Lacks("doesn't end in a newline"))?,
        };
        let mut reading = Reading::default();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            reading.line(line).map_err(|wrong| match wrong {
                Wrong::Line(reason) => PolicyError::Line { line: at + 1, reason },
                Wrong::TooLarge(what) => PolicyError::TooLarge(what),
            })?;
        }
        let quorum = reading.quorum.ok_or(PolicyError::Lacks("has no quorum line"))?;
        let Reading { logs, witnesses, terms, .. } = reading;
        Ok(Self { logs, witnesses, terms, quorum })
    }

    /// The witnesses, in the order of their lines.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The witnesses' keys, in the same order.
    #[must_use]
    pub fn witness_keys(&self) -> Vec<Verifier> {
        self.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }

    /// Whether the policy is about the log of these keys: it names one of
    /// them, or no log at all.
    #[must_use]
    pub fn is_about(&self, log_keys: &[Verifier]) -> bool {
        self.logs.is_empty() || self.logs.iter().any(|log| log_keys.contains(log))
    }

    /// Who of the policy cosigned a head of this size. The caller verified the
    /// log's own signature on it, and its place in the log's history.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] where a line by the key of one of them
    /// doesn't verify.
    pub fn cosigned(&self, note: &SignedNote, size: u64) -> Result<Vec<Cosigned>, NoteError> {
        let verified = match note.verify(&self.witness_keys()) {
            Ok(verified) => verified,
            Err(NoteError::NoKnownSignature) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let found = verified.iter().filter_map(|line| {
            let is_by = |w: &PolicyWitness| w.key.name() == line.name && w.key.key_id() == line.key_id;
            let witness = self.witnesses.iter().position(is_by)?;
            // A cosignature without a time says nothing of when (C2SP tlog-witness).
            let time_unix_s = line.time_unix_s.filter(|time| *time > 0)?;
            Some(Cosigned { witness, size, time_unix_s })
        });
        Ok(found.collect())
    }

    /// Up to where the log is final: the largest size that the quorum saw, and
    /// the earliest time by which it had. A witness that saw a larger head saw
    /// the smaller ones in it. Past the bound on cosignatures, the further
    /// ones count for nothing.
    #[must_use]
    pub fn judge(&self, cosigned: &[Cosigned]) -> Verdict {
        let Some(quorum) = self.quorum else { return Verdict::Unasked };
        let cosigned = cosigned.get(..cosigned.len().min(POLICY_COSIGNATURES_MAX)).unwrap_or_default();
        let sizes: BTreeSet<u64> = cosigned.iter().map(|one| one.size).filter(|size| *size > 0).collect();
        let seen = |size: u64, until: u64| {
            let by: BTreeSet<usize> = cosigned
                .iter()
                .filter(|one| one.size >= size && one.time_unix_s <= until)
                .map(|one| one.witness)
                .collect();
            self.is_met(quorum, &by)
        };
        let Some(size) = largest(&sizes.into_iter().collect::<Vec<_>>(), |size| seen(size, u64::MAX)) else {
            return Verdict::Open;
        };
        let times: BTreeSet<u64> = cosigned.iter().filter(|one| one.size >= size).map(|one| one.time_unix_s).collect();
        let times: Vec<u64> = times.into_iter().collect();
        let first = times.partition_point(|until| !seen(size, *until));
        times.get(first).map_or(Verdict::Open, |at| Verdict::Final { size, at_unix_s: *at })
    }

    /// Whether these witnesses make the term of this place.
    fn is_met(&self, quorum: usize, by: &BTreeSet<usize>) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            let is_met = match term {
                Term::Witness(place) => by.contains(place),
                Term::Group { least, members } => {
                    let count = members.iter().filter(|place| met.get(**place).copied().unwrap_or(false)).count();
                    count >= *least
                }
            };
            met.push(is_met);
        }
        met.get(quorum).copied().unwrap_or(false)
    }
}

/// The largest of some ascending numbers that holds, where all below one that
/// holds do.
fn largest(numbers: &[u64], holds: impl Fn(u64) -> bool) -> Option<u64> {
    let count = numbers.partition_point(|number| holds(*number));
    numbers.get(count.checked_sub(1)?).copied()
}

/// What is wrong while a policy is read.
enum Wrong {
    Line(String),
    TooLarge(&'static str),
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self::Line(reason)
    }
}

impl From<&str> for Wrong {
    fn from(reason: &str) -> Self {
        Self::Line(reason.to_owned())
    }
}

/// A policy that is being read.
#[derive(Default)]
struct Reading {
    logs: Vec<Verifier>,
    witnesses: Vec<PolicyWitness>,
    terms: Vec<Term>,
    // Names of terms, in their order.
    names: Vec<Vec<u8>>,
    // Terms that are members of a group already.
    members: BTreeSet<usize>,
    groups: usize,
    // None of nobody, once it was read.
    quorum: Option<Option<usize>>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7F) {
            return Err("a control character".into());
        }
        let items: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey] | [b"log", vkey, _] => self.log(vkey),
            [b"witness", name, vkey] => self.witness(name, vkey, None),
            [b"witness", name, vkey, url] => self.witness(name, vkey, Some(*url)),
            [b"group", name, least, members @ ..] => self.group(name, least, members),
            [b"quorum", name] => self.quorum(name),
            [other, ..] => Err(format!("`{}` with {} items is no line of a policy", shown(other), items.len()).into()),
        }
    }

    fn log(&mut self, vkey: &[u8]) -> Result<(), Wrong> {
        let key = key_of(vkey, KeyKind::Ed25519)?;
        if self.logs.len() >= POLICY_LOGS_MAX {
            return Err(Wrong::TooLarge("256 logs"));
        }
        if self.logs.iter().any(|log| log.public_key() == key.public_key()) {
            return Err("this log's key stands there twice".into());
        }
        self.check_apart(&key)?;
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8], url: Option<&[u8]>) -> Result<(), Wrong> {
        let key = key_of(vkey, KeyKind::CosignatureV1)?;
        if self.witnesses.len() >= POLICY_WITNESSES_MAX {
            return Err(Wrong::TooLarge("256 witnesses"));
        }
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err("this witness's key stands there twice".into());
        }
        self.check_apart(&key)?;
        self.define(name, Term::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: shown(name), key, url: url.map(shown) });
        Ok(())
    }

    /// A log that is its own witness would say twice what it says once.
    fn check_apart(&self, key: &Verifier) -> Result<(), Wrong> {
        let is_same = |other: &Verifier| other.public_key() == key.public_key();
        let both = self.logs.iter().any(is_same) || self.witnesses.iter().any(|witness| is_same(&witness.key));
        if both { Err("one key is a log's and a witness's".into()) } else { Ok(()) }
    }

    fn group(&mut self, name: &[u8], least: &[u8], members: &[&[u8]]) -> Result<(), Wrong> {
        if members.is_empty() {
            return Err("a group without members".into());
        }
        if self.groups >= POLICY_GROUPS_MAX {
            return Err(Wrong::TooLarge("256 groups"));
        }
        let least = match least {
            b"all" => members.len(),
            b"any" => 1,
            number => {
                let number = std::str::from_utf8(number).ok().and_then(decode_decimal);
                let number = number.and_then(|number| usize::try_from(number).ok());
                let fits = number.filter(|number| (1..=members.len()).contains(number));
                fits.ok_or("a group needs `all`, `any`, or a number from 1 to that of its members")?
            }
        };
        let mut places = Vec::with_capacity(members.len());
        for member in members {
            let place = self.place_of(member)?;
            if !self.members.insert(place) {
                return Err(format!("`{}` is a member of a group already", shown(member)).into());
            }
            places.push(place);
        }
        self.groups += 1;
        self.define(name, Term::Group { least, members: places })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), Wrong> {
        if self.quorum.is_some() {
            return Err("a second quorum line".into());
        }
        self.quorum = Some(if name == NOBODY { None } else { Some(self.place_of(name)?) });
        Ok(())
    }

    fn place_of(&self, name: &[u8]) -> Result<usize, Wrong> {
        let place = self.names.iter().position(|known| known == name);
        place.ok_or_else(|| format!("`{}` is defined on no line before", shown(name)).into())
    }

    fn define(&mut self, name: &[u8], term: Term) -> Result<(), Wrong> {
        if name == NOBODY || self.names.iter().any(|known| known == name) {
            return Err(format!("the name `{}` is taken", shown(name)).into());
        }
        self.names.push(name.to_vec());
        self.terms.push(term);
        Ok(())
    }
}

fn key_of(vkey: &[u8], kind: KeyKind) -> Result<Verifier, Wrong> {
    let text = std::str::from_utf8(vkey).map_err(|_| "a key that is not UTF-8")?;
    let key = Verifier::parse_vkey(text).map_err(|error| error.to_string())?;
    if key.kind() == kind {
        return Ok(key);
    }
    Err(match kind {
        KeyKind::Ed25519 => "a log's key is of type 0x01 (Ed25519)".into(),
        KeyKind::CosignatureV1 => "a witness's key is of type 0x04 (timestamped Ed25519 cosignature)".into(),
    })
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
