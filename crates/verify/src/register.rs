//! The register in the directory, verified with the authority's key and nothing else.

use crate::jws;
use crate::limits::CLOCKS_APART_MS_MAX;
use perron_log::{KeyKind, OpenedCheckpoint, Verifier};
use perron_model::limits::{DOCUMENT_BYTES_MAX, PARTICIPANTS_MAX, REGISTER_BYTES_MAX};
use perron_model::participant::{KeyUse, Participant, PublicKey};
use perron_model::register::{PARTICIPANT_TYP, ParticipantEntry, REGISTER_TYP, RegisterVersion, SignedRegister};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp, canonical};
use std::collections::BTreeMap;

/// A register whose signatures, digests and order were verified.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    /// The key that signed it.
    pub authority: PublicKey,
    /// The version.
    pub version: u64,
    /// SHA-256 of its compact JWS.
    pub digest: Digest,
    /// The data space.
    pub space: SpaceId,
    /// Signatures that were checked.
    pub signatures: u64,
    participants: BTreeMap<ParticipantId, Participant>,
}

impl Register {
    /// Verifies a register's canonical bytes.
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Register> {
        let signed: SignedRegister = canonical::from_bytes(bytes, REGISTER_BYTES_MAX)?;
        if signed.entries.len() > PARTICIPANTS_MAX {
            return Err(refuse("the register is over its bound"));
        }
        let (signature, payload) = jws::parse_compact(&signed.register, REGISTER_TYP, REGISTER_BYTES_MAX)?;
        signature.verify(authority)?;
        let version: RegisterVersion = canonical::from_bytes(&payload, REGISTER_BYTES_MAX)?;
        check_version(&version, &signed)?;
        let mut participants = BTreeMap::new();
        for (listed, text) in version.entries.iter().zip(&signed.entries) {
            let entry = open_entry(text, authority)?;
            let fits = Digest::of(text.as_bytes()) == listed.digest
                && entry.participant.id == listed.participant
                && entry.space == version.space
                && entry.version <= version.version;
            if !fits {
                return Err(refuse(format!(
                    "the entry of `{}` is not the one that the register names",
                    listed.participant
                )));
            }
            participants.insert(listed.participant.clone(), entry.participant);
        }
        Ok(Register {
            authority: *authority,
            version: version.version,
            digest: Digest::of(signed.register.as_bytes()),
            space: version.space,
            signatures: u64::try_from(participants.len()).unwrap_or(u64::MAX).saturating_add(1),
            participants,
        })
    }

    /// A participant as the register tells of it; says nothing of whether it is in force.
    pub fn participant(&self, id: &str) -> Option<&Participant> {
        self.participants.get(&ParticipantId::parse(id).ok()?)
    }

    /// All participants, by name.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.participants.values()
    }

    /// The participant whose log has this origin, in force or closed.
    pub fn owner_of(&self, origin: &str) -> Option<&Participant> {
        self.participants.values().find(|p| p.origins().any(|own| own == origin))
    }

    /// The witness keys of all participants, with who has them.
    pub fn witnesses(&self) -> Vec<(ParticipantId, Verifier)> {
        self.participants.values().flat_map(|p| witness_verifiers(&self.space, p)).collect()
    }
}

/// The verifiers of a participant's witness keys, with who has them.
pub(crate) fn witness_verifiers(space: &SpaceId, participant: &Participant) -> Vec<(ParticipantId, Verifier)> {
    let name = format!("{space}/{}/witness", participant.id);
    let of = verifiers(participant, KeyUse::Witness, &name, KeyKind::CosignatureV1);
    of.into_iter().map(|v| (participant.id.clone(), v)).collect()
}

/// The verifiers of a participant's log keys, past and present, for the log in force.
pub(crate) fn log_verifiers(participant: &Participant) -> Vec<Verifier> {
    log_verifiers_of(participant, &participant.log_origin)
}

/// As `log_verifiers`, for the log of that origin.
pub(crate) fn log_verifiers_of(participant: &Participant, origin: &str) -> Vec<Verifier> {
    verifiers(participant, KeyUse::Log, origin, KeyKind::Ed25519)
}

fn verifiers(participant: &Participant, key_use: KeyUse, name: &str, kind: KeyKind) -> Vec<Verifier> {
    let of_use = participant.keys.iter().filter(|k| k.key_use == key_use);
    of_use.filter_map(|k| Verifier::new(name, kind, k.key.as_bytes()).ok()).collect()
}

/// Refuses a tree that a log key signed which had ended before a time, by what entries of the log's owner
/// tell: an older one of them doesn't know of an end yet. A tree may be signed later than that time, and so
/// by keys that came later. Clocks may be apart.
pub(crate) fn require_signed_in_time<'a>(
    owner: impl IntoIterator<Item = &'a Participant>,
    tree: &OpenedCheckpoint,
    at: Timestamp,
) -> Result<()> {
    let (origin, early) = (&tree.checkpoint.origin, at.plus_millis(-CLOCKS_APART_MS_MAX));
    let ended = owner
        .into_iter()
        .flat_map(|p| &p.keys)
        .filter(|key| key.key_use == KeyUse::Log && key.until.is_some_and(|until| until <= early));
    for key in ended {
        let verifier = Verifier::new(origin, KeyKind::Ed25519, key.key.as_bytes());
        let signs = |v: Verifier| tree.verified.iter().any(|l| l.name == v.name() && l.key_id == v.key_id());
        if verifier.is_ok_and(signs) {
            let kid = key.key.thumbprint();
            return Err(Error::new(
                ErrorCode::SignatureInvalid,
                format!("its tree is signed by the log key {kid}, which had ended before {at}"),
            ));
        }
    }
    Ok(())
}

/// Verifies one entry, as a register or an envelope carries it.
pub(crate) fn open_entry(text: &str, authority: &PublicKey) -> Result<ParticipantEntry> {
    let (signature, payload) = jws::parse_compact(text, PARTICIPANT_TYP, DOCUMENT_BYTES_MAX)?;
    signature.verify(authority)?;
    canonical::from_bytes(&payload, DOCUMENT_BYTES_MAX)
}

/// What a version says of itself must hold together.
fn check_version(version: &RegisterVersion, signed: &SignedRegister) -> Result<()> {
    if version.entries.len() != signed.entries.len() {
        return Err(refuse("the register comes with more or fewer entries than it names"));
    }
    if version.version == 0 || (version.version == 1) != version.previous.is_none() {
        return Err(refuse("every register version but the first names its predecessor"));
    }
    let mut pairs = version.entries.iter().zip(version.entries.iter().skip(1));
    if pairs.any(|(one, next)| one.participant >= next.participant) {
        return Err(refuse("the register's entries are not in order, each once"));
    }
    Ok(())
}

fn refuse(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::RegisterInvalid, detail)
}
