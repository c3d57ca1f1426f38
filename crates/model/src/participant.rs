//! Participants of a data space, as the register tells of them.

use crate::error::{Error, ErrorCode, Result};
use crate::id::{Digest, ParticipantId};
use crate::succession::ClosedLog;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A Belgian enterprise number (KBO/BCE): ten digits, the first 0 or 1, the last two 97 minus
/// the first eight modulo 97.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnterpriseNumber(String);

impl EnterpriseNumber {
    /// Parses `0202.239.951`, `BE 0202.239.951` or the ten digits, and verifies the check digits.
    pub fn parse(text: &str) -> Result<EnterpriseNumber> {
        let wrong = || {
            Error::malformed(format!(
                "`{}` is not an enterprise number like 0202.239.951 with right check digits",
                text.chars().take(40).collect::<String>()
            ))
        };
        let rest = text.trim();
        let rest = rest.strip_prefix("BE").unwrap_or(rest).trim_start();
        let digits: String = rest.chars().filter(|c| *c != '.').collect();
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) || !digits.starts_with(['0', '1']) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        if 97 - (number / 100) % 97 == number % 100 { Ok(EnterpriseNumber(digits)) } else { Err(wrong()) }
    }
}

impl fmt::Display for EnterpriseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in self.0.chars().enumerate() {
            if i == 4 || i == 7 {
                f.write_str(".")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}
impl TryFrom<String> for EnterpriseNumber {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}
impl From<EnterpriseNumber> for String {
    fn from(value: EnterpriseNumber) -> String {
        value.to_string()
    }
}

/// A commune's NIS (REFNIS) code: five digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NisCode(String);

impl NisCode {
    /// Parses five digits, the first from 1 to 9.
    pub fn parse(text: &str) -> Result<NisCode> {
        if text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') {
            Ok(NisCode(text.to_owned()))
        } else {
            Err(Error::malformed(format!(
                "`{}` is not a NIS code of five digits",
                text.chars().take(20).collect::<String>()
            )))
        }
    }
    /// The five digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for NisCode {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}
impl From<NisCode> for String {
    fn from(value: NisCode) -> String {
        value.0
    }
}

/// What a key is for. TLS keys are not here: the channel only identifies the participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// Signs offers and agreements, and consents to key changes and renewals.
    Agreement,
    /// Signs read requests.
    Request,
    /// Signs checkpoints of the log.
    Log,
    /// Cosigns checkpoints of others.
    Witness,
    /// Signs the register; authorities only.
    Register,
}

/// An Ed25519 public key: 32 bytes, base64url in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key of these bytes (whether it is a point of the curve is seen when it verifies).
    pub const fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// RFC 7638 thumbprint of the key as an OKP JWK (RFC 8037, section 2): the key's `kid`.
    pub fn thumbprint(&self) -> Digest {
        Digest::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(self.0)).as_bytes())
    }
}
impl TryFrom<String> for PublicKey {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD
            .decode(&text)
            .ok()
            .and_then(|b| <[u8; 32]>::try_from(b).ok())
            .ok_or_else(|| Error::new(ErrorCode::KeyInvalid, "a public key is 32 bytes in base64url"))?;
        if URL_SAFE_NO_PAD.encode(bytes) == text {
            Ok(PublicKey(bytes))
        } else {
            Err(Error::new(ErrorCode::KeyInvalid, "a public key is not in its canonical spelling"))
        }
    }
}
impl From<PublicKey> for String {
    fn from(value: PublicKey) -> String {
        URL_SAFE_NO_PAD.encode(value.0)
    }
}

/// One key in a participant's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredKey {
    /// What it signs.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The key.
    pub key: PublicKey,
    /// Valid from.
    pub from: Timestamp,
    /// Valid until, exclusive; none while in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How a change of key was authorised: by the old key's consent, or by the authority alone.
    pub authorised_by: KeyAuthorisation,
    /// The old key's consent (compact JWS of a `KeyConsent`), where it gave one: what shows that the
    /// authority says rightly so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
}

/// How a key came into the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAuthorisation {
    /// The first key, at enrolment.
    Enrolment,
    /// The previous key consented.
    PreviousKey,
    /// The authority alone: shown as such.
    AuthorityAlone,
}

/// Role of an organisation in the data space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publishes sets.
    Provider,
    /// Reads sets.
    Consumer,
    /// Keeps the register.
    Authority,
}

/// Standing of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// In force.
    Active,
    /// For a time not in force.
    Suspended,
    /// For ever not in force.
    Revoked,
}

/// A participant's entry in the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Its name in the data space.
    pub id: ParticipantId,
    /// Its name for people.
    pub name: String,
    /// Enterprise number.
    pub enterprise: EnterpriseNumber,
    /// NIS code, for a commune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nis: Option<NisCode>,
    /// Country of jurisdiction (ISO 3166-1 alpha-2).
    pub jurisdiction: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where its connector can be dialled, `host:port`; none where only it dials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Keys with their history.
    pub keys: Vec<RegisteredKey>,
    /// Origin of its log: `<authority>/<participant>/<generation>`.
    pub log_origin: String,
    /// Its logs before, which are closed, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed_logs: Vec<ClosedLog>,
    /// Standing.
    pub status: Status,
    /// Member from.
    pub valid_from: Timestamp,
    /// Member until, exclusive.
    pub valid_until: Timestamp,
}

impl Participant {
    /// The key of `kid` for `key_use`, if it was in force at `at`.
    pub fn key_at(&self, key_use: KeyUse, kid: &Digest, at: Timestamp) -> Option<&RegisteredKey> {
        self.keys.iter().find(|k| {
            k.key_use == key_use && k.key.thumbprint() == *kid && k.from <= at && k.until.is_none_or(|u| at < u)
        })
    }
    /// The key in force for `key_use` at `at`, the newest if several are.
    pub fn current_key(&self, key_use: KeyUse, at: Timestamp) -> Option<&RegisteredKey> {
        self.keys
            .iter()
            .filter(|k| k.key_use == key_use && k.from <= at && k.until.is_none_or(|u| at < u))
            .max_by_key(|k| k.from)
    }
    /// Who answers for one of its keys, whatever the register says of it: the enrolment for the first key
    /// of each use alone, the key before where its consent is there to be verified, else the authority.
    pub fn answers_for(&self, key: &RegisteredKey) -> KeyAuthorisation {
        let first = self.keys.iter().filter(|k| k.key_use == key.key_use).min_by_key(|k| k.from);
        match key.authorised_by {
            KeyAuthorisation::Enrolment if first.is_some_and(|first| first.key == key.key) => {
                KeyAuthorisation::Enrolment
            }
            KeyAuthorisation::PreviousKey if key.consent.is_some() => KeyAuthorisation::PreviousKey,
            _ => KeyAuthorisation::AuthorityAlone,
        }
    }
    /// Origins of its logs: the one in force, then those that are closed.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.log_origin.as_str()).chain(self.closed_logs.iter().map(|log| log.origin.as_str()))
    }
    /// Refuses unless the participant is in force at `at`.
    pub fn require_in_force(&self, at: Timestamp) -> Result<()> {
        let refuse = |code| Err(Error::new(code, format!("participant `{}` is not in force", self.id)));
        match self.status {
            Status::Revoked => refuse(ErrorCode::ParticipantRevoked),
            Status::Suspended => refuse(ErrorCode::ParticipantSuspended),
            Status::Active if at < self.valid_from || at >= self.valid_until => refuse(ErrorCode::ParticipantUnknown),
            Status::Active => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enterprise_numbers_are_checked() {
        for good in ["0440.966.354", "BE 0831.797.467", "0202239951", "BE0202.239.951"] {
            assert!(EnterpriseNumber::parse(good).is_ok(), "{good}");
        }
        for bad in ["0440.966.355", "044096635", "04409663540", "044096635a", "2440.966.354", ""] {
            assert!(EnterpriseNumber::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(EnterpriseNumber::parse("BE0202239951").unwrap().to_string(), "0202.239.951");
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037, appendix A.3.
        let key = PublicKey::try_from("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()).unwrap();
        assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn an_enterprise_number_is_written_in_one_way() {
        let number = EnterpriseNumber::try_from("BE 0831797467".to_owned()).unwrap();
        assert_eq!(String::from(number.clone()), "0831.797.467");
        assert_eq!(serde_json::to_value(&number).unwrap(), "0831.797.467");
        // Of the first eight digits 97 is a divisor, or one is left: check digits 97 and 96.
        for good in ["0000000097", "0000009797", "0000000196", "1000000021"] {
            assert!(EnterpriseNumber::parse(good).is_ok(), "{good}");
        }
        // Right check digits don't make up for another length or another first digit.
        for bad in ["097", "00000000097", "2000000042"] {
            assert!(EnterpriseNumber::parse(bad).is_err(), "{bad}");
        }
        for bad in ["0000000000", "0000000096", "0000000197", "BE", "BE BE0202239951", "0202-239-951", "02022399510"] {
            assert!(EnterpriseNumber::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_nis_code_is_five_digits() {
        for good in ["63049", "10000", "99999"] {
            assert_eq!(NisCode::parse(good).unwrap().as_str(), good);
            assert_eq!(String::from(NisCode::try_from(good.to_owned()).unwrap()), good);
        }
        for bad in ["", "6304", "630490", "03049", "6304a", "a3049", "6304é"] {
            assert!(NisCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_public_key_is_32_bytes_in_one_spelling() {
        let text = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = PublicKey::try_from(text.to_owned()).unwrap();
        assert_eq!(String::from(key), text);
        assert_eq!(key.as_bytes()[..2], [0xd7, 0x5a]);
        assert_eq!(PublicKey::from_bytes(*key.as_bytes()), key);
        for bad in ["", &text[..42], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"] {
            assert_eq!(PublicKey::try_from(bad.to_owned()).unwrap_err().code, ErrorCode::KeyInvalid, "{bad}");
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn key(byte: u8, key_use: KeyUse, from: i64, until: Option<i64>) -> RegisteredKey {
        RegisteredKey {
            key_use,
            key: PublicKey::from_bytes([byte; 32]),
            from: at(from),
            until: until.map(at),
            authorised_by: KeyAuthorisation::Enrolment,
            consent: None,
        }
    }

    fn participant(keys: Vec<RegisteredKey>) -> Participant {
        Participant {
            id: ParticipantId::parse("commune").unwrap(),
            name: "Commune".to_owned(),
            enterprise: EnterpriseNumber::parse("0202239951").unwrap(),
            nis: None,
            jurisdiction: "BE".to_owned(),
            roles: vec![Role::Provider],
            endpoint: None,
            keys,
            log_origin: "authority/commune/1".to_owned(),
            closed_logs: Vec::new(),
            status: Status::Active,
            valid_from: at(100),
            valid_until: at(200),
        }
    }

    #[test]
    fn the_enrolment_answers_for_the_first_key_of_each_use_alone() {
        use KeyAuthorisation::{AuthorityAlone, Enrolment, PreviousKey};
        let changed = |byte, authorised_by, consent: Option<&str>| RegisteredKey {
            authorised_by,
            consent: consent.map(str::to_owned),
            ..key(byte, KeyUse::Log, 20 + i64::from(byte), None)
        };
        let member = participant(vec![
            changed(3, Enrolment, None),
            changed(4, PreviousKey, Some("a.b.c")),
            changed(5, PreviousKey, None),
            changed(6, AuthorityAlone, Some("a.b.c")),
            key(1, KeyUse::Log, 10, Some(20)),
            key(2, KeyUse::Log, 10, None),
            key(7, KeyUse::Request, 15, None),
        ]);
        let answers: Vec<KeyAuthorisation> = member.keys.iter().map(|k| member.answers_for(k)).collect();
        let alone = AuthorityAlone;
        assert_eq!(answers, [alone, PreviousKey, alone, alone, Enrolment, alone, Enrolment]);
    }

    #[test]
    fn a_key_is_in_force_from_its_begin_to_before_its_end() {
        use KeyUse::{Agreement, Request};
        let member = participant(vec![key(1, Request, 10, Some(20)), key(2, Agreement, 10, None)]);
        let kid = |byte: u8| PublicKey::from_bytes([byte; 32]).thumbprint();
        for (ms, in_force) in [(9, false), (10, true), (19, true), (20, false), (21, false)] {
            let expected = in_force.then(|| &member.keys[0]);
            assert_eq!(member.key_at(Request, &kid(1), at(ms)), expected, "{ms}");
            assert_eq!(member.current_key(Request, at(ms)), expected, "{ms}");
        }
        assert_eq!(member.key_at(Agreement, &kid(2), at(1_000)), Some(&member.keys[1]));
        assert_eq!(member.key_at(Agreement, &kid(1), at(15)), None, "another use");
        assert_eq!(member.key_at(Request, &kid(2), at(15)), None, "another key");
        assert_eq!(member.current_key(KeyUse::Log, at(15)), None);
    }

    #[test]
    fn the_current_key_is_the_newest_in_force() {
        let uses = [(1, 10, None), (2, 30, None), (3, 20, None)];
        let member = participant(uses.map(|(byte, from, until)| key(byte, KeyUse::Log, from, until)).to_vec());
        for (ms, newest) in [(9, None), (15, Some(0)), (25, Some(2)), (30, Some(1))] {
            assert_eq!(member.current_key(KeyUse::Log, at(ms)), newest.map(|index: usize| &member.keys[index]));
        }
    }

    #[test]
    fn a_participant_is_in_force_from_its_begin_to_before_its_end() {
        let mut member = participant(Vec::new());
        let code = |member: &Participant, ms| member.require_in_force(at(ms)).err().map(|e| e.code);
        for (ms, refusal) in [(99, true), (100, false), (199, false), (200, true), (201, true)] {
            assert_eq!(code(&member, ms), refusal.then_some(ErrorCode::ParticipantUnknown), "{ms}");
        }
        for (status, refusal) in
            [(Status::Suspended, ErrorCode::ParticipantSuspended), (Status::Revoked, ErrorCode::ParticipantRevoked)]
        {
            member.status = status;
            assert_eq!(code(&member, 150), Some(refusal));
        }
    }
}
